//! Several writes that are seen together or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use probelet_model::id::{Kind, ObjectKey};
use serde_json::Value;

use crate::object::{Change, ChangeKind, Object, Version, stamp};
use crate::store::Contents;

/// Why one write of a transaction is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// There is one already.
    #[error("{0} already exists")]
    AlreadyExists(ObjectKey),
    /// There is none.
    #[error("{0} does not exist")]
    NotFound(ObjectKey),
    /// Somebody else was faster.
    #[error(
        "{key} is at version {actual}, not {expected}: read it again and apply the change to that"
    )]
    Conflict {
        /// Which object.
        key: ObjectKey,
        /// The version the write was made from.
        expected: Version,
        /// The version the object is at.
        actual: Version,
    },
    /// The value has no place for its version.
    #[error("{0} is not a JSON object with metadata")]
    Malformed(ObjectKey),
}

/// The writes of one transaction, in order, each at the next version.
///
/// It reads what it has written itself. Dropped without being finished, nothing of it happens.
#[derive(Debug)]
pub struct Transaction<'a> {
    contents: &'a Contents,
    /// What this transaction has made of the keys it wrote; `None` is deleted.
    written: BTreeMap<ObjectKey, Option<Object>>,
    changes: Vec<Change>,
    version: Version,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(contents: &'a Contents) -> Self {
        Self {
            contents,
            written: BTreeMap::new(),
            changes: Vec::new(),
            version: contents.version(),
        }
    }

    /// The object at `key`, as this transaction has made it.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<&Object> {
        match self.written.get(key) {
            Some(written) => written.as_ref(),
            None => self.contents.get(key),
        }
    }

    /// All objects of a kind, as this transaction has made them, by key.
    #[must_use]
    pub fn list(&self, kind: Kind) -> Vec<&Object> {
        let unwritten = self
            .contents
            .of_kind(kind)
            .filter(|object| !self.written.contains_key(&object.key));
        let written = self
            .written
            .values()
            .flatten()
            .filter(|object| object.key.kind == kind);
        let mut all: Vec<&Object> = unwritten.chain(written).collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Puts a new object at `key`.
    ///
    /// # Errors
    /// [`WriteError::AlreadyExists`], [`WriteError::Malformed`].
    pub fn create(&mut self, key: ObjectKey, value: Value) -> Result<Object, WriteError> {
        if self.get(&key).is_some() {
            return Err(WriteError::AlreadyExists(key));
        }
        self.put(key, value, ChangeKind::Added)
    }

    /// Puts `value` in the place of the object at `key`, whatever `metadata.resourceVersion` it carries.
    /// A value that is equal to what is there changes nothing: no new version, no event.
    ///
    /// # Errors
    /// [`WriteError::NotFound`]; [`WriteError::Conflict`] if the object is not at `expected`;
    /// [`WriteError::Malformed`].
    pub fn update(
        &mut self,
        key: ObjectKey,
        expected: Option<Version>,
        mut value: Value,
    ) -> Result<Object, WriteError> {
        let current = self.current(&key, expected)?;
        if !stamp(&mut value, current.version) {
            return Err(WriteError::Malformed(key));
        }
        if value == *current.value {
            return Ok(current.clone());
        }
        self.put(key, value, ChangeKind::Modified)
    }

    /// Creates the object at `key`, or updates it, whichever applies.
    ///
    /// # Errors
    /// [`WriteError::Malformed`].
    pub fn put_any(&mut self, key: ObjectKey, value: Value) -> Result<Object, WriteError> {
        if self.get(&key).is_some() {
            self.update(key, None, value)
        } else {
            self.create(key, value)
        }
    }

    /// Removes the object at `key` and returns its last state, stamped with the version of the deletion.
    ///
    /// # Errors
    /// [`WriteError::NotFound`]; [`WriteError::Conflict`] if the object is not at `expected`.
    pub fn delete(
        &mut self,
        key: &ObjectKey,
        expected: Option<Version>,
    ) -> Result<Object, WriteError> {
        let last = Value::clone(&self.current(key, expected)?.value);
        let object = self.record(key.clone(), last, ChangeKind::Deleted)?;
        self.written.insert(key.clone(), None);
        Ok(object)
    }

    pub(crate) fn into_changes(self) -> Vec<Change> {
        self.changes
    }

    fn current(&self, key: &ObjectKey, expected: Option<Version>) -> Result<&Object, WriteError> {
        let current = self
            .get(key)
            .ok_or_else(|| WriteError::NotFound(key.clone()))?;
        match expected {
            Some(expected) if expected != current.version => Err(WriteError::Conflict {
                key: key.clone(),
                expected,
                actual: current.version,
            }),
            _ => Ok(current),
        }
    }

    fn put(
        &mut self,
        key: ObjectKey,
        value: Value,
        kind: ChangeKind,
    ) -> Result<Object, WriteError> {
        let object = self.record(key, value, kind)?;
        self.written
            .insert(object.key.clone(), Some(object.clone()));
        Ok(object)
    }

    fn record(
        &mut self,
        key: ObjectKey,
        mut value: Value,
        kind: ChangeKind,
    ) -> Result<Object, WriteError> {
        let version = self.version.next();
        if !stamp(&mut value, version) {
            return Err(WriteError::Malformed(key));
        }
        self.version = version;
        let before = self.get(&key).map(|there| Arc::clone(&there.value));
        let object = Object {
            key,
            version,
            value: Arc::new(value),
        };
        self.changes.push(Change {
            key: object.key.clone(),
            version,
            kind,
            object: Arc::clone(&object.value),
            before,
        });
        Ok(object)
    }
}
