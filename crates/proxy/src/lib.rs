//! Endpoints to traffic.
//!
//! [`Plan::new`] is a function of the Services and their Endpoints: which addresses of the host should
//! answer for them, and which pods are behind each. A driver makes it so. [`Userspace`] is one: it
//! accepts on loopback addresses of the host, and in pods on sockets that the agent makes there; it needs no
//! privilege, and reaches the pods through connections that the agent makes in their network namespaces
//! ([`Connect`]).
//!
//! It is not a place for readiness: whether a pod takes traffic is what its Endpoints say, decided by the
//! engine. Nor does it know HTTP; it carries bytes.
//!
//! Start reading at [`Plan`], then [`Userspace::apply`].

mod address;
mod plan;
mod userspace;

pub use address::{HOST_ADDRESS, HostAddresses, NAMES, ParseHostAddressesError};
pub use plan::{Backend, NotCarried, Plan, PortPlan, ServiceKey, ServicePlan};
pub use userspace::{
    Applied, BindError, Connect, HostPort, HostPortError, NoRoom, PortStatus, Userspace,
};
