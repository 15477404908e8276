//! A Pod as the engine and the runtime see it: validated, defaulted, nothing left to check.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{ContainerName, PodUid};
use crate::probe::{Handler, PortRef, Probe, ProbeKind};
use crate::resources::Resources;
use crate::security::{Namespaces, PodSecurity, Security};
use crate::status::ForeignCondition;
use crate::time::Wall;
use crate::volume::{DownwardSource, FileSource};

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
    /// Init containers and sidecars, in the order of the spec. No name is there twice, here or among the
    /// regular ones.
    pub init_containers: Vec<Container>,
    /// Regular containers, in the order of the spec; never empty, names unique.
    pub containers: Vec<Container>,
    /// Volumes, names unique.
    pub volumes: Vec<Volume>,
    /// `spec.restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// `spec.terminationGracePeriodSeconds`.
    pub termination_grace_period: Duration,
    /// `spec.activeDeadlineSeconds`: how long the pod may live from its start time on.
    pub active_deadline: Option<Duration>,
    /// `spec.readinessGates`: conditions of others that must be True before the pod is Ready.
    pub readiness_gates: Vec<String>,
    /// The conditions in `status` that are not this node's, as the object has them.
    pub foreign_conditions: Vec<ForeignCondition>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.hostname`, else the pod's name, cut to 63 bytes.
    pub hostname: String,
    /// `spec.subdomain`.
    pub subdomain: Option<String>,
    /// `spec.serviceAccountName`, else `default`.
    pub service_account: String,
    /// `spec.enableServiceLinks`: the addresses of the namespace's Services are in every environment.
    pub enable_service_links: bool,
    /// `spec.runtimeClassName: host`: its containers see the host's own files, else those of their images.
    pub on_host: bool,
    /// What is shared among its containers, and with the host.
    pub namespaces: Namespaces,
    /// `spec.securityContext`, as far as it is about all containers.
    pub security: PodSecurity,
    /// `spec.dnsPolicy` and `spec.dnsConfig`.
    pub dns: Dns,
    /// `spec.hostAliases`, in order.
    pub host_aliases: Vec<HostAlias>,
    /// `spec.imagePullSecrets`: Secrets of its namespace.
    pub image_pull_secrets: Vec<String>,
    /// Set once deletion has been asked for.
    pub deletion: Option<Deletion>,
}

/// How names are looked up in a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// `dnsPolicy`.
    pub policy: DnsPolicy,
    /// `dnsConfig.nameservers`.
    pub nameservers: Vec<IpAddr>,
    /// `dnsConfig.searches`.
    pub searches: Vec<String>,
    /// `dnsConfig.options`: name and value.
    pub options: Vec<(String, Option<String>)>,
}

/// `dnsPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsPolicy {
    /// Names of the cluster, and others as the host; with `hostNetwork`, as [`Self::Default`].
    #[default]
    ClusterFirst,
    /// The same, also with `hostNetwork`.
    ClusterFirstWithHostNet,
    /// As the host.
    Default,
    /// As `dnsConfig` says and no other way.
    None,
}

/// One of `hostAliases`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAlias {
    /// `ip`.
    pub ip: IpAddr,
    /// `hostnames`.
    pub hostnames: Vec<String>,
}

/// `imagePullPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// If it is not there.
    #[default]
    IfNotPresent,
    /// Never.
    Never,
}

impl Pod {
    /// `<name>_<namespace>`, as upstream's texts name a pod.
    ///
    /// Upstream: kubelet pkg/kubelet/util/format/pod.go, PodDesc (the part before the uid).
    /// Shown by: a_pod_is_called_by_its_name_and_its_namespace, d1_exits_at_once_and_waits_double.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}_{}", self.meta.name, self.meta.namespace)
    }

    /// The container called `name`, of whatever sort.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.all_containers()
            .find(|container| container.name.as_str() == name)
    }

    /// Init containers and sidecars, then regular ones, each in the order of the spec.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
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

/// `restartPolicy` of a pod, or of one of its containers.
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

