//! Simulations from their texts: rows of the reference's table of scenarios, and what must always hold.
//!
//! Each row's JSON lines are a file in `golden/`. `UPDATE=1 cargo test -p probelet-sim` writes them anew.

mod rig;
mod vectors;

use probelet_model::probe::{ProbeKind, Verdict};

use self::rig::{attempts, events, jsonl, of, pods, run, run_seeded, starts, verdicts, web};
use super::replicas;
use crate::record::{At, AttemptOutcome, EndpointState, Record, What};
use crate::scenario::Scenario;
use crate::simulation::Simulation;

const FLAPPING: &str = "
duration: 5m
restartAgentAt: [65s, {at: 100s, downFor: 7s}]
containers:
  web:
    runs:
    - startAfter: 200ms
      exitAt: 90s
      exitCode: 1
      onTerm: {after: 2s, code: 143}
      http:
        /healthz: [{from: 0s, refuse: true}, {from: 5s, status: 503}, {from: 12s, status: 200, latency: 30ms}, {from: 60s, hang: true}]
events:
- {at: 250s, delete: {gracePeriodSeconds: 30}}
";

const BOTH: &str = "
    readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 5}
    livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 10}
";

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let pod = web(BOTH);
    for seed in [None, Some(1), Some(2)] {
        let once = jsonl(&run_seeded(&pod, FLAPPING, seed));
        assert_eq!(once, jsonl(&run_seeded(&pod, FLAPPING, seed)));
    }
    let first = |seed| {
        let records = run_seeded(&pod, FLAPPING, seed);
        attempts(&records, ProbeKind::Liveness)[0]
    };
    assert!((first(None) - 10.0).abs() < 1e-9);
    assert!((first(Some(1)) - first(Some(2))).abs() > 1e-3);
}

#[test]
fn records_are_in_the_order_of_time_and_the_summary_is_last() {
    let records = run(&web(BOTH), FLAPPING);
    let times: Vec<At> = records.iter().filter_map(|record| record.t).collect();
    assert!(times.is_sorted());
    assert_eq!(times.len() + 1, records.len());
    let last = records.last().unwrap();
    assert!(matches!(last.what, What::Summary { .. }), "{last:?}");
}

#[test]
fn an_agent_that_restarts_flips_nothing() {
    let with = run(&web(BOTH), FLAPPING);
    let without = FLAPPING.replace("restartAgentAt: [65s, {at: 100s, downFor: 7s}]", "");
    let without = run(&web(BOTH), &without);
    let ready = |records: &[Record]| {
        of(records, |what| match what {
            What::Condition {
                condition, status, ..
            } if condition == "Ready" => Some(status.clone()),
            _ => None,
        })
    };
    let before = |all: Vec<(f64, String)>| -> Vec<(f64, String)> {
        all.into_iter().filter(|(at, _)| *at < 100.0).collect()
    };
    assert_eq!(before(ready(&with)), before(ready(&without)));
    let dead: Vec<_> = with
        .iter()
        .filter(|record| {
            let at = record.t.map_or(0.0, At::as_secs);
            (100.0..107.0).contains(&at) && !matches!(record.what, What::Scenario { .. })
        })
        .collect();
    // What was under way when it died had been told before.
    assert!(
        dead.iter()
            .all(|record| record.t == Some(At(100_000_000_000))),
        "{dead:?}"
    );
}

#[test]
fn what_ends_while_there_is_no_agent_is_found_when_it_is_back() {
    let scenario = "
duration: 60s
restartAgentAt: [{at: 10s, downFor: 10s}]
containers: {web: {runs: [{exitAt: 15s, exitCode: 7}, {}]}}
";
    let records = run(&web(""), scenario);
    let states = of(&records, |what| match what {
        What::Container {
            exit_code,
            restart_count,
            ..
        } => Some((*exit_code, *restart_count)),
        _ => None,
    });
    let (at, last) = states.last().unwrap();
    assert!((at - 20.0).abs() < 1e-9, "{states:?}");
    assert_eq!(*last, (7, 1));
}

#[test]
fn a_run_that_uses_up_its_memory_is_told_as_such() {
    let scenario = "
duration: 60s
containers: {web: {runs: [{exitAt: 15s, outOfMemory: true}, {}]}}
";
    let records = run(&web(""), scenario);
    let ends = of(&records, |what| match what {
        What::Container {
            reason, exit_code, ..
        } => Some((reason.clone(), *exit_code)),
        _ => None,
    });
    let expected = ("OOMKilled".to_owned(), 137);
    assert!(ends.iter().any(|(_, end)| *end == expected), "{ends:?}");
}

