//! Endpoints and EndpointSlices that somebody else makes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::api::discovery::v1 as slice_api;

use super::{Errors, NO_ADDRESS, filled, meta, name, names, port_number, protocol};
use crate::field::{FieldError, FieldPath};
use crate::id::Kind;
use crate::pod::Meta;

/// Endpoints: each subset has addresses, and ports with names if they are several.
///
/// Upstream: validateEndpointSubsets, validateEndpointPort.
/// Shown by: endpoints_are_validated.
pub(crate) fn endpoints(wire: &api::Endpoints, errors: &mut Errors) -> Meta {
    let meta = meta::meta(&wire.metadata, Kind::Endpoints, errors);
    let path = FieldPath::root().field("subsets");
    for (index, subset) in wire.subsets.iter().flatten().enumerate() {
        let path = path.index(index);
        let lists = [
            ("addresses", subset.addresses.as_deref()),
            ("notReadyAddresses", subset.not_ready_addresses.as_deref()),
        ];
        let lists = lists.map(|(field, list)| (field, list.unwrap_or_default()));
        if lists.iter().all(|(_, list)| list.is_empty()) {
            let detail = "must specify `addresses` or `notReadyAddresses`";
            errors.required(path.clone(), detail);
        }
        for (field, list) in lists {
            for (index, address) in list.iter().enumerate() {
                self::address(address, &path.field(field).index(index), errors);
            }
        }
        let ports = subset.ports.as_deref().unwrap_or_default();
        for (index, port) in ports.iter().enumerate() {
            let path = path.field("ports").index(index);
            let named = filled(port.name.as_ref());
            if named.is_some() || ports.len() > 1 {
                name(named.unwrap_or_default(), path.field("name"), errors);
            }
            port_number(port.port, path.field("port"), errors);
            let transport = filled(port.protocol.as_ref());
            protocol(transport, path.field("protocol"), errors);
        }
    }
    meta
}

/// One address: an IP, and perhaps who it is.
///
/// Upstream: validateEndpointAddress.
/// Shown by: endpoints_are_validated.
fn address(wire: &api::EndpointAddress, path: &FieldPath, errors: &mut Errors) {
    match wire.ip.parse::<IpAddr>() {
        Ok(ip) => not_special(ip, &path.field("ip"), errors),
        Err(_) => errors.invalid(path.field("ip"), wire.ip.as_str(), NO_ADDRESS),
    }
    if let Some(hostname) = filled(wire.hostname.as_ref()) {
        let path = path.field("hostname");
        errors.invalid_each(&path, hostname, names::dns_label(hostname));
    }
    if let Some(node) = wire.node_name.as_deref() {
        let path = path.field("nodeName");
        errors.invalid_each(&path, node, names::dns_subdomain(node));
    }
}

/// An address that can be reached from elsewhere.
///
/// Upstream: ValidateNonSpecialIP.
/// Shown by: endpoints_are_validated.
fn not_special(ip: IpAddr, path: &FieldPath, errors: &mut Errors) {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let is_link_local_multicast = match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    };
    for (is_so, detail) in [
        (
            ip.is_unspecified(),
            "may not be unspecified (0.0.0.0 or ::)",
        ),
        (
            ip.is_loopback(),
            "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            is_link_local,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        ),
        (
            is_link_local_multicast,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    ] {
        if is_so {
            errors.invalid(path.clone(), ip.to_string(), detail);
        }
    }
}

/// An EndpointSlice: addresses of its type, and ports each with a name of its own.
///
/// Upstream: pkg/apis/discovery/validation/validation.go, ValidateEndpointSlice.
/// Shown by: endpoint_slices_are_validated.
pub(crate) fn slice(wire: &slice_api::EndpointSlice, errors: &mut Errors) -> Meta {
    const TYPES: &[&str] = &["FQDN", "IPv4", "IPv6"];
    const MOST_ENDPOINTS: usize = 1000;
    const MOST_PORTS: usize = 20_000;
    let meta = meta::meta(&wire.metadata, Kind::EndpointSlice, errors);
    let kind = wire.address_type.as_str();
    let path = FieldPath::root().field("addressType");
    if kind.is_empty() {
        errors.required(path, "");
    } else if !TYPES.contains(&kind) {
        errors.unsupported(path, kind, TYPES);
    }
    let path = FieldPath::root().field("endpoints");
    let endpoints = wire.endpoints.as_slice();
    if endpoints.len() > MOST_ENDPOINTS {
        errors.add(FieldError::too_many(
            path.clone(),
            endpoints.len(),
            MOST_ENDPOINTS,
        ));
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        endpoint_of_slice(endpoint, kind, &path.index(index), errors);
    }
    let path = FieldPath::root().field("ports");
    let ports = wire.ports.as_deref().unwrap_or_default();
    if ports.len() > MOST_PORTS {
        errors.add(FieldError::too_many(path.clone(), ports.len(), MOST_PORTS));
    }
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = port.name.as_deref().unwrap_or_default();
        if !name.is_empty() {
            self::name(name, path.field("name"), errors);
        }
        if !names.insert(name) {
            errors.add(FieldError::duplicate(path.field("name"), name));
        }
        if let Some(number) = port.port {
            port_number(number, path.field("port"), errors);
        }
        let transport = filled(port.protocol.as_ref());
        protocol(transport, path.field("protocol"), errors);
    }
    meta
}

/// One endpoint of a slice: addresses of the slice's type.
///
/// Upstream: pkg/apis/discovery/validation/validation.go, validateEndpoints.
/// Shown by: endpoint_slices_are_validated.
fn endpoint_of_slice(
    wire: &slice_api::Endpoint,
    kind: &str,
    path: &FieldPath,
    errors: &mut Errors,
) {
    const MOST: usize = 100;
    let path_of = |index| path.field("addresses").index(index);
    if wire.addresses.is_empty() {
        let detail = "must contain at least 1 address";
        errors.required(path.field("addresses"), detail);
    } else if wire.addresses.len() > MOST {
        errors.add(FieldError::too_many(
            path.field("addresses"),
            wire.addresses.len(),
            MOST,
        ));
    }
    for (index, text) in wire.addresses.iter().enumerate() {
        let path = path_of(index);
        let address = text.parse::<IpAddr>();
        match (kind, address) {
            ("FQDN", _) => errors.invalid_each(&path, text.as_str(), names::dns_subdomain(text)),
            ("IPv4" | "IPv6", Err(_)) => errors.invalid(path, text.as_str(), NO_ADDRESS),
            ("IPv4", Ok(IpAddr::V6(_))) => {
                errors.invalid(path, text.as_str(), "must be an IPv4 address");
            }
            ("IPv6", Ok(IpAddr::V4(_))) => {
                errors.invalid(path, text.as_str(), "must be an IPv6 address");
            }
            ("IPv4" | "IPv6", Ok(ip)) => not_special(ip, &path, errors),
            _ => {}
        }
    }
    if let Some(hostname) = wire.hostname.as_deref() {
        let path = path.field("hostname");
        errors.invalid_each(&path, hostname, names::dns_label(hostname));
    }
    if let Some(node) = wire.node_name.as_deref() {
        let path = path.field("nodeName");
        errors.invalid_each(&path, node, names::dns_subdomain(node));
    }
}
