//! Sidecars: when they let others start, how they are killed, and that they end last.

use probelet_model::pod::RestartPolicy::{Never, OnFailure};
use probelet_model::probe::ProbeKind::{Liveness, Readiness};
use probelet_model::status::{ConditionKind, Phase};

use crate::rig::Rig;
use crate::rig::plan::{
    ContainerPlan, HookPlan, PodPlan, container, every, init, pod, secs, sidecar,
};

#[test]
fn e15_a_sidecar_whose_startup_probe_has_not_succeeded_holds_the_next_back() {
    let slow = sidecar("s")
        .start_takes(0.1)
        .startup(every(5.0).failures(10), "ffs");
    let plan = pod("p")
        .init(slow)
        .init(init("i", 1.0))
        .with(container("c").start_takes(0.0));
    let mut rig = Rig::of(plan);
    rig.run_until(12.0);
    let status = rig.status("p");
    assert_eq!(status.phase, Phase::Pending);
    assert_eq!(rig.word_of("p", "s"), "Running");
    assert_eq!(status.container("s").unwrap().started, Some(false));
    let initialized = rig.condition("p", ConditionKind::Initialized);
    assert_eq!(
        initialized.message.as_deref(),
        Some("containers with incomplete status: [s i]")
    );
    let unready = rig.condition("p", ConditionKind::ContainersReady);
    assert_eq!(
        unready.message.as_deref(),
        Some("containers with unready status: [s c]"),
        "sidecars first, and no ordinary init container"
    );
    assert!(rig.starts("i").is_empty());
    rig.run_until(20.0);
    assert_eq!(rig.starts("i"), [(15.0, 0)]);
    assert_eq!(rig.starts("c"), [(16.0, 0)]);
}

#[test]
fn readiness_and_liveness_of_a_sidecar_hold_nothing_back_but_count_for_ready() {
    let plan = pod("p")
        .init(sidecar("s").readiness(every(5.0), "ffs"))
        .with(container("c").start_takes(0.0));
    let mut rig = Rig::of(plan);
    rig.run_until(20.0);
    assert_eq!(rig.starts("c"), [(0.0, 0)]);
    let becomes_ready = rig.ready("p")[1].0;
    let succeeded = rig.attempts("s", Readiness)[2];
    assert_eq!(becomes_ready, succeeded);
}

#[test]
fn d27_a_sidecar_that_fails_its_liveness_probe_is_restarted() {
    let sick = sidecar("s")
        .start_takes(0.1)
        .liveness(every(10.0).grace(4.0), "fffs");
    let plan = pod("p")
        .policy(Never)
        .init(sick)
        .with(container("c").start_takes(0.0));
    let mut rig = Rig::of(plan);
    rig.run_until(60.0);
    let killing = "Init container s failed liveness probe";
    assert_eq!(rig.events("Killing"), [(30.0, killing.to_owned())]);
    assert_eq!(rig.stops("s"), [(30.0, 4.0)]);
    assert_eq!(rig.starts("s"), [(0.0, 0), (30.0, 1)]);
    assert_eq!(rig.starts("c").len(), 1);
}

#[test]
fn a_sidecar_that_fails_its_startup_probe_is_restarted() {
    let sick = sidecar("s")
        .start_takes(0.1)
        .startup(every(1.0).failures(2), "ffs");
    let mut rig = Rig::of(pod("p").init(sick).with(container("c")));
    rig.run_until(30.0);
    let killing = "Init container s failed startup probe";
    assert_eq!(rig.events("Killing"), [(2.0, killing.to_owned())]);
    assert_eq!(rig.starts("s"), [(0.0, 0), (2.0, 1)]);
    assert_eq!(rig.starts("c").len(), 1);
}

#[test]
fn a_sidecar_whose_image_changes_is_restarted_and_an_init_container_is_not() {
    let plan = pod("p")
        .init(init("i", 1.0))
        .init(sidecar("s"))
        .with(container("c"));
    let mut rig = Rig::of(plan);
    rig.run_until(5.0);
    let mut other = rig.pod("p");
    for spec in &mut other.init_containers {
        spec.image = "example/app:2".to_owned();
    }
    rig.apply_again(other);
    rig.run_until(10.0);
    let killing = "Init container s definition changed";
    assert_eq!(rig.events("Killing"), [(5.0, killing.to_owned())]);
    assert_eq!(rig.starts("s").len(), 2);
    assert_eq!(rig.starts("i").len(), 1);
}

#[test]
fn e17_a_sidecar_that_restarts_after_the_initialisation_changes_neither_it_nor_the_phase() {
    let plan = pod("p")
        .init(sidecar("s").exits(5.0, 0))
        .with(container("c").start_takes(0.0));
    let mut rig = Rig::of(plan);
    rig.run_until(60.0);
    assert_eq!(
        rig.waits("s")[..3],
        [0.0, 10.0, 20.0],
        "whatever its exit code"
    );
    assert_eq!(rig.phases("p"), [Phase::Pending, Phase::Running]);
    let initialized: Vec<bool> = rig
        .statuses("p")
        .iter()
        .map(|(_, status)| status.condition(ConditionKind::Initialized).unwrap().status)
        .collect();
    let since = initialized.iter().position(|yes| *yes).unwrap();
    assert!(initialized[since..].iter().all(|yes| *yes));
    let unready = rig.ready("p").into_iter().filter(|(_, ready)| !ready);
    assert!(unready.count() > 2, "it counts for Ready");
    assert_eq!(rig.starts("c").len(), 1);
}

