//! Rows B: when probes look.

use probelet_model::probe::ProbeKind::{Liveness, Readiness, Startup};

use crate::rig::Rig;
use crate::rig::plan::{container, every, pod};

#[test]
fn b1_liveness_period_10_threshold_3_always_fails() {
    let mut rig = Rig::of(pod("p").with(container("c").liveness(every(10.0), "f")));
    rig.run_until(31.0);
    assert_eq!(rig.attempts("c", Liveness), [10.0, 20.0, 30.0]);
    assert_eq!(rig.stops("c"), [(30.0, 30.0)]);
}

#[test]
fn b2_initial_delay_15_waits_for_the_tick_after_it() {
    let probe = every(10.0).delay(15.0);
    let mut rig = Rig::of(pod("p").with(container("c").liveness(probe, "f")));
    rig.run_until(41.0);
    assert_eq!(rig.attempts("c", Liveness), [20.0, 30.0, 40.0]);
    assert_eq!(rig.stops("c"), [(40.0, 30.0)]);
}

#[test]
fn b4_startup_period_5_threshold_4_always_fails() {
    let probe = every(5.0).failures(4);
    let mut rig = Rig::of(pod("p").with(container("c").startup(probe, "f")));
    rig.run_until(21.0);
    assert_eq!(rig.attempts("c", Startup), [5.0, 10.0, 15.0, 20.0]);
    assert_eq!(rig.stops("c"), [(20.0, 30.0)]);
}

#[test]
fn b5_liveness_begins_at_its_next_tick_after_startup() {
    let plan = container("c")
        .startup(every(5.0).failures(10), "fffs")
        .liveness(every(10.0).delay(5.0).failures(1), "f");
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(31.0);
    assert_eq!(rig.attempts("c", Startup), [5.0, 10.0, 15.0, 20.0]);
    assert_eq!(
        rig.attempts("c", Liveness),
        [30.0],
        "the tick at 20 came before the answer"
    );
    assert_eq!(rig.stops("c"), [(30.0, 30.0)]);
}

#[test]
fn b6_readiness_is_triggered_by_startup() {
    let plan = container("c")
        .startup(every(4.0).failures(10), "fffffffs")
        .readiness(every(30.0), "s");
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(65.0);
    assert_eq!(rig.ready("p"), [(0.0, false), (32.0, true)]);
    assert_eq!(rig.attempts("c", Readiness), [32.0, 62.0]);
}

#[test]
fn b7_a_trigger_moves_the_next_look_to_a_full_period_later() {
    let plan = container("c").start_takes(13.0).readiness(every(10.0), "f");
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(34.0);
    assert_eq!(rig.attempts("c", Readiness), [13.0, 23.0, 33.0]);
}

#[test]
fn b8_a_young_agent_spreads_the_looks_of_pods_it_finds() {
    let names = ["a", "b", "c", "d"];
    let plan = |name| pod(name).with(container(name).liveness(every(10.0), "s"));
    let mut rig = Rig::new();
    names.into_iter().for_each(|name| rig.apply(plan(name)));
    rig.run_until(45.0);
    rig.crash();
    rig.start_agent();
    rig.run_until(48.0);
    rig.take_up(false, false);
    rig.run_until(90.0);
    let mut offsets = Vec::new();
    for name in names {
        let attempts = rig.attempts(name, Liveness);
        let after: Vec<f64> = attempts.into_iter().filter(|at| *at > 45.0).collect();
        let offset = after[0] - 48.0;
        assert!((0.0..10.0).contains(&offset), "{offset}");
        for pair in after.windows(2) {
            assert!((pair[1] - pair[0] - 10.0).abs() < 1e-6, "{after:?}");
        }
        offsets.push(offset);
    }
    offsets.sort_by(f64::total_cmp);
    offsets.dedup();
    assert_eq!(
        offsets.len(),
        names.len(),
        "no two at the same time: {offsets:?}"
    );
}

