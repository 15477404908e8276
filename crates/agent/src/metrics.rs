//! What a monitoring system reads: upstream's metrics under upstream's names, and ours beside them.
//!
//! The series of a pod go with the pod.
//!
//! Upstream: kubelet pkg/kubelet/prober/prober_manager.go, ProberResults and ProberDuration;
//! pkg/kubelet/metrics/metrics.go.
//! Differs: `prober_probe_duration_seconds` sees successes only, as upstream's does; how long failures and errors
//! take is in `probelet_probe_attempt_duration_seconds`.
//! Shown by: upstreams_names_and_labels_are_there_and_a_pods_series_go_with_it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use probelet_engine::report::{Report, What};
use probelet_model::id::{Kind, ObjectKey, PodUid};
use probelet_model::probe::ProbeKind;
use probelet_store::Store;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::happening::skip_words;

/// The default buckets of Prometheus' own libraries, which upstream has for its durations.
const BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// A start is late by less than a millisecond on an idle host.
const LATENESS: [f64; 9] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];

/// The counters, without the `_total` that the library puts behind them.
const COUNTERS: [&str; 7] = [
    "prober_probe",
    "probelet_probe_skips",
    "kubelet_started_containers",
    "kubelet_started_containers_errors",
    "probelet_container_restarts",
    "kubelet_started_pods",
    "kubelet_started_pods_errors",
];

/// All metrics. Written to by the agent's loop and its tasks, read by whoever asks.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    probes: Family<ProbeResult, Counter>,
    durations: Family<Probe, Histogram, fn() -> Histogram>,
    attempts: Family<Attempt, Histogram, fn() -> Histogram>,
    lateness: Histogram,
    skips: Family<Skipped, Counter>,
    started_containers: Family<Container, Counter>,
    failed_containers: Family<FailedContainer, Counter>,
    restarts: Family<OneContainer, Counter>,
    started_pods: Counter,
    failed_pods: Counter,
    objects: Family<Objects, Gauge>,
    version: Gauge,
    /// Which series each pod has.
    series: Mutex<BTreeMap<PodUid, Series>>,
}

