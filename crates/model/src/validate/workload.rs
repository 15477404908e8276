//! A ReplicaSet and a Deployment, but for what the template says of its pods: that is a pod's matter.

use std::time::Duration;

use k8s_openapi::api::{apps::v1 as api, core::v1 as core};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta_api;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::{Errors, filled, meta, non_negative, selector};
use crate::field::{FieldError, FieldPath};
use crate::id::Kind;
use crate::selector::LabelSelector;
use crate::workload::{Deployment, ReplicaSet, Share, Strategy, Template};

/// A ReplicaSet as the API server admits it.
///
/// Upstream: pkg/apis/apps/validation/validation.go, ValidateReplicaSetSpec.
/// Shown by: a_replica_set_is_validated, workloads_are_read.
///
/// `has_selector` is whether the object has one, which its type does not tell from an empty one.
pub(crate) fn replica_set(
    wire: &api::ReplicaSet,
    has_selector: bool,
    errors: &mut Errors,
) -> ReplicaSet {
    let meta = meta::meta(&wire.metadata, Kind::ReplicaSet, errors);
    let path = FieldPath::root().field("spec");
    let nothing = api::ReplicaSetSpec::default();
    let spec = wire.spec.as_ref().unwrap_or(&nothing);
    let replicas = count(spec.replicas, path.field("replicas"), errors);
    let min_ready = count(
        spec.min_ready_seconds,
        path.field("minReadySeconds"),
        errors,
    );
    let (selector, template) = pods(
        has_selector.then_some(&spec.selector),
        spec.template.as_ref(),
        &path,
        errors,
    );
    ReplicaSet {
        uid: wire.metadata.uid.clone().unwrap_or_default(),
        meta,
        replicas,
        selector,
        template,
        min_ready: seconds(min_ready),
    }
}

/// A Deployment as the API server admits it.
///
/// Upstream: pkg/apis/apps/validation/validation.go, ValidateDeploymentSpec.
/// Shown by: a_deployment_is_validated, workloads_are_read.
///
/// `has_selector` is whether the object has one, which its type does not tell from an empty one.
pub(crate) fn deployment(
    wire: &api::Deployment,
    has_selector: bool,
    errors: &mut Errors,
) -> Deployment {
    let meta = meta::meta(&wire.metadata, Kind::Deployment, errors);
    let path = FieldPath::root().field("spec");
    let nothing = api::DeploymentSpec::default();
    let spec = wire.spec.as_ref().unwrap_or(&nothing);
    let replicas = count(spec.replicas, path.field("replicas"), errors);
    let (selector, template) = pods(
        has_selector.then_some(&spec.selector),
        Some(&spec.template),
        &path,
        errors,
    );
    let strategy = strategy(spec, &path.field("strategy"), errors);
    let min_ready = count(
        spec.min_ready_seconds,
        path.field("minReadySeconds"),
        errors,
    );
    let history = path.field("revisionHistoryLimit");
    let revision_history_limit = count(spec.revision_history_limit, history, errors);
    let progress_deadline = spec.progress_deadline_seconds.and_then(|deadline| {
        let path = path.field("progressDeadlineSeconds");
        let whole = non_negative(deadline, path.clone(), errors);
        if i64::from(deadline) <= i64::from(spec.min_ready_seconds.unwrap_or(0)) {
            errors.invalid(path, deadline, "must be greater than minReadySeconds");
        }
        (deadline != i32::MAX).then(|| seconds(whole))
    });
    Deployment {
        uid: wire.metadata.uid.clone().unwrap_or_default(),
        meta,
        replicas,
        selector,
        template,
        strategy,
        min_ready: seconds(min_ready),
        revision_history_limit,
        paused: spec.paused.unwrap_or_default(),
        progress_deadline,
    }
}

