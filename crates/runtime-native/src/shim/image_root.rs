//! The files of an image as one container's own: overlayfs over its layers, or a copy of them where overlayfs
//! cannot be had. What the container writes is in a directory of its run alone.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountFlags, UnmountFlags, fsconfig_set_flag, fsconfig_set_string, mount,
    unmount,
};

use super::identity::Privilege;
use super::mount_point::{Kind, Root};
use super::{copy, file_system, note};
use crate::{sys, text, tree};

/// What a root is made from.
#[derive(Debug)]
pub(super) struct Image {
    /// The lowest first.
    pub(super) layers: Vec<PathBuf>,
    /// Paths of the image that are no part of the root.
    pub(super) volumes: Vec<PathBuf>,
    /// The run's own directory, which is not there yet.
    pub(super) dir: PathBuf,
    /// Made when it has been said that images are copied.
    pub(super) copies_said: PathBuf,
    pub(super) privilege: Privilege,
    /// Devices in the image may be used.
    pub(super) devices: bool,
}

/// What a run writes, in its own directory.
pub(super) fn upper(run: &Path) -> PathBuf {
    run.join("upper")
}

/// The copy of its image that a run writes to, where there is no overlayfs.
pub(super) fn copied(run: &Path) -> PathBuf {
    run.join("copy")
}

/// So long may the options of a mount be, in bytes: the smallest page there is.
const MAX_OPTIONS: usize = 4096;

/// How an overlay is asked for; not every kernel knows the best way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Layer by layer, so that their number is bounded by the file system alone (Linux 6.7).
    Layers { volatile: bool },
    /// In one string of at most a page.
    OneString,
}

impl Image {
    /// The root, mounted nowhere yet.
    ///
    /// Nothing of what a run writes is used after it, so it is not written to the disk before its time
    /// (`volatile`): with that, the end of one container would otherwise wait for all that the host has to
    /// write.
    pub(super) fn mount(&self, staging: &Path) -> io::Result<OwnedFd> {
        let upper = upper(&self.dir);
        for dir in [&self.dir, &upper, &self.dir.join("work")] {
            fs::create_dir(dir)?;
        }
        self.copy_attributes(&upper)?;
        let mut failure = Errno::INVAL;
        for way in [
            Way::Layers { volatile: true },
            Way::Layers { volatile: false },
            Way::OneString,
        ] {
            match self.overlay(way, staging) {
                Ok(root) => return Ok(root),
                Err(errno) => failure = errno,
            }
            // What a failed attempt has left there would be in the way of the next.
            tree::remove(&self.dir.join("work"))?;
            fs::create_dir(self.dir.join("work"))?;
        }
        if fs::create_dir(&self.copies_said).is_ok() {
            note(&format!(
                "overlayfs cannot be had ({}): every container of the pod gets a copy of its image",
                text::reason(failure)
            ));
        }
        let root = copied(&self.dir);
        fs::create_dir(&root)?;
        copy::layers(&self.layers, &root)?;
        self.copy_attributes(&root)?;
        let root = file_system::clone(CWD, &root)?;
        self.forbid_devices(&root)?;
        Ok(root)
    }

    /// The uppermost directory is what the container sees as `/`.
    fn copy_attributes(&self, root: &Path) -> io::Result<()> {
        let Some(layer) = self.layers.last() else {
            return Ok(());
        };
        let metadata = fs::metadata(layer)?;
        // Fails with ids that are not mapped; then the owner is as good as any.
        let _not_mapped = chown(root, Some(metadata.uid()), Some(metadata.gid()));
        fs::set_permissions(root, metadata.permissions())
    }

