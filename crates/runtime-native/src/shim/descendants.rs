//! Ending a process with all that has come of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::thread::nanosleep;
use rustix::time::Timespec;

use crate::clock;

/// How long what has been killed may take to be reaped by the container's init.
const REAPED_WITHIN: Duration = Duration::from_secs(5);

/// A process as `/proc/<pid>/stat` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    parent: i32,
    has_ended: bool,
    /// In clock ticks since boot, by which it is told from another that gets its number.
    start: u64,
}

/// For a forked child of the shim: kills all below `root`, a subreaper and a child of `parent`, which does not reap it
/// meanwhile; and then itself. Comes back when all but `root` have been reaped, if those who lose their parents are.
///
/// Nothing below it gets away: who loses its parent becomes a child of `root`, which is stopped first, so that it
/// neither makes nor reaps others.
///
/// The number of `root` comes from `parent`, and whoever traces that may have named anybody; so it is looked at.
pub(super) fn end_with_root(root: Pid, parent: Pid, orphans_are_reaped: bool) -> i32 {
    let Some(root_handle) = child_of(parent, root) else {
        return 0;
    };
    let _gone = pidfd_send_signal(&root_handle, Signal::STOP);
    let killed = kill_all(|processes| below(root.as_raw_nonzero().get(), processes));
    let _gone = pidfd_send_signal(&root_handle, Signal::KILL);
    if orphans_are_reaped {
        wait_until_reaped(&killed);
    }
    0
}

/// The same for `root` alone, where no child can be forked.
pub(super) fn end_alone(root: Pid, parent: Pid) {
    if let Some(root) = child_of(parent, root) {
        let _gone = pidfd_send_signal(&root, Signal::KILL);
    }
}

/// A handle to a process, if it is a child of `parent`.
fn child_of(parent: Pid, pid: Pid) -> Option<OwnedFd> {
    let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let seen = look_at(pid.as_raw_nonzero().get())?;
    (seen.parent == parent.as_raw_nonzero().get()).then_some(handle)
}

/// A mount namespace. As long as this is there, the kernel gives its number to no other.
#[derive(Debug)]
pub(super) struct Files {
    name: PathBuf,
    _kept: File,
}

impl Files {
    /// Of a process.
    pub(super) fn of(pid: Pid) -> Option<Self> {
        let kept = File::open(format!("/proc/{}/ns/mnt", pid.as_raw_nonzero())).ok()?;
        let name = fs::read_link(format!("/proc/self/fd/{}", kept.as_raw_fd())).ok()?;
        Some(Self { name, _kept: kept })
    }
}

fn files_of_number(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}

/// For a forked child of the shim: kills all who are in this mount namespace, until there is nobody.
///
/// What a container has started it cannot leave without SYS_ADMIN; a zombie is in none. Spared is `reaper`, a child of
/// the shim's, which has to reap what it has started.
pub(super) fn end_all_who_see(files: &Files, reaper: Option<Pid>) -> i32 {
    let reaper = reaper.map(|pid| pid.as_raw_nonzero().get());
    kill_all(|processes| {
        let pids = processes.keys().copied();
        pids.filter(|pid| Some(*pid) != reaper)
            .filter(|pid| files_of_number(*pid).as_ref() == Some(&files.name))
            .collect()
    });
    0
}

/// Kills what `find` finds until it finds nothing alive; answers with handles to all.
fn kill_all(find: impl Fn(&BTreeMap<i32, Seen>) -> Vec<i32>) -> Vec<OwnedFd> {
    let mut killed = BTreeMap::new();
    let mut pause = Duration::from_micros(500);
    loop {
        let processes = all_processes();
        let mut alive = false;
        for pid in find(&processes) {
            let Some((seen, handle)) = processes.get(&pid).and_then(|seen| handle(pid, seen))
            else {
                continue;
            };
            if !seen.has_ended {
                alive = true;
                let _gone = pidfd_send_signal(&handle, Signal::KILL);
            }
            killed.insert((pid, seen.start), handle);
        }
        if !alive {
            return killed.into_values().collect();
        }
        // What has been killed takes a moment to end, and longer where a disk does not answer.
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Every process that there is.
fn all_processes() -> BTreeMap<i32, Seen> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| Some((pid, look_at(pid)?)))
        .collect()
}

fn look_at(pid: i32) -> Option<Seen> {
    seen_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// A handle to a process that was seen, which cannot come to mean another; looked at after it is made, so that it is
/// of that one.
fn handle(pid: i32, seen: &Seen) -> Option<(Seen, OwnedFd)> {
    let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    let now = look_at(pid)?;
    (now.start == seen.start).then_some((now, handle))
}

/// Fields 3, 4 and 22; the name, field 2, may hold anything.
fn seen_in(stat: &str) -> Option<Seen> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X");
    Some(Seen {
        parent: fields.next()?.parse().ok()?,
        has_ended,
        start: fields.nth(17)?.parse().ok()?,
    })
}

fn below(root: i32, processes: &BTreeMap<i32, Seen>) -> Vec<i32> {
    descendants(root, &parents_in(processes))
}

/// Every process that is seen from here, with its parent.
pub(super) fn parents() -> Vec<(i32, i32)> {
    parents_in(&all_processes())
}

fn parents_in(processes: &BTreeMap<i32, Seen>) -> Vec<(i32, i32)> {
    let pairs = processes.iter();
    pairs.map(|(pid, process)| (*pid, process.parent)).collect()
}

/// All below a process.
pub(super) fn descendants(root: i32, parents: &[(i32, i32)]) -> Vec<i32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.split_off(1)
}

/// The container's init gets them when `root` ends, and reaps them; of that there is no event.
fn wait_until_reaped(killed: &[OwnedFd]) {
    let deadline = clock::mono() + REAPED_WITHIN;
    for handle in killed {
        // A null signal reaches a zombie, but not one that has been reaped.
        while test(handle) && clock::mono() < deadline {
            sleep(Duration::from_micros(500));
        }
    }
}

fn sleep(duration: Duration) {
    if let Ok(duration) = Timespec::try_from(duration) {
        let _interrupted = nanosleep(&duration);
    }
}

/// Whether it has not been reaped.
fn test(handle: &OwnedFd) -> bool {
    crate::sys::pidfd_test(handle) != Err(Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_all_below_and_nobody_else() {
        let parents = [(1, 0), (2, 1), (7, 0), (8, 7), (9, 8), (10, 8), (11, 2)];
        assert_eq!(descendants(7, &parents), [8, 9, 10]);
        assert_eq!(descendants(11, &parents), [0; 0]);
    }

    #[test]
    fn a_parent_is_found_behind_any_name() {
        let rest = "9 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1000 2";
        let seen = |text: &str| seen_in(&format!("{text} {rest}"));
        let expect = |parent, has_ended| {
            Some(Seen {
                parent,
                has_ended,
                start: 4242,
            })
        };
        assert_eq!(seen("8 (a) 3 (x) S 7"), expect(7, false));
        assert_eq!(seen("8 (sh) Z 1"), expect(1, true));
    }
}
