//! The newest changes, numbered without a gap, for readers that keep nothing but a cursor.

use std::collections::VecDeque;

use serde_json::Value;

use crate::object::{Change, Version};

/// The changes asked for are no longer, or not yet, remembered: list again, and watch from the version
/// that the list came with.
///
/// Upstream: apiserver pkg/storage/cacher, a watch from a version older than the cache answers 410 Gone.
/// Differs: so does one from a version that has not been yet; it can only come from another store.
/// Shown by: the_newest_are_kept_and_the_rest_is_gone, a_reader_that_is_overtaken_is_told_so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "changes after version {asked} are not remembered, only those after {oldest} up to {newest}; list again"
)]
pub struct Gone {
    /// The version after which changes were wanted.
    pub asked: Version,
    /// The oldest version that could have been asked for.
    pub oldest: Version,
    /// The newest one.
    pub newest: Version,
}

/// How many JSON values the remembered objects may hold together: at some 100 bytes each, 15 MB. Without
/// this a large object that changes often, such as the Endpoints of a hundred pods, would fill the memory
/// with its past.
const HEAVIEST: usize = 150_000;

/// The changes after `floor`, one a version.
#[derive(Debug)]
pub(crate) struct Ring {
    /// The change of version `floor + 1 + i` is at `i`, with its weight.
    changes: VecDeque<(Change, usize)>,
    floor: Version,
    capacity: usize,
    /// The weights of all changes.
    weight: usize,
}

/// How many values there are in a value, itself included.
fn weight(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(fields) => fields.values().map(weight).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

impl Ring {
    /// An empty ring in a store that is at `version`; remembers `capacity` changes, at least one.
    pub(crate) fn new(version: Version, capacity: usize) -> Self {
        Self {
            changes: VecDeque::new(),
            floor: version,
            capacity: capacity.max(1),
            weight: 0,
        }
    }

    /// The version of the newest change there has been.
    pub(crate) fn newest(&self) -> Version {
        self.changes
            .back()
            .map_or(self.floor, |(change, _)| change.version)
    }

    /// Adds the change of the next version, and forgets the oldest as long as there is no room.
    pub(crate) fn push(&mut self, change: Change) {
        debug_assert_eq!(change.version, self.newest().next(), "one change a version");
        let weight = weight(&change.object);
        self.weight += weight;
        self.changes.push_back((change, weight));
        while self.changes.len() > self.capacity
            || (self.weight > HEAVIEST && self.changes.len() > 1)
        {
            let Some((forgotten, weight)) = self.changes.pop_front() else {
                break;
            };
            self.weight -= weight;
            self.floor = forgotten.version;
        }
    }

    /// The changes after `version`, oldest first.
    pub(crate) fn after(&self, version: Version) -> Result<impl Iterator<Item = &Change>, Gone> {
        let newest = self.newest();
        if version < self.floor || version > newest {
            return Err(Gone {
                asked: version,
                oldest: self.floor,
                newest,
            });
        }
        let read = version.0 - self.floor.0;
        let skip =
            usize::try_from(read).map_or(self.changes.len(), |skip| skip.min(self.changes.len()));
        Ok(self.changes.range(skip..).map(|(change, _)| change))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::object::ChangeKind;
    use probelet_model::id::{Kind, ObjectKey};

    fn change(version: u64) -> Change {
        let key = ObjectKey::new(Kind::Pod, "default", "a");
        Change {
            key,
            version: Version(version),
            kind: ChangeKind::Modified,
            object: Arc::new(Value::Null),
            before: None,
        }
    }

    fn after(ring: &Ring, version: u64) -> Result<Vec<u64>, Gone> {
        Ok(ring
            .after(Version(version))?
            .map(|change| change.version.0)
            .collect())
    }

    #[test]
    fn the_newest_are_kept_and_the_rest_is_gone() {
        let mut ring = Ring::new(Version(10), 3);
        assert_eq!(after(&ring, 10), Ok(vec![]));
        for version in 11..=15 {
            ring.push(change(version));
        }
        assert_eq!(after(&ring, 12), Ok(vec![13, 14, 15]));
        assert_eq!(after(&ring, 14), Ok(vec![15]));
        assert_eq!(after(&ring, 15), Ok(vec![]));
        let gone = |asked| {
            Err(Gone {
                asked: Version(asked),
                oldest: Version(12),
                newest: Version(15),
            })
        };
        assert_eq!(after(&ring, 11), gone(11));
        assert_eq!(after(&ring, 16), gone(16));
    }

    #[test]
    fn heavy_changes_leave_less_room() {
        let mut ring = Ring::new(Version(0), 1000);
        let heavy = Arc::new(Value::Array(vec![Value::Null; HEAVIEST / 2]));
        for version in 1..=3 {
            ring.push(Change {
                object: Arc::clone(&heavy),
                before: None,
                ..change(version)
            });
        }
        assert_eq!(
            after(&ring, 2),
            Ok(vec![3]),
            "two of them are more than there is room for"
        );
        assert!(after(&ring, 1).is_err());
        let heavier = Arc::new(Value::Array(vec![Value::Null; HEAVIEST + 1]));
        ring.push(Change {
            object: heavier,
            before: None,
            ..change(4)
        });
        assert_eq!(
            after(&ring, 3),
            Ok(vec![4]),
            "the newest change is always remembered"
        );
        ring.push(change(5));
        assert_eq!(after(&ring, 4), Ok(vec![5]));
    }
}
