//! `cluster.local`: what its names mean.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use probelet_model::pod::Protocol;
use probelet_model::service::{EndpointAddress, EndpointPort, Endpoints, Service, ServicePort};

use crate::message::{Data, Query, Record, RecordType, Reply, ResponseCode};
use crate::{CLUSTER_DOMAIN, reverse};

/// The version of the specification that names follow.
const SCHEMA_VERSION: &str = "1.1.0";

/// Namespace and name of a Service.
type Key = (String, String);

/// A Service as it is found by name.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    /// The Service.
    pub service: &'a Service,
    /// Who is behind it.
    pub endpoints: &'a Endpoints,
    /// Its own address; `None` for a headless one, and for one that has none yet.
    pub address: Option<Ipv4Addr>,
}

/// All names of a cluster: a pure function of what it is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    services: BTreeMap<Key, Entry>,
    /// Services by their own addresses.
    by_address: BTreeMap<IpAddr, Key>,
    /// Pods behind Services: the names they have there.
    by_endpoint: BTreeMap<IpAddr, Vec<String>>,
    server: Option<Ipv4Addr>,
    serial: u32,
}

/// One Service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    headless: bool,
    address: Option<Ipv4Addr>,
    ports: Vec<ServicePort>,
    endpoints: Vec<Endpoint>,
}

/// One port of one pod behind a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    ip: IpAddr,
    /// Its name among those of the Service.
    label: String,
    /// `None` if the Service has no ports at all.
    port: Option<EndpointPort>,
}

/// What is said to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The answer.
    pub reply: Reply,
    /// The Service whose own address is in it: namespace and name.
    pub service: Option<(String, String)>,
}

/// What a name leads to.
enum Found {
    /// Names and addresses, with a port where there is one.
    Items(Vec<Item>, Option<Key>),
    /// The name is there, and has nothing.
    Empty,
    /// There is no such name.
    Nothing,
}

struct Item {
    /// The name that has the address.
    name: String,
    ip: IpAddr,
    port: Option<u16>,
}

