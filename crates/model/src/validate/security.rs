//! What a pod and its containers may do: their security contexts.

use std::collections::BTreeSet;
use std::path::PathBuf;

use k8s_openapi::api::core::v1 as api;

use super::{Errors, capability, mount, numbered};
use crate::field::{FieldError, FieldPath};
use crate::pod::User;
use crate::security::{FsGroup, PodSecurity, Seccomp, Security};

/// Highest uid and gid.
///
/// Upstream: apimachinery pkg/util/validation/validation.go, maxUserID.
/// Shown by: containers_are_validated, security_contexts_of_pods_are_validated.
const MAX_ID: u32 = i32::MAX.unsigned_abs();

/// Longest name of a sysctl.
const LONGEST_SYSCTL: usize = 253;

/// The sysctls that a pod may set: each belongs to a namespace of its own, and no other pod feels it.
///
/// Upstream: pkg/kubelet/sysctl/safe_sysctls.go, safeSysctls.
/// Shown by: sysctls_are_validated.
const SAFE_SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// What a pod's security context says of containers that do not say otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    user: User,
    non_root: Option<bool>,
    seccomp: Option<Seccomp>,
}

/// A pod's security context: what is about all of its containers at once, and about each of them.
///
/// Upstream: validatePodSpecSecurityContext.
/// Shown by: security_contexts_of_pods_are_validated, security_contexts_are_read.
pub(super) fn of_pod(
    spec: &api::PodSpec,
    path: &FieldPath,
    errors: &mut Errors,
) -> (PodSecurity, Defaults) {
    let shares_with_itself = spec.share_process_namespace == Some(true);
    let nothing = api::PodSecurityContext::default();
    let wire = spec.security_context.as_ref().unwrap_or(&nothing);
    let context = path.field("securityContext");
    let gid = wire
        .fs_group
        .and_then(|gid| id(gid, context.field("fsGroup"), errors));
    let user = user(wire.run_as_user, wire.run_as_group, &context, errors);
    let groups = wire.supplemental_groups.as_deref().unwrap_or_default();
    let supplemental_groups = numbered(groups, &context.field("supplementalGroups"))
        .filter_map(|(gid, path)| id(*gid, path, errors))
        .collect();
    if shares_with_itself && spec.host_pid == Some(true) {
        let path = path.field("shareProcessNamespace");
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(path, true, detail);
    }
    let sysctls = sysctls(spec, wire, &context.field("sysctls"), errors);
    let change = one_of(
        wire.fs_group_change_policy.as_deref(),
        &["Always", "OnRootMismatch"],
        context.field("fsGroupChangePolicy"),
        errors,
    );
    let profile = wire.seccomp_profile.as_ref();
    let seccomp = profile.map(|wire| seccomp(wire, &context.field("seccompProfile"), errors));
    if let Some(wire) = &wire.app_armor_profile {
        app_armor(wire, &context.field("appArmorProfile"), errors);
    }
    let groups = one_of(
        wire.supplemental_groups_policy.as_deref(),
        &["Merge", "Strict"],
        context.field("supplementalGroupsPolicy"),
        errors,
    );
    let security = PodSecurity {
        supplemental_groups,
        strict_groups: groups == Some("Strict"),
        fs_group: gid.map(|gid| FsGroup {
            gid,
            on_root_mismatch: change == Some("OnRootMismatch"),
        }),
        sysctls,
    };
    let defaults = Defaults {
        user,
        non_root: wire.run_as_non_root,
        seccomp,
    };
    (security, defaults)
}

/// A container's security context over its pod's: whom it runs as, and what it may do.
///
/// Upstream: ValidateSecurityContext; kubelet pkg/kubelet/kuberuntime/security_context.go,
/// determineEffectiveSecurityContext and verifyRunAsNonRoot.
/// Differs: that a container of the class `host` runs as root against `runAsNonRoot` is seen here, and not
/// at its start: it has no image that could name another user.
/// Shown by: containers_are_validated, security_contexts_of_containers_are_validated,
/// security_contexts_are_read.
pub(super) fn of_container(
    wire: Option<&api::SecurityContext>,
    pod: &Defaults,
    on_host: bool,
    path: &FieldPath,
    errors: &mut Errors,
) -> (User, Security) {
    let nothing = api::SecurityContext::default();
    let wire = wire.unwrap_or(&nothing);
    let own = user(wire.run_as_user, wire.run_as_group, path, errors);
    let user = User {
        uid: own.uid.or(pod.user.uid),
        gid: own.gid.or(pod.user.gid),
    };
    let unmasked_proc = unmasked_proc(wire, path.field("procMount"), errors);
    let profile = wire.seccomp_profile.as_ref();
    let seccomp = profile.map(|wire| seccomp(wire, &path.field("seccompProfile"), errors));
    stays_unprivileged(wire, path, errors);
    if let Some(wire) = &wire.app_armor_profile {
        app_armor(wire, &path.field("appArmorProfile"), errors);
    }
    let capabilities = wire.capabilities.clone().unwrap_or_default();
    let list = path.field("capabilities");
    let names = |wire: Option<Vec<String>>| wire.unwrap_or_default();
    let add = capability::names(&names(capabilities.add), &list.field("add"), errors);
    let drop = capability::names(&names(capabilities.drop), &list.field("drop"), errors);
    let non_root = wire.run_as_non_root.or(pod.non_root).unwrap_or_default();
    if non_root && on_host {
        runs_not_as_root(user, path.field("runAsUser"), errors);
    }
    let security = Security {
        privileged: wire.privileged.unwrap_or_default(),
        may_escalate: wire.allow_privilege_escalation.unwrap_or(true),
        add,
        drop,
        read_only_root: wire.read_only_root_filesystem.unwrap_or_default(),
        non_root,
        seccomp: seccomp.or_else(|| pod.seccomp.clone()).unwrap_or_default(),
        unmasked_proc,
    };
    (user, security)
}

