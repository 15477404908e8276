//! Which objects a controller selects.

use probelet_model::selector::LabelSelector;
use serde_json::Value;

use crate::object;

/// Whether the label selector of a controller's spec selects an object. One that is missing or empty selects
/// nothing: validation refuses both.
#[must_use]
pub fn selects(controller: &Value, of: &Value) -> bool {
    let labels = object::labels(of);
    let label = |name: &str| labels.and_then(|labels| labels.get(name)?.as_str());
    let selector = LabelSelector::from_value(&controller["spec"]["selector"]);
    selector.is_some_and(|selector| !selector.is_empty() && selector.matches(label))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_match_and_expressions_hold() {
        let expression = |operator: &str, values: Value| json!({ "matchExpressions": [{ "key": "tier", "operator": operator, "values": values }] });
        let (front, back, none) = (
            json!({ "app": "web", "tier": "front" }),
            json!({ "app": "web", "tier": "back" }),
            json!({ "app": "web" }),
        );
        for (selector, expected) in [
            (json!(null), [false, false, false]),
            (json!({}), [false, false, false]),
            (
                json!({ "matchLabels": { "app": "web" } }),
                [true, true, true],
            ),
            (
                json!({ "matchLabels": { "app": "web", "tier": "front" } }),
                [true, false, false],
            ),
            (
                expression("In", json!(["front", "x"])),
                [true, false, false],
            ),
            (expression("NotIn", json!(["front"])), [false, true, true]),
            (expression("Exists", json!(null)), [true, true, false]),
            (
                expression("DoesNotExist", json!(null)),
                [false, false, true],
            ),
            (expression("Nonsense", json!(null)), [false, false, false]),
        ] {
            let controller = json!({ "spec": { "selector": selector } });
            let found = [&front, &back, &none]
                .map(|labels| selects(&controller, &json!({ "metadata": { "labels": labels } })));
            assert_eq!(found, expected, "{selector}");
        }
        assert!(!selects(&json!({ "spec": {} }), &json!({ "metadata": {} })));
    }
}
