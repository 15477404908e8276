//! A directory that a layer is written into, and that nothing of it leads out of.
//!
//! Every path is looked up by the kernel below the directory (`openat2` with `RESOLVE_IN_ROOT`), up to the
//! parent of what is written; the last part is then used by name, and never followed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timespec,
    Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::members::{Kind, Member, Members};
use super::{Opaque, Owners, UnpackError};

/// Symbolic links that lead to nothing are followed so often, to make what they lead to.
const MOST_LINKS: u32 = 16;
const WHITEOUT: &[u8] = b".wh.";
const WHITEOUT_META: &[u8] = b".wh..wh.";
const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";

/// What is being written.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    owners: Owners,
    opaque: Opaque,
    /// Directories get their attributes last: with mode 0555 nothing could be put into them, and what is put
    /// into them changes their time.
    directories: BTreeMap<Vec<u8>, Member>,
    whiteouts: BTreeSet<Vec<u8>>,
    /// Members that could not be made as they are, for want of rights.
    pub(super) left_out: u64,
}

type Parts = Vec<Vec<u8>>;

impl Tree {
    pub(super) fn new(root: OwnedFd, owners: Owners, opaque: Opaque) -> Self {
        Self {
            root,
            owners,
            opaque,
            directories: BTreeMap::new(),
            whiteouts: BTreeSet::new(),
            left_out: 0,
        }
    }

    /// Writes a member, with what comes as its content.
    pub(super) fn add(
        &mut self,
        mut member: Member,
        content: &mut Members<impl Read>,
    ) -> Result<(), UnpackError> {
        let path = std::mem::take(&mut member.path);
        let failed = |what: io::Error| UnpackError::Member {
            path: String::from_utf8_lossy(&path).into_owned(),
            what,
        };
        let mut parts = parts_of(&path)
            .ok_or_else(|| UnpackError::Breakout(String::from_utf8_lossy(&path).into_owned()))?;
        let Some(name) = parts.pop() else {
            if member.kind != Kind::Directory {
                return Err(failed(io::Error::other("the root is a directory")));
            }
            self.directories.insert(Vec::new(), member);
            return Ok(());
        };
        let done = if name.starts_with(WHITEOUT) {
            self.white_out(&parts, &name)
        } else {
            self.make(&parts, &name, member, content)
        };
        done.map_err(failed)
    }

    /// Gives directories their attributes, and sees that all is on the disk.
    pub(super) fn finish(mut self) -> Result<u64, UnpackError> {
        // Deepest first: a directory may forbid to look into it.
        for (path, member) in std::mem::take(&mut self.directories).into_iter().rev() {
            self.finish_directory(&path, &member)
                .map_err(|what| UnpackError::Member {
                    path: String::from_utf8_lossy(&path).into_owned(),
                    what,
                })?;
        }
        rustix::fs::syncfs(&self.root).map_err(|errno| UnpackError::Io(errno.into()))?;
        Ok(self.left_out)
    }

