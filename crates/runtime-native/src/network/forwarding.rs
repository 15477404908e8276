//! Whether this host passes on what is not for itself. It stays as it is set here, since others may come to need
//! it, as they do with what Docker and Podman set.

use std::fs;
use std::io;
use std::path::Path;

use crate::text;

const V4: &str = "/proc/sys/net/ipv4/ip_forward";
const V6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// Has IPv4 passed on, between whatever interfaces there are.
///
/// Differs: upstream leaves it to whoever sets a node up.
/// Shown by: a_pod_reaches_the_outside_behind_the_hosts_address.
///
/// # Errors
/// In words, if it is not and cannot be.
pub(super) fn turn_on_v4() -> Result<(), String> {
    turn_on(V4, "net.ipv4.ip_forward")
}

/// Has IPv6 passed on.
///
/// With that, interfaces no longer take routes from router advertisements, which may be all that a host has; so
/// where routes came that way, it is left to whoever runs the host.
///
/// # Errors
/// In words, if it is not and cannot be.
pub(super) fn turn_on_v6(has_advertised_routes: bool) -> Result<(), String> {
    if has_advertised_routes && !is_on(V6).unwrap_or(false) {
        return Err(
            "IPv6 is not passed on by this host (sysctl net.ipv6.conf.all.forwarding is 0), and turning that on \
             would take away the routes it has from router advertisements: set sysctl accept_ra=2 on those \
             interfaces and then net.ipv6.conf.all.forwarding=1"
                .to_owned(),
        );
    }
    turn_on(V6, "net.ipv6.conf.all.forwarding")
}

fn turn_on(path: &str, name: &str) -> Result<(), String> {
    let turned_on = is_on(path).and_then(|on| {
        if !on {
            fs::write(path, "1")?;
            tracing::info!(
                "sysctl {name} was 0 and is 1 from now on, so that pods reach the outside"
            );
        }
        Ok(())
    });
    turned_on.map_err(|error| format!("sysctl {name} cannot be set to 1: {}", text::of_io(&error)))
}

fn is_on(path: &str) -> io::Result<bool> {
    Ok(fs::read_to_string(path)?.trim() != "0")
}

/// Whether interfaces of the calling thread's network namespace may have IPv6 addresses.
pub(super) fn has_v6(interface: &str) -> bool {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    fs::read_to_string(path).is_ok_and(|text| text.trim() == "0")
}

/// Has an interface of the calling thread's network namespace believe no router that anybody on its network
/// claims to be: a pod could, with `CAP_NET_RAW`, which containers have.
pub(super) fn ignore_routers(interface: &str) {
    let path = Path::new("/proc/sys/net/ipv6/conf")
        .join(interface)
        .join("accept_ra");
    if path.exists()
        && let Err(error) = fs::write(&path, "0")
    {
        tracing::warn!("{}: {}", path.display(), text::of_io(&error));
    }
}

/// Whether frames between pods go by the rules for what is passed on.
pub(super) fn bridged_is_filtered() -> bool {
    is_on("/proc/sys/net/bridge/bridge-nf-call-iptables").unwrap_or(false)
}
