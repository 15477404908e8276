//! Where in an object something is wrong, and what: upstream's field errors.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

/// The way from an object's root to one of its fields.
///
/// Shape: written as upstream writes it, `spec.containers[0].livenessProbe`; the root is empty.
/// Upstream: apimachinery pkg/util/validation/field/path.go, Path.
/// Shown by: paths_are_written_and_followed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Segment>);

/// One step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// A field of an object: `.name`.
    Field(Cow<'static, str>),
    /// An element of a list: `[0]`.
    Index(usize),
    /// A key of a map with free keys, such as labels: `[app.kubernetes.io/name]`.
    Key(String),
}

impl FieldPath {
    /// The object itself.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// The field `name` of what this path leads to.
    #[must_use]
    pub fn field(&self, name: impl Into<Cow<'static, str>>) -> Self {
        self.then(Segment::Field(name.into()))
    }

    /// The element `index` of the list this path leads to.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.then(Segment::Index(index))
    }

    /// What lies one `segment` further on.
    #[must_use]
    pub fn then(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }

    /// What lies `name` further on, where a decoder says only that it is a key: a key that cannot be the
    /// name of a field belongs to a map with free keys.
    #[must_use]
    pub(crate) fn key_or_field(&self, name: &str) -> Self {
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            self.field(name.to_owned())
        } else {
            self.then(Segment::Key(name.to_owned()))
        }
    }

    /// The steps, outermost first.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether this is `other` or leads to something inside `other`.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// Whether this leads to the object itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// What `inner` leads to from where this path leads.
    #[must_use]
    pub fn join(&self, inner: &Self) -> Self {
        Self([self.0.as_slice(), &inner.0].concat())
    }

    /// What this path leads to in `value`.
    #[must_use]
    pub fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.0
            .iter()
            .try_fold(value, |value, segment| match segment {
                Segment::Field(name) => value.get(name.as_ref()),
                Segment::Key(name) => value.get(name),
                Segment::Index(index) => value.get(index),
            })
    }

    /// What this path leads to in `value`, to be changed.
    pub(crate) fn find_mut<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
        self.0
            .iter()
            .try_fold(value, |value, segment| match segment {
                Segment::Field(name) => value.get_mut(name.as_ref()),
                Segment::Key(name) => value.get_mut(name),
                Segment::Index(index) => value.get_mut(index),
            })
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if position == 0 => f.write_str(name)?,
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => write!(f, "[{key}]")?,
            }
        }
        Ok(())
    }
}

/// How the message about an unknown field starts; its path follows.
const UNKNOWN_FIELD: &str = "unknown field ";

/// One thing that is wrong with one field.
///
/// Upstream: apimachinery pkg/util/validation/field/errors.go, Error.
/// Shown by: messages_are_upstreams.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", self.prefix())]
pub struct FieldError {
    /// Which field.
    pub path: FieldPath,
    /// What is wrong, in upstream's words: `Invalid value: 2: must be 1`.
    pub message: String,
}

impl FieldError {
    /// What stands before the message: the path, unless the message has it.
    fn prefix(&self) -> String {
        let is_said = self.path.is_root() || self.message.starts_with(UNKNOWN_FIELD);
        if is_said {
            String::new()
        } else {
            format!("{}: ", self.path)
        }
    }

    /// Kubernetes has no such field; `meant` is one it has.
    ///
    /// Upstream: sigs.k8s.io/json, UnmarshalStrict.
    /// Shown by: messages_are_upstreams, containers_are_validated.
    pub(crate) fn unknown(path: FieldPath, meant: Option<&str>) -> Self {
        let hint = meant.map_or(String::new(), |name| format!(", did you mean {name:?}?"));
        let message = format!("{UNKNOWN_FIELD}\"{path}\"{hint}");
        Self::new(path, message)
    }

    /// An error in words of our own.
    pub(crate) fn new(path: FieldPath, message: impl Into<String>) -> Self {
        Self {
            path,
            message: message.into(),
        }
    }

    /// The field has to be there and is not; `detail` may be empty.
    pub(crate) fn required(path: FieldPath, detail: &str) -> Self {
        Self::new(path, with_detail("Required value".to_owned(), detail))
    }