    fn finish_directory(&mut self, path: &[u8], member: &Member) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let directory = match self.open(path, flags) {
            // Something else is there by now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            opened => opened?,
        };
        self.attributes(directory.as_fd(), member)
    }

    fn make(
        &mut self,
        parents: &[Vec<u8>],
        name: &[u8],
        mut member: Member,
        content: &mut Members<impl Read>,
    ) -> io::Result<()> {
        let parent = self.directory(parents)?;
        let file_name = OsStr::from_bytes(name);
        let there = there(&parent, file_name)?;
        let path = joined(parents, name);
        if let Kind::Link(target) = &member.kind {
            return self.link(target.clone(), there.as_ref(), &parent, file_name);
        }
        if member.kind == Kind::Directory {
            let is_directory = there.as_ref().is_some_and(is_directory);
            if !is_directory {
                if there.is_some() {
                    remove(&parent, file_name)?;
                }
                rustix::fs::mkdirat(&parent, file_name, Mode::RWXU)?;
                // What is below was white, and this is new: so nothing of that shows through.
                if self.whiteouts.remove(&path) {
                    self.make_opaque(&path)?;
                }
            }
            self.directories.insert(path, member);
            return Ok(());
        }
        if there.is_some() {
            remove(&parent, file_name)?;
            self.forget(&path);
        }
        let device = match member.kind {
            Kind::Symlink(ref target) => {
                let target = CString::new(target.clone())?;
                rustix::fs::symlinkat(target, &parent, file_name)?;
                None
            }
            Kind::CharacterDevice(major, minor) => Some((FileType::CharacterDevice, major, minor)),
            Kind::BlockDevice(major, minor) => Some((FileType::BlockDevice, major, minor)),
            Kind::Fifo => Some((FileType::Fifo, 0, 0)),
            Kind::File {
                size,
                ref mut pieces,
            } => {
                let pieces = pieces.take();
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let flags = flags | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&parent, file_name, flags, Mode::RUSR | Mode::WUSR)?;
                let mut file = File::from(file);
                write_content(&mut file, content, size, pieces)?;
                return self.attributes(file.as_fd(), &member);
            }
            Kind::Directory | Kind::Link(_) => None,
        };
        if let Some((kind, major, minor)) = device {
            if kind != FileType::Fifo && self.owners != Owners::Kept {
                self.left_out += 1;
                return Ok(());
            }
            let number = rustix::fs::makedev(major, minor);
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::mknodat(&parent, file_name, kind, mode, number)?;
        }
        self.attributes_by_name(&parent, file_name, &member)
    }

    /// Another name of something that is there.
    fn link(
        &mut self,
        target: Vec<u8>,
        there: Option<&Stat>,
        parent: &OwnedFd,
        name: &OsStr,
    ) -> io::Result<()> {
        let mut parts =
            parts_of(&target).ok_or_else(|| io::Error::other("a hard link that leads out"))?;
        let last = parts
            .pop()
            .ok_or_else(|| io::Error::other("a hard link to the root"))?;
        let last = OsStr::from_bytes(&last);
        let target_parent = self.open(&parts.join(&b'/'), OFlags::PATH | OFlags::DIRECTORY)?;
        if let Some(there) = there {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let same = rustix::fs::statat(&target_parent, last, flags)?;
            if (same.st_dev, same.st_ino) == (there.st_dev, there.st_ino) {
                return Ok(());
            }
            remove(parent, name)?;
        }
        Ok(rustix::fs::linkat(
            &target_parent,
            last,
            parent,
            name,
            AtFlags::empty(),
        )?)
    }

    /// What a layer says is gone becomes what overlayfs takes for that.
    ///
    /// Upstream: containerd pkg/archive/tar_unix.go and tar.go, the overlay's convertWhiteout.
    /// Shown by: whiteouts_become_what_overlayfs_takes_for_them, what_is_white_in_its_own_layer_stays.
    fn white_out(&mut self, parents: &[Vec<u8>], name: &[u8]) -> io::Result<()> {
        if name == WHITEOUT_OPAQUE {
            self.directory(parents)?;
            return self.make_opaque(&parents.join(&b'/'));
        }
        if name.starts_with(WHITEOUT_META) {
            // What AUFS keeps beside its files.
            return Ok(());
        }
        let hidden = &name[WHITEOUT.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(io::Error::other("invalid whiteout name"));
        }
        let parent = self.directory(parents)?;
        let path = joined(parents, hidden);
        let hidden = OsStr::from_bytes(hidden);
        match there(&parent, hidden)? {
            // A whiteout is about the layers below, and not about its own.
            Some(there) if is_directory(&there) => self.make_opaque(&path),
            Some(_) => Ok(()),
            None => {
                let kind = FileType::CharacterDevice;
                rustix::fs::mknodat(&parent, hidden, kind, Mode::empty(), 0)?;
                self.whiteouts.insert(path);
                Ok(())
            }
        }
    }

    fn make_opaque(&self, path: &[u8]) -> io::Result<()> {
        let directory = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let name = self.opaque.attribute();
        let flags = XattrFlags::empty();
        Ok(rustix::fs::fsetxattr(&directory, name, b"y", flags)?)
    }

    /// What was at `path`, and all below it, is gone.
    fn forget(&mut self, path: &[u8]) {
        self.whiteouts.remove(path);
        let below = [path, b"/"].concat();
        let is_gone = |at: &Vec<u8>| at == path || at.starts_with(&below);
        if self.directories.contains_key(path) {
            self.directories.retain(|at, _| !is_gone(at));
            self.whiteouts.retain(|at| !is_gone(at));
        }
    }

    fn open(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        open(self.root.as_fd(), path, flags)
    }

    /// The directory at that place, made with all above it if it is not there.
    fn directory(&mut self, parts: &[Vec<u8>]) -> io::Result<OwnedFd> {
        match self.open(&parts.join(&b'/'), OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            opened => return Ok(opened?),
        }
        let mut links = 0;
        let mut done: Parts = Vec::new();
        let mut rest: Parts = parts.iter().rev().cloned().collect();
        while let Some(part) = rest.pop() {
            let parent = self.open(&done.join(&b'/'), OFlags::PATH | OFlags::DIRECTORY)?;
            let name = OsStr::from_bytes(&part);
            let path = joined(&done, &part);
            match there(&parent, name)? {
                None => {
                    rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                    done.push(part);
                }
                Some(_) if self.whiteouts.remove(&path) => {
                    remove(&parent, name)?;
                    rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                    self.make_opaque(&path)?;
                    done.push(part);
                }
                Some(there) if FileType::from_raw_mode(there.st_mode) == FileType::Symlink => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = rustix::fs::readlinkat(&parent, name, Vec::new())?;
                    let target = target.as_bytes();
                    if target.starts_with(b"/") {
                        done.clear();
                    }
                    // Above the root is the root.
                    for part in target.split(|byte| *byte == b'/').rev() {
                        if !matches!(part, b"" | b".") {
                            rest.push(part.to_vec());
                        }
                    }
                }
                Some(_) if part == b".." => {
                    done.pop();
                }
                Some(_) => done.push(part),
            }
        }
        Ok(self.open(&done.join(&b'/'), OFlags::PATH | OFlags::DIRECTORY)?)
    }

    /// Owner, then mode, because a new owner takes the set-id bits away; then attributes, and the time.
    fn attributes(&mut self, file: BorrowedFd<'_>, member: &Member) -> io::Result<()> {
        if let Some((uid, gid)) = self.owner(member)? {
            rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(|e| not_mapped(e, member))?;
        }
        for (name, value) in &member.attributes {
            if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
                // What overlayfs keeps for itself is not part of an image, and could lead it astray.
                continue;
            }
            let set =
                rustix::fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty());
            match set {
                Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS | Errno::INVAL) => {
                    self.left_out += 1;
                }
                set => set?,
            }
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(member.mode))?;
        Ok(rustix::fs::futimens(file, &times(member))?)
    }

    /// The same of what cannot be opened.
    fn attributes_by_name(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        member: &Member,
    ) -> io::Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if let Some((uid, gid)) = self.owner(member)? {
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), flags)
                .map_err(|e| not_mapped(e, member))?;
        }
        if !matches!(member.kind, Kind::Symlink(_)) {
            let mode = Mode::from_raw_mode(member.mode);
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
        }
        self.left_out += u64::from(!member.attributes.is_empty());
        Ok(rustix::fs::utimensat(parent, name, &times(member), flags)?)
    }

    fn owner(&self, member: &Member) -> io::Result<Option<(Uid, Gid)>> {
        if self.owners == Owners::Squashed {
            return Ok(None);
        }
        // The highest number means nobody in particular to the kernel.
        let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        match (id(member.uid), id(member.gid)) {
            (Some(uid), Some(gid)) => Ok(Some((Uid::from_raw(uid), Gid::from_raw(gid)))),
            _ => Err(io::Error::other("an owner that cannot be")),
        }
    }
}

