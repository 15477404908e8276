//! Names and Services inside pods.
//!
//! A pod with its own network namespace meets Services at their own addresses: a socket there for each port,
//! a door of the proxy, which leads to the same backends as the port on the host. Doors cost descriptors, so
//! they are made when they are first needed: when a question for the Service's name is answered, before the
//! answer goes out; and before a container starts whose environment tells of the Service. A pod that an agent
//! finds standing gets those of all Services, since nobody knows what it has been told. When there are as
//! many as this process may hold, a name without a door is answered with a failure, which resolvers report as
//! a temporary one.
//!
//! Questions come to sockets in the pod (`server`); what is not of the cluster is asked of the host's
//! nameservers (`forward`).
//!
//! While no agent runs, nobody answers: a pod's questions and connections are refused, as those on the host.

mod files;
mod forward;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use probelet_model::id::{ObjectKey, PodUid};
use probelet_model::pod::{Pod, Protocol};
use probelet_model::service::{Endpoints, Service};
use probelet_names::{Published, Zone};
use probelet_proxy::{
    Applied, Backend, HostPort, HostPortError, NAMES, NoRoom, Plan, ServiceKey, Userspace,
};
use probelet_runtime::{Runtime, RuntimeError, Transport};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::AbortHandle;

use self::forward::Forwarder;
use crate::traffic::PodConnections;

pub(crate) use self::files::Files;

/// Where names are asked for.
const DNS: SocketAddr = SocketAddr::new(IpAddr::V4(NAMES), 53);

/// What the pods of this node know of Services, and how they reach them.
#[derive(Debug)]
pub(crate) struct Names<R> {
    runtime: Arc<R>,
    proxy: Arc<Userspace<PodConnections<R>>>,
    known: RwLock<Arc<Known>>,
    pods: Mutex<BTreeMap<PodUid, Arc<Entered>>>,
    /// Those who answer on the host; nobody does before it is asked for.
    host: Mutex<Option<Vec<AbortHandle>>>,
    forwarder: Arc<Forwarder>,
}

/// Services as they are now.
#[derive(Debug, Default)]
struct Known {
    zone: Zone,
    serial: u32,
    /// Their own addresses and the ports that are carried.
    services: BTreeMap<ServiceKey, (Ipv4Addr, Vec<u16>)>,
    /// Those that the host reaches at the same addresses and ports.
    on_host: BTreeSet<ServiceKey>,
}

/// A pod that has doors.
#[derive(Debug)]
struct Entered {
    eager: Eager,
    /// Held while doors are being opened, so that no two are opened for one port.
    opening: tokio::sync::Mutex<()>,
    servers: Mutex<Vec<AbortHandle>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let servers = self.servers.get_mut();
        for server in servers.unwrap_or_else(PoisonError::into_inner) {
            server.abort();
        }
    }
}

/// Of which Services a pod has doors before it asks for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Eager {
    /// Those that its environment tells of.
    Links {
        /// The pod's namespace.
        namespace: String,
        /// `enableServiceLinks`; else only those that every environment has.
        own: bool,
    },
    /// All: it was here before this agent.
    All,
}

impl Eager {
    /// Those of a pod that is about to start.
    pub(crate) fn links(pod: &Pod) -> Self {
        Self::Links {
            namespace: pod.meta.namespace.clone(),
            own: pod.enable_service_links,
        }
    }

    /// As `probelet_model::environment` chooses.
    fn wants(&self, service: &ServiceKey) -> bool {
        match self {
            Self::Links { namespace, own } => {
                (*own && service.namespace == *namespace)
                    || (service.namespace == "default" && service.name == "kubernetes")
            }
            Self::All => true,
        }
    }
}

/// Why a Service cannot be reached in a pod.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error("{address}: {source}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
}

impl<R: Runtime> Names<R> {
    pub(crate) fn new(runtime: Arc<R>, proxy: Arc<Userspace<PodConnections<R>>>) -> Self {
        Self {
            runtime,
            proxy,
            known: RwLock::default(),
            pods: Mutex::default(),
            host: Mutex::default(),
            forwarder: Arc::default(),
        }
    }

    /// What has been made of the Services, and of the plan that the proxy follows already. Pods that have
    /// doors of Services before they ask get those of new ones.
    pub(crate) fn publish(
        self: &Arc<Self>,
        services: &BTreeMap<ObjectKey, (Service, Endpoints)>,
        plan: &Plan,
        applied: &Applied,
    ) {
        let before = self.known();
        let ports = |service: &probelet_proxy::ServicePlan| {
            let numbers = service.ports.iter().map(|port| port.port).collect();
            (service.key.clone(), (service.ip, numbers))
        };
        let planned: BTreeMap<ServiceKey, (Ipv4Addr, Vec<u16>)> =
            plan.services.iter().map(ports).collect();
        let serial = before.serial.wrapping_add(1);
        let published = services.values().map(|(service, endpoints)| Published {
            service,
            endpoints,
            address: planned.get(&ServiceKey::of(service)).map(|(ip, _)| *ip),
        });
        let zone = Zone::new(published, NAMES, serial);
        let is_same = |port: &probelet_proxy::PortStatus| {
            let own = planned.get(&port.service).map(|(ip, _)| *ip);
            let own = own.map(|ip| SocketAddr::from((ip, port.port)));
            port.address.as_ref().ok() == own.as_ref()
        };
        let elsewhere: BTreeSet<&ServiceKey> = applied
            .ports
            .iter()
            .filter(|port| !is_same(port))
            .map(|port| &port.service)
            .collect();
        let on_host = planned.keys().filter(|key| !elsewhere.contains(key));
        let known = Known {
            zone,
            serial,
            on_host: on_host.cloned().collect(),
            services: planned,
        };
        let has_changed = known.services != before.services;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        if has_changed {
            let names = Arc::clone(self);
            // Ends when each pod has its doors.
            tokio::spawn(async move {
                let pods: Vec<PodUid> = names.pods().keys().cloned().collect();
                for pod in pods {
                    names.open_eager(&pod).await;
                }
            });
        }
    }

