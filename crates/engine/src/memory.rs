//! What the next agent must know.
//!
//! Everything here is durable by design: it outlives a crash of the agent, so that nothing flips until a
//! new attempt says so. Points in time are written as wall time, because the monotonic clock means
//! nothing after a reboot.

use std::collections::BTreeMap;
use std::time::Duration;

use probelet_model::id::{ContainerId, ContainerName};
use probelet_model::probe::{ProbeKind, Verdict};
use probelet_model::time::{Mono, Now, Wall};
use serde::{Deserialize, Serialize};

/// One pod's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodMemory {
    /// Its containers, of whatever sort.
    pub containers: BTreeMap<ContainerName, ContainerMemory>,
    /// How far its initialisation had come.
    #[serde(default)]
    pub initialization: InitializationMemory,
    /// Its active deadline was over.
    #[serde(default)]
    pub deadline_exceeded: bool,
    /// It was evicted, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted: Option<String>,
    /// Pulls that failed, by image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed_pulls: BTreeMap<String, FailedPullMemory>,
}

/// The newest failed pull of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedPullMemory {
    /// How long no other is tried.
    pub delay: Duration,
    /// Since when.
    pub since: Instant,
    /// What was wrong.
    pub error: String,
}

/// How far a pod's initialisation had come in the sandbox that stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitializationMemory {
    /// How many of the init containers had had their turn.
    pub reached: usize,
    /// All of them had done their work.
    pub done: bool,
}

/// One container's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerMemory {
    /// The newest run that was asked for.
    pub id: Option<ContainerId>,
    /// How many runs were before that one.
    pub restart_count: u32,
    /// An ordinary init container had done its work.
    #[serde(default)]
    pub completed: bool,
    /// It was being stopped.
    pub stopping: Option<StoppingMemory>,
    /// The back-off: the wait, and when it was set.
    pub back_off: Option<(Duration, Instant)>,
    /// Its probes.
    pub probes: BTreeMap<ProbeKind, ProbeMemory>,
    /// The image of the newest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageMemory>,
}

/// The image of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageMemory {
    /// As the spec named it.
    pub spec: String,
    /// `image` of the status.
    pub name: String,
    /// `imageID` of the status.
    pub id: String,
}

/// What a container that was being stopped was to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppingMemory {
    /// To be started again in the same turn, whatever its exit code.
    pub restart: bool,
    /// When the run before it had ended, which is what that restart's back-off is judged by.
    pub previous_exit: Option<Instant>,
    /// How far the stop had come, where that is known.
    #[serde(default)]
    pub step: Option<StepMemory>,
}

/// How far a stop had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepMemory {
    /// Its preStop hook ran.
    Hook {
        /// Since when.
        since: Instant,
        /// With what grace.
        grace: Duration,
    },
    /// It waited for others to end before it.
    Turn {
        /// Since when.
        since: Instant,
        /// With what grace.
        grace: Duration,
    },
    /// TERM had been asked for.
    Signalled {
        /// With what grace.
        grace: Duration,
    },
}

/// One probe's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeMemory {
    /// The run that the verdict is about.
    pub container: Option<ContainerId>,
    /// The verdict.
    pub verdict: Option<Verdict>,
    /// Whether the last counted attempt was a success.
    pub success: bool,
    /// How many of that sort in a row, counted up to the threshold and no further, so that a probe
    /// that goes on as before need not be written down again.
    pub run: u32,
    /// The probe has said its last word about this run.
    pub on_hold: bool,
    /// A tick of its grid.
    pub anchor: Instant,
}

/// A monotonic instant, written as wall time in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant(i64);

impl Instant {
    /// `origin` is one reading of both clocks that stays the same while the agent lives, so that an
    /// instant that has not moved is written the same every time.
    pub(crate) fn written(at: Mono, origin: Now) -> Self {
        let offset = i128::from(at.0) - i128::from(origin.mono.0);
        Self(i64::try_from(i128::from(origin.wall.0) + offset).unwrap_or(i64::MAX))
    }

    pub(crate) fn read(self, now: Now) -> Mono {
        let offset = i128::from(self.0) - i128::from(now.wall.0);
        Mono(u64::try_from((i128::from(now.mono.0) + offset).max(0)).unwrap_or(u64::MAX))
    }

    /// A point that must have been: if the wall clock was set back since, it is taken to be now.
    pub(crate) fn read_past(self, now: Now) -> Mono {
        self.read(now).min(now.mono)
    }

    /// What it is on the wall clock.
    #[must_use]
    pub const fn wall(self) -> Wall {
        Wall(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_from_before_init_containers_is_read() {
        let old = r#"{"containers": {"c": {"id": "1", "restart_count": 2,
            "stopping": {"restart": true, "previous_exit": null}, "back_off": null, "probes": {}}}}"#;
        let memory: PodMemory = serde_json::from_str(old).unwrap();
        assert_eq!(memory.initialization, InitializationMemory::default());
        assert!(!memory.deadline_exceeded);
        let container = &memory.containers["c"];
        assert!(!container.completed);
        assert_eq!(container.restart_count, 2);
        assert_eq!(container.stopping.unwrap().step, None);
    }
}
