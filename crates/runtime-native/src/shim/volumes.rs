//! The pod's volumes: checked or made when the pod starts, found again when a container mounts them.

use std::ffi::CString;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use probelet_model::pod::{HostPathType, Volume, VolumeSource};
use probelet_model::volume::FileSource;
use probelet_runtime::{PodConfig, VolumeFiles};
use rustix::io::Errno;
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
            VolumeSource::EmptyDir { in_memory, .. } => {
                let place = dir.volume(&volume.name);
                let memory = in_memory.then(|| most_memory(pod, volume));
                make_empty_dir(&place, memory, group).map_err(|error| text::of_io(&error))
            }
            VolumeSource::Files { sources, .. } => {
                let place = dir.volume(&volume.name);
                match content.get(&volume.name) {
                    Some(files) => {
                        let memory = is_for_memory(sources).then(|| most_memory(pod, volume));
                        make_files(&place, memory, files, group)
                    }
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

/// Makes a volume of files, with `memory` and its limit in memory. Like an emptyDir's, the mode of its directory
/// is 0777, and in memory that of any tmpfs. What is for memory is on no disk: without a tmpfs there is no volume.
///
/// Upstream: pkg/volume/emptydir/empty_dir.go, setupTmpfs.
/// Shown by: a_secret_is_not_written_where_there_is_no_tmpfs.
fn make_files(
    place: &Path,
    memory: Option<u64>,
    files: &VolumeFiles,
    group: Option<u32>,
) -> Result<(), String> {
    let make = || {
        fs::create_dir_all(place)?;
        fs::set_permissions(place, Permissions::from_mode(0o777))
    };
    make().map_err(|error| text::of_io(&error))?;
    if let Some(most) = memory {
        mount_memory(place, "1777", most)
            .map_err(|errno| format!("mount tmpfs: {}", text::reason(errno)))?;
    }
    atomic_writer::write(place, files, clock::wall(), group).map_err(|error| error.to_string())?;
    atomic_writer::remove_replaced(place).map_err(|error| text::of_io(&error))
}

/// Makes an emptyDir, on disk or, with `memory` and its limit, in memory. One on disk that a shim before this one has
/// made is left as it is: containers have written to it.
///
/// Upstream: pkg/volume/emptydir/empty_dir.go, SetUpAt, setupDir (mode 0777 whatever the umask) and setupTmpfs.
/// Shown by: empty_dirs_are_shared_outlive_containers_and_end_with_the_pod,
/// an_empty_dir_that_is_there_is_left_as_it_is.
fn make_empty_dir(place: &Path, memory: Option<u64>, group: Option<u32>) -> io::Result<()> {
    let furnish = |dir: &Path| {
        fs::set_permissions(dir, Permissions::from_mode(0o777))?;
        group.map_or(Ok(()), |gid| ownership::give(dir, gid, false))
    };
    if let Some(most) = memory {
        fs::create_dir_all(place)?;
        mount_memory(place, "0777", most)?;
        return furnish(place);
    }
    if place.exists() {
        return Ok(());
    }
    // By its own name it is whole, also if this shim is killed. No volume is called so: there is no dot in their names.
    let unfinished = place.with_extension("new");
    fs::create_dir_all(&unfinished)?;
    furnish(&unfinished)?;
    fs::rename(unfinished, place)
}

/// How many bytes what a volume has in memory may be: the smallest of the node's memory, the pod's limit and the
/// volume's own.
///
/// Upstream: pkg/volume/emptydir/empty_dir.go, calculateEmptyDirMemorySize.
/// Shown by: memory_is_bounded_by_the_smallest_limit, what_is_in_memory_is_bounded_and_not_swapped.
fn most_memory(pod: &PodConfig, volume: &Volume) -> u64 {
    let own = match volume.source {
        VolumeSource::EmptyDir { size_limit, .. } => size_limit,
        VolumeSource::HostPath { .. } | VolumeSource::Files { .. } => None,
    };
    let system = rustix::system::sysinfo();
    let node = system.totalram * u64::from(system.mem_unit);
    smallest(node, [pod.resources.limits.memory, own])
}

/// A limit of nothing is none.
fn smallest(node: u64, limits: [Option<u64>; 2]) -> u64 {
    let limits = limits.into_iter().flatten().filter(|limit| *limit > 0);
    limits.fold(node, u64::min)
}

/// A tmpfs of at most so many bytes. It is not written to a swap device, where the kernel has a word for that: Linux
/// 6.4 has one for root, and none inside a user namespace.
///
/// Upstream: pkg/volume/emptydir/empty_dir.go, generateTmpfsMountOptions; pkg/util/swap/swap_util.go,
/// IsTmpfsNoswapOptionSupported.
/// Shown by: what_is_in_memory_is_bounded_and_not_swapped.
fn mount_memory(place: &Path, mode: &str, most: u64) -> Result<(), Errno> {
    let mount_with = |more: &str| {
        let options = CString::new(format!("mode={mode},size={most}{more}"));
        let options = options.map_err(|_nul| Errno::INVAL)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", place, "tmpfs", flags, Some(options.as_c_str()))
    };
    match mount_with(",noswap") {
        Err(Errno::INVAL) => mount_with(""),
        mounted => mounted,
    }
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

    use probelet_runtime::VolumeFile;
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    use super::*;

    /// A thread without the right to mount, as root may be one itself.
    #[test]
    fn a_secret_is_not_written_where_there_is_no_tmpfs() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("secret");
        let files = VolumeFiles {
            files: vec![VolumeFile {
                path: "key".into(),
                mode: 0o400,
                content: b"word".to_vec(),
            }],
        };
        let make = |memory| {
            std::thread::scope(|scope| {
                let made = scope.spawn(|| {
                    let mut sets = capabilities(None).unwrap();
                    sets.effective.remove(CapabilitySet::SYS_ADMIN);
                    set_capabilities(None, sets).unwrap();
                    make_files(&place, memory, &files, None)
                });
                made.join().unwrap()
            })
        };
        let why = make(Some(1 << 20)).unwrap_err();
        assert_eq!(why, "mount tmpfs: operation not permitted");
        assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
        make(None).unwrap();
        assert_eq!(fs::read(place.join("key")).unwrap(), b"word");
    }

    #[test]
    fn an_empty_dir_that_is_there_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("volume");
        let group = Some(rustix::process::getegid().as_raw());
        // What a shim that was killed in between has left.
        fs::create_dir(dir.path().join("volume.new")).unwrap();
        make_empty_dir(&place, None, group).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&place), 0o2777);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let file = place.join("file");
        fs::write(&file, "").unwrap();
        for (path, mode) in [(&file, 0o600), (&place, 0o755)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        make_empty_dir(&place, None, group).unwrap();
        assert_eq!((mode(&place), mode(&file)), (0o755, 0o600));
    }

    #[test]
    fn memory_is_bounded_by_the_smallest_limit() {
        for (limits, expected) in [
            ([None, None], 100),
            ([Some(50), None], 50),
            ([None, Some(40)], 40),
            ([Some(50), Some(40)], 40),
            ([Some(50), Some(60)], 50),
            ([Some(500), Some(600)], 100),
            ([Some(0), Some(0)], 100),
        ] {
            assert_eq!(smallest(100, limits), expected, "{limits:?}");
        }
    }

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
