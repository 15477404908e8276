//! The API server's defaults, filled into wire objects.
//!
//! Only values that are missing, null, or zero where upstream cannot tell zero from missing, are set. A
//! value of a wrong type is left for the decoder to complain about.
//!
//! Upstream: pkg/apis/core/v1/defaults.go, the `SetDefaults_` functions of Pod, PodSpec, Container,
//! Probe, Volume, HostPathVolumeSource and Service, and what zz_generated.defaults.go adds for the service
//! of a gRPC probe.
//! Shown by: a_pod_is_defaulted, pull_policies_follow_the_tag, limits_are_asked_for, a_pod_is_read,
//! init_containers_and_sidecars_are_read_in_order, a_service_is_defaulted_and_read.

mod other;
mod workload;

use serde_json::{Map, Value, json};

use crate::id::Kind;

type Fields = Map<String, Value>;

/// Fills in what `object` of `kind` leaves unsaid.
pub(crate) fn apply(kind: Kind, object: &mut Value) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    if kind.is_namespaced()
        && let Some(metadata) = object_in(fields, "metadata")
    {
        set(metadata, "namespace", json!("default"));
    }
    match kind {
        Kind::Namespace => other::namespace(fields),
        Kind::ReplicaSet | Kind::Deployment => set_missing(fields, "spec", json!({})),
        Kind::Secret => other::secret(fields),
        Kind::Endpoints => other::endpoints(fields),
        Kind::EndpointSlice => other::slice(fields),
        _ => {}
    }
    let Some(spec) = object_in(fields, "spec") else {
        return;
    };
    match kind {
        Kind::Pod => {
            pod(spec);
            requests(spec);
        }
        Kind::Service => service(spec),
        Kind::ReplicaSet | Kind::Deployment => workload::apply(kind, spec),
        _ => {}
    }
}

fn pod(spec: &mut Fields) {
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "schedulerName", json!("default-scheduler"));
    set(spec, "enableServiceLinks", json!(true));
    set_missing(spec, "terminationGracePeriodSeconds", json!(30));
    set_missing(spec, "securityContext", json!({}));
    let host_network = spec.get("hostNetwork") == Some(&json!(true));
    for list in ["initContainers", "containers"] {
        for container in objects_in(spec, list) {
            self::container(container, host_network);
        }
    }
    for volume in objects_in(spec, "volumes") {
        self::volume(volume);
    }
}

/// What a container may use and does not ask for, it asks for. Upstream does this to a Pod, and not to a
/// template.
fn requests(spec: &mut Fields) {
    for list in ["containers", "initContainers"] {
        for container in objects_in(spec, list) {
            let Some(resources) = object_in(container, "resources") else {
                continue;
            };
            let limits = resources.get("limits").and_then(Value::as_object);
            let limits = limits.filter(|limits| !limits.is_empty()).cloned();
            if let Some(limits) = limits {
                set_missing(resources, "requests", json!({}));
                if let Some(requests) = object_in(resources, "requests") {
                    for (name, limit) in limits {
                        set_missing(requests, &name, limit);
                    }
                }
            }
        }
    }
}

fn container(container: &mut Fields, host_network: bool) {
    set_missing(container, "resources", json!({}));
    set(
        container,
        "terminationMessagePath",
        json!("/dev/termination-log"),
    );
    set(container, "terminationMessagePolicy", json!("File"));
    if let Some(image) = container
        .get("image")
        .and_then(Value::as_str)
        .filter(|image| !image.is_empty())
    {
        let policy = if is_latest(image) {
            "Always"
        } else {
            "IfNotPresent"
        };
        set(container, "imagePullPolicy", json!(policy));
    }
    for port in objects_in(container, "ports") {
        set(port, "protocol", json!("TCP"));
        if let (true, Some(number)) = (
            host_network,
            port.get("containerPort")
                .filter(|port| port.is_i64())
                .cloned(),
        ) {
            set(port, "hostPort", number);
        }
    }
    for variable in objects_in(container, "env") {
        if let Some(from) = object_in(variable, "valueFrom") {
            field_ref(from);
        }
    }
    for kind in crate::probe::ProbeKind::ALL {
        if let Some(probe) = object_in(container, kind.field()) {
            self::probe(probe);
        }
    }
    if let Some(lifecycle) = object_in(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = object_in(lifecycle, hook) {
                http_get(hook);
            }
        }
    }
}

