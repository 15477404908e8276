//! Copies of trees, by descriptors from directory to directory: no symlink in either is followed.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid,
    XattrFlags, chownat, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, futimens, linkat,
    mkdirat, mknodat, openat, readlinkat, seek, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

/// What `from` has is in `to` afterwards, which is empty.
pub(super) fn tree(from: &File, to: &File) -> io::Result<()> {
    let mut copy = Copy::new(to, false)?;
    copy.dir(&from.as_fd().try_clone_to_owned()?, to, Path::new(""))
}

/// What overlayfs would show of these layers, the lowest first, is in `to` afterwards, which is empty.
pub(super) fn layers(layers: &[PathBuf], to: &Path) -> io::Result<()> {
    let to = File::open(to)?;
    for layer in layers {
        // Hard links are within one layer.
        let mut copy = Copy::new(&to, true)?;
        copy.dir(&OwnedFd::from(File::open(layer)?), &to, Path::new(""))?;
    }
    Ok(())
}

struct Copy {
    to: OwnedFd,
    /// What is copied is a layer, which also says what of those below it is gone.
    layered: bool,
    /// Where a file with several names has been copied to, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copy {
    fn new(to: &File, layered: bool) -> io::Result<Self> {
        Ok(Self {
            to: to.as_fd().try_clone_to_owned()?,
            layered,
            links: HashMap::new(),
        })
    }

    /// `path` is where both are, relative to the roots.
    fn dir(&mut self, from: &OwnedFd, to: &impl AsFd, path: &Path) -> io::Result<()> {
        for name in names(from)? {
            self.entry(from, to, &name, &path.join(&name))
                .map_err(|error| in_path(error, &path.join(&name)))?;
        }
        attributes(from, to)
    }

    fn entry(
        &mut self,
        from: &OwnedFd,
        to: &impl AsFd,
        name: &OsStr,
        path: &Path,
    ) -> io::Result<()> {
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if self.layered && !self.make_room(from, to, name, &stat)? {
            return Ok(());
        }
        let id = (stat.st_dev, stat.st_ino);
        if !kind.is_dir() && stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&id) {
                return Ok(linkat(&self.to, first, to, name, AtFlags::empty())?);
            }
            self.links.insert(id, path.to_owned());
        }
        match kind {
            FileType::Directory => {
                match mkdirat(to, name, Mode::from_raw_mode(0o700)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
                let (from, to) = (open_dir(from, name)?, open_dir(to, name)?);
                self.dir(&from, &to, path)
            }
            FileType::RegularFile => copy_file(from, to, name),
            FileType::Symlink => {
                symlinkat(readlinkat(from, name, Vec::new())?, to, name)?;
                own(to, name, &stat)?;
                Ok(utimensat(
                    to,
                    name,
                    &times(&stat),
                    AtFlags::SYMLINK_NOFOLLOW,
                )?)
            }
            _ => {
                let mode = Mode::from_raw_mode(stat.st_mode);
                match mknodat(to, name, kind, mode, stat.st_rdev) {
                    // A device, which nobody in a user namespace could use.
                    Err(Errno::PERM) => Ok(()),
                    made => {
                        made?;
                        own(to, name, &stat)
                    }
                }
            }
        }
    }

    /// Removes what the layer hides. Whether there is anything to copy.
    fn make_room(
        &self,
        from: &OwnedFd,
        to: &impl AsFd,
        name: &OsStr,
        stat: &Stat,
    ) -> io::Result<bool> {
        let is_dir = FileType::from_raw_mode(stat.st_mode).is_dir();
        let stays = is_dir && !is_opaque(&open_dir(from, name)?);
        match statat(to, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            below => {
                let below = FileType::from_raw_mode(below?.st_mode);
                if !(stays && below.is_dir()) {
                    remove(to, name)?;
                }
            }
        }
        Ok(!is_whiteout(stat))
    }
}

/// A character device 0:0 hides what layers below have there.
///
/// Upstream: Linux Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
/// Shown by: layers_are_one_tree, more_layers_than_overlayfs_takes_are_copied.
fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn is_opaque(dir: &OwnedFd) -> bool {
    let attributes = ["trusted.overlay.opaque", "user.overlay.opaque"];
    attributes.iter().any(|name| {
        let mut value = [0; 1];
        fgetxattr(dir, *name, &mut value).is_ok_and(|length| length == 1) && value == *b"y"
    })
}

