//! An agent dies and another takes its place: what the engine must have remembered.

use probelet_model::pod::RestartPolicy::{Never, OnFailure};
use probelet_model::probe::ProbeKind::{Liveness, Readiness, Startup};
use probelet_model::status::{ConditionKind, ContainerState, Phase};

use crate::rig::plan::{HookPlan, PodPlan, Start, container, every, init, pod, secs, service};
use crate::rig::{Rig, WALL};

/// A slow start, a readiness that comes and goes, a liveness that kills at 60, and a neighbour that
/// crashes again and again.
fn eventful() -> PodPlan {
    let slow = container("c")
        .startup(every(5.0).failures(10), "ffsffs")
        .readiness(every(4.0).failures(2).successes(2), "ssssfffss")
        .liveness(every(10.0), "sssfffs")
        .on_term(2.5, 143);
    pod("p").with(slow).with(container("d").exits(7.3, 1))
}

/// What must be the same with and without a restart of the agent.
#[derive(Debug, PartialEq)]
struct Seen {
    attempts: Vec<Vec<f64>>,
    starts: Vec<Vec<(f64, u32)>>,
    exits: Vec<Vec<(f64, i32)>>,
    ready: Vec<(f64, bool)>,
    killing: Vec<(f64, String)>,
    addresses: (Vec<String>, Vec<String>),
    status: String,
}

fn seen(rig: &Rig) -> Seen {
    let status = serde_json::to_string(&*rig.status("p")).unwrap();
    Seen {
        attempts: [Startup, Readiness, Liveness]
            .map(|kind| rig.attempts("c", kind))
            .into(),
        starts: ["c", "d"].map(|name| rig.starts(name)).into(),
        exits: ["c", "d"].map(|name| rig.exits(name)).into(),
        ready: rig.ready("p"),
        killing: rig.events("Killing"),
        addresses: rig.addresses("web"),
        // Ids come from the agent's seed.
        status: without_ids(&status),
    }
}

/// The text with each 64 digits of an id left out.
fn without_ids(text: &str) -> String {
    let mut parts = text.split("probelet://");
    let mut rest = parts.next().unwrap().to_owned();
    for part in parts {
        rest += &part[64..];
    }
    rest
}

fn begun() -> Rig {
    let mut rig = Rig::new();
    rig.apply(eventful());
    rig.serve(service("web", "p"));
    rig
}

#[test]
fn a_restart_of_the_agent_at_any_point_changes_nothing() {
    let mut steady = begun();
    steady.run_until(150.0);
    let expected = seen(&steady);
    assert_eq!(expected.killing.len(), 1, "the story has a kill in it");
    for tenths in (3..1_500).step_by(7) {
        let at = f64::from(tenths) / 10.0 + 0.05;
        // A start that is under way is another story, see below.
        let starts = expected.starts.iter().flatten();
        if starts
            .clone()
            .any(|(start, _)| (*start..start + 0.1).contains(&at))
        {
            continue;
        }
        let mut rig = begun();
        rig.run_until(at);
        let running = ["c", "d"].map(|name| rig.run_id("p", name));
        let status = rig.status("p");
        rig.restart_agent();
        assert_eq!(["c", "d"].map(|name| rig.run_id("p", name)), running);
        assert_eq!(
            rig.status("p"),
            status,
            "nothing flips because of the restart at {at}"
        );
        rig.run_until(150.0);
        assert_eq!(seen(&rig), expected, "with a restart at {at}");
    }
}

#[test]
fn two_failures_before_and_one_after_are_three() {
    let plan = pod("p").with(container("c").liveness(every(10.0), "f"));
    let mut rig = Rig::of(plan);
    rig.run_until(25.0);
    rig.restart_agent();
    rig.run_until(31.0);
    assert_eq!(rig.attempts("c", Liveness), [10.0, 20.0, 30.0]);
    assert_eq!(rig.stops("c"), [(30.0, 30.0)]);
}

#[test]
fn ticks_that_were_missed_make_no_burst() {
    let plan = container("c")
        .liveness(every(3.0), "s")
        .readiness(every(2.0), "s");
    let mut rig = Rig::of(pod("p").with(plan.start_takes(0.0)));
    rig.run_until(10.5);
    rig.crash();
    rig.run_until(31.5);
    rig.boot();
    rig.run_until(36.5);
    let after = |kind| {
        let all = rig.attempts("c", kind).into_iter();
        all.filter(|at| *at > 10.5).collect::<Vec<_>>()
    };
    assert_eq!(after(Liveness), [33.0, 36.0]);
    assert_eq!(after(Readiness), [32.0, 34.0, 36.0]);
}

