//! A pod as a ReplicaSet sees it, and as it makes one.

use probelet_model::id::Kind;
use probelet_model::time::Wall;
use serde_json::{Value, json};

use crate::claim;
use crate::object;
use crate::random::Names;

/// A wire Pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pod<'a>(pub(super) &'a Value);

impl<'a> Pod<'a> {
    /// It runs, or may yet.
    ///
    /// Upstream: pkg/controller/controller_utils.go, IsPodActive.
    /// Shown by: pods_that_end_are_replaced.
    pub(super) fn is_active(self) -> bool {
        !self.has_ended() && !object::is_deleting(self.0)
    }

    /// It is being deleted, and something of it may still run.
    ///
    /// Upstream: pkg/controller/controller_utils.go, IsPodTerminating.
    /// Shown by: missing_pods_are_made_and_surplus_ones_deleted.
    pub(super) fn is_terminating(self) -> bool {
        !self.has_ended() && object::is_deleting(self.0)
    }

    pub(super) fn has_ended(self) -> bool {
        matches!(self.phase(), "Succeeded" | "Failed")
    }

    pub(super) fn phase(self) -> &'a str {
        self.0["status"]["phase"].as_str().unwrap_or_default()
    }

    /// The Ready condition, if it is True.
    pub(super) fn ready(self) -> Option<&'a Value> {
        let conditions = self.0["status"]["conditions"].as_array()?;
        conditions
            .iter()
            .find(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    }

    /// Since when it is ready, if it is and says so.
    pub(super) fn ready_since(self) -> Option<Wall> {
        object::stamp(&self.ready()?["lastTransitionTime"])
    }
}

/// A new pod of the set's template.
///
/// Upstream: pkg/controller/controller_utils.go, GetPodFromTemplate and getPodsPrefix.
/// Shown by: a_pod_is_made_from_the_template.
pub(super) fn of_template(set: &Value, names: &mut Names) -> Value {
    let template = &set["spec"]["template"];
    let base = format!("{}-", object::name(set));
    let mut metadata = json!({
        "name": names.next(&base),
        "generateName": base,
        "namespace": object::namespace(set),
        "ownerReferences": [claim::reference(Kind::ReplicaSet, set)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        let value = &template["metadata"][field];
        if !value.is_null() {
            metadata[field] = value.clone();
        }
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template["spec"],
    })
}
