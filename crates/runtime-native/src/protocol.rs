//! What agent and shim say to each other, as values. How it travels is [`crate::wire`]'s matter.
//!
//! The agent asks with [`Request`]s, many in flight; the shim sends [`Message`]s: first its whole
//! [`Record`], then answers and what happened on its own. Both sides may come from different builds of
//! the binary, since a shim outlives an upgrade of the agent: variants and fields are only ever added.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use probelet_model::id::ContainerId;
use probelet_model::pod::VolumeMount;
use probelet_model::resources::Amounts;
use probelet_model::security::Security;
use probelet_runtime::{
    ContainerConfig, ContainerRecord, ExecError, ExecOutput, ExecRequest, Exit, Family, PodConfig,
    PodUsage, SessionRequest, StartContainerError, Started, Streams, Transport,
};
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroups;

/// What a shim is started with: the content of `config.json` in the pod's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShimConfig {
    /// The sandbox, without the content of its volumes of files: secrets are not for this file. The shim
    /// reads that from its stdin, see [`crate::volume_files`].
    pub(crate) pod: PodConfig,
    /// The data directory, which no container may see.
    pub(crate) data_dir: PathBuf,
    /// Where logs go; [`probelet_runtime::log_path`] says where below.
    pub(crate) log_dir: PathBuf,
    /// Where its cgroups are.
    #[serde(default)]
    pub(crate) cgroups: Cgroups,
    /// What is to carry the pod's traffic to the outside, if the shim has to see to that.
    #[serde(default)]
    pub(crate) pasta: Option<Pasta>,
}

/// How `pasta` is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pasta {
    /// Where the program is.
    pub(crate) program: PathBuf,
    /// The network of all pods, address and prefix length. Its first address is the gateway; other pods cannot be
    /// reached in it.
    pub(crate) network: (Ipv4Addr, u8),
    /// The pod is nothing without.
    pub(crate) required: bool,
}

/// A question, with an id that its answer carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Chosen by the agent, not used twice on one connection.
    pub(crate) id: u64,
    /// The question.
    pub(crate) call: Call,
}

/// What an agent may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Call {
    /// [`probelet_runtime::Runtime::start_container`].
    Start(Box<ContainerConfig>),
    /// [`probelet_runtime::Runtime::stop_container`].
    Stop {
        /// Which run.
        container: ContainerId,
        /// From TERM to KILL.
        grace: Duration,
    },
    /// [`probelet_runtime::Runtime::exec`].
    Exec {
        /// Where.
        container: ContainerId,
        /// What.
        request: ExecRequest,
    },
    /// Sockets of the pod's network namespace.
    Sockets {
        /// Of which kind.
        family: Family,
        /// How many; at most [`crate::wire::MAX_FDS`].
        count: usize,
    },
    /// [`probelet_runtime::Runtime::remove_pod`]; the shim exits after its answer.
    Remove,
    /// [`probelet_runtime::Runtime::open_exec`].
    OpenExec {
        /// Where.
        container: ContainerId,
        /// What.
        request: SessionRequest,
    },
    /// [`probelet_runtime::Runtime::attach`].
    Attach {
        /// To which run.
        container: ContainerId,
        /// What of it.
        streams: Streams,
    },
    /// [`probelet_runtime::Runtime::update_volume`]; the content is attached, see [`crate::volume_files`].
    UpdateVolume {
        /// The volume's name.
        volume: String,
    },
    /// [`probelet_runtime::Runtime::bind`].
    Bind {
        /// Where.
        address: SocketAddr,
        /// For what.
        transport: Transport,
    },
    /// [`probelet_runtime::Runtime::usage`].
    Usage,
    /// A way to have attempts made without the shim in between, see [`crate::attempt`].
    ExecChannel {
        /// Where.
        container: ContainerId,
    },
    /// The time of an attempt that was asked for over such a channel is over.
    EndAttempt {
        /// Where.
        container: ContainerId,
        /// Which.
        id: u32,
    },
    /// Whether commands could be run now. Only an end of the container that came before the question counts.
    Runs {
        /// Where.
        container: ContainerId,
    },
}

/// What a shim says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// All it knows; the first message of every connection.
    Record(Box<Record>),
    /// The answer to one request.
    Answer {
        /// Of which request.
        id: u64,
        /// The answer.
        answer: Answer,
    },
    /// A container has ended.
    Exited {
        /// Which run.
        container: ContainerId,
        /// How.
        exit: Exit,
    },
    /// An emptyDir on disk holds more than its limit.
    VolumeFull {
        /// Its name.
        volume: String,
    },
    /// Another agent has connected; this connection ends, the pod does not.
    Replaced,
}

/// The sandbox as its shim remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// What it was made from.
    pub(crate) config: PodConfig,
    /// Its containers that have started, oldest run first.
    pub(crate) containers: Vec<ContainerRecord>,
    /// What the shim understands; one that does not say is older than the first that did.
    #[serde(default)]
    pub(crate) abilities: Abilities,
    /// Why there is no `pasta`, where there was to be one.
    #[serde(default)]
    pub(crate) pasta_failed: Option<String>,
}

