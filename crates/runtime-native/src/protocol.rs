//! What agent and shim say to each other, as values. How it travels is [`crate::wire`]'s matter.
//!
//! The agent asks with [`Request`]s, many in flight; the shim sends [`Message`]s: first its whole
//! [`Record`], then answers and what happened on its own. Both sides may come from different builds of
//! the binary, since a shim outlives an upgrade of the agent: variants and fields are only ever added.

use std::path::PathBuf;
use std::time::Duration;

use probelet_model::id::ContainerId;
use probelet_runtime::{
    ContainerConfig, ContainerRecord, ExecError, ExecOutput, ExecRequest, Exit, Family, PodConfig,
    StartContainerError, Started,
};
use serde::{Deserialize, Serialize};

/// What a shim is started with: the content of `config.json` in the pod's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShimConfig {
    /// The sandbox.
    pub(crate) pod: PodConfig,
    /// The data directory, which no container may see.
    pub(crate) data_dir: PathBuf,
    /// Where logs go; [`probelet_runtime::log_path`] says where below.
    pub(crate) log_dir: PathBuf,
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
    Start(ContainerConfig),
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
}

/// What a shim says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// All it knows; the first message of every connection.
    Record(Record),
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
}
