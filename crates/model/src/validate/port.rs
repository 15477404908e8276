//! A container's `ports`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1 as api;

use super::{Errors, address, filled, names, port_number, protocol};
use crate::field::{FieldError, FieldPath};
use crate::pod::{ContainerPort, Protocol};

/// A container's ports: numbers, and names that no two share. `host_network` is the pod's.
///
/// Upstream: validateContainerPorts.
/// Differs: a `hostIP` that is no address is refused; upstream does not check it, and the runtime fails. Host
/// ports of UDP and SCTP are not carried out.
/// Shown by: containers_are_validated, the_spec_is_validated, host_ports_are_read.
pub(super) fn ports(
    wire: &api::Container,
    host_network: bool,
    path: &FieldPath,
    errors: &mut Errors,
) -> Vec<ContainerPort> {
    let mut seen = BTreeSet::new();
    let numbered = wire.ports.as_deref().unwrap_or_default().iter().enumerate();
    numbered
        .map(|(index, wire)| {
            let path = path.index(index);
            let name = filled(wire.name.as_ref());
            if let Some(name) = name {
                let wrong = names::port_name(name);
                if wrong.is_empty() && !seen.insert(name.to_owned()) {
                    errors.add(FieldError::duplicate(path.field("name"), name));
                }
                errors.invalid_each(&path.field("name"), name, wrong);
            }
            let number = match wire.container_port {
                0 => {
                    errors.required(path.field("containerPort"), "");
                    0
                }
                number => port_number(number, path.field("containerPort"), errors),
            };
            let host_port = wire.host_port.filter(|number| *number != 0);
            let host_port =
                host_port.map(|number| port_number(number, path.field("hostPort"), errors));
            let host_ip = filled(wire.host_ip.as_ref())
                .and_then(|text| address(text, path.field("hostIP"), errors));
            let protocol = protocol(
                filled(wire.protocol.as_ref()),
                path.field("protocol"),
                errors,
            );
            // With the host's network it is the port itself; else it has to be opened on the host.
            let host_port = host_port.filter(|_| !host_network);
            if host_port.is_some() && protocol != Protocol::Tcp {
                errors.add(FieldError::not_carried_out(path.field("hostPort")));
            }
            ContainerPort {
                name: name.map(str::to_owned),
                number,
                protocol,
                host_port,
                host_ip: host_port.and(host_ip),
            }
        })
        .collect()
}

/// No two of some containers' host ports may be the same.
///
/// Upstream: checkHostPortConflicts, AccumulateUniqueHostPorts.
/// Shown by: host_ports_meet_among_regular_containers_and_inside_an_init_container.
pub(super) fn meet<'a>(
    containers: impl IntoIterator<Item = (&'a api::Container, FieldPath)>,
    errors: &mut Errors,
) {
    let mut taken = BTreeSet::new();
    for (wire, path) in containers {
        for (path, port, host_port) in host_ports(wire, &path.field("ports")) {
            let protocol = port.protocol.as_deref().unwrap_or_default();
            let address = port.host_ip.as_deref().unwrap_or_default();
            let key = format!("{protocol}/{address}/{host_port}");
            if !taken.insert(key.clone()) {
                errors.add(FieldError::duplicate(path, key));
            }
        }
    }
}

/// With the host's network, each host port of a regular container is the port itself.
///
/// Upstream: validatePodHostNetworkDeps; it does not look at init containers.
/// Shown by: the_spec_is_validated, host_ports_meet_among_regular_containers_and_inside_an_init_container.
pub(super) fn are_host_ports<'a>(
    containers: impl IntoIterator<Item = (&'a api::Container, FieldPath)>,
    errors: &mut Errors,
) {
    for (wire, path) in containers {
        for (path, port, host_port) in host_ports(wire, &path.field("ports")) {
            if host_port != port.container_port {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(path, host_port, detail);
            }
        }
    }
}

/// The ports that name a host port, each with the path of that; `path` is the list's.
fn host_ports<'a>(
    wire: &'a api::Container,
    path: &'a FieldPath,
) -> impl Iterator<Item = (FieldPath, &'a api::ContainerPort, i32)> {
    let numbered = wire.ports.as_deref().unwrap_or_default().iter().enumerate();
    numbered.filter_map(|(index, port)| {
        let number = port.host_port.filter(|number| *number != 0)?;
        Some((path.index(index).field("hostPort"), port, number))
    })
}
