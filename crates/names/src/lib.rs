//! What pods call each other.
//!
//! [`Zone`] is a function of the Services and their Endpoints, and answers questions about `cluster.local`;
//! [`Query`] and [`Reply`] are how questions and answers travel (RFC 1035). [`hosts()`] and
//! [`ResolvConf`] are the two files of a pod that say where names are looked up.
//!
//! It is not a place for sockets, nor for names of others: what is not of the cluster is forwarded by whoever
//! has the sockets.
//!
//! Start reading at [`Zone::answer`].

mod hosts;
mod message;
mod resolv_conf;
mod reverse;
mod zone;

pub use hosts::{domain, hosts};
pub use message::{Data, Malformed, Query, Record, RecordType, Reply, ResponseCode, is_answer_to};
pub use resolv_conf::{Names, ResolvConf, Warning};
pub use zone::{Answer, Published, Zone};

/// The domain of everything in a cluster.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
