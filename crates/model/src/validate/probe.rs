//! A probe of a container.

use std::time::Duration;

use k8s_openapi::api::core::v1 as api;

use super::{Errors, handler, non_negative};
use crate::field::FieldPath;
use crate::pod::Hook;
use crate::probe::{Handler, Probe, ProbeKind};

/// A probe's numbers and handler; a readiness probe may have no grace of its own, and only it a
/// successThreshold above 1. The errors come in upstream's order. `None` without a handler.
///
/// Upstream: validateProbe, then what validateLivenessProbe, validateReadinessProbe and
/// validateStartupProbe add.
/// Shown by: probes_are_validated, readiness_differs_from_the_other_two.
pub(super) fn probe(
    kind: ProbeKind,
    wire: &api::Probe,
    path: &FieldPath,
    errors: &mut Errors,
) -> Option<Probe> {
    let handler = handler(wire, path, errors);
    let mut seconds = |value: Option<i32>, field: &'static str| {
        let seconds = non_negative(value.unwrap_or(0), path.field(field), errors);
        Duration::from_secs(seconds.into())
    };
    let initial_delay = seconds(wire.initial_delay_seconds, "initialDelaySeconds");
    let timeout = seconds(wire.timeout_seconds, "timeoutSeconds");
    let period = seconds(wire.period_seconds, "periodSeconds");
    // Zero has become the default long before.
    let mut threshold = |value: Option<i32>, field: &'static str| {
        non_negative(value.unwrap_or(1), path.field(field), errors)
    };
    let success_threshold = threshold(wire.success_threshold, "successThreshold");
    let failure_threshold = threshold(wire.failure_threshold, "failureThreshold");
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
    Some(Probe {
        handler: handler?,
        initial_delay,
        period,
        timeout,
        success_threshold,
        failure_threshold,
        termination_grace_period,
    })
}

fn handler(wire: &api::Probe, path: &FieldPath, errors: &mut Errors) -> Option<Handler> {
    let wire = handler::Wire {
        exec: wire.exec.as_ref(),
        http_get: wire.http_get.as_ref(),
        tcp_socket: wire.tcp_socket.as_ref(),
        grpc: wire.grpc.as_ref(),
        sleep: None,
    };
    match handler::handler(&wire, None, path, errors)? {
        Hook::Handler(handler) => Some(handler),
        Hook::Sleep(_) => None,
    }
}
