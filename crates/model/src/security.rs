//! What a pod and its containers may do, and what of the node they share.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What of a pod's `securityContext` is about all of its containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodSecurity {
    /// `supplementalGroups`.
    pub supplemental_groups: Vec<u32>,
    /// `supplementalGroupsPolicy: Strict`: the groups that the image's `/etc/group` lists are left out.
    pub strict_groups: bool,
    /// `fsGroup` and `fsGroupChangePolicy`.
    pub fs_group: Option<FsGroup>,
    /// `sysctls`, names with dots.
    pub sysctls: Vec<(String, String)>,
}

/// The group that a pod's volumes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsGroup {
    /// `fsGroup`.
    pub gid: u32,
    /// `fsGroupChangePolicy: OnRootMismatch`: a volume whose root is right is left as it is.
    pub on_root_mismatch: bool,
}

/// Which namespaces a pod's containers share, beside those that all pods' do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    /// `hostPID`: they see the processes of the host.
    pub host_pid: bool,
    /// `hostIPC`: they use the System V IPC and the message queues of the host.
    pub host_ipc: bool,
    /// `shareProcessNamespace`: they see each other's processes.
    pub one_pid: bool,
}

/// A container's `securityContext`, what it does not say taken from the pod's; whom it runs as is
/// [`crate::pod::User`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// `privileged`.
    pub privileged: bool,
    /// `allowPrivilegeEscalation`; if not, no_new_privs is set.
    pub may_escalate: bool,
    /// `capabilities.add`: upper case, without `CAP_`; `ALL` is all.
    pub add: Vec<String>,
    /// `capabilities.drop`, in the same way.
    pub drop: Vec<String>,
    /// `readOnlyRootFilesystem`.
    pub read_only_root: bool,
    /// `runAsNonRoot`.
    pub non_root: bool,
    /// `seccompProfile`.
    pub seccomp: Seccomp,
    /// `procMount: Unmasked`.
    pub unmasked_proc: bool,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            privileged: false,
            may_escalate: true,
            add: Vec::new(),
            drop: Vec::new(),
            read_only_root: false,
            non_root: false,
            seccomp: Seccomp::RuntimeDefault,
            unmasked_proc: false,
        }
    }
}

/// Every capability, without `CAP_`, each at the place of its number: include/uapi/linux/capability.h.
pub const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Which system calls a container may make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// Those of the runtime's own profile.
    ///
    /// Differs: what upstream does for one that says nothing only where the node has `seccompDefault`.
    #[default]
    RuntimeDefault,
    /// All.
    Unconfined,
    /// Those of a profile of the node: a path below its directory of profiles.
    Localhost(PathBuf),
}
