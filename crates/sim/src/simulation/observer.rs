//! From what the engine asks for to records: statuses become their differences, the rest is told as it is.

use std::collections::{BTreeMap, VecDeque};

use probelet_engine::Engine;
use probelet_engine::effect::{Commit, Effect, EndpointsChange};
use probelet_engine::report::{self, Report};
use probelet_model::id::{ObjectKey, PodUid};
use probelet_model::pod::Pod;
use probelet_model::probe::ProbeKind;
use probelet_model::status::{ContainerState, ContainerStatus, Phase, PodStatus};
use probelet_model::time::{Mono, Now};

use super::words;
use crate::node::{Then, Witness};
use crate::record::{At, AttemptOutcome, ContainerStateKind, EndpointState, Record, What};

/// Watches a node.
#[derive(Debug)]
pub(super) struct Observer {
    begin: Mono,
    pods: BTreeMap<PodUid, Watched>,
    /// The pods in the order they were added, which is the order of the summaries.
    order: Vec<PodUid>,
    /// What one turn made visible; told after what caused it.
    visible: Vec<Record>,
    records: VecDeque<Record>,
}

/// One pod, as it was told last.
#[derive(Debug)]
struct Watched {
    /// Its name, if records are to carry it.
    name: Option<String>,
    /// failureThreshold of each probe.
    thresholds: BTreeMap<(String, ProbeKind), u32>,
    service: ObjectKey,
    endpoint: (EndpointState, bool),
    deleting: bool,
    phase: Option<Phase>,
    containers: BTreeMap<String, What>,
    conditions: BTreeMap<String, (String, String)>,
    restarts: u32,
    attempts: u64,
    first_ready: Option<At>,
    /// Since when it is not Ready any more.
    unready_since: Option<At>,
    /// Nanoseconds.
    unready: u64,
    /// It is deleted and has ended, or has succeeded.
    gone: bool,
}

impl Observer {
    pub(super) const fn new(begin: Mono) -> Self {
        Self {
            begin,
            pods: BTreeMap::new(),
            order: Vec::new(),
            visible: Vec::new(),
            records: VecDeque::new(),
        }
    }

    /// Another pod to watch, and the Service whose endpoints are told. `many`: it is not the only one.
    pub(super) fn add(&mut self, pod: &Pod, service: ObjectKey, many: bool) {
        let probes = pod.all_containers().flat_map(|container| {
            ProbeKind::ALL.into_iter().filter_map(|kind| {
                let threshold = container.probe(kind)?.failure_threshold;
                Some(((container.name.to_string(), kind), threshold))
            })
        });
        let watched = Watched {
            name: many.then(|| pod.meta.name.clone()),
            thresholds: probes.collect(),
            service,
            endpoint: (EndpointState::Absent, false),
            deleting: false,
            phase: None,
            containers: BTreeMap::new(),
            conditions: BTreeMap::new(),
            restarts: 0,
            attempts: 0,
            first_ready: None,
            unready_since: None,
            unready: 0,
            gone: false,
        };
        self.pods.insert(pod.uid.clone(), watched);
        self.order.push(pod.uid.clone());
    }

