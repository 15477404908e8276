//! Answers questions for names, in one pod or on the host.
//!
//! Two tasks: one for datagrams, one that accepts streams, and below them one for each question that is
//! forwarded, at most [`FORWARDED`] at a time, and one for each stream, at most [`STREAMS`]. What they read:
//! the newest zone. What is beyond a bound is answered with a failure, or waits in the kernel's queue.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use probelet_model::id::PodUid;
use probelet_names::{Malformed, Query, Reply, ResponseCode};
use probelet_proxy::ServiceKey;
use probelet_runtime::Runtime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::Names;

/// How many questions of others' names one pod may have under way.
const FORWARDED: usize = 64;

/// How many streams one pod may have.
const STREAMS: usize = 16;

/// How long a stream may say nothing.
const IDLE: Duration = Duration::from_secs(10);

/// The longest question that is read; a longer datagram is cut, and then not understood.
const LONGEST: usize = 4096;

/// How long to wait when the process or the kernel has run out of something.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(50);

/// What the tasks of one place share.
struct Place<R> {
    names: Arc<Names<R>>,
    /// `None` is the host.
    pod: Option<PodUid>,
    forwarded: Arc<Semaphore>,
}

/// Starts to answer.
pub(super) fn start<R: Runtime>(
    names: &Arc<Names<R>>,
    pod: Option<&PodUid>,
    datagrams: UdpSocket,
    streams: TcpListener,
) -> Vec<AbortHandle> {
    let place = Arc::new(Place {
        names: Arc::clone(names),
        pod: pod.cloned(),
        forwarded: Arc::new(Semaphore::new(FORWARDED)),
    });
    vec![
        tokio::spawn(serve_datagrams(Arc::clone(&place), Arc::new(datagrams))).abort_handle(),
        tokio::spawn(serve_streams(place, streams)).abort_handle(),
    ]
}

async fn serve_datagrams<R: Runtime>(place: Arc<Place<R>>, socket: Arc<UdpSocket>) {
    // Whatever is under way ends with this task.
    let mut forwarded = tokio::task::JoinSet::new();
    let mut buffer = vec![0; LONGEST];
    loop {
        while forwarded.try_join_next().is_some() {}
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // What has become of an earlier answer; nobody waits for that.
                tracing::debug!(%error, "no question");
                tokio::time::sleep(OUT_OF_RESOURCES).await;
                continue;
            }
        };
        let packet = &buffer[..length];
        let query = match Query::read(packet) {
            Ok(query) => query,
            Err(Malformed::Ignored) => continue,
            Err(Malformed::Answered(answer)) => {
                send(&socket, &answer, client).await;
                continue;
            }
        };
        if let Some(reply) = place.answer(&query).await {
            let answer = query.write_within(&reply, query.datagram());
            send(&socket, &answer, client).await;
            continue;
        }
        let Ok(permit) = Arc::clone(&place.forwarded).try_acquire_owned() else {
            let answer = query.write(&Reply::of(ResponseCode::ServerFailure));
            send(&socket, &answer, client).await;
            continue;
        };
        let (names, socket) = (Arc::clone(&place.names), Arc::clone(&socket));
        let packet = packet.to_vec();
        forwarded.spawn(async move {
            let _permit = permit;
            let answer = names.forwarder.ask(&query, &packet, false).await;
            let answer = query.fitting(answer);
            send(&socket, &answer, client).await;
        });
    }
}

async fn send(socket: &UdpSocket, answer: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(answer, client).await {
        tracing::debug!(%error, %client, "an answer was lost");
    }
}

async fn serve_streams<R: Runtime>(place: Arc<Place<R>>, listener: TcpListener) {
    let mut streams = tokio::task::JoinSet::new();
    loop {
        if streams.len() >= STREAMS {
            streams.join_next().await;
        }
        while streams.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let place = Arc::clone(&place);
                streams.spawn(async move {
                    let served = serve_stream(&place, stream).await;
                    if let Err(error) = served {
                        tracing::debug!(%error, "a stream of questions broke");
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "no stream of questions");
                tokio::time::sleep(OUT_OF_RESOURCES).await;
            }
        }
    }
}

/// Question after question, each with its length before it, until there is none for a while.
async fn serve_stream<R: Runtime>(place: &Place<R>, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let packet = async {
            let length = stream.read_u16().await?;
            let mut packet = vec![0; length.into()];
            stream.read_exact(&mut packet).await.map(|_| packet)
        };
        let packet = match tokio::time::timeout(IDLE, packet).await {
            Ok(Ok(packet)) => packet,
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_silent) => return Ok(()),
        };
        let answer = match Query::read(&packet) {
            Ok(query) => match place.answer(&query).await {
                Some(reply) => query.write(&reply),
                None => place.forward(&query, &packet).await,
            },
            Err(Malformed::Ignored) => return Ok(()),
            Err(Malformed::Answered(answer)) => answer,
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let answer = [&length.to_be_bytes()[..], &answer].concat();
        tokio::time::timeout(IDLE, stream.write_all(&answer)).await??;
    }
}

impl<R: Runtime> Place<R> {
    /// What the cluster knows; `None` if it is not the cluster's matter. Whoever is told of a Service reaches
    /// it.
    async fn answer(&self, query: &Query) -> Option<Reply> {
        let answer = self.names.known().zone.answer(query)?;
        if let (Some(pod), Some((namespace, name))) = (&self.pod, answer.service) {
            let service = ServiceKey { namespace, name };
            if let Err(error) = self.names.open(pod, &service).await {
                tracing::warn!(%pod, %service, "cannot be reached in this pod: {error}");
                return Some(Reply::of(ResponseCode::ServerFailure));
            }
        }
        Some(answer.reply)
    }

    async fn forward(&self, query: &Query, packet: &[u8]) -> Vec<u8> {
        match self.forwarded.try_acquire() {
            Ok(_permit) => self.names.forwarder.ask(query, packet, true).await,
            Err(_busy) => query.write(&Reply::of(ResponseCode::ServerFailure)),
        }
    }
}
