//! What containers ask for and may use, and what the node has.

use serde::{Deserialize, Serialize};

/// A container's `resources`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// `requests`.
    pub requests: Amounts,
    /// `limits`.
    pub limits: Amounts,
}

/// So much of each resource; `None` where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// `cpu`, in thousandths of one.
    pub cpu_milli: Option<u64>,
    /// `memory`, in bytes.
    pub memory: Option<u64>,
    /// `ephemeral-storage`, in bytes.
    pub ephemeral_storage: Option<u64>,
}

/// How much a pod may count on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Qos {
    /// It asks for nothing.
    #[default]
    BestEffort,
    /// It asks for something.
    Burstable,
    /// Every container may use just what it asks for.
    Guaranteed,
}

impl Qos {
    /// As in `status.qosClass`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BestEffort => "BestEffort",
            Self::Burstable => "Burstable",
            Self::Guaranteed => "Guaranteed",
        }
    }
}
