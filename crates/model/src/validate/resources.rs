//! A container's `resources`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Errors, NEGATIVE, names};
use crate::field::{FieldPath, Segment};
use crate::quantity;
use crate::resources::{Amounts, Resources};

/// What a container asks for and what it may use at most, of which the first is not the larger.
///
/// Upstream: pkg/apis/core/validation/validation.go, validateContainerResourceRequirements.
/// Differs: a text that is no quantity is an error of its field; upstream cannot decode the object.
/// Shown by: resources_are_validated.
pub(super) fn resources(
    wire: Option<&api::ResourceRequirements>,
    path: &FieldPath,
    errors: &mut Errors,
) -> Resources {
    let Some(wire) = wire else {
        return Resources::default();
    };
    let none = BTreeMap::new();
    let requests = wire.requests.as_ref().unwrap_or(&none);
    let limits = wire.limits.as_ref().unwrap_or(&none);
    let resources = Resources {
        limits: amounts(limits, &path.field("limits"), errors),
        requests: amounts(requests, &path.field("requests"), errors),
    };
    for (name, request) in requests {
        let Some(limit) = limits.get(name) else {
            continue;
        };
        let sizes = (
            quantity::thousandths(&request.0),
            quantity::thousandths(&limit.0),
        );
        if matches!(sizes, (Some(request), Some(limit)) if request > limit) {
            let detail = format!("must be less than or equal to {name} limit of {}", limit.0);
            errors.invalid(path.field("requests"), request.0.as_str(), &detail);
        }
    }
    resources
}

fn amounts(wire: &BTreeMap<String, Quantity>, path: &FieldPath, errors: &mut Errors) -> Amounts {
    let mut amounts = Amounts::default();
    for (name, Quantity(text)) in wire {
        let path = path.then(Segment::Key(name.clone()));
        errors.invalid_each(&path, name.as_str(), names::label_key(name));
        let is_native = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage")
            || name.starts_with("hugepages-");
        if !name.contains('/') && !is_native {
            errors.invalid(path.clone(), name.as_str(), NO_RESOURCE);
        }
        let whole = quantity::whole(text);
        match whole {
            None => errors.invalid(path, text.as_str(), quantity::FORMAT),
            Some(..0) => errors.invalid(path, text.as_str(), NEGATIVE),
            Some(_) => {}
        }
        let size = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        match name.as_str() {
            "cpu" => amounts.cpu_milli = size(quantity::thousandths(text)),
            "memory" => amounts.memory = size(whole),
            "ephemeral-storage" => amounts.ephemeral_storage = size(whole),
            _ => {}
        }
    }
    amounts
}

/// What is said of a resource that no container has.
///
/// Upstream: validateContainerResourceName.
/// Shown by: resources_are_validated.
const NO_RESOURCE: &str = "must be a standard resource for containers";
