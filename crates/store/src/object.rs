//! What is stored, and what happens to it.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;

use probelet_model::id::ObjectKey;
use serde_json::{Map, Value};

/// A point in the life of a store: `resourceVersion` on the wire.
///
/// Every change of any object takes the next one. They only grow, over restarts too, and no two changes
/// ever share one; after a crash some are skipped, so that none that a client may have seen comes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a resourceVersion")]
pub struct ParseVersionError {
    text: String,
    source: ParseIntError,
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|source| ParseVersionError {
            text: text.to_owned(),
            source,
        })
    }
}

/// An object as it was at one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Where it lives.
    pub key: ObjectKey,
    /// Its last change.
    pub version: Version,
    /// The whole object, unknown fields included; `metadata.resourceVersion` is `version`.
    pub value: Arc<Value>,
}

/// One change of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which object.
    pub key: ObjectKey,
    /// When.
    pub version: Version,
    /// What happened.
    pub kind: ChangeKind,
    /// The object after the change; of a deleted one its last state, stamped with the version of the
    /// deletion, as a Kubernetes watch shows it.
    pub object: Arc<Value>,
    /// The object before the change; `None` if it was not there. A reader that selects objects by what is
    /// in them learns from it that one has just entered or left its selection.
    pub before: Option<Arc<Value>>,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// It is different.
    Modified,
    /// It is gone.
    Deleted,
}

/// Writes `version` into `metadata.resourceVersion`; false if `value` has no place for it, being no JSON
/// object or having a `metadata` that is none.
pub(crate) fn stamp(value: &mut Value, version: Version) -> bool {
    let Some(object) = value.as_object_mut() else {
        return false;
    };
    let metadata = object
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else {
        return false;
    };
    metadata.insert(
        "resourceVersion".to_owned(),
        Value::String(version.to_string()),
    );
    true
}

/// The version in `metadata.resourceVersion`: the other way round than [`stamp`].
pub(crate) fn stamped(value: &Value) -> Version {
    value["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stamp_changes_the_version_and_nothing_else() {
        let mut value = json!({"kind": "Pod", "metadata": {"name": "a", "resourceVersion": "1"}, "x": [1, null]});
        assert!(stamp(&mut value, Version(7)));
        assert_eq!(
            value,
            json!({"kind": "Pod", "metadata": {"name": "a", "resourceVersion": "7"}, "x": [1, null]})
        );
        let mut bare = json!({});
        assert!(stamp(&mut bare, Version(1)));
        assert_eq!(bare, json!({"metadata": {"resourceVersion": "1"}}));
    }

    #[test]
    fn a_value_without_room_for_a_version_is_refused() {
        for mut value in [
            json!(null),
            json!([]),
            json!("text"),
            json!({"metadata": 3}),
        ] {
            assert!(!stamp(&mut value, Version(1)), "{value}");
        }
    }

    #[test]
    fn a_version_is_read_as_it_is_written() {
        assert_eq!(Version(42).to_string().parse(), Ok(Version(42)));
        let error = "4x".parse::<Version>().unwrap_err();
        assert_eq!(error.to_string(), "\"4x\" is not a resourceVersion");
    }
}
