//! What a probe or a hook does: exactly one of the kinds of handler.

use k8s_openapi::api::core::v1 as api;

use super::{Errors, filled, names, port_number, port_ref};
use crate::field::{FieldError, FieldPath};
use crate::pod::Hook;
use crate::probe::{Handler, Scheme};

/// All kinds of handler, of which an object should set one; a probe has no `sleep`, a hook no `grpc`.
///
/// Upstream: commonHandler.
/// Shown by: probes_are_validated, hooks_are_validated.
#[derive(Default)]
pub(super) struct Wire<'a> {
    pub(super) exec: Option<&'a api::ExecAction>,
    pub(super) http_get: Option<&'a api::HTTPGetAction>,
    pub(super) tcp_socket: Option<&'a api::TCPSocketAction>,
    pub(super) grpc: Option<&'a api::GRPCAction>,
    pub(super) sleep: Option<&'a api::SleepAction>,
}

/// The first handler that is set; the others are refused unread. `grace` is the pod's in seconds, `None` if
/// that is wrong itself.
///
/// Upstream: validateHandler.
/// Shown by: probes_are_validated, hooks_are_validated.
pub(super) fn handler(
    wire: &Wire<'_>,
    grace: Option<u64>,
    path: &FieldPath,
    errors: &mut Errors,
) -> Option<Hook> {
    let at = |field: &'static str| path.field(field);
    let chosen = if let Some(wire) = wire.exec {
        Hook::Handler(exec(wire, &at("exec"), errors))
    } else if let Some(wire) = wire.http_get {
        Hook::Handler(http_get(wire, &at("httpGet"), errors))
    } else if let Some(wire) = wire.tcp_socket {
        Hook::Handler(tcp_socket(wire, &at("tcpSocket"), errors))
    } else if let Some(wire) = wire.grpc {
        Hook::Handler(grpc(wire, &at("grpc"), errors))
    } else if let Some(wire) = wire.sleep {
        sleep(wire, grace, at("sleep"), errors)
    } else {
        errors.required(path.clone(), "must specify a handler type");
        return None;
    };
    for field in wire.fields().skip(1) {
        let detail = "may not specify more than 1 handler type";
        errors.add(FieldError::forbidden(at(field), detail));
    }
    Some(chosen)
}

impl Wire<'_> {
    /// The fields that are set, in upstream's order.
    fn fields(&self) -> impl Iterator<Item = &'static str> {
        [
            self.exec.map(|_| "exec"),
            self.http_get.map(|_| "httpGet"),
            self.tcp_socket.map(|_| "tcpSocket"),
            self.grpc.map(|_| "grpc"),
            self.sleep.map(|_| "sleep"),
        ]
        .into_iter()
        .flatten()
    }
}

/// An `exec` has a command.
///
/// Upstream: validateExecAction.
/// Shown by: probes_are_validated.
fn exec(wire: &api::ExecAction, path: &FieldPath, errors: &mut Errors) -> Handler {
    let command = wire.command.clone().unwrap_or_default();
    if command.is_empty() {
        errors.required(path.field("command"), "");
    }
    Handler::Exec { command }
}

/// An `httpGet` has a port and a scheme, and headers whose names may be sent.
///
/// Upstream: validateHTTPGetAction.
/// Shown by: probes_are_validated, a_pod_is_read.
fn http_get(wire: &api::HTTPGetAction, path: &FieldPath, errors: &mut Errors) -> Handler {
    if filled(wire.path.as_ref()).is_none() {
        errors.required(path.field("path"), "");
    }
    let port = port_ref(&wire.port, path.field("port"), errors);
    let scheme = match filled(wire.scheme.as_ref()) {
        Some("HTTPS") => Scheme::Https,
        Some("HTTP") => Scheme::Http,
        other => {
            let other = other.unwrap_or_default();
            errors.unsupported(path.field("scheme"), other, &["HTTP", "HTTPS"]);
            Scheme::Http
        }
    };
    let headers = wire.http_headers.as_deref().unwrap_or_default();
    for header in headers {
        let path = path.field("httpHeaders");
        errors.invalid_each(
            &path,
            header.name.as_str(),
            names::header_name(&header.name),
        );
    }
    Handler::HttpGet {
        host: filled(wire.host.as_ref()).map(str::to_owned),
        port,
        path: wire.path.clone().unwrap_or_default(),
        scheme,
        headers: headers
            .iter()
            .map(|header| (header.name.clone(), header.value.clone()))
            .collect(),
    }
}

/// A `tcpSocket` has a port.
///
/// Upstream: validateTCPSocketAction.
/// Shown by: probes_are_validated, a_pod_is_read.
fn tcp_socket(wire: &api::TCPSocketAction, path: &FieldPath, errors: &mut Errors) -> Handler {
    Handler::TcpSocket {
        host: filled(wire.host.as_ref()).map(str::to_owned),
        port: port_ref(&wire.port, path.field("port"), errors),
    }
}

/// A `grpc` has a port, by number.
///
/// Upstream: validateGRPCAction.
/// Shown by: probes_are_validated, a_grpc_probe_is_read.
fn grpc(wire: &api::GRPCAction, path: &FieldPath, errors: &mut Errors) -> Handler {
    Handler::Grpc {
        port: port_number(wire.port, path.field("port"), errors),
        service: wire.service.clone().unwrap_or_default(),
    }
}

/// A `sleep` lasts no longer than the pod's grace; what is wrong is the action, not its `seconds`.
///
/// Upstream: validateSleepAction.
/// Shown by: hooks_are_validated, a_wrong_grace_is_not_held_against_a_sleep.
fn sleep(
    wire: &api::SleepAction,
    grace: Option<u64>,
    path: FieldPath,
    errors: &mut Errors,
) -> Hook {
    let seconds = u64::try_from(wire.seconds).ok();
    if let Some(grace) = grace
        && seconds.is_none_or(|seconds| seconds > grace)
    {
        let detail =
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.invalid(path, wire.seconds, &detail);
    }
    Hook::Sleep(std::time::Duration::from_secs(seconds.unwrap_or_default()))
}
