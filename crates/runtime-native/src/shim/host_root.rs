//! The root of the host class: the host's own files, read-only, with what must be private made afresh.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::file_system::{self, PLAIN};
use super::mount_point::{Entry, Kind, Root};
use super::rootfs::{Done, During};
use crate::sys;

/// What of the host is not simply seen.
#[derive(Debug)]
pub(super) struct Host {
    /// Directories of which the container sees nothing.
    pub(super) hidden: Vec<PathBuf>,
    /// What of `/run` stays readable.
    pub(super) kept_run_file: Option<PathBuf>,
}

/// What of the host is not bind mounted: made afresh, or not at all.
const OWN: [&str; 4] = ["proc", "dev", "tmp", "run"];

impl Host {
    /// The file that is to stay, while it is in sight.
    pub(super) fn keep(&self) -> Done<Option<OwnedFd>> {
        let kept = self
            .kept_run_file
            .as_ref()
            .map(|file| file_system::clone(CWD, file));
        kept.transpose().during(|| "keep resolv.conf")
    }

    /// In the root that has been entered: `/tmp`, `/run` and `/var/tmp`, and what is hidden.
    pub(super) fn finish(&self, root: &mut Root, kept: Option<OwnedFd>, read_only: bool) -> Done {
        for (name, mode) in [("tmp", "1777"), ("run", "0755")] {
            let place = root.ordinary_dir(name).during(|| format!("make /{name}"))?;
            put_tmpfs(root, place, mode, read_only).during(|| format!("mount /{name}"))?;
        }
        // On some hosts a symlink, which leads to the private /tmp anyway.
        match root.open(Path::new("var/tmp")) {
            Ok(place) if Kind::of(&place) == Ok(Kind::Dir) => {
                put_tmpfs(root, place, "1777", read_only).during(|| "mount /var/tmp")?;
            }
            _ => {}
        }
        for hidden in &self.hidden {
            let step = || format!("hide {}", hidden.display());
            match root.open(hidden) {
                Ok(place) if Kind::of(&place) == Ok(Kind::Dir) => hide(&place).during(step)?,
                // Not in sight anyway.
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(errno).during(step),
            }
        }
        if let (Some(file), Some(tree)) = (&self.kept_run_file, kept) {
            let step = || format!("keep {}", file.display());
            sys::set_read_only(tree.as_fd(), true).during(step)?;
            let place = root.reach(file, Kind::File).during(step)?;
            file_system::attach(tree, place.fd).during(step)?;
        }
        Ok(())
    }
}

/// Puts a tmpfs over a place; what of it is to be read-only may still be built in.
fn put_tmpfs(root: &mut Root, place: OwnedFd, mode: &str, read_only: bool) -> Result<(), Errno> {
    let tree = file_system::make("tmpfs", &[("mode", mode)], PLAIN)?;
    file_system::attach(&tree, place)?;
    if read_only {
        root.scaffold.push(tree);
    }
    Ok(())
}

/// An empty read-only directory over one of the host.
fn hide(place: &OwnedFd) -> Result<(), Errno> {
    let read_only = PLAIN | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let nothing = file_system::make("tmpfs", &[("mode", "0555"), ("size", "4k")], read_only)?;
    file_system::attach(nothing, place)
}

/// Lays out the host's entries, read-only, on a tmpfs at `staging`.
pub(super) fn build(staging: &Path, writable_sys: bool) -> Done {
    let host = take(writable_sys)?;
    let root = file_system::make("tmpfs", &[("mode", "0755"), ("size", "1m")], PLAIN)
        .during(|| "make the root")?;
    let place = super::rootfs::open_mount(staging).during(|| "open the place to build on")?;
    file_system::attach(&root, place).during(|| "mount the root")?;
    for (name, entry) in host {
        let step = || format!("bind /{}", name.display());
        entry.put(&root, &name).during(step)?;
    }
    Ok(())
}

/// Every entry of the host's root, read-only, with its name.
///
/// Taken before anything is mounted: the place to build on is somewhere below one of them, and would
/// come along.
fn take(writable_sys: bool) -> Done<Vec<(OsString, Entry)>> {
    let mut taken = Vec::new();
    for entry in fs::read_dir("/").during(|| "list /")? {
        let entry = entry.during(|| "list /")?;
        let (host, name) = (entry.path(), entry.file_name());
        if OWN.iter().any(|own| name == *own) {
            continue;
        }
        let step = || format!("bind {}", host.display());
        if let Some(entry) = Entry::take(CWD, &host).during(step)? {
            if !(writable_sys && name == "sys") {
                entry.set_read_only().during(step)?;
            }
            taken.push((name, entry));
        }
    }
    Ok(taken)
}

/// The host's resolv.conf, if it is a file below `/run` that `/etc/resolv.conf` leads to.
pub(super) fn resolv_conf_in_run() -> Option<PathBuf> {
    let file = fs::canonicalize("/etc/resolv.conf").ok()?;
    file.starts_with("/run").then_some(file)
}
