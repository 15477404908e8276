//! How long a container that ended waits before it is started again.

use std::time::Duration;

use probelet_model::time::Mono;

/// The numbers of the back-off, one set for a node.
///
/// Upstream: kubelet pkg/kubelet/kubelet.go, NewMainKubelet (10 s and 5 min), and the ten minutes after
/// which client-go util/flowcontrol/backoff.go forgets.
/// Shown by: d1_exits_at_once_and_waits_double,
/// an_entry_of_the_back_off_is_forgotten_after_600_seconds_whatever_the_container_does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOffLimits {
    /// The first wait.
    pub initial: Duration,
    /// The longest wait.
    pub cap: Duration,
    /// A container whose last start was granted this long ago starts again at `initial`.
    pub reset: Duration,
}

impl Default for BackOffLimits {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(10),
            cap: Duration::from_secs(300),
            reset: Duration::from_secs(600),
        }
    }
}

impl BackOffLimits {
    /// The numbers of upstream's ReduceDefaultCrashLoopBackOffDecay gate: 1 s to 60 s.
    #[must_use]
    pub const fn reduced() -> Self {
        Self {
            initial: Duration::from_secs(1),
            cap: Duration::from_secs(60),
            reset: Duration::from_secs(600),
        }
    }
}

/// One container's back-off: how long it waited last, and since when.
///
/// Durable: an agent that comes back waits on.
/// Upstream: client-go util/flowcontrol/backoff.go, IsInBackOffSince and Next, as called by kubelet
/// pkg/kubelet/kuberuntime/kuberuntime_manager.go, doBackOff.
/// Shown by: d1_exits_at_once_and_waits_double, d6_exit_code_0_waits_as_long,
/// d20_liveness_kills_at_30_seconds_of_life, back_off_waits_on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BackOff {
    pub(crate) entry: Option<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) delay: Duration,
    pub(crate) updated: Mono,
}

impl BackOff {
    /// When a container whose newest run ended at `exit` may start, with the wait that says so; `None`
    /// if it may now.
    pub(crate) fn refuses(
        &self,
        limits: &BackOffLimits,
        exit: Mono,
        now: Mono,
    ) -> Option<(Mono, Duration)> {
        let entry = self.live(limits, now)?;
        let until = (exit + entry.delay).min(entry.updated + limits.reset);
        (now < until).then_some((until, entry.delay))
    }

    /// A start has been granted after a run that had ended: the next wait is longer.
    pub(crate) fn advance(&mut self, limits: &BackOffLimits, now: Mono) {
        let delay = match self.live(limits, now) {
            None => limits.initial.min(limits.cap),
            Some(entry) => (entry.delay * 2).min(limits.cap),
        };
        self.entry = Some(Entry {
            delay,
            updated: now,
        });
    }

    /// The wait that was granted last, unless it is forgotten: whatever the container does, upstream's
    /// collector of garbage takes it in the end, and no exit that is judged is later than now.
    ///
    /// Upstream: client-go util/flowcontrol/backoff.go, hasExpired and GC, as called by kubelet
    /// pkg/kubelet/kubelet_pods.go, HandlePodCleanups.
    /// Shown by: d3_runs_of_601_seconds_never_wait,
    /// an_entry_of_the_back_off_is_forgotten_after_600_seconds_whatever_the_container_does.
    pub(crate) fn live(&self, limits: &BackOffLimits, now: Mono) -> Option<Entry> {
        self.entry
            .filter(|entry| now.since(entry.updated) < limits.reset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Mono {
        Mono(0) + SECOND * u32::try_from(seconds).unwrap()
    }

    #[test]
    fn an_entry_is_forgotten_when_its_time_is_over_and_not_before() {
        for (limits, longest) in [
            (BackOffLimits::default(), 300),
            (BackOffLimits::reduced(), 60),
        ] {
            let (updated, longest) = (at(1_000), SECOND * longest);
            let entry = Entry {
                delay: longest,
                updated,
            };
            let back_off = BackOff { entry: Some(entry) };
            let next = |now| {
                let mut back_off = back_off;
                back_off.advance(&limits, now);
                back_off.entry.unwrap().delay
            };
            assert_eq!(next(at(1_599)), longest, "the longest wait stays as it is");
            assert_eq!(next(at(1_600)), limits.initial);
            assert_eq!(
                back_off.refuses(&limits, at(1_590), at(1_599)),
                Some((at(1_600), longest)),
                "a wait ends with its entry"
            );
            assert_eq!(back_off.refuses(&limits, at(1_590), at(1_600)), None);
        }
    }

    #[test]
    fn a_wait_counts_from_the_exit() {
        let limits = BackOffLimits::default();
        let mut back_off = BackOff::default();
        assert_eq!(back_off.refuses(&limits, at(5), at(5)), None);
        back_off.advance(&limits, at(5));
        let refused = Some((at(17), 10 * SECOND));
        assert_eq!(back_off.refuses(&limits, at(7), at(7)), refused);
        assert_eq!(back_off.refuses(&limits, at(7), at(16)), refused);
        assert_eq!(back_off.refuses(&limits, at(7), at(17)), None);
        back_off.advance(&limits, at(17));
        assert_eq!(
            back_off.refuses(&limits, at(17), at(17)),
            Some((at(37), 20 * SECOND))
        );
    }
}
