//! The planners of `probelet-workloads`, over the store.
//!
//! One task. It reads: every change of the store, and the clock. It publishes: the store, one transaction for a
//! plan (objects, status and events together), so that whenever it is killed the store holds whole steps and the
//! next agent goes on from there. It has no queue of its own: it holds a cursor into the store's changes, and a
//! set of what is to be looked at, which is bounded by the objects there are. A cursor that has fallen too far
//! behind is put at the end, and everything is looked at anew.
//!
//! A plan is made from the store as it is and applied only if what it is made from is still so; if not, it is
//! made again. Nothing is looked at that has not changed and whose moment has not come, so that a cluster at
//! rest costs nothing.
//!
//! Start reading at [`run`], then `Driver::observe` (whose turn it is) and `Driver::work` (what is done).

mod apply;
mod deadlines;
mod events;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use probelet_model::admission;
use probelet_model::decode;
use probelet_model::id::{Kind, ObjectKey};
use probelet_model::time::Wall;
use probelet_store::{Change, ChangeKind, Durability, Gone, Store, Watch, WriteError};
use probelet_workloads::owners::{self, Dependants};
use probelet_workloads::{Plan, deployment, event_expiry, namespaces, plan, replica_set, selects};
use serde_json::Value;
use tokio::task::JoinHandle;

use self::apply::{Applied, server_fields};
use self::deadlines::Deadlines;
use self::events::Told;
use crate::{clock, identity};

/// What reports of pods, whose events go with their pod: the recorder.
const RECORDER: &str = "probelet";

/// What the workloads of a node have to know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// This node, where every pod goes.
    pub(crate) node_name: String,
    /// `spec.runtimeClassName` of pods whose template names none.
    pub(crate) default_runtime_class: Option<String>,
    /// The certificate of the server's authority, PEM: what each namespace has as `kube-root-ca.crt`.
    pub(crate) root_ca: String,
}

/// The task, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<Option<JoinHandle<()>>>);

impl Running {
    pub(crate) fn start(store: Arc<Store>, options: Options) -> Self {
        Self(Mutex::new(Some(tokio::spawn(run(store, options)))))
    }

