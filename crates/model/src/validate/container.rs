//! A container, regular or init; its ports, mounts, hooks and probes are next door.

use std::collections::BTreeSet;
use std::path::PathBuf;

use k8s_openapi::api::core::v1 as api;

use super::{
    Errors, environment, filled, lifecycle, mount, name, name_once, port, probe, resources,
    restart, security,
};
use crate::field::FieldPath;
use crate::id::ContainerName;
use crate::pod::{Container, PullPolicy, TerminationMessage, Volume};
use crate::probe::ProbeKind;

/// What a container has to know of its pod.
pub(super) struct Scope<'a> {
    /// The pod's volumes.
    pub(super) volumes: &'a [Volume],
    /// `spec.hostNetwork`.
    pub(super) host_network: bool,
    /// The pod runs on the host's files: there is no image to take a command from.
    pub(super) on_host: bool,
    /// `spec.terminationGracePeriodSeconds`; `None` if that is wrong itself.
    pub(super) grace: Option<u64>,
    /// `spec.os.name: linux`.
    pub(super) linux: bool,
    /// From the pod's security context.
    pub(super) security: &'a security::Defaults,
}

/// One of `spec.containers`; `taken` are the names of those before it.
///
/// Upstream: validateContainers.
/// Shown by: containers_are_validated, the_spec_is_validated.
pub(super) fn regular(
    wire: &api::Container,
    scope: &Scope<'_>,
    taken: &mut BTreeSet<String>,
    path: &FieldPath,
    errors: &mut Errors,
) -> Container {
    let mut container = common(wire, scope, path, errors);
    name_once(&wire.name, taken, path.field("name"), errors);
    hooks_and_probes(&mut container, wire, scope, path, errors);
    (container.restart_policy, container.restart_rules) = restart::of_container(wire, path, errors);
    container
}

/// One of `spec.initContainers`: a sidecar if its restart policy is Always, else one that runs to its end.
///
/// Init containers run one after the other, so that only its own host ports can meet.
/// Upstream: validateInitContainers.
/// Differs: of two host ports that meet, upstream names the first init container, whichever has them.
/// Shown by: an_init_container_has_neither_hooks_nor_probes, a_sidecar_has_both_validated,
/// a_name_is_there_once_and_the_init_container_is_to_blame.
pub(super) fn init(
    wire: &api::Container,
    scope: &Scope<'_>,
    taken: &mut BTreeSet<String>,
    path: &FieldPath,
    errors: &mut Errors,
) -> Container {
    let mut container = common(wire, scope, path, errors);
    (container.restart_policy, container.restart_rules) = restart::of_container(wire, path, errors);
    name_once(&wire.name, taken, path.field("name"), errors);
    port::meet(std::iter::once((wire, path.clone())), errors);
    if container.is_restartable_init() {
        hooks_and_probes(&mut container, wire, scope, path, errors);
        restart::no_rules_for_sidecar(wire, path, errors);
    } else {
        for (field, is_set) in [
            ("lifecycle", wire.lifecycle.is_some()),
            ("livenessProbe", wire.liveness_probe.is_some()),
            ("readinessProbe", wire.readiness_probe.is_some()),
            ("startupProbe", wire.startup_probe.is_some()),
        ] {
            if is_set {
                let detail = "may not be set for init containers without restartPolicy=Always";
                errors.forbidden(path.field(field), detail);
            }
        }
    }
    container
}

/// What every sort of container has; neither hooks nor probes nor a restart policy.
///
/// Upstream: validateContainerCommon.
/// Shown by: containers_are_validated, the_rules_of_containers_are_those_of_init_containers.
fn common(
    wire: &api::Container,
    scope: &Scope<'_>,
    path: &FieldPath,
    errors: &mut Errors,
) -> Container {
    name(&wire.name, path.field("name"), errors);
    let image = image(wire, scope, path.field("image"), errors);
    let (command, args) = words(wire, scope, path.field("command"), errors);
    let termination_message = termination_message(wire, path, errors);
    let ports = port::ports(wire, scope.host_network, &path.field("ports"), errors);
    let env = environment::env(wire, &path.field("env"), errors);
    let env_from = environment::env_from(wire, &path.field("envFrom"), errors);
    let mounts = wire.volume_mounts.as_deref().unwrap_or_default();
    let mounts_path = path.field("volumeMounts");
    let volume_mounts = mount::volume_mounts(mounts, scope.volumes, &mounts_path, errors);
    let pull_policy = pull_policy(wire, path.field("imagePullPolicy"), errors);
    let resources = resources::resources(wire.resources.as_ref(), &path.field("resources"), errors);
    let (user, security) = security::of_container(
        wire.security_context.as_ref(),
        scope.security,
        scope.on_host,
        &path.field("securityContext"),
        errors,
    );
    let working_dir = working_dir(wire, path.field("workingDir"), errors);
    Container {
        name: ContainerName::from(wire.name.as_str()),
        image,
        pull_policy,
        command,
        args,
        working_dir,
        env_from,
        env,
        ports,
        volume_mounts,
        user,
        security,
        startup: None,
        readiness: None,
        liveness: None,
        post_start: None,
        pre_stop: None,
        stop_signal: None,
        restart_policy: None,
        restart_rules: Vec::new(),
        termination_message,
        stdin: wire.stdin.unwrap_or_default(),
        stdin_once: wire.stdin_once.unwrap_or_default(),
        tty: wire.tty.unwrap_or_default(),
        resources,
    }
}

