//! A pod's sandbox: asked for, tried again, lost, removed.

use std::time::Duration;

use probelet_model::time::Mono;

use super::{PodMachine, lost_run};
use crate::container::State;
use crate::effect::{Effect, EventKind};
use crate::input::{Addresses, OperationId, PodFailure};
use crate::node::Turn;

/// Wait before a sandbox that could not be made, or not removed, is tried again.
///
/// Upstream: kubelet pkg/kubelet/kubelet.go, backOffPeriod.
/// Shown by: sandboxes_that_fail_are_tried_again_every_10_seconds,
/// a_sandbox_that_cannot_be_removed_is_tried_again_every_10_seconds.
pub(super) const SANDBOX_RETRY: Duration = Duration::from_secs(10);
/// First wait before a volume that could not be set up is tried again; it doubles.
///
/// Upstream: pkg/util/goroutinemap/exponentialbackoff/exponential_backoff.go.
/// Shown by: volumes_that_fail_are_tried_again_after_twice_as_long.
const VOLUME_RETRY: Duration = Duration::from_millis(500);
/// The longest such wait.
const VOLUME_RETRY_CAP: Duration = Duration::from_secs(122);

/// The pod's sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sandbox {
    /// There is none. `lost` if there was one and nobody removed it.
    Absent { lost: bool },
    /// It has been asked for.
    Starting {
        operation: OperationId,
        wait: Option<Duration>,
    },
    /// It could not be made.
    Failed { retry_at: Mono, wait: Duration },
    /// It stands.
    Standing,
    /// Its removal has been asked for.
    Removing { operation: OperationId },
    /// It could not be removed.
    Stuck { retry_at: Mono },
    /// Nothing of it is left, and nothing will come again.
    Removed,
}

impl PodMachine {
    pub(super) fn start_sandbox(&mut self, wait: Option<Duration>, turn: &mut Turn<'_>) {
        let operation = turn.ids.operation();
        self.sandbox = Sandbox::Starting { operation, wait };
        turn.out.push(Effect::StartPod {
            operation,
            pod: self.pod.clone(),
        });
    }

    pub(crate) fn sandbox_started(
        &mut self,
        operation: OperationId,
        result: Result<Addresses, PodFailure>,
        turn: &mut Turn<'_>,
    ) {
        let Sandbox::Starting {
            operation: awaited,
            wait,
        } = self.sandbox
        else {
            return turn.stale();
        };
        if awaited != operation {
            return turn.stale();
        }
        self.changed = true;
        self.synchronise = true;
        let (reason, message, wait) = match result {
            Ok(addresses) => {
                self.sandbox = Sandbox::Standing;
                self.addresses = Some(addresses);
                return;
            }
            Err(PodFailure::Volume(message)) => {
                let wait = wait.map_or(VOLUME_RETRY, |wait| (wait * 2).min(VOLUME_RETRY_CAP));
                ("FailedMount", message, wait)
            }
            Err(PodFailure::Sandbox(message)) => (
                "FailedCreatePodSandBox",
                format!("Failed to create pod sandbox: {message}"),
                SANDBOX_RETRY,
            ),
        };
        self.sandbox = Sandbox::Failed {
            retry_at: turn.now.mono + wait,
            wait,
        };
        self.event(turn, None, EventKind::Warning, reason, message);
    }

    /// A sandbox that could not be removed is tried again, as upstream's pod worker tries a failed
    /// synchronisation again.
    ///
    /// Upstream: kubelet pkg/kubelet/kubelet.go, SyncTerminatingPod.
    /// Shown by: a_sandbox_that_cannot_be_removed_is_tried_again_every_10_seconds.
    pub(crate) fn sandbox_removed(
        &mut self,
        operation: OperationId,
        result: Result<(), String>,
        turn: &mut Turn<'_>,
    ) {
        if self.sandbox != (Sandbox::Removing { operation }) {
            return turn.stale();
        }
        self.changed = true;
        if let Err(message) = result {
            let message = format!("error killing pod: {message}");
            self.event(turn, None, EventKind::Warning, "FailedKillPod", message);
            let retry_at = turn.now.mono + SANDBOX_RETRY;
            self.sandbox = Sandbox::Stuck { retry_at };
        } else {
            self.sandbox = Sandbox::Removed;
        }
    }

    /// The sandbox is gone and everything in it: what ran counts as lost.
    ///
    /// Upstream: kubelet pkg/kubelet/kubelet_pods.go, convertToAPIContainerStatuses (a container that
    /// was running and is not to be found any more).
    /// Shown by: e24_a_run_that_is_lost_counts_as_a_restart.
    pub(crate) fn sandbox_lost(&mut self, turn: &mut Turn<'_>) {
        if self.sandbox != Sandbox::Standing {
            return;
        }
        self.sandbox = Sandbox::Absent { lost: true };
        self.addresses = None;
        self.changed = true;
        self.synchronise = true;
        for container in &mut self.containers {
            let restart_count = container.restart_count();
            match container.state.clone() {
                State::PostStart { run, .. }
                | State::Running(run)
                | State::Stopping { run, .. } => {
                    container.run_ended(lost_run(&run.id, run.started_at, turn.now), restart_count);
                }
                State::Fetching(_) | State::Starting { .. } => {
                    // This start was granted: it is asked for again past the back-off, though not past the
                    // policy, which says what a new sandbox is for.
                    container.state = State::Idle;
                    container.start_over = container.wants_run().then_some(None);
                }
                State::Idle => {}
            }
        }
    }
}
