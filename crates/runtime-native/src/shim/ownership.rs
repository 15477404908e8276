//! The group of a pod's volumes, `fsGroup`.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

use rustix::io::Errno;

use super::identity;

/// Gives all of a volume to a group, which may read it, and, unless it is one that nobody writes to, write to
/// it; what is made in its directories belongs to that group too.
///
/// For a time when nobody else changes the volume. Where the group is not mapped, in a user namespace, files
/// keep theirs, and only modes change.
///
/// `fsGroupChangePolicy` is about volumes that outlive pods, none of which are here; upstream does not look at
/// it for those that do not.
///
/// Upstream: pkg/volume/volume_linux.go, SetVolumeOwnership and changeFilePermission.
/// Shown by: volumes_belong_to_the_group, the_group_of_files_that_are_updated.
pub(super) fn give(path: &Path, gid: u32, read_only: bool) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    match lchown(path, None, Some(gid)) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {}
        given => given?,
    }
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode() | mode_bits(metadata.is_dir(), read_only);
    fs::set_permissions(path, Permissions::from_mode(mode & 0o7777))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), gid, read_only)?;
        }
    }
    Ok(())
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