/// What a shim understands beyond what the first did. An agent that asks for more gets no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Abilities {
    /// Sessions, stdin and terminals of containers, volumes of files.
    pub(crate) sessions: bool,
    /// Images, security contexts and resources of containers, bound sockets, usage.
    pub(crate) images: bool,
    /// [`Call::ExecChannel`] and what belongs to it. [`Call::Exec`] is for shims without, and for agents that know no
    /// other.
    pub(crate) exec_channels: bool,
}

impl Abilities {
    /// The first field of a container that such a shim would pass over, as a manifest has it, and that must be
    /// carried out or refused.
    ///
    /// Not among them is what the builds of such shims had told the user to be without effect,
    /// `resources.requests`, and what nobody has asked for, the filter of system calls of a container that says
    /// nothing of one: their pods go on as they were started.
    pub(crate) fn lack(self, config: &ContainerConfig) -> Option<&'static str> {
        // All of them by name: who adds a field has to decide here.
        let ContainerConfig {
            id: _,
            name: _,
            restart_count: _,
            argv: _,
            env: _,
            working_dir: _,
            termination_message: _,
            memory_that_counts: _,
            user,
            image,
            image_user,
            mounts,
            security,
            resources,
            stop_signal,
            stdin,
            stdin_once: _,
            tty,
        } = config;
        let runs_as_other_than_root = user.uid.is_some_and(|uid| uid != 0);
        let not_asked_for = Security {
            non_root: security.non_root && runs_as_other_than_root,
            ..Security::default()
        };
        let has_sub_path =
            |mount: &VolumeMount| mount.sub_path.is_some() || mount.sub_path_expr.is_some();
        let term = rustix::process::Signal::TERM.as_raw();
        let asked_for = [
            (self.sessions, *stdin, "stdin"),
            (self.sessions, *tty, "tty"),
            (self.images, image.is_some(), "image"),
            (self.images, !image_user.is_empty(), "image"),
            (self.images, *security != not_asked_for, "securityContext"),
            (
                self.images,
                resources.limits != Amounts::default(),
                "resources.limits",
            ),
            (
                self.images,
                mounts.iter().any(has_sub_path),
                "volumeMounts.subPath",
            ),
            (
                self.images,
                stop_signal.is_some_and(|signal| signal != term),
                "lifecycle.stopSignal",
            ),
        ];
        asked_for
            .into_iter()
            .find(|(is_able, is_asked_for, _)| *is_asked_for && !is_able)
            .map(|(_, _, field)| field)
    }
}

/// The near ends that come with [`Answer::Session`]. First, always, a pipe from which the end is read: a
/// `Result<i32, ExecError>` as JSON, or nothing if the shim was killed before it knew. Then those that are
/// true here, in this order; all of them non-blocking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ends {
    /// Written by the agent.
    pub(crate) stdin: bool,
    /// Read by the agent.
    pub(crate) stdout: bool,
    /// Read by the agent.
    pub(crate) stderr: bool,
    /// The near end of the terminal.
    pub(crate) terminal: bool,
}

/// What has come of an attempt whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// It was still there, and is no more, with all that it had started.
    Killed,
    /// It is not there, and nothing will come of it.
    Gone,
    /// It has ended by itself, and its answer is on the channel.
    Answered,
}

/// The answer to a [`Call`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// To [`Call::Start`].
    Started(Result<Started, StartContainerError>),
    /// To [`Call::Stop`]: under way, or nothing to do.
    Stopping,
    /// To [`Call::Exec`].
    Executed(Result<ExecOutput, ExecError>),
    /// To [`Call::Sockets`]; the sockets are attached.
    Sockets(Result<(), String>),
    /// To [`Call::Remove`]: nothing is left but the shim itself, which is about to exit.
    Removed(Result<(), String>),
    /// To [`Call::OpenExec`], once the command has been executed, and to [`Call::Attach`].
    Session(Result<Ends, ExecError>),
    /// To [`Call::UpdateVolume`].
    VolumeUpdated(Result<(), String>),
    /// To [`Call::Bind`]; the socket is attached.
    Bound(Result<(), String>),
    /// To [`Call::Usage`].
    Usage(Result<PodUsage, String>),
    /// To [`Call::ExecChannel`]: a number that no other channel of the container has. The channel is attached.
    ExecChannel(Result<u8, ExecError>),
    /// To [`Call::EndAttempt`], once it is true.
    AttemptEnded(Ending),
    /// To [`Call::Runs`].
    Runs(bool),
    /// To a call that this shim does not know.
    NotUnderstood,
}

/// What is said of an answer that belongs to another call.
pub(crate) fn unexpected(answer: &Answer) -> String {
    format!("the pod's shim answered something else: {answer:?}")
}

#[cfg(test)]
mod tests;
