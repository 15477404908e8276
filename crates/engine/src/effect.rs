//! All that the engine can ask for.

use std::sync::Arc;
use std::time::Duration;

use probelet_model::id::{ContainerId, ContainerName, ObjectKey, PodUid};
use probelet_model::pod::{Hook, Pod};
use probelet_model::probe::ProbeKind;
use probelet_model::service::{EndpointSlice, Endpoints};
use probelet_model::status::PodStatus;
use probelet_model::time::Wall;

use crate::input::{AttemptId, Image, OperationId};
use crate::memory::PodMemory;
use crate::report::Report;

/// Something to be done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Write down what the next agent must know, before anything that comes after this.
    Remember {
        /// Which pod.
        pod: PodUid,
        /// All of it; replaces what was written before.
        memory: Box<PodMemory>,
    },
    /// Make these visible together.
    Commit(Commit),
    /// Make the pod's sandbox.
    StartPod {
        /// The question.
        operation: OperationId,
        /// The pod.
        pod: Arc<Pod>,
    },
    /// See whether an image is there.
    LookUpImage {
        /// The question.
        operation: OperationId,
        /// The pod.
        pod: Arc<Pod>,
        /// The container that is to be started from it.
        container: ContainerName,
        /// `image` of its spec.
        image: String,
    },
    /// Bring an image here, or see that it is here as its registry has it now.
    PullImage {
        /// The question.
        operation: OperationId,
        /// The pod.
        pod: Arc<Pod>,
        /// The container that is to be started from it.
        container: ContainerName,
        /// `image` of its spec.
        image: String,
    },
    /// Start one run of a container.
    StartContainer {
        /// The question.
        operation: OperationId,
        /// The pod.
        pod: Arc<Pod>,
        /// The container's name.
        container: ContainerName,
        /// The run's id.
        id: ContainerId,
        /// How many runs were before.
        restart_count: u32,
        /// The image whose files it sees; the host's own if `None`.
        image: Option<Image>,
    },
    /// Run a hook. One of a container that ends meanwhile fails.
    RunHook {
        /// The question.
        operation: OperationId,
        /// The pod.
        pod: Arc<Pod>,
        /// The container's name.
        container: ContainerName,
        /// The run.
        id: ContainerId,
        /// What to do.
        hook: Hook,
        /// At what moment of the container's life.
        moment: HookMoment,
        /// How long it may take; `None` is as long as it likes.
        timeout: Option<Duration>,
    },
    /// TERM now, KILL after the grace. The exit answers it.
    StopContainer {
        /// Which pod.
        pod: PodUid,
        /// Which run.
        container: ContainerId,
        /// Time between the two.
        grace: Duration,
    },
    /// Remove the sandbox and all that belongs to it.
    RemovePod {
        /// The question.
        operation: OperationId,
        /// Which pod.
        pod: PodUid,
    },
    /// Make one attempt of a probe.
    StartAttempt {
        /// The question.
        attempt: AttemptId,
        /// The pod.
        pod: Arc<Pod>,
        /// The container's name.
        container: ContainerName,
        /// The run.
        id: ContainerId,
        /// Which of its probes.
        kind: ProbeKind,
    },
    /// Record an event.
    Event(Event),
    /// Tell whoever watches.
    Report(Report),
    /// The pod has ended: nothing of it is left outside the store.
    PodEnded {
        /// Which.
        pod: PodUid,
        /// Whether the object is to go too.
        deleted: bool,
    },
}

/// When in a container's life a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookMoment {
    /// `lifecycle.postStart`.
    PostStart,
    /// `lifecycle.preStop`.
    PreStop,
}

/// What becomes visible together, so that Ready and traffic never disagree.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Pods whose status has changed.
    pub statuses: Vec<(PodUid, Arc<PodStatus>)>,
    /// Services whose endpoints have changed.
    pub endpoints: Vec<EndpointsChange>,
}

/// New endpoints of one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointsChange {
    /// The Service.
    pub service: ObjectKey,
    /// All of them.
    pub endpoints: Endpoints,
    /// The same pods as EndpointSlices, those that terminate among them.
    pub slices: Vec<EndpointSlice>,
    /// What goes into `endpoints.kubernetes.io/last-change-trigger-time`.
    pub trigger_time: Option<Wall>,
}

/// A Kubernetes event about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The pod.
    pub pod: PodUid,
    /// The container it is about; names the field path, `spec.containers{name}` or
    /// `spec.initContainers{name}`.
    pub container: Option<ContainerName>,
    /// `Normal` or `Warning`.
    pub kind: EventKind,
    /// In a word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// The attempt of a probe that it tells of, if it was counted.
    pub attempt: Option<Counted>,
}

/// What an attempt counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Which probe.
    pub probe: ProbeKind,
    /// The how-manieth of its sort in a row.
    pub run: u32,
    /// How many in a row make a verdict.
    pub threshold: u32,
    /// How long it took.
    pub duration: Duration,
    /// Whether it changed the verdict.
    pub changed: bool,
}

/// How bad an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// To be expected.
    Normal,
    /// Somebody should look.
    Warning,
}

impl EventKind {
    /// As on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}
