//! Containers that have a restart policy of their own, and pods that live too long.

use probelet_model::pod::RestartPolicy::{Always, Never, OnFailure};
use probelet_model::probe::ProbeKind::Readiness;
use probelet_model::status::{ConditionKind, Phase};

use crate::rig::Rig;
use crate::rig::plan::{PodPlan, container, every, init, pod, service, sidecar};

#[test]
fn d23_a_container_that_never_restarts_in_a_pod_that_always_does() {
    let sick = container("c")
        .policy(Never)
        .liveness(every(10.0).grace(5.0), "f");
    let mut rig = Rig::of(pod("p").with(sick).with(container("d")));
    rig.run_until(60.0);
    let killing = "Container c failed liveness probe";
    assert_eq!(rig.events("Killing"), [(30.0, killing.to_owned())]);
    assert_eq!(rig.stops("c"), [(30.0, 5.0)]);
    assert_eq!(rig.starts("c").len(), 1);
    assert_eq!(rig.status("p").phase, Phase::Running);
}

#[test]
fn d25_rules_are_asked_about_exit_codes() {
    let plan = |code| {
        container("c")
            .policy(Never)
            .rule(false, &[0])
            .start_takes(0.0)
            .exits(1.0, code)
    };
    let mut rig = Rig::of(pod("p").with(plan(0)));
    rig.run_until(60.0);
    assert_eq!(rig.starts("c").len(), 1, "the rule is about other codes");
    assert_eq!(rig.status("p").phase, Phase::Succeeded);

    let mut rig = Rig::of(pod("p").policy(Never).with(plan(1)));
    rig.run_until(60.0);
    assert_eq!(rig.waits("c")[..2], [0.0, 10.0], "with the back-off");
    assert_eq!(rig.phases("p"), [Phase::Pending, Phase::Running]);
}

#[test]
fn rules_are_not_asked_when_a_probe_kills() {
    let sick = container("c")
        .policy(Never)
        .rule(true, &[143])
        .liveness(every(10.0), "fffs");
    let mut rig = Rig::of(pod("p").with(sick).with(container("d")));
    rig.run_until(60.0);
    let killing = "Container c failed liveness probe";
    assert_eq!(
        rig.events("Killing"),
        [(30.0, killing.to_owned())],
        "nobody knows the exit code yet"
    );
    assert_eq!(
        rig.starts("c").len(),
        2,
        "once it is known, the rule is asked as after any exit"
    );
}

#[test]
fn the_phase_goes_by_each_containers_own_policy() {
    let phase = |plan: PodPlan| {
        let mut rig = Rig::of(plan);
        rig.run_until(60.0);
        rig.status("p").phase
    };
    let ends = |name, code| container(name).exits(1.0, code);
    let stays_down = pod("p").with(ends("a", 1).policy(Never));
    assert_eq!(
        phase(stays_down),
        Phase::Failed,
        "in a pod that always restarts"
    );
    let both = pod("p")
        .with(ends("a", 1).policy(Never))
        .with(ends("b", 0).policy(OnFailure));
    assert_eq!(phase(both), Phase::Failed);
    let one_restarts = pod("p")
        .policy(Never)
        .with(ends("a", 1))
        .with(ends("b", 0).policy(Always));
    assert_eq!(phase(one_restarts), Phase::Running);
}

#[test]
fn a_pod_that_has_lived_too_long_fails_and_is_stopped() {
    let plan = pod("p")
        .grace(20.0)
        .active_deadline(30.0)
        .with(container("c").readiness(every(5.0), "s").on_term(4.0, 0));
    let mut rig = Rig::of(plan);
    rig.serve(service("web", "p"));
    rig.run_until(32.0);
    let message = "Pod was active on the node longer than the specified deadline";
    assert_eq!(rig.events("DeadlineExceeded"), [(30.0, message.to_owned())]);
    assert_eq!(
        rig.events("Killing"),
        [(30.0, "Stopping container c".to_owned())]
    );
    assert_eq!(rig.stops("c"), [(30.0, 20.0)]);
    assert_eq!(rig.status("p").phase, Phase::Running, "it still runs");
    // Differs: it takes no more traffic, though its readiness probe is not asked any more.
    let ready = rig.condition("p", ConditionKind::Ready);
    assert_eq!(
        (ready.status, ready.reason.as_deref()),
        (false, Some("PodFailed"))
    );
    assert_eq!(rig.addresses("web").0.len(), 0);
    assert!(rig.attempts("c", Readiness).iter().all(|at| *at < 31.0));
    rig.run_until(60.0);
    let status = rig.status("p");
    assert_eq!(status.phase, Phase::Failed);
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
    assert_eq!(status.message.as_deref(), Some(message));
    assert_eq!(rig.starts("c").len(), 1, "no policy brings it back");
    rig.restart_agent();
    rig.run_until(60.0);
    assert_eq!(rig.starts("c").len(), 1, "nor does the next agent");
    assert_eq!(rig.events("DeadlineExceeded").len(), 1);
    rig.delete("p", 30.0);
    rig.run_until(61.0);
    assert_eq!(rig.status("p").phase, Phase::Failed);
    assert_eq!(rig.ended(), [(60.0, true)]);
}

