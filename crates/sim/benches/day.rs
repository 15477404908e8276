//! What a simulation costs: a day of a Pod with three probes at 1 s, and the memory of a thousand of them,
//! beside what the bare engine takes for as many attempts.
//!
//! `cargo bench -p probelet-sim` prints the figures; nothing is compared with anything but their ratio.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::io::Write;
use std::time::{Duration, Instant};

use probelet_engine::effect::Effect;
use probelet_engine::input::{Input, Origin};
use probelet_engine::{BackOffLimits, Config, Engine};
use probelet_model::manifest::{self, Object, Options, Source};
use probelet_model::pod::Pod;
use probelet_model::probe::{Outcome, OutcomeStatus};
use probelet_model::time::{Mono, Now, Wall};
use probelet_sim::scenario::Scenario;
use probelet_sim::simulation::{Simulation, replicas};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  runtimeClassName: host
  containers:
  - name: web
    image: none
    command: [/web]
    ports: [{name: http, containerPort: 8080}]
    startupProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
    readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
    livenessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
  - name: side
    image: none
    command: [/side]
    livenessProbe: {exec: {command: [/check]}, periodSeconds: 1}
";

const SCENARIO: &str = "
duration: 24h
containers:
  web:
    runs:
    - exitAt: 7h
      exitCode: 1
      http:
        /healthz:
        - {from: 3s, status: 200, latency: 5ms}
        - {from: 2h, status: 503}
        - {from: 2h10m, status: 200, latency: 5ms}
";

fn main() {
    let pod = pod();
    let day = scenario(SCENARIO, &pod);
    let begin = clock();
    let mut out = std::io::sink();
    let (records, attempts) = simulate(vec![pod.clone()], &day, &mut out);
    let took = clock() - begin;
    println!(
        "24 h of a pod with three probes at 1 s: {took:.2?}, {attempts} attempts, {records} records as JSON lines"
    );
    let begin = clock();
    let turns = bare(&pod, Duration::from_secs(24 * 3600));
    let bare = clock() - begin;
    let each = |took: Duration, count: u64| took.as_nanos() / u128::from(count.max(1));
    println!(
        "the bare engine: {bare:.2?} for {turns} attempts; {} ns an attempt simulated, {} ns bare",
        each(took, attempts),
        each(bare, turns)
    );
    let before = peak();
    let short = scenario(&SCENARIO.replace("24h", "10m"), &pod);
    let begin = clock();
    let (records, attempts) = simulate(replicas(&pod, 1_000), &short, &mut out);
    let took = clock() - begin;
    println!(
        "10 min of 1,000 such pods: {took:.2?}, {attempts} attempts, {records} records; VmHWM {} MB, {} MB before",
        peak() / 1_000_000,
        before / 1_000_000
    );
}

/// Writes all records as JSON lines; how many there were, and how many attempts of them.
fn simulate(pods: Vec<Pod>, scenario: &Scenario, out: &mut impl Write) -> (u64, u64) {
    let (mut records, mut attempts) = (0, 0);
    for record in Simulation::new(pods, Vec::new(), scenario, None) {
        records += 1;
        attempts += u64::from(matches!(
            record.what,
            probelet_sim::record::What::Attempt { .. }
        ));
        serde_json::to_writer(&mut *out, &record).expect("nothing fails to take it");
        out.write_all(b"\n").expect("nothing fails to take it");
    }
    (records, attempts)
}

/// The same pod on the engine alone, every attempt answered at once with success.
fn bare(pod: &Pod, long: Duration) -> u64 {
    let mut now = Now {
        mono: Mono(1_000_000_000_000),
        wall: Wall(1_767_225_600_000_000_000),
    };
    let end = now.mono + long;
    let config = Config {
        node_name: "node".to_owned(),
        host_ip: [127, 0, 0, 1].into(),
        seed: 1,
        back_off: BackOffLimits::default(),
    };
    let mut engine = Engine::new(config, now);
    let mut inputs = vec![Input::PodApplied {
        pod: pod.clone().into(),
        origin: Origin::New,
    }];
    let mut attempts = 0;
    loop {
        while let Some(input) = inputs.pop() {
            engine.handle(now, input);
            while let Some(effect) = engine.next_effect() {
                inputs.extend(answer(effect, now));
            }
        }
        let Some(deadline) = engine.deadline().filter(|deadline| deadline.at <= end) else {
            return attempts;
        };
        let step = deadline.at.since(now.mono);
        now.mono = now.mono + step;
        now.wall = now.wall + step;
        engine.handle(now, Input::Wake);
        while let Some(effect) = engine.next_effect() {
            attempts += u64::from(matches!(effect, Effect::StartAttempt { .. }));
            inputs.extend(answer(effect, now));
        }
    }
}

fn answer(effect: Effect, now: Now) -> Option<Input> {
    match effect {
        Effect::StartPod { operation, pod } => Some(Input::PodStarted {
            pod: pod.uid.clone(),
            operation,
            result: Ok(std::net::IpAddr::from([10, 0, 0, 1]).into()),
        }),
        Effect::StartContainer { operation, pod, .. } => Some(Input::ContainerStarted {
            pod: pod.uid.clone(),
            operation,
            result: Ok(now.wall),
        }),
        Effect::StartAttempt { attempt, pod, .. } => Some(Input::AttemptFinished {
            pod: pod.uid.clone(),
            attempt,
            result: Ok(Outcome {
                status: OutcomeStatus::Success,
                output: String::new(),
                code: None,
            }),
            duration: Duration::ZERO,
        }),
        _ => None,
    }
}

fn pod() -> Pod {
    let source = Source::Stdin(POD.to_owned());
    let loaded = manifest::load(&[source], &Options::default()).expect("the manifest is right");
    match loaded.objects.into_iter().next().map(|one| one.object) {
        Some(Object::Pod(pod)) => *pod,
        _ => unreachable!("the manifest is a pod's"),
    }
}

fn scenario(text: &str, pod: &Pod) -> Scenario {
    Scenario::read("scenario", text, std::slice::from_ref(pod)).expect("the scenario is right")
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn clock() -> Instant {
    Instant::now()
}

/// The most memory that was ever resident, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1_024
}
