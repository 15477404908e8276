//! What a pod's containers together amount to.

use probelet_model::status::{ContainerState, ContainerStatus, Phase};

use crate::restarts::{Restarts, Role};

/// One container of a pod whose phase is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) role: Role,
    pub(super) restarts: &'a Restarts,
    pub(super) status: &'a ContainerStatus,
}

/// How many containers are in which state.
#[derive(Debug, Default)]
struct Count {
    /// Ordinary init containers that have their work before them, and sidecars that have not started.
    pending_init: u32,
    /// Ordinary init containers whose newest run failed and which are not run again.
    failed_init: u32,
    /// Never had a run that ended.
    waiting: u32,
    running: u32,
    stopped: u32,
    /// Of those.
    succeeded: u32,
    /// Of those.
    restarting: u32,
    /// A regular container runs or has ended, and does not wait for its next run.
    regular_started: bool,
}

/// The phase that a pod's containers make, and the policies by which they are started again.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, getPhase.
/// Differs: an init container that has run and is to run again counts as pending, so that a pod whose
/// sandbox is made anew is Pending until its init containers have done their work anew.
/// Shown by: e1_a_new_pod_with_two_containers, e3_an_init_container_that_fails_is_tried_again_with_back_off,
/// e6_the_only_container_in_crash_loop_back_off, e7_one_runs_and_one_never_started,
/// e8_one_runs_and_one_is_in_back_off, e9_never_one_has_ended_well_and_one_runs,
/// the_phase_goes_by_each_containers_own_policy, a_new_sandbox_is_initialised_anew.
pub(super) fn phase<'a>(parts: impl Iterator<Item = Part<'a>>) -> Phase {
    let mut count = Count::default();
    for part in parts {
        match part.role {
            Role::Init => count.init(part),
            Role::Sidecar => count.sidecar(part.status),
            Role::Regular => count.regular(part),
        }
    }
    if count.failed_init > 0 {
        Phase::Failed
    } else if (count.pending_init > 0 && !count.regular_started) || count.waiting > 0 {
        Phase::Pending
    } else if count.running > 0 {
        Phase::Running
    } else if count.stopped == 0 {
        Phase::Pending
    } else if count.restarting > 0 {
        Phase::Running
    } else if count.stopped == count.succeeded {
        Phase::Succeeded
    } else {
        Phase::Failed
    }
}

impl Count {
    fn init(&mut self, part: Part<'_>) {
        match (&part.status.state, &part.status.last_state) {
            (ContainerState::Running(_), _) | (ContainerState::Waiting(_), None) => {
                self.pending_init += 1;
            }
            (ContainerState::Terminated(end), _) | (ContainerState::Waiting(_), Some(end)) => {
                let failed = end.exit_code != 0;
                self.failed_init += u32::from(failed && !part.restarts.after_exit(end.exit_code));
                self.pending_init += u32::from(failed || !part.status.ready);
            }
        }
    }

    fn sidecar(&mut self, status: &ContainerStatus) {
        match (&status.state, &status.last_state) {
            (ContainerState::Running(_), _) => {
                self.running += 1;
                self.pending_init += u32::from(status.started != Some(true));
            }
            (ContainerState::Waiting(_), None) => {
                self.pending_init += 1;
                self.waiting += 1;
            }
            // One that has ended counts nowhere.
            (ContainerState::Terminated(_), _) | (ContainerState::Waiting(_), Some(_)) => {}
        }
    }

    fn regular(&mut self, part: Part<'_>) {
        match (&part.status.state, &part.status.last_state) {
            (ContainerState::Running(_), _) => {
                self.running += 1;
                self.regular_started = true;
            }
            (ContainerState::Terminated(end), _) | (ContainerState::Waiting(_), Some(end)) => {
                self.stopped += 1;
                self.succeeded += u32::from(end.exit_code == 0);
                self.restarting += u32::from(part.restarts.after_exit(end.exit_code));
                self.regular_started |= matches!(part.status.state, ContainerState::Terminated(_));
            }
            (ContainerState::Waiting(_), None) => self.waiting += 1,
        }
    }
}
