//! Where a probe connects to.

use probelet_model::pod::Protocol;
use probelet_model::probe::{Handler, PortRef, ProbeKind};

use crate::lint::{
    LIVENESS_TCP_ONLY, PROBE_HOST_SET, PROBE_PORT_NAME_MISSING, PROBE_PORT_NOT_DECLARED,
};
use crate::report::Finding;
use crate::site::Site;

/// Names of the node itself, where a probe with a host is made.
const NODE: &[&str] = &["127.0.0.1", "::1", "localhost"];

/// The port of a handler, its field, and the host it asks in place of the pod.
fn target(handler: &Handler) -> Option<(PortRef, &'static str, Option<&str>)> {
    match handler {
        Handler::Exec { .. } => None,
        Handler::HttpGet { port, host, .. } => {
            Some((port.clone(), "httpGet.port", host.as_deref()))
        }
        Handler::TcpSocket { port, host } => {
            Some((port.clone(), "tcpSocket.port", host.as_deref()))
        }
        Handler::Grpc { port, .. } => Some((PortRef::Number(*port), "grpc.port", None)),
    }
}

pub(super) fn ports(site: &Site<'_>, found: &mut Vec<Finding>) {
    for (kind, probe) in site.probes() {
        let Some((port, field, host)) = target(&probe.handler) else {
            continue;
        };
        let path = site.probe_path(kind, field);
        match port {
            PortRef::Name(name) if site.container.resolve_port(&port_named(&name)).is_none() => {
                found.push(site.finding(
                    &PROBE_PORT_NAME_MISSING,
                    path,
                    format!(
                        "container {} has no port named {name:?}{}: {}",
                        site.container.name,
                        declared(site),
                        consequence(kind),
                    ),
                    format!(
                        "add {{name: {name}, containerPort: ...}} to its ports, or write the number"
                    ),
                ));
            }
            PortRef::Number(number) if host.is_none() && is_undeclared(site, number) => {
                found.push(site.finding(
                    &PROBE_PORT_NOT_DECLARED,
                    path,
                    format!(
                        "no container of the Pod declares TCP port {number}{}",
                        declared(site)
                    ),
                    format!("correct the number, or add {{containerPort: {number}}} to the ports"),
                ));
            }
            PortRef::Name(_) | PortRef::Number(_) => {}
        }
    }
}

fn port_named(name: &str) -> PortRef {
    PortRef::Name(name.to_owned())
}

/// Containers of a Pod share its addresses, so a port of another one will do.
fn is_undeclared(site: &Site<'_>, number: u16) -> bool {
    let all = site
        .pod
        .all_containers()
        .flat_map(|container| &container.ports);
    let mut tcp = all.filter(|port| port.protocol == Protocol::Tcp);
    !site.container.ports.is_empty() && tcp.all(|port| port.number != number)
}

/// What the container declares, in brackets.
fn declared(site: &Site<'_>) -> String {
    let ports = site.container.ports.iter().map(|port| {
        let protocol = match port.protocol {
            Protocol::Tcp => "",
            Protocol::Udp => "/UDP",
            Protocol::Sctp => "/SCTP",
        };
        let name = port
            .name
            .as_ref()
            .map_or(String::new(), |name| format!("{name} "));
        format!("{name}{}{protocol}", port.number)
    });
    let ports: Vec<String> = ports.collect();
    if ports.is_empty() {
        " (it declares none)".to_owned()
    } else {
        format!(" (it declares {})", ports.join(", "))
    }
}

/// What comes of a probe that only errs.
pub(super) const fn consequence(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "every attempt errs, and the container never counts as started",
        ProbeKind::Readiness => "every attempt errs, and the container is never ready",
        ProbeKind::Liveness => {
            "every attempt errs, and the container is never restarted, however dead"
        }
    }
}

pub(super) fn hosts(site: &Site<'_>, found: &mut Vec<Finding>) {
    for (kind, probe) in site.probes() {
        let Some((_, field, Some(host))) = target(&probe.handler) else {
            continue;
        };
        let field = if field == "httpGet.port" {
            "httpGet.host"
        } else {
            "tcpSocket.host"
        };
        let who = if NODE.contains(&host) {
            format!("{host} is the node")
        } else {
            format!("the node asks {host}")
        };
        found.push(site.finding(
            &PROBE_HOST_SET,
            site.probe_path(kind, field),
            format!(
                "{who}, not the container: the probe says nothing about container {}",
                site.container.name
            ),
            PROBE_HOST_SET.advice(),
        ));
    }
}

pub(super) fn tcp_only(site: &Site<'_>, found: &mut Vec<Finding>) {
    if let Some(probe) = &site.container.liveness
        && matches!(probe.handler, Handler::TcpSocket { .. })
    {
        found.push(site.finding(
            &LIVENESS_TCP_ONLY,
            site.probe_path(ProbeKind::Liveness, "tcpSocket"),
            "the kernel accepts connections for a program that is stuck".to_owned(),
            LIVENESS_TCP_ONLY.advice(),
        ));
    }
}
