//! postStart hooks: what waits for them, and what their failure does.

use probelet_model::pod::Hook;
use probelet_model::pod::RestartPolicy::Never;
use probelet_model::probe::ProbeKind::{Liveness, Readiness};
use probelet_model::status::{ContainerState, Phase};

use crate::rig::Rig;
use crate::rig::plan::{HookPlan, container, every, init, pod, secs, sidecar};

const fn fails() -> HookPlan {
    HookPlan::Ends(std::time::Duration::ZERO, false)
}

#[test]
fn a_container_is_not_shown_as_running_before_its_hook_has_gone_well() {
    let hooked = container("c")
        .start_takes(0.0)
        .post_start(&[HookPlan::Ends(secs(7.0), true)])
        .readiness(every(10.0), "s")
        .liveness(every(2.0).delay(5.0), "s");
    let mut rig = Rig::of(pod("p").with(hooked).with(container("d")));
    rig.run_until(6.0);
    assert_eq!(rig.post_starts("c"), [0.0]);
    assert_eq!(rig.word_of("p", "c"), "ContainerCreating");
    assert_eq!(rig.status("p").phase, Phase::Pending);
    assert_eq!(
        rig.word_of("p", "d"),
        "Running",
        "the other container does not wait"
    );
    assert!(rig.attempts("c", Liveness).is_empty());
    rig.run_until(10.0);
    assert_eq!(rig.word_of("p", "c"), "Running");
    assert_eq!(rig.attempts("c", Readiness), [7.0]);
    assert_eq!(
        rig.attempts("c", Liveness),
        [8.0, 10.0],
        "initialDelaySeconds count from the start"
    );
    assert!(rig.status("p").is_ready());
    let reasons = ["Created", "Started", "Created", "Started"];
    assert_eq!(rig.event_reasons(), reasons);
}

#[test]
fn d28_a_hook_that_fails_kills_the_container_and_waits_with_its_name() {
    let hooked = container("c")
        .start_takes(0.0)
        .post_start(&[fails(), HookPlan::Ends(secs(1.0), true)])
        .on_term(3.0, 143);
    let mut rig = Rig::of(pod("p").grace(20.0).with(hooked));
    rig.run_until(2.0);
    assert_eq!(
        rig.events("FailedPostStartHook"),
        [(0.0, "PostStartHook failed".to_owned())]
    );
    assert_eq!(
        rig.events("Killing"),
        [(0.0, "FailedPostStartHook".to_owned())]
    );
    assert_eq!(rig.stops("c"), [(0.0, 20.0)], "the pod's grace");
    let ContainerState::Waiting(waiting) = rig.state("p") else {
        panic!("{:?}", rig.state("p"));
    };
    assert_eq!(waiting.reason.as_deref(), Some("PostStartHookError"));
    assert_eq!(waiting.message.as_deref(), Some("exit 1"));

    rig.run_until(3.5);
    assert_eq!(rig.starts("c"), [(0.0, 0), (3.0, 1)]);
    assert_eq!(
        rig.word_of("p", "c"),
        "PostStartHookError",
        "until the hook has gone well"
    );
    let status = rig.status("p");
    let last = status.container_statuses[0].last_state.as_ref();
    assert_eq!(last.map(|end| end.exit_code), Some(143));
    rig.run_until(5.0);
    assert_eq!(rig.word_of("p", "c"), "Running");
    assert_eq!(rig.status("p").container_statuses[0].restart_count, 1);
}

#[test]
fn hooks_that_fail_again_and_again_meet_the_back_off() {
    let hooked = container("c").start_takes(0.0).post_start(&[fails()]);
    let mut rig = Rig::of(pod("p").with(hooked));
    rig.run_until(100.0);
    assert_eq!(rig.waits("c")[..4], [0.0, 10.0, 20.0, 40.0]);
    assert_eq!(rig.word_of("p", "c"), "CrashLoopBackOff");
    assert!(!rig.status("p").is_ready());
}

#[test]
fn a_hook_that_fails_in_a_pod_that_never_restarts_fails_it() {
    let hooked = container("c").start_takes(0.0).post_start(&[fails()]);
    let mut rig = Rig::of(pod("p").policy(Never).with(hooked));
    rig.run_until(60.0);
    assert_eq!(rig.starts("c").len(), 1);
    assert_eq!(rig.status("p").phase, Phase::Failed);
}