    /// Ends it between two plans; returns when it has ended.
    pub(crate) async fn end(&self) {
        let task = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            match task.await {
                Err(error) if error.is_panic() => tracing::error!("the workloads died: {error}"),
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// Runs ReplicaSets, Deployments, owners, namespaces and the expiry of events until it is dropped.
async fn run(store: Arc<Store>, options: Options) {
    Driver::new(store, options, || clock::now().wall)
        .run()
        .await;
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    /// An object, for the sake of its owners and dependants.
    Owners(ObjectKey),
    /// A namespace: what it should have, or what of it is left.
    Namespace(ObjectKey),
    /// A ReplicaSet.
    ReplicaSet(ObjectKey),
    /// A Deployment.
    Deployment(ObjectKey),
    /// The events, of which one has had its time.
    Events,
}

/// The loop.
struct Driver<Clock> {
    store: Arc<Store>,
    options: Options,
    now: Clock,
    watch: Watch,
    /// As far as the cursor has come; it always comes past our own writes before the next plan is made.
    dependants: Dependants,
    /// Namespaces that are being deleted: whatever changes in them may be the last.
    ending: BTreeSet<String>,
    due: BTreeSet<Task>,
    later: Deadlines<Task>,
    /// What has been told.
    told: Told,
    /// How often in a row something could not be done. Volatile: a restart tries at once.
    failures: BTreeMap<Task, u32>,
}

impl<Clock: Fn() -> Wall> Driver<Clock> {
    fn new(store: Arc<Store>, options: Options, now: Clock) -> Self {
        let watch = newest(&store);
        let mut driver = Self {
            store,
            options,
            now,
            watch,
            dependants: Dependants::default(),
            ending: BTreeSet::new(),
            due: BTreeSet::new(),
            later: Deadlines::default(),
            told: Told::default(),
            failures: BTreeMap::new(),
        };
        driver.make_namespaces();
        driver.look_at_everything();
        driver
    }

    async fn run(mut self) {
        loop {
            self.settle().await;
            let wait = self.later.next().map(|at| at.since((self.now)()));
            let wake = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                change = self.watch.next() => self.changed(change),
                () = wake => {}
            }
        }
    }

    /// Works until nothing is due.
    async fn settle(&mut self) {
        loop {
            self.catch_up();
            let now = (self.now)();
            self.due
                .extend(std::iter::from_fn(|| self.later.pop_due(now)));
            let Some(task) = self.due.pop_first() else {
                return;
            };
            self.work(task, now);
            // A long row of work leaves room for others.
            tokio::task::yield_now().await;
        }
    }

    fn catch_up(&mut self) {
        loop {
            match self.watch.try_next() {
                Ok(Some(change)) => self.observe(&change),
                Ok(None) => return,
                Err(gone) => self.changed(Err(gone)),
            }
        }
    }

    fn changed(&mut self, change: Result<Change, Gone>) {
        match change {
            Ok(change) => self.observe(&change),
            Err(Gone { .. }) => {
                self.watch = newest(&self.store);
                self.look_at_everything();
            }
        }
    }

    fn make_namespaces(&self) {
        let now = (self.now)();
        let made = self.store.transact(Durability::Derived, |transaction| {
            for name in namespaces::ALWAYS_THERE {
                let key = ObjectKey::new(Kind::Namespace, "", name);
                if transaction.get(&key).is_none() {
                    let value = server_fields(namespaces::new(name), now);
                    transaction.create(key, value)?;
                }
            }
            Ok::<_, WriteError>(())
        });
        if let Err(error) = made {
            tracing::error!("cannot make the namespaces that are always there: {error}");
        }
    }

    /// As if every object had just come to be.
    fn look_at_everything(&mut self) {
        self.dependants = Dependants::default();
        self.told = Told::default();
        self.ending.clear();
        for kind in Kind::ALL {
            for object in self.store.list(kind).0 {
                self.concern(&object.key, None, Some(&object.value));
            }
        }
    }

    fn observe(&mut self, change: &Change) {
        let is_there = change.kind != ChangeKind::Deleted;
        let after = is_there.then_some(&change.object);
        self.concern(&change.key, change.before.as_ref(), after);
    }

    /// Finds out whose turn it is because an object has changed.
    fn concern(
        &mut self,
        key: &ObjectKey,
        before: Option<&Arc<Value>>,
        after: Option<&Arc<Value>>,
    ) {
        let (before, after) = (before.map(|value| &**value), after.map(|value| &**value));
        let concerned = self.dependants.observe(key, before, after);
        self.due.extend(concerned.into_iter().map(Task::Owners));
        match key.kind {
            Kind::Namespace => {
                if after.is_some_and(namespaces::ends) {
                    self.ending.insert(key.name.clone());
                } else {
                    self.ending.remove(&key.name);
                }
                self.due.insert(Task::Namespace(key.clone()));
            }
            // It says what it said before.
            Kind::Pod
                if before.zip(after).is_some_and(|(before, after)| {
                    replica_set::sees_no_difference(before, after)
                }) => {}
            Kind::Pod => {
                let sets = self.controllers(Kind::ReplicaSet, key, before, after);
                self.due.extend(sets.into_iter().map(Task::ReplicaSet));
            }
            Kind::ReplicaSet => {
                self.due.insert(Task::ReplicaSet(key.clone()));
                let deployments = self.controllers(Kind::Deployment, key, before, after);
                self.due
                    .extend(deployments.into_iter().map(Task::Deployment));
            }
            Kind::Deployment => {
                self.due.insert(Task::Deployment(key.clone()));
            }
            Kind::Event => self.event(key, before, after),
            _ => {}
        }
        let is_furniture = match key.kind {
            Kind::ServiceAccount => key.name == namespaces::DEFAULT_ACCOUNT,
            Kind::ConfigMap => key.name == namespaces::ROOT_CA,
            _ => false,
        };
        if is_furniture || self.ending.contains(&key.namespace) {
            let namespace = ObjectKey::new(Kind::Namespace, "", &key.namespace);
            self.due.insert(Task::Namespace(namespace));
        }
    }

    /// The controllers of a kind that manage an object, or did; of one that nobody manages, those that select
    /// it.
    fn controllers(
        &self,
        kind: Kind,
        key: &ObjectKey,
        before: Option<&Value>,
        after: Option<&Value>,
    ) -> BTreeSet<ObjectKey> {
        let mut found = BTreeSet::new();
        for object in [before, after].into_iter().flatten() {
            let owners = object["metadata"]["ownerReferences"].as_array();
            let mut owners = owners.into_iter().flatten();
            match owners.find(|owner| owner["controller"] == true) {
                Some(owner) if owner["kind"] == kind.as_str() => {
                    let name = owner["name"].as_str().unwrap_or_default();
                    found.insert(ObjectKey::new(kind, &key.namespace, name));
                }
                Some(_) => {}
                None => {
                    let all = self.store.list_in(kind, &key.namespace).0;
                    let selecting = all.into_iter().filter(|one| selects(&one.value, object));
                    found.extend(selecting.map(|one| one.key));
                }
            }
        }
        found
    }

    /// An event that is new, or has happened again, may be the first to go.
    fn event(&mut self, key: &ObjectKey, before: Option<&Value>, after: Option<&Value>) {
        self.told.observe(key, before, after);
        if let Some(at) = after.and_then(|event| event_expiry::expires(event, RECORDER)) {
            self.later.at_latest(Task::Events, at);
        }
    }

    fn work(&mut self, task: Task, now: Wall) {
        self.later.forget(&task);
        let plan = match &task {
            Task::Owners(key) => self.plan_owners(key),
            Task::Namespace(key) => self.plan_namespace(key, now),
            Task::ReplicaSet(key) => self.plan_replica_set(key, now),
            Task::Deployment(key) => self.plan_deployment(key, now),
            Task::Events => return self.drop_old_events(now),
        };
        let Some(plan) = plan else {
            self.failures.remove(&task);
            return;
        };
        match apply::apply(&self.store, &plan, &self.told, &self.options.node_name, now) {
            Ok(Applied::Yes) => self.wait_for(task, &plan, now),
            Ok(Applied::Outdated) => {
                self.due.insert(task);
            }
            Err(error) => {
                tracing::error!("cannot carry out a plan for {task:?}: {error}");
                self.try_again(task, now);
            }
        }
    }

    /// Writes down when to look again.
    fn wait_for(&mut self, task: Task, plan: &Plan, now: Wall) {
        if let Some(at) = plan.deadline {
            self.later.at_latest(task.clone(), at);
        }
        if plan.failed {
            self.try_again(task, now);
        } else {
            self.failures.remove(&task);
        }
    }

    /// What could not be done is tried again, later each time.
    fn try_again(&mut self, task: Task, now: Wall) {
        let failures = self.failures.entry(task.clone()).or_default();
        *failures += 1;
        self.later.at_latest(task, now + plan::back_off(*failures));
    }

    fn find(&self, key: &ObjectKey) -> Option<Arc<Value>> {
        self.store.get(key).map(|object| object.value)
    }

    fn find_all<'a>(&self, keys: impl IntoIterator<Item = &'a ObjectKey>) -> Vec<Arc<Value>> {
        keys.into_iter().filter_map(|key| self.find(key)).collect()
    }

    /// What of a kind a controller may claim.
    fn claimable(&self, kind: Kind, controller: &ObjectKey, value: &Value) -> Vec<Arc<Value>> {
        let namespace = &controller.namespace;
        self.find_all(self.dependants.claimable(kind, namespace, uid(value)))
    }

    fn namespace_ends(&self, name: &str) -> bool {
        let namespace = self.find(&ObjectKey::new(Kind::Namespace, "", name));
        namespace.is_some_and(|namespace| namespaces::ends(&namespace))
    }

    fn plan_owners(&self, key: &ObjectKey) -> Option<Plan> {
        let object = self.find(key)?;
        let dependants = self.dependants.of(uid(&object));
        let dependants: Vec<_> = dependants
            .filter_map(|key| Some((key.clone(), self.find(key)?)))
            .collect();
        let find = |key: &ObjectKey| self.find(key);
        Some(owners::plan(key, &object, &find, &dependants))
    }

    fn plan_namespace(&self, key: &ObjectKey, now: Wall) -> Option<Plan> {
        let namespace = self.find(key)?;
        if !namespaces::ends(&namespace) {
            let find = |key: &ObjectKey| self.find(key);
            return Some(namespaces::furnish(
                &namespace,
                &self.options.root_ca,
                &find,
            ));
        }
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.is_namespaced());
        let contents: Vec<_> = kinds
            .flat_map(|kind| self.store.list_in(kind, &key.name).0)
            .map(|object| (object.key, object.value))
            .collect();
        Some(namespaces::end(&namespace, &contents, now))
    }

