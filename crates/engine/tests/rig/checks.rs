//! What must hold whatever happens; looked at with every effect and after every input.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use probelet_engine::effect::Effect;
use probelet_engine::input::Input;
use probelet_engine::memory::{PodMemory, StepMemory};
use probelet_engine::report::What;
use probelet_model::id::{ContainerId, ContainerName, PodUid};
use probelet_model::pod::{Container, Pod, PullPolicy, RestartPolicy};
use probelet_model::probe::{OutcomeStatus, PortRef, ProbeKind};
use probelet_model::service::{EndpointSlice, Endpoints, Service};
use probelet_model::status::{ConditionKind, ContainerState, ContainerStatus, PodStatus};

use super::world::World;

/// What is left to a container whose grace is used up.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// The Endpoints of a Service, and its slices.
type Published = (Endpoints, Vec<EndpointSlice>);

/// A witness who knows only inputs and effects.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pods: BTreeMap<PodUid, PodSeen>,
    services: BTreeMap<String, (Arc<Service>, Option<Published>)>,
    /// Attempts under way, by run and kind.
    under_way: BTreeMap<(ContainerId, ProbeKind), u64>,
    by_attempt: BTreeMap<u64, (ContainerId, ProbeKind)>,
    /// Failures in a row, counted attempts only.
    failures: BTreeMap<(PodUid, ContainerName, ProbeKind), u32>,
    /// Pods of which something other than a Remember was asked for since the last input.
    acted: BTreeSet<PodUid>,
}

#[derive(Debug)]
struct PodSeen {
    pod: Arc<Pod>,
    status: Arc<PodStatus>,
    memory: Option<PodMemory>,
    /// Init containers that let the next one start in the sandbox that stands.
    passed: BTreeSet<String>,
    /// Told to end.
    ending: bool,
    gone: bool,
}

impl Checks {
    pub(crate) fn pod(&mut self, pod: &Arc<Pod>) {
        let before = self.pods.remove(&pod.uid);
        let seen = PodSeen {
            pod: pod.clone(),
            status: before
                .as_ref()
                .map(|seen| seen.status.clone())
                .unwrap_or_default(),
            memory: before.as_ref().and_then(|seen| seen.memory.clone()),
            passed: before
                .as_ref()
                .map(|seen| seen.passed.clone())
                .unwrap_or_default(),
            ending: pod.deletion.is_some()
                || before
                    .as_ref()
                    .is_some_and(|seen| seen.ending && !seen.gone),
            gone: false,
        };
        self.pods.insert(pod.uid.clone(), seen);
    }

    pub(crate) fn service(&mut self, service: &Arc<Service>) {
        let name = service.meta.name.clone();
        self.services.insert(name, (service.clone(), None));
    }

    pub(crate) fn ends(&mut self, pod: &PodUid) {
        if let Some(seen) = self.pods.get_mut(pod) {
            seen.ending = true;
        }
    }

    /// An agent takes up a pod on this status and this memory.
    pub(crate) fn taken_up(
        &mut self,
        pod: &PodUid,
        status: &PodStatus,
        memory: Option<&PodMemory>,
    ) {
        let seen = self.pods.get_mut(pod).expect("the pod is known");
        seen.status = Arc::new(status.clone());
        seen.memory = memory.cloned();
    }

    pub(crate) fn agent_is_gone(&mut self) {
        self.under_way.clear();
        self.by_attempt.clear();
        for seen in self.pods.values_mut() {
            seen.ending = seen.pod.deletion.is_some();
        }
        for (_, committed) in self.services.values_mut() {
            *committed = None;
        }
    }

    pub(crate) fn input(&mut self, input: &Input) {
        if let Input::AttemptFinished {
            pod,
            attempt,
            result,
            ..
        } = input
            && let Some(key) = self.by_attempt.remove(&attempt.0)
        {
            // In a pod that ends, the answers of stopped probes are dropped.
            let stopped = key.1 != ProbeKind::Readiness && self.pods[pod].ending;
            let awaited = self.under_way.remove(&key) == Some(attempt.0) && !stopped;
            let name = self.run_name(pod, &key.0);
            if let (true, Some(name), Ok(outcome)) = (awaited, name, result) {
                let count = self.failures.entry((pod.clone(), name, key.1)).or_default();
                *count = if outcome.status == OutcomeStatus::Failure {
                    *count + 1
                } else {
                    0
                };
            }
        }
    }

    /// The container whose newest committed run, and running, is `id`.
    fn run_name(&self, pod: &PodUid, id: &ContainerId) -> Option<ContainerName> {
        let status = &self.pods.get(pod)?.status;
        let wire = format!("probelet://{id}");
        let status = all(status).find(|status| status.container_id.as_ref() == Some(&wire))?;
        matches!(status.state, ContainerState::Running(_))
            .then(|| ContainerName::from(status.name.as_str()))
    }

