//! What differs between two values.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::element::Element;
use super::ground::Ground;
use super::set::FieldSet;
use super::value::is_atomic;
use crate::{List, Node, Schema};

/// What one value has that another has not. No path is in more than one of the three.
///
/// Upstream: structured-merge-diff typed/compare.go, Comparison.
/// Shown by: what_differs_is_told_as_upstream_tells_it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Fields that are not there any more.
    pub(super) removed: FieldSet,
    /// Fields that have another value.
    pub(super) modified: FieldSet,
    /// Fields that are new.
    pub(super) added: FieldSet,
}

/// What happened to a place itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Removed,
    Modified,
    Added,
}

impl Comparison {
    /// Of two objects of a kind. What Go writes for every object of the kind, `ground`, is always there.
    ///
    /// Upstream: structured-merge-diff typed/compare.go, TypedValue.Compare.
    /// Shown by: what_differs_is_told_as_upstream_tells_it.
    pub(super) fn of(schema: &Schema, before: &Value, after: &Value, ground: &Ground) -> Self {
        compare(schema, Some(before), Some(after), Some(ground)).1
    }

    /// Without what is at or below the members of a set.
    pub(super) fn without_below(self, set: &FieldSet) -> Self {
        Self {
            removed: self.removed.without_below(set),
            modified: self.modified.without_below(set),
            added: self.added.without_below(set),
        }
    }

    /// What was set: modified or added.
    pub(super) fn written(self) -> FieldSet {
        self.modified.union(self.added)
    }

    /// Puts what was found at a place in.
    fn put(&mut self, element: impl Fn() -> Element, (change, below): (Option<Change>, Self)) {
        let is = |what| change == Some(what);
        self.removed
            .put(&element, is(Change::Removed), below.removed);
        self.modified
            .put(&element, is(Change::Modified), below.modified);
        self.added.put(&element, is(Change::Added), below.added);
    }
}

fn compare(
    schema: &Schema,
    before: Option<&Value>,
    after: Option<&Value>,
    ground: Option<&Ground>,
) -> (Option<Change>, Comparison) {
    let [before, after] =
        [before, after].map(|value| value.or_else(|| ground.map(|_| nothing(schema))));
    let mut found = Comparison::default();
    let change = match (before, after) {
        (None, Some(_)) => Some(Change::Added),
        (Some(_), None) => Some(Change::Removed),
        _ => None,
    };
    // What is empty is a leaf as well, so that empty and null are told apart.
    let is_leaf = is_atomic(schema)
        || ([before, after]
            .iter()
            .all(|value| value.is_none_or(is_empty))
            && ground.is_none_or(Ground::is_empty));
    if is_leaf {
        let change = change.or_else(|| (before != after).then_some(Change::Modified));
        return (change, found);
    }
    match schema.node() {
        Node::List(list) => {
            let [before, after] = [before, after].map(|value| {
                let items = value.and_then(Value::as_array);
                items.map_or(&[][..], Vec::as_slice)
            });
            compare_lists(list, before, after, &mut found);
        }
        _ => {
            let none = Map::new();
            let [before, after] =
                [before, after].map(|value| value.and_then(Value::as_object).unwrap_or(&none));
            let new = after.keys().filter(|name| !before.contains_key(*name));
            for name in before.keys().chain(new) {
                let [before, after] = [before.get(name), after.get(name)];
                let at_place = match schema.field(name) {
                    Some(field) => compare(
                        field,
                        before,
                        after,
                        ground.and_then(|ground| ground.below(name)),
                    ),
                    // No field of the kind: nobody owns it.
                    None => continue,
                };
                found.put(|| Element::field(name), at_place);
            }
        }
    }
    (change, found)
}

/// What is there if it always is and nothing is said.
fn nothing(schema: &Schema) -> &'static Value {
    static STRUCT: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
    match schema.node() {
        Node::List(_) => &Value::Null,
        _ => &STRUCT,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        other => other.is_null(),
    }
}

/// The elements of two lists that are known by the same.
#[derive(Default)]
struct Pair<'v> {
    before: Vec<&'v Value>,
    after: Vec<&'v Value>,
}

