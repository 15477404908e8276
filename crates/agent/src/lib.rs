//! The agent acts: the only place that spawns, sleeps and reads clocks.
//!
//! [`Agent::start`] takes a data directory, opens the store in it, re-attaches to what the runtime says
//! stands, and runs one loop (`node`) that owns the engine: inputs in, effects out. Around the loop stand
//! small tasks. What takes time (`operation`) runs as a task that answers with one input. The control
//! socket (`control`) answers `probelet status` and `probelet down`. Everything else that goes in or out
//! goes by the store.
//!
//! It is not a place for decisions: what to do next is the engine's matter; this crate only does it.
//!
//! Start reading at [`Agent`], then `node`.

mod api;
mod bootstrap;
pub mod clock;
mod committer;
mod configuration;
pub mod control;
pub mod data_dir;
mod deletion;
mod explain;
mod fetch;
pub mod happening;
mod hook;
mod host_usage;
pub mod identity;
pub mod image_store;
mod lacking;
mod metrics;
mod names;
mod node;
pub mod objects;
mod operation;
pub mod pod_ip;
mod pull_secrets;
mod recorder;
pub mod snapshot;
pub mod this_node;
/// The kubeconfig of a data directory, for whoever reads it or merges it.
pub use probelet_api::access::kubeconfig;
/// The store, for whoever reads an agent's objects.
pub use probelet_store as store;
mod traffic;
mod workloads;

pub use api::{ApiError, ApiOptions};
pub use deletion::Deletion;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use probelet_image::Registries;
use probelet_model::id::ObjectKey;
use probelet_model::manifest::ManifestObject;
use probelet_runtime::RuntimeError;
pub use probelet_runtime_native::{Egress, EgressError, shim_main};
use probelet_runtime_native::{NativeRuntime, NetworkOptions};
use probelet_store::{OpenError, Settings, Store, WriteError};
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::task::JoinHandle;

use crate::api::{Listening, Serving};
use crate::control::Door;
use crate::data_dir::{DataDir, DataDirError, Lock};
use crate::fetch::Fetches;
use crate::happening::Happening;
use crate::metrics::Metrics;
use crate::node::{Command, Node, Parts};
use crate::objects::{Applied, ApplyError};
use crate::pod_ip::Cidr;
use crate::this_node::Host;

/// How many changes a watcher may be behind. Each holds an object as it was, some 15 KB for a Pod; a
/// watcher that has fallen further behind lists anew.
const REMEMBERED_CHANGES: usize = 1024;

/// How an agent is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it keeps what must outlive it.
    pub data_dir: DataDir,
    /// Where pods get their addresses from.
    pub pod_cidr: Cidr,
    /// How pods reach each other and the outside.
    pub egress: Egress,
    /// The most processes and threads of each pod that is started from now on; as many as the host allows if `None`.
    pub pod_pids_limit: Option<u64>,
    /// The command that runs a shim: this program, and the word that makes it one.
    pub shim_command: Vec<OsString>,
    /// The command that unpacks a layer of an image: this program, and the word that makes it do so.
    pub unpack_command: Vec<OsString>,
    /// Registries of images that are reached in other ways than by default.
    pub registries: Registries,
    /// The Kubernetes API; none is served if `None`.
    pub api: Option<ApiOptions>,
    /// `spec.runtimeClassName` of pods that name none.
    pub default_runtime_class: Option<String>,
    /// Pods are taken up only to be stopped, as `probelet down` without an agent does.
    pub stop: bool,
    /// Applied by the API before anything is taken up, all together or none of them.
    pub apply: Vec<ManifestObject>,
    /// Called at the start for each thing that manifests may ask for and pods cannot be given on this host, with a
    /// sentence for people.
    pub notice: fn(&str),
}

