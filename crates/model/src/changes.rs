//! What an update may not change.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::field::{FieldError, FieldPath, Segment};
use crate::validate::annotation::is_probe_annotation;

/// Upstream's sentence; it names fields that Probelet does not carry out too.
const POD_UPDATE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// The changes from `old` to `new` that Kubernetes does not allow; both are wire objects of the same key
/// with their defaults filled in.
///
/// `spec.nodeName` and `spec.clusterIP` may be missing in `new`, as in the manifest they came from.
///
/// Upstream: pkg/apis/core/validation/validation.go, ValidatePodUpdate, ValidateServiceUpdate and their like;
/// for the selector of a workload, pkg/registry/apps/deployment/strategy.go, ValidateUpdate.
/// Differs: each changed field is named, where upstream names `spec` and prints a difference of Go structs. With
/// its image, a container's pull policy may change.
/// Shown by: a_pods_spec_may_change_in_few_places, a_deadline_may_be_set_and_shortened,
/// a_negative_grace_may_become_one_second, a_pull_policy_changes_with_its_image, a_services_address_stays, tolerations_may_be_added,
/// one_field_of_some_kinds_stays, what_is_immutable_stays.
#[must_use]
pub fn immutable(old: &Value, new: &Value) -> Vec<FieldError> {
    match new.get("kind").and_then(Value::as_str) {
        Some("Pod") => pod(old, new),
        Some("Service") => service(old, new),
        Some("ConfigMap") => immutable_data(old, new),
        Some("Secret") => {
            let mut errors = Vec::from_iter(stays(&["type"], old, new));
            errors.extend(immutable_data(old, new));
            errors
        }
        Some("Deployment" | "ReplicaSet") => {
            stays(&["spec", "selector"], old, new).into_iter().collect()
        }
        Some("EndpointSlice") => stays(&["addressType"], old, new).into_iter().collect(),
        Some("RuntimeClass") => stays(&["handler"], old, new).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn pod(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = probe_annotations(old, new);
    let path = FieldPath::root().field("spec");
    for list in ["containers", "initContainers"] {
        let path = path.field(list);
        if count(&path, old) != count(&path, new) {
            let detail = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(path, detail));
            return errors;
        }
    }
    errors.extend(active_deadline(old, new));
    errors.extend(tolerations(old, new));
    let mut changed = Vec::new();
    differences(path.find(old), path.find(new), &path, &mut changed);
    let refused = changed
        .into_iter()
        .filter(|path| !may_change(path, old, new));
    errors.extend(refused.map(|path| FieldError::forbidden(path, POD_UPDATE)));
    errors
}

fn count(list: &FieldPath, object: &Value) -> usize {
    list.find(object)
        .and_then(Value::as_array)
        .map_or(0, Vec::len)
}

/// Differs: upstream lets every annotation change at any time. These stand for fields of probes, which
/// upstream never lets change either: a running probe would not follow.
fn probe_annotations(old: &Value, new: &Value) -> Vec<FieldError> {
    let path = FieldPath::root().field("metadata").field("annotations");
    let annotations = |object| path.find(object).and_then(Value::as_object);
    let (old, new) = (annotations(old), annotations(new));
    let keys: BTreeSet<&String> = [old, new]
        .into_iter()
        .flatten()
        .flat_map(|annotations| annotations.keys())
        .filter(|key| is_probe_annotation(key))
        .collect();
    let value = |annotations: Option<&'_ Map<String, Value>>, key: &str| {
        annotations.and_then(|annotations| annotations.get(key).cloned())
    };
    keys.into_iter()
        .filter(|key| value(old, key) != value(new, key))
        .map(|key| {
            let detail = "pod updates may not change how often or how long a container is probed";
            FieldError::forbidden(path.then(Segment::Key(key.clone())), detail)
        })
        .collect()
}

/// A deadline may be set, and shortened.
fn active_deadline(old: &Value, new: &Value) -> Option<FieldError> {
    let path = FieldPath::root()
        .field("spec")
        .field("activeDeadlineSeconds");
    let seconds = |object| path.find(object).and_then(Value::as_i64);
    let (value, detail) = match (seconds(old)?, seconds(new)) {
        // The text stands where upstream prints a null pointer, in quotes.
        (_, None) => (
            Value::from("null"),
            "must not update from a positive integer to nil value",
        ),
        (old, Some(new)) if new > old => (
            Value::from(new),
            "must be less than or equal to previous value",
        ),
        (_, Some(_)) => return None,
    };
    Some(FieldError::invalid(path, value, detail))
}

