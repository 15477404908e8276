//! The attempts that a runner has in progress.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use probelet_model::time::Mono;
use probelet_runtime::{ExecError, ExecOutput, ExecRequest};
use rustix::io::{Errno, Result};

use super::slots::{Slot, Slots};
use crate::attempt::{Outcome, WITHOUT_AGENT};
use crate::clock;
use crate::shim::command::StandardStreams;
use crate::shim::pipes::near_reader;
use crate::shim::running::Running;

/// The most that is kept of a stream, whatever the request says.
const MAX_OUTPUT: usize = 4 * 1024 * 1024;
/// Before this, a command's output is not looked at: most have ended by then, of which the runner is told in any case,
/// and what they have written is in the pipes. So an attempt wakes the runner twice, and not four times.
const OUTPUT_WAITS: Duration = Duration::from_millis(20);

/// Who is to have the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// Whoever is at the other end of the exec channel of this number.
    Channel(u8),
    /// The shim, on behalf of an agent that knows no channels.
    Shim,
}

/// What is said about one.
#[derive(Debug)]
pub(super) enum Said {
    /// It is over.
    Answer(Asker, u32, Outcome),
    /// It should be over by now, and the shim is to see to that.
    Overdue(u32),
}

/// All of them.
pub(super) struct Attempts<'a> {
    slots: &'a Slots,
    next_slot: usize,
    in_progress: Vec<InProgress<'a>>,
    buffer: Vec<u8>,
}

struct InProgress<'a> {
    asker: Asker,
    id: u32,
    slot: Slot<'a>,
    command: Running,
    /// Why it has not become the program that was asked for.
    failure: Option<String>,
    outputs: [Output; 2],
    limit: usize,
    look_at_output: Mono,
    /// When the shim is asked to end it; never, once it has been.
    deadline: Mono,
    /// The shim has done what it could to end it.
    ended_by_shim: bool,
}

#[derive(Debug)]
struct Output {
    pipe: Option<OwnedFd>,
    kept: Vec<u8>,
}

/// A command that is about to be started.
pub(super) struct Fresh<'a> {
    pub(super) slot: Slot<'a>,
    number: usize,
    near: [OwnedFd; 2],
    far: [OwnedFd; 2],
}

impl Fresh<'_> {
    /// What it begins with.
    pub(super) fn streams(&self) -> StandardStreams<'_> {
        let [stdout, stderr] = &self.far;
        StandardStreams {
            stdin: None,
            stdout: stdout.as_fd(),
            stderr: stderr.as_fd(),
            on_terminal: false,
        }
    }
}

