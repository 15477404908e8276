//! A WebSocket as a stream of bytes: what binary messages hold, one after the other.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{self, Message};

use super::channels::failed;
use super::config;
use crate::ConnectionError;
use crate::stream::PIECE;

/// The bytes of one WebSocket. Where a message begins and ends means nothing.
///
/// Upstream: client-go tools/portforward/tunneling_connection.go, TunnelingConnection.
/// Shown by: a_tunnel_carries_bytes_whatever_the_messages.
#[derive(Debug)]
pub struct Tunnel<T> {
    socket: WebSocketStream<T>,
    /// Of the last message, what has not been read.
    unread: Bytes,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Tunnel<T> {
    /// Takes a connection as a server.
    pub async fn accept(io: T) -> Self {
        Self {
            socket: WebSocketStream::from_raw_socket(io, Role::Server, Some(config())).await,
            unread: Bytes::new(),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tunnel<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.socket.poll_next_unpin(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                Some(Ok(Message::Text(_))) => {
                    let what = "a tunnel carries binary messages";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(broken(error).map_or(Ok(()), Err)),
                None => return Poll::Ready(Ok(())),
            }
        }
        let some = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..some]);
        self.unread.advance(some);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tunnel<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut socket = Pin::new(&mut self.socket);
        ready!(socket.as_mut().poll_ready(cx)).map_err(left)?;
        let some = &bytes[..bytes.len().min(PIECE)];
        let message = Message::Binary(Bytes::copy_from_slice(some));
        socket.start_send(message).map_err(left)?;
        Poll::Ready(Ok(some.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(left)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(left)
    }
}

/// What went wrong with reading; nothing if the client has closed the connection.
fn broken(error: tungstenite::Error) -> Option<io::Error> {
    failed(error).map(|error| match error {
        ConnectionError::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    })
}

fn left(error: tungstenite::Error) -> io::Error {
    broken(error).unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
}
