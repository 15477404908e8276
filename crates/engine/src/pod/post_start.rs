//! A container's postStart hook.
//!
//! The hook is asked for with the answer to the start. Until it has gone well the container is not shown
//! as running and no probe looks at it, though initialDelaySeconds count from its start. An agent that
//! takes up a container whose hook was under way takes it for running, as upstream.

use probelet_model::pod::Hook;

use super::{PodMachine, waiting};
use crate::container::{AfterStop, State, kill_grace};
use crate::effect::{Effect, EventKind, HookMoment};
use crate::input::OperationId;
use crate::node::Turn;

/// The text of the kill that a failed hook causes.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, startContainer.
/// Shown by: d28_a_hook_that_fails_kills_the_container_and_waits_with_its_name.
const FAILED: &str = "FailedPostStartHook";

impl PodMachine {
    /// Asks for the postStart hook of the container at `index`, if it has one.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, startContainer (step 4).
    /// Differs: upstream's hook blocks its whole pod; here the other containers go on meanwhile, and only
    /// those whose turn has not come wait for it. None runs in a container
    /// that is to be stopped at once.
    /// Shown by: a_container_is_not_shown_as_running_before_its_hook_has_gone_well,
    /// a_sidecar_lets_the_next_start_when_its_hook_has_gone_well,
    /// no_hook_runs_in_a_container_that_starts_only_to_be_stopped.
    pub(super) fn ask_post_start(
        &mut self,
        index: usize,
        turn: &mut Turn<'_>,
    ) -> Option<(OperationId, Effect)> {
        let spec = self.spec(index);
        // What is to end at once has nothing to prepare.
        let hook = spec.post_start.clone().filter(|_| !self.winds_down())?;
        let State::Starting { id, .. } = &self.containers[index].state else {
            return None;
        };
        let operation = turn.ids.operation();
        let effect = Effect::RunHook {
            operation,
            pod: self.pod.clone(),
            container: spec.name.clone(),
            id: id.clone(),
            hook,
            moment: HookMoment::PostStart,
            timeout: None,
        };
        Some((operation, effect))
    }

    pub(super) fn post_start_finished(
        &mut self,
        index: usize,
        result: Result<(), String>,
        turn: &mut Turn<'_>,
    ) {
        self.changed = true;
        self.synchronise = true;
        match result {
            Ok(()) => {
                let container = &mut self.containers[index];
                if let State::PostStart { run, .. } = container.state.clone() {
                    container.run_shows(run);
                }
            }
            Err(message) => {
                self.tell_post_start_failed(index, message, turn);
                let pod_grace = self.pod.termination_grace_period;
                let grace = kill_grace(self.deletion_grace(), self.spec(index), None, pod_grace);
                self.stop(index, FAILED.to_owned(), grace, AfterStop::Policy, turn);
            }
        }
    }

    /// The container has ended while its hook ran, so the hook has failed too, unless it only slept.
    ///
    /// Differs: it is noticed at once, not when the hook has noticed.
    pub(super) fn ended_during_post_start(&mut self, index: usize, turn: &mut Turn<'_>) {
        if !matches!(self.spec(index).post_start, Some(Hook::Handler(_))) {
            return;
        }
        let message = "the container ended before its hook did".to_owned();
        self.tell_post_start_failed(index, message, turn);
        let name = self.containers[index].name.clone();
        let killing = FAILED.to_owned();
        self.event(turn, Some(&name), EventKind::Normal, "Killing", killing);
    }

    fn tell_post_start_failed(&mut self, index: usize, message: String, turn: &mut Turn<'_>) {
        let container = &mut self.containers[index];
        container.waiting = Some(waiting("PostStartHookError", message));
        let name = container.name.clone();
        // What the hook said is no event's matter: it may hold secrets.
        let text = "PostStartHook failed".to_owned();
        self.event(turn, Some(&name), EventKind::Warning, FAILED, text);
    }
}