fn not_mapped(errno: Errno, member: &Member) -> io::Error {
    let (uid, gid) = (member.uid, member.gid);
    match errno {
        Errno::INVAL => io::Error::other(format!(
            "its owner {uid}:{gid} has no id in the user namespace: the ranges of /etc/subuid and /etc/subgid are too small"
        )),
        errno => errno.into(),
    }
}

fn times(member: &Member) -> Timestamps {
    let (seconds, nanoseconds) = member.modified;
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn open(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    rustix::fs::openat2(
        root,
        OsStr::from_bytes(path),
        flags | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

/// What has that name, not followed.
fn there(parent: &OwnedFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        stat => Ok(Some(stat?)),
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// The parts of a path, without `.`, with `..` worked out; none if it leads out.
fn parts_of(path: &[u8]) -> Option<Parts> {
    if path.contains(&0) {
        return None;
    }
    let mut parts: Parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part.to_vec()),
        }
    }
    Some(parts)
}

fn joined(parents: &[Vec<u8>], name: &[u8]) -> Vec<u8> {
    let mut path = parents.join(&b'/');
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Writes a file. Runs of zeros become holes.
fn write_content(
    file: &mut File,
    content: &mut Members<impl Read>,
    size: u64,
    pieces: Option<Vec<(u64, u64)>>,
) -> io::Result<()> {
    let pieces = pieces.unwrap_or_else(|| vec![(0, size)]);
    let mut buffer = vec![0; 64 << 10];
    for (offset, mut length) in pieces {
        file.seek(SeekFrom::Start(offset))?;
        while length > 0 {
            let most = usize::try_from(length).map_or(buffer.len(), |most| most.min(buffer.len()));
            content.read_exact(&mut buffer[..most])?;
            let piece = &buffer[..most];
            if piece.iter().all(|byte| *byte == 0) {
                file.seek_relative(i64::try_from(most).unwrap_or(0))?;
            } else {
                file.write_all(piece)?;
            }
            length -= u64::try_from(most).unwrap_or(length);
        }
    }
    file.set_len(size)
}

/// Removes whatever has that name, if it is there, however deep it is and whatever its modes are.
///
/// Directories within are first moved up to be beside it: so neither file descriptors nor the length of paths
/// bound the depth.
pub(super) fn remove(parent: impl AsFd, name: &OsStr) -> io::Result<()> {
    let parent = parent.as_fd();
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut moved = 0_u64;
    let mut rest = vec![name.to_owned()];
    while let Some(name) = rest.last().cloned() {
        let directory = open_to_empty(parent, &name)?;
        let before = rest.len();
        for entry in rustix::fs::Dir::read_from(&directory)? {
            let entry = entry?;
            let inner = OsString::from_vec(entry.file_name().to_bytes().to_vec());
            if inner == "." || inner == ".." {
                continue;
            }
            match rustix::fs::unlinkat(&directory, &inner, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => {
                    // To move a directory is to write to it: its `..` changes.
                    let _owned_by_others = writable(directory.as_fd(), &inner);
                    rest.push(move_beside(directory.as_fd(), &inner, parent, &mut moved)?);
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        if rest.len() == before {
            match rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR) {
                // Readers of a directory may miss what moves while they read.
                Err(Errno::NOTEMPTY) => continue,
                removed => removed?,
            }
            rest.pop();
        }
    }
    Ok(())
}

/// Moves a directory out of another to `parent`, under a name that nothing there has.
fn move_beside(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    parent: BorrowedFd<'_>,
    moved: &mut u64,
) -> io::Result<OsString> {
    loop {
        *moved += 1;
        let beside = OsString::from(format!(".probelet-removed-{moved}"));
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(directory, name, parent, &beside, flags) {
            Err(Errno::EXIST) => {}
            done => return Ok(done.map(|()| beside)?),
        }
    }
}

fn open_to_empty(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    writable(parent, name)?;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

/// Lets the owner do everything with a directory.
fn writable(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if is_directory(&stat) && stat.st_mode & 0o700 != 0o700 {
        rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
    }
    Ok(())
}

/// A path on the host, without its last part, opened.
pub(super) fn open_parent(path: &std::path::Path) -> io::Result<(OwnedFd, OsString)> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("a path without a name"))?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.map_or_else(|| PathBuf::from("."), std::path::Path::to_path_buf);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, &parent, flags, Mode::empty())?;
    Ok((opened, name.to_owned()))
}
