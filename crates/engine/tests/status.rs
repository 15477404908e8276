//! Rows E, and those rows A that need a whole pod: what a pod's status says.

use probelet_engine::Skip;
use probelet_engine::input::Input;
use probelet_model::pod::RestartPolicy::{Always, Never, OnFailure};
use probelet_model::pod::{Volume, VolumeSource};
use probelet_model::probe::ProbeKind::{Liveness, Readiness};
use probelet_model::status::{
    Condition, ConditionKind, ContainerState, Phase, PodStatus, Terminated, Waiting,
};
use probelet_model::time::Wall;

use crate::rig::plan::{Start, container, every, pod, secs};
use crate::rig::{Rig, WALL, uid};

fn waiting(status: &PodStatus, name: &str) -> Waiting {
    match &status.container(name).unwrap().state {
        ContainerState::Waiting(waiting) => waiting.clone(),
        other => panic!("{name} does not wait: {other:?}"),
    }
}

fn terminated(status: &PodStatus, name: &str) -> Terminated {
    match &status.container(name).unwrap().state {
        ContainerState::Terminated(end) => end.clone(),
        other => panic!("{name} has not ended: {other:?}"),
    }
}

fn ready_names(status: &PodStatus) -> Vec<&str> {
    let ready = status
        .container_statuses
        .iter()
        .filter(|container| container.ready);
    ready.map(|container| container.name.as_str()).collect()
}

#[track_caller]
fn assert_condition(
    condition: &Condition,
    status: bool,
    reason: Option<&str>,
    message: Option<&str>,
) {
    assert_eq!(condition.status, status);
    assert_eq!(condition.reason.as_deref(), reason);
    assert_eq!(condition.message.as_deref(), message);
}

#[test]
fn a21_on_failure_with_exit_code_0_ends_the_probes_of_the_container() {
    let done = container("c").exits(3.0, 0).liveness(every(10.0), "s");
    let mut rig = Rig::of(pod("p").policy(OnFailure).with(done).with(container("d")));
    rig.run_until(60.0);
    let told: Vec<Skip> = rig
        .skips("c", Liveness)
        .into_iter()
        .map(|(_, skip)| skip)
        .collect();
    assert_eq!(told, [Skip::NoContainer, Skip::Ended]);
    assert!(rig.attempts("c", Liveness).is_empty());
}

#[test]
fn a27_a_warning_is_told_each_time_and_never_kills() {
    let mut rig = Rig::of(pod("p").with(container("c").liveness(every(10.0).failures(1), "w")));
    rig.run_until(30.0);
    let warning = "Liveness probe warning: odd";
    assert_eq!(
        rig.events("ProbeWarning"),
        [10.0, 20.0, 30.0].map(|at| (at, warning.to_owned()))
    );
    assert!(rig.stops("c").is_empty());
}

#[test]
fn a28_a_port_that_is_missing_is_told_each_tick_and_changes_nothing() {
    let plan = container("c")
        .liveness(every(10.0).failures(1), "e")
        .readiness(every(10.0).failures(1), "e");
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(25.0);
    let told = rig.events("Unhealthy");
    let of = |kind: &str| {
        let text =
            format!("{kind} probe errored and resulted in unknown state: port \"x\" not found");
        told.iter()
            .filter(|(_, message)| *message == text)
            .map(|(at, _)| *at)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("Liveness"), [10.0, 20.0]);
    assert_eq!(of("Readiness"), [0.1, 10.1, 20.1]);
    assert!(rig.stops("c").is_empty());
    assert!(!rig.status("p").is_ready());
    assert!(rig.verdicts("c", Readiness).is_empty());
}

#[test]
fn e1_a_new_pod_with_two_containers() {
    let plan = pod("p")
        .sandbox_takes(5.0)
        .with(container("a"))
        .with(container("b"));
    let mut rig = Rig::of(plan);
    rig.run_until(1.0);
    let status = rig.status("p");
    assert_eq!(status.phase, Phase::Pending);
    for name in ["a", "b"] {
        let creating = Waiting {
            reason: Some("ContainerCreating".to_owned()),
            message: None,
        };
        assert_eq!(waiting(&status, name), creating);
    }
    let unready = Some("containers with unready status: [a b]");
    let reason = Some("ContainersNotReady");
    assert_condition(
        &rig.condition("p", ConditionKind::Ready),
        false,
        reason,
        unready,
    );
    assert_condition(
        &rig.condition("p", ConditionKind::ContainersReady),
        false,
        reason,
        unready,
    );
    assert_condition(
        &rig.condition("p", ConditionKind::Initialized),
        true,
        None,
        None,
    );
    assert_condition(
        &rig.condition("p", ConditionKind::PodScheduled),
        true,
        None,
        None,
    );
    let sandbox = ConditionKind::PodReadyToStartContainers;
    assert_condition(&rig.condition("p", sandbox), false, None, None);
    assert_eq!(status.pod_ip, None);
    rig.run_until(6.0);
    assert_condition(&rig.condition("p", sandbox), true, None, None);
    assert_eq!(
        rig.status("p").pod_ip.map(|ip| ip.to_string()).as_deref(),
        Some("10.0.0.1")
    );
}

