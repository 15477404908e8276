//! Where a container's environment comes from.

use k8s_openapi::api::core::v1 as api;

use super::{Errors, filled, names};
use crate::downward::subscript;
use crate::field::FieldPath;
use crate::pod::{EnvFrom, EnvValue, EnvVar, KeyRef};
use crate::quantity;
use crate::volume::DownwardSource;

/// What an environment variable may tell of its pod.
///
/// Upstream: pkg/apis/core/validation/validation.go, validEnvDownwardAPIFieldPathExpressions.
/// Shown by: environments_are_validated.
const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What an environment variable may tell of a container.
///
/// Upstream: validContainerResourceFieldPathExpressions.
/// Shown by: environments_are_validated.
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// What the downward API knows and does not tell everywhere.
///
/// Upstream: pkg/apis/core/pods/helpers.go, ConvertDownwardAPIFieldLabel.
/// Shown by: environments_are_validated.
const ELSEWHERE: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];
const NO_FIELD: &str = "error converting fieldPath: field label";

/// A container's `env`.
///
/// Upstream: ValidateEnv, validateEnvVarValueFrom.
/// Shown by: containers_are_validated, environments_are_validated.
pub(super) fn env(wire: &api::Container, path: &FieldPath, errors: &mut Errors) -> Vec<EnvVar> {
    let numbered = wire.env.iter().flatten().enumerate();
    numbered
        .map(|(index, wire)| {
            let path = path.index(index);
            if wire.name.is_empty() {
                errors.required(path.field("name"), "");
            } else {
                let details = names::env_name(&wire.name);
                errors.invalid_each(&path.field("name"), wire.name.as_str(), details);
            }
            EnvVar {
                name: wire.name.clone(),
                value: value(wire, &path.field("valueFrom"), errors),
            }
        })
        .collect()
}

fn value(wire: &api::EnvVar, path: &FieldPath, errors: &mut Errors) -> EnvValue {
    let literal = wire.value.clone().unwrap_or_default();
    let Some(from) = &wire.value_from else {
        return EnvValue::Literal(literal);
    };
    let mut found = Vec::new();
    if let Some(wire) = &from.field_ref {
        let field = field_ref(wire, FIELDS, &path.field("fieldRef"), errors);
        found.push(EnvValue::Downward(field));
    }
    if let Some(wire) = &from.resource_field_ref {
        let resource = resource_ref(wire, false, &path.field("resourceFieldRef"), errors);
        found.push(EnvValue::Downward(resource));
    }
    if let Some(wire) = &from.config_map_key_ref {
        let path = path.field("configMapKeyRef");
        let key = key_ref(&wire.name, &wire.key, wire.optional, &path, errors);
        found.push(EnvValue::ConfigMapKey(key));
    }
    if let Some(wire) = &from.secret_key_ref {
        let path = path.field("secretKeyRef");
        let key = key_ref(&wire.name, &wire.key, wire.optional, &path, errors);
        found.push(EnvValue::SecretKey(key));
    }
    if found.len() > 1 {
        let detail = "may not have more than one field specified at a time";
        errors.invalid(path.clone(), "", detail);
    } else if !literal.is_empty() && !found.is_empty() {
        let detail = "may not be specified when `value` is not empty";
        errors.invalid(path.clone(), "", detail);
    } else if found.is_empty() && from.file_key_ref.is_none() {
        let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
        errors.invalid(path.clone(), "", detail);
    }
    found.pop().unwrap_or(EnvValue::Literal(literal))
}

fn key_ref(
    name: &str,
    key: &str,
    optional: Option<bool>,
    path: &FieldPath,
    errors: &mut Errors,
) -> KeyRef {
    object_name(name, &path.field("name"), errors);
    if key.is_empty() {
        errors.required(path.field("key"), "");
    } else {
        errors.invalid_each(&path.field("key"), key, names::config_key(key));
    }
    KeyRef {
        name: name.to_owned(),
        key: key.to_owned(),
        optional: optional.unwrap_or_default(),
    }
}

fn object_name(name: &str, path: &FieldPath, errors: &mut Errors) {
    if name.is_empty() {
        errors.required(path.clone(), "");
    } else {
        errors.invalid_each(path, name, names::dns_subdomain(name));
    }
}

