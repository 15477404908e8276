//! The naive kubelet: its pod worker, second by second.
//!
//! # Where the engine differs on purpose
//! The cases leave no room for most rows of docs/differences.md: everything takes whole seconds, attempts
//! take none, the agent is as old as the pod and lives on. What remains is told as the engine does it:
//! - The status is made whenever something has changed, also while the pod worker kills or starts, and
//!   shows a container that has ended as such (row of `container.rs`, "Ready may stay True between the
//!   death of a container and its restart"). Only what the pod worker *does* waits for it.
//! - A synchronisation is done in no time, a refused start shows at once as CrashLoopBackOff and is tried in
//!   every second (row of `pod/start.rs`, "It shows at once, and the try comes when the wait is over").
//! - The look that is triggered by a status comes after it (row of `pod/looks.rs`).
//! - Results that no attempt gave, the initial value of a run and the Failure of one that has ended, bring
//!   no synchronisation about, so that the first look at a new run is one attempt and not two.

use probelet_model::pod::RestartPolicy;
use probelet_model::probe::{ProbeKind, Verdict};
use probelet_model::status::Phase;

use super::case::{Case, HookCase};
use super::trace::{Entry, What};
use super::worker::{Prober, Worker};

/// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, minimumGracePeriodInSeconds.
const LEAST_GRACE: u64 = 2;

/// One pod with one container, its pod worker and its prober.
#[derive(Debug)]
pub(crate) struct Kubelet<'a> {
    pub(super) case: &'a Case,
    pub(super) now: u64,
    pub(super) trace: Vec<Entry>,
    /// How many runs were asked for.
    runs: u32,
    /// The run that runs.
    running: Option<Running>,
    /// The newest run that has ended.
    ended: Option<Ended>,
    pod_worker: PodWorker,
    /// The wait, and when it was set.
    back_off: Option<(u64, u64)>,
    /// The wait that its waiting state tells of.
    waits: Option<u64>,
    pub(super) status: Status,
    pub(super) prober: Prober,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    run: u32,
    since: u64,
    /// When it will end as things stand, and with which code.
    ends: Option<(u64, i32)>,
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    run: u32,
    at: u64,
    code: i32,
}

/// What the pod worker is about.
#[derive(Clone, Copy, Debug)]
enum PodWorker {
    Idle,
    /// In the call that starts a container.
    Starting {
        until: u64,
    },
    /// In the call that kills it. The start that follows in the same synchronisation looks at what had
    /// ended before.
    Killing {
        start_again: bool,
        ended_before: Option<Ended>,
        hook: Option<Hook>,
    },
}

#[derive(Clone, Copy, Debug)]
struct Hook {
    /// `None` is never.
    ends: Option<u64>,
    since: u64,
    grace: u64,
}

/// The pod's status as the workers read it.
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) phase: Phase,
    pub(super) run: Option<u32>,
    pub(super) running_since: Option<u64>,
    pub(super) will_be_restarted: bool,
    pub(super) started: bool,
    ready: bool,
}

impl<'a> Kubelet<'a> {
    /// Lets the pod live until there is enough to compare.
    pub(crate) fn live(case: &'a Case, seconds: u64, entries: usize) -> (u64, Vec<Entry>) {
        let mut kubelet = Self {
            case,
            now: 0,
            trace: Vec::new(),
            runs: 0,
            running: None,
            ended: None,
            pod_worker: PodWorker::Idle,
            back_off: None,
            waits: None,
            status: Status {
                phase: Phase::Pending,
                run: None,
                running_since: None,
                will_be_restarted: true,
                started: false,
                ready: false,
            },
            prober: Prober::default(),
        };
        for kind in ProbeKind::ALL {
            if case.probe(kind).is_some() {
                kubelet.prober.workers.insert(kind, Worker::default());
            }
        }
        kubelet.sync_pod();
        loop {
            kubelet.second();
            if kubelet.now == seconds || kubelet.trace.len() >= entries {
                return (kubelet.now, kubelet.trace);
            }
            kubelet.now += 1;
        }
    }

    fn second(&mut self) {
        let order: [fn(&mut Self) -> bool; 2] = if self.case.ticks_first {
            [Self::clocks, Self::runtime]
        } else {
            [Self::runtime, Self::clocks]
        };
        while self.probe_is_done() || order.iter().any(|happens| happens(self)) {}
    }

