//! Owners: what goes with whom.
//!
//! An object whose owners are all gone goes too; one that is deleted in the foreground waits for those that it
//! owns and that block it; one that is deleted as an orphaner lets go of them first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use probelet_model::id::{Kind, ObjectKey};
use serde_json::Value;

use crate::deletion::{FOREGROUND, ORPHAN};
use crate::object;
use crate::plan::{Action, Plan, Propagation};

/// Who depends on whom, kept up to date change by change.
///
/// Shape: an entry for each object that names an owner, and for each that some controller might yet manage.
/// Events are left out: nobody owns one.
#[derive(Clone, Debug, Default)]
pub struct Dependants {
    /// By the owner's uid.
    of: BTreeMap<String, BTreeSet<ObjectKey>>,
    /// Pods and ReplicaSets that nobody manages.
    free: BTreeSet<ObjectKey>,
}

impl Dependants {
    /// Takes in a change of an object, and tells whose turn it is to be looked at by [`plan`].
    ///
    /// Upstream: pkg/controller/garbagecollector/graph_builder.go, processGraphChanges.
    /// Shown by: a_change_concerns_the_object_its_owners_and_its_dependants.
    pub fn observe(
        &mut self,
        key: &ObjectKey,
        before: Option<&Value>,
        after: Option<&Value>,
    ) -> BTreeSet<ObjectKey> {
        let mut concerned = BTreeSet::new();
        if key.kind == Kind::Event {
            return concerned;
        }
        for owner in owner_uids(before) {
            if let Some(known) = self.of.get_mut(owner) {
                known.remove(key);
                if known.is_empty() {
                    self.of.remove(owner);
                }
            }
        }
        for owner in owner_uids(after) {
            let known = self.of.entry(owner.to_owned()).or_default();
            known.insert(key.clone());
        }
        if after.is_some_and(|object| is_free(key.kind, object)) {
            self.free.insert(key.clone());
        } else {
            self.free.remove(key);
        }
        if after.is_some_and(is_concerned) {
            concerned.insert(key.clone());
        }
        // An owner that waits for it may wait no more.
        let has_left = owner_uids(before).any(|uid| !owner_uids(after).any(|other| other == uid));
        if has_left || after.is_some_and(object::is_deleting) {
            let owners = before.map_or(&[][..], object::owners).iter();
            concerned.extend(owners.filter_map(|owner| owner_key(owner, &key.namespace)));
        }
        // Those that it owns may have lost their last owner, or are to go before it.
        let state = |object: &Value| (object::uid(object).to_owned(), waits_for_dependants(object));
        let (was, is) = (before.map(state), after.map(state));
        if was != is {
            let uids = was.into_iter().chain(is).map(|(uid, _)| uid);
            for uid in uids {
                concerned.extend(self.of(&uid).cloned());
            }
        }
        concerned
    }

    /// Those that name the object with this uid as an owner.
    pub fn of(&self, uid: &str) -> impl Iterator<Item = &ObjectKey> {
        self.of.get(uid).into_iter().flatten()
    }

    /// Of the objects of a kind in a namespace, those that the controller with this uid may claim: its own, and
    /// those that nobody manages.
    ///
    /// Shown by: a_controller_may_claim_its_own_and_what_is_free.
    #[must_use]
    pub fn claimable(&self, kind: Kind, namespace: &str, uid: &str) -> BTreeSet<&ObjectKey> {
        let is_there = |key: &&ObjectKey| key.kind == kind && key.namespace == namespace;
        let first = ObjectKey::new(kind, namespace, "");
        let free = self.free.range(first..).take_while(is_there);
        self.of(uid).filter(is_there).chain(free).collect()
    }
}

/// What an owner reference leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// It is there.
    Solid,
    /// It is there, being deleted, and waits for its dependants.
    Waiting,
    /// It is not there.
    Absent,
}

