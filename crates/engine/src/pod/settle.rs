//! Bringing a pod to where it should be.

use probelet_model::time::Mono;

use super::{PodMachine, Sandbox, waiting};
use crate::backoff::go_seconds;
use crate::container::{AfterStop, State, kill_grace};
use crate::effect::{Effect, EventKind};
use crate::node::Turn;

impl PodMachine {
    /// Brings the pod to where it should be, as far as that can be asked for now.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, computePodActions and SyncPod.
    pub(crate) fn settle(&mut self, turn: &mut Turn<'_>) {
        self.stop_again(turn);
        if self.ending.is_some() {
            return self.settle_ending(turn);
        }
        if self.phase().is_terminal() {
            return;
        }
        match self.sandbox {
            Sandbox::Absent { lost } => {
                if !self
                    .containers
                    .iter()
                    .any(|container| container.wants_run(self.pod.restart_policy))
                {
                    return;
                }
                if lost {
                    let message =
                        "Pod sandbox changed, it will be killed and re-created.".to_owned();
                    self.event(turn, None, EventKind::Normal, "SandboxChanged", message);
                }
                self.start_sandbox(None, turn);
            }
            Sandbox::Standing => {
                self.kill_failed(turn);
                for index in 0..self.containers.len() {
                    if let Some(newest_exit) = self.containers[index].start_over.take() {
                        self.start(index, newest_exit, turn);
                    }
                    let container = &self.containers[index];
                    if container.state == State::Idle
                        && container.retry_at.is_none()
                        && container.wants_run(self.pod.restart_policy)
                    {
                        let newest_exit = container.newest_exit.as_ref().map(|exited| exited.at);
                        self.start(index, newest_exit, turn);
                    }
                }
            }
            Sandbox::Starting { .. }
            | Sandbox::Failed { .. }
            | Sandbox::Removing { .. }
            | Sandbox::Removed => {}
        }
    }

    fn settle_ending(&mut self, turn: &mut Turn<'_>) {
        for index in 0..self.containers.len() {
            match self.containers[index].state {
                State::Running(_) => {
                    let spec = self.spec(index);
                    let grace = kill_grace(
                        self.deletion_grace(),
                        spec,
                        None,
                        self.pod.termination_grace_period,
                    );
                    let message = format!("Stopping container {}", self.containers[index].name);
                    self.stop(index, message, grace, AfterStop::Policy, turn);
                }
                State::Stopping { .. } => self.shorten(index, turn),
                State::Idle | State::Starting { .. } => {}
            }
        }
        let idle = self
            .containers
            .iter()
            .all(|container| container.state == State::Idle);
        match self.sandbox {
            Sandbox::Standing | Sandbox::Absent { .. } | Sandbox::Failed { .. } if idle => {
                let operation = turn.ids.operation();
                self.sandbox = Sandbox::Removing { operation };
                self.changed = true;
                turn.out.push(Effect::RemovePod {
                    operation,
                    pod: self.uid().clone(),
                });
            }
            Sandbox::Standing
            | Sandbox::Absent { .. }
            | Sandbox::Failed { .. }
            | Sandbox::Starting { .. }
            | Sandbox::Removing { .. }
            | Sandbox::Removed => {}
        }
    }

    /// Starts the next run, unless the back-off stands in the way.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, doBackOff.
    /// Differs: CrashLoopBackOff shows at once, not one synchronisation later, and the next try comes
    /// when the wait is over, not at some later synchronisation.
    fn start(&mut self, index: usize, newest_exit: Option<Mono>, turn: &mut Turn<'_>) {
        let limits = &turn.config.back_off;
        let container = &mut self.containers[index];
        let name = container.name.clone();
        self.changed = true;
        if let Some(exit) = newest_exit {
            if let Some((until, delay)) = container.back_off.refuses(limits, exit, turn.now.mono) {
                let full_name = format!("{}({})", self.pod.full_name(), self.pod.uid);
                let wait = go_seconds(delay);
                let message =
                    format!("back-off {wait} restarting failed container={name} pod={full_name}");
                // A refusal judged by an older exit is no more than an event: the policy and the newest exit
                // decide next, in the same turn.
                if container
                    .newest_exit
                    .as_ref()
                    .is_some_and(|exited| exited.at == exit)
                {
                    container.waiting = Some(waiting("CrashLoopBackOff", message));
                    container.retry_at = Some(until);
                }
                let message =
                    format!("Back-off restarting failed container {name} in pod {full_name}");
                return self.event(turn, Some(&name), EventKind::Warning, "BackOff", message);
            }
            container.back_off.advance(limits, exit, turn.now.mono);
        }
        let id = turn.ids.container();
        let operation = turn.ids.operation();
        let restart_count = container.next_restart_count();
        container.waiting = None;
        container.state = State::Starting {
            operation,
            id: id.clone(),
            restart_count,
            image: self.pod.containers[index].image.clone(),
            exit: None,
        };
        turn.out.push(Effect::StartContainer {
            operation,
            pod: self.pod.clone(),
            container: name,
            id,
            restart_count,
        });
    }
}