/// `runAsUser` and `runAsGroup` of a security context.
fn user(uid: Option<i64>, gid: Option<i64>, path: &FieldPath, errors: &mut Errors) -> User {
    User {
        uid: uid.and_then(|uid| id(uid, path.field("runAsUser"), errors)),
        gid: gid.and_then(|gid| id(gid, path.field("runAsGroup"), errors)),
    }
}

/// The number of a user or a group.
fn id(value: i64, path: FieldPath, errors: &mut Errors) -> Option<u32> {
    let id = u32::try_from(value).ok().filter(|id| *id <= MAX_ID);
    if id.is_none() {
        let detail = format!("must be between 0 and {MAX_ID}, inclusive");
        errors.invalid(path, value, &detail);
    }
    id
}

/// A text that is one of a few, if it is set.
fn one_of<'a>(
    value: Option<&'a str>,
    supported: &[&str],
    path: FieldPath,
    errors: &mut Errors,
) -> Option<&'a str> {
    let value = value?;
    if !supported.contains(&value) {
        errors.unsupported(path, value, supported);
    }
    Some(value)
}

/// A pod's sysctls, their names with dots.
///
/// Upstream: validateSysctls, ValidateHostSysctl; pkg/kubelet/sysctl/allowlist.go, validateSysctl.
/// Differs: one that is not safe is refused when the pod is admitted; upstream admits the pod, and the
/// kubelet ends it with reason `SysctlForbidden`.
/// Shown by: sysctls_are_validated.
fn sysctls(
    spec: &api::PodSpec,
    wire: &api::PodSecurityContext,
    path: &FieldPath,
    errors: &mut Errors,
) -> Vec<(String, String)> {
    let mut seen = BTreeSet::new();
    let mut sysctls = Vec::new();
    for (wire, path) in numbered(wire.sysctls.as_deref().unwrap_or_default(), path) {
        let (path, written) = (path.field("name"), wire.name.as_str());
        let name = with_dots(written);
        if written.is_empty() {
            errors.required(path, "");
        } else if !is_sysctl(written) {
            let detail = format!(
                "must have at most {LONGEST_SYSCTL} characters and match regex \
                 ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            );
            errors.invalid(path, written, &detail);
        } else if !seen.insert(written) {
            errors.add(FieldError::duplicate(path, written));
        } else if spec.host_network == Some(true) && name.starts_with("net.") {
            let detail = "may not be specified when 'hostNetwork' is true";
            errors.invalid(path, written, detail);
        } else if spec.host_ipc == Some(true) && is_of_ipc(&name) {
            errors.invalid(path, written, "may not be specified when 'hostIPC' is true");
        } else if !SAFE_SYSCTLS.contains(&name.as_str()) {
            let why = format!("{written:?} is not carried out yet: only safe sysctls are");
            errors.add(FieldError::new(path, why));
        }
        sysctls.push((name, wire.value.clone()));
    }
    sysctls
}

/// Whether a text can be the name of a sysctl, with dots or slashes between its parts.
///
/// Upstream: IsValidSysctlName.
/// Shown by: sysctls_are_validated.
fn is_sysctl(name: &str) -> bool {
    let is_inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let is_outer = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    name.len() <= LONGEST_SYSCTL
        && name.split(['.', '/']).all(|part| {
            let mut bytes = part.bytes();
            part.bytes().all(is_inner)
                && is_outer(part.bytes().next_back())
                && is_outer(bytes.next())
        })
}

/// The name of a sysctl with dots between its parts. Where slashes are written, dots and slashes change
/// places.
///
/// Upstream: k8s.io/component-helpers/node/util/sysctl/namespace.go, NormalizeName.
/// Shown by: sysctls_are_validated.
fn with_dots(name: &str) -> String {
    let first = name.find(['.', '/']);
    if first.is_none_or(|at| name.as_bytes()[at] == b'.') {
        return name.to_owned();
    }
    let swapped = name.chars().map(|letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    });
    swapped.collect()
}

