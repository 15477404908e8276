//! The loop that owns the engine.
//!
//! It reads: answers of operations, events of the runtime, changes of the store, commands, and the clock.
//! It publishes: the store (status, endpoints, events), the proxy's plan, and happenings. It waits for
//! nothing else, so a turn takes microseconds. Its queues: answers (1,024; a task whose answer finds it
//! full waits), commands (16), happenings (4,096; a reader that falls behind is told how much it missed).

mod changes;
mod start;
mod take_up;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use probelet_engine::effect::{Commit, Effect};
use probelet_engine::input::{Exit, Input, OperationId, Origin, PodFailure};
use probelet_engine::memory::PodMemory;
use probelet_engine::{BackOffLimits, Config, Engine};
use probelet_model::id::{ObjectKey, PodUid};
use probelet_model::pod::Pod;
use probelet_model::time::Mono;
use probelet_runtime::{Event as RuntimeEvent, Events, Images, Runtime, RuntimeError};
use probelet_store::{Durability, MemoryFile, Object, Store, Watch};
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::clock;
use crate::committer;
use crate::configuration::{self, NodeFacts};
use crate::data_dir::DataDir;
use crate::explain::Explanations;
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
