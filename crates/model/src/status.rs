//! The status of a Pod, in the shape it has on the wire.

mod wire;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub(crate) use self::wire::foreign_conditions;
use crate::time::Wall;

/// `status` of a Pod.
///
/// On the wire both lists of conditions are one; see `wire.rs`, which wraps the shape that is derived here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct PodStatus {
    /// The `metadata.generation` this status was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the pod is in its life.
    pub phase: Phase,
    /// In upstream's order: PodReadyToStartContainers, Initialized, Ready, ContainersReady, PodScheduled.
    #[serde(skip)]
    pub conditions: Vec<Condition>,
    /// The conditions of others, which stand before this node's own on the wire.
    #[serde(skip)]
    pub foreign_conditions: Vec<ForeignCondition>,
    /// Why the pod as a whole is as it is, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The node's address.
    #[serde(default, rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
    /// The pod's address, once its sandbox stands.
    #[serde(default, rename = "podIP", skip_serializing_if = "Option::is_none")]
    pub pod_ip: Option<IpAddr>,
    /// All of them.
    #[serde(default, rename = "podIPs", skip_serializing_if = "Vec::is_empty")]
    pub pod_ips: Vec<PodIp>,
    /// When the node first saw the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Wall>,
    /// Init containers and sidecars, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub init_container_statuses: Vec<ContainerStatus>,
    /// In the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub container_statuses: Vec<ContainerStatus>,
    /// How much the pod may count on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos_class: Option<String>,
}

impl PodStatus {
    /// The condition of one type.
    #[must_use]
    pub fn condition(&self, kind: ConditionKind) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.kind == kind)
    }

    /// Whether the Ready condition is True.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.condition(ConditionKind::Ready)
            .is_some_and(|condition| condition.status)
    }

    /// The status of the container called `name`, of whatever sort.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&ContainerStatus> {
        self.init_container_statuses
            .iter()
            .chain(&self.container_statuses)
            .find(|status| status.name == name)
    }
}

/// One of `status.podIPs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodIp {
    /// The address.
    pub ip: IpAddr,
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Some container has never started.
    #[default]
    Pending,
    /// All have started, and some run or will again.
    Running,
    /// All have ended well and none will start again.
    Succeeded,
    /// All have ended, some of them badly, and none will start again.
    Failed,
}

impl Phase {
    /// Succeeded or Failed: a phase that is never left.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }

    /// As on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// The conditions this node keeps, in the order they are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionKind {
    /// The sandbox stands.
    PodReadyToStartContainers,
    /// All init containers have done their work.
    Initialized,
    /// The pod takes traffic.
    Ready,
    /// All containers are ready.
    ContainersReady,
    /// The pod has its node.
    PodScheduled,
}

impl ConditionKind {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [
        Self::PodReadyToStartContainers,
        Self::Initialized,
        Self::Ready,
        Self::ContainersReady,
        Self::PodScheduled,
    ];

    /// As on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PodReadyToStartContainers => "PodReadyToStartContainers",
            Self::Initialized => "Initialized",
            Self::Ready => "Ready",
            Self::ContainersReady => "ContainersReady",
            Self::PodScheduled => "PodScheduled",
        }
    }
}

/// One of `status.conditions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which.
    #[serde(rename = "type")]
    pub kind: ConditionKind,
    /// `True` or `False` on the wire.
    #[serde(with = "true_false")]
    pub status: bool,
    /// Why, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When `status` last changed; whole seconds.
    pub last_transition_time: Wall,
    /// The generation it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// One of `status.conditions` that is not this node's; a readiness gate may name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForeignCondition {
    /// Which.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// All the rest of it, as it was written.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, serde_json::Value>,
}

mod true_false {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if *value { "True" } else { "False" })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<bool, D::Error> {
        Ok(String::deserialize(deserializer)? == "True")
    }
}

/// One of `status.containerStatuses`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatus {
    /// The container's name.
    pub name: String,
    /// What it does now.
    pub state: ContainerState,
    /// How its run before this one ended; `{}` on the wire if there was none.
    #[serde(default, with = "last_state")]
    pub last_state: Option<Terminated>,
    /// Whether it counts as ready.
    pub ready: bool,
    /// How often it was started again.
    pub restart_count: u32,
    /// `image` of the spec.
    pub image: String,
    /// Empty in the host class.
    #[serde(rename = "imageID")]
    pub image_id: String,
    /// `probelet://<id>` of the newest run.
    #[serde(
        default,
        rename = "containerID",
        skip_serializing_if = "Option::is_none"
    )]
    pub container_id: Option<String>,
    /// Whether it runs and its startup probe, if any, has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<bool>,
}

mod last_state {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Terminated;

    #[derive(Default, Serialize, Deserialize)]
    struct Wire<T> {
        #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
        terminated: Option<T>,
    }

    pub(super) fn serialize<S: Serializer>(
        last: &Option<Terminated>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Wire {
            terminated: last.as_ref(),
        }
        .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Terminated>, D::Error> {
        Ok(Wire::deserialize(deserializer)?.terminated)
    }
}

/// What a container does now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ContainerState {
    /// Not yet, or not yet again.
    Waiting(Waiting),
    /// It runs.
    Running(Running),
    /// It has ended.
    Terminated(Terminated),
}

impl Default for ContainerState {
    fn default() -> Self {
        Self::Waiting(Waiting::default())
    }
}

/// Why a container waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// In a word: `ContainerCreating`, `CrashLoopBackOff`, `RunContainerError`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Since when a container runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// As the runtime tells it, whole seconds.
    pub started_at: Wall,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terminated {
    /// 128 plus the signal if a signal ended it.
    pub exit_code: i32,
    /// The signal that ended it.
    ///
    /// Upstream: kubelet pkg/kubelet/kubelet_pods.go, convertToAPIContainerStatuses, which leaves it 0.
    /// Differs: it is told, as it is known here.
    /// Shown by: exit_codes_and_signals_are_exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `StartError`, `ContainerStatusUnknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When this run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Wall>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Wall>,
    /// `probelet://<id>` of this run.
    #[serde(
        default,
        rename = "containerID",
        skip_serializing_if = "Option::is_none"
    )]
    pub container_id: Option<String>,
}
