//! Pipes between a program and whoever is at the other end of its streams.
//!
//! The *far* end is the program's, the *near* one ours or the agent's. Near ends alone are non-blocking: a
//! program may rely on its reads and writes to block.

use std::os::fd::{AsFd, OwnedFd};

use probelet_runtime::ContainerConfig;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Result;
use rustix::pipe::{PipeFlags, pipe_with};

use super::command::StandardStreams;
use super::logs::Stream;
use crate::protocol::Ends;

/// Near ends on their way to the agent, with the pipe for the end among them.
#[derive(Debug, Default)]
pub(super) struct NearEnds {
    pub(super) kinds: Ends,
    pub(super) fds: Vec<OwnedFd>,
}

/// A pipe whose reading end is the near one.
pub(super) fn near_reader() -> Result<(OwnedFd, OwnedFd)> {
    let (near, far) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&near, true)?;
    Ok((near, far))
}

/// A pipe whose writing end is the near one.
pub(super) fn near_writer() -> Result<(OwnedFd, OwnedFd)> {
    let (far, near) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&near, true)?;
    Ok((near, far))
}

/// Where output goes that nobody wants.
pub(super) fn nowhere() -> Result<OwnedFd> {
    openat(
        CWD,
        "/dev/null",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// The pipes of a container that does not run on a terminal.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    pub(super) stdin: Option<OwnedFd>,
    /// Stdout and stderr.
    pub(super) outputs: [Option<OwnedFd>; 2],
}

impl Pipes {
    /// The near and the far ends.
    pub(super) fn make(config: &ContainerConfig) -> Result<(Self, Self)> {
        let (mut near, mut far) = (Self::default(), Self::default());
        if config.tty {
            return Ok((near, far));
        }
        if config.stdin {
            let (end, other) = near_writer()?;
            (near.stdin, far.stdin) = (Some(end), Some(other));
        }
        for stream in [Stream::Out, Stream::Err] {
            let (end, other) = near_reader()?;
            near.outputs[stream as usize] = Some(end);
            far.outputs[stream as usize] = Some(other);
        }
        Ok((near, far))
    }

    /// What a program begins with that has these; `None` without outputs.
    pub(super) fn standard(&self) -> Option<StandardStreams<'_>> {
        let [stdout, stderr] = &self.outputs;
        Some(StandardStreams {
            stdin: self.stdin.as_ref().map(AsFd::as_fd),
            stdout: stdout.as_ref()?.as_fd(),
            stderr: stderr.as_ref()?.as_fd(),
            on_terminal: false,
        })
    }
}
