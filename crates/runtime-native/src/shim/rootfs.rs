//! A container's root file system of the host class: the host's own files, read-only, with what must be
//! private made afresh and volumes on top.
//!
//! The order matters. Volumes are cloned while the host is still in sight; then the new root is built and
//! becomes `/`; then volumes are put in place, so that the kernel resolves mount paths, symlinks and all,
//! in the container's own root; then everything that was writable for building becomes read-only.

use std::ffi::{CStr, OsString};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, stat};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_bind, mount_change, mount_remount, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::mount_point::{self, Entry, Kind};
use crate::{sys, text};

/// What a container's root is built from.
#[derive(Debug)]
pub(super) struct Plan {
    /// An empty directory to build on.
    pub(super) staging: PathBuf,
    /// Host directories of which the container sees nothing.
    pub(super) hidden: Vec<PathBuf>,
    /// What of the host's `/run` stays readable.
    pub(super) kept_run_file: Option<PathBuf>,
    /// Volumes, and the file for last words.
    pub(super) mounts: Vec<Mount>,
    /// Made if missing.
    pub(super) working_dir: Option<PathBuf>,
}

/// A directory or file of the host, or the pod's, in one place.
#[derive(Debug)]
pub(super) struct Mount {
    /// For errors.
    pub(super) what: String,
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
    pub(super) read_only: bool,
}

/// Which step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RootfsError {
    #[error("{step}: {}", text::of_io(.source))]
    Step {
        step: String,
        source: std::io::Error,
    },
    #[error("{what}: \"{}\" cannot be mounted because it is inside /proc", .target.display())]
    InsideProc { what: String, target: PathBuf },
}

type Done<T = ()> = Result<T, RootfsError>;

/// Adds to an error what was being done.
trait During<T> {
    fn during(self, step: impl FnOnce() -> String) -> Done<T>;
}

impl<T, E: Into<std::io::Error>> During<T> for Result<T, E> {
    fn during(self, step: impl FnOnce() -> String) -> Done<T> {
        self.map_err(|source| RootfsError::Step {
            step: step(),
            source: source.into(),
        })
    }
}

/// Builds the root and enters it. To be called once, by the first process of a fresh mount namespace and
/// a fresh pid namespace.
pub(super) fn enter(plan: &Plan) -> Done {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .during(|| "make mounts private".into())?;
    let volumes = plan
        .mounts
        .iter()
        .map(clone_volume)
        .collect::<Done<Vec<_>>>()?;
    let kept = plan
        .kept_run_file
        .as_ref()
        .map(|file| clone(file).map(|tree| (file, tree)))
        .transpose();
    let kept = kept.during(|| "keep resolv.conf".into())?;
    let host = take_host()?;

    tmpfs(
        &plan.staging,
        c"mode=0755,size=1m",
        MountFlags::NOSUID | MountFlags::NODEV,
    )?;
    for (name, entry) in host {
        let step = || format!("bind /{}", name.display());
        entry.put(&plan.staging.join(&name)).during(step)?;
    }
    make_private(&plan.staging)?;
    for hidden in &plan.hidden {
        hide(&below(&plan.staging, hidden))?;
    }
    chdir(&plan.staging).during(|| "enter the new root".into())?;
    // Both names the same: the old root ends up mounted over the new one, from where it is detached.
    pivot_root(".", ".").during(|| "pivot_root".into())?;
    unmount(".", UnmountFlags::DETACH).during(|| "detach the host's root".into())?;
    chdir("/").during(|| "enter the new root".into())?;

    let mut scaffold = Vec::new();
    if let Some((file, tree)) = kept {
        put(&tree, file, Kind::File, &mut scaffold)
            .during(|| format!("keep {}", file.display()))?;
        sys::set_read_only(tree.as_fd(), true).during(|| format!("keep {}", file.display()))?;
    }
    put_volumes(plan, volumes, &mut scaffold)?;
    if let Some(dir) = &plan.working_dir {
        mount_point::ensure(dir, Kind::Dir, &mut scaffold)
            .during(|| format!("make working directory {}", dir.display()))?;
    }
    scaffold.push(open_mount(Path::new("/")).during(|| "open /".into())?);
    for tree in &scaffold {
        sys::set_read_only(tree.as_fd(), false).during(|| "make the root read-only".into())?;
    }
    Ok(())
}

/// What of the host is not bind mounted: made afresh, or not at all.
const OWN: [&str; 4] = ["proc", "dev", "tmp", "run"];

/// Every entry of the host's root, read-only, with its name.
///
/// Taken before anything is mounted: the place to build on is somewhere below one of them, and would
/// come along.
fn take_host() -> Done<Vec<(OsString, Entry)>> {
    let mut taken = Vec::new();
    for entry in fs::read_dir("/").during(|| "list /".into())? {
        let entry = entry.during(|| "list /".into())?;
        let (host, name) = (entry.path(), entry.file_name());
        if OWN.iter().any(|own| name == *own) {
            continue;
        }
        let step = || format!("bind {}", host.display());
        if let Some(entry) = Entry::take(CWD, &host).during(step)? {
            entry.set_read_only().during(step)?;
            taken.push((name, entry));
        }
    }
    Ok(taken)
}

