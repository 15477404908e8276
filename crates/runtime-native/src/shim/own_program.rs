//! The shim's own program, which containers see for a moment.
//!
//! Until one of its children executes a container's program, `/proc/self/exe` is this program, a file of the host;
//! an image whose command is `/proc/self/exe` gets hold of it, and user 0 could change its mode or, on some kernels,
//! what is in it. So the shim executes itself once more, from a mount that is read-only and hangs nowhere: whoever
//! comes to the file from a process of the shim's comes to it through that mount.
//!
//! Upstream: runc libcontainer/dmz, CloneSelfExe (CVE-2019-5736), which has a sealed copy of itself.
//! Differs: a read-only mount of the same file, as a copy would count as every shim's own memory.
//! Shown by: the_shims_program_is_not_changed.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, fstat, fstatvfs, openat};
use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::thread::{UnshareFlags, set_name};

use super::file_system;
use crate::sys::{self, Fresh, StringTable};
use crate::wire;

const SELF: &str = "/proc/self/exe";
/// The exit code of a child that could not make namespaces; no errno.
const NO_NAMESPACE: i32 = 255;

/// Executes this program once more, read-only, or returns if it is so already. To be called before anything else, by
/// a process with one thread.
///
/// Also returns where no user namespace can be made, as then no pod can be, for which there are better words.
pub(super) fn protect() -> io::Result<()> {
    let program = open(SELF)?;
    if is_read_only(&program)? {
        // It is called by the number of a descriptor now.
        let name = std::env::args_os().next().unwrap_or_default();
        let name = Path::new(&name).file_name().unwrap_or(OsStr::new("shim"));
        set_name(&CString::new(name.as_bytes())?)?;
        return Ok(());
    }
    let read_only = match read_only(&program) {
        Err(Errno::PERM) => match read_only_from_namespace(&program)? {
            Some(mount) => mount,
            None => return Ok(()),
        },
        mount => mount?,
    };
    if !is_read_only(&read_only)? {
        return Err(io::Error::other("the program could not be made read-only"));
    }
    let path = CString::new(format!("/proc/self/fd/{}", read_only.as_raw_fd()))?;
    let word = |word: OsString| CString::new(word.into_vec());
    let args = std::env::args_os().map(word);
    let env = std::env::vars_os().map(|(name, value)| {
        let mut entry = name;
        entry.push("=");
        entry.push(value);
        word(entry)
    });
    let args = StringTable::new(args.collect::<std::result::Result<_, _>>()?);
    let env = StringTable::new(env.collect::<std::result::Result<_, _>>()?);
    Err(sys::execve(&path, &args, &env).into())
}

fn open(path: impl rustix::path::Arg) -> Result<OwnedFd> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

fn is_read_only(file: &OwnedFd) -> Result<bool> {
    Ok(fstatvfs(file)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn read_only(program: &OwnedFd) -> Result<OwnedFd> {
    let mount = file_system::clone(program, "")?;
    sys::set_read_only(mount.as_fd(), false)?;
    Ok(mount)
}

/// The same without root: a child in namespaces of its own makes the mount, and passes it on. `None` if it cannot
/// make those.
fn read_only_from_namespace(program: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let path = std::fs::read_link(SELF)?;
    let (near, far) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let pass = || {
        // That of the new mount namespace.
        let same = open(&path)?;
        let (one, other) = (fstat(program)?, fstat(&same)?);
        if (one.st_dev, one.st_ino) != (other.st_dev, other.st_ino) {
            return Err(Errno::STALE);
        }
        wire::send(far.as_fd(), &[wire::LAST], &[read_only(&same)?])
    };
    let child = sys::fork(Fresh::Nothing, || {
        match sys::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) {
            Ok(()) => pass().map_or_else(Errno::raw_os_error, |()| 0),
            Err(_) => NO_NAMESPACE,
        }
    })?;
    let ended = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)?;
    match ended.and_then(|status| status.exit_status()) {
        Some(0) => {}
        Some(NO_NAMESPACE) => return Ok(None),
        Some(code) => return Err(io::Error::from_raw_os_error(code)),
        None => {
            return Err(io::Error::other(
                "the child that makes it read-only was killed",
            ));
        }
    }
    let mut mounts = Vec::new();
    wire::receive_packet(near.as_fd(), &mut [0; 1], &mut mounts)?;
    mounts
        .pop()
        .map(Some)
        .ok_or_else(|| io::ErrorKind::BrokenPipe.into())
}
