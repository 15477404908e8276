//! Services to traffic: keeps the proxy's plan in step with the store.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use probelet_model::id::{Kind, ObjectKey, PodUid};
use probelet_model::service::{Endpoints, Service};
use probelet_proxy::{Connect, HOST_ADDRESS, Plan, ServiceKey, Userspace};
use probelet_runtime::{Family, Runtime};
use probelet_store::{Durability, Store, WriteError};
use rustix::process::{Resource, getrlimit};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};

use crate::names::Names;
use crate::objects;

/// Reaches pods through sockets of their own network namespaces.
#[derive(Debug)]
pub(crate) struct PodConnections<R>(pub(crate) Arc<R>);

impl<R: Runtime> Connect for PodConnections<R> {
    async fn connect(&self, pod: &PodUid, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = self
            .0
            .tcp_socket(pod, Family::of(address.ip()))
            .await
            .map_err(io::Error::other)?;
        TcpSocket::from_std_stream(socket.into())
            .connect(address)
            .await
    }
}

/// Of the files this process may have open, doors in pods may take a half: each takes two.
const PART_OF_DOORS: u64 = 4;

/// The Services, and the proxy that carries their traffic.
#[derive(Debug)]
pub(crate) struct Traffic<R> {
    proxy: Arc<Userspace<PodConnections<R>>>,
    names: Arc<Names<R>>,
    services: BTreeMap<ObjectKey, (Service, Endpoints)>,
    told: BTreeMap<ObjectKey, String>,
}

impl<R: Runtime> Traffic<R> {
    pub(crate) fn new(runtime: Arc<R>) -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let doors = usize::try_from(files / PART_OF_DOORS).unwrap_or(usize::MAX);
        let proxy = Userspace::new(PodConnections(Arc::clone(&runtime)), doors);
        let proxy = Arc::new(proxy);
        Self {
            names: Arc::new(Names::new(runtime, Arc::clone(&proxy))),
            proxy,
            services: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// What pods know of the Services.
    pub(crate) const fn names(&self) -> &Arc<Names<R>> {
        &self.names
    }

    pub(crate) fn service(&mut self, key: &ObjectKey, service: Service) {
        let endpoints = self
            .services
            .remove(key)
            .map(|(_, endpoints)| endpoints)
            .unwrap_or_default();
        self.services.insert(key.clone(), (service, endpoints));
    }

    pub(crate) fn endpoints(&mut self, key: &ObjectKey, endpoints: Endpoints) {
        if let Some((_, before)) = self.services.get_mut(key) {
            *before = endpoints;
        }
    }

    /// Those that it knows.
    pub(crate) fn services(&self) -> Vec<ObjectKey> {
        self.services.keys().cloned().collect()
    }

    pub(crate) fn forget(&mut self, key: &ObjectKey) {
        self.services.remove(key);
        self.told.remove(key);
    }

    /// Makes what is known true. When this returns, the next connection follows it. Returns the host
    /// addresses that are new since the last time, having written them to their Services.
    pub(crate) fn apply(&mut self, store: &Store) -> Vec<(ObjectKey, String)> {
        let services: Vec<_> = self.services.values().cloned().collect();
        let plan = Plan::new(&services);
        let applied = self.proxy.apply(&plan);
        self.names.publish(&self.services, &plan, &applied);
        let ips: BTreeMap<&ServiceKey, Ipv4Addr> = plan
            .services
            .iter()
            .map(|service| (&service.key, service.ip))
            .collect();
        for port in &applied.ports {
            if let Err(error) = &port.address {
                tracing::warn!(service = %port.service, port = port.port, "no address on the host: {error}");
            }
        }
        let mut news = Vec::new();
        for key in self.services.keys() {
            let service = ServiceKey {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
            };
            let Some(address) = applied
                .host_addresses(&service)
                .map(|addresses| addresses.to_string())
            else {
                continue;
            };
            if self.told.get(key) != Some(&address) {
                annotate(store, key, &address, ips.get(&service).copied());
                self.told.insert(key.clone(), address.clone());
                news.push((key.clone(), address));
            }
        }
        news
    }

    /// Ends all connections.
    pub(crate) async fn shutdown(self) {
        self.names.end();
        self.proxy.shutdown().await;
    }
}

/// The address that pods reach a Service at is its cluster IP, as far as it has one; the host does too, unless
/// its author has chosen another.
///
/// Upstream: pkg/registry/core/service/storage/alloc.go, allocateCreate.
/// Differs: it is a loopback address of the host, by a hash of the Service's name, and none of a range for all
/// nodes.
/// Shown by: a_service_has_its_host_address_as_cluster_ip_unless_it_has_one_or_wants_none.
fn give_cluster_ip(service: &mut Value, ip: Ipv4Addr) {
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let is_taken = spec
        .get("clusterIP")
        .and_then(Value::as_str)
        .is_some_and(|address| !address.is_empty());
    if is_taken || spec.get("type").is_some_and(|kind| kind == "ExternalName") {
        return;
    }
    spec.insert("clusterIP".to_owned(), ip.to_string().into());
    spec.insert("clusterIPs".to_owned(), serde_json::json!([ip]));
    spec.insert("ipFamilies".to_owned(), serde_json::json!(["IPv4"]));
    spec.insert("ipFamilyPolicy".to_owned(), "SingleStack".into());
}

fn annotate(store: &Store, key: &ObjectKey, address: &str, ip: Option<Ipv4Addr>) {
    let written = store.transact(Durability::Derived, |transaction| {
        let Some(there) = transaction.get(key) else {
            return Ok(());
        };
        let mut value = (*there.value).clone();
        let metadata = objects::metadata_of(&mut value);
        let annotations = metadata
            .entry("annotations")
            .or_insert_with(|| serde_json::json!({}));
        annotations[HOST_ADDRESS] = address.into();
        if let Some(ip) = ip {
            give_cluster_ip(&mut value, ip);
        }
        transaction.update(key.clone(), None, value).map(drop)
    });
    if let Err(error) = written {
        let error: probelet_store::TransactError<WriteError> = error;
        tracing::warn!("cannot write the address of {key}: {error}");
    }
}

/// The Endpoints that are stored for a Service.
pub(crate) fn stored_endpoints(store: &Store, service: &ObjectKey) -> Endpoints {
    let key = ObjectKey::new(Kind::Endpoints, &service.namespace, &service.name);
    let there = store.get(&key);
    there
        .and_then(|there| serde_json::from_value((*there.value).clone()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_has_its_host_address_as_cluster_ip_unless_it_has_one_or_wants_none() {
        let given = json!({
            "clusterIP": "127.213.0.5",
            "clusterIPs": ["127.213.0.5"],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
        });
        for (spec, expected) in [
            (json!({}), given.clone()),
            (json!({ "clusterIP": "" }), given),
            (
                json!({ "clusterIP": "None" }),
                json!({ "clusterIP": "None" }),
            ),
            (
                json!({ "clusterIP": "10.96.0.1" }),
                json!({ "clusterIP": "10.96.0.1" }),
            ),
            (
                json!({ "type": "ExternalName" }),
                json!({ "type": "ExternalName" }),
            ),
        ] {
            let mut service = json!({ "spec": spec });
            give_cluster_ip(&mut service, Ipv4Addr::new(127, 213, 0, 5));
            assert_eq!(service["spec"], expected);
        }
    }
}
