//! Carries connections in this process.
//!
//! Each port of a Service has a [`Door`] on the host and one in each pod that wants to reach it there: a
//! socket that is bound for as long as the port is in the plan, and listens only while there is a backend, so
//! that a client is refused by the kernel, at once, when there is none. All doors of a port lead to the same
//! backends. Behind an open door one task accepts, and one task a connection copies.
//!
//! What a task reads: its port's backends, fresh for each attempt to reach one. What it publishes:
//! nothing. Its bound: [`CONNECTIONS`] at a time and port; above that the kernel's queue waits, and holds
//! [`door::BACKLOG`] more.

mod carry;
mod door;
mod host_port;
mod in_pods;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use probelet_model::id::PodUid;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use crate::address::HostAddresses;
use crate::plan::{Backend, Plan, PortPlan, ServiceKey, ServicePlan};
use door::Door;

pub use door::BindError;
pub use host_port::{HostPort, HostPortError};
pub use in_pods::NoRoom;

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
    /// Held for as long as a change takes, and over no wait.
    state: Mutex<State>,
    /// True ends all tasks; each holds a receiver for as long as it lives.
    closing: watch::Sender<bool>,
    connections: usize,
    /// How many doors there may be in all pods together.
    doors_in_pods: usize,
}

#[derive(Debug, Default)]
struct State {
    ports: BTreeMap<PortKey, Port>,
    /// Those that may have doors.
    pods: BTreeSet<PodUid>,
    host_ports: BTreeMap<PodUid, host_port::Opened>,
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
    /// A driver without ports, which reaches pods by `connect`. All pods together have `doors_in_pods` doors
    /// at most; each takes two descriptors.
    #[must_use]
    pub fn new(connect: C, doors_in_pods: usize) -> Self {
        Self {
            connect: Arc::new(connect),
            state: Mutex::default(),
            closing: watch::Sender::new(false),
            connections: CONNECTIONS,
            doors_in_pods,
        }
    }

    /// Makes the plan true. When this returns, the next connection to any port follows it: it goes to one
    /// of the port's backends, or is refused if there is none, and the ports that are in the plan no more
    /// are free. Connections that stand already go on, whatever has become of their pod's readiness, as
    /// they do with kube-proxy.
    ///
    /// A port keeps its address for as long as it is in the plans, even if they wish another.
    ///
    /// Takes microseconds a door that has changed; waits for nothing.
    ///
    /// # Panics
    /// If called outside a tokio runtime.
    pub fn apply(&self, plan: &Plan) -> Applied {
        let planned = plan
            .services
            .iter()
            .flat_map(|service| service.ports.iter().map(move |port| (service, port)));
        let keep: BTreeSet<PortKey> = planned
            .clone()
            .map(|(service, port)| (service.key.clone(), port.port))
            .collect();
        let mut state = self.state();
        state.ports.retain(|key, _| keep.contains(key));
        let ports = planned.map(|(service, port)| PortStatus {
            service: service.key.clone(),
            name: port.name.clone(),
            port: port.port,
            address: self.apply_port(&mut state, service, port),
        });
        Applied {
            ports: ports.collect(),
        }
    }

    /// Ends all tasks and connections, and returns when they have ended. Nothing is opened after that.
    pub async fn shutdown(&self) {
        self.closing.send_replace(true);
        *self.state() = State::default();
        self.closing.closed().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply_port(
        &self,
        state: &mut State,
        service: &ServicePlan,
        plan: &PortPlan,
    ) -> Result<SocketAddr, BindError> {
        let key = (service.key.clone(), plan.port);
        let port = state.ports.entry(key).or_insert_with(|| Port {
            ip: service.ip,
            host: None,
            pods: BTreeMap::new(),
            route: Arc::new(Route::new(&[], self.connections)),
        });
        port.route.set(&plan.backends);
        if port.ip != service.ip {
            port.ip = service.ip;
            port.pods.clear();
        }
        let Port {
            host, pods, route, ..
        } = port;
        pods.retain(|pod, doorway| {
            let followed = self.follow(doorway, route);
            if let Err(error) = &followed {
                tracing::warn!(service = %service.key, port = plan.port, %pod, %error, "lost a door in a pod");
            }
            followed.is_ok()
        });
        if let Some(doorway) = host {
            match self.follow(doorway, route) {
                Ok(()) => return Ok(doorway.door.address()),
                // The reservation has not held: find another address.
                Err(error) => {
                    tracing::warn!(service = %service.key, port = plan.port, %error, "lost its address")
                }
            }
            *host = None;
        }
        let mut doorway = Doorway::new(Door::reserve(&plan.listen)?);
        let address = doorway.door.address();
        self.follow(&mut doorway, route)
            .map_err(|error| BindError::new(address, &error))?;
        *host = Some(doorway);
        Ok(address)
    }

    /// Opens or closes a door as the backends demand.
    fn follow(&self, doorway: &mut Doorway, route: &Arc<Route>) -> io::Result<()> {
        let wanted = !route.backends().is_empty();
        match (&doorway.accepting, wanted) {
            (None, true) => {
                let listener = doorway.door.open()?;
                let task = carry::accept(
                    listener,
                    Arc::clone(route),
                    Arc::clone(&self.connect),
                    self.closing.subscribe(),
                );
                doorway.accepting = Some(tokio::spawn(task).abort_handle());
            }
            (Some(_), false) => doorway.close(),
            (None, false) | (Some(_), true) => {}
        }
        Ok(())
    }
}

/// One port of one Service.
#[derive(Debug)]
struct Port {
    /// Where pods meet the Service.
    ip: Ipv4Addr,
    /// On the host, where it could be had.
    host: Option<Doorway>,
    /// In those pods that want to reach it.
    pods: BTreeMap<PodUid, Doorway>,
    route: Arc<Route>,
}

/// A door, and who lets in.
#[derive(Debug)]
struct Doorway {
    door: Door,
    /// The task that accepts, while the door is open.
    accepting: Option<AbortHandle>,
}

impl Doorway {
    const fn new(door: Door) -> Self {
        Self {
            door,
            accepting: None,
        }
    }

    fn close(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            self.door.close();
        }
    }
}

impl Drop for Doorway {
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
