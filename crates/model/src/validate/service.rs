//! A Service.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Errors, filled, meta, name, name_once, port_number, port_ref, protocol};
use crate::field::{FieldError, FieldPath};
use crate::id::Kind;
use crate::pod::Protocol;
use crate::service::{Service, ServicePort};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const AFFINITIES: &[&str] = &["ClientIP", "None"];

/// A Service as the API server admits it, and the domain type that comes out of it.
///
/// Upstream: ValidateService.
/// Shown by: a_service_is_validated, a_service_is_defaulted_and_read.
pub(crate) fn service(wire: &api::Service, errors: &mut Errors) -> Service {
    let meta = meta::meta(&wire.metadata, Kind::Service, errors);
    let path = FieldPath::root().field("spec");
    let nothing = api::ServiceSpec::default();
    let spec = wire.spec.as_ref().unwrap_or(&nothing);
    let headless = spec.cluster_ip.as_deref() == Some("None");
    let is_external = spec.type_.as_deref() == Some("ExternalName");
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() && !headless && !is_external {
        errors.required(path.field("ports"), "");
    }
    let ports = self::ports(ports, &path.field("ports"), errors);
    let selector = spec
        .selector
        .clone()
        .filter(|selector| !selector.is_empty());
    if let Some(selector) = &selector {
        meta::labels(selector, &path.field("selector"), errors);
    }
    one_of(
        filled(spec.session_affinity.as_ref()),
        AFFINITIES,
        path.field("sessionAffinity"),
        errors,
    );
    one_of(
        filled(spec.type_.as_ref()),
        TYPES,
        path.field("type"),
        errors,
    );
    if headless && matches!(spec.type_.as_deref(), Some("LoadBalancer" | "NodePort")) {
        let detail = "may not be set to 'None' for LoadBalancer services";
        errors.invalid(path.field("clusterIPs").index(0), "None", detail);
    }
    Service {
        uid: wire.metadata.uid.clone().unwrap_or_default(),
        meta,
        selector,
        ports,
        publish_not_ready_addresses: spec.publish_not_ready_addresses.unwrap_or_default(),
        headless,
    }
}

/// A Service's ports: each has a name if there are several, and no two are the same.
///
/// Upstream: validateServicePort, then ValidateService's search for the same protocol and port twice.
/// Shown by: a_service_is_validated.
fn ports(wire: &[api::ServicePort], path: &FieldPath, errors: &mut Errors) -> Vec<ServicePort> {
    let mut names = BTreeSet::new();
    let numbered = wire.iter().enumerate();
    let ports: Vec<ServicePort> = numbered
        .map(|(index, port)| {
            self::port(port, wire.len() > 1, &mut names, &path.index(index), errors)
        })
        .collect();
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        if port.port != 0 && !seen.insert((port.protocol, port.port)) {
            let protocol = match port.protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Sctp => "SCTP",
            };
            let pair = serde_json::json!({"protocol": protocol, "port": port.port});
            errors.add(FieldError::duplicate(path.index(index), pair));
        }
    }
    ports
}

fn port(
    wire: &api::ServicePort,
    needs_name: bool,
    names: &mut BTreeSet<String>,
    path: &FieldPath,
    errors: &mut Errors,
) -> ServicePort {
    let name = filled(wire.name.as_ref()).unwrap_or_default();
    if needs_name || !name.is_empty() {
        self::name(name, path.field("name"), errors);
        name_once(name, names, path.field("name"), errors);
    }
    let number = port_number(wire.port, path.field("port"), errors);
    let protocol = protocol(
        filled(wire.protocol.as_ref()),
        path.field("protocol"),
        errors,
    );
    // A port that is wrong already is not reported again as the target it is by default.
    let target = wire
        .target_port
        .clone()
        .unwrap_or(IntOrString::Int(wire.port));
    let target_port = if number == 0 && target == IntOrString::Int(wire.port) {
        crate::probe::PortRef::Number(0)
    } else {
        port_ref(&target, path.field("targetPort"), errors)
    };
    ServicePort {
        name: name.to_owned(),
        protocol,
        port: number,
        target_port,
    }
}

fn one_of(value: Option<&str>, supported: &[&str], path: FieldPath, errors: &mut Errors) {
    if let Some(value) = value
        && !supported.contains(&value)
    {
        errors.add(FieldError::unsupported(path, value, supported));
    }
}
