//! What should answer where, and with which pods behind it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use probelet_model::id::PodUid;
use probelet_model::pod::Protocol;
use probelet_model::service::{Endpoints, Service, ServicePort};

use crate::address::{self, HOST_ADDRESS, HostAddresses};

/// All that a driver has to make true.
///
/// A plan is a pure function of what it is made from: equal Services and Endpoints give an equal plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One for each Service that has an address, by namespace and name; a headless one has none.
    pub services: Vec<ServicePlan>,
}

/// One Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan {
    /// Which.
    pub key: ServiceKey,
    /// The address that is the Service's own: pods meet it there, on each port's number, and so does the
    /// host, as far as it can.
    pub ip: Ipv4Addr,
    /// The ports that are carried, in the order of the Service.
    pub ports: Vec<PortPlan>,
    /// The ports that are not.
    pub not_carried: Vec<NotCarried>,
}

/// One TCP port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// The port's name, empty if the Service has only one.
    pub name: String,
    /// The Service's port number.
    pub port: u16,
    /// The addresses to listen on, the most wanted first; one that cannot be had leads to the next. Port
    /// 0 is any port.
    pub listen: Vec<SocketAddr>,
    /// The pods that take new connections; ordered, no two equal.
    pub backends: Vec<Backend>,
}

/// A port of a ready pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    /// The pod's IP, in the pod's network namespace.
    pub ip: IpAddr,
    /// The pod's port.
    pub port: u16,
    /// The pod.
    pub pod: PodUid,
}

/// A port that this proxy does nothing for; somebody should be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCarried {
    /// The port's name.
    pub name: String,
    /// The Service's port number.
    pub port: u16,
    /// Why: anything but TCP.
    pub protocol: Protocol,
}

/// Namespace and name of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Plan {
    /// The plan for these Services: each port goes to the ready addresses of the port of its name.
    ///
    /// Upstream: pkg/proxy/endpointslicecache.go, newServiceInfo, and pkg/proxy/topology.go,
    /// CategorizeEndpoints; only ready endpoints.
    /// Differs: when no endpoint is ready, kube-proxy falls back to terminating ones that still serve;
    /// Endpoints do not list those, so nothing is left and connections are refused.
    /// Shown by: only_ready_addresses_of_the_same_port_are_backends.
    #[must_use]
    pub fn new(services: &[(Service, Endpoints)]) -> Self {
        let mut services: Vec<_> = services
            .iter()
            .filter(|(service, _)| !service.headless)
            .collect();
        services.sort_by_key(|(service, _)| ServiceKey::of(service));
        let wishes = services
            .iter()
            .map(|(service, _)| (ServiceKey::of(service), annotated(service)));
        let ips = address::assign(&wishes.collect::<Vec<_>>());
        let plans = services
            .into_iter()
            .zip(ips)
            .map(|((service, endpoints), ip)| plan(service, endpoints, ip));
        Self {
            services: plans.collect(),
        }
    }
}

impl ServiceKey {
    /// Which Service this is.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        Self {
            namespace: service.meta.namespace.clone(),
            name: service.meta.name.clone(),
        }
    }
}

