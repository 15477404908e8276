//! The port to whatever runs containers.
//!
//! [`Runtime`] is the whole of what the agent asks: a sandbox for a pod, containers in it, commands
//! beside them, sockets that belong to the pod's network namespace, and events about what ended. An
//! adapter (`probelet-runtime-native` today) implements it; a suite of conformance tests is what each one
//! passes.
//!
//! It is not a place for decisions: nothing here restarts, backs off, or interprets an exit code. When
//! to start and stop is the engine's matter.
//!
//! Start reading at [`Runtime`].

#[cfg(feature = "conformance")]
pub mod conformance;
mod images;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use probelet_model::id::{ContainerId, ContainerName, PodUid};
use probelet_model::pod::{TerminationMessage, User, Volume, VolumeMount};
use probelet_model::resources::{Qos, Resources};
use probelet_model::security::{Namespaces, PodSecurity, Security};
use probelet_model::time::Wall;
pub use probelet_model::volume::{VolumeFile, VolumeFiles};
use serde::{Deserialize, Serialize};

pub use crate::images::{Credential, Image, ImageConfig, ImageError, ImageId, ImageRoot, Images};

/// Why something that manifests ask for has no effect on this host; `None` for what has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// `resources.limits.cpu`.
    pub cpu: Option<String>,
    /// `resources.limits.memory`.
    pub memory: Option<String>,
    /// `fsGroup` and `supplementalGroups`.
    pub groups: Option<String>,
}