    /// The pod has a network namespace of its own, which stands: from now on it can ask for names, and reaches
    /// the Services of `eager` when this returns.
    pub(crate) async fn enter(self: &Arc<Self>, pod: &PodUid, eager: Eager) {
        let entered = Arc::new(Entered {
            eager,
            opening: tokio::sync::Mutex::default(),
            servers: Mutex::default(),
        });
        self.proxy.enter(pod);
        self.pods().insert(pod.clone(), Arc::clone(&entered));
        match self.listen(pod).await {
            Ok((datagrams, streams)) => {
                let servers = server::start(self, Some(pod), datagrams, streams);
                *entered
                    .servers
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = servers;
            }
            Err(error) => tracing::warn!(%pod, "no names in this pod: {error}"),
        }
        self.open_eager(pod).await;
    }

    async fn listen(&self, pod: &PodUid) -> Result<(UdpSocket, TcpListener), OpenError> {
        let failed = |source| OpenError::Listen {
            address: DNS,
            source,
        };
        let datagrams = self.runtime.bind(pod, DNS, Transport::Udp).await?;
        let streams = self.runtime.bind(pod, DNS, Transport::Tcp).await?;
        Ok((
            UdpSocket::from_std(datagrams.into()).map_err(failed)?,
            TcpListener::from_std(streams.into()).map_err(failed)?,
        ))
    }

    /// The pod's sandbox goes or has gone, and with it all that is answered there, and its ports on the host.
    pub(crate) fn leave(&self, pod: &PodUid) {
        self.pods().remove(pod);
        self.proxy.leave(pod);
    }

    /// The Services that the pod has doors of without asking have them when this returns, as far as there can
    /// be.
    pub(crate) async fn open_eager(&self, pod: &PodUid) {
        let Some(eager) = self.pods().get(pod).map(|entered| entered.eager.clone()) else {
            return;
        };
        for service in self.known().services.keys() {
            if eager.wants(service)
                && let Err(error) = self.open(pod, service).await
            {
                tracing::warn!(%pod, %service, "cannot be reached in this pod: {error}");
            }
        }
    }

    /// The pod reaches a Service when this returns.
    async fn open(&self, pod: &PodUid, service: &ServiceKey) -> Result<(), OpenError> {
        let Some(entered) = self.pods().get(pod).map(Arc::clone) else {
            return Ok(());
        };
        let _one_at_a_time = entered.opening.lock().await;
        for address in self.proxy.lacking(pod, service)? {
            let socket = self.runtime.bind(pod, address, Transport::Tcp).await?;
            self.proxy
                .open(pod, service, address, socket)
                .map_err(|source| OpenError::Listen { address, source })?;
        }
        Ok(())
    }

    /// Opens the ports that a pod has on the host.
    ///
    /// # Errors
    /// If one of them cannot be had; then none is.
    pub(crate) fn open_host_ports(
        &self,
        pod: &Pod,
        ip: IpAddr,
        host_ip: IpAddr,
    ) -> Result<(), HostPortError> {
        let ports = host_ports(pod, ip);
        let name = format!("{}/{}", pod.meta.namespace, pod.meta.name);
        self.proxy.open_host_ports(&pod.uid, &name, &ports, host_ip)
    }

    /// Whether names can be asked for on the host, which they can when this has been called once, unless
    /// somebody else is there, or the port takes a privilege.
    fn serves_host(self: &Arc<Self>) -> bool {
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        if host.is_some() {
            return true;
        }
        match listen_on_host() {
            Ok((datagrams, streams)) => {
                *host = Some(server::start(self, None, datagrams, streams));
                true
            }
            Err(error) => {
                tracing::warn!("no names on the host at {DNS}: {error}");
                false
            }
        }
    }

    /// Where the pods of the host's network, or the others, meet a Service, if they do at the number of each
    /// of its ports.
    pub(crate) fn address(&self, service: &ServiceKey, host_network: bool) -> Option<Ipv4Addr> {
        let known = self.known();
        let (ip, _) = known.services.get(service)?;
        (!host_network || known.on_host.contains(service)).then_some(*ip)
    }

    /// Nobody answers any more.
    pub(crate) fn end(&self) {
        self.pods().clear();
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        for server in host.take().into_iter().flatten() {
            server.abort();
        }
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn pods(&self) -> MutexGuard<'_, BTreeMap<PodUid, Arc<Entered>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen_on_host() -> io::Result<(UdpSocket, TcpListener)> {
    let datagrams = std::net::UdpSocket::bind(DNS)?;
    datagrams.set_nonblocking(true)?;
    let streams = std::net::TcpListener::bind(DNS)?;
    streams.set_nonblocking(true)?;
    Ok((
        UdpSocket::from_std(datagrams)?,
        TcpListener::from_std(streams)?,
    ))
}

/// With the host's network a container's port is the host's already.
fn host_ports(pod: &Pod, ip: IpAddr) -> Vec<HostPort> {
    if pod.host_network {
        return Vec::new();
    }
    let ports = pod
        .all_containers()
        .flat_map(|container| &container.ports)
        .filter(|port| port.protocol == Protocol::Tcp);
    ports
        .filter_map(|port| {
            let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            Some(HostPort {
                listen: SocketAddr::new(port.host_ip.unwrap_or(all), port.host_port?),
                backend: Backend {
                    ip,
                    port: port.number,
                    pod: pod.uid.clone(),
                },
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