#[test]
fn a_deadline_ends_back_offs_initialisations_and_sidecars_too() {
    let crashing = pod("p")
        .active_deadline(25.0)
        .with(container("c").start_takes(0.0).exits(0.0, 1));
    let mut rig = Rig::of(crashing);
    rig.run_until(100.0);
    assert_eq!(rig.starts("c").len(), 3);
    assert_eq!(rig.status("p").phase, Phase::Failed);
    assert_eq!(rig.word_of("p", "c"), "Error");

    let initialising = pod("p")
        .active_deadline(25.0)
        .init(sidecar("s").on_term(1.0, 0))
        .init(init("i", 100.0).on_term(2.0, 1))
        .with(container("c"));
    let mut rig = Rig::of(initialising);
    rig.run_until(100.0);
    assert_eq!(rig.stops("i"), [(25.0, 30.0)]);
    assert_eq!(rig.stops("s"), [(25.0, 30.0)]);
    assert_eq!(rig.phases("p"), [Phase::Pending, Phase::Failed]);
    assert!(rig.starts("c").is_empty());
}

#[test]
fn a_deadline_outlives_the_agent() {
    for at in [10.0, 31.0, 33.0, 50.0] {
        let plan = pod("p")
            .active_deadline(30.0)
            .with(container("c").on_term(2.0, 0));
        let mut rig = Rig::of(plan);
        rig.run_until(at);
        rig.restart_agent();
        rig.run_until(60.0);
        assert_eq!(rig.stops("c")[0], (30.0, 30.0), "at {at}");
        assert_eq!(rig.exits("c"), [(32.0, 0)]);
        assert_eq!(rig.events("DeadlineExceeded").len(), 1, "at {at}");
        let status = rig.status("p");
        assert_eq!(status.phase, Phase::Failed);
        assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
    }
    // One that passed while no agent was there.
    let mut rig = Rig::of(pod("p").active_deadline(30.0).with(container("c")));
    rig.run_until(10.0);
    rig.crash();
    rig.run_until(50.0);
    rig.boot();
    rig.run_until(60.0);
    assert_eq!(rig.events("DeadlineExceeded")[0].0, 50.0);
    assert_eq!(rig.status("p").phase, Phase::Failed);
}

#[test]
fn a_deadline_may_be_changed_and_a_pod_that_ends_has_none() {
    let mut rig = Rig::of(pod("p").active_deadline(300.0).with(container("c")));
    rig.run_until(10.0);
    let mut other = rig.pod("p");
    other.active_deadline = Some(std::time::Duration::from_secs(20));
    rig.apply_again(other);
    rig.run_until(30.0);
    assert_eq!(rig.events("DeadlineExceeded")[0].0, 20.0);

    let plan = pod("p")
        .active_deadline(20.0)
        .with(container("c").on_term(15.0, 0));
    let mut rig = Rig::of(plan);
    rig.run_until(10.0);
    rig.delete("p", 30.0);
    rig.run_until(60.0);
    assert!(rig.events("DeadlineExceeded").is_empty());
    assert_eq!(rig.status("p").phase, Phase::Succeeded);

    let done = pod("p")
        .policy(Never)
        .active_deadline(20.0)
        .with(container("c").exits(5.0, 0));
    let mut rig = Rig::of(done);
    rig.run_until(60.0);
    assert_eq!(rig.status("p").phase, Phase::Succeeded);
    assert!(rig.events("DeadlineExceeded").is_empty());
}

#[test]
fn a_container_whose_neighbour_is_being_restarted_is_not_the_pods_last() {
    let restarting = container("a")
        .liveness(every(10.0).failures(1), "fs")
        .on_term(20.0, 143);
    let sick = container("c")
        .policy(Never)
        .liveness(every(15.0).failures(1).grace(5.0), "f");
    let mut rig = Rig::of(pod("p").with(restarting).with(sick));
    rig.run_until(60.0);
    let killing = [
        (10.0, "Container a failed liveness probe, will be restarted"),
        (15.0, "Container c failed liveness probe"),
    ];
    assert_eq!(
        rig.events("Killing"),
        killing.map(|(at, text)| (at, text.to_owned()))
    );
    assert_eq!(rig.stops("c"), [(15.0, 5.0)], "the probe's grace");
    assert_eq!(rig.starts("a"), [(0.0, 0), (30.0, 1)]);
}

#[test]
fn a_container_that_is_being_stopped_for_good_keeps_no_pod_alive() {
    let slow = container("a")
        .policy(Never)
        .liveness(every(10.0).failures(1).grace(20.0), "f")
        .ignores_term();
    let sick = container("c")
        .policy(Never)
        .liveness(every(15.0).failures(1).grace(5.0), "f");
    let mut rig = Rig::of(pod("p").with(slow).with(sick));
    rig.run_until(60.0);
    assert_eq!(rig.stops("a"), [(10.0, 20.0)]);
    assert_eq!(
        rig.stops("c"),
        [(15.0, 30.0)],
        "nothing is kept: the pod's grace"
    );
    let stopping = (15.0, "Stopping container c".to_owned());
    assert_eq!(rig.events("Killing")[1..], [stopping]);
    assert_eq!(rig.status("p").phase, Phase::Failed);
}
