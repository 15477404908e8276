//! A Pod as the engine and the runtime see it: validated, defaulted, nothing left to check.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{ContainerName, PodUid};
use crate::probe::{Handler, PortRef, Probe, ProbeKind};
use crate::time::Wall;

/// The parts of `metadata` that anything here acts on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.creationTimestamp`; when the object has not been stored yet, the epoch.
    pub created_at: Wall,
}

/// A Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.uid`. Empty in a Pod that has not been stored yet.
    pub uid: PodUid,
    /// Its metadata.
    pub meta: Meta,
    /// Regular containers, in the order of the spec; never empty, names unique.
    pub containers: Vec<Container>,
    /// Volumes, names unique.
    pub volumes: Vec<Volume>,
    /// `spec.restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// `spec.terminationGracePeriodSeconds`.
    pub termination_grace_period: Duration,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.hostname`, else the pod's name, cut to 63 bytes.
    pub hostname: String,
    /// `spec.subdomain`.
    pub subdomain: Option<String>,
    /// Set once deletion has been asked for.
    pub deletion: Option<Deletion>,
}

impl Pod {
    /// `<name>_<namespace>`, as upstream's texts name a pod.
    ///
    /// Upstream: kubelet pkg/kubelet/util/format/pod.go, PodDesc (the part before the uid).
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}_{}", self.meta.name, self.meta.namespace)
    }

    /// The container called `name`.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers
            .iter()
            .find(|container| container.name.as_str() == name)
    }
}

/// A deletion that has been asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    /// `metadata.deletionTimestamp`.
    pub at: Wall,
    /// `metadata.deletionGracePeriodSeconds`.
    pub grace: Duration,
}

/// `spec.restartPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever the exit code.
    #[default]
    Always,
    /// When the exit code is not 0.
    OnFailure,
    /// Never.
    Never,
}

/// A regular container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// `name`.
    pub name: ContainerName,
    /// `image`; means nothing to the host class.
    pub image: String,
    /// `command` followed by `args`, `$(VAR)` not yet expanded; never empty in the host class.
    pub argv: Vec<String>,
    /// `workingDir`, absolute.
    pub working_dir: Option<String>,
    /// `env`, in order; later entries win. Values not yet expanded.
    pub env: Vec<EnvVar>,
    /// `ports`.
    pub ports: Vec<ContainerPort>,
    /// `volumeMounts`.
    pub volume_mounts: Vec<VolumeMount>,
    /// Whom it runs as.
    pub user: User,
    /// `startupProbe`.
    pub startup: Option<Probe>,
    /// `readinessProbe`.
    pub readiness: Option<Probe>,
    /// `livenessProbe`.
    pub liveness: Option<Probe>,
    /// `lifecycle.preStop`.
    pub pre_stop: Option<Hook>,
}

/// What is done in a container before it is told to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `exec` or `httpGet`, as a probe's; never a `tcpSocket`.
    Handler(Handler),
    /// `sleep.seconds`: only waits.
    Sleep(Duration),
}

impl Container {
    /// Its probe of one kind.
    #[must_use]
    pub const fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
        }
    }

    /// The number behind a probe's port: the first of this container's ports with that name.
    ///
    /// Upstream: pkg/probe/util.go, ResolveContainerPort.
    #[must_use]
    pub fn resolve_port(&self, port: &PortRef) -> Option<u16> {
        match port {
            PortRef::Number(number) => Some(*number),
            PortRef::Name(name) => self
                .ports
                .iter()
                .find(|port| port.name.as_deref() == Some(name))
                .map(|port| port.number),
        }
    }

    /// The container's environment with `$(VAR)` expanded, in order, and only literal values.
    ///
    /// Upstream: kubelet pkg/kubelet/kubelet_pods.go, makeEnvironmentVariables.
    #[must_use]
    pub fn expanded_env(&self) -> Vec<(String, String)> {
        let mut known: BTreeMap<&str, String> = BTreeMap::new();
        for variable in &self.env {
            let value = crate::expand::expand(&variable.value, |name| known.get(name).cloned());
            known.insert(&variable.name, value);
        }
        let mut seen = std::collections::BTreeSet::new();
        let in_order = self
            .env
            .iter()
            .filter(|variable| seen.insert(variable.name.as_str()));
        in_order
            .map(|variable| (variable.name.clone(), known[variable.name.as_str()].clone()))
            .collect()
    }

    /// `words` with `$(VAR)` expanded from the container's environment: for its own argv, and for the
    /// command of its exec probes.
    ///
    /// Upstream: kubelet pkg/kubelet/container/helpers.go, ExpandContainerCommandAndArgs and
    /// ExpandContainerCommandOnlyStatic.
    #[must_use]
    pub fn expand(&self, words: &[String]) -> Vec<String> {
        let env: BTreeMap<String, String> = self.expanded_env().into_iter().collect();
        words
            .iter()
            .map(|word| crate::expand::expand(word, |name| env.get(name).cloned()))
            .collect()
    }
}

/// One `env` entry with a literal value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar {
    /// `name`.
    pub name: String,
    /// `value`, not yet expanded.
    pub value: String,
}

/// One of a container's `ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPort {
    /// `name`.
    pub name: Option<String>,
    /// `containerPort`.
    pub number: u16,
    /// `protocol`.
    pub protocol: Protocol,
}

/// Transport of a port.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP, the default.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Whom a container's processes run as, from the container's and the pod's securityContext.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// `runAsUser`; `None` runs as uid 0 of the pod (without root, that is the user who runs Probelet).
    pub uid: Option<u32>,
    /// `runAsGroup`; `None` is the user's primary group as `/etc/passwd` has it, else 0.
    pub gid: Option<u32>,
}

/// One entry of `volumes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// `name`.
    pub name: String,
    /// What it is.
    pub source: VolumeSource,
}

/// What a volume is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// A file or directory of the host.
    HostPath {
        /// `path`, absolute.
        path: PathBuf,
        /// `type`: what is checked, or made, before the pod starts.
        kind: HostPathType,
    },
    /// A directory that lives as long as the pod.
    EmptyDir {
        /// `medium: Memory`.
        in_memory: bool,
        /// `sizeLimit` in bytes; honoured in memory only, where the kernel does it.
        size_limit: Option<u64>,
    },
}

/// `hostPath.type`.
///
/// Upstream: pkg/volume/hostpath/host_path.go, checkTypeInternal and makeDir, makeFile (directories are
/// made 0755, files 0644).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostPathType {
    /// `""`: no check at all.
    #[default]
    Unset,
    /// Made if nothing is there.
    DirectoryOrCreate,
    /// Must be a directory.
    Directory,
    /// Made if nothing is there; its directory is not.
    FileOrCreate,
    /// Must be a file.
    File,
    /// Must be a Unix socket.
    Socket,
    /// Must be a character device.
    CharDevice,
    /// Must be a block device.
    BlockDevice,
}

/// One of a container's `volumeMounts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// Which of the pod's volumes; it exists.
    pub volume: String,
    /// `mountPath`, absolute, no `:`.
    pub path: PathBuf,
    /// `readOnly`.
    pub read_only: bool,
}