/// `/proc`, `/dev`, `/tmp`, `/run` and `/var/tmp`.
fn make_private(root: &Path) -> Done {
    let ordinary = MountFlags::NOSUID | MountFlags::NODEV;
    for (name, options) in [
        ("tmp", c"mode=1777"),
        ("run", c"mode=0755"),
        ("proc", c""),
        ("dev", c"mode=0755,size=64k"),
    ] {
        let place = root.join(name);
        fs::create_dir(&place).during(|| format!("make /{name}"))?;
        match name {
            "proc" => {
                mount("proc", &place, "proc", ordinary | MountFlags::NOEXEC, None)
                    .during(|| "mount /proc".into())?;
                protect_proc(&place)?;
            }
            "dev" => tmpfs(&place, options, MountFlags::NOSUID)?,
            _ => tmpfs(&place, options, ordinary)?,
        }
    }
    let var_tmp = root.join("var/tmp");
    // On some hosts a symlink, which leads to the private /tmp anyway.
    if fs::symlink_metadata(&var_tmp).is_ok_and(|found| found.is_dir()) {
        tmpfs(&var_tmp, c"mode=1777", ordinary)?;
    }
    make_dev(&root.join("dev"))
}

/// Makes the parts of /proc read-only that are the whole host's, as containerd and Docker do: writing to
/// some of them asks for no capability but for user 0.
fn protect_proc(proc: &Path) -> Done {
    let read_only = MountFlags::BIND
        | MountFlags::RDONLY
        | MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC;
    for name in ["bus", "fs", "irq", "sys", "sysrq-trigger"] {
        let place = proc.join(name);
        if place.exists() {
            let step = || format!("make /proc/{name} read-only");
            mount_bind(&place, &place).during(step)?;
            mount_remount(&place, read_only, "").during(step)?;
        }
    }
    Ok(())
}

fn make_dev(dev: &Path) -> Done {
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let host = Path::new("/dev").join(name);
        let step = || format!("bind {}", host.display());
        if let Some(entry) = Entry::take(CWD, &host).during(step)? {
            entry.put(&dev.join(name)).during(step)?;
        }
    }
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ];
    for (name, target) in links {
        symlink(target, dev.join(name)).during(|| format!("link /dev/{name}"))?;
    }
    let pts = dev.join("pts");
    fs::create_dir(&pts).during(|| "make /dev/pts".into())?;
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    mount(
        "devpts",
        &pts,
        "devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        Some(options),
    )
    .during(|| "mount /dev/pts".into())?;
    let shm = dev.join("shm");
    fs::create_dir(&shm).during(|| "make /dev/shm".into())?;
    tmpfs(
        &shm,
        c"mode=1777,size=64m",
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
    )
}

/// An empty read-only directory over a host directory, if that can be seen at all.
fn hide(place: &Path) -> Done {
    if fs::symlink_metadata(place).is_ok_and(|found| found.is_dir()) {
        tmpfs(
            place,
            c"mode=0555,size=4k",
            MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RDONLY,
        )?;
    }
    Ok(())
}

/// The volume as the shim sees it, as a mount that hangs nowhere yet.
fn clone_volume(mount: &Mount) -> Done<OwnedFd> {
    if mount.target.starts_with("/proc") {
        return Err(RootfsError::InsideProc {
            what: mount.what.clone(),
            target: mount.target.clone(),
        });
    }
    let step = || format!("{}: bind {}", mount.what, mount.source.display());
    let tree = clone(&mount.source).during(step)?;
    if mount.read_only {
        sys::set_read_only(tree.as_fd(), true).during(step)?;
    }
    Ok(tree)
}

/// Shallow paths first: one volume may be mounted below another.
fn put_volumes(plan: &Plan, trees: Vec<OwnedFd>, scaffold: &mut Vec<OwnedFd>) -> Done {
    let mut in_order: Vec<(&Mount, OwnedFd)> = plan.mounts.iter().zip(trees).collect();
    in_order.sort_by_key(|(mount, _)| mount.target.components().count());
    for (mount, tree) in in_order {
        let step = || format!("{}: mount at {}", mount.what, mount.target.display());
        let is_dir =
            rustix::fs::fstat(&tree).map(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
        let kind = if is_dir.during(step)? {
            Kind::Dir
        } else {
            Kind::File
        };
        put(&tree, &mount.target, kind, scaffold).during(step)?;
    }
    Ok(())
}

fn put(
    tree: &OwnedFd,
    target: &Path,
    kind: Kind,
    scaffold: &mut Vec<OwnedFd>,
) -> Result<(), Errno> {
    mount_point::ensure(target, kind, scaffold)?;
    // Said here, as the kernel would only call it an invalid argument.
    let is_dir = FileType::from_raw_mode(stat(target)?.st_mode).is_dir();
    match kind {
        Kind::Dir if !is_dir => return Err(Errno::NOTDIR),
        Kind::File if is_dir => return Err(Errno::ISDIR),
        Kind::Dir | Kind::File => {}
    }
    move_mount(
        tree,
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS,
    )
}

/// A copy of what is mounted at `path` and below it.
fn clone(path: &Path) -> Result<OwnedFd, Errno> {
    open_tree(
        CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE,
    )
}

/// The mount at `path` itself.
pub(super) fn open_mount(path: &Path) -> Result<OwnedFd, Errno> {
    open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLOEXEC)
}

fn tmpfs(place: &Path, options: &CStr, flags: MountFlags) -> Done {
    mount("tmpfs", place, "tmpfs", flags, Some(options))
        .during(|| format!("mount {}", place.display()))
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The host's resolv.conf, if it is a file below `/run` that `/etc/resolv.conf` leads to.
pub(super) fn resolv_conf_in_run() -> Option<PathBuf> {
    let file = fs::canonicalize("/etc/resolv.conf").ok()?;
    file.starts_with("/run").then_some(file)
}