    /// The next record that is ready to be told.
    pub(super) fn next(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// The scenario does something, to one pod or to the node.
    pub(super) fn scenario(&mut self, now: Now, pod: Option<&PodUid>, message: String) {
        let watched = pod.and_then(|pod| self.pods.get(pod));
        self.records.push_back(Record {
            t: Some(self.at(now)),
            pod: watched.and_then(|watched| watched.name.clone()),
            what: What::Scenario { message },
        });
    }

    /// A pod is being deleted from now on.
    pub(super) fn deleting(&mut self, pod: &PodUid) {
        if let Some(watched) = self.pods.get_mut(pod) {
            watched.deleting = true;
        }
    }

    /// All is over: the summaries.
    pub(super) fn end(&mut self, end: Mono) {
        let end = At(since(self.begin, end));
        for uid in &self.order {
            let Some(watched) = self.pods.get_mut(uid) else {
                continue;
            };
            watched.settle_unready(end);
            self.records.push_back(Record {
                t: None,
                pod: watched.name.clone(),
                what: What::Summary {
                    time_to_ready: watched.first_ready.map(At::as_secs),
                    unready_seconds: At(watched.unready).as_secs(),
                    restarts: watched.restarts,
                    attempts: watched.attempts,
                },
            });
        }
    }

    fn at(&self, now: Now) -> At {
        At(since(self.begin, now.mono))
    }

    fn report(&mut self, at: At, report: &Report) {
        let Some(watched) = self.pods.get_mut(&report.pod) else {
            return;
        };
        let container = report.container.to_string();
        let probe = report.kind;
        let what = match &report.what {
            report::What::Attempt {
                status,
                output,
                run,
                threshold,
                ..
            } => {
                watched.attempts += 1;
                What::Attempt {
                    container,
                    probe,
                    outcome: (*status).into(),
                    run: *run,
                    threshold: *threshold,
                    message: output.clone(),
                }
            }
            report::What::Error { message, .. } => {
                watched.attempts += 1;
                let threshold = watched.thresholds.get(&(container.clone(), probe));
                What::Attempt {
                    threshold: threshold.copied().unwrap_or_default(),
                    container,
                    probe,
                    outcome: AttemptOutcome::Error,
                    run: 0,
                    message: message.clone(),
                }
            }
            report::What::Verdict(verdict) => What::Verdict {
                container,
                probe,
                result: *verdict,
            },
            report::What::Skipped(skip) => What::Skip {
                container,
                probe,
                reason: words::skip(skip),
            },
        };
        let record = watched.record(at, what);
        self.records.push_back(record);
    }

    fn commit(&mut self, at: At, commit: &Commit) {
        for (uid, status) in &commit.statuses {
            if let Some(watched) = self.pods.get_mut(uid) {
                watched.status(at, status, &mut self.visible);
            }
        }
        for change in &commit.endpoints {
            let states = states(change);
            let behind = self
                .pods
                .iter_mut()
                .filter(|(_, watched)| watched.service == change.service);
            for (uid, watched) in behind {
                let state = states.get(uid).copied().unwrap_or(EndpointState::Absent);
                watched.endpoint(at, state, &mut self.visible);
            }
        }
    }
}

impl Witness for Observer {
    fn effect(&mut self, now: Now, effect: &Effect) -> Then {
        let at = self.at(now);
        match effect {
            Effect::Report(report) => self.report(at, report),
            Effect::Commit(commit) => self.commit(at, commit),
            Effect::Event(event) => {
                if let Some(watched) = self.pods.get(&event.pod) {
                    let what = What::Event {
                        event_type: event.kind.as_str(),
                        reason: event.reason,
                        message: event.message.clone(),
                        container: event.container.as_ref().map(ToString::to_string),
                    };
                    let record = watched.record(at, what);
                    self.records.push_back(record);
                }
            }
            Effect::PodEnded { pod, .. } => {
                if let Some(watched) = self.pods.get_mut(pod) {
                    watched.settle_unready(at);
                    watched.gone = true;
                }
            }
            Effect::Remember { .. }
            | Effect::StartPod { .. }
            | Effect::LookUpImage { .. }
            | Effect::PullImage { .. }
            | Effect::StartContainer { .. }
            | Effect::RunHook { .. }
            | Effect::StopContainer { .. }
            | Effect::RemovePod { .. }
            | Effect::StartAttempt { .. } => {}
        }
        Then::WELL
    }

    fn drained(&mut self, _now: Now, _engine: &Engine) {
        self.records.extend(self.visible.drain(..));
    }
}

impl Watched {
    fn record(&self, at: At, what: What) -> Record {
        Record {
            t: Some(at),
            pod: self.name.clone(),
            what,
        }
    }

