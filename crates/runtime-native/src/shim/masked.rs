//! What of `/proc` and `/sys` no ordinary container sees or writes to, because it is the whole host's.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::{Errno, Result};
use rustix::mount::MountAttrFlags;

use super::file_system::{self, NO_PROGRAMS};
use super::mount_point::{Kind, Root};
use crate::sys;

/// Hidden.
///
/// Upstream: containerd pkg/oci/spec.go, populateDefaultUnixSpec.
/// Shown by: what_is_the_hosts_own_is_masked.
const MASKED: [&str; 11] = [
    "proc/acpi",
    "proc/asound",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/timer_list",
    "proc/timer_stats",
    "proc/sched_debug",
    "proc/scsi",
    "sys/firmware",
    "sys/devices/virtual/powercap",
];

/// Read-only: writing to some of them asks for no capability but for user 0.
///
/// Upstream: containerd pkg/oci/spec.go, populateDefaultUnixSpec.
/// Shown by: what_is_the_hosts_own_is_masked.
const READ_ONLY: [&str; 5] = [
    "proc/bus",
    "proc/fs",
    "proc/irq",
    "proc/sys",
    "proc/sysrq-trigger",
];

/// Masks what there is of them, in a root whose `/proc` and `/sys` are the kernel's.
pub(super) fn apply(root: &Root) -> std::result::Result<(), (&'static str, Errno)> {
    for path in MASKED {
        mask(root, path).map_err(|errno| (path, errno))?;
    }
    for path in READ_ONLY {
        protect(root, path).map_err(|errno| (path, errno))?;
    }
    Ok(())
}

fn mask(root: &Root, path: &str) -> Result<()> {
    let Some(place) = there(root, path)? else {
        return Ok(());
    };
    let nothing = match Kind::of(&place)? {
        Kind::Dir => {
            let read_only = NO_PROGRAMS | MountAttrFlags::MOUNT_ATTR_RDONLY;
            file_system::make("tmpfs", &[("mode", "0555"), ("size", "4k")], read_only)?
        }
        Kind::File => file_system::clone(root.open(Path::new("dev/null"))?, "")?,
    };
    file_system::attach(nothing, place)
}

fn protect(root: &Root, path: &str) -> Result<()> {
    let Some(place) = there(root, path)? else {
        return Ok(());
    };
    let same = file_system::clone(&place, "")?;
    sys::set_read_only(same.as_fd(), true)?;
    file_system::attach(same, place)
}

fn there(root: &Root, path: &str) -> Result<Option<OwnedFd>> {
    match root.open(Path::new(path)) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        found => found.map(Some),
    }
}
