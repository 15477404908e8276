//! Ports of pods on the host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use probelet_model::id::PodUid;

use super::door::Door;
use super::{BindError, Connect, Doorway, Route, State, Userspace};
use crate::plan::Backend;

/// A port of a pod that the host answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Where: a port of one address, or of all if that is 0.0.0.0.
    pub listen: SocketAddr,
    /// What it leads to, whether that is ready or not.
    pub backend: Backend,
}

/// Why a pod's port cannot be had on the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostPortError {
    /// Another pod has it.
    #[error("host port {listen} is taken by pod {holder}")]
    Pod {
        /// Where.
        listen: SocketAddr,
        /// Whose it is.
        holder: String,
    },
    /// The kernel does not give it: another process has it, or it takes a privilege.
    #[error("host port {listen}: {error}")]
    Host {
        /// Where.
        listen: SocketAddr,
        /// Why.
        error: BindError,
    },
}

/// The host ports of one pod.
#[derive(Debug)]
pub(super) struct Opened {
    name: String,
    ports: Vec<HostPort>,
    _doorways: Vec<Doorway>,
}

impl<C: Connect> Userspace<C> {
    /// Opens all host ports of a pod or none; `name` is for whoever wants one of them too. They are closed by
    /// [`Userspace::leave`].
    ///
    /// All addresses means the host's `main` one and its loopback interface where one of this proxy's own
    /// ports is in the way of all.
    ///
    /// Upstream: containernetworking plugins/meta/portmap, where the kernel translates addresses.
    /// Differs: a connection to a port that nobody in the pod listens on is accepted and then reset.
    /// Shown by: a_host_port_leads_to_its_pod_until_that_leaves,
    /// a_host_port_that_another_pod_has_is_refused_by_its_name.
    ///
    /// # Errors
    /// [`HostPortError`], for the first that cannot be had.
    ///
    /// # Panics
    /// If called outside a tokio runtime.
    pub fn open_host_ports(
        &self,
        pod: &PodUid,
        name: &str,
        ports: &[HostPort],
        main: IpAddr,
    ) -> Result<(), HostPortError> {
        let mut state = self.state();
        if state
            .host_ports
            .get(pod)
            .is_some_and(|opened| opened.ports == ports)
        {
            return Ok(());
        }
        state.host_ports.remove(pod);
        let mut doorways = Vec::new();
        for port in ports {
            if let Some(holder) = state.holder(port.listen) {
                return Err(HostPortError::Pod {
                    listen: port.listen,
                    holder: holder.to_owned(),
                });
            }
            let failed = |error| HostPortError::Host {
                listen: port.listen,
                error,
            };
            let route = Arc::new(Route::new(
                std::slice::from_ref(&port.backend),
                self.connections,
            ));
            for door in state.reserve(port.listen, main).map_err(failed)? {
                let address = door.address();
                let mut doorway = Doorway::new(door);
                self.follow(&mut doorway, &route)
                    .map_err(|error| failed(BindError::new(address, &error)))?;
                doorways.push(doorway);
            }
        }
        let opened = Opened {
            name: name.to_owned(),
            ports: ports.to_vec(),
            _doorways: doorways,
        };
        if !ports.is_empty() && !*self.closing.borrow() {
            state.host_ports.insert(pod.clone(), opened);
        }
        Ok(())
    }
}

impl State {
    /// The pod that has a port of the host, or of an address that is part of it.
    fn holder(&self, listen: SocketAddr) -> Option<&str> {
        let meets = |other: SocketAddr| {
            let all = listen.ip().is_unspecified() || other.ip().is_unspecified();
            other.port() == listen.port() && (all || other.ip() == listen.ip())
        };
        let has = |opened: &&Opened| opened.ports.iter().any(|port| meets(port.listen));
        self.host_ports
            .values()
            .find(has)
            .map(|opened| &*opened.name)
    }

    fn reserve(&self, listen: SocketAddr, main: IpAddr) -> Result<Vec<Door>, BindError> {
        let error = match Door::reserve(&[listen]) {
            Ok(door) => return Ok(vec![door]),
            Err(error) => error,
        };
        let ours = |port: &super::Port| {
            let host = port.host.as_ref();
            host.is_some_and(|doorway| doorway.door.address().port() == listen.port())
        };
        if !listen.ip().is_unspecified() || !self.ports.values().any(ours) {
            return Err(error);
        }
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut addresses = vec![loopback, main];
        addresses.dedup();
        addresses
            .into_iter()
            .map(|ip| Door::reserve(&[SocketAddr::new(ip, listen.port())]))
            .collect()
    }
}
