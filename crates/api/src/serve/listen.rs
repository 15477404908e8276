//! The sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use probelet_runtime::Runtime;
use rustix::net::sockopt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::socket::{Gate, Socket};
use super::strangers::{Stranger, Strangers};
use super::tls::{Tls, TlsError};
use super::{Api, Limits, Peer};
use crate::access::Certificates;

/// How many ports behind the wished one are tried.
const FURTHER_PORTS: u16 = 100;
/// How long a server that has no more file descriptors waits for one.
const AFTER_ERROR: Duration = Duration::from_millis(100);
/// What Go's server says to whoever speaks HTTP where TLS is spoken.
const PLAIN_HTTP: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Why a server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Others than this host's own would be let in, and nobody has said that they may.
    #[error(
        "{0} is not a loopback address, and other hosts are let in only where that is asked for, too (--listen-to-others)"
    )]
    NotLoopback(IpAddr),
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    Bind {
        /// The one wished for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no TLS.
    #[error("cannot serve TLS")]
    Tls(#[from] TlsError),
}

/// Who may connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// This host alone.
    #[default]
    Loopback,
    /// Whoever reaches the address.
    Anybody,
}

/// A server that listens, and answers once it runs.
#[derive(Debug)]
pub struct Server<R> {
    api: Arc<Api<R>>,
    listener: TcpListener,
    tls: Arc<Tls>,
    address: SocketAddr,
}

impl<R: Runtime> Api<R> {
    /// Listens at an address: at its port, or, if somebody else does, at the next that is free.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn listen(
        self: &Arc<Self>,
        address: SocketAddr,
        reach: Reach,
        certificates: &Certificates,
    ) -> Result<Server<R>, ListenError> {
        if reach == Reach::Loopback && !address.ip().is_loopback() {
            return Err(ListenError::NotLoopback(address.ip()));
        }
        let tls = Arc::new(Tls::new(certificates, self.clock)?);
        let bind_error = |source| ListenError::Bind { address, source };
        let listener = bind(address).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        Ok(Server {
            api: Arc::clone(self),
            listener,
            tls,
            address,
        })
    }
}

async fn bind(wished: SocketAddr) -> io::Result<TcpListener> {
    let last = if wished.port() == 0 {
        0
    } else {
        wished.port().saturating_add(FURTHER_PORTS)
    };
    let mut address = wished;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() < last => {
                address.set_port(address.port() + 1);
            }
            bound => return bound,
        }
    }
}

impl<R: Runtime> Server<R> {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `end`; then no connection is taken any more, watches end at once, what is being answered has
    /// the time of [`Limits::end_grace`], and then every connection ends, upgraded ones too.
    pub async fn run(self, end: impl Future<Output = ()> + Send) {
        let limits = self.api.options.limits;
        let room = Arc::new(Semaphore::new(limits.connections));
        let strangers = Strangers::new(limits.strangers);
        let closed = watch::Sender::new(false);
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut end = std::pin::pin!(end);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut end => break,
                Some(_ended) = connections.join_next() => continue,
                accepted = accept(&self.listener, &room) => accepted,
            };
            let (stream, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(AFTER_ERROR).await;
                    continue;
                }
            };
            let connection = Connection {
                api: Arc::clone(&self.api),
                tls: Arc::clone(&self.tls),
                closed: closed.subscribe(),
                watcher: graceful.watcher(),
                stranger: strangers.enter(),
            };
            let number = connection.stranger.number();
            let task = connections.spawn(async move {
                if let Err(error) = Box::pin(connection.serve(stream)).await {
                    tracing::debug!(%error, "a connection has ended");
                }
                drop(permit);
            });
            strangers.served_by(number, task);
        }
        drop(self.listener);
        self.api.stopping.send_replace(true);
        // A grace that is over is no failure: what is left is cut.
        let _finished = timeout(limits.end_grace, graceful.shutdown()).await;
        closed.send_replace(true);
        let rest = async { while connections.join_next().await.is_some() {} };
        let _ended = timeout(AFTER_ERROR, rest).await;
        connections.shutdown().await;
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room)
        .acquire_owned()
        .await
        .expect("nobody closes it");
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

struct Connection<R> {
    api: Arc<Api<R>>,
    tls: Arc<Tls>,
    closed: watch::Receiver<bool>,
    watcher: hyper_util::server::graceful::Watcher,
    stranger: Arc<Stranger>,
}

impl<R: Runtime> Connection<R> {
    async fn serve(
        self,
        mut stream: TcpStream,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let limits = self.api.options.limits;
        // What a connection can do without.
        let _optional = stream.set_nodelay(true);
        let _optional = sockopt::set_socket_keepalive(&stream, true);
        let local = stream.local_addr()?;
        let mut first = [0];
        timeout(limits.request_timeout, stream.peek(&mut first)).await??;
        if first[0].is_ascii_uppercase() {
            stream.write_all(PLAIN_HTTP).await?;
            stream.shutdown().await?;
            return Ok(());
        }
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls.config));
        let stream = timeout(limits.request_timeout, acceptor.accept(stream)).await??;
        let gate = Arc::new(Gate::default());
        let peer = Peer {
            user: self.tls.user(stream.get_ref().1.peer_certificates()),
            local,
            gate: Arc::clone(&gate),
            stranger: self.stranger,
        };
        if peer.user.is_some() {
            peer.stranger.is_known();
        }
        let mut closed = self.closed;
        let closed = async move {
            // The sender is gone only with the server.
            let _ended = closed.wait_for(|closed| *closed).await;
        };
        let socket = Socket::new(
            stream,
            gate,
            limits.request_timeout,
            limits.stall_timeout,
            closed,
        );
        let api = self.api;
        let service = service_fn(move |request| Arc::clone(&api).handle(peer.clone(), request));
        let builder = builder(limits);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(socket), service);
        self.watcher.watch(connection.into_owned()).await
    }
}

fn builder(limits: Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request_timeout)
        .max_buf_size(usize::try_from(limits.head_bytes).unwrap_or(usize::MAX));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits.head_bytes)
        .max_concurrent_streams(250)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(15));
    builder
}
