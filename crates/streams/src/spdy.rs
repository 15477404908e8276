//! SPDY/3.1, the server's side: the client opens streams, each of them two ways.
//!
//! `frame` reads and writes frames, `headers` the compressed blocks of names and values in them, `connection`
//! carries both. What Kubernetes' clients do is the measure: streams are opened by the client alone, and no
//! flow-control window is kept (neither side of upstream's keeps one; a WINDOW_UPDATE is passed over).
//!
//! Upstream: moby/spdystream connection.go; the protocol is "SPDY Protocol - Draft 3.1".
//! Shown by: a_spdy_session_waits_for_its_streams, frames_of_a_real_client_are_read.

mod connection;
mod dictionary;
mod frame;
mod headers;

#[cfg(test)]
mod tests;

pub use connection::{Accept, Connection, NewStream, accept};
