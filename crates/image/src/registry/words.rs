//! What is said of a registry that cannot be reached: what a Go program says, as users know it.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Of each registry that was looked up, the address to try first: the client's errors do not tell it.
static FIRST: Mutex<BTreeMap<String, IpAddr>> = Mutex::new(BTreeMap::new());

/// Looks names up as the host does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolver;

/// A name without an address.
///
/// Upstream: Go src/net/net.go, DNSError; src/net/cgo_unix.go, cgoLookupHostIP.
/// Differs: which server was asked is not said.
/// Shown by: a_registry_that_cannot_be_reached_is_told_as_go_tells_it.
#[derive(Debug, thiserror::Error)]
#[error("dial tcp: lookup {name}: {reason}")]
struct NoAddress {
    name: String,
    reason: String,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.clone(), 0)).await;
            let found: Vec<SocketAddr> = match found {
                Ok(found) => found.collect(),
                Err(error) => {
                    let reason = lookup_text(&error);
                    return Err(NoAddress { name, reason }.into());
                }
            };
            if let Some(first) = found.first() {
                let mut known = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
                known.insert(name, first.ip());
            }
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

fn lookup_text(error: &io::Error) -> String {
    let text = error.to_string();
    let reason = text
        .strip_prefix("failed to lookup address information: ")
        .unwrap_or(&text);
    match reason {
        "Name or service not known" | "No address associated with hostname" => {
            "no such host".to_owned()
        }
        _ => reason.to_lowercase(),
    }
}

/// Of a connection that was not to be had, what Go says, where that is known.
///
/// Upstream: Go src/net/net.go, OpError.
/// Shown by: a_registry_that_cannot_be_reached_is_told_as_go_tells_it.
pub(super) fn of_connecting(error: &reqwest::Error) -> Option<String> {
    if !error.is_connect() {
        return None;
    }
    let causes = || std::iter::successors(error.source(), |error| (*error).source());
    if let Some(none) = causes().find_map(|cause| cause.downcast_ref::<NoAddress>()) {
        return Some(none.to_string());
    }
    let of_system = causes().filter_map(|cause| cause.downcast_ref::<io::Error>());
    let mut of_system = of_system.filter(|cause| cause.raw_os_error().is_some());
    let reason = match of_system.next()?.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::HostUnreachable => "no route to host",
        io::ErrorKind::NetworkUnreachable => "network is unreachable",
        io::ErrorKind::TimedOut => "connection timed out",
        _ => return None,
    };
    let url = error.url()?;
    let port = url.port_or_known_default()?;
    let host = url.host_str()?;
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse();
    let known = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    let ip = literal.ok().or_else(|| known.get(host).copied())?;
    let address = SocketAddr::new(ip, port);
    Some(format!("dial tcp {address}: connect: {reason}"))
}
