//! A process's identity that outlives its number: who it is, even after the number is used again.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::clock;

/// A process, told from every other there is or was on this host.
///
/// Units: `start` is in clock ticks since boot, as in `/proc/<pid>/stat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub(crate) pid: i32,
    start: u64,
    /// Processes that an init system starts in the same order get the same numbers at the same ticks
    /// after every boot, so the boot is part of the identity.
    boot: String,
}

impl ProcessId {
    /// The calling process.
    pub(crate) fn own() -> std::io::Result<Self> {
        Self::of(rustix::process::getpid())
    }

    /// The process that has this number now.
    pub(crate) fn of(pid: Pid) -> std::io::Result<Self> {
        let pid = pid.as_raw_nonzero().get();
        Ok(Self {
            pid,
            start: start_of(pid)?,
            boot: boot_id()?,
        })
    }

    /// A handle to it; `None` if it is gone or waits to be reaped.
    pub(crate) fn open(&self) -> Option<OwnedFd> {
        let pidfd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // Looked at after the handle is made: if it is the right process now, the handle is the right one.
        let same = start_of(self.pid).ok()? == self.start && boot_id().ok()? == self.boot;
        (same && !has_ended(&pidfd)).then_some(pidfd)
    }
}

fn boot_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

fn start_of(pid: i32) -> std::io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    start_in(&stat).ok_or_else(|| std::io::Error::other("unexpected form of /proc/<pid>/stat"))
}

/// Field 22. The name, field 2, may hold anything, so counting starts after its last parenthesis.
fn start_in(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Whether a process has begun to end, which for process 1 of a pid namespace takes until all others of it have ended.
/// Its number has to be its own.
pub(crate) fn is_exiting(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| is_exiting_in(&stat))
}

/// Field 9, in which PF_EXITING of the kernel's include/linux/sched.h is bit 2; or there is nothing left to say.
fn is_exiting_in(stat: &str) -> bool {
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest);
    let flags = fields.and_then(|fields| fields.split_ascii_whitespace().nth(6));
    let flags = flags.and_then(|flags| flags.parse::<u32>().ok());
    flags.is_none_or(|flags| flags & 4 != 0)
}

/// Whether the process behind a pidfd has ended.
pub(crate) fn has_ended(pidfd: &OwnedFd) -> bool {
    wait_readable(pidfd, std::time::Duration::ZERO)
}

/// Waits until the process behind a pidfd has ended, but no longer than `limit`; says whether it has.
pub(crate) fn wait_readable(pidfd: &OwnedFd, limit: std::time::Duration) -> bool {
    let deadline = clock::mono() + limit;
    loop {
        match poll(
            &mut [PollFd::new(pidfd, PollFlags::IN)],
            Some(&clock::until(deadline)),
        ) {
            Ok(ready) => return ready > 0,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Sends a signal; that the process is gone is no error.
pub(crate) fn signal(pidfd: &OwnedFd, signal: Signal) {
    let _gone = pidfd_send_signal(pidfd, signal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1000 2";
        assert_eq!(start_in(stat), Some(4242));
    }

    #[test]
    fn the_begin_of_an_end_is_seen() {
        let stat = |flags: u32| format!("7 (a) b) S 1 7 7 0 -1 {flags} 1 2 3");
        assert!(!is_exiting_in(&stat(4_194_560)));
        assert!(is_exiting_in(&stat(4_194_564)));
        assert!(is_exiting_in(""));
        assert!(!is_exiting(rustix::process::getpid()));
    }

    #[test]
    fn own_process_is_found_and_another_start_is_not() {
        let own = ProcessId::own().unwrap();
        assert!(own.open().is_some());
        assert!(
            ProcessId {
                start: own.start + 1,
                ..own
            }
            .open()
            .is_none()
        );
    }
}
