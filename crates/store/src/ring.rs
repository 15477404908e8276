//! The newest changes, numbered without a gap, for readers that keep nothing but a cursor.

use std::collections::VecDeque;

use crate::object::{Change, Version};

/// The changes asked for are no longer, or not yet, remembered: list again, and watch from the version
/// that the list came with.
///
/// Upstream: apiserver pkg/storage/cacher, a watch from a version older than the cache answers 410 Gone.
/// Differs: so does one from a version that has not been yet; it can only come from another store.
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

/// The changes after `floor`, one a version.
#[derive(Debug)]
pub(crate) struct Ring {
    /// The change of version `floor + 1 + i` is at `i`.
    changes: VecDeque<Change>,
    floor: Version,
    capacity: usize,
}

impl Ring {
    /// An empty ring in a store that is at `version`; remembers `capacity` changes, at least one.
    pub(crate) fn new(version: Version, capacity: usize) -> Self {
        Self {
            changes: VecDeque::new(),
            floor: version,
            capacity: capacity.max(1),
        }
    }

    /// The version of the newest change there has been.
    pub(crate) fn newest(&self) -> Version {
        self.changes
            .back()
            .map_or(self.floor, |change| change.version)
    }

    /// Adds the change of the next version, and forgets the oldest if there is no room.
    pub(crate) fn push(&mut self, change: Change) {
        debug_assert_eq!(change.version, self.newest().next(), "one change a version");
        if self.changes.len() == self.capacity
            && let Some(forgotten) = self.changes.pop_front()
        {
            self.floor = forgotten.version;
        }
        self.changes.push_back(change);
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
        Ok(self.changes.range(skip..))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use probelet_model::id::{Kind, ObjectKey};
    use serde_json::Value;

    use super::*;
    use crate::object::ChangeKind;

    fn change(version: u64) -> Change {
        let key = ObjectKey::new(Kind::Pod, "default", "a");
        Change {
            key,
            version: Version(version),
            kind: ChangeKind::Modified,
            object: Arc::new(Value::Null),
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
}
