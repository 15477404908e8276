//! The pod's namespaces, which the shim itself moves into.

use std::fs::File;
use std::path::Path;

use probelet_runtime::{Network, StartPodError};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{getegid, geteuid};
use rustix::system::sethostname;
use rustix::thread::UnshareFlags;

use super::identity::{self, Privilege};
use super::{network, volumes};
use crate::layout::PodDir;
use crate::protocol::ShimConfig;
use crate::volume_files::Content;
use crate::{sys, text};

/// Enters the pod's namespaces, and makes its network and volumes.
pub(super) fn set_up(
    config: &ShimConfig,
    dir: &PodDir,
    content: &Content,
) -> Result<Privilege, StartPodError> {
    let mut namespaces = UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    if matches!(config.pod.network, Network::Own(_)) {
        namespaces |= UnshareFlags::NEWNET;
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
    sethostname(config.pod.hostname.as_bytes()).map_err(|errno| sandbox("set host name", errno))?;
    if let Network::Own(address) = config.pod.network {
        network::set_up_loopback(address).map_err(|errno| {
            sandbox(
                &format!("set address {address} on loopback interface"),
                errno,
            )
        })?;
    }
    for made in [dir.root(), dir.containers(), dir.messages(), dir.volumes()] {
        std::fs::create_dir_all(&made).map_err(|error| {
            StartPodError::Sandbox(format!("make {}: {}", made.display(), text::of_io(&error)))
        })?;
    }
    volumes::set_up(dir, &config.pod.volumes, content)
        .map_err(|error| StartPodError::Volume(error.to_string()))?;
    Ok(privilege)
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
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let privilege = Privilege::UserNamespace;
    sys::unshare(UnshareFlags::NEWUSER)
        .map_err(|errno| sandbox_error(privilege, "make a user namespace", errno))?;
    identity::map_one_id(0, uid, 0, gid).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        sandbox_error(privilege, "map the user's id in a user namespace", errno)
    })?;
    sys::unshare(namespaces).map_err(|errno| sandbox_error(privilege, "make namespaces", errno))?;
    Ok(privilege)
}

/// What failed, and where the cause may be one of the host's settings, which it is and what helps.
fn sandbox_error(privilege: Privilege, what: &str, errno: Errno) -> StartPodError {
    let mut message = format!("{what}: {}", text::reason(errno));
    if privilege == Privilege::UserNamespace
        && matches!(errno, Errno::PERM | Errno::ACCESS | Errno::NOSPC)
    {
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
