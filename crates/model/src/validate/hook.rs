//! `lifecycle.preStop`: what a container does before it is told to stop.

use std::time::Duration;

use k8s_openapi::api::core::v1 as api;

use super::{Errors, probe};
use crate::field::{FieldError, FieldPath};
use crate::pod::Hook;

/// Upstream: validateLifecycle, validateHandler, validateSleepAction. `grace` is the pod's.
pub(super) fn pre_stop(
    wire: &api::LifecycleHandler,
    grace: Duration,
    path: &FieldPath,
    errors: &mut Errors,
) -> Option<Hook> {
    let mut hooks = Vec::new();
    if let Some(wire) = &wire.exec {
        let path = path.field("exec");
        hooks.push((
            path.clone(),
            Some(Hook::Handler(probe::exec(wire, &path, errors))),
        ));
    }
    if let Some(wire) = &wire.http_get {
        let path = path.field("httpGet");
        hooks.push((
            path.clone(),
            Some(Hook::Handler(probe::http_get(wire, &path, errors))),
        ));
    }
    if wire.tcp_socket.is_some() {
        // The table of fields refuses it with its own words.
        hooks.push((path.field("tcpSocket"), None));
    }
    if let Some(wire) = &wire.sleep {
        let path = path.field("sleep");
        hooks.push((
            path.clone(),
            Some(sleep(wire.seconds, grace, path.field("seconds"), errors)),
        ));
    }
    for (path, _) in hooks.iter().skip(1) {
        let detail = "may not specify more than 1 handler type";
        errors.add(FieldError::forbidden(path.clone(), detail));
    }
    if hooks.is_empty() {
        errors.required(path.clone(), "must specify a handler type");
    }
    hooks.into_iter().next().and_then(|(_, hook)| hook)
}

fn sleep(seconds: i64, grace: Duration, path: FieldPath, errors: &mut Errors) -> Hook {
    let sleep = u64::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds <= grace.as_secs());
    if sleep.is_none() {
        let grace = grace.as_secs();
        let detail =
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.invalid(path, seconds, &detail);
    }
    Hook::Sleep(Duration::from_secs(sleep.unwrap_or_default()))
}
