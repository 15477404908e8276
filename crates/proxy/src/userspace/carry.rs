//! From a client to a backend, and all bytes both ways.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{Connect, Route};
use crate::plan::Backend;

/// How long one backend may take to accept. Pods are on this host: a connection takes well under a
/// millisecond, unless its queue is full.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long to wait when the process or the kernel has run out of something. The connection stays in the
/// kernel's queue, so `accept` would fail again at once.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(50);

/// Accepts until the door is closed or everything ends.
pub(super) async fn accept<C: Connect>(
    listener: TcpListener,
    route: Arc<Route>,
    connect: Arc<C>,
    mut closing: watch::Receiver<bool>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot wait for connections"),
    };
    loop {
        let Ok(permit) = Arc::clone(&route.room).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        match accepted {
            Ok((client, _)) => {
                let mut closing = closing.clone();
                let (route, connect) = (Arc::clone(&route), Arc::clone(&connect));
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry(client, &route, &*connect, permit) => {}
                        _ = closing.wait_for(|closing| *closing) => {}
                    }
                });
            }
            Err(error) => match Errno::from_io_error(&error) {
                // The door was closed.
                Some(Errno::INVAL) => return,
                Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    tracing::warn!(%error, "cannot accept for now");
                    tokio::time::sleep(OUT_OF_RESOURCES).await;
                }
                // What happened to one client before it was accepted.
                _ => tracing::debug!(%error, "a client was lost"),
            },
        }
    }
}

async fn carry<C: Connect>(
    mut client: TcpStream,
    route: &Route,
    connect: &C,
    _permit: OwnedSemaphorePermit,
) {
    let Some(mut server) = reach(route, connect).await else {
        reset(&client);
        return;
    };
    // Whoever wrote has decided what a packet is.
    for end in [&client, &server] {
        if let Err(error) = end.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
    }
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut server).await {
        // An end that broke off must not look like one that had said everything.
        tracing::debug!(%error, "a connection broke");
        reset(&client);
        reset(&server);
    }
}

/// A connection to the backend whose turn it is, or to the next one that can be reached.
async fn reach<C: Connect>(route: &Route, connect: &C) -> Option<TcpStream> {
    let turn = route.turn.fetch_add(1, Ordering::Relaxed);
    let mut tried: Vec<Backend> = Vec::new();
    loop {
        // Fresh for each attempt: readiness may have moved while the last one failed.
        let backends = route.backends();
        let start = turn.checked_rem(backends.len())?;
        let in_turn = backends[start..].iter().chain(&backends[..start]);
        let backend = in_turn
            .into_iter()
            .find(|backend| !tried.contains(backend))?;
        let address = SocketAddr::new(backend.ip, backend.port);
        let attempt = tokio::time::timeout(PATIENCE, connect.connect(&backend.pod, address)).await;
        match attempt
            .unwrap_or_else(|elapsed| Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)))
        {
            Ok(server) => return Some(server),
            Err(error) => {
                tracing::debug!(pod = %backend.pod, %address, %error, "trying the next backend")
            }
        }
        tried.push(backend.clone());
    }
}

/// Makes the close that follows a reset.
fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "closed without a reset");
    }
}
