//! The agent is killed, again and again, and nothing changes for the containers.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::rig::{PodValue, Process, Rig, clock, each, shell, try_until, until, with_argument};

/// How often.
const CRASHES: u32 = 50;

/// Each attempt of the liveness probe adds its time, in nanoseconds, to the file `attempts`, and fails.
const NOTED_FAILURE: &str = "date +%s%N >> /switch/attempts; exit 1";

/// A pod that is ready all the time and whose liveness probe fails all the time, below its threshold.
fn failing(rig: &Rig, threshold: u32) -> Value {
    let probe =
        |script: &str| json!({ "exec": { "command": ["sh", "-c", script] }, "periodSeconds": 1 });
    let mut liveness = probe(NOTED_FAILURE);
    liveness["failureThreshold"] = threshold.into();
    rig.pod("pod", &shell("sleep 1000 & exec sleep 1000"))
        .with("readinessProbe", probe("exit 0"))
        .with("livenessProbe", liveness)
        .with_switch(&rig.dir("switch"))
}

/// The counts that the liveness probe's failures were told with.
fn told(lines: &[String]) -> Vec<u64> {
    let happenings = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let failures = happenings.filter(|happening| {
        happening["type"] == "attempt"
            && happening["probe"] == "liveness"
            && happening["outcome"] == "failure"
    });
    failures
        .map(|failure| failure["run"].as_u64().unwrap())
        .collect()
}

/// What must be the same before and after: ids, counts, readiness and its time, and the processes.
#[derive(Debug)]
struct Standing {
    status: Value,
    processes: BTreeSet<Process>,
}

impl Standing {
    fn of(rig: &Rig) -> Self {
        let status = rig.status();
        let container = status.container("pod");
        let kept = ["containerID", "restartCount", "ready", "started", "state"]
            .map(|field| container[field].clone());
        // The agent itself, and commands that are under way, come and go.
        let lasting = |process: &Process| is(process, "shim") || is(process, "1000");
        Self {
            status: json!([kept, status.condition("pod", "Ready")]),
            processes: rig.processes().into_iter().filter(lasting).collect(),
        }
    }

    /// That this is as `first` was.
    fn assert_is(&self, first: &Self) {
        assert_eq!(self.status, first.status);
        assert!(
            self.processes.is_superset(&first.processes),
            "{self:#?} {first:#?}"
        );
        // Between its fork and its exec a command that is under way looks like its shim.
        let mut more = self.processes.difference(&first.processes);
        assert!(
            more.all(|process| is(process, "shim")),
            "{self:#?} {first:#?}"
        );
    }
}

fn is(process: &Process, word: &str) -> bool {
    process.words.iter().any(|has| has == word)
}

/// A pause of up to 700 ms whose length nobody has chosen.
fn any_moment(seed: &mut u64) -> Duration {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    Duration::from_millis((*seed >> 33) % 700)
}

