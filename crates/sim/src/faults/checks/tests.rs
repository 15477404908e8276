//! Every checker on a trace that is well, and on one in which something is broken.

use std::sync::Arc;
use std::time::Duration;

use probelet_engine::effect::{Commit, Effect, EndpointsChange, Event, EventKind};
use probelet_engine::input::{AttemptId, Exit, Input, OperationId, Origin};
use probelet_engine::memory::{ContainerMemory, PodMemory, StoppingMemory};
use probelet_model::id::{ContainerId, ContainerName, Kind, ObjectKey};
use probelet_model::pod::{Deletion, Pod};
use probelet_model::probe::{Handler, Outcome, OutcomeStatus, Probe, ProbeKind};
use probelet_model::service::{EndpointAddress, EndpointSubset, Endpoints, TargetRef};
use probelet_model::status::{
    Condition, ConditionKind, ContainerState, ContainerStatus, Phase, PodStatus, Running,
    Terminated,
};
use probelet_model::time::{Mono, Now, Wall};

use super::super::cast::Cast;
use super::super::chance::Chance;
use super::{Breach, Checks, Seen};

use OutcomeStatus::{Failure, Success};
use ProbeKind::{Liveness, Readiness, Startup};

/// A pod with one container `c` that has no probes.
pub(in crate::faults) fn pod() -> Pod {
    let mut pod = Cast::draw(&mut Chance::new(0, 0), 1).pods.remove(0).pod;
    pod.init_containers.clear();
    pod.readiness_gates.clear();
    pod.active_deadline = None;
    pod.restart_policy = probelet_model::pod::RestartPolicy::Always;
    pod.containers.truncate(1);
    let container = &mut pod.containers[0];
    container.name = name();
    container.startup = None;
    container.readiness = None;
    container.liveness = None;
    container.post_start = None;
    container.pre_stop = None;
    container.restart_policy = None;
    container.restart_rules.clear();
    pod.meta.labels = [("app".to_owned(), "x".to_owned())].into();
    pod
}

fn name() -> ContainerName {
    ContainerName::from("c")
}

fn run() -> ContainerId {
    ContainerId::from("1")
}

/// The pod with probes of these kinds, all with failureThreshold 2.
fn probed(kinds: &[ProbeKind]) -> Arc<Pod> {
    let mut pod = pod();
    let probe = Probe {
        handler: Handler::Exec {
            command: vec!["check".to_owned()],
        },
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        success_threshold: 1,
        failure_threshold: 2,
        termination_grace_period: None,
    };
    let container = &mut pod.containers[0];
    for kind in kinds {
        let place = match kind {
            Startup => &mut container.startup,
            Readiness => &mut container.readiness,
            Liveness => &mut container.liveness,
        };
        *place = Some(probe.clone());
    }
    Arc::new(pod)
}

fn at(seconds: u64) -> Now {
    Now {
        mono: Mono(seconds * 1_000_000_000),
        wall: Wall(0),
    }
}

/// A trace by hand.
struct Trace {
    checks: Checks,
    pod: Arc<Pod>,
    attempts: u64,
}

impl Trace {
    /// The pod is applied, and its first run runs.
    fn of(pod: Arc<Pod>) -> Self {
        let mut trace = Self {
            checks: Checks::default(),
            pod: pod.clone(),
            attempts: 0,
        };
        let origin = Origin::New;
        trace.told(Input::PodApplied { pod, origin }).unwrap();
        trace.starts().unwrap();
        let uid = trace.pod.uid.clone();
        let (operation, result) = (OperationId(1), Ok(Wall(0)));
        trace
            .told(Input::ContainerStarted {
                pod: uid,
                operation,
                result,
            })
            .unwrap();
        trace
    }

    fn told(&mut self, input: Input) -> Result<(), Breach> {
        self.checks.see(at(0), Seen::Told(&input))
    }

    fn asked(&mut self, effect: Effect) -> Result<(), Breach> {
        self.checks.see(at(0), Seen::Asked(&effect))
    }

    fn drained(&mut self) -> Result<(), Breach> {
        self.checks.see(at(0), Seen::Drained(None))
    }

    fn died(&mut self) {
        self.checks.see(at(0), Seen::Died).unwrap();
    }

