//! WebSocket, the server's side: channels in numbered messages, or one stream of bytes ([`Tunnel`]).
//!
//! The handshake is the HTTP server's: [`accept_key`] is what of it belongs to the protocol.

mod channels;
mod tunnel;

#[cfg(test)]
mod tests;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

pub use channels::{Channels, Connection, channels};
pub use tunnel::Tunnel;

/// How long a message may be, in bytes.
///
/// Upstream: golang.org/x/net/websocket hybi.go, DefaultMaxPayloadBytes.
/// Shown by: a_message_that_is_too_long_ends_the_connection.
const MAX_MESSAGE: usize = 32 * 1024 * 1024;
/// How much is read at a time.
const READ: usize = 32 * 1024;

/// `Sec-WebSocket-Accept` for the client's `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_key(key: &[u8]) -> String {
    derive_accept_key(key)
}

/// How channels are put into messages: a subprotocol.
///
/// Upstream: apimachinery pkg/util/httpstream/wsstream/conn.go, and pkg/util/remotecommand/constants.go.
/// Shown by: a_websocket_session_from_greeting_to_close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// As a client names it in `Sec-WebSocket-Protocol`; empty if it names none.
    pub name: &'static str,
    /// Everything after the channel's digit is Base64, in text messages.
    base64: bool,
    /// The client can say that a channel has ended, by the channel 255.
    ends: bool,
    /// What is said at the end is JSON, and not just the text of what went wrong.
    pub json_status: bool,
}

impl Protocol {
    /// The one that can say that stdin has ended.
    pub const V5: Self = Self {
        ends: true,
        ..Self::named("v5.channel.k8s.io")
    };
    /// The one before.
    pub const V4: Self = Self::named("v4.channel.k8s.io");
    /// The same in text.
    pub const V4_BASE64: Self = Self {
        base64: true,
        ..Self::named("v4.base64.channel.k8s.io")
    };
    /// The first one.
    pub const V1: Self = Self {
        json_status: false,
        ..Self::named("channel.k8s.io")
    };
    /// The same in text.
    pub const V1_BASE64: Self = Self {
        base64: true,
        json_status: false,
        ..Self::named("base64.channel.k8s.io")
    };
    /// The first one again, for who names none.
    pub const UNNAMED: Self = Self {
        json_status: false,
        ..Self::named("")
    };

    const fn named(name: &'static str) -> Self {
        Self {
            name,
            base64: false,
            ends: false,
            json_status: true,
        }
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(READ)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}
