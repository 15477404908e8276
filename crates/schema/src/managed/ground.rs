//! What Go writes for an object of a kind in which nothing is set.

use std::collections::BTreeMap;

/// The fields that are always there: structs that are no pointers, and lists that are written although they
/// are empty. Nobody owns them by setting something in them, as nobody made them: `f:spec` has no dot, and
/// `f:containers` of a pod neither, while `f:labels` has one.
///
/// Shown by: what_is_always_there_is_nobodys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ground {
    fields: BTreeMap<&'static str, Self>,
}

impl Ground {
    /// Of a kind; with nothing for one that is not known.
    pub(super) fn of(api_version: &str, kind: &str) -> Self {
        crate::protobuf::ground(api_version, kind)
    }

    /// What is always there in a field, if the field itself is.
    pub(super) fn below(&self, name: &str) -> Option<&Self> {
        self.fields.get(name)
    }

    /// Whether nothing is always there.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// With a field that is always there.
    pub(crate) fn insert(&mut self, name: &'static str, below: Self) {
        self.fields.insert(name, below);
    }

    /// With the fields of another.
    pub(crate) fn extend(&mut self, other: Self) {
        self.fields.extend(other.fields);
    }
}
