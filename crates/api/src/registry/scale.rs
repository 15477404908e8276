//! `scale`: of what has replicas, how many there are to be.

use std::sync::Arc;

use probelet_model::field::{FieldError, FieldPath};
use probelet_store::Object;
use serde_json::{Value, json};

use super::incoming::{self, Incoming};
use super::update::{Owners, Writing};
use super::write::{key_of, meta};
use super::{Registry, Written, admit};
use crate::failure::Failure;
use crate::request::{Target, WriteOptions};
use crate::selector::LabelSelector;

/// The scale of an object.
///
/// Upstream: pkg/registry/apps/deployment/storage/storage.go, scaleFromDeployment.
/// Shown by: replicas_are_read_and_set_by_scale.
pub(super) fn of(object: &Object) -> Object {
    let value = &object.value;
    let mut metadata = json!({"name": object.key.name, "namespace": object.key.namespace});
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        metadata[field] = value["metadata"][field].clone();
    }
    let replicas = value["spec"]["replicas"].as_i64().unwrap_or(0);
    let selector = LabelSelector::of(&value["spec"]["selector"]);
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": replicas},
        "status": {
            "replicas": value["status"]["replicas"].as_i64().unwrap_or(0),
            "selector": selector.to_string(),
        },
    });
    // Zero is not written, as Go leaves it out.
    if replicas == 0 {
        scale["spec"] = json!({});
    }
    Object {
        value: Arc::new(scale),
        ..object.clone()
    }
}

pub(super) async fn update(
    registry: &Registry,
    target: &Target,
    body: Value,
    options: &WriteOptions,
) -> Result<Written, Failure> {
    let scale = incoming::read(target, body, options)?;
    admit::check_name(target, &scale.value)?;
    set(registry, target, options, |_| Ok(scale)).await
}

/// Sets the replicas to what `scale` makes of the scale that there is.
///
/// Upstream: pkg/registry/apps/deployment/storage/storage.go, ScaleREST.Update.
/// Shown by: replicas_are_read_and_set_by_scale.
pub(super) async fn set(
    registry: &Registry,
    target: &Target,
    options: &WriteOptions,
    scale: impl FnOnce(&Value) -> Result<Incoming, Failure>,
) -> Result<Written, Failure> {
    let key = key_of(target)?;
    let resource = target.resource;
    let (written, kept) = registry
        .transact(options.dry_run, |transaction| {
            let live = transaction
                .get(&key)
                .cloned()
                .ok_or_else(|| Failure::not_found(resource, &key.name))?;
            let scale = scale(&of(&live).value)?;
            let replicas = replicas(&key.name, &scale.value)?;
            let mut after = Value::clone(&live.value);
            after["spec"]["replicas"] = replicas.into();
            // A scale without a version is meant for whichever there is.
            after["metadata"]["resourceVersion"] = meta(&scale.value, "resourceVersion").into();
            let uid = meta(&scale.value, "uid");
            let own = meta(&live.value, "uid");
            if !uid.is_empty() && uid != own {
                let why = format!(
                    "Precondition failed: UID in precondition: {uid}, UID in object meta: {own}"
                );
                return Err(Failure::conflict(resource, &key.name, why));
            }
            let writing = Writing {
                registry,
                target,
                options,
                owners: Owners::Writer,
            };
            let after = Incoming {
                value: after,
                warnings: scale.warnings,
            };
            let written = writing.replace(transaction, &live, after)?;
            Ok((written, live))
        })
        .await?;
    let version = meta(&written.value, "resourceVersion").parse();
    let scaled = Object {
        value: Arc::clone(&written.value),
        version: version.unwrap_or(kept.version),
        key: kept.key,
    };
    Ok(Written {
        value: of(&scaled).value,
        ..written
    })
}

/// How many there are to be.
///
/// Upstream: pkg/apis/autoscaling/validation/validation.go, ValidateScale.
/// Shown by: replicas_are_read_and_set_by_scale.
fn replicas(name: &str, scale: &Value) -> Result<i64, Failure> {
    let wanted = &scale["spec"]["replicas"];
    let error = |message: String| {
        let path = FieldPath::root().field("spec").field("replicas");
        let error = FieldError { path, message };
        Failure::invalid_kind("autoscaling", "Scale", name, &[error])
    };
    match wanted.as_i64() {
        None if wanted.is_null() => Ok(0),
        Some(number @ 0..=2_147_483_647) => Ok(number),
        Some(negative) if negative < 0 => Err(error(format!(
            "Invalid value: {negative}: must be greater than or equal to 0"
        ))),
        _ => Err(error(format!("Invalid value: {wanted}: must be an int32"))),
    }
}
