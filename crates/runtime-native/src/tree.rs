//! Trees of files that somebody else has made, and may have made to be a burden: any depth, any names, links to
//! anywhere, directories without rights.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fchmod, fstat, openat, unlinkat};
use rustix::io::Errno;

/// All that its owner needs to remove what is in a directory.
const OWNERS: u32 = 0o700;

/// A directory on the way to the one that is being emptied.
struct Level {
    /// Its name in the one above.
    name: OsString,
    /// Device and inode of the one above.
    above: (u64, u64),
    /// Directories in the one above that are still to be removed.
    others: Vec<OsString>,
}

/// Removes what is at `path`, with all below it if it is a directory, also where its owner has taken their own rights
/// away. That nothing is there is no error.
///
/// One directory is open at a time and none is named by more than its own name, so neither the depth nor the length
/// of paths is bounded; no symlink is followed, whoever changes the tree meanwhile.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let above = path.parent().filter(|above| *above != Path::new(""));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(CWD, above.unwrap_or(Path::new(".")), flags, Mode::empty()) {
        Err(Errno::NOENT) => Ok(()),
        above => Ok(remove_in(above?, name)?),
    }
}

fn remove_in(mut at: OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    let mut way: Vec<Level> = Vec::new();
    let mut dirs = Vec::new();
    match unlink(&at, name) {
        Ok(true) => return Ok(()),
        Ok(false) => dirs.push(name.to_owned()),
        // Nothing can have been made by a name that the file system does not take.
        Err(Errno::NAMETOOLONG) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    loop {
        if let Some(name) = dirs.pop() {
            let Some(below) = enter(&at, &name)? else {
                continue;
            };
            let above = identity(&at)?;
            let others = std::mem::replace(&mut dirs, unlink_all(&below)?);
            way.push(Level {
                name,
                above,
                others,
            });
            at = below;
        } else {
            let Some(level) = way.pop() else {
                return Ok(());
            };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            // The first of all may not be readable, and need not be.
            let above = match openat(&at, "..", flags, Mode::empty()) {
                Err(Errno::ACCESS) => {
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    openat(&at, "..", flags, Mode::empty())?
                }
                above => above?,
            };
            // Somebody has moved the directory to another place, in which nothing is to be removed.
            if identity(&above)? != level.above {
                return Err(Errno::STALE);
            }
            at = above;
            gone(unlinkat(&at, &level.name, AtFlags::REMOVEDIR))?;
            dirs = level.others;
        }
    }
}

fn identity(dir: &OwnedFd) -> rustix::io::Result<(u64, u64)> {
    let stat = fstat(dir)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn gone(removed: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

/// Whether it is gone; else it is a directory.
fn unlink(at: &OwnedFd, name: &OsStr) -> rustix::io::Result<bool> {
    match unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Opens a directory with all rights of its owner; `None` if it is gone.
fn enter(at: &OwnedFd, name: &OsStr) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || openat(at, name, flags | OFlags::RDONLY, Mode::empty());
    let dir = match open() {
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::ACCESS) => {
            let place = openat(at, name, flags | OFlags::PATH, Mode::empty())?;
            // By this name it is the directory itself, where by its own it could have become a symlink.
            let place = format!("/proc/self/fd/{}", place.as_raw_fd());
            let rights = std::fs::Permissions::from_mode(OWNERS);
            let _other_owner = std::fs::set_permissions(place, rights);
            open()?
        }
        opened => opened?,
    };
    if fstat(&dir)?.st_mode & OWNERS != OWNERS {
        let _other_owner = fchmod(&dir, Mode::from_raw_mode(OWNERS));
    }
    Ok(Some(dir))
}

/// Removes all that is in a directory but for other directories, and answers with these.
fn unlink_all(at: &OwnedFd) -> rustix::io::Result<Vec<OsString>> {
    let mut dirs = Vec::new();
    for entry in Dir::read_from(at.as_fd())? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let is_dir = entry.file_type() == FileType::Directory || !unlink(at, name)?;
        if is_dir {
            dirs.push(name.to_owned());
        }
    }
    Ok(dirs)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::mkdirat;

    use super::*;

    #[test]
    fn a_tree_deeper_than_any_path_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("tree");
        fs::create_dir(&top).unwrap();
        let mut at = OwnedFd::from(fs::File::open(&top).unwrap());
        for _ in 0..5000 {
            mkdirat(&at, "below", Mode::from_raw_mode(0o755)).unwrap();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            at = openat(&at, "below", flags, Mode::empty()).unwrap();
        }
        remove(&top).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn a_tree_without_rights_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        let locked = tree.join("locked");
        fs::create_dir_all(locked.join("below")).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o0)).unwrap();
        remove(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn a_name_that_is_too_long_for_anything_to_be_there_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        remove(&dir.path().join("n".repeat(256))).unwrap();
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("kept"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        symlink(&kept, tree.join("a/link")).unwrap();
        symlink("../../kept", tree.join("a/b/up")).unwrap();
        symlink(&tree, tree.join("a/b/round")).unwrap();
        remove(&tree).unwrap();
        assert!(!tree.exists() && kept.join("file").exists());

        symlink(&kept, &tree).unwrap();
        remove(&tree).unwrap();
        assert!(!tree.is_symlink() && kept.join("file").exists());
        remove(&tree).unwrap();
        remove(&tree.join("nothing/there")).unwrap();
    }
}