#[test]
fn back_off_waits_on() {
    let mut rig = Rig::of(pod("p").with(container("c").start_takes(0.0).exits(0.0, 1)));
    rig.run_until(45.0);
    rig.restart_agent();
    let waits = rig.state("p");
    assert!(matches!(&waits, ContainerState::Waiting(waiting)
            if waiting.reason.as_deref() == Some("CrashLoopBackOff")));
    rig.run_until(1_000.0);
    assert_eq!(
        rig.waits("c"),
        [0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    );
    let counts: Vec<u32> = rig
        .starts("c")
        .into_iter()
        .map(|(_, count)| count)
        .collect();
    assert_eq!(counts, (0..9).collect::<Vec<_>>());
}

#[test]
fn what_was_being_stopped_is_stopped_again_and_started_once() {
    let plan = container("c")
        .liveness(every(10.0).failures(1), "fs")
        .ignores_term();
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(15.0);
    rig.restart_agent();
    rig.run_until(100.0);
    assert_eq!(rig.stops("c"), [(10.0, 30.0), (15.0, 30.0)]);
    assert_eq!(
        rig.exits("c"),
        [(40.0, 137)],
        "the deadline of the first stop holds"
    );
    assert_eq!(rig.starts("c"), [(0.0, 0), (40.0, 1)]);
    assert_eq!(rig.events("Killing").len(), 1);
}

#[test]
fn what_ended_while_it_was_being_stopped_is_started_whatever_its_code() {
    let plan = container("c")
        .liveness(every(10.0).failures(1), "fs")
        .on_term(5.0, 0);
    let mut rig = Rig::of(pod("p").policy(OnFailure).with(plan));
    rig.run_until(12.0);
    rig.crash();
    rig.run_until(20.0);
    assert_eq!(rig.exits("c"), [(15.0, 0)], "nobody hears of it");
    rig.boot();
    rig.run_until(60.0);
    assert_eq!(rig.starts("c"), [(0.0, 0), (20.0, 1)]);
    assert_eq!(rig.status("p").phase, Phase::Running);
    assert_eq!(
        rig.engine().stale_answers(),
        1,
        "the exit is told once more"
    );
}

#[test]
fn an_exit_that_nobody_heard_of_is_seen_and_followed() {
    let mut rig = Rig::of(pod("p").with(container("c").exits(20.0, 3)));
    rig.run_until(10.0);
    rig.crash();
    rig.run_until(30.0);
    rig.boot();
    rig.run_until(31.0);
    assert_eq!(rig.starts("c"), [(0.0, 0), (30.0, 1)]);
    let status = rig.status("p");
    let last = status.container_statuses[0].last_state.clone().unwrap();
    assert_eq!(last.exit_code, 3);
    assert_eq!(last.finished_at, Some(WALL + secs(20.0)));
    assert!(rig.events("SandboxChanged").is_empty());
}

#[test]
fn a_sandbox_that_went_while_no_agent_was_there_is_made_anew() {
    let mut rig = begun();
    rig.run_until(40.0);
    let before = rig.status("p").container_statuses[0].restart_count;
    rig.crash();
    rig.world.sandbox_goes(&crate::rig::uid("p"));
    rig.run_until(50.0);
    rig.boot();
    rig.run_until(51.0);
    let status = rig.status("p");
    let container = &status.container_statuses[0];
    assert_eq!(container.restart_count, before + 1);
    let last = container.last_state.clone().unwrap();
    assert_eq!(last.reason.as_deref(), Some("ContainerStatusUnknown"));
    assert_eq!(rig.events("SandboxChanged").len(), 1);
    assert_eq!(rig.sandboxes(), [0.0, 50.0]);
    assert_eq!(
        container.started,
        Some(false),
        "a new run has its startup before it"
    );
}

#[test]
fn e18_a_ready_pod_stays_ready_even_without_a_memory() {
    for remembers in [true, false] {
        let plan = container("c").readiness(every(10.0).failures(2), "sssf");
        let mut rig = Rig::of(pod("p").with(plan));
        rig.serve(service("web", "p"));
        rig.run_until(15.0);
        let before = rig.condition("p", ConditionKind::Ready);
        rig.crash();
        rig.start_agent();
        rig.take_up(false, remembers);
        rig.run_until(20.0);
        assert_eq!(rig.condition("p", ConditionKind::Ready), before);
        assert!(before.status);
        rig.run_until(70.0);
        assert_eq!(rig.ready("p")[..2], [(0.0, false), (0.1, true)]);
        assert_eq!(
            rig.ready("p").len(),
            3,
            "and turns unready when attempts say so"
        );
    }
}

#[test]
fn e21_a_startup_probe_that_has_succeeded_is_not_run_again() {
    for remembers in [true, false] {
        let plan = container("c")
            .startup(every(5.0), "sf")
            .liveness(every(5.0), "s");
        let mut rig = Rig::of(pod("p").with(plan));
        rig.run_until(12.0);
        rig.crash();
        rig.start_agent();
        rig.take_up(false, remembers);
        rig.run_until(60.0);
        assert_eq!(rig.attempts("c", Startup), [5.0]);
        assert_eq!(rig.status("p").container_statuses[0].started, Some(true));
        assert_eq!(rig.starts("c").len(), 1);
    }
}

#[test]
fn restart_counts_need_no_memory() {
    let mut rig = Rig::of(pod("p").with(container("c").start_takes(0.0).exits(8.0, 1)));
    rig.run_until(50.0);
    let count = rig.status("p").container_statuses[0].restart_count;
    assert!(count > 1);
    rig.crash();
    rig.start_agent();
    rig.take_up(false, false);
    rig.run_until(200.0);
    let counts: Vec<u32> = rig
        .starts("c")
        .into_iter()
        .map(|(_, count)| count)
        .collect();
    let expected: Vec<u32> = (0..u32::try_from(counts.len()).unwrap()).collect();
    assert_eq!(counts, expected);
}

#[test]
fn a_start_that_was_under_way_is_asked_for_again() {
    let mut rig = Rig::of(pod("p").with(container("c")));
    rig.run_until(0.05);
    rig.restart_agent();
    rig.run_until(5.0);
    assert_eq!(rig.starts("c"), [(0.0, 0), (0.05, 0)]);
    assert!(rig.status("p").is_ready());
}

#[test]
fn a_restart_that_was_granted_is_asked_for_again_whatever_the_policy() {
    let plan = container("c")
        .liveness(every(10.0).failures(1), "fs")
        .on_term(0.0, 0);
    let mut rig = Rig::of(pod("p").policy(OnFailure).with(plan));
    rig.run_until(10.05);
    assert_eq!(rig.starts("c").len(), 2);
    rig.restart_agent();
    rig.run_until(60.0);
    assert_eq!(rig.starts("c"), [(0.0, 0), (10.0, 1), (10.05, 1)]);
    assert_eq!(rig.status("p").phase, Phase::Running);
}

#[test]
fn a_run_that_could_not_be_executed_is_known_though_the_runtime_has_no_record() {
    let plan = container("c")
        .start_takes(0.0)
        .exits(1.0, 1)
        .then(|life| life.start = Start::CannotExecute);
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(5.0);
    assert_eq!(rig.starts("c"), [(0.0, 0), (1.0, 1)]);
    let before = rig.status("p");
    assert_eq!(before.container_statuses[0].restart_count, 1);
    rig.restart_agent();
    assert_eq!(rig.status("p"), before);
    rig.run_until(12.0);
    assert_eq!(rig.starts("c")[2..], [(11.0, 2)]);
}

#[test]
fn a_pod_that_was_stopped_comes_up_again_with_its_counts() {
    let plan = container("c")
        .readiness(every(10.0), "s")
        .liveness(every(10.0), "sssfffs");
    let mut rig = Rig::of(pod("p").with(plan));
    rig.serve(service("web", "p"));
    rig.run_until(70.0);
    assert_eq!(rig.status("p").container_statuses[0].restart_count, 1);
    rig.stop("p");
    rig.run_until(80.0);
    assert_eq!(rig.ended(), [(70.0, false)]);
    let down = rig.status("p");
    assert_eq!(
        down.phase,
        Phase::Running,
        "a pod that is to come again has not ended"
    );
    assert!(!down.is_ready());
    assert_eq!(rig.addresses("web").0.len(), 0);
    assert_eq!(rig.engine().pods().count(), 0);

    rig.crash();
    rig.boot();
    rig.run_until(90.0);
    assert_eq!(rig.starts("c").last(), Some(&(80.0, 2)));
    assert_eq!(rig.events("SandboxChanged").len(), 1);
    assert!(rig.status("p").is_ready());
    assert_eq!(rig.addresses("web").0, ["10.0.0.1"]);
}

#[test]
fn a_pod_that_is_taken_up_only_to_be_stopped_starts_nothing() {
    let mut rig = Rig::of(pod("p").with(container("c").on_term(1.0, 143)));
    rig.run_until(5.0);
    rig.crash();
    rig.start_agent();
    rig.take_up(true, true);
    rig.run_until(20.0);
    assert_eq!(rig.stops("c"), [(5.0, 30.0)]);
    assert_eq!(rig.ended(), [(6.0, false)]);
    assert_eq!(rig.starts("c").len(), 1);

    // And one of which nothing stands ends at once.
    rig.crash();
    rig.start_agent();
    rig.take_up(true, true);
    rig.run_until(21.0);
    assert_eq!(rig.ended(), [(6.0, false), (20.0, false)]);
    assert_eq!(rig.sandboxes(), [0.0]);
}

#[test]
fn a_deletion_goes_on_with_the_next_agent() {
    let plan = container("c")
        .liveness(every(5.0).failures(1), "s")
        .ignores_term();
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(7.0);
    rig.delete("p", 20.0);
    rig.run_until(12.0);
    rig.restart_agent();
    rig.run_until(60.0);
    assert_eq!(rig.exits("c"), [(27.0, 137)]);
    assert_eq!(rig.ended(), [(27.0, true)]);
    assert_eq!(rig.attempts("c", Liveness), [5.0]);
    assert_eq!(rig.starts("c").len(), 1);
}

#[test]
fn a_deletion_that_no_agent_heard_of_is_carried_out() {
    let mut rig = Rig::of(pod("p").with(container("c").exits(10.0, 1)));
    rig.run_until(5.0);
    rig.crash();
    rig.delete("p", 20.0);
    rig.run_until(12.0);
    rig.boot();
    rig.run_until(13.0);
    assert_eq!(rig.starts("c").len(), 1, "what ended is not started again");
    assert_eq!(rig.ended(), [(12.0, true)]);
}

#[test]
fn an_image_that_changed_while_no_agent_was_there_restarts() {
    let mut rig = Rig::of(pod("p").with(container("c")));
    rig.run_until(5.0);
    rig.crash();
    let mut other = rig.pod("p");
    other.containers[0].image = "example/app:2".to_owned();
    rig.apply_again(other);
    rig.boot();
    rig.run_until(10.0);
    let killing = "Container c definition changed, will be restarted";
    assert_eq!(rig.events("Killing"), [(5.0, killing.to_owned())]);
    assert_eq!(rig.status("p").container_statuses[0].image, "example/app:2");
}

#[test]
fn a_pre_stop_hook_runs_again_with_the_next_agent_in_what_is_left_of_the_grace() {
    let plan = || {
        let hook = HookPlan::Ends(secs(6.0), true);
        pod("p").with(container("c").pre_stop(hook).on_term(1.0, 0))
    };
    let mut rig = Rig::of(plan());
    rig.run_until(10.0);
    rig.delete("p", 20.0);
    rig.run_until(14.0);
    rig.restart_agent();
    rig.run_until(60.0);
    assert_eq!(rig.hooks("c"), [(10.0, 20.0), (14.0, 16.0)]);
    assert_eq!(rig.stops("c"), [(20.0, 10.0)], "10 seconds are used up");
    assert_eq!(rig.events("Killing").len(), 1);
    assert_eq!(rig.ended(), [(21.0, true)]);

    // Nothing is left of it.
    let mut rig = Rig::of(plan());
    rig.run_until(10.0);
    rig.delete("p", 20.0);
    rig.run_until(14.0);
    rig.crash();
    rig.run_until(40.0);
    rig.boot();
    rig.run_until(60.0);
    assert_eq!(rig.hooks("c").len(), 1);
    assert_eq!(rig.stops("c"), [(40.0, 2.0)]);
}

#[test]
fn a_stop_that_is_asked_for_again_keeps_its_grace() {
    // The pod's grace, because nothing is kept and nothing is started, and not the probe's.
    let plan = container("c")
        .liveness(every(10.0).failures(1).grace(5.0), "f")
        .ignores_term();
    let mut rig = Rig::of(pod("p").policy(Never).with(plan));
    rig.run_until(12.0);
    rig.restart_agent();
    rig.run_until(60.0);
    assert_eq!(rig.stops("c"), [(10.0, 30.0), (12.0, 30.0)]);
    assert_eq!(rig.exits("c"), [(40.0, 137)]);

    // What the hook has used is not given again.
    let plan = container("c")
        .liveness(every(10.0).failures(1), "f")
        .pre_stop(HookPlan::Ends(secs(20.0), true))
        .ignores_term();
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(32.0);
    rig.restart_agent();
    rig.run_until(60.0);
    assert_eq!(rig.stops("c"), [(30.0, 10.0), (32.0, 10.0)]);
    assert_eq!(rig.exits("c"), [(40.0, 137)]);
    assert_eq!(rig.hooks("c")[0], (10.0, 30.0));
}

#[test]
fn what_was_taken_to_have_ended_stays_so() {
    let plan = pod("p")
        .active_deadline(12.0)
        .init(init("i", 5.0))
        .with(container("c"));
    let mut rig = Rig::of(plan);
    rig.run_until(10.0);
    rig.lose("p");
    rig.run_until(30.0);
    let before = rig.status("p");
    assert_eq!(before.phase, Phase::Failed);
    assert_eq!(rig.word_of("p", "c"), "ContainerStatusUnknown");
    for remembers in [true, false] {
        rig.crash();
        rig.start_agent();
        rig.take_up(false, remembers);
        assert_eq!(rig.status("p"), before);
    }
}
