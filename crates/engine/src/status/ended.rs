//! What is said of the containers of a pod of which nothing runs any more.

use probelet_model::status::{ContainerState, ContainerStatus, Phase, Terminated};

use crate::container::{NOT_LOCATED, NOT_LOCATED_CODE};

/// What is said of a container of a pod of which nothing is left, if nobody saw it end.
///
/// Upstream: kubelet pkg/kubelet/status/status_manager.go, TerminatePod.
/// Shown by: while_the_sandbox_is_being_made.
const NEVER_LOCATED: &str = "The container could not be located when the pod was terminated";

/// Every container that could have run is told to have ended: one that has not been seen to counts as
/// lost. Init containers whose turn never came, and regular ones of a pod that was never initialised,
/// wait for ever.
///
/// Upstream: kubelet pkg/kubelet/status/status_manager.go, TerminatePod, hasPodInitialized and
/// initializedContainers.
/// Shown by: while_the_sandbox_is_being_made,
/// a_deletion_before_the_first_init_container_leaves_only_that_one_lost.
pub(super) fn account_for_all(
    init: &mut [ContainerStatus],
    regular: &mut [ContainerStatus],
    initialized: bool,
) {
    if initialized || regular.iter().any(has_run) {
        regular.iter_mut().for_each(lose);
    }
    let reached = init.iter().rposition(has_run).unwrap_or(0);
    init.iter_mut().take(reached + 1).for_each(lose);
}

fn has_run(status: &ContainerStatus) -> bool {
    !matches!(status.state, ContainerState::Waiting(_)) || status.last_state.is_some()
}

fn lose(status: &mut ContainerStatus) {
    if matches!(status.state, ContainerState::Terminated(_)) {
        return;
    }
    status.state = ContainerState::Terminated(Terminated {
        exit_code: NOT_LOCATED_CODE,
        reason: Some(NOT_LOCATED.to_owned()),
        message: Some(NEVER_LOCATED.to_owned()),
        ..Terminated::default()
    });
}

/// The phase of a pod that has been made to end: all of its regular containers have, whatever the
/// policy; how sidecars ended does not count.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, getPhase (podIsTerminal).
/// Shown by: e23_the_final_phase_of_a_deleted_pod_goes_by_the_exit_codes, while_a_container_is_in_back_off,
/// a_deletion_ends_regular_containers_first_and_then_sidecars_last_to_first.
pub(super) fn final_phase(regular: &[ContainerStatus], phase: Phase) -> Phase {
    let ended_well = |status: &ContainerStatus| matches!(&status.state, ContainerState::Terminated(end) if end.exit_code == 0);
    match phase {
        Phase::Succeeded | Phase::Failed => phase,
        Phase::Pending | Phase::Running if regular.iter().all(ended_well) => Phase::Succeeded,
        Phase::Pending | Phase::Running => Phase::Failed,
    }
}