    pub(super) fn note(&mut self, what: What) {
        // Two verdicts about a run in one look are written down once, when it is over.
        if let What::Verdict(kind, run, _) = what {
            let told = |entry: &Entry| matches!(entry.what, What::Told(..));
            if let Some(place) = self.trace.iter().rposition(|entry| !told(entry))
                && let Entry {
                    at,
                    what: What::Verdict(of, about, _),
                } = self.trace[place]
                && (at, of, about) == (self.now, kind, run)
            {
                self.trace.remove(place);
            }
        }
        let at = self.now;
        self.trace.push(Entry { at, what });
    }

    /// Whatever waits for this second: the grace of a hook, tickers, a refused start.
    fn clocks(&mut self) -> bool {
        let mut any = false;
        if let PodWorker::Killing {
            hook: Some(hook), ..
        } = self.pod_worker
            && hook.since + hook.grace <= self.now
        {
            self.hook_is_over(hook);
            any = true;
        }
        any |= self.tickers_fire();
        let runs = self.runs;
        self.do_what_is_to_do();
        any || self.runs > runs
    }

    /// One thing that the runtime tells; whether there was one.
    fn runtime(&mut self) -> bool {
        if let Some((_, code)) = self
            .running
            .and_then(|running| running.ends)
            .filter(|(at, _)| *at <= self.now)
        {
            self.container_died(code);
            return true;
        }
        match self.pod_worker {
            PodWorker::Starting { until } if until <= self.now => {
                self.container_started();
                true
            }
            PodWorker::Killing {
                hook: Some(hook), ..
            } if hook.ends.is_some_and(|at| at <= self.now) => {
                self.hook_is_over(hook);
                true
            }
            PodWorker::Idle | PodWorker::Starting { .. } | PodWorker::Killing { .. } => false,
        }
    }

    fn container_started(&mut self) {
        let run = self.runs - 1;
        let exits = self.case.life(run).exits;
        self.running = Some(Running {
            run,
            since: self.now,
            ends: exits.map(|(age, code)| (self.now + age, code)),
        });
        self.pod_worker = PodWorker::Idle;
        self.show_back_off(None);
        self.sync_pod();
    }

    fn container_died(&mut self, code: i32) {
        let Some(running) = self.running.take() else {
            return;
        };
        self.ended = Some(Ended {
            run: running.run,
            at: self.now,
            code,
        });
        if let PodWorker::Killing {
            start_again,
            ended_before,
            ..
        } = self.pod_worker
        {
            self.pod_worker = PodWorker::Idle;
            if start_again {
                self.start(ended_before);
            }
        }
        self.sync_pod();
    }

    /// Upstream: kubelet pkg/kubelet/kubelet.go, SyncPod: first the status, then the deeds.
    pub(super) fn sync_pod(&mut self) {
        self.make_status();
        self.do_what_is_to_do();
    }

    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, computePodActions and SyncPod.
    fn do_what_is_to_do(&mut self) {
        if !matches!(self.pod_worker, PodWorker::Idle) {
            return;
        }
        let Some(running) = self.running else {
            if self.policy_allows() {
                // What is told of a refused start is told until another one has gone well: the status is
                // made before the start, and by nobody while it is under way (reason_cache.go, Update).
                if let Some(wait) = self.start(self.ended) {
                    self.show_back_off(Some(wait));
                }
            }
            return;
        };
        let failed =
            |kind| self.prober.results.get(&(kind, running.run)) == Some(&Verdict::Failure);
        if failed(ProbeKind::Liveness) {
            self.kill(ProbeKind::Liveness);
        } else if failed(ProbeKind::Startup) {
            self.kill(ProbeKind::Startup);
        }
    }

    /// Upstream: kubelet pkg/kubelet/container/helpers.go, ShouldContainerBeRestarted.
    fn policy_allows(&self) -> bool {
        match (self.ended, self.case.policy) {
            (None, _) | (_, RestartPolicy::Always) => true,
            (Some(ended), RestartPolicy::OnFailure) => ended.code != 0,
            (Some(_), RestartPolicy::Never) => false,
        }
    }

    /// The wait that the start is refused for.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, doBackOff.
    fn start(&mut self, newest_exited: Option<Ended>) -> Option<u64> {
        if let Some(exited) = newest_exited {
            let forgotten = |updated: u64| {
                // By the exit that is judged (hasExpired), or collected as garbage (GC).
                exited.at.saturating_sub(updated) > 600 || self.now - updated >= 600
            };
            let entry = self.back_off.filter(|(_, updated)| !forgotten(*updated));
            if let Some((wait, _)) = entry
                && self.now - exited.at < wait
            {
                return Some(wait);
            }
            let wait = entry.map_or(10, |(wait, _)| (wait * 2).min(300));
            self.back_off = Some((wait, self.now));
        }
        let takes = self.case.life(self.runs).start_takes;
        self.note(What::Start(self.runs));
        self.runs += 1;
        self.pod_worker = PodWorker::Starting {
            until: self.now + takes,
        };
        None
    }

