//! The time axis: where a time is, and which times are written down.

use std::time::Duration;

use super::text;
use crate::record::At;

/// From zero to the end of the simulation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    left: f64,
    right: f64,
    end: At,
}

/// Steps that people count in, in milliseconds; a day's multiples go on from the last.
const STEPS: [u64; 22] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000,
    300_000, 600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 86_400_000,
];

/// More ticks than this are never wanted, and fewer than half of it only where a step would be odd.
const MOST_TICKS: u64 = 14;

impl Axis {
    /// An axis between two places that ends at `end`.
    pub(super) const fn new(left: f64, right: f64, end: At) -> Self {
        Self { left, right, end }
    }

    /// Where `at` is; what is beyond the end is at the end.
    pub(super) fn x(&self, at: At) -> f64 {
        self.left + (self.right - self.left) * at.min(self.end).as_secs() / self.end.as_secs()
    }

    /// Where zero is.
    pub(super) const fn left(&self) -> f64 {
        self.left
    }

    /// Where the end is.
    pub(super) const fn right(&self) -> f64 {
        self.right
    }

    /// The end.
    pub(super) const fn end(&self) -> At {
        self.end
    }

    /// The times to write down, with their words.
    pub(super) fn ticks(&self) -> Vec<(At, String)> {
        let end = self.end.0 / 1_000_000;
        let day = STEPS[STEPS.len() - 1];
        let step = STEPS
            .into_iter()
            .find(|step| end / step <= MOST_TICKS)
            .unwrap_or_else(|| day * (end / day).div_ceil(MOST_TICKS));
        (0..=end / step)
            .map(|tick| {
                let time = Duration::from_millis(tick * step);
                (At(tick * step * 1_000_000), text::duration(time))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_never_too_many() {
        let words = |seconds: u64| {
            let ticks = Axis::new(0.0, 1000.0, At(seconds * 1_000_000_000)).ticks();
            assert!(ticks.len() <= 15, "{seconds}: {}", ticks.len());
            ticks.into_iter().map(|(_, text)| text).collect::<Vec<_>>()
        };
        assert_eq!(words(5)[..3], ["0s", "0.5s", "1s"]);
        assert_eq!(words(60)[..3], ["0s", "5s", "10s"]);
        assert_eq!(words(180)[..3], ["0s", "15s", "30s"]);
        assert_eq!(words(86_400)[..3], ["0s", "2h", "4h"]);
        assert_eq!(words(86_400 * 100)[..3], ["0s", "192h", "384h"]);
    }

    #[test]
    fn neighbours_have_room_for_their_words() {
        for seconds in [1, 7, 14, 59, 100, 239, 600, 5_000, 50_399, 86_400, 900_000] {
            let axis = Axis::new(150.0, 1180.0, At(seconds * 1_000_000_000));
            let ticks = axis.ticks();
            for pair in ticks.windows(2) {
                let gap = axis.x(pair[1].0) - axis.x(pair[0].0);
                assert!(
                    text::width(&pair[1].1, 11.0) + 4.0 < gap,
                    "{seconds}: {pair:?}"
                );
            }
        }
    }
}
