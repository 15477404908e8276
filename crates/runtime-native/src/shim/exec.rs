//! An attempt: one command run beside a container's main program, as the shim keeps it, and the output that comes
//! meanwhile.

use std::os::fd::OwnedFd;
use std::time::Duration;

use probelet_model::id::ContainerId;
use probelet_model::time::Mono;
use probelet_runtime::{ExecError, ExecOutput, ExecRequest};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, waitid};

use super::container::Place;
use super::pipes::near_reader;
use super::runner::Order;
use super::{Asker, descendants, reap};
use crate::layout::code_of_signal;
use crate::sys::{self, Child, Fresh};
use crate::{clock, text};

/// The most that is kept of a stream, whatever the request says.
const MAX_OUTPUT: usize = 4 * 1024 * 1024;
/// How long what a command has started may take to end, once it is killed, before the answer no longer waits.
const CLEAN_UP: Duration = Duration::from_secs(30);
/// Before this, a command's beginning and its output are not looked at: most have ended by then, of which the shim is
/// told in any case, and what they have written is in the pipes. So an attempt wakes the shim twice, and not four times.
pub(super) const OUTPUT_WAITS: Duration = Duration::from_millis(20);

/// A command in progress.
pub(super) struct Exec {
    pub(super) container: ContainerId,
    asker: Asker,
    /// From its execve until it is reaped.
    command: Option<Running>,
    /// The child of ours that ends all of it.
    ending: Option<Child>,
    outputs: [Option<OwnedFd>; 2],
    kept: [Vec<u8>; 2],
    limit: usize,
    look_at_output: Mono,
    deadline: Mono,
}

/// A child of ours that has been executed and not been reaped, so that its number is its own.
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

/// What a signal that ends all of a container makes of a command in it.
pub(super) const KILLED: i32 = code_of_signal(Signal::KILL.as_raw());

/// The answer, for whom.
pub(super) type Answered = (Asker, Result<ExecOutput, ExecError>);

impl Exec {
    /// One that is about to be ordered, with its far ends.
    pub(super) fn new(
        container: ContainerId,
        place: &Place<'_>,
        request: ExecRequest,
        asker: Asker,
    ) -> Result<(Self, Order, Vec<OwnedFd>), ExecError> {
        let system =
            |errno: Errno| ExecError::Runtime(format!("start command: {}", text::reason(errno)));
        // Only the ends kept here are non-blocking: a command may rely on its writes to block.
        let (stdout, stdout_far) = near_reader().map_err(system)?;
        let (stderr, stderr_far) = near_reader().map_err(system)?;
        let far = vec![stdout_far, stderr_far];
        place.give(&far);
        let now = clock::mono();
        let exec = Self {
            container,
            asker,
            command: None,
            ending: None,
            outputs: [Some(stdout), Some(stderr)],
            kept: Default::default(),
            limit: request.output_limit.min(MAX_OUTPUT),
            look_at_output: now + OUTPUT_WAITS,
            deadline: now + request.timeout,
        };
        let order = Order {
            argv: request.argv,
            attempt: true,
            stdin: false,
            on_terminal: false,
        };
        Ok((exec, order, far))
    }

    /// What to poll for: stdout, 0, and stderr, 1.
    pub(super) fn parts(&self, now: Mono) -> impl Iterator<Item = (&OwnedFd, usize)> {
        let looks = now >= self.look_at_output;
        let outputs = self.outputs.iter().enumerate().filter(move |_| looks);
        outputs.filter_map(|(stream, fd)| Some((fd.as_ref()?, stream)))
    }

    /// When to look at it again, whatever happens.
    pub(super) fn deadline(&self, now: Mono) -> Mono {
        if now < self.look_at_output {
            self.deadline.min(self.look_at_output)
        } else {
            self.deadline
        }
    }

    pub(super) fn is_due(&self, now: Mono) -> bool {
        self.deadline <= now
    }

    /// Whether it has been executed.
    pub(super) const fn has_begun(&self) -> bool {
        self.command.is_some() || self.is_ending()
    }

    /// It has been executed.
    pub(super) fn begin(&mut self, command: Running) {
        self.command = Some(command);
    }

    /// An answer instead of all that may still come.
    pub(super) const fn refuse(&self, error: ExecError) -> Answered {
        (self.asker, Err(error))
    }

    /// Its time is over: has it ended with all that it has started. Answers right away if there is nothing.
    pub(super) fn end(&mut self) -> Option<Answered> {
        self.deadline = clock::mono() + CLEAN_UP;
        let Some(command) = &self.command else {
            return Some(self.refuse(ExecError::TimedOut));
        };
        let pid = command.0;
        match sys::fork(Fresh::Nothing, || descendants::end_with_root(pid)) {
            Ok(child) => {
                self.ending = Some(child);
                None
            }
            // All that can be done; what it has started passes to the container's init.
            Err(_) => {
                command.kill();
                None
            }
        }
    }

    /// Whether that has been done, and it is due once more.
    pub(super) const fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Kills what is left, which is to be reaped whenever it ends.
    pub(super) fn give_up(self) -> (Answered, Vec<Running>) {
        let answer = self.refuse(ExecError::TimedOut);
        let ending = self.ending.map(|child| Running(child.pid));
        let left: Vec<Running> = ending.into_iter().chain(self.command).collect();
        left.iter().for_each(|process| process.kill());
        (answer, left)
    }

    /// Takes what it has written.
    pub(super) fn take_output(&mut self, stream: usize) {
        self.read_output(stream, 1);
    }

    /// Once the command is over in every respect, gives the answer. `runs` says whether the container does.
    pub(super) fn take_end(&mut self, runs: impl FnOnce() -> bool) -> Option<Answered> {
        let timed_out = self.is_ending();
        if let Some(code) = self.command.and_then(Running::reap) {
            self.command = None;
            if !timed_out {
                let lost = code == KILLED && !runs();
                return Some((self.asker, self.answer(code, lost)));
            }
        }
        if self
            .ending
            .as_ref()
            .is_some_and(|child| !reap(&child.pidfd))
            || self.command.is_some()
        {
            return None;
        }
        timed_out.then(|| self.refuse(ExecError::TimedOut))
    }

    /// `lost`: it was killed with its container.
    fn answer(&mut self, exit_code: i32, lost: bool) -> Result<ExecOutput, ExecError> {
        if lost {
            return Err(ExecError::NotRunning(self.container.clone()));
        }
        // What it wrote is in the pipes. Whoever else still holds them is not waited for.
        for stream in 0..self.outputs.len() {
            self.read_output(stream, usize::MAX);
            self.outputs[stream] = None;
        }
        let [stdout, stderr] = std::mem::take(&mut self.kept);
        Ok(ExecOutput {
            exit_code,
            stdout,
            stderr,
        })
    }

    /// Reads at most `times` buffers of one stream and keeps what there is room for.
    fn read_output(&mut self, stream: usize, times: usize) {
        let Some(fd) = &self.outputs[stream] else {
            return;
        };
        let mut buffer = [0; 16 * 1024];
        // A pipe holds no more than this; a daemon that keeps writing must not keep us reading.
        for _ in 0..times.min(128) {
            match rustix::io::read(fd, &mut buffer) {
                Ok(length @ 1..) => {
                    let kept = &mut self.kept[stream];
                    let room = self.limit.saturating_sub(kept.len());
                    kept.extend_from_slice(&buffer[..length.min(room)]);
                }
                Err(Errno::AGAIN | Errno::INTR) => return,
                Ok(_) | Err(_) => {
                    self.outputs[stream] = None;
                    return;
                }
            }
        }
    }
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
