//! Scenarios: what happens to pods in a simulation, as people write it down.
//!
//! [`Scenario::read`] takes YAML; the format is docs/scenarios.md. Everything that is wrong with a text is
//! reported at once, each with its line.

mod answers;
mod fields;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use probelet_model::id::ContainerName;
use probelet_model::manifest::Diagnostics;
use probelet_model::pod::Pod;

use crate::script::{ContainerScript, PodScript};

/// A scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scenario {
    /// How much virtual time it takes; more than zero.
    pub duration: Duration,
    /// When the agent dies, soonest first.
    pub agent_restarts: Vec<AgentRestart>,
    /// What containers do, by name; the same in every pod that has one of the name.
    pub containers: BTreeMap<ContainerName, Arc<ContainerScript>>,
    /// What is done to pods, soonest first.
    pub events: Vec<Event>,
}

/// The agent dies and comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentRestart {
    /// When it dies.
    pub at: Duration,
    /// How long there is none.
    pub down_for: Duration,
}

/// Something is done to pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Duration,
    /// To the pod of this name; `None` is all of them.
    pub pod: Option<String>,
    /// What.
    pub action: Action,
}

/// What is done to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is deleted.
    Delete {
        /// Within this grace; `None` is the pod's own.
        grace: Option<Duration>,
    },
    /// A condition that is not the node's is set, as for a readiness gate.
    Condition {
        /// Which.
        kind: String,
        /// `True`, `False` or `Unknown`.
        status: String,
    },
}

impl Scenario {
    /// Reads a scenario for these pods; `source` is what errors call the text.
    ///
    /// # Errors
    ///
    /// All that is wrong with it. A text that is no YAML is reported up to its first syntax error.
    pub fn read(source: &str, text: &str, pods: &[Pod]) -> Result<Self, Diagnostics> {
        read::scenario(source, text, pods)
    }

    /// The scripts of a pod's containers.
    #[must_use]
    pub fn script(&self, pod: &Pod) -> PodScript {
        let of_pod = self
            .containers
            .iter()
            .filter(|(name, _)| pod.container(name.as_str()).is_some());
        of_pod
            .map(|(name, script)| (name.clone(), script.clone()))
            .collect()
    }
}