#[test]
fn e5_running_and_never_ready() {
    let mut rig = Rig::of(pod("p").with(container("c").readiness(every(10.0), "f")));
    rig.run_until(60.0);
    let status = rig.status("p");
    assert_eq!(status.phase, Phase::Running);
    assert!(ready_names(&status).is_empty());
    assert_eq!(status.container_statuses[0].started, Some(true));
    let unready = Some("containers with unready status: [c]");
    let ready = rig.condition("p", ConditionKind::Ready);
    assert_condition(&ready, false, Some("ContainersNotReady"), unready);
}

#[test]
fn e6_the_only_container_in_crash_loop_back_off() {
    let mut rig = Rig::of(pod("p").with(container("c").start_takes(0.0).exits(0.0, 3)));
    rig.run_until(5.0);
    let status = rig.status("p");
    assert_eq!(status.phase, Phase::Running);
    let waits = waiting(&status, "c");
    assert_eq!(waits.reason.as_deref(), Some("CrashLoopBackOff"));
    let message = "back-off 10s restarting failed container=c pod=p_default(uid-p)";
    assert_eq!(waits.message.as_deref(), Some(message));
    let container = &status.container_statuses[0];
    assert_eq!(
        container.last_state.as_ref().map(|end| end.exit_code),
        Some(3)
    );
    assert_eq!(container.started, Some(false));
    assert_eq!(container.restart_count, 1);
    rig.run_until(100.0);
    let message = "back-off 1m20s restarting failed container=c pod=p_default(uid-p)";
    assert_eq!(
        waiting(&rig.status("p"), "c").message.as_deref(),
        Some(message)
    );
    // Differs: CrashLoopBackOff shows at once, so Terminated is never left standing.
    let states = rig.statuses("p").into_iter();
    let resting = states.filter(|(at, _)| *at > 0.0);
    for (at, status) in resting {
        let container = &status.container_statuses[0];
        let waits = matches!(container.state, ContainerState::Waiting(_));
        assert!(
            waits || rig.starts("c").iter().any(|(start, _)| *start == at),
            "at {at}"
        );
    }
}

#[test]
fn e7_one_runs_and_one_never_started() {
    let broken = container("b").start(Start::CannotCreate);
    let mut rig = Rig::of(pod("p").with(container("a")).with(broken));
    rig.run_until(5.0);
    let status = rig.status("p");
    assert_eq!(status.phase, Phase::Pending);
    let waits = waiting(&status, "b");
    assert_eq!(waits.reason.as_deref(), Some("CreateContainerError"));
    assert_eq!(waits.message.as_deref(), Some("no such image"));
    assert_eq!(ready_names(&status), ["a"]);
}

#[test]
fn e8_one_runs_and_one_is_in_back_off() {
    let mut rig = Rig::of(
        pod("p")
            .with(container("a"))
            .with(container("b").exits(0.0, 1)),
    );
    rig.run_until(5.0);
    let status = rig.status("p");
    assert_eq!(status.phase, Phase::Running);
    assert_eq!(
        waiting(&status, "b").reason.as_deref(),
        Some("CrashLoopBackOff")
    );
    assert_eq!(ready_names(&status), ["a"]);
}

#[test]
fn e9_never_one_has_ended_well_and_one_runs() {
    let plan = pod("p")
        .policy(Never)
        .with(container("a").exits(2.0, 0))
        .with(container("b"));
    let mut rig = Rig::of(plan);
    rig.run_until(5.0);
    let status = rig.status("p");
    assert_eq!(status.phase, Phase::Running);
    assert_eq!(
        terminated(&status, "a").reason.as_deref(),
        Some("Completed")
    );
    assert_eq!(ready_names(&status), ["b"]);
    let unready = Some("containers with unready status: [a]");
    let ready = rig.condition("p", ConditionKind::Ready);
    assert_condition(&ready, false, Some("ContainersNotReady"), unready);
}