fn hooks_and_probes(
    container: &mut Container,
    wire: &api::Container,
    scope: &Scope<'_>,
    path: &FieldPath,
    errors: &mut Errors,
) {
    let lifecycle_path = path.field("lifecycle");
    let lifecycle = wire.lifecycle.as_ref();
    let hooks = lifecycle
        .map(|wire| lifecycle::hooks(wire, scope.grace, &lifecycle_path, errors))
        .unwrap_or_default();
    container.post_start = hooks.post_start;
    container.pre_stop = hooks.pre_stop;
    container.stop_signal = lifecycle
        .and_then(|wire| lifecycle::stop_signal(wire, scope.linux, &lifecycle_path, errors));
    let mut probe = |kind: ProbeKind, wire: Option<&api::Probe>| {
        probe::probe(kind, wire?, &path.field(kind.field()), errors)
    };
    container.liveness = probe(ProbeKind::Liveness, wire.liveness_probe.as_ref());
    container.readiness = probe(ProbeKind::Readiness, wire.readiness_probe.as_ref());
    container.startup = probe(ProbeKind::Startup, wire.startup_probe.as_ref());
}

/// A container's image. Whether it is the name of one is seen when it is pulled.
///
/// Upstream: validateContainerCommon, validateContainerOnlyForPod.
/// Differs: the class `host` needs none. Space around a name is an error in a template too, where upstream
/// finds it only in the pods.
/// Shown by: images_are_validated.
fn image(wire: &api::Container, scope: &Scope<'_>, path: FieldPath, errors: &mut Errors) -> String {
    let image = wire.image.as_deref().unwrap_or_default();
    if image.is_empty() {
        if !scope.on_host {
            errors.required(path, "");
        }
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.invalid(path, image, detail);
    }
    image.to_owned()
}

/// `command` and `args`; an image has both of its own.
fn words(
    wire: &api::Container,
    scope: &Scope<'_>,
    path: FieldPath,
    errors: &mut Errors,
) -> (Vec<String>, Vec<String>) {
    let command = wire.command.clone().unwrap_or_default();
    let args = wire.args.clone().unwrap_or_default();
    if command.is_empty() && args.is_empty() && scope.on_host {
        let detail = "runtimeClassName \"host\" has no image to take a command from";
        errors.required(path, detail);
    }
    (command, args)
}

/// Where a container writes its last words to, and whether its log may stand in for them.
///
/// Upstream: validateContainerCommon, for the policy.
/// Differs: upstream lets any path through. A relative one, or one with `..`, is a place that only the
/// runtime knows, and the container fails to start or its message is never found; it is refused.
/// Shown by: termination_messages_are_read, a_termination_message_has_its_place_below_the_root.
fn termination_message(
    wire: &api::Container,
    path: &FieldPath,
    errors: &mut Errors,
) -> TerminationMessage {
    const POLICIES: &[&str] = &["File", "FallbackToLogsOnError"];
    let policy_path = path.field("terminationMessagePolicy");
    let policy = filled(wire.termination_message_policy.as_ref());
    match policy {
        Some(policy) if POLICIES.contains(&policy) => {}
        Some(other) => errors.unsupported(policy_path, other, POLICIES),
        None => errors.required(policy_path, ""),
    }
    let file = filled(wire.termination_message_path.as_ref()).unwrap_or_default();
    let path = path.field("terminationMessagePath");
    if !file.starts_with('/') {
        errors.invalid(path, file, "must be an absolute path");
    } else if !mount::below_root(file) {
        errors.invalid(path, file, mount::NOT_BELOW_ROOT);
    }
    TerminationMessage {
        path: PathBuf::from(file),
        fall_back_to_logs: policy == Some("FallbackToLogsOnError"),
    }
}

/// A container's `imagePullPolicy`; the defaults have set one wherever there is an image.
///
/// Upstream: validatePullPolicy.
/// Shown by: containers_are_validated, pull_policies_follow_the_tag.
fn pull_policy(wire: &api::Container, path: FieldPath, errors: &mut Errors) -> PullPolicy {
    match filled(wire.image_pull_policy.as_ref()) {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        Some("IfNotPresent") | None => PullPolicy::IfNotPresent,
        Some(other) => {
            errors.unsupported(path, other, &["Always", "IfNotPresent", "Never"]);
            PullPolicy::IfNotPresent
        }
    }
}

/// Differs: upstream lets a relative directory through, and the container fails to start.
fn working_dir(wire: &api::Container, path: FieldPath, errors: &mut Errors) -> Option<String> {
    let dir = filled(wire.working_dir.as_ref())?;
    if !dir.starts_with('/') {
        errors.invalid(path, dir, "must be an absolute path");
    }
    Some(dir.to_owned())
}
