//! A container's root file system: that of its image, or of the host class, the host's own files, read-only.
//!
//! The order matters. What is taken from the host, volumes above all, is cloned while the host is still in
//! sight, and hangs nowhere. Then the root becomes `/`, and only then is everything put in place, where no
//! symlink leads out any more; last, what was writable for building becomes read-only.

use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use probelet_runtime::StartContainerError;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, OpenTreeFlags, UnmountFlags, mount_change, open_tree,
    unmount,
};
use rustix::process::{chdir, pivot_root};

use super::cgroup_view::{self, View};
use super::dev::{self, Dev};
use super::file_system::{self, NO_PROGRAMS};
use super::host_root::{self, Host};
use super::image_root::{self, Image};
use super::masked;
use super::mount_point::{Kind, Root};
use super::sub_path::SubPath;
use crate::{sys, text};

/// What a container's root is built from.
#[derive(Debug)]
pub(super) struct Plan {
    /// An empty directory to build on.
    pub(super) staging: PathBuf,
    pub(super) base: Base,
    /// Volumes, the file for last words, and files about the network.
    pub(super) mounts: Vec<Mount>,
    /// Made if missing.
    pub(super) working_dir: Option<PathBuf>,
    /// What is seen at `/dev/shm`.
    pub(super) shared_memory: PathBuf,
    /// Devices are made in `/dev`, not bound.
    pub(super) makes_devices: bool,
    /// Nothing is masked, and all devices are there.
    pub(super) privileged: bool,
    /// Nothing of `/proc` is masked or read-only.
    pub(super) unmasked: bool,
    /// Only volumes can be written to, `/dev` and what is below it.
    pub(super) read_only: bool,
    /// The processes to see are the host's.
    pub(super) host_processes: bool,
}

/// Where the files come from.
#[derive(Debug)]
pub(super) enum Base {
    Host(Host),
    Image(Image),
}

/// A directory or file of the host, or the pod's, in one place.
#[derive(Debug)]
pub(super) struct Mount {
    /// For errors.
    pub(super) what: String,
    pub(super) source: PathBuf,
    /// Only a part of it.
    pub(super) sub_path: Option<SubPath>,
    pub(super) target: PathBuf,
    pub(super) read_only: bool,
    /// A device in it is more than a name.
    pub(super) devices: bool,
}

/// Which step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RootfsError {
    #[error("{step}: {}", text::of_io(.source))]
    Step {
        step: String,
        source: std::io::Error,
    },
    /// Of what is done while the container is made, before it is started.
    #[error("{step}: {}", text::of_io(.source))]
    Image {
        step: String,
        source: std::io::Error,
    },
    #[error("{what}: \"{}\" cannot be mounted because it is inside /proc", .target.display())]
    InsideProc { what: String, target: PathBuf },
    #[error("{0}: cannot be mounted over /")]
    OverRoot(String),
    #[error("{0}")]
    SubPath(String),
    /// An image may not lead the kernel's own file systems elsewhere by a symlink.
    ///
    /// Upstream: runc libcontainer/rootfs_linux.go, mountToRootfs.
    /// Shown by: hostile_images_stay_inside.
    #[error("filesystem \"{0}\" must be mounted on ordinary directory")]
    NotOrdinary(&'static str),
}

impl From<RootfsError> for StartContainerError {
    fn from(error: RootfsError) -> Self {
        let text = error.to_string();
        match error {
            RootfsError::SubPath(_) => Self::Config(text),
            RootfsError::Image { .. } => Self::Create(text),
            RootfsError::Step { .. }
            | RootfsError::InsideProc { .. }
            | RootfsError::OverRoot(_)
            | RootfsError::NotOrdinary(_) => Self::Start(text),
        }
    }
}

pub(super) type Done<T = ()> = Result<T, RootfsError>;

/// Adds to an error what was being done.
pub(super) trait During<T> {
    fn during<S: Display>(self, step: impl FnOnce() -> S) -> Done<T>;
}

impl<T, E: Into<std::io::Error>> During<T> for Result<T, E> {
    fn during<S: Display>(self, step: impl FnOnce() -> S) -> Done<T> {
        self.map_err(|source| RootfsError::Step {
            step: step().to_string(),
            source: source.into(),
        })
    }
}

/// File systems of the kernel's that are put in place later: in a user namespace they can be mounted only
/// while the host's are in sight.
struct Kernels {
    proc: OwnedFd,
    /// Of the host class, that of the host is there already.
    sys: Option<(OwnedFd, View)>,
    dev: Dev,
}

