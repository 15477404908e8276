//! Chance, all of it from one seed.

use std::time::Duration;

/// A stream of numbers that the same seed always gives again.
///
/// SplitMix64: small, and good enough to choose what happens to a virtual node.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    /// A stream of its own for one purpose, so that a new consumer does not shift the others.
    pub(super) const fn new(seed: u64, purpose: u64) -> Self {
        Self(seed.wrapping_mul(0xD134_2543_DE82_EF95) ^ purpose.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of `0..end`; 0 if that is empty.
    pub(super) const fn below(&mut self, end: u64) -> u64 {
        let end = if end == 0 { 1 } else { end };
        self.next() % end
    }

    /// The same as an index.
    pub(super) fn index(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(self.below(end)).expect("it is below a usize")
    }

    /// The same as a small number.
    pub(super) fn small(&mut self, end: u32) -> u32 {
        u32::try_from(self.below(end.into())).expect("it is below a u32")
    }

    /// So often in a hundred times.
    pub(super) const fn percent(&mut self, of_hundred: u64) -> bool {
        self.below(100) < of_hundred
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())].clone()
    }

    /// Something of the sort, so often in a hundred times.
    pub(super) fn maybe<T>(
        &mut self,
        of_hundred: u64,
        make: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        self.percent(of_hundred).then(|| make(self))
    }

    /// Half seconds, less than `end` of them.
    pub(super) const fn half_seconds(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end) * 500)
    }
}