/// A runtime of containers.
///
/// Every call may be made from any task, several at once; calls about one pod take effect in the order
/// they are made. A call that is dropped before it answers may or may not have taken effect: ask
/// [`Runtime::pods`]. Nothing a runtime has started depends on the caller's process staying alive.
pub trait Runtime: Send + Sync + 'static {
    /// Takes the events of all pods, from now on and those kept while nobody listened. Exits reach the
    /// listener at least once; the same exit may come again after a restart of the caller.
    ///
    /// To be called once; the stream of a second call stays empty.
    fn events(&self) -> Events;

    /// What stands: every sandbox, and in it every container that has not been removed, the ended ones
    /// with how they ended. Called once at start, before anything else, it also re-attaches to them.
    fn pods(&self) -> impl Future<Output = Result<Vec<PodRecord>, RuntimeError>> + Send;

    /// Makes the pod's sandbox: namespaces, network, volumes. Does nothing if it stands already.
    fn start_pod(
        &self,
        config: PodConfig,
    ) -> impl Future<Output = Result<(), StartPodError>> + Send;

    /// At which addresses other pods reach a pod on its own network, whose main one is `ip`: that, and others.
    /// Before it is started, those that it will have if nothing fails; then those that it has.
    fn addresses(&self, ip: IpAddr) -> Vec<IpAddr> {
        vec![ip]
    }

    /// What pods cannot be given on this host, whatever their manifests say; the same for as long as it runs.
    fn lacks(&self) -> Lacks {
        Lacks::default()
    }

    /// Starts one run of one container in a standing sandbox.
    fn start_container(
        &self,
        pod: &PodUid,
        config: ContainerConfig,
    ) -> impl Future<Output = Result<Started, StartContainerError>> + Send;

    /// Ends a container: TERM to its main process now, KILL to every process of it after `grace`. Answers
    /// when that is under way; the exit comes as an event. The runtime keeps the deadline itself, so the
    /// kill happens whether the caller lives or not. A second call can only bring the deadline forward.
    /// A container that has ended, or that nobody knows, is no error.
    fn stop_container(
        &self,
        pod: &PodUid,
        container: &ContainerId,
        grace: Duration,
    ) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Removes the sandbox and all that belongs to it: kills what still runs, unmounts, removes its
    /// directory with logs and empty-dir volumes. Answers when nothing is left. A pod that nobody knows
    /// is no error.
    fn remove_pod(&self, pod: &PodUid) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Runs a command in a running container, with the container's environment, user and working
    /// directory, without stdin.
    ///
    /// After `request.timeout`, counted from its start, everything the command started is killed and
    /// reaped and the answer is [`ExecError::TimedOut`]. The answer does not wait for pipes that a
    /// child of the command still holds once the command itself has ended.
    fn exec(
        &self,
        pod: &PodUid,
        container: &ContainerId,
        request: ExecRequest,
    ) -> impl Future<Output = Result<ExecOutput, ExecError>> + Send;

    /// Runs a command in a running container with streams of its own, as long as it likes; environment,
    /// user and working directory as [`Runtime::exec`], on a terminal with `TERM=xterm`. Answers when the
    /// command has been executed, or could not be. Dropping the session closes the streams, which hangs up a
    /// terminal, and, as upstream, does not end the command; the end of the caller's process does the same.
    /// The end of the container ends the command.
    ///
    /// Upstream: containerd internal/cri/server/container_execsync.go, execInternal.
    /// Shown by: streams_are_separate_and_the_exit_code_is_exact,
    /// a_dropped_session_closes_its_streams_and_ends_nothing, a_session_ends_with_its_container.
    fn open_exec(
        &self,
        pod: &PodUid,
        container: &ContainerId,
        request: SessionRequest,
    ) -> impl Future<Output = Result<Session, ExecError>> + Send;

    /// Joins the streams of a running container's main process: what it writes from now on, and its stdin
    /// if it has one ([`ContainerConfig::stdin`]). The session ends when the container does. Several may join;
    /// each gets all of the output, and one that does not read its copy holds the container's output up, but
    /// not for longer than ten seconds, after which its session ends with an error.
    ///
    /// That upstream ends a session with the end of its client's input, unless the container's
    /// [`ContainerConfig::stdin_once`] is set, is the caller's to do: by dropping the session.
    ///
    /// Upstream: containerd internal/cri/server/container_attach.go, attachContainer.
    /// Shown by: several_see_what_comes_after_they_joined, an_agent_that_comes_back_can_join.
    fn attach(
        &self,
        pod: &PodUid,
        container: &ContainerId,
        streams: Streams,
    ) -> impl Future<Output = Result<Session, ExecError>> + Send;

    /// Gives a volume of [`PodConfig::volume_files`] new content, all of it at one moment for whoever reads
    /// it. Changes nothing if the content is that already, or if it cannot be written.
    ///
    /// Upstream: pkg/volume/util/atomic_writer.go, Write.
    /// Shown by: an_update_is_seen_at_one_moment, what_cannot_be_written_is_said_and_changes_nothing.
    fn update_volume(
        &self,
        pod: &PodUid,
        volume: &str,
        files: VolumeFiles,
    ) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Where the logs are; [`log_path`] says where below.
    fn log_dir(&self) -> &Path;

    /// A fresh, unconnected, non-blocking TCP socket that belongs to the pod's network namespace.
    fn tcp_socket(
        &self,
        pod: &PodUid,
        family: Family,
    ) -> impl Future<Output = Result<OwnedFd, RuntimeError>> + Send;

    /// A non-blocking socket bound to an address at which processes of the pod reach it; of TCP it listens.
    ///
    /// It belongs to the pod's network namespace, but for the addresses of Services, 127.213.0.0/16: of those
    /// none of the pod's own processes has a port, and taking one is in the way of none, whatever ports they
    /// listen on. The socket keeps what it belongs to alive: close it when the pod ends.
    ///
    /// Shown by: a_service_is_answered_beside_a_server_on_all_addresses,
    /// what_nobody_answers_in_the_range_of_services_is_refused.
    fn bind(
        &self,
        pod: &PodUid,
        address: SocketAddr,
        transport: Transport,
    ) -> impl Future<Output = Result<OwnedFd, RuntimeError>> + Send;

    /// What a pod and its containers use now.
    fn usage(&self, pod: &PodUid) -> impl Future<Output = Result<PodUsage, RuntimeError>> + Send;
}