fn count(value: Option<i32>, path: FieldPath, errors: &mut Errors) -> u32 {
    non_negative(value.unwrap_or_default(), path, errors)
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

/// The selector, and the template whose pods it has to select.
///
/// Upstream: ValidatePodTemplateSpecForReplicaSet, and what stands before it in both callers.
/// Shown by: a_replica_set_is_validated, a_deployment_is_validated.
fn pods(
    wire: Option<&meta_api::LabelSelector>,
    template: Option<&core::PodTemplateSpec>,
    path: &FieldPath,
    errors: &mut Errors,
) -> (LabelSelector, Template) {
    let selector_path = path.field("selector");
    let nothing = core::PodTemplateSpec::default();
    let template = template.unwrap_or(&nothing);
    let metadata = template.metadata.clone().unwrap_or_default();
    let labels = metadata.labels.unwrap_or_default();
    let selector = match wire {
        None => {
            errors.required(selector_path, "");
            None
        }
        Some(wire) => {
            let read = selector::selector(wire, &selector_path, errors);
            if read.as_ref().is_some_and(LabelSelector::is_empty) {
                let detail = "empty selector is invalid for deployment";
                errors.invalid(selector_path.clone(), json!(wire), detail);
            }
            if read.is_none() {
                errors.invalid(selector_path, json!(wire), "invalid label selector");
            }
            read
        }
    };
    let path = path.field("template");
    if let Some(selector) = &selector
        && !selector.matches(|key| labels.get(key).map(String::as_str))
    {
        let detail = "`selector` does not match template `labels`";
        let path = path.field("metadata").field("labels");
        errors.invalid(path, json!(labels), detail);
    }
    endings(template, &path.field("spec"), errors);
    let template = Template {
        labels,
        annotations: metadata.annotations.unwrap_or_default(),
        value: Value::Null,
    };
    (selector.unwrap_or_default(), template)
}

/// A workload's pods restart for ever, and have no deadline.
fn endings(template: &core::PodTemplateSpec, path: &FieldPath, errors: &mut Errors) {
    let Some(spec) = &template.spec else { return };
    if let Some(policy @ ("OnFailure" | "Never")) = filled(spec.restart_policy.as_ref()) {
        errors.unsupported(path.field("restartPolicy"), policy, &["Always"]);
    }
    if spec.active_deadline_seconds.is_some() {
        let detail = "activeDeadlineSeconds in ReplicaSet is not Supported";
        errors.forbidden(path.field("activeDeadlineSeconds"), detail);
    }
}

/// How pods are replaced: of the two ways, one.
///
/// Upstream: ValidateDeploymentStrategy.
/// Shown by: a_deployment_is_validated.
fn strategy(spec: &api::DeploymentSpec, path: &FieldPath, errors: &mut Errors) -> Strategy {
    let nothing = api::DeploymentStrategy::default();
    let wire = spec.strategy.as_ref().unwrap_or(&nothing);
    match filled(wire.type_.as_ref()) {
        Some("Recreate") => {
            if wire.rolling_update.is_some() {
                let detail = "may not be specified when strategy `type` is 'Recreate'";
                errors.forbidden(path.field("rollingUpdate"), detail);
            }
        }
        Some("RollingUpdate") => {
            let nothing = api::RollingUpdateDeployment::default();
            let wire = wire.rolling_update.as_ref().unwrap_or(&nothing);
            return rolling_update(wire, &path.field("rollingUpdate"), errors);
        }
        other => errors.unsupported(
            path.field("type"),
            other.unwrap_or_default(),
            &["Recreate", "RollingUpdate"],
        ),
    }
    Strategy::Recreate
}

/// Both bounds of a rolling update: not both nothing, and not more than all unavailable.
///
/// Upstream: ValidateRollingUpdateDeployment.
/// Shown by: a_deployment_is_validated.
fn rolling_update(
    wire: &api::RollingUpdateDeployment,
    path: &FieldPath,
    errors: &mut Errors,
) -> Strategy {
    let before = errors.0.len();
    let unavailable_path = path.field("maxUnavailable");
    let default = IntOrString::String("25%".to_owned());
    let unavailable = wire.max_unavailable.as_ref().unwrap_or(&default);
    let max_unavailable = share(unavailable, &unavailable_path, errors);
    let surge = wire.max_surge.as_ref().unwrap_or(&default);
    let max_surge = share(surge, &path.field("maxSurge"), errors);
    let is_none = |share| matches!(share, Share::Count(0) | Share::Percent(0));
    if errors.0.len() == before && is_none(max_unavailable) && is_none(max_surge) {
        let detail = "may not be 0 when `maxSurge` is 0";
        errors.invalid(unavailable_path.clone(), json!(unavailable), detail);
    }
    if matches!(max_unavailable, Share::Percent(percent) if percent > 100) {
        let detail = "must not be greater than 100%";
        errors.invalid(unavailable_path, json!(unavailable), detail);
    }
    Strategy::RollingUpdate {
        max_surge,
        max_unavailable,
    }
}

/// A number, or a percentage.
///
/// Upstream: pkg/apis/apps/validation/validation.go, ValidatePositiveIntOrPercent; apimachinery
/// pkg/util/validation/validation.go, IsValidPercent.
/// Shown by: a_deployment_is_validated.
fn share(wire: &IntOrString, path: &FieldPath, errors: &mut Errors) -> Share {
    match wire {
        IntOrString::Int(number) => Share::Count(non_negative(*number, path.clone(), errors)),
        IntOrString::String(text) => {
            let digits = text.strip_suffix('%').filter(|digits| {
                !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
            });
            if digits.is_none() {
                let detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. \
                              '1%',  or '93%', regex used for validation is '[0-9]+%')";
                errors.add(FieldError::invalid(path.clone(), text.as_str(), detail));
            }
            let number = digits.map(|digits| digits.parse().unwrap_or(u32::MAX));
            Share::Percent(number.unwrap_or_default())
        }
    }
}