    /// Names of a few bytes for directories whose paths may be long: an option takes 255, and a page all of
    /// them. Kept open until the mount is made.
    fn overlay(&self, way: Way, staging: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &Path| openat(CWD, path, flags, Mode::empty());
        let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
        let mut lower = self
            .layers
            .iter()
            .rev()
            .map(|layer| open(layer))
            .collect::<Result<Vec<_>, _>>()?;
        if lower.is_empty() {
            let nothing = self.dir.join("nothing");
            let _there = fs::create_dir(&nothing);
            lower.push(open(&nothing)?);
        }
        let (upper, work) = (open(&upper(&self.dir))?, open(&self.dir.join("work"))?);
        let in_namespace = self.privilege != Privilege::Root;
        let Way::Layers { volatile } = way else {
            let layers: Vec<String> = lower.iter().map(name).collect();
            let mut options = format!(
                "lowerdir={},upperdir={},workdir={}",
                layers.join(":"),
                name(&upper),
                name(&work)
            );
            if in_namespace {
                options.push_str(",userxattr");
            }
            // The kernel would cut it, and mount what is left.
            if options.len() >= MAX_OPTIONS {
                return Err(Errno::TOOBIG);
            }
            let options = std::ffi::CString::new(options).map_err(|_nul| Errno::INVAL)?;
            mount(
                "overlay",
                staging,
                "overlay",
                self.flags(),
                Some(options.as_c_str()),
            )?;
            let root = file_system::clone(CWD, staging);
            unmount(staging, UnmountFlags::DETACH)?;
            return root;
        };
        let context = file_system::begin("overlay")?;
        for layer in &lower {
            fsconfig_set_string(&context, "lowerdir+", name(layer))?;
        }
        fsconfig_set_string(&context, "upperdir", name(&upper))?;
        fsconfig_set_string(&context, "workdir", name(&work))?;
        if in_namespace {
            fsconfig_set_flag(&context, "userxattr")?;
        }
        if volatile {
            fsconfig_set_flag(&context, "volatile")?;
        }
        let attributes = if self.devices {
            MountAttrFlags::empty()
        } else {
            MountAttrFlags::MOUNT_ATTR_NODEV
        };
        file_system::finish(&context, attributes)
    }

    const fn flags(&self) -> MountFlags {
        if self.devices {
            MountFlags::empty()
        } else {
            MountFlags::NODEV
        }
    }

    fn forbid_devices(&self, tree: &OwnedFd) -> Result<(), Errno> {
        if self.devices {
            return Ok(());
        }
        sys::forbid_devices(tree.as_fd())
    }

    /// Directories for the image's volumes, still empty, as mounts that hang nowhere yet.
    pub(super) fn make_volumes(&self, mounted: impl Fn(&Path) -> bool) -> io::Result<Vec<Volume>> {
        let all = self.dir.join("volumes");
        fs::create_dir(&all)?;
        let mut volumes = Vec::new();
        for (index, path) in self.volumes.iter().enumerate() {
            if mounted(path) {
                continue;
            }
            // Else all of the image would be copied first.
            if !path
                .components()
                .any(|part| matches!(part, Component::Normal(_)))
            {
                return Err(io::Error::other(
                    "volume of the image: cannot be mounted over /",
                ));
            }
            let dir = all.join(index.to_string());
            fs::create_dir(&dir)?;
            let tree = file_system::clone(CWD, &dir)?;
            self.forbid_devices(&tree)?;
            volumes.push(Volume {
                path: path.clone(),
                tree,
            });
        }
        Ok(volumes)
    }
}

/// A volume that the image asks for.
#[derive(Debug)]
pub(super) struct Volume {
    /// Where.
    pub(super) path: PathBuf,
    pub(super) tree: OwnedFd,
}

impl Volume {
    /// Fills it with what the image has there, before anything is mounted below.
    ///
    /// Upstream: containerd internal/cri/opts/container.go, WithVolumes.
    /// Shown by: volumes_of_the_image_begin_with_what_it_has_there.
    pub(super) fn fill(&self, root: &mut Root) -> io::Result<()> {
        let place = root.reach(&self.path, Kind::Dir)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let from = openat(&place.fd, ".", flags, Mode::empty())?;
        let to = openat(&self.tree, ".", flags, Mode::empty())?;
        copy::tree(&File::from(from), &File::from(to))
    }
}