/// What a bound socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// What a pod uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodUsage {
    /// All of it, what is no container's included.
    pub total: Usage,
    /// Each container that runs, by name.
    pub containers: BTreeMap<ContainerName, Usage>,
    /// Bytes in each emptyDir volume, by name, those in memory included.
    pub volumes: BTreeMap<String, u64>,
}

/// What processes have used and use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Time on CPUs since the start.
    pub cpu: Duration,
    /// Bytes of memory that could not be given back at once.
    ///
    /// Upstream: cadvisor container/libcontainer/handler.go, setMemoryStats (the working set: usage without
    /// inactive files).
    /// Shown by: a_working_set_leaves_out_what_can_be_given_back_at_once.
    pub memory: u64,
    /// How many processes and threads there are.
    pub tasks: u64,
    /// Bytes written into the root file system.
    pub root: u64,
}

/// Which streams of a process are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// Its stdin.
    pub stdin: bool,
    /// Its stdout.
    pub stdout: bool,
    /// Its stderr; on a terminal it comes with stdout.
    pub stderr: bool,
}

/// A command with streams of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRequest {
    /// Command and arguments, taken as they are; never empty.
    pub argv: Vec<String>,
    /// What is connected; what is not reads nothing and is thrown away.
    pub streams: Streams,
    /// On a terminal of its own (a pty of the container).
    pub tty: bool,
}

/// The near ends of a process's streams, all of them non-blocking: pipes, or one terminal several times.
#[derive(Debug)]
pub struct Session {
    /// What is written here the process reads; closed, it meets the end. A terminal has no such end: what
    /// stands for it there is the character 4. `None` if not asked for, or if there is none to join.
    pub stdin: Option<OwnedFd>,
    /// What the process writes. `None` if not asked for. At the end of a command on a terminal, reading fails
    /// with `EIO`. Whatever else holds the far end, such as a daemon the command has left, keeps it from
    /// ending; then `ended` tells when to stop.
    pub stdout: Option<OwnedFd>,
    /// What the process writes to stderr; never on a terminal.
    pub stderr: Option<OwnedFd>,
    /// The terminal's near end, for its size (`TIOCSWINSZ`) alone; where there is a terminal.
    pub terminal: Option<OwnedFd>,
    /// How it ended: its exit code, 128 plus the signal if a signal ended it. Of an attached container, when
    /// that ends. Comes when all it wrote can be read from `stdout` and `stderr`.
    pub ended: tokio::sync::oneshot::Receiver<Result<i32, ExecError>>,
}

/// What the agent reads events from: bounded only by the number of containers, as each has one exit.
pub type Events = tokio::sync::mpsc::UnboundedReceiver<Event>;

/// Something that happened without being asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A container has ended.
    Exited {
        /// Its pod.
        pod: PodUid,
        /// Which run.
        container: ContainerId,
        /// How.
        exit: Exit,
    },
    /// An emptyDir on disk holds more than its `sizeLimit`. Comes again as long as it does.
    VolumeFull {
        /// Its pod.
        pod: PodUid,
        /// Its name.
        volume: String,
    },
    /// The sandbox is gone and all its containers with it, and nobody had asked for that.
    PodLost {
        /// The pod.
        pod: PodUid,
    },
}

/// How one run of a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 128 plus the signal if a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// When, in whole nanoseconds of the wall clock.
    #[serde(with = "wall_nanos")]
    pub finished_at: Wall,
    /// The kernel killed a process of it, because the container had used up its memory.
    #[serde(default)]
    pub out_of_memory: bool,
    /// Its last words: what it wrote to its termination message file, 4,096 bytes at most, or the end of
    /// its log, 80 lines and 2,048 bytes at most.
    #[serde(default)]
    pub message: Option<String>,
}

/// Serialises a [`Wall`] without cutting it to seconds.
pub mod wall_nanos {
    use probelet_model::time::Wall;
    use serde::{Deserialize, Deserializer, Serializer};