#[test]
fn fifty_crashes_in_the_middle_of_a_count_change_nothing() {
    each(|rig| {
        let mut seed = u64::try_from(clock().as_nanos()).unwrap();
        eprintln!("seed {seed}");
        let manifest = rig.manifest("pod.json", &[&failing(rig, 100_000)]);
        let mut up = rig.up(&[&manifest]);
        up.ready("pod", true);
        let mut first = Standing::of(rig);
        let again = Standing::of(rig).processes;
        first.processes.retain(|process| again.contains(process));
        let processes = &first.processes;
        assert!(processes.len() >= 3, "a shim and two sleeps: {processes:?}");
        let (mut counted, mut last, mut crashes, mut quiet) = (0, 0, 0, 0);
        while crashes < CRASHES {
            // The moment is what the test is about; nothing waits for it.
            let _no_value = try_until(any_moment(&mut seed), || None::<()>);
            Standing::of(rig).assert_is(&first);
            up.signal(Signal::KILL);
            assert!(!up.ended().success());
            crashes += 1;
            let runs = told(up.seen());
            for run in &runs {
                // With each crash one count may have been noted and not told.
                assert!(
                    (last + 1..=last + 1 + quiet).contains(run),
                    "{run} after {last} and {quiet} crashes: {runs:?}"
                );
                (last, quiet) = (*run, 0);
            }
            quiet += 1;
            counted += runs.len();
            up = rig.up(&[]);
            // It answers again.
            rig.status_when("the pod", |status| status.is_ready("pod"));
        }
        Standing::of(rig).assert_is(&first);
        let attempts = fs::read_to_string(rig.path("switch").join("attempts")).unwrap();
        let attempts: Vec<u128> = attempts.lines().map(|line| line.parse().unwrap()).collect();
        let gaps = attempts
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]) / 1_000_000);
        let bursts = gaps.filter(|gap| *gap < 500).count();
        assert_eq!(
            bursts, 0,
            "an attempt a second, however often the agent comes back: {attempts:?}"
        );
        assert!(counted >= 10, "{counted} attempts were told");
        assert!(
            u128::from(last) <= attempts.len() as u128,
            "{last} counted of {}",
            attempts.len()
        );
        let lost = attempts.len() as u64 - last;
        assert!(
            lost <= u64::from(CRASHES),
            "{lost} of {} attempts were lost",
            attempts.len()
        );
        eprintln!(
            "{} attempts, {last} counted, {CRASHES} crashes",
            attempts.len()
        );
    });
}

#[test]
fn two_failures_a_crash_and_the_third_kills() {
    each(|rig| {
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&failing(rig, 3)])]);
        let second = |happening: &Value| happening["probe"] == "liveness" && happening["run"] == 2;
        up.happening("the second failure", second);
        assert!(!up.end_with(Signal::KILL).success());
        let mut up = rig.up(&[]);
        let failure = up.happening("a failure", |happening| {
            happening["type"] == "attempt" && happening["probe"] == "liveness"
        });
        assert_eq!(failure["run"], 3);
        assert_eq!(failure["verdict"], "Failure");
        up.happening("the kill", |happening| {
            happening["message"] == "Container main failed liveness probe, will be restarted"
        });
        assert_eq!(up.running("pod")["container"]["restartCount"], 1);
    });
}

#[test]
fn when_agent_and_shims_are_killed_the_next_agent_starts_everything_at_once() {
    each(|rig| {
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&failing(rig, 100_000)])]);
        up.ready("pod", true);
        assert!(!up.end_with(Signal::KILL).success());
        for process in rig.processes() {
            process.kill();
        }
        let mut up = rig.up(&[]);
        assert_eq!(up.running("pod")["container"]["restartCount"], 1);
        up.ready("pod", true);
        assert!(
            rig.status().events("pod", "BackOff").is_empty(),
            "the first restart waits for nothing"
        );
    });
}

#[test]
fn among_the_hosts_processes_too_nothing_outlives_a_killed_shim() {
    each(|rig| {
        // An argument that no other process has.
        let mark = format!("1000.{}", clock().as_nanos());
        let script = format!("sleep {mark} & (setsid sleep {mark} &); exec sleep {mark}");
        let pod = rig.pod("pod", &shell(&script));
        let pod = pod.with_spec("hostPID", json!(true));
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.running("pod");
        let first = until("three sleeps", || {
            Some(with_argument(&mark)).filter(|all| all.len() == 3)
        });
        assert!(!up.end_with(Signal::KILL).success());
        for process in rig.processes().iter().filter(|process| is(process, "shim")) {
            process.kill();
        }
        let mut up = rig.up(&[]);
        assert_eq!(up.running("pod")["container"]["restartCount"], 1);
        let now = with_argument(&mark);
        assert!(
            !now.iter().any(|process| first.contains(process)),
            "{now:?}"
        );
    });
}
