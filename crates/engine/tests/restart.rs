//! Rows D: kills, restarts and the wait between them.

use probelet_engine::BackOffLimits;
use probelet_model::pod::RestartPolicy::{Never, OnFailure};
use probelet_model::probe::ProbeKind::Liveness;
use probelet_model::status::{ConditionKind, ContainerState, Phase};

use crate::rig::Rig;
use crate::rig::plan::{ContainerPlan, HookPlan, Start, container, every, pod, secs};

const DOUBLING: [f64; 8] = [0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0];

/// A container that starts in no time, so that waits are whole seconds.
fn quick() -> ContainerPlan {
    container("c").start_takes(0.0)
}

/// Runs until the container has been started again `waits.len()` times.
#[track_caller]
fn check_waits(mut rig: Rig, waits: &[f64]) {
    rig.run_until(10_000.0);
    assert_eq!(rig.waits("c")[..waits.len()], *waits);
}

#[test]
fn d1_exits_at_once_and_waits_double() {
    let mut rig = Rig::of(pod("p").with(quick().exits(0.0, 1)));
    rig.run_until(911.0);
    let starts: Vec<f64> = rig.starts("c").into_iter().map(|(at, _)| at).collect();
    assert_eq!(
        starts,
        [0.0, 0.0, 10.0, 30.0, 70.0, 150.0, 310.0, 610.0, 910.0]
    );
    assert_eq!(rig.waits("c"), DOUBLING);
    let counts: Vec<u32> = rig
        .starts("c")
        .into_iter()
        .map(|(_, count)| count)
        .collect();
    assert_eq!(counts, (0..9).collect::<Vec<_>>());
    let (_, event) = &rig.events("BackOff")[0];
    assert_eq!(
        event,
        "Back-off restarting failed container c in pod p_default(uid-p)"
    );
}

#[test]
fn d2_runs_of_5_seconds_wait_as_long() {
    check_waits(Rig::of(pod("p").with(quick().exits(5.0, 1))), &DOUBLING);
}

#[test]
fn d3_runs_of_601_seconds_never_wait() {
    check_waits(Rig::of(pod("p").with(quick().exits(601.0, 1))), &[0.0; 9]);
}

