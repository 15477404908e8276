//! Whether a look becomes an attempt.

use std::time::Duration;

use probelet_model::id::ContainerId;
use probelet_model::probe::{ProbeKind, Verdict};
use probelet_model::status::Phase;
use probelet_model::time::Mono;

/// Why a look became no attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// The pod has ended.
    PodEnded(Phase),
    /// The container has not been started yet.
    NoContainer,
    /// The probe has said its last word about this run of the container.
    OnHold(Verdict),
    /// The container does not run.
    NotRunning,
    /// The container does not run and will not be started again.
    Ended,
    /// The pod is being deleted: liveness and startup are no longer asked.
    Deleting,
    /// initialDelaySeconds are not over.
    InitialDelay {
        /// Until when.
        until: Mono,
        /// All of it.
        delay: Duration,
    },
    /// A startup probe that has done its work.
    StartupDone,
    /// The container's startup probe has not succeeded yet.
    WaitsForStartup,
    /// The attempt before this one is still under way; the look is made up for right after it.
    AttemptUnderWay,
}

/// A container as its probes see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// The pod's phase.
    pub(crate) phase: Phase,
    /// The pod is being deleted.
    pub(crate) deleting: bool,
    /// Its newest run, if it ever had one.
    pub(crate) run: Option<ViewRun>,
}

/// One run as probes see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ViewRun {
    pub(crate) id: ContainerId,
    pub(crate) state: ViewState,
    /// The container's `started`.
    pub(crate) started: bool,
}

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViewState {
    /// It runs; initialDelaySeconds count from here.
    Running { since: Mono },
    /// It does not run. Whether it will again.
    NotRunning { restarts: bool },
}

/// The gates that stand after the container is known to run, in upstream's order.
///
/// Upstream: kubelet pkg/kubelet/prober/worker.go, doProbe.
/// Shown by: a11_liveness_waits_for_startup, a12_startup_rests_in_a_started_container,
/// a14_no_attempt_within_the_initial_delay, a15_an_attempt_when_the_initial_delay_is_over,
/// a23_in_a_pod_that_is_deleted_only_readiness_goes_on.
pub(crate) fn running(
    kind: ProbeKind,
    view: &View,
    started: bool,
    since: Mono,
    delay: Duration,
    now: Mono,
) -> Result<(), Skip> {
    if view.deleting && kind != ProbeKind::Readiness {
        return Err(Skip::Deleting);
    }
    if now.since(since) < delay {
        return Err(Skip::InitialDelay {
            until: since + delay,
            delay,
        });
    }
    match (kind, started) {
        (ProbeKind::Startup, true) => Err(Skip::StartupDone),
        (ProbeKind::Readiness | ProbeKind::Liveness, false) => Err(Skip::WaitsForStartup),
        (ProbeKind::Startup, false) | (ProbeKind::Readiness | ProbeKind::Liveness, true) => Ok(()),
    }
}
