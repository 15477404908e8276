//! The process between the shim and a command run beside a container's main program.
//!
//! It lives in the container's pid namespace as the command's parent and as the subreaper of whatever
//! the command starts: a process of the attempt that detaches itself comes back to the guardian when its
//! parent ends. So a command that takes too long can be ended with all of its offspring, and one that
//! ends in time can leave a daemon behind, which then passes to the container's init.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, kill_process, pidfd_open,
    set_child_subreaper, set_parent_process_death_signal, wait, waitpid,
};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use serde::{Deserialize, Serialize};

use super::command::{CommandError, Environment, StandardStreams, Words, enter_dir, prepare};
use super::identity::{Identity, Privilege};
use crate::layout::code_of_signal;
use crate::process::wait_readable;
use crate::sys::{self, Stack};
use crate::text;

/// What to run and how; all of it inherited over the fork.
pub(super) struct Order<'a> {
    /// The container's init, by pidfd: its mount namespace is the one to enter.
    pub(super) init: BorrowedFd<'a>,
    pub(super) identity: &'a Identity,
    pub(super) privilege: Privilege,
    pub(super) user_namespace: Option<BorrowedFd<'a>>,
    pub(super) env: &'a Environment,
    pub(super) words: &'a Words,
    pub(super) dir: &'a CStr,
    /// `None`: as long as it likes; then it is also told when the command has been executed.
    pub(super) timeout: Option<Duration>,
    pub(super) streams: StandardStreams<'a>,
    /// Carries [`Report`]s as JSON, the last of which tells the end.
    pub(super) report: BorrowedFd<'a>,
}

/// How it went.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// The command has been executed. Only of one without a timeout.
    Started,
    /// The command ended by itself; 128 plus the signal if one ended it.
    Exited(i32),
    /// It did not, and nothing of it is left.
    TimedOut,
    /// It could not be executed.
    NotExecuted(String),
    /// It could not even be tried.
    Broken(String),
}

/// Makes a guardian in the container's pid namespace, a child of the calling shim, which reaps it.
///
/// A process cannot move itself into a pid namespace, only its future children; and the shim, once
/// pointed at a container's, could without root never be pointed back. So a child that borrows the
/// shim's memory is pointed there instead, and forks the guardian in its own parent's name.
pub(super) fn start(stack: &mut Stack, order: &Order<'_>) -> Result<Pid, Errno> {
    let mut made = Err(Errno::CHILD);
    let between = sys::vfork(stack, || {
        made = move_into_thread_name_spaces(order.init, ThreadNameSpaceType::PROCESS_ID)
            .and_then(|()| sys::fork_sibling(|| run(order)));
        0
    })?;
    while matches!(
        waitpid(Some(between), WaitOptions::empty()),
        Err(Errno::INTR)
    ) {}
    made
}

fn run(order: &Order<'_>) -> i32 {
    let report = guard(order).unwrap_or_else(|errno| Report::Broken(text::reason(errno)));
    i32::from(tell(order, &report).is_err())
}

fn tell(order: &Order<'_>, report: &Report) -> std::io::Result<()> {
    let json = serde_json::to_vec(report)?;
    File::from(order.report.try_clone_to_owned()?).write_all(&json)
}

fn guard(order: &Order<'_>) -> Result<Report, Errno> {
    let Order { init, report, .. } = *order;
    let namespace = order.user_namespace.unwrap_or(init);
    let kept: Vec<BorrowedFd<'_>> = order
        .streams
        .all()
        .chain([init, namespace, report])
        .collect();
    sys::close_all_but(&kept)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    move_into_thread_name_spaces(init, ThreadNameSpaceType::MOUNT)?;
    if order.timeout.is_some() {
        set_child_subreaper(Some(getpid()))?;
    }

    let mut failure = None;
    let command = sys::vfork(&mut Stack::new(), || {
        failure = Some(become_command(order));
        127
    })?;
    if let Some(failure) = failure {
        waitpid(Some(command), WaitOptions::empty())?;
        return Ok(Report::NotExecuted(failure.to_string()));
    }
    let Some(timeout) = order.timeout else {
        return wait_for(command, order);
    };
    let ended: OwnedFd = pidfd_open(command, PidfdFlags::empty())?;
    if wait_readable(&ended, timeout) {
        return reap(command);
    }
    end_all()?;
    Ok(Report::TimedOut)
}

/// Of a command that may take as long as it likes. What it leaves behind is the init's to reap.
fn wait_for(command: Pid, order: &Order<'_>) -> Result<Report, Errno> {
    // Streams too: they end when the command closes them, not when this process does.
    sys::close_all_but(&[order.report])?;
    // Nobody to tell is no reason to end: the command outlives those who have started it.
    let _shim_gone = tell(order, &Report::Started);
    reap(command)
}

fn reap(command: Pid) -> Result<Report, Errno> {
    loop {
        match waitpid(Some(command), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            ended => {
                return Ok(Report::Exited(
                    ended?.map_or(-1, |(_, status)| code_of(status)),
                ));
            }
        }
    }
}

/// Returns only if it fails.
fn become_command(order: &Order<'_>) -> CommandError {
    let attempt = || {
        prepare(&order.streams)?;
        let user = |errno| CommandError::User {
            uid: order.identity.uid,
            reason: text::reason(errno),
        };
        order
            .identity
            .join(order.privilege, order.user_namespace)
            .map_err(user)?;
        enter_dir(order.dir)
    };
    attempt()
        .err()
        .unwrap_or_else(|| order.words.execute(order.env))
}

/// Kills and reaps everything below this process, until there is nothing.
fn end_all() -> Result<(), Errno> {
    loop {
        let below = descendants(getpid().as_raw_nonzero().get(), &parents());
        for pid in below.iter().filter_map(|&pid| Pid::from_raw(pid)) {
            // Gone already, at worst: pids cannot be reused before we, or their parent, have reaped.
            let _gone = kill_process(pid, Signal::KILL);
        }
        // One that is certain to end may be waited for; otherwise something is just being born or
        // handed over to us, and is seen the next time.
        let patience = if below.is_empty() {
            WaitOptions::NOHANG
        } else {
            WaitOptions::empty()
        };
        match wait(patience) {
            Err(Errno::CHILD) => return Ok(()),
            Err(Errno::INTR) | Ok(_) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Every process of this pid namespace, with its parent.
fn parents() -> Vec<(i32, i32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| {
        Some((
            pid,
            parent_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?,
        ))
    })
    .collect()
}

/// Field 4; the name, field 2, may hold anything.
fn parent_in(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn descendants(root: i32, parents: &[(i32, i32)]) -> Vec<i32> {
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

fn code_of(status: WaitStatus) -> i32 {
    status
        .terminating_signal()
        .map_or_else(|| status.exit_status().unwrap_or(-1), code_of_signal)
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
        assert_eq!(parent_in("8 (a) 3 (x) S 7 8 8 0"), Some(7));
    }
}
