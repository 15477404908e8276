//! A TCP socket that meets the event loop as late as it can.
//!
//! A connection to a pod of this host is made before `connect` returns, and a small request fits the
//! send buffer, so neither waits for anything. Registering with the event loop only once there is
//! something to wait for spares most attempts a wake-up, and a tcpSocket attempt the event loop.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::sockopt::{set_tcp_nodelay, socket_error};
use rustix::net::{SendFlags, getpeername, getsockname, send};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::go;

/// A connected, non-blocking TCP socket.
///
/// Differs: upstream sets SO_LINGER to one second in the hope of a shorter TIME-WAIT. Linux does not
/// shorten it; it makes `close` wait, even on a non-blocking socket, until the peer's kernel has
/// acknowledged our FIN: 4 to 8 ms after each tcpSocket attempt (its delayed acknowledgement), a second
/// if the peer is gone. That would hold up every attempt on the same thread, so it is left off; the
/// peer sees the same segments either way.
/// Upstream: pkg/probe/dialer_others.go, ProbeDialer.
/// Shown by: a_connection_is_closed_at_once_and_nothing_is_sent, closing_never_waits_for_the_target.
#[derive(Debug)]
pub(crate) struct Socket {
    io: Io,
    peer: SocketAddr,
    /// The first bytes received, for telling what a server that speaks no TLS speaks instead.
    greeting: Greeting,
}

#[derive(Debug, Default)]
struct Greeting {
    bytes: [u8; 5],
    len: usize,
}

/// Whether the event loop knows the socket.
#[derive(Debug)]
enum Io {
    Bare(OwnedFd),
    Registered(TcpStream),
    /// Registering failed, and the socket is closed.
    Lost,
}

impl Socket {
    /// Connects `socket`, which is non-blocking, to `peer`.
    pub(crate) async fn connect(socket: OwnedFd, peer: SocketAddr) -> io::Result<Self> {
        let mut this = Self {
            io: Io::Bare(socket),
            peer,
            greeting: Greeting::default(),
        };
        match rustix::net::connect(this.fd()?, &peer) {
            Ok(()) => {}
            Err(Errno::INPROGRESS) if is_connected(this.fd()?)? => {}
            Err(Errno::INPROGRESS) => this.established().await?,
            Err(error) => return Err(error.into()),
        }
        this.refuse_itself()?;
        Ok(this)
    }

    /// Waits for the handshake that `connect` has begun.
    async fn established(&mut self) -> io::Result<()> {
        let stream = self.registered()?;
        stream.writable().await?;
        match stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// A socket that is connected to itself has met nobody: on one host, a port that nobody listens on can be
    /// the one the kernel picks for our own end.
    ///
    /// Upstream: Go src/net/tcpsock_posix.go, selfConnect.
    /// Shown by: a_socket_that_meets_itself_has_met_nobody.
    fn refuse_itself(&self) -> io::Result<()> {
        if self.local()? == self.peer {
            Err(Errno::CONNREFUSED.into())
        } else {
            Ok(())
        }
    }

    /// Our own address.
    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        Ok(getsockname(self.fd()?)?.try_into()?)
    }

    /// The target's address.
    pub(crate) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// An error of reading or writing in Go's words: `read tcp 10.0.0.2:40000->10.0.0.1:80: read:
    /// connection reset by peer`.
    ///
    /// Upstream: Go src/net/net.go, OpError.Error.
    /// Shown by: a_reset_connection, a_connection_reset_during_the_call.
    pub(crate) fn describe(&self, doing: &str, error: &io::Error) -> String {
        let local = self
            .local()
            .map_or_else(|_| "?".to_owned(), |local| local.to_string());
        format!(
            "{doing} tcp {local}->{}: {doing}: {}",
            self.peer,
            go::errno(error)
        )
    }

    /// The first bytes received, five at most.
    pub(crate) fn greeting(&self) -> &[u8] {
        &self.greeting.bytes[..self.greeting.len]
    }

    /// Sends small segments at once, for exchanges of more than one round trip.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        Ok(set_tcp_nodelay(self.fd()?, true)?)
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.io {
            Io::Bare(fd) => Ok(fd.as_fd()),
            Io::Registered(stream) => Ok(stream.as_fd()),
            Io::Lost => Err(lost()),
        }
    }

    fn registered(&mut self) -> io::Result<&mut TcpStream> {
        if let Io::Bare(_) = self.io
            && let Io::Bare(fd) = std::mem::replace(&mut self.io, Io::Lost)
        {
            self.io = Io::Registered(TcpStream::from_std(fd.into())?);
        }
        match &mut self.io {
            Io::Registered(stream) => Ok(stream),
            Io::Bare(_) | Io::Lost => Err(lost()),
        }
    }
}

fn lost() -> io::Error {
    Errno::BADF.into()
}

/// Whether a socket that has begun to connect is through already; an error if it was refused.
fn is_connected(fd: BorrowedFd<'_>) -> io::Result<bool> {
    match getpeername(fd) {
        Ok(_) => Ok(true),
        Err(Errno::NOTCONN) => {
            socket_error(fd)??;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(this.registered()?).poll_read(cx, buf))?;
        this.greeting.note(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl Greeting {
    fn note(&mut self, received: &[u8]) {
        let room = &mut self.bytes[self.len..];
        let len = room.len().min(received.len());
        room[..len].copy_from_slice(&received[..len]);
        self.len += len;
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Io::Bare(fd) = &this.io {
            match send(fd, bytes, SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN) => {}
                sent => return Poll::Ready(Ok(sent?)),
            }
        }
        Pin::new(this.registered()?).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Closing is all the shutdown an attempt needs.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
