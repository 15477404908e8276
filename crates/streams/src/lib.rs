//! What kubectl speaks after an upgrade.
//!
//! Channels over a WebSocket (`v5.channel.k8s.io` and the older ones), SPDY/3.1, and SPDY/3.1 inside a
//! WebSocket, all of them into the same two ends: an [`Incoming`] is what the client sends, an [`Outgoing`]
//! what it is to get. A connection is opened into its streams and a future that carries their bytes; whoever
//! opened it runs that future beside what it does with the streams, so that no task outlives its connection.
//!
//! Memory is bounded on both ways: what a stream's reader has not taken stops the connection from being read,
//! and what the client does not take stops whoever writes.
//!
//! It knows no pod, no process and no HTTP request; it is given a connection that has been upgraded already.
//!
//! Start reading at [`stream`], then [`spdy::accept`] and [`websocket::channels`]; [`remote`] and [`forward`]
//! make of either what `exec` and `port-forward` want.

pub mod forward;
mod idle;
pub mod remote;
pub mod spdy;
pub mod stream;
pub mod websocket;

pub use stream::{Gone, Incoming, Outgoing};

use std::time::Duration;

/// How long a connection may carry nothing at all before it is given up.
///
/// Upstream: kubelet pkg/kubelet/apis/config/v1beta1/defaults.go, StreamingConnectionIdleTimeout.
/// Shown by: a_connection_that_carries_nothing_is_given_up.
pub const IDLE: Duration = Duration::from_secs(4 * 60 * 60);

/// How long the client has, when all has been said, to read it and hang up. Hanging up before it has would
/// take from it what is still on its way.
///
/// Upstream: apiserver pkg/util/proxy/websocket.go, finishTimeout.
/// Differs: 1.35 hangs up at once, and a slow client may lose the end of the output; that wait is from later on.
/// Shown by: a_client_that_does_not_hang_up_is_hung_up_on.
pub const LINGER: Duration = Duration::from_secs(15 * 60);

/// How often something is said to a client whose input waits for a slow reader: nothing it says is read then, not
/// even that it has left.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Why a connection ended before both sides were done with it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The network's fault, or the client simply left.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The client does not keep to the protocol.
    #[error("the client broke the protocol: {0}")]
    Protocol(String),
    /// Nothing was carried for too long, or the client did not hang up.
    #[error("the connection was idle for too long")]
    Idle,
}
