//! The engine, in virtual time, takes as long as `check` says: never longer in any phase, and as long in
//! the worst.

use std::collections::BTreeSet;
use std::time::Duration;

use probelet_check::timing::{Start, Timing};
use probelet_model::manifest::survey::survey;
use probelet_model::manifest::{self, Object, Options, Source};
use probelet_model::pod::Pod;
use probelet_model::probe::{ProbeKind, Verdict};
use probelet_sim::record::{ContainerStateKind, Record, What};
use probelet_sim::scenario::Scenario;
use probelet_sim::simulation::Simulation;

/// Phases that are tried in each period.
const PHASES: u32 = 8;
/// How far behind a tick something happens that has just missed it.
const JUST_AFTER: Duration = Duration::from_millis(1);

/// One probe's fields, in seconds.
#[derive(Clone, Copy, Debug)]
struct Spec {
    kind: ProbeKind,
    handler: &'static str,
    delay: u64,
    period: u64,
    timeout: u64,
    failures: u32,
    successes: u32,
}

const HTTP: &str = "httpGet: {port: 80}";
const TCP: &str = "tcpSocket: {port: 80}";
const GRPC: &str = "grpc: {port: 80}";
const EXEC: &str = "exec: {command: [a]}";

/// Specs that are ordinary, and those at the edges: timeouts of a period and more, single failures.
fn specs(kind: ProbeKind) -> Vec<Spec> {
    [
        (10, 1, 3),
        (10, 5, 1),
        (5, 5, 3),
        (5, 7, 3),
        (2, 9, 2),
        (1, 1, 5),
    ]
    .into_iter()
    .flat_map(|(period, timeout, failures)| {
        [HTTP, TCP, GRPC, EXEC]
            .into_iter()
            .map(move |handler| Spec {
                kind,
                handler,
                delay: 0,
                period,
                timeout,
                failures,
                successes: 1,
            })
    })
    .collect()
}

impl Spec {
    fn pod(self) -> Pod {
        let Self {
            kind,
            handler,
            delay,
            period,
            timeout,
            failures,
            successes,
        } = self;
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  runtimeClassName: host\n  containers:\n  \
             - name: c\n    command: [a]\n    {}: {{{handler}, initialDelaySeconds: {delay}, periodSeconds: {period}, \
             timeoutSeconds: {timeout}, failureThreshold: {failures}, successThreshold: {successes}}}\n",
            kind.field(),
        );
        let source = Source::Text {
            name: "pod".to_owned(),
            text,
        };
        let loaded = manifest::load(&[source], &Options::default()).unwrap();
        match loaded.objects.into_iter().next().unwrap().object {
            Object::Pod(pod) => *pod,
            other => panic!("{other:?}"),
        }
    }

    fn timing(self) -> Timing {
        Timing::of(self.pod().containers[0].probe(self.kind).unwrap())
    }

    /// What the probe meets: `first` at the start of the run, `then` from `at` on.
    fn simulate(
        self,
        start_after: Duration,
        first: Meets,
        then: Meets,
        at: Duration,
    ) -> Vec<Record> {
        let (key, step): (_, fn(Meets) -> &'static str) = match self.handler {
            HTTP => ("http", |meets| match meets {
                Meets::Well => "status: 200",
                Meets::Hangs => "hang: true",
                Meets::Refuses => "refuse: true",
            }),
            TCP => ("tcp", |meets| match meets {
                Meets::Well => "accept: true",
                Meets::Hangs => "hang: true",
                Meets::Refuses => "accept: false",
            }),
            GRPC => ("grpc", |meets| match meets {
                Meets::Well => "serving: true",
                Meets::Hangs => "hang: true",
                Meets::Refuses => "refuse: true",
            }),
            _ => ("exec", |meets| match meets {
                Meets::Well => "exitCode: 0",
                Meets::Hangs => "hang: true",
                Meets::Refuses => "exitCode: 1",
            }),
        };
        let (first, then) = (step(first), step(then));
        let steps = format!(
            "[{{from: 0s, {first}}}, {{from: {}ms, {then}}}]",
            at.as_millis()
        );
        let steps = if key == "http" {
            format!("{{/: {steps}}}")
        } else {
            steps
        };
        let text = format!(
            "duration: 400s\ncontainers:\n  c:\n    runs:\n    - startAfter: {}ms\n      onTerm: {{after: 0s, code: 143}}\n      {key}: {steps}\n",
            start_after.as_millis(),
        );
        let pod = self.pod();
        let scenario = Scenario::read("scenario", &text, std::slice::from_ref(&pod))
            .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        Simulation::new(vec![pod], Vec::new(), &scenario, None).collect()
    }
}

