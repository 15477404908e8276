//! A Pod as a whole.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1 as api;

use super::{
    Errors, NEGATIVE, annotation, container, dns, filled, meta, names, numbered, port, restart,
    security, volume,
};
use crate::field::{FieldError, FieldPath};
use crate::id::{Kind, PodUid};
use crate::pod::{Container, Deletion, Pod, Volume};
use crate::security::Namespaces;

/// Bytes of a host name in Linux.
const HOSTNAME_LIMIT: usize = 63;

/// A Pod as the API server admits it, and the domain type that comes out of it.
///
/// Upstream: ValidatePodCreate, ValidatePodSpec.
/// Shown by: the_spec_is_validated, a_pod_is_read.
pub(crate) fn pod(wire: &api::Pod, errors: &mut Errors) -> Pod {
    let meta = meta::meta(&wire.metadata, Kind::Pod, errors);
    let path = FieldPath::root().field("spec");
    let nothing = api::PodSpec::default();
    let spec = wire.spec.as_ref().unwrap_or(&nothing);

    let volumes = volumes(
        spec.volumes.as_deref().unwrap_or_default(),
        &path.field("volumes"),
        errors,
    );
    let on_host = runtime_class(spec, &path, errors);
    let host_network = spec.host_network.unwrap_or_default();
    let mut about_security = Errors::default();
    let (security, defaults) = security::of_pod(spec, &path, &mut about_security);
    let grace = grace(spec, path.field("terminationGracePeriodSeconds"), errors);
    let scope = container::Scope {
        volumes: &volumes,
        host_network,
        on_host,
        grace,
        linux: is_linux(spec),
        security: &defaults,
    };
    let (mut init_containers, mut containers) = containers(spec, &scope, &path, errors);
    let restart_policy = restart::of_pod(spec, path.field("restartPolicy"), errors);
    let dns_policy = dns::policy(spec, path.field("dnsPolicy"), errors);
    errors.append(about_security);
    let dns_config = spec.dns_config.as_ref();
    let dns = dns::config(dns_config, dns_policy, &path.field("dnsConfig"), errors);
    let readiness_gates = readiness_gates(spec, &path.field("readinessGates"), errors);
    let active_deadline = active_deadline(spec, path.field("activeDeadlineSeconds"), errors);
    let hostname = filled(spec.hostname.as_ref());
    let subdomain = filled(spec.subdomain.as_ref());
    for (name, value) in [("hostname", hostname), ("subdomain", subdomain)] {
        if let Some(value) = value {
            errors.invalid_each(&path.field(name), value, names::dns_label(value));
        }
    }
    let aliases = spec.host_aliases.as_deref().unwrap_or_default();
    let host_aliases = dns::host_aliases(aliases, &path.field("hostAliases"), errors);

    annotation::refine(
        &meta.annotations,
        &mut init_containers,
        &mut containers,
        errors,
    );
    let termination_grace_period = Duration::from_secs(grace.unwrap_or_default());

    Pod {
        uid: PodUid::from(wire.metadata.uid.as_deref().unwrap_or_default()),
        init_containers,
        containers,
        volumes,
        restart_policy,
        termination_grace_period,
        active_deadline,
        readiness_gates,
        foreign_conditions: Vec::new(),
        host_network,
        hostname: hostname.map_or_else(|| truncated(&meta.name), str::to_owned),
        subdomain: subdomain.map(str::to_owned),
        service_account: filled(spec.service_account_name.as_ref())
            .unwrap_or("default")
            .to_owned(),
        enable_service_links: spec.enable_service_links.unwrap_or(true),
        on_host,
        namespaces: Namespaces {
            host_pid: spec.host_pid.unwrap_or_default(),
            host_ipc: spec.host_ipc.unwrap_or_default(),
            one_pid: spec.share_process_namespace.unwrap_or_default(),
        },
        security,
        dns,
        host_aliases,
        image_pull_secrets: pull_secrets(spec),
        deletion: deletion(wire, termination_grace_period),
        meta,
    }
}

/// Init containers and sidecars, and regular ones; of two with one name, the init container is to blame.
fn containers(
    spec: &api::PodSpec,
    scope: &container::Scope<'_>,
    path: &FieldPath,
    errors: &mut Errors,
) -> (Vec<Container>, Vec<Container>) {
    let mut taken = BTreeSet::new();
    let list = path.field("containers");
    if spec.containers.is_empty() {
        errors.required(list.clone(), "");
    }
    let regular = numbered(&spec.containers, &list)
        .map(|(wire, path)| container::regular(wire, scope, &mut taken, &path, errors))
        .collect();
    port::meet(numbered(&spec.containers, &list), errors);
    let wire = spec.init_containers.as_deref().unwrap_or_default();
    let init = numbered(wire, &path.field("initContainers"))
        .map(|(wire, path)| container::init(wire, scope, &mut taken, &path, errors))
        .collect();
    if scope.host_network {
        port::are_host_ports(numbered(&spec.containers, &list), errors);
    }
    (init, regular)
}