/// A container: a regular one, or one of `initContainers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// `name`.
    pub name: ContainerName,
    /// `image`; means nothing to the host class.
    pub image: String,
    /// `imagePullPolicy`.
    pub pull_policy: PullPolicy,
    /// `command`, `$(VAR)` not yet expanded; stands for the image's entrypoint, and without `args` for its
    /// arguments too.
    pub command: Vec<String>,
    /// `args`, in the same way; they stand for the image's arguments. In the host class not both are empty.
    pub args: Vec<String>,
    /// `workingDir`, absolute.
    pub working_dir: Option<String>,
    /// `envFrom`, in order; later entries win, and `env` before all of them.
    pub env_from: Vec<EnvFrom>,
    /// `env`, in order; later entries win. Values not yet expanded.
    pub env: Vec<EnvVar>,
    /// `ports`.
    pub ports: Vec<ContainerPort>,
    /// `volumeMounts`.
    pub volume_mounts: Vec<VolumeMount>,
    /// Whom it runs as.
    pub user: User,
    /// What it may do.
    pub security: Security,
    /// `startupProbe`; like the other two, `None` on an init container that is no sidecar.
    pub startup: Option<Probe>,
    /// `readinessProbe`.
    pub readiness: Option<Probe>,
    /// `livenessProbe`.
    pub liveness: Option<Probe>,
    /// `lifecycle.postStart`: begins once the container runs, which is not ready, and not probed, before it
    /// has ended; `None` on an init container that is no sidecar.
    pub post_start: Option<Hook>,
    /// `lifecycle.preStop`: runs inside the grace of a stop, before the container is told to; `None` on an
    /// init container that is no sidecar.
    pub pre_stop: Option<Hook>,
    /// `lifecycle.stopSignal`: what tells it to stop; the image's own, else TERM, if `None`.
    ///
    /// Differs: upstream 1.35 has it behind a gate that is off.
    pub stop_signal: Option<i32>,
    /// Its own `restartPolicy`, which stands before the pod's. On an init container, Always makes it a
    /// sidecar.
    pub restart_policy: Option<RestartPolicy>,
    /// `restartPolicyRules`, in order; only where `restart_policy` is set.
    pub restart_rules: Vec<RestartRule>,
    /// Where its last words are.
    pub termination_message: TerminationMessage,
    /// `stdin`: it stays open for whoever attaches.
    pub stdin: bool,
    /// `stdinOnce`: it ends when the first who attached goes.
    pub stdin_once: bool,
    /// `tty`: it runs on a terminal.
    pub tty: bool,
    /// `resources`.
    pub resources: Resources,
}

/// One of a container's `restartPolicyRules`; its action is `Restart`.
///
/// Upstream: pkg/api/v1/pod/util.go, findMatchingContainerRestartRule.
/// Shown by: restart_policies_and_rules_are_read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartRule {
    /// `exitCodes.operator`: whether the rule is about the codes that are listed (`In`) or about all
    /// others (`NotIn`).
    pub listed: bool,
    /// `exitCodes.values`; may be empty.
    pub codes: Vec<i32>,
}

impl RestartRule {
    /// Whether the rule is about an exit with this code.
    #[must_use]
    pub fn matches(&self, code: i32) -> bool {
        self.codes.contains(&code) == self.listed
    }
}

/// Where a container's last words are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminationMessage {
    /// `terminationMessagePath`, absolute: a file of the container.
    pub path: PathBuf,
    /// `terminationMessagePolicy: FallbackToLogsOnError`: if that file is empty and the container has
    /// failed, the end of its log.
    pub fall_back_to_logs: bool,
}

impl Default for TerminationMessage {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/dev/termination-log"),
            fall_back_to_logs: false,
        }
    }
}

/// What is done in a container after it was started, or before it is told to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `exec` or `httpGet`, as a probe's; never a `tcpSocket`.
    Handler(Handler),
    /// `sleep.seconds`: only waits.
    Sleep(Duration),
}

impl Container {
    /// Whether it is a sidecar, if it is one of the init containers.
    #[must_use]
    pub fn is_restartable_init(&self) -> bool {
        self.restart_policy == Some(RestartPolicy::Always)
    }

