//! Which pods a Service sends traffic to.

use std::collections::BTreeMap;
use std::net::IpAddr;

use probelet_model::id::PodUid;
use probelet_model::pod::Pod;
use probelet_model::probe::PortRef;
use probelet_model::service::{
    EndpointAddress, EndpointPort, EndpointSlice, EndpointSubset, Endpoints, Service, ServicePort,
    SliceConditions, SliceEndpoint, TargetRef,
};
use probelet_model::status::PodStatus;

/// A pod as its Services see it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its status; only the phase, the IP and the Ready condition are looked at.
    pub status: &'a PodStatus,
    /// It is being deleted.
    pub terminating: bool,
}

/// What an EndpointSlice says of a pod; `None` if the pod is not in it.
///
/// Upstream: staging/src/k8s.io/endpointslice/utils.go, podToEndpoint; util/controller_utils.go,
/// ShouldPodBeInEndpoints.
/// Shown by: f1_ready, f2_not_ready, f4_terminating_and_ready, f5_terminating_and_not_ready,
/// f7_failed_with_a_stale_ready, f8_no_pod_ip, publish_not_ready_addresses_publishes_all_but_the_dead.
#[must_use]
pub fn slice_conditions(service: &Service, candidate: Candidate<'_>) -> Option<SliceConditions> {
    let terminating = candidate.terminating;
    address_of(service, candidate)?;
    let serving = candidate.status.is_ready();
    let ready = service.publish_not_ready_addresses || (serving && !terminating);
    Some(SliceConditions {
        ready,
        serving,
        terminating,
    })
}

/// The Endpoints of a Service; `None` if the Service has no selector and they are somebody else's.
///
/// Upstream: pkg/controller/endpoint/endpoints_controller.go, syncService.
/// Shown by: f1_ready, f2_not_ready, f4_terminating_and_ready, f10_a_named_port_that_the_pod_has_not,
/// f15_a_service_without_selector_is_left_alone, a_headless_service_without_ports_lists_addresses_alone.
#[must_use]
pub fn endpoints<'a>(
    service: &Service,
    node_name: &str,
    candidates: impl Iterator<Item = Candidate<'a>>,
) -> Option<Endpoints> {
    service.selector.as_ref()?;
    let mut by_port: BTreeMap<Option<EndpointPort>, AddressSet> = BTreeMap::new();
    for candidate in candidates {
        let Some(ip) = address_of(service, candidate) else {
            continue;
        };
        // A pod that is being deleted has left the Endpoints, though not the slices.
        if candidate.terminating && !service.publish_not_ready_addresses {
            continue;
        }
        let ready = service.publish_not_ready_addresses || candidate.status.is_ready();
        let address = address(service, node_name, candidate.pod, ip);
        let key = (ip, candidate.pod.uid.clone());
        let mut add = |port: Option<EndpointPort>| {
            by_port
                .entry(port)
                .or_default()
                .insert(key.clone(), (ready, address.clone()));
        };
        if service.ports.is_empty() && service.headless {
            add(None);
        }
        for port in &service.ports {
            if let Some(number) = target_port(port, candidate.pod) {
                add(Some(EndpointPort {
                    name: port.name.clone(),
                    port: number,
                    protocol: port.protocol,
                }));
            }
        }
    }
    Some(Endpoints {
        subsets: repack(by_port),
    })
}

