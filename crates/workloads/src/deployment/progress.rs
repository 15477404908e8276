//! A Deployment's status: counts, and the conditions that tell how a rollout goes.

use probelet_model::time::Wall;
use serde_json::{Map, Value, json};

use super::spec::Spec;
use super::{StatusOf, Step};
use crate::object;

/// The counts of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    observed_generation: i64,
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
    unavailable: i64,
    terminating: Option<i64>,
}

/// `status.conditions`, in the order in which they last changed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Conditions(Vec<Value>);

impl Counts {
    /// Those that are written down.
    pub(super) fn of(deployment: &Value) -> Self {
        let status = &deployment["status"];
        let count = |field: &str| object::count(&status[field]);
        Self {
            observed_generation: count("observedGeneration"),
            replicas: count("replicas"),
            updated: count("updatedReplicas"),
            ready: count("readyReplicas"),
            available: count("availableReplicas"),
            unavailable: count("unavailableReplicas"),
            terminating: status["terminatingReplicas"].as_i64(),
        }
    }

    /// Whether all pods are of the new template and available, and no others are there.
    ///
    /// Upstream: pkg/controller/deployment/util/deployment_util.go, DeploymentComplete.
    /// Shown by: a_new_template_is_rolled_out_step_by_step.
    pub(super) fn is_complete(&self, spec: &Spec, deployment: &Value) -> bool {
        [self.updated, self.replicas, self.available] == [spec.replicas; 3]
            && self.observed_generation >= object::generation(deployment)
    }

    /// Whether there is progress since `before`.
    ///
    /// Upstream: pkg/controller/deployment/util/deployment_util.go, DeploymentProgressing.
    /// Shown by: a_stuck_rollout_meets_its_deadline_to_the_second.
    fn has_progressed(&self, before: &Self) -> bool {
        let old = |counts: &Self| counts.replicas - counts.updated;
        self.updated > before.updated
            || old(self) < old(before)
            || self.ready > before.ready
            || self.available > before.available
    }
}

impl Conditions {
    pub(super) fn of(deployment: &Value) -> Self {
        let all = deployment["status"]["conditions"].as_array();
        Self(all.cloned().unwrap_or_default())
    }

    /// The condition `Progressing`.
    pub(super) fn progressing(&self) -> Option<&Value> {
        self.get("Progressing")
    }

    fn get(&self, kind: &str) -> Option<&Value> {
        self.0.iter().find(|condition| condition["type"] == kind)
    }

    fn remove(&mut self, kind: &str) {
        self.0.retain(|condition| condition["type"] != kind);
    }

    /// Sets `Progressing` to True or False.
    pub(super) fn progress(&mut self, is: bool, reason: &str, message: String, now: Wall) {
        let status = if is { "True" } else { "False" };
        self.set(condition("Progressing", status, reason, message, now));
    }

    /// One of the same status and reason is left as it is.
    ///
    /// Upstream: pkg/controller/deployment/util/deployment_util.go, SetDeploymentCondition.
    /// Shown by: a_stuck_rollout_meets_its_deadline_to_the_second.
    fn set(&mut self, mut condition: Value) {
        let kind = condition["type"].as_str().unwrap_or_default().to_owned();
        if let Some(there) = self.get(&kind)
            && there["status"] == condition["status"]
        {
            if there["reason"] == condition["reason"] {
                return;
            }
            condition["lastTransitionTime"] = there["lastTransitionTime"].clone();
        }
        self.remove(&kind);
        self.0.push(condition);
    }

    /// While a Deployment is paused nobody can say that it makes no progress.
    ///
    /// Upstream: pkg/controller/deployment/sync.go, checkPausedConditions.
    /// Shown by: a_paused_deployment_is_scaled_and_not_rolled_out.
    pub(super) fn check_paused(&mut self, spec: &Spec, now: Wall) {
        if spec.progress_deadline.is_none() {
            return;
        }
        let reason = self.progressing().map(|condition| &condition["reason"]);
        if reason.is_some_and(|reason| reason == "ProgressDeadlineExceeded") {
            return;
        }
        let was_paused = reason.is_some_and(|reason| reason == "DeploymentPaused");
        let (reason, message) = match (spec.paused, was_paused) {
            (true, false) => ("DeploymentPaused", "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            (true, true) | (false, false) => return,
        };
        let message = message.to_owned();
        self.set(condition("Progressing", "Unknown", reason, message, now));
    }
}

fn condition(kind: &str, status: &str, reason: &str, message: String, now: Wall) -> Value {
    json!({
        "type": kind,
        "status": status,
        "lastUpdateTime": now.to_string(),
        "lastTransitionTime": now.to_string(),
        "reason": reason,
        "message": message,
    })
}

impl Step<'_> {
    /// The status after this step; the plan learns when it would be another one.
    pub(super) fn status(&mut self, of: StatusOf) -> Value {
        if of == StatusOf::Failure {
            return self.written(&Counts::of(self.deployment));
        }
        let counts = self.counts();
        self.tell_availability(&counts);
        if of == StatusOf::Rollout {
            self.estimate_progress(&counts);
        }
        self.written(&counts)
    }

