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
    SessionRequest, StartContainerError, Started, Streams,
};
use serde::{Deserialize, Serialize};

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
    /// What the shim understands; one that does not say is older than the first that did.
    #[serde(default)]
    pub(crate) abilities: Abilities,
}

/// What a shim understands beyond what the first did. An agent that asks for more gets no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Abilities {
    /// Sessions, stdin and terminals of containers, volumes of files.
    pub(crate) sessions: bool,
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
    /// To a call that this shim does not know.
    NotUnderstood,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shim_of_before_sessions_says_is_understood() {
        let record = r#"{"Record":{"config":{"uid":"u","namespace":"default","name":"n","hostname":"n",
            "network":"Host","volumes":[]},"containers":[]}}"#;
        let Ok(Message::Record(record)) = serde_json::from_str(record) else {
            panic!("a record");
        };
        assert!(!record.abilities.sessions);
        assert!(record.config.volume_files.is_empty());
    }

    #[test]
    fn abilities_of_a_newer_shim_are_passed_over() {
        let newer = r#"{"sessions":true,"another":true}"#;
        let abilities: Abilities = serde_json::from_str(newer).unwrap();
        assert_eq!(abilities, Abilities { sessions: true });
    }
}
