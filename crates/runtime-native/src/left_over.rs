//! What runs on of a pod whose shim is dead, and its end.
//!
//! The death of a shim ends every process that the kernel has been told to end with it: the first of each container
//! and its main one. In a pid namespace of the container's or the pod's that is the end of all others; among the
//! host's processes it is not, and a program that changes its user by its file forgets it. So whatever is still in
//! the pod's cgroups is killed, and whatever sees a container's files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use probelet_model::time::Mono;
use rustix::event::poll;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use crate::cgroup;
use crate::layout::PodDir;
use crate::protocol::ShimConfig;
use crate::{clock, process};

/// How long to wait before looking again whether what was killed has ended.
const PAUSE: Duration = Duration::from_millis(2);

/// Kills all that runs of a pod, until there is nothing or `deadline` has passed. Blocks.
///
/// # Errors
///
/// If something cannot be killed, as a process that waits for a disk.
pub(crate) fn end(dir: &PodDir, config: &ShimConfig, deadline: Mono) -> io::Result<()> {
    let (cgroups, uid) = (&config.cgroups, &config.pod.uid);
    let namespaces = config.pod.namespaces;
    // Elsewhere the end of a container's first process is the end of all.
    let mark = (namespaces.host_pid || namespaces.one_pid)
        .then(|| Mark::of(&dir.messages()))
        .flatten();
    let look = || {
        let mut found = cgroups.processes(uid);
        found.extend(mark.iter().flat_map(Mark::processes));
        found
    };
    cgroups.kill_pod(uid);
    loop {
        let handles: Vec<_> = look().into_iter().filter_map(handle).collect();
        // Until there was a handle the number may have become another's, so only who is found again is meant.
        let found = look();
        let Some(first) = found.first() else {
            return Ok(());
        };
        if clock::mono() >= deadline {
            return Err(io::Error::other(format!(
                "{} of its processes cannot be killed, among them {first}",
                found.len()
            )));
        }
        for (_, handle) in handles.iter().filter(|(pid, _)| found.contains(pid)) {
            process::signal(handle, Signal::KILL);
        }
        let _interrupted = poll(&mut [], Some(&clock::until(clock::mono() + PAUSE)));
    }
}

fn handle(pid: i32) -> Option<(i32, OwnedFd)> {
    let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    Some((pid, handle))
}

/// By what a mount namespace of the pod's containers is known: the file for a run's last words is mounted in each,
/// and no other has it.
///
/// The number of a namespace says nothing once its last process and the shim, who held it, are gone: the kernel gives
/// it to the next.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    /// As mountinfo has it.
    device: String,
    /// Where those files are on it.
    root: PathBuf,
}

impl Mark {
    /// Of the directory with those files; `None` if there is none.
    fn of(messages: &Path) -> Option<Self> {
        let dir = File::open(messages).ok()?;
        let at = |what: &str| format!("/proc/self/{what}/{}", dir.as_raw_fd());
        let path = fs::read_link(at("fd")).ok()?;
        let about = fs::read_to_string(at("fdinfo")).ok()?;
        let mount = about
            .lines()
            .find_map(|line| line.strip_prefix("mnt_id:"))?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::in_mounts(&mounts, mount.trim(), &path)
    }

    fn in_mounts(mounts: &str, mount: &str, path: &Path) -> Option<Self> {
        let mut lines = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let line = lines.find(|line| line.first() == Some(&mount))?;
        let path_of = |field: usize| line.get(field).map(|text| cgroup::unescaped(text));
        Some(Self {
            device: (*line.get(2)?).to_owned(),
            root: Path::new(&path_of(3)?).join(path.strip_prefix(path_of(4)?).ok()?),
        })
    }

    /// Whether one of them is mounted.
    fn is_in(&self, mounts: &str) -> bool {
        mounts.lines().any(|line| {
            let mut fields = line.split(' ').skip(2);
            fields.next() == Some(&self.device)
                && fields
                    .next()
                    .is_some_and(|root| Path::new(&cgroup::unescaped(root)).starts_with(&self.root))
        })
    }

    /// Who sees one of them, or is in the mount namespace of somebody who does: who has changed its root need not see
    /// what is mounted.
    fn processes(&self) -> BTreeSet<i32> {
        let own = files_of("self");
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let all: Vec<(i32, Option<PathBuf>)> = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .map(|pid: i32| (pid, files_of(&pid.to_string())))
            // Most of a host's processes are where this one is.
            .filter(|(_, files)| files.is_none() || *files != own)
            .collect();
        let sees = |pid: &i32| {
            let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"));
            mounts.is_ok_and(|mounts| self.is_in(&mounts))
        };
        let (seeing, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(pid, _)| sees(pid));
        let theirs: BTreeSet<_> = seeing
            .iter()
            .filter_map(|(_, files)| files.as_ref())
            .collect();
        let beside = others
            .iter()
            .filter(|(_, files)| files.as_ref().is_some_and(|files| theirs.contains(files)));
        seeing.iter().chain(beside).map(|(pid, _)| *pid).collect()
    }
}

/// The mount namespace of a process, if it has one and we may know.
fn files_of(pid: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "\
25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
31 25 8:2 /@var /var rw - btrfs /dev/sda2 rw
";

    #[test]
    fn a_mount_of_the_last_words_of_a_run_gives_its_container_away() {
        let messages = Path::new("/var/lib/a b/run/u/messages");
        let mark = Mark::in_mounts(HOST, "31", messages).unwrap();
        let expected = Mark {
            device: "8:2".to_owned(),
            root: "/@var/lib/a b/run/u/messages".into(),
        };
        assert_eq!(mark, expected);
        let line = |device: &str, root: &str| {
            format!("70 69 {device} {root} /dev/termination-log rw - btrfs /dev/sda2 rw\n")
        };
        let rows = [
            ("8:2", r"/@var/lib/a\040b/run/u/messages/c", true),
            ("8:2", r"/@var/lib/a\040b/run/u/messages/c//deleted", true),
            ("8:1", r"/@var/lib/a\040b/run/u/messages/c", false),
            ("8:2", r"/@var/lib/a\040b/run/u2/messages/c", false),
            ("8:2", r"/@var/lib/a\040b/run/u/volumes/v", false),
        ];
        for (device, root, expected) in rows {
            let mounts = format!("{HOST}{}", line(device, root));
            assert_eq!(mark.is_in(&mounts), expected, "{device} {root}");
        }
        assert!(!mark.is_in(HOST));
        assert_eq!(Mark::in_mounts(HOST, "7", messages), None);
    }

    #[test]
    fn nobody_sees_what_is_mounted_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let mark = Mark::of(dir.path()).unwrap();
        assert_eq!(mark.processes(), BTreeSet::new());
        assert_eq!(Mark::of(&dir.path().join("none")), None);
    }
}
