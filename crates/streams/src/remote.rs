//! The streams of a process somewhere else: `exec` and `attach`.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use crate::spdy::{Accept, NewStream};
use crate::websocket::{self, Protocol};
use crate::{Gone, Incoming, Outgoing};

/// How long a client has to open the streams it has asked for.
///
/// Upstream: apimachinery pkg/util/remotecommand/constants.go, DefaultStreamCreationTimeout.
/// Shown by: a_client_that_does_not_open_its_streams_is_not_waited_for.
pub const CREATION: Duration = Duration::from_secs(30);

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;

/// Which streams the client has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The process reads what the client sends.
    pub stdin: bool,
    /// The client gets what the process writes.
    pub stdout: bool,
    /// The client gets what the process writes to stderr.
    pub stderr: bool,
    /// The process is on a terminal, whose size the client tells.
    pub tty: bool,
}

/// The streams of one process.
#[derive(Debug)]
pub struct Remote {
    /// What the process is to read, if that was asked for.
    pub stdin: Option<Incoming>,
    /// What the process writes, if that was asked for.
    pub stdout: Option<Outgoing>,
    /// What the process writes to stderr, if that was asked for.
    pub stderr: Option<Outgoing>,
    /// The sizes of the client's terminal, JSON values one after the other, if there is one.
    pub resize: Option<Incoming>,
    /// How it ended.
    pub status: Outgoing,
}

/// Over a WebSocket. The client gets an empty message at once, from which it knows that it is connected.
///
/// Upstream: apiserver pkg/util/proxy/websocket.go, createWebSocketStreams.
/// Shown by: a_websocket_session_from_greeting_to_close.
pub async fn over_websocket<T>(
    io: T,
    protocol: Protocol,
    wanted: Wanted,
    idle: Duration,
) -> (Remote, websocket::Connection<T>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut readable = [false; RESIZE as usize + 1];
    readable[usize::from(STDIN)] = wanted.stdin;
    readable[usize::from(RESIZE)] = wanted.tty;
    let (mut incoming, channels, connection) =
        websocket::channels(io, protocol, &readable, idle).await;
    let outgoing = |channel, wanted: bool| wanted.then(|| channels.outgoing(channel));
    let remote = Remote {
        stdin: incoming[usize::from(STDIN)].take(),
        stdout: outgoing(STDOUT, wanted.stdout),
        stderr: outgoing(STDERR, wanted.stderr),
        resize: incoming[usize::from(RESIZE)].take(),
        status: channels.outgoing(STATUS),
    };
    let lowest = remote.stdout.as_ref().or(remote.stderr.as_ref());
    let greeting = lowest
        .unwrap_or(&remote.status)
        .send(bytes::Bytes::new())
        .await;
    // There is room for it, and if the client has left, whoever runs the connection learns it.
    let _left = greeting;
    (remote, connection)
}

/// Over SPDY, when the client has opened all the streams it has asked for, or anyhow one for the status.
///
/// Upstream: k8s.io/kubelet pkg/cri/streaming/remotecommand/httpstream.go, v4ProtocolHandler.waitForStreams.
/// Shown by: a_spdy_session_waits_for_its_streams.
///
/// # Errors
/// [`Gone`] if the client has left, or does not open them in time.
pub async fn over_spdy(accept: &mut Accept, wanted: Wanted) -> Result<Remote, Gone> {
    let until = Instant::now() + CREATION;
    let (mut stdin, mut stdout, mut stderr, mut resize, mut status) =
        (None, None, None, None, None);
    loop {
        let missing = (wanted.stdin && stdin.is_none())
            || (wanted.stdout && stdout.is_none())
            || (wanted.stderr && stderr.is_none())
            || (wanted.tty && resize.is_none());
        if !missing && let Some(status) = status {
            return Ok(Remote {
                stdin,
                stdout,
                stderr,
                resize,
                status,
            });
        }
        let stream = timeout_at(until, accept.next())
            .await
            .map_err(|_| Gone)?
            .ok_or(Gone)?;
        match stream.header("streamtype") {
            "stdin" => stdin = Some(begin(accept, stream).await?.0),
            "stdout" => stdout = Some(begin(accept, stream).await?.1),
            "stderr" => stderr = Some(begin(accept, stream).await?.1),
            "resize" => resize = Some(begin(accept, stream).await?.0),
            "error" => status = Some(begin(accept, stream).await?.1),
            _ => accept.refuse(stream).await?,
        }
    }
}

async fn begin(accept: &Accept, stream: NewStream) -> Result<(Incoming, Outgoing), Gone> {
    accept.take(stream).await
}
