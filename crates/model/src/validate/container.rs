//! A regular container, without its probes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1 as api;

use super::{Errors, filled, hook, names, port_number, probe, protocol};
use crate::field::{FieldError, FieldPath};
use crate::id::ContainerName;
use crate::pod::{Container, ContainerPort, EnvVar, User, Volume, VolumeMount};
use crate::probe::ProbeKind;

/// What a container has to know of its pod.
pub(super) struct Scope<'a> {
    /// The pod's volumes.
    pub(super) volumes: &'a [Volume],
    /// `spec.hostNetwork`.
    pub(super) host_network: bool,
    /// The pod runs on the host's files: there is no image to take a command from.
    pub(super) on_host: bool,
    /// `spec.terminationGracePeriodSeconds`.
    pub(super) grace: Duration,
    /// From the pod's security context.
    pub(super) user: UserDefaults,
}

/// What holds for containers that do not say otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UserDefaults {
    pub(super) user: User,
    pub(super) non_root: Option<bool>,
}

/// Upstream: validateContainerCommon, validateContainers.
pub(super) fn container(
    wire: &api::Container,
    scope: &Scope<'_>,
    seen: &mut BTreeSet<String>,
    path: &FieldPath,
    errors: &mut Errors,
) -> Container {
    name(&wire.name, seen, path.field("name"), errors);
    let argv = [
        wire.command.as_deref().unwrap_or_default(),
        wire.args.as_deref().unwrap_or_default(),
    ]
    .concat();
    if argv.is_empty() && scope.on_host {
        errors.required(
            path.field("command"),
            "runtimeClassName \"host\" has no image to take a command from",
        );
    }
    pull_policy(wire, path.field("imagePullPolicy"), errors);
    let ports = ports(wire, scope.host_network, &path.field("ports"), errors);
    let env = env(
        wire.env.as_deref().unwrap_or_default(),
        &path.field("env"),
        errors,
    );
    let mounts = wire.volume_mounts.as_deref().unwrap_or_default();
    let volume_mounts = volume_mounts(mounts, scope.volumes, &path.field("volumeMounts"), errors);
    let user = user(wire, scope, &path.field("securityContext"), errors);
    let working_dir = working_dir(wire, path.field("workingDir"), errors);
    let mut probe = |kind: ProbeKind, wire: Option<&api::Probe>| {
        wire.map(|wire| probe::probe(kind, wire, &path.field(kind.field()), errors))
    };
    let liveness = probe(ProbeKind::Liveness, wire.liveness_probe.as_ref());
    let readiness = probe(ProbeKind::Readiness, wire.readiness_probe.as_ref());
    let startup = probe(ProbeKind::Startup, wire.startup_probe.as_ref());
    let hook = wire
        .lifecycle
        .as_ref()
        .and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    let hook_path = path.field("lifecycle").field("preStop");
    let pre_stop = hook.and_then(|wire| hook::pre_stop(wire, scope.grace, &hook_path, errors));
    Container {
        name: ContainerName::from(wire.name.as_str()),
        image: wire.image.clone().unwrap_or_default(),
        argv,
        working_dir,
        env,
        ports,
        volume_mounts,
        user,
        startup,
        readiness,
        liveness,
        pre_stop,
    }
}

/// A name that is a DNS label, and nobody else's.
pub(super) fn name(name: &str, seen: &mut BTreeSet<String>, path: FieldPath, errors: &mut Errors) {
    if name.is_empty() {
        errors.required(path, "");
        return;
    }
    errors.invalid_each(&path, name, names::dns_label(name));
    if !seen.insert(name.to_owned()) {
        errors.add(FieldError::duplicate(path, name));
    }
}

/// Upstream: validatePullPolicy.
fn pull_policy(wire: &api::Container, path: FieldPath, errors: &mut Errors) {
    const POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
    if let Some(policy) = filled(wire.image_pull_policy.as_ref())
        && !POLICIES.contains(&policy)
    {
        errors.add(FieldError::unsupported(path, policy, POLICIES));
    }
}

/// Upstream: validateContainerPorts, checkHostPortConflicts, validateHostNetwork.
fn ports(
    wire: &api::Container,
    host_network: bool,
    path: &FieldPath,
    errors: &mut Errors,
) -> Vec<ContainerPort> {
    let mut seen = BTreeSet::new();
    let numbered = wire.ports.as_deref().unwrap_or_default().iter().enumerate();
    numbered
        .map(|(index, wire)| {
            let path = path.index(index);
            let name = filled(wire.name.as_ref());
            if let Some(name) = name {
                let wrong = names::port_name(name);
                if wrong.is_empty() && !seen.insert(name.to_owned()) {
                    errors.add(FieldError::duplicate(path.field("name"), name));
                }
                errors.invalid_each(&path.field("name"), name, wrong);
            }
            let number = match wire.container_port {
                0 => {
                    errors.required(path.field("containerPort"), "");
                    0
                }
                number => port_number(number, path.field("containerPort"), errors),
            };
            host_port(wire, host_network, &path, errors);
            let protocol = protocol(
                filled(wire.protocol.as_ref()),
                path.field("protocol"),
                errors,
            );
            ContainerPort {
                name: name.map(str::to_owned),
                number,
                protocol,
            }
        })
        .collect()
}

