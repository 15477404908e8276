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
/// Upstream: pkg/apis/core/validation/validation.go, ValidatePodUpdate and ValidateServiceUpdate.
/// Differs: each changed field is named, where upstream names `spec` and prints a difference of Go structs.
/// Shown by: a_pods_spec_may_change_in_few_places, a_deadline_may_be_set_and_shortened,
/// a_negative_grace_may_become_one_second, a_services_address_stays.
#[must_use]
pub fn immutable(old: &Value, new: &Value) -> Vec<FieldError> {
    match new.get("kind").and_then(Value::as_str) {
        Some("Pod") => pod(old, new),
        Some("Service") => service(old, new),
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
        // The pull policy follows the image where the manifest does not set it.
        [
            "spec",
            "containers" | "initContainers",
            "[]",
            "image" | "imagePullPolicy",
        ] => true,
        ["spec", "tolerations", ..] => true,
        // It has an error of its own.
        ["spec", "activeDeadlineSeconds"] => true,
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
            "initContainers": [{"name": "i", "image": "b", "restartPolicy": "Always"}],
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
            ("/spec/hostNetwork", json!(true), &["spec.hostNetwork"]),
            ("/spec/hostname", json!(""), &[]),
            ("/spec/hostname", json!("h"), &["spec.hostname"]),
            ("/spec/securityContext", json!({}), &[]),
            ("/spec/securityContext", json!(null), &[]),
            ("/spec/priority", json!(0), &["spec.priority"]),
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
            ("/spec/initContainers/0/image", json!("c"), &[]),
            (
                "/spec/initContainers/0/imagePullPolicy",
                json!("Never"),
                &[],
            ),
            (
                "/spec/initContainers/0/restartPolicy",
                json!("Never"),
                &["spec.initContainers[0].restartPolicy"],
            ),
            (
                "/spec/initContainers/-",
                json!({"name": "j"}),
                &["spec.initContainers"],
            ),
            (
                "/spec/readinessGates",
                json!([{"conditionType": "a"}]),
                &["spec.readinessGates"],
            ),
            ("/spec/activeDeadlineSeconds", json!(5), &[]),
            (
                "/metadata/annotations",
                json!({"liveness.probe.probelet.dev/a": "periodMilliseconds=20"}),
                &["metadata.annotations[liveness.probe.probelet.dev/a]"],
            ),
            ("/metadata/annotations", json!({"a/b": "c"}), &[]),
        ] {
            assert_eq!(changed(pointer, value), expected, "{pointer}");
        }
    }

    #[test]
    fn a_deadline_may_be_set_and_shortened() {
        let pod = |seconds: Option<i64>| json!({"kind": "Pod", "spec": {"activeDeadlineSeconds": seconds}});
        let path = "spec.activeDeadlineSeconds: Invalid value";
        for (old, new, expected) in [
            (None, None, None),
            (None, Some(5), None),
            (Some(5), Some(5), None),
            (Some(5), Some(4), None),
            (
                Some(5),
                Some(6),
                Some(format!(
                    "{path}: 6: must be less than or equal to previous value"
                )),
            ),
            (
                Some(5),
                None,
                Some(format!(
                    "{path}: \"null\": must not update from a positive integer to nil value"
                )),
            ),
        ] {
            let errors = immutable(&pod(old), &pod(new));
            let found: Vec<String> = errors.iter().map(FieldError::to_string).collect();
            assert_eq!(found, Vec::from_iter(expected), "{old:?} {new:?}");
        }
    }

    #[test]
    fn a_negative_grace_may_become_one_second() {
        let pod =
            |grace: i64| json!({"kind": "Pod", "spec": {"terminationGracePeriodSeconds": grace}});
        for (old, new, is_allowed) in [(-1, 1, true), (-1, 2, false), (0, 1, false), (2, 1, false)]
        {
            let errors = immutable(&pod(old), &pod(new));
            assert_eq!(errors.is_empty(), is_allowed, "{old} {new}: {errors:?}");
        }
    }

    #[test]
    fn how_a_running_pod_is_probed_stays() {
        let pod =
            |annotations: Value| json!({"kind": "Pod", "metadata": {"annotations": annotations}});
        let key = "liveness.probe.probelet.dev/a";
        let slow = pod(json!({key: "periodMilliseconds=250", "other": "x"}));
        let quick = pod(json!({key: "periodMilliseconds=20", "other": "x"}));
        let none = pod(json!({"other": "y"}));
        let expected = format!(
            "metadata.annotations[{key}]: Forbidden: pod updates may not change how often or how long a \
             container is probed"
        );
        for (old, new) in [(&slow, &quick), (&slow, &none), (&none, &slow)] {
            let errors = immutable(old, new);
            let found: Vec<String> = errors.iter().map(FieldError::to_string).collect();
            assert_eq!(found, [expected.as_str()]);
        }
        assert_eq!(immutable(&slow, &slow), []);
    }

    #[test]
    fn a_services_address_stays() {
        let service = |spec: Value| json!({"kind": "Service", "spec": spec});
        let old = service(json!({"clusterIP": "10.0.0.1"}));
        for allowed in [
            json!({"ports": []}),
            json!({"clusterIP": ""}),
            json!({"clusterIP": "10.0.0.1"}),
        ] {
            assert_eq!(immutable(&old, &service(allowed)), []);
        }
        assert_eq!(immutable(&service(json!({})), &old), []);
        let errors = immutable(&old, &service(json!({"clusterIP": "None"})));
        assert_eq!(
            errors[0].to_string(),
            "spec.clusterIP: Invalid value: \"None\": field is immutable"
        );
    }
}
