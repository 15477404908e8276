//! A ReplicaSet and a Deployment as their planners see them: validated, defaulted, nothing left to check.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::pod::Meta;
use crate::selector::LabelSelector;

/// An `apps/v1` ReplicaSet.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaSet {
    /// `metadata.uid`. Empty in one that has not been stored yet.
    pub uid: String,
    /// Its metadata.
    pub meta: Meta,
    /// `spec.replicas`.
    pub replicas: u32,
    /// `spec.selector`; never empty, and selects what is made from the template.
    pub selector: LabelSelector,
    /// `spec.template`.
    pub template: Template,
    /// `spec.minReadySeconds`: how long a pod has to be ready before it counts as available.
    pub min_ready: Duration,
}

/// An `apps/v1` Deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// `metadata.uid`. Empty in one that has not been stored yet.
    pub uid: String,
    /// Its metadata.
    pub meta: Meta,
    /// `spec.replicas`.
    pub replicas: u32,
    /// `spec.selector`; never empty, and selects what is made from the template.
    pub selector: LabelSelector,
    /// `spec.template`.
    pub template: Template,
    /// `spec.strategy`.
    pub strategy: Strategy,
    /// `spec.minReadySeconds`: how long a pod has to be ready before it counts as available.
    pub min_ready: Duration,
    /// `spec.revisionHistoryLimit`: how many old ReplicaSets are kept; all, if it is the largest number.
    pub revision_history_limit: u32,
    /// `spec.paused`.
    pub paused: bool,
    /// `spec.progressDeadlineSeconds`: how long it may go without progress; `None` if for ever, which is the
    /// largest number.
    pub progress_deadline: Option<Duration>,
}

/// What the pods of a workload are made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// All of it, with its defaults: `metadata` and `spec`.
    pub value: Value,
}

/// How a Deployment replaces its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// All old ones go before a new one comes.
    Recreate,
    /// Some at a time.
    RollingUpdate {
        /// `maxSurge`: how many there may be above the number asked for.
        max_surge: Share,
        /// `maxUnavailable`: how many of that number may be missing.
        max_unavailable: Share,
    },
}

/// A number of pods, or a part of the number asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many in a hundred.
    Percent(u32),
}

/// How much more and how much less than asked for there may be during an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many above the number asked for.
    pub surge: u32,
    /// How many of the number asked for may be missing.
    pub unavailable: u32,
}

impl Share {
    /// How many that are of `desired`.
    ///
    /// Upstream: apimachinery pkg/util/intstr/intstr.go, GetScaledValueFromIntOrPercent.
    /// Shown by: shares_are_rounded_as_upstream_does.
    fn of(self, desired: u32, round_up: bool) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let hundredths = u64::from(percent) * u64::from(desired);
                let whole = if round_up {
                    hundredths.div_ceil(100)
                } else {
                    hundredths / 100
                };
                u32::try_from(whole).unwrap_or(u32::MAX)
            }
        }
    }
}

impl Strategy {
    /// Both numbers for a Deployment of `desired` pods: the surge rounded up, what may be missing rounded
    /// down; if both come to nothing, one may be missing, or nothing could ever be replaced.
    ///
    /// Upstream: kubectl and controller, pkg/controller/deployment/util/deployment_util.go, MaxSurge,
    /// MaxUnavailable, ResolveFenceposts.
    /// Shown by: shares_are_rounded_as_upstream_does.
    #[must_use]
    pub fn bounds(self, desired: u32) -> Bounds {
        let Self::RollingUpdate {
            max_surge,
            max_unavailable,
        } = self
        else {
            return Bounds {
                surge: 0,
                unavailable: 0,
            };
        };
        let surge = max_surge.of(desired, true);
        let mut unavailable = max_unavailable.of(desired, false);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Bounds {
            surge,
            unavailable: unavailable.min(desired),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_as_upstream_does() {
        use Share::{Count, Percent};
        for (max_surge, max_unavailable, desired, surge, unavailable) in [
            (Percent(25), Percent(25), 1, 1, 0),
            (Percent(25), Percent(25), 4, 1, 1),
            (Percent(25), Percent(25), 10, 3, 2),
            (Percent(25), Percent(25), 0, 0, 0),
            (Percent(0), Percent(0), 10, 0, 1),
            (Percent(0), Percent(10), 5, 0, 1),
            (Percent(1), Percent(0), 10, 1, 0),
            (Count(2), Count(0), 1, 2, 0),
            (Count(0), Count(5), 3, 0, 3),
            (Percent(100), Percent(100), 3, 3, 3),
            (Percent(u32::MAX), Count(0), u32::MAX, u32::MAX, 0),
        ] {
            let strategy = Strategy::RollingUpdate {
                max_surge,
                max_unavailable,
            };
            let expected = Bounds { surge, unavailable };
            assert_eq!(strategy.bounds(desired), expected, "{strategy:?} {desired}");
        }
        let none = Bounds {
            surge: 0,
            unavailable: 0,
        };
        assert_eq!(Strategy::Recreate.bounds(10), none);
    }
}