#[test]
fn e10_never_all_have_ended_well() {
    let plan = pod("p")
        .policy(Never)
        .with(container("a").exits(2.0, 0))
        .with(container("b").exits(3.0, 0));
    let mut rig = Rig::of(plan);
    rig.run_until(5.0);
    let status = rig.status("p");
    assert_eq!(status.phase, Phase::Succeeded);
    let reason = Some("PodCompleted");
    assert_condition(
        &rig.condition("p", ConditionKind::Initialized),
        true,
        reason,
        None,
    );
    assert_condition(
        &rig.condition("p", ConditionKind::Ready),
        false,
        reason,
        None,
    );
    assert_condition(
        &rig.condition("p", ConditionKind::ContainersReady),
        false,
        reason,
        None,
    );
    let sandbox = ConditionKind::PodReadyToStartContainers;
    assert_condition(&rig.condition("p", sandbox), false, None, None);
    assert!(ready_names(&status).is_empty());
}

#[test]
fn e13_a_reason_that_changes_leaves_the_transition_time() {
    let plan = container("c").readiness(every(10.0), "f").exits(20.5, 1);
    let mut rig = Rig::of(pod("p").policy(Never).with(plan));
    rig.run_until(10.0);
    let before = rig.condition("p", ConditionKind::Ready);
    assert_eq!(before.reason.as_deref(), Some("ContainersNotReady"));
    rig.run_until(30.0);
    let after = rig.condition("p", ConditionKind::Ready);
    assert_eq!(after.reason.as_deref(), Some("PodFailed"));
    assert_eq!(after.last_transition_time, before.last_transition_time);
}

#[test]
fn e14_each_flip_has_its_own_transition_time_in_whole_seconds() {
    let plan = container("c").readiness(every(10.4).failures(1), "sfs");
    let mut rig = Rig::of(pod("p").with(plan));
    let since = |rig: &Rig| {
        rig.condition("p", ConditionKind::Ready)
            .last_transition_time
    };
    rig.run_until(5.0);
    assert_eq!(since(&rig), WALL, "ready at 0.1");
    rig.run_until(15.0);
    assert_eq!(
        rig.ready("p"),
        [(0.0, false), (0.1, true), (10.5, false), (10.5, true)]
    );
    let flips: Vec<Wall> = rig
        .statuses("p")
        .iter()
        .filter(|(at, _)| *at == 10.5)
        .map(|(_, status)| {
            status
                .condition(ConditionKind::Ready)
                .unwrap()
                .last_transition_time
        })
        .collect();
    assert_eq!(
        flips,
        [WALL + secs(10.0), WALL + secs(10.0)],
        "two flips in one second"
    );
}

#[test]
fn e22_a_pod_that_is_deleted_may_still_turn_unready() {
    let plan = container("c")
        .readiness(every(5.0).failures(1), "ssf")
        .liveness(every(5.0).failures(1), "sf")
        .ignores_term();
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(7.0);
    rig.delete("p", 20.0);
    rig.run_until(30.0);
    assert_eq!(rig.exits("c"), [(27.0, 137)]);
    assert_eq!(rig.ready("p"), [(0.0, false), (0.1, true), (10.1, false)]);
    assert_eq!(
        rig.attempts("c", Liveness),
        [5.0],
        "none after the deletion"
    );
    let unhealthy = rig.events("Unhealthy");
    assert!(
        unhealthy
            .iter()
            .all(|(_, message)| message.starts_with("Readiness"))
    );
}

#[test]
fn e23_the_final_phase_of_a_deleted_pod_goes_by_the_exit_codes() {
    for (code, phase) in [(0, Phase::Succeeded), (143, Phase::Failed)] {
        let mut rig = Rig::of(pod("p").with(container("c").on_term(1.0, code)));
        rig.run_until(5.0);
        rig.delete("p", 30.0);
        rig.run_until(10.0);
        assert_eq!(rig.status("p").phase, phase);
        assert_eq!(rig.ended(), [(6.0, true)]);
        let phases: Vec<Phase> = rig
            .statuses("p")
            .into_iter()
            .map(|(_, status)| status.phase)
            .collect();
        assert!(
            phases[..phases.len() - 1]
                .iter()
                .all(|phase| !phase.is_terminal())
        );
    }
}