    /// A run is remembered and asked for.
    fn starts(&mut self) -> Result<(), Breach> {
        self.remembers(ContainerMemory {
            id: Some(run()),
            ..ContainerMemory::default()
        })?;
        self.start()
    }

    fn start(&mut self) -> Result<(), Breach> {
        self.asked(Effect::StartContainer {
            operation: OperationId(1),
            pod: self.pod.clone(),
            container: name(),
            id: run(),
            restart_count: 0,
            image: None,
        })
    }

    fn remembers(&mut self, memory: ContainerMemory) -> Result<(), Breach> {
        let mut memories = PodMemory::default();
        memories.containers.insert(name(), memory);
        self.asked(Effect::Remember {
            pod: self.pod.uid.clone(),
            memory: Box::new(memories),
        })
    }

    fn attempts(&mut self, kind: ProbeKind) -> Result<(), Breach> {
        self.attempts += 1;
        self.asked(Effect::StartAttempt {
            attempt: AttemptId(self.attempts),
            pod: self.pod.clone(),
            container: name(),
            id: run(),
            kind,
        })
    }

    fn hears(&mut self, status: OutcomeStatus) {
        let outcome = Outcome {
            status,
            output: String::new(),
            code: None,
        };
        self.told(Input::AttemptFinished {
            pod: self.pod.uid.clone(),
            attempt: AttemptId(self.attempts),
            result: Ok(outcome),
            duration: Duration::ZERO,
        })
        .unwrap();
    }

    /// An attempt that is made, answered and counted.
    fn sees(&mut self, kind: ProbeKind, status: OutcomeStatus) {
        self.attempts(kind).unwrap();
        self.hears(status);
        self.drained().unwrap();
    }

    fn kills(&mut self, kind: &str) -> Result<(), Breach> {
        self.asked(Effect::Event(Event {
            pod: self.pod.uid.clone(),
            container: Some(name()),
            kind: EventKind::Normal,
            reason: "Killing",
            message: format!("Container c failed {kind} probe, will be restarted"),
            attempt: None,
        }))
    }

    fn commits(&mut self, status: PodStatus) -> Result<(), Breach> {
        self.asked(Effect::Commit(Commit {
            statuses: vec![(self.pod.uid.clone(), Arc::new(status))],
            endpoints: Vec::new(),
        }))
    }

    fn lists(&mut self, ready: bool) {
        let address = EndpointAddress {
            ip: "10.0.0.1".parse().unwrap(),
            hostname: None,
            node_name: "node".to_owned(),
            target_ref: TargetRef {
                kind: "Pod".to_owned(),
                namespace: "default".to_owned(),
                name: "pod-0".to_owned(),
                uid: self.pod.uid.clone(),
            },
        };
        let subset = EndpointSubset {
            addresses: ready.then(|| address.clone()).into_iter().collect(),
            not_ready_addresses: (!ready).then_some(address).into_iter().collect(),
            ports: Vec::new(),
        };
        let endpoints = Endpoints {
            subsets: vec![subset],
        };
        let service = ObjectKey::new(Kind::Service, "default", "service-x");
        let endpoints = vec![EndpointsChange {
            service,
            endpoints,
            slices: Vec::new(),
            trigger_time: None,
        }];
        self.asked(Effect::Commit(Commit {
            statuses: Vec::new(),
            endpoints,
        }))
        .unwrap();
    }
}

/// The status of the pod while its run runs.
fn running(started: bool, ready: bool) -> PodStatus {
    let condition = Condition {
        kind: ConditionKind::Ready,
        status: ready,
        reason: None,
        message: None,
        last_transition_time: Wall(0),
        observed_generation: None,
    };
    PodStatus {
        phase: Phase::Running,
        pod_ip: Some("10.0.0.1".parse().unwrap()),
        conditions: vec![condition],
        container_statuses: vec![ContainerStatus {
            name: "c".to_owned(),
            state: ContainerState::Running(Running::default()),
            started: Some(started),
            ready,
            container_id: Some("probelet://1".to_owned()),
            ..ContainerStatus::default()
        }],
        ..PodStatus::default()
    }
}

#[track_caller]
fn assert_broken(result: Result<(), Breach>, checker: &str) {
    let breach = result.expect_err("somebody is not content");
    assert_eq!(breach.checker, checker, "{breach:?}");
}

