//! The agent's end of a session: near ends as they came from the shim, and a task that waits for the end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use probelet_runtime::{ExecError, Session};
use rustix::io::Errno;
use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::layout;
use crate::protocol::Ends;
use crate::sys;

/// Makes a session of what [`crate::protocol::Answer::Session`] has brought.
pub(crate) fn take(ends: Ends, fds: Vec<OwnedFd>) -> Result<Session, ExecError> {
    let mut fds = fds.into_iter();
    let mut next = |comes: bool| {
        if !comes {
            return Ok(None);
        }
        let fd = fds.next();
        fd.map(Some)
            .ok_or_else(|| ExecError::Runtime("the shim sent too few descriptors".into()))
    };
    let end = next(true)?;
    let (stdin, stdout) = (next(ends.stdin)?, next(ends.stdout)?);
    let (stderr, terminal) = (next(ends.stderr)?, next(ends.terminal)?);
    let (sender, ended) = oneshot::channel();
    let end = end
        .map(|end| sys::watch(end, Interest::READABLE))
        .transpose();
    let end = end.map_err(|error| ExecError::Runtime(format!("watch a session: {error}")))?;
    if let Some(end) = end {
        tokio::spawn(wait(end, sender));
    }
    Ok(Session {
        stdin,
        stdout,
        stderr,
        terminal,
        ended,
    })
}

/// Reads how a session has ended, or closes the pipe, by which the shim knows that nobody waits.
async fn wait(end: AsyncFd<OwnedFd>, mut ended: oneshot::Sender<Result<i32, ExecError>>) {
    let outcome = tokio::select! {
        outcome = read(&end) => outcome,
        () = ended.closed() => return,
    };
    let outcome = outcome
        .unwrap_or_else(|error| Err(ExecError::Runtime(format!("wait for a session: {error}"))));
    let _nobody_waits = ended.send(outcome);
}

async fn read(end: &AsyncFd<OwnedFd>) -> io::Result<Result<i32, ExecError>> {
    let mut json = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let mut ready = end.readable().await?;
        match rustix::io::read(end.as_fd(), &mut buffer) {
            Ok(0) => break,
            Ok(length) => json.extend_from_slice(&buffer[..length]),
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    if json.is_empty() {
        // A shim is killed with all it has.
        return Ok(Ok(layout::code_of_signal(Signal::KILL.as_raw())));
    }
    Ok(serde_json::from_slice(&json)?)
}