    pub(crate) fn effect(&mut self, effect: &Effect, world: &World) {
        match effect {
            Effect::Remember { pod, memory } => {
                assert!(
                    !self.acted.contains(pod),
                    "what is remembered comes before what is done"
                );
                let seen = self
                    .pods
                    .get_mut(pod)
                    .expect("only known pods are remembered");
                assert_ne!(
                    seen.memory.as_ref(),
                    Some(&**memory),
                    "nothing is written twice"
                );
                seen.memory = Some((**memory).clone());
            }
            Effect::Commit(commit) => {
                for (uid, status) in &commit.statuses {
                    self.acted.insert(uid.clone());
                    self.status(uid, status);
                }
                for change in &commit.endpoints {
                    let entry = self.services.get_mut(&change.service.name);
                    let (_, committed) = entry.expect("only known Services have endpoints");
                    let new = (change.endpoints.clone(), change.slices.clone());
                    assert_ne!(committed.as_ref(), Some(&new), "only changes");
                    *committed = Some(new);
                }
            }
            Effect::StartPod { pod, .. } => {
                self.acted.insert(pod.uid.clone());
                assert!(world.standing(&pod.uid).is_none(), "one sandbox a pod");
                assert!(
                    !self.pods[&pod.uid].ending,
                    "a pod that ends gets no sandbox"
                );
                let seen = self.pods.get_mut(&pod.uid).expect("the pod is known");
                seen.passed.clear();
            }
            Effect::LookUpImage { pod, container, .. }
            | Effect::PullImage { pod, container, .. } => {
                self.acted.insert(pod.uid.clone());
                let spec = pod.container(container.as_str()).expect("it is in the pod");
                let pulls = matches!(effect, Effect::PullImage { .. });
                self.fetch(pod, spec, pulls, world);
            }
            Effect::StartContainer {
                pod,
                container,
                id,
                restart_count,
                image,
                ..
            } => {
                self.acted.insert(pod.uid.clone());
                assert_eq!(image.is_some(), !pod.on_host, "a run has its image");
                self.start(pod, container, id, *restart_count, world);
            }
            Effect::StopContainer {
                pod,
                container,
                grace,
            } => {
                self.acted.insert(pod.clone());
                let seen = &self.pods[pod];
                if seen.ending && *grace > LEAST_GRACE {
                    assert!(
                        !world.ends_out_of_turn(&seen.pod, container),
                        "a sidecar ends after the regular containers"
                    );
                }
                let memory = seen.memory.as_ref().expect("a stop is remembered");
                let mut noted = memory.containers.values();
                let noted = noted.find(|noted| noted.id.as_ref() == Some(container));
                let step = noted.and_then(|noted| noted.stopping?.step);
                assert!(
                    matches!(step, Some(StepMemory::Signalled { grace: noted }) if noted <= *grace),
                    "a stop is remembered before it is asked for: {step:?}"
                );
            }
            Effect::StartAttempt {
                attempt,
                pod,
                container,
                id,
                kind,
            } => {
                self.acted.insert(pod.uid.clone());
                self.attempt(attempt.0, &pod.uid, container, id, *kind);
            }
            Effect::Event(event) => {
                self.acted.insert(event.pod.clone());
                if let Some(container) = &event.container {
                    self.kill(&event.pod, container, &event.message);
                }
            }
            Effect::Report(report) => {
                self.acted.insert(report.pod.clone());
                if let What::Attempt { run, .. } = report.what {
                    assert!(
                        run > 0,
                        "a counted attempt is at least the first of its sort"
                    );
                }
            }
            Effect::RunHook { pod, .. } => {
                self.acted.insert(pod.uid.clone());
            }
            Effect::RemovePod { pod, .. } => {
                self.acted.insert(pod.clone());
                let standing = world.standing(pod);
                let mut runs = standing.iter().flat_map(|standing| &standing.containers);
                assert!(
                    runs.all(|run| run.exit.is_some()),
                    "containers end before the sandbox"
                );
            }
            Effect::PodEnded { pod, deleted } => {
                self.acted.insert(pod.clone());
                let seen = self.pods.get_mut(pod).expect("only known pods end");
                assert!(seen.ending, "a pod ends only when told to");
                assert!(
                    !deleted || seen.status.phase.is_terminal(),
                    "what is gone has ended"
                );
                assert!(!seen.status.is_ready(), "what has ended is not ready");
                seen.gone = true;
            }
        }
    }

