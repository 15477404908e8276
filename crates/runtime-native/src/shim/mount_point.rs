//! Places to mount on, found and made in a root whose symlinks are somebody else's: an image's, or those of a
//! volume that other containers write to meanwhile.
//!
//! Symlinks are followed here and not by the kernel, one at a time and never out of the root; what has been
//! reached is a descriptor. A directory of the host, which cannot be written to, is *mirrored* where an entry
//! is missing: an empty tmpfs is laid over it and all its entries are bind mounted back, so that it looks the
//! same and takes one entry more.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2,
    readlinkat, statat, symlinkat,
};
use rustix::io::{Errno, Result};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::file_system::{self, PLAIN};
use crate::sys;

/// More symlinks than that on one way lead in a circle, as for the kernel.
const MAX_LINKS: usize = 40;

/// What a mount point must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Dir,
    File,
}

impl Kind {
    /// Of what is open there.
    pub(super) fn of(fd: impl AsFd) -> Result<Self> {
        let is_dir = FileType::from_raw_mode(fstat(fd)?.st_mode).is_dir();
        Ok(if is_dir { Self::Dir } else { Self::File })
    }
}

/// The root that places are looked for in.
#[derive(Debug)]
pub(super) struct Root {
    dir: OwnedFd,
    /// Whether what cannot be written to is mirrored.
    mirrors: bool,
    /// Mounts that are still writable because they were made here.
    pub(super) scaffold: Vec<OwnedFd>,
}

/// A place that has been reached.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) fd: OwnedFd,
    /// Where it is, without symlinks, relative to the root.
    pub(super) path: PathBuf,
}

impl Place {
    /// Whether it belongs to the `proc` file system, where nobody but this crate mounts.
    pub(super) fn is_inside_proc(&self) -> bool {
        self.path.starts_with("proc")
    }

    pub(super) fn is_root(&self) -> bool {
        self.path.as_os_str().is_empty()
    }
}

impl Root {
    /// The calling process's own.
    pub(super) fn here(mirrors: bool) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            dir: openat(CWD, "/", flags, Mode::empty())?,
            mirrors,
            scaffold: Vec::new(),
        })
    }

    /// Its mount.
    pub(super) const fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// What is at a path that has no symlink in it; the last part may be one.
    pub(super) fn open(&self, path: &Path) -> Result<OwnedFd> {
        self.open_as(path, OFlags::PATH | OFlags::NOFOLLOW)
    }

    fn open_as(&self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        let path = path.strip_prefix("/").unwrap_or(path);
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        openat2(
            &self.dir,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        )
    }

    /// What is at `path`, absolute; made if nothing is there. An error if it is of another kind.
    pub(super) fn reach(&mut self, path: &Path, kind: Kind) -> Result<Place> {
        let mut left: VecDeque<OsString> = names(path).collect();
        let (mut at, mut links) = (PathBuf::new(), 0);
        while let Some(name) = left.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            let found = match self.open(&next) {
                Err(Errno::NOENT) => {
                    let kind = if left.is_empty() { kind } else { Kind::Dir };
                    self.make(&at, &name, kind)?;
                    self.open(&next)?
                }
                found => found?,
            };
            if !FileType::from_raw_mode(fstat(&found)?.st_mode).is_symlink() {
                at = next;
                continue;
            }
            links += 1;
            // Those in `/proc` lead wherever the process that looks has something open.
            if links > MAX_LINKS || at.starts_with("proc") {
                return Err(Errno::LOOP);
            }
            let to = readlinkat(&found, "", Vec::new())?;
            let to = Path::new(OsStr::from_bytes(to.to_bytes()));
            if to.is_absolute() {
                at = PathBuf::new();
            }
            for name in names(to).collect::<Vec<_>>().into_iter().rev() {
                left.push_front(name);
            }
        }
        let fd = self.open(&at)?;
        // Said here, as the kernel would only call it an invalid argument.
        match (kind, Kind::of(&fd)?) {
            (Kind::Dir, Kind::File) => Err(Errno::NOTDIR),
            (Kind::File, Kind::Dir) => Err(Errno::ISDIR),
            _ => Ok(Place { fd, path: at }),
        }
    }

    /// A directory of the image or made for it, which is not to be a symlink: what belongs there is trusted
    /// to be there.
    ///
    /// Upstream: runc libcontainer/rootfs_linux.go, mountToRootfs ("must be mounted on ordinary directory").
    /// Shown by: hostile_images_stay_inside.
    pub(super) fn ordinary_dir(&mut self, name: &str) -> Result<OwnedFd> {
        match self.open(Path::new(name)) {
            Err(Errno::NOENT) => {
                self.make(Path::new(""), OsStr::new(name), Kind::Dir)?;
                self.open(Path::new(name))
            }
            Ok(found) if Kind::of(&found)? != Kind::Dir => Err(Errno::NOTDIR),
            found => found,
        }
    }

    fn make(&mut self, parent: &Path, name: &OsStr, kind: Kind) -> Result<()> {
        match make(self.open(parent)?, name, kind) {
            Err(Errno::ROFS | Errno::ACCESS) if self.mirrors && !parent.starts_with("proc") => {
                self.mirror(parent)?;
                make(self.open(parent)?, name, kind)
            }
            made => made,
        }
    }

    /// Lays a writable copy of its own structure over the directory at `path`.
    fn mirror(&mut self, path: &Path) -> Result<()> {
        // Opened before the tmpfs covers it: names below it are then still those of the host.
        let covered = self.open_as(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let copy = file_system::make("tmpfs", &[("mode", "0755"), ("size", "1m")], PLAIN)?;
        file_system::attach(&copy, self.open(path)?)?;
        for entry in Dir::read_from(&covered)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "."
                && name != ".."
                && let Some(entry) = Entry::take(&covered, Path::new(name))?
            {
                entry.put(&copy, name)?;
            }
        }
        self.scaffold.push(copy);
        Ok(())
    }
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn make(dir: impl AsFd, name: &OsStr, kind: Kind) -> Result<()> {
    match kind {
        Kind::Dir => mkdirat(dir, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            openat(dir, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    }
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

    /// Puts it into a directory that has no such name yet.
    pub(super) fn put(&self, dir: impl AsFd, name: &OsStr) -> Result<()> {
        match self {
            Self::Symlink(to) => symlinkat(to.as_c_str(), dir, name),
            Self::Mount(kind, tree) => {
                make(dir.as_fd(), name, *kind)?;
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                file_system::attach(tree, openat(dir, name, flags, Mode::empty())?)
            }
        }
    }
}