    fn show_back_off(&mut self, wait: Option<u64>) {
        if std::mem::replace(&mut self.waits, wait) != wait {
            self.note(What::BackOff(wait));
        }
    }

    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, killContainer; for a pod that
    /// is not restarted kuberuntime_manager.go, killPodWithSyncResult, which knows no reason.
    fn kill(&mut self, kind: ProbeKind) {
        let start_again = self.case.policy != RestartPolicy::Never;
        let (message, grace) = if start_again {
            let kind_word = if kind == ProbeKind::Liveness {
                "liveness"
            } else {
                "startup"
            };
            let own = self.case.probe(kind).and_then(|probe| probe.grace);
            (
                format!("Container c failed {kind_word} probe, will be restarted"),
                own.unwrap_or(self.case.grace),
            )
        } else {
            ("Stopping container c".to_owned(), self.case.grace)
        };
        self.note(What::Killing(message));
        let hook = self.case.pre_stop.filter(|_| grace > 0).map(|hook| Hook {
            ends: match hook {
                HookCase::Ends { after, .. } if after < grace => Some(self.now + after),
                HookCase::Ends { .. } | HookCase::Hangs => None,
            },
            since: self.now,
            grace,
        });
        self.pod_worker = PodWorker::Killing {
            start_again,
            ended_before: self.ended,
            hook,
        };
        if hook.is_none() {
            self.stop(grace);
        }
    }

    fn hook_is_over(&mut self, over: Hook) {
        if let PodWorker::Killing { hook, .. } = &mut self.pod_worker {
            *hook = None;
        }
        self.stop(over.grace.saturating_sub(self.now - over.since));
    }

    fn stop(&mut self, remaining: u64) {
        let remaining = remaining.max(LEAST_GRACE);
        self.note(What::Stop(remaining));
        let Some(running) = &mut self.running else {
            return;
        };
        let (after, code) = self.case.life(running.run).ends_when_told(remaining);
        let told = self.now + after;
        if running.ends.is_none_or(|(at, _)| told < at) {
            running.ends = Some((told, code));
        }
    }

    /// Upstream: kubelet pkg/kubelet/kubelet_pods.go, generateAPIPodStatus; prober/prober_manager.go,
    /// UpdatePodStatus.
    fn make_status(&mut self) {
        let result = |kind| {
            let run = self.running.map(|running| running.run)?;
            self.prober.results.get(&(kind, run)).copied()
        };
        let has = |kind| self.prober.workers.contains_key(&kind);
        let started = self.running.is_some()
            && match result(ProbeKind::Startup) {
                Some(result) => result == Verdict::Success,
                None => !has(ProbeKind::Startup),
            };
        let reads_success = result(ProbeKind::Readiness) == Some(Verdict::Success);
        let ready = started && (reads_success || !has(ProbeKind::Readiness));
        let newest = self
            .running
            .map(|running| running.run)
            .or(self.ended.map(|ended| ended.run));
        let will_be_restarted =
            self.policy_allows() || matches!(self.pod_worker, PodWorker::Starting { .. });
        let phase = self.phase(will_be_restarted);
        let status = Status {
            phase,
            run: newest,
            running_since: self.running.map(|running| running.since),
            will_be_restarted,
            started,
            ready,
        };
        let before = std::mem::replace(&mut self.status, status);
        if before.phase != phase {
            self.note(What::Phase(phase));
        }
        if before.started != started {
            self.note(What::Started(started));
        }
        if before.ready != ready {
            self.note(What::Ready(ready));
        }
        if started && !ready {
            self.trigger(ProbeKind::Readiness);
        }
    }

    /// Upstream: kubelet pkg/kubelet/kubelet_pods.go, getPhase.
    fn phase(&self, will_be_restarted: bool) -> Phase {
        match (self.running, self.ended) {
            (Some(_), _) => Phase::Running,
            (None, None) => Phase::Pending,
            (None, Some(_)) if will_be_restarted => Phase::Running,
            (None, Some(ended)) if ended.code == 0 => Phase::Succeeded,
            (None, Some(_)) => Phase::Failed,
        }
    }
}
