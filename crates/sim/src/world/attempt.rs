//! What an attempt of a probe sees, and in what words: those of the real probers, as people search for them.
//!
//! The texts are the ones that `probelet-probe` makes on real sockets; what a script cannot bring about
//! (TLS, redirects, odd bytes) has none here.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use probelet_model::go;
use probelet_model::id::ContainerId;
use probelet_model::pod::Container;
use probelet_model::probe::{
    Code, Handler, Outcome, OutcomeStatus, PortRef, Probe, ProberError, Scheme,
};

use crate::script::{Exec, Grpc, Http, Run, Tcp, Timeline};

/// How often a try that ends in an error is made, the first included.
///
/// Upstream: kubelet pkg/kubelet/prober/prober.go, maxProbeRetries.
/// Shown by: errors_are_tried_three_times.
const MAX_TRIES: u32 = 3;

/// What an attempt is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// The container's spec.
    pub(super) spec: &'a Container,
    /// The run that is probed.
    pub(super) id: &'a ContainerId,
    /// The pod's address.
    pub(super) ip: IpAddr,
    /// The container's present run, and its age; `None` if it does not run.
    pub(super) run: Option<(&'a Run, Duration)>,
}

/// The answer of an attempt.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// How long it takes.
    pub(super) after: Duration,
    /// What it saw.
    pub(super) result: Result<Outcome, ProberError>,
    /// What it sees instead if the container ends before.
    pub(super) cut: Cut,
}

/// What an attempt under way sees of its container's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nothing: it goes on as it would have.
    Unseen,
    /// The connection is closed, or the command is killed.
    Seen,
}

impl Answer {
    fn at_once(result: Result<Outcome, ProberError>) -> Self {
        Self {
            after: Duration::ZERO,
            result,
            cut: Cut::Unseen,
        }
    }

    fn after(after: Duration, result: Result<Outcome, ProberError>) -> Self {
        Self {
            after,
            result,
            cut: Cut::Seen,
        }
    }

    fn unseen(self) -> Self {
        Self {
            cut: Cut::Unseen,
            ..self
        }
    }

    /// Every try takes as long as the first, and ends in the same error.
    fn error(each: Duration, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::after(each * MAX_TRIES, Err(ProberError { message }))
    }
}

/// What an attempt of `probe` sees.
pub(super) fn attempt(target: &Target<'_>, probe: &Probe) -> Answer {
    let limit = probe.timeout;
    match &probe.handler {
        Handler::Exec { command } => exec(target, command, limit),
        Handler::HttpGet {
            host,
            port,
            path,
            scheme,
            ..
        } => match target.spec.resolve_port(port) {
            Some(number) => {
                let address = address(target.ip, host.as_deref(), number);
                let get = Get {
                    scheme: *scheme,
                    address: &address,
                    path,
                };
                http(target, &get, limit)
            }
            None => no_port(port),
        },
        Handler::TcpSocket { host, port } => match target.spec.resolve_port(port) {
            Some(number) => tcp(target, &address(target.ip, host.as_deref(), number), limit),
            None => no_port(port),
        },
        Handler::Grpc { port, .. } => grpc(target, &address(target.ip, None, *port), limit),
    }
}

/// What an attempt under way sees when its container ends.
pub(super) fn cut_off(
    spec: &Container,
    ip: IpAddr,
    handler: &Handler,
) -> Result<Outcome, ProberError> {
    match handler {
        Handler::Exec { .. } => Ok(exited(137, String::new())),
        Handler::HttpGet {
            host,
            port,
            path,
            scheme,
            ..
        } => {
            let number = spec.resolve_port(port).unwrap_or_default();
            let get = Get {
                scheme: *scheme,
                address: &address(ip, host.as_deref(), number),
                path,
            };
            failure(get.text("EOF"))
        }
        Handler::TcpSocket { host, port } => {
            let number = spec.resolve_port(port).unwrap_or_default();
            failure(refused(&address(ip, host.as_deref(), number)))
        }
        Handler::Grpc { .. } => failure(
            "error: health rpc probe failed: rpc error: code = Unavailable desc = error reading from server: EOF",
        ),
    }
}

