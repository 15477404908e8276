//! A command with streams of its own, as the shim keeps it: until the command has been executed, its near
//! ends; then only the guardian, whose report goes into a pipe that the agent reads.
//!
//! So the agent may lose its connection and make a new one, and still hears of the end; and if it goes, all
//! that happens is that the command's streams are closed.

use std::os::fd::{AsFd, OwnedFd};

use probelet_model::id::ContainerId;
use probelet_runtime::{ExecError, SessionRequest};
use rustix::io::{Errno, Result};
use rustix::process::{PidfdFlags, pidfd_open};

use super::Asker;
use super::command::{CommandError, Environment, StandardStreams, Words};
use super::container::Place;
use super::exec::read_to_end;
use super::guardian::{self, Order, Report};
use super::identity::Privilege;
use super::pipes::{NearEnds, near_reader, near_writer, nowhere};
use super::reap;
use super::terminal::Terminal;
use crate::layout;
use crate::protocol::Ends;
use crate::sys::Stack;
use crate::text;

/// How a session ended, as it is written to the agent.
pub(super) type Outcome = std::result::Result<i32, ExecError>;

/// What a signal that ends all of a container makes of a command in it.
pub(super) const KILLED: i32 = layout::code_of_signal(rustix::process::Signal::KILL.as_raw());

/// A command that runs.
pub(super) struct Session {
    pub(super) container: ContainerId,
    guardian: OwnedFd,
    report: Option<OwnedFd>,
    report_text: Vec<u8>,
    /// Until the command has been executed.
    opening: Option<(Asker, NearEnds)>,
    /// Takes an [`Outcome`].
    ended: OwnedFd,
}

/// One of the descriptors of a [`Session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The guardian has reported, or died.
    Report,
    /// The guardian has ended.
    Guardian,
}

/// What a command was asked for with, and what came of it.
pub(super) type Opened = (Asker, std::result::Result<NearEnds, ExecError>);

impl Session {
    /// Starts the command; everything after happens in the event loop.
    pub(super) fn start(
        stack: &mut Stack,
        privilege: Privilege,
        container: ContainerId,
        place: Place<'_>,
        request: &SessionRequest,
        asker: Asker,
    ) -> std::result::Result<Self, ExecError> {
        let command = |error: CommandError| ExecError::Command(error.to_string());
        let system =
            |errno: Errno| ExecError::Runtime(format!("start command: {}", text::reason(errno)));
        let Place {
            init,
            main,
            user_namespace,
            ..
        } = place;
        let on_terminal = terminal_environment(request, &place).map_err(command)?;
        let env = on_terminal.as_ref().unwrap_or(&main.env);
        let words = Words::new(&request.argv, env).map_err(command)?;
        let (ended, ended_in) = near_reader().map_err(system)?;
        let (report, report_in) = near_reader().map_err(system)?;
        let (near, far) = streams(request, &place, ended).map_err(system)?;
        let order = Order {
            init: init.pidfd.as_fd(),
            identity: &main.identity,
            privilege,
            user_namespace: user_namespace.map(AsFd::as_fd),
            env,
            words: &words,
            dir: &main.dir,
            timeout: None,
            streams: far.standard(request.tty),
            report: report_in.as_fd(),
        };
        let pid = guardian::start(stack, &order).map_err(system)?;
        // Our own child, not yet reaped: the number is still its own.
        let guardian = pidfd_open(pid, PidfdFlags::empty()).map_err(system)?;
        rustix::io::ioctl_fionbio(&ended_in, true).map_err(system)?;
        Ok(Self {
            container,
            guardian,
            report: Some(report),
            report_text: Vec::new(),
            opening: Some((asker, near)),
            ended: ended_in,
        })
    }

