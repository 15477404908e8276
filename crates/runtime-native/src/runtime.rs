//! The agent's side: pods by uid, each with a shim.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use probelet_model::id::{ContainerId, PodUid};
use probelet_runtime::{
    ContainerConfig, Event, Events, ExecError, ExecOutput, ExecRequest, Family, Lacks, Network,
    PodConfig, PodRecord, PodUsage, Runtime, RuntimeError, Session, SessionRequest,
    StartContainerError, StartPodError, Started, Streams, Transport, VolumeFiles,
};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::attach::{self, Connected, Found};
use crate::cgroup::{Cgroups, Controller};
use crate::client::{self, Client};
use crate::exec::Exec;
use crate::layout::{self, PodDir};
use crate::network::{Links, NetworkOptions, NetworkState, Standing};
use crate::pool::Pool;
use crate::protocol::{Answer, Call, ShimConfig, unexpected};
use crate::{launch, notices, removal, session, shim, text, user_namespace, volume_files};

/// How a [`NativeRuntime`] is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where everything is kept; made if missing. One runtime at a time, which the caller sees to.
    pub data_dir: PathBuf,
    /// Program and first arguments that lead to [`crate::shim_main`], for example the running binary and
    /// `shim`.
    pub shim_command: Vec<OsString>,
}

/// Pods as processes in namespaces.
#[derive(Debug)]
pub struct NativeRuntime {
    data_dir: PathBuf,
    log_dir: PathBuf,
    shim_command: Vec<OsString>,
    cgroups: Cgroups,
    /// Why pods have one id alone, if they have.
    single_id: Option<String>,
    slots: Mutex<HashMap<PodUid, Arc<Slot>>>,
    events: mpsc::UnboundedSender<Event>,
    listener: Mutex<Listener>,
    links: Links,
}

/// One pod's place. Whoever makes or removes the pod holds the lock meanwhile, so that calls about one
/// pod take effect in the order they were made.
type Slot = tokio::sync::Mutex<Option<Pod>>;

#[derive(Debug)]
struct Pod {
    client: Client,
    task: JoinHandle<()>,
    network: Network,
    /// Of each address family.
    pools: [Arc<Pool>; 2],
    exec: Exec,
}

#[derive(Debug)]
struct Listener {
    first: Option<Events>,
    /// Keep the streams of further calls open, and empty.
    others: Vec<mpsc::UnboundedSender<Event>>,
}

impl NativeRuntime {
    /// One that takes up what its data directory holds at [`Runtime::pods`].
    ///
    /// # Errors
    ///
    /// If the data directory cannot be made or entered.
    pub fn new(options: Options) -> std::io::Result<Self> {
        fs::create_dir_all(layout::run_dir(&options.data_dir))?;
        fs::create_dir_all(layout::log_dir(&options.data_dir))?;
        let (events, first) = mpsc::unbounded_channel();
        // Containers must not see it under any name, so its real one has to be known.
        let data_dir = fs::canonicalize(options.data_dir)?;
        let cgroups = find_cgroups(&data_dir, None);
        Ok(Self {
            links: Links::new(&NetworkOptions::default(), &data_dir),
            log_dir: layout::log_dir(&data_dir),
            data_dir,
            shim_command: options.shim_command,
            cgroups,
            single_id: user_namespace::single_id(),
            slots: Mutex::default(),
            events,
            listener: Mutex::new(Listener {
                first: Some(first),
                others: Vec::new(),
            }),
        })
    }

    /// The same with a limit for the processes and threads of each pod that is started from now on.
    ///
    /// Upstream: kubelet pkg/kubelet/cm/pod_container_manager_linux.go, EnsureExists (`podPidsLimit`).
    /// Shown by: a_pod_can_have_no_more_processes_than_it_may.
    #[must_use]
    pub fn with_pod_pids_limit(mut self, limit: u64) -> Self {
        self.cgroups = find_cgroups(&self.data_dir, Some(limit));
        self
    }

    /// The same, with a way out for the pods that are started or taken up from now on; without, they have none.
    #[must_use]
    pub fn with_network(mut self, options: &NetworkOptions) -> Self {
        self.links = Links::new(options, &self.data_dir);
        self
    }