/// `terminationGracePeriodSeconds`, unless it is wrong.
fn grace(spec: &api::PodSpec, path: FieldPath, errors: &mut Errors) -> Option<u64> {
    let seconds = spec.termination_grace_period_seconds.unwrap_or(30);
    let grace = u64::try_from(seconds).ok();
    if grace.is_none() {
        errors.invalid(path, seconds, NEGATIVE);
    }
    grace
}

/// Each readiness gate names a condition.
///
/// Upstream: validateReadinessGates.
/// Shown by: readiness_gates_are_read_and_validated.
fn readiness_gates(spec: &api::PodSpec, path: &FieldPath, errors: &mut Errors) -> Vec<String> {
    let mut gates = Vec::new();
    for (gate, path) in numbered(spec.readiness_gates.as_deref().unwrap_or_default(), path) {
        let path = path.field("conditionType");
        let kind = gate.condition_type.as_str();
        errors.invalid_each(&path, kind, names::label_key(kind));
        gates.push(kind.to_owned());
    }
    gates
}

/// A pod's `activeDeadlineSeconds`: at least 1.
///
/// Upstream: ValidatePodSpec.
/// Shown by: a_deadline_is_read_and_validated.
fn active_deadline(spec: &api::PodSpec, path: FieldPath, errors: &mut Errors) -> Option<Duration> {
    let seconds = spec.active_deadline_seconds?;
    let deadline = i32::try_from(seconds).ok().filter(|seconds| *seconds >= 1);
    if deadline.is_none() {
        let detail = format!("must be between 1 and {}, inclusive", i32::MAX);
        errors.invalid(path, seconds, &detail);
    }
    deadline.map(|seconds| Duration::from_secs(seconds.unsigned_abs().into()))
}

/// A pod's volumes, each with a name that no other has.
///
/// Upstream: ValidateVolumes.
/// Shown by: volumes_are_validated.
fn volumes(wire: &[api::Volume], path: &FieldPath, errors: &mut Errors) -> Vec<Volume> {
    let mut seen = BTreeSet::new();
    numbered(wire, path)
        .map(|(wire, path)| volume::volume(wire, &mut seen, &path, errors))
        .collect()
}

/// The Secrets that images are pulled with; a name that is empty is none.
fn pull_secrets(spec: &api::PodSpec) -> Vec<String> {
    let wire = spec.image_pull_secrets.iter().flatten();
    wire.map(|secret| secret.name.clone())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Whether the pod says that it is for Linux; it can be for no other, but need not say so.
fn is_linux(spec: &api::PodSpec) -> bool {
    spec.os.as_ref().is_some_and(|os| os.name == "linux")
}

/// Whether the pod runs on the host's own files: the class `host`. Without a class it runs on the files of
/// its images.
///
/// Upstream: plugin/pkg/admission/runtimeclass/admission.go, prepareObjects (a class that is not there).
/// Shown by: a_class_is_the_host_or_none.
fn runtime_class(spec: &api::PodSpec, path: &FieldPath, errors: &mut Errors) -> bool {
    let path = path.field("runtimeClassName");
    match filled(spec.runtime_class_name.as_ref()) {
        Some("host") => return true,
        Some(other) => errors.add(FieldError::not_found(path, other)),
        None => {}
    }
    false
}

fn deletion(wire: &api::Pod, grace: Duration) -> Option<Deletion> {
    let at = meta::wall(wire.metadata.deletion_timestamp.as_ref()?);
    let seconds = wire.metadata.deletion_grace_period_seconds;
    let grace = seconds.map_or(grace, |seconds| {
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    });
    Some(Deletion { at, grace })
}

/// A pod's host name is its name, cut to 63 characters.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, truncatePodHostnameIfNeeded.
/// Shown by: a_long_name_is_cut_to_a_host_name.
fn truncated(name: &str) -> String {
    match name.get(..HOSTNAME_LIMIT) {
        Some(start) => start.trim_end_matches(['-', '.']).to_owned(),
        None => name.to_owned(),
    }
}
