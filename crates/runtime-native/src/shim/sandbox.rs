//! The pod's namespaces, which the shim itself moves into.

use std::fs::{File, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use probelet_model::security::Security;
use probelet_runtime::{Network, StartPodError};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::geteuid;
use rustix::system::sethostname;
use rustix::thread::UnshareFlags;

use super::confinement::Confinement;
use super::identity::Privilege;
use super::pids::Pids;
use super::seccomp::Profiles;
use super::services::Services;
use super::{network, note, sysctls, volumes};
use crate::layout::PodDir;
use crate::protocol::ShimConfig;
use crate::sys::Stack;
use crate::user_namespace::{self, Mapping};
use crate::volume_files::Content;
use crate::{sys, text};

/// What a pod's containers are started in.
pub(super) struct Sandbox {
    pub(super) privilege: Privilege,
    pub(super) pids: Pids,
    /// Where Services are answered.
    pub(super) services: Option<Services>,
    /// What they may be bounded by.
    pub(super) profiles: Profiles,
    /// For children that borrow the shim's memory.
    pub(super) stack: Stack,
}

/// Enters the pod's namespaces, and makes its network and volumes.
///
/// Upstream: containerd internal/cri/server/podsandbox/sandbox_run_linux.go, sandboxContainerSpec (on the host's
/// network, no UTS namespace either).
/// Shown by: a_pod_on_the_hosts_network_is_reached_there.
pub(super) fn set_up(
    config: &ShimConfig,
    dir: &PodDir,
    content: &Content,
) -> Result<Sandbox, StartPodError> {
    let mut namespaces = UnshareFlags::NEWNS;
    if !config.pod.namespaces.host_ipc {
        namespaces |= UnshareFlags::NEWIPC;
    }
    if matches!(config.pod.network, Network::Own(_)) {
        namespaces |= UnshareFlags::NEWNET | UnshareFlags::NEWUTS;
    }
    let privilege = enter(namespaces)?;
    let sandbox = |what: &str, errno: Errno| sandbox_error(privilege, what, errno);
    // Slave, not private: what the host unmounts is not held here, what it mounts is seen by the next
    // container, and nothing goes back.
    mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )
    .map_err(|errno| sandbox("make mounts private", errno))?;
    let mut services = None;
    if let Network::Own(address) = config.pod.network {
        sethostname(config.pod.hostname.as_bytes())
            .map_err(|errno| sandbox("set host name", errno))?;
        let beside = Services::leave().map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            sandbox("make a network namespace for services", errno)
        })?;
        network::set_up_loopback(address).map_err(|errno| {
            sandbox(
                &format!("set address {address} on loopback interface"),
                errno,
            )
        })?;
        services = beside_pod(beside, address);
    }
    sysctls::set(&config.pod, privilege).map_err(StartPodError::Sandbox)?;
    for made in [
        dir.root(),
        dir.containers(),
        dir.messages(),
        dir.volumes(),
        dir.roots(),
        dir.etc(),
        dir.shared_memory(),
    ] {
        std::fs::create_dir_all(&made).map_err(|error| {
            StartPodError::Sandbox(format!("make {}: {}", made.display(), text::of_io(&error)))
        })?;
    }
    write_etc(config, dir).map_err(|error| {
        let place = dir.etc();
        StartPodError::Sandbox(format!(
            "write {}: {}",
            place.display(),
            text::of_io(&error)
        ))
    })?;
    if !config.pod.namespaces.host_ipc {
        mount_shared_memory(&dir.shared_memory())
            .map_err(|errno| sandbox("mount shared memory", errno))?;
    }
    volumes::set_up(dir, &config.pod, content)
        .map_err(|error| StartPodError::Volume(error.to_string()))?;
    let mut profiles = Profiles::below(&config.data_dir);
    let nothing = Security {
        drop: vec!["ALL".to_owned()],
        may_escalate: false,
        ..Security::default()
    };
    let has_process_1 = config.pod.namespaces.one_pid;
    let nothing = has_process_1.then(|| Confinement::of(&nothing, &mut profiles));
    let nothing = nothing.transpose().map_err(StartPodError::Sandbox)?;
    let pids = Pids::of(config.pod.namespaces, nothing.as_ref(), &dir.root())
        .map_err(|errno| sandbox("make a pid namespace", errno))?;
    Ok(Sandbox {
        privilege,
        pids,
        services,
        profiles,
        stack: Stack::new(),
    })
}

