//! The downward API: what a pod may be told of itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::go;
use crate::pod::{Container, Pod};
use crate::quantity;
use crate::reference::{MissingReference, PodFacts};
use crate::resources::{Amounts, Resources};
use crate::volume::DownwardSource;

/// The text that a source comes to; `own` is the container that a `resourceFieldRef` means if it names none.
///
/// # Errors
/// A container that the pod does not have.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, podFieldSelectorRuntimeValue; pkg/fieldpath/fieldpath.go,
/// ExtractFieldPathAsString.
/// Shown by: a_pod_is_told_of_itself.
pub(crate) fn text(
    source: &DownwardSource,
    pod: &Pod,
    own: Option<&Container>,
    facts: &PodFacts,
) -> Result<String, MissingReference> {
    match source {
        DownwardSource::Field(field) => Ok(self::field(field, pod, facts)),
        DownwardSource::Resource {
            container,
            resource,
            divisor,
        } => {
            let container = match container {
                Some(name) => pod
                    .container(name)
                    .ok_or_else(|| MissingReference::Container(name.clone()))?,
                None => own.ok_or_else(|| MissingReference::Container(String::new()))?,
            };
            let value = amount(resource, &container.resources, &facts.allocatable);
            Ok(divided(value, resource, divisor).to_string())
        }
    }
}

fn field(path: &str, pod: &Pod, facts: &PodFacts) -> String {
    let meta = &pod.meta;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.annotations" => &meta.annotations,
            _ => &meta.labels,
        };
        return map.get(key).cloned().unwrap_or_default();
    }
    match path {
        "metadata.annotations" => lines(&meta.annotations),
        "metadata.labels" => lines(&meta.labels),
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => pod.uid.to_string(),
        "spec.nodeName" => facts.node_name.clone(),
        "spec.serviceAccountName" => pod.service_account.clone(),
        "status.hostIP" => first(&facts.host_ips),
        "status.hostIPs" => joined(&facts.host_ips),
        "status.podIP" => first(&facts.pod_ips),
        "status.podIPs" => joined(&facts.pod_ips),
        // Validation lets no other through.
        _ => String::new(),
    }
}

/// `map['key']` in its two parts.
///
/// Upstream: pkg/fieldpath/fieldpath.go, SplitMaybeSubscriptedPath.
/// Shown by: a_pod_is_told_of_itself, environments_are_validated.
pub(crate) fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    (!map.is_empty()).then_some((map, rest.strip_suffix("']")?))
}

/// A map, one entry a line, by key, the values quoted.
///
/// Upstream: pkg/fieldpath/fieldpath.go, FormatMap.
/// Shown by: a_pod_is_told_of_itself.
fn lines(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = map
        .iter()
        .map(|(key, value)| format!("{key}={}", go::quote(value)))
        .collect();
    lines.join("\n")
}

fn first(ips: &[IpAddr]) -> String {
    ips.first().map(IpAddr::to_string).unwrap_or_default()
}

fn joined(ips: &[IpAddr]) -> String {
    let texts: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
    texts.join(",")
}

/// A limit that is not set, or is nothing, is all that the node has; a request that is not set is nothing.
///
/// Units: thousandths of a CPU, else bytes.
/// Upstream: pkg/api/v1/resource/helpers.go, MergeContainerResourceLimits, ExtractContainerResourceValue.
/// Shown by: resources_are_told_in_units_of_a_divisor.
fn amount(resource: &str, own: &Resources, allocatable: &Amounts) -> u64 {
    let limit = |own: Option<u64>, all: Option<u64>| own.filter(|own| *own > 0).or(all);
    let value = match resource {
        "limits.cpu" => limit(own.limits.cpu_milli, allocatable.cpu_milli),
        "limits.memory" => limit(own.limits.memory, allocatable.memory),
        "limits.ephemeral-storage" => {
            limit(own.limits.ephemeral_storage, allocatable.ephemeral_storage)
        }
        "requests.cpu" => own.requests.cpu_milli,
        "requests.memory" => own.requests.memory,
        "requests.ephemeral-storage" => own.requests.ephemeral_storage,
        // Validation lets no other through.
        _ => None,
    };
    value.unwrap_or_default()
}

/// How often the divisor goes into it, rounded up.
///
/// Upstream: pkg/api/v1/resource/helpers.go, convertResourceCPUToString, convertResourceMemoryToString.
/// Shown by: resources_are_told_in_units_of_a_divisor.
fn divided(value: u64, resource: &str, divisor: &str) -> u64 {
    let divisor = if resource.ends_with(".cpu") {
        quantity::thousandths(divisor)
    } else {
        quantity::whole(divisor)
    };
    let divisor = divisor.and_then(|divisor| u64::try_from(divisor).ok());
    value.div_ceil(divisor.filter(|divisor| *divisor > 0).unwrap_or(1))
}