    /// As an integer.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(wall: &Wall, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(wall.0)
    }

    /// From an integer.
    ///
    /// # Errors
    /// The deserializer's.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Wall, D::Error> {
        i64::deserialize(deserializer).map(Wall)
    }
}

/// All a runtime needs to make a pod's sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodConfig {
    /// The pod's uid.
    pub uid: PodUid,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// Host name in the pod's UTS namespace. A pod on the host's network has none of its own: there it is the host's
    /// name, for `HOSTNAME` and `/etc/hostname`.
    pub hostname: String,
    /// How it meets the network.
    pub network: Network,
    /// The volumes that containers may mount, checked or made now.
    pub volumes: Vec<Volume>,
    /// The content of those volumes that are made of objects (`VolumeSource::Files`), by volume name; of each
    /// there must be one. A runtime does not remember it: in a [`PodRecord`] this is empty.
    #[serde(default)]
    pub volume_files: BTreeMap<String, VolumeFiles>,
    /// What its containers share.
    #[serde(default)]
    pub namespaces: Namespaces,
    /// What holds for all of its containers.
    #[serde(default)]
    pub security: PodSecurity,
    /// What its containers see at `/etc/hosts`; what their image has there if `None`.
    #[serde(default)]
    pub hosts: Option<String>,
    /// What its containers see at `/etc/resolv.conf`; what their image has there if `None`.
    #[serde(default)]
    pub resolv_conf: Option<String>,
    /// How much it may count on.
    #[serde(default)]
    pub qos: Qos,
    /// What its containers ask for together, and, where each of them has a limit, may use together.
    #[serde(default)]
    pub resources: Resources,
}

/// How a pod meets the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Its own network namespace, with this address on its loopback interface.
    Own(IpAddr),
    /// The host's.
    Host,
}

/// One run of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// The id it will have, chosen by the caller, never used before: so that a caller who dies while
    /// starting knows its own container again.
    pub id: ContainerId,
    /// The container's name in its pod.
    pub name: ContainerName,
    /// How many runs were before; it names the log file, `<container>/<n>.log`.
    pub restart_count: u32,
    /// The files it sees: those of an image, or, if `None`, the host's own.
    #[serde(default)]
    pub image: Option<ImageRoot>,
    /// Command and arguments, `$(VAR)` expanded; never empty.
    pub argv: Vec<String>,
    /// The environment of image and spec, `$(VAR)` expanded. The runtime adds PATH, HOME and HOSTNAME where
    /// they are missing, and nothing of its own environment.
    pub env: Vec<(String, String)>,
    /// Absolute, made if missing; `/` if `None`.
    pub working_dir: Option<String>,
    /// Where its pod's volumes go.
    pub mounts: Vec<VolumeMount>,
    /// Whom it runs as.
    pub user: User,
    /// Whom its image wants to run as, `user:group` by name or number, where `user` has no uid.
    #[serde(default)]
    pub image_user: String,
    /// What it may do.
    #[serde(default)]
    pub security: Security,
    /// What it may count on, and use at most.
    #[serde(default)]
    pub resources: Resources,
    /// What it counts as asking for of memory, in bytes, where the kernel is told whom to kill first; what it asks for
    /// if `None`.
    #[serde(default)]
    pub memory_that_counts: Option<u64>,
    /// The signal that asks it to stop; TERM if `None`.
    #[serde(default)]
    pub stop_signal: Option<i32>,
    /// Where its last words are read from when it has ended.
    #[serde(default)]
    pub termination_message: TerminationMessage,
    /// Its stdin stays open for whoever attaches; else it reads nothing.
    #[serde(default)]
    pub stdin: bool,
    /// Its stdin ends when the first who attached to it goes.
    #[serde(default)]
    pub stdin_once: bool,
    /// It runs on a terminal of its own, with `TERM=xterm` unless the environment says otherwise; what it
    /// writes is logged as stdout.
    #[serde(default)]
    pub tty: bool,
}