/// Without the host's network a host port is a port to open on the host; with it, it is the port itself.
fn host_port(wire: &api::ContainerPort, host_network: bool, path: &FieldPath, errors: &mut Errors) {
    let number = wire.host_port.unwrap_or(0);
    if number == 0 {
        return;
    }
    if !host_network {
        errors.add(FieldError::not_carried_out(path.field("hostPort")));
    } else if number != wire.container_port {
        port_number(number, path.field("hostPort"), errors);
        let detail = "must match `hostPort` when `hostNetwork` is true";
        errors.invalid(path.field("containerPort"), wire.container_port, detail);
    }
}

/// Upstream: ValidateEnv.
fn env(wire: &[api::EnvVar], path: &FieldPath, errors: &mut Errors) -> Vec<EnvVar> {
    let numbered = wire.iter().enumerate();
    numbered
        .map(|(index, wire)| {
            let path = path.index(index).field("name");
            if wire.name.is_empty() {
                errors.required(path, "");
            } else {
                errors.invalid_each(&path, wire.name.as_str(), names::env_name(&wire.name));
            }
            EnvVar {
                name: wire.name.clone(),
                value: wire.value.clone().unwrap_or_default(),
            }
        })
        .collect()
}

/// Upstream: ValidateVolumeMounts; kubelet pkg/kubelet/kubelet_pods.go, makeMounts (a relative path is
/// taken from the root).
/// Differs: `:` is refused, as the field's documentation says and no code of the API server checks.
fn volume_mounts(
    wire: &[api::VolumeMount],
    volumes: &[Volume],
    path: &FieldPath,
    errors: &mut Errors,
) -> Vec<VolumeMount> {
    let mut seen = BTreeSet::new();
    let numbered = wire.iter().enumerate();
    numbered
        .map(|(index, wire)| {
            let path = path.index(index);
            if wire.name.is_empty() {
                errors.required(path.field("name"), "");
            } else if volumes.iter().all(|volume| volume.name != wire.name) {
                errors.add(FieldError::not_found(path.field("name"), &wire.name));
            }
            let (path, text) = (path.field("mountPath"), wire.mount_path.as_str());
            if text.is_empty() {
                errors.required(path, "");
            } else if text.contains(':') {
                errors.invalid(path, text, "must not contain ':'");
            } else if !below_root(text) {
                errors.invalid(
                    path,
                    text,
                    "must name a place below '/', without '..' and outside /proc",
                );
            } else if !seen.insert(text) {
                errors.invalid(path, text, "must be unique");
            }
            VolumeMount {
                volume: wire.name.clone(),
                path: PathBuf::from("/").join(text),
                read_only: wire.read_only.unwrap_or_default(),
            }
        })
        .collect()
}

/// The container's security context over the pod's.
///
/// Differs: that a container runs as root against `runAsNonRoot` is seen here, and not at its start: no
/// image of the host class can name another user.
/// Upstream: kubelet pkg/kubelet/kuberuntime, verifyRunAsNonRoot.
fn user(wire: &api::Container, scope: &Scope<'_>, path: &FieldPath, errors: &mut Errors) -> User {
    let nothing = api::SecurityContext::default();
    let context = wire.security_context.as_ref().unwrap_or(&nothing);
    let own = super::pod::user(context.run_as_user, context.run_as_group, path, errors);
    let user = User {
        uid: own.uid.or(scope.user.user.uid),
        gid: own.gid.or(scope.user.user.gid),
    };
    if context.run_as_non_root.or(scope.user.non_root) == Some(true) && scope.on_host {
        match user.uid {
            Some(0) => {
                let detail = "container's runAsUser breaks non-root policy";
                errors.invalid(path.field("runAsUser"), 0, detail);
            }
            None => {
                errors.required(
                    path.field("runAsUser"),
                    "runAsNonRoot is set and runtimeClassName \"host\" runs as root",
                );
            }
            Some(_) => {}
        }
    }
    user
}

/// Differs: upstream lets a relative directory through, and the container fails to start.
fn working_dir(wire: &api::Container, path: FieldPath, errors: &mut Errors) -> Option<String> {
    let dir = filled(wire.working_dir.as_ref())?;
    if !dir.starts_with('/') {
        errors.invalid(path, dir, "must be an absolute path");
    }
    Some(dir.to_owned())
}

/// Whether a `mountPath` is one that a volume can be mounted at.
///
/// Differs: upstream leaves this to the runtime, and the container fails to start.
fn below_root(path: &str) -> bool {
    let mut parts = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .peekable();
    let root_or_proc = parts.peek().is_none_or(|first| *first == "proc");
    !root_or_proc && parts.all(|part| part != "..")
}