#[test]
fn a_pod_that_is_deleted_leaves_its_endpoints_and_its_summary_stops() {
    let scenario = "
duration: 10m
containers: {web: {runs: [{onTerm: {after: 3s, code: 0}}]}}
events: [{at: 20s, delete: {gracePeriodSeconds: 10}}]
";
    let records = run(&web(BOTH), scenario);
    let endpoints = of(&records, |what| match what {
        What::Endpoint { state, terminating } => Some((*state, *terminating)),
        _ => None,
    });
    let states: Vec<_> = endpoints.iter().map(|(_, state)| *state).collect();
    assert_eq!(
        states,
        [
            (EndpointState::NotReady, false),
            (EndpointState::Ready, false),
            (EndpointState::Absent, true)
        ]
    );
    let last_time = records.iter().filter_map(|record| record.t).max().unwrap();
    assert!((last_time.as_secs() - 23.0).abs() < 1e-9);
    let What::Summary {
        unready_seconds,
        time_to_ready,
        ..
    } = records.last().unwrap().what
    else {
        panic!("the summary is last");
    };
    assert!(unready_seconds.abs() < 1e-9, "{unready_seconds}");
    assert_eq!(time_to_ready, Some(0.0));
}

#[test]
fn replicas_are_told_apart_by_their_names() {
    let replicas = replicas(&web(BOTH)[0], 3);
    let records = run(&replicas, FLAPPING);
    let named = |name: &str| {
        let of_pod = records
            .iter()
            .filter(|record| record.pod.as_deref() == Some(name));
        of_pod
            .map(|record| {
                let mut record = record.clone();
                record.pod = None;
                let line = serde_json::to_string(&record).unwrap();
                // The address, and the uid in the texts of back-off, are each pod's own.
                line.replace("10.244.0.3", "10.244.0.2")
                    .replace("10.244.0.4", "10.244.0.2")
                    .replace(name, "web")
                    .replace("00000000000000000001", "00000000000000000000")
            })
            .collect::<Vec<_>>()
    };
    let first = named("web-0");
    assert!(first.len() > 50);
    assert_eq!(first, named("web-1"));
    assert_eq!(named("web-2").len(), first.len());
}

#[test]
fn a_service_of_the_manifest_is_followed() {
    let text = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}], publishNotReadyAddresses: true}
";
    let (_, services) = rig::objects(text);
    let records: Vec<Record> = {
        let pods = web(BOTH);
        let scenario = "duration: 3s\ncontainers: {web: {runs: [{http: {/: [{refuse: true}]}}]}}";
        let scenario = Scenario::read("scenario", scenario, &pods).unwrap();
        Simulation::new(pods, services, &scenario, None).collect()
    };
    let endpoints = of(&records, |what| match what {
        What::Endpoint { state, .. } => Some(*state),
        _ => None,
    });
    assert_eq!(endpoints, [(0.0, EndpointState::Ready)]);
}

#[test]
fn a_gate_opens_when_the_scenario_sets_its_condition() {
    let text = rig::WEB.replace(
        "spec:\n",
        "spec:\n  readinessGates: [{conditionType: example.com/up}]\n",
    );
    let pods = pods(&text.replace("PROBES", ""));
    let scenario = "
duration: 60s
events:
- {at: 10s, condition: {type: example.com/up, status: \"True\"}}
- {at: 40s, condition: {type: example.com/up, status: \"False\"}}
";
    let records = run(&pods, scenario);
    let ready = of(&records, |what| match what {
        What::Condition {
            condition,
            status,
            reason,
        } if condition == "Ready" => Some((status.clone(), reason.clone())),
        _ => None,
    });
    let times: Vec<_> = ready
        .iter()
        .filter(|(_, (status, _))| status == "True")
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(times, [10.0], "{ready:?}");
    assert_eq!(
        ready.last().unwrap(),
        &(
            40.0,
            ("False".to_owned(), "ReadinessGatesNotReady".to_owned())
        )
    );
}

#[test]
fn a_named_port_that_is_missing_is_an_error_that_counts_for_nothing() {
    let pods = web("
    livenessProbe: {httpGet: {port: nowhere}, periodSeconds: 1, failureThreshold: 2}
");
    let records = run(&pods, "duration: 30s");
    let attempts = of(&records, |what| match what {
        What::Attempt {
            outcome,
            run,
            threshold,
            message,
            ..
        } => Some((*outcome, *run, *threshold, message.clone())),
        _ => None,
    });
    assert!(attempts.len() >= 30);
    let message = "port \"nowhere\" not found".to_owned();
    let error = (AttemptOutcome::Error, 0, 2, message);
    assert!(attempts.iter().all(|(_, attempt)| *attempt == error));
    assert_eq!(starts(&records), [0.0]);
    assert!(!verdicts(&records, ProbeKind::Liveness).contains(&Verdict::Failure));
    assert!(events(&records, "Killing").is_empty());
}