    /// What pods can reach, now and whenever that changes.
    #[must_use]
    pub fn network_state(&self) -> watch::Receiver<NetworkState> {
        self.links.state()
    }

    /// What to tell people, once, of what pods cannot be given here: what has no effect, and what helps.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        notices::of(&self.cgroups)
    }

    fn dir(&self, uid: &PodUid) -> PodDir {
        PodDir::new(&self.data_dir, uid)
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<PodUid, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pod's place, locked. A place that was given up while we waited for it is not the pod's any more.
    async fn slot(&self, uid: &PodUid) -> tokio::sync::OwnedMutexGuard<Option<Pod>> {
        loop {
            let slot = Arc::clone(self.slots().entry(uid.clone()).or_default());
            let locked = Arc::clone(&slot).lock_owned().await;
            if self
                .slots()
                .get(uid)
                .is_some_and(|current| Arc::ptr_eq(current, &slot))
            {
                return locked;
            }
        }
    }

    fn adopt(&self, dir: PodDir, connected: Connected, child: Option<std::process::Child>) -> Pod {
        let network = connected.record.config.network;
        let (client, task) = client::serve(dir, connected, child, self.events.clone());
        let exec = Exec::new(client.clone());
        Pod {
            client,
            task,
            network,
            pools: Default::default(),
            exec,
        }
    }

    async fn client(&self, uid: &PodUid) -> Option<Client> {
        let slot = self.slots().get(uid).cloned()?;
        let pod = slot.lock().await;
        pod.as_ref().map(|pod| pod.client.clone())
    }

    async fn session(
        &self,
        pod: &PodUid,
        container: &ContainerId,
        call: Call,
    ) -> Result<Session, ExecError> {
        let not_running = || ExecError::NotRunning(container.clone());
        let client = self.client(pod).await.ok_or_else(not_running)?;
        if !client.abilities().sessions {
            return Err(ExecError::Runtime(OLD_SHIM.to_owned()));
        }
        match client.ask(call).await {
            Some((Answer::Session(opened), fds)) => session::take(opened?, fds),
            Some((other, _)) => Err(ExecError::Runtime(unexpected(&other))),
            None => Err(not_running()),
        }
    }

    async fn take_up(&self, dir: PodDir, uid: &PodUid) -> std::io::Result<Option<PodRecord>> {
        match attach::find(&dir).await? {
            Found::Standing(connected) => {
                let record = connected.record.clone();
                let mut slot = self.slot(uid).await;
                *slot = Some(self.adopt(dir, *connected, None));
                Ok(Some(PodRecord {
                    config: record.config,
                    containers: record.containers,
                }))
            }
            Found::Dead(record) => {
                let _nobody_listens = self.events.send(Event::PodLost { pod: uid.clone() });
                Ok(Some(*record))
            }
            Found::Nothing => {
                let command = self.shim_command.clone();
                spawn_blocking(move || removal::remove_tree(&command, dir.path()))
                    .await
                    .map_err(std::io::Error::other)??;
                Ok(None)
            }
        }
    }

    /// What there is to say of a pod that can neither be talked to nor ended: it must harm no other. Whoever starts or
    /// removes it tries again, and hears why it cannot be done.
    ///
    /// Shown by: a_pod_that_cannot_be_taken_up_harms_no_other.
    async fn give_up_for_now(
        &self,
        dir: PodDir,
        uid: &PodUid,
        error: &std::io::Error,
    ) -> Option<PodRecord> {
        tracing::error!(pod = %uid, "cannot take up the pod: {}", text::of_io(error));
        let record = spawn_blocking(move || attach::written_down(&dir))
            .await
            .ok()??;
        let _nobody_listens = self.events.send(Event::PodLost { pod: uid.clone() });
        Some(record)
    }

    /// Gives a pod whose shim stands its way out.
    async fn link(
        &self,
        dir: &PodDir,
        uid: &PodUid,
        network: Network,
        is_new: bool,
    ) -> Result<(), String> {
        match network {
            Network::Own(ip) => self.links.attach(dir, uid, ip, is_new).await,
            Network::Host => Ok(()),
        }
    }

    async fn remove_dead(&self, dir: PodDir, found: Found) -> std::io::Result<()> {
        let (log_dir, command) = (self.log_dir.clone(), self.shim_command.clone());
        let removed = spawn_blocking(move || {
            let removed = match found {
                Found::Dead(record) => layout::remove_pod(&dir, &log_dir, &record.config),
                Found::Standing(_) | Found::Nothing => {
                    match layout::read_json::<ShimConfig>(&dir.config()) {
                        Ok(config) => config
                            .cgroups
                            .remove_pod(&config.pod.uid)
                            .and(layout::remove_pod(&dir, &log_dir, &config.pod)),
                        Err(_) => layout::remove_tree(dir.path()),
                    }
                }
            };
            removal::or_in_namespace(removed, &command, dir.path())
        });
        removed.await.map_err(std::io::Error::other)?
    }
}