    fn plan_replica_set(&self, key: &ObjectKey, now: Wall) -> Option<Plan> {
        let set = self.find(key)?;
        let around = replica_set::Around {
            pods: &self.claimable(Kind::Pod, key, &set),
            namespace_ends: self.namespace_ends(&key.namespace),
            admit: &|kind, value| self.admit(kind, value),
            seed: u64::from_ne_bytes(identity::random()),
        };
        Some(replica_set::plan(&set, &around, now))
    }

    fn plan_deployment(&self, key: &ObjectKey, now: Wall) -> Option<Plan> {
        let deployment = self.find(key)?;
        let sets = self.claimable(Kind::ReplicaSet, key, &deployment);
        let pods = sets.iter().flat_map(|set| self.dependants.of(uid(set)));
        let pods = pods.filter(|key| key.kind == Kind::Pod);
        let is_taken = |name: &str| {
            let key = ObjectKey::new(Kind::ReplicaSet, &key.namespace, name);
            self.store.get(&key).is_some()
        };
        let around = deployment::Around {
            replica_sets: &sets,
            is_taken: &is_taken,
            pods: &self.find_all(pods),
            namespace_ends: self.namespace_ends(&key.namespace),
            admit: &|kind, value| self.admit(kind, value),
        };
        Some(deployment::plan(&deployment, &around, now))
    }