/// Whether an image reference means the tag `latest`: by name, or by naming neither tag nor digest.
fn is_latest(image: &str) -> bool {
    let name = image.rsplit_once('/').map_or(image, |(_, name)| name);
    let (name, has_digest) = match name.split_once('@') {
        Some((name, _)) => (name, true),
        None => (name, false),
    };
    match name.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => !has_digest,
    }
}

fn probe(probe: &mut Fields) {
    set(probe, "timeoutSeconds", json!(1));
    set(probe, "periodSeconds", json!(10));
    set(probe, "successThreshold", json!(1));
    set(probe, "failureThreshold", json!(3));
    if let Some(action) = object_in(probe, "grpc") {
        set(action, "service", json!(""));
    }
    http_get(probe);
}

/// The defaults of a handler's `httpGet`, if it has one.
fn http_get(handler: &mut Fields) {
    if let Some(action) = object_in(handler, "httpGet") {
        set(action, "path", json!("/"));
        set(action, "scheme", json!("HTTP"));
    }
}

fn volume(volume: &mut Fields) {
    if volume
        .iter()
        .all(|(name, value)| name == "name" || value.is_null())
    {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    if let Some(host_path) = object_in(volume, "hostPath") {
        set_missing(host_path, "type", json!(""));
    }
    for name in ["configMap", "downwardAPI", "projected", "secret"] {
        if let Some(files) = object_in(volume, name) {
            set_missing(files, "defaultMode", json!(0o644));
        }
    }
    if let Some(items) = object_in(volume, "downwardAPI") {
        objects_in(items, "items").for_each(field_ref);
    }
    if let Some(projected) = object_in(volume, "projected") {
        for source in objects_in(projected, "sources") {
            if let Some(items) = object_in(source, "downwardAPI") {
                objects_in(items, "items").for_each(field_ref);
            }
        }
    }
}

/// The default of a `fieldRef`, and of the divisor of a `resourceFieldRef`.
fn field_ref(holder: &mut Fields) {
    if let Some(field) = object_in(holder, "fieldRef") {
        set(field, "apiVersion", json!("v1"));
    }
    if let Some(resource) = object_in(holder, "resourceFieldRef") {
        set_missing(resource, "divisor", json!("0"));
    }
}

fn service(spec: &mut Fields) {
    set(spec, "type", json!("ClusterIP"));
    set(spec, "sessionAffinity", json!("None"));
    match spec.get("type").and_then(Value::as_str) {
        Some("ClusterIP") => set(spec, "internalTrafficPolicy", json!("Cluster")),
        Some(kind @ ("LoadBalancer" | "NodePort")) => {
            let is_balanced = kind == "LoadBalancer";
            set(spec, "internalTrafficPolicy", json!("Cluster"));
            set(spec, "externalTrafficPolicy", json!("Cluster"));
            if is_balanced {
                set_missing(spec, "allocateLoadBalancerNodePorts", json!(true));
            }
        }
        _ => {}
    }
    for port in objects_in(spec, "ports") {
        set(port, "protocol", json!("TCP"));
        if let Some(number) = port.get("port").filter(|port| port.is_i64()).cloned() {
            set(port, "targetPort", number);
        }
    }
}

/// Sets a field that is missing, where upstream tells zero from missing.
fn set_missing(fields: &mut Fields, name: &str, default: Value) {
    if fields.get(name).is_none_or(Value::is_null) {
        fields.insert(name.to_owned(), default);
    }
}

/// Sets a field that is missing or zero.
fn set(fields: &mut Fields, name: &str, default: Value) {
    let is_unset = match fields.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => false,
    };
    if is_unset {
        fields.insert(name.to_owned(), default);
    }
}

fn object_in<'v>(fields: &'v mut Fields, name: &str) -> Option<&'v mut Fields> {
    fields.get_mut(name)?.as_object_mut()
}

fn objects_in<'v>(fields: &'v mut Fields, name: &str) -> impl Iterator<Item = &'v mut Fields> {
    let elements = fields.get_mut(name).and_then(Value::as_array_mut);
    elements
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

/// Removes fields that are null, which on the wire are fields that are not there.
pub(crate) fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(prune_nulls);
        }
        Value::Array(elements) => elements.iter_mut().for_each(prune_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
