//! One `Check` of the standard health service, as the kubelet makes it.
//!
//! Under upstream's prober is grpc-go, whose version 1.72 is the one that behaviour is pinned to.
//!
//! The way of an attempt: it dials until the server speaks HTTP/2, makes one call, and closes the
//! connection. What is here is as much of HTTP/2 and of gRPC as one call needs, written by hand like the
//! requests of [`crate::http`]: it is the cheapest way, it needs no task beside the attempt's own, and a
//! client library would hide what decides between upstream's texts, above all whether the server's
//! settings had come. Its parts: `frame` and `hpack` read and write HTTP/2, `message` and `status` gRPC,
//! `call` is the machine they serve, `connection` moves its bytes.

mod call;
mod connection;
mod frame;
mod hpack;
mod message;
mod status;

use std::net::IpAddr;
use std::time::Duration;

use probelet_model::probe::{Outcome, OutcomeStatus, ProberError};
use tokio::time::{sleep, timeout, timeout_at};

use crate::dial::{DialError, Dialer, Sockets};
use crate::grpc::call::{Call, End};
use crate::grpc::connection::Connection;
use crate::grpc::message::ServingStatus;
use crate::grpc::status::{Code, Status};
use crate::http::USER_AGENT;
use crate::{clock, go};

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// An IP address; IPv6 without brackets.
    pub host: &'a str,
    /// Where to connect.
    pub port: u16,
    /// Whose health; empty for the server's.
    pub service: &'a str,
}

/// Asks a server for its health, in plain HTTP/2.
///
/// `SERVING` is a success, everything else a failure: another answer, a call that fails, and a server that
/// cannot be reached. The last takes all of `timeout`, even if a connection is refused at once, because
/// the dial goes on trying; so does a server that speaks no HTTP/2, or wants TLS. `timeout` is for dial
/// and call together.
///
/// Errors: no socket could be had.
///
/// Upstream: pkg/probe/grpc/grpc.go, Probe.
/// Shown by: c17_not_serving_is_a_failure, c18_nothing_listening_takes_the_whole_timeout,
/// c20_a_server_that_wants_tls, serving_is_a_success, calls_that_fail, a_call_slower_than_the_timeout.
/// Differs: the user agent is `kube-probe/1.35` alone, since there is no grpc-go to be named after it.
pub async fn attempt<S: Sockets>(
    sockets: &S,
    check: &Check<'_>,
    timeout: Duration,
) -> Result<Outcome, ProberError> {
    let dialer = Dialer::new(sockets, check.host, timeout).await?;
    let deadline = dialer.deadline();
    let mut exchange = Exchange {
        dialer,
        check,
        authority: authority(check.host, check.port),
        in_call: false,
    };
    let (status, output) = match timeout_at(deadline, exchange.run()).await {
        Ok(end) => judge(end?, timeout),
        Err(_) => (OutcomeStatus::Failure, exchange.timed_out(timeout)),
    };
    Ok(Outcome {
        status,
        output: go::text(output.as_bytes()),
        code: None,
    })
}

fn judge(end: End, timeout: Duration) -> (OutcomeStatus, String) {
    let output = match end {
        End::Answered(ServingStatus::SERVING) => {
            return (OutcomeStatus::Success, "service healthy".to_owned());
        }
        End::Answered(other) => format!("service unhealthy (responded with \"{other}\")"),
        End::Nothing => "error: health rpc probe failed: EOF".to_owned(),
        End::Failed(status) | End::Unprocessed(status) => match status.code {
            Code::UNIMPLEMENTED => format!(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
                status.message
            ),
            Code::DEADLINE_EXCEEDED => call_timed_out(timeout),
            _ => format!("error: health rpc probe failed: {status}"),
        },
    };
    (OutcomeStatus::Failure, output)
}

fn call_timed_out(timeout: Duration) -> String {
    format!(
        "timeout: health rpc did not complete within {}",
        go::duration(timeout)
    )
}

/// One attempt under way.
#[derive(Debug)]
struct Exchange<'a, S> {
    dialer: Dialer<'a, S>,
    check: &'a Check<'a>,
    authority: String,
    /// Whether the dial is over. It decides what a timeout means.
    in_call: bool,
}

/// Why there is no connection yet.
#[derive(Debug)]
enum ConnectError {
    /// It could not be tried.
    NoSocket(ProberError),
    /// Another try may do better.
    Failed(String),
}

