//! A command with streams of its own, as the shim keeps it: until the command has been executed, its near
//! ends; then only the command, whose end goes into a pipe that the agent reads.
//!
//! So the agent may lose its connection and make a new one, and still hears of the end; and if it goes, all
//! that happens is that the command's streams are closed.

use std::os::fd::OwnedFd;
use std::time::Duration;

use probelet_model::id::ContainerId;
use probelet_model::time::Mono;
use probelet_runtime::{ExecError, SessionRequest};
use rustix::io::{Errno, Result};

use super::Asker;
use super::container::Place;
use super::pipes::{NearEnds, near_reader, near_writer, nowhere};
use super::runner::Command;
use super::running::Running;
use super::terminal::Terminal;
use crate::protocol::Ends;
use crate::{clock, text};

/// How a session ended, as it is written to the agent.
pub(super) type Outcome = std::result::Result<i32, ExecError>;

/// How long it may take until the command has been executed.
const BEGINS_WITHIN: Duration = Duration::from_secs(30);

/// A command that runs, or is about to.
pub(super) struct Session {
    pub(super) container: ContainerId,
    state: State,
    /// Takes an [`Outcome`].
    ended: OwnedFd,
}

enum State {
    Opening {
        asker: Asker,
        near: NearEnds,
        deadline: Mono,
    },
    Running(Running),
}

/// What a command was asked for with, and what came of it.
pub(super) type Opened = (Asker, std::result::Result<NearEnds, ExecError>);

impl Session {
    /// One that is about to be started, with its far ends.
    pub(super) fn new(
        container: ContainerId,
        place: &Place<'_>,
        key: u64,
        request: SessionRequest,
        asker: Asker,
    ) -> std::result::Result<(Self, Command, Vec<OwnedFd>), ExecError> {
        let system =
            |errno: Errno| ExecError::Runtime(format!("start command: {}", text::reason(errno)));
        let (ended, ended_in) = near_reader().map_err(system)?;
        rustix::io::ioctl_fionbio(&ended_in, true).map_err(system)?;
        let (near, far) = streams(&request, place, ended).map_err(system)?;
        let command = Command {
            key,
            argv: request.argv,
            stdin: far.stdin.is_some(),
            on_terminal: request.tty,
        };
        let far = far.in_order().map_err(system)?;
        place.give(&far);
        let state = State::Opening {
            asker,
            near,
            deadline: clock::mono() + BEGINS_WITHIN,
        };
        let session = Self {
            container,
            state,
            ended: ended_in,
        };
        Ok((session, command, far))
    }

    /// When it is taken for one that will never be executed.
    pub(super) const fn deadline(&self) -> Mono {
        match self.state {
            State::Opening { deadline, .. } => deadline,
            State::Running(_) => Mono(u64::MAX),
        }
    }

    /// It has been executed.
    pub(super) fn begin(&mut self, command: Running) -> Option<Opened> {
        match std::mem::replace(&mut self.state, State::Running(command)) {
            State::Opening { asker, near, .. } => Some((asker, Ok(near))),
            State::Running(_) => None,
        }
    }

    /// It will not be.
    pub(super) fn refuse(self, error: ExecError) -> Option<Opened> {
        match self.state {
            State::Opening { asker, .. } => Some((asker, Err(error))),
            State::Running(_) => None,
        }
    }

    /// Tells of its end if it has come, and says whether it has.
    pub(super) fn take(&self) -> bool {
        let State::Running(command) = &self.state else {
            return false;
        };
        let code = command.reap();
        if let Some(code) = code {
            tell(&self.ended, &Ok(code));
        }
        code.is_some()
    }
}

/// Tells the agent how a session ended. The few bytes always have room in their pipe.
pub(super) fn tell(ended: &OwnedFd, outcome: &Outcome) {
    if let Ok(json) = serde_json::to_vec(outcome) {
        let _agent_gone = rustix::io::write(ended, &json);
    }
}

/// The ends that the command gets.
struct FarEnds {
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: Option<OwnedFd>,
}

impl FarEnds {
    /// As a [`Command`] has them.
    fn in_order(self) -> Result<Vec<OwnedFd>> {
        let stderr = match self.stderr {
            Some(stderr) => stderr,
            None => rustix::io::fcntl_dupfd_cloexec(&self.stdout, 3)?,
        };
        let mut fds = vec![self.stdout, stderr];
        fds.extend(self.stdin);
        Ok(fds)
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