fn names(dir: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn open_dir(dir: &impl AsFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

fn copy_file(from: &OwnedFd, to: &impl AsFd, name: &OsStr) -> io::Result<()> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let read = openat(from, name, flags | OFlags::RDONLY, Mode::empty())?;
    let flags = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let write = openat(to, name, flags, Mode::from_raw_mode(0o600))?;
    let (mut read, mut write) = (File::from(read), File::from(write));
    content(&mut read, &mut write)?;
    attributes(&read.into(), &write)
}

/// Holes stay holes: a file of a few bytes may say that it is as long as a disk.
fn content(from: &mut File, to: &mut File) -> io::Result<()> {
    let size = from.metadata()?.len();
    let mut at = 0;
    while at < size {
        let data = match seek(&*from, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            data => data?,
        };
        let hole = seek(&*from, SeekFrom::Hole(data))?;
        from.seek(io::SeekFrom::Start(data))?;
        to.seek(io::SeekFrom::Start(data))?;
        io::copy(&mut from.take(hole - data), to)?;
        at = hole;
    }
    to.set_len(size)
}

/// Owner, then mode, which a change of owner takes bits from, then the rest, times last.
fn attributes(from: &OwnedFd, to: &impl AsFd) -> io::Result<()> {
    let stat = fstat(from)?;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    not_mapped(fchown(to, Some(uid), Some(gid)))?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    extended(from, to);
    Ok(futimens(to, &times(&stat))?)
}

/// Extended attributes, as far as the file system and the user's rights go; those of overlayfs are the
/// layer's own.
fn extended(from: &OwnedFd, to: &impl AsFd) {
    let mut list = vec![0; 64 * 1024];
    let Ok(length) = flistxattr(from, &mut list[..]) else {
        return;
    };
    for name in list[..length].split(|&byte| byte == 0) {
        let name = OsStr::from_bytes(name);
        if name.is_empty()
            || name.as_bytes().starts_with(b"trusted.overlay.")
            || name.as_bytes().starts_with(b"user.overlay.")
        {
            continue;
        }
        let mut value = vec![0; 64 * 1024];
        if let Ok(length) = fgetxattr(from, name, &mut value[..]) {
            let _not_allowed = fsetxattr(to, name, &value[..length], XattrFlags::empty());
        }
    }
}

fn own(dir: &impl AsFd, name: &OsStr, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    Ok(not_mapped(chownat(dir, name, Some(uid), Some(gid), flags))?)
}

/// In a user namespace an owner that is not mapped cannot be given: then the caller stays it.
fn not_mapped(owned: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match owned {
        Err(Errno::PERM | Errno::INVAL) => Ok(()),
        owned => owned,
    }
}

fn times(stat: &Stat) -> Timestamps {
    let nanos = |nanos: u64| i64::try_from(nanos).unwrap_or(0);
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: nanos(stat.st_atime_nsec),
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: nanos(stat.st_mtime_nsec),
        },
    }
}

fn remove(dir: &impl AsFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {
            let below = open_dir(dir, name)?;
            for name in names(&below)? {
                remove(&below, &name)?;
            }
            Ok(unlinkat(dir, name, AtFlags::REMOVEDIR)?)
        }
        removed => Ok(removed?),
    }
}

fn in_path(error: io::Error, path: &Path) -> io::Error {
    if error.raw_os_error().is_none() {
        return error;
    }
    let text = crate::text::of_io(&error);
    io::Error::new(error.kind(), format!("copy {}: {text}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn holes_are_not_written_out() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut sparse = File::create(from.path().join("sparse")).unwrap();
        sparse.write_all(b"start").unwrap();
        sparse.seek(io::SeekFrom::Start(1 << 29)).unwrap();
        sparse.write_all(b"middle").unwrap();
        sparse.set_len(1 << 30).unwrap();
        std::fs::write(from.path().join("whole"), vec![7; 100_000]).unwrap();
        std::fs::write(from.path().join("empty"), b"").unwrap();

        let open = |dir: &tempfile::TempDir| File::open(dir.path()).unwrap();
        tree(&open(&from), &open(&to)).unwrap();

        let mut copy = File::open(to.path().join("sparse")).unwrap();
        let of = copy.metadata().unwrap();
        assert_eq!(of.len(), 1 << 30);
        assert!(of.blocks() * 512 < 1 << 20, "{} blocks", of.blocks());
        let mut at = |place, text: &str| {
            copy.seek(io::SeekFrom::Start(place)).unwrap();
            let mut read = vec![0; text.len()];
            copy.read_exact(&mut read).unwrap();
            assert_eq!(read, text.as_bytes());
        };
        at(0, "start\0");
        at((1 << 29) - 1, "\0middle\0");
        at((1 << 30) - 1, "\0");
        let read = |name: &str| std::fs::read(to.path().join(name)).unwrap();
        assert_eq!(read("whole"), vec![7; 100_000]);
        assert_eq!(read("empty"), b"");
    }
}
