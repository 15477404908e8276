//! The number behind a probe's port.

use probelet_model::pod::Container;
use probelet_model::probe::{PortRef, ProberError};

use crate::prober_error;

/// The port that `port` means in `container`.
///
/// Errors: no port of the container has that name (it stays an error for ever and so never fails a
/// probe, as upstream), or the number is 0.
///
/// Upstream: pkg/probe/util.go, ResolveContainerPort.
/// Shown by: a_misspelt_port_is_an_error_and_asks_nobody.
pub fn resolve(port: &PortRef, container: &Container) -> Result<u16, ProberError> {
    match container.resolve_port(port) {
        None => Err(prober_error(format!("port \"{port}\" not found"))),
        Some(0) => Err(prober_error("invalid port number: 0")),
        Some(number) => Ok(number),
    }
}
