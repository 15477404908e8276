//! A Service beside the Pods it selects.

use probelet_model::decode::Object;
use probelet_model::field::FieldPath;
use probelet_model::manifest::survey::Subject;
use probelet_model::pod::Pod;
use probelet_model::probe::PortRef;
use probelet_model::service::{Service, ServicePort};

use crate::lint::{SERVICE_TARGET_PORT_MISSING, SERVICE_WITHOUT_READINESS};
use crate::report::Finding;
use crate::site;

/// What is about one Service.
pub(crate) fn service(
    subject: &Subject,
    service: &Service,
    all: &[Subject],
    found: &mut Vec<Finding>,
) {
    super::not_carried_out(subject, found);
    let selected: Vec<(&Subject, &Pod)> = all
        .iter()
        .filter_map(|one| match &one.object {
            Object::Pod(pod) => Some((one, &**pod)),
            Object::Service(_) | Object::Other => None,
        })
        .filter(|(one, pod)| {
            one.owner.namespace == subject.owner.namespace && service.selects(&pod.meta.labels)
        })
        .collect();
    if selected.is_empty() {
        return;
    }
    let spec = FieldPath::root().field("spec");
    for (index, port) in service.ports.iter().enumerate() {
        let PortRef::Name(name) = &port.target_port else {
            continue;
        };
        if selected.iter().all(|(_, pod)| !has_port(pod, port, name)) {
            found.push(site::finding(
                subject,
                &SERVICE_TARGET_PORT_MISSING,
                spec.field("ports").index(index).field("targetPort"),
                format!(
                    "no {} port is named {name:?} in {}: port {} has no endpoint",
                    protocol(port),
                    names(&selected),
                    port.port,
                ),
                format!("name a container port {name:?}, or write its number"),
            ));
        }
    }
    let never_asked: Vec<(&Subject, &Pod)> = selected
        .into_iter()
        .filter(|(_, pod)| {
            pod.containers
                .iter()
                .all(|container| container.readiness.is_none())
        })
        .collect();
    if !never_asked.is_empty() && !service.publish_not_ready_addresses {
        found.push(site::finding(
            subject,
            &SERVICE_WITHOUT_READINESS,
            spec.field("selector"),
            format!(
                "traffic as soon as a container runs, whether it listens or not: no readiness probe in {}",
                names(&never_asked),
            ),
            SERVICE_WITHOUT_READINESS.advice(),
        ));
    }
}

/// Whether one of a pod's containers or sidecars has a port of this name and of the Service's protocol.
///
/// Upstream: pkg/api/v1/pod/util.go, FindPort.
/// Shown by: services.
fn has_port(pod: &Pod, port: &ServicePort, name: &str) -> bool {
    let sidecars = pod
        .init_containers
        .iter()
        .filter(|one| one.is_restartable_init());
    let ports = pod
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| &container.ports);
    let mut same = ports.filter(|one| one.protocol == port.protocol);
    same.any(|one| one.name.as_deref() == Some(name))
}

fn protocol(port: &ServicePort) -> &'static str {
    match port.protocol {
        probelet_model::pod::Protocol::Tcp => "TCP",
        probelet_model::pod::Protocol::Udp => "UDP",
        probelet_model::pod::Protocol::Sctp => "SCTP",
    }
}

fn names(selected: &[(&Subject, &Pod)]) -> String {
    let mut names: Vec<String> = selected
        .iter()
        .take(super::NAMED)
        .map(|(one, _)| one.owner.to_string())
        .collect();
    if selected.len() > super::NAMED {
        names.push(format!("and {} more", selected.len() - super::NAMED));
    }
    names.join(", ")
}