/// The EndpointSlices of a Service: one for each set of ports, each ordered by IP; none if the Service has no
/// selector and they are somebody else's.
///
/// Upstream: staging/src/k8s.io/endpointslice/reconciler.go, reconcileByAddressType.
/// Shown by: pods_that_terminate_stay_in_the_slices_and_pods_with_other_ports_have_their_own.
#[must_use]
pub fn slices<'a>(
    service: &Service,
    node_name: &str,
    candidates: impl Iterator<Item = Candidate<'a>>,
) -> Vec<EndpointSlice> {
    let mut by_ports = BTreeMap::<_, BTreeMap<_, _>>::new();
    for candidate in candidates {
        let (Some(ip), Some(conditions), true) = (
            address_of(service, candidate),
            slice_conditions(service, candidate),
            service.selector.is_some(),
        ) else {
            continue;
        };
        let ports = service.ports.iter().filter_map(|port| {
            Some(EndpointPort {
                name: port.name.clone(),
                port: target_port(port, candidate.pod)?,
                protocol: port.protocol,
            })
        });
        let endpoint = SliceEndpoint {
            address: address(service, node_name, candidate.pod, ip),
            conditions,
        };
        by_ports
            .entry((ip.is_ipv6(), ports.collect()))
            .or_default()
            .insert((ip, candidate.pod.uid.clone()), endpoint);
    }
    by_ports
        .into_iter()
        .map(|((is_ipv6, ports), endpoints)| EndpointSlice {
            is_ipv6,
            endpoints: endpoints.into_values().collect(),
            ports,
        })
        .collect()
}

/// Addresses in the order in which Endpoints list them, each with whether it is ready.
type AddressSet = BTreeMap<(IpAddr, PodUid), (bool, EndpointAddress)>;

/// Ports that the same addresses serve share a subset.
///
/// Upstream: pkg/api/v1/endpoints/util.go, RepackSubsets.
/// Shown by: ports_that_the_same_addresses_serve_share_a_subset,
/// f11_a_ready_and_an_unready_pod_share_a_subset.
fn repack(by_port: BTreeMap<Option<EndpointPort>, AddressSet>) -> Vec<EndpointSubset> {
    let mut groups: Vec<(AddressSet, Vec<EndpointPort>)> = Vec::new();
    for (port, addresses) in by_port {
        match groups
            .iter_mut()
            .find(|(of_group, _)| *of_group == addresses)
        {
            Some((_, ports)) => ports.extend(port),
            None => groups.push((addresses, port.into_iter().collect())),
        }
    }
    let subset = |(addresses, ports): (AddressSet, Vec<EndpointPort>)| {
        let (ready, not_ready): (Vec<_>, Vec<_>) =
            addresses.into_values().partition(|(ready, _)| *ready);
        let plain =
            |of: Vec<(bool, EndpointAddress)>| of.into_iter().map(|(_, address)| address).collect();
        EndpointSubset {
            addresses: plain(ready),
            not_ready_addresses: plain(not_ready),
            ports,
        }
    };
    groups.into_iter().map(subset).collect()
}

/// The pod's address, if the pod can be behind a Service at all.
fn address_of(service: &Service, candidate: Candidate<'_>) -> Option<IpAddr> {
    let selected = service.meta.namespace == candidate.pod.meta.namespace
        && service.selects(&candidate.pod.meta.labels);
    candidate
        .status
        .pod_ip
        .filter(|_| selected && !candidate.status.phase.is_terminal())
}

fn address(service: &Service, node_name: &str, pod: &Pod, ip: IpAddr) -> EndpointAddress {
    let named = pod.subdomain.as_deref() == Some(service.meta.name.as_str());
    EndpointAddress {
        ip,
        hostname: named.then(|| pod.hostname.clone()),
        node_name: node_name.to_owned(),
        target_ref: TargetRef {
            kind: "Pod".to_owned(),
            namespace: pod.meta.namespace.clone(),
            name: pod.meta.name.clone(),
            uid: pod.uid.clone(),
        },
    }
}

/// The pod's port behind a Service's port: the first of that name and protocol, over the regular
/// containers and then the sidecars.
///
/// Upstream: pkg/api/v1/pod/util.go, FindPort.
/// Shown by: f10_a_named_port_that_the_pod_has_not, a_named_port_may_be_a_sidecars.
fn target_port(port: &ServicePort, pod: &Pod) -> Option<u16> {
    match &port.target_port {
        PortRef::Number(number) => Some(*number),
        PortRef::Name(name) => pod
            .containers
            .iter()
            .chain(
                pod.init_containers
                    .iter()
                    .filter(|container| container.is_restartable_init()),
            )
            .flat_map(|container| &container.ports)
            .find(|candidate| {
                candidate.name.as_ref() == Some(name) && candidate.protocol == port.protocol
            })
            .map(|candidate| candidate.number),
    }
}
