//! A small world in virtual time: the planners, and pods that become ready after so many seconds, or never.
//!
//! A pod's spec says what it does: `readyAfter` seconds after it was made it is ready (never without),
//! `endsAfter` seconds after the request to delete it it is gone (one by default).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use probelet_model::id::{Kind, ObjectKey};
use probelet_model::time::Wall;
use serde_json::{Value, json};

use crate::deletion::{self, Deleted};
use crate::owners::Dependants;
use crate::plan::{Action, Plan, Propagation};
use crate::{deployment, object, owners, replica_set};

pub(crate) const NAMESPACE: &str = "default";

/// Something that must always hold.
pub(crate) type Check = Box<dyn FnMut(&World)>;

pub(crate) struct World {
    /// Seconds since the beginning.
    pub(crate) seconds: u64,
    /// What was told, with the second.
    pub(crate) events: Vec<(u64, String)>,
    /// What admission says to every new pod or ReplicaSet.
    pub(crate) refusal: Option<String>,
    pub(crate) namespace_ends: bool,
    /// Looked at after every plan.
    pub(crate) check: Option<Check>,
    /// Which controller comes first.
    pub(crate) reversed: bool,
    objects: BTreeMap<ObjectKey, Arc<Value>>,
    version: u64,
    dependants: Dependants,
    concerned: BTreeSet<ObjectKey>,
    deadlines: BTreeMap<ObjectKey, Wall>,
}

/// A Deployment of a template that is told apart by its `image`.
pub(crate) fn deployment(name: &str, replicas: u64, pod: &Value) -> Value {
    json!({
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": { "app": name } },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": pod },
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" },
            },
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
        },
    })
}

pub(crate) fn replica_set(name: &str, replicas: u64, pod: &Value) -> Value {
    let mut value = deployment(name, replicas, pod);
    let spec = value["spec"].as_object_mut().unwrap();
    spec.retain(|field, _| ["replicas", "selector", "template"].contains(&field.as_str()));
    value
}

