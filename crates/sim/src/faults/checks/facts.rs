//! What every observer knows: pods, their last status, runs, attempts under way, and how often in a row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use probelet_engine::effect::Effect;
use probelet_engine::input::{AttemptId, Input, OperationId, Origin};
use probelet_engine::memory::PodMemory;
use probelet_model::id::{ContainerId, ContainerName, PodUid};
use probelet_model::pod::Pod;
use probelet_model::probe::ProbeKind;
use probelet_model::service::{Endpoints, Service};
use probelet_model::status::PodStatus;

use super::Seen;

/// One probe, over all runs of its container.
pub(super) type ProbeKey = (PodUid, ContainerName, ProbeKind);

/// All of it.
#[derive(Debug, Default)]
pub(in crate::faults) struct Facts {
    pub(super) pods: BTreeMap<PodUid, PodFacts>,
    pub(super) services: BTreeMap<String, ServiceFacts>,
    /// Starts that were asked for and not answered.
    starting: BTreeMap<OperationId, (PodUid, ContainerName, ContainerId)>,
    /// Runs that run, as far as anybody was told.
    pub(super) running: BTreeMap<ContainerId, (PodUid, ContainerName)>,
    /// Attempts under way.
    pub(super) under_way: BTreeMap<ProbeKey, (AttemptId, ContainerId)>,
    pub(super) rows: BTreeMap<ProbeKey, Row>,
    /// Runs whose startup probe has succeeded.
    pub(super) started: BTreeSet<ContainerId>,
    /// An answer that the engine has heard. Until what it made of it is written down, an agent that dies
    /// has heard nothing.
    heard: Option<(PodUid, Heard)>,
}

/// One pod.
#[derive(Debug)]
pub(super) struct PodFacts {
    pub(super) pod: Arc<Pod>,
    /// As it was committed last, whether that reached the disk or not.
    pub(super) status: Arc<PodStatus>,
    /// The same as far as it has not been lost.
    pub(super) kept: Arc<PodStatus>,
    pub(super) memory: Option<Box<PodMemory>>,
    /// It has been told to end.
    pub(super) ending: bool,
    /// It has ended.
    pub(super) gone: bool,
}

/// One Service, with its endpoints as this agent committed them.
#[derive(Debug)]
pub(super) struct ServiceFacts {
    pub(super) service: Arc<Service>,
    pub(super) endpoints: Option<Endpoints>,
}

/// How the attempts of one probe went of late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// Successes in a row, up to now; a run that is replaced does not begin a new row.
    pub(super) successes: u32,
    /// The same of failures.
    pub(super) failures: u32,
    /// Some attempt has been a success since `ready` last changed.
    pub(super) has_succeeded: bool,
    /// The same of a failure.
    pub(super) has_failed: bool,
}

#[derive(Clone, Debug)]
struct Heard {
    probe: ProbeKey,
    run: ContainerId,
    success: bool,
}

impl Facts {
    /// The pod's facts, if it is there.
    pub(super) fn pod(&self, uid: &PodUid) -> Option<&PodFacts> {
        self.pods.get(uid).filter(|pod| !pod.gone)
    }

    pub(super) fn row(&self, pod: &PodUid, container: &ContainerName, kind: ProbeKind) -> Row {
        let key = (pod.clone(), container.clone(), kind);
        self.rows.get(&key).copied().unwrap_or_default()
    }

    /// Takes in what every checker has seen.
    pub(super) fn note(&mut self, seen: Seen<'_>) {
        match seen {
            Seen::Told(input) => self.told(input),
            Seen::Asked(effect) => self.asked(effect),
            Seen::Drained(_) => self.count_heard(),
            Seen::Died => self.died(),
        }
    }

    fn told(&mut self, input: &Input) {
        match input {
            Input::PodApplied { pod, origin } => self.applied(pod, origin),
            Input::PodStopped { pod } => {
                if let Some(facts) = self.pods.get_mut(pod) {
                    facts.ending = true;
                }
            }
            Input::ServiceApplied { service } => {
                let facts = ServiceFacts {
                    service: service.clone(),
                    endpoints: None,
                };
                self.services.insert(service.meta.name.clone(), facts);
            }
            Input::ServiceDeleted { key } => {
                self.services.remove(&key.name);
            }
            Input::ContainerStarted {
                operation, result, ..
            } => {
                if let (Some((pod, name, id)), Ok(_)) = (self.starting.remove(operation), result) {
                    self.running.insert(id, (pod, name));
                }
            }
            Input::ContainerExited { container, .. } => {
                self.running.remove(container);
                self.under_way.retain(|_, (_, run)| run != container);
                self.starting.retain(|_, (_, _, id)| id != container);
            }
            Input::PodLost { pod } => {
                self.running.retain(|_, (of, _)| of != pod);
                self.under_way.retain(|(of, ..), _| of != pod);
            }
            Input::AttemptFinished {
                pod,
                attempt,
                result,
                ..
            } => {
                let mut under_way = self.under_way.iter();
                let found = under_way.find(|(_, (awaited, _))| awaited == attempt);
                let Some((key, (_, run))) = found.map(|(key, value)| (key.clone(), value.clone()))
                else {
                    return;
                };
                self.under_way.remove(&key);
                // In a pod that ends only readiness is still asked.
                let ending = self.pods.get(pod).is_some_and(|facts| facts.ending);
                if let (Ok(outcome), true) = (result, key.2 == ProbeKind::Readiness || !ending) {
                    let success = outcome.status.is_success();
                    self.heard = Some((
                        pod.clone(),
                        Heard {
                            probe: key,
                            run,
                            success,
                        },
                    ));
                }
            }
            Input::PodStarted { .. }
            | Input::ImageLookedUp { .. }
            | Input::ImagePulled { .. }
            | Input::PodRemoved { .. }
            | Input::HookFinished { .. }
            | Input::VolumeFull { .. }
            | Input::Wake => {}
        }
    }

