//! Ending all containers of a pod, each when its turn has come.
//!
//! Regular containers and ordinary init containers are told to end at once, side by side. A sidecar's
//! turn comes when all regular containers and all sidecars after it have ended; what it has waited comes
//! off its grace, and when nothing is left of that it waits no longer.

use super::PodMachine;
use crate::container::{AfterStop, ContainerMachine, State, StopStep, kill_grace};
use crate::node::Turn;
use crate::restarts::Role;

impl PodMachine {
    /// Tells what runs to end, and those that wait for it that their turn has come.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, killContainersWithSyncResult.
    /// Shown by: two_containers_end_side_by_side,
    /// a_deletion_ends_regular_containers_first_and_then_sidecars_last_to_first.
    pub(super) fn wind_down(&mut self, turn: &mut Turn<'_>) {
        for index in 0..self.containers.len() {
            match self.containers[index].state {
                State::PostStart { .. } | State::Running(_) => {
                    let spec = self.spec(index);
                    let pod_grace = self.pod.termination_grace_period;
                    let grace = kill_grace(self.deletion_grace(), spec, None, pod_grace);
                    let message = format!("Stopping container {}", spec.name);
                    self.stop(index, message, grace, AfterStop::Policy, turn);
                }
                State::Stopping { .. } => self.shorten(index, turn),
                // Nothing of it is there yet, and nobody needs the image any more.
                State::Fetching(_) => {
                    self.containers[index].stop_fetching();
                    self.changed = true;
                }
                State::Idle | State::Starting { .. } => {}
            }
        }
        self.take_turns(turn);
    }

    /// Signals the sidecars whose turn has come or whose grace is used up; and those that have nothing to
    /// wait for any more, because their pod goes on after all.
    pub(super) fn take_turns(&mut self, turn: &mut Turn<'_>) {
        // Last to first: one that is signalled is still one to wait for.
        for index in (0..self.init().len()).rev() {
            let State::Stopping {
                step: StopStep::Turn { since, grace },
                ..
            } = self.containers[index].state
            else {
                continue;
            };
            let due = since + grace <= turn.now.mono;
            if due || self.has_turn(index) || !self.winds_down() {
                self.signal_after(index, since, grace, turn);
            }
        }
    }

    /// Whether a container that is to be signalled must wait for others first.
    pub(super) fn must_wait(&self, index: usize) -> bool {
        self.winds_down() && !self.has_turn(index)
    }

    /// Whether nothing is left that must end before the container at `index`.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_termination_order.go, newTerminationOrdering.
    /// Differs: a sidecar waits for all that come after it, also where the one next to it is down.
    /// Shown by: a_deletion_ends_regular_containers_first_and_then_sidecars_last_to_first,
    /// a_sidecar_waits_no_longer_than_the_grace.
    fn has_turn(&self, index: usize) -> bool {
        if self.containers[index].role != Role::Sidecar {
            return true;
        }
        let mut after = self.containers[index + 1..].iter();
        !after.any(|other| other.role != Role::Init && other.is_alive())
    }

    /// Whether the pod as a whole is being ended.
    pub(super) fn winds_down(&self) -> bool {
        self.ending.is_some()
            || self.has_failed()
            || self.phase().is_terminal()
            || self.is_leaving()
    }

    /// Whether only sidecars are left: every regular container has ended, or has been told to, and none
    /// will be started again.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, computePodActions (nothing is
    /// kept and nothing is to start).
    /// Shown by: sidecars_keep_no_pod_alive_and_end_after_it_in_reverse_order,
    /// a_probe_that_kills_the_last_container_of_a_never_pod_ends_the_sidecars_too.
    pub(super) fn is_leaving(&self) -> bool {
        let leaves = |container: &ContainerMachine| match &container.state {
            State::Idle => container.start_over.is_none() && !container.wants_run(),
            State::Stopping { then, .. } => !container.comes_back(*then),
            State::Fetching(_)
            | State::Starting { .. }
            | State::PostStart { .. }
            | State::Running(_) => false,
        };
        self.with_sidecars && self.initialization.is_done() && self.regular().iter().all(leaves)
    }
}
