//! What a check has found.

use std::collections::BTreeMap;
use std::time::Duration;

use probelet_model::field::FieldPath;
use probelet_model::manifest::survey::{Owner, Survey};
use probelet_model::manifest::{Diagnostic, Position};
use probelet_model::probe::ProbeKind;

use crate::lint::{Lint, Severity};
use crate::timing::{Start, Timing};

/// What a check has found, in the order of the manifests.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What an API server would refuse; such an object has no findings.
    pub invalid: Vec<Diagnostic>,
    /// What the lints found, by file and place.
    pub findings: Vec<Finding>,
    /// Every probe and its times.
    pub probes: Vec<ProbeFact>,
    /// How many objects are right and were looked at.
    pub objects: usize,
    /// How many objects of other kinds were left alone, by kind.
    pub skipped: BTreeMap<String, usize>,
    /// The manifests' texts, by name.
    pub texts: BTreeMap<String, String>,
}

/// One finding of a lint.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which.
    pub lint: &'static Lint,
    /// The manifest, as it was named.
    pub source: String,
    /// The place in it: the field's value, else what is nearest above it.
    pub position: Position,
    /// The object.
    pub object: Owner,
    /// The field, from the object's root.
    pub path: FieldPath,
    /// What will happen, with numbers.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// One probe and its times.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeFact {
    /// The object that it is of.
    pub object: Owner,
    /// The manifest, as it was named.
    pub source: String,
    /// Where the probe is written.
    pub position: Position,
    /// Its container.
    pub container: String,
    /// What it is for.
    pub kind: ProbeKind,
    /// `exec`, `httpGet`, `tcpSocket` or `grpc`.
    pub handler: &'static str,
    /// How soon it acts.
    pub timing: Timing,
    /// How slow a start it allows, if it is the one that kills a start.
    pub start: Option<Start>,
    /// How long the container may take to stop once the probe has killed it; `None` for readiness.
    pub stops_within: Option<Duration>,
    /// Attempts a second in one Pod, while it is under way.
    pub rate: f64,
    /// How many Pods there are to be; `None` where that is up to the cluster.
    pub replicas: Option<u32>,
}

/// Attempts a second once everything has started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Of all liveness and readiness probes, in all Pods; one Pod where their number is up to the cluster.
    pub attempts: f64,
    /// Those of them that start a process.
    pub exec: f64,
}

impl Report {
    pub(crate) fn new(survey: &Survey, mut findings: Vec<Finding>, probes: Vec<ProbeFact>) -> Self {
        findings.sort_by(|a, b| {
            let key = |one: &Finding| (one.position, one.lint.id);
            a.source.cmp(&b.source).then(key(a).cmp(&key(b)))
        });
        Self {
            invalid: survey.errors.clone(),
            findings,
            probes,
            objects: survey.subjects.len(),
            skipped: survey.skipped.clone(),
            texts: survey.texts.clone(),
        }
    }

    /// Whether anything was found that matters as much as `least`.
    #[must_use]
    pub fn has(&self, least: Severity) -> bool {
        self.count(|severity| severity >= least) > 0
    }

    /// How many findings have a severity that `is` meant.
    pub fn count(&self, is: impl Fn(Severity) -> bool) -> usize {
        self.findings
            .iter()
            .filter(|finding| is(finding.lint.severity))
            .count()
    }

    /// Attempts a second over all probes.
    #[must_use]
    pub fn load(&self) -> Load {
        let mut load = Load::default();
        for probe in self
            .probes
            .iter()
            .filter(|probe| probe.kind != ProbeKind::Startup)
        {
            let rate = probe.rate * f64::from(probe.replicas.unwrap_or(1));
            load.attempts += rate;
            if probe.handler == "exec" {
                load.exec += rate;
            }
        }
        load
    }
}
