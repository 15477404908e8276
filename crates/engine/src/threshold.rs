//! From outcomes to verdicts.

/// How many attempts in a row have gone the same way.
///
/// Not cleared when the container is replaced, only when the probe goes on hold: a readiness probe may
/// then need one success instead of successThreshold, and a liveness probe may kill at the first failure.
/// Durable: an agent that comes back counts on.
/// Upstream: kubelet pkg/kubelet/prober/worker.go, doProbe (lastResult and resultRun).
/// Shown by: a5_a_success_in_between_starts_the_count_anew,
/// a24_the_run_of_successes_carries_over_to_the_next_container,
/// a25_the_run_of_failures_carries_over_to_the_next_container, two_failures_before_and_one_after_are_three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// What the last counted attempt was. A fresh probe starts as if it had been a success.
    pub(crate) success: bool,
    /// How many of that sort in a row.
    pub(crate) length: u32,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            success: true,
            length: 0,
        }
    }
}

impl Run {
    /// Counts one attempt; true if the threshold for its sort is met.
    pub(crate) const fn count(&mut self, success: bool, threshold: u32) -> bool {
        if self.success == success {
            self.length = self.length.saturating_add(1);
        } else {
            *self = Self { success, length: 1 };
        }
        self.length >= threshold
    }

    /// As a probe goes on hold; what the last attempt was stays known.
    pub(crate) const fn clear(&mut self) {
        self.length = 0;
    }
}