/// A port that the container has no name for is an error, on which the attempt is made again.
///
/// Upstream: pkg/probe/util.go, ResolveContainerPort.
/// Shown by: errors_are_tried_three_times.
fn no_port(port: &PortRef) -> Answer {
    Answer {
        cut: Cut::Unseen,
        ..Answer::error(Duration::ZERO, format!("port \"{port}\" not found"))
    }
}

/// What an httpGet sees.
///
/// Upstream: pkg/probe/http/http.go, DoHTTPProbe.
/// Shown by: attempts_say_what_the_real_probers_say, errors_are_tried_three_times.
fn http(target: &Target<'_>, get: &Get<'_>, limit: Duration) -> Answer {
    let said = match target.run {
        None => Cow::Owned(Http::Refuses),
        Some((run, age)) => match &run.http {
            None => Cow::Owned(Http::OK),
            Some(paths) => match paths.find(get.path) {
                Some(answers) => now(answers, age, Http::Refuses),
                None => Cow::Owned(Http::Says {
                    status: 404,
                    body: String::new(),
                    latency: Duration::ZERO,
                }),
            },
        },
    };
    match &*said {
        Http::Refuses => Answer::at_once(failure(get.text(&refused(get.address)))),
        Http::Stalls => Answer::error(
            limit,
            "context deadline exceeded (Client.Timeout or context cancellation while reading body)",
        ),
        Http::Says {
            status,
            body,
            latency,
        } if *latency < limit => Answer::after(*latency, Ok(judge(*status, body))),
        Http::Hangs | Http::Says { .. } => Answer::after(
            limit,
            failure(get.text(
                "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            )),
        ),
    }
}

fn judge(status: u16, body: &str) -> Outcome {
    let (outcome, output) = match status {
        200..300 => (OutcomeStatus::Success, body.to_owned()),
        300..400 => (
            OutcomeStatus::Warning,
            format!("Probe terminated redirects, Response body: {body}"),
        ),
        _ => (
            OutcomeStatus::Failure,
            format!("HTTP probe failed with statuscode: {status}"),
        ),
    };
    Outcome {
        status: outcome,
        output,
        code: Some(Code::Http(status)),
    }
}

/// What a tcpSocket sees.
///
/// Upstream: pkg/probe/tcp/tcp.go, DoTCPProbe.
/// Shown by: attempts_say_what_the_real_probers_say.
fn tcp(target: &Target<'_>, address: &str, limit: Duration) -> Answer {
    let met = match target.run {
        None => Cow::Owned(Tcp::Refuses),
        Some((run, age)) => script(run.tcp.as_ref(), age, Tcp::Refuses, || Tcp::Accepts {
            latency: Duration::ZERO,
        }),
    };
    match &*met {
        Tcp::Refuses => Answer::at_once(failure(refused(address))),
        Tcp::Accepts { latency } if *latency < limit => {
            Answer::after(*latency, Ok(outcome(OutcomeStatus::Success, String::new())))
        }
        // Whether packets are lost on the way has nothing to do with the container.
        Tcp::Hangs | Tcp::Accepts { .. } => {
            Answer::after(limit, failure(format!("dial tcp {address}: i/o timeout"))).unseen()
        }
    }
}

/// What a grpc probe sees.
///
/// Upstream: pkg/probe/grpc/grpc.go, Probe.
/// Shown by: attempts_say_what_the_real_probers_say.
fn grpc(target: &Target<'_>, address: &str, limit: Duration) -> Answer {
    let met = match target.run {
        None => Cow::Owned(Grpc::Refuses),
        Some((run, age)) => script(run.grpc.as_ref(), age, Grpc::Refuses, || Grpc::Says {
            serving: true,
            latency: Duration::ZERO,
        }),
    };
    let within = go::duration(limit);
    match &*met {
        // The dial tries again until its time is over.
        Grpc::Refuses => Answer::after(
            limit,
            failure(format!(
                "timeout: failed to connect service {address:?} within {within}: context deadline exceeded"
            )),
        )
        .unseen(),
        Grpc::Says { serving, latency } if *latency < limit => {
            let outcome = if *serving {
                outcome(OutcomeStatus::Success, "service healthy".to_owned())
            } else {
                let said = "service unhealthy (responded with \"NOT_SERVING\")";
                outcome(OutcomeStatus::Failure, said.to_owned())
            };
            Answer::after(*latency, Ok(outcome))
        }
        Grpc::Hangs | Grpc::Says { .. } => Answer::after(
            limit,
            failure(format!("timeout: health rpc did not complete within {within}")),
        ),
    }
}

/// What an exec probe sees.
///
/// Upstream: pkg/probe/exec/exec.go, Probe; cri-client remote_runtime.go, execSync.
/// Shown by: attempts_say_what_the_real_probers_say, errors_are_tried_three_times.
fn exec(target: &Target<'_>, command: &[String], limit: Duration) -> Answer {
    let Some((run, age)) = target.run else {
        return Answer::error(
            Duration::ZERO,
            format!("container {} is not running", target.id),
        )
        .unseen();
    };
    let before = Exec::Ends {
        code: 1,
        output: String::new(),
        latency: Duration::ZERO,
    };
    let met = script(run.exec.as_ref(), age, before, || Exec::Ends {
        code: 0,
        output: String::new(),
        latency: Duration::ZERO,
    });
    match &*met {
        Exec::CannotRun(reason) => Answer::error(Duration::ZERO, reason).unseen(),
        Exec::Ends {
            code,
            output,
            latency,
        } if *latency < limit => Answer::after(*latency, Ok(exited(*code, output.clone()))),
        Exec::Hangs | Exec::Ends { .. } => {
            let words = target.spec.expand(command).join(" ");
            let output = format!(
                "command timed out: {words:?} timed out after {}",
                go::duration(limit)
            );
            Answer::after(limit, failure(output))
        }
    }
}

fn exited(code: i32, output: String) -> Outcome {
    let status = if code == 0 {
        OutcomeStatus::Success
    } else {
        OutcomeStatus::Failure
    };
    Outcome {
        code: Some(Code::Exit(code)),
        ..outcome(status, output)
    }
}

/// What holds at an age: by the script, or if it says nothing of such probes, by default.
fn script<T: Clone>(
    answers: Option<&Timeline<T>>,
    age: Duration,
    before: T,
    default: impl FnOnce() -> T,
) -> Cow<'_, T> {
    match answers {
        Some(answers) => now(answers, age, before),
        None => Cow::Owned(default()),
    }
}

fn now<T: Clone>(answers: &Timeline<T>, age: Duration, before: T) -> Cow<'_, T> {
    answers.at(age).map_or(Cow::Owned(before), Cow::Borrowed)
}