    /// Its probe of one kind.
    #[must_use]
    pub const fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
        }
    }

    /// Its probe of one kind, to be refined.
    pub(crate) const fn probe_mut(&mut self, kind: ProbeKind) -> Option<&mut Probe> {
        match kind {
            ProbeKind::Startup => self.startup.as_mut(),
            ProbeKind::Readiness => self.readiness.as_mut(),
            ProbeKind::Liveness => self.liveness.as_mut(),
        }
    }

    /// The number behind a probe's port: the first of this container's ports with that name.
    ///
    /// Upstream: pkg/probe/util.go, ResolveContainerPort.
    /// Shown by: a_port_is_found_by_its_name_whatever_its_protocol.
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

    /// The variables with literal values, `$(VAR)` expanded from those before them.
    fn literals(&self) -> BTreeMap<&str, String> {
        let mut known: BTreeMap<&str, String> = BTreeMap::new();
        for variable in &self.env {
            if let EnvValue::Literal(value) = &variable.value {
                let value = crate::expand::expand(value, |name| known.get(name).cloned());
                known.insert(&variable.name, value);
            }
        }
        known
    }

    /// `words` with `$(VAR)` expanded from the container's variables with literal values: for the command of
    /// its exec probes and hooks. Its own is expanded from all of its environment, when it starts.
    ///
    /// Upstream: kubelet pkg/kubelet/container/helpers.go, ExpandContainerCommandOnlyStatic.
    /// Shown by: references_are_expanded_from_the_variables_before_them.
    #[must_use]
    pub fn expand(&self, words: &[String]) -> Vec<String> {
        let env = self.literals();
        words
            .iter()
            .map(|word| crate::expand::expand(word, |name| env.get(name).cloned()))
            .collect()
    }
}

/// One `env` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar {
    /// `name`.
    pub name: String,
    /// What it is, or where that is found.
    pub value: EnvValue,
}

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvValue {
    /// `value`, not yet expanded.
    Literal(String),
    /// `valueFrom.configMapKeyRef`.
    ConfigMapKey(KeyRef),
    /// `valueFrom.secretKeyRef`.
    SecretKey(KeyRef),
    /// `valueFrom.fieldRef` and `valueFrom.resourceFieldRef`.
    Downward(DownwardSource),
}

/// A key of a ConfigMap or Secret in the pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRef {
    /// The object.
    pub name: String,
    /// The key.
    pub key: String,
    /// Whether the object or the key may be missing.
    pub optional: bool,
}

/// One `envFrom` entry: all keys of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFrom {
    /// What stands before each key.
    pub prefix: String,
    /// Whether it is a Secret, else a ConfigMap.
    pub is_secret: bool,
    /// The object, in the pod's namespace.
    pub name: String,
    /// Whether it may be missing.
    pub optional: bool,
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
    /// `hostPort`, of TCP; `None` with the host's network, where it is the port itself.
    pub host_port: Option<u16>,
    /// `hostIP`, where there is a `hostPort`; all of the host's if `None`.
    pub host_ip: Option<IpAddr>,
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
    /// `runAsUser`; if `None`, the image's user, else uid 0 of the pod (without root, that is the user who runs
    /// Probelet).
    pub uid: Option<u32>,
    /// `runAsGroup`; if `None`, the image's group, else the user's primary group as the `/etc/passwd` of its
    /// files has it, else 0.
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
    /// Files made of objects: `configMap`, `secret`, `downwardAPI`, `projected`.
    Files {
        /// Where they come from; of two at one path the later wins.
        sources: Vec<FileSource>,
        /// `defaultMode`.
        mode: u32,
    },
    /// A directory that lives as long as the pod.
    EmptyDir {
        /// `medium: Memory`.
        in_memory: bool,
        /// `sizeLimit` in bytes: in memory the kernel keeps to it; a pod that holds more on disk is evicted.
        size_limit: Option<u64>,
    },
}

/// What must be at a hostPath, its `type`.
///
/// Upstream: pkg/volume/hostpath/host_path.go, checkTypeInternal and makeDir, makeFile (directories are
/// made 0755, files 0644).
/// Shown by: every_type_is_checked_with_upstreams_words, what_may_be_made_is_made.
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
    /// `subPath`: what of the volume is mounted, relative, without `..`; all of it if `None`.
    #[serde(default)]
    pub sub_path: Option<String>,
    /// `subPathExpr`, with its `$(VAR)`; becomes the `subPath` when the container starts.
    #[serde(default)]
    pub sub_path_expr: Option<String>,
}