#[derive(Debug, Default)]
struct Series {
    probes: BTreeSet<ProbeResult>,
    durations: BTreeSet<Probe>,
    attempts: BTreeSet<Attempt>,
    restarts: BTreeSet<OneContainer>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ProbeResult {
    probe_type: &'static str,
    result: &'static str,
    container: String,
    pod: String,
    namespace: String,
    pod_uid: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Probe {
    probe_type: &'static str,
    container: String,
    pod: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Attempt {
    probe_type: &'static str,
    /// `successful`, `failed`, or `error`: it could not be made.
    result: &'static str,
    container: String,
    pod: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Skipped {
    probe_type: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Container {
    container_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailedContainer {
    container_type: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct OneContainer {
    container: String,
    pod: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Objects {
    kind: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Mutex::default(),
            probes: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            attempts: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            lateness: Histogram::new(LATENESS),
            skips: Family::default(),
            started_containers: Family::default(),
            failed_containers: Family::default(),
            restarts: Family::default(),
            started_pods: Counter::default(),
            failed_pods: Counter::default(),
            objects: Family::default(),
            version: Gauge::default(),
            series: Mutex::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// Names and descriptions. The library puts `_total` behind a counter's name and a full stop behind a text.
    fn register(&self) {
        let mut registry = lock(&self.registry);
        registry.register(
            COUNTERS[0],
            "Cumulative number of a liveness, readiness or startup probe for a container by result",
            self.probes.clone(),
        );
        registry.register(
            "prober_probe_duration_seconds",
            "Duration in seconds for a probe response",
            self.durations.clone(),
        );
        registry.register(
            "probelet_probe_attempt_duration_seconds",
            "Duration in seconds of an attempt, of failures and errors too",
            self.attempts.clone(),
        );
        registry.register(
            "probelet_probe_start_lateness_seconds",
            "How long after it was due an attempt has begun",
            self.lateness.clone(),
        );
        registry.register(
            COUNTERS[1],
            "Looks that became no attempt, counted once for each reason in a row",
            self.skips.clone(),
        );
        registry.register(
            COUNTERS[2],
            "Cumulative number of containers started",
            self.started_containers.clone(),
        );
        registry.register(
            COUNTERS[3],
            "Cumulative number of errors when starting containers",
            self.failed_containers.clone(),
        );
        registry.register(
            COUNTERS[4],
            "How often a container was started again",
            self.restarts.clone(),
        );
        registry.register(
            COUNTERS[5],
            "Cumulative number of pods started",
            self.started_pods.clone(),
        );
        registry.register(
            COUNTERS[6],
            "Cumulative number of errors when starting pods",
            self.failed_pods.clone(),
        );
        registry.register(
            "probelet_store_objects",
            "How many objects of a kind there are",
            self.objects.clone(),
        );
        registry.register(
            "probelet_store_version",
            "The resourceVersion of the newest change",
            self.version.clone(),
        );
    }

    /// All of them, in Prometheus' text format, as upstream's.
    ///
    /// # Errors
    /// None is expected: it is written into a string.
    pub(crate) fn text(&self, store: &Store) -> Result<String, std::fmt::Error> {
        for kind in Kind::ALL {
            let (objects, version) = store.list(kind);
            let count = i64::try_from(objects.len()).unwrap_or(i64::MAX);
            let labels = Objects {
                kind: kind.plural(),
            };
            self.objects.get_or_create(&labels).set(count);
            self.version
                .set(i64::try_from(version.0).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        encode(&mut text, &lock(&self.registry))?;
        Ok(text.lines().filter_map(as_prometheus_has_it).collect())
    }

    /// Takes in what the engine tells.
    pub(crate) fn take(&self, report: &Report, pod: &ObjectKey) {
        let (result, duration) = match &report.what {
            What::Attempt {
                status, duration, ..
            } if status.is_success() => ("successful", *duration),
            What::Attempt { duration, .. } => ("failed", *duration),
            What::Error { duration, .. } => ("error", *duration),
            What::Verdict(_) => return,
            What::Skipped(skip) => {
                let labels = Skipped {
                    probe_type: probe_type(report.kind),
                    reason: skip_words(skip).0,
                };
                self.skips.get_or_create(&labels).inc();
                return;
            }
        };
        let mut series = lock(&self.series);
        let series = series.entry(report.pod.clone()).or_default();
        let container = report.container.to_string();
        let attempt = Attempt {
            probe_type: probe_type(report.kind),
            result,
            container: container.clone(),
            pod: pod.name.clone(),
            namespace: pod.namespace.clone(),
        };
        self.attempts
            .get_or_create(&attempt)
            .observe(duration.as_secs_f64());
        series.attempts.insert(attempt);
        if result == "error" {
            return;
        }
        let counted = ProbeResult {
            probe_type: probe_type(report.kind),
            result,
            container: container.clone(),
            pod: pod.name.clone(),
            namespace: pod.namespace.clone(),
            pod_uid: report.pod.to_string(),
        };
        self.probes.get_or_create(&counted).inc();
        series.probes.insert(counted);
        if result == "successful" {
            let probe = Probe {
                probe_type: probe_type(report.kind),
                container,
                pod: pod.name.clone(),
                namespace: pod.namespace.clone(),
            };
            self.durations
                .get_or_create(&probe)
                .observe(duration.as_secs_f64());
            series.durations.insert(probe);
        }
    }

    /// An attempt has begun so long after it was due.
    pub(crate) fn began(&self, late: Duration) {
        self.lateness.observe(late.as_secs_f64());
    }

    /// A sandbox was asked for.
    pub(crate) fn pod_start(&self) {
        self.started_pods.inc();
    }

    /// A sandbox could not be made.
    pub(crate) fn pod_start_failed(&self) {
        self.failed_pods.inc();
    }

    /// A container is started; `restart_count` is how many runs were before.
    pub(crate) fn container_start(
        &self,
        uid: &PodUid,
        pod: &ObjectKey,
        container: &str,
        is_init: bool,
        restart_count: u32,
    ) {
        let labels = Container {
            container_type: container_type(is_init),
        };
        self.started_containers.get_or_create(&labels).inc();
        if restart_count > 0 {
            let one = OneContainer {
                container: container.to_owned(),
                pod: pod.name.clone(),
                namespace: pod.namespace.clone(),
            };
            self.restarts.get_or_create(&one).inc();
            let mut series = lock(&self.series);
            series.entry(uid.clone()).or_default().restarts.insert(one);
        }
    }

    /// A container could not be started.
    pub(crate) fn container_start_failed(&self, is_init: bool, code: &'static str) {
        let labels = FailedContainer {
            container_type: container_type(is_init),
            code,
        };
        self.failed_containers.get_or_create(&labels).inc();
    }

    /// A pod is gone, and its series with it.
    pub(crate) fn forget(&self, pod: &PodUid) {
        let Some(series) = lock(&self.series).remove(pod) else {
            return;
        };
        for labels in &series.probes {
            self.probes.remove(labels);
        }
        for labels in &series.durations {
            self.durations.remove(labels);
        }
        for labels in &series.attempts {
            self.attempts.remove(labels);
        }
        for labels in &series.restarts {
            self.restarts.remove(labels);
        }
    }
}

/// A line of OpenMetrics in the older format: there a counter's description has the whole name of its samples,
/// and nothing marks the end.
fn as_prometheus_has_it(line: &str) -> Option<String> {
    let described = line
        .strip_prefix("# HELP ")
        .map(|rest| ("# HELP ", rest))
        .or_else(|| line.strip_prefix("# TYPE ").map(|rest| ("# TYPE ", rest)));
    match described {
        _ if line == "# EOF" => None,
        Some((word, rest)) => {
            let (name, text) = rest.split_once(' ')?;
            let total = if COUNTERS.contains(&name) {
                "_total"
            } else {
                ""
            };
            Some(format!("{word}{name}{total} {text}\n"))
        }
        None => Some(format!("{line}\n")),
    }
}

/// Poison means that a reader or writer panicked in between; the numbers are still numbers.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The label `probe_type`.
///
/// Upstream: kubelet pkg/kubelet/prober/worker.go, newWorker.
/// Shown by: upstreams_names_and_labels_are_there_and_a_pods_series_go_with_it.
const fn probe_type(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "Startup",
        ProbeKind::Readiness => "Readiness",
        ProbeKind::Liveness => "Liveness",
    }
}

/// The label `container_type`.
///
/// Upstream: kubelet pkg/kubelet/metrics/metrics.go, Container and InitContainer.
/// Shown by: upstreams_names_and_labels_are_there_and_a_pods_series_go_with_it.
const fn container_type(is_init: bool) -> &'static str {
    if is_init {
        "init_container"
    } else {
        "container"
    }
}

#[cfg(test)]
mod tests {
    use probelet_model::id::ContainerName;
    use probelet_model::probe::{OutcomeStatus, Verdict};

    use super::*;

    fn report(what: What) -> Report {
        Report {
            pod: PodUid::from("u"),
            container: ContainerName::from("main"),
            kind: ProbeKind::Readiness,
            what,
        }
    }

    fn attempt(status: OutcomeStatus, millis: u64) -> What {
        What::Attempt {
            status,
            output: String::new(),
            code: None,
            duration: Duration::from_millis(millis),
            run: 1,
            threshold: 3,
            verdict: Verdict::Success,
            changed: false,
        }
    }

    #[test]
    fn upstreams_names_and_labels_are_there_and_a_pods_series_go_with_it() {
        let store = Store::in_memory();
        let metrics = Metrics::default();
        let pod = ObjectKey::new(Kind::Pod, "shop", "web");
        let uid = PodUid::from("u");
        metrics.take(&report(attempt(OutcomeStatus::Success, 7)), &pod);
        metrics.take(&report(attempt(OutcomeStatus::Success, 30)), &pod);
        metrics.take(&report(attempt(OutcomeStatus::Failure, 600)), &pod);
        let error = What::Error {
            message: String::new(),
            duration: Duration::ZERO,
        };
        metrics.take(&report(error), &pod);
        metrics.take(
            &report(What::Skipped(probelet_engine::Skip::NotRunning)),
            &pod,
        );
        metrics.began(Duration::from_millis(3));
        metrics.pod_start();
        metrics.container_start(&uid, &pod, "main", false, 0);
        metrics.container_start(&uid, &pod, "main", false, 1);
        metrics.container_start_failed(true, "CreateContainerConfigError");
        let text = metrics.text(&store).unwrap();
        let probe = r#"probe_type="Readiness""#;
        let of = r#"container="main",pod="web",namespace="shop""#;
        for line in [
            format!(r#"prober_probe_total{{{probe},result="successful",{of},pod_uid="u"}} 2"#),
            format!(r#"prober_probe_total{{{probe},result="failed",{of},pod_uid="u"}} 1"#),
            format!("prober_probe_duration_seconds_count{{{probe},{of}}} 2"),
            format!(r#"prober_probe_duration_seconds_bucket{{le="0.01",{probe},{of}}} 1"#),
            format!(
                r#"probelet_probe_attempt_duration_seconds_count{{{probe},result="error",{of}}} 1"#
            ),
            format!(r#"probelet_probe_skips_total{{{probe},reason="NotRunning"}} 1"#),
            r#"probelet_probe_start_lateness_seconds_bucket{le="0.005"} 1"#.to_owned(),
            r#"kubelet_started_containers_total{container_type="container"} 2"#.to_owned(),
            r#"kubelet_started_containers_errors_total{container_type="init_container",code="CreateContainerConfigError"} 1"#.to_owned(),
            format!("probelet_container_restarts_total{{{of}}} 1"),
            "kubelet_started_pods_total 1".to_owned(),
            r#"probelet_store_objects{kind="pods"} 0"#.to_owned(),
            "# TYPE prober_probe_total counter".to_owned(),
            "# TYPE prober_probe_duration_seconds histogram".to_owned(),
        ] {
            assert!(text.lines().any(|there| there == line), "{line}\n{text}");
        }
        metrics.forget(&uid);
        let text = metrics.text(&store).unwrap();
        assert!(!text.contains("shop"), "{text}");
    }
}
