//! A child that has become another program.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, waitid};

use crate::layout::code_of_signal;

/// A child of this process that has been executed and not been reaped, so that its number is its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running(Pid);

impl Running {
    /// Of a number that a runner has told of. A container that may trace could have had it tell of anybody's, so it is
    /// made sure that the process is a child of ours.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let pid = Pid::from_raw(pid)?;
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let is_ours = !matches!(waitid(WaitId::Pid(pid), look), Err(Errno::CHILD));
        is_ours.then_some(Self(pid))
    }

    /// Of one that was made just now.
    pub(super) const fn fresh(pid: Pid) -> Self {
        Self(pid)
    }

    /// Whether there is something to reap.
    pub(super) fn has_ended(self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(
            waitid(WaitId::Pid(self.0), look),
            Ok(None) | Err(Errno::INTR)
        )
    }

    /// Reaps it if it has ended: its exit code, 128 plus the signal if one ended it.
    pub(super) fn reap(self) -> Option<i32> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::Pid(self.0), options) {
            Ok(None) | Err(Errno::INTR) => None,
            Ok(Some(status)) => Some(code_of(&status)),
            Err(_) => Some(-1),
        }
    }

    /// Ends it.
    pub(super) fn kill(self) {
        let _ended = kill_process(self.0, Signal::KILL);
    }
}

fn code_of(status: &WaitIdStatus) -> i32 {
    let signal = status.terminating_signal().map(code_of_signal);
    signal.or_else(|| status.exit_status()).unwrap_or(-1)
}

/// Reads what there is, and says whether the other end is closed.
pub(super) fn read_to_end(pipe: &OwnedFd, text: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(pipe, &mut buffer) {
            Ok(0) => return true,
            Ok(length) => text.extend_from_slice(&buffer[..length]),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return false,
            Err(_) => return true,
        }
    }
}
