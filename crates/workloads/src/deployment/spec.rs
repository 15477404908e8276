//! What of a Deployment's spec a plan goes by.

use std::time::Duration;

use serde_json::Value;

use crate::object;

/// Shape: one for a Deployment, read at each plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    /// `replicas`.
    pub(super) replicas: i64,
    /// `paused`.
    pub(super) paused: bool,
    /// `minReadySeconds`.
    pub(super) min_ready_seconds: i64,
    /// `progressDeadlineSeconds`; `None` if no progress is to be judged.
    pub(super) progress_deadline: Option<Duration>,
    /// `revisionHistoryLimit`; `None` if all are kept.
    pub(super) revision_history_limit: Option<usize>,
    /// Of `strategy`: the bounds of a rolling update; `None` if it is Recreate.
    pub(super) rolling: Option<Rolling>,
}

/// How far a rolling update may go to either side of `replicas`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rolling {
    /// So many pods more.
    pub(super) max_surge: i64,
    /// So many available pods less.
    pub(super) max_unavailable: i64,
}

/// What stands for no limit.
const UNLIMITED: i64 = 0x7fff_ffff;

impl Spec {
    pub(super) fn of(deployment: &Value) -> Self {
        let spec = &deployment["spec"];
        let replicas = spec["replicas"].as_i64().unwrap_or(1);
        let limited = |field: &str| {
            let number = spec[field].as_i64().filter(|number| *number != UNLIMITED)?;
            u64::try_from(number).ok()
        };
        let rolling = &spec["strategy"]["rollingUpdate"];
        Self {
            replicas,
            paused: spec["paused"] == true,
            min_ready_seconds: object::count(&spec["minReadySeconds"]),
            progress_deadline: limited("progressDeadlineSeconds").map(Duration::from_secs),
            revision_history_limit: limited("revisionHistoryLimit")
                .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            rolling: (spec["strategy"]["type"] != "Recreate")
                .then(|| Rolling::of(&rolling["maxSurge"], &rolling["maxUnavailable"], replicas)),
        }
    }

    pub(super) fn max_surge(&self) -> i64 {
        self.rolling.map_or(0, |rolling| rolling.max_surge)
    }

    /// How many pods may be unavailable, which is no more than there are.
    ///
    /// Upstream: pkg/controller/deployment/util/deployment_util.go, MaxUnavailable.
    /// Shown by: bounds_are_rounded_so_that_something_can_move.
    pub(super) fn max_unavailable(&self) -> i64 {
        let bound = self.rolling.map_or(0, |rolling| rolling.max_unavailable);
        bound.min(self.replicas)
    }

    /// Of all ReplicaSets together, while a rollout is under way.
    pub(super) fn max_pods(&self) -> i64 {
        self.replicas + self.max_surge()
    }

    pub(super) fn min_available(&self) -> i64 {
        self.replicas - self.max_unavailable()
    }
}

impl Rolling {
    /// Percentages of surge are rounded up, of unavailability down; of two zeros the second becomes one.
    ///
    /// Upstream: pkg/controller/deployment/util/deployment_util.go, ResolveFenceposts.
    /// Shown by: bounds_are_rounded_so_that_something_can_move.
    fn of(max_surge: &Value, max_unavailable: &Value, replicas: i64) -> Self {
        let max_surge = scaled(max_surge, replicas, true);
        let max_unavailable = match (max_surge, scaled(max_unavailable, replicas, false)) {
            (0, 0) => 1,
            (_, bound) => bound,
        };
        Self {
            max_surge,
            max_unavailable,
        }
    }
}

/// A number, or a percentage of `whole`.
///
/// Upstream: apimachinery pkg/util/intstr/intstr.go, GetScaledValueFromIntOrPercent.
/// Shown by: bounds_are_rounded_so_that_something_can_move.
fn scaled(value: &Value, whole: i64, up: bool) -> i64 {
    let percent = value.as_str().and_then(|text| text.strip_suffix('%'));
    match percent.and_then(|number| number.parse::<i64>().ok()) {
        Some(percent) => {
            let hundredfold = percent.saturating_mul(whole);
            let add = if up { 99 } else { 0 };
            hundredfold.saturating_add(add).div_euclid(100)
        }
        None => object::count(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bounds_are_rounded_so_that_something_can_move() {
        for (replicas, surge, unavailable, expected) in [
            // As upstream's comment on the function tells them.
            (2, json!("0%"), json!("1%"), (0, 1)),
            (1, json!("0%"), json!("1%"), (0, 1)),
            (2, json!("1%"), json!("25%"), (1, 0)),
            (1, json!("1%"), json!("25%"), (1, 0)),
            (2, json!("1%"), json!("0%"), (1, 0)),
            (10, json!("25%"), json!("25%"), (3, 2)),
            (4, json!("25%"), json!("25%"), (1, 1)),
            (3, json!(1), json!(0), (1, 0)),
            (3, json!(0), json!(5), (0, 3)),
            (3, json!("200%"), json!(0), (6, 0)),
            (0, json!("25%"), json!("25%"), (0, 0)),
            (3, json!(null), json!(null), (0, 1)),
        ] {
            let spec = Spec::of(&json!({ "spec": {
                "replicas": replicas,
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable },
                },
            }}));
            assert_eq!((spec.max_surge(), spec.max_unavailable()), expected);
            assert_eq!(spec.max_pods() - spec.replicas, expected.0);
        }
    }

    #[test]
    fn what_is_unlimited_is_none() {
        let spec = |deadline: i64| {
            Spec::of(&json!({ "spec": {
                "progressDeadlineSeconds": deadline,
                "revisionHistoryLimit": deadline,
                "strategy": { "type": "Recreate" },
            }}))
        };
        let unlimited = spec(2_147_483_647);
        assert_eq!(unlimited.progress_deadline, None);
        assert_eq!(unlimited.revision_history_limit, None);
        assert_eq!(unlimited.rolling, None);
        assert_eq!(unlimited.max_unavailable(), 0);
        let ten = spec(10);
        assert_eq!(ten.progress_deadline, Some(Duration::from_secs(10)));
        assert_eq!(ten.revision_history_limit, Some(10));
    }
}
