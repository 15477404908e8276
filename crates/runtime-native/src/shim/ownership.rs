//! The group of a pod's volumes, `fsGroup`.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, chownat, fstat, openat};
use rustix::io::Errno;

use super::identity;
use crate::walk;

/// Gives all of a volume to a group, which may read it, and, unless it is one that nobody writes to, write to
/// it; what is made in its directories belongs to that group too.
///
/// Where the group is not mapped, in a user namespace, files keep theirs, and only modes change.
///
/// `fsGroupChangePolicy` is about volumes that outlive pods, none of which are here; upstream does not look at
/// it for those that do not.
///
/// Upstream: pkg/volume/volume_linux.go, SetVolumeOwnership and changeFilePermission.
/// Shown by: volumes_belong_to_the_group, the_group_of_files_that_are_updated.
pub(super) fn give(path: &Path, gid: u32, read_only: bool) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = openat(CWD, path, flags, Mode::empty())?;
    give_one(&top, gid, read_only)?;
    walk::below(top, |dir, name, _| {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        give_one(&openat(dir, name, flags, Mode::empty())?, gid, read_only)
    })
}

/// Whether it is a directory.
fn give_one(one: &OwnedFd, gid: u32, read_only: bool) -> io::Result<bool> {
    let stat = fstat(one)?;
    match chownat(one, "", None, Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH) {
        Err(Errno::INVAL) => {}
        given => given?,
    }
    let kind = FileType::from_raw_mode(stat.st_mode);
    if !kind.is_symlink() {
        let mode = stat.st_mode | mode_bits(kind.is_dir(), read_only);
        // By this name it is the thing itself, where by its own it could have become a symlink.
        let place = format!("/proc/self/fd/{}", one.as_raw_fd());
        fs::set_permissions(place, Permissions::from_mode(mode & 0o7777))?;
    }
    Ok(kind.is_dir())
}

/// Whether the group is among the ids that this user has.
pub(super) fn can_be_given(gid: u32) -> bool {
    fs::read_to_string("/proc/self/gid_map").is_ok_and(|map| identity::is_mapped(&map, gid))
}

/// What is added to the mode of a file, and of a directory.
const fn mode_bits(is_dir: bool, read_only: bool) -> u32 {
    let access = if read_only { 0o440 } else { 0o660 };
    access | if is_dir { 0o2110 } else { 0 }
}
