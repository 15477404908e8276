//! The prober of the naive kubelet: one worker for each probe, and the cache of their results.

use std::collections::{BTreeMap, VecDeque};

use probelet_model::probe::{ProbeKind, Verdict};

use super::case::Seen;
use super::model::Kubelet;
use super::trace::What;

/// Upstream: kubelet pkg/kubelet/prober/prober_manager.go and results/results_manager.go.
#[derive(Debug, Default)]
pub(super) struct Prober {
    pub(super) workers: BTreeMap<ProbeKind, Worker>,
    /// By kind and run.
    pub(super) results: BTreeMap<(ProbeKind, u32), Verdict>,
    /// Workers that have passed all gates and run their probe in this second.
    pub(super) probing: VecDeque<ProbeKind>,
}

/// Upstream: kubelet pkg/kubelet/prober/worker.go, worker.
#[derive(Debug, Default)]
pub(super) struct Worker {
    pub(super) next_tick: u64,
    /// A trigger lies in the channel.
    triggered: bool,
    container: Option<u32>,
    on_hold: bool,
    last: Option<Verdict>,
    result_run: u32,
    /// How many probes it has run.
    probes: usize,
}

impl Kubelet<'_> {
    fn worker(&mut self, kind: ProbeKind) -> &mut Worker {
        let workers = &mut self.prober.workers;
        workers
            .get_mut(&kind)
            .expect("only workers that live are asked")
    }

    /// The workers whose ticker has fired look, all at what was cached before; whether any has.
    pub(super) fn tickers_fire(&mut self) -> bool {
        let workers = self.prober.workers.iter();
        let due: Vec<ProbeKind> = workers
            .filter(|(_, worker)| worker.next_tick <= self.now)
            .map(|(kind, _)| *kind)
            .collect();
        for kind in &due {
            let period = self.case.probe(*kind).map_or(1, |probe| probe.period);
            self.worker(*kind).next_tick += period;
            self.evaluate(*kind);
        }
        !due.is_empty()
    }

    /// A readiness worker is to look now. One that is busy finds that in its channel.
    pub(super) fn trigger(&mut self, kind: ProbeKind) {
        if self.prober.probing.contains(&kind) {
            self.worker(kind).triggered = true;
            return;
        }
        let period = self.case.probe(kind).map_or(1, |probe| probe.period);
        self.worker(kind).next_tick = self.now + period;
        self.evaluate(kind);
    }

    /// Steps 1 to 9 of an evaluation; step 10 is the entry in `probing`.
    fn evaluate(&mut self, kind: ProbeKind) {
        let status = self.status.clone();
        // 1: the pod has a status from the first second on.
        // 2
        if status.phase.is_terminal() {
            return self.leave(kind);
        }
        // 3
        let Some(run) = status.run else { return };
        // 4
        if self.worker(kind).container != Some(run) {
            if let Some(old) = self.worker(kind).container.replace(run) {
                self.prober.results.remove(&(kind, old));
            }
            self.publish(kind, run, initial_value(kind));
            self.worker(kind).on_hold = false;
        }
        // 5
        if self.worker(kind).on_hold {
            return;
        }
        // 6
        let Some(started_at) = status.running_since else {
            self.publish(kind, run, Verdict::Failure);
            if !status.will_be_restarted {
                self.leave(kind);
            }
            return;
        };
        // 7: no case deletes its pod.
        // 8
        let delay = self.case.probe(kind).map_or(0, |probe| probe.delay);
        if self.now - started_at < delay {
            return;
        }
        // 9
        if (kind == ProbeKind::Startup) == status.started {
            return;
        }
        let worker = self.worker(kind);
        let attempt = worker.probes;
        worker.probes += 1;
        if let Some(probe) = self.case.probe(kind) {
            self.note(What::Attempt(kind, run, probe.sees(attempt)));
        }
        self.prober.probing.push_back(kind);
    }

    /// Steps 10 to 15, for the worker that passed the gates first; whether there was one.
    pub(super) fn probe_is_done(&mut self) -> bool {
        let Some(kind) = self.prober.probing.pop_front() else {
            return false;
        };
        let published = self.judge(kind);
        if std::mem::take(&mut self.worker(kind).triggered) {
            self.trigger(kind);
        }
        // Of the four sorts of updates only a liveness success is without consequence.
        if published.is_some_and(|result| kind != ProbeKind::Liveness || result == Verdict::Failure)
        {
            self.sync_pod();
        }
        true
    }

    /// The result, if that is another than was published before.
    fn judge(&mut self, kind: ProbeKind) -> Option<Verdict> {
        let probe = self.case.probe(kind)?;
        let worker = self.worker(kind);
        // 10
        let result = match probe.sees(worker.probes - 1) {
            Seen::Error => return None,
            Seen::Success | Seen::Warning => Verdict::Success,
            Seen::Failure => Verdict::Failure,
        };
        // 12: a fresh worker's last result is the enum's zero value.
        if worker.last.unwrap_or(Verdict::Success) == result {
            worker.result_run += 1;
        } else {
            worker.last = Some(result);
            worker.result_run = 1;
        }
        let (count, run) = (worker.result_run, worker.container?);
        self.note(What::Counted(kind, count));
        // 13
        let threshold = match result {
            Verdict::Failure => probe.failure,
            Verdict::Success | Verdict::Unknown => probe.success,
        };
        if count < threshold {
            return None;
        }
        // 14
        let published = self.publish(kind, run, result);
        // 15
        if kind == ProbeKind::Startup || (kind == ProbeKind::Liveness && result == Verdict::Failure)
        {
            let worker = self.worker(kind);
            worker.on_hold = true;
            worker.result_run = 0;
        }
        published.then_some(result)
    }

    /// Whether that was news.
    fn publish(&mut self, kind: ProbeKind, run: u32, result: Verdict) -> bool {
        let news = self.prober.results.insert((kind, run), result) != Some(result);
        if news {
            self.note(What::Verdict(kind, run, result));
            self.note(What::Told(kind, result));
        }
        news
    }

    /// The worker's goroutine returns.
    fn leave(&mut self, kind: ProbeKind) {
        let worker = self.prober.workers.remove(&kind);
        if let Some(run) = worker.and_then(|worker| worker.container) {
            self.prober.results.remove(&(kind, run));
        }
    }
}

/// Upstream: kubelet pkg/kubelet/prober/worker.go, newWorker.
const fn initial_value(kind: ProbeKind) -> Verdict {
    match kind {
        ProbeKind::Readiness => Verdict::Failure,
        ProbeKind::Liveness => Verdict::Success,
        ProbeKind::Startup => Verdict::Unknown,
    }
}
