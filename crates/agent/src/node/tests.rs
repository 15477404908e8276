//! The way from a pod to a container of an image, through the loop.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use probelet_model::decode;
use probelet_model::id::{ContainerId, Kind};
use probelet_model::status::{ContainerState, PodStatus};
use probelet_runtime::{
    ContainerConfig, ExecError, ExecOutput, ExecRequest, Exit as RuntimeExit, Family, PodConfig,
    PodRecord, PodUsage, Session, SessionRequest, StartContainerError, StartPodError, Started,
    Streams, Transport, VolumeFiles,
};
use probelet_store::ChangeKind;
use serde_json::json;

use super::*;
use crate::fetch::tests::Scripted;

/// A runtime that runs nothing, and remembers what it was to run.
#[derive(Debug)]
struct Notes {
    started: Mutex<Vec<ContainerConfig>>,
    pods: Mutex<Vec<PodConfig>>,
    tell: mpsc::UnboundedSender<RuntimeEvent>,
    events: Mutex<Option<Events>>,
}

impl Notes {
    fn new() -> Self {
        let (tell, events) = mpsc::unbounded_channel();
        Self {
            started: Mutex::default(),
            pods: Mutex::default(),
            tell,
            events: Mutex::new(Some(events)),
        }
    }
}

impl Runtime for Notes {
    fn events(&self) -> Events {
        let events = self.events.lock().unwrap().take();
        events.expect("they are taken once")
    }

    async fn pods(&self) -> Result<Vec<PodRecord>, RuntimeError> {
        Ok(Vec::new())
    }

    fn addresses(&self, ip: IpAddr) -> Vec<IpAddr> {
        vec![ip, "fd00::7".parse().unwrap()]
    }

    async fn start_pod(&self, config: PodConfig) -> Result<(), StartPodError> {
        self.pods.lock().unwrap().push(config);
        Ok(())
    }

    async fn start_container(
        &self,
        _: &PodUid,
        config: ContainerConfig,
    ) -> Result<Started, StartContainerError> {
        self.started.lock().unwrap().push(config);
        Ok(Started {
            started_at: clock::now().wall,
            pid: 1,
        })
    }

    async fn stop_container(
        &self,
        pod: &PodUid,
        container: &ContainerId,
        _: Duration,
    ) -> Result<(), RuntimeError> {
        let event = RuntimeEvent::Exited {
            pod: pod.clone(),
            container: container.clone(),
            exit: RuntimeExit {
                code: 143,
                signal: Some(15),
                finished_at: clock::now().wall,
                out_of_memory: false,
                message: None,
            },
        };
        self.tell.send(event).unwrap();
        Ok(())
    }

    async fn remove_pod(&self, _: &PodUid) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn exec(
        &self,
        _: &PodUid,
        container: &ContainerId,
        _: ExecRequest,
    ) -> Result<ExecOutput, ExecError> {
        Err(ExecError::NotRunning(container.clone()))
    }

    async fn open_exec(
        &self,
        _: &PodUid,
        container: &ContainerId,
        _: SessionRequest,
    ) -> Result<Session, ExecError> {
        Err(ExecError::NotRunning(container.clone()))
    }

    async fn attach(
        &self,
        _: &PodUid,
        container: &ContainerId,
        _: Streams,
    ) -> Result<Session, ExecError> {
        Err(ExecError::NotRunning(container.clone()))
    }

    async fn update_volume(
        &self,
        pod: &PodUid,
        _: &str,
        _: VolumeFiles,
    ) -> Result<(), RuntimeError> {
        Err(RuntimeError::NoPod(pod.clone()))
    }

    fn log_dir(&self) -> &Path {
        Path::new("/nonexistent")
    }

    async fn tcp_socket(&self, pod: &PodUid, _: Family) -> Result<OwnedFd, RuntimeError> {
        Err(RuntimeError::NoPod(pod.clone()))
    }

    async fn bind(
        &self,
        pod: &PodUid,
        _: SocketAddr,
        _: Transport,
    ) -> Result<OwnedFd, RuntimeError> {
        Err(RuntimeError::NoPod(pod.clone()))
    }

    async fn usage(&self, pod: &PodUid) -> Result<PodUsage, RuntimeError> {
        Err(RuntimeError::NoPod(pod.clone()))
    }
}