impl<S: Sockets> Exchange<'_, S> {
    /// Dials and calls; a call that a server has declined to take up is made once more, as it did nothing.
    ///
    /// Upstream: grpc-go stream.go, csAttempt.shouldRetry.
    /// Shown by: a_call_that_was_not_taken_up_is_made_once_more.
    /// Differs: also after REFUSED_STREAM on a new connection, where grpc-go would keep the old one.
    async fn run(&mut self) -> Result<End, ProberError> {
        let connection = self.dial().await?;
        self.in_call = true;
        let end = connection.finish().await;
        if !matches!(end, End::Unprocessed(_)) {
            return Ok(end);
        }
        match self.connect().await {
            Ok(connection) => Ok(connection.finish().await),
            Err(ConnectError::NoSocket(error)) => Err(error),
            Err(ConnectError::Failed(reason)) => {
                let message = format!("connection error: desc = {}", go::quote(reason.as_bytes()));
                Ok(End::Failed(Status::new(Code::UNAVAILABLE, message)))
            }
        }
    }

    /// Tries until there is a connection; it is the attempt's timeout that ends it.
    ///
    /// Upstream: grpc-go clientconn.go, DialContext and addrConn.resetTransportAndUnlock;
    /// internal/backoff/backoff.go, Exponential.Backoff.
    /// Shown by: a_dial_is_tried_again_after_a_second, c18_nothing_listening_takes_the_whole_timeout.
    /// Differs: the waits are not jittered, as attempts are spread by their schedule already.
    async fn dial(&mut self) -> Result<Connection, ProberError> {
        const FIRST_WAIT: Duration = Duration::from_secs(1);
        const LONGEST_WAIT: Duration = Duration::from_secs(120);
        /// For one try, unless the wait after it is longer.
        const PATIENCE: Duration = Duration::from_secs(20);
        let mut wait = FIRST_WAIT;
        loop {
            match timeout(PATIENCE.max(wait), self.connect()).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(ConnectError::NoSocket(error))) => return Err(error),
                Ok(Err(ConnectError::Failed(_))) | Err(_) => {}
            }
            sleep(wait).await;
            wait = wait.mul_f64(1.6).min(LONGEST_WAIT);
        }
    }

    /// One connection, made and greeted.
    ///
    /// Upstream: grpc-go internal/transport/http2_client.go, NewHTTP2Client.
    /// Shown by: servers_that_never_get_as_far_as_settings, a_server_that_says_nothing.
    /// Differs: the request goes out with the preface, where grpc-go waits for the server's settings.
    async fn connect(&mut self) -> Result<Connection, ConnectError> {
        let dialed = self.dialer.connect(self.check.host, self.check.port).await;
        let socket = dialed.map_err(|error| match error {
            DialError::NoSocket(error) => ConnectError::NoSocket(error),
            DialError::TimedOut(reason) | DialError::Failed(reason) => {
                ConnectError::Failed(format!("transport: Error while dialing: {reason}"))
            }
        })?;
        // Replies must not wait for the acknowledgement of what was sent before.
        let nodelay = socket.set_nodelay();
        nodelay.map_err(|error| ConnectError::Failed(socket.describe("set", &error)))?;
        let left = self.dialer.deadline() - clock();
        let call = Call::new(
            &headers(&self.authority, left),
            message::request(self.check.service),
        );
        let mut connection = Connection::new(socket, call);
        let begun = connection.begin().await;
        begun.map_err(ConnectError::Failed)?;
        Ok(connection)
    }

    fn timed_out(&self, timeout: Duration) -> String {
        if self.in_call {
            return call_timed_out(timeout);
        }
        format!(
            "timeout: failed to connect service {} within {}: context deadline exceeded",
            go::quote(self.authority.as_bytes()),
            go::duration(timeout)
        )
    }
}

/// Host and port in one, IPv6 in brackets.
///
/// Upstream: Go src/net/ipsock.go, JoinHostPort.
/// Shown by: authorities.
fn authority(host: &str, port: u16) -> String {
    match host.parse() {
        Ok(IpAddr::V6(_)) => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

/// The header block of a request that is to be answered within `left`.
///
/// Upstream: grpc-go internal/transport/http2_client.go, http2Client.createHeaderFields.
/// Shown by: what_the_server_is_asked.
fn headers(authority: &str, left: Duration) -> Vec<u8> {
    /// Indexes of HPACK's static table.
    const AUTHORITY: u8 = 1;
    const METHOD_POST: u8 = 3;
    const PATH: u8 = 4;
    const SCHEME_HTTP: u8 = 6;
    const CONTENT_TYPE: u8 = 31;
    const USER_AGENT_INDEX: u8 = 58;
    let mut block = Vec::with_capacity(192);
    hpack::put_indexed(&mut block, METHOD_POST);
    hpack::put_indexed(&mut block, SCHEME_HTTP);
    hpack::put_value(&mut block, PATH, b"/grpc.health.v1.Health/Check");
    hpack::put_value(&mut block, AUTHORITY, authority.as_bytes());
    hpack::put_value(&mut block, CONTENT_TYPE, b"application/grpc");
    hpack::put_value(&mut block, USER_AGENT_INDEX, USER_AGENT.as_bytes());
    hpack::put_field(&mut block, b"te", b"trailers");
    hpack::put_field(&mut block, b"grpc-timeout", grpc_timeout(left).as_bytes());
    block
}

/// A duration in the finest unit that takes no more than eight digits, rounded up.
///
/// Upstream: grpc-go internal/grpcutil/encode_duration.go, EncodeDuration.
/// Shown by: timeouts_have_eight_digits_at_most.
fn grpc_timeout(left: Duration) -> String {
    let units = [
        ("n", 1),
        ("u", 1_000),
        ("m", 1_000_000),
        ("S", 1_000_000_000),
    ];
    for (unit, nanos) in units {
        let value = left.as_nanos().div_ceil(nanos);
        if value < 100_000_000 {
            return format!("{value}{unit}");
        }
    }
    format!("{}H", left.as_secs().div_ceil(3_600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_eight_digits_at_most() {
        for (left, expected) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_secs(1), "1000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(360_000_000), "100000H"),
        ] {
            assert_eq!(grpc_timeout(left), expected);
        }
    }

    #[test]
    fn authorities() {
        assert_eq!(authority("10.0.0.1", 80), "10.0.0.1:80");
        assert_eq!(authority("fd00::1", 80), "[fd00::1]:80");
    }
}
