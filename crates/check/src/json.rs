//! A report for programs.
//!
//! Shape, all fields always there, times in seconds:
//!
//! ```text
//! { "summary": { "objects", "invalid", "errors", "warnings", "infos", "probes",
//!                "attemptsPerSecond", "execAttemptsPerSecond" },
//!   "invalid":  [ { "file", "line"?, "column"?, "field", "message" } ],
//!   "findings": [ { "id", "severity": "info|warning|error", "file", "line", "column", "endColumn",
//!                   "object": { "kind", "namespace", "name" }, "field", "message", "help" } ],
//!   "probes":   [ { "file", "line", "column", "object", "container", "probe": "startup|readiness|liveness",
//!                   "handler": "exec|httpGet|tcpSocket|grpc", "replicas": number or null,
//!                   "attemptsPerSecond", "actsWithinSeconds", "actsWithinIfRefusedSeconds",
//!                   "recoversWithinSeconds",
//!                   "graceSeconds": number or null,
//!                   "slowestStart": { "safeSeconds", "mostSeconds" } or null } ],
//!   "skipped":  { "ConfigMap": 2 } }
//! ```
//!
//! `graceSeconds` is how long the container may take to stop once the probe has killed it. Fields may be added; none
//! changes its meaning.

use std::time::Duration;

use probelet_model::manifest::Diagnostic;
use probelet_model::manifest::survey::Owner;
use serde_json::{Value, json};

use crate::lint::Severity;
use crate::report::{Finding, ProbeFact, Report};
use crate::span::Lines;

/// The report as one object.
#[must_use]
pub fn value(report: &Report) -> Value {
    let of = |severity: Severity| report.count(|other| other == severity);
    let load = report.load();
    let lines = Lines::of(&report.texts);
    json!({
        "summary": {
            "objects": report.objects,
            "invalid": report.invalid.len(),
            "errors": of(Severity::Error),
            "warnings": of(Severity::Warning),
            "infos": of(Severity::Info),
            "probes": report.probes.len(),
            "attemptsPerSecond": load.attempts,
            "execAttemptsPerSecond": load.exec,
        },
        "invalid": report.invalid.iter().map(invalid).collect::<Vec<_>>(),
        "findings": report.findings.iter().map(|one| finding(&lines, one)).collect::<Vec<_>>(),
        "probes": report.probes.iter().map(probe).collect::<Vec<_>>(),
        "skipped": report.skipped,
    })
}

fn invalid(diagnostic: &Diagnostic) -> Value {
    let mut value = json!({
        "file": diagnostic.source,
        "field": diagnostic.error.path.to_string(),
        "message": diagnostic.error.message,
    });
    if let Some(at) = diagnostic.position {
        value["line"] = at.line.into();
        value["column"] = at.column.into();
    }
    value
}

fn object(owner: &Owner) -> Value {
    json!({ "kind": owner.kind, "namespace": owner.namespace, "name": owner.name })
}

fn finding(lines: &Lines<'_>, finding: &Finding) -> Value {
    let at = finding.position;
    let word = lines.word(&finding.source, at);
    json!({
        "id": finding.lint.id,
        "severity": finding.lint.severity.as_str(),
        "file": finding.source,
        "line": at.line,
        "column": at.column,
        "endColumn": word.map_or_else(|| json!(at.column), |word| json!(word.end_column())),
        "object": object(&finding.object),
        "field": finding.path.to_string(),
        "message": finding.message,
        "help": finding.help,
    })
}

fn probe(fact: &ProbeFact) -> Value {
    let seconds = |time: Duration| time.as_secs_f64();
    json!({
        "file": fact.source,
        "line": fact.position.line,
        "column": fact.position.column,
        "object": object(&fact.object),
        "container": fact.container,
        "probe": fact.kind.as_str().to_lowercase(),
        "handler": fact.handler,
        "replicas": fact.replicas,
        "attemptsPerSecond": fact.rate,
        "actsWithinSeconds": seconds(fact.timing.acts_within),
        "actsWithinIfRefusedSeconds": seconds(fact.timing.acts_within_if_refused),
        "recoversWithinSeconds": seconds(fact.timing.recovers_within),
        "graceSeconds": fact.stops_within.map(seconds),
        "slowestStart": fact.start.map(|start| json!({
            "safeSeconds": seconds(start.safe),
            "mostSeconds": seconds(start.most),
        })),
    })
}
