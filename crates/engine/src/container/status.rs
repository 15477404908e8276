//! One container, as its pod's status tells it.

use probelet_model::pod::Container;
use probelet_model::status::{ContainerState, ContainerStatus, Running, Terminated, Waiting};

use super::{ContainerMachine, Run, State, wire_id};
use crate::restarts::Role;

/// Why a container waits whose turn has not come, in a pod with init containers.
pub(crate) const NOT_INITIALIZED: &str = "PodInitializing";

/// What is said of an init container of which nothing is known but that it must have done its work.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, convertToAPIContainerStatuses.
/// Shown by: an_init_container_of_which_the_runtime_has_no_record_is_not_run_again.
const TAKEN_FOR_DONE: &str = "Unable to get init container status from container runtime and pod has been initialized, treat it as exit normally";

/// How far the pod around a container has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// The pod has init containers.
    pub(crate) with_init: bool,
    /// They have done their work in the sandbox that stands.
    pub(crate) initialized: bool,
    /// How many bytes of a termination message are told.
    pub(crate) message_limit: usize,
}

impl ContainerMachine {
    /// How the container stands, as its pod's status tells it.
    ///
    /// Upstream: kubelet pkg/kubelet/kubelet_pods.go, convertToAPIContainerStatuses.
    /// Shown by: e1_a_new_pod_with_two_containers, e2_one_init_container_runs,
    /// e6_the_only_container_in_crash_loop_back_off, e7_one_runs_and_one_never_started,
    /// stamps_of_a_run_are_whole_seconds, a_run_that_could_not_be_started_has_an_image.
    pub(crate) fn status(&self, spec: &Container, around: Surroundings) -> ContainerStatus {
        let newest = self.newest_exit.as_ref().map(|exited| &exited.terminated);
        let told = |end: &Terminated| brief(end, around.message_limit);
        // Why it waits is only told of a container that is to come again: one that the policy leaves alone
        // has ended, whatever went wrong with its last start.
        let waiting = self
            .waiting
            .as_ref()
            .filter(|_| self.is_alive() || self.wants_run());
        let (state, last_state) = match (self.running(), waiting, newest) {
            (Some(run), _, before) => (
                ContainerState::Running(Running {
                    started_at: run.started_at.whole_seconds(),
                }),
                before,
            ),
            (None, Some(waiting), before) => (ContainerState::Waiting(waiting.clone()), before),
            (None, None, None) if self.completed => (
                ContainerState::Terminated(Terminated {
                    reason: Some("Completed".to_owned()),
                    message: Some(TAKEN_FOR_DONE.to_owned()),
                    ..Terminated::default()
                }),
                None,
            ),
            (None, None, before) if before.is_none() || self.comes_again(around) => {
                let reason = if around.with_init {
                    NOT_INITIALIZED
                } else {
                    "ContainerCreating"
                };
                let waiting = Waiting {
                    reason: Some(reason.to_owned()),
                    message: None,
                };
                (ContainerState::Waiting(waiting), before)
            }
            (None, None, before) => (
                ContainerState::Terminated(before.map(told).unwrap_or_default()),
                self.previous_exit.as_ref(),
            ),
        };
        let image = match &self.state {
            State::PostStart { run, .. } | State::Running(run) | State::Stopping { run, .. } => {
                Some(&run.image)
            }
            State::Starting { image, .. } => Some(image),
            State::Idle | State::Fetching(_) => self.image.as_ref(),
        };
        let shown = self.running().map(|run: &Run| &run.id);
        let id = shown.or_else(|| self.newest_exit.as_ref().map(|exited| &exited.id));
        ContainerStatus {
            name: self.name.to_string(),
            state,
            last_state: last_state.map(told),
            ready: self.ready(),
            restart_count: self.restart_count,
            image: image.map_or(&spec.image, |image| &image.name).clone(),
            image_id: image.map(|image| image.id.clone()).unwrap_or_default(),
            container_id: id.map(wire_id),
            started: Some(self.started()),
        }
    }

    /// Whether its newest exit belongs to a sandbox that is gone, and its turn in the new one has not come.
    fn comes_again(&self, around: Surroundings) -> bool {
        match self.role {
            Role::Regular => !around.initialized && !self.is_alive() && self.wants_run(),
            Role::Init => {
                !self.completed
                    && self
                        .newest_exit
                        .as_ref()
                        .is_some_and(|exited| exited.terminated.exit_code == 0)
            }
            Role::Sidecar => false,
        }
    }
}

/// The end of a run, with no more of its last words than the pod's budget allows.
///
/// Upstream: kubelet pkg/kubelet/status/status_manager.go, normalizeStatus.
/// Differs: a letter that does not fit is left out as a whole.
/// Shown by: last_words_are_told_within_the_pods_budget.
fn brief(end: &Terminated, limit: usize) -> Terminated {
    let mut end = end.clone();
    if let Some(message) = &mut end.message {
        message.truncate(message.floor_char_boundary(limit));
    }
    end
}
