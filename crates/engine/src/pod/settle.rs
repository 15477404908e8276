//! Bringing a pod to where it should be.

use super::{PodMachine, Sandbox};
use crate::container::{ContainerMachine, State};
use crate::effect::{Effect, EventKind};
use crate::node::Turn;

impl PodMachine {
    /// Brings the pod to where it should be, as far as that can be asked for now.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, computePodActions and SyncPod.
    /// Shown by: the_engine_does_what_the_kubelet_does, a_new_sandbox_is_initialised_anew,
    /// two_containers_end_side_by_side, a_pod_whose_work_is_done_needs_no_new_sandbox.
    pub(crate) fn settle(&mut self, turn: &mut Turn<'_>) {
        self.stop_again(turn);
        if self.ending.is_some() {
            self.wind_down(turn);
            return self.remove_sandbox(turn);
        }
        if self.phase().is_terminal() || self.has_failed() {
            if let Sandbox::Failed { .. } = self.sandbox {
                self.sandbox = Sandbox::Absent { lost: false };
            }
            return self.wind_down(turn);
        }
        match self.sandbox {
            Sandbox::Failed { retry_at, wait } if retry_at <= turn.now.mono => {
                self.start_sandbox(Some(wait), turn);
            }
            Sandbox::Absent { lost } => {
                if !self.regular().iter().any(ContainerMachine::wants_run) {
                    return;
                }
                if lost {
                    let message =
                        "Pod sandbox changed, it will be killed and re-created.".to_owned();
                    self.event(turn, None, EventKind::Normal, "SandboxChanged", message);
                }
                self.initialize_again();
                self.start_sandbox(None, turn);
            }
            Sandbox::Standing => {
                self.kill_failed(turn);
                if !self.initialization.is_done() {
                    self.initialization = self.initialization.advanced(self.init());
                }
                self.start_containers(turn);
                if self.is_leaving() {
                    self.wind_down(turn);
                } else if self.with_sidecars {
                    self.take_turns(turn);
                }
            }
            Sandbox::Starting { .. }
            | Sandbox::Failed { .. }
            | Sandbox::Removing { .. }
            | Sandbox::Stuck { .. }
            | Sandbox::Removed => {}
        }
    }

    /// Once nothing runs any more.
    fn remove_sandbox(&mut self, turn: &mut Turn<'_>) {
        let removable = match self.sandbox {
            Sandbox::Standing | Sandbox::Absent { .. } | Sandbox::Failed { .. } => true,
            Sandbox::Stuck { retry_at } => retry_at <= turn.now.mono,
            Sandbox::Starting { .. } | Sandbox::Removing { .. } | Sandbox::Removed => false,
        };
        let idle = |container: &ContainerMachine| container.state == State::Idle;
        if removable && self.containers.iter().all(idle) {
            let operation = turn.ids.operation();
            self.sandbox = Sandbox::Removing { operation };
            self.changed = true;
            turn.out.push(Effect::RemovePod {
                operation,
                pod: self.uid().clone(),
            });
        }
    }
}
