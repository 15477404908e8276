//! A pod's probes: their looks, and what becomes of the answers.

use std::time::Duration;

use probelet_model::id::{ContainerName, PodUid};
use probelet_model::probe::{Outcome, OutcomeStatus, ProbeKind, ProberError, Verdict};
use probelet_model::status::Phase;

use super::PodMachine;
use crate::effect::{Counted, Effect, Event, EventKind};
use crate::gate::View;
use crate::input::AttemptId;
use crate::node::Turn;
use crate::probe::{Answer, Look, ProbeMachine};
use crate::report::{Report, What};

impl PodMachine {
    /// What an attempt saw is counted; each failure, warning and error is told as an event.
    ///
    /// Upstream: kubelet pkg/kubelet/prober/prober.go, probe; worker.go, doProbe.
    /// Shown by: d9_liveness_kill_and_restart_in_one_turn, a27_a_warning_is_told_each_time_and_never_kills,
    /// a28_a_port_that_is_missing_is_told_each_tick_and_changes_nothing.
    pub(crate) fn attempt_finished(
        &mut self,
        attempt: AttemptId,
        result: &Result<Outcome, ProberError>,
        duration: Duration,
        turn: &mut Turn<'_>,
    ) {
        let mut answer = None;
        'found: for (index, container) in self.containers.iter_mut().enumerate() {
            for probe in &mut container.probes {
                let given = probe.answer(attempt, result);
                if given != Answer::Stale {
                    answer = Some((index, probe.kind, given));
                    break 'found;
                }
            }
        }
        let Some((index, kind, answer)) = answer else {
            return turn.stale();
        };
        let name = self.containers[index].name.clone();
        let counted = if let Answer::Counted {
            run,
            threshold,
            changed,
            ..
        } = answer
        {
            Some(Counted {
                probe: kind,
                run,
                threshold,
                duration,
                changed,
            })
        } else {
            None
        };
        let told = match result {
            Ok(outcome) => match outcome.status {
                OutcomeStatus::Success => None,
                OutcomeStatus::Warning => {
                    let message = format!("{kind} probe warning: {}", outcome.output);
                    Some(("ProbeWarning", message))
                }
                OutcomeStatus::Failure => {
                    let message = format!("{kind} probe failed: {}", outcome.output);
                    Some(("Unhealthy", message))
                }
            },
            Err(error) => {
                let message =
                    format!("{kind} probe errored and resulted in unknown state: {error}");
                Some(("Unhealthy", message))
            }
        };
        turn.out.extend(told.map(|(reason, message)| {
            Effect::Event(Event {
                pod: self.pod.uid.clone(),
                container: Some(name.clone()),
                kind: EventKind::Warning,
                reason,
                message,
                attempt: counted,
            })
        }));
        let what = match (result, answer) {
            (
                Ok(outcome),
                Answer::Counted {
                    run,
                    threshold,
                    verdict,
                    changed,
                },
            ) => {
                if changed {
                    self.changed = true;
                    self.synchronise |= kind != ProbeKind::Liveness || verdict == Verdict::Failure;
                }
                What::Attempt {
                    status: outcome.status,
                    output: outcome.output.clone(),
                    code: outcome.code,
                    duration,
                    run,
                    threshold,
                    verdict,
                    changed,
                }
            }
            (Err(error), _) => What::Error {
                message: error.message.clone(),
                duration,
            },
            (Ok(_), Answer::Error | Answer::Stale) => return,
        };
        turn.out.push(Effect::Report(Report {
            pod: self.uid().clone(),
            container: name.clone(),
            kind,
            what,
        }));
        let probes = &mut self.containers[index].probes;
        if let Some(probe) = probes.iter_mut().find(|probe| probe.kind == kind) {
            tell_verdicts(&self.pod.uid, &name, probe, turn);
        }
        self.look(
            turn,
            |probe, view, turn| {
                (probe.kind == kind)
                    .then(|| probe.make_up(view, turn.now.mono, || turn.ids.attempt()))
                    .flatten()
            },
            Some(index),
        );
    }

    /// After the status of this turn is made: readiness probes that have not succeeded look at once.
    ///
    /// Upstream: kubelet pkg/kubelet/prober/prober_manager.go, UpdatePodStatus.
    /// Differs: the look comes after the status it is caused by, so it never sees an older one.
    /// Shown by: b6_readiness_is_triggered_by_startup, b11_each_synchronisation_makes_an_unready_probe_look,
    /// a_verdict_that_turns_to_failure_makes_readiness_look_again_at_once.
    pub(crate) fn trigger(&mut self, turn: &mut Turn<'_>) {
        if !std::mem::take(&mut self.synchronise) {
            return;
        }
        let waits: Vec<bool> = self
            .containers
            .iter()
            .map(|container| container.started() && !container.ready())
            .collect();
        for (index, waits) in waits.into_iter().enumerate() {
            if waits {
                self.look(
                    turn,
                    |probe, view, turn| {
                        (probe.kind == ProbeKind::Readiness)
                            .then(|| probe.trigger(view, turn.now.mono, || turn.ids.attempt()))
                            .flatten()
                    },
                    Some(index),
                );
            }
        }
    }

    /// Lets probes look, all of them or those of one container, as `choose` says.
    pub(super) fn look(
        &mut self,
        turn: &mut Turn<'_>,
        mut choose: impl FnMut(&mut ProbeMachine, &View, &mut Turn<'_>) -> Option<Look>,
        only: Option<usize>,
    ) {
        // A pod that has failed has, to its probes, though its containers may still run.
        let phase = if self.has_failed() {
            Phase::Failed
        } else {
            self.phase()
        };
        let deleting = self.ending.is_some();
        for (index, container) in self.containers.iter_mut().enumerate() {
            if only.is_some_and(|only| only != index) {
                continue;
            }
            let view = container.view(phase, deleting);
            let name = container.name.clone();
            for probe in &mut container.probes {
                let kind = probe.kind;
                let look = choose(probe, &view, turn);
                tell_verdicts(&self.pod.uid, &name, probe, turn);
                match look {
                    None | Some(Look::None(None)) => {}
                    Some(Look::None(Some(skip))) => turn.out.push(Effect::Report(Report {
                        pod: self.pod.uid.clone(),
                        container: name.clone(),
                        kind,
                        what: What::Skipped(skip),
                    })),
                    Some(Look::Attempt {
                        attempt,
                        container: id,
                    }) => turn.out.push(Effect::StartAttempt {
                        attempt,
                        pod: self.pod.clone(),
                        container: name.clone(),
                        id,
                        kind,
                    }),
                }
            }
        }
    }
}

/// Tells what a probe has published since this was last asked.
fn tell_verdicts(
    pod: &PodUid,
    container: &ContainerName,
    probe: &mut ProbeMachine,
    turn: &mut Turn<'_>,
) {
    let kind = probe.kind;
    for verdict in probe.take_published() {
        turn.out.push(Effect::Report(Report {
            pod: pod.clone(),
            container: container.clone(),
            kind,
            what: What::Verdict(verdict),
        }));
    }
}
