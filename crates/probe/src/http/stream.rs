//! What a response comes in on, plain or through TLS, and the bytes of it not yet used.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::http::tls;
use crate::socket::Socket;

/// A connection to the server of one hop.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(Socket),
    /// Boxed: it is a hundred times as large as the other.
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    /// An error of reading or writing in Go's words.
    fn describe(&self, doing: &str, error: &io::Error) -> String {
        if let Some(text) = tls::describe(error) {
            return text;
        }
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        };
        socket.describe(doing, error)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => match Pin::new(&mut **stream).poll_read(cx, buf) {
                // The peer closed without saying so in TLS; Go takes that for an ordinary end.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Poll::Ready(Ok(()))
                }
                read => read,
            },
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

/// A stream with the bytes that have come and are not used yet.
#[derive(Debug)]
pub(super) struct Received {
    stream: Stream,
    bytes: Vec<u8>,
    used: usize,
}

impl Received {
    pub(super) const fn new(stream: Stream) -> Self {
        Self {
            stream,
            bytes: Vec::new(),
            used: 0,
        }
    }

    /// Sends a request; Go's text on error.
    pub(super) async fn send(&mut self, request: &[u8]) -> Result<(), String> {
        let sent = match self.stream.write_all(request).await {
            Ok(()) => self.stream.flush().await,
            Err(error) => Err(error),
        };
        sent.map_err(|error| self.stream.describe("write", &error))
    }

    /// What has come and is not used yet.
    pub(super) fn unused(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    /// Marks `count` of [`Received::unused`] as used.
    pub(super) fn take(&mut self, count: usize) {
        self.used += count;
    }

    /// Waits for more; false if there is no more. Used bytes are forgotten first, so memory is bounded
    /// by what a caller leaves unused. Go's text on error.
    pub(super) async fn more(&mut self) -> Result<bool, String> {
        self.bytes.drain(..self.used);
        self.used = 0;
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(1024);
        }
        match self.stream.read_buf(&mut self.bytes).await {
            Ok(received) => Ok(received > 0),
            Err(error) => Err(self.stream.describe("read", &error)),
        }
    }
}
