//! How long a container that ended waits before it is started again.

use std::time::Duration;

use probelet_model::time::Mono;

/// The numbers of the back-off, one set for a node.
///
/// Upstream: kubelet pkg/kubelet/kubelet.go, NewMainKubelet (10 s and 5 min), and the ten minutes after
/// which client-go util/flowcontrol/backoff.go forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOffLimits {
    /// The first wait.
    pub initial: Duration,
    /// The longest wait.
    pub cap: Duration,
    /// A run that ended this long after its start was granted starts again at `initial`.
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

/// One container's back-off.
///
/// Durable: an agent that comes back waits on.
/// Upstream: client-go util/flowcontrol/backoff.go, IsInBackOffSince and Next, as called by kubelet
/// pkg/kubelet/kuberuntime/kuberuntime_manager.go, doBackOff.
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
        let entry = self.live(limits, exit)?;
        let until = exit + entry.delay;
        (now < until).then_some((until, entry.delay))
    }

    /// A start has been granted after a run that ended at `exit`: the next wait is longer.
    pub(crate) fn advance(&mut self, limits: &BackOffLimits, exit: Mono, now: Mono) {
        let delay = match self.live(limits, exit) {
            None => limits.initial.min(limits.cap),
            Some(entry) => (entry.delay * 2).min(limits.cap),
        };
        self.entry = Some(Entry {
            delay,
            updated: now,
        });
    }

    fn live(&self, limits: &BackOffLimits, exit: Mono) -> Option<Entry> {
        self.entry
            .filter(|entry| exit.since(entry.updated) <= limits.reset)
    }
}

/// A wait as Go prints it: `10s`, `1m20s`, `5m0s`.
pub(crate) fn go_seconds(wait: Duration) -> String {
    let seconds = wait.as_secs();
    if seconds < 60 {
        format!("{seconds}s")
    } else {
        format!("{}m{}s", seconds / 60, seconds % 60)
    }
}
