//! Places to mount on, made where the read-only host has none.
//!
//! A directory that cannot be written to is *mirrored*: an empty tmpfs is laid over it and all its
//! entries are bind mounted back, so that it looks the same and takes one entry more.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, mkdirat, openat, readlinkat, statat, symlinkat,
};
use rustix::io::{Errno, Result};
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount, move_mount, open_tree};

use super::rootfs::open_mount;
use crate::sys;

/// What a mount point must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Dir,
    File,
}

/// Makes sure that there is something to mount on at `path`, absolute; mirrors what it has to and adds
/// those mounts, still writable, to `scaffold`.
pub(super) fn ensure(path: &Path, kind: Kind, scaffold: &mut Vec<OwnedFd>) -> Result<()> {
    let mut so_far = PathBuf::from("/");
    let mut names = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .peekable();
    while let Some(name) = names.next() {
        let parent = so_far.clone();
        so_far.push(name);
        let kind = if names.peek().is_some() {
            Kind::Dir
        } else {
            kind
        };
        match statat(CWD, &so_far, AtFlags::empty()) {
            Ok(_) => {}
            Err(Errno::NOENT) => make_in(&parent, &so_far, kind, scaffold)?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn make_in(parent: &Path, path: &Path, kind: Kind, scaffold: &mut Vec<OwnedFd>) -> Result<()> {
    match make(path, kind) {
        Err(Errno::ROFS | Errno::ACCESS) => {
            scaffold.push(mirror(parent)?);
            make(path, kind)
        }
        made => made,
    }
}

fn make(path: &Path, kind: Kind) -> Result<()> {
    match kind {
        Kind::Dir => mkdirat(CWD, path, Mode::from_raw_mode(0o755)),
        Kind::File => make_file(path),
    }
}

fn make_file(path: &Path) -> Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::from_raw_mode(0o644)).map(drop)
}

/// Lays a writable copy of its own structure over the directory at `path`.
fn mirror(path: &Path) -> Result<OwnedFd> {
    // Opened before the tmpfs covers it: names below it are then still those of the host.
    let covered = openat(
        CWD,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let options = c"mode=0755,size=1m";
    mount(
        "tmpfs",
        path,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        Some(options),
    )?;
    for entry in Dir::read_from(&covered)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "."
            && name != ".."
            && let Some(entry) = Entry::take(&covered, Path::new(name))?
        {
            entry.put(&path.join(name))?;
        }
    }
    open_mount(path)
}

/// A directory entry of the host, taken along to be put somewhere else: a symlink as a symlink,
/// everything else as a mount with all that is mounted below it.
#[derive(Debug)]
pub(super) enum Entry {
    Symlink(CString),
    Mount(Kind, OwnedFd),
}

impl Entry {
    /// `None` if it is not there.
    pub(super) fn take(dir: impl AsFd, name: &Path) -> Result<Option<Self>> {
        let dir = dir.as_fd();
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat?,
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                return Ok(Some(Self::Symlink(readlinkat(dir, name, Vec::new())?)));
            }
            FileType::Directory => Kind::Dir,
            _ => Kind::File,
        };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        Ok(Some(Self::Mount(kind, open_tree(dir, name, flags)?)))
    }

    /// Makes it, and every mount below it, read-only.
    pub(super) fn set_read_only(&self) -> Result<()> {
        match self {
            Self::Symlink(_) => Ok(()),
            Self::Mount(_, tree) => sys::set_read_only(tree.as_fd(), true),
        }
    }

    /// Puts it at a path where nothing is yet.
    pub(super) fn put(&self, target: &Path) -> Result<()> {
        match self {
            Self::Symlink(to) => symlinkat(to.as_c_str(), CWD, target),
            Self::Mount(kind, tree) => {
                make(target, *kind)?;
                move_mount(
                    tree,
                    "",
                    CWD,
                    target,
                    MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
                )
            }
        }
    }
}