/// Why an agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be had.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The runtime cannot say what stands.
    #[error("the container runtime cannot say what runs: {0}")]
    Runtime(#[from] RuntimeError),
    /// The objects were not applied; what was there before is as it was.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The API cannot be served.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// What every cluster has could not be made.
    #[error("cannot write what every cluster has: {0}")]
    Bootstrap(#[from] WriteError),
    /// The control socket cannot be made.
    #[error("control socket {path}")]
    Control {
        /// Where.
        path: String,
        /// What.
        source: io::Error,
    },
}

/// An agent that runs. Dropping it ends it; containers go on under their shims.
#[derive(Debug)]
pub struct Agent {
    store: Arc<Store>,
    commands: mpsc::Sender<Command>,
    happenings: broadcast::Sender<Happening>,
    node: Option<JoinHandle<()>>,
    door: JoinHandle<()>,
    lease: JoinHandle<()>,
    workloads: Arc<workloads::Running>,
    api: Option<Serving>,
    applied: Vec<(ObjectKey, Applied)>,
    first: Option<broadcast::Receiver<Happening>>,
    data_dir: DataDir,
    _lock: Lock,
}

impl Agent {
    /// Starts an agent: applies the objects it was given, and takes up what the data directory holds.
    ///
    /// # Errors
    /// [`StartError`]; then nothing has been applied and nothing started.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let Options {
            data_dir,
            pod_cidr,
            egress,
            pod_pids_limit,
            shim_command,
            unpack_command,
            registries,
            api: api_options,
            default_runtime_class,
            stop,
            apply,
            notice,
        } = options;
        let lock = data_dir.lock()?;
        let settings = Settings {
            remembered_changes: REMEMBERED_CHANGES,
            ..Settings::default()
        };
        let store = Arc::new(Store::open_with(data_dir.path(), settings)?);
        let runtime = NativeRuntime::new(probelet_runtime_native::Options {
            data_dir: data_dir.path().to_owned(),
            shim_command,
        });
        let runtime = runtime.map_err(|source| DataDirError::Io {
            path: data_dir.path().to_owned(),
            source,
        })?;
        let runtime = match pod_pids_limit {
            Some(limit) => runtime.with_pod_pids_limit(limit),
            None => runtime,
        };
        for sentence in runtime.notices() {
            notice(&sentence);
        }
        let images = image_store::open(&data_dir, unpack_command, registries);
        let images = Arc::new(images.map_err(|source| DataDirError::Io {
            path: data_dir.images(),
            source,
        })?);
        let runtime = runtime.with_network(&NetworkOptions {
            egress,
            cidr: pod_cidr.parts(),
            name: data_dir.is_default().then(|| "probelet0".to_owned()),
        });
        let (commands, command_receiver) = mpsc::channel(16);
        let (happenings, first) = broadcast::channel(4096);
        let door = Door::open(
            &data_dir,
            Arc::clone(&store),
            commands.clone(),
            happenings.clone(),
        );
        let door = door.map_err(|source| StartError::Control {
            path: data_dir.socket().display().to_string(),
            source,
        })?;
        bootstrap::ensure(&store, clock::now().wall)?;
        let (host_ip, node_name) = (identity::host_ip(), identity::node_name());
        let host = Host::this(&node_name, host_ip, data_dir.path());
        let network = runtime.network_state();
        let reach = network.borrow().clone();
        this_node::register(&store, &host, None, &reach, clock::now().wall)?;
        let images_changed = Arc::new(Notify::new());
        let (runtime, metrics) = (Arc::new(runtime), Arc::<Metrics>::default());
        let mut listening = None;
        if let Some(options) = &api_options {
            let parts = api::Parts {
                data_dir: &data_dir,
                store: &store,
                runtime: &runtime,
                metrics: &metrics,
                node_name: &node_name,
                default_runtime_class: default_runtime_class.clone(),
                options,
            };
            listening = Some(api::listen(parts).await?);
        }
        let root_ca = listening
            .as_ref()
            .map(|listening| listening.root_ca.clone());
        let applied = match &listening {
            Some(listening) => objects::apply(&listening.registry, &apply).await?,
            None => Vec::new(),
        };
        let node = Node::new(Parts {
            runtime,
            fetches: Fetches::new(Arc::clone(&images), Arc::clone(&images_changed)),
            store: Arc::clone(&store),
            data_dir: data_dir.clone(),
            commands: command_receiver,
            happenings: happenings.clone(),
            pod_cidr,
            metrics,
            stop,
        })
        .await?;
        let workloads = if stop {
            workloads::Running::default()
        } else {
            let options = workloads::Options {
                node_name,
                default_runtime_class,
                root_ca: root_ca.unwrap_or_default(),
            };
            workloads::Running::start(Arc::clone(&store), options)
        };
        let workloads = Arc::new(workloads);
        Ok(Self {
            commands,
            happenings,
            node: Some(tokio::spawn(node.run())),
            door: tokio::spawn(door.serve(Arc::clone(&workloads))),
            lease: tokio::spawn(this_node::keep(
                Arc::clone(&store),
                host,
                images,
                images_changed,
                network,
            )),
            store,
            workloads,
            api: listening.map(Listening::serve),
            applied,
            first: Some(first),
            data_dir,
            _lock: lock,
        })
    }

    /// What became of the objects it was given, in their order.
    #[must_use]
    pub fn applied(&self) -> &[(ObjectKey, Applied)] {
        &self.applied
    }

    /// Where the API listens, if it is served.
    #[must_use]
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.api.as_ref().map(Serving::address)
    }

    /// The objects.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Everything that happens: from the start for the first who asks, else from now on. A reader that
    /// falls more than 4,096 happenings behind is told how many it missed.
    #[must_use]
    pub fn follow(&mut self) -> broadcast::Receiver<Happening> {
        self.first
            .take()
            .unwrap_or_else(|| self.happenings.subscribe())
    }

    /// Begins to delete objects with all that they have brought about, each pod within its grace.
    #[must_use]
    pub fn delete(&self, keys: &[ObjectKey]) -> Deletion {
        Deletion::begin(Arc::clone(&self.store), keys)
    }

    /// Stops every pod within its grace; with `delete` the objects go too. Returns when all have ended.
    pub async fn down(&self, delete: bool) {
        control::down(&self.store, &self.workloads, &self.commands, delete).await;
    }

    /// Returns when the agent has ended, because somebody told it to by the control socket.
    pub async fn ended(&mut self) {
        if let Some(node) = &mut self.node {
            if let Err(error) = node.await {
                tracing::error!("the agent's loop died: {error}");
            }
            self.node = None;
        }
    }

    /// Ends the agent alone; containers go on. Everything is on disk when it returns.
    pub async fn end(mut self) {
        if let Some(api) = &mut self.api {
            api.end().await;
        }
        self.workloads.end().await;
        let _ended_already = self.commands.send(Command::End).await;
        self.ended().await;
        self.door.abort();
        self.lease.abort();
        let _gone = std::fs::remove_file(self.data_dir.socket());
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || store.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("the store could not write everything down: {error}"),
            Err(error) => tracing::error!("the store's last write died: {error}"),
        }
    }
}

/// What a data directory holds where no agent runs.
///
/// # Errors
/// [`OpenError`].
pub fn stored(data_dir: &Path) -> Result<Store, OpenError> {
    Store::open_read_only(data_dir)
}
