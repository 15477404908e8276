//! Readiness gates, last words, published verdicts, and sandboxes that cannot be removed.

use probelet_model::pod::RestartPolicy::{Never, OnFailure};
use probelet_model::probe::ProbeKind::{Liveness, Readiness, Startup};
use probelet_model::probe::Verdict::{Failure, Success, Unknown};
use probelet_model::status::{ConditionKind, ContainerState, ForeignCondition};

use crate::rig::Rig;
use crate::rig::plan::{container, every, init, pod, service};

fn foreign(kind: &str, status: &str) -> ForeignCondition {
    ForeignCondition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        rest: serde_json::Map::new(),
    }
}

#[test]
fn e11_a_readiness_gate_that_is_not_met() {
    let plan = pod("p")
        .gate("example.com/x")
        .gate("example.com/y")
        .with(container("c"));
    let mut rig = Rig::of(plan);
    rig.serve(service("web", "p"));
    rig.run_until(5.0);
    let ready = |rig: &Rig| {
        let ready = rig.condition("p", ConditionKind::Ready);
        (ready.status, ready.reason, ready.message)
    };
    let unmet = |message: &str| {
        let reason = Some("ReadinessGatesNotReady".to_owned());
        (false, reason, Some(message.to_owned()))
    };
    let absent =
        |gate| format!("corresponding condition of pod readiness gate {gate:?} does not exist.");
    let (x, y) = (absent("example.com/x"), absent("example.com/y"));
    assert_eq!(ready(&rig), unmet(&format!("{x}, {y}")));
    assert!(rig.condition("p", ConditionKind::ContainersReady).status);
    assert_eq!(rig.addresses("web"), (vec![], vec!["10.0.0.1".to_owned()]));

    let tell = |rig: &mut Rig, conditions: Vec<ForeignCondition>| {
        let mut other = rig.pod("p");
        other.foreign_conditions = conditions;
        rig.apply_again(other);
    };
    tell(
        &mut rig,
        vec![
            foreign("example.com/x", "True"),
            foreign("example.com/y", "False"),
        ],
    );
    let said = "the status of pod readiness gate \"example.com/y\" is not \"True\", but False";
    assert_eq!(ready(&rig), unmet(said));
    let kinds: Vec<String> = rig
        .status("p")
        .foreign_conditions
        .iter()
        .map(|condition| condition.kind.clone())
        .collect();
    assert_eq!(kinds, ["example.com/x", "example.com/y"], "they are kept");

    let both = vec![
        foreign("example.com/x", "True"),
        foreign("example.com/y", "True"),
    ];
    tell(&mut rig, both);
    assert_eq!(ready(&rig), (true, None, None));
    assert_eq!(rig.addresses("web").0, ["10.0.0.1"], "in the same commit");
    tell(&mut rig, vec![foreign("example.com/x", "True")]);
    assert_eq!(ready(&rig), unmet(&y));
}

#[test]
fn a_gate_says_nothing_while_the_containers_are_not_ready() {
    let plan = pod("p")
        .gate("example.com/x")
        .with(container("c").readiness(every(10.0), "f"));
    let mut rig = Rig::of(plan);
    rig.run_until(5.0);
    let ready = rig.condition("p", ConditionKind::Ready);
    assert_eq!(ready.reason.as_deref(), Some("ContainersNotReady"));
}

#[test]
fn e19_a_restart_of_the_agent_drops_no_readiness_as_kubelets_before_1_35_did() {
    let mut rig = Rig::of(pod("p").with(container("c").readiness(every(10.0), "s")));
    rig.run_until(15.0);
    rig.restart_agent();
    rig.run_until(40.0);
    assert_eq!(rig.ready("p"), [(0.0, false), (0.1, true)]);
}

#[test]
fn e25_readiness_counts_while_a_container_is_being_killed() {
    let killed = container("c")
        .liveness(every(10.0).failures(1), "f")
        .readiness(every(4.0).failures(1), "ssssffs")
        .ignores_term();
    let other = container("d").readiness(every(7.0).failures(1), "sssffs");
    let mut rig = Rig::of(pod("p").with(killed).with(other));
    rig.run_until(39.0);
    assert_eq!(rig.stops("c"), [(10.0, 30.0)]);
    let later = rig.statuses("p").into_iter().filter(|(at, _)| *at > 10.0);
    let flips: Vec<(f64, bool, bool)> = later
        .map(|(at, status)| {
            let ready = |name| status.container(name).unwrap().ready;
            assert_eq!(status.is_ready(), ready("c") && ready("d"));
            (at, ready("c"), ready("d"))
        })
        .collect();
    let expected = [
        (12.1, false, true),
        (14.1, false, false),
        (14.1, true, false),
        (14.1, true, true),
    ];
    assert_eq!(flips, expected);
}

