//! One command run beside a container's main program, as the shim keeps it: the guardian that does the
//! work, and the output that comes meanwhile.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use probelet_model::id::ContainerId;
use probelet_model::time::Mono;
use probelet_runtime::{ExecError, ExecOutput, ExecRequest};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, Signal, pidfd_open};

use super::Asker;
use super::command::{CommandError, StandardStreams, Words};
use super::container::Place;
use super::guardian::{self, Order, Report};
use super::identity::Privilege;
use super::reap;
use crate::sys::Stack;
use crate::{clock, process, text};

/// The most that is kept of a stream, whatever the request says.
const MAX_OUTPUT: usize = 4 * 1024 * 1024;
/// How long after the deadline a guardian may be busy ending what the command started, before it is
/// taken for one that somebody in the container has stopped.
const CLEAN_UP: Duration = Duration::from_secs(30);

/// A command in progress.
pub(super) struct Exec {
    pub(super) container: ContainerId,
    asker: Asker,
    guardian: OwnedFd,
    report: Option<OwnedFd>,
    report_text: Vec<u8>,
    outputs: [Option<OwnedFd>; 2],
    kept: [Vec<u8>; 2],
    limit: usize,
    give_up_at: Mono,
}

/// One of the descriptors of an [`Exec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The guardian has reported, or died.
    Report,
    /// Stdout, 0, or stderr, 1.
    Output(usize),
    /// The guardian has ended.
    Guardian,
}

impl Exec {
    /// Starts the command; everything after happens in the event loop.
    pub(super) fn start(
        stack: &mut Stack,
        privilege: Privilege,
        container: ContainerId,
        Place {
            init,
            main,
            user_namespace,
            ..
        }: Place<'_>,
        request: &ExecRequest,
        asker: Asker,
    ) -> Result<Self, ExecError> {
        let command = |error: CommandError| ExecError::Command(error.to_string());
        let system =
            |errno: Errno| ExecError::Runtime(format!("start command: {}", text::reason(errno)));
        let words = Words::new(&request.argv, &main.env).map_err(command)?;
        // Only the ends kept here are non-blocking: a command may rely on its writes to block.
        let pipes = || pipe_with(PipeFlags::CLOEXEC);
        let (report, report_in) = pipes().map_err(system)?;
        let (stdout, stdout_in) = pipes().map_err(system)?;
        let (stderr, stderr_in) = pipes().map_err(system)?;
        for end in [&report, &stdout, &stderr] {
            rustix::io::ioctl_fionbio(end, true).map_err(system)?;
        }
        let order = Order {
            init: init.pidfd.as_fd(),
            identity: &main.identity,
            privilege,
            user_namespace: user_namespace.map(AsFd::as_fd),
            env: &main.env,
            words: &words,
            dir: &main.dir,
            timeout: Some(request.timeout),
            streams: StandardStreams {
                stdin: None,
                stdout: stdout_in.as_fd(),
                stderr: stderr_in.as_fd(),
                on_terminal: false,
            },
            report: report_in.as_fd(),
        };
        let pid = guardian::start(stack, &order).map_err(system)?;
        // Our own child, not yet reaped: the number is still its own.
        let guardian = pidfd_open(pid, PidfdFlags::empty()).map_err(system)?;
        Ok(Self {
            container,
            asker,
            guardian,
            report: Some(report),
            report_text: Vec::new(),
            outputs: [Some(stdout), Some(stderr)],
            kept: Default::default(),
            limit: request.output_limit.min(MAX_OUTPUT),
            give_up_at: clock::mono() + request.timeout + CLEAN_UP,
        })
    }

    /// What to poll for.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&OwnedFd, Part)> {
        let outputs = self.outputs.iter().enumerate();
        let outputs = outputs.filter_map(|(stream, fd)| Some((fd.as_ref()?, Part::Output(stream))));
        self.report
            .iter()
            .map(|fd| (fd, Part::Report))
            .chain(outputs)
            .chain([(&self.guardian, Part::Guardian)])
    }

    /// When to stop waiting for the guardian.
    pub(super) const fn deadline(&self) -> Mono {
        self.give_up_at
    }

    /// Ends the guardian; what comes of it is seen in the event loop.
    pub(super) fn give_up(&mut self) {
        self.give_up_at = Mono(u64::MAX);
        process::signal(&self.guardian, Signal::KILL);
    }

    /// Takes what has come; at the end of the report, gives the answer, once.
    pub(super) fn take(
        &mut self,
        part: Part,
        running: bool,
    ) -> Option<(Asker, Result<ExecOutput, ExecError>)> {
        match part {
            Part::Output(stream) => {
                self.read_output(stream, 1);
                None
            }
            Part::Report | Part::Guardian => {
                let report = self.report.take()?;
                if !read_to_end(&report, &mut self.report_text) {
                    self.report = Some(report);
                    return None;
                }
                Some((self.asker, self.answer(running)))
            }
        }
    }

    /// Reaps the guardian if it has ended; the command is over then in every respect.
    pub(super) fn reap(&self) -> bool {
        reap(&self.guardian)
    }

    fn answer(&mut self, running: bool) -> Result<ExecOutput, ExecError> {
        match serde_json::from_slice(&self.report_text) {
            Ok(Report::Exited(exit_code)) => {
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
            Ok(Report::TimedOut) => Err(ExecError::TimedOut),
            Ok(Report::NotExecuted(text)) => Err(ExecError::Command(text)),
            Ok(Report::Broken(text)) if running => Err(ExecError::Runtime(text)),
            Ok(Report::Started) | Err(_) if running => Err(ExecError::Runtime(
                "the command's guardian was killed".into(),
            )),
            Ok(Report::Started | Report::Broken(_)) | Err(_) => {
                Err(ExecError::NotRunning(self.container.clone()))
            }
        }
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