#[test]
fn d4_reduced_decay_waits_less() {
    let mut rig = Rig::with_back_off(BackOffLimits::reduced());
    rig.apply(pod("p").with(quick().exits(0.0, 1)));
    check_waits(rig, &[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
}

#[test]
fn d6_exit_code_0_waits_as_long() {
    check_waits(Rig::of(pod("p").with(quick().exits(0.0, 0))), &DOUBLING);
}

#[test]
fn d7_on_failure_restarts_only_failures() {
    let mut rig = Rig::of(pod("p").policy(OnFailure).with(quick().exits(1.0, 0)));
    rig.run_until(100.0);
    assert_eq!(rig.starts("c").len(), 1);
    assert_eq!(rig.status("p").phase, Phase::Succeeded);

    let mut rig = Rig::of(pod("p").policy(OnFailure).with(quick().exits(1.0, 1)));
    rig.run_until(1_000.0);
    assert_eq!(rig.waits("c"), DOUBLING);
    let phases = rig
        .statuses("p")
        .into_iter()
        .map(|(_, status)| status.phase);
    assert!(
        phases
            .skip(1)
            .all(|phase| phase == Phase::Running || phase == Phase::Pending)
    );
    assert_eq!(rig.status("p").phase, Phase::Running);
}

#[test]
fn d8_never_exit_1_fails_the_pod() {
    let mut rig = Rig::of(pod("p").policy(Never).with(quick().exits(1.0, 1)));
    rig.run_until(100.0);
    let status = rig.status("p");
    assert_eq!(status.phase, Phase::Failed);
    assert_eq!(status.container_statuses[0].restart_count, 0);
    for kind in [ConditionKind::Ready, ConditionKind::ContainersReady] {
        let condition = rig.condition("p", kind);
        assert!(!condition.status);
        assert_eq!(condition.reason.as_deref(), Some("PodFailed"));
        assert_eq!(condition.message, None);
    }
}

#[test]
fn d9_liveness_kill_and_restart_in_one_turn() {
    let plan = container("c")
        .liveness(every(10.0), "fffs")
        .on_term(2.0, 143);
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(60.0);
    let unhealthy = rig.events("Unhealthy");
    let failed = "Liveness probe failed: refused";
    assert_eq!(
        unhealthy,
        [10.0, 20.0, 30.0].map(|at| (at, failed.to_owned()))
    );
    let killing = "Container c failed liveness probe, will be restarted";
    assert_eq!(rig.events("Killing"), [(30.0, killing.to_owned())]);
    assert_eq!(rig.stops("c"), [(30.0, 30.0)]);
    assert_eq!(rig.exits("c"), [(32.0, 143)]);
    assert_eq!(rig.starts("c"), [(0.0, 0), (32.0, 1)]);
    assert!(rig.events("BackOff").is_empty());
    // Differs: upstream may never show that a container without readiness probe was away.
    assert_eq!(
        rig.ready("p"),
        [(0.0, false), (0.1, true), (32.0, false), (32.1, true)]
    );
    let status = &rig.status("p").container_statuses[0];
    assert_eq!(status.restart_count, 1);
    assert_eq!(
        status.last_state.as_ref().map(|end| end.exit_code),
        Some(143)
    );
}

#[test]
fn d10_readiness_fails_with_the_new_run_until_its_first_success() {
    let plan = container("c")
        .liveness(every(10.0), "fffs")
        .readiness(every(10.0), "sssssfs")
        .on_term(2.0, 143);
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(60.0);
    // The looks at 0.1, 10.1, 20.1 and 30.1 are about the first run.
    let expected = [(0.0, false), (0.1, true), (32.0, false), (32.1, true)];
    assert_eq!(rig.ready("p"), expected);

    let plan = container("c")
        .liveness(every(10.0), "fffs")
        .readiness(every(10.0), "ssssffs")
        .on_term(2.0, 143);
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(60.0);
    assert_eq!(rig.ready("p")[2..], [(32.0, false), (52.1, true)]);
}

#[test]
fn d11_the_probes_own_grace_comes_before_the_pods() {
    let plan = container("c").liveness(every(10.0).grace(5.0), "f");
    let mut rig = Rig::of(pod("p").grace(500.0).with(plan));
    rig.run_until(31.0);
    assert_eq!(rig.stops("c"), [(30.0, 5.0)]);
}

#[test]
fn d13_the_grace_of_a_deletion_comes_before_the_probes() {
    let plan = container("c")
        .liveness(every(10.0).grace(5.0), "f")
        .ignores_term();
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(25.0);
    rig.delete("p", 10.0);
    rig.run_until(60.0);
    assert_eq!(rig.stops("c"), [(25.0, 10.0)]);
    assert_eq!(rig.exits("c"), [(35.0, 137)]);
}

#[test]
fn d14_a_pre_stop_hook_comes_off_the_grace() {
    let plan = container("c")
        .liveness(every(10.0).grace(5.0), "f")
        .pre_stop(HookPlan::Ends(secs(3.0), true));
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(40.0);
    assert_eq!(rig.hooks("c"), [(30.0, 5.0)]);
    assert_eq!(rig.stops("c"), [(33.0, 2.0)]);
    assert!(rig.events("FailedPreStopHook").is_empty());
}

#[test]
fn d15_a_pre_stop_hook_that_hangs_leaves_2_seconds() {
    let plan = container("c")
        .liveness(every(10.0).grace(5.0), "f")
        .pre_stop(HookPlan::Hangs)
        .ignores_term();
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(38.0);
    assert_eq!(rig.hooks("c"), [(30.0, 5.0)]);
    assert_eq!(rig.stops("c"), [(35.0, 2.0)]);
    assert_eq!(rig.exits("c"), [(37.0, 137)], "7 seconds in all");
    assert_eq!(
        rig.events("FailedPreStopHook"),
        [(35.0, "PreStopHook failed".to_owned())]
    );
}

#[test]
fn a_pre_stop_hook_that_fails_is_told_and_the_stop_goes_on() {
    let plan = container("c").pre_stop(HookPlan::Ends(secs(1.5), false));
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(5.0);
    rig.delete("p", 10.0);
    rig.run_until(20.0);
    assert_eq!(
        rig.events("FailedPreStopHook"),
        [(6.5, "PreStopHook failed".to_owned())]
    );
    assert_eq!(rig.stops("c"), [(6.5, 9.0)], "whole seconds come off");
}

#[test]
fn d16_never_with_one_container_ends_the_pod() {
    let plan = container("c")
        .liveness(every(10.0).grace(5.0), "f")
        .on_term(1.0, 143);
    let mut rig = Rig::of(pod("p").policy(Never).with(plan));
    rig.run_until(60.0);
    assert_eq!(
        rig.events("Killing"),
        [(30.0, "Stopping container c".to_owned())]
    );
    assert_eq!(rig.stops("c"), [(30.0, 30.0)], "the pod's grace");
    assert_eq!(rig.starts("c").len(), 1);
    assert_eq!(rig.status("p").phase, Phase::Failed);
}

#[test]
fn never_with_two_containers_names_the_probe() {
    let sick = container("c").liveness(every(10.0).grace(5.0), "f");
    let mut rig = Rig::of(pod("p").policy(Never).with(sick).with(container("d")));
    rig.run_until(60.0);
    let killing = "Container c failed liveness probe";
    assert_eq!(rig.events("Killing"), [(30.0, killing.to_owned())]);
    assert_eq!(rig.stops("c"), [(30.0, 5.0)]);
    assert_eq!(rig.starts("c").len(), 1);
    assert_eq!(rig.status("p").phase, Phase::Running);
    assert!(rig.stops("d").is_empty());
}

#[test]
fn never_with_a_second_container_on_its_way_names_the_probe() {
    let sick = || container("c").liveness(every(10.0).grace(5.0), "f");
    let starting = container("d").start_takes(40.0);
    let hooked = container("d").post_start(&[HookPlan::Ends(secs(40.0), true)]);
    for other in [starting, hooked] {
        let mut rig = Rig::of(pod("p").policy(Never).with(sick()).with(other));
        rig.run_until(60.0);
        let killing = "Container c failed liveness probe";
        assert_eq!(rig.events("Killing"), [(30.0, killing.to_owned())]);
        assert_eq!(rig.stops("c"), [(30.0, 5.0)]);
    }
}

#[test]
fn d18_on_failure_restarts_what_liveness_killed_whatever_its_exit_code() {
    let plan = container("c")
        .liveness(every(10.0), "fffs")
        .readiness(every(10.0), "s")
        .on_term(2.0, 0)
        .then(|life| life.start_takes = secs(10.0));
    let mut rig = Rig::of(pod("p").policy(OnFailure).with(plan));
    rig.run_until(100.0);
    assert_eq!(rig.starts("c"), [(0.0, 0), (32.0, 1)]);
    assert_eq!(rig.status("p").phase, Phase::Running);
    assert!(
        rig.statuses("p")
            .iter()
            .all(|(_, status)| !status.phase.is_terminal())
    );
    let after: Vec<f64> = rig
        .attempts("c", Liveness)
        .into_iter()
        .filter(|at| *at > 32.0)
        .collect();
    assert_eq!(
        after,
        [50.0, 60.0, 70.0, 80.0, 90.0, 100.0],
        "the looks at 40 and 40.1, when nothing ran, are not the probes' last"
    );
    assert_eq!(rig.ready("p").last(), Some(&(42.0, true)));
}

#[test]
fn d19_on_failure_in_back_off_is_never_restarted_after_exit_code_0() {
    let plan = container("c")
        .start_takes(0.0)
        .exits(0.0, 1)
        .sickens_at(every(1.0).failures(1), 3.0)
        .on_term(0.0, 0)
        .then(|_| ())
        .then(|life| life.ends = None);
    let mut rig = Rig::of(pod("p").policy(OnFailure).with(plan));
    rig.run_until(1_000.0);
    assert_eq!(rig.starts("c"), [(0.0, 0), (0.0, 1), (10.0, 2)]);
    assert_eq!(
        rig.exits("c")[2],
        (13.0, 0),
        "killed within 20 s of the exit before"
    );
    assert_eq!(rig.events("BackOff").last().map(|(at, _)| *at), Some(13.0));
    assert_eq!(rig.status("p").phase, Phase::Succeeded);
}

fn sickens_at(age: f64) -> Rig {
    Rig::of(pod("p").with(quick().sickens_at(every(1.0).failures(1), age)))
}

#[test]
fn d20_liveness_kills_at_30_seconds_of_life() {
    check_waits(
        sickens_at(30.0),
        &[0.0, 0.0, 0.0, 0.0, 40.0, 80.0, 160.0, 300.0, 0.0],
    );
}

#[test]
fn d21_liveness_kills_at_5_seconds_of_life() {
    check_waits(
        sickens_at(5.0),
        &[0.0, 0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 0.0],
    );
}

#[test]
fn d22_liveness_kills_at_60_seconds_of_life() {
    check_waits(
        sickens_at(60.0),
        &[0.0, 0.0, 0.0, 0.0, 0.0, 80.0, 160.0, 300.0, 0.0],
    );
}

#[test]
fn d26_startup_failure_kills_with_its_own_words_and_grace() {
    let plan = container("c").startup(every(5.0).failures(2).grace(7.0), "f");
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(11.0);
    let killing = "Container c failed startup probe, will be restarted";
    assert_eq!(rig.events("Killing"), [(10.0, killing.to_owned())]);
    assert_eq!(rig.stops("c"), [(10.0, 7.0)]);
    assert_eq!(rig.starts("c").len(), 2);
}

#[test]
fn a_command_that_cannot_be_executed_is_exit_code_128_and_waits() {
    let mut rig = Rig::of(pod("p").with(quick().start(Start::CannotExecute)));
    rig.run_until(1_000.0);
    let starts: Vec<f64> = rig.starts("c").into_iter().map(|(at, _)| at).collect();
    assert_eq!(
        starts,
        [0.0, 0.0, 10.0, 30.0, 70.0, 150.0, 310.0, 610.0, 910.0]
    );
    let status = rig.status("p");
    assert_eq!(status.phase, Phase::Running);
    let container = &status.container_statuses[0];
    assert_eq!(container.restart_count, 8);
    let end = container.last_state.as_ref().unwrap();
    assert_eq!(end.exit_code, 128);
    assert_eq!(end.reason.as_deref(), Some("StartError"));
    assert_eq!(end.message.as_deref(), Some("no such file"));
    assert!(matches!(&container.state, ContainerState::Waiting(waiting)
            if waiting.reason.as_deref() == Some("CrashLoopBackOff")));
    assert_eq!(rig.events("Failed").len(), 9);
    assert_eq!(rig.events("Failed")[0].1, "Error: no such file");

    let plan = quick().start(Start::CannotExecute);
    let mut rig = Rig::of(pod("p").policy(Never).with(plan));
    rig.run_until(10.0);
    assert_eq!(rig.status("p").phase, Phase::Failed);
    assert!(matches!(rig.state("p"), ContainerState::Terminated(end) if end.exit_code == 128));
}

#[test]
fn a_container_that_cannot_be_made_is_tried_again_every_10_seconds() {
    let plan = quick()
        .start(Start::CannotCreate)
        .then(|_| ())
        .then(|life| life.start = Start::Well);
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(60.0);
    assert_eq!(rig.starts("c"), [(0.0, 0), (10.0, 0), (20.0, 0)]);
    let status = rig.status("p");
    assert_eq!(status.phase, Phase::Running);
    assert_eq!(status.container_statuses[0].restart_count, 0);
    assert_eq!(rig.events("Failed").len(), 2);
}

#[test]
fn a_kill_of_one_container_leaves_the_other_alone() {
    let sick = container("c").liveness(every(10.0), "fffs");
    let well = container("d")
        .liveness(every(10.0), "s")
        .readiness(every(10.0), "s");
    let mut rig = Rig::of(pod("p").with(sick).with(well));
    rig.run_until(60.0);
    assert_eq!(rig.starts("c").len(), 2);
    assert_eq!(rig.starts("d").len(), 1);
    assert!(rig.stops("d").is_empty());
    assert_eq!(
        rig.attempts("d", Liveness),
        [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
    );
}
