//! The ReplicaSets of a Deployment, as a step finds them and as it leaves them.

use std::cmp::Ordering;
use std::sync::Arc;

use probelet_model::id::Kind;
use probelet_model::time::Wall;
use serde_json::{Value, json};

use super::Step;
use super::revision;
use super::spec::Spec;
use crate::claim::{self, Claim};
use crate::object;
use crate::plan::{Action, EventKind};
use crate::template::{self, HASH_LABEL};

/// There is no ReplicaSet of the Deployment's template, and none can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoNewSet;

/// One ReplicaSet.
#[derive(Clone, Debug)]
pub(super) struct Set {
    /// As this step has made it.
    pub(super) value: Value,
    /// As it was found; `None` if this step makes it.
    found: Option<Arc<Value>>,
}

/// All that are the Deployment's.
#[derive(Clone, Debug)]
pub(super) struct Sets {
    /// The oldest first.
    all: Vec<Set>,
    /// Which one is of the Deployment's template.
    new: Option<usize>,
    /// Those let go of, as they are to be.
    released: Vec<Action>,
}

impl Set {
    /// `spec.replicas`.
    pub(super) fn replicas(&self) -> i64 {
        self.value["spec"]["replicas"].as_i64().unwrap_or(1)
    }

    /// `status.availableReplicas`.
    pub(super) fn available(&self) -> i64 {
        object::count(&self.value["status"]["availableReplicas"])
    }

    /// Of its available pods, those that it keeps.
    pub(super) fn kept_available(&self) -> i64 {
        self.available().min(self.replicas())
    }

    /// A count of its status.
    pub(super) fn counted(&self, field: &str) -> i64 {
        object::count(&self.value["status"][field])
    }

    pub(super) fn number(&self, annotation: &str) -> Option<i64> {
        object::annotation(&self.value, annotation)?.parse().ok()
    }

    pub(super) fn created(&self) -> Option<Wall> {
        object::created(&self.value)
    }

    /// The oldest first; of one age, by name.
    ///
    /// Upstream: pkg/controller/controller_utils.go, ReplicaSetsByCreationTimestamp.
    /// Shown by: the_oldest_of_two_sets_of_one_template_is_the_new_one.
    pub(super) fn by_age(&self, other: &Self) -> Ordering {
        let name = |set: &Self| object::name(&set.value).to_owned();
        // One that is being made has no stamp yet, and is the youngest.
        let created = |set: &Self| set.created().map_or((1, Wall::default()), |at| (0, at));
        created(self)
            .cmp(&created(other))
            .then_with(|| name(self).cmp(&name(other)))
    }
}

impl Sets {
    /// Those that are the Deployment's, now or by this step.
    pub(super) fn claimed(deployment: &Value, found: &[Arc<Value>]) -> Self {
        let mut released = Vec::new();
        let mut all = Vec::new();
        for set in found {
            let value = match claim::claim(deployment, set) {
                Claim::Foreign => continue,
                Claim::Own => Value::clone(set),
                Claim::Adopt => claim::adopted(Kind::Deployment, deployment, set),
                Claim::Release => {
                    released.push(Action::Update {
                        key: object::key(Kind::ReplicaSet, set),
                        value: claim::released(deployment, set),
                    });
                    continue;
                }
            };
            let found = Some(Arc::clone(set));
            all.push(Set { value, found });
        }
        all.sort_by(Set::by_age);
        // Of several of one template the oldest is taken.
        let wanted = &deployment["spec"]["template"];
        let new = all
            .iter()
            .position(|set| template::same(&set.value["spec"]["template"], wanted));
        Self { all, new, released }
    }

    pub(super) fn all(&self) -> &[Set] {
        &self.all
    }

    pub(super) fn get(&self, index: usize) -> &Set {
        &self.all[index]
    }

    pub(super) fn get_mut(&mut self, index: usize) -> &mut Set {
        &mut self.all[index]
    }

    pub(super) const fn current_index(&self) -> Option<usize> {
        self.new
    }

    /// The one of the Deployment's template.
    pub(super) fn current(&self) -> Option<&Set> {
        self.new.map(|index| &self.all[index])
    }

