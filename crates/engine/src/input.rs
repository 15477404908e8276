//! All that can happen to a node.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use probelet_model::id::{ContainerId, ContainerName, ObjectKey, PodUid};
use probelet_model::pod::Pod;
use probelet_model::probe::{Outcome, ProberError};
use probelet_model::service::Service;
use probelet_model::status::PodStatus;
use probelet_model::time::Wall;

use crate::memory::PodMemory;

/// One attempt of one probe, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

/// One asked-for operation of the runtime, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u64);

/// Something that has happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A pod is to run here, or it has changed in a way that a pod may. One with a deletion is to end
    /// within its grace and then to be forgotten; a later deletion can only shorten an earlier one. One
    /// that has not changed is no news.
    PodApplied {
        /// The pod.
        pod: Arc<Pod>,
        /// Where it comes from; ignored for a pod that is known already.
        origin: Origin,
    },
    /// The pod is to end within its own grace; the object stays.
    PodStopped {
        /// Which.
        pod: PodUid,
    },
    /// A Service is there, or has changed. When the agent starts, pods come before Services: the first
    /// endpoints of a Service are committed at once, of the pods that are known then.
    ServiceApplied {
        /// The Service.
        service: Arc<Service>,
    },
    /// A Service is gone.
    ServiceDeleted {
        /// Its key.
        key: ObjectKey,
    },
    /// Answers [`crate::effect::Effect::StartPod`].
    PodStarted {
        /// Which pod.
        pod: PodUid,
        /// The question.
        operation: OperationId,
        /// The pod's addresses, or why there is no sandbox.
        result: Result<Addresses, PodFailure>,
    },
    /// Answers [`crate::effect::Effect::LookUpImage`].
    ImageLookedUp {
        /// Which pod.
        pod: PodUid,
        /// The question.
        operation: OperationId,
        /// The image, if it is there, or why that cannot be told.
        result: Result<Option<Image>, ImageFailure>,
    },
    /// Answers [`crate::effect::Effect::PullImage`].
    ImagePulled {
        /// Which pod.
        pod: PodUid,
        /// The question.
        operation: OperationId,
        /// The image, or why there is none.
        result: Result<Image, ImageFailure>,
    },
    /// Answers [`crate::effect::Effect::StartContainer`].
    ContainerStarted {
        /// Which pod.
        pod: PodUid,
        /// The question.
        operation: OperationId,
        /// When its command was executed, or why not.
        result: Result<Wall, ContainerFailure>,
    },
    /// A container has ended. Comes at least once for every run, and may come before the answer to its
    /// start.
    ContainerExited {
        /// Which pod.
        pod: PodUid,
        /// Which run.
        container: ContainerId,
        /// How.
        exit: Exit,
    },
    /// The pod's sandbox is gone with all in it, unasked.
    PodLost {
        /// Which.
        pod: PodUid,
    },
    /// An emptyDir of the pod holds more than its `sizeLimit`. May come again.
    VolumeFull {
        /// Which pod.
        pod: PodUid,
        /// The volume's name.
        volume: String,
    },
    /// Answers [`crate::effect::Effect::RemovePod`].
    PodRemoved {
        /// Which pod.
        pod: PodUid,
        /// The question.
        operation: OperationId,
        /// What could not be removed.
        result: Result<(), String>,
    },
    /// Answers [`crate::effect::Effect::RunHook`].
    HookFinished {
        /// Which pod.
        pod: PodUid,
        /// The question.
        operation: OperationId,
        /// Why it failed.
        result: Result<(), String>,
    },
    /// Answers [`crate::effect::Effect::StartAttempt`].
    AttemptFinished {
        /// Which pod.
        pod: PodUid,
        /// The question.
        attempt: AttemptId,
        /// What it saw, or why it saw nothing.
        result: Result<Outcome, ProberError>,
        /// How long it took.
        duration: Duration,
    },
    /// Time has passed.
    Wake,
}

/// Where a pod comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Somebody has just applied it.
    New,
    /// It was in the store when the agent started.
    Restored {
        /// The status it had.
        status: Box<PodStatus>,
        /// What the engine had noted, if that could be read.
        memory: Option<PodMemory>,
        /// What the runtime says stands; `None` if there is no sandbox.
        standing: Option<Standing>,
        /// It is taken up only to be stopped, as by [`Input::PodStopped`]; nothing is started.
        stop: bool,
    },
}

/// Where a pod is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// By whoever has one address of it: probes, Services.
    pub ip: IpAddr,
    /// What it is reached at besides, by other pods.
    pub others: Vec<IpAddr>,
}

impl Addresses {
    /// All of them, `ip` first.
    pub fn all(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.ip).chain(self.others.iter().copied())
    }
}

impl From<IpAddr> for Addresses {
    fn from(ip: IpAddr) -> Self {
        Self {
            ip,
            others: Vec::new(),
        }
    }
}

/// A sandbox that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The pod's addresses.
    pub addresses: Addresses,
    /// Its containers, oldest run first.
    pub containers: Vec<StandingContainer>,
}

/// One run of a container, as the runtime remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingContainer {
    /// The run.
    pub id: ContainerId,
    /// The container's name.
    pub name: ContainerName,
    /// How many runs were before.
    pub restart_count: u32,
    /// When its command was executed.
    pub started_at: Wall,
    /// How it ended; `None` while it runs.
    pub exit: Option<Exit>,
}

/// How one run of a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// 128 plus the signal if a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The kernel killed a process of it for memory.
    pub out_of_memory: bool,
    /// When.
    pub finished_at: Wall,
    /// Its last words: what it wrote to its termination message file, or the end of its log.
    pub message: Option<String>,
}

/// Why a sandbox could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodFailure {
    /// A volume is not what its spec says.
    Volume(String),
    /// Anything else.
    Sandbox(String),
}

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What it is known by where it is kept.
    pub id: String,
    /// What `image` of a container's status says.
    pub name: String,
    /// What `imageID` of a container's status says.
    pub status_id: String,
    /// Bytes.
    pub size: u64,
}

/// Why there is no image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageFailure {
    /// What the spec names is no image's name.
    Name(String),
    /// Anything else.
    Failed(String),
}

/// Why a container did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerFailure {
    /// What its spec refers to is not there: a ConfigMap, a Secret, a key of one, a part of a volume.
    Config(String),
    /// It could not be made.
    Create(String),
    /// It was made, and could not be started: its root or its limits, or its command, which could not be executed.
    Start(String),
}