#[derive(Clone, Copy, Debug)]
enum Meets {
    Well,
    Hangs,
    Refuses,
}

/// When the container's first run began.
fn began(records: &[Record]) -> Duration {
    let running = |what: &What| {
        matches!(
            what,
            What::Container {
                state: ContainerStateKind::Running,
                ..
            }
        )
    };
    at(records.iter().find(|record| running(&record.what)).unwrap())
}

/// When a verdict fell for the first time after `after`.
fn fell(records: &[Record], result: Verdict, after: Duration) -> Option<Duration> {
    let is_meant = |record: &&Record| {
        matches!(&record.what, What::Verdict { result: one, .. } if *one == result)
            && at(record) > after
    };
    records.iter().find(is_meant).map(at)
}

fn at(record: &Record) -> Duration {
    Duration::from_nanos(record.t.unwrap().0)
}

/// The longest time over all phases from a change of the target to a verdict.
fn worst(spec: Spec, first: Meets, then: Meets, verdict: Verdict) -> Duration {
    let period = Duration::from_secs(spec.period);
    let settled = period * 10;
    let phases = (0..PHASES).map(|phase| {
        let change = settled + period * phase / PHASES + JUST_AFTER;
        let records = spec.simulate(Duration::ZERO, first, then, change);
        let change = began(&records) + change;
        let verdict = fell(&records, verdict, change);
        verdict.unwrap_or_else(|| panic!("{spec:?}: no verdict")) - change
    });
    phases.max().unwrap()
}

/// That `measured` is the worst case `computed`, but for having just missed a tick.
#[track_caller]
fn is_worst(spec: Spec, measured: Duration, computed: Duration) {
    assert!(
        measured <= computed,
        "{spec:?} takes {measured:?}, not {computed:?}"
    );
    assert!(
        computed - measured <= 2 * JUST_AFTER,
        "{spec:?} takes {measured:?} at most, not {computed:?}"
    );
}

#[test]
fn a_probe_acts_on_a_target_that_hangs_when_check_says() {
    for spec in specs(ProbeKind::Liveness)
        .into_iter()
        .chain(specs(ProbeKind::Readiness))
    {
        let measured = worst(spec, Meets::Well, Meets::Hangs, Verdict::Failure);
        is_worst(spec, measured, spec.timing().acts_within);
    }
}

#[test]
fn a_probe_acts_on_a_target_that_refuses_when_check_says() {
    for spec in specs(ProbeKind::Liveness)
        .into_iter()
        .chain(specs(ProbeKind::Readiness))
    {
        let measured = worst(spec, Meets::Well, Meets::Refuses, Verdict::Failure);
        is_worst(spec, measured, spec.timing().acts_within_if_refused);
    }
}

#[test]
fn readiness_recovers_when_check_says() {
    for spec in specs(ProbeKind::Readiness) {
        for successes in [1, 3] {
            let spec = Spec { successes, ..spec };
            // The answers here come at once, so that the timeout is what is left.
            let computed = spec.timing().recovers_within;
            for before in [Meets::Refuses, Meets::Hangs] {
                let measured = worst(spec, before, Meets::Well, Verdict::Success);
                assert!(
                    measured <= computed,
                    "{spec:?} takes {measured:?}, not {computed:?}"
                );
            }
        }
    }
}