/// A loop that has one pod, whose only container is to be started from an image.
struct Ground {
    runtime: Arc<Notes>,
    images: Arc<Scripted>,
    store: Arc<Store>,
    key: ObjectKey,
    commands: mpsc::Sender<Command>,
    task: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

async fn node_with(
    runtime: &Arc<Notes>,
    fetches: Fetches<Scripted>,
    store: &Arc<Store>,
    dir: &Path,
    commands: mpsc::Receiver<Command>,
) -> Node<Notes, Scripted> {
    let made = Node::new(Parts {
        runtime: Arc::clone(runtime),
        fetches,
        store: Arc::clone(store),
        data_dir: DataDir::new(dir),
        commands,
        happenings: broadcast::channel(16).0,
        pod_cidr: Cidr::default(),
        metrics: Arc::default(),
        stop: false,
    });
    made.await.unwrap()
}

impl Ground {
    async fn with(image: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, images) = (Arc::new(Notes::new()), Arc::new(Scripted::default()));
        let store = Arc::new(Store::in_memory());
        let (commands, command_receiver) = mpsc::channel(16);
        let (fetches, at) = (
            Fetches::new(Arc::clone(&images), Arc::default()),
            dir.path(),
        );
        let mut node = node_with(&runtime, fetches, &store, at, command_receiver).await;
        let key = ObjectKey::new(Kind::Pod, "shop", "web");
        let value = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "web", "namespace": "shop" },
            "spec": {
                "runtimeClassName": "host",
                "containers": [{
                    "name": "main", "image": image, "args": ["serve"],
                    "env": [{
                        "name": "IPS", "valueFrom": { "fieldRef": { "fieldPath": "status.podIPs" } },
                    }],
                }],
            },
        });
        let admitted = decode::admit(Kind::Pod, value, &decode::Options::default()).unwrap();
        let mut value = admitted.value;
        value["metadata"]["uid"] = "1-2-3".into();
        let mut pod = Pod::from_value(&value).unwrap();
        pod.on_host = false;
        pod.image_pull_secrets = vec!["absent".to_owned()];
        value["spec"]["runtimeClassName"].take();
        store
            .transact(Durability::Derived, |transaction| {
                transaction.put_any(key.clone(), value).map(drop)
            })
            .unwrap();
        let object = store.get(&key).unwrap();
        node.admit(object, None, pod, Origin::New);
        Self {
            runtime,
            images,
            store,
            key,
            commands,
            task: tokio::spawn(node.run()),
            _dir: dir,
        }
    }

    /// Waits until the status of the pod's container is as wished.
    async fn until(&self, wished: impl Fn(&PodStatus) -> bool) -> PodStatus {
        let mut watch = self.store.watch(self.store.version()).unwrap();
        let look = async {
            loop {
                let value = self.store.get(&self.key).unwrap().value;
                let status = serde_json::from_value(value["status"].clone());
                let status: PodStatus = status.unwrap_or_default();
                if wished(&status) {
                    return status;
                }
                watch.next().await.unwrap();
            }
        };
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, look).await.unwrap()
    }

    /// Reasons and messages of all events, in the order of the alphabet.
    fn events(&self) -> Vec<(String, String)> {
        let events = self.store.list(Kind::Event).0;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut told: Vec<(String, String)> = events
            .iter()
            .map(|event| (text(&event.value["reason"]), text(&event.value["message"])))
            .collect();
        told.sort();
        told
    }

    async fn end(self) -> Arc<Scripted> {
        let (answer, stopped) = oneshot::channel();
        self.commands.send(Command::StopPods(answer)).await.unwrap();
        stopped.await.unwrap();
        self.commands.send(Command::End).await.unwrap();
        self.task.await.unwrap();
        self.images
    }
}

#[tokio::test]
async fn a_container_is_started_from_its_image_and_holds_it() {
    let ground = Ground::with("app:1").await;
    let runs = |status: &PodStatus| {
        let container = status.container("main");
        container.is_some_and(|one| matches!(one.state, ContainerState::Running(_)))
    };
    let status = ground.until(runs).await;
    let told = status.container("main").unwrap();
    assert_eq!(told.image, "app:1");
    assert_eq!(told.image_id, "docker.io/library/app@sha256:2");
    let started = ground.runtime.started.lock().unwrap().clone();
    assert_eq!(started.len(), 1);
    assert_eq!(started[0].argv, ["/app", "serve"]);
    let root = started[0].image.as_ref().unwrap();
    assert_eq!(root.layers, [Path::new("/layer")]);
    let told = ground.events();
    for reason in [
        "Created",
        "FailedToRetrieveImagePullSecret",
        "Pulled",
        "Pulling",
        "Started",
    ] {
        assert!(told.iter().any(|(known, _)| known == reason), "{told:?}");
    }
    let hold = ("1-2-3".to_owned(), "sha256:1".to_owned());
    assert_eq!(ground.images.holds(), [hold]);
    let images = ground.end().await;
    assert_eq!(images.holds(), [], "what has ended holds nothing");
}

