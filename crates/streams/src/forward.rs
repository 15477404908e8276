//! Connections to a port somewhere else: `port-forward`.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use crate::remote::CREATION;
use crate::spdy::{Accept, NewStream};
use crate::websocket::{self, Protocol};
use crate::{Gone, Incoming, Outgoing};

/// One connection that a client wants to a port.
#[derive(Debug)]
pub struct Forward {
    /// The port.
    pub port: u16,
    /// What the client sends.
    pub incoming: Incoming,
    /// What it gets.
    pub outgoing: Outgoing,
    /// What went wrong, in words.
    pub errors: Outgoing,
    /// Both ways towards the client begin with the port.
    announced: bool,
}

impl Forward {
    /// Says what has to be said before anything else.
    ///
    /// # Errors
    /// [`Gone`] if the client has left.
    pub async fn begin(&self) -> Result<(), Gone> {
        if self.announced {
            let port = Bytes::copy_from_slice(&self.port.to_le_bytes());
            self.outgoing.send(port.clone()).await?;
            self.errors.send(port).await?;
        }
        Ok(())
    }
}

/// The connections that a client asks for over SPDY: each of them a stream for errors and one for data, which
/// say by their headers that they belong together.
///
/// Upstream: k8s.io/kubelet pkg/cri/streaming/portforward/httpstream.go, httpStreamHandler.
/// Shown by: streams_are_paired_by_their_request, a_stream_whose_other_half_does_not_come_is_told_so.
#[derive(Debug)]
pub struct Forwards {
    accept: Accept,
    halves: HashMap<String, Half>,
}

/// The first stream of a pair.
#[derive(Debug)]
struct Half {
    until: Instant,
    data: Option<(Incoming, Outgoing)>,
    errors: Option<Outgoing>,
}

impl Forwards {
    /// Over a connection of which nothing has been taken yet.
    #[must_use]
    pub fn new(accept: Accept) -> Self {
        Self {
            accept,
            halves: HashMap::new(),
        }
    }

    /// The next connection asked for; `None` when the client has left.
    ///
    /// Dropped before it answers, it may have taken a stream: to be called in a loop of its own.
    pub async fn next(&mut self) -> Option<Forward> {
        loop {
            let earliest = self.halves.values().map(|half| half.until).min();
            tokio::select! {
                stream = self.accept.next() => {
                    if let Some(forward) = self.take(stream?).await.ok()? {
                        return Some(forward);
                    }
                }
                () = sleep_until(earliest.unwrap_or_else(Instant::now)), if earliest.is_some() => {
                    self.give_up().await;
                }
            }
        }
    }

    async fn take(&mut self, stream: NewStream) -> Result<Option<Forward>, Gone> {
        let port = stream.header("port").parse().unwrap_or_default();
        let is_data = match stream.header("streamtype") {
            "data" => true,
            "error" => false,
            _ => return self.accept.refuse(stream).await.map(|()| None),
        };
        if port == 0 {
            return self.accept.refuse(stream).await.map(|()| None);
        }
        let request = request_id(&stream, is_data);
        let (incoming, outgoing) = self.accept.take(stream).await?;
        let half = self.halves.entry(request.clone()).or_insert_with(|| Half {
            until: Instant::now() + CREATION,
            data: None,
            errors: None,
        });
        let (taken, kind) = if is_data {
            (half.data.replace((incoming, outgoing)).is_some(), "data")
        } else {
            (half.errors.replace(outgoing).is_some(), "error")
        };
        if taken {
            self.fail(&request, |request| {
                format!(
                    "error processing stream for request {request}: {kind} stream already assigned"
                )
            })
            .await;
            return Ok(None);
        }
        if half.data.is_none() || half.errors.is_none() {
            return Ok(None);
        }
        let whole = self.halves.remove(&request);
        let pair = whole.and_then(|half| half.data.zip(half.errors));
        Ok(pair.map(|((incoming, outgoing), errors)| Forward {
            port,
            incoming,
            outgoing,
            errors,
            announced: false,
        }))
    }

    /// Of the pairs, those whose second stream has not come in time.
    async fn give_up(&mut self) {
        let now = Instant::now();
        let late = |(request, half): (&String, &Half)| (half.until <= now).then(|| request.clone());
        let late: Vec<String> = self.halves.iter().filter_map(late).collect();
        for request in late {
            self.fail(&request, |request| {
                format!("(request={request}) timed out waiting for streams")
            })
            .await;
        }
    }

    async fn fail(&mut self, request: &str, message: impl FnOnce(&str) -> String) {
        let Some(half) = self.halves.remove(request) else {
            return;
        };
        if let Some(errors) = half.errors {
            let _left = errors.send(Bytes::from(message(request))).await;
            let _left = errors.finish().await;
        }
        if let Some((_, outgoing)) = half.data {
            let _left = outgoing.finish().await;
        }
    }
}

/// Which streams belong together. A client of old says nothing of it, but opens the one after the other.
fn request_id(stream: &NewStream, is_data: bool) -> String {
    match stream.header("requestid") {
        "" if is_data => stream.id().saturating_sub(2).to_string(),
        "" => stream.id().to_string(),
        said => said.to_owned(),
    }
}

/// How many ports there are channels for.
pub const MAX_PORTS: usize = 128;

/// Over the channels of a WebSocket, one connection for each port that was asked for, [`MAX_PORTS`] at most: an
/// even channel for data, and the odd one after it for errors. Both begin with the port, in two bytes, the lower
/// first.
///
/// Upstream: k8s.io/kubelet pkg/cri/streaming/portforward/websocket.go, handleWebSocketStreams.
/// Shown by: each_port_has_two_channels_that_begin_with_its_number.
pub async fn over_channels<T>(
    io: T,
    protocol: Protocol,
    ports: &[u16],
    idle: Duration,
) -> (Vec<Forward>, websocket::Connection<T>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let readable: Vec<bool> = ports.iter().flat_map(|_| [true, false]).collect();
    let (incoming, channels, connection) = websocket::channels(io, protocol, &readable, idle).await;
    let incoming = incoming.into_iter().flatten();
    let numbered = (0..=254).step_by(2).zip(ports).zip(incoming);
    let forwards = numbered.map(|((channel, &port), incoming)| Forward {
        port,
        incoming,
        outgoing: channels.outgoing(channel),
        errors: channels.outgoing(channel + 1),
        announced: true,
    });
    (forwards.collect(), connection)
}
