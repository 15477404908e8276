//! The part of a volume that a `subPath` names: opened below the volume by the kernel, so that no symlink in
//! it leads out, whoever changes it meanwhile.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fchmod, fstat, mkdirat, openat, openat2};
use rustix::io::{Errno, Result};

use super::note;
use crate::text;

/// What of which volume is wanted, for whom.
#[derive(Debug)]
pub(super) struct SubPath {
    /// The volume's name.
    pub(super) volume: String,
    /// The container's name.
    pub(super) container: String,
    /// Relative to the volume.
    pub(super) path: String,
}

impl SubPath {
    /// The file or directory, of a volume that is at `volume`. A directory is made if nothing is there, with
    /// the mode of the volume itself.
    ///
    /// What went wrong is said in the pod's log alone, as it may tell of the host.
    ///
    /// Upstream: kubelet pkg/kubelet/kubelet_pods.go, makeMounts; pkg/volume/util/subpath/subpath_linux.go,
    /// SafeMakeDir and PrepareSafeSubpath.
    /// Shown by: a_sub_path_is_made_and_mounted, no_sub_path_leads_out_of_its_volume.
    pub(super) fn open(&self, volume: &Path) -> std::result::Result<OwnedFd, String> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = openat(CWD, volume, flags, Mode::empty()).and_then(|volume| {
            let found = below(&volume, Path::new(&self.path));
            Ok((volume, found?))
        });
        match found {
            Ok((_, found)) => return Ok(found),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(self.failed("prepare subPath", errno)),
        }
        let made = openat(CWD, volume, flags | OFlags::DIRECTORY, Mode::empty())
            .and_then(|volume| make(&volume, Path::new(&self.path)));
        made.map_err(|errno| self.failed("create subPath directory", errno))
    }

    fn failed(&self, what: &str, errno: Errno) -> String {
        let Self {
            volume,
            container,
            path,
        } = self;
        note(&format!(
            "container {container}: subPath \"{path}\" of volume \"{volume}\": {}",
            text::reason(errno)
        ));
        format!("failed to {what} for volumeMount \"{volume}\" of container \"{container}\"")
    }
}

fn below(volume: &OwnedFd, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(volume, path, flags, Mode::empty(), resolve) {
            // Something was renamed while the kernel made sure.
            Err(Errno::AGAIN) => {}
            opened => return opened,
        }
    }
}

/// One directory after the other, each below what has been made sure of.
fn make(volume: &OwnedFd, path: &Path) -> Result<OwnedFd> {
    let mode = Mode::from_raw_mode(fstat(volume)?.st_mode & 0o7777);
    let mut so_far = std::path::PathBuf::new();
    let mut at = below(volume, Path::new("."))?;
    for component in path.components() {
        let name = match component {
            Component::Normal(name) => name,
            Component::CurDir => continue,
            _ => return Err(Errno::XDEV),
        };
        so_far.push(name);
        at = match below(volume, &so_far) {
            Err(Errno::NOENT) => {
                make_dir(&at, name, mode)?;
                below(volume, &so_far)?
            }
            found => found?,
        };
    }
    Ok(at)
}

fn make_dir(parent: &OwnedFd, name: &OsStr, mode: Mode) -> Result<()> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        // Made by another container at the same time, or a symlink that leads nowhere, which is said next.
        Err(Errno::EXIST) => return Ok(()),
        made => made?,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Whatever the umask.
    fchmod(
        openat(parent.as_fd(), name, flags, Mode::empty())?.as_fd(),
        mode,
    )
}
