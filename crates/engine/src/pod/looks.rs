//! A pod's probes: their looks, and what becomes of the answers.

use std::time::Duration;

use probelet_model::probe::{Outcome, OutcomeStatus, ProbeKind, ProberError, Verdict};

use super::PodMachine;
use crate::effect::{Effect, EventKind};
use crate::gate::View;
use crate::input::AttemptId;
use crate::node::Turn;
use crate::probe::{Answer, Look, ProbeMachine};
use crate::report::{Report, What};

impl PodMachine {
    /// Upstream: kubelet pkg/kubelet/prober/prober.go, probe; worker.go, doProbe.
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
        match result {
            Ok(Outcome {
                status: OutcomeStatus::Success,
                ..
            }) => {}
            Ok(Outcome {
                status: OutcomeStatus::Warning,
                output,
                ..
            }) => {
                let message = format!("{kind} probe warning: {output}");
                self.event(
                    turn,
                    Some(&name),
                    EventKind::Warning,
                    "ProbeWarning",
                    message,
                );
            }
            Ok(Outcome {
                status: OutcomeStatus::Failure,
                output,
                ..
            }) => {
                let message = format!("{kind} probe failed: {output}");
                self.event(turn, Some(&name), EventKind::Warning, "Unhealthy", message);
            }
            Err(error) => {
                let message =
                    format!("{kind} probe errored and resulted in unknown state: {error}");
                self.event(turn, Some(&name), EventKind::Warning, "Unhealthy", message);
            }
        }
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
            container: name,
            kind,
            what,
        }));
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
        let (phase, policy, deleting) =
            (self.phase(), self.pod.restart_policy, self.ending.is_some());
        for (index, container) in self.containers.iter_mut().enumerate() {
            if only.is_some_and(|only| only != index) {
                continue;
            }
            let view = container.view(phase, deleting, policy);
            let name = container.name.clone();
            for probe in &mut container.probes {
                let kind = probe.kind;
                match choose(probe, &view, turn) {
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