    /// What to poll for.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&OwnedFd, Part)> {
        let report = self.report.iter().map(|fd| (fd, Part::Report));
        report.chain([(&self.guardian, Part::Guardian)])
    }

    /// Reads the guardian's report. Answers, once, when the command has been executed or could not be; tells
    /// the agent when it has ended.
    pub(super) fn take(&mut self, container_runs: bool) -> Option<Opened> {
        let report = self.report.take()?;
        let at_end = read_to_end(&report, &mut self.report_text);
        let mut answer = None;
        let mut reports = serde_json::Deserializer::from_slice(&self.report_text).into_iter();
        let mut read = 0;
        while let Some(Ok(said)) = reports.next() {
            read = reports.byte_offset();
            match said {
                Report::Started => {
                    answer = self.opening.take().map(|(asker, near)| (asker, Ok(near)));
                }
                Report::Exited(code) => return self.end(Ok(code), answer),
                Report::NotExecuted(text) => {
                    return self.end(Err(ExecError::Command(text)), answer);
                }
                Report::Broken(text) if container_runs => {
                    return self.end(Err(ExecError::Runtime(text)), answer);
                }
                Report::Broken(_) | Report::TimedOut => {}
            }
        }
        self.report_text.drain(..read);
        if !at_end {
            self.report = Some(report);
            return answer;
        }
        let outcome = match (container_runs, self.opening.is_some()) {
            (true, _) => Err(ExecError::Runtime(
                "the command's guardian was killed".into(),
            )),
            (false, true) => Err(ExecError::NotRunning(self.container.clone())),
            (false, false) => Ok(KILLED),
        };
        self.end(outcome, answer)
    }

    /// The outcome is the answer if nobody has been answered yet.
    fn end(&mut self, outcome: Outcome, answer: Option<Opened>) -> Option<Opened> {
        match (outcome, self.opening.take()) {
            (Err(error), Some((asker, _))) => Some((asker, Err(error))),
            (outcome, opening) => {
                tell(&self.ended, &outcome);
                answer.or(opening.map(|(asker, near)| (asker, Ok(near))))
            }
        }
    }

    /// Reaps the guardian if it has ended; the session is over then in every respect.
    pub(super) fn reap(&self) -> bool {
        reap(&self.guardian)
    }
}

/// Tells the agent how a session ended. The few bytes always have room in their pipe.
pub(super) fn tell(ended: &OwnedFd, outcome: &Outcome) {
    if let Ok(json) = serde_json::to_vec(outcome) {
        let _agent_gone = rustix::io::write(ended, &json);
    }
}

/// On a terminal, `TERM` is what upstream says it is, whatever the container's is.
fn terminal_environment(
    request: &SessionRequest,
    place: &Place<'_>,
) -> std::result::Result<Option<Environment>, CommandError> {
    if !request.tty {
        return Ok(None);
    }
    let own: Vec<_> = place
        .env
        .iter()
        .filter(|(name, _)| name != "TERM")
        .cloned()
        .collect();
    Environment::new(&own, &place.main.identity.home, place.hostname, true).map(Some)
}

/// The ends that the command gets.
struct FarEnds {
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: Option<OwnedFd>,
}

impl FarEnds {
    fn standard(&self, on_terminal: bool) -> StandardStreams<'_> {
        StandardStreams {
            stdin: self.stdin.as_ref().map(AsFd::as_fd),
            stdout: self.stdout.as_fd(),
            stderr: self.stderr.as_ref().unwrap_or(&self.stdout).as_fd(),
            on_terminal,
        }
    }
}

fn streams(
    request: &SessionRequest,
    place: &Place<'_>,
    ended: OwnedFd,
) -> Result<(NearEnds, FarEnds)> {
    let wanted = request.streams;
    let mut near = NearEnds {
        kinds: Ends {
            stdin: wanted.stdin,
            stdout: wanted.stdout,
            stderr: wanted.stderr && !request.tty,
            terminal: request.tty,
        },
        fds: vec![ended],
    };
    if request.tty {
        let Terminal { near: end, far } = Terminal::of_container(place.init.pid)?;
        for wanted in [wanted.stdin, wanted.stdout] {
            if wanted {
                near.fds.push(rustix::io::fcntl_dupfd_cloexec(&end, 3)?);
            }
        }
        near.fds.push(end);
        // What nobody reads must not fill the terminal.
        let stdout = if wanted.stdout {
            rustix::io::fcntl_dupfd_cloexec(&far, 3)?
        } else {
            nowhere()?
        };
        let far = FarEnds {
            stdin: Some(far),
            stdout,
            stderr: None,
        };
        return Ok((near, far));
    }
    let mut stdin = None;
    if wanted.stdin {
        let (end, far) = near_writer()?;
        near.fds.push(end);
        stdin = Some(far);
    }
    let mut output = |wanted: bool| {
        if !wanted {
            return nowhere();
        }
        let (end, far) = near_reader()?;
        near.fds.push(end);
        Ok(far)
    };
    let (stdout, stderr) = (output(wanted.stdout)?, output(wanted.stderr)?);
    let far = FarEnds {
        stdin,
        stdout,
        stderr: Some(stderr),
    };
    Ok((near, far))
}
