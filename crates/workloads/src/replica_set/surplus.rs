//! Which pods go first.

use std::cmp::Ordering;

use probelet_model::time::Wall;

use super::pod::Pod;
use crate::object;

/// The annotation that says how much a pod's deletion would cost.
///
/// Upstream: pkg/apis/core/annotation_key_constants.go, PodDeletionCost.
/// Shown by: the_less_a_pod_is_worth_the_sooner_it_goes.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The pods to delete, `surplus` of them.
pub(super) fn choose<'a>(pods: &[Pod<'a>], surplus: usize, now: Wall) -> Vec<Pod<'a>> {
    let mut pods = pods.to_vec();
    if surplus < pods.len() {
        pods.sort_by(|one, other| order(*one, *other, now));
    }
    pods.truncate(surplus);
    pods
}

/// `Less` if the first is to go before the second.
///
/// Upstream: pkg/controller/controller_utils.go, ActivePodsWithRanks.Less, with the gates PodDeletionCost and
/// LogarithmicScaleDown.
/// Differs: without the rank by how many of the set's pods share the pod's node: there is one node, so that all
/// have the same.
/// Shown by: the_less_a_pod_is_worth_the_sooner_it_goes, what_is_of_one_worth_goes_by_uid.
fn order(one: Pod<'_>, other: Pod<'_>, now: Wall) -> Ordering {
    let by_ready_time = || match (one.ready(), other.ready()) {
        (Some(_), Some(_)) => newer(one.ready_since(), other.ready_since(), one, other, now),
        _ => Ordering::Equal,
    };
    let created = |pod: Pod<'_>| object::created(pod.0);
    is_assigned(one)
        .cmp(&is_assigned(other))
        .then_with(|| phase(one).cmp(&phase(other)))
        .then_with(|| one.ready().is_some().cmp(&other.ready().is_some()))
        .then_with(|| deletion_cost(one).cmp(&deletion_cost(other)))
        .then_with(by_ready_time)
        .then_with(|| restarts(other).cmp(&restarts(one)))
        .then_with(|| newer(created(one), created(other), one, other, now))
}

fn is_assigned(pod: Pod<'_>) -> bool {
    pod.0["spec"]["nodeName"]
        .as_str()
        .is_some_and(|node| !node.is_empty())
}

/// A pod that is less far on goes sooner.
///
/// Upstream: podPhaseToOrdinal.
/// Shown by: the_less_a_pod_is_worth_the_sooner_it_goes.
fn phase(pod: Pod<'_>) -> u8 {
    match pod.phase() {
        "Unknown" => 1,
        "Running" => 2,
        _ => 0,
    }
}

/// What the pod says of what its end costs.
///
/// Upstream: pkg/apis/core/helper/helpers.go, GetDeletionCostFromPodAnnotations: a plain decimal number of 32
/// bits, else 0.
/// Shown by: the_less_a_pod_is_worth_the_sooner_it_goes.
fn deletion_cost(pod: Pod<'_>) -> i32 {
    let text = object::annotation(pod.0, DELETION_COST).unwrap_or_default();
    let plain = !text.starts_with('+') && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).unwrap_or(0)
}

/// The most restarts of any container.
fn restarts(pod: Pod<'_>) -> i64 {
    let containers = pod.0["status"]["containerStatuses"].as_array();
    let counts = containers
        .into_iter()
        .flatten()
        .map(|container| object::count(&container["restartCount"]));
    counts.max().unwrap_or(0)
}

/// The newer goes first, one without a stamp before all. Ages count by their order of magnitude; within one,
/// the uid decides, which is to say chance.
///
/// Upstream: pkg/controller/controller_utils.go, afterOrZero and logarithmicRankDiff.
/// Shown by: the_less_a_pod_is_worth_the_sooner_it_goes, what_is_of_one_worth_goes_by_uid.
fn newer(
    one: Option<Wall>,
    other: Option<Wall>,
    first: Pod<'_>,
    second: Pod<'_>,
    now: Wall,
) -> Ordering {
    let (Some(one), Some(other)) = (one, other) else {
        return one.is_some().cmp(&other.is_some());
    };
    if one == other {
        return Ordering::Equal;
    }
    magnitude(one, now)
        .cmp(&magnitude(other, now))
        .then_with(|| object::uid(first.0).cmp(object::uid(second.0)))
}