/// Builds the root and enters it. To be called once, by the first process of a fresh mount namespace and
/// a fresh pid namespace.
pub(super) fn enter(plan: &Plan) -> Done {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .during(|| "make mounts private")?;
    let trees = plan
        .mounts
        .iter()
        .map(Mount::take)
        .collect::<Done<Vec<_>>>()?;
    let kernels = Kernels::take(plan)?;
    match &plan.base {
        Base::Host(host) => {
            let kept = host.keep()?;
            host_root::build(&plan.staging, plan.privileged)?;
            change_root(&plan.staging)?;
            let mut root = Root::here(true).during(|| "open /")?;
            kernels.put(&mut root)?;
            host.finish(&mut root, kept, plan.read_only)?;
            put_all(plan, trees, Vec::new(), &mut root)?;
            root.scaffold
                .push(open_mount(Path::new("/")).during(|| "open /")?);
            for tree in &root.scaffold {
                sys::set_read_only(tree.as_fd(), false).during(|| "make the root read-only")?;
            }
            Ok(())
        }
        Base::Image(image) => {
            let is_covered =
                |path: &Path| plan.mounts.iter().any(|mount| same(&mount.target, path));
            let tree = image
                .mount(&plan.staging)
                .during(|| "mount the image's layers")?;
            let volumes = image
                .make_volumes(is_covered)
                .map_err(|source| RootfsError::Image {
                    step: "make the image's volumes".to_owned(),
                    source,
                })?;
            open_mount(&plan.staging)
                .and_then(|place| file_system::attach(&tree, place))
                .during(|| "mount the image")?;
            drop(tree);
            change_root(&plan.staging)?;
            let mut root = Root::here(false).during(|| "open /")?;
            for volume in &volumes {
                volume
                    .fill(&mut root)
                    .map_err(|source| RootfsError::Image {
                        step: format!("copy the image's volume {}", volume.path.display()),
                        source,
                    })?;
            }
            kernels.put(&mut root)?;
            put_all(plan, trees, volumes, &mut root)?;
            if plan.read_only {
                sys::set_read_only(root.dir().as_fd(), false)
                    .during(|| "make the root read-only")?;
            }
            Ok(())
        }
    }
}

impl Mount {
    /// What is to be mounted, as the shim sees it, as a mount that hangs nowhere yet.
    fn take(&self) -> Done<OwnedFd> {
        if self.target.starts_with("/proc") {
            return Err(self.inside_proc());
        }
        let step = || format!("{}: bind {}", self.what, self.source.display());
        let tree = match &self.sub_path {
            Some(part) => {
                let part = part.open(&self.source).map_err(RootfsError::SubPath)?;
                file_system::clone(part, "").during(step)?
            }
            None => file_system::clone(CWD, &self.source).during(step)?,
        };
        if !self.devices {
            sys::forbid_devices(tree.as_fd()).during(step)?;
        }
        if self.read_only {
            sys::set_read_only(tree.as_fd(), true).during(step)?;
        }
        Ok(tree)
    }

    fn inside_proc(&self) -> RootfsError {
        RootfsError::InsideProc {
            what: self.what.clone(),
            target: self.target.clone(),
        }
    }

    fn put(&self, tree: &OwnedFd, root: &mut Root) -> Done {
        if self.target.starts_with("/proc") {
            return Err(self.inside_proc());
        }
        let step = || format!("{}: mount at {}", self.what, self.target.display());
        let kind = Kind::of(tree).during(step)?;
        let place = root.reach(&self.target, kind).during(step)?;
        if place.is_inside_proc() {
            return Err(self.inside_proc());
        }
        if place.is_root() {
            return Err(RootfsError::OverRoot(self.what.clone()));
        }
        file_system::attach(tree, place.fd).during(step)
    }
}

impl Kernels {
    fn take(plan: &Plan) -> Done<Self> {
        let proc = file_system::make("proc", &[], NO_PROGRAMS);
        let proc = match proc {
            // In a user namespace that has not made the pid namespace.
            Err(Errno::PERM) if plan.host_processes => file_system::clone(CWD, "/proc"),
            proc => proc,
        };
        let sys = match &plan.base {
            Base::Host(_) => None,
            Base::Image(_) => {
                let sys = take_sys(plan.privileged).during(|| "mount /sys")?;
                Some((sys, cgroup_view::take(plan.privileged)))
            }
        };
        let dev = dev::take(&dev::Wanted {
            all: plan.privileged,
            made: plan.makes_devices,
            shared_memory: &plan.shared_memory,
        });
        Ok(Self {
            proc: proc.during(|| "mount /proc")?,
            sys,
            dev: dev.during(|| "make /dev")?,
        })
    }

