//! Init containers: their order, their failures, and what the pod's status says meanwhile.

use probelet_model::pod::RestartPolicy::{Always, Never, OnFailure};
use probelet_model::probe::ProbeKind::Readiness;
use probelet_model::status::{ConditionKind, ContainerState, Phase};

use crate::rig::plan::{Start, container, every, init, pod, secs, sidecar};
use crate::rig::{Rig, uid};

fn initialized(rig: &Rig) -> (bool, Option<String>, Option<String>) {
    let condition = rig.condition("p", ConditionKind::Initialized);
    (condition.status, condition.reason, condition.message)
}

fn incomplete(names: &str) -> (bool, Option<String>, Option<String>) {
    let message = format!("containers with incomplete status: [{names}]");
    let reason = Some("ContainersNotInitialized".to_owned());
    (false, reason, Some(message))
}

#[test]
fn e2_one_init_container_runs() {
    let plan = pod("p")
        .init(init("i", 5.0))
        .with(container("a"))
        .with(container("b"));
    let mut rig = Rig::of(plan);
    rig.run_until(2.0);
    let status = rig.status("p");
    assert_eq!(status.phase, Phase::Pending);
    for name in ["a", "b"] {
        assert_eq!(rig.word_of("p", name), "PodInitializing");
    }
    assert_eq!(initialized(&rig), incomplete("i"));
    let unready = "containers with unready status: [a b]";
    let ready = rig.condition("p", ConditionKind::Ready);
    assert_eq!(ready.message.as_deref(), Some(unready));
    let i = status.container("i").unwrap();
    assert!(matches!(i.state, ContainerState::Running(_)));
    assert_eq!((i.ready, i.started), (false, Some(true)));

    rig.run_until(10.0);
    let status = rig.status("p");
    assert_eq!(status.phase, Phase::Running);
    assert_eq!(initialized(&rig), (true, None, None));
    let i = status.container("i").unwrap();
    assert_eq!(rig.word_of("p", "i"), "Completed");
    assert_eq!((i.ready, i.started), (true, Some(false)));
    assert!(
        status.is_ready(),
        "an init container does not stand in the way"
    );
}

#[test]
fn e3_an_init_container_that_fails_is_tried_again_with_back_off() {
    let broken = init("i", 0.0).exits(0.0, 1);
    let mut rig = Rig::of(pod("p").init(broken).with(container("c")));
    rig.run_until(80.0);
    assert_eq!(rig.waits("i")[..4], [0.0, 10.0, 20.0, 40.0]);
    assert_eq!(rig.word_of("p", "i"), "CrashLoopBackOff");
    assert_eq!(rig.phases("p"), [Phase::Pending]);
    assert_eq!(initialized(&rig), incomplete("i"));
    assert!(rig.starts("c").is_empty());
    let status = rig.status("p");
    let i = status.container("i").unwrap();
    assert_eq!(i.restart_count, 4);
    assert_eq!(i.last_state.as_ref().map(|end| end.exit_code), Some(1));
}

#[test]
fn init_containers_run_one_after_the_other_and_then_the_others_side_by_side() {
    let plan = pod("p")
        .init(init("i", 2.0))
        .init(init("j", 3.0).start_takes(0.5))
        .with(container("a"))
        .with(container("b"));
    let mut rig = Rig::of(plan);
    rig.run_until(20.0);
    assert_eq!(rig.starts("i"), [(0.0, 0)]);
    assert_eq!(rig.starts("j"), [(2.0, 0)]);
    assert_eq!(rig.starts("a"), [(5.5, 0)]);
    assert_eq!(rig.starts("b"), [(5.5, 0)]);
}

#[test]
fn a_pod_that_never_restarts_fails_with_its_init_container() {
    for (pods, own) in [(Never, None), (Always, Some(Never))] {
        let mut broken = init("i", 0.0).exits(3.0, 4);
        if let Some(own) = own {
            broken = broken.policy(own);
        }
        let plan = pod("p")
            .policy(pods)
            .init(broken)
            .init(init("j", 1.0))
            .with(container("c"));
        let mut rig = Rig::of(plan);
        rig.run_until(60.0);
        assert_eq!(rig.starts("i").len(), 1);
        assert!(rig.starts("j").is_empty() && rig.starts("c").is_empty());
        assert_eq!(rig.phases("p"), [Phase::Pending, Phase::Failed]);
        for name in ["j", "c"] {
            assert_eq!(
                rig.word_of("p", name),
                "PodInitializing",
                "it waits for ever"
            );
        }
        let ready = rig.condition("p", ConditionKind::Ready);
        assert_eq!(ready.reason.as_deref(), Some("PodFailed"));
        rig.delete("p", 30.0);
        rig.run_until(61.0);
        assert_eq!(rig.ended(), [(60.0, true)]);
    }
}

#[test]
fn an_init_container_goes_by_its_own_rules() {
    let retried = init("i", 1.0)
        .exits(1.0, 42)
        .policy(Never)
        .rule(true, &[42])
        .then(|life| life.ends = Some((secs(1.0), 0)));
    let mut rig = Rig::of(pod("p").policy(Never).init(retried).with(container("c")));
    rig.run_until(10.0);
    assert_eq!(rig.starts("i"), [(0.0, 0), (1.0, 1)]);
    assert_eq!(rig.starts("c"), [(2.0, 0)]);
}

