//! Pods that are told to end, at every stage of their life.

use probelet_model::pod::RestartPolicy::Never;
use probelet_model::probe::ProbeKind::{Liveness, Readiness, Startup};
use probelet_model::status::{ContainerState, Phase};

use crate::rig::Rig;
use crate::rig::plan::{HookPlan, SandboxFailure, Start, container, every, pod, secs};

#[test]
fn while_the_sandbox_is_being_made() {
    let mut rig = Rig::of(pod("p").sandbox_takes(5.0).with(container("c")));
    rig.run_until(2.0);
    rig.delete("p", 30.0);
    assert!(
        rig.removals().is_empty(),
        "what is not there yet cannot be removed"
    );
    rig.run_until(10.0);
    assert_eq!(rig.removals(), [5.0]);
    assert_eq!(rig.ended(), [(5.0, true)]);
    assert!(rig.starts("c").is_empty());
    assert_eq!(rig.status("p").phase, Phase::Failed);
    let ContainerState::Terminated(end) = rig.state("p") else {
        panic!("a container that never ran counts as lost at the end");
    };
    assert_eq!(end.exit_code, 137);
    assert_eq!(end.reason.as_deref(), Some("ContainerStatusUnknown"));
    let message = "The container could not be located when the pod was terminated";
    assert_eq!(end.message.as_deref(), Some(message));
}

#[test]
fn without_a_grace_no_hook_runs_and_2_seconds_are_left() {
    let plan = container("c").pre_stop(HookPlan::Ends(secs(1.0), true));
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(2.0);
    rig.delete("p", 0.0);
    rig.run_until(10.0);
    assert!(rig.hooks("c").is_empty());
    assert_eq!(rig.stops("c"), [(2.0, 2.0)]);
}

#[test]
fn while_a_container_is_starting() {
    let mut rig = Rig::of(pod("p").with(container("c").start_takes(5.0).on_term(1.0, 143)));
    rig.run_until(2.0);
    rig.delete("p", 30.0);
    rig.run_until(10.0);
    assert_eq!(rig.stops("c"), [(5.0, 30.0)], "it is stopped once it runs");
    assert_eq!(rig.ended(), [(6.0, true)]);
}

#[test]
fn while_a_container_fails_to_start() {
    for start in [Start::CannotCreate, Start::CannotExecute] {
        let mut rig = Rig::of(pod("p").with(container("c").start_takes(5.0).start(start)));
        rig.run_until(2.0);
        rig.delete("p", 30.0);
        rig.run_until(30.0);
        assert_eq!(rig.starts("c").len(), 1);
        assert_eq!(rig.ended(), [(5.0, true)]);
        assert_eq!(rig.status("p").phase, Phase::Failed);
    }
}

#[test]
fn while_a_container_is_in_back_off() {
    let mut rig = Rig::of(pod("p").with(container("c").start_takes(0.0).exits(0.0, 0)));
    rig.run_until(5.0);
    rig.delete("p", 30.0);
    assert!(
        matches!(rig.state("p"), ContainerState::Terminated(_)),
        "it waits for nothing"
    );
    rig.run_until(20.0);
    assert_eq!(rig.starts("c").len(), 2);
    assert_eq!(rig.ended(), [(5.0, true)]);
    assert_eq!(rig.status("p").phase, Phase::Succeeded);
}

#[test]
fn while_the_sandbox_cannot_be_made() {
    let failing = pod("p").sandbox_fails(&[SandboxFailure::Volume; 50]);
    let mut rig = Rig::of(failing.with(container("c")));
    rig.run_until(5.0);
    let tries = rig.sandboxes().len();
    rig.delete("p", 30.0);
    rig.run_until(100.0);
    assert_eq!(rig.sandboxes().len(), tries);
    assert_eq!(rig.ended(), [(5.0, true)]);
}

#[test]
fn after_the_pod_has_ended_by_itself() {
    let mut rig = Rig::of(pod("p").policy(Never).with(container("c").exits(1.0, 0)));
    rig.run_until(5.0);
    let before = rig.status("p");
    rig.delete("p", 30.0);
    rig.run_until(6.0);
    assert_eq!(rig.ended(), [(5.0, true)]);
    assert_eq!(rig.status("p").phase, before.phase);
    assert!(rig.stops("c").is_empty());
}

#[test]
fn after_the_sandbox_was_lost() {
    let mut rig = Rig::of(pod("p").with(container("c").ignores_term()));
    rig.run_until(5.0);
    rig.delete("p", 30.0);
    rig.run_until(8.0);
    rig.lose("p");
    rig.run_until(9.0);
    assert_eq!(rig.ended(), [(8.0, true)]);
    assert!(rig.events("SandboxChanged").is_empty());
}