    /// Those of other templates, the oldest first.
    pub(super) fn old(&self) -> impl Iterator<Item = &Set> {
        self.old_indices().map(|index| &self.all[index])
    }

    pub(super) fn old_indices(&self) -> impl Iterator<Item = usize> {
        let new = self.new;
        (0..self.all.len()).filter(move |index| Some(*index) != new)
    }

    /// Those that want pods.
    pub(super) fn active(&self) -> impl Iterator<Item = usize> {
        (0..self.all.len()).filter(|index| self.all[*index].replicas() > 0)
    }

    /// How many pods all want together.
    pub(super) fn replicas(&self) -> i64 {
        self.all.iter().map(Set::replicas).sum()
    }

    /// The sum of a count of all their statuses.
    pub(super) fn counted(&self, field: &str) -> i64 {
        self.all.iter().map(|set| set.counted(field)).sum()
    }

    /// Whether the Deployment's size is another one than when they were last scaled.
    ///
    /// Upstream: pkg/controller/deployment/sync.go, isScalingEvent.
    /// Shown by: scaling_while_rolling_is_in_proportion.
    pub(super) fn were_scaled(&self, spec: &Spec) -> bool {
        self.active().any(|index| {
            let desired = self.all[index].number(revision::DESIRED_REPLICAS);
            desired.is_some_and(|desired| desired != spec.replicas)
        })
    }

    /// Old ones without pods, the oldest revisions first, of which there are more than `limit`.
    pub(super) fn beyond(&self, limit: usize) -> Vec<&Value> {
        let mut old: Vec<&Set> = self
            .old()
            .filter(|set| !object::is_deleting(&set.value))
            .collect();
        let surplus = old.len().saturating_sub(limit);
        // By revision if both have one that can be read; stable, so that otherwise the older stays first.
        old.sort_by_key(|set| revision::of(&set.value));
        let is_settled = |set: &&Set| {
            set.replicas() == 0
                && set.counted("replicas") == 0
                && object::generation(&set.value)
                    <= object::count(&set.value["status"]["observedGeneration"])
        };
        old.truncate(surplus);
        old.into_iter()
            .filter(is_settled)
            .map(|set| &set.value)
            .collect()
    }

    /// What has to be written.
    pub(super) fn changes(&mut self) -> Vec<Action> {
        let mut changes = std::mem::take(&mut self.released);
        for Set { value, found } in &self.all {
            let key = object::key(Kind::ReplicaSet, value);
            let mut value = value.clone();
            match found {
                None => changes.push(Action::Create { key, value }),
                Some(found) if value != **found => {
                    if value["spec"] != found["spec"] {
                        value["metadata"]["generation"] = (object::generation(found) + 1).into();
                    }
                    changes.push(Action::Update { key, value });
                }
                Some(_) => {}
            }
        }
        changes
    }

    fn push_new(&mut self, value: Value) {
        self.new = Some(self.all.len());
        self.all.push(Set { value, found: None });
    }
}

