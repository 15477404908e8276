//! Pseudo terminals of a container's own devpts, so that programs find theirs under its name.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Result;
use rustix::mount::mount_bind;
use rustix::process::Pid;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};

/// Both ends of one.
#[derive(Debug)]
pub(super) struct Terminal {
    /// What the user's terminal, or whoever stands for it, reads and writes; non-blocking.
    pub(super) near: OwnedFd,
    /// What a program takes for its terminal.
    pub(super) far: OwnedFd,
}

impl Terminal {
    /// One of the container that the calling process is in.
    pub(super) fn here() -> Result<Self> {
        Self::below(&root_at(Path::new("/"))?)
    }

    /// One of the container whose first process this is, a child of the caller that has not been reaped.
    pub(super) fn of_container(init: Pid) -> Result<Self> {
        let init = PathBuf::from(format!("/proc/{}/root", init.as_raw_nonzero()));
        Self::below(&root_at(&init)?)
    }

    /// Where a link below `root` leads is the container's to say, so none is followed.
    fn below(root: &OwnedFd) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let near = openat2(root, "dev/pts/ptmx", flags, Mode::empty(), resolve)?;
        unlockpt(&near)?;
        // Not by its name, which in this process's own devpts may be another's.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let far = ioctl_tiocgptpeer(&near, flags)?;
        Ok(Self { near, far })
    }
}

fn root_at(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

/// Makes a terminal the `/dev/console` of the container that the calling process is in.
///
/// Upstream: runc libcontainer/console_linux.go, mountConsole.
/// Shown by: a_container_may_run_on_a_terminal.
pub(super) fn mount_console(far: BorrowedFd<'_>) -> Result<()> {
    let console = "/dev/console";
    let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(CWD, console, flags, Mode::from_raw_mode(0o600))?;
    mount_bind(format!("/proc/self/fd/{}", far.as_raw_fd()), console)
}
