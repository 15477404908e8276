//! A container's own `/dev`: a tmpfs with the few devices that every program may expect, terminals of its
//! own, and what the containers of a pod share of memory and message queues.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat, mkdirat, mknodat,
    openat, statat, symlinkat,
};
use rustix::io::{Errno, Result};
use rustix::mount::MountAttrFlags;

use super::file_system::{self, NO_PROGRAMS};
use super::identity;
use super::mount_point::Entry;

/// Of the host's devices, those that every container has.
const USUAL: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Of the host's `/dev`, what no container takes over.
///
/// Upstream: containerd pkg/oci/utils_unix.go, getDevices.
/// Shown by: a_privileged_container_has_the_hosts_devices.
const NOT_TAKEN: [&str; 9] = [
    "pts",
    "shm",
    "fd",
    "mqueue",
    ".lxc",
    ".lxd-mounts",
    ".udev",
    "console",
    "ptmx",
];

/// The group of terminals.
///
/// Upstream: containerd pkg/oci/mounts.go, defaultMounts.
/// Shown by: dev_is_as_large_as_upstreams_and_terminals_belong_to_their_group.
const TTY: u32 = 5;

/// What a container's `/dev` is made from.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// All devices of the host.
    pub(super) all: bool,
    /// Devices are made and not bound, so that their modes and owners are the container's own.
    pub(super) made: bool,
    /// What is shared of `/dev/shm`.
    pub(super) shared_memory: &'a Path,
}

/// A `/dev` that hangs nowhere yet.
#[derive(Debug)]
pub(super) struct Dev {
    dir: OwnedFd,
    terminals: OwnedFd,
    shared_memory: OwnedFd,
    /// Not every kernel has them.
    queues: Option<OwnedFd>,
    devices: Vec<Device>,
}

#[derive(Debug)]
struct Device {
    /// Below `/dev`.
    path: PathBuf,
    entry: Entry,
    /// What to make in its place.
    node: Option<Stat>,
}

/// Takes what there is of the host, while that is in sight.
///
/// Upstream: containerd pkg/oci/mounts.go, defaultMounts (64 MiB).
/// Shown by: dev_is_as_large_as_upstreams_and_terminals_belong_to_their_group.
pub(super) fn take(wanted: &Wanted<'_>) -> Result<Dev> {
    let mut devices = Vec::new();
    if wanted.all {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let host = openat(CWD, "/dev", flags, Mode::empty())?;
        take_all(&host, Path::new(""), wanted.made, &mut devices)?;
    } else {
        for name in USUAL {
            devices.extend(Device::take(
                CWD,
                &Path::new("/dev").join(name),
                name.into(),
                wanted.made,
            )?);
        }
    }
    let options = [("mode", "0755"), ("size", "65536k")];
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID;
    let mut terminals = vec![("ptmxmode", "0666"), ("mode", "0620")];
    let groups = std::fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    // In a user namespace without that group, the kernel takes none.
    terminals.extend(identity::is_mapped(&groups, TTY).then_some(("gid", "5")));
    let no_programs = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let queues = file_system::make("mqueue", &[], NO_PROGRAMS);
    Ok(Dev {
        dir: file_system::make("tmpfs", &options, attributes)?,
        terminals: file_system::make("devpts", &terminals, no_programs)?,
        shared_memory: file_system::clone(CWD, wanted.shared_memory)?,
        // Of the host's, if the queues are the host's.
        queues: queues
            .or_else(|_| file_system::clone(CWD, "/dev/mqueue"))
            .ok(),
        devices,
    })
}

fn take_all(dir: &OwnedFd, path: &Path, made: bool, devices: &mut Vec<Device>) -> Result<()> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." || NOT_TAKEN.iter().any(|not| name == *not) {
            continue;
        }
        let Ok(stat) = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let below = path.join(name);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                // One that may not be listed has no device that may be used.
                if let Ok(dir) = openat(dir, name, flags, Mode::empty()) {
                    take_all(&dir, &below, made, devices)?;
                }
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                devices.extend(Device::take(dir, Path::new(name), below, made)?);
            }
            _ => {}
        }
    }
    Ok(())
}

impl Device {
    fn take(dir: impl AsFd, name: &Path, path: PathBuf, made: bool) -> Result<Option<Self>> {
        let node = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let node = node.ok().filter(|_| made);
        let entry = Entry::take(dir, name)?;
        Ok(entry.map(|entry| Self { path, entry, node }))
    }

    fn put(&self, dev: &OwnedFd) -> Result<()> {
        let name = self.path.file_name().unwrap_or_default();
        let dir = match self.path.parent() {
            Some(parent) if parent != Path::new("") => Some(make_dirs(dev, parent)?),
            _ => None,
        };
        let dir = dir.as_ref().unwrap_or(dev);
        match &self.node {
            Some(node) => match make_node(dir, name, node) {
                // Root without CAP_MKNOD.
                Err(Errno::PERM) => self.entry.put(dir, name),
                made => made,
            },
            None => self.entry.put(dir, name),
        }
    }
}

fn make_dirs(dev: &OwnedFd, path: &Path) -> Result<OwnedFd> {
    let mut dir = dev.try_clone().map_err(|_| Errno::MFILE)?;
    for name in path {
        match mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        dir = openat(&dir, name, flags, Mode::empty())?;
    }
    Ok(dir)
}

fn make_node(dir: &OwnedFd, name: &OsStr, node: &Stat) -> Result<()> {
    let mode = Mode::from_raw_mode(node.st_mode);
    mknodat(
        dir,
        name,
        FileType::from_raw_mode(node.st_mode),
        mode,
        node.st_rdev,
    )?;
    chownat(
        dir,
        name,
        Some(Uid::from_raw(node.st_uid)),
        Some(Gid::from_raw(node.st_gid)),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    // Whatever the umask.
    chmodat(dir, name, mode, AtFlags::empty())
}

impl Dev {
    /// Puts it over a directory, and everything into it.
    pub(super) fn put(&self, place: impl AsFd) -> Result<()> {
        let dir = &self.dir;
        file_system::attach(dir, place)?;
        for device in &self.devices {
            device.put(dir)?;
        }
        let links = [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ];
        for (name, target) in links {
            symlinkat(target, dir, name)?;
        }
        let mounts = [("pts", &self.terminals), ("shm", &self.shared_memory)];
        let queues = self.queues.iter().map(|queues| ("mqueue", queues));
        for (name, tree) in mounts.into_iter().chain(queues) {
            let place = make_dirs(dir, Path::new(name))?;
            file_system::attach(tree, place)?;
        }
        Ok(())
    }
}
