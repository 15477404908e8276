//! One probe of one container.

use std::time::Duration;

use probelet_model::id::ContainerId;
use probelet_model::probe::{Outcome, Probe, ProbeKind, ProberError, Verdict};
use probelet_model::time::{Mono, Now};

use crate::gate::{self, Skip, View, ViewState};
use crate::input::AttemptId;
use crate::memory::{Instant, ProbeMemory};
use crate::schedule::Schedule;
use crate::threshold::Run;

/// One probe over all the runs of its container: what upstream's worker is.
///
/// Shape: one per (pod uid, container name, kind), from the time the node knows the pod until the pod
/// has ended; a new run of the container only changes a field.
/// Upstream: kubelet pkg/kubelet/prober/worker.go, worker.
/// Differs: upstream's worker begins to tick once the pod's volumes stand; the grid here begins with the
/// pod. An attempt that is under way when its container ends is dropped when it answers, instead of
/// being counted for the next run. A value that no attempt gave, the initial one of a run or the Failure of one
/// that has ended, has no readiness probe look once more.
/// Shown by: the_engine_does_what_the_kubelet_does, a18_a_container_that_waits_has_failed,
/// a20_a_container_that_is_down_for_good_ends_the_machine, an_attempt_that_outlives_its_container_is_dropped.
#[derive(Clone, Debug)]
pub(crate) struct ProbeMachine {
    pub(crate) kind: ProbeKind,
    schedule: Schedule,
    success_threshold: u32,
    failure_threshold: u32,
    initial_delay: Duration,
    /// The run that `verdict` is about; durable.
    container: Option<ContainerId>,
    /// Durable: after a restart of the agent nothing flips until a new attempt says so.
    verdict: Option<Verdict>,
    /// Durable.
    on_hold: bool,
    /// Durable.
    run: Run,
    /// Volatile: an attempt dies with the agent.
    under_way: Option<AttemptId>,
    /// Volatile: a look that fell into an attempt.
    missed: Option<Missed>,
    /// Volatile: upstream's worker has returned.
    ended: bool,
    /// Volatile: something durable has changed since it was last written down.
    pub(crate) unnoted: bool,
    /// Volatile: what was published and has not been told yet, in order. One look publishes twice at
    /// most: the first value about a new run, and that it does not run.
    published: [Option<Verdict>; 2],
    /// Volatile: why the last look became no attempt, so that it is told once.
    told: Option<Skip>,
}

/// A look that fell into an attempt, and why there was to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missed {
    Tick,
    /// The grid starts anew when it is made up for.
    Trigger,
}

/// What one look amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Make an attempt.
    Attempt {
        /// Its id.
        attempt: AttemptId,
        /// The run it is about.
        container: ContainerId,
    },
    /// Make none. Carries the reason when it is another than last time.
    None(Option<Skip>),
}

/// What became of an attempt's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nobody waits for it any more.
    Stale,
    /// It could not be made; nothing was counted.
    Error,
    /// It was counted.
    Counted {
        /// The how-manieth of its sort in a row.
        run: u32,
        /// How many make a verdict.
        threshold: u32,
        /// The verdict now.
        verdict: Verdict,
        /// Whether it changed.
        changed: bool,
    },
}

impl ProbeMachine {
    pub(crate) fn new(kind: ProbeKind, probe: &Probe, first: Mono) -> Self {
        Self {
            kind,
            schedule: Schedule::starting(first, probe.period),
            success_threshold: probe.success_threshold,
            failure_threshold: probe.failure_threshold,
            initial_delay: probe.initial_delay,
            container: None,
            verdict: None,
            on_hold: false,
            run: Run::default(),
            under_way: None,
            missed: None,
            ended: false,
            unnoted: true,
            published: [None; 2],
            told: None,
        }
    }

    pub(crate) fn restored(kind: ProbeKind, probe: &Probe, memory: &ProbeMemory, now: Now) -> Self {
        Self {
            schedule: Schedule::resumed(memory.anchor.read(now), probe.period, now.mono),
            container: memory.container.clone(),
            verdict: memory.verdict,
            on_hold: memory.on_hold,
            run: Run {
                success: memory.success,
                length: memory.run,
            },
            ..Self::new(kind, probe, now.mono)
        }
    }