/// Where cgroups can be made.
fn find_cgroups(data_dir: &Path, pids: Option<u64>) -> Cgroups {
    Cgroups::find(data_dir, pids).unwrap_or_else(|why| Cgroups::none(why, pids))
}

/// Why a pod that an agent of before an upgrade has started lacks something.
const OLD_SHIM: &str = "the pod was started by an older version, which cannot do that; it can be done \
                        once the pod has been started anew";

fn failed(what: &str, error: &std::io::Error) -> RuntimeError {
    RuntimeError::Failed(format!("{what}: {}", text::of_io(error)))
}

impl Runtime for NativeRuntime {
    fn events(&self) -> Events {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        listener.first.take().unwrap_or_else(|| {
            let (sender, empty) = mpsc::unbounded_channel();
            listener.others.push(sender);
            empty
        })
    }

    async fn pods(&self) -> Result<Vec<PodRecord>, RuntimeError> {
        let run = layout::run_dir(&self.data_dir);
        let entries = fs::read_dir(&run).map_err(|error| failed("list pods", &error))?;
        let (mut records, mut standing) = (Vec::new(), Vec::new());
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let (dir, uid) = (PodDir::at(entry.path()), PodUid::from(name));
            let taken = match self.take_up(dir.clone(), &uid).await {
                Ok(taken) => taken,
                Err(error) => self.give_up_for_now(dir, &uid, &error).await,
            };
            let Some(record) = taken else {
                continue;
            };
            if let Network::Own(ip) = record.config.network
                && self.client(&record.config.uid).await.is_some()
            {
                let (dir, pod) = (PodDir::at(entry.path()), record.config.uid.clone());
                standing.push(Standing { dir, pod, ip });
            }
            records.push(record);
        }
        self.cgroups
            .remove_all_but(|uid| self.dir(uid).path().exists());
        self.links.take_up(standing).await;
        Ok(records)
    }

    fn lacks(&self) -> Lacks {
        Lacks {
            cpu: self.cgroups.lacks(Controller::Cpu),
            memory: self.cgroups.lacks(Controller::Memory),
            groups: self.single_id.clone(),
        }
    }

    async fn start_pod(&self, mut config: PodConfig) -> Result<(), StartPodError> {
        let sandbox = |error: std::io::Error| StartPodError::Sandbox(text::of_io(&error));
        if !layout::is_plain_name(config.uid.as_str()) {
            return Err(StartPodError::Sandbox(format!(
                "uid \"{}\" cannot be a directory's name",
                config.uid
            )));
        }
        let dir = self.dir(&config.uid);
        let (uid, network) = (config.uid.clone(), config.network);
        let mut slot = self.slot(&uid).await;
        if slot.as_ref().is_some_and(|pod| pod.client.is_alive()) {
            return Ok(());
        }
        *slot = None;
        if let Found::Standing(connected) = attach::find(&dir).await.map_err(sandbox)? {
            let linked = self.link(&dir, &uid, network, false).await;
            linked.map_err(StartPodError::Sandbox)?;
            *slot = Some(self.adopt(dir, *connected, None));
            return Ok(());
        }
        let (command, place) = (self.shim_command.clone(), dir.clone());
        let content = std::mem::take(&mut config.volume_files);
        let config = ShimConfig {
            pod: config,
            data_dir: self.data_dir.clone(),
            log_dir: self.log_dir.clone(),
            cgroups: self.cgroups.clone(),
            pasta: match network {
                Network::Own(_) => self.links.pasta().map_err(StartPodError::Sandbox)?,
                Network::Host => None,
            },
        };
        let launched =
            spawn_blocking(move || launch::launch(&command, &place, &config, &content)).await;
        let child = launched.map_err(|panic| sandbox(std::io::Error::other(panic)))??;
        let connected = attach::connect(&dir).await.map_err(sandbox)?;
        if let Some(why) = &connected.record.pasta_failed {
            self.links.pasta_failed(why);
        }
        if let Err(why) = self.link(&dir, &uid, network, true).await {
            drop(connected);
            let command = self.shim_command.clone();
            let undone = spawn_blocking(move || launch::undo(child, &command, &dir)).await;
            undone.map_err(|panic| sandbox(std::io::Error::other(panic)))?;
            return Err(StartPodError::Sandbox(why));
        }
        *slot = Some(self.adopt(dir, connected, Some(child)));
        Ok(())
    }

    fn addresses(&self, ip: IpAddr) -> Vec<IpAddr> {
        self.links.addresses(ip)
    }

    async fn start_container(
        &self,
        pod: &PodUid,
        config: ContainerConfig,
    ) -> Result<Started, StartContainerError> {
        let no_pod = || StartContainerError::NoPod(pod.clone());
        let client = self.client(pod).await.ok_or_else(no_pod)?;
        if let Some(field) = client.abilities().lack(&config) {
            return Err(StartContainerError::Create(format!("{field}: {OLD_SHIM}")));
        }
        match client.ask(Call::Start(Box::new(config))).await {
            Some((Answer::Started(started), _)) => started,
            Some((other, _)) => Err(StartContainerError::Create(unexpected(&other))),
            None => Err(no_pod()),
        }
    }

    async fn stop_container(
        &self,
        pod: &PodUid,
        container: &ContainerId,
        grace: Duration,
    ) -> Result<(), RuntimeError> {
        let Some(client) = self.client(pod).await else {
            return Ok(());
        };
        match client
            .ask(Call::Stop {
                container: container.clone(),
                grace,
            })
            .await
        {
            // A shim that is gone has taken the container with it.
            Some((Answer::Stopping, _)) | None => Ok(()),
            Some((other, _)) => Err(RuntimeError::Failed(unexpected(&other))),
        }
    }

    async fn remove_pod(&self, uid: &PodUid) -> Result<(), RuntimeError> {
        if !layout::is_plain_name(uid.as_str()) {
            return Ok(());
        }
        let dir = self.dir(uid);
        let mut slot = self.slot(uid).await;
        let what = format!("remove pod {uid}");
        let mut pod = slot.take();
        if pod.is_none()
            && let Found::Standing(connected) = attach::find(&dir)
                .await
                .map_err(|error| failed(&what, &error))?
        {
            pod = Some(self.adopt(dir.clone(), *connected, None));
        }
        if let Some(Pod { client, task, .. }) = pod {
            if let Some((Answer::Removed(Err(text)), _)) = client.ask(Call::Remove).await {
                tracing::warn!(pod = %uid, error = text, "the shim could not remove all of its pod");
            }
            drop(client);
            // With it the shim, the last process of the pod, has ended and is reaped.
            let _panicked = task.await;
        }
        let found = attach::find(&dir)
            .await
            .map_err(|error| failed(&what, &error))?;
        self.remove_dead(dir, found)
            .await
            .map_err(|error| failed(&what, &error))?;
        self.links.detach(uid).await;
        self.slots().remove(uid);
        drop(slot);
        Ok(())
    }

    async fn exec(
        &self,
        pod: &PodUid,
        container: &ContainerId,
        request: ExecRequest,
    ) -> Result<ExecOutput, ExecError> {
        let not_running = || ExecError::NotRunning(container.clone());
        let slot = self.slots().get(pod).cloned().ok_or_else(not_running)?;
        let exec = slot.lock().await.as_ref().map(|pod| pod.exec.clone());
        exec.ok_or_else(not_running)?.run(container, request).await
    }

    async fn open_exec(
        &self,
        pod: &PodUid,
        container: &ContainerId,
        request: SessionRequest,
    ) -> Result<Session, ExecError> {
        let (container, of) = (container.clone(), container);
        self.session(pod, of, Call::OpenExec { container, request })
            .await
    }

    async fn attach(
        &self,
        pod: &PodUid,
        container: &ContainerId,
        streams: Streams,
    ) -> Result<Session, ExecError> {
        let (container, of) = (container.clone(), container);
        self.session(pod, of, Call::Attach { container, streams })
            .await
    }

    async fn update_volume(
        &self,
        pod: &PodUid,
        volume: &str,
        files: VolumeFiles,
    ) -> Result<(), RuntimeError> {
        let what = format!("update volume \"{volume}\" of pod {pod}");
        let no_pod = || RuntimeError::NoPod(pod.clone());
        let client = self.client(pod).await.ok_or_else(no_pod)?;
        if !client.abilities().sessions {
            return Err(RuntimeError::Failed(format!("{what}: {OLD_SHIM}")));
        }
        let volume = volume.to_owned();
        let content = [(volume.clone(), files)].into();
        let content = volume_files::pack(&content).map_err(|error| failed(&what, &error))?;
        let asked = client.ask_with(Call::UpdateVolume { volume }, vec![content.into()]);
        match asked.await {
            Some((Answer::VolumeUpdated(updated), _)) => {
                updated.map_err(|text| RuntimeError::Failed(format!("{what}: {text}")))
            }
            Some((other, _)) => Err(RuntimeError::Failed(unexpected(&other))),
            None => Err(no_pod()),
        }
    }

    fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    async fn tcp_socket(&self, uid: &PodUid, family: Family) -> Result<OwnedFd, RuntimeError> {
        let no_pod = || RuntimeError::NoPod(uid.clone());
        let slot = self.slots().get(uid).cloned().ok_or_else(no_pod)?;
        let (client, pool) = {
            let pod = slot.lock().await;
            let pod = pod
                .as_ref()
                .filter(|pod| pod.client.is_alive())
                .ok_or_else(no_pod)?;
            if pod.network == Network::Host {
                return shim::tcp_socket(family)
                    .map_err(|errno| failed("make a socket", &errno.into()));
            }
            (pod.client.clone(), Arc::clone(&pod.pools[family as usize]))
        };
        pool.take(&client, family)
            .await
            .map_err(RuntimeError::Failed)
    }

    async fn bind(
        &self,
        pod: &PodUid,
        address: SocketAddr,
        transport: Transport,
    ) -> Result<OwnedFd, RuntimeError> {
        let no_pod = || RuntimeError::NoPod(pod.clone());
        let client = self.client(pod).await.ok_or_else(no_pod)?;
        let what = format!("bind {address} in pod {pod}");
        if !client.abilities().images {
            return Err(RuntimeError::Failed(format!("{what}: {OLD_SHIM}")));
        }
        match client.ask(Call::Bind { address, transport }).await {
            Some((Answer::Bound(Ok(())), sockets)) => sockets
                .into_iter()
                .next()
                .ok_or_else(|| RuntimeError::Failed(format!("{what}: the shim sent no socket"))),
            Some((Answer::Bound(Err(text)), _)) => {
                Err(RuntimeError::Failed(format!("{what}: {text}")))
            }
            Some((other, _)) => Err(RuntimeError::Failed(unexpected(&other))),
            None => Err(no_pod()),
        }
    }

    async fn usage(&self, pod: &PodUid) -> Result<PodUsage, RuntimeError> {
        let no_pod = || RuntimeError::NoPod(pod.clone());
        let client = self.client(pod).await.ok_or_else(no_pod)?;
        let what = format!("usage of pod {pod}");
        if !client.abilities().images {
            return Err(RuntimeError::Failed(format!("{what}: {OLD_SHIM}")));
        }
        match client.ask(Call::Usage).await {
            Some((Answer::Usage(Ok(usage)), _)) => Ok(usage),
            Some((Answer::Usage(Err(text)), _)) => {
                Err(RuntimeError::Failed(format!("{what}: {text}")))
            }
            Some((other, _)) => Err(RuntimeError::Failed(unexpected(&other))),
            None => Err(no_pod()),
        }
    }
}