/// Whether a sysctl belongs to an IPC namespace.
///
/// Upstream: k8s.io/component-helpers/node/util/sysctl/namespace.go, GetNamespace.
/// Shown by: sysctls_are_validated.
fn is_of_ipc(name: &str) -> bool {
    let prefixes = ["kernel.shm", "kernel.msg", "fs.mqueue."];
    name == "kernel.sem" || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// A seccomp profile of a pod or of a container.
///
/// Upstream: validateSeccompProfileField.
/// Shown by: seccomp_profiles_are_validated.
fn seccomp(wire: &api::SeccompProfile, path: &FieldPath, errors: &mut Errors) -> Seccomp {
    const TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
    let kind = path.field("type");
    let file = path.field("localhostProfile");
    if wire.type_.is_empty() {
        errors.required(kind, "type is required when seccompProfile is set");
    } else if !TYPES.contains(&wire.type_.as_str()) {
        errors.unsupported(kind, &wire.type_, TYPES);
    }
    match (wire.type_.as_str(), wire.localhost_profile.as_deref()) {
        ("Localhost", None) => {
            errors.required(file, "must be set when seccomp type is Localhost");
        }
        ("Localhost", Some(profile)) => {
            mount::descends(profile, &file, errors);
            return Seccomp::Localhost(PathBuf::from(profile));
        }
        (_, Some(_)) => {
            let value = serde_json::to_value(wire).unwrap_or_default();
            let detail = "can only be set when seccomp type is Localhost";
            errors.invalid(file, value, detail);
        }
        ("Unconfined", None) => return Seccomp::Unconfined,
        (_, None) => {}
    }
    Seccomp::RuntimeDefault
}

/// An AppArmor profile. That none but `Unconfined` can be had is for the table of fields to say.
///
/// Upstream: ValidateAppArmorProfileField.
/// Differs: a profile other than `Unconfined` is refused when the pod is admitted; the kubelet of a node
/// without AppArmor ends such a pod with reason `AppArmor`. Containers that ask for none have none, also where
/// upstream's have that of the runtime.
/// Shown by: app_armor_is_not_there.
fn app_armor(wire: &api::AppArmorProfile, path: &FieldPath, errors: &mut Errors) {
    const TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
    let file = path.field("localhostProfile");
    match (wire.type_.as_str(), wire.localhost_profile.as_deref()) {
        ("Localhost", None | Some("")) => {
            errors.required(file, "must be set when AppArmor type is Localhost");
        }
        ("Localhost", Some(profile)) => {
            if profile.trim() != profile {
                errors.invalid(file, profile, "must not be padded with whitespace");
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(profile)) => {
            let detail = "can only be set when AppArmor type is Localhost";
            errors.invalid(file, profile, detail);
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => {
            let detail = "type is required when appArmorProfile is set";
            errors.required(path.field("type"), detail);
        }
        (other, _) => errors.unsupported(path.field("type"), other, TYPES),
    }
}

/// `procMount`; that all pods have the users of the host is for the table of fields to say.
///
/// Upstream: ValidateProcMountType, ValidateSecurityContext.
/// Shown by: security_contexts_of_containers_are_validated.
fn unmasked_proc(wire: &api::SecurityContext, path: FieldPath, errors: &mut Errors) -> bool {
    match wire.proc_mount.as_deref() {
        None | Some("Default") => false,
        Some(text @ "Unmasked") => {
            errors.invalid(path, text, "`hostUsers` must be false to use `Unmasked`");
            true
        }
        Some(other) => {
            errors.unsupported(path, other, &["Default", "Unmasked"]);
            false
        }
    }
}

/// What is privileged already cannot be kept from becoming so.
///
/// Upstream: ValidateSecurityContext.
/// Shown by: security_contexts_of_containers_are_validated.
fn stays_unprivileged(wire: &api::SecurityContext, path: &FieldPath, errors: &mut Errors) {
    if wire.allow_privilege_escalation != Some(false) {
        return;
    }
    let value = || serde_json::to_value(wire).unwrap_or_default();
    if wire.privileged == Some(true) {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.invalid(path.clone(), value(), detail);
    }
    let added = wire
        .capabilities
        .iter()
        .flat_map(|wire| &wire.add)
        .flatten();
    for _ in added.filter(|name| *name == "CAP_SYS_ADMIN") {
        let detail =
            "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        errors.invalid(path.clone(), value(), detail);
    }
}

fn runs_not_as_root(user: User, path: FieldPath, errors: &mut Errors) {
    match user.uid {
        Some(0) => {
            let detail = "container's runAsUser breaks non-root policy";
            errors.invalid(path, 0, detail);
        }
        None => {
            let detail = "runAsNonRoot is set and runtimeClassName \"host\" runs as root";
            errors.required(path, detail);
        }
        Some(_) => {}
    }
}