pub(crate) fn key(kind: Kind, name: &str) -> ObjectKey {
    ObjectKey::new(kind, NAMESPACE, name)
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            seconds: 0,
            events: Vec::new(),
            refusal: None,
            namespace_ends: false,
            check: None,
            reversed: false,
            objects: BTreeMap::new(),
            version: 0,
            dependants: Dependants::default(),
            concerned: BTreeSet::new(),
            deadlines: BTreeMap::new(),
        }
    }

    pub(crate) fn now(&self) -> Wall {
        Wall::default() + Duration::from_secs(1_800_000_000 + self.seconds)
    }

    /// The second of a stamp.
    pub(crate) fn second(stamp: &Value) -> u64 {
        let since = object::stamp(stamp).unwrap().since(Wall::default());
        since.as_secs() - 1_800_000_000
    }

    // What a client does.

    pub(crate) fn create(&mut self, kind: Kind, mut value: Value) -> ObjectKey {
        let key = key(kind, object::name(&value));
        assert!(!self.objects.contains_key(&key), "{key} is there already");
        value["metadata"]["uid"] = format!("uid-{}", self.version + 1).into();
        value["metadata"]["creationTimestamp"] = self.now().to_string().into();
        value["metadata"]["generation"] = 1.into();
        if value["status"].is_null() {
            value["status"] = json!({});
        }
        self.put(&key, Some(value));
        key
    }

    pub(crate) fn change(&mut self, key: &ObjectKey, change: impl FnOnce(&mut Value)) {
        let before = self.get(key).unwrap();
        let mut value = Value::clone(&before);
        change(&mut value);
        if value["spec"] != before["spec"] {
            value["metadata"]["generation"] = (object::generation(&before) + 1).into();
        }
        self.put(key, Some(value));
    }

    pub(crate) fn delete(&mut self, key: &ObjectKey, propagation: Propagation) {
        let Some(value) = self.get(key) else { return };
        match deletion::requested(key.kind, &value, propagation, self.now()) {
            Deleted::Gone => self.put(key, None),
            Deleted::Later(mut value) => {
                // Here the stamp is when it was asked, so that a pod's own second counts.
                value["metadata"]["deletionTimestamp"] = self.now().to_string().into();
                self.put(key, Some(value));
            }
        }
    }

    // What there is.

    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Arc<Value>> {
        self.objects.get(key).cloned()
    }

    pub(crate) fn list(&self, kind: Kind) -> Vec<Arc<Value>> {
        let all = self.objects.iter().filter(|(key, _)| key.kind == kind);
        all.map(|(_, value)| Arc::clone(value)).collect()
    }

    /// Pods that are not being deleted.
    pub(crate) fn alive(&self) -> usize {
        let pods = self.list(Kind::Pod);
        pods.iter().filter(|pod| !object::is_deleting(pod)).count()
    }

    /// Pods that have been ready for so many seconds and are not being deleted.
    pub(crate) fn available(&self, min_ready_seconds: u64) -> usize {
        let pods = self.list(Kind::Pod);
        let is_available = |pod: &&Arc<Value>| {
            let ready = &pod["status"]["conditions"][0];
            ready["status"] == "True"
                && !object::is_deleting(pod)
                && Self::second(&ready["lastTransitionTime"]) + min_ready_seconds <= self.seconds
        };
        pods.iter().filter(is_available).count()
    }

    pub(crate) fn said(&self) -> Vec<&str> {
        self.events.iter().map(|(_, said)| said.as_str()).collect()
    }

    // Time.

    /// Goes on until nothing more happens by itself before `second`.
    pub(crate) fn run_until(&mut self, second: u64) {
        loop {
            self.settle();
            match self.next_moment() {
                Some(next) if next <= second => self.seconds = next,
                Some(_) | None => break,
            }
        }
        self.seconds = second;
        self.settle();
    }

    pub(crate) fn run_for(&mut self, seconds: u64) {
        self.run_until(self.seconds + seconds);
    }

    fn next_moment(&self) -> Option<u64> {
        let deadlines = self.deadlines.values().map(|at| {
            let since = at.since(Wall::default()).as_secs();
            since.saturating_sub(1_800_000_000)
        });
        let pods = self.list(Kind::Pod);
        let pods: Vec<u64> = pods
            .iter()
            .filter_map(|pod| Self::pod_moment(pod))
            .collect();
        deadlines.chain(pods).filter(|at| *at > self.seconds).min()
    }

    /// When a pod changes next by itself.
    fn pod_moment(pod: &Value) -> Option<u64> {
        let spec = &pod["spec"];
        if object::is_deleting(pod) {
            let asked = Self::second(&pod["metadata"]["deletionTimestamp"]);
            return Some(asked + spec["endsAfter"].as_u64().unwrap_or(1));
        }
        if !pod["status"]["phase"].is_null() {
            return None;
        }
        let made = Self::second(&pod["metadata"]["creationTimestamp"]);
        Some(made + spec["readyAfter"].as_u64()?)
    }

    /// Lets pods live, and plans until nobody has anything to do.
    pub(crate) fn settle(&mut self) {
        loop {
            self.live();
            let mut keys: Vec<ObjectKey> = self
                .objects
                .keys()
                .filter(|key| matches!(key.kind, Kind::ReplicaSet | Kind::Deployment))
                .cloned()
                .collect();
            if self.reversed {
                keys.reverse();
            }
            let mut changed = self.collect();
            for key in keys {
                let Some(value) = self.get(&key) else {
                    continue;
                };
                let plan = self.plan(&key, &value);
                match plan.deadline {
                    Some(at) => self.deadlines.insert(key, at),
                    None => self.deadlines.remove(&key),
                };
                changed |= self.apply(plan);
            }
            if !changed {
                break;
            }
        }
    }

    fn live(&mut self) {
        for pod in self.list(Kind::Pod) {
            if Self::pod_moment(&pod).is_none_or(|at| at > self.seconds) {
                continue;
            }
            let key = object::key(Kind::Pod, &pod);
            if object::is_deleting(&pod) {
                self.put(&key, None);
            } else {
                let now = self.now().to_string();
                self.change(&key, |pod| {
                    pod["status"] = json!({
                        "phase": "Running",
                        "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": now }],
                    });
                });
            }
        }
    }

    /// Has the owners' planner look at whom a change concerned.
    fn collect(&mut self) -> bool {
        let mut changed = false;
        while let Some(key) = self.concerned.pop_first() {
            let Some(value) = self.get(&key) else {
                continue;
            };
            let dependants: Vec<_> = self
                .dependants
                .of(object::uid(&value))
                .filter_map(|key| Some((key.clone(), self.get(key)?)))
                .collect();
            let find = |key: &ObjectKey| self.get(key);
            let plan = owners::plan(&key, &value, &find, &dependants);
            changed |= self.apply(plan);
        }
        changed
    }

    pub(crate) fn plan(&self, key: &ObjectKey, value: &Value) -> Plan {
        let pods = self.list(Kind::Pod);
        let admit = |kind: Kind, value: Value| match &self.refusal {
            Some(refusal) => Err(format!(
                "{kind} {:?} is invalid: {refusal}",
                object::name(&value)
            )),
            None => Ok(value),
        };
        if key.kind == Kind::Deployment {
            let around = deployment::Around {
                replica_sets: &self.list(Kind::ReplicaSet),
                is_taken: &|name| {
                    self.get(&crate::world::key(Kind::ReplicaSet, name))
                        .is_some()
                },
                pods: &pods,
                namespace_ends: self.namespace_ends,
                admit: &admit,
            };
            deployment::plan(value, &around, self.now())
        } else {
            let around = replica_set::Around {
                pods: &pods,
                namespace_ends: self.namespace_ends,
                admit: &admit,
                seed: self.version,
            };
            replica_set::plan(value, &around, self.now())
        }
    }

    /// Applies a plan; whether it changed anything.
    pub(crate) fn apply(&mut self, plan: Plan) -> bool {
        let changed = !plan.actions.is_empty();
        for action in plan.actions {
            match action {
                Action::Create { key, value } => {
                    let created = self.create(key.kind, value);
                    assert_eq!(created, key);
                }
                Action::Update { key, value } => {
                    let there = self.get(&key).unwrap();
                    let version = |value: &Value| value["metadata"]["resourceVersion"].clone();
                    assert_eq!(
                        version(&there),
                        version(&value),
                        "{key} is written once a plan"
                    );
                    assert_ne!(*there, value, "{key} is written for nothing");
                    self.put(&key, Some(value));
                }
                Action::Delete {
                    key,
                    uid,
                    propagation,
                } => {
                    assert_eq!(object::uid(&self.get(&key).unwrap()), uid);
                    self.delete(&key, propagation);
                }
                Action::Remove { key, uid } => {
                    let there = self.get(&key).unwrap();
                    assert_eq!(object::uid(&there), uid);
                    assert!(object::is_deleting(&there));
                    self.put(&key, None);
                }
            }
        }
        for event in plan.events {
            let said = format!("{} {}: {}", event.about.kind, event.reason, event.message);
            self.events.push((self.seconds, said));
        }
        if let Some(mut check) = self.check.take() {
            check(self);
            self.check = Some(check);
        }
        changed
    }

    fn put(&mut self, key: &ObjectKey, value: Option<Value>) {
        self.version += 1;
        let before = self.get(key);
        let after = value.map(|mut value| {
            value["metadata"]["resourceVersion"] = self.version.to_string().into();
            Arc::new(value)
        });
        let concerned = self
            .dependants
            .observe(key, before.as_deref(), after.as_deref());
        self.concerned.extend(concerned);
        match after {
            Some(after) => {
                self.objects.insert(key.clone(), after);
            }
            None => {
                self.objects.remove(key);
                self.deadlines.remove(key);
            }
        }
    }
}
