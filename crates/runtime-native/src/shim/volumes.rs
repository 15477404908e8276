//! The pod's volumes: checked or made when the pod starts, found again when a container mounts them.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use probelet_model::pod::{HostPathType, Volume, VolumeSource};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::layout::PodDir;
use crate::text;

/// Why a volume is not there. Only the text is of use: it goes into the event that users read.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {reason}")]
pub(super) struct VolumeError {
    volume: String,
    reason: String,
}

/// Makes and checks all volumes.
///
/// Upstream: kubelet pkg/volume/util/operationexecutor/operation_generator.go,
/// GenerateMountVolumeFunc (the text around every reason).
/// Shown by: volumes_of_every_type_are_checked.
pub(super) fn set_up(dir: &PodDir, volumes: &[Volume]) -> Result<(), VolumeError> {
    for volume in volumes {
        let made = match &volume.source {
            VolumeSource::HostPath { path, kind } => check_host_path(path, *kind),
            VolumeSource::EmptyDir {
                in_memory,
                size_limit,
            } => {
                let limit = in_memory.then_some(*size_limit);
                let place = dir.volume(&volume.name);
                make_empty_dir(&place, limit).map_err(|error| text::of_io(&error))
            }
        };
        made.map_err(|reason| VolumeError {
            volume: volume.name.clone(),
            reason,
        })?;
    }
    Ok(())
}

/// Undoes what would keep the pod's directory from being removed.
pub(super) fn tear_down(dir: &PodDir, volumes: &[Volume]) {
    for volume in volumes {
        if matches!(
            volume.source,
            VolumeSource::EmptyDir {
                in_memory: true,
                ..
            }
        ) {
            let _not_mounted = unmount(dir.volume(&volume.name), UnmountFlags::DETACH);
        }
    }
}

/// Where a volume's content is, as the shim sees the host.
pub(super) fn source(dir: &PodDir, volume: &Volume) -> PathBuf {
    match &volume.source {
        VolumeSource::HostPath { path, .. } => path.clone(),
        VolumeSource::EmptyDir { .. } => dir.volume(&volume.name),
    }
}

/// Makes what an untyped hostPath names, if nothing is there: a directory.
///
/// Upstream: containerd internal/cri/opts/spec_linux.go, WithMounts.
/// Shown by: volumes_of_every_type_are_checked.
pub(super) fn make_missing_source(volume: &Volume) -> io::Result<()> {
    match &volume.source {
        VolumeSource::HostPath {
            path,
            kind: HostPathType::Unset,
        } if !path.exists() => make_dir(path),
        _ => Ok(()),
    }
}

/// Makes an emptyDir, on disk or, with `memory` and its limit, in memory. One that a shim before this one has
/// made is left as it is.
///
/// Upstream: pkg/volume/emptydir/empty_dir.go, setupDir (mode 0777 whatever the umask) and setupTmpfs.
/// Shown by: empty_dirs_are_shared_outlive_containers_and_end_with_the_pod.
fn make_empty_dir(place: &Path, memory: Option<Option<u64>>) -> io::Result<()> {
    fs::create_dir_all(place)?;
    fs::set_permissions(place, Permissions::from_mode(0o777))?;
    if let Some(limit) = memory {
        let size = limit.map_or_else(String::new, |bytes| format!(",size={bytes}"));
        let options = std::ffi::CString::new(format!("mode=0777{size}"))?;
        mount(
            "tmpfs",
            place,
            "tmpfs",
            MountFlags::NOSUID | MountFlags::NODEV,
            Some(options.as_c_str()),
        )?;
    }
    Ok(())
}

/// Whether what is at a hostPath is of the type it is to be of; two of the types make what is missing.
///
/// Upstream: pkg/volume/hostpath/host_path.go, checkTypeInternal.
/// Shown by: every_type_is_checked_with_upstreams_words, what_may_be_made_is_made.
fn check_host_path(path: &Path, kind: HostPathType) -> Result<(), String> {
    // Follows symlinks, as upstream's os.Stat.
    let found = fs::metadata(path).ok().map(|metadata| metadata.file_type());
    let must_be = |what: &str, is: fn(&fs::FileType) -> bool| {
        if found.as_ref().is_some_and(is) {
            return Ok(());
        }
        Err(format!(
            "hostPath type check failed: {} is not {what}",
            path.display()
        ))
    };
    match kind {
        HostPathType::Unset => Ok(()),
        HostPathType::DirectoryOrCreate if found.is_none() => make_dir(path)
            .map_err(|error| format!("mkdir {}: {}", path.display(), text::of_io(&error))),
        HostPathType::FileOrCreate if found.is_none() => make_file(path)
            .map_err(|error| format!("open {}: {}", path.display(), text::of_io(&error))),
        HostPathType::DirectoryOrCreate | HostPathType::Directory => {
            must_be("a directory", fs::FileType::is_dir)
        }
        HostPathType::FileOrCreate | HostPathType::File => must_be("a file", fs::FileType::is_file),
        HostPathType::Socket => must_be("a socket file", FileTypeExt::is_socket),
        HostPathType::CharDevice => must_be("a character device", FileTypeExt::is_char_device),
        HostPathType::BlockDevice => must_be("a block device", FileTypeExt::is_block_device),
    }
}

fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

fn make_file(path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o644)
        .open(path)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn every_type_is_checked_with_upstreams_words() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "").unwrap();
        fs::create_dir(at("dir")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let null = PathBuf::from("/dev/null");
        let table = [
            (
                HostPathType::Directory,
                at("dir"),
                at("file"),
                "a directory",
            ),
            (
                HostPathType::DirectoryOrCreate,
                at("dir"),
                at("file"),
                "a directory",
            ),
            (HostPathType::File, at("file"), at("dir"), "a file"),
            (HostPathType::FileOrCreate, at("file"), at("dir"), "a file"),
            (
                HostPathType::Socket,
                at("socket"),
                at("file"),
                "a socket file",
            ),
            (
                HostPathType::CharDevice,
                null.clone(),
                at("file"),
                "a character device",
            ),
            (
                HostPathType::Directory,
                at("dir"),
                at("missing"),
                "a directory",
            ),
            (
                HostPathType::BlockDevice,
                at("none"),
                null,
                "a block device",
            ),
        ];
        for (kind, right, wrong, what) in table {
            if kind != HostPathType::BlockDevice {
                assert_eq!(check_host_path(&right, kind), Ok(()), "{kind:?}");
            }
            let expected = format!(
                "hostPath type check failed: {} is not {what}",
                wrong.display()
            );
            assert_eq!(check_host_path(&wrong, kind), Err(expected), "{kind:?}");
        }
    }

    #[test]
    fn what_may_be_made_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        check_host_path(&deep, HostPathType::DirectoryOrCreate).unwrap();
        assert!(deep.is_dir());
        check_host_path(&deep.join("file"), HostPathType::FileOrCreate).unwrap();
        assert!(deep.join("file").is_file());
        let orphan = dir.path().join("x/file");
        let error = check_host_path(&orphan, HostPathType::FileOrCreate).unwrap_err();
        assert_eq!(
            error,
            format!("open {}: no such file or directory", orphan.display())
        );
        assert_eq!(check_host_path(&orphan, HostPathType::Unset), Ok(()));
    }
}
