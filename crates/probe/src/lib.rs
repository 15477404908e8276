//! One attempt of one probe: what the kubelet's probers do, and what they say about it.
//!
//! [`run`] makes the attempt that a [`Probe`] asks for against one container. The handlers below it,
//! [`http::attempt`], [`tcp::attempt`], [`grpc::attempt`] and [`exec::attempt`], stand on their own for
//! whoever wants a single try by hand. An attempt answers an [`Outcome`] (what was seen) or a
//! [`ProberError`] (nothing could be seen, nothing is to be counted); its texts are those of Kubernetes
//! 1.35, down to the words of Go's HTTP client, because people search for them.
//!
//! It is not a place for schedules, thresholds or verdicts: those are the engine's. Nothing here spawns
//! a task, keeps state between attempts, or reads the environment, so no proxy is ever used.
//!
//! Start reading at [`run`], then [`http::attempt`].

mod dial;
pub mod exec;
pub mod go;
pub mod grpc;
pub mod http;
pub mod port;
mod socket;
pub mod tcp;

use std::net::IpAddr;
use std::time::Duration;

use probelet_model::id::{ContainerId, PodUid};
use probelet_model::pod::Container;
use probelet_model::probe::{Handler, Outcome, PortRef, Probe, ProberError};
use probelet_runtime::Runtime;
use tokio::time::Instant;

pub use dial::{HostSockets, PodSockets, Sockets};

/// How many tries one attempt has, the first included.
///
/// Upstream: kubelet pkg/kubelet/prober/prober.go, maxProbeRetries.
/// Shown by: c10_a_stalled_body_is_an_error_three_times.
pub const MAX_TRIES: u32 = 3;

/// How many bytes of a target's own words are kept: of an HTTP body, of a command's output.
///
/// Upstream: pkg/probe/http/http.go, maxRespBodyLength; pkg/probe/exec/exec.go, maxReadLength.
/// Shown by: c9_a_long_body_is_cut, c22_output_is_cut.
pub const OUTPUT_LIMIT: usize = 10 * 1024;

/// The container that is probed.
#[derive(Debug)]
pub struct Target<'a, R> {
    /// Runs it.
    pub runtime: &'a R,
    /// Its pod.
    pub pod: &'a PodUid,
    /// Its present run.
    pub container: &'a ContainerId,
    /// Its spec: named ports, and the environment that commands are expanded from.
    pub spec: &'a Container,
    /// The pod's address. Only a handler without a `host` needs it.
    pub pod_ip: Option<IpAddr>,
}

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What the last try saw, or why it saw nothing.
    pub result: Result<Outcome, ProberError>,
    /// From the start of the first try to the end of the last.
    pub duration: Duration,
    /// How many tries it took, 1 to [`MAX_TRIES`].
    pub tries: u32,
}

/// Makes one attempt of `probe`.
///
/// A try that ends in an error is made again at once, [`MAX_TRIES`] in all; a failure is an answer and
/// is never retried. Each try has the probe's whole timeout, counted from when it starts to connect (or
/// its command to run), so an attempt may take three times as long. To be run inside a tokio runtime
/// with IO and time; dropping the future ends the attempt and closes its socket.
///
/// Upstream: kubelet pkg/kubelet/prober/prober.go, runProbeWithRetries.
/// Shown by: c12_connection_refused_is_a_failure_and_not_retried, c24_a_failing_runtime_is_asked_three_times.
pub async fn run<R: Runtime>(target: Target<'_, R>, probe: &Probe) -> Report {
    let started = clock();
    let mut tries = 1;
    let mut result = attempt(&target, &probe.handler, probe.timeout).await;
    while result.is_err() && tries < MAX_TRIES {
        tries += 1;
        result = attempt(&target, &probe.handler, probe.timeout).await;
    }
    Report {
        result,
        duration: clock() - started,
        tries,
    }
}

/// Makes one try of one handler.
///
/// Errors: as the handler's own `attempt`, and a port or a pod address that does not exist.
///
/// Upstream: kubelet pkg/kubelet/prober/prober.go, runProbe.
/// Shown by: what_the_runtime_lacks_is_not_the_targets_failure,
/// a_host_of_its_own_is_looked_up_and_met_from_here.
pub async fn attempt<R: Runtime>(
    target: &Target<'_, R>,
    handler: &Handler,
    timeout: Duration,
) -> Result<Outcome, ProberError> {
    match handler {
        Handler::Exec { command } => {
            let command = target.spec.expand(command);
            exec::attempt(
                target.runtime,
                target.pod,
                target.container,
                command,
                timeout,
            )
            .await
        }
        Handler::HttpGet {
            host,
            port,
            path,
            scheme,
            headers,
        } => {
            let (address, number) = endpoint(target, host.as_deref(), port)?;
            let get = http::Get {
                scheme: *scheme,
                host: &address,
                port: number,
                path,
                headers,
            };
            match host {
                Some(_) => http::attempt(&HostSockets, &get, timeout).await,
                None => http::attempt(&pod_sockets(target), &get, timeout).await,
            }
        }
        Handler::TcpSocket { host, port } => {
            let (address, number) = endpoint(target, host.as_deref(), port)?;
            match host {
                Some(_) => tcp::attempt(&HostSockets, &address, number, timeout).await,
                None => tcp::attempt(&pod_sockets(target), &address, number, timeout).await,
            }
        }
        Handler::Grpc { port, service } => {
            let (address, number) = endpoint(target, None, &PortRef::Number(*port))?;
            let check = grpc::Check {
                host: &address,
                port: number,
                service,
            };
            grpc::attempt(&pod_sockets(target), &check, timeout).await
        }
    }
}

/// Where a handler connects to: its `host` or the pod's address, and the number of its port.
///
/// Differs: upstream probes a pod without an address at the address "", which is the node's own; here
/// that is an error, and counts for nothing.
fn endpoint<R>(
    target: &Target<'_, R>,
    host: Option<&str>,
    port: &PortRef,
) -> Result<(String, u16), ProberError> {
    let number = port::resolve(port, target.spec)?;
    let address = match (host, target.pod_ip) {
        (Some(host), _) => host.to_owned(),
        (None, Some(ip)) => ip.to_string(),
        (None, None) => return Err(prober_error("the pod has no address yet")),
    };
    Ok((address, number))
}

const fn pod_sockets<'a, R>(target: &Target<'a, R>) -> PodSockets<'a, R> {
    PodSockets {
        runtime: target.runtime,
        pod: target.pod,
    }
}

/// The one place here that reads a clock: tokio's, so that it agrees with the timers.
fn clock() -> Instant {
    Instant::now()
}

fn prober_error(message: impl Into<String>) -> ProberError {
    ProberError {
        message: message.into(),
    }
}