#[test]
fn b9_an_agent_older_than_the_period_looks_at_once() {
    let mut rig = Rig::of(pod("p").with(container("c").liveness(every(10.0), "s")));
    rig.run_until(45.0);
    rig.crash();
    rig.start_agent();
    rig.run_until(56.0);
    rig.take_up(false, false);
    rig.run_until(70.0);
    assert_eq!(
        rig.attempts("c", Liveness),
        [10.0, 20.0, 30.0, 40.0, 56.0, 66.0]
    );
}

#[test]
fn b10_the_initial_delay_counts_from_the_whole_second_of_the_start() {
    let plan = container("c")
        .start_takes(0.0)
        .liveness(every(0.5).delay(5.0), "s");
    let mut rig = Rig::of(pod("p").sandbox_takes(10.9).with(plan));
    rig.run_until(15.9);
    assert_eq!(rig.attempts("c", Liveness), [15.0, 15.5]);
}

#[test]
fn b11_each_synchronisation_makes_an_unready_probe_look() {
    let mut rig = Rig::of(pod("p").with(container("c").readiness(every(10.0), "f")));
    rig.run_until(5.0);
    let mut relabelled = rig.pod("p");
    relabelled
        .meta
        .labels
        .insert("tier".to_owned(), "front".to_owned());
    rig.apply_again(relabelled);
    rig.run_until(16.0);
    assert_eq!(rig.attempts("c", Readiness), [0.1, 5.0, 15.0]);
}

#[test]
fn a_verdict_that_turns_to_failure_makes_readiness_look_again_at_once() {
    let plan = container("c").readiness(every(10.0).failures(2), "sfff");
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(35.0);
    assert_eq!(rig.attempts("c", Readiness), [0.1, 10.1, 20.1, 20.1, 30.1]);
    assert_eq!(rig.ready("p"), [(0.0, false), (0.1, true), (20.1, false)]);
}

#[test]
fn a_tick_that_falls_into_an_attempt_is_made_up_for_once() {
    let plan = container("c")
        .liveness(every(10.0), "s")
        .latency(Liveness, 12.0);
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(50.0);
    assert_eq!(rig.attempts("c", Liveness), [10.0, 22.0, 34.0, 46.0]);

    let plan = container("c")
        .liveness(every(10.0), "s")
        .latency(Liveness, 28.0);
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(90.0);
    let merged = [10.0, 38.0, 66.0];
    assert_eq!(
        rig.attempts("c", Liveness),
        merged,
        "two ticks in one attempt are one look"
    );
}

#[test]
fn a_trigger_that_falls_into_an_attempt_moves_the_grid_when_it_is_made_up_for() {
    let plan = container("c")
        .readiness(every(10.0), "f")
        .latency(Readiness, 3.0);
    let mut rig = Rig::of(pod("p").with(plan.start_takes(0.0)));
    rig.run_until(1.0);
    let mut relabelled = rig.pod("p");
    relabelled
        .meta
        .labels
        .insert("tier".to_owned(), "front".to_owned());
    rig.apply_again(relabelled);
    rig.run_until(20.0);
    assert_eq!(rig.attempts("c", Readiness), [0.0, 3.0, 13.0]);
}

#[test]
fn the_wall_clock_may_jump_without_a_probe_noticing() {
    let plan = || {
        container("c")
            .startup(every(3.0), "ffs")
            .liveness(every(10.0).delay(25.0), "sssff")
            .readiness(every(7.0), "s")
    };
    let mut steady = Rig::of(pod("p").with(plan()));
    steady.run_until(120.0);
    let mut stepped = Rig::of(pod("p").with(plan()));
    for (until, step) in [
        (5.0, 3600),
        (12.0, -7200),
        (33.0, 3600),
        (47.0, -3600),
        (120.0, 0),
    ] {
        stepped.run_until(until);
        stepped.step_wall(step);
    }
    for kind in [Startup, Readiness, Liveness] {
        assert_eq!(stepped.attempts("c", kind), steady.attempts("c", kind));
    }
    assert_eq!(stepped.starts("c"), steady.starts("c"));
    assert_eq!(stepped.ready("p"), steady.ready("p"));
}
