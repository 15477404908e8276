//! Ending a container: its preStop hook, its turn, TERM, and with how much grace.

use std::time::Duration;

use probelet_model::probe::{ProbeKind, Verdict};
use probelet_model::time::Mono;

use super::PodMachine;
use crate::container::{
    AfterStop, MINIMUM_GRACE, RecalledStep, Run, State, StopStep, kill_grace, pre_stop,
};
use crate::effect::{Effect, EventKind, HookMoment};
use crate::node::Turn;

impl PodMachine {
    /// Ends a container: its event, its preStop hook, and TERM with what the hook has left of the grace.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, killContainer.
    /// Differs: a container that ends while its hook runs has ended; upstream waits for the hook.
    /// Shown by: a_container_that_ends_during_its_hook_is_done, d14_a_pre_stop_hook_comes_off_the_grace, d15_a_pre_stop_hook_that_hangs_leaves_2_seconds,
    /// a_pre_stop_hook_that_fails_is_told_and_the_stop_goes_on.
    pub(super) fn stop(
        &mut self,
        index: usize,
        message: String,
        grace: Duration,
        then: AfterStop,
        turn: &mut Turn<'_>,
    ) {
        let (State::PostStart { run, .. } | State::Running(run)) =
            self.containers[index].state.clone()
        else {
            return;
        };
        self.changed = true;
        let name = self.containers[index].name.clone();
        self.event(turn, Some(&name), EventKind::Normal, "Killing", message);
        self.prepare(index, run, (turn.now.mono, grace), then, turn);
    }

    /// Asks for the preStop hook, if there is one and time for it, else for the stop itself. Counts the
    /// grace since the stop began, which may have been in another agent's time.
    fn prepare(
        &mut self,
        index: usize,
        run: Run,
        (since, grace): (Mono, Duration),
        then: AfterStop,
        turn: &mut Turn<'_>,
    ) {
        let timeout = grace.saturating_sub(turn.now.mono.since(since));
        let spec = self.spec(index);
        let Some(hook) = pre_stop(spec, timeout).cloned() else {
            let grace = left(grace, since, turn.now.mono);
            return self.signal_in_turn(index, run, grace, then, turn);
        };
        let container = spec.name.clone();
        let operation = turn.ids.operation();
        turn.out.push(Effect::RunHook {
            operation,
            pod: self.pod.clone(),
            container,
            id: run.id.clone(),
            hook,
            moment: HookMoment::PreStop,
            timeout: Some(timeout),
        });
        let step = StopStep::Hook {
            operation,
            since,
            grace,
        };
        self.containers[index].state = State::Stopping { run, step, then };
    }

    /// As the kill of a single container; when the whole pod is ended, once its turn has come.
    fn signal_in_turn(
        &mut self,
        index: usize,
        run: Run,
        grace: Duration,
        then: AfterStop,
        turn: &mut Turn<'_>,
    ) {
        let since = turn.now.mono;
        if self.must_wait(index) {
            self.changed = true;
            let step = StopStep::Turn { since, grace };
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
        self.changed = true;
        turn.out.push(Effect::StopContainer {
            pod: self.uid().clone(),
            container: run.id.clone(),
            grace,
        });
        let step = StopStep::Signalled {
            kill_at: turn.now.mono + grace,
            grace,
        };
        self.containers[index].state = State::Stopping { run, step, then };
    }

    /// What the hook said is no event's matter: it may hold secrets.
    pub(super) fn tell_pre_stop_failed(&self, index: usize, turn: &mut Turn<'_>) {
        let message = "PreStopHook failed";
        self.tell(
            index,
            EventKind::Warning,
            "FailedPreStopHook",
            message,
            turn,
        );
    }

    /// What the hook used comes off the grace.
    pub(super) fn signal_after_hook(&mut self, index: usize, turn: &mut Turn<'_>) {
        let State::Stopping {
            run,
            step: StopStep::Hook { since, grace, .. },
            then,
        } = self.containers[index].state.clone()
        else {
            return;
        };
        self.signal_in_turn(index, run, left(grace, since, turn.now.mono), then, turn);
    }

    /// What it waited since comes off the grace.
    pub(super) fn signal_after(
        &mut self,
        index: usize,
        since: Mono,
        grace: Duration,
        turn: &mut Turn<'_>,
    ) {
        let State::Stopping { run, then, .. } = self.containers[index].state.clone() else {
            return;
        };
        self.signal(index, run, left(grace, since, turn.now.mono), then, turn);
    }

    /// Asks again for the stops that an agent before this one had asked for. A preStop hook that was under
    /// way runs again.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, killContainer, which a kubelet
    /// that comes back begins anew.
    /// Differs: only what is left of the grace is given, to the hook and to the container.
    /// Shown by: what_was_being_stopped_is_stopped_again_and_started_once,
    /// a_pre_stop_hook_runs_again_with_the_next_agent_in_what_is_left_of_the_grace,
    /// a_stop_that_is_asked_for_again_keeps_its_grace.
    pub(super) fn stop_again(&mut self, turn: &mut Turn<'_>) {
        for index in 0..self.containers.len() {
            let State::Stopping {
                run,
                step: StopStep::Recalled { step },
                then,
            } = &self.containers[index].state
            else {
                continue;
            };
            let (run, then) = (run.clone(), *then);
            match *step {
                Some(RecalledStep::Hook { since, grace }) => {
                    self.prepare(index, run, (since, grace), then, turn);
                }
                Some(RecalledStep::Signalled { grace }) => {
                    self.signal(index, run, grace, then, turn);
                }
                None => {
                    let grace = self.likely_grace(index);
                    self.signal_in_turn(index, run, grace, then, turn);
                }
            }
        }
    }

    /// The grace of a stop of which nothing was written down but that it had begun.
    fn likely_grace(&self, index: usize) -> Duration {
        let because = [ProbeKind::Liveness, ProbeKind::Startup]
            .into_iter()
            .find(|kind| self.containers[index].verdict(*kind) == Some(Verdict::Failure));
        let pod_grace = self.pod.termination_grace_period;
        kill_grace(self.deletion_grace(), self.spec(index), because, pod_grace)
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
            StopStep::Turn {
                since,
                grace: before,
            } => State::Stopping {
                run,
                step: StopStep::Turn {
                    since,
                    grace: before.min(turn.now.mono.since(since) + grace),
                },
                then: AfterStop::Policy,
            },
            StopStep::Recalled { .. } => return,
            StopStep::Signalled {
                kill_at,
                grace: before,
            } => {
                let grace = grace.max(MINIMUM_GRACE);
                let sooner = turn.now.mono + grace;
                if sooner < kill_at {
                    return self.signal(index, run, grace, AfterStop::Policy, turn);
                }
                State::Stopping {
                    run,
                    step: StopStep::Signalled {
                        kill_at,
                        grace: before,
                    },
                    then: AfterStop::Policy,
                }
            }
        };
    }
}

/// Whole seconds that have been used come off a grace.
fn left(grace: Duration, since: Mono, now: Mono) -> Duration {
    grace.saturating_sub(Duration::from_secs(now.since(since).as_secs()))
}