#[test]
fn a_restart_of_a_regular_container_runs_no_init_container_again() {
    let plan = pod("p")
        .init(init("i", 1.0))
        .with(container("c").exits(5.0, 1));
    let mut rig = Rig::of(plan);
    rig.run_until(60.0);
    assert!(rig.starts("c").len() > 2);
    assert_eq!(rig.starts("i").len(), 1);
    assert_eq!(rig.phases("p"), [Phase::Pending, Phase::Running]);
}

#[test]
fn a_new_sandbox_is_initialised_anew() {
    let plan = pod("p")
        .init(init("i", 2.0))
        .init(sidecar("s"))
        .with(container("c").start_takes(0.0));
    let mut rig = Rig::of(plan);
    rig.run_until(10.0);
    rig.lose("p");
    assert_eq!(rig.word_of("p", "c"), "PodInitializing");
    assert_eq!(initialized(&rig), incomplete("i s"));
    assert_eq!(rig.status("p").phase, Phase::Pending);
    rig.run_until(20.0);
    assert_eq!(rig.starts("i"), [(0.0, 0), (10.0, 1)]);
    assert_eq!(rig.starts("s"), [(2.0, 0), (12.0, 1)]);
    assert_eq!(rig.starts("c"), [(2.0, 0), (12.0, 1)]);
    assert!(rig.status("p").is_ready());
}

#[test]
fn a_pod_whose_work_is_done_needs_no_new_sandbox() {
    let plan = pod("p")
        .policy(OnFailure)
        .init(init("i", 1.0))
        .with(init("c", 1.0));
    let mut rig = Rig::of(plan);
    rig.run_until(5.0);
    assert_eq!(rig.status("p").phase, Phase::Succeeded);
    rig.lose("p");
    rig.run_until(50.0);
    assert_eq!(rig.sandboxes(), [0.0]);
    assert_eq!(rig.word_of("p", "i"), "Completed");
}

#[test]
fn an_init_container_that_cannot_be_made_or_executed() {
    let missing = init("i", 1.0)
        .start(Start::CannotCreate)
        .then(|life| life.start = Start::CannotExecute)
        .then(|life| life.start = Start::Well);
    let mut rig = Rig::of(pod("p").init(missing).with(container("c")));
    rig.run_until(60.0);
    assert_eq!(rig.starts("i"), [(0.0, 0), (10.0, 0), (10.0, 1)]);
    assert_eq!(rig.starts("c"), [(11.0, 0)]);
    assert!(rig.status("p").is_ready());
}

#[test]
fn a_deletion_stops_the_init_container_and_starts_nothing_more() {
    let slow = init("i", 100.0).on_term(3.0, 143);
    let plan = pod("p")
        .init(slow)
        .init(init("j", 1.0))
        .with(container("c"));
    let mut rig = Rig::of(plan);
    rig.run_until(5.0);
    rig.delete("p", 30.0);
    rig.run_until(20.0);
    assert_eq!(rig.stops("i"), [(5.0, 30.0)]);
    assert_eq!(
        rig.events("Killing"),
        [(5.0, "Stopping container i".to_owned())]
    );
    assert!(rig.starts("j").is_empty() && rig.starts("c").is_empty());
    assert_eq!(rig.ended(), [(8.0, true)]);
    assert_eq!(rig.status("p").phase, Phase::Failed);
    assert_eq!(rig.word_of("p", "i"), "Error");
    assert_eq!(rig.word_of("p", "c"), "PodInitializing");
}

#[test]
fn ordinary_init_containers_never_count_for_ready() {
    let plan = pod("p")
        .init(init("i", 3.0))
        .with(container("c").readiness(every(10.0), "s"));
    let mut rig = Rig::of(plan);
    rig.run_until(1.0);
    assert!(rig.attempts("c", Readiness).is_empty());
    rig.run_until(4.0);
    assert_eq!(rig.ready("p"), [(0.0, false), (3.1, true)]);
}

#[test]
fn a_restart_of_the_agent_at_any_point_of_the_initialisation_changes_nothing() {
    let plan = || {
        pod("p")
            .init(init("i", 2.0))
            .init(
                sidecar("s")
                    .startup(every(1.0).failures(30), "fs")
                    .liveness(every(4.0), "s"),
            )
            .init(
                init("j", 0.0)
                    .exits(0.5, 1)
                    .then(|life| life.ends = Some((secs(3.0), 0))),
            )
            .with(container("c").start_takes(0.0))
    };
    let seen = |rig: &Rig| {
        let starts = ["i", "s", "j", "c"].map(|name| rig.starts(name));
        (starts, rig.phases("p"), rig.ready("p"))
    };
    let mut steady = Rig::of(plan());
    steady.run_until(30.0);
    assert!(steady.status("p").is_ready());
    for remembers in [true, false] {
        for tenths in 1..100_u32 {
            let mut rig = Rig::of(plan());
            rig.run_until(f64::from(tenths) / 10.0 + 0.05);
            rig.crash();
            rig.start_agent();
            rig.take_up(false, remembers);
            rig.run_until(30.0);
            if remembers {
                assert_eq!(seen(&rig), seen(&steady), "at {tenths}");
            }
            assert_eq!(rig.starts("i").len(), 1, "at {tenths}");
            assert_eq!(rig.starts("j").len(), 2, "at {tenths}");
            assert_eq!(rig.starts("s").len(), 1, "at {tenths}");
            assert!(rig.status("p").is_ready());
        }
    }
}

