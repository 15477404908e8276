//! A Pod as a whole.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1 as api;

use super::{Errors, container, filled, meta, names, non_negative, volume};
use crate::field::{FieldError, FieldPath};
use crate::id::PodUid;
use crate::pod::{Container, Deletion, Pod, RestartPolicy, User, Volume};

/// Highest uid and gid.
///
/// Upstream: apimachinery pkg/util/validation/validation.go, maxUserID.
const MAX_ID: u32 = i32::MAX.unsigned_abs();

/// Bytes of a host name in Linux.
const HOSTNAME_LIMIT: usize = 63;

/// Upstream: ValidatePodCreate, ValidatePodSpec.
pub(crate) fn pod(wire: &api::Pod, errors: &mut Errors) -> Pod {
    let meta = meta::meta(&wire.metadata, names::dns_subdomain, errors);
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
    let grace = spec.termination_grace_period_seconds.unwrap_or(30);
    let grace = non_negative(grace, path.field("terminationGracePeriodSeconds"), errors);
    let grace = Duration::from_secs(grace);
    let scope = container::Scope {
        volumes: &volumes,
        host_network,
        on_host,
        grace,
        user: user_defaults(spec, &path.field("securityContext"), errors),
    };
    let containers = containers(&spec.containers, &scope, &path.field("containers"), errors);
    let restart_policy = restart_policy(spec, path.field("restartPolicy"), errors);
    let hostname = filled(spec.hostname.as_ref());
    let subdomain = filled(spec.subdomain.as_ref());
    for (name, value) in [("hostname", hostname), ("subdomain", subdomain)] {
        if let Some(value) = value {
            errors.invalid_each(&path.field(name), value, names::dns_label(value));
        }
    }

    Pod {
        uid: PodUid::from(wire.metadata.uid.as_deref().unwrap_or_default()),
        containers,
        volumes,
        restart_policy,
        termination_grace_period: grace,
        host_network,
        hostname: hostname.map_or_else(|| truncated(&meta.name), str::to_owned),
        subdomain: subdomain.map(str::to_owned),
        deletion: deletion(wire, grace),
        meta,
    }
}

fn containers(
    wire: &[api::Container],
    scope: &container::Scope<'_>,
    path: &FieldPath,
    errors: &mut Errors,
) -> Vec<Container> {
    if wire.is_empty() {
        errors.required(path.clone(), "");
    }
    let mut seen = BTreeSet::new();
    let numbered = wire.iter().enumerate();
    numbered
        .map(|(index, wire)| {
            container::container(wire, scope, &mut seen, &path.index(index), errors)
        })
        .collect()
}

/// Upstream: ValidateVolumes.
fn volumes(wire: &[api::Volume], path: &FieldPath, errors: &mut Errors) -> Vec<Volume> {
    let mut seen = BTreeSet::new();
    let numbered = wire.iter().enumerate();
    numbered
        .map(|(index, wire)| volume::volume(wire, &mut seen, &path.index(index), errors))
        .collect()
}

/// Whether the pod runs on the host's own files.
fn runtime_class(spec: &api::PodSpec, path: &FieldPath, errors: &mut Errors) -> bool {
    let path = path.field("runtimeClassName");
    match filled(spec.runtime_class_name.as_ref()) {
        Some("host") => return true,
        Some(other) => errors.add(FieldError::not_found(path, other)),
        None => errors.required(
            path,
            "images are not carried out yet; set runtimeClassName: host or use --default-runtime-class host",
        ),
    }
    false
}

/// Upstream: validateRestartPolicy.
fn restart_policy(spec: &api::PodSpec, path: FieldPath, errors: &mut Errors) -> RestartPolicy {
    match filled(spec.restart_policy.as_ref()) {
        Some("Always") => RestartPolicy::Always,
        Some("OnFailure") => RestartPolicy::OnFailure,
        Some("Never") => RestartPolicy::Never,
        Some(other) => {
            errors.add(FieldError::unsupported(
                path,
                other,
                &["Always", "OnFailure", "Never"],
            ));
            RestartPolicy::Always
        }
        None => {
            errors.required(path, "");
            RestartPolicy::Always
        }
    }
}

/// What the pod's security context says for all its containers.
fn user_defaults(
    spec: &api::PodSpec,
    path: &FieldPath,
    errors: &mut Errors,
) -> container::UserDefaults {
    let Some(context) = &spec.security_context else {
        return container::UserDefaults::default();
    };
    container::UserDefaults {
        user: user(context.run_as_user, context.run_as_group, path, errors),
        non_root: context.run_as_non_root,
    }
}

/// `runAsUser` and `runAsGroup` of a security context.
///
/// Upstream: ValidatePodSecurityContext, ValidateSecurityContext.
pub(super) fn user(
    uid: Option<i64>,
    gid: Option<i64>,
    path: &FieldPath,
    errors: &mut Errors,
) -> User {
    let mut id = |value: Option<i64>, name: &'static str| {
        let value = value?;
        let id = u32::try_from(value).ok().filter(|id| *id <= MAX_ID);
        if id.is_none() {
            errors.invalid(
                path.field(name),
                value,
                &format!("must be between 0 and {MAX_ID}, inclusive"),
            );
        }
        id
    };
    User {
        uid: id(uid, "runAsUser"),
        gid: id(gid, "runAsGroup"),
    }
}

fn deletion(wire: &api::Pod, grace: Duration) -> Option<Deletion> {
    let at = meta::wall(wire.metadata.deletion_timestamp.as_ref()?);
    let seconds = wire.metadata.deletion_grace_period_seconds;
    let grace = seconds.map_or(grace, |seconds| {
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    });
    Some(Deletion { at, grace })
}

/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, truncatePodHostnameIfNeeded.
fn truncated(name: &str) -> String {
    match name.get(..HOSTNAME_LIMIT) {
        Some(start) => start.trim_end_matches(['-', '.']).to_owned(),
        None => name.to_owned(),
    }
}
