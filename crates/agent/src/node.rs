//! The loop that owns the engine.
//!
//! It reads: answers of operations, events of the runtime, changes of the store, commands, and the clock.
//! It publishes: the store (status, endpoints, events), the proxy's plan, and happenings. It waits for
//! nothing else, so a turn takes microseconds. Its queues: answers (1,024; a task whose answer finds it
//! full waits), commands (16), happenings (4,096; a reader that falls behind is told how much it missed).

mod start;
mod take_up;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use probelet_api::registry::placing;
use probelet_engine::effect::{Commit, Effect};
use probelet_engine::input::{Exit, Input, OperationId, Origin, PodFailure};
use probelet_engine::memory::PodMemory;
use probelet_engine::{BackOffLimits, Config, Engine};
use probelet_model::id::{Kind, ObjectKey, PodUid};
use probelet_model::pod::Pod;
use probelet_model::service::Service;
use probelet_model::status::PodStatus;
use probelet_model::time::Mono;
use probelet_runtime::{Event as RuntimeEvent, Events, Images, Runtime, RuntimeError};
use probelet_store::{
    Change, ChangeKind, Durability, Gone, MemoryFile, Object, Store, Watch, WriteError,
};
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::clock;
use crate::committer;
use crate::configuration::{self, NodeFacts};
use crate::data_dir::DataDir;
use crate::explain::{self, Explanations};
use crate::fetch::Fetches;
use crate::happening::{Happening, What};
use crate::identity;
use crate::metrics::Metrics;
use crate::objects;
use crate::operation::{ContainerRun, Operations};
use crate::pod_ip::{Cidr, PodAddresses};
use crate::recorder::Recorder;
use crate::this_node;
use crate::traffic::Traffic;

/// How many answers may wait.
const ANSWERS: usize = 1024;

/// What the loop can be told to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Stop every pod within its grace; answered when all have stopped. Objects stay.
    StopPods(oneshot::Sender<()>),
    /// End the loop; containers go on.
    End,
}

/// The loop's own things.
#[derive(Debug)]
pub(crate) struct Node<R: Runtime, I> {
    engine: Engine,
    runtime: Arc<R>,
    store: Arc<Store>,
    data_dir: DataDir,
    operations: Operations<R, I>,
    answers: mpsc::Receiver<Input>,
    events: Events,
    watch: Watch,
    commands: mpsc::Receiver<Command>,
    happenings: broadcast::Sender<Happening>,
    traffic: Traffic<R>,
    traffic_changed: bool,
    recorder: Recorder,
    explanations: Explanations,
    metrics: Arc<Metrics>,
    /// When what is done in this turn was due.
    due: Mono,
    addresses: PodAddresses,
    host_ip: IpAddr,
    facts: NodeFacts,
    pods: BTreeMap<PodUid, KnownPod>,
    /// Every pod is being stopped, or has been: none is taken up any more, also not for the sake of a change
    /// that this agent has made itself and hears of late.
    stops: bool,
    stopped: Vec<oneshot::Sender<()>>,
}

/// What the loop knows of a pod that the engine runs.
#[derive(Debug)]
struct KnownPod {
    key: ObjectKey,
    /// The object the engine has heard of.
    seen: Arc<Value>,
    memory: Option<MemoryFile>,
}

/// What a node is made from.
#[derive(Debug)]
pub(crate) struct Parts<R, I> {
    pub(crate) runtime: Arc<R>,
    pub(crate) fetches: Fetches<I>,
    pub(crate) store: Arc<Store>,
    pub(crate) data_dir: DataDir,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) happenings: broadcast::Sender<Happening>,
    pub(crate) pod_cidr: Cidr,
    pub(crate) metrics: Arc<Metrics>,
    /// Pods are taken up only to be stopped.
    pub(crate) stop: bool,
}

