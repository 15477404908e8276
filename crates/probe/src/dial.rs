//! From a host and a port to a connection, and from a failure to Go's words for it.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use probelet_model::id::PodUid;
use probelet_model::probe::ProberError;
use probelet_runtime::{Family, Runtime};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::time::{Instant, timeout, timeout_at};

use crate::socket::Socket;
use crate::{clock, go, prober_error};

/// Where the sockets of an attempt come from, and with that, whose network it looks at.
pub trait Sockets: Sync {
    /// A fresh, unconnected, non-blocking TCP socket.
    ///
    /// Errors: none can be had. That says nothing of the target, so it fails no probe.
    fn tcp(&self, family: Family) -> impl Future<Output = Result<OwnedFd, ProberError>> + Send;
}

/// Sockets of a pod's network namespace.
#[derive(Debug)]
pub struct PodSockets<'a, R> {
    /// Makes them.
    pub runtime: &'a R,
    /// Whose namespace.
    pub pod: &'a PodUid,
}

impl<R: Runtime> Sockets for PodSockets<'_, R> {
    async fn tcp(&self, family: Family) -> Result<OwnedFd, ProberError> {
        let socket = self.runtime.tcp_socket(self.pod, family).await;
        socket.map_err(|error| prober_error(error.to_string()))
    }
}

/// Sockets of the network namespace this process is in: for handlers with a `host` of their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostSockets;

impl Sockets for HostSockets {
    /// Differs: upstream takes its own lack of file descriptors for a failure of the target.
    async fn tcp(&self, family: Family) -> Result<OwnedFd, ProberError> {
        let family = match family {
            Family::V4 => AddressFamily::INET,
            Family::V6 => AddressFamily::INET6,
        };
        rustix::net::socket_with(
            family,
            SocketType::STREAM,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| prober_error(format!("socket: {}", go::errno(&error.into()))))
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum DialError {
    /// None was tried.
    NoSocket(ProberError),
    /// None was made in time.
    TimedOut(String),
    /// The target, or the way to it, refused.
    Failed(String),
}

/// Makes the connections of one attempt, all within one deadline.
#[derive(Debug)]
pub(crate) struct Dialer<'a, S> {
    sockets: &'a S,
    /// Fetched before the clock was started.
    spare: Option<(Family, OwnedFd)>,
    deadline: Instant,
}

impl<'a, S: Sockets> Dialer<'a, S> {
    /// Fetches the first socket, then starts the clock: that a runtime is slow to hand out sockets must
    /// not count against the target.
    pub(crate) async fn new(
        sockets: &'a S,
        host: &str,
        limit: Duration,
    ) -> Result<Self, ProberError> {
        let spare = match host.parse().map(Family::of) {
            Ok(family) => match timeout(limit, sockets.tcp(family)).await {
                Ok(socket) => Some((family, socket?)),
                Err(_) => {
                    return Err(prober_error(format!(
                        "no socket to probe with after {}",
                        go::duration(limit)
                    )));
                }
            },
            // A name is looked up first, and that does count.
            Err(_) => None,
        };
        Ok(Self {
            sockets,
            spare,
            deadline: clock() + limit,
        })
    }

    /// When the attempt has to be over.
    pub(crate) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Connects to the first address of `host` that answers; if none does, says what the first one said.
    ///
    /// Upstream: Go src/net/dial.go, dialSerial.
    /// Differs: IPv6 and IPv4 addresses are tried in the resolver's order and never side by side.
    /// Shown by: a_host_of_its_own_is_looked_up_and_met_from_here, ipv6_is_bracketed.
    pub(crate) async fn connect(&mut self, host: &str, port: u16) -> Result<Socket, DialError> {
        let addresses = self.resolve(host, port).await?;
        let mut first_error = None;
        for (at, address) in addresses.iter().enumerate() {
            let deadline = self.share(addresses.len() - at);
            match self.connect_to(*address, deadline).await {
                Ok(socket) => return Ok(socket),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error
            .unwrap_or_else(|| DialError::Failed(format!("dial tcp: lookup {host}: no such host"))))
    }

    async fn connect_to(
        &mut self,
        address: SocketAddr,
        deadline: Instant,
    ) -> Result<Socket, DialError> {
        let family = Family::of(address.ip());
        let socket = match self.spare.take() {
            Some((of, socket)) if of == family => socket,
            _ => self
                .sockets
                .tcp(family)
                .await
                .map_err(DialError::NoSocket)?,
        };
        match timeout_at(deadline, Socket::connect(socket, address)).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(error)) => Err(DialError::Failed(format!(
                "dial tcp {address}: connect: {}",
                go::errno(&error)
            ))),
            Err(_) => Err(DialError::TimedOut(format!(
                "dial tcp {address}: i/o timeout"
            ))),
        }
    }

    /// When to give up on the first of `left` addresses, so that the others get their turn.
    ///
    /// Upstream: Go src/net/dial.go, partialDeadline.
    /// Shown by: a_target_that_does_not_answer.
    fn share(&self, left: usize) -> Instant {
        const AT_LEAST: Duration = Duration::from_secs(2);
        if left <= 1 {
            return self.deadline;
        }
        let now = clock();
        let share = (self.deadline - now) / u32::try_from(left).unwrap_or(u32::MAX);
        self.deadline.min(now + share.max(AT_LEAST))
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        match timeout_at(self.deadline, tokio::net::lookup_host((host, port))).await {
            Ok(Ok(addresses)) => Ok(addresses.collect()),
            Ok(Err(error)) => Err(DialError::Failed(format!(
                "dial tcp: lookup {host}: {}",
                lookup_text(&error)
            ))),
            Err(_) => Err(DialError::TimedOut(format!(
                "dial tcp: lookup {host}: i/o timeout"
            ))),
        }
    }
}

/// The resolver's error as Go says it: a name that nobody has is `no such host`.
///
/// Upstream: Go src/net/cgo_unix.go, doBlockingWithCtx and cgoLookupHostIP; src/net/net.go, errNoSuchHost.
/// Shown by: a_name_nobody_has_is_a_failure.
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