#[test]
fn a_second_attempt_while_one_is_under_way_is_caught() {
    let mut trace = Trace::of(probed(&[Readiness]));
    trace.sees(Readiness, Failure);
    trace.attempts(Readiness).unwrap();
    assert_broken(trace.attempts(Readiness), "one attempt in flight per probe");
}

#[test]
fn an_attempt_dies_with_its_agent_and_with_its_run() {
    let mut trace = Trace::of(probed(&[Readiness]));
    trace.attempts(Readiness).unwrap();
    trace.died();
    trace.attempts(Readiness).unwrap();
    let exit = Exit {
        code: 1,
        signal: None,
        out_of_memory: false,
        finished_at: Wall(0),
        message: None,
    };
    let (pod, container) = (trace.pod.uid.clone(), run());
    trace
        .told(Input::ContainerExited {
            pod,
            container,
            exit,
        })
        .unwrap();
    trace.attempts(Readiness).unwrap();
}

#[test]
fn readiness_before_startup_is_caught() {
    let checker = "no liveness or readiness before startup success";
    let pod = probed(&ProbeKind::ALL);
    for kind in [Readiness, Liveness] {
        let mut trace = Trace::of(pod.clone());
        trace.sees(Startup, Failure);
        assert_broken(trace.attempts(kind), checker);
        let mut trace = Trace::of(pod.clone());
        trace.sees(Startup, Success);
        trace.attempts(kind).unwrap();
        assert_broken(trace.attempts(Startup), checker);
    }
}

#[test]
fn a_success_that_nobody_wrote_down_dies_with_its_agent() {
    let mut trace = Trace::of(probed(&[Startup, Liveness]));
    trace.attempts(Startup).unwrap();
    trace.hears(Success);
    trace.died();
    assert_broken(
        trace.attempts(Liveness),
        "no liveness or readiness before startup success",
    );
}

#[test]
fn liveness_in_a_pod_that_ends_is_caught() {
    let checker = "a terminating pod gets no liveness probe";
    let mut trace = Trace::of(probed(&[Liveness, Readiness]));
    let mut deleted = (*trace.pod).clone();
    let (at, grace) = (Wall(0), Duration::from_secs(5));
    deleted.deletion = Some(Deletion { at, grace });
    let (pod, origin) = (Arc::new(deleted), Origin::New);
    trace.told(Input::PodApplied { pod, origin }).unwrap();
    trace.attempts(Readiness).unwrap();
    assert_broken(trace.attempts(Liveness), checker);
    let mut trace = Trace::of(probed(&[Liveness]));
    let pod = trace.pod.uid.clone();
    trace.told(Input::PodStopped { pod }).unwrap();
    assert_broken(trace.attempts(Liveness), checker);
}

#[test]
fn a_kill_that_comes_too_early_is_caught() {
    let checker = "a probe kill needs failureThreshold failures in a row";
    let mut trace = Trace::of(probed(&[Liveness]));
    trace.sees(Liveness, Failure);
    trace.sees(Liveness, Success);
    trace.sees(Liveness, Failure);
    assert_broken(trace.kills("liveness"), checker);
    trace.died();
    trace.sees(Liveness, Failure);
    trace.kills("liveness").unwrap();
    assert_broken(trace.kills("liveness"), checker);
}

#[test]
fn a_failure_that_nobody_wrote_down_does_not_count_for_a_kill() {
    let mut trace = Trace::of(probed(&[Liveness]));
    trace.sees(Liveness, Failure);
    trace.attempts(Liveness).unwrap();
    trace.hears(Failure);
    trace.died();
    assert_broken(
        trace.kills("liveness"),
        "a probe kill needs failureThreshold failures in a row",
    );
}

#[test]
fn ready_that_flips_by_itself_is_caught() {
    let checker = "nothing flips without an attempt";
    let mut trace = Trace::of(probed(&[Readiness]));
    trace.commits(running(true, false)).unwrap();
    assert_broken(trace.commits(running(true, true)), checker);
    trace.sees(Readiness, Success);
    trace.commits(running(true, true)).unwrap();
    trace.drained().unwrap();
    trace.died();
    assert_broken(trace.commits(running(true, false)), checker);
    trace.sees(Readiness, Failure);
    trace.commits(running(true, false)).unwrap();
}