#[test]
fn sidecars_keep_no_pod_alive_and_end_after_it_in_reverse_order() {
    for (policy, code, phase) in [
        (Never, 0, Phase::Succeeded),
        (Never, 3, Phase::Failed),
        (OnFailure, 0, Phase::Succeeded),
    ] {
        let plan = pod("p")
            .policy(policy)
            .init(sidecar("s").on_term(2.0, 9))
            .init(sidecar("t").on_term(3.0, 9))
            .with(container("c").start_takes(0.0).exits(10.0, code));
        let mut rig = Rig::of(plan);
        rig.run_until(60.0);
        let killing: Vec<String> = rig
            .events("Killing")
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        assert_eq!(killing, ["Stopping container s", "Stopping container t"]);
        assert_eq!(rig.stops("t"), [(10.0, 30.0)]);
        assert_eq!(
            rig.stops("s"),
            [(13.0, 27.0)],
            "what it waited comes off its grace"
        );
        assert_eq!(rig.exits("s"), [(15.0, 9)]);
        assert_eq!(rig.starts("s").len(), 1, "it is not restarted");
        assert_eq!(
            rig.phases("p"),
            [Phase::Pending, Phase::Running, phase],
            "how a sidecar ends does not count"
        );
        let (at, _) = rig.statuses("p").pop().unwrap();
        assert_eq!(at, 15.0, "the phase ends when the last sidecar has");
    }
}

/// Two sidecars around a container that takes five seconds to end.
fn ordered(change: impl Fn(ContainerPlan) -> ContainerPlan) -> PodPlan {
    pod("p")
        .init(change(sidecar("s")).on_term(2.0, 9))
        .init(sidecar("t").on_term(3.0, 9))
        .with(container("c").start_takes(0.0).on_term(5.0, 0))
}

#[test]
fn a_deletion_ends_regular_containers_first_and_then_sidecars_last_to_first() {
    let mut rig = Rig::of(ordered(|plan| plan));
    rig.run_until(10.0);
    rig.delete("p", 30.0);
    rig.run_until(60.0);
    assert_eq!(rig.stops("c"), [(10.0, 30.0)]);
    assert_eq!(rig.stops("t"), [(15.0, 25.0)]);
    assert_eq!(rig.stops("s"), [(18.0, 22.0)]);
    assert_eq!(rig.ended(), [(20.0, true)]);
    assert_eq!(
        rig.status("p").phase,
        Phase::Succeeded,
        "how sidecars end does not count"
    );
    assert!(
        rig.events("Killing").iter().all(|(at, _)| *at == 10.0),
        "all are told of at once"
    );
}

#[test]
fn a_sidecar_waits_no_longer_than_the_grace() {
    let stubborn = pod("p")
        .init(sidecar("s").on_term(0.0, 0))
        .with(container("c").start_takes(0.0).ignores_term());
    let mut rig = Rig::of(stubborn);
    rig.run_until(10.0);
    rig.delete("p", 5.0);
    rig.run_until(60.0);
    assert_eq!(rig.exits("c"), [(15.0, 137)]);
    assert_eq!(rig.stops("s"), [(15.0, 2.0)], "2 seconds are the least");
    assert_eq!(rig.ended(), [(15.0, true)]);
}

#[test]
fn the_pre_stop_hook_of_a_sidecar_runs_at_once_and_its_turn_comes_later() {
    let hooked = |plan: ContainerPlan| plan.pre_stop(HookPlan::Ends(secs(2.0), true));
    let mut rig = Rig::of(ordered(hooked));
    rig.run_until(10.0);
    rig.delete("p", 30.0);
    rig.run_until(60.0);
    assert_eq!(rig.hooks("s"), [(10.0, 30.0)]);
    assert_eq!(
        rig.stops("s"),
        [(18.0, 22.0)],
        "2 for the hook, 6 for the wait"
    );
}

#[test]
fn a_second_deletion_shortens_the_wait() {
    let mut rig = Rig::of(ordered(|plan| plan));
    rig.run_until(10.0);
    rig.delete("p", 30.0);
    rig.run_until(12.0);
    rig.delete("p", 1.0);
    rig.run_until(60.0);
    assert_eq!(rig.stops("s"), [(13.0, 2.0)]);
    assert_eq!(rig.ended(), [(15.0, true)]);
}