    pub(crate) fn memory(&self, origin: Now) -> ProbeMemory {
        let threshold = if self.run.success {
            self.success_threshold
        } else {
            self.failure_threshold
        };
        ProbeMemory {
            container: self.container.clone(),
            verdict: self.verdict,
            success: self.run.success,
            run: self.run.length.min(threshold),
            on_hold: self.on_hold,
            anchor: Instant::written(self.schedule.anchor(), origin),
        }
    }

    /// The verdict about one run; `None` if none has been given yet.
    pub(crate) fn verdict(&self, container: &ContainerId) -> Option<Verdict> {
        self.verdict
            .filter(|_| self.container.as_ref() == Some(container))
    }

    /// When it looks next.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        (!self.ended).then(|| self.schedule.next())
    }

    /// A tick may be due.
    pub(crate) fn wake(
        &mut self,
        view: &View,
        now: Mono,
        next_id: impl FnOnce() -> AttemptId,
    ) -> Option<Look> {
        (!self.ended && self.schedule.take_due(now)).then(|| self.look(view, now, next_id))
    }

    /// Somebody wants to know now; the grid starts anew.
    pub(crate) fn trigger(
        &mut self,
        view: &View,
        now: Mono,
        next_id: impl FnOnce() -> AttemptId,
    ) -> Option<Look> {
        if self.ended {
            return None;
        }
        if self.under_way.is_some() {
            self.missed = Some(Missed::Trigger);
            return Some(self.skip(Skip::AttemptUnderWay));
        }
        self.schedule.restart(now);
        self.unnoted = true;
        Some(self.look(view, now, next_id))
    }

    /// One look of a probe; the order of the early returns is upstream's, and is the specification.
    ///
    /// Upstream: kubelet pkg/kubelet/prober/worker.go, doProbe.
    /// Shown by: the_engine_does_what_the_kubelet_does, a3_startup_goes_on_hold_with_its_success,
    /// a7_liveness_goes_on_hold_with_its_failure, a10_startup_is_held_for_the_run_it_has_judged,
    /// a16_nothing_without_a_status, a17_nothing_without_a_run_of_this_container,
    /// a22_a_failed_pod_ends_the_machine.
    fn look(&mut self, view: &View, now: Mono, next_id: impl FnOnce() -> AttemptId) -> Look {
        if self.under_way.is_some() {
            self.missed = self.missed.or(Some(Missed::Tick));
            return self.skip(Skip::AttemptUnderWay);
        }
        match self.pass(view, now) {
            Ok(container) => {
                let attempt = next_id();
                self.under_way = Some(attempt);
                self.told = None;
                Look::Attempt { attempt, container }
            }
            Err(skip) => self.skip(skip),
        }
    }

    fn pass(&mut self, view: &View, now: Mono) -> Result<ContainerId, Skip> {
        if view.phase.is_terminal() {
            self.ended = true;
            return Err(Skip::PodEnded(view.phase));
        }
        let run = view.run.as_ref().ok_or(Skip::NoContainer)?;
        if self.container.as_ref() != Some(&run.id) {
            self.container = Some(run.id.clone());
            // The first value about a run is always news, whatever was said of the run before.
            self.verdict = None;
            self.publish(initial(self.kind));
            self.on_hold = false;
        }
        if self.on_hold {
            return Err(Skip::OnHold(
                self.verdict.unwrap_or_else(|| initial(self.kind)),
            ));
        }
        let since = match run.state {
            ViewState::Running { since } => since,
            ViewState::NotRunning { restarts } => {
                self.publish(Verdict::Failure);
                if !restarts {
                    // The worker's return takes its result along.
                    self.verdict = None;
                    self.ended = true;
                    return Err(Skip::Ended);
                }
                return Err(Skip::NotRunning);
            }
        };
        if let Err(skip) =
            gate::running(self.kind, view, run.started, since, self.initial_delay, now)
        {
            if skip == Skip::Deleting {
                self.publish(Verdict::Success);
                self.ended = true;
            }
            return Err(skip);
        }
        Ok(run.id.clone())
    }

    /// Publishing the same value about the same run again is no news.
    ///
    /// Upstream: kubelet pkg/kubelet/prober/results/results_manager.go, Set.
    /// Shown by: a1_readiness_publishes_failure_and_success_in_one_evaluation,
    /// a2_liveness_publishes_success_once, every_change_of_a_verdict_is_told_and_nothing_else.
    fn publish(&mut self, verdict: Verdict) {
        if self.verdict != Some(verdict) {
            self.verdict = Some(verdict);
            self.unnoted = true;
            let free = self.published.iter_mut().find(|told| told.is_none());
            *free.expect("what one look publishes is told before the next") = Some(verdict);
        }
    }

    /// What was published since this was last asked.
    pub(crate) fn take_published(&mut self) -> impl Iterator<Item = Verdict> + use<> {
        std::mem::take(&mut self.published).into_iter().flatten()
    }

    fn skip(&mut self, skip: Skip) -> Look {
        let first = self.told.as_ref() != Some(&skip);
        self.told = Some(skip);
        Look::None(first.then_some(skip))
    }

    /// An attempt has answered.
    pub(crate) fn answer(
        &mut self,
        attempt: AttemptId,
        result: &Result<Outcome, ProberError>,
    ) -> Answer {
        if self.under_way != Some(attempt) {
            return Answer::Stale;
        }
        self.under_way = None;
        let Ok(outcome) = result else {
            return Answer::Error;
        };
        let success = outcome.status.is_success();
        let threshold = if success {
            self.success_threshold
        } else {
            self.failure_threshold
        };
        let met = self.run.count(success, threshold);
        let run = self.run.length;
        self.unnoted |= run <= threshold;
        let mut changed = false;
        if met {
            let verdict = if success {
                Verdict::Success
            } else {
                Verdict::Failure
            };
            changed = self.verdict != Some(verdict);
            self.publish(verdict);
            if self.kind == ProbeKind::Startup || (self.kind == ProbeKind::Liveness && !success) {
                self.on_hold = true;
                self.run.clear();
            }
        }
        Answer::Counted {
            run,
            threshold,
            verdict: self.verdict.unwrap_or_else(|| initial(self.kind)),
            changed,
        }
    }

    /// Makes up for a look that fell into the attempt that has just answered.
    pub(crate) fn make_up(
        &mut self,
        view: &View,
        now: Mono,
        next_id: impl FnOnce() -> AttemptId,
    ) -> Option<Look> {
        let missed = self.missed.take()?;
        if self.ended {
            return None;
        }
        if missed == Missed::Trigger {
            self.schedule.restart(now);
            self.unnoted = true;
        }
        Some(self.look(view, now, next_id))
    }

    /// Takes a verdict over from a status, where nothing was written down.
    pub(crate) fn assume(&mut self, container: &ContainerId, verdict: Verdict) {
        self.container = Some(container.clone());
        self.verdict = Some(verdict);
        self.on_hold = self.kind == ProbeKind::Startup;
        self.unnoted = true;
    }

    pub(crate) const fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// The container's run has ended: whatever is under way is about something that is no more.
    pub(crate) const fn abandon(&mut self) {
        self.under_way = None;
        self.missed = None;
    }

    /// Upstream stops the worker, and its result goes with it.
    pub(crate) const fn stop(&mut self) {
        self.abandon();
        self.ended = true;
    }
}

/// The verdict about a run that no attempt has judged yet.
///
/// Upstream: kubelet pkg/kubelet/prober/worker.go, newWorker (initialValue).
/// Shown by: a14_no_attempt_within_the_initial_delay.
pub(crate) const fn initial(kind: ProbeKind) -> Verdict {
    match kind {
        ProbeKind::Startup => Verdict::Unknown,
        ProbeKind::Readiness => Verdict::Failure,
        ProbeKind::Liveness => Verdict::Success,
    }
}

#[cfg(test)]
mod tests;