    fn applied(&mut self, pod: &Arc<Pod>, origin: &Origin) {
        let facts = self
            .pods
            .entry(pod.uid.clone())
            .or_insert_with(|| PodFacts {
                pod: pod.clone(),
                status: Arc::default(),
                kept: Arc::default(),
                memory: None,
                ending: false,
                gone: false,
            });
        facts.pod = pod.clone();
        if std::mem::take(&mut facts.gone) {
            // Applied after it had been stopped, a pod begins anew.
            facts.status = Arc::default();
            facts.kept = Arc::default();
        }
        facts.ending |= pod.deletion.is_some();
        if let Origin::Restored {
            status,
            memory,
            standing,
            ..
        } = origin
        {
            facts.kept = Arc::new((**status).clone());
            facts.memory = memory.clone().map(Box::new);
            let runs = standing.iter().flat_map(|standing| &standing.containers);
            for run in runs.filter(|run| run.exit.is_none()) {
                let of = (pod.uid.clone(), run.name.clone());
                self.running.insert(run.id.clone(), of);
            }
        }
    }

    fn asked(&mut self, effect: &Effect) {
        match effect {
            Effect::Remember { pod, memory } => {
                if self.heard.as_ref().is_some_and(|(of, _)| of == pod) {
                    self.count_heard();
                }
                if let Some(facts) = self.pods.get_mut(pod) {
                    facts.memory = Some(memory.clone());
                }
            }
            Effect::Commit(commit) => {
                for (pod, status) in &commit.statuses {
                    self.committed(pod, status);
                }
                for change in &commit.endpoints {
                    if let Some(facts) = self.services.get_mut(&change.service.name) {
                        facts.endpoints = Some(change.endpoints.clone());
                    }
                }
            }
            Effect::StartContainer {
                operation,
                pod,
                container,
                id,
                ..
            } => {
                let start = (pod.uid.clone(), container.clone(), id.clone());
                self.starting.insert(*operation, start);
            }
            Effect::StartAttempt {
                attempt,
                pod,
                container,
                id,
                kind,
            } => {
                let key = (pod.uid.clone(), container.clone(), *kind);
                self.under_way.insert(key, (*attempt, id.clone()));
            }
            Effect::Event(event) => {
                // A failure is good for one kill.
                if let (Some(kind), Some(container)) =
                    (killing_probe(&event.message), &event.container)
                {
                    let key = (event.pod.clone(), container.clone(), kind);
                    self.rows.entry(key).or_default().failures = 0;
                }
            }
            Effect::PodEnded { pod, deleted } => {
                if let Some(facts) = self.pods.get_mut(pod) {
                    facts.gone = true;
                    facts.ending = false;
                }
                if *deleted {
                    self.pods.remove(pod);
                }
                self.running.retain(|_, (of, _)| of != pod);
                self.under_way.retain(|(of, ..), _| of != pod);
            }
            Effect::StartPod { .. }
            | Effect::LookUpImage { .. }
            | Effect::PullImage { .. }
            | Effect::RunHook { .. }
            | Effect::StopContainer { .. }
            | Effect::RemovePod { .. }
            | Effect::Report(_) => {}
        }
    }

    fn committed(&mut self, pod: &PodUid, status: &Arc<PodStatus>) {
        let Some(facts) = self.pods.get_mut(pod) else {
            return;
        };
        facts.kept = status.clone();
        let before = std::mem::replace(&mut facts.status, status.clone());
        for container in status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses)
        {
            let old = before.container(&container.name);
            if old.is_some_and(|old| {
                old.ready == container.ready && old.container_id == container.container_id
            }) {
                continue;
            }
            let name = ContainerName::from(container.name.as_str());
            for kind in ProbeKind::ALL {
                if let Some(row) = self.rows.get_mut(&(pod.clone(), name.clone(), kind)) {
                    row.has_succeeded = false;
                    row.has_failed = false;
                }
            }
        }
    }

    fn count_heard(&mut self) {
        let Some((
            _,
            Heard {
                probe,
                run,
                success,
            },
        )) = self.heard.take()
        else {
            return;
        };
        if success && probe.2 == ProbeKind::Startup {
            self.started.insert(run);
        }
        let row = self.rows.entry(probe).or_default();
        *row = if success {
            Row {
                successes: row.successes.saturating_add(1),
                failures: 0,
                has_succeeded: true,
                ..*row
            }
        } else {
            Row {
                successes: 0,
                failures: row.failures.saturating_add(1),
                has_failed: true,
                ..*row
            }
        };
    }

    fn died(&mut self) {
        self.heard = None;
        self.starting.clear();
        self.running.clear();
        self.under_way.clear();
        for facts in self.pods.values_mut() {
            // Only what is in the object is known to the next agent.
            facts.ending = facts.pod.deletion.is_some();
        }
        for facts in self.services.values_mut() {
            facts.endpoints = None;
        }
    }
}

/// The probe whose failure a `Killing` event tells of.
pub(super) fn killing_probe(message: &str) -> Option<ProbeKind> {
    if message.contains(" failed liveness probe") {
        Some(ProbeKind::Liveness)
    } else if message.contains(" failed startup probe") {
        Some(ProbeKind::Startup)
    } else {
        None
    }
}