#[test]
fn sidecars_are_not_asked_for_their_liveness_while_the_pod_ends() {
    let sick = sidecar("s").liveness(every(1.0).failures(1), "ssssssssssf");
    let plan = pod("p")
        .init(sick)
        .with(container("c").start_takes(0.0).on_term(8.0, 0));
    let mut rig = Rig::of(plan);
    rig.run_until(5.5);
    rig.delete("p", 30.0);
    rig.run_until(60.0);
    assert!(rig.attempts("s", Liveness).iter().all(|at| *at < 5.5));
    assert_eq!(rig.stops("s"), [(13.5, 22.0)]);
}

#[test]
fn a_sidecar_that_ends_while_the_pod_ends_is_not_restarted() {
    let plan = pod("p")
        .init(sidecar("s").exits(12.0, 0))
        .with(container("c").start_takes(0.0).on_term(8.0, 0));
    let mut rig = Rig::of(plan);
    rig.run_until(10.0);
    rig.delete("p", 30.0);
    rig.run_until(60.0);
    assert_eq!(rig.starts("s").len(), 1);
    assert!(rig.stops("s").is_empty());
    assert_eq!(rig.ended(), [(18.0, true)]);
}

#[test]
fn a_probe_that_kills_the_last_container_of_a_never_pod_ends_the_sidecars_too() {
    let plan = pod("p")
        .policy(Never)
        .init(sidecar("s").on_term(1.0, 0))
        .with(
            container("c")
                .liveness(every(10.0).grace(5.0), "f")
                .on_term(4.0, 143),
        );
    let mut rig = Rig::of(plan);
    rig.run_until(60.0);
    let killing: Vec<(f64, String)> = rig.events("Killing");
    let told = |name: &str| (30.0, format!("Stopping container {name}"));
    assert_eq!(killing, [told("c"), told("s")]);
    assert_eq!(rig.stops("c"), [(30.0, 30.0)], "the pod's grace");
    assert_eq!(rig.stops("s"), [(34.0, 26.0)]);
    assert_eq!(
        rig.phases("p"),
        [Phase::Pending, Phase::Running, Phase::Failed]
    );
}

#[test]
fn a_sidecar_that_runs_when_an_init_container_fails_for_good_is_stopped() {
    let plan = pod("p")
        .policy(Never)
        .init(sidecar("s").on_term(2.0, 0))
        .init(init("i", 0.0).exits(5.0, 1))
        .with(container("c"));
    let mut rig = Rig::of(plan);
    rig.run_until(6.0);
    assert_eq!(rig.stops("s"), [(5.0, 30.0)]);
    assert_eq!(
        rig.status("p").phase,
        Phase::Pending,
        "nobody is told that it has ended while something may still run"
    );
    let ready = rig.condition("p", ConditionKind::Ready);
    assert_eq!(ready.reason.as_deref(), Some("PodFailed"));
    rig.run_until(20.0);
    assert_eq!(rig.phases("p"), [Phase::Pending, Phase::Failed]);
    assert_eq!(rig.statuses("p").last().unwrap().0, 7.0);
}

#[test]
fn the_order_of_ending_outlives_the_agent() {
    for at in [11.0, 14.0, 16.0, 19.0] {
        let mut rig = Rig::of(ordered(|plan| plan));
        rig.run_until(10.0);
        rig.delete("p", 30.0);
        rig.run_until(at);
        rig.restart_agent();
        rig.run_until(60.0);
        let first = |name| rig.stops(name)[0];
        assert_eq!(first("t"), (15.0, 25.0), "at {at}");
        assert_eq!(first("s"), (18.0, 22.0), "at {at}");
        assert_eq!(rig.ended(), [(20.0, true)]);
    }
}

#[test]
fn a_sidecar_that_is_down_keeps_no_regular_container_from_its_restart() {
    let crashing = sidecar("s").exits(0.0, 1).then(|_| ()).then(|_| ());
    let plan = pod("p")
        .init(crashing)
        .with(container("c").start_takes(0.0).exits(12.0, 1));
    let mut rig = Rig::of(plan);
    rig.run_until(11.0);
    // Nor with the next agent: it knows that the pod has been initialised.
    rig.restart_agent();
    rig.run_until(30.0);
    assert_eq!(rig.word_of("p", "s"), "CrashLoopBackOff");
    assert_eq!(rig.starts("c")[1], (12.0, 1));
}

#[test]
fn a_sidecar_that_has_not_started_is_judged_by_its_startup_probe_alone() {
    let slow = sidecar("s").startup(every(5.0).failures(10), "fffs");
    let mut rig = Rig::of(pod("p").init(slow).with(container("c").start_takes(0.0)));
    rig.run_until(7.0);
    let mut other = rig.pod("p");
    other.init_containers[0].image = "example/app:2".to_owned();
    rig.apply_again(other);
    rig.run_until(14.0);
    assert!(rig.events("Killing").is_empty());
    rig.run_until(16.0);
    let killing = "Init container s definition changed";
    assert_eq!(rig.events("Killing"), [(15.0, killing.to_owned())]);
    assert_eq!(rig.starts("c"), [(15.0, 0)], "it had started by then");
}