/// Services need virtual interfaces; a pod can do without.
fn beside_pod(services: Services, address: IpAddr) -> Option<Services> {
    let IpAddr::V4(address) = address else {
        return None;
    };
    match services.connect(address) {
        Ok(()) => Some(services),
        Err(errno) => {
            note(&format!(
                "no names and no services in this pod: {}",
                text::reason(errno)
            ));
            None
        }
    }
}

/// As root directly; otherwise, or if this root may not, inside a user namespace in which the caller is
/// root.
fn enter(namespaces: UnshareFlags) -> Result<Privilege, StartPodError> {
    let failed = |what: &str, errno| sandbox_error(Privilege::Root, what, errno);
    if geteuid().is_root() {
        match sys::unshare(namespaces) {
            Ok(()) => return Ok(Privilege::Root),
            Err(Errno::PERM) => {}
            Err(errno) => return Err(failed("make namespaces", errno)),
        }
    }
    let failed = |what: &str, errno| sandbox_error(Privilege::UserNamespace, what, errno);
    let mapping = user_namespace::enter().map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        failed("make a user namespace", errno)
    })?;
    let privilege = match mapping {
        Mapping::Many => Privilege::ManyIds,
        Mapping::One(why) => {
            note(&user_namespace::told(&why));
            Privilege::UserNamespace
        }
    };
    sys::unshare(namespaces).map_err(|errno| failed("make namespaces", errno))?;
    Ok(privilege)
}

/// Files that containers see in their `/etc`.
fn write_etc(config: &ShimConfig, dir: &PodDir) -> std::io::Result<()> {
    let hostname = format!("{}\n", config.pod.hostname);
    for (name, content) in [
        ("hosts", config.pod.hosts.as_deref()),
        ("resolv.conf", config.pod.resolv_conf.as_deref()),
        ("hostname", Some(&*hostname)),
    ] {
        if let Some(content) = content {
            let file = dir.etc().join(name);
            std::fs::write(&file, content)?;
            // Whatever the umask.
            std::fs::set_permissions(&file, Permissions::from_mode(0o644))?;
        }
    }
    Ok(())
}

/// All containers of a pod see the same, as long as the pod stands.
///
/// Upstream: containerd internal/cri/server/podsandbox/sandbox_run_linux.go, setupSandboxFiles (64 MiB).
/// Shown by: shared_memory_is_the_pods.
fn mount_shared_memory(place: &Path) -> Result<(), Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("shm", place, "tmpfs", flags, Some(c"mode=1777,size=64m"))
}

/// What failed, and where the cause may be one of the host's settings, which it is and what helps.
fn sandbox_error(privilege: Privilege, what: &str, errno: Errno) -> StartPodError {
    let mut message = format!("{what}: {}", text::reason(errno));
    if privilege != Privilege::Root && matches!(errno, Errno::PERM | Errno::ACCESS | Errno::NOSPC) {
        message.push_str(&advice(setting));
    }
    StartPodError::Sandbox(message)
}

fn advice(setting: impl Fn(&str) -> Option<String>) -> String {
    let is = |name: &str, value: &str| setting(name).as_deref() == Some(value);
    let change = if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        "set sysctl kernel.apparmor_restrict_unprivileged_userns=0, or give this program an AppArmor profile \
         that allows userns"
    } else if is("kernel/unprivileged_userns_clone", "0") {
        "set sysctl kernel.unprivileged_userns_clone=1"
    } else if is("user/max_user_namespaces", "0") {
        "set sysctl user.max_user_namespaces to some thousands"
    } else {
        "look for a seccomp filter or another security module that forbids them"
    };
    format!(
        ". Without root, a pod needs unprivileged user namespaces, which this host does not allow: {change}; or run as root"
    )
}

fn setting(name: &str) -> Option<String> {
    let text = std::io::read_to_string(File::open(Path::new("/proc/sys").join(name)).ok()?).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_setting_that_is_in_the_way() {
        let host = |name: &'static str, value: &'static str| {
            advice(move |asked| (asked == name).then(|| value.to_owned()))
        };
        let apparmor = host("kernel/apparmor_restrict_unprivileged_userns", "1");
        assert!(
            apparmor.contains("kernel.apparmor_restrict_unprivileged_userns=0"),
            "{apparmor}"
        );
        let debian = host("kernel/unprivileged_userns_clone", "0");
        assert!(
            debian.contains("kernel.unprivileged_userns_clone=1"),
            "{debian}"
        );
        assert!(host("none", "").contains("seccomp") && host("none", "").ends_with("run as root"));
    }
}