impl Zone {
    /// The names of these Services. The zone's own server is at `server`; `serial` grows with each zone.
    #[must_use]
    pub fn new<'a>(
        services: impl IntoIterator<Item = Published<'a>>,
        server: Ipv4Addr,
        serial: u32,
    ) -> Self {
        let mut zone = Self {
            server: Some(server),
            serial,
            ..Self::default()
        };
        for published in services {
            zone.publish(published);
        }
        for names in zone.by_endpoint.values_mut() {
            names.sort();
            names.dedup();
        }
        zone
    }

    fn publish(&mut self, published: Published<'_>) {
        let meta = &published.service.meta;
        let key = (meta.namespace.clone(), meta.name.clone());
        let endpoints = endpoints(published.endpoints);
        for endpoint in &endpoints {
            let name = format!("{}.{}", endpoint.label, of_service(&key));
            self.by_endpoint.entry(endpoint.ip).or_default().push(name);
        }
        if let Some(address) = published.address {
            self.by_address.insert(address.into(), key.clone());
        }
        let entry = Entry {
            headless: published.service.headless,
            address: published.address,
            ports: published.service.ports.clone(),
            endpoints,
        };
        self.services.insert(key, entry);
    }

    /// The answer to a question about the cluster; `None` if it is about something else.
    ///
    /// Upstream: coredns plugin/kubernetes/kubernetes.go, Records, findServices and findPods (pods insecure);
    /// plugin/backend_lookup.go, A, AAAA, SRV and PTR; kubernetes/dns specification 1.1.0.
    /// Differs: the serial grows by changes, not by seconds.
    /// Shown by: a_service_is_found_by_name_port_and_address, a_headless_service_is_its_ready_pods,
    /// what_is_not_there_is_told_from_what_has_nothing, a_pod_is_found_by_its_address,
    /// an_address_has_the_name_of_its_service.
    #[must_use]
    pub fn answer(&self, query: &Query) -> Option<Answer> {
        let labels = query.labels()?;
        let kind = query.kind();
        if let Some(address) = reverse::address(labels) {
            return self.reverse(&labels.join("."), address, kind);
        }
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let [base @ .., "cluster", "local"] = &labels[..] else {
            return None;
        };
        let name = labels.join(".");
        if let Some(record) = self.own(base, &name, kind) {
            return Some(self.found(vec![record], Vec::new(), None));
        }
        Some(match self.find(base) {
            Found::Nothing => self.negative(ResponseCode::NameError),
            Found::Empty => self.negative(ResponseCode::NoError),
            Found::Items(items, service) => self.of_items(&name, kind, &items, service),
        })
    }

    /// What the zone says of itself.
    fn own(&self, base: &[&str], name: &str, kind: RecordType) -> Option<Record> {
        let data = match (base, kind) {
            ([], RecordType::SOA) => return Some(self.start()),
            ([], RecordType::NS) => Data::Ns(format!("ns.dns.{CLUSTER_DOMAIN}")),
            (["ns", "dns"], RecordType::A) => Data::A(self.server?),
            (["dns-version"], RecordType::TXT) => Data::Txt(SCHEMA_VERSION.to_owned()),
            _ => return None,
        };
        Some(record(name, data))
    }

    fn find(&self, base: &[&str]) -> Found {
        match base {
            [] | ["svc" | "pod"] | [_, "svc" | "pod"] | ["ns", "dns"] | ["dns" | "dns-version"] => {
                Found::Empty
            }
            [pod, _, "pod"] => of_pod(pod, base),
            [service, namespace, "svc"] => self.of_service(namespace, service, None),
            [label, service, namespace, "svc"] => self.of_endpoint(namespace, service, label),
            [port, protocol, service, namespace, "svc"] => {
                self.of_service(namespace, service, Some((bare(port), bare(protocol))))
            }
            _ => Found::Nothing,
        }
    }

    fn of_service(&self, namespace: &str, name: &str, port: Option<(&str, &str)>) -> Found {
        let key = (namespace.to_owned(), name.to_owned());
        let Some(entry) = self.services.get(&key) else {
            return Found::Nothing;
        };
        let wanted = |name: &str, protocol: Protocol| {
            port.is_none_or(|port| port == (&*name.to_ascii_lowercase(), word(protocol)))
        };
        if entry.headless {
            let items = entry.endpoints.iter().filter(|endpoint| {
                endpoint
                    .port
                    .as_ref()
                    .map_or(port.is_none(), |port| wanted(&port.name, port.protocol))
            });
            return endpoint_items(items, &key);
        }
        let name = of_service(&key);
        let ports = entry
            .ports
            .iter()
            .filter(|port| wanted(&port.name, port.protocol));
        let items: Vec<Item> = ports
            .filter_map(|port| {
                Some(Item {
                    name: name.clone(),
                    ip: entry.address?.into(),
                    port: Some(port.port),
                })
            })
            .collect();
        if items.is_empty() {
            return Found::Nothing;
        }
        Found::Items(items, Some(key))
    }

    fn of_endpoint(&self, namespace: &str, service: &str, label: &str) -> Found {
        let key = (namespace.to_owned(), service.to_owned());
        let endpoints = self.services.get(&key).map(|entry| &entry.endpoints);
        let named = endpoints
            .into_iter()
            .flatten()
            .filter(|endpoint| endpoint.label.eq_ignore_ascii_case(label));
        endpoint_items(named, &key)
    }

    fn of_items(
        &self,
        name: &str,
        kind: RecordType,
        items: &[Item],
        service: Option<Key>,
    ) -> Answer {
        if kind == RecordType::SRV {
            return self.of_ports(name, items, service);
        }
        let mut answers: Vec<Record> = Vec::new();
        for item in items {
            let record = record(name, address(item.ip));
            let is_wanted = matches!(
                (kind, item.ip),
                (RecordType::ANY, _)
                    | (RecordType::A, IpAddr::V4(_))
                    | (RecordType::AAAA, IpAddr::V6(_))
            );
            if is_wanted && !answers.contains(&record) {
                answers.push(record);
            }
        }
        self.found(answers, Vec::new(), service)
    }

    /// Each pair of name and port once, all with the same weight.
    fn of_ports(&self, name: &str, items: &[Item], service: Option<Key>) -> Answer {
        let weight = u16::try_from(100 / items.len().max(1))
            .unwrap_or(100)
            .max(1);
        let (mut answers, mut additional): (Vec<Record>, Vec<Record>) = (Vec::new(), Vec::new());
        for item in items {
            let Some(port) = item.port else {
                continue;
            };
            let target = item.name.clone();
            let answer = record(
                name,
                Data::Srv {
                    weight,
                    port,
                    target,
                },
            );
            let known = record(&item.name, address(item.ip));
            if !answers.contains(&answer) {
                answers.push(answer);
            }
            if !additional.contains(&known) {
                additional.push(known);
            }
        }
        self.found(answers, additional, service)
    }

    /// Addresses that no Service has are others' matter.
    fn reverse(&self, name: &str, address: IpAddr, kind: RecordType) -> Option<Answer> {
        let names = match (
            self.by_address.get(&address),
            self.by_endpoint.get(&address),
        ) {
            (Some(key), _) => vec![of_service(key)],
            (None, Some(names)) => names.clone(),
            (None, None) => return None,
        };
        let is_wanted = matches!(kind, RecordType::PTR | RecordType::ANY);
        let names = names.into_iter().filter(|_| is_wanted);
        let answers = names.map(|target| record(name, Data::Ptr(target)));
        Some(self.found(answers.collect(), Vec::new(), None))
    }

    fn found(&self, answers: Vec<Record>, additional: Vec<Record>, service: Option<Key>) -> Answer {
        if answers.is_empty() {
            return self.negative(ResponseCode::NoError);
        }
        let reply = Reply {
            authoritative: true,
            answers,
            additional,
            ..Reply::of(ResponseCode::NoError)
        };
        Answer { reply, service }
    }

    fn negative(&self, code: ResponseCode) -> Answer {
        let reply = Reply {
            authoritative: true,
            authority: vec![self.start()],
            ..Reply::of(code)
        };
        Answer {
            reply,
            service: None,
        }
    }

    /// The record that says for how long the lack of a name may be kept.
    ///
    /// Upstream: coredns plugin/backend_lookup.go, SOA.
    /// Shown by: what_is_not_there_is_told_from_what_has_nothing.
    fn start(&self) -> Record {
        let soa = Data::Soa {
            server: format!("ns.dns.{CLUSTER_DOMAIN}"),
            mailbox: format!("hostmaster.{CLUSTER_DOMAIN}"),
            serial: self.serial,
        };
        record(CLUSTER_DOMAIN, soa)
    }
}