/// A container that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// When its command was executed.
    #[serde(with = "wall_nanos")]
    pub started_at: Wall,
    /// Its main process, as the caller's pid namespace counts.
    pub pid: u32,
}

/// A sandbox that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRecord {
    /// What it was made from.
    pub config: PodConfig,
    /// Its containers, oldest run first.
    pub containers: Vec<ContainerRecord>,
}

/// One run of a container, as the runtime remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// The run.
    pub id: ContainerId,
    /// The container's name in its pod.
    pub name: ContainerName,
    /// How many runs were before.
    pub restart_count: u32,
    /// When its command was executed, and as what process.
    pub started: Started,
    /// How it ended; `None` while it runs.
    pub exit: Option<Exit>,
}

/// A command to run in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Command and arguments, `$(VAR)` expanded; never empty.
    pub argv: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// How many bytes of stdout, and of stderr, are kept.
    pub output_limit: usize,
}

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOutput {
    /// 128 plus the signal if a signal ended it.
    pub exit_code: i32,
    /// The first bytes it wrote.
    pub stdout: Vec<u8>,
    /// The first bytes it wrote.
    pub stderr: Vec<u8>,
}

/// The kind of address a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// The runtime itself failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RuntimeError {
    /// No such sandbox.
    #[error("pod {0} has no sandbox")]
    NoPod(PodUid),
    /// Anything else, said for people.
    #[error("{0}")]
    Failed(String),
}

/// Why a pod's sandbox could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum StartPodError {
    /// A volume is not what its spec says; the pod waits, as upstream, with a `FailedMount` event.
    #[error("{0}")]
    Volume(String),
    /// Anything else, a `FailedCreatePodSandBox` event.
    #[error("{0}")]
    Sandbox(String),
}

/// Why a container did not start: a variant for each step of the kubelet's that may fail.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, startContainer; kubelet pkg/kubelet/kubelet_pods.go,
/// makeMounts; containerd internal/cri/server/container_create.go and container_start.go, of which the latter calls runc.
/// Shown by: no_sub_path_leads_out_of_its_volume, what_cannot_be_mounted_is_said, a_user_that_the_image_lacks_is_named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum StartContainerError {
    /// No such sandbox.
    #[error("pod {0} has no sandbox")]
    NoPod(PodUid),
    /// What its spec refers to is not there, or not as it must be: a part of a volume.
    #[error("{0}")]
    Config(String),
    /// The container could not be made: its user, its capabilities, what its image keeps in volumes.
    #[error("{0}")]
    Create(String),
    /// It was made, and could not be set up: its root file system, its mounts, its limits.
    #[error("{0}")]
    Start(String),
    /// The same: its command could not be executed.
    #[error("{0}")]
    Command(String),
}

/// Why a command gave no exit code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ExecError {
    /// It did not end in time; everything it had started is gone.
    #[error("timed out")]
    TimedOut,
    /// The container does not run.
    #[error("container {0} is not running")]
    NotRunning(ContainerId),
    /// The command could not be executed.
    #[error("{0}")]
    Command(String),
    /// The runtime itself failed.
    #[error("{0}")]
    Runtime(String),
}

/// Where a pod's container logs are, below a runtime's log directory:
/// `<namespace>_<name>_<uid>/<container>/<restart count>.log`.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/helpers.go, BuildPodLogsDirectory and
/// BuildContainerLogsDirectory.
/// Shown by: output_is_kept_in_the_format_of_the_cri_one_file_a_run.
#[must_use]
pub fn log_path(
    namespace: &str,
    name: &str,
    uid: &PodUid,
    container: &ContainerName,
    restart_count: u32,
) -> PathBuf {
    let pod = format!("{namespace}_{name}_{uid}");
    PathBuf::from(pod)
        .join(container.as_str())
        .join(format!("{restart_count}.log"))
}