/// The logarithm to the base 2 of an age in nanoseconds; `None`, which is less, of one that is nothing.
fn magnitude(since: Wall, now: Wall) -> Option<u32> {
    let age = now.0.saturating_sub(since.0);
    u64::try_from(age).ok()?.checked_ilog2()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    const HOUR: u64 = 3600;
    const MONTH: u64 = 30 * 24 * HOUR;

    fn now() -> Wall {
        Wall::default() + Duration::from_secs(2_000_000_000)
    }

    /// Shape: node, phase, restarts, ready since and created, each so many seconds ago.
    fn pod(
        node: &str,
        phase: &str,
        ready: Option<Option<u64>>,
        restarts: u64,
        created: Option<u64>,
    ) -> Value {
        let ago = |seconds: u64| Value::from((now() - Duration::from_secs(seconds)).to_string());
        let mut pod = json!({
            "metadata": { "annotations": {} },
            "spec": { "nodeName": node },
            "status": { "phase": phase },
        });
        if let Some(since) = ready {
            let mut condition = json!({ "type": "Ready", "status": "True" });
            if let Some(since) = since {
                condition["lastTransitionTime"] = ago(since);
            }
            pod["status"]["conditions"] = json!([condition]);
            pod["status"]["containerStatuses"] = json!([{ "restartCount": restarts }]);
        }
        if let Some(created) = created {
            pod["metadata"]["creationTimestamp"] = ago(created);
        }
        pod
    }

    fn costing(mut pod: Value, cost: &str) -> Value {
        pod["metadata"]["annotations"][DELETION_COST] = cost.into();
        pod
    }

    /// The rows of upstream's TestSortingActivePodsWithRanks that have no rank in them.
    #[test]
    fn the_less_a_pod_is_worth_the_sooner_it_goes() {
        let unscheduled = pod("", "Pending", None, 0, None);
        let pending = pod("node", "Pending", None, 0, None);
        let unknown = pod("node", "Unknown", None, 0, None);
        let not_ready = pod("node", "Running", None, 0, None);
        let ready_without_time = pod("node", "Running", Some(None), 0, None);
        let ready_now = pod("node", "Running", Some(Some(0)), 0, Some(0));
        let ready_then = pod("node", "Running", Some(Some(MONTH)), 0, Some(MONTH));
        let many_restarts = pod("node", "Running", Some(Some(0)), 9001, Some(0));
        let created_then = pod("node", "Running", Some(Some(0)), 0, Some(MONTH));
        let ready = |hours: u64| pod("", "Running", Some(Some(hours * HOUR)), 0, Some(MONTH));
        for (sooner, later) in [
            (&unscheduled, &pending),
            (&pending, &unknown),
            (&unknown, &not_ready),
            (&not_ready, &ready_without_time),
            (&ready_without_time, &ready_now),
            (&ready_now, &ready_then),
            (&many_restarts, &ready_now),
            (&ready_now, &created_then),
            (
                &costing(created_then.clone(), "10"),
                &costing(created_then.clone(), "100"),
            ),
            (&costing(created_then.clone(), "-1"), &created_then),
            // None of these is a cost.
            (&costing(ready_now.clone(), "+7"), &created_then),
            (&costing(ready_now.clone(), "07"), &created_then),
            (&costing(ready_now.clone(), "x"), &created_then),
            (&ready(2), &ready(5)),
        ] {
            let orders = [(sooner, later), (later, sooner)]
                .map(|(one, other)| order(Pod(one), Pod(other), now()));
            assert_eq!(
                orders,
                [Ordering::Less, Ordering::Greater],
                "{sooner} {later}"
            );
        }
    }

    #[test]
    fn what_is_of_one_worth_goes_by_uid() {
        let hours = |hours: u64| pod("", "Running", Some(Some(hours * HOUR)), 0, Some(MONTH));
        let (mut five, mut eight) = (hours(5), hours(8));
        assert_eq!(order(Pod(&five), Pod(&eight), now()), Ordering::Equal);
        five["metadata"]["uid"] = "b".into();
        eight["metadata"]["uid"] = "a".into();
        assert_eq!(order(Pod(&five), Pod(&eight), now()), Ordering::Greater);
        let pods = [Pod(&five), Pod(&eight)];
        let chosen: Vec<&str> = choose(&pods, 1, now())
            .iter()
            .map(|pod| object::uid(pod.0))
            .collect();
        assert_eq!(chosen, ["a"]);
    }
}
