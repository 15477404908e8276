//! What an update may not change.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::{FieldError, FieldPath, Segment};

/// Upstream's sentence; it names fields that Probelet does not carry out too.
const POD_UPDATE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// The changes from `old` to `new` that Kubernetes does not allow; both are wire objects of the same key
/// with their defaults filled in.
///
/// `spec.nodeName` and `spec.clusterIP` may be missing in `new`, as in the manifest they came from.
///
/// Upstream: pkg/apis/core/validation/validation.go, ValidatePodUpdate and ValidateServiceUpdate.
/// Differs: each changed field is named, where upstream names `spec` and prints a difference of Go structs.
#[must_use]
pub fn immutable(old: &Value, new: &Value) -> Vec<FieldError> {
    match new.get("kind").and_then(Value::as_str) {
        Some("Pod") => pod(old, new),
        Some("Service") => service(old, new),
        _ => Vec::new(),
    }
}

fn pod(old: &Value, new: &Value) -> Vec<FieldError> {
    let path = FieldPath::root().field("spec");
    let containers = path.field("containers");
    let count = |value| {
        containers
            .find(value)
            .and_then(Value::as_array)
            .map_or(0, Vec::len)
    };
    if count(old) != count(new) {
        return vec![FieldError::forbidden(
            containers,
            "pod updates may not add or remove containers",
        )];
    }
    let mut changed = Vec::new();
    differences(path.find(old), path.find(new), &path, &mut changed);
    let refused = changed
        .into_iter()
        .filter(|path| !may_change(path, old, new));
    refused
        .map(|path| FieldError::forbidden(path, POD_UPDATE))
        .collect()
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
        ["spec", "containers", "[]", "image"]
        | ["spec", "activeDeadlineSeconds"]
        | ["spec", "tolerations", ..] => true,
        // It follows the image where the manifest does not set it.
        ["spec", "containers", "[]", "imagePullPolicy"] => true,
        ["spec", "nodeName"] => path.find(new).is_none(),
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

fn service(old: &Value, new: &Value) -> Vec<FieldError> {
    let path = FieldPath::root().field("spec").field("clusterIP");
    let address = |value| {
        path.find(value)
            .and_then(Value::as_str)
            .filter(|address| !address.is_empty())
    };
    match (address(old), address(new)) {
        (Some(old), Some(new)) if old != new => {
            vec![FieldError::invalid(path, new, "field is immutable")]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(pointer: &str, value: Value) -> Vec<String> {
        let old = json!({"kind": "Pod", "metadata": {"name": "a"}, "spec": {
            "nodeName": "here",
            "terminationGracePeriodSeconds": 30,
            "tolerations": [],
            "containers": [{
                "name": "a", "image": "b", "command": ["c", "d"], "tty": false,
                "readinessProbe": {"periodSeconds": 10},
            }],
        }});
        let mut new = old.clone();
        new["spec"].as_object_mut().unwrap().remove("nodeName");
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = new.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(elements) if name == "-" => elements.push(value),
            Value::Array(elements) => elements[name.parse::<usize>().unwrap()] = value,
            parent => parent[name] = value,
        }
        let errors = immutable(&old, &new);
        assert!(
            errors
                .iter()
                .all(|error| error.message.starts_with("Forbidden: pod updates may not ")),
            "{errors:?}"
        );
        errors
            .into_iter()
            .map(|error| error.path.to_string())
            .collect()
    }

    #[test]
    fn a_pods_spec_may_change_in_few_places() {
        for (pointer, value, expected) in [
            ("/metadata/labels", json!({"a": "b"}), &[][..]),
            ("/spec/containers/0/image", json!("c"), &[]),
            ("/spec/tolerations/-", json!({"key": "a"}), &[]),
            ("/spec/volumes", json!([]), &[]),
            ("/spec/hostNetwork", json!(false), &[]),
            ("/spec/nodeName", json!("there"), &["spec.nodeName"]),
            (
                "/spec/containers/0/readinessProbe/periodSeconds",
                json!(5),
                &["spec.containers[0].readinessProbe.periodSeconds"],
            ),
            (
                "/spec/containers/0/command/1",
                json!("e"),
                &["spec.containers[0].command[1]"],
            ),
            (
                "/spec/containers/0/command",
                json!(["e"]),
                &["spec.containers[0].command"],
            ),
            (
                "/spec/containers/-",
                json!({"name": "b"}),
                &["spec.containers"],
            ),
            (
                "/spec/terminationGracePeriodSeconds",
                json!(1),
                &["spec.terminationGracePeriodSeconds"],
            ),
            ("/spec/volumes", json!([{"name": "a"}]), &["spec.volumes"]),
        ] {
            assert_eq!(changed(pointer, value), expected, "{pointer}");
        }
    }

    #[test]
    fn a_services_address_stays() {
        let service = |spec: Value| json!({"kind": "Service", "spec": spec});
        let old = service(json!({"clusterIP": "10.0.0.1"}));
        assert_eq!(immutable(&old, &service(json!({"ports": []}))), []);
        let errors = immutable(&old, &service(json!({"clusterIP": "None"})));
        assert_eq!(
            errors[0].to_string(),
            "spec.clusterIP: Invalid value: \"None\": field is immutable"
        );
    }
}