    fn put(&self, root: &mut Root) -> Done {
        let place = ordinary(root, "proc")?;
        file_system::attach(&self.proc, place).during(|| "mount /proc")?;
        if let Some((sys, cgroups)) = &self.sys {
            let place = ordinary(root, "sys")?;
            file_system::attach(sys, place).during(|| "mount /sys")?;
            cgroups.put(root).during(|| "mount control groups")?;
        }
        let place = ordinary(root, "dev")?;
        self.dev.put(place).during(|| "make /dev")
    }
}

fn ordinary(root: &mut Root, name: &'static str) -> Done<OwnedFd> {
    match root.ordinary_dir(name) {
        Err(Errno::NOTDIR) => Err(RootfsError::NotOrdinary(name)),
        place => place.during(|| format!("make /{name}")),
    }
}

/// A view of the pod's own network namespace, or, where that is somebody else's, the host's.
fn take_sys(writable: bool) -> Result<OwnedFd, Errno> {
    let tree = match file_system::make("sysfs", &[], NO_PROGRAMS) {
        Err(Errno::PERM) => file_system::clone(CWD, "/sys")?,
        made => made?,
    };
    if !writable {
        sys::set_read_only(tree.as_fd(), true)?;
    }
    Ok(tree)
}

/// Leaves the host's files for none at all. To be called once, in a fresh mount namespace; `staging` is an empty
/// directory.
pub(super) fn enter_nothing(staging: &Path) -> Done {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .during(|| "make mounts private")?;
    let read_only = NO_PROGRAMS | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let nothing = file_system::make("tmpfs", &[("mode", "0555"), ("size", "4k")], read_only)
        .during(|| "make an empty root")?;
    open_mount(staging)
        .and_then(|place| file_system::attach(&nothing, place))
        .during(|| "mount an empty root")?;
    change_root(staging)
}

/// Makes what is mounted at `staging` the root, and lets go of the old one.
fn change_root(staging: &Path) -> Done {
    chdir(staging).during(|| "enter the new root")?;
    // Both names the same: the old root ends up mounted over the new one, from where it is detached.
    pivot_root(".", ".").during(|| "pivot_root")?;
    unmount(".", UnmountFlags::DETACH).during(|| "detach the host's root")?;
    chdir("/").during(|| "enter the new root")
}

/// Everything that is the same for every root. Shallow paths first: one volume may be mounted below another.
fn put_all(
    plan: &Plan,
    trees: Vec<OwnedFd>,
    volumes: Vec<image_root::Volume>,
    root: &mut Root,
) -> Done {
    if !plan.privileged && !plan.unmasked {
        masked::apply(root).map_err(|(path, errno)| RootfsError::Step {
            step: format!("mask /{path}"),
            source: errno.into(),
        })?;
    }
    let volumes = volumes.into_iter().map(|volume| {
        let mount = Mount {
            what: "volume of the image".to_owned(),
            source: PathBuf::new(),
            sub_path: None,
            target: volume.path,
            read_only: false,
            devices: true,
        };
        (mount, volume.tree)
    });
    let volumes: Vec<(Mount, OwnedFd)> = volumes.collect();
    let mut in_order: Vec<(&Mount, &OwnedFd)> = plan.mounts.iter().zip(&trees).collect();
    in_order.extend(volumes.iter().map(|(mount, tree)| (mount, tree)));
    in_order.sort_by_key(|(mount, _)| mount.target.components().count());
    for (mount, tree) in in_order {
        mount.put(tree, root)?;
    }
    if let Some(dir) = &plan.working_dir {
        match root.reach(dir, Kind::Dir) {
            // Said by who goes there.
            Ok(_) | Err(Errno::NOTDIR) => {}
            Err(errno) => {
                let step = || format!("make working directory {}", dir.display());
                return Err(errno).during(step);
            }
        }
    }
    Ok(())
}

fn same(one: &Path, other: &Path) -> bool {
    one.components().eq(other.components())
}

/// What is mounted at `path` itself, uncopied.
pub(super) fn open_mount(path: &Path) -> Result<OwnedFd, Errno> {
    open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLOEXEC)
}
