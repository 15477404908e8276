//! A probe as the engine and the probers see it, and what one attempt of it can answer.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The three things a probe can be for.
///
/// The order is upstream's order of creation inside a container.
/// Upstream: kubelet pkg/kubelet/prober/prober_manager.go, AddPod.
/// Shown by: kinds_have_upstreams_order_and_words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// Holds the other two back until it has succeeded; its failure kills the container.
    Startup,
    /// Its verdict is the container's `ready`.
    Readiness,
    /// Its failure kills the container.
    Liveness,
}

impl ProbeKind {
    /// All three, in order.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Readiness, Self::Liveness];

    /// `Startup`, `Readiness` or `Liveness`: the word at the head of upstream's event texts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }

    /// The name of the probe's field in a container: `startupProbe` and so on.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Startup => "startupProbe",
            Self::Readiness => "readinessProbe",
            Self::Liveness => "livenessProbe",
        }
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One probe of one container, validated and defaulted.
///
/// Upstream: pkg/apis/core/v1/defaults.go, SetDefaults_Probe; pkg/apis/core/validation/validation.go,
/// validateProbe.
/// Shown by: a_pod_is_defaulted, a_pod_is_read, probes_are_validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What one attempt does.
    pub handler: Handler,
    /// No attempt before the container has run this long.
    pub initial_delay: Duration,
    /// Time between looks, at least 10 ms: whole seconds, unless an annotation refines it.
    pub period: Duration,
    /// Time one attempt may take, at least 1 ms: whole seconds, unless an annotation refines it.
    pub timeout: Duration,
    /// Successes in a row that make the verdict Success, at least 1.
    pub success_threshold: u32,
    /// Failures in a row that make the verdict Failure, at least 1.
    pub failure_threshold: u32,
    /// Grace of the kill that this probe's failure causes, in place of the pod's.
    pub termination_grace_period: Option<Duration>,
}

/// What one attempt of a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handler {
    /// Runs a command in the container; exit code 0 is success.
    Exec {
        /// argv, not passed to a shell; never empty. `$(VAR)` is not yet expanded.
        command: Vec<String>,
    },
    /// One GET.
    HttpGet {
        /// In place of the pod's IP; then made from the host's network namespace.
        host: Option<String>,
        /// Where to connect.
        port: PortRef,
        /// As in the manifest, `/` by default; may carry a query.
        path: String,
        /// HTTP or HTTPS.
        scheme: Scheme,
        /// In order, repeated names kept.
        headers: Vec<(String, String)>,
    },
    /// One TCP connection, closed at once.
    TcpSocket {
        /// In place of the pod's IP; then made from the host's network namespace.
        host: Option<String>,
        /// Where to connect.
        port: PortRef,
    },
    /// One `Check` of the standard gRPC health service, over plain HTTP/2, at the pod's IP.
    Grpc {
        /// Where to connect.
        port: u16,
        /// Whose health to ask for; empty asks for the server's.
        service: String,
    },
}

impl Handler {
    /// The handler's field in a probe: `exec`, `httpGet`, `tcpSocket`, `grpc`.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Exec { .. } => "exec",
            Self::HttpGet { .. } => "httpGet",
            Self::TcpSocket { .. } => "tcpSocket",
            Self::Grpc { .. } => "grpc",
        }
    }
}

/// `scheme` of an httpGet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP/1.1.
    Http,
    /// TLS without verification of the certificate.
    Https,
}

/// A port by number or by the name it has among its container's ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortRef {
    /// 1 to 65535.
    Number(u16),
    /// A name; that such a port exists is only seen when it is used, as upstream.
    Name(String),
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// What one attempt saw. Not yet a verdict: thresholds come after.
///
/// Upstream: pkg/probe/probe.go, Result; kubelet pkg/kubelet/prober/prober.go, probe.
/// Shown by: a27_a_warning_counts_as_a_success, a27_a_warning_is_told_each_time_and_never_kills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it went.
    pub status: OutcomeStatus,
    /// What the target said, or how it failed to: the text of upstream's events, 10,240 bytes at most
    /// where it comes from the target.
    pub output: String,
    /// The number behind the status, where there is one.
    pub code: Option<Code>,
}

/// How an attempt went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeStatus {
    /// Counts as a success.
    Success,
    /// Counts as a success and is told as a `ProbeWarning` event.
    Warning,
    /// Counts as a failure.
    Failure,
}

impl OutcomeStatus {
    /// Whether it counts towards successThreshold rather than failureThreshold.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Success | Self::Warning)
    }
}

/// The number behind an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Exit code of an exec attempt.
    Exit(i32),
    /// Status code of an httpGet attempt.
    Http(u16),
}

/// The attempt could not be made (or not be judged): nothing is counted, the verdict stays.
///
/// Upstream: kubelet pkg/kubelet/prober/prober.go, probe (an error beside the result).
/// Shown by: a28_an_error_counts_as_nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProberError {
    /// Why, in upstream's words where upstream has some.
    pub message: String,
}

/// What the thresholds made of the attempts of one container run.
///
/// Upstream: kubelet pkg/kubelet/prober/results/results_manager.go, Result.
/// Shown by: results_have_upstreams_words, a14_no_attempt_within_the_initial_delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Neither yet: a startup probe before its first verdict.
    Unknown,
    /// successThreshold was met.
    Success,
    /// failureThreshold was met, or a readiness probe has not succeeded yet.
    Failure,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "Unknown",
            Self::Success => "Success",
            Self::Failure => "Failure",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_upstreams_order_and_words() {
        let words = ProbeKind::ALL.map(|kind| (kind.to_string(), kind.field()));
        let expected = [
            ("Startup", "startupProbe"),
            ("Readiness", "readinessProbe"),
            ("Liveness", "livenessProbe"),
        ];
        assert_eq!(
            words,
            expected.map(|(word, field)| (word.to_owned(), field))
        );
        assert!(ProbeKind::ALL.is_sorted());
    }

    #[test]
    fn results_have_upstreams_words() {
        let words = [Verdict::Unknown, Verdict::Success, Verdict::Failure]
            .map(|verdict| verdict.to_string());
        assert_eq!(words, ["Unknown", "Success", "Failure"]);
        let message = "port \"web\" not found".to_owned();
        assert_eq!(
            ProberError {
                message: message.clone()
            }
            .to_string(),
            message
        );
    }
}
