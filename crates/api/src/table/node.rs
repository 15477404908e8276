//! Nodes.

use std::collections::BTreeSet;

use probelet_model::time::Wall;
use serde_json::Value;

use super::cells::{age_of, list, name_of, none_if_empty, text, text_or};

/// The row of a node.
///
/// Upstream: pkg/printers/internalversion/printers.go, printNode.
/// Shown by: a_node_is_ready_or_not_and_may_be_closed, the_rest_of_a_node.
pub(super) fn cells(object: &Value, now: Wall) -> Vec<Value> {
    let info = &object["status"]["nodeInfo"];
    vec![
        name_of(object).into(),
        status(object).into(),
        roles(object).into(),
        age_of(object, now).into(),
        text(&info["kubeletVersion"]).into(),
        address(object, "InternalIP").into(),
        address(object, "ExternalIP").into(),
        text_or(&info["osImage"], "<unknown>").into(),
        text_or(&info["kernelVersion"], "<unknown>").into(),
        text_or(&info["containerRuntimeVersion"], "<unknown>").into(),
    ]
}

fn status(node: &Value) -> String {
    let mut ready = list(&node["status"]["conditions"])
        .iter()
        .rev()
        .filter(|condition| condition["type"] == "Ready");
    let ready = match ready.next() {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if node["spec"]["unschedulable"] == true {
        format!("{ready},SchedulingDisabled")
    } else {
        ready.to_owned()
    }
}

/// The roles that its labels give to a node.
///
/// Upstream: the same file, findNodeRoles.
/// Shown by: the_rest_of_a_node.
fn roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let role = |(label, value): (&'_ String, &'_ Value)| {
        let role = match label.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => role,
            None if label == "kubernetes.io/role" => text(value),
            None => "",
        };
        (!role.is_empty()).then(|| role.to_owned())
    };
    let roles: BTreeSet<String> = labels.filter_map(role).collect();
    none_if_empty(roles.into_iter().collect::<Vec<_>>().join(","))
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    list(&node["status"]["addresses"])
        .iter()
        .find(|address| address["type"] == kind)
        .map_or("<none>", |address| text(&address["address"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_ready_or_not_and_may_be_closed() {
        let condition = |status: &str| json!([{"type": "Ready", "status": status}]);
        let rows = [
            (json!({}), "Unknown"),
            (
                json!({"status": {"conditions": condition("True")}}),
                "Ready",
            ),
            (
                json!({"status": {"conditions": condition("False")}}),
                "NotReady",
            ),
            (
                json!({"status": {"conditions": condition("Unknown")}}),
                "NotReady",
            ),
            (
                json!({"spec": {"unschedulable": true}, "status": {"conditions": condition("True")}}),
                "Ready,SchedulingDisabled",
            ),
            (
                json!({"spec": {"unschedulable": true}}),
                "Unknown,SchedulingDisabled",
            ),
        ];
        for (node, expected) in rows {
            assert_eq!(status(&node), expected, "{node}");
        }
    }

    #[test]
    fn the_rest_of_a_node() {
        let node = json!({
            "metadata": {"name": "n", "labels": {
                "node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/": "x", "kubernetes.io/role": "edge",
            }},
            "status": {
                "nodeInfo": {"kubeletVersion": "v1.35.0", "osImage": "Debian", "kernelVersion": "6.1"},
                "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.9"}],
            },
        });
        let expected = json!([
            "n",
            "Unknown",
            "edge,worker",
            "<unknown>",
            "v1.35.0",
            "10.0.0.9",
            "<none>",
            "Debian",
            "6.1",
            "<unknown>"
        ]);
        assert_eq!(Value::Array(cells(&node, Wall(0))), expected);
        assert_eq!(roles(&json!({})), "<none>");
    }
}