    /// What is other than it was: containers in the order of the spec, then the phase, then conditions.
    fn status(&mut self, at: At, status: &PodStatus, out: &mut Vec<Record>) {
        let containers = || {
            let inits = status.init_container_statuses.iter();
            inits.chain(&status.container_statuses)
        };
        self.restarts = containers().map(|status| status.restart_count).sum();
        for status in containers() {
            let what = container(status);
            if self.containers.get(&status.name) != Some(&what) {
                out.push(self.record(at, what.clone()));
                self.containers.insert(status.name.clone(), what);
            }
        }
        if self.phase.replace(status.phase) != Some(status.phase) {
            let phase = status.phase;
            out.push(self.record(at, What::Phase { phase }));
        }
        for condition in &status.conditions {
            let word = if condition.status { "True" } else { "False" };
            let reason = condition.reason.as_deref().unwrap_or_default();
            self.condition(at, condition.kind.as_str(), word, reason, out);
        }
        for condition in &status.foreign_conditions {
            let reason = condition.rest.get("reason");
            let reason = reason
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default();
            self.condition(at, &condition.kind, &condition.status, reason, out);
        }
        if status.phase == Phase::Succeeded {
            // Its work is done, and nobody misses it.
            self.settle_unready(at);
            self.gone = true;
        }
        self.count_ready(at, status.is_ready());
    }

    fn condition(&mut self, at: At, kind: &str, status: &str, reason: &str, out: &mut Vec<Record>) {
        let told = self.conditions.get(kind);
        if told.is_some_and(|(before, why)| before == status && why == reason) {
            return;
        }
        let what = What::Condition {
            condition: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
        };
        out.push(self.record(at, what));
        let now = (status.to_owned(), reason.to_owned());
        self.conditions.insert(kind.to_owned(), now);
    }

    fn count_ready(&mut self, at: At, ready: bool) {
        if ready {
            self.first_ready.get_or_insert(at);
            self.settle_unready(at);
        } else if self.first_ready.is_some() && !self.gone {
            self.unready_since.get_or_insert(at);
        }
    }

    fn settle_unready(&mut self, at: At) {
        if let Some(since) = self.unready_since.take() {
            self.unready += at.0.saturating_sub(since.0);
        }
    }

    fn endpoint(&mut self, at: At, state: EndpointState, out: &mut Vec<Record>) {
        let endpoint = (state, self.deleting);
        if std::mem::replace(&mut self.endpoint, endpoint) != endpoint {
            let terminating = self.deleting;
            out.push(self.record(at, What::Endpoint { state, terminating }));
        }
    }
}

fn container(status: &ContainerStatus) -> What {
    let (state, reason, code) = match &status.state {
        ContainerState::Waiting(waiting) => (ContainerStateKind::Waiting, &waiting.reason, None),
        ContainerState::Running(_) => (ContainerStateKind::Running, &None, None),
        ContainerState::Terminated(end) => (
            ContainerStateKind::Terminated,
            &end.reason,
            Some(end.exit_code),
        ),
    };
    let last_code = status.last_state.as_ref().map(|end| end.exit_code);
    What::Container {
        container: status.name.clone(),
        state,
        reason: reason.clone().unwrap_or_default(),
        exit_code: code.or(last_code).unwrap_or_default(),
        restart_count: status.restart_count,
        ready: status.ready,
        started: status.started.unwrap_or_default(),
    }
}

/// Where each pod stands that is listed.
fn states(change: &EndpointsChange) -> BTreeMap<&PodUid, EndpointState> {
    let mut states = BTreeMap::new();
    for subset in &change.endpoints.subsets {
        for address in &subset.not_ready_addresses {
            states.insert(&address.target_ref.uid, EndpointState::NotReady);
        }
        for address in &subset.addresses {
            states.insert(&address.target_ref.uid, EndpointState::Ready);
        }
    }
    states
}

fn since(begin: Mono, at: Mono) -> u64 {
    u64::try_from(at.since(begin).as_nanos()).unwrap_or(u64::MAX)
}
