//! A container's `resources`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Errors, NEGATIVE, names};
use crate::field::{FieldPath, Segment};
use crate::quantity;
use crate::resources::{Amounts, Resources};

/// What a container asks for and what it may use at most, of which the first is not the larger. Which of
/// them are carried out is for the table of fields to say.
///
/// Upstream: pkg/apis/core/validation/validation.go, validateContainerResourceRequirements.
/// Differs: a text that is no quantity is an error of its field; upstream cannot decode the object.
/// Shown by: resources_are_validated, limits_are_read.
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
        match limits.get(name) {
            Some(limit) => within(name, request, limit, path.field("requests"), errors),
            None if is_shared(name) => {}
            None => {
                let detail = "Limit must be set for non overcommitable resources";
                errors.required(path.field("limits"), detail);
            }
        }
    }
    let mut asked = requests.keys().chain(limits.keys());
    let is_computing = |name: &String| matches!(name.as_str(), "cpu" | "memory");
    if asked.clone().any(|name| is_huge_pages(name)) && !asked.any(is_computing) {
        errors.forbidden(path.clone(), "HugePages require cpu or memory");
    }
    resources
}

/// A request is not more than its limit, and what cannot be shared is just that.
fn within(name: &str, request: &Quantity, limit: &Quantity, path: FieldPath, errors: &mut Errors) {
    let sizes = (
        quantity::thousandths(&request.0),
        quantity::thousandths(&limit.0),
    );
    let (Some(asked), Some(most)) = sizes else {
        return;
    };
    let relation = match asked.cmp(&most) {
        Ordering::Equal => return,
        _ if !is_shared(name) => "equal to",
        Ordering::Greater => "less than or equal to",
        Ordering::Less => return,
    };
    let detail = format!("must be {relation} {name} limit of {}", limit.0);
    errors.invalid(path, request.0.as_str(), &detail);
}

fn amounts(wire: &BTreeMap<String, Quantity>, path: &FieldPath, errors: &mut Errors) -> Amounts {
    let mut amounts = Amounts::default();
    for (name, Quantity(text)) in wire {
        let path = path.then(Segment::Key(name.clone()));
        errors.invalid_each(&path, name.as_str(), names::label_key(name));
        if !name.contains('/') && !STANDARD.contains(&name.as_str()) && !is_huge_pages(name) {
            errors.invalid(path.clone(), name.as_str(), NO_RESOURCE);
        }
        let (whole, thousandths) = (quantity::whole(text), quantity::thousandths(text));
        match whole {
            None => errors.invalid(path, text.as_str(), quantity::FORMAT),
            Some(..0) => errors.invalid(path, text.as_str(), NEGATIVE),
            Some(_) => {
                let is_whole = thousandths.is_none_or(|thousandths| thousandths % 1000 == 0);
                if is_extended(name) && !is_whole {
                    errors.invalid(path, text.as_str(), "must be an integer");
                }
            }
        }
        let size = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        match name.as_str() {
            "cpu" => amounts.cpu_milli = size(thousandths),
            "memory" => amounts.memory = size(whole),
            "ephemeral-storage" => amounts.ephemeral_storage = size(whole),
            _ => {}
        }
    }
    amounts
}

/// What a container may ask for beside huge pages and what others have devised.
const STANDARD: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// Whether a resource may be promised to more than can have it at once.
///
/// Upstream: pkg/apis/core/helper/helpers.go, IsOvercommitAllowed.
/// Shown by: resources_are_validated.
fn is_shared(name: &str) -> bool {
    !is_extended(name) && !is_huge_pages(name)
}

/// Whether a resource is none of Kubernetes' own.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}

fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// What is said of a resource that no container has.
///
/// Upstream: validateContainerResourceName.
/// Shown by: resources_are_validated.
const NO_RESOURCE: &str = "must be a standard resource for containers";
