//! When a probe looks.

use std::time::Duration;

use probelet_model::time::Mono;

/// The tick grid of one probe: `anchor`, `anchor + period`, `anchor + 2 period`, and so on.
///
/// Shape: one per (pod uid, container name, kind); outlives restarts of the container, so the grid is
/// kept. A tick that comes due while an attempt is under way is made up for once, right after it, as a
/// Go ticker with its buffer of one does; more of them are merged into that one.
/// Units: monotonic instants; `period` is more than zero.
/// Upstream: kubelet pkg/kubelet/prober/worker.go, run.
/// Shown by: ticks_stay_on_the_grid_however_late_they_are_taken,
/// a_tick_that_falls_into_an_attempt_is_made_up_for_once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    anchor: Mono,
    period: Duration,
    next: Mono,
}

impl Schedule {
    /// Looks at `first`, and then every `period`.
    pub(crate) const fn starting(first: Mono, period: Duration) -> Self {
        Self {
            anchor: first,
            period,
            next: first,
        }
    }

    /// Takes up a grid that was written down: the next look is the first tick after `now`, so that an
    /// agent that comes back makes no burst. A tick far in the future, as a wall clock that was set back
    /// makes it, still gives a look within one period.
    pub(crate) fn resumed(anchor: Mono, period: Duration, now: Mono) -> Self {
        let ahead =
            u64::try_from(anchor.since(now).as_nanos() % period.as_nanos().max(1)).unwrap_or(0);
        let anchor = if anchor > now {
            Mono(now.0 + ahead)
        } else {
            anchor
        };
        let mut schedule = Self {
            anchor,
            period,
            next: anchor,
        };
        schedule.skip_to_after(now);
        schedule
    }

    /// A tick of the grid, the same until the grid moves.
    pub(crate) const fn anchor(&self) -> Mono {
        self.anchor
    }

    pub(crate) const fn next(&self) -> Mono {
        self.next
    }

    /// Whether a tick is due; if so the grid moves on to the first tick after `now`.
    pub(crate) fn take_due(&mut self, now: Mono) -> bool {
        if now < self.next {
            return false;
        }
        self.skip_to_after(now);
        true
    }

    /// A triggered look moves the grid: the next tick is one full period later.
    ///
    /// Upstream: kubelet pkg/kubelet/prober/worker.go, run (the ticker is reset by a manual trigger).
    /// Shown by: a_trigger_moves_the_grid_by_a_full_period,
    /// b7_a_trigger_moves_the_next_look_to_a_full_period_later.
    pub(crate) fn restart(&mut self, now: Mono) {
        *self = Self {
            anchor: now,
            period: self.period,
            next: now + self.period,
        };
    }

    fn skip_to_after(&mut self, now: Mono) {
        if now < self.anchor {
            self.next = self.anchor;
            return;
        }
        let period = self.period.as_nanos().max(1);
        let ticks = u128::from(now.0 - self.anchor.0) / period + 1;
        let nanos = u64::try_from(ticks.saturating_mul(period)).unwrap_or(u64::MAX);
        self.next = Mono(self.anchor.0.saturating_add(nanos));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    #[test]
    fn ticks_stay_on_the_grid_however_late_they_are_taken() {
        let mut schedule = Schedule::starting(at(3), Duration::from_secs(10));
        assert!(!schedule.take_due(at(2)));
        assert!(schedule.take_due(at(3)));
        assert_eq!(schedule.next(), at(13));
        assert!(
            schedule.take_due(at(35)),
            "ticks 13, 23 and 33 are one look"
        );
        assert_eq!(schedule.next(), at(43));
    }

    #[test]
    fn a_trigger_moves_the_grid_by_a_full_period() {
        let mut schedule = Schedule::starting(at(0), Duration::from_secs(10));
        assert!(schedule.take_due(at(0)));
        schedule.restart(at(13));
        assert!(!schedule.take_due(at(22)));
        assert!(schedule.take_due(at(23)));
    }

    #[test]
    fn a_resumed_grid_skips_what_was_missed() {
        let schedule = Schedule::resumed(at(4), Duration::from_secs(10), at(31));
        assert_eq!(schedule.next(), at(34));
        let future = Schedule::resumed(at(140), Duration::from_secs(10), at(31));
        assert_eq!(future.next(), at(40));
    }
}
