//! The engine against a second, naive telling of the kubelet.
//!
//! [`model`] and [`worker`] tell upstream's pod worker and probe worker as they are written there: a map of
//! results, tickers, and a loop over seconds. Nothing of the engine is used in them, neither code nor
//! ideas. [`engine`] lets the engine live through the same [`case`], and [`trace`] compares.
//!
//! What is compared: every attempt and how it was counted, every published verdict, kills with their
//! words and graces, starts and so the waits before them, and when phase, `started` and `ready` change.

mod case;
mod engine;
mod model;
mod trace;
mod worker;

use proptest::prelude::*;

use probelet_model::pod::RestartPolicy;

use case::{Case, Life, ProbeCase, Seen, any_case};
use engine::Driver;
use model::Kubelet;
use trace::{Entry, What, difference, in_lanes};

/// The longest that a pod lives, and how many entries of its trace are enough to be compared.
const SECONDS: u64 = 1_500;
const ENTRIES: usize = 80;

/// Both traces where they part.
fn compare(case: &Case) -> Result<(), String> {
    let (seconds, kubelet) = Kubelet::live(case, SECONDS, ENTRIES);
    let engine = Driver::live(case, seconds);
    difference(&in_lanes(kubelet), &in_lanes(engine)).map_or(Ok(()), Err)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_kubelet_does(case in any_case()) {
        if let Err(difference) = compare(&case) {
            return Err(TestCaseError::fail(format!("the traces part\n{difference}")));
        }
    }
}

/// A container that nothing but its liveness probe ends: `failure` failures, one in each period.
fn killed_every(period: u64, failure: u32) -> Case {
    Case {
        policy: RestartPolicy::Always,
        grace: 30,
        startup: None,
        readiness: None,
        liveness: Some(ProbeCase {
            delay: 0,
            period,
            success: 1,
            failure,
            grace: None,
            script: vec![Seen::Failure],
        }),
        pre_stop: None,
        lives: vec![Life {
            start_takes: 0,
            exits: None,
            on_term: Some((0, 143)),
        }],
        ticks_first: true,
    }
}

/// How long each start waited for after the stop before it.
fn waits(trace: &[Entry]) -> Vec<u64> {
    let mut stopped = 0;
    let mut waits = Vec::new();
    for Entry { at, what } in trace {
        match what {
            What::Stop(_) => stopped = *at,
            What::Start(run) if *run > 0 => waits.push(at - stopped),
            _ => {}
        }
    }
    waits
}

#[test]
fn the_naive_kubelet_waits_as_rows_d20_to_d22_say() {
    let of = |period, failure| {
        let (_, trace) = Kubelet::live(&killed_every(period, failure), 5_000, usize::MAX);
        waits(&trace)[..9].to_vec()
    };
    assert_eq!(of(10, 3), [0, 0, 0, 0, 40, 80, 160, 300, 0]);
    assert_eq!(of(5, 1), [0, 0, 10, 20, 40, 80, 160, 300, 0]);
    assert_eq!(of(20, 3), [0, 0, 0, 0, 0, 80, 160, 300, 0]);
}

#[test]
fn a_difference_is_found_and_shown() {
    let (seconds, kubelet) = Kubelet::live(&killed_every(10, 3), 60, ENTRIES);
    let same = Driver::live(&killed_every(10, 3), seconds);
    assert_eq!(
        difference(&in_lanes(kubelet.clone()), &in_lanes(same)),
        None
    );
    let other = Driver::live(&killed_every(10, 4), seconds);
    let shown = difference(&in_lanes(kubelet), &in_lanes(other)).expect("they part at 30 s");
    let parts = shown.lines().find(|line| line.starts_with("here >"));
    assert!(
        parts.expect("the place is marked").contains("30s"),
        "{shown}"
    );
}
