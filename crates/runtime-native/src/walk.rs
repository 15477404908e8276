//! Trees of files that somebody else may change while they are looked at, to hide something or to lead elsewhere.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

/// So many directories on the way down stay open. From those that are deeper, the way up is by `..`.
const KEPT_OPEN: usize = 64;

/// A directory on the way to the one that is being looked at.
struct Level {
    dir: Option<OwnedFd>,
    /// Device and inode.
    id: (u64, u64),
    /// Directories in it that are still to be looked at.
    others: Vec<OsString>,
}

/// Calls `visit` with everything below `top`: the directory, the name in it, and what that was a moment ago. Goes into
/// what it says `true` of, if that is a directory.
///
/// No symlink is followed, whoever changes the tree meanwhile, and neither depth nor length of paths is bounded. Where
/// a directory deep down is moved away just then, what is left of those between it and the last that was kept open is
/// passed over.
///
/// # Errors
/// The first of them, at the end: it keeps nothing else from being visited.
pub(crate) fn below(
    top: OwnedFd,
    mut visit: impl FnMut(&OwnedFd, &OsStr, &Stat) -> io::Result<bool>,
) -> io::Result<()> {
    let mut first = Ok(());
    let mut way: Vec<Level> = Vec::new();
    let mut dirs = look(&top, &mut visit, &mut first);
    let mut at = top;
    loop {
        if let Some(name) = dirs.pop() {
            match enter(&at, &name) {
                Ok(Some((below, id))) => {
                    let others = look(&below, &mut visit, &mut first);
                    let others = std::mem::replace(&mut dirs, others);
                    let above = std::mem::replace(&mut at, below);
                    let dir = (way.len() < KEPT_OPEN).then_some(above);
                    way.push(Level { dir, id, others });
                }
                Ok(None) => {}
                Err(errno) => first = first.and(Err(errno.into())),
            }
            continue;
        }
        (at, dirs) = loop {
            let Some(level) = way.pop() else {
                return first;
            };
            let above = level.dir.or_else(|| above(&at, level.id));
            if let Some(above) = above {
                break (above, level.others);
            }
        };
    }
}

/// Visits all that is in a directory, and answers with the directories to go into.
fn look(
    dir: &OwnedFd,
    visit: &mut impl FnMut(&OwnedFd, &OsStr, &Stat) -> io::Result<bool>,
    first: &mut io::Result<()>,
) -> Vec<OsString> {
    let mut dirs = Vec::new();
    let mut failed = |error: io::Error| {
        if first.is_ok() {
            *first = Err(error);
        }
    };
    let entries = match Dir::read_from(dir) {
        Ok(entries) => entries,
        Err(errno) => {
            failed(errno.into());
            return dirs;
        }
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(errno) => {
                failed(errno.into());
                break;
            }
        };
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let visited = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            Err(errno) => Err(errno.into()),
            Ok(stat) => visit(dir, name, &stat),
        };
        match visited {
            Ok(true) => dirs.push(name.to_owned()),
            Ok(false) => {}
            Err(error) => failed(error),
        }
    }
    dirs
}

/// A directory, and what the one above it is; `None` if it is gone, or something else by now.
fn enter(above: &OwnedFd, name: &OsStr) -> rustix::io::Result<Option<(OwnedFd, (u64, u64))>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(above, name, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        dir => Ok(Some((dir?, identity(above)?))),
    }
}

/// The directory above, if it is the one that it was.
fn above(at: &OwnedFd, id: (u64, u64)) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let above = openat(at, "..", flags, Mode::empty()).ok()?;
    (identity(&above).ok()? == id).then_some(above)
}

fn identity(dir: &OwnedFd) -> rustix::io::Result<(u64, u64)> {
    let stat = fstat(dir)?;
    Ok((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use rustix::fs::{FileType, mkdirat, renameat};

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    /// Two hundred directories in each other, each with a file `file` beside the next, `below`.
    fn deep(top: &Path, below: &str) {
        let mut at = open(top);
        for _ in 0..200 {
            mkdirat(&at, below, Mode::from_raw_mode(0o755)).unwrap();
            let flags = OFlags::WRONLY | OFlags::CREATE;
            openat(&at, "file", flags, Mode::from_raw_mode(0o644)).unwrap();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            at = openat(&at, below, flags, Mode::empty()).unwrap();
        }
    }

    fn is_dir(stat: &Stat) -> bool {
        FileType::from_raw_mode(stat.st_mode).is_dir()
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_seen_whole() {
        let dir = tempfile::tempdir().unwrap();
        let name = "n".repeat(100);
        deep(dir.path(), &name);
        let (mut dirs, mut files) = (0, 0);
        below(open(dir.path()), |_, _, stat| {
            *(if is_dir(stat) { &mut dirs } else { &mut files }) += 1;
            Ok(is_dir(stat))
        })
        .unwrap();
        assert_eq!((dirs, files), (200, 200));
        crate::tree::remove(&dir.path().join(name)).unwrap();
    }

    #[test]
    fn a_directory_that_becomes_a_symlink_leads_nowhere() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("secret"), "").unwrap();
        let turns = dir.path().join("turns");
        fs::create_dir(&turns).unwrap();
        let mut names = Vec::new();
        below(open(dir.path()), |_, name, stat| {
            names.push(name.to_owned());
            fs::remove_dir(&turns).unwrap();
            symlink(other.path(), &turns).unwrap();
            Ok(is_dir(stat))
        })
        .unwrap();
        assert_eq!(names, ["turns"]);
    }

    /// Deeper than directories are kept open.
    #[test]
    fn a_directory_that_is_moved_away_hides_nothing_near_the_top() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, away) = (dir.path().join("tree"), dir.path().join("away"));
        fs::create_dir_all(tree.join("one")).unwrap();
        fs::create_dir_all(tree.join("two/in")).unwrap();
        fs::create_dir(&away).unwrap();
        for name in ["one", "two"] {
            deep(&tree.join(name), "below");
            fs::write(tree.join(name).join("near"), "").unwrap();
        }
        let away = open(&away);
        let (mut seen, mut moved) = (0, 0);
        below(open(&tree), |at, name, stat| {
            seen += usize::from(name == "near" || name == "in");
            // The first that is entered at that depth: after that `at` is somewhere else.
            if name == "below" && statat(at, "below/below/below", AtFlags::empty()).is_err() {
                moved += 1;
                let up = openat(at, "..", OFlags::PATH, Mode::empty()).unwrap();
                renameat(up, "below", &away, format!("{moved}")).unwrap();
            }
            Ok(is_dir(stat))
        })
        .unwrap();
        assert!(moved >= 2, "{moved}");
        assert_eq!(seen, 3);
    }

    #[test]
    fn an_error_is_told_and_hides_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let mut seen = 0;
        let visited = below(open(dir.path()), |_, name, _| {
            seen += 1;
            if name == "b" {
                return Err(Errno::PERM.into());
            }
            Ok(false)
        });
        assert_eq!(
            visited.unwrap_err().raw_os_error(),
            Some(Errno::PERM.raw_os_error())
        );
        assert_eq!(seen, 3);
    }
}
