//! Deployments and ReplicaSets.

use probelet_model::time::Wall;
use serde_json::Value;

use super::cells::{age_of, label_selector, list, name_of, none_if_empty, number, text};

/// The row of a Deployment.
///
/// Upstream: pkg/printers/internalversion/printers.go, printDeployment.
/// Shown by: workloads_count_their_pods.
pub(super) fn cells_of_deployment(object: &Value, now: Wall) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let (names, images) = containers(spec);
    let ready = number(&status["readyReplicas"]);
    vec![
        name_of(object).into(),
        format!("{ready}/{}", number(&spec["replicas"])).into(),
        number(&status["updatedReplicas"]).into(),
        number(&status["availableReplicas"]).into(),
        age_of(object, now).into(),
        names.into(),
        images.into(),
        label_selector(&spec["selector"]).into(),
    ]
}

/// The row of a ReplicaSet.
///
/// Upstream: the same file, printReplicaSet.
/// Shown by: workloads_count_their_pods.
pub(super) fn cells_of_replica_set(object: &Value, now: Wall) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let (names, images) = containers(spec);
    vec![
        name_of(object).into(),
        number(&spec["replicas"]).into(),
        number(&status["replicas"]).into(),
        number(&status["readyReplicas"]).into(),
        age_of(object, now).into(),
        names.into(),
        images.into(),
        none_if_empty(label_selector(&spec["selector"])).into(),
    ]
}

/// The containers of a template: their names, and their images.
///
/// Upstream: the same file, layoutContainerCells.
/// Shown by: workloads_count_their_pods.
fn containers(spec: &Value) -> (String, String) {
    let containers = list(&spec["template"]["spec"]["containers"]);
    let joined = |field: &str| {
        let texts: Vec<&str> = containers
            .iter()
            .map(|container| text(&container[field]))
            .collect();
        texts.join(",")
    };
    (joined("name"), joined("image"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn workloads_count_their_pods() {
        let object = json!({
            "metadata": {"name": "w"},
            "spec": {
                "replicas": 5, "selector": {"matchLabels": {"app": "w"}},
                "template": {"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}},
            },
            "status": {"replicas": 4, "readyReplicas": 3, "updatedReplicas": 2, "availableReplicas": 1},
        });
        let deployment = json!(["w", "3/5", 2, 1, "<unknown>", "a,b", "i,j", "app=w"]);
        assert_eq!(
            Value::Array(cells_of_deployment(&object, Wall(0))),
            deployment
        );
        let set = json!(["w", 5, 4, 3, "<unknown>", "a,b", "i,j", "app=w"]);
        assert_eq!(Value::Array(cells_of_replica_set(&object, Wall(0))), set);
        let empty = json!({"metadata": {"name": "w"}});
        let deployment = json!(["w", "0/0", 0, 0, "<unknown>", "", "", ""]);
        assert_eq!(
            Value::Array(cells_of_deployment(&empty, Wall(0))),
            deployment
        );
        let set = json!(["w", 0, 0, 0, "<unknown>", "", "", "<none>"]);
        assert_eq!(Value::Array(cells_of_replica_set(&empty, Wall(0))), set);
    }
}
