//! The pod's volumes: checked or made when the pod starts, found again when a container mounts them.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use probelet_model::pod::{HostPathType, Volume, VolumeSource};
use probelet_model::volume::FileSource;
use probelet_runtime::{PodConfig, VolumeFiles};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{atomic_writer, note, ownership};
use crate::layout::{self, PodDir};
use crate::volume_files::Content;
use crate::{clock, text};

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
pub(super) fn set_up(dir: &PodDir, pod: &PodConfig, content: &Content) -> Result<(), VolumeError> {
    let group = pod.security.fs_group.map(|group| group.gid);
    for volume in &pod.volumes {
        let made = match &volume.source {
            VolumeSource::HostPath { path, kind } => check_host_path(path, *kind),
            VolumeSource::EmptyDir {
                in_memory,
                size_limit,
            } => {
                let limit = in_memory.then_some(*size_limit);
                let place = dir.volume(&volume.name);
                make_empty_dir(&place, limit)
                    .and_then(|()| group.map_or(Ok(()), |gid| ownership::give(&place, gid, false)))
                    .map_err(|error| text::of_io(&error))
            }
            VolumeSource::Files { sources, .. } => {
                let place = dir.volume(&volume.name);
                match content.get(&volume.name) {
                    Some(files) => make_files(&place, is_for_memory(sources), files, group),
                    None => Err("its files were not given".to_owned()),
                }
            }
        };
        made.map_err(|reason| VolumeError {
            volume: volume.name.clone(),
            reason,
        })?;
    }
    if let Some(gid) = group.filter(|&gid| !ownership::can_be_given(gid)) {
        note(&format!(
            "fsGroup {gid} is not among the ids that this user has: volumes keep their group"
        ));
    }
    Ok(())
}

/// Undoes what would keep the pod's directory from being removed, or would be left of a pod that could not be
/// made.
pub(super) fn tear_down(dir: &PodDir, volumes: &[Volume]) {
    let _not_mounted = unmount(dir.shared_memory(), UnmountFlags::DETACH);
    for volume in volumes {
        let place = dir.volume(&volume.name);
        match &volume.source {
            VolumeSource::EmptyDir { in_memory, .. } if *in_memory => {
                let _not_mounted = unmount(place, UnmountFlags::DETACH);
            }
            VolumeSource::Files { .. } => {
                let _not_mounted = unmount(&place, UnmountFlags::DETACH);
                let _not_there = layout::remove_tree(&place);
            }
            VolumeSource::EmptyDir { .. } | VolumeSource::HostPath { .. } => {}
        }
    }
}

/// Where a volume's content is, as the shim sees the host.
pub(super) fn source(dir: &PodDir, volume: &Volume) -> PathBuf {
    match &volume.source {
        VolumeSource::HostPath { path, .. } => path.clone(),
        VolumeSource::EmptyDir { .. } | VolumeSource::Files { .. } => dir.volume(&volume.name),
    }
}

/// Whether no container may write to it, whatever its mount says.
///
/// Upstream: pkg/volume/configmap/configmap.go, GetAttributes, and the same of secret, downwardapi and
/// projected.
/// Shown by: a_volume_of_files_cannot_be_written_to.
pub(super) const fn is_read_only(volume: &Volume) -> bool {
    matches!(volume.source, VolumeSource::Files { .. })
}

/// Whether it is a part of the host, whose devices whoever asks for it may want.
pub(super) const fn is_of_host(volume: &Volume) -> bool {
    matches!(volume.source, VolumeSource::HostPath { .. })
}

/// Gives the volume of files of that name new content. Answers with the directory that has been replaced,
/// which is to be removed when nobody can be on the way there any more.
pub(super) fn update(
    dir: &PodDir,
    pod: &PodConfig,
    name: &str,
    files: &VolumeFiles,
) -> Result<Option<PathBuf>, String> {
    let volume = pod.volumes.iter().find(|volume| volume.name == name);
    if !volume.is_some_and(is_read_only) {
        return Err(format!("the pod has no volume of files \"{name}\""));
    }
    let group = pod.security.fs_group.map(|group| group.gid);
    atomic_writer::write(&dir.volume(name), files, clock::wall(), group)
        .map_err(|error| error.to_string())
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

/// Whether its files are kept off disks: all but those of ConfigMaps alone.
///
/// Upstream: pkg/volume/secret/secret.go, wrappedVolumeSpec, and the same of downwardapi, projected and
/// configmap.
/// Shown by: files_have_modes_and_secrets_are_in_memory.
fn is_for_memory(sources: &[FileSource]) -> bool {
    !sources
        .iter()
        .all(|source| matches!(source, FileSource::ConfigMap(_)))
}

/// Makes a volume of files, in memory where that can be had. Like an emptyDir's, the mode of its directory
/// is 0777, and in memory that of any tmpfs.
fn make_files(
    place: &Path,
    in_memory: bool,
    files: &VolumeFiles,
    group: Option<u32>,
) -> Result<(), String> {
    let make = || {
        fs::create_dir_all(place)?;
        fs::set_permissions(place, Permissions::from_mode(0o777))
    };
    make().map_err(|error| text::of_io(&error))?;
    if in_memory {
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        if let Err(errno) = mount("tmpfs", place, "tmpfs", flags, Some(c"mode=1777")) {
            let reason = text::reason(errno);
            note(&format!(
                "{} stays on disk: tmpfs: {reason}",
                place.display()
            ));
        }
    }
    atomic_writer::write(place, files, clock::wall(), group).map_err(|error| error.to_string())?;
    atomic_writer::remove_replaced(place).map_err(|error| text::of_io(&error))
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