    fn status(&mut self, uid: &PodUid, status: &Arc<PodStatus>) {
        let seen = self
            .pods
            .get_mut(uid)
            .expect("only known pods have a status");
        let before = &seen.status;
        assert_ne!(before, status, "only changes are committed");
        assert!(
            !before.phase.is_terminal() || before.phase == status.phase,
            "a terminal phase is never left"
        );
        for container in all(status) {
            let started = container.started == Some(true);
            let running = matches!(container.state, ContainerState::Running(_));
            assert!(!started || running, "only what runs is started");
            assert!(
                !container.ready || started || has_done_its_work(&seen.pod, container),
                "only what is started is ready, or an init container that has done its work"
            );
            let old = before
                .container(&container.name)
                .map_or(0, |old| old.restart_count);
            assert!(
                container.restart_count == old || container.restart_count == old + 1,
                "restarts are counted one by one: {old} to {}",
                container.restart_count
            );
        }
        assert!(
            !status.is_ready() || all(status).all(|container| container.ready),
            "Ready means that all containers are"
        );
        let ready = status.condition(ConditionKind::ContainersReady);
        assert!(
            !status.is_ready() || ready.is_some_and(|ready| ready.status),
            "Ready means ContainersReady"
        );
        let over = status.phase.is_terminal();
        let runs =
            |container: &ContainerStatus| matches!(container.state, ContainerState::Running(_));
        assert!(
            !over || !all(status).any(runs),
            "a pod has ended when all in it has"
        );
        for spec in &seen.pod.containers {
            let name = spec.name.as_str();
            if let (Some(old), Some(new)) = (before.container(name), status.container(name))
                && old.container_id == new.container_id
                && let (ContainerState::Terminated(end), ContainerState::Waiting(waiting)) =
                    (&old.state, &new.state)
            {
                // A start that was granted past the policy may fail, and what could not be located was not seen to end.
                let reason = waiting.reason.as_deref().unwrap_or_default();
                assert!(
                    reason.ends_with("Error")
                        || reason.contains("Image")
                        || end.reason.as_deref() == Some("ContainerStatusUnknown")
                        || comes_again(&seen.pod, spec, end.exit_code),
                    "{name} has ended for good: {old:?} to {new:?}"
                );
            }
        }
        for condition in &status.conditions {
            let old = before.condition(condition.kind);
            if let Some(old) = old.filter(|old| old.status == condition.status) {
                assert_eq!(old.last_transition_time, condition.last_transition_time);
            }
        }
        for init in &status.init_container_statuses {
            let spec = seen.pod.container(&init.name).expect("it is in the pod");
            let passed = if spec.is_restartable_init() {
                init.started == Some(true)
            } else {
                init.ready
            };
            if passed {
                seen.passed.insert(init.name.clone());
            }
        }
        seen.status = status.clone();
    }

    fn fetch(&self, pod: &Pod, spec: &Container, pulls: bool, world: &World) {
        let seen = &self.pods[&pod.uid];
        assert!(!pod.on_host, "who sees the host's files needs no image");
        assert!(!seen.ending, "a pod that ends looks for nothing");
        assert!(
            !seen.status.phase.is_terminal(),
            "a pod that has ended looks for nothing"
        );
        assert!(
            world.standing(&pod.uid).is_some(),
            "an image is looked for once there is a sandbox"
        );
        assert!(
            !pulls || spec.pull_policy != PullPolicy::Never,
            "what is never to be pulled is not"
        );
        let memory = seen.memory.as_ref().expect("a start is remembered");
        assert!(
            memory.containers[&spec.name].id.is_some(),
            "a start is remembered before its image is looked for"
        );
    }

    fn start(
        &self,
        pod: &Pod,
        container: &ContainerName,
        id: &ContainerId,
        restart_count: u32,
        world: &World,
    ) {
        let seen = &self.pods[&pod.uid];
        assert!(!seen.ending, "a pod that ends starts nothing");
        assert!(
            !seen.status.phase.is_terminal(),
            "a pod that has ended starts nothing"
        );
        assert!(
            world.standing(&pod.uid).is_some(),
            "a container is started only in a sandbox"
        );
        let memory = seen.memory.as_ref().expect("a start is remembered");
        assert_eq!(memory.containers[container].id.as_ref(), Some(id));
        let before = pod.init_containers.iter().map(|spec| &spec.name);
        for name in before.take_while(|name| *name != container) {
            assert!(
                seen.passed.contains(name.as_str()),
                "{container} waits for {name}"
            );
        }
        let status = seen
            .status
            .container(container.as_str())
            .expect("the status knows it");
        assert!(
            !matches!(status.state, ContainerState::Running(_)),
            "one run at a time"
        );
        let expected = if status.container_id.is_some() {
            status.restart_count + 1
        } else {
            0
        };
        assert_eq!(restart_count, expected, "restarts are counted one by one");
    }

