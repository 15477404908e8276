//! One TCP connection, closed at once.

use std::time::Duration;

use probelet_model::probe::{Outcome, OutcomeStatus, ProberError};

use crate::dial::{DialError, Dialer, Sockets};

/// Connects to `host`, an IP address or a name, and closes the connection. Nothing is sent or read.
///
/// Whatever keeps the connection from being made within `timeout` is a failure, in the words of Go's
/// dialer.
///
/// Errors: no socket could be had to try with.
///
/// Upstream: pkg/probe/tcp/tcp.go, DoTCPProbe.
/// Shown by: c16_tcp_open_and_closed.
pub async fn attempt<S: Sockets>(
    sockets: &S,
    host: &str,
    port: u16,
    timeout: Duration,
) -> Result<Outcome, ProberError> {
    let mut dialer = Dialer::new(sockets, host, timeout).await?;
    match dialer.connect(host, port).await {
        Ok(_) => Ok(Outcome {
            status: OutcomeStatus::Success,
            output: String::new(),
            code: None,
        }),
        Err(DialError::NoSocket(error)) => Err(error),
        Err(DialError::TimedOut(output) | DialError::Failed(output)) => Ok(Outcome {
            status: OutcomeStatus::Failure,
            output,
            code: None,
        }),
    }
}
