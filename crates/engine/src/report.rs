//! What the engine tells whoever watches: each attempt and each look that became none, with the reason.

use std::time::Duration;

use probelet_model::id::{ContainerName, PodUid};
use probelet_model::probe::{Code, OutcomeStatus, ProbeKind, Verdict};

use crate::gate::Skip;

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The pod.
    pub pod: PodUid,
    /// The container.
    pub container: ContainerName,
    /// Which of its probes.
    pub kind: ProbeKind,
    /// What there is to tell.
    pub what: What,
}

/// What there is to tell of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An attempt has been counted.
    Attempt {
        /// How it went.
        status: OutcomeStatus,
        /// What the target said.
        output: String,
        /// Exit or status code.
        code: Option<Code>,
        /// How long it took.
        duration: Duration,
        /// The how-manieth of its sort in a row.
        run: u32,
        /// How many in a row make a verdict.
        threshold: u32,
        /// The verdict now.
        verdict: Verdict,
        /// Whether this attempt changed it.
        changed: bool,
    },
    /// An attempt could not be made, and was not counted.
    Error {
        /// Why.
        message: String,
        /// How long it took.
        duration: Duration,
    },
    /// The verdict has changed, by whatever cause: an attempt, a new run that no attempt has judged yet, a
    /// container that does not run. After the attempt that caused it.
    Verdict(Verdict),
    /// A look became no attempt. Told once for each reason in a row.
    Skipped(Skip),
}
