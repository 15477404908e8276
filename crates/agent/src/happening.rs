//! What an agent tells whoever watches it, in the order in which it happened.

use std::time::Duration;

use probelet_engine::Skip;
use probelet_model::id::ObjectKey;
use probelet_model::probe::{OutcomeStatus, ProbeKind, Verdict};
use probelet_model::service::EndpointSubset;
use probelet_model::status::{Condition, ContainerStatus, Phase};
use probelet_model::time::Wall;
use serde::{Serialize, Serializer};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Happening {
    /// When.
    #[serde(serialize_with = "micros")]
    pub time: Wall,
    /// To which object.
    #[serde(flatten)]
    pub object: ObjectKey,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. On the wire `type` tells which.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum What {
    /// A probe attempt was counted.
    Attempt {
        /// The container.
        container: String,
        /// Which of its probes.
        probe: ProbeKind,
        /// How it went.
        outcome: OutcomeStatus,
        /// Exit code of an exec, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// Status code of an httpGet, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        status_code: Option<u16>,
        /// How long it took.
        #[serde(rename = "durationSeconds", serialize_with = "seconds")]
        duration: Duration,
        /// The how-manieth of its sort in a row.
        run: u32,
        /// How many in a row make a verdict.
        threshold: u32,
        /// The verdict now.
        verdict: Verdict,
        /// Whether this attempt changed it.
        changed: bool,
        /// What the target said.
        message: String,
    },
    /// A probe attempt could not be made; it counts for nothing.
    Error {
        /// The container.
        container: String,
        /// Which of its probes.
        probe: ProbeKind,
        /// How long it took.
        #[serde(rename = "durationSeconds", serialize_with = "seconds")]
        duration: Duration,
        /// Why.
        message: String,
    },
    /// A probe looked and made no attempt. Told once for each reason in a row.
    Skip {
        /// The container.
        container: String,
        /// Which of its probes.
        probe: ProbeKind,
        /// Why, in a word.
        reason: &'static str,
        /// Why, for people.
        message: String,
    },
    /// A container's state has changed.
    Container {
        /// Its status now.
        container: Box<ContainerStatus>,
        /// Which sort of container it is; left out of a regular one.
        #[serde(skip_serializing_if = "ContainerSort::is_regular")]
        sort: ContainerSort,
    },
    /// A condition of the pod has changed.
    Condition {
        /// It is now.
        condition: Condition,
    },
    /// The pod's phase has changed.
    Phase {
        /// It is now.
        phase: Phase,
    },
    /// The Service's endpoints have changed.
    Endpoints {
        /// They are now.
        subsets: Vec<EndpointSubset>,
    },
    /// The Service can be reached at an address of the host.
    Address {
        /// `IP:PORT`, several separated by commas in the order of the Service's ports.
        address: String,
    },
    /// A Kubernetes event was recorded.
    Event {
        /// The container it is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        container: Option<String>,
        /// `Normal` or `Warning`.
        event_type: &'static str,
        /// In a word.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// The object is gone.
    Deleted,
    /// The pod has been stopped; its object stays.
    Stopped,
}

/// Sorts of containers, as users tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ContainerSort {
    /// One of `initContainers`, which does its work and ends before the next begins.
    Init,
    /// One of `initContainers` that stays, as its `restartPolicy` is Always.
    Sidecar,
    /// One of `containers`.
    Regular,
}

impl ContainerSort {
    const fn is_regular(&self) -> bool {
        matches!(self, Self::Regular)
    }
}

/// Why a look became no attempt: a word, and a sentence for people.
pub(crate) fn skip_words(skip: &Skip) -> (&'static str, String) {
    match skip {
        Skip::PodEnded(phase) => ("PodEnded", format!("the pod is {}", phase.as_str())),
        Skip::NoContainer => (
            "NoContainer",
            "the container has not been started yet".to_owned(),
        ),
        Skip::OnHold(verdict) => (
            "OnHold",
            format!("its verdict, {verdict}, stands until the container restarts"),
        ),
        Skip::NotRunning => ("NotRunning", "the container is not running".to_owned()),
        Skip::Ended => (
            "Ended",
            "the container has ended and will not be started again".to_owned(),
        ),
        Skip::Deleting => ("Deleting", "the pod is being deleted".to_owned()),
        Skip::InitialDelay { delay, .. } => (
            "InitialDelay",
            format!("initialDelaySeconds: {} not over yet", delay.as_secs_f64()),
        ),
        Skip::StartupDone => ("StartupDone", "the container has started".to_owned()),
        Skip::WaitsForStartup => (
            "WaitsForStartup",
            "waits for the startup probe to succeed".to_owned(),
        ),
        Skip::AttemptUnderWay => (
            "AttemptUnderWay",
            "the attempt before this one is still under way".to_owned(),
        ),
    }
}

fn micros<S: Serializer>(time: &Wall, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.micros_rfc3339())
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1e6).round() / 1e6)
}