#[test]
fn an_init_container_that_ended_while_no_agent_was_there_is_not_run_again() {
    let plan = pod("p").init(init("i", 5.0)).with(container("c"));
    let mut rig = Rig::of(plan);
    rig.run_until(3.0);
    rig.crash();
    rig.run_until(10.0);
    rig.boot();
    rig.run_until(20.0);
    assert_eq!(rig.starts("i").len(), 1);
    assert_eq!(rig.starts("c"), [(10.0, 0)]);
}

#[test]
fn a_sandbox_that_went_while_no_agent_was_there_is_initialised_anew() {
    let plan = pod("p").init(init("i", 2.0)).with(container("c"));
    let mut rig = Rig::of(plan);
    rig.run_until(10.0);
    rig.crash();
    rig.world.sandbox_goes(&uid("p"));
    rig.boot();
    rig.run_until(20.0);
    assert_eq!(rig.starts("i"), [(0.0, 0), (10.0, 1)]);
    assert_eq!(rig.starts("c"), [(2.0, 0), (12.0, 1)]);
}

#[test]
fn an_init_container_of_which_the_runtime_has_no_record_is_not_run_again() {
    // By the memory, while the next one runs; by the regular container that runs, without any.
    for (at, forgets) in [(4.0, false), (9.0, true)] {
        let plan = pod("p")
            .init(init("i", 2.0))
            .init(init("j", 5.0))
            .with(container("c").start_takes(0.0));
        let mut rig = Rig::of(plan);
        rig.run_until(at);
        rig.crash();
        rig.world.prune(&uid("p"), "i");
        if forgets {
            rig.world.prune(&uid("p"), "j");
            rig.forget("p");
        }
        rig.boot();
        rig.run_until(20.0);
        assert_eq!(rig.starts("i").len(), 1, "at {at}");
        assert_eq!(rig.starts("j").len(), 1, "at {at}");
        assert_eq!(rig.starts("c"), [(7.0, 0)]);
        assert_eq!(rig.word_of("p", "i"), "Completed");
        assert!(rig.status("p").is_ready());
        let ContainerState::Terminated(end) = rig.state_of("p", "i") else {
            panic!("{:?}", rig.state_of("p", "i"));
        };
        let taken_for_done = "Unable to get init container status from container runtime and pod has been \
                              initialized, treat it as exit normally";
        assert_eq!(end.message.as_deref(), forgets.then_some(taken_for_done));
    }
}

#[test]
fn work_that_was_done_in_a_lost_sandbox_is_no_failure_to_back_off_from() {
    let plan = pod("p").init(init("i", 2.0)).with(container("c"));
    let mut rig = Rig::of(plan);
    for lost in [10.0, 13.0, 16.0] {
        rig.run_until(lost);
        rig.lose("p");
    }
    rig.run_until(30.0);
    assert_eq!(rig.starts("i"), [(0.0, 0), (10.0, 1), (13.0, 2), (16.0, 3)]);
    assert!(
        rig.events("BackOff")
            .iter()
            .all(|(_, text)| !text.contains("container i "))
    );
}

#[test]
fn a_deletion_before_the_first_init_container_leaves_only_that_one_lost() {
    let plan = pod("p")
        .sandbox_takes(5.0)
        .init(init("i", 2.0))
        .init(init("j", 2.0))
        .with(container("c"));
    let mut rig = Rig::of(plan);
    rig.run_until(2.0);
    rig.delete("p", 30.0);
    rig.run_until(10.0);
    assert_eq!(rig.ended(), [(5.0, true)]);
    assert_eq!(rig.word_of("p", "i"), "ContainerStatusUnknown");
    for name in ["j", "c"] {
        assert_eq!(rig.word_of("p", name), "PodInitializing");
    }
    assert_eq!(rig.status("p").phase, Phase::Failed);
}

#[test]
fn a_container_that_has_done_its_work_has_done_it_in_a_new_sandbox_too() {
    let plan = pod("p")
        .policy(OnFailure)
        .init(init("i", 5.0))
        .with(container("a").start_takes(0.0).exits(3.0, 0))
        .with(container("b"));
    let mut rig = Rig::of(plan);
    rig.run_until(10.0);
    rig.lose("p");
    rig.run_until(12.0);
    assert_eq!(rig.word_of("p", "a"), "Completed", "it never comes again");
    assert_eq!(rig.word_of("p", "b"), "PodInitializing");
    rig.run_until(30.0);
    assert_eq!(rig.starts("a").len(), 1);
    assert_eq!(rig.starts("b").len(), 2);
}
