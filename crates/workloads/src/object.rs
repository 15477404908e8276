//! Reading and changing wire objects. Whatever is missing reads as empty.

use probelet_model::id::{Kind, ObjectKey};
use probelet_model::time::Wall;
use serde::Deserialize;
use serde_json::{Map, Value};

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

pub(crate) fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

pub(crate) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

pub(crate) fn key(kind: Kind, object: &Value) -> ObjectKey {
    ObjectKey::new(kind, namespace(object), name(object))
}

pub(crate) fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap_or(0)
}

pub(crate) fn labels(object: &Value) -> Option<&Map<String, Value>> {
    object["metadata"]["labels"].as_object()
}

pub(crate) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object["metadata"]["annotations"].get(name)?.as_str()
}

pub(crate) fn set_annotation(object: &mut Value, name: &str, value: &str) {
    let annotations = &mut object["metadata"]["annotations"];
    if !annotations.is_object() {
        *annotations = Value::Object(Map::new());
    }
    annotations[name] = value.into();
}

pub(crate) fn created(object: &Value) -> Option<Wall> {
    stamp(&object["metadata"]["creationTimestamp"])
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    let all = object["metadata"]["finalizers"].as_array();
    all.into_iter().flatten().filter_map(Value::as_str)
}

pub(crate) fn has_finalizer(object: &Value, name: &str) -> bool {
    finalizers(object).any(|finalizer| finalizer == name)
}

/// Replaces the list of finalizers; an empty one is left out.
pub(crate) fn set_finalizers(object: &mut Value, finalizers: Vec<String>) {
    set_list(
        object,
        "finalizers",
        finalizers.into_iter().map(Value::from).collect(),
    );
}

pub(crate) fn owners(object: &Value) -> &[Value] {
    let all = object["metadata"]["ownerReferences"].as_array();
    all.map_or(&[], Vec::as_slice)
}

pub(crate) fn set_owners(object: &mut Value, owners: Vec<Value>) {
    set_list(object, "ownerReferences", owners);
}

/// The owner that manages the object.
///
/// Upstream: apimachinery pkg/apis/meta/v1/controller_ref.go, GetControllerOf.
/// Shown by: orphans_are_adopted_and_strangers_let_go.
pub(crate) fn controller(object: &Value) -> Option<&Value> {
    owners(object)
        .iter()
        .find(|owner| owner["controller"] == true)
}

pub(crate) fn stamp(value: &Value) -> Option<Wall> {
    Wall::deserialize(value).ok()
}

/// A number that is left out where it is zero.
pub(crate) fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn set_list(object: &mut Value, field: &str, list: Vec<Value>) {
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return;
    };
    if list.is_empty() {
        metadata.remove(field);
    } else {
        metadata.insert(field.to_owned(), Value::Array(list));
    }
}