    fn attempt(
        &mut self,
        attempt: u64,
        pod: &PodUid,
        container: &ContainerName,
        id: &ContainerId,
        kind: ProbeKind,
    ) {
        let seen = &self.pods[pod];
        let status = seen
            .status
            .container(container.as_str())
            .expect("the status knows it");
        assert!(
            matches!(status.state, ContainerState::Running(_)),
            "only what runs is probed"
        );
        assert_eq!(status.container_id, Some(format!("probelet://{id}")));
        assert!(
            !seen.status.phase.is_terminal(),
            "a pod that has ended is not probed"
        );
        match kind {
            ProbeKind::Startup => assert_eq!(status.started, Some(false)),
            ProbeKind::Readiness | ProbeKind::Liveness => assert_eq!(status.started, Some(true)),
        }
        assert!(
            !seen.ending || kind == ProbeKind::Readiness,
            "a pod that ends gets readiness attempts only"
        );
        let key = (id.clone(), kind);
        let other = self.under_way.insert(key.clone(), attempt);
        assert_eq!(other, None, "one attempt of a probe at a time");
        self.by_attempt.insert(attempt, key);
    }

    /// A kill because of a probe needs failureThreshold failures in a row.
    fn kill(&self, pod: &PodUid, container: &ContainerName, message: &str) {
        let spec = &self.pods[pod].pod;
        for kind in [ProbeKind::Startup, ProbeKind::Liveness] {
            let word = format!(" failed {} probe", kind.as_str().to_lowercase());
            if message.contains(&word) {
                let container_spec = spec
                    .container(container.as_str())
                    .expect("it is in the pod");
                let probe = container_spec.probe(kind).expect("it has the probe");
                let failures = self.failures.get(&(pod.clone(), container.clone(), kind));
                assert!(failures.copied().unwrap_or(0) >= probe.failure_threshold);
            }
        }
    }

    /// After everything that one input asked for.
    pub(crate) fn drained(&mut self) {
        self.acted.clear();
        for (service, committed) in self.services.values() {
            let Some((committed, _)) = committed else {
                continue;
            };
            assert_eq!(
                addresses(committed),
                self.expected(service),
                "Ready and the endpoints of {} agree",
                service.meta.name
            );
        }
    }

    /// The addresses and notReadyAddresses that the statuses call for.
    fn expected(&self, service: &Service) -> (BTreeSet<IpAddr>, BTreeSet<IpAddr>) {
        let mut sets = (BTreeSet::new(), BTreeSet::new());
        let publish = service.publish_not_ready_addresses;
        for seen in self.pods.values().filter(|seen| !seen.gone) {
            let selected = service.selects(&seen.pod.meta.labels)
                && service.meta.namespace == seen.pod.meta.namespace;
            let serves = service.ports.iter().any(|port| match &port.target_port {
                PortRef::Number(_) => true,
                PortRef::Name(name) => {
                    let init = seen.pod.init_containers.iter();
                    let sidecars = init.filter(|container| container.is_restartable_init());
                    let mut ports = sidecars
                        .chain(&seen.pod.containers)
                        .flat_map(|container| &container.ports);
                    ports.any(|port| port.name.as_ref() == Some(name))
                }
            });
            let terminating = seen.ending && !publish;
            let over = seen.status.phase.is_terminal();
            if let (Some(ip), true, true, false, false) =
                (seen.status.pod_ip, selected, serves, terminating, over)
            {
                let ready = publish || seen.status.is_ready();
                if ready { &mut sets.0 } else { &mut sets.1 }.insert(ip);
            }
        }
        sets
    }
}

/// Whether a container that has ended with this code is to be started again.
///
fn comes_again(pod: &Pod, spec: &Container, code: i32) -> bool {
    let rules = spec.restart_policy.iter().flat_map(|_| &spec.restart_rules);
    rules.into_iter().any(|rule| rule.matches(code))
        || match spec.restart_policy.unwrap_or(pod.restart_policy) {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => code != 0,
            RestartPolicy::Never => false,
        }
}

/// The statuses of all containers, of whatever sort.
fn all(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let init = status.init_container_statuses.iter();
    init.chain(&status.container_statuses)
}

fn has_done_its_work(pod: &Pod, status: &ContainerStatus) -> bool {
    let mut init = pod.init_containers.iter();
    let ordinary =
        init.any(|spec| spec.name.as_str() == status.name && !spec.is_restartable_init());
    ordinary && matches!(&status.state, ContainerState::Terminated(end) if end.exit_code == 0)
}

fn addresses(endpoints: &Endpoints) -> (BTreeSet<IpAddr>, BTreeSet<IpAddr>) {
    let subsets = &endpoints.subsets;
    let ready = subsets.iter().flat_map(|subset| &subset.addresses);
    let not_ready = subsets
        .iter()
        .flat_map(|subset| &subset.not_ready_addresses);
    (
        ready.map(|address| address.ip).collect(),
        not_ready.map(|address| address.ip).collect(),
    )
}
