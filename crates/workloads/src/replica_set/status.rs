//! A ReplicaSet's status.

use std::time::Duration;

use probelet_model::time::Wall;
use serde_json::{Map, Value, json};

use super::pod::Pod;
use crate::object;

/// Why a pod could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) message: String,
}

/// The status that follows from the set's active pods, the number of those that terminate, and whether one
/// could not be made.
///
/// Upstream: pkg/controller/replicaset/replica_set_utils.go, calculateStatus, with the gate
/// DeploymentReplicaSetTerminatingReplicas.
/// Shown by: a_status_counts_labels_readiness_and_availability, a_refused_template_is_told_and_tried_again.
pub(super) fn of(
    set: &Value,
    active: &[Pod<'_>],
    terminating: usize,
    failure: Option<Failure>,
    now: Wall,
) -> Value {
    let wanted = set["spec"]["template"]["metadata"]["labels"].as_object();
    let count = |is: &dyn Fn(&Pod<'_>) -> bool| active.iter().filter(|pod| is(pod)).count();
    let mut status = Map::new();
    status.insert("replicas".to_owned(), active.len().into());
    for (field, count) in [
        (
            "fullyLabeledReplicas",
            count(&|pod| has_all(object::labels(pod.0), wanted)),
        ),
        ("readyReplicas", count(&|pod| pod.ready().is_some())),
        (
            "availableReplicas",
            count(&|pod| available_at(set, *pod).is_some_and(|at| at <= now)),
        ),
    ] {
        if count > 0 {
            status.insert(field.to_owned(), count.into());
        }
    }
    status.insert("terminatingReplicas".to_owned(), terminating.into());
    let generation = object::generation(set);
    if generation > 0 {
        status.insert("observedGeneration".to_owned(), generation.into());
    }
    let conditions = conditions(set, failure, now);
    if !conditions.is_empty() {
        status.insert("conditions".to_owned(), conditions.into());
    }
    Value::Object(status)
}

/// The next moment at which a pod that is ready becomes available.
///
/// Upstream: pkg/controller/controller_utils.go, FindMinNextPodAvailabilityCheck.
/// Shown by: a_status_counts_labels_readiness_and_availability.
pub(super) fn next_availability(set: &Value, active: &[Pod<'_>], now: Wall) -> Option<Wall> {
    let moments = active.iter().filter_map(|pod| available_at(set, *pod));
    moments.filter(|at| *at > now).min()
}

/// When a ready pod is available, or was.
///
/// Upstream: pkg/api/v1/pod/util.go, IsPodAvailable.
/// Shown by: a_status_counts_labels_readiness_and_availability.
fn available_at(set: &Value, pod: Pod<'_>) -> Option<Wall> {
    pod.ready()?;
    match set["spec"]["minReadySeconds"].as_u64() {
        None | Some(0) => Some(Wall(i64::MIN)),
        Some(seconds) => Some(pod.ready_since()? + Duration::from_secs(seconds)),
    }
}

fn has_all(labels: Option<&Map<String, Value>>, wanted: Option<&Map<String, Value>>) -> bool {
    wanted.is_none_or(|wanted| {
        wanted
            .iter()
            .all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
    })
}

/// `ReplicaFailure` comes with the first failure, and goes with the first success.
fn conditions(set: &Value, failure: Option<Failure>, now: Wall) -> Vec<Value> {
    let all = set["status"]["conditions"].as_array();
    let is_failure = |condition: &&Value| condition["type"] == "ReplicaFailure";
    let mut conditions: Vec<Value> = all.cloned().unwrap_or_default();
    let known = all.is_some_and(|all| all.iter().any(|one| is_failure(&one)));
    match failure {
        Some(Failure { message }) if !known => conditions.push(json!({
            "type": "ReplicaFailure",
            "status": "True",
            "lastTransitionTime": now.to_string(),
            "reason": "FailedCreate",
            "message": message,
        })),
        Some(_) => {}
        None => conditions.retain(|condition| !is_failure(&condition)),
    }
    conditions
}
