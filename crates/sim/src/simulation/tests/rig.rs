//! Pods from texts, and questions to records.

use probelet_model::manifest::{self, Object, Options, Source};
use probelet_model::pod::Pod;
use probelet_model::probe::{ProbeKind, Verdict};
use probelet_model::service::Service;

use crate::record::{At, ContainerStateKind, Record, What};
use crate::scenario::Scenario;
use crate::simulation::Simulation;

/// A pod with one container; `PROBES` stands for more of its fields.
pub(super) const WEB: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  runtimeClassName: host
  containers:
  - name: web
    image: none
    command: [/web]
    PROBES
";

/// The pod, with these fields in its container.
pub(super) fn web(fields: &str) -> Vec<Pod> {
    pods(&WEB.replace("PROBES", fields.trim()))
}

pub(super) fn pods(text: &str) -> Vec<Pod> {
    objects(text).0
}

pub(super) fn objects(text: &str) -> (Vec<Pod>, Vec<Service>) {
    let source = Source::Stdin(text.to_owned());
    let loaded =
        manifest::load(&[source], &Options::default()).unwrap_or_else(|errors| panic!("{errors}"));
    let (mut pods, mut services) = (Vec::new(), Vec::new());
    for object in loaded.objects {
        match object.object {
            Object::Pod(pod) => pods.push(*pod),
            Object::Service(service) => services.push(service),
            Object::Other => {}
        }
    }
    (pods, services)
}

pub(super) fn run(pods: &[Pod], scenario: &str) -> Vec<Record> {
    run_seeded(pods, scenario, None)
}

pub(super) fn run_seeded(pods: &[Pod], scenario: &str, seed: Option<u64>) -> Vec<Record> {
    let scenario =
        Scenario::read("scenario", scenario, pods).unwrap_or_else(|errors| panic!("{errors}"));
    Simulation::new(pods.to_vec(), Vec::new(), &scenario, seed).collect()
}

pub(super) fn jsonl(records: &[Record]) -> String {
    let line = |record| serde_json::to_string(record).unwrap() + "\n";
    records.iter().map(line).collect()
}

/// What `pick` takes of each record, with its time in seconds.
pub(super) fn of<T>(records: &[Record], pick: impl Fn(&What) -> Option<T>) -> Vec<(f64, T)> {
    let told = |record: &Record| Some((record.t.map(At::as_secs)?, pick(&record.what)?));
    records.iter().filter_map(told).collect()
}

pub(super) fn times<T>(told: Vec<(f64, T)>) -> Vec<f64> {
    told.into_iter().map(|(at, _)| at).collect()
}

pub(super) fn attempts(records: &[Record], kind: ProbeKind) -> Vec<f64> {
    times(of(records, |what| match what {
        What::Attempt { probe, .. } if *probe == kind => Some(()),
        _ => None,
    }))
}

pub(super) fn verdicts(records: &[Record], kind: ProbeKind) -> Vec<Verdict> {
    let told = of(records, |what| match what {
        What::Verdict { probe, result, .. } if *probe == kind => Some(*result),
        _ => None,
    });
    told.into_iter().map(|(_, verdict)| verdict).collect()
}

/// Events of one reason: when, and their messages.
pub(super) fn events(records: &[Record], wanted: &str) -> Vec<(f64, String)> {
    of(records, |what| match what {
        What::Event {
            reason, message, ..
        } if *reason == wanted => Some(message.clone()),
        _ => None,
    })
}

/// When containers began to run.
pub(super) fn starts(records: &[Record]) -> Vec<f64> {
    times(events(records, "Started"))
}

/// When runs were seen to have ended, and their codes.
pub(super) fn exits(records: &[Record]) -> Vec<(f64, i32)> {
    of(records, |what| match what {
        What::Container {
            state: ContainerStateKind::Terminated,
            exit_code,
            ..
        } => Some(*exit_code),
        _ => None,
    })
}
