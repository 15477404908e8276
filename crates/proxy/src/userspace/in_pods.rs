//! Doors in pods.
//!
//! Whoever knows pods binds the sockets, at the addresses of [`Userspace::lacking`]; here they become doors.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use probelet_model::id::PodUid;

use super::door::Door;
use super::{Connect, Doorway, State, Userspace};
use crate::plan::ServiceKey;

/// All pods together have as many doors as they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "pods have {0} ports of services open already, and this process may not open many more files"
)]
pub struct NoRoom(usize);

impl<C: Connect> Userspace<C> {
    /// The pod may have doors from now on.
    pub fn enter(&self, pod: &PodUid) {
        self.state().pods.insert(pod.clone());
    }

    /// Closes all doors of a pod, and its ports on the host. Connections that stand go on.
    pub fn leave(&self, pod: &PodUid) {
        let mut state = self.state();
        state.pods.remove(pod);
        state.host_ports.remove(pod);
        for port in state.ports.values_mut() {
            port.pods.remove(pod);
        }
    }

    /// Where doors of a Service are still to be opened in a pod. None for a Service that is in no plan, or a
    /// pod that may have none.
    ///
    /// # Errors
    /// If there may not be that many more.
    pub fn lacking(&self, pod: &PodUid, service: &ServiceKey) -> Result<Vec<SocketAddr>, NoRoom> {
        let state = self.state();
        if !state.pods.contains(pod) {
            return Ok(Vec::new());
        }
        let lacking: Vec<SocketAddr> = state
            .ports
            .range((service.clone(), 0)..=(service.clone(), u16::MAX))
            .filter(|(_, port)| !port.pods.contains_key(pod))
            .map(|((_, number), port)| SocketAddr::from((port.ip, *number)))
            .collect();
        let there = state.doors_in_pods();
        if !lacking.is_empty() && there + lacking.len() > self.doors_in_pods {
            return Err(NoRoom(there));
        }
        Ok(lacking)
    }

    /// Makes a door of `socket`, which is bound to one of the addresses of [`Self::lacking`] and of nobody
    /// else. When this returns, the pod's next connection follows the newest plan. Closes the socket if the
    /// plan or the pod has gone meanwhile.
    ///
    /// # Errors
    /// If it cannot listen.
    ///
    /// # Panics
    /// If called outside a tokio runtime.
    pub fn open(
        &self,
        pod: &PodUid,
        service: &ServiceKey,
        address: SocketAddr,
        socket: OwnedFd,
    ) -> io::Result<()> {
        let mut doorway = Doorway::new(Door::adopt(socket, address));
        let mut state = self.state();
        if *self.closing.borrow() || !state.pods.contains(pod) {
            return Ok(());
        }
        let Some(port) = state.ports.get_mut(&(service.clone(), address.port())) else {
            return Ok(());
        };
        if address.ip() == port.ip {
            self.follow(&mut doorway, &port.route)?;
            port.pods.insert(pod.clone(), doorway);
        }
        Ok(())
    }

    /// The Services that a pod has doors of.
    #[must_use]
    pub fn open_in(&self, pod: &PodUid) -> BTreeSet<ServiceKey> {
        let state = self.state();
        let with_door = state
            .ports
            .iter()
            .filter(|(_, port)| port.pods.contains_key(pod));
        with_door.map(|((service, _), _)| service.clone()).collect()
    }
}

impl State {
    fn doors_in_pods(&self) -> usize {
        self.ports.values().map(|port| port.pods.len()).sum()
    }
}