#[test]
fn a_start_is_allowed_as_long_as_check_says() {
    for kind in [ProbeKind::Startup, ProbeKind::Liveness] {
        for (delay, period, failures) in [(0, 10, 3), (15, 10, 3), (7, 5, 1), (0, 5, 4), (30, 1, 2)]
        {
            let spec = Spec {
                kind,
                handler: HTTP,
                delay,
                period,
                timeout: 1,
                failures,
                successes: 1,
            };
            let start = Start::of(&spec.pod().containers[0]).unwrap();
            assert_eq!(start.by, kind);
            let (mut shortest, mut longest) = (Duration::MAX, Duration::ZERO);
            for phase in 0..PHASES {
                let after = Duration::from_secs(period) * phase / PHASES + JUST_AFTER;
                let killed = |refuses_for: Duration| {
                    let records = spec.simulate(after, Meets::Refuses, Meets::Well, refuses_for);
                    fell(&records, Verdict::Failure, Duration::ZERO).map(|at| at - began(&records))
                };
                assert_eq!(killed(start.safe), None, "{spec:?} phase {phase}");
                let at = killed(start.most + JUST_AFTER)
                    .unwrap_or_else(|| panic!("{spec:?} phase {phase}: not killed"));
                (shortest, longest) = (shortest.min(at), longest.max(at));
            }
            assert!(
                shortest >= start.safe && longest <= start.most,
                "{spec:?}: {shortest:?} to {longest:?}"
            );
            assert!(
                longest - shortest
                    >= Duration::from_secs(period) * (PHASES - 1) / PHASES - 2 * JUST_AFTER,
                "{spec:?}: every phase between {shortest:?} and {longest:?}"
            );
        }
    }
}

/// How long a container that ignores TERM takes to stop once liveness has failed: by `check`, and in the engine.
fn kill(grace: u64, hook: &str, goes: &str) -> [Duration; 2] {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  runtimeClassName: host\n  \
         terminationGracePeriodSeconds: {grace}\n  containers:\n  - name: c\n    command: [a]\n    lifecycle: \
         {{{hook}}}\n    livenessProbe: {{exec: {{command: [a]}}, failureThreshold: 1}}\n"
    );
    let source = Source::Text {
        name: "pod".to_owned(),
        text,
    };
    let read = survey(&[source]);
    assert!(read.errors.is_empty(), "{:?}", read.errors);
    let Object::Pod(pod) = read.subjects[0].object.clone() else {
        panic!("a Pod is what is there");
    };
    let report = probelet_check::check(&read, &BTreeSet::new());
    let scenario = format!(
        "duration: 60s\ncontainers:\n  c:\n    runs:\n    - onTerm: {{ignore: true}}\n      preStop: {goes}\n      \
         exec: [{{exitCode: 1}}]\n"
    );
    let pods = [*pod];
    let scenario = Scenario::read("s.yaml", &scenario, &pods).unwrap();
    let mut failed = None;
    for record in Simulation::new(pods.to_vec(), Vec::new(), &scenario, None) {
        match (&record.what, failed) {
            (What::Verdict { result, .. }, None) if *result == Verdict::Failure => {
                failed = record.t
            }
            (What::Container { state, .. }, Some(failed))
                if *state == ContainerStateKind::Terminated =>
            {
                let took = Duration::from_nanos(record.t.unwrap().0 - failed.0);
                return [report.probes[0].stops_within.unwrap(), took];
            }
            _ => {}
        }
    }
    panic!("{hook}: never killed");
}

#[test]
fn a_kill_takes_as_long_as_check_says() {
    let exec = "preStop: {exec: {command: [b]}}";
    for (grace, hook, goes, seconds) in [
        (5, "", "{}", 5),
        (1, "", "{}", 2),
        (0, exec, "{hang: true}", 2),
        (5, exec, "{hang: true}", 7),
        (5, "preStop: {sleep: {seconds: 2}}", "{}", 5),
        (5, "preStop: {sleep: {seconds: 4}}", "{}", 6),
    ] {
        let [computed, measured] = kill(grace, hook, goes);
        assert_eq!(computed, Duration::from_secs(seconds), "{grace} {hook}");
        assert_eq!(measured, computed, "{grace} {hook}");
    }
}