impl Step<'_> {
    /// The ReplicaSet of the Deployment's template, if there is one, brought up to date with the Deployment.
    ///
    /// Upstream: pkg/controller/deployment/sync.go, getNewReplicaSet, the first half.
    /// Differs: the ReplicaSet and the Deployment's revision change in one step, where upstream takes two.
    /// Shown by: undo_gives_an_old_replica_set_a_new_revision, a_found_replica_set_is_progress.
    pub(super) fn find_new_set(&mut self) -> Option<usize> {
        let next_revision = revision::next(self.sets.old());
        let new = self.sets.current_index()?;
        let set = &mut self.sets.get_mut(new).value;
        revision::bring_up_to_date(self.deployment, set, next_revision);
        if object::count(&set["spec"]["minReadySeconds"]) != self.spec.min_ready_seconds {
            set["spec"]["minReadySeconds"] = self.spec.min_ready_seconds.into();
        }
        let name = object::name(set).to_owned();
        let revision = object::annotation(set, revision::REVISION)
            .unwrap_or_default()
            .to_owned();
        self.set_revision(revision);
        if self.spec.progress_deadline.is_some() && self.conditions.progressing().is_none() {
            let message = format!("Found new replica set {name:?}");
            self.conditions
                .progress(true, "FoundNewReplicaSet", message, self.now);
        }
        Some(new)
    }

    /// Makes the ReplicaSet of the Deployment's template.
    ///
    /// Upstream: pkg/controller/deployment/sync.go, getNewReplicaSet, the second half.
    /// Differs: a name that is taken is found out before, and the next one tried at once.
    /// Shown by: a_deployment_makes_its_first_replica_set, a_taken_name_counts_as_a_collision,
    /// a_replica_set_that_cannot_be_made_is_told.
    pub(super) fn make_new_set(&mut self) -> Result<usize, NoNewSet> {
        if self.around.namespace_ends {
            return Err(NoNewSet);
        }
        let template = &self.deployment["spec"]["template"];
        let mut hash = template::hash(template, self.collisions);
        while (self.around.is_taken)(&self.name_with(&hash)) {
            self.collisions = Some(self.collisions.unwrap_or(0) + 1);
            hash = template::hash(template, self.collisions);
        }
        let name = self.name_with(&hash);
        let replicas = self.new_replicas(0);
        let revision = revision::next(self.sets.old());
        let mut value = self.set_of_template(&name, &hash, replicas);
        revision::bring_up_to_date(self.deployment, &mut value, revision);
        revision::set_replicas(&mut value, &self.spec);
        let template = value["spec"]["template"].clone();
        match (self.around.admit)(Kind::ReplicaSet, value) {
            Ok(mut value) => {
                // It is by its template that it is known again: defaults that are others than when the
                // Deployment was admitted would make it somebody else's, and each step another one.
                value["spec"]["template"] = template;
                self.sets.push_new(value);
            }
            Err(error) => return Err(self.refused(&name, &error)),
        }
        if replicas > 0 {
            let message = format!("Scaled up replica set {name} from 0 to {replicas}");
            self.tell(EventKind::Normal, "ScalingReplicaSet", message);
        }
        self.set_revision(revision.to_string());
        if self.spec.progress_deadline.is_some() {
            let message = format!("Created new replica set {name:?}");
            self.conditions
                .progress(true, "NewReplicaSetCreated", message, self.now);
        }
        self.sets.current_index().ok_or(NoNewSet)
    }

    fn refused(&mut self, name: &str, error: &str) -> NoNewSet {
        const REASON: &str = "ReplicaSetCreateError";
        let message = format!("Failed to create new replica set {name:?}: {error}");
        if self.spec.progress_deadline.is_some() {
            self.conditions
                .progress(false, REASON, message.clone(), self.now);
        }
        self.tell(EventKind::Warning, REASON, message);
        self.plan.failed = true;
        NoNewSet
    }

    fn set_of_template(&self, name: &str, hash: &str, replicas: i64) -> Value {
        let labelled = |value: &Value| {
            let mut value = value.clone();
            if !value.is_object() {
                value = json!({});
            }
            value[HASH_LABEL] = hash.into();
            value
        };
        let mut template = self.deployment["spec"]["template"].clone();
        template["metadata"]["labels"] = labelled(&template["metadata"]["labels"]);
        let mut selector = self.deployment["spec"]["selector"].clone();
        selector["matchLabels"] = labelled(&selector["matchLabels"]);
        let mut value = json!({
            "apiVersion": Kind::ReplicaSet.api_version(),
            "kind": Kind::ReplicaSet.as_str(),
            "metadata": {
                "name": name,
                "namespace": object::namespace(self.deployment),
                "labels": template["metadata"]["labels"],
                "ownerReferences": [claim::reference(Kind::Deployment, self.deployment)],
            },
            "spec": {
                "replicas": replicas,
                "selector": selector,
                "template": template,
            },
        });
        if self.spec.min_ready_seconds > 0 {
            value["spec"]["minReadySeconds"] = self.spec.min_ready_seconds.into();
        }
        value
    }

    fn name_with(&self, hash: &str) -> String {
        format!("{}-{hash}", object::name(self.deployment))
    }

    fn set_revision(&mut self, revision: String) {
        if object::annotation(self.deployment, revision::REVISION) != Some(&revision) {
            self.revision = Some(revision);
        }
    }
}
