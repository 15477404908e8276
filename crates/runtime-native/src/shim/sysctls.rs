//! Kernel parameters of the pod's own namespaces.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use probelet_runtime::{Network, PodConfig};

use super::identity::Privilege;
use super::note;
use crate::text;

/// Any user may listen on any port: it is the pod's own.
const ALL_PORTS: (&str, &str) = ("net/ipv4/ip_unprivileged_port_start", "0");
/// Any group may send echo requests.
const PING: (&str, &str) = ("net/ipv4/ping_group_range", "0 2147483647");

/// Sets what every pod with a network of its own has, and then what the pod asks for. To be called in its namespaces.
///
/// Upstream: containerd internal/cri/server/podsandbox/sandbox_run_linux.go, sandboxContainerSpec, and
/// internal/cri/config/config_unix.go, DefaultRuntimeConfig (EnableUnprivilegedPorts, EnableUnprivilegedICMP).
/// Shown by: any_user_may_listen_on_any_port_of_a_pod.
pub(super) fn set(pod: &PodConfig, privilege: Privilege) -> Result<(), String> {
    if pod.network != Network::Host {
        // A user namespace does not have all of those groups.
        let ping = (privilege == Privilege::Root).then_some(PING);
        for (path, value) in [ALL_PORTS].into_iter().chain(ping) {
            // The kernel may be too old, or this root may not: a pod can do without.
            if let Err(error) = write(path, value) {
                note(&format!("/proc/sys/{path}: {}", text::of_io(&error)));
            }
        }
    }
    set_own(pod)
}

/// In one piece: the kernel takes each write for a value.
fn write(path: &str, value: &str) -> std::io::Result<()> {
    let file = Path::new("/proc/sys").join(path);
    let mut file = OpenOptions::new().write(true).open(file)?;
    file.write_all(value.as_bytes())
}

/// What the pod asks for.
///
/// Upstream: runc libcontainer/standard_init_linux.go, Init, and kubelet pkg/kubelet/sysctl/allowlist.go,
/// validateSysctl, for what belongs to namespaces that the pod shares with the host.
/// Shown by: sysctls_are_those_of_the_pod, sysctls_that_cannot_be_are_named.
fn set_own(pod: &PodConfig) -> Result<(), String> {
    for (name, value) in &pod.security.sysctls {
        let path = path_of(name).ok_or_else(|| format!("sysctl \"{name}\" is no name of one"))?;
        if pod.network == Network::Host && path.starts_with("net/") {
            return Err(format!(
                "sysctl \"{name}\" not allowed with host net enabled"
            ));
        }
        if pod.namespaces.host_ipc && is_of_ipc(&path) {
            return Err(format!(
                "sysctl \"{name}\" not allowed with host ipc enabled"
            ));
        }
        let file = format!("/proc/sys/{path}");
        let failed = |what: &str, error: std::io::Error| {
            format!(
                "write sysctl key {name}: {what} {file}: {}",
                text::of_io(&error)
            )
        };
        let opened = OpenOptions::new().write(true).open(&file);
        let mut opened = opened.map_err(|error| failed("open", error))?;
        // In one piece: the kernel takes each write for a value.
        let written = opened.write_all(value.as_bytes());
        written.map_err(|error| failed("write", error))?;
    }
    Ok(())
}

/// Below `/proc/sys`. A name has dots between its parts, or, where a part has dots itself, slashes.
///
/// Upstream: k8s.io/component-helpers node/util/sysctl, NormalizeName.
/// Shown by: names_become_paths.
fn path_of(name: &str) -> Option<String> {
    let path = match name.find(['.', '/']) {
        Some(first) if name[first..].starts_with('.') => name
            .chars()
            .map(|letter| match letter {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    };
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.split('/').all(plain).then_some(path)
}

fn is_of_ipc(path: &str) -> bool {
    let kernel = path.strip_prefix("kernel/").is_some_and(|name| {
        ["shm", "msg", "sem"]
            .iter()
            .any(|kind| name.starts_with(kind))
    });
    kernel || path.starts_with("fs/mqueue/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths() {
        let is = |name: &str, path: Option<&str>| assert_eq!(path_of(name).as_deref(), path);
        is("net.ipv4.ip_forward", Some("net/ipv4/ip_forward"));
        is(
            "net/ipv4/conf/eth0.1/rp_filter",
            Some("net/ipv4/conf/eth0.1/rp_filter"),
        );
        is(
            "net.ipv4.conf.eth0/1.rp_filter",
            Some("net/ipv4/conf/eth0.1/rp_filter"),
        );
        is("kernel/../../x", None);
        is("", None);
        assert!(is_of_ipc("kernel/shm_rmid_forced") && is_of_ipc("fs/mqueue/msg_max"));
        assert!(!is_of_ipc("kernel/hostname"));
    }
}