fn record(name: &str, data: Data) -> Record {
    Record {
        name: name.to_owned(),
        data,
    }
}

const fn address(ip: IpAddr) -> Data {
    match ip {
        IpAddr::V4(ip) => Data::A(ip),
        IpAddr::V6(ip) => Data::Aaaa(ip),
    }
}

fn of_service((namespace, name): &Key) -> String {
    format!("{name}.{namespace}.svc.{CLUSTER_DOMAIN}")
}

fn endpoints(endpoints: &Endpoints) -> Vec<Endpoint> {
    let mut all = Vec::new();
    for subset in &endpoints.subsets {
        for address in &subset.addresses {
            let endpoint = |port: Option<EndpointPort>| Endpoint {
                ip: address.ip,
                label: label(address),
                port,
            };
            if subset.ports.is_empty() {
                all.push(endpoint(None));
            }
            all.extend(subset.ports.iter().cloned().map(Some).map(endpoint));
        }
    }
    all
}

/// The pod's host name, else its address with dashes.
///
/// Upstream: coredns plugin/kubernetes/kubernetes.go, endpointHostname.
/// Shown by: a_headless_service_is_its_ready_pods.
fn label(address: &EndpointAddress) -> String {
    let hostname = address.hostname.as_ref().filter(|name| !name.is_empty());
    hostname
        .cloned()
        .unwrap_or_else(|| address.ip.to_string().replace(['.', ':'], "-"))
}

fn endpoint_items<'a>(endpoints: impl Iterator<Item = &'a Endpoint>, key: &Key) -> Found {
    let items: Vec<Item> = endpoints
        .map(|endpoint| Item {
            name: format!("{}.{}", endpoint.label, of_service(key)),
            ip: endpoint.ip,
            port: endpoint.port.as_ref().map(|port| port.port),
        })
        .collect();
    if items.is_empty() {
        return Found::Nothing;
    }
    Found::Items(items, None)
}

/// The name of any address: nobody looks whether there is such a pod.
fn of_pod(label: &str, base: &[&str]) -> Found {
    let is_v4 = label.matches('-').count() == 3 && !label.contains("--");
    let ip = label.replace('-', if is_v4 { "." } else { ":" });
    match ip.parse() {
        Ok(ip) => {
            let name = format!("{}.{CLUSTER_DOMAIN}", base.join("."));
            let item = Item {
                name,
                ip,
                port: None,
            };
            Found::Items(vec![item], None)
        }
        Err(_) => Found::Nothing,
    }
}

fn bare(label: &str) -> &str {
    label.strip_prefix('_').unwrap_or(label)
}

const fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

#[cfg(test)]
mod tests;
