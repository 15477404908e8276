//! When to look at something although nothing has changed.

use std::collections::{BTreeMap, BTreeSet};

use probelet_model::time::Wall;

/// Shape: a moment at most for each thing.
#[derive(Clone, Debug)]
pub(super) struct Deadlines<T> {
    of: BTreeMap<T, Wall>,
    by_time: BTreeSet<(Wall, T)>,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self {
            of: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }
}

impl<T: Clone + Ord> Deadlines<T> {
    /// At `at`, or before if that was said before.
    pub(super) fn at_latest(&mut self, thing: T, at: Wall) {
        if self.of.get(&thing).is_some_and(|known| *known <= at) {
            return;
        }
        self.forget(&thing);
        self.by_time.insert((at, thing.clone()));
        self.of.insert(thing, at);
    }

    pub(super) fn forget(&mut self, thing: &T) {
        if let Some((thing, at)) = self.of.remove_entry(thing) {
            self.by_time.remove(&(at, thing));
        }
    }

    /// The next moment.
    pub(super) fn next(&self) -> Option<Wall> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Something whose moment has come, and is forgotten by this.
    pub(super) fn pop_due(&mut self, now: Wall) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        let (_, thing) = self.by_time.pop_first()?;
        self.of.remove(&thing);
        Some(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_once() {
        let mut deadlines = Deadlines::default();
        for (thing, at) in [("a", 5), ("b", 3), ("a", 9), ("c", 7), ("c", 4), ("d", 1)] {
            deadlines.at_latest(thing, Wall(at));
        }
        deadlines.forget(&"d");
        deadlines.forget(&"x");
        assert_eq!(deadlines.next(), Some(Wall(3)));
        assert_eq!(deadlines.pop_due(Wall(2)), None);
        let due: Vec<_> = std::iter::from_fn(|| deadlines.pop_due(Wall(5))).collect();
        assert_eq!(due, ["b", "c", "a"]);
        assert_eq!(deadlines.next(), None);
        deadlines.at_latest("a", Wall(9));
        assert_eq!(
            deadlines.next(),
            Some(Wall(9)),
            "what was forgotten may come again"
        );
    }
}
