//! Reading and writing what a process reads and writes: a pipe, a socket or a terminal.

use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use probelet_streams::{Gone, Incoming, Outgoing};
use rustix::io::Errno;
use rustix::termios::{Winsize, tcsetwinsize};
use serde::Deserialize;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// How much is read at a time.
const READ: usize = 32 * 1024;
/// How long what has come of a terminal's size may be before it is whole.
const MAX_SIZE: usize = 4096;

/// A descriptor that is waited for.
#[expect(
    deprecated,
    reason = "it is sound for an OwnedFd, which stays what it is until it is dropped; what comes in its place has to be called unsafely"
)]
pub(super) fn waited(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    AsyncFd::new(fd)
}

/// Carries what a process writes to the client: until the other end is closed; or, once `is_done` says that the
/// process has ended, until all has been read that it wrote, whoever may still have the other end open.
///
/// Differs: upstream's runtimes wait for everybody who has it open, which is to say for every daemon that the
/// command has left behind.
/// Shown by: a_daemon_that_a_command_leaves_behind_is_not_waited_for.
pub(super) async fn copy_out(
    from: Option<OwnedFd>,
    to: Option<Outgoing>,
    is_done: watch::Receiver<bool>,
) {
    let Some(to) = to else {
        return;
    };
    if let Some(from) = from {
        match drain(from, &to, is_done).await {
            Ok(()) => {}
            Err(DrainError::Gone(Gone)) => return,
            Err(DrainError::Io(error)) => tracing::debug!("reading what a process writes: {error}"),
        }
    }
    let _left = to.finish().await;
}

/// Why the rest is not carried.
#[derive(Debug, thiserror::Error)]
enum DrainError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Gone(#[from] Gone),
}

async fn drain(
    from: OwnedFd,
    to: &Outgoing,
    mut is_done: watch::Receiver<bool>,
) -> Result<(), DrainError> {
    let from = waited(from)?;
    let mut buffer = vec![0; READ];
    loop {
        let read = tokio::select! {
            biased;
            read = read(&from, &mut buffer) => read?,
            _ = is_done.wait_for(|done| *done) => match read_now(&from, &mut buffer)? {
                Some(read) => read,
                None => return Ok(()),
            },
        };
        if read == 0 {
            return Ok(());
        }
        to.send(Bytes::copy_from_slice(&buffer[..read])).await?;
    }
}

async fn read(from: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut ready = from.readable().await?;
        match ready.try_io(|from| Ok(read_now(from, buffer)?.ok_or(io::ErrorKind::WouldBlock)?)) {
            Ok(read) => return read,
            Err(_would_block) => {}
        }
    }
}

/// Reads what is there; `None` if that is nothing yet, 0 at the end.
fn read_now(from: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match rustix::io::read(from.get_ref(), &mut *buffer) {
            Ok(read) => return Ok(Some(read)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            // A terminal whose other end nobody has open any more.
            Err(Errno::IO) => return Ok(Some(0)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Carries what the client sends to a process, until the one has no more or the other reads no more.
pub(super) async fn copy_in(from: Option<Incoming>, to: Option<OwnedFd>) {
    let (Some(mut from), Some(to)) = (from, to) else {
        return;
    };
    let to = match waited(to) {
        Ok(to) => to,
        Err(error) => return tracing::debug!("the stdin of a process: {error}"),
    };
    while let Ok(Some(data)) = from.next().await {
        if write(&to, &data).await.is_err() {
            return;
        }
    }
}

async fn write(to: &AsyncFd<OwnedFd>, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let mut ready = to.writable().await?;
        let written = ready.try_io(|to| match rustix::io::write(to.get_ref(), data) {
            Err(Errno::INTR) => Ok(0),
            written => Ok(written?),
        });
        if let Ok(written) = written {
            data = &data[written?..];
        }
    }
    Ok(())
}

/// The size of a terminal, as a client tells it.
///
/// Upstream: client-go tools/remotecommand/resize.go, TerminalSize.
/// Shown by: sizes_are_read_however_they_are_cut, a_terminal_has_the_size_of_the_clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TerminalSize {
    #[serde(default)]
    width: u16,
    #[serde(default)]
    height: u16,
}

/// Gives a terminal the sizes that the client tells, until it tells one that cannot be read.
pub(super) async fn resize(from: Option<Incoming>, terminal: Option<OwnedFd>) {
    let (Some(mut from), Some(terminal)) = (from, terminal) else {
        return;
    };
    let mut text = Vec::new();
    while let Ok(Some(data)) = from.next().await {
        text.extend_from_slice(&data);
        let Some((sizes, taken)) = sizes(&text) else {
            return;
        };
        text.drain(..taken);
        if text.len() > MAX_SIZE {
            return;
        }
        // Of several that have come, the last is how it is now.
        let Some(size) = sizes.last() else {
            continue;
        };
        let size = Winsize {
            ws_row: size.height,
            ws_col: size.width,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        if let Err(error) = tcsetwinsize(&terminal, size) {
            return tracing::debug!("the size of a terminal: {error}");
        }
    }
}

/// The sizes at the beginning of a text, and how long they are in it; nothing if it goes on with something else.
fn sizes(text: &[u8]) -> Option<(Vec<TerminalSize>, usize)> {
    let mut stream = serde_json::Deserializer::from_slice(text).into_iter();
    let mut sizes = Vec::new();
    let mut taken = 0;
    loop {
        match stream.next() {
            Some(Ok(size)) => sizes.push(size),
            Some(Err(error)) if !error.is_eof() => return None,
            Some(Err(_)) | None => return Some((sizes, taken)),
        }
        taken = stream.byte_offset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_however_they_are_cut() {
        let check = |text: &str, expected: Option<(&[(u16, u16)], usize)>| {
            let read = sizes(text.as_bytes());
            let read = read.map(|(sizes, taken)| {
                let pairs = sizes.iter().map(|size| (size.width, size.height));
                (pairs.collect::<Vec<_>>(), taken)
            });
            let expected = expected.map(|(sizes, taken)| (sizes.to_vec(), taken));
            assert_eq!(read, expected, "{text}");
        };
        let one = "{\"Width\":100,\"Height\":40}";
        check(one, Some((&[(100, 40)], 25)));
        check(
            &format!("{one}\n{one}"),
            Some((&[(100, 40), (100, 40)], 51)),
        );
        check(&format!("{one}\n{{\"Wid"), Some((&[(100, 40)], 25)));
        check("{\"Height\":7}", Some((&[(0, 7)], 12)));
        check("", Some((&[], 0)));
        check("{\"Wid", Some((&[], 0)));
        check("{\"Width\":-1}", None);
        check("no", None);
    }
}