impl<R: Runtime, I: Images> Node<R, I> {
    /// Takes up what the store and the runtime hold.
    ///
    /// # Errors
    /// If the runtime cannot say what stands.
    pub(crate) async fn new(parts: Parts<R, I>) -> Result<Self, RuntimeError> {
        let Parts {
            runtime,
            fetches,
            store,
            data_dir,
            commands,
            happenings,
            pod_cidr,
            metrics,
            stop,
        } = parts;
        let (host_ip, node_name) = (identity::host_ip(), identity::node_name());
        let events = runtime.events();
        let standing = runtime.pods().await?;
        let (answer_to, answers) = mpsc::channel(ANSWERS);
        let config = Config {
            node_name: node_name.clone(),
            host_ip,
            seed: u64::from_ne_bytes(identity::random()),
            back_off: BackOffLimits::default(),
        };
        let watch = store
            .watch(store.version())
            .expect("a store remembers its newest version");
        let traffic = Traffic::new(Arc::clone(&runtime));
        let mut node = Self {
            engine: Engine::new(config, clock::now()),
            operations: Operations::new(
                Arc::clone(&runtime),
                fetches,
                answer_to,
                Arc::clone(&metrics),
                Arc::clone(traffic.names()),
            ),
            recorder: Recorder::new(&store, &node_name),
            explanations: Explanations::default(),
            metrics,
            due: clock::now().mono,
            traffic,
            traffic_changed: false,
            addresses: PodAddresses::new(pod_cidr),
            pods: BTreeMap::new(),
            stops: false,
            stopped: Vec::new(),
            runtime,
            store,
            data_dir,
            answers,
            events,
            watch,
            commands,
            happenings,
            host_ip,
            facts: NodeFacts {
                host_ip,
                node_name,
                allocatable: this_node::allocatable(),
            },
        };
        node.take_up(standing, stop).await;
        node.place_waiting();
        // What has changed while no agent was there.
        node.update_volumes(configuration::has_files);
        Ok(node)
    }

