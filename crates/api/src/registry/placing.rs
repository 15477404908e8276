//! Which pods run here: all that come while the node takes any.
//!
//! Upstream: pkg/scheduler/framework/plugins/nodeunschedulable/node_unschedulable.go, NodeUnschedulable.Filter.
//! Differs: there is one node and no scheduler, so that a pod has its node as soon as it is made. Of what may keep
//! it away, only the node's `spec.unschedulable` is looked at (`kubectl cordon`, `drain`); taints are not.
//! Shown by: a_pod_waits_while_the_node_is_cordoned.

use serde_json::{Map, Value, json};

/// The account of a pod that names none.
pub(super) const DEFAULT_ACCOUNT: &str = "default";
/// What a pod tolerates that runs on a cordoned node as well.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Gives a new pod the account `default` if it names none, and its node; if `node`, the Node object, takes no
/// pods, the pod waits for that.
///
/// Upstream: the scheduler's binding, and its handleSchedulingFailure; pkg/apis/core/v1/conversion.go, where
/// `serviceAccount` is the other name of `serviceAccountName`.
/// Shown by: a_new_pod_belongs_to_this_node_and_an_account, a_pod_waits_while_the_node_is_cordoned.
pub fn place(pod: &mut Value, node_name: &str, node: Option<&Value>) {
    let names_it = pod["spec"]["nodeName"] == node_name;
    let waits = !names_it && node.is_some_and(is_cordoned) && !tolerates_cordon(pod);
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let account = ["serviceAccountName", "serviceAccount"]
        .into_iter()
        .filter_map(|field| spec.get(field).and_then(Value::as_str))
        .find(|account| !account.is_empty())
        .unwrap_or(DEFAULT_ACCOUNT)
        .to_owned();
    spec.insert("serviceAccountName".to_owned(), account.as_str().into());
    spec.insert("serviceAccount".to_owned(), account.into());
    if waits {
        pod["status"]["conditions"] = json!([{
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 node(s) were unschedulable.",
        }]);
    } else {
        spec.insert("nodeName".to_owned(), node_name.into());
    }
}

/// Whether the pod waits for a node: it has none, and has been told so.
#[must_use]
pub fn is_waiting(pod: &Value) -> bool {
    let has_none = pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty);
    let conditions = pod["status"]["conditions"].as_array();
    has_none
        && conditions
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False")
}

/// Gives a pod that [waits](is_waiting) its node.
pub fn bind(pod: &mut Value, node_name: &str) {
    pod["spec"]["nodeName"] = node_name.into();
    if let Some(status) = pod.get_mut("status").and_then(Value::as_object_mut) {
        forget_conditions(status);
    }
}

fn forget_conditions(status: &mut Map<String, Value>) {
    let others = status
        .get_mut("conditions")
        .and_then(Value::as_array_mut)
        .map(|conditions| {
            conditions.retain(|condition| condition["type"] != "PodScheduled");
            !conditions.is_empty()
        });
    if others == Some(false) {
        status.remove("conditions");
    }
}

/// Whether a Node takes no new pods.
#[must_use]
pub fn is_cordoned(node: &Value) -> bool {
    node["spec"]["unschedulable"] == true
}

fn tolerates_cordon(pod: &Value) -> bool {
    let tolerations = pod["spec"]["tolerations"].as_array();
    tolerations.into_iter().flatten().any(|toleration| {
        let key = toleration["key"].as_str().unwrap_or_default();
        let effect = toleration["effect"].as_str().unwrap_or_default();
        let exists = toleration["operator"] == "Exists";
        matches!(effect, "" | "NoSchedule") && (key == UNSCHEDULABLE || (key.is_empty() && exists))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_waits_while_the_node_is_cordoned() {
        let cordoned = json!({ "spec": { "unschedulable": true } });
        let all = json!([{ "operator": "Exists" }]);
        let own = json!([{ "key": UNSCHEDULABLE, "operator": "Exists", "effect": "NoSchedule" }]);
        for (node, spec, waits) in [
            (None, json!({}), false),
            (Some(json!({ "spec": {} })), json!({}), false),
            (Some(cordoned.clone()), json!({}), true),
            (Some(cordoned.clone()), json!({ "nodeName": "here" }), false),
            (Some(cordoned.clone()), json!({ "tolerations": all }), false),
            (Some(cordoned), json!({ "tolerations": own }), false),
        ] {
            let mut pod = json!({ "spec": spec, "status": { "phase": "Pending" } });
            place(&mut pod, "here", node.as_ref());
            assert_eq!(is_waiting(&pod), waits, "{pod}");
            bind(&mut pod, "here");
            assert_eq!(pod["spec"]["nodeName"], "here");
            assert_eq!(pod["status"], json!({ "phase": "Pending" }));
        }
    }
}