#[test]
fn a_container_that_ends_during_its_hook_has_failed_it() {
    let hooked = || {
        container("c")
            .start_takes(0.0)
            .exits(2.0, 3)
            .then(|life| life.ends = None)
            .post_start(&[HookPlan::Hangs, HookPlan::Ends(secs(1.0), true)])
    };
    let mut rig = Rig::of(pod("p").with(hooked()));
    rig.run_until(10.0);
    assert_eq!(rig.events("FailedPostStartHook").len(), 1);
    assert_eq!(
        rig.events("Killing"),
        [(2.0, "FailedPostStartHook".to_owned())]
    );
    assert!(rig.stops("c").is_empty(), "there is nothing left to stop");
    assert_eq!(rig.starts("c"), [(0.0, 0), (2.0, 1)]);
    assert_eq!(rig.word_of("p", "c"), "Running");

    // A hook that only sleeps notices nothing.
    let mut sleeps = hooked();
    sleeps.spec.post_start = Some(Hook::Sleep(secs(60.0)));
    let mut rig = Rig::of(pod("p").with(sleeps));
    rig.run_until(10.0);
    assert!(rig.events("FailedPostStartHook").is_empty());
    assert_eq!(rig.starts("c").len(), 2);
}

#[test]
fn a_deletion_does_not_wait_for_the_hook() {
    let hooked = container("c")
        .start_takes(0.0)
        .post_start(&[HookPlan::Hangs])
        .on_term(1.0, 0);
    let mut rig = Rig::of(pod("p").with(hooked));
    rig.run_until(5.0);
    rig.delete("p", 30.0);
    rig.run_until(30.0);
    assert_eq!(rig.stops("c"), [(5.0, 30.0)]);
    assert_eq!(rig.ended(), [(6.0, true)]);
}

#[test]
fn a_sandbox_that_is_lost_during_the_hook() {
    let hooked = container("c")
        .start_takes(0.0)
        .post_start(&[HookPlan::Hangs, HookPlan::Ends(secs(1.0), true)]);
    let mut rig = Rig::of(pod("p").with(hooked));
    rig.run_until(5.0);
    rig.lose("p");
    rig.run_until(10.0);
    assert_eq!(rig.starts("c"), [(0.0, 0), (5.0, 1)]);
    assert!(rig.status("p").is_ready());
}

#[test]
fn the_next_agent_does_not_run_the_hook_again() {
    let hooked = container("c")
        .start_takes(0.0)
        .post_start(&[HookPlan::Hangs])
        .liveness(every(2.0), "s");
    let mut rig = Rig::of(pod("p").with(hooked));
    rig.run_until(5.0);
    rig.restart_agent();
    rig.run_until(10.0);
    assert_eq!(rig.post_starts("c"), [0.0]);
    assert_eq!(rig.word_of("p", "c"), "Running");
    assert_eq!(rig.starts("c").len(), 1);
    assert_eq!(rig.attempts("c", Liveness), [6.0, 8.0, 10.0]);
}

#[test]
fn a_sidecar_lets_the_next_start_when_its_hook_has_gone_well() {
    let hooked = sidecar("s").post_start(&[HookPlan::Ends(secs(4.0), true)]);
    let plan = pod("p")
        .init(hooked)
        .init(init("i", 1.0))
        .with(container("c").start_takes(0.0));
    let mut rig = Rig::of(plan);
    rig.run_until(10.0);
    assert_eq!(rig.starts("i"), [(4.0, 0)]);
    assert_eq!(rig.starts("c"), [(5.0, 0)]);
}

#[test]
fn no_hook_runs_in_a_container_that_starts_only_to_be_stopped() {
    let hooked = || {
        container("c")
            .start_takes(3.0)
            .post_start(&[HookPlan::Hangs])
    };
    let mut rig = Rig::of(pod("p").with(hooked()));
    rig.run_until(1.0);
    rig.delete("p", 30.0);
    rig.run_until(30.0);
    assert!(rig.post_starts("c").is_empty());
    assert_eq!(rig.stops("c"), [(3.0, 30.0)]);
    assert_eq!(rig.ended(), [(3.0, true)]);

    let mut rig = Rig::of(pod("p").active_deadline(2.0).with(hooked()));
    rig.run_until(30.0);
    assert!(rig.post_starts("c").is_empty());
    assert_eq!(rig.status("p").phase, Phase::Failed);
}
