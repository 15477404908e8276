//! Pod templates: when two are the same, and the hash that names the ReplicaSets made from them.

use serde_json::{Map, Value};

use crate::random;

/// The label that keeps apart the pods of a Deployment's ReplicaSets.
///
/// Upstream: apps/v1 types.go, DefaultDeploymentUniqueLabelKey.
/// Shown by: the_hash_label_does_not_count.
pub(crate) const HASH_LABEL: &str = "pod-template-hash";

/// Whether two templates are the same but for the hash label. What is null or an empty list is not there.
///
/// Upstream: pkg/controller/deployment/util/deployment_util.go, EqualIgnoreHash.
/// Differs: two notations of one quantity (`1` and `1000m`) are two.
/// Shown by: the_hash_label_does_not_count, a_template_is_the_same_whatever_its_order.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    canonical(one) == canonical(other)
}

/// The hash of a template, fit for a name. `collisions` is a Deployment's `status.collisionCount`.
///
/// Upstream: pkg/controller/controller_utils.go, ComputeHash.
/// Differs: the hash is of the template's JSON and not of Go's print of the struct, which nobody can make
/// without Go and which changes with each release; the name of a ReplicaSet is another one than on a cluster.
/// Shown by: a_template_is_the_same_whatever_its_order, a_collision_gives_another_hash.
pub(crate) fn hash(template: &Value, collisions: Option<i64>) -> String {
    let text = canonical(template).to_string();
    let mut hash = fnv(FNV_OFFSET, text.as_bytes());
    if let Some(collisions) = collisions {
        hash = fnv(hash, &collisions.to_le_bytes());
    }
    random::safe(&hash.to_string())
}

/// FNV-1a, 32 bits.
const FNV_OFFSET: u32 = 0x811c_9dc5;

fn fnv(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

fn canonical(template: &Value) -> Value {
    let mut value = pruned(template);
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.remove(HASH_LABEL);
        }
        // Maps of texts, of which an empty one is as none.
        metadata.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
        if metadata.is_empty() {
            value
                .as_object_mut()
                .map(|template| template.remove("metadata"));
        }
    }
    value
}

/// Without nulls and empty lists, the fields in the order of their names whatever order a map keeps.
fn pruned(value: &Value) -> Value {
    let is_there =
        |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().filter(|(_, value)| is_there(value)).collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields = fields.into_iter();
            Value::Object(
                fields
                    .map(|(name, value)| (name.clone(), pruned(value)))
                    .collect::<Map<_, _>>(),
            )
        }
        Value::Array(list) => list.iter().map(pruned).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_is_the_same_whatever_its_order() {
        let one = json!({ "metadata": { "labels": { "a": "1", "b": "2" } }, "spec": { "containers": [{ "name": "c" }] } });
        let other: Value = serde_json::from_str(
            r#"{"spec":{"volumes":[],"containers":[{"name":"c","env":null}]},
                "metadata":{"creationTimestamp":null,"annotations":{},"labels":{"b":"2","a":"1"}}}"#,
        )
        .unwrap();
        assert!(same(&one, &other));
        assert_eq!(hash(&one, None), hash(&other, None));
        let mut changed = one.clone();
        changed["spec"]["containers"][0]["image"] = "x".into();
        assert!(!same(&one, &changed));
        assert_ne!(hash(&one, None), hash(&changed, None));
        // An empty source of a volume is a source all the same.
        let mut with_empty = one;
        with_empty["spec"]["volumes"] = json!([{ "name": "v", "emptyDir": {} }]);
        assert!(pruned(&with_empty)["spec"]["volumes"][0]["emptyDir"].is_object());
    }

    #[test]
    fn the_hash_label_does_not_count() {
        let one = json!({ "metadata": { "labels": { "a": "1" } } });
        let other = json!({ "metadata": { "labels": { "a": "1", HASH_LABEL: "5d4f" } } });
        assert!(same(&one, &other));
        assert!(same(
            &json!({ "spec": {} }),
            &json!({ "metadata": {}, "spec": {} })
        ));
    }

    #[test]
    fn a_collision_gives_another_hash() {
        let template = json!({ "metadata": { "labels": { "a": "1" } } });
        let hashes = [None, Some(0), Some(1), Some(2)].map(|count| hash(&template, count));
        for (index, one) in hashes.iter().enumerate() {
            assert!(one.len() <= 10 && !one.is_empty());
            assert!(hashes.iter().skip(index + 1).all(|other| other != one));
        }
    }
}