fn outcome(status: OutcomeStatus, output: String) -> Outcome {
    Outcome {
        status,
        output,
        code: None,
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "a failure is an answer, and this is how answers are written"
)]
fn failure(output: impl Into<String>) -> Result<Outcome, ProberError> {
    Ok(outcome(OutcomeStatus::Failure, output.into()))
}

fn refused(address: &str) -> String {
    format!("dial tcp {address}: connect: connection refused")
}

/// One GET, as its texts name it.
#[derive(Clone, Copy, Debug)]
struct Get<'a> {
    scheme: Scheme,
    address: &'a str,
    path: &'a str,
}

impl Get<'_> {
    /// An error of Go's HTTP client: `Get "<URL>": <reason>`.
    ///
    /// Upstream: Go src/net/url/url.go, Error.Error.
    /// Shown by: attempts_say_what_the_real_probers_say.
    fn text(&self, reason: &str) -> String {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        let url = format!("{scheme}://{}{slash}{}", self.address, self.path);
        format!("Get {url:?}: {reason}")
    }
}

/// The handler's host, or the pod's address, with a port.
fn address(ip: IpAddr, host: Option<&str>, port: u16) -> String {
    match host {
        Some(host) if !host.contains(':') => format!("{host}:{port}"),
        Some(host) => format!("[{host}]:{port}"),
        None => SocketAddr::new(ip, port).to_string(),
    }
}