#[test]
fn e24_a_run_that_is_lost_counts_as_a_restart() {
    let mut rig = Rig::of(pod("p").with(container("c")));
    rig.run_until(5.0);
    rig.lose("p");
    rig.run_until(10.0);
    let status = rig.status("p");
    let container = &status.container_statuses[0];
    let last = container.last_state.as_ref().unwrap();
    assert_eq!(last.reason.as_deref(), Some("ContainerStatusUnknown"));
    let message = "The container could not be located when the pod was deleted.  The container used to be Running";
    assert_eq!(last.message.as_deref(), Some(message));
    assert_eq!(last.exit_code, 137);
    assert_eq!(container.restart_count, 1);
    assert_eq!(rig.sandboxes(), [0.0, 5.0]);
    let changed = "Pod sandbox changed, it will be killed and re-created.";
    assert_eq!(rig.events("SandboxChanged"), [(5.0, changed.to_owned())]);
}

#[test]
fn stamps_of_a_run_are_whole_seconds() {
    let mut rig = Rig::of(pod("p").policy(Never).with(container("c").exits(2.5, 1)));
    rig.run_until(5.0);
    let end = terminated(&rig.status("p"), "c");
    assert_eq!(end.started_at, Some(WALL));
    assert_eq!(end.finished_at, Some(WALL + secs(2.0)));
    assert_eq!(end.reason.as_deref(), Some("Error"));
    assert_eq!(rig.event_reasons(), ["Created", "Started"]);
}

#[test]
fn a_run_that_was_killed_for_memory_says_so() {
    let big = container("c").runs_out_of_memory(5.0, 137);
    let mut rig = Rig::of(pod("p").policy(Never).with(big));
    rig.run_until(10.0);
    let end = terminated(&rig.status("p"), "c");
    assert_eq!(
        (end.reason.as_deref(), end.exit_code),
        (Some("OOMKilled"), 137)
    );
    assert_eq!(rig.status("p").phase, Phase::Failed);
    rig.restart_agent();
    rig.run_until(20.0);
    assert_eq!(terminated(&rig.status("p"), "c"), end);

    // Whatever the exit code, and told of the run before too.
    let child = container("c").runs_out_of_memory(5.0, 0);
    let mut rig = Rig::of(pod("p").with(child));
    rig.run_until(3.0);
    rig.crash();
    rig.run_until(8.0);
    rig.boot();
    rig.run_until(20.0);
    let status = rig.status("p");
    let end = status.container("c").unwrap().last_state.clone().unwrap();
    assert_eq!(
        (end.reason.as_deref(), end.exit_code),
        (Some("OOMKilled"), 0)
    );
}

#[test]
fn the_class_of_a_pod_is_told() {
    let mut asks = container("c");
    asks.spec.resources.requests.memory = Some(1 << 20);
    let mut rig = Rig::of(pod("p").with(asks).with(container("d")));
    rig.run_until(1.0);
    assert_eq!(rig.status("p").qos_class.as_deref(), Some("Burstable"));
    let mut rig = Rig::of(pod("p").with(container("c")));
    rig.run_until(1.0);
    assert_eq!(rig.status("p").qos_class.as_deref(), Some("BestEffort"));
}

fn with_limit(policy: probelet_model::pod::RestartPolicy) -> Rig {
    let mut plan = pod("p").policy(policy).with(container("c").on_term(0.5, 0));
    plan.pod.volumes.push(Volume {
        name: "scratch".to_owned(),
        source: VolumeSource::EmptyDir {
            in_memory: false,
            size_limit: Some(1 << 20),
        },
    });
    Rig::of(plan)
}

fn full(volume: &str) -> Input {
    Input::VolumeFull {
        pod: uid("p"),
        volume: volume.to_owned(),
    }
}

#[test]
fn a_pod_whose_volume_is_too_full_is_evicted() {
    let mut rig = with_limit(Always);
    rig.run_until(5.0);
    rig.tell(full("another"));
    rig.run_until(6.0);
    assert_eq!(rig.status("p").phase, Phase::Running);
    rig.tell(full("scratch"));
    rig.tell(full("scratch"));
    rig.run_until(30.0);
    let status = rig.status("p");
    assert_eq!(status.phase, Phase::Failed);
    assert_eq!(status.reason.as_deref(), Some("Evicted"));
    let message = "Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\". ";
    assert_eq!(status.message.as_deref(), Some(message));
    let told: Vec<String> = rig
        .events("Evicted")
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(told, [message]);
    assert_eq!(rig.starts("c").len(), 1);
}

#[test]
fn an_evicted_pod_stays_so() {
    let mut rig = with_limit(Always);
    rig.run_until(5.0);
    rig.tell(full("scratch"));
    rig.restart_agent();
    rig.run_until(30.0);
    let status = rig.status("p");
    assert_eq!(
        (status.phase, status.reason.as_deref()),
        (Phase::Failed, Some("Evicted"))
    );
}