    /// Turns until told to end.
    pub(crate) async fn run(mut self) {
        self.carry_out();
        loop {
            let deadline = self.engine.deadline().map(|deadline| deadline.at);
            let wake = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(clock::instant(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(input) = self.answers.recv() => self.handle(input),
                Some(event) = self.events.recv() => self.runtime_event(event),
                change = self.watch.next() => self.store_change(change),
                Some(command) = self.commands.recv() => match command {
                    Command::End => break,
                    Command::StopPods(answer) => self.stop_pods(answer),
                },
                () = wake => {
                    self.due = deadline.unwrap_or(self.due);
                    self.engine.handle(clock::now(), Input::Wake);
                }
            }
            self.carry_out();
        }
        self.traffic.shutdown().await;
    }

    fn handle(&mut self, input: Input) {
        let now = clock::now();
        self.due = now.mono;
        self.engine.handle(now, input);
    }

    fn admit(&mut self, object: Object, memory: Option<MemoryFile>, pod: Pod, origin: Origin) {
        let uid = pod.uid.clone();
        let known = KnownPod {
            key: object.key,
            seen: object.value,
            memory,
        };
        self.pods.insert(uid, known);
        self.handle(Input::PodApplied {
            pod: Arc::new(pod),
            origin,
        });
    }

    fn runtime_event(&mut self, event: RuntimeEvent) {
        match event {
            RuntimeEvent::Exited {
                pod,
                container,
                exit,
            } => {
                let exit = Exit {
                    code: exit.code,
                    signal: exit.signal,
                    out_of_memory: exit.out_of_memory,
                    finished_at: exit.finished_at,
                    message: exit.message,
                };
                self.operations.container_ended(&pod, &container);
                self.handle(Input::ContainerExited {
                    pod,
                    container,
                    exit,
                });
            }
            RuntimeEvent::VolumeFull { pod, volume } => {
                self.handle(Input::VolumeFull { pod, volume });
            }
            RuntimeEvent::PodLost { pod } => {
                self.operations.pod_lost(&pod);
                self.handle(Input::PodLost { pod });
            }
        }
    }

    fn store_change(&mut self, change: Result<Change, Gone>) {
        match change {
            Ok(change) => self.object_changed(&change.key, change.kind, &change.object),
            Err(Gone { .. }) => self.relist(),
        }
    }

    /// The loop fell behind what the store remembers: everything is looked at anew.
    fn relist(&mut self) {
        let version = self.store.version();
        self.watch = self
            .store
            .watch(version)
            .expect("a store remembers its newest version");
        for kind in [Kind::Pod, Kind::Service] {
            for object in self.store.list(kind).0 {
                self.object_changed(&object.key, ChangeKind::Modified, &object.value);
            }
        }
        self.update_volumes(configuration::has_files);
    }

    fn object_changed(&mut self, key: &ObjectKey, kind: ChangeKind, value: &Arc<Value>) {
        match (key.kind, kind) {
            (Kind::Pod, ChangeKind::Added | ChangeKind::Modified) => self.pod_changed(key, value),
            (Kind::Pod, ChangeKind::Deleted) => self.pod_removed(value),
            (Kind::Service, ChangeKind::Added | ChangeKind::Modified) => {
                let version = self.store.version();
                self.service_applied(
                    key,
                    &Object {
                        key: key.clone(),
                        version,
                        value: Arc::clone(value),
                    },
                );
            }
            (Kind::Service, ChangeKind::Deleted) => {
                self.handle(Input::ServiceDeleted { key: key.clone() });
                self.traffic.forget(key);
                self.traffic_changed = true;
                let endpoints = ObjectKey::new(Kind::Endpoints, &key.namespace, &key.name);
                objects::remove(&self.store, &[endpoints]);
                let gone = self.store.transact(Durability::Derived, |transaction| {
                    committer::slices::delete(transaction, key)
                });
                if let Err(error) = gone {
                    tracing::warn!("cannot remove the endpoint slices of {key}: {error}");
                }
                self.tell(key.clone(), What::Deleted);
            }
            (Kind::Node, ChangeKind::Added | ChangeKind::Modified) => self.place_waiting(),
            (Kind::ConfigMap | Kind::Secret, _) => {
                self.update_volumes(|pod| configuration::is_made_of(pod, key));
            }
            _ => {}
        }
    }

    /// Pods that came while the node took none run once it does again.
    fn place_waiting(&self) {
        let node_name = &self.facts.node_name;
        let placed = self.store.transact(Durability::Derived, |transaction| {
            let node = transaction.get(&ObjectKey::new(Kind::Node, "", node_name));
            if node.is_some_and(|node| placing::is_cordoned(&node.value)) {
                return Ok(());
            }
            let waiting: Vec<(ObjectKey, Value)> = transaction
                .list(Kind::Pod)
                .into_iter()
                .filter(|pod| placing::is_waiting(&pod.value))
                .map(|pod| (pod.key.clone(), Value::clone(&pod.value)))
                .collect();
            for (key, mut pod) in waiting {
                placing::bind(&mut pod, node_name);
                transaction.update(key, None, pod)?;
            }
            Ok::<_, WriteError>(())
        });
        if let Err(error) = placed {
            tracing::warn!("cannot give waiting pods their node: {error}");
        }
    }

    /// One that never ran has nothing to wait for.
    fn waiting_pod_changed(&self, key: &ObjectKey, value: &Value) {
        if value["metadata"].get("deletionTimestamp").is_some() {
            self.remove_object(
                key,
                &PodUid::from(value["metadata"]["uid"].as_str().unwrap_or_default()),
            );
        }
    }

    /// Only what others change is news to the engine; the rest of the status it has made itself.
    fn pod_changed(&mut self, key: &ObjectKey, value: &Arc<Value>) {
        if placing::is_waiting(value) {
            return self.waiting_pod_changed(key, value);
        }
        let uid = PodUid::from(value["metadata"]["uid"].as_str().unwrap_or_default());
        if let Some(known) = self.pods.get_mut(&uid) {
            let same =
                same_but_status(&known.seen, value) && same_foreign_conditions(&known.seen, value);
            known.seen = Arc::clone(value);
            if same {
                return;
            }
        }
        // A change from before the object went away comes late when the loop is behind.
        let there = self.store.get(key);
        if there.is_none_or(|there| there.value["metadata"]["uid"] != uid.as_str()) {
            return;
        }
        let object = Object {
            key: key.clone(),
            version: self.store.version(),
            value: Arc::clone(value),
        };
        let Some(pod) = decoded(&object, Pod::from_value) else {
            return;
        };
        if self.pods.contains_key(&uid) {
            if configuration::tells_of_itself(&pod) {
                self.update_volumes_of(&pod);
            }
            self.handle(Input::PodApplied {
                pod: Arc::new(pod),
                origin: Origin::New,
            });
        } else if !self.stops {
            let memory = self.open_memory(&uid);
            self.admit(object, memory, pod, Origin::New);
        }
    }

    /// The object went before its containers: they get no grace, as from the kubelet.
    fn pod_removed(&mut self, value: &Value) {
        let uid = PodUid::from(value["metadata"]["uid"].as_str().unwrap_or_default());
        let Some(known) = self.pods.get(&uid) else {
            return;
        };
        let object = Object {
            key: known.key.clone(),
            version: self.store.version(),
            value: Arc::new(objects::deleting(value.clone(), Some(0), clock::now().wall)),
        };
        if let Some(pod) = decoded(&object, Pod::from_value) {
            self.handle(Input::PodApplied {
                pod: Arc::new(pod),
                origin: Origin::New,
            });
        }
    }

    fn service_applied(&mut self, key: &ObjectKey, object: &Object) {
        let Some(service) = decoded(object, Service::from_value) else {
            return;
        };
        self.traffic.service(key, service.clone());
        self.traffic_changed = true;
        self.handle(Input::ServiceApplied {
            service: Arc::new(service),
        });
    }

    fn stop_pods(&mut self, answer: oneshot::Sender<()>) {
        let pods: Vec<PodUid> = self.engine.pods().cloned().collect();
        for pod in pods {
            self.handle(Input::PodStopped { pod });
        }
        self.stops = true;
        self.stopped.push(answer);
    }

    /// Does what the engine asks for, until it asks for nothing more.
    fn carry_out(&mut self) {
        while let Some(effect) = self.engine.next_effect() {
            match effect {
                Effect::Remember { pod, memory } => self.remember(&pod, &memory),
                Effect::Commit(commit) => self.commit(&commit),
                Effect::StartPod { operation, pod } => {
                    let ip = if pod.host_network {
                        Some(self.host_ip)
                    } else {
                        self.addresses.take(&pod.uid)
                    };
                    match ip {
                        Some(ip) => self.start_pod(operation, &pod, ip),
                        None => self.out_of_addresses(operation, &pod),
                    }
                }
                Effect::LookUpImage {
                    operation,
                    pod,
                    container,
                    image,
                } => self
                    .operations
                    .look_up_image(operation, &pod, &container, image),
                Effect::PullImage {
                    operation,
                    pod,
                    container,
                    image,
                } => self.pull_image(operation, &pod, &container, image),
                Effect::StartContainer {
                    operation,
                    pod,
                    container,
                    id,
                    restart_count,
                    image,
                } => self.start_container(
                    operation,
                    &pod,
                    &container,
                    id,
                    restart_count,
                    image.as_ref(),
                ),
                Effect::RunHook {
                    operation,
                    pod,
                    container: name,
                    id,
                    hook,
                    moment,
                    timeout,
                } => {
                    let ip = self.pod_ip(&pod.uid);
                    self.operations.run_hook(
                        operation,
                        ContainerRun { pod, name, id, ip },
                        hook,
                        moment,
                        timeout,
                    );
                }
                Effect::StopContainer {
                    pod,
                    container,
                    grace,
                } => {
                    self.operations.stop_container(pod, container, grace);
                }
                Effect::RemovePod { operation, pod } => {
                    let has_images = self.has_images(&pod);
                    self.operations.remove_pod(operation, pod, has_images);
                }
                Effect::StartAttempt {
                    attempt,
                    pod,
                    container: name,
                    id,
                    kind,
                } => {
                    let ip = self.pod_ip(&pod.uid);
                    self.operations.attempt(
                        attempt,
                        ContainerRun { pod, name, id, ip },
                        kind,
                        self.due,
                    );
                }
                Effect::Event(event) => self.record(&event),
                Effect::Report(report) => self.report(report),
                Effect::PodEnded { pod, deleted } => self.pod_ended(&pod, deleted),
            }
        }
        self.apply_traffic();
        let pods = &self.pods;
        self.explanations.write(&self.store, |uid| {
            pods.get(uid).map(|known| known.key.clone())
        });
        if !self.stopped.is_empty() && self.engine.pods().next().is_none() {
            for answer in self.stopped.drain(..) {
                let _whoever_asked_has_gone = answer.send(());
            }
        }
    }

    fn commit(&mut self, commit: &Commit) {
        let now = clock::now().wall;
        let pods = &self.pods;
        let key_of = |uid: &PodUid| pods.get(uid).map(|known| known.key.clone());
        let told = committer::commit(&self.store, commit, key_of, now);
        for change in &commit.endpoints {
            self.traffic
                .endpoints(&change.service, change.endpoints.clone());
            self.traffic_changed = true;
        }
        // Whoever is told that a pod is not ready may rely on it.
        self.apply_traffic();
        for (object, what) in told {
            self.tell_at(now, object, what);
        }
    }

    fn apply_traffic(&mut self) {
        if std::mem::take(&mut self.traffic_changed) {
            for (key, address) in self.traffic.apply(&self.store) {
                self.tell(key, What::Address { address });
            }
        }
    }

    fn remember(&mut self, pod: &PodUid, memory: &PodMemory) {
        let Some(file) = self
            .pods
            .get_mut(pod)
            .and_then(|known| known.memory.as_mut())
        else {
            return;
        };
        let saved = serde_json::to_vec(memory)
            .map_err(std::io::Error::other)
            .and_then(|text| file.save(&text));
        if let Err(error) = saved {
            tracing::error!(%pod, "cannot write down what a restart must know: {error}");
        }
    }

    fn open_memory(&self, pod: &PodUid) -> Option<MemoryFile> {
        let path = self.data_dir.memory(pod);
        let opened = MemoryFile::open(&path);
        if let Err(error) = &opened {
            tracing::error!(%pod, "cannot open {}: {error}; a restart will not know its counters", path.display());
        }
        opened.ok()
    }

    fn out_of_addresses(&mut self, operation: OperationId, pod: &Pod) {
        let failure = "no address is left in the pod range; give a larger --pod-cidr".to_owned();
        let result = Err(PodFailure::Sandbox(failure));
        self.handle(Input::PodStarted {
            pod: pod.uid.clone(),
            operation,
            result,
        });
    }

    fn pod_ip(&self, pod: &PodUid) -> Option<IpAddr> {
        self.engine.status(pod).and_then(|status| status.pod_ip)
    }

    /// The object of a pod of which nothing runs any more.
    fn remove_object(&self, key: &ObjectKey, uid: &PodUid) {
        let removed = self.store.transact(Durability::Derived, |transaction| {
            // Somebody may have removed the object by force, and made another of its name.
            let Some(value) = objects::pod(transaction, key, uid) else {
                return Ok(());
            };
            let finalizers = value["metadata"]["finalizers"].as_array();
            if finalizers.is_none_or(Vec::is_empty) {
                return transaction.delete(key, None).map(drop);
            }
            // Whoever takes the last finalizer away removes it; nothing else is waited for.
            let ended = objects::deleting((*value).clone(), Some(0), clock::now().wall);
            transaction.update(key.clone(), None, ended).map(drop)
        });
        if let Err(error) = removed {
            tracing::warn!(pod = %uid, "cannot remove the object of a pod that has ended: {error}");
        }
    }

    fn pod_ended(&mut self, uid: &PodUid, deleted: bool) {
        self.addresses.give_back(uid);
        self.traffic.names().leave(uid);
        let Some(known) = self.pods.remove(uid) else {
            return;
        };
        if !deleted {
            return self.tell(known.key, What::Stopped);
        }
        if let Some(memory) = known.memory
            && let Err(error) = memory.remove()
        {
            tracing::warn!(pod = %uid, "cannot remove the memory of a pod that has ended: {error}");
        }
        self.explanations.forget(uid);
        self.metrics.forget(uid);
        self.recorder.forget(&self.store, uid);
        self.remove_object(&known.key, uid);
        self.tell(known.key, What::Deleted);
    }
}

/// A stored object as the engine knows it. What is stored has been validated, so an error here means that
/// it was written by another version.
fn decoded<T, E: std::fmt::Display>(
    object: &Object,
    from_value: impl FnOnce(&Value) -> Result<T, Vec<E>>,
) -> Option<T> {
    from_value(&object.value)
        .inspect_err(|errors| {
            for error in errors {
                tracing::error!("{} is stored but cannot be run: {error}", object.key);
            }
        })
        .ok()
}

/// Whether two versions of an object differ in no more than their status.
fn same_but_status(before: &Value, now: &Value) -> bool {
    let fields = |value: &Value| value.as_object().map_or(0, serde_json::Map::len);
    let metadata = |value: &Value, name: &str| value["metadata"].get(name).cloned();
    fields(before) > 0
        && before.get("spec") == now.get("spec")
        && ["labels", "deletionTimestamp", "deletionGracePeriodSeconds"]
            .into_iter()
            .all(|name| metadata(before, name) == metadata(now, name))
        && annotations(before).eq(annotations(now))
}

/// The annotations that others have written.
fn annotations(pod: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let all = pod["metadata"]["annotations"].as_object();
    all.into_iter()
        .flatten()
        .filter(|(name, _)| !explain::is_explanation(name))
}

/// Whether two versions of a Pod's status have the same conditions of others, which gates may wait for.
fn same_foreign_conditions(before: &Value, now: &Value) -> bool {
    let foreign = |pod: &Value| {
        let status = serde_json::from_value(pod["status"].clone());
        status
            .map(|status: PodStatus| status.foreign_conditions)
            .unwrap_or_default()
    };
    before["status"]["conditions"] == now["status"]["conditions"] || foreign(before) == foreign(now)
}
