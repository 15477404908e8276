//! Carries connections in this process.
//!
//! Each port of a Service is a [`Door`]: a socket that is bound for as long as the port is in the plan,
//! and listens only while there is a backend, so that a client is refused by the kernel, at once, when
//! there is none. Behind an open door one task accepts, and one task a connection copies.
//!
//! What a task reads: its port's backends, fresh for each attempt to reach one. What it publishes:
//! nothing. Its bound: [`CONNECTIONS`] at a time and port; above that the kernel's queue waits, and holds
//! [`door::BACKLOG`] more.

mod carry;
mod door;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, PoisonError, RwLock};

use probelet_model::id::PodUid;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use crate::address::HostAddresses;
use crate::plan::{Backend, Plan, PortPlan, ServiceKey};
use door::Door;

pub use door::BindError;

/// How many connections one port carries at a time. Each takes two descriptors and 16 KiB of buffers.
const CONNECTIONS: usize = 4096;

/// How a connection to a pod is made: from inside the pod's network namespace.
pub trait Connect: Send + Sync + 'static {
    /// Connects to `address` as it is known in the namespace of `pod`.
    fn connect(
        &self,
        pod: &PodUid,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<TcpStream>> + Send;
}

/// The userspace driver.
///
/// Shape: one per node. Dropping it ends everything too, without waiting for it.
#[derive(Debug)]
pub struct Userspace<C> {
    connect: Arc<C>,
    ports: BTreeMap<PortKey, Port>,
    /// True ends all tasks; each holds a receiver for as long as it lives.
    closing: watch::Sender<bool>,
    connections: usize,
}

/// Port numbers are unique among the TCP ports of a Service; its names may change.
type PortKey = (ServiceKey, u16);

/// What [`Userspace::apply`] has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Each port of the plan, in its order.
    pub ports: Vec<PortStatus>,
}

/// Where one port of a Service can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// The Service.
    pub service: ServiceKey,
    /// The port's name.
    pub name: String,
    /// The Service's port number.
    pub port: u16,
    /// The address on the host, or why there is none; the next `apply` tries again.
    pub address: Result<SocketAddr, BindError>,
}

impl Applied {
    /// What belongs into the annotation [`crate::HOST_ADDRESS`] of a Service. `None` for one that is not
    /// in the plan, has no TCP port, or has a port without an address.
    #[must_use]
    pub fn host_addresses(&self, service: &ServiceKey) -> Option<HostAddresses> {
        let ports = self.ports.iter().filter(|port| port.service == *service);
        let addresses: Option<Vec<_>> = ports
            .map(|port| port.address.as_ref().ok().copied())
            .collect();
        addresses
            .filter(|addresses| !addresses.is_empty())
            .map(HostAddresses)
    }
}

impl<C: Connect> Userspace<C> {
    /// A driver without ports, which reaches pods by `connect`.
    #[must_use]
    pub fn new(connect: C) -> Self {
        Self {
            connect: Arc::new(connect),
            ports: BTreeMap::new(),
            closing: watch::Sender::new(false),
            connections: CONNECTIONS,
        }
    }

    /// Makes the plan true. When this returns, the next connection to any port follows it: it goes to one
    /// of the port's backends, or is refused if there is none, and the ports that are in the plan no more
    /// are free. Connections that stand already go on, whatever has become of their pod's readiness, as
    /// they do with kube-proxy.
    ///
    /// A port keeps its address for as long as it is in the plans, even if they wish another.
    ///
    /// Takes microseconds a port that has changed; waits for nothing.
    ///
    /// # Panics
    /// If called outside a tokio runtime.
    pub fn apply(&mut self, plan: &Plan) -> Applied {
        let planned = plan
            .services
            .iter()
            .flat_map(|service| service.ports.iter().map(|port| (&service.key, port)));
        let keep: BTreeSet<PortKey> = planned
            .clone()
            .map(|(service, port)| (service.clone(), port.port))
            .collect();
        self.ports.retain(|key, _| keep.contains(key));
        let ports = planned.map(|(service, port)| PortStatus {
            service: service.clone(),
            name: port.name.clone(),
            port: port.port,
            address: self.apply_port(service, port),
        });
        Applied {
            ports: ports.collect(),
        }
    }

    /// Ends all tasks and connections, and returns when they have ended.
    pub async fn shutdown(mut self) {
        self.ports.clear();
        self.closing.send_replace(true);
        self.closing.closed().await;
    }

    fn apply_port(
        &mut self,
        service: &ServiceKey,
        plan: &PortPlan,
    ) -> Result<SocketAddr, BindError> {
        let key = (service.clone(), plan.port);
        if let Some(port) = self.ports.get_mut(&key) {
            port.route.set(&plan.backends);
            match port.follow(&self.connect, &self.closing) {
                Ok(()) => return Ok(port.door.address()),
                // The reservation has not held: find another address.
                Err(error) => {
                    tracing::warn!(%service, port = plan.port, %error, "lost its address")
                }
            }
            self.ports.remove(&key);
        }
        let door = Door::reserve(&plan.listen)?;
        let mut port = Port {
            door,
            accepting: None,
            route: Arc::new(Route::new(&plan.backends, self.connections)),
        };
        let address = port.door.address();
        port.follow(&self.connect, &self.closing)
            .map_err(|error| BindError::new(address, &error))?;
        self.ports.insert(key, port);
        Ok(address)
    }
}

/// One port of one Service.
#[derive(Debug)]
struct Port {
    door: Door,
    /// The task that accepts, while the door is open.
    accepting: Option<AbortHandle>,
    route: Arc<Route>,
}

impl Port {
    /// Opens or closes the door as the backends demand.
    fn follow<C: Connect>(
        &mut self,
        connect: &Arc<C>,
        closing: &watch::Sender<bool>,
    ) -> io::Result<()> {
        let wanted = !self.route.backends().is_empty();
        match (&self.accepting, wanted) {
            (None, true) => {
                let listener = self.door.open()?;
                let task = carry::accept(
                    listener,
                    Arc::clone(&self.route),
                    Arc::clone(connect),
                    closing.subscribe(),
                );
                self.accepting = Some(tokio::spawn(task).abort_handle());
            }
            (Some(_), false) => self.close(),
            (None, false) | (Some(_), true) => {}
        }
        Ok(())
    }

    fn close(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            self.door.close();
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // Not left to the task: it may not have ended yet when this returns.
        self.close();
    }
}

/// Where the connections of one port go.
#[derive(Debug)]
struct Route {
    backends: RwLock<Arc<[Backend]>>,
    /// Counts connections, for taking turns.
    turn: AtomicUsize,
    /// One permit a connection.
    room: Arc<Semaphore>,
}

impl Route {
    fn new(backends: &[Backend], connections: usize) -> Self {
        Self {
            backends: RwLock::new(backends.into()),
            turn: AtomicUsize::new(0),
            room: Arc::new(Semaphore::new(connections)),
        }
    }

    /// The backends that take connections now.
    fn backends(&self) -> Arc<[Backend]> {
        // Whatever happened to another holder, an `Arc` is either the old one or the new one.
        Arc::clone(&self.backends.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, backends: &[Backend]) {
        if *self.backends() != *backends {
            *self
                .backends
                .write()
                .unwrap_or_else(PoisonError::into_inner) = backends.into();
        }
    }
}
