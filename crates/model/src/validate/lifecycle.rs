//! `lifecycle`: what a container does after it was started, and before it is told to stop.

use k8s_openapi::api::core::v1 as api;

use super::{Errors, handler};
use crate::field::FieldPath;
use crate::pod::Hook;
use crate::signal;

/// Both hooks of a container, as far as it has them.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    pub(super) post_start: Option<Hook>,
    pub(super) pre_stop: Option<Hook>,
}

/// A container's hooks. `grace` is the pod's in seconds, `None` if that is wrong itself. That a hook's
/// `tcpSocket` is not carried out is for the table of fields to say.
///
/// Upstream: validateLifecycle.
/// Shown by: hooks_are_read, hooks_are_validated.
pub(super) fn hooks(
    wire: &api::Lifecycle,
    grace: Option<u64>,
    path: &FieldPath,
    errors: &mut Errors,
) -> Hooks {
    let mut hook = |wire: Option<&api::LifecycleHandler>, field: &'static str| {
        let wire = wire?;
        let wire = handler::Wire {
            exec: wire.exec.as_ref(),
            http_get: wire.http_get.as_ref(),
            tcp_socket: wire.tcp_socket.as_ref(),
            sleep: wire.sleep.as_ref(),
            ..handler::Wire::default()
        };
        handler::handler(&wire, grace, &path.field(field), errors)
    };
    Hooks {
        post_start: hook(wire.post_start.as_ref(), "postStart"),
        pre_stop: hook(wire.pre_stop.as_ref(), "preStop"),
    }
}

/// `stopSignal`, which a pod may have that says that it is for Linux.
///
/// Upstream: validateStopSignal, behind the gate ContainerStopSignals.
/// Shown by: stop_signals_are_read_and_validated.
pub(super) fn stop_signal(
    wire: &api::Lifecycle,
    linux: bool,
    path: &FieldPath,
    errors: &mut Errors,
) -> Option<i32> {
    let name = wire.stop_signal.as_deref()?;
    let path = path.field("stopSignal");
    let number = signal::named(name);
    if !linux {
        let detail = "may not be set for containers with empty `spec.os.name`";
        errors.forbidden(path, detail);
    } else if number.is_none() {
        let names = signal::names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        errors.unsupported(path, name, &names);
    }
    number
}
