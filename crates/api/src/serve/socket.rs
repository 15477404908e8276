//! A connection that is cut when it must be.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How many watches there are on a connection.
///
/// While there are any, the peer has to take what it is sent. Other answers may wait as long as they like, as a
/// pager on `kubectl logs -f` has them wait.
#[derive(Debug, Default)]
pub(super) struct Gate {
    watches: AtomicUsize,
}

impl Gate {
    /// One more watch, until it is dropped.
    pub(super) fn watch(self: &Arc<Self>) -> Watched {
        self.watches.fetch_add(1, Ordering::Relaxed);
        Watched(Arc::clone(self))
    }
}

/// Counts as a watch on its connection.
#[derive(Debug)]
pub(super) struct Watched(Arc<Gate>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that ends when the server has ended, and when its peer says nothing at first or stands still where it
/// must not.
pub(super) struct Socket<S> {
    stream: S,
    gate: Arc<Gate>,
    stall_timeout: Duration,
    /// Runs until the peer has said something.
    silent: Option<Pin<Box<Sleep>>>,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_closed: bool,
}

impl<S> Socket<S> {
    pub(super) fn new(
        stream: S,
        gate: Arc<Gate>,
        silent_timeout: Duration,
        stall_timeout: Duration,
        closed: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self {
            stream,
            gate,
            stall_timeout,
            silent: Some(Box::pin(tokio::time::sleep(silent_timeout))),
            stalled: None,
            closed: Box::pin(closed),
            is_closed: false,
        }
    }

    fn poll_closed(&mut self, context: &mut Context<'_>) -> bool {
        self.is_closed = self.is_closed || self.closed.as_mut().poll(context).is_ready();
        self.is_closed
    }

    /// What becomes of an attempt to write: as it is, unless it has been going nowhere for too long.
    fn unless_stalled<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let timeout = self.stall_timeout;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if stalled.as_mut().poll(context).is_ready() {
            if self.gate.watches.load(Ordering::Relaxed) > 0 {
                let message = "the reader of a watch took nothing for too long";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
            }
            // A watch may yet begin on this connection.
            self.stalled = None;
        }
        Poll::Pending
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the server has ended")
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.poll_closed(context) {
            return Poll::Ready(Err(ended()));
        }
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.silent = None;
        } else if let Some(silent) = &mut self.silent
            && silent.as_mut().poll(context).is_ready()
        {
            let message = "the client has said nothing";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.poll_closed(context) {
            return Poll::Ready(Err(ended()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.unless_stalled(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.poll_closed(context) {
            return Poll::Ready(Err(ended()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.unless_stalled(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.unless_stalled(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
