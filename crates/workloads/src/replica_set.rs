//! A ReplicaSet: as many pods of one template as it wants.

mod pod;
mod status;
mod surplus;

use std::sync::Arc;

use probelet_model::id::Kind;
use probelet_model::time::Wall;
use serde_json::Value;

use crate::claim::{self, Claim};
use crate::object;
use crate::plan::{Action, Admit, Event, EventKind, Plan, Propagation};
use crate::random::Names;
use pod::Pod;
use status::Failure;

/// Who says what is told about a ReplicaSet.
const COMPONENT: &str = "replicaset-controller";
/// How many pods are made or deleted by one plan.
///
/// Upstream: pkg/controller/replicaset/replica_set.go, BurstReplicas.
/// Shown by: a_plan_makes_five_hundred_pods_at_most.
const BURST: usize = 500;

/// What a plan is made from, beside the ReplicaSet.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The pods of its namespace, those at least that it may claim ([`claimable`]).
    ///
    /// [`claimable`]: crate::owners::Dependants::claimable
    pub pods: &'a [Arc<Value>],
    /// Its namespace is being deleted: nothing new can be made in it.
    pub namespace_ends: bool,
    /// Makes pods of wire objects.
    pub admit: Admit<'a>,
    /// For the names of new pods; another one for each plan.
    pub seed: u64,
}

impl std::fmt::Debug for Around<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Around")
            .field("pods", &self.pods.len())
            .field("namespace_ends", &self.namespace_ends)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Whether two states of a pod are the same to those that manage it: most of what changes in a pod is not their
/// matter.
///
/// Shown by: a_plan_looks_at_little_of_a_pod.
#[must_use]
pub fn sees_no_difference(before: &Value, after: &Value) -> bool {
    let metadata = ["labels", "ownerReferences", "deletionTimestamp", "uid"];
    metadata
        .into_iter()
        .all(|field| before["metadata"][field] == after["metadata"][field])
        && before["status"]["phase"] == after["status"]["phase"]
        && Pod(before).ready() == Pod(after).ready()
}

/// What is to be done about a ReplicaSet now.
///
/// The status is that of the pods as they are; what the plan itself changes shows in the next one, which
/// follows from the changes.
///
/// Upstream: pkg/controller/replicaset/replica_set.go, syncReplicaSet and manageReplicas.
/// Differs: there is no slow start of one, two, four pods: admission depends on the template alone, so that if
/// one pod is refused all would be, and the first refusal ends the batch.
/// Shown by: missing_pods_are_made_and_surplus_ones_deleted, a_refused_template_is_told_and_tried_again,
/// pods_that_end_are_replaced.
#[must_use]
pub fn plan(set: &Value, around: &Around<'_>, now: Wall) -> Plan {
    let mut plan = Plan::default();
    let mut active: Vec<Pod<'_>> = Vec::new();
    let mut terminating = 0;
    for value in around.pods {
        let pod = Pod(value);
        if pod.is_active() {
            if claim_pod(set, value, &mut plan) {
                active.push(pod);
            }
        } else if pod.is_terminating() && claim::claim(set, value) == Claim::Own {
            terminating += 1;
        }
    }
    let failure = if object::is_deleting(set) {
        None
    } else {
        manage(set, around, &active, now, &mut plan)
    };
    plan.failed = failure.is_some();
    let status = status::of(set, &active, terminating, failure, now);
    if status != set["status"] {
        let mut value = set.clone();
        value["status"] = status;
        let key = object::key(Kind::ReplicaSet, set);
        plan.actions.push(Action::Update { key, value });
    }
    if let Some(at) = status::next_availability(set, &active, now) {
        plan.wake_at(at);
    }
    plan
}

/// Whether an active pod is the set's, now or by this plan.
fn claim_pod(set: &Value, pod: &Value, plan: &mut Plan) -> bool {
    let claim = claim::claim(set, pod);
    let value = match claim {
        Claim::Own | Claim::Foreign => return claim == Claim::Own,
        Claim::Adopt => claim::adopted(Kind::ReplicaSet, set, pod),
        Claim::Release => claim::released(set, pod),
    };
    let key = object::key(Kind::Pod, pod);
    plan.actions.push(Action::Update { key, value });
    claim == Claim::Adopt
}

/// Makes the pods that are missing, or deletes those that are too many.
fn manage(
    set: &Value,
    around: &Around<'_>,
    active: &[Pod<'_>],
    now: Wall,
    plan: &mut Plan,
) -> Option<Failure> {
    let wanted = wanted(set);
    if active.len() < wanted {
        let missing = (wanted - active.len()).min(BURST);
        return make(set, around, missing, plan);
    }
    let surplus = (active.len() - wanted).min(BURST);
    for pod in surplus::choose(active, surplus, now) {
        let name = object::name(pod.0);
        plan.actions.push(Action::Delete {
            key: object::key(Kind::Pod, pod.0),
            uid: object::uid(pod.0).to_owned(),
            propagation: Propagation::Background,
        });
        let message = format!("Deleted pod: {name}");
        tell(set, EventKind::Normal, "SuccessfulDelete", message, plan);
    }
    None
}

fn make(set: &Value, around: &Around<'_>, missing: usize, plan: &mut Plan) -> Option<Failure> {
    if around.namespace_ends {
        return None;
    }
    let mut names = Names::new(around.seed);
    for _ in 0..missing {
        let pod = pod::of_template(set, &mut names);
        let key = object::key(Kind::Pod, &pod);
        let name = key.name.clone();
        match (around.admit)(Kind::Pod, pod) {
            Ok(value) => {
                plan.actions.push(Action::Create { key, value });
                let message = format!("Created pod: {name}");
                tell(set, EventKind::Normal, "SuccessfulCreate", message, plan);
            }
            Err(error) => {
                let message = format!("Error creating: {error}");
                tell(set, EventKind::Warning, "FailedCreate", message, plan);
                return Some(Failure { message: error });
            }
        }
    }
    None
}

/// `spec.replicas`.
fn wanted(set: &Value) -> usize {
    let replicas = set["spec"]["replicas"].as_u64().unwrap_or(1);
    usize::try_from(replicas).unwrap_or(usize::MAX)
}

fn tell(set: &Value, kind: EventKind, reason: &'static str, message: String, plan: &mut Plan) {
    plan.events.push(Event {
        about: object::key(Kind::ReplicaSet, set),
        uid: object::uid(set).to_owned(),
        kind,
        reason,
        message,
        component: COMPONENT,
    });
}

#[cfg(test)]
mod tests;