/// A container's `envFrom`.
///
/// Upstream: ValidateEnvFrom.
/// Shown by: environments_are_validated.
pub(super) fn env_from(
    wire: &api::Container,
    path: &FieldPath,
    errors: &mut Errors,
) -> Vec<EnvFrom> {
    let mut all = Vec::new();
    for (index, wire) in wire.env_from.iter().flatten().enumerate() {
        let path = path.index(index);
        let prefix = wire.prefix.clone().unwrap_or_default();
        if !prefix.is_empty() {
            errors.invalid_each(
                &path.field("prefix"),
                prefix.as_str(),
                names::env_name(&prefix),
            );
        }
        let config_map = wire.config_map_ref.as_ref();
        let secret = wire.secret_ref.as_ref();
        if config_map.is_some() == secret.is_some() {
            let detail = if config_map.is_some() {
                "may not have more than one field specified at a time"
            } else {
                "must specify one of: `configMapRef` or `secretRef`"
            };
            errors.invalid(path.clone(), "", detail);
        }
        let sources = [
            config_map.map(|wire| (false, "configMapRef", &wire.name, wire.optional)),
            secret.map(|wire| (true, "secretRef", &wire.name, wire.optional)),
        ];
        for (is_secret, field, name, optional) in sources.into_iter().flatten() {
            object_name(name, &path.field(field).field("name"), errors);
            all.push(EnvFrom {
                prefix: prefix.clone(),
                is_secret,
                name: name.clone(),
                optional: optional.unwrap_or_default(),
            });
        }
    }
    all
}

/// A `fieldRef`: one of `fields`, or one label or annotation.
///
/// Upstream: validateObjectFieldSelector.
/// Shown by: environments_are_validated, volumes_of_files_are_validated.
pub(super) fn field_ref(
    wire: &api::ObjectFieldSelector,
    fields: &[&str],
    path: &FieldPath,
    errors: &mut Errors,
) -> DownwardSource {
    let field = wire.field_path.as_str();
    let field_path = path.field("fieldPath");
    match subscript(field) {
        _ if field.is_empty() => errors.required(field_path, ""),
        Some(("metadata.labels", key)) => {
            errors.invalid_each(path, key, names::label_key(key));
        }
        Some(("metadata.annotations", key)) => {
            // An annotation's key may have capitals before the slash.
            let key = key.to_lowercase();
            errors.invalid_each(path, key.as_str(), names::label_key(&key));
        }
        Some(_) => {
            let detail = format!("{NO_FIELD} does not support subscript: {field}");
            errors.invalid(field_path, field, &detail);
        }
        None if fields.contains(&field) => {}
        None if ELSEWHERE.contains(&field) => errors.unsupported(field_path, field, fields),
        None => {
            let detail = format!("{NO_FIELD} not supported: {field}");
            errors.invalid(field_path, field, &detail);
        }
    }
    DownwardSource::Field(field.to_owned())
}

/// A `resourceFieldRef`; one in a volume has to say of which container.
///
/// Upstream: validateContainerResourceFieldSelector.
/// Shown by: environments_are_validated, volumes_of_files_are_validated.
pub(super) fn resource_ref(
    wire: &api::ResourceFieldSelector,
    in_volume: bool,
    path: &FieldPath,
    errors: &mut Errors,
) -> DownwardSource {
    let container = filled(wire.container_name.as_ref());
    if in_volume && container.is_none() {
        errors.required(path.field("containerName"), "");
    } else if wire.resource.is_empty() {
        errors.required(path.field("resource"), "");
    } else if !RESOURCES.contains(&wire.resource.as_str()) {
        errors.unsupported(path.field("resource"), &wire.resource, RESOURCES);
    }
    let divisor = wire
        .divisor
        .as_ref()
        .map_or("", |divisor| divisor.0.as_str());
    // A divisor that is no quantity cannot be read at all upstream.
    if quantity::whole(divisor).is_none() && !divisor.is_empty() {
        errors.invalid(path.field("divisor"), divisor, quantity::FORMAT);
    } else if !matches!(divisor, "" | "0") {
        let (allowed, what) = divisors(&wire.resource);
        if !allowed.is_empty() && !allowed.contains(&divisor) {
            let allowed = allowed.join(if what == "cpu" { " and " } else { ", " });
            let detail =
                format!("only divisor's values {allowed} are supported with the {what} resource");
            errors.invalid(path.field("divisor"), wire.resource.as_str(), &detail);
        }
    }
    DownwardSource::Resource {
        container: container.map(str::to_owned),
        resource: wire.resource.clone(),
        divisor: if matches!(divisor, "" | "0") {
            "1"
        } else {
            divisor
        }
        .to_owned(),
    }
}

/// The divisors that a resource can have, and how the error calls it.
///
/// Upstream: validateContainerResourceDivisor.
/// Shown by: environments_are_validated.
fn divisors(resource: &str) -> (&'static [&'static str], &'static str) {
    const BYTES: &[&str] = &[
        "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
    ];
    match resource.split_once('.') {
        Some((_, "cpu")) => (&["1m", "1"], "cpu"),
        Some((_, "memory")) => (BYTES, "memory"),
        Some((_, "ephemeral-storage")) => (BYTES, "local ephemeral storage"),
        _ => (&[], ""),
    }
}
