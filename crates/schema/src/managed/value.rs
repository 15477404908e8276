//! What is in a value, by its schema: the set of its fields, and the value without some of them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::element::Element;
use super::set::FieldSet;
use crate::{List, ListKind, Node, Schema};

/// Whether only the whole of it can be owned.
pub(super) fn is_atomic(schema: &Schema) -> bool {
    match schema.node() {
        Node::Object(object) => object.atomic,
        Node::Map(map) => map.atomic,
        Node::List(list) => list.kind == ListKind::Atomic,
        Node::Scalar(_) | Node::Any => true,
    }
}

/// Every leaf and every element of a list that the value has.
///
/// Upstream: structured-merge-diff typed/tofieldset.go, TypedValue.ToFieldSet.
/// Shown by: the_fields_of_a_value_are_those_of_upstream.
pub(super) fn fields_of(schema: &Schema, value: &Value) -> FieldSet {
    node_of(schema, value).1
}

/// Whether the place itself is in the set, and what is below it.
fn node_of(schema: &Schema, value: &Value) -> (bool, FieldSet) {
    if is_atomic(schema) {
        return (true, FieldSet::new());
    }
    let mut set = FieldSet::new();
    match (schema.node(), value) {
        (Node::Object(_) | Node::Map(_), Value::Object(fields)) => {
            let any_key = matches!(schema.node(), Node::Map(_));
            for (name, value) in fields {
                let (member, below) = match schema.field(name) {
                    Some(field) => node_of(field, value),
                    None => (true, FieldSet::new()),
                };
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                set.put(|| Element::field(name), member || empty || any_key, below);
            }
        }
        (Node::List(list), Value::Array(items)) => {
            // Elements that cannot be told apart are one place, and nothing is known of what is below it.
            let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
            let elements: Vec<(Element, &Value)> = elements(list, items).collect();
            for (element, _) in &elements {
                if !seen.insert(element) {
                    twice.insert(element);
                }
            }
            for (element, item) in &elements {
                let below = if twice.contains(element) {
                    FieldSet::new()
                } else {
                    node_of(&list.items, item).1
                };
                set.put(|| element.clone(), true, below);
            }
        }
        _ => {}
    }
    (false, set)
}

/// The elements of a list that can be told by something.
fn elements<'v>(list: &List, items: &'v [Value]) -> impl Iterator<Item = (Element, &'v Value)> {
    items.iter().filter_map(|item| {
        let element = Element::of_list(&list.kind, &list.items, item).ok()?;
        Some((element, item))
    })
}

/// The value without the members of a set and what is below them. What is empty then is null.
///
/// Upstream: structured-merge-diff typed/remove.go, TypedValue.RemoveItems.
/// Shown by: what_is_empty_without_its_members_is_null.
pub(super) fn without(schema: &Schema, value: &Value, set: &FieldSet) -> Value {
    match (schema.node(), value) {
        (Node::Scalar(_) | Node::Any, value) => value.clone(),
        _ if is_atomic(schema) => Value::Null,
        (Node::Object(_) | Node::Map(_), Value::Object(fields)) => {
            let left: Map<String, Value> = fields
                .iter()
                .filter_map(|(name, value)| {
                    let left = without_at(schema.field(name), value, set, &Element::field(name))?;
                    Some((name.clone(), left))
                })
                .collect();
            if left.is_empty() {
                Value::Null
            } else {
                Value::Object(left)
            }
        }
        (Node::List(list), Value::Array(items)) => {
            let left: Vec<Value> = items
                .iter()
                .filter_map(
                    |item| match Element::of_list(&list.kind, &list.items, item) {
                        Ok(element) => without_at(Some(&list.items), item, set, &element),
                        Err(_) => Some(item.clone()),
                    },
                )
                .collect();
            if left.is_empty() {
                Value::Null
            } else {
                Value::Array(left)
            }
        }
        _ => Value::Null,
    }
}

fn without_at(
    schema: Option<&Schema>,
    value: &Value,
    set: &FieldSet,
    element: &Element,
) -> Option<Value> {
    match (set.get(element), schema) {
        (Some(node), _) if node.member => None,
        (Some(node), Some(schema)) => Some(without(schema, value, &node.below)),
        _ => Some(value.clone()),
    }
}

/// The value without what is not there any more once Go has read it into its types and written it again: null,
/// and a list or a map without content. Most have none of that, and are not copied.
pub(super) fn as_written<'v>(schema: &Schema, value: &'v Value) -> Cow<'v, Value> {
    if is_as_written(schema, value) {
        return Cow::Borrowed(value);
    }
    let mut value = value.clone();
    drop_unwritten(schema, &mut value);
    Cow::Owned(value)
}

