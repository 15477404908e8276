//! What of `/proc` and `/sys` no ordinary container sees or writes to, because it is the whole host's.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags, openat};
use rustix::io::{Errno, Result};
use rustix::mount::MountAttrFlags;

use super::file_system::{self, NO_PROGRAMS};
use super::mount_point::{Kind, Root};
use crate::sys;

/// Hidden, beside what each processor tells of its heat.
///
/// Upstream: kubelet pkg/securitycontext/util.go, defaultMaskedPaths, which it gives the runtime.
/// Shown by: what_is_the_hosts_own_is_masked.
const MASKED: [&str; 12] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
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
/// Upstream: kubelet pkg/securitycontext/util.go, defaultReadonlyPaths.
/// Shown by: what_is_the_hosts_own_is_masked.
const READ_ONLY: [&str; 5] = [
    "proc/bus",
    "proc/fs",
    "proc/irq",
    "proc/sys",
    "proc/sysrq-trigger",
];

/// Masks what there is of them, in a root whose `/proc` and `/sys` are the kernel's.
pub(super) fn apply(root: &Root) -> std::result::Result<(), (String, Errno)> {
    let of_processors = of_processors(root).map_err(|errno| (PROCESSORS.to_owned(), errno))?;
    let masked = MASKED.into_iter().map(str::to_owned);
    for path in masked.chain(of_processors) {
        mask(root, &path).map_err(|errno| (path, errno))?;
    }
    for path in READ_ONLY {
        protect(root, path).map_err(|errno| (path.to_owned(), errno))?;
    }
    Ok(())
}

const PROCESSORS: &str = "sys/devices/system/cpu";

/// From the times at which a processor was too hot one can tell what else it does.
///
/// Upstream: kubelet pkg/securitycontext/util_linux.go, possibleCPUs.
/// Shown by: what_processors_tell_of_their_heat_is_masked.
fn of_processors(root: &Root) -> Result<Vec<String>> {
    let Some(dir) = there(root, PROCESSORS)? else {
        return Ok(Vec::new());
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut found = Vec::new();
    for entry in Dir::read_from(openat(dir, ".", flags, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name().to_str().unwrap_or_default();
        let number = name.strip_prefix("cpu").map(str::parse::<u32>);
        if matches!(number, Some(Ok(_))) {
            found.push(format!("{PROCESSORS}/{name}/thermal_throttle"));
        }
    }
    Ok(found)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_processors_tell_of_their_heat_is_masked() {
        let here = Root::here(false).unwrap();
        let cpus = std::fs::read_dir("/sys/devices/system/cpu")
            .unwrap()
            .flatten();
        let names = cpus.filter_map(|entry| entry.file_name().into_string().ok());
        // Beside `cpufreq`, `cpuidle` and others.
        let mut expected: Vec<_> = names
            .filter(|name| name.trim_start_matches("cpu").parse::<u32>().is_ok())
            .map(|name| format!("sys/devices/system/cpu/{name}/thermal_throttle"))
            .collect();
        let mut found = of_processors(&here).unwrap();
        expected.sort();
        found.sort();
        assert!(!found.is_empty());
        assert_eq!(found, expected);
    }
}