impl<'a> Attempts<'a> {
    /// None yet.
    pub(super) const fn new(slots: &'a Slots) -> Self {
        Self {
            slots,
            next_slot: 0,
            in_progress: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Makes what one needs; `AGAIN` if there are as many as there may be.
    pub(super) fn prepare(&self, id: u32) -> Result<Fresh<'a>> {
        // Only the ends kept here are non-blocking: a command may rely on its writes to block.
        let (stdout, stdout_far) = near_reader()?;
        let (stderr, stderr_far) = near_reader()?;
        let (number, slot) = self.slots.take(id, self.next_slot).ok_or(Errno::AGAIN)?;
        Ok(Fresh {
            slot,
            number,
            near: [stdout, stderr],
            far: [stdout_far, stderr_far],
        })
    }

    /// It has been started, or, with a failure, is about to end.
    pub(super) fn add(
        &mut self,
        (asker, id): (Asker, u32),
        fresh: Fresh<'a>,
        command: Running,
        failure: Option<String>,
        request: &ExecRequest,
    ) {
        let now = clock::mono();
        self.next_slot = fresh.number + 1;
        self.in_progress.push(InProgress {
            asker,
            id,
            slot: fresh.slot,
            command,
            failure,
            outputs: fresh.near.map(|pipe| Output {
                pipe: Some(pipe),
                kept: Vec::new(),
            }),
            limit: request.output_limit.min(MAX_OUTPUT),
            look_at_output: now + OUTPUT_WAITS,
            deadline: now + request.timeout + WITHOUT_AGENT,
            ended_by_shim: false,
        });
    }

    /// Whether this one is in progress.
    pub(super) fn has(&self, id: u32) -> bool {
        self.in_progress.iter().any(|it| it.id == id)
    }

    /// The outputs to poll for, each by attempt and stream.
    pub(super) fn outputs(
        &self,
        now: Mono,
    ) -> impl Iterator<Item = (BorrowedFd<'_>, usize, usize)> {
        let attempts = self.in_progress.iter().enumerate();
        let looked_at = attempts.filter(move |(_, it)| it.look_at_output <= now);
        looked_at.flat_map(|(index, it)| {
            let outputs = it.outputs.iter().enumerate();
            outputs.filter_map(move |(stream, output)| {
                Some((output.pipe.as_ref()?.as_fd(), index, stream))
            })
        })
    }

    /// When to look at them again, whatever happens.
    pub(super) fn deadline(&self, now: Mono) -> Option<Mono> {
        let deadlines = self.in_progress.iter().map(|it| {
            if now < it.look_at_output {
                it.deadline.min(it.look_at_output)
            } else {
                it.deadline
            }
        });
        deadlines.filter(|at| *at < Mono(u64::MAX)).min()
    }

    /// Takes a buffer of output of one of [`Self::outputs`].
    pub(super) fn take_output(&mut self, index: usize, stream: usize) {
        if let Some(it) = self.in_progress.get_mut(index) {
            it.outputs[stream].read(it.limit, 1, &mut self.buffer);
        }
    }

    /// Those that take too long; each once.
    pub(super) fn overdue(&mut self, now: Mono) -> Vec<Said> {
        let due = self.in_progress.iter_mut().filter(|it| it.deadline <= now);
        due.map(|it| {
            it.deadline = Mono(u64::MAX);
            Said::Overdue(it.id)
        })
        .collect()
    }

    /// The shim has ended one, as far as it could.
    pub(super) fn ended_by_shim(&mut self, id: u32) -> Vec<Said> {
        if let Some(it) = self.in_progress.iter_mut().find(|it| it.id == id) {
            it.ended_by_shim = true;
        }
        self.take_ended()
    }

    /// Reaps those that have ended, and answers for them.
    pub(super) fn take_ended(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        let buffer = &mut self.buffer;
        self.in_progress.retain_mut(|it| {
            if !it.command.has_ended() {
                return true;
            }
            if !it.ended_by_shim && !it.slot.may_reap() {
                return true;
            }
            let Some(code) = it.command.reap() else {
                return true;
            };
            let outcome = if it.ended_by_shim {
                it.slot.free();
                Err(ExecError::TimedOut)
            } else {
                it.outcome(code, buffer)
            };
            said.push(Said::Answer(it.asker, it.id, outcome));
            false
        });
        said
    }
}

impl InProgress<'_> {
    fn outcome(&mut self, exit_code: i32, buffer: &mut Vec<u8>) -> Outcome {
        if let Some(failure) = self.failure.take() {
            return Err(ExecError::Command(failure));
        }
        // What it wrote is in the pipes. Whoever else still holds them is not waited for.
        let [stdout, stderr] = &mut self.outputs;
        for output in [&mut *stdout, &mut *stderr] {
            output.read(self.limit, usize::MAX, buffer);
        }
        Ok(ExecOutput {
            exit_code,
            stdout: std::mem::take(&mut stdout.kept),
            stderr: std::mem::take(&mut stderr.kept),
        })
    }
}

impl Output {
    /// Reads at most `times` buffers and keeps what there is room for.
    fn read(&mut self, limit: usize, times: usize, buffer: &mut Vec<u8>) {
        let Some(pipe) = &self.pipe else {
            return;
        };
        buffer.resize(16 * 1024, 0);
        // A pipe holds no more than this; a daemon that keeps writing must not keep us reading.
        for _ in 0..times.min(128) {
            match rustix::io::read(pipe, &mut buffer[..]) {
                Ok(length @ 1..) => {
                    let room = limit.saturating_sub(self.kept.len());
                    self.kept.extend_from_slice(&buffer[..length.min(room)]);
                }
                Err(Errno::AGAIN | Errno::INTR) => return,
                Ok(_) | Err(_) => {
                    self.pipe = None;
                    return;
                }
            }
        }
    }
}