fn is_as_written(schema: &Schema, value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().all(|(name, value)| {
            schema
                .field(name)
                .is_none_or(|field| is_written(field, value) && is_as_written(field, value))
        }),
        Value::Array(items) => schema
            .items()
            .is_none_or(|schema| items.iter().all(|item| is_as_written(schema, item))),
        _ => true,
    }
}

fn drop_unwritten(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(fields) => fields.retain(|name, value| match schema.field(name) {
            Some(field) => {
                drop_unwritten(field, value);
                is_written(field, value)
            }
            None => true,
        }),
        Value::Array(items) => {
            if let Some(schema) = schema.items() {
                items
                    .iter_mut()
                    .for_each(|item| drop_unwritten(schema, item));
            }
        }
        _ => {}
    }
}

fn is_written(schema: &Schema, value: &Value) -> bool {
    match (schema.node(), value) {
        (_, Value::Null) => false,
        (Node::List(_), Value::Array(items)) => !items.is_empty(),
        (Node::Map(_), Value::Object(fields)) => !fields.is_empty(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: Value, paths: &[&str]) {
        let schema = Schema::of("v1", "Pod").unwrap();
        assert_eq!(fields_of(schema, &value).paths(), paths, "{value}");
    }

    #[test]
    fn the_fields_of_a_value_are_those_of_upstream() {
        check(json!({}), &[]);
        // A struct is not there for itself, unless it is empty or null.
        check(json!({"spec": {"nodeName": "n"}}), &[".spec.nodeName"]);
        check(json!({"spec": {}}), &[".spec"]);
        check(json!({"spec": null}), &[".spec"]);
        check(json!({"spec": {"nodeName": null}}), &[".spec.nodeName"]);
        // Nor is a map, but each of its keys.
        check(
            json!({"metadata": {"labels": {"a": "1", "b": ""}, "annotations": {}}}),
            &[
                ".metadata.annotations",
                ".metadata.labels.a",
                ".metadata.labels.b",
            ],
        );
        // Elements are, and an empty list is nothing.
        check(
            json!({"metadata": {"finalizers": ["b", "a"]}}),
            &[
                ".metadata.finalizers[=\"a\"]",
                ".metadata.finalizers[=\"b\"]",
            ],
        );
        check(json!({"spec": {"containers": []}}), &[]);
        check(json!({"spec": {"containers": null}}), &[".spec.containers"]);
        check(
            json!({"spec": {"containers": [{"name": "c", "args": ["x"], "ports": [{"containerPort": 1}]}]}}),
            &[
                ".spec.containers[name=\"c\"]",
                ".spec.containers[name=\"c\"].args",
                ".spec.containers[name=\"c\"].name",
                ".spec.containers[name=\"c\"].ports[containerPort=1,protocol=\"TCP\"]",
                ".spec.containers[name=\"c\"].ports[containerPort=1,protocol=\"TCP\"].containerPort",
            ],
        );
        // Nothing is known of elements that are the same.
        check(
            json!({"spec": {"containers": [{"name": "c"}, {"name": "c", "tty": true}]}}),
            &[".spec.containers[name=\"c\"]"],
        );
        // Of what is atomic only the whole.
        check(
            json!({"spec": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}]}}),
            &[".spec.nodeSelector", ".spec.tolerations"],
        );
    }

    #[test]
    fn what_is_empty_without_its_members_is_null() {
        let schema = Schema::of("v1", "Pod").unwrap();
        let value = json!({
            "metadata": {"labels": {"a": "1"}, "name": "web"},
            "spec": {"containers": [{"name": "a"}, {"name": "b", "tty": true}], "nodeName": "n"},
        });
        let set = FieldSet::decode(&json!({
            "f:metadata": {"f:labels": {"f:a": {}}},
            "f:spec": {"f:nodeName": {}, "f:containers": {
                "k:{\"name\":\"a\"}": {".": {}},
                "k:{\"name\":\"b\"}": {"f:tty": {}},
            }},
        }))
        .unwrap();
        let left = without(schema, &value, &set);
        assert_eq!(
            left,
            json!({
                "metadata": {"labels": null, "name": "web"},
                "spec": {"containers": [{"name": "b"}]},
            })
        );
        let left = as_written(schema, &left);
        assert_eq!(left["metadata"], json!({"name": "web"}));
        assert!(matches!(as_written(schema, &left), Cow::Borrowed(_)));
    }
}
