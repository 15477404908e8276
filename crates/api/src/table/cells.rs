//! What several kinds of row have in common.

use probelet_model::time::Wall;
use serde_json::Value;

use super::age;

/// A text; empty if it is none.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text, or what stands for none.
pub(super) fn text_or<'a>(value: &'a Value, none: &'a str) -> &'a str {
    match text(value) {
        "" => none,
        text => text,
    }
}

/// A number; 0 if it is none.
pub(super) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// The elements of a list; none if it is none.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// How many elements or fields there are.
pub(super) fn length(value: &Value) -> usize {
    match value {
        Value::Array(elements) => elements.len(),
        Value::Object(fields) => fields.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// An object's name.
pub(super) fn name_of(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

/// How long ago an object was created.
pub(super) fn age_of(object: &Value, now: Wall) -> String {
    age::since(&object["metadata"]["creationTimestamp"], now)
}

/// Labels in the order of their keys: `a=b,c=d`.
///
/// Upstream: apimachinery pkg/labels/labels.go, FormatLabels.
/// Shown by: selectors_are_written_as_queries_have_them.
pub(super) fn labels(labels: &Value) -> String {
    let pair = |(key, value): (&String, &Value)| format!("{key}={}", text(value));
    let pairs: Vec<String> = labels.as_object().into_iter().flatten().map(pair).collect();
    none_if_empty(pairs.join(","))
}

/// A label selector as a query has it: `a=b,c in (d,e),!f`.
///
/// Upstream: apimachinery pkg/apis/meta/v1/helpers.go, LabelSelectorAsSelector; pkg/labels/selector.go,
/// Requirement.String.
/// Shown by: selectors_are_written_as_queries_have_them.
pub(super) fn label_selector(selector: &Value) -> String {
    let mut terms: Vec<(String, String)> = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), format!("{key}={}", text(value))))
        .collect();
    for expression in list(&selector["matchExpressions"]) {
        let key = text(&expression["key"]);
        let mut values: Vec<&str> = list(&expression["values"]).iter().map(text).collect();
        values.sort_unstable();
        let values = values.join(",");
        let term = match text(&expression["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => continue,
        };
        terms.push((key.to_owned(), term));
    }
    terms.sort_by(|a, b| a.0.cmp(&b.0));
    let terms: Vec<String> = terms.into_iter().map(|(_, term)| term).collect();
    terms.join(",")
}

/// The same, or `<none>`.
pub(super) fn none_if_empty(text: String) -> String {
    if text.is_empty() {
        "<none>".to_owned()
    } else {
        text
    }
}

/// A few of many: those that there is room for, and how many more there are.
///
/// Upstream: pkg/printers/internalversion/printers.go, listWithMoreString.
/// Shown by: many_are_cut_short.
pub(super) fn a_few(all: &[String]) -> String {
    const ROOM: usize = 3;
    let shown = all[..all.len().min(ROOM)].join(",");
    if all.len() > ROOM {
        format!("{shown} + {} more...", all.len() - ROOM)
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_are_written_as_queries_have_them() {
        assert_eq!(labels(&json!({"b": "1", "a": "2"})), "a=2,b=1");
        assert_eq!(labels(&Value::Null), "<none>");
        let selector = json!({
            "matchLabels": {"b": "1"},
            "matchExpressions": [
                {"key": "d", "operator": "In", "values": ["y", "x"]},
                {"key": "a", "operator": "NotIn", "values": ["z"]},
                {"key": "c", "operator": "Exists"},
                {"key": "e", "operator": "DoesNotExist"},
            ],
        });
        assert_eq!(label_selector(&selector), "a notin (z),b=1,c,d in (x,y),!e");
        assert_eq!(label_selector(&Value::Null), "");
    }

    #[test]
    fn many_are_cut_short() {
        let all: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        assert_eq!(a_few(&all[..0]), "");
        assert_eq!(a_few(&all[..3]), "a,b,c");
        assert_eq!(a_few(&all), "a,b,c + 2 more...");
    }
}