    /// How many pods there are of each sort.
    ///
    /// Upstream: pkg/controller/deployment/sync.go, calculateStatus.
    /// Shown by: a_deployment_makes_its_first_replica_set, a_new_template_is_rolled_out_step_by_step.
    fn counts(&self) -> Counts {
        let sets = &self.sets;
        let available = sets.counted("availableReplicas");
        let terminating = sets
            .all()
            .iter()
            .map(|set| set.value["status"]["terminatingReplicas"].as_i64())
            .sum();
        Counts {
            observed_generation: object::generation(self.deployment),
            replicas: sets.counted("replicas"),
            updated: sets.current().map_or(0, |set| set.counted("replicas")),
            ready: sets.counted("readyReplicas"),
            available,
            unavailable: (sets.replicas() - available).max(0),
            terminating,
        }
    }

    fn tell_availability(&mut self, counts: &Counts) {
        let (status, reason, message) = if counts.available >= self.spec.min_available() {
            (
                "True",
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.",
            )
        } else {
            (
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            )
        };
        let available = condition("Available", status, reason, message.to_owned(), self.now);
        self.conditions.set(available);
    }

    /// Whether the rollout gets on, is complete, or has met its deadline.
    ///
    /// Upstream: pkg/controller/deployment/progress.go, syncRolloutStatus and requeueStuckDeployment.
    /// Differs: it is looked at again at the deadline, not a second later.
    /// Shown by: a_stuck_rollout_meets_its_deadline_to_the_second, a_new_template_is_rolled_out_step_by_step,
    /// failures_of_replica_sets_are_the_deployments.
    fn estimate_progress(&mut self, counts: &Counts) {
        let current = self.conditions.progressing().cloned();
        let has_reason = |reason: &str| {
            let current = current.as_ref();
            current.is_some_and(|condition| condition["reason"] == reason)
        };
        if self.spec.progress_deadline.is_none() {
            self.conditions.remove("Progressing");
        } else if !(counts.replicas == counts.updated && has_reason("NewReplicaSetAvailable")) {
            let (now, who) = (self.now, self.subject());
            if counts.is_complete(&self.spec, self.deployment) {
                let message = format!("{who} has successfully progressed.");
                self.conditions
                    .progress(true, "NewReplicaSetAvailable", message, now);
            } else if counts.has_progressed(&Counts::of(self.deployment)) {
                let message = format!("{who} is progressing.");
                let mut progressing =
                    condition("Progressing", "True", "ReplicaSetUpdated", message, now);
                if let Some(current) = current.filter(|current| current["status"] == "True") {
                    progressing["lastTransitionTime"] = current["lastTransitionTime"].clone();
                }
                // Also if it said so before: the time of the last progress is another one.
                self.conditions.remove("Progressing");
                self.conditions.set(progressing);
            } else if self.deadline().is_some_and(|deadline| deadline <= now) {
                let message = format!("{who} has timed out progressing.");
                self.conditions
                    .progress(false, "ProgressDeadlineExceeded", message, now);
            }
        }
        match self.replica_failure() {
            Some(failure) => self.conditions.set(failure),
            None => self.conditions.remove("ReplicaFailure"),
        }
        if !counts.is_complete(&self.spec, self.deployment)
            && let Some(deadline) = self.deadline()
        {
            self.plan.wake_at(deadline);
        }
    }

    /// When a rollout that has made no progress since is stuck; `None` where there is nothing to wait for.
    ///
    /// Upstream: pkg/controller/deployment/util/deployment_util.go, DeploymentTimedOut.
    /// Shown by: a_stuck_rollout_meets_its_deadline_to_the_second.
    fn deadline(&self) -> Option<Wall> {
        let condition = self.conditions.progressing()?;
        match condition["reason"].as_str() {
            Some("NewReplicaSetAvailable" | "ProgressDeadlineExceeded") => None,
            Some(_) | None => {
                let since = object::stamp(&condition["lastUpdateTime"])?;
                Some(since + self.spec.progress_deadline?)
            }
        }
    }

    /// The failure of the new ReplicaSet, or else of the first that has one.
    ///
    /// Upstream: pkg/controller/deployment/progress.go, getReplicaFailures.
    /// Shown by: failures_of_replica_sets_are_the_deployments.
    fn replica_failure(&self) -> Option<Value> {
        let new_first = self.sets.current().into_iter().chain(self.sets.old());
        new_first
            .filter_map(|set| set.value["status"]["conditions"].as_array())
            .flatten()
            .find(|condition| condition["type"] == "ReplicaFailure")
            .map(|failure| {
                let mut failure = failure.clone();
                failure["lastUpdateTime"] = failure["lastTransitionTime"].clone();
                failure
            })
    }

    /// Who makes progress, or does not.
    fn subject(&self) -> String {
        match self.sets.current() {
            Some(set) => format!("ReplicaSet {:?}", object::name(&set.value)),
            None => format!("Deployment {:?}", object::name(self.deployment)),
        }
    }

    fn written(&self, counts: &Counts) -> Value {
        let mut status = Map::new();
        let mut put = |field: &str, value: Value| status.insert(field.to_owned(), value);
        for (field, count) in [
            ("observedGeneration", counts.observed_generation),
            ("replicas", counts.replicas),
            ("updatedReplicas", counts.updated),
            ("readyReplicas", counts.ready),
            ("availableReplicas", counts.available),
            ("unavailableReplicas", counts.unavailable),
        ] {
            if count != 0 {
                put(field, count.into());
            }
        }
        if let Some(terminating) = counts.terminating {
            put("terminatingReplicas", terminating.into());
        }
        if !self.conditions.0.is_empty() {
            put("conditions", self.conditions.0.clone().into());
        }
        if let Some(collisions) = self.collisions {
            put("collisionCount", collisions.into());
        }
        Value::Object(status)
    }
}