/// The addresses the Service had before, or was given by its author. What cannot be read is as good as
/// nothing: it is written anew.
fn annotated(service: &Service) -> HostAddresses {
    service
        .meta
        .annotations
        .get(HOST_ADDRESS)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

fn plan(service: &Service, endpoints: &Endpoints, ip: Ipv4Addr) -> ServicePlan {
    let (carried, other): (Vec<_>, Vec<_>) = service
        .ports
        .iter()
        .partition(|port| port.protocol == Protocol::Tcp);
    let numbers: Vec<u16> = carried.iter().map(|port| port.port).collect();
    let listen = address::wishes(&annotated(service), &numbers, ip);
    let ports = carried
        .into_iter()
        .zip(listen)
        .map(|(port, listen)| PortPlan {
            name: port.name.clone(),
            port: port.port,
            listen,
            backends: backends(port, endpoints),
        });
    let ports = ports.collect();
    let not_carried = other.into_iter().map(|port| NotCarried {
        name: port.name.clone(),
        port: port.port,
        protocol: port.protocol,
    });
    ServicePlan {
        key: ServiceKey::of(service),
        ip,
        ports,
        not_carried: not_carried.collect(),
    }
}

fn backends(service_port: &ServicePort, endpoints: &Endpoints) -> Vec<Backend> {
    let mut backends = BTreeSet::new();
    for subset in &endpoints.subsets {
        let ports = subset.ports.iter().filter(|port| {
            port.name == service_port.name && port.protocol == service_port.protocol
        });
        for port in ports {
            backends.extend(subset.addresses.iter().map(|address| Backend {
                ip: address.ip,
                port: port.port,
                pod: address.target_ref.uid.clone(),
            }));
        }
    }
    backends.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use probelet_model::probe::PortRef;
    use probelet_model::service::{EndpointAddress, EndpointPort, EndpointSubset, TargetRef};

    use super::*;

    fn service(name: &str, ports: &[(&str, Protocol, u16)]) -> Service {
        let ports = ports.iter().map(|&(name, protocol, port)| ServicePort {
            name: name.to_owned(),
            protocol,
            port,
            target_port: PortRef::Number(port),
        });
        Service {
            uid: String::new(),
            meta: probelet_model::pod::Meta {
                name: name.to_owned(),
                namespace: "default".to_owned(),
                ..Default::default()
            },
            selector: None,
            ports: ports.collect(),
            publish_not_ready_addresses: false,
            headless: false,
        }
    }

    fn address(uid: &str, ip: [u8; 4]) -> EndpointAddress {
        EndpointAddress {
            ip: ip.into(),
            hostname: None,
            node_name: "node".to_owned(),
            target_ref: TargetRef {
                kind: "Pod".to_owned(),
                namespace: "default".to_owned(),
                name: uid.to_owned(),
                uid: uid.into(),
            },
        }
    }

    fn port(name: &str, protocol: Protocol, port: u16) -> EndpointPort {
        EndpointPort {
            name: name.to_owned(),
            port,
            protocol,
        }
    }

    #[test]
    fn only_ready_addresses_of_the_same_port_are_backends() {
        let service = service(
            "web",
            &[("http", Protocol::Tcp, 80), ("admin", Protocol::Tcp, 9000)],
        );
        let endpoints = Endpoints {
            subsets: vec![
                EndpointSubset {
                    addresses: vec![address("b", [10, 0, 0, 2]), address("a", [10, 0, 0, 1])],
                    not_ready_addresses: vec![address("c", [10, 0, 0, 3])],
                    ports: vec![
                        port("http", Protocol::Tcp, 8080),
                        port("admin", Protocol::Udp, 1),
                    ],
                },
                EndpointSubset {
                    addresses: vec![address("d", [10, 0, 0, 4]), address("a", [10, 0, 0, 1])],
                    not_ready_addresses: vec![],
                    ports: vec![
                        port("http", Protocol::Tcp, 8080),
                        port("http", Protocol::Tcp, 8081),
                    ],
                },
            ],
        };
        let plan = Plan::new(&[(service, endpoints)]);
        let [http, admin] = &plan.services[0].ports[..] else {
            panic!("two ports")
        };
        let told: Vec<_> = http
            .backends
            .iter()
            .map(|b| format!("{} {}:{}", b.pod, b.ip, b.port))
            .collect();
        let expected = [
            "a 10.0.0.1:8080",
            "a 10.0.0.1:8081",
            "b 10.0.0.2:8080",
            "d 10.0.0.4:8080",
            "d 10.0.0.4:8081",
        ];
        assert_eq!(told, expected);
        assert_eq!(admin.backends, []);
    }

    #[test]
    fn what_is_not_tcp_is_named_and_a_headless_service_is_left_out() {
        let mixed = service(
            "dns",
            &[("udp", Protocol::Udp, 53), ("tcp", Protocol::Tcp, 53)],
        );
        let headless = Service {
            headless: true,
            ..service("peers", &[("", Protocol::Tcp, 80)])
        };
        let plan = Plan::new(&[
            (headless, Endpoints::default()),
            (mixed, Endpoints::default()),
        ]);
        let [dns] = &plan.services[..] else {
            panic!("one service")
        };
        assert_eq!(
            dns.ports.iter().map(|port| &*port.name).collect::<Vec<_>>(),
            ["tcp"]
        );
        let udp = NotCarried {
            name: "udp".to_owned(),
            port: 53,
            protocol: Protocol::Udp,
        };
        assert_eq!(dns.not_carried, [udp]);
    }

    #[test]
    fn the_order_of_the_services_does_not_matter() {
        let services: Vec<_> = ["c", "a", "b"]
            .map(|name| {
                (
                    service(name, &[("", Protocol::Tcp, 80)]),
                    Endpoints::default(),
                )
            })
            .to_vec();
        let mut turned = services.clone();
        turned.reverse();
        assert_eq!(Plan::new(&services), Plan::new(&turned));
        let keys: Vec<_> = Plan::new(&services)
            .services
            .into_iter()
            .map(|service| service.key.name)
            .collect();
        assert_eq!(keys, ["a", "b", "c"]);
    }

    #[test]
    fn a_kept_address_comes_first_and_is_taken_from_nobody() {
        let plain = service("a", &[("", Protocol::Tcp, 80)]);
        let fresh = Plan::new(&[(plain.clone(), Endpoints::default())]);
        let wanted = fresh.services[0].ports[0].listen[0].ip();
        let mut other = service("z", &[("", Protocol::Tcp, 80)]);
        other
            .meta
            .annotations
            .insert(HOST_ADDRESS.to_owned(), format!("{wanted}:7070"));
        let plan = Plan::new(&[(plain, Endpoints::default()), (other, Endpoints::default())]);
        assert_ne!(
            plan.services[0].ports[0].listen[0].ip(),
            wanted,
            "it is somebody else's now"
        );
        assert_eq!(
            plan.services[1].ports[0].listen[0].to_string(),
            format!("{wanted}:7070")
        );
    }
}
