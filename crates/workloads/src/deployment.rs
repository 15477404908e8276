//! A Deployment: a ReplicaSet for each of its templates, and the way from the old ones to the new.
//!
//! One plan is one step, as upstream: it scales up, or it scales down, and the next step follows from what that
//! changes. In the order of a step: `sets` (whose is what, which one is new), `revision` (history), `scale`
//! (proportional, when the size has changed or the Deployment is paused), `rollout` (the two strategies),
//! `progress` (the status and its conditions).

mod progress;
mod revision;
mod rollout;
mod scale;
mod sets;
mod spec;

use std::sync::Arc;

use probelet_model::id::Kind;
use probelet_model::time::Wall;
use serde_json::Value;

use crate::object;
use crate::plan::{Action, Admit, Event, EventKind, Plan, Propagation};
use progress::Conditions;
use sets::{NoNewSet, Sets};
use spec::Spec;

/// Who says what is told about a Deployment.
const COMPONENT: &str = "deployment-controller";

/// What a plan is made from, beside the Deployment.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The ReplicaSets of its namespace, those at least that it may claim ([`claimable`]).
    ///
    /// [`claimable`]: crate::owners::Dependants::claimable
    pub replica_sets: &'a [Arc<Value>],
    /// Whether a ReplicaSet of its namespace has that name.
    pub is_taken: &'a dyn Fn(&str) -> bool,
    /// The pods of its namespace, those at least of its ReplicaSets.
    pub pods: &'a [Arc<Value>],
    /// Its namespace is being deleted: nothing new can be made in it.
    pub namespace_ends: bool,
    /// Makes ReplicaSets of wire objects.
    pub admit: Admit<'a>,
}

impl std::fmt::Debug for Around<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Around")
            .field("replica_sets", &self.replica_sets.len())
            .field("pods", &self.pods.len())
            .field("namespace_ends", &self.namespace_ends)
            .finish_non_exhaustive()
    }
}

/// What is to be done about a Deployment now.
///
/// Upstream: pkg/controller/deployment/deployment_controller.go, syncDeployment.
/// Differs: the annotation `deprecated.deployment.rollback.to` of extensions/v1beta1 does nothing.
/// Shown by: a_deployment_makes_its_first_replica_set, a_new_template_is_rolled_out_step_by_step,
/// a_paused_deployment_is_scaled_and_not_rolled_out.
#[must_use]
pub fn plan(deployment: &Value, around: &Around<'_>, now: Wall) -> Plan {
    let sets = Sets::claimed(deployment, around.replica_sets);
    let mut step = Step {
        spec: Spec::of(deployment),
        conditions: Conditions::of(deployment),
        collisions: deployment["status"]["collisionCount"].as_i64(),
        revision: None,
        deployment,
        around,
        sets,
        now,
        plan: Plan::default(),
    };
    let status = step.take();
    step.finish(status)
}

/// A plan in the making.
struct Step<'a> {
    deployment: &'a Value,
    around: &'a Around<'a>,
    spec: Spec,
    sets: Sets,
    conditions: Conditions,
    /// `status.collisionCount`.
    collisions: Option<i64>,
    /// The Deployment's revision, if it is another one now.
    revision: Option<String>,
    now: Wall,
    plan: Plan,
}

/// Which of the two ways a status is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatusOf {
    /// With an estimate of the progress.
    Rollout,
    /// Without one: paused, scaled, or being deleted.
    Rest,
    /// Counts and all stay as they are, but for the conditions of this step: it has failed.
    Failure,
}

impl Step<'_> {
    fn take(&mut self) -> StatusOf {
        if object::is_deleting(self.deployment) {
            let _there_or_not = self.find_new_set();
            return StatusOf::Rest;
        }
        self.conditions.check_paused(&self.spec, self.now);
        let found = self.find_new_set();
        if self.spec.paused || (self.sets.were_scaled(&self.spec) && self.can_scale()) {
            self.scale();
            if self.spec.paused {
                self.clean_up();
            }
            return StatusOf::Rest;
        }
        let rolled = match (self.spec.rolling.is_some(), found) {
            (true, found) => self.roll(found),
            (false, found) => self.recreate(found),
        };
        match rolled {
            Ok(()) => StatusOf::Rollout,
            Err(NoNewSet) => StatusOf::Failure,
        }
    }

    /// Deletes the oldest revisions of which there are too many.
    ///
    /// Upstream: pkg/controller/deployment/sync.go, cleanupDeployment.
    /// Shown by: old_revisions_go_beyond_the_limit.
    fn clean_up(&mut self) {
        let Some(limit) = self.spec.revision_history_limit else {
            return;
        };
        for set in self.sets.beyond(limit) {
            self.plan.actions.push(Action::Delete {
                key: object::key(Kind::ReplicaSet, set),
                uid: object::uid(set).to_owned(),
                propagation: Propagation::Background,
            });
        }
    }

    fn tell(&mut self, kind: EventKind, reason: &'static str, message: String) {
        self.plan.events.push(Event {
            about: object::key(Kind::Deployment, self.deployment),
            uid: object::uid(self.deployment).to_owned(),
            kind,
            reason,
            message,
            component: COMPONENT,
        });
    }

    /// Puts together what this step has changed.
    fn finish(mut self, status_of: StatusOf) -> Plan {
        let status = self.status(status_of);
        let mut actions = self.sets.changes();
        actions.append(&mut self.plan.actions);
        let mut value = self.deployment.clone();
        value["status"] = status;
        if let Some(revision) = &self.revision {
            object::set_annotation(&mut value, revision::REVISION, revision);
        }
        if value != *self.deployment {
            let key = object::key(Kind::Deployment, self.deployment);
            actions.push(Action::Update { key, value });
        }
        self.plan.actions = actions;
        self.plan
    }
}

#[cfg(test)]
mod tests;