#[tokio::test]
async fn a_pod_is_told_of_both_its_addresses() {
    let ground = Ground::with("app:1").await;
    let runs = |status: &PodStatus| {
        let container = status.container("main");
        container.is_some_and(|one| matches!(one.state, ContainerState::Running(_)))
    };
    let status = ground.until(runs).await;
    let ip = status.pod_ip.unwrap();
    let all: Vec<String> = status
        .pod_ips
        .iter()
        .map(|one| one.ip.to_string())
        .collect();
    assert_eq!(all, [&ip.to_string(), "fd00::7"]);
    let started = ground.runtime.started.lock().unwrap().clone();
    let variable = ("IPS".to_owned(), format!("{ip},fd00::7"));
    assert!(started[0].env.contains(&variable), "{:?}", started[0].env);
    let hosts = ground.runtime.pods.lock().unwrap()[0].hosts.clone();
    let own = format!("\n{ip}\tweb\nfd00::7\tweb\n");
    assert!(hosts.as_ref().unwrap().ends_with(&own), "{hosts:?}");
    ground.end().await;
}

#[tokio::test]
async fn a_pull_that_fails_is_told_in_the_status() {
    let ground = Ground::with("away").await;
    let reason = |status: &PodStatus| match &status.container("main")?.state {
        ContainerState::Waiting(waiting) => waiting.reason.clone(),
        ContainerState::Running(_) | ContainerState::Terminated(_) => None,
    };
    let away = |status: &PodStatus| reason(status).as_deref() == Some("ErrImagePull");
    ground.until(away).await;
    assert!(ground.runtime.started.lock().unwrap().is_empty());
    assert_eq!(ground.end().await.holds(), []);
}

#[tokio::test]
async fn what_has_gone_while_the_loop_fell_behind_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (runtime, store) = (Arc::new(Notes::new()), Arc::new(Store::in_memory()));
    let fetches = Fetches::new(Arc::new(Scripted::default()), Arc::default());
    let (_commands, command_receiver) = mpsc::channel(16);
    let mut node = node_with(&runtime, fetches, &store, dir.path(), command_receiver).await;
    let put = |kind, name: &str, spec: Value| {
        let key = ObjectKey::new(kind, "shop", name);
        let kind = if kind == Kind::Pod { "Pod" } else { "Service" };
        let value = json!({
            "apiVersion": "v1", "kind": kind, "spec": spec,
            "metadata": { "name": name, "namespace": "shop", "uid": format!("uid-{name}") },
        });
        let put = store.transact(Durability::Derived, |transaction| {
            transaction.put_any(key.clone(), value).map(drop)
        });
        put.unwrap();
        (key.clone(), store.get(&key).unwrap())
    };
    let pod = json!({
        "runtimeClassName": "host",
        "containers": [{ "name": "main", "image": "none", "command": ["serve"] }],
    });
    let ports = json!({ "selector": { "app": "web" }, "ports": [{ "port": 80 }] });
    let objects = [
        put(Kind::Service, "stays", ports.clone()),
        put(Kind::Service, "goes", ports),
        put(Kind::Pod, "also-goes", pod),
    ];
    for (key, object) in &objects {
        if key.kind == Kind::Pod {
            let admitted = Pod::from_value(&object.value).unwrap();
            node.admit(object.clone(), None, admitted, Origin::New);
        } else {
            node.object_changed(key, ChangeKind::Added, &object.value);
        }
    }
    node.carry_out();
    let uid = PodUid::from("uid-also-goes");
    assert_eq!(node.traffic.services().len(), 2);
    let [(stays, _), (goes, _), (also, _)] = &objects;
    objects::remove(&store, &[goes.clone(), also.clone()]);
    node.relist();
    node.carry_out();
    assert_eq!(node.traffic.services(), std::slice::from_ref(stays));
    // It is ended, as if its deletion had been seen.
    let ended = async {
        while node.engine.pods().any(|pod| *pod == uid) {
            let input = node.answers.recv().await.unwrap();
            node.handle(input);
            node.carry_out();
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, ended).await.unwrap();
}