#[test]
fn started_that_flips_by_itself_is_caught() {
    let checker = "nothing flips without an attempt";
    let mut trace = Trace::of(probed(&[Startup]));
    trace.commits(running(false, false)).unwrap();
    assert_broken(trace.commits(running(true, true)), checker);
    trace.sees(Startup, Success);
    trace.commits(running(true, true)).unwrap();
    assert_broken(trace.commits(running(false, false)), checker);
}

#[test]
fn a_status_that_goes_back_is_caught() {
    let checker = "no committed status goes back";
    let mut trace = Trace::of(probed(&[]));
    let mut restarted = running(true, true);
    restarted.container_statuses[0].restart_count = 2;
    trace.commits(restarted.clone()).unwrap();
    trace.died();
    restarted.container_statuses[0].restart_count = 1;
    assert_broken(trace.commits(restarted), checker);
    let mut over = running(true, true);
    over.container_statuses[0].restart_count = 2;
    over.phase = Phase::Failed;
    trace.commits(over.clone()).unwrap();
    over.phase = Phase::Running;
    assert_broken(trace.commits(over), checker);
}

#[test]
fn ready_that_does_not_add_up_is_caught() {
    let checker = "Ready adds up";
    let mut trace = Trace::of(probed(&[]));
    assert_broken(trace.commits(running(false, true)), checker);
    let mut ended = running(true, false);
    ended.container_statuses[0].state = ContainerState::Terminated(Terminated::default());
    assert_broken(trace.commits(ended), checker);
    let mut unready = running(true, true);
    unready.container_statuses[0].ready = false;
    assert_broken(trace.commits(unready), checker);
    trace.commits(running(true, true)).unwrap();
}

#[test]
fn endpoints_that_say_something_else_are_caught() {
    let checker = "Ready and endpoints agree";
    let mut trace = Trace::of(probed(&[]));
    let cast = Cast::draw(&mut Chance::new(0, 0), 1);
    let service = cast.services[0].clone();
    trace.told(Input::ServiceApplied { service }).unwrap();
    trace.commits(running(true, true)).unwrap();
    trace.drained().unwrap();
    trace.lists(true);
    trace.drained().unwrap();
    trace.lists(false);
    assert_broken(trace.drained(), checker);
    trace.lists(true);
    let pod = trace.pod.uid.clone();
    trace.told(Input::PodStopped { pod }).unwrap();
    assert_broken(trace.drained(), checker);
}

#[test]
fn what_is_done_before_it_is_remembered_is_caught() {
    let checker = "what is remembered comes first";
    let mut trace = Trace::of(probed(&[Liveness]));
    trace.attempts(Liveness).unwrap();
    assert_broken(trace.remembers(ContainerMemory::default()), checker);
    let stop = |trace: &Trace| Effect::StopContainer {
        pod: trace.pod.uid.clone(),
        container: run(),
        grace: Duration::from_secs(1),
    };
    let mut trace = Trace::of(probed(&[]));
    let stop = stop(&trace);
    assert_broken(trace.asked(stop.clone()), checker);
    trace
        .remembers(ContainerMemory {
            id: Some(run()),
            stopping: Some(StoppingMemory {
                restart: true,
                previous_exit: None,
                step: None,
            }),
            ..ContainerMemory::default()
        })
        .unwrap();
    trace.asked(stop).unwrap();
    let mut trace = Trace::of(probed(&[]));
    trace.remembers(ContainerMemory::default()).unwrap();
    assert_broken(trace.start(), checker);
}

#[test]
fn a_second_run_beside_the_first_is_caught() {
    let mut trace = Trace::of(probed(&[]));
    assert_broken(trace.starts(), "one run of a container at a time");
}

#[test]
fn a_deadline_that_is_over_is_caught() {
    let checker = "the next deadline is never in the past";
    let mut checks = Checks::default();
    checks.see(at(5), Seen::Drained(Some(at(5).mono))).unwrap();
    assert_broken(checks.see(at(5), Seen::Drained(Some(at(4).mono))), checker);
    checks.see(at(5), Seen::Told(&Input::Wake)).unwrap();
    assert_broken(checks.see(at(5), Seen::Drained(Some(at(5).mono))), checker);
    checks.see(at(5), Seen::Drained(Some(at(6).mono))).unwrap();
}