#[test]
fn a_second_deletion_can_only_shorten_the_first() {
    let run = |second: f64| {
        let mut rig = Rig::of(pod("p").with(container("c").ignores_term()));
        rig.run_until(5.0);
        rig.delete("p", 30.0);
        rig.run_until(10.0);
        rig.delete("p", second);
        rig.run_until(60.0);
        rig
    };
    let shorter = run(5.0);
    assert_eq!(shorter.stops("c"), [(5.0, 30.0), (10.0, 5.0)]);
    assert_eq!(shorter.ended(), [(15.0, true)]);
    let longer = run(300.0);
    assert_eq!(longer.stops("c"), [(5.0, 30.0)]);
    assert_eq!(longer.ended(), [(35.0, true)]);
    let at_once = run(0.0);
    assert_eq!(
        at_once.stops("c"),
        [(5.0, 30.0), (10.0, 2.0)],
        "2 seconds are the least"
    );
    assert_eq!(at_once.ended(), [(12.0, true)]);
}

#[test]
fn a_deletion_shortens_a_liveness_kill_and_keeps_it_from_restarting() {
    let plan = container("c")
        .liveness(every(10.0).failures(1), "f")
        .ignores_term();
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(15.0);
    rig.delete("p", 5.0);
    rig.run_until(60.0);
    assert_eq!(rig.stops("c"), [(10.0, 30.0), (15.0, 5.0)]);
    assert_eq!(rig.exits("c"), [(20.0, 137)]);
    assert_eq!(rig.starts("c").len(), 1);
    assert_eq!(rig.ended(), [(20.0, true)]);
}

#[test]
fn a_deletion_never_ends_a_hook_sooner_than_its_own_grace() {
    let plan = container("c")
        .liveness(every(10.0).failures(1).grace(30.0), "f")
        .pre_stop(HookPlan::Hangs)
        .ignores_term();
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(25.0);
    rig.delete("p", 10.0);
    rig.run_until(60.0);
    assert_eq!(
        rig.stops("c"),
        [(35.0, 2.0)],
        "10 seconds from the deletion"
    );

    let plan = container("c")
        .pre_stop(HookPlan::Ends(secs(4.0), true))
        .ignores_term();
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(5.0);
    rig.delete("p", 10.0);
    rig.run_until(60.0);
    assert_eq!(rig.stops("c"), [(9.0, 6.0)]);
    assert_eq!(rig.ended(), [(15.0, true)]);
}

#[test]
fn a_container_that_ends_during_its_hook_is_done() {
    let plan = container("c")
        .exits(8.0, 0)
        .pre_stop(HookPlan::Ends(secs(20.0), true));
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(5.0);
    rig.delete("p", 30.0);
    rig.run_until(60.0);
    assert!(rig.stops("c").is_empty());
    assert_eq!(rig.ended(), [(8.1, true)]);
    assert_eq!(rig.engine().stale_answers(), 1, "the hook's answer");
}

#[test]
fn only_readiness_is_asked_and_nothing_is_counted_for_the_others() {
    let plan = container("c")
        .startup(every(2.0), "s")
        .readiness(every(2.0), "s")
        .liveness(every(2.0), "s")
        .latency(Liveness, 1.0)
        .ignores_term();
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(8.5);
    rig.delete("p", 10.0);
    rig.run_until(60.0);
    assert_eq!(rig.attempts("c", Startup), [2.0]);
    // The first tick after startup's success is at 4; the attempt of 8 is under way at the deletion.
    assert_eq!(rig.attempts("c", Liveness), [4.0, 6.0, 8.0]);
    assert!(rig.attempts("c", Readiness).iter().any(|at| *at > 16.0));
    assert_eq!(rig.engine().stale_answers(), 1);
}

#[test]
fn two_containers_end_side_by_side() {
    let plan = pod("p")
        .with(container("a").on_term(3.0, 0))
        .with(container("b").on_term(5.0, 0));
    let mut rig = Rig::of(plan);
    rig.run_until(5.0);
    rig.delete("p", 30.0);
    rig.run_until(30.0);
    assert_eq!(rig.stops("a"), [(5.0, 30.0)]);
    assert_eq!(rig.stops("b"), [(5.0, 30.0)]);
    assert_eq!(rig.removals(), [10.0]);
    assert_eq!(rig.status("p").phase, Phase::Succeeded);
    let killing: Vec<String> = rig
        .events("Killing")
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(killing, ["Stopping container a", "Stopping container b"]);
}

#[test]
fn what_had_not_started_does_not_start_by_a_deletion() {
    let plan = container("c")
        .startup(every(2.0).failures(10), "f")
        .ignores_term();
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(5.0);
    rig.delete("p", 10.0);
    rig.run_until(14.0);
    assert_eq!(rig.status("p").container_statuses[0].started, Some(false));
    assert_eq!(rig.ready("p"), [(0.0, false)]);
}