fn compare_lists(list: &List, before: &[Value], after: &[Value], found: &mut Comparison) {
    let mut pairs: BTreeMap<Element, Pair<'_>> = BTreeMap::new();
    for (items, is_after) in [(before, false), (after, true)] {
        for item in items {
            // One that cannot be told apart was refused before it got here, and nobody can own it.
            if let Ok(element) = Element::of_list(&list.kind, &list.items, item) {
                let pair = pairs.entry(element).or_default();
                let side = if is_after {
                    &mut pair.after
                } else {
                    &mut pair.before
                };
                side.push(item);
            }
        }
    }
    let one = |before, after| compare(&list.items, before, after, None);
    for (element, Pair { before, after }) in &pairs {
        let nothing = Comparison::default;
        let (compared, itself) = match (&before[..], &after[..]) {
            (before @ ([] | [_]), after @ ([] | [_])) => {
                let compared = one(before.first().copied(), after.first().copied());
                (compared, None)
            }
            ([_, _, ..], [_, _, ..]) => (
                (None, nothing()),
                (before != after).then_some(Change::Modified),
            ),
            ([_, _, ..], [after]) => (one(None, Some(after)), Some(Change::Removed)),
            ([_, _, ..], []) => ((None, nothing()), Some(Change::Removed)),
            ([before], _) => (one(Some(before), None), Some(Change::Added)),
            ([], _) => ((None, nothing()), Some(Change::Added)),
        };
        found.put(|| element.clone(), compared);
        found.put(|| element.clone(), (itself, nothing()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `-` before what is removed, `~` before what is modified, `+` before what is added.
    fn check(before: Value, after: Value, differences: &[&str]) {
        let schema = Schema::of("v1", "Pod").unwrap();
        let ground = Ground::of("v1", "Pod");
        let compared = Comparison::of(schema, &before, &after, &ground);
        let told = [
            ("-", compared.removed),
            ("~", compared.modified),
            ("+", compared.added),
        ];
        let told: Vec<String> = told
            .iter()
            .flat_map(|(sign, set)| {
                set.paths()
                    .into_iter()
                    .map(move |path| format!("{sign}{path}"))
            })
            .collect();
        assert_eq!(told, differences, "{before} {after}");
    }

    fn spec(spec: Value) -> Value {
        json!({"spec": spec})
    }

    #[test]
    fn what_differs_is_told_as_upstream_tells_it() {
        check(json!({}), json!({}), &[]);
        // What is always there is not added, and what is in it is.
        check(
            json!({}),
            spec(json!({"nodeName": "n", "containers": [{"name": "c"}], "securityContext": {}})),
            &[
                "+.spec.nodeName",
                "+.spec.securityContext",
                "+.spec.containers[name=\"c\"]",
                "+.spec.containers[name=\"c\"].name",
            ],
        );
        check(
            spec(json!({"nodeName": "n"})),
            json!({}),
            &["-.spec.nodeName"],
        );
        check(
            spec(json!({"nodeName": "n"})),
            spec(json!({"nodeName": "m"})),
            &["~.spec.nodeName"],
        );
        // What is a pointer, a map or a list comes and goes with what is in it.
        let probe = spec(json!({"securityContext": {"runAsUser": 1}, "volumes": [{"name": "v"}]}));
        let both = [
            ".spec.securityContext",
            ".spec.volumes",
            ".spec.securityContext.runAsUser",
            ".spec.volumes[name=\"v\"]",
            ".spec.volumes[name=\"v\"].name",
        ];
        let signed = |sign: &str| both.map(|path| format!("{sign}{path}"));
        check(
            json!({}),
            probe.clone(),
            &signed("+").each_ref().map(String::as_str),
        );
        check(
            probe,
            json!({}),
            &signed("-").each_ref().map(String::as_str),
        );
        let labels = |labels: Value| json!({"metadata": {"labels": labels}});
        check(
            labels(json!({"a": "1", "b": "1"})),
            labels(json!({"b": "2", "c": "1"})),
            &[
                "-.metadata.labels.a",
                "~.metadata.labels.b",
                "+.metadata.labels.c",
            ],
        );
        // What became null is still there, and what was in it is not.
        check(
            labels(json!({"a": "1"})),
            labels(Value::Null),
            &["-.metadata.labels.a"],
        );
        check(
            spec(json!({"nodeName": "n"})),
            spec(json!({"nodeName": null})),
            &["~.spec.nodeName"],
        );
        check(
            spec(json!({"securityContext": {}})),
            spec(json!({"securityContext": null})),
            &["~.spec.securityContext"],
        );
        // What is empty is there, unless it is so for every object.
        check(labels(json!({})), json!({}), &["-.metadata.labels"]);
        check(spec(json!({"containers": null})), json!({}), &[]);
        check(json!({}), spec(json!({"volumes": []})), &["+.spec.volumes"]);
        // Elements that only change their places do not differ; in an atomic list they do.
        let finalizers = |names: &[&str]| json!({"metadata": {"finalizers": names}});
        check(
            finalizers(&["a", "b"]),
            finalizers(&["b", "c", "a"]),
            &["+.metadata.finalizers[=\"c\"]"],
        );
        let tolerations = |keys: &[&str]| spec(json!({"tolerations": keys}));
        check(
            tolerations(&["a", "b"]),
            tolerations(&["b", "a"]),
            &["~.spec.tolerations"],
        );
        // Fields that no schema knows are nobody's.
        check(json!({}), spec(json!({"unheard": 1})), &[]);
    }
}
