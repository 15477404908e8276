//! `lifecycle`: what a container does after it was started, and before it is told to stop.

use k8s_openapi::api::core::v1 as api;

use super::{Errors, handler};
use crate::field::FieldPath;
use crate::pod::Hook;

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
