//! How slow a start may be.

use std::time::Duration;

use probelet_model::field::FieldPath;
use probelet_model::manifest::survey::Subject;
use probelet_model::pod::Pod;
use probelet_model::probe::ProbeKind;
use serde_json::Value;

use crate::lint::{
    LONG_DELAY_WITHOUT_STARTUP_PROBE, PROGRESS_DEADLINE_TOO_SHORT,
    START_SHORTER_THAN_READINESS_DELAY, STARTUP_BESIDE_INITIAL_DELAY,
};
use crate::report::Finding;
use crate::site::{self, Site};
use crate::timing::{Seconds, Start};

/// An initial delay that is long: more than a default probe takes to act.
const LONG: Duration = Duration::from_secs(30);
/// The period that is proposed for a startup probe: a quick start is seen soon.
const STARTUP_PERIOD: Duration = Duration::from_secs(5);
/// How long a rollout may make no progress, in seconds, if the manifest does not say.
///
/// Upstream: pkg/apis/apps/v1/defaults.go, SetDefaults_Deployment.
/// Shown by: deployments.
const PROGRESS_DEADLINE: u64 = 600;

/// A startup probe that allows `start`, in words.
fn startup_probe(start: Duration) -> String {
    let failures = start.as_nanos().div_ceil(STARTUP_PERIOD.as_nanos()) + 1;
    format!(
        "startupProbe: {{<the handler>, periodSeconds: {}, failureThreshold: {failures}}}",
        STARTUP_PERIOD.as_secs(),
    )
}

pub(super) fn long_delay(site: &Site<'_>, found: &mut Vec<Finding>) {
    let container = site.container;
    let (Some(liveness), None, Some(start)) = (
        &container.liveness,
        &container.startup,
        Start::of(container),
    ) else {
        return;
    };
    if liveness.initial_delay < LONG {
        return;
    }
    found.push(site.finding(
        &LONG_DELAY_WITHOUT_STARTUP_PROBE,
        site.probe_path(ProbeKind::Liveness, "initialDelaySeconds"),
        format!(
            "after every start nothing is noticed for {}, and a start that takes longer than {} may be killed",
            Seconds(liveness.initial_delay),
            Seconds(start.safe),
        ),
        format!(
            "drop initialDelaySeconds and add {}, which allows as much and ends as soon as the start does",
            startup_probe(start.safe),
        ),
    ));
}

pub(super) fn shorter_than_readiness_delay(site: &Site<'_>, found: &mut Vec<Finding>) {
    let (Some(readiness), Some(start)) = (&site.container.readiness, Start::of(site.container))
    else {
        return;
    };
    let expected = readiness.initial_delay;
    let period = site
        .container
        .probe(start.by)
        .map_or(Duration::ZERO, |probe| probe.period);
    // Both delays lose the same part of a second.
    if start.most.saturating_sub(period) >= expected {
        return;
    }
    let (path, help) = match start.by {
        ProbeKind::Startup => (
            "failureThreshold",
            "raise startupProbe.failureThreshold".to_owned(),
        ),
        ProbeKind::Liveness | ProbeKind::Readiness => {
            ("", format!("add {}", startup_probe(expected)))
        }
    };
    found.push(site.finding(
        &START_SHORTER_THAN_READINESS_DELAY,
        site.probe_path(start.by, path),
        format!(
            "readiness waits {} for the start, but {} may kill a start that takes longer than {} and does kill one \
             that takes longer than {}",
            Seconds(expected),
            start.by.as_str().to_lowercase(),
            Seconds(start.safe),
            Seconds(start.most),
        ),
        help,
    ));
}

pub(super) fn beside_initial_delay(site: &Site<'_>, found: &mut Vec<Finding>) {
    if site.container.startup.is_none() {
        return;
    }
    for (kind, probe) in site.probes() {
        if kind == ProbeKind::Startup || probe.initial_delay.is_zero() {
            continue;
        }
        let what = match kind {
            ProbeKind::Readiness => "out of traffic",
            ProbeKind::Liveness | ProbeKind::Startup => "unwatched",
        };
        found.push(site.finding(
            &STARTUP_BESIDE_INITIAL_DELAY,
            site.probe_path(kind, "initialDelaySeconds"),
            format!(
                "the startup probe holds {} back already; after a quick start the delay keeps the container {what} \
                 until {} after its start",
                kind.as_str().to_lowercase(),
                Seconds(probe.initial_delay),
            ),
            format!("drop initialDelaySeconds from {}", kind.field()),
        ));
    }
}

/// A rollout is called failed when it makes no progress for longer than its progressDeadlineSeconds.
///
/// Upstream: pkg/controller/deployment/util/deployment_util.go, DeploymentTimedOut.
/// Shown by: deployments.
pub(super) fn progress_deadline(subject: &Subject, pod: &Pod, found: &mut Vec<Finding>) {
    if subject.owner.kind != "Deployment" {
        return;
    }
    let path = FieldPath::root()
        .field("spec")
        .field("progressDeadlineSeconds");
    let written = subject.written(&path).and_then(Value::as_u64);
    let deadline = Duration::from_secs(written.unwrap_or(PROGRESS_DEADLINE));
    let slowest = pod
        .containers
        .iter()
        .filter_map(|container| Some((Start::of(container)?, &container.name)))
        .max_by_key(|(start, _)| start.most);
    let Some((start, name)) = slowest.filter(|(start, _)| start.most > deadline) else {
        return;
    };
    found.push(site::finding(
        subject,
        &PROGRESS_DEADLINE_TOO_SHORT,
        path,
        format!(
            "container {name} may take {} to start, but the rollout is called failed after {}",
            Seconds(start.most),
            Seconds(deadline),
        ),
        format!(
            "set progressDeadlineSeconds above {}",
            start.most.as_secs_f64().ceil()
        ),
    ));
}