    /// What a client that created the object would get, or the words it would be refused with.
    ///
    /// Upstream: apimachinery pkg/api/errors/errors.go, NewInvalid.
    /// Shown by: a_template_that_is_refused_is_told_in_the_servers_words.
    fn admit(&self, kind: Kind, value: Value) -> Result<Value, String> {
        let name = value["metadata"]["name"].to_string();
        let options = decode::Options {
            default_runtime_class: self.options.default_runtime_class.clone(),
        };
        let errors = match admission::create(kind, value, &options) {
            Ok(admitted) => return Ok(admitted.value),
            Err(errors) => errors,
        };
        let group = kind.api_version().split_once('/');
        let group = group.map_or_else(String::new, |(group, _)| format!(".{group}"));
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let what = match &texts[..] {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        Err(format!("{kind}{group} {name} is invalid: {what}"))
    }

    fn drop_old_events(&mut self, now: Wall) {
        match events::drop_old(&self.store, RECORDER, now) {
            Ok(Some(next)) => self.later.at_latest(Task::Events, next),
            Ok(None) => {}
            Err(error) => tracing::error!("cannot drop old events: {error}"),
        }
    }
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

fn newest(store: &Store) -> Watch {
    store
        .watch(store.version())
        .expect("a store remembers its newest version")
}

#[cfg(test)]
mod tests;
