//! Sets of fields, and their form in JSON, `fieldsV1`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::{Map, Value};

use super::element::Element;
use crate::{Node, Schema};

/// A set of paths, as a tree.
///
/// Shape: a path is in the set if the node at its end is a member. No node is there in vain: each is a member
/// or has one below it.
///
/// Upstream: structured-merge-diff fieldpath/set.go, Set.
/// Shown by: sets_behave_as_sets, fields_v1_is_that_of_upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    nodes: BTreeMap<Element, SetNode>,
}

/// One place in a [`FieldSet`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SetNode {
    pub(super) member: bool,
    pub(super) below: FieldSet,
}

impl SetNode {
    fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl FieldSet {
    pub(super) const fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
        }
    }

    /// The set of some paths of fields: `["metadata", "labels"]`.
    pub(super) fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::new();
        for path in paths {
            let Some((last, above)) = path.split_last() else {
                continue;
            };
            let mut place = &mut set;
            for name in above {
                place = &mut place.nodes.entry(Element::field(name)).or_default().below;
            }
            place.insert(Element::field(last));
        }
        set
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn insert(&mut self, element: Element) {
        self.nodes.entry(element).or_default().member = true;
    }

    /// Puts what was found at one place in; does nothing with nothing, so that the element is only made if it
    /// is needed.
    pub(super) fn put(&mut self, element: impl FnOnce() -> Element, member: bool, below: Self) {
        if member || !below.is_empty() {
            let node = self.nodes.entry(element()).or_default();
            node.member |= member;
            node.below = std::mem::take(&mut node.below).union(below);
        }
    }

    pub(super) fn get(&self, element: &Element) -> Option<&SetNode> {
        self.nodes.get(element)
    }

    pub(super) fn union(mut self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        for (element, node) in other.nodes {
            match self.nodes.entry(element) {
                Entry::Vacant(place) => {
                    place.insert(node);
                }
                Entry::Occupied(mut place) => {
                    let place = place.get_mut();
                    place.member |= node.member;
                    place.below = std::mem::take(&mut place.below).union(node.below);
                }
            }
        }
        self
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let nodes = self.nodes.iter().filter_map(|(element, node)| {
            let other = other.nodes.get(element)?;
            let both = SetNode {
                member: node.member && other.member,
                below: node.below.intersection(&other.below),
            };
            (!both.is_empty()).then(|| (element.clone(), both))
        });
        Self {
            nodes: nodes.collect(),
        }
    }

    /// What is in this set and not in the other: a member stays although something below it goes.
    pub(super) fn without(mut self, other: &Self) -> Self {
        self.nodes.retain(|element, node| {
            if let Some(other) = other.nodes.get(element) {
                node.member &= !other.member;
                node.below = std::mem::take(&mut node.below).without(&other.below);
            }
            !node.is_empty()
        });
        self
    }

    /// What is neither in the other set nor below one of its members.
    pub(super) fn without_below(mut self, other: &Self) -> Self {
        self.nodes.retain(|element, node| {
            let Some(other) = other.nodes.get(element) else {
                return true;
            };
            if other.member {
                return false;
            }
            node.below = std::mem::take(&mut node.below).without_below(&other.below);
            !node.is_empty()
        });
        self
    }

    /// With the fields of objects that have a member below them, but not the keys of maps nor the elements of
    /// lists: of `a.b.c`, `a` is added if it is a field.
    ///
    /// Upstream: structured-merge-diff fieldpath/set.go, Set.EnsureNamedFieldsAreMembers.
    /// Shown by: what_another_owns_stays.
    pub(super) fn with_named_fields(mut self, schema: Option<&Schema>) -> Self {
        for (element, node) in &mut self.nodes {
            let below = schema.and_then(|schema| match element {
                Element::Field(name) => schema.field(name),
                Element::Key(_) => schema.items(),
                Element::Value(_) | Element::Index(_) => None,
            });
            let of_an_object = schema.is_some_and(|s| matches!(s.node(), Node::Object(_)));
            if matches!(element, Element::Field(_))
                && of_an_object
                && below.is_some()
                && !node.below.is_empty()
            {
                node.member = true;
            }
            node.below = std::mem::take(&mut node.below).with_named_fields(below);
        }
        self
    }

    /// With nothing below what the schema knows only the whole of. Others may have written it so, when their
    /// schema was another.
    ///
    /// Upstream: structured-merge-diff typed/reconcile_schema.go, ReconcileFieldSetWithSchema.
    /// Shown by: a_set_below_an_atomic_field_is_the_field.
    pub(super) fn fitted_to(mut self, schema: &Schema) -> Self {
        for (element, node) in &mut self.nodes {
            let below = match element {
                Element::Field(name) => schema.field(name),
                Element::Key(_) | Element::Value(_) | Element::Index(_) => schema.items(),
            };
            let Some(below) = below else { continue };
            if super::value::is_atomic(below) && !node.below.is_empty() {
                *node = SetNode {
                    member: true,
                    below: Self::new(),
                };
            } else {
                node.below = std::mem::take(&mut node.below).fitted_to(below);
            }
        }
        self
    }

    /// The paths of the members, those of a place before those below it.
    ///
    /// Upstream: structured-merge-diff fieldpath/set.go, Set.Iterate.
    /// Shown by: conflicts_name_the_manager_as_upstream_does.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.note_paths("", &mut paths);
        paths
    }

    fn note_paths(&self, above: &str, paths: &mut Vec<String>) {
        for (element, _) in self.nodes.iter().filter(|(_, node)| node.member) {
            paths.push(format!("{above}{element}"));
        }
        for (element, node) in &self.nodes {
            if !node.below.is_empty() {
                node.below.note_paths(&format!("{above}{element}"), paths);
            }
        }
    }

    /// `fieldsV1`.
    ///
    /// Upstream: structured-merge-diff fieldpath/serialize.go, Set.ToJSON.
    /// Shown by: fields_v1_is_read_as_it_was_written.
    pub(super) fn encode(&self) -> Value {
        let nodes = self.nodes.iter();
        Value::Object(
            nodes
                .map(|(element, node)| {
                    let mut below = match node.below.encode() {
                        Value::Object(below) => below,
                        _ => Map::new(),
                    };
                    if node.member && !below.is_empty() {
                        below.insert(".".to_owned(), Value::Object(Map::new()));
                    }
                    (element.encode(), Value::Object(below))
                })
                .collect(),
        )
    }

    /// Of `fieldsV1`.
    ///
    /// Upstream: structured-merge-diff fieldpath/serialize.go, Set.FromJSON.
    /// Shown by: fields_v1_is_read_as_it_was_written.
    pub(super) fn decode(json: &Value) -> Result<Self, String> {
        let Value::Object(json) = json else {
            return Err(format!("a set of fields is an object, not {json}"));
        };
        let mut set = Self::new();
        for (name, below) in json {
            if name == "." {
                continue;
            }
            if let Some(element) = Element::decode(name)? {
                let node = set.nodes.entry(element).or_default();
                node.below = Self::decode(below)?;
                node.member = node.below.is_empty() || below.get(".").is_some();
            }
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::element::Scalar;
    use super::*;

    fn elements() -> impl Strategy<Value = Element> {
        let scalar = prop_oneof![
            any::<i64>().prop_map(Scalar::Integer),
            "\\PC{0,4}".prop_map(Scalar::Text),
            any::<bool>().prop_map(|value| Scalar::Other(value.to_string())),
        ];
        let key = prop::collection::btree_map("[a-c]", scalar.clone(), 1..3)
            .prop_map(|fields| Element::Key(fields.into_iter().collect()));
        prop_oneof![
            "\\PC{0,4}".prop_map(Element::Field),
            key,
            scalar.prop_map(Element::Value),
            any::<i64>().prop_map(Element::Index),
        ]
    }

    /// Of few names, so that two sets meet.
    pub(super) fn sets() -> impl Strategy<Value = FieldSet> {
        paths_of(prop_oneof![
            "[a-c]".prop_map(Element::Field),
            (0..2_i64).prop_map(|n| Element::Value(Scalar::Integer(n))),
        ])
    }

    fn paths_of(element: impl Strategy<Value = Element>) -> impl Strategy<Value = FieldSet> {
        prop::collection::vec(prop::collection::vec(element, 1..4), 0..6).prop_map(|paths| {
            paths
                .into_iter()
                .map(|path| {
                    path.into_iter()
                        .rev()
                        .fold(FieldSet::new(), |below, element| {
                            let mut set = FieldSet::new();
                            set.put(|| element, below.is_empty(), below);
                            set
                        })
                })
                .fold(FieldSet::new(), FieldSet::union)
        })
    }

    proptest! {
        #[test]
        fn fields_v1_is_read_as_it_was_written(set in paths_of(elements())) {
            prop_assert_eq!(FieldSet::decode(&set.encode()), Ok(set));
        }

        #[test]
        fn sets_behave_as_sets(a in sets(), b in sets()) {
            let union = a.clone().union(b.clone());
            let both = a.intersection(&b);
            let rest = a.clone().without(&b);
            prop_assert_eq!(&union, &b.clone().union(a.clone()));
            prop_assert_eq!(&both, &b.intersection(&a));
            prop_assert_eq!(rest.intersection(&b), FieldSet::new());
            prop_assert_eq!(&rest.union(both.clone()), &a);
            prop_assert_eq!(union.paths().len(), a.paths().len() + b.paths().len() - both.paths().len());
            prop_assert_eq!(a.clone().without(&a), FieldSet::new());
        }
    }

    #[test]
    fn fields_v1_is_that_of_upstream() {
        let json = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:containers": {"k:{\"name\":\"web\"}": {
                    ".": {},
                    "f:image": {},
                    "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}}},
                }},
                "f:finalizers": {"v:\"a\"": {}, "v:1": {}, "v:true": {}},
                "f:list": {"i:0": {}},
            },
        });
        let set = FieldSet::decode(&json).unwrap();
        assert_eq!(
            set.paths(),
            [
                ".metadata.labels",
                ".metadata.labels.app",
                ".spec.containers[name=\"web\"]",
                ".spec.containers[name=\"web\"].image",
                ".spec.containers[name=\"web\"].ports[containerPort=80,protocol=\"TCP\"]",
                ".spec.finalizers[=1]",
                ".spec.finalizers[=\"a\"]",
                ".spec.finalizers[=true]",
                ".spec.list[0]",
            ]
        );
        let mut written = json;
        // A member with nothing below it needs no dot.
        written["f:spec"]["f:containers"]["k:{\"name\":\"web\"}"]["f:ports"]["k:{\"containerPort\":80,\"protocol\":\"TCP\"}"] =
            json!({});
        assert_eq!(set.encode(), written);
    }

    #[test]
    fn what_is_no_set_is_an_error_and_what_is_new_is_passed_over() {
        for json in [
            json!([]),
            json!({"f:a": 1}),
            json!({"a": {}}),
            json!({"x": {}}),
            json!({"v:{": {}}),
            json!({"k:1": {}}),
            json!({"i:one": {}}),
        ] {
            assert!(FieldSet::decode(&json).is_err(), "{json}");
        }
        let set = FieldSet::decode(&json!({"x:new": {"f:a": {}}, "f:b": {"x:new": {}}})).unwrap();
        assert_eq!(set.paths(), [".b"]);
    }

    #[test]
    fn a_member_goes_with_what_is_below_it_only_if_asked() {
        let set = FieldSet::decode(&json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}})).unwrap();
        let a = FieldSet::of_fields(&[&["a"]]);
        assert_eq!(set.clone().without(&a).paths(), [".c", ".a.b"]);
        assert_eq!(set.without_below(&a).paths(), [".c"]);
    }
}