/// What is to be done about an object for the sake of its owners and dependants. `find` gives the object at a
/// key; `dependants` are those that name it as an owner.
///
/// Upstream: pkg/controller/garbagecollector/garbagecollector.go, attemptToDeleteItem,
/// processDeletingDependentsItem and orphanDependents.
/// Differs: an owner of a kind that this server does not have counts as being there; upstream tries again for
/// ever.
/// Shown by: who_has_lost_all_owners_goes, the_foreground_waits_for_those_that_block,
/// an_orphaner_lets_go_first, a_reference_to_another_namespace_leads_nowhere.
#[must_use]
pub fn plan(
    key: &ObjectKey,
    object: &Value,
    find: &dyn Fn(&ObjectKey) -> Option<Arc<Value>>,
    dependants: &[(ObjectKey, Arc<Value>)],
) -> Plan {
    let mut plan = Plan::default();
    if object::is_deleting(object) {
        if object::has_finalizer(object, ORPHAN) {
            let_go(object, dependants, &mut plan);
            drop_finalizer(key, object, ORPHAN, &mut plan);
        } else if waits_for_dependants(object) && !is_blocked(object, dependants) {
            drop_finalizer(key, object, FOREGROUND, &mut plan);
        }
        return plan;
    }
    let owners = object::owners(object);
    let found: Vec<Owner> = owners
        .iter()
        .map(|owner| look_up(owner, &key.namespace, find))
        .collect();
    let has = |owner: Owner| found.contains(&owner);
    if owners.is_empty() || found.iter().all(|owner| *owner == Owner::Solid) {
        return plan;
    }
    if has(Owner::Solid) {
        let solid = owners.iter().zip(&found);
        let solid = solid.filter(|(_, found)| **found == Owner::Solid);
        let mut value = object.clone();
        object::set_owners(&mut value, solid.map(|(owner, _)| owner.clone()).collect());
        let key = key.clone();
        plan.actions.push(Action::Update { key, value });
        return plan;
    }
    if has(Owner::Waiting) && !dependants.is_empty() {
        // A circle would wait for itself.
        let circle = dependants
            .iter()
            .any(|(_, dependant)| waits_for_dependants(dependant));
        if circle {
            plan.actions.push(unblocked(key, object));
        }
        plan.actions
            .push(deletion(key, object, Propagation::Foreground));
        return plan;
    }
    let propagation = if object::has_finalizer(object, ORPHAN) {
        Propagation::Orphan
    } else if object::has_finalizer(object, FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    plan.actions.push(deletion(key, object, propagation));
    plan
}

/// Whether an object waits for a controller.
fn is_free(kind: Kind, object: &Value) -> bool {
    matches!(kind, Kind::Pod | Kind::ReplicaSet) && object::controller(object).is_none()
}

/// Whether there may ever be something to do about an object.
fn is_concerned(object: &Value) -> bool {
    !object::owners(object).is_empty()
        || (object::is_deleting(object)
            && [FOREGROUND, ORPHAN]
                .iter()
                .any(|finalizer| object::has_finalizer(object, finalizer)))
}

fn waits_for_dependants(object: &Value) -> bool {
    object::is_deleting(object) && object::has_finalizer(object, FOREGROUND)
}

fn is_blocked(object: &Value, dependants: &[(ObjectKey, Arc<Value>)]) -> bool {
    let uid = object::uid(object);
    dependants.iter().any(|(_, dependant)| {
        object::owners(dependant)
            .iter()
            .any(|owner| owner["uid"] == uid && owner["blockOwnerDeletion"] == true)
    })
}

fn let_go(object: &Value, dependants: &[(ObjectKey, Arc<Value>)], plan: &mut Plan) {
    let uid = object::uid(object);
    for (key, dependant) in dependants {
        let others = object::owners(dependant);
        let others = others.iter().filter(|owner| owner["uid"] != uid);
        let mut value = Value::clone(dependant);
        object::set_owners(&mut value, others.cloned().collect());
        let key = key.clone();
        plan.actions.push(Action::Update { key, value });
    }
}

/// Takes a finalizer off an object that is being deleted; if that was the last, it goes, unless it is a pod,
/// which goes when its containers have ended.
fn drop_finalizer(key: &ObjectKey, object: &Value, finalizer: &str, plan: &mut Plan) {
    let left: Vec<String> = object::finalizers(object)
        .filter(|name| *name != finalizer)
        .map(str::to_owned)
        .collect();
    let key = key.clone();
    if left.is_empty() && key.kind != Kind::Pod {
        let uid = object::uid(object).to_owned();
        plan.actions.push(Action::Remove { key, uid });
        return;
    }
    let mut value = object.clone();
    object::set_finalizers(&mut value, left);
    plan.actions.push(Action::Update { key, value });
}

fn unblocked(key: &ObjectKey, object: &Value) -> Action {
    let mut owners = object::owners(object).to_vec();
    for owner in &mut owners {
        owner["blockOwnerDeletion"] = false.into();
    }
    let mut value = object.clone();
    object::set_owners(&mut value, owners);
    let key = key.clone();
    Action::Update { key, value }
}

fn deletion(key: &ObjectKey, object: &Value, propagation: Propagation) -> Action {
    Action::Delete {
        key: key.clone(),
        uid: object::uid(object).to_owned(),
        propagation,
    }
}

fn look_up(
    reference: &Value,
    namespace: &str,
    find: &dyn Fn(&ObjectKey) -> Option<Arc<Value>>,
) -> Owner {
    let Some(key) = owner_key(reference, namespace) else {
        return Owner::Solid;
    };
    match find(&key) {
        Some(owner) if reference["uid"] != object::uid(&owner) => Owner::Absent,
        Some(owner) if waits_for_dependants(&owner) => Owner::Waiting,
        Some(_) => Owner::Solid,
        None => Owner::Absent,
    }
}

/// Where an owner lives: beside its dependant, or outside of all namespaces. `None` if there is no such kind.
fn owner_key(reference: &Value, namespace: &str) -> Option<ObjectKey> {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let kind = Kind::named(text("apiVersion"), text("kind"))?;
    let namespace = if kind.is_namespaced() { namespace } else { "" };
    Some(ObjectKey::new(kind, namespace, text("name")))
}

fn owner_uids(object: Option<&Value>) -> impl Iterator<Item = &str> {
    let owners = object.map_or(&[][..], object::owners);
    owners.iter().filter_map(|owner| owner["uid"].as_str())
}

#[cfg(test)]
mod tests;