/// Tolerations may be added; of those that are there, only the seconds may change.
///
/// Upstream: pkg/apis/core/validation/validation.go, validateOnlyAddedTolerations.
/// Shown by: tolerations_may_be_added.
fn tolerations(old: &Value, new: &Value) -> Option<FieldError> {
    let path = FieldPath::root().field("spec").field("tolerations");
    let all = |object| -> Vec<Value> {
        let list = path.find(object).and_then(Value::as_array);
        let without_seconds = list.into_iter().flatten().map(|toleration| {
            let mut toleration = toleration.clone();
            if let Some(fields) = toleration.as_object_mut() {
                fields.remove("tolerationSeconds");
            }
            toleration
        });
        without_seconds.collect()
    };
    let new = all(new);
    let is_kept = all(old).iter().all(|toleration| new.contains(toleration));
    let detail = "existing toleration can not be modified except its tolerationSeconds";
    (!is_kept).then(|| FieldError::forbidden(path.clone(), detail))
}

fn may_change(path: &FieldPath, old: &Value, new: &Value) -> bool {
    let names: Vec<&str> = path
        .segments()
        .iter()
        .map(|segment| match segment {
            Segment::Field(name) => name.as_ref(),
            Segment::Key(key) => key,
            Segment::Index(_) => "[]",
        })
        .collect();
    match names.as_slice() {
        ["spec", "containers" | "initContainers", "[]", "image"] => true,
        // It follows the image where the manifest does not set it.
        [
            "spec",
            "containers" | "initContainers",
            "[]",
            "imagePullPolicy",
        ] => {
            let container = path.segments().iter().take(3).cloned();
            let image = container
                .fold(FieldPath::root(), |path, segment| path.then(segment))
                .field("image");
            image.find(old) != image.find(new)
        }
        // They have errors of their own.
        ["spec", "tolerations", ..] | ["spec", "activeDeadlineSeconds"] => true,
        // What a server has chosen need not be in the manifest.
        ["spec", "nodeName" | "serviceAccount" | "serviceAccountName"] => path.find(new).is_none(),
        ["spec", "terminationGracePeriodSeconds"] => {
            let seconds = |value| path.find(value).and_then(Value::as_i64);
            seconds(old).is_some_and(|old| old < 0) && seconds(new) == Some(1)
        }
        _ => false,
    }
}

/// The paths of the fields, as deep as possible, that are not the same; a missing one and an empty one
/// are.
fn differences(
    old: Option<&Value>,
    new: Option<&Value>,
    path: &FieldPath,
    changed: &mut Vec<FieldPath>,
) {
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                differences(
                    old.get(name),
                    new.get(name),
                    &path.key_or_field(name),
                    changed,
                );
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                differences(Some(old), Some(new), &path.index(index), changed);
            }
        }
        _ if old == new || (is_empty(old) && is_empty(new)) => {}
        _ => changed.push(path.clone()),
    }
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(elements)) => elements.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Bool(value)) => !value,
        Some(Value::Number(_)) => false,
    }
}

/// A Service keeps its address.
///
/// Upstream: validateUpgradeDowngradeClusterIPs.
/// Shown by: a_services_address_stays.
fn service(old: &Value, new: &Value) -> Vec<FieldError> {
    let spec = FieldPath::root().field("spec");
    let address = |value| {
        spec.field("clusterIP")
            .find(value)
            .and_then(Value::as_str)
            .filter(|address| !address.is_empty())
    };
    match (address(old), address(new)) {
        (Some(old), Some(new)) if old != new => {
            let path = spec.field("clusterIPs").index(0);
            let value = Value::from(vec![new]);
            vec![FieldError::invalid(path, value, "may not change once set")]
        }
        _ => Vec::new(),
    }
}

/// One field of an object stays as it is.
///
/// Upstream: apimachinery pkg/api/validation/objectmeta.go, ValidateImmutableField.
/// Shown by: one_field_of_some_kinds_stays.
fn stays(path: &[&'static str], old: &Value, new: &Value) -> Option<FieldError> {
    let path = path
        .iter()
        .fold(FieldPath::root(), |path, name| path.field(*name));
    let (before, after) = (path.find(old), path.find(new));
    let is_same = before == after || (is_empty(before) && is_empty(after));
    let value = after.cloned().unwrap_or_default();
    (!is_same).then(|| FieldError::invalid(path.clone(), value, "field is immutable"))
}

/// A ConfigMap or Secret that is immutable stays so, and keeps what it holds.
///
/// Upstream: pkg/apis/core/validation/validation.go, ValidateConfigMapUpdate, ValidateSecretUpdate.
/// Shown by: what_is_immutable_stays.
fn immutable_data(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if old["immutable"] == true {
        let detail = "field is immutable when `immutable` is set";
        let forbidden = |name| FieldError::forbidden(FieldPath::root().field(name), detail);
        if new["immutable"] != true {
            errors.push(forbidden("immutable"));
        }
        for name in ["data", "binaryData"] {
            let (before, after) = (old.get(name), new.get(name));
            if before != after && !(is_empty(before) && is_empty(after)) {
                errors.push(forbidden(name));
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests;
