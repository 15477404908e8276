//! What a simulation tells: one record after the other, in the order of virtual time.
//!
//! The serialised form is the contract of `probelet simulate -o jsonl`; fields are only ever added to it.

use probelet_model::probe::{OutcomeStatus, ProbeKind, Verdict};
use serde::{Serialize, Serializer};

/// Nanoseconds of virtual time since the pod was applied; on the wire seconds, cut to whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At(pub u64);

impl At {
    /// As seconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are what is told")]
    pub fn as_secs(self) -> f64 {
        (self.0 / 1_000_000) as f64 / 1_000.0
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_secs())
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// When; the summary comes last and has no time of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub t: Option<At>,
    /// The pod's name, where more than one is simulated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
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
    /// A probe made an attempt, told when it answered.
    Attempt {
        /// The container.
        container: String,
        /// Which of its probes; in lower case on the wire.
        probe: ProbeKind,
        /// How it went.
        outcome: AttemptOutcome,
        /// The how-manieth of its sort in a row; 0 for an error, which counts for nothing.
        run: u32,
        /// How many in a row make a verdict.
        threshold: u32,
        /// What the target said.
        message: String,
    },
    /// A probe's verdict changed, by an attempt or by a new run of the container.
    Verdict {
        /// The container.
        container: String,
        /// Which of its probes.
        probe: ProbeKind,
        /// The verdict now.
        result: Verdict,
    },
    /// A container's status changed.
    Container {
        /// The container.
        container: String,
        /// `waiting`, `running` or `terminated`.
        state: ContainerStateKind,
        /// Why it waits, or how it ended; empty if nothing is to be said.
        reason: String,
        /// How it ended: of the run that `state` tells of, else of the last one; 0 if none has.
        exit_code: i32,
        /// How often it was started again.
        restart_count: u32,
        /// Whether it counts as ready.
        ready: bool,
        /// Whether it runs and its startup probe, if any, has succeeded.
        started: bool,
    },
    /// A condition of the pod changed.
    Condition {
        /// Which.
        condition: String,
        /// `True`, `False` or `Unknown`.
        status: String,
        /// Why, in a word; may be empty.
        reason: String,
    },
    /// The pod's phase changed.
    Phase {
        /// The phase now.
        phase: probelet_model::status::Phase,
    },
    /// The pod's place in the endpoints of the Service changed.
    Endpoint {
        /// Where it stands.
        state: EndpointState,
        /// Whether the pod is being deleted.
        terminating: bool,
    },
    /// A Kubernetes event.
    Event {
        /// `Normal` or `Warning`.
        event_type: &'static str,
        /// In a word.
        reason: &'static str,
        /// For people.
        message: String,
        /// The container it is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        container: Option<String>,
    },
    /// A probe looked and made no attempt. Told once for each reason in a row.
    Skip {
        /// The container.
        container: String,
        /// Which of its probes.
        probe: ProbeKind,
        /// Why, for people.
        reason: String,
    },
    /// Something the scenario does: the agent restarts, the pod is deleted.
    Scenario {
        /// What, for people.
        message: String,
    },
    /// The end of the simulation; one for each pod.
    Summary {
        /// Seconds until the pod was Ready for the first time; `null` if it never was.
        time_to_ready: Option<f64>,
        /// Seconds it was not Ready after it had been for the first time, until it was gone or had succeeded.
        unready_seconds: f64,
        /// Restarts of all containers together.
        restarts: u32,
        /// Attempts of all probes together.
        attempts: u64,
    },
}

/// How an attempt went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptOutcome {
    /// Counts as a success.
    Success,
    /// Counts as a success and gives a `ProbeWarning` event.
    Warning,
    /// Counts as a failure.
    Failure,
    /// Counts for nothing.
    Error,
}

impl From<OutcomeStatus> for AttemptOutcome {
    fn from(status: OutcomeStatus) -> Self {
        match status {
            OutcomeStatus::Success => Self::Success,
            OutcomeStatus::Warning => Self::Warning,
            OutcomeStatus::Failure => Self::Failure,
        }
    }
}

/// Which of its three states a container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerStateKind {
    /// Not yet, or not yet again.
    Waiting,
    /// It runs.
    Running,
    /// It has ended.
    Terminated,
}

/// Where a pod stands in a Service's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EndpointState {
    /// It gets traffic.
    Ready,
    /// It is listed and gets none.
    NotReady,
    /// It is not listed.
    Absent,
}
