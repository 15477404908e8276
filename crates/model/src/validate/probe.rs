//! A probe of a container.

use std::time::Duration;

use k8s_openapi::api::core::v1 as api;

use super::{Errors, filled, names, port_ref, seconds};
use crate::field::{FieldError, FieldPath};
use crate::probe::{Handler, PortRef, Probe, ProbeKind, Scheme};

/// Upstream: validateProbe, then what validateLivenessProbe, validateReadinessProbe and
/// validateStartupProbe add; the errors come in that order.
pub(super) fn probe(
    kind: ProbeKind,
    wire: &api::Probe,
    path: &FieldPath,
    errors: &mut Errors,
) -> Probe {
    let handler = handler(wire, path, errors);
    let initial_delay = seconds(
        wire.initial_delay_seconds,
        path.field("initialDelaySeconds"),
        errors,
    );
    let timeout = seconds(wire.timeout_seconds, path.field("timeoutSeconds"), errors);
    let period = seconds(wire.period_seconds, path.field("periodSeconds"), errors);
    let success_threshold = threshold(
        wire.success_threshold,
        path.field("successThreshold"),
        errors,
    );
    let failure_threshold = threshold(
        wire.failure_threshold,
        path.field("failureThreshold"),
        errors,
    );
    let grace_path = path.field("terminationGracePeriodSeconds");
    let termination_grace_period = wire.termination_grace_period_seconds.map(|grace| {
        if grace <= 0 {
            errors.invalid(grace_path.clone(), grace, "must be greater than 0");
        }
        Duration::from_secs(u64::try_from(grace).unwrap_or(0))
    });
    match kind {
        ProbeKind::Liveness | ProbeKind::Startup => {
            if success_threshold != 1 {
                let threshold = wire.success_threshold.unwrap_or(1);
                errors.invalid(path.field("successThreshold"), threshold, "must be 1");
            }
        }
        ProbeKind::Readiness => {
            if let Some(grace) = wire.termination_grace_period_seconds {
                errors.invalid(grace_path, grace, "must not be set for readinessProbes");
            }
        }
    }
    Probe {
        handler,
        initial_delay,
        period,
        timeout,
        success_threshold,
        failure_threshold,
        termination_grace_period,
    }
}

/// A count that may not be negative; zero has become the default long before.
fn threshold(value: Option<i32>, path: FieldPath, errors: &mut Errors) -> u32 {
    let value = value.unwrap_or(1);
    u32::try_from(value).unwrap_or_else(|_| {
        errors.invalid(path, value, "must be greater than or equal to 0");
        0
    })
}

/// Upstream: validateHandler.
fn handler(wire: &api::Probe, path: &FieldPath, errors: &mut Errors) -> Handler {
    let mut chosen: Option<Handler> = None;
    let mut is_first = true;
    let mut choose = |field: &'static str, errors: &mut Errors| {
        if !std::mem::take(&mut is_first) {
            errors.add(FieldError::forbidden(
                path.field(field),
                "may not specify more than 1 handler type",
            ));
            return false;
        }
        true
    };
    if let Some(wire) = &wire.exec
        && choose("exec", errors)
    {
        chosen = Some(exec(wire, &path.field("exec"), errors));
    }
    if let Some(wire) = &wire.http_get
        && choose("httpGet", errors)
    {
        chosen = Some(http_get(wire, &path.field("httpGet"), errors));
    }
    if let Some(wire) = &wire.tcp_socket
        && choose("tcpSocket", errors)
    {
        let host = filled(wire.host.as_ref()).map(str::to_owned);
        let port = port_ref(&wire.port, path.field("tcpSocket").field("port"), errors);
        chosen = Some(Handler::TcpSocket { host, port });
    }
    // The table of fields refuses it with its own words.
    if wire.grpc.is_some() {
        choose("grpc", errors);
    }
    if is_first {
        errors.required(path.clone(), "must specify a handler type");
    }
    chosen.unwrap_or(Handler::TcpSocket {
        host: None,
        port: PortRef::Number(0),
    })
}

/// Upstream: validateExecAction.
pub(super) fn exec(wire: &api::ExecAction, path: &FieldPath, errors: &mut Errors) -> Handler {
    let command = wire.command.clone().unwrap_or_default();
    if command.is_empty() {
        errors.required(path.field("command"), "");
    }
    Handler::Exec { command }
}

/// Upstream: validateHTTPGetAction.
pub(super) fn http_get(
    wire: &api::HTTPGetAction,
    path: &FieldPath,
    errors: &mut Errors,
) -> Handler {
    if filled(wire.path.as_ref()).is_none() {
        errors.required(path.field("path"), "");
    }
    let port = port_ref(&wire.port, path.field("port"), errors);
    let scheme = match filled(wire.scheme.as_ref()) {
        Some("HTTPS") => Scheme::Https,
        Some("HTTP") => Scheme::Http,
        other => {
            let other = other.unwrap_or_default();
            errors.add(FieldError::unsupported(
                path.field("scheme"),
                other,
                &["HTTP", "HTTPS"],
            ));
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