    /// The field's value is not allowed.
    pub(crate) fn invalid(path: FieldPath, value: impl Into<Value>, detail: &str) -> Self {
        Self::new(
            path,
            with_detail(format!("Invalid value: {}", value.into()), detail),
        )
    }

    /// The field's value is none of those there are.
    pub(crate) fn unsupported(path: FieldPath, value: &str, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        Self::new(
            path,
            format!(
                "Unsupported value: {value:?}: supported values: {}",
                quoted.join(", ")
            ),
        )
    }

    /// The field may not be set here.
    pub(crate) fn forbidden(path: FieldPath, detail: &str) -> Self {
        Self::new(path, with_detail("Forbidden".to_owned(), detail))
    }

    /// The field's value is taken already.
    pub(crate) fn duplicate(path: FieldPath, value: impl Into<Value>) -> Self {
        Self::new(path, format!("Duplicate value: {}", value.into()))
    }

    /// The list is longer than it may be.
    pub(crate) fn too_many(path: FieldPath, actual: usize, most: usize) -> Self {
        Self::new(
            path,
            format!("Too many: {actual}: must have at most {most} items"),
        )
    }

    /// The field's value is longer than it may be.
    pub(crate) fn too_long(path: FieldPath, bytes: usize) -> Self {
        let message = format!("Too long: may not be more than {bytes} bytes");
        Self::new(path, message)
    }

    /// What the field's value names does not exist.
    pub(crate) fn not_found(path: FieldPath, value: &str) -> Self {
        Self::new(path, format!("Not found: {value:?}"))
    }

    /// The field has a meaning in Kubernetes that Probelet does not give it yet.
    pub(crate) fn not_carried_out(path: FieldPath) -> Self {
        Self::new(path, "not carried out yet")
    }

    /// Whether only Probelet minds.
    pub(crate) fn is_not_carried_out(&self) -> bool {
        self.message.contains("not carried out yet")
    }

    /// Whether the field's value is of a type that the field has not: the object cannot even be read.
    #[must_use]
    pub fn is_wrong_type(&self) -> bool {
        self.message.starts_with("expected ")
    }

    /// Whether the error is that the field is missing.
    pub(crate) fn is_required(&self) -> bool {
        self.message.starts_with("Required value")
    }
}

fn with_detail(message: String, detail: &str) -> String {
    if detail.is_empty() {
        message
    } else {
        format!("{message}: {detail}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_written_and_followed() {
        let path = FieldPath::root()
            .field("metadata")
            .field("labels")
            .key_or_field("a.b/c");
        assert_eq!(path.to_string(), "metadata.labels[a.b/c]");
        assert_eq!(
            path.find(&json!({"metadata": {"labels": {"a.b/c": "d"}}})),
            Some(&json!("d"))
        );
        let path = FieldPath::root()
            .field("spec")
            .field("containers")
            .index(1)
            .field("name");
        assert_eq!(path.to_string(), "spec.containers[1].name");
        assert_eq!(path.find(&json!({"spec": {"containers": []}})), None);
        assert!(path.is_within(&FieldPath::root().field("spec")));
    }

    #[test]
    fn messages_are_upstreams() {
        let path = || FieldPath::root().field("a");
        for (error, expected) in [
            (FieldError::required(path(), ""), "a: Required value"),
            (
                FieldError::required(path(), "why"),
                "a: Required value: why",
            ),
            (
                FieldError::invalid(path(), 2, "must be 1"),
                "a: Invalid value: 2: must be 1",
            ),
            (
                FieldError::invalid(path(), "x\"", "no"),
                "a: Invalid value: \"x\\\"\": no",
            ),
            (
                FieldError::unsupported(path(), "x", &["", "y"]),
                "a: Unsupported value: \"x\": supported values: \"\", \"y\"",
            ),
            (FieldError::forbidden(path(), "no"), "a: Forbidden: no"),
            (
                FieldError::duplicate(path(), "x"),
                "a: Duplicate value: \"x\"",
            ),
            (
                FieldError::too_many(path(), 21, 20),
                "a: Too many: 21: must have at most 20 items",
            ),
            (FieldError::not_found(path(), "x"), "a: Not found: \"x\""),
            (FieldError::new(FieldPath::root(), "whole"), "whole"),
            (FieldError::unknown(path(), None), "unknown field \"a\""),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }
}
