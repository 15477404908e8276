//! Ending a container: why, with what words, and with how much grace.

use std::time::Duration;

use probelet_model::pod::RestartPolicy;
use probelet_model::probe::{ProbeKind, Verdict};

use super::PodMachine;
use crate::container::{AfterStop, MINIMUM_GRACE, Run, State, StopStep, kill_grace, pre_stop};
use crate::effect::{Effect, EventKind};
use crate::node::Turn;

/// Why a container is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Probe(ProbeKind),
    DefinitionChanged,
}

impl PodMachine {
    /// Kills the running containers that must not run on.
    pub(super) fn kill_failed(&mut self, turn: &mut Turn<'_>) {
        let causes: Vec<Option<Cause>> = (0..self.containers.len())
            .map(|index| self.cause_to_kill(index))
            .collect();
        if causes.iter().all(Option::is_none) {
            return;
        }
        let restarts = self.pod.restart_policy != RestartPolicy::Never;
        let others_live = self
            .containers
            .iter()
            .zip(&causes)
            .any(|(container, cause)| match container.state {
                State::Running(_) => cause.is_none(),
                State::Starting { .. } => true,
                State::Idle => container.wants_run(self.pod.restart_policy),
                State::Stopping { .. } => false,
            });
        for (index, cause) in causes.into_iter().enumerate() {
            let Some(cause) = cause else { continue };
            let container = &self.containers[index];
            let name = &container.name;
            // A changed definition restarts whatever the policy.
            let restart = restarts || cause == Cause::DefinitionChanged;
            let then = if restart {
                let newest_exit = container.newest_exit.as_ref().map(|exited| exited.at);
                AfterStop::Restart { newest_exit }
            } else {
                AfterStop::Policy
            };
            let pod_grace = self.pod.termination_grace_period;
            let (message, grace) = if restart || others_live {
                let (why, probe) = match cause {
                    Cause::Probe(kind) => {
                        let kind_word = kind.as_str().to_lowercase();
                        (
                            format!("Container {name} failed {kind_word} probe"),
                            Some(kind),
                        )
                    }
                    Cause::DefinitionChanged => {
                        (format!("Container {name} definition changed"), None)
                    }
                };
                let suffix = if restart { ", will be restarted" } else { "" };
                (
                    format!("{why}{suffix}"),
                    kill_grace(None, self.spec(index), probe, pod_grace),
                )
            } else {
                // Upstream kills the whole pod here, and the probe's grace and name are lost on the way.
                (format!("Stopping container {name}"), pod_grace)
            };
            self.stop(index, message, grace, then, turn);
        }
    }

    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, computePodActions.
    fn cause_to_kill(&self, index: usize) -> Option<Cause> {
        let container = &self.containers[index];
        let State::Running(run) = &container.state else {
            return None;
        };
        if run.image != self.spec(index).image {
            return Some(Cause::DefinitionChanged);
        }
        [ProbeKind::Liveness, ProbeKind::Startup]
            .into_iter()
            .find(|kind| container.verdict(*kind) == Some(Verdict::Failure))
            .map(Cause::Probe)
    }

    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, killContainer.
    pub(super) fn stop(
        &mut self,
        index: usize,
        message: String,
        grace: Duration,
        then: AfterStop,
        turn: &mut Turn<'_>,
    ) {
        let State::Running(run) = self.containers[index].state.clone() else {
            return;
        };
        self.changed = true;
        let name = self.containers[index].name.clone();
        self.event(turn, Some(&name), EventKind::Normal, "Killing", message);
        if let Some(hook) = pre_stop(self.spec(index), grace).cloned() {
            let operation = turn.ids.operation();
            turn.out.push(Effect::RunHook {
                operation,
                pod: self.pod.clone(),
                container: name,
                id: run.id.clone(),
                hook,
                timeout: grace,
            });
            let step = StopStep::Hook {
                operation,
                since: turn.now.mono,
                grace,
            };
            self.containers[index].state = State::Stopping { run, step, then };
        } else {
            self.signal(index, run, grace, then, turn);
        }
    }

    fn signal(
        &mut self,
        index: usize,
        run: Run,
        grace: Duration,
        then: AfterStop,
        turn: &mut Turn<'_>,
    ) {
        let grace = grace.max(MINIMUM_GRACE);
        turn.out.push(Effect::StopContainer {
            pod: self.uid().clone(),
            container: run.id.clone(),
            grace,
        });
        let step = StopStep::Signalled {
            kill_at: turn.now.mono + grace,
        };
        self.containers[index].state = State::Stopping { run, step, then };
    }

    /// Whole seconds that the hook used come off the grace.
    pub(super) fn signal_after_hook(&mut self, index: usize, turn: &mut Turn<'_>) {
        let State::Stopping {
            run,
            step: StopStep::Hook { since, grace, .. },
            then,
        } = self.containers[index].state.clone()
        else {
            return;
        };
        let used = Duration::from_secs(turn.now.mono.since(since).as_secs());
        self.signal(index, run, grace.saturating_sub(used), then, turn);
    }

    /// Asks again for the stops that an agent before this one had asked for.
    pub(super) fn stop_again(&mut self, turn: &mut Turn<'_>) {
        for index in 0..self.containers.len() {
            if let State::Stopping {
                run,
                step: StopStep::Recalled,
                then,
            } = self.containers[index].state.clone()
            {
                let pod_grace = self.pod.termination_grace_period;
                let because = [ProbeKind::Liveness, ProbeKind::Startup]
                    .into_iter()
                    .find(|kind| self.containers[index].verdict(*kind) == Some(Verdict::Failure));
                let grace = kill_grace(self.deletion_grace(), self.spec(index), because, pod_grace);
                self.signal(index, run, grace, then, turn);
            }
        }
    }

    /// A deletion may bring the end of a stop forward, never back.
    pub(super) fn shorten(&mut self, index: usize, turn: &mut Turn<'_>) {
        let Some(grace) = self.deletion_grace() else {
            return;
        };
        let State::Stopping { run, step, .. } = self.containers[index].state.clone() else {
            return;
        };
        self.containers[index].state = match step {
            StopStep::Hook {
                operation,
                since,
                grace: before,
            } => State::Stopping {
                run,
                step: StopStep::Hook {
                    operation,
                    since,
                    grace: before.min(turn.now.mono.since(since) + grace),
                },
                then: AfterStop::Policy,
            },
            StopStep::Recalled => return,
            StopStep::Signalled { kill_at } => {
                let grace = grace.max(MINIMUM_GRACE);
                let sooner = turn.now.mono + grace;
                if sooner < kill_at {
                    let (pod, container) = (self.uid().clone(), run.id.clone());
                    turn.out.push(Effect::StopContainer {
                        pod,
                        container,
                        grace,
                    });
                }
                let step = StopStep::Signalled {
                    kill_at: kill_at.min(sooner),
                };
                State::Stopping {
                    run,
                    step,
                    then: AfterStop::Policy,
                }
            }
        };
    }
}
