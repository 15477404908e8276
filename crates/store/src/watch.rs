//! Following the changes.

use std::sync::Arc;

use probelet_model::id::Kind;
use tokio::sync::watch;

use crate::object::{Change, Version};
use crate::ring::Gone;
use crate::store::Memory;

/// A cursor into the changes of a store.
///
/// It holds a position and no changes, so a reader that stops reading costs nothing; if it comes back
/// after the store has forgotten what it had not read, it is told so by [`Gone`], once and for all.
#[derive(Debug)]
pub struct Watch {
    memory: Arc<Memory>,
    /// Everything up to here has been delivered or filtered out.
    after: Version,
    /// Empty means all.
    kinds: Vec<Kind>,
    moved: watch::Receiver<Version>,
}

impl Watch {
    pub(crate) fn new(memory: Arc<Memory>, after: Version, kinds: Vec<Kind>) -> Result<Self, Gone> {
        let moved = memory.moved.subscribe();
        memory.contents().after(after).map(drop)?;
        Ok(Self {
            memory,
            after,
            kinds,
            moved,
        })
    }

    /// The version up to which this reader knows everything; to begin again from here, ask for a watch
    /// from it.
    #[must_use]
    pub const fn position(&self) -> Version {
        self.after
    }

    /// The next change, when there is one. Dropped before it answers, it has taken nothing.
    ///
    /// # Errors
    /// [`Gone`] if the store has forgotten changes that this reader had not read.
    pub async fn next(&mut self) -> Result<Change, Gone> {
        loop {
            // Seen before looked at, so that a change between the two still wakes.
            self.moved.mark_unchanged();
            if let Some(change) = self.try_next()? {
                return Ok(change);
            }
            self.moved
                .changed()
                .await
                .expect("the sender lives in `memory`, which this reader holds");
        }
    }

    /// The next change, if there is one already.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub fn try_next(&mut self) -> Result<Option<Change>, Gone> {
        let contents = self.memory.contents();
        let mut changes = contents.after(self.after)?;
        let next = changes
            .find(|change| self.kinds.is_empty() || self.kinds.contains(&change.key.kind))
            .cloned();
        self.after = next
            .as_ref()
            .map_or_else(|| contents.version(), |change| change.version);
        Ok(next)
    }
}
