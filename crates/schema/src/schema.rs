//! One kind's tree of fields.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

use crate::definitions;

/// The shape of a kind's objects, or of a part of them: what stands at one place in the tree.
///
/// Shape: a tree whose nodes are [`Node`]s. Types that contain themselves are fine: a reference is followed
/// when it is asked for ([`Schema::node`]), so whoever walks should walk an object beside it.
#[derive(Debug)]
pub struct Schema {
    place: Place,
    default: Option<Value>,
    patch: PatchStrategy,
}

/// A node of its own, or one that has a name and may be meant by many.
#[derive(Debug)]
enum Place {
    Own(Node),
    Reference(Cell),
}

/// Where a named type is, once all of them have been read. They are read once, and live as long as the
/// process.
pub(crate) type Cell = &'static OnceLock<Schema>;

/// What a value is.
#[derive(Debug)]
pub enum Node {
    /// An object with fields that have names.
    Object(Object),
    /// An object with any keys, all values of one type.
    Map(Map),
    /// A list.
    List(List),
    /// A value without parts.
    Scalar(Scalar),
    /// Whatever somebody put there: `fieldsV1`, the object of a watch event.
    Any,
}

/// An object with fields that have names.
#[derive(Debug)]
pub struct Object {
    /// The type's name, as the documents have it: `io.k8s.api.core.v1.Container`; empty without one.
    pub name: String,
    /// By their names in JSON.
    pub fields: BTreeMap<String, Schema>,
    /// `x-kubernetes-map-type: atomic`: server-side apply knows only the whole of it (a label selector).
    pub atomic: bool,
}

/// An object with any keys.
#[derive(Debug)]
pub struct Map {
    /// What each value is.
    pub values: Box<Schema>,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic: bool,
}

/// A list.
#[derive(Debug)]
pub struct List {
    /// What each element is.
    pub items: Box<Schema>,
    /// How its elements are told apart.
    pub kind: ListKind,
}

/// `x-kubernetes-list-type`, with `x-kubernetes-list-map-keys`: how server-side apply sees a list.
///
/// A list without the extension is what its patch strategy says, and atomic without that.
///
/// Upstream: kube-openapi pkg/schemaconv/smd.go, getListElementRelationship.
/// Shown by: lists_and_objects_are_known_as_upstream_marks_them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// Only the whole of it.
    Atomic,
    /// Each scalar is itself.
    Set,
    /// An element is known by these fields.
    Map(Vec<String>),
}

/// A value without parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    String,
    /// Bytes, in base64.
    Bytes,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A number.
    Float64,
    /// True or false.
    Boolean,
    /// `intstr.IntOrString`.
    IntOrString,
    /// `resource.Quantity`: text or a number.
    Quantity,
    /// RFC 3339, to the second.
    Time,
    /// RFC 3339, to the microsecond.
    MicroTime,
}

/// `x-kubernetes-patch-strategy` and `x-kubernetes-patch-merge-key`: how a strategic merge patch sees a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// A list is merged with the patch's and not replaced by it.
    pub merge: bool,
    /// `retainKeys`: the patch says by `$retainKeys` which fields may stay.
    pub retain_keys: bool,
    /// The field by which the elements of a merged list are known; none for a list of scalars.
    pub merge_key: Option<String>,
}

impl Schema {
    pub(crate) const fn new(node: Node, default: Option<Value>, patch: PatchStrategy) -> Self {
        Self {
            place: Place::Own(node),
            default,
            patch,
        }
    }

    pub(crate) const fn reference(
        cell: Cell,
        default: Option<Value>,
        patch: PatchStrategy,
    ) -> Self {
        Self {
            place: Place::Reference(cell),
            default,
            patch,
        }
    }

