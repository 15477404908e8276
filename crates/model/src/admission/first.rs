//! How an object of each kind begins, and what of it only a server changes: upstream's strategies.

use serde_json::{Value, json};

use crate::id::Kind;

/// Whether a kind has a status that is written apart from the rest.
pub(super) const fn has_status(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Pod
            | Kind::Service
            | Kind::Namespace
            | Kind::Node
            | Kind::ReplicaSet
            | Kind::Deployment
    )
}

/// Gives a new object its first status and its first generation, and a Pod its account.
///
/// Upstream: `PrepareForCreate` of pkg/registry/core/pod/strategy.go and its like;
/// plugin/pkg/admission/serviceaccount/admission.go, Admit.
/// Shown by: a_new_object_begins_at_its_beginning.
pub(super) fn begin(kind: Kind, value: &mut Value, given: Option<Value>) {
    let status = match kind {
        Kind::Pod => Some(json!({"phase": "Pending"})),
        Kind::Service => Some(json!({"loadBalancer": {}})),
        Kind::Namespace => Some(json!({"phase": "Active"})),
        Kind::ReplicaSet => Some(json!({"replicas": 0})),
        Kind::Deployment => Some(json!({})),
        Kind::Node => Some(given.unwrap_or_else(|| json!({}))),
        _ => None,
    };
    if let Some(status) = status {
        value["status"] = status;
    }
    let spec = value.get_mut("spec").and_then(Value::as_object_mut);
    if let (Kind::Pod, Some(spec)) = (kind, spec) {
        // The older name says the same.
        let account = ["serviceAccountName", "serviceAccount"]
            .iter()
            .find_map(|name| spec.get(*name).filter(|account| **account != json!("")))
            .cloned()
            .unwrap_or_else(|| json!("default"));
        for name in ["serviceAccount", "serviceAccountName"] {
            spec.insert(name.to_owned(), account.clone());
        }
    }
    if counts_generations(kind) {
        value["metadata"]["generation"] = json!(1);
    }
}

const fn counts_generations(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Pod | Kind::ReplicaSet | Kind::Deployment | Kind::EndpointSlice
    )
}

/// What an update of the object itself leaves as it was: the status, what a server has chosen, and a
/// Namespace's finalizers.
///
/// Upstream: `PrepareForUpdate` of each kind's strategy; pkg/registry/core/service/storage/storage.go,
/// patchAllocatedValues.
/// Differs: a Pod that comes without `spec.nodeName` keeps it too, so that the manifest it was made from
/// can be written over it.
/// Shown by: what_only_a_server_sets_stays.
pub(super) fn carry_over(kind: Kind, before: &Value, after: &mut Value) {
    if has_status(kind) {
        set_or_remove(after, "status", before.get("status"));
    }
    let spec = &before["spec"];
    match kind {
        Kind::Namespace => {
            let finalizers = spec.get("finalizers").cloned();
            if let (Some(finalizers), Some(object)) = (finalizers, after.as_object_mut()) {
                object.insert("spec".to_owned(), json!({"finalizers": finalizers}));
            }
        }
        Kind::Pod => keep_missing(
            spec,
            after,
            &["nodeName", "serviceAccount", "serviceAccountName"],
        ),
        Kind::Service if spec["type"] != "ExternalName" => {
            keep_missing(spec, after, &["clusterIP", "clusterIPs"]);
        }
        _ => {}
    }
}

/// Fields of the spec that are missing or empty in `after` are as they were.
fn keep_missing(before: &Value, after: &mut Value, names: &[&str]) {
    let Some(spec) = after.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    for name in names {
        let is_missing = spec
            .get(*name)
            .is_none_or(|value| value.is_null() || *value == json!("") || *value == json!([]));
        if let (true, Some(value)) = (is_missing, before.get(name)) {
            spec.insert((*name).to_owned(), value.clone());
        }
    }
}

/// The object as it was, but for its status and what of its metadata may go with it.
///
/// Upstream: `PrepareForUpdate` of the status strategies: a Pod's owners and a Deployment's labels stay.
/// Shown by: a_status_is_changed_alone.
pub(super) fn with_status_of(kind: Kind, before: &Value, after: Value) -> Value {
    let mut value = before.clone();
    let (mut metadata, status) = (after["metadata"].clone(), after.get("status"));
    match kind {
        Kind::Pod => set_or_remove(
            &mut metadata,
            "ownerReferences",
            before["metadata"].get("ownerReferences"),
        ),
        Kind::Deployment => {
            set_or_remove(&mut metadata, "labels", before["metadata"].get("labels"));
        }
        _ => {}
    }
    set_or_remove(&mut value, "status", status);
    value["metadata"] = metadata;
    value
}

/// Counts one generation more, if what is wanted has changed; a Deployment's annotations count too.
///
/// Upstream: `PrepareForUpdate` of each kind's strategy.
/// Shown by: generations_are_counted.
pub(super) fn count_generation(kind: Kind, before: &Value, after: &mut Value) {
    let differs = |names: &[&str]| names.iter().any(|name| before.get(name) != after.get(name));
    let differs_in_metadata =
        |name: &str| before["metadata"].get(name) != after["metadata"].get(name);
    let has_changed = match kind {
        Kind::Pod | Kind::ReplicaSet => differs(&["spec"]),
        Kind::Deployment => differs(&["spec"]) || differs_in_metadata("annotations"),
        Kind::EndpointSlice => {
            differs(&["addressType", "endpoints", "ports"]) || differs_in_metadata("labels")
        }
        _ => false,
    };
    if has_changed {
        let generation = before["metadata"]["generation"].as_i64().unwrap_or(0);
        after["metadata"]["generation"] = json!(generation + 1);
    }
}

/// Makes the field `name` of an object what `value` is.
pub(super) fn set_or_remove(object: &mut Value, name: &str, value: Option<&Value>) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    match value {
        Some(value) => fields.insert(name.to_owned(), value.clone()),
        None => fields.remove(name),
    };
}
