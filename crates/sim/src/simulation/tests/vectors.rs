//! Rows of the table of scenarios, through texts and records: the figures of each, and every byte.

use std::path::Path;

use probelet_model::pod::Pod;
use probelet_model::probe::{ProbeKind, Verdict};

use super::rig::{attempts, events, exits, jsonl, of, run, starts, verdicts, web};
use crate::record::{Record, What};

/// Runs a row and compares its lines with its golden file.
fn row(name: &str, pods: &[Pod], scenario: &str) -> Vec<Record> {
    let records = run(pods, scenario);
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/simulation/golden")
        .join(format!("{name}.jsonl"));
    let lines = jsonl(&records);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &lines).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (number, (line, expected)) in lines.lines().zip(golden.lines()).enumerate() {
        assert_eq!(line, expected, "{}:{}", path.display(), number + 1);
    }
    assert_eq!(lines, golden);
    records
}

const DEAD: &str = "containers: {web: {runs: [{http: {/: [{status: 500}]}}]}}";

/// B1: a liveness probe that always fails, period 10, threshold 3, kills after 30 s. The look at 0 comes
/// before the container.
#[test]
fn b1_a_liveness_failure_takes_threshold_periods() {
    let pods = web("livenessProbe: {httpGet: {port: 8080}, periodSeconds: 10}");
    let records = row("b1", &pods, &format!("duration: 35s\n{DEAD}"));
    let killing = events(&records, "Killing");
    assert_eq!(killing.len(), 1);
    assert!((killing[0].0 - 30.0).abs() < 1e-9, "{killing:?}");
    assert_eq!(
        attempts(&records, ProbeKind::Liveness)[..3],
        [10.0, 20.0, 30.0]
    );
}

/// B6: a readiness probe of a long period is asked as soon as the startup probe has passed.
#[test]
fn b6_readiness_does_not_wait_for_its_period_once_started() {
    let pods = web("
    startupProbe: {exec: {command: [/up]}, periodSeconds: 1, failureThreshold: 60}
    readinessProbe: {exec: {command: [/ready]}, periodSeconds: 30}");
    let scenario = "
duration: 70s
containers: {web: {runs: [{exec: [{exitCode: 1}, {from: 32s, exitCode: 0}]}]}}
";
    let records = row("b6", &pods, scenario);
    let ready = of(&records, |what| match what {
        What::Condition {
            condition, status, ..
        } if condition == "Ready" && status == "True" => Some(()),
        _ => None,
    });
    assert_eq!(ready, [(32.0, ())]);
    assert_eq!(
        verdicts(&records, ProbeKind::Startup),
        [Verdict::Unknown, Verdict::Success]
    );
}

/// D1: exits at once, again and again: restarts after 0, 10, 20, 40, 80, 160, 300, 300 seconds.
#[test]
fn d1_a_crash_loop_backs_off() {
    let scenario = "
duration: 20m
containers: {web: {runs: [{exitAt: 0s, exitCode: 1}]}}
";
    let records = row("d1", &web(""), scenario);
    let sums = [0.0, 0.0, 10.0, 30.0, 70.0, 150.0, 310.0, 610.0, 910.0];
    assert_eq!(starts(&records), sums);
}

/// D9: a liveness failure, TERM handled in 2 s: one kill, the restart in the same sync, no back-off.
#[test]
fn d9_a_liveness_kill_restarts_at_once() {
    let pods = web("livenessProbe: {httpGet: {port: 8080}, periodSeconds: 10}");
    let scenario = "
duration: 35s
containers: {web: {runs: [{onTerm: {after: 2s, code: 143}, http: {/: [{status: 500}]}}]}}
";
    let records = row("d9", &pods, scenario);
    assert_eq!(
        events(&records, "Killing"),
        [(
            30.0,
            "Container web failed liveness probe, will be restarted".to_owned()
        )]
    );
    assert_eq!(starts(&records), [0.0, 32.0]);
    assert!(events(&records, "BackOff").is_empty());
    let summary = &records.last().unwrap().what;
    assert!(
        matches!(summary, What::Summary { restarts: 1, unready_seconds, .. } if *unready_seconds <= 2.0),
        "{summary:?}"
    );
}

/// D14: grace 5, preStop 3 s, TERM ignored: KILL 2 s after TERM.
#[test]
fn d14_a_pre_stop_hook_spends_the_grace() {
    let pods = web("lifecycle: {preStop: {exec: {command: [/drain]}}}");
    let scenario = "
duration: 30s
containers: {web: {runs: [{onTerm: {ignore: true}, preStop: {after: 3s}}]}}
events: [{at: 10s, delete: {gracePeriodSeconds: 5}}]
";
    let records = row("d14", &pods, scenario);
    assert_eq!(exits(&records)[0], (15.0, 137));
}

/// D20: liveness kills every 30 s of life: waits 0, 0, 0, 0, 40, 80, 160, 300, 0.
#[test]
fn d20_liveness_kills_judge_the_back_off_by_the_exit_before() {
    let pods = web("livenessProbe: {httpGet: {port: 8080}, periodSeconds: 10}");
    let records = row("d20", &pods, &format!("duration: 20m\n{DEAD}"));
    let killed: Vec<f64> = events(&records, "Killing")
        .iter()
        .map(|(at, _)| *at)
        .collect();
    let started = starts(&records);
    let waits: Vec<f64> = killed
        .iter()
        .zip(&started[1..])
        .map(|(kill, start)| (start - kill).round())
        .collect();
    assert_eq!(
        waits[..9],
        [0.0, 0.0, 0.0, 0.0, 40.0, 80.0, 160.0, 300.0, 0.0]
    );
}

#[test]
fn a_pull_that_fails_is_tried_again_in_virtual_time() {
    let mut pods = web("");
    pods[0].on_host = false;
    let records = run(
        &pods,
        "
duration: 60s
containers:
  web:
    pulls: [{fails: manifest unknown}, {fails: manifest unknown}, {after: 2s}]
",
    );
    let told = of(&records, |what| match what {
        What::Event {
            reason, message, ..
        } if ["Pulling", "Pulled", "BackOff"].contains(reason) => Some(message.clone()),
        _ => None,
    });
    let told: Vec<(f64, &str)> = told.iter().map(|(at, text)| (*at, text.as_str())).collect();
    assert_eq!(
        told,
        [
            (0.0, "Pulling image \"none\""),
            (10.0, "Pulling image \"none\""),
            (20.0, "Back-off pulling image \"none\""),
            (30.0, "Pulling image \"none\""),
            (
                32.0,
                "Successfully pulled image \"none\" in 2s (2s including waiting). Image size: 1048576 bytes."
            ),
        ]
    );
}