    /// The schema of a kind, by its apiVersion (`apps/v1`) and kind. The kinds of lists are there too.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Option<&'static Self> {
        definitions::kind(api_version, kind)
    }

    /// What stands here; of a named type, that type's.
    ///
    /// # Panics
    /// Never: a name that nothing answers to would have failed when the definitions were read.
    #[must_use]
    pub fn node(&self) -> &Node {
        match &self.place {
            Place::Own(node) => node,
            Place::Reference(cell) => cell
                .get()
                .expect("every definition is there once they have been read")
                .node(),
        }
    }

    /// The field of that name; in a map, any name is one.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Self> {
        match self.node() {
            Node::Object(object) => object.fields.get(name),
            Node::Map(map) => Some(&map.values),
            Node::List(_) | Node::Scalar(_) | Node::Any => None,
        }
    }

    /// What the elements are, if this is a list.
    #[must_use]
    pub fn items(&self) -> Option<&Self> {
        match self.node() {
            Node::List(list) => Some(&list.items),
            Node::Object(_) | Node::Map(_) | Node::Scalar(_) | Node::Any => None,
        }
    }

    /// The value that the field has when nobody says one, where the schema knows it: `TCP` for a port's
    /// `protocol`. Server-side apply takes it for a missing key of a list's element.
    #[must_use]
    pub const fn default(&self) -> Option<&Value> {
        self.default.as_ref()
    }

    /// How a strategic merge patch sees it.
    #[must_use]
    pub const fn patch_strategy(&self) -> &PatchStrategy {
        &self.patch
    }

    /// The fields of `object` that the schema does not have, as Kubernetes writes their paths
    /// (`spec.containers[0].imagee`), in the order of the object.
    ///
    /// A value of a wrong type has none: that is another error, and the decoder's.
    ///
    /// Upstream: sigs.k8s.io/json internal/golang/encoding/json/decode.go, decodeState.object.
    /// Shown by: unknown_fields_are_named_as_upstream_names_them.
    #[must_use]
    pub fn unknown_fields(&self, object: &Value) -> Vec<String> {
        let mut found = Vec::new();
        self.note_unknown(object, &mut Vec::new(), &mut found);
        found
    }

    fn note_unknown<'v>(
        &self,
        value: &'v Value,
        path: &mut Vec<Step<'v>>,
        found: &mut Vec<String>,
    ) {
        match (self.node(), value) {
            (Node::Object(_) | Node::Map(_), Value::Object(entries)) => {
                for (name, value) in entries {
                    path.push(Step::Field(name));
                    match self.field(name) {
                        Some(field) => field.note_unknown(value, path, found),
                        None => found.push(Step::path(path)),
                    }
                    path.pop();
                }
            }
            (Node::List(list), Value::Array(elements)) => {
                for (index, element) in elements.iter().enumerate() {
                    path.push(Step::Index(index));
                    list.items.note_unknown(element, path, found);
                    path.pop();
                }
            }
            _ => {}
        }
    }

    /// `object` without the fields that the schema does not have, as a server that stores typed objects
    /// keeps it.
    ///
    /// Shown by: without_its_unknown_fields_an_object_has_none.
    #[must_use]
    pub fn without_unknown_fields(&self, mut object: Value) -> Value {
        self.drop_unknown(&mut object);
        object
    }

    fn drop_unknown(&self, value: &mut Value) {
        match (self.node(), value) {
            (Node::Object(_) | Node::Map(_), Value::Object(entries)) => {
                entries.retain(|name, value| {
                    let field = self.field(name);
                    if let Some(field) = field {
                        field.drop_unknown(value);
                    }
                    field.is_some()
                });
            }
            (Node::List(list), Value::Array(elements)) => {
                for element in elements {
                    list.items.drop_unknown(element);
                }
            }
            _ => {}
        }
    }
}

/// One step down from an object's root.
enum Step<'v> {
    Field(&'v str),
    Index(usize),
}

impl Step<'_> {
    fn path(steps: &[Self]) -> String {
        use std::fmt::Write as _;
        let mut path = String::new();
        for step in steps {
            match step {
                Self::Field(name) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(name);
                }
                Self::Index(index) => {
                    let _ = write!(path, "[{index}]");
                }
            }
        }
        path
    }
}

#[cfg(test)]
mod tests;