#[test]
fn last_words_are_told_within_the_pods_budget() {
    let long = format!("x{}", "ä".repeat(4_000));
    let plan = pod("p")
        .policy(Never)
        .init(init("i", 0.0).last_words("done"))
        .with(container("a").exits(1.0, 1).last_words(&long))
        .with(container("b").exits(1.0, 1).last_words("why"));
    let mut rig = Rig::of(plan);
    rig.run_until(5.0);
    let words = |name| match rig.state_of("p", name) {
        ContainerState::Terminated(end) => end.message.unwrap_or_default(),
        other => panic!("{other:?}"),
    };
    assert_eq!(words("i"), "done");
    let third = format!("x{}", "ä".repeat(2_047));
    assert_eq!(words("a"), third, "a third of 12 KiB, less half a letter");
    assert_eq!(words("b"), "why");

    let plan = pod("p").with(
        container("c")
            .start_takes(0.0)
            .exits(0.0, 1)
            .last_words("x"),
    );
    let mut rig = Rig::of(plan);
    rig.run_until(5.0);
    let status = rig.status("p");
    let last = status.container_statuses[0].last_state.clone().unwrap();
    assert_eq!(last.message.as_deref(), Some("x"), "of the run before too");
}

#[test]
fn every_change_of_a_verdict_is_told_and_nothing_else() {
    let plan = container("c")
        .startup(every(2.0), "fs")
        .readiness(every(2.0).failures(1), "ssffs")
        .liveness(every(2.0), "sssssfff")
        .on_term(3.0, 1);
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(30.0);
    assert_eq!(rig.stops("c")[0].0, 20.0);
    assert_eq!(rig.exits("c")[0].0, 23.0);
    assert_eq!(
        rig.published("c", Startup),
        [
            (2.0, Unknown),
            (4.0, Success),
            (24.0, Unknown),
            (24.0, Success)
        ]
    );
    let readiness = rig.published("c", Readiness);
    assert_eq!(readiness[..2], [(2.0, Failure), (4.0, Success)]);
    let of_new_run: Vec<_> = readiness.iter().filter(|(at, _)| *at >= 23.0).collect();
    assert_eq!(of_new_run[..2], [&(24.0, Failure), &(24.0, Success)]);
    let liveness = rig.published("c", Liveness);
    assert_eq!(
        liveness[..3],
        [(2.0, Success), (20.0, Failure), (24.0, Success)],
        "the first value about a new run is always told"
    );
}

#[test]
fn a_container_that_does_not_run_has_failed_its_probes() {
    let plan = container("c").exits(5.0, 0).liveness(every(2.0), "s");
    let mut rig = Rig::of(pod("p").policy(OnFailure).with(plan).with(container("d")));
    rig.run_until(30.0);
    assert_eq!(
        rig.published("c", Liveness),
        [(2.0, Success), (6.0, Failure)]
    );
}

#[test]
fn a_sandbox_that_cannot_be_removed_is_tried_again_every_10_seconds() {
    let mut rig = Rig::of(pod("p").removal_fails(2).with(container("c")));
    rig.run_until(5.0);
    rig.delete("p", 30.0);
    rig.run_until(60.0);
    assert_eq!(rig.removals(), [5.0, 15.0, 25.0]);
    let failed = "error killing pod: busy".to_owned();
    assert_eq!(
        rig.events("FailedKillPod"),
        [(5.0, failed.clone()), (15.0, failed)]
    );
    assert_eq!(rig.ended(), [(25.0, true)]);
}

#[test]
fn an_entry_of_the_back_off_is_forgotten_after_600_seconds_whatever_the_container_does() {
    let plan = container("c")
        .start_takes(0.0)
        .exits(0.0, 1)
        .then(|life| life.ends = None)
        .sickens_at(every(1.0).failures(1), 700.0);
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(1_500.0);
    // The kill at 700 is judged by the exit at 0, which the wait set at 0 would still count; but that
    // has been forgotten, so the wait after the kill at 1400 is the first again.
    let starts: Vec<f64> = rig.starts("c").into_iter().map(|(at, _)| at).collect();
    assert_eq!(starts, [0.0, 0.0, 700.0, 1_400.0]);
    let (_, memory) = rig.memories("p").pop().unwrap();
    let (wait, _) = memory.containers["c"].back_off.unwrap();
    assert_eq!(wait.as_secs(), 10);
}
