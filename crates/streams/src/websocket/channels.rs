//! Channels: every message begins with the number of the channel it belongs to.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{self, Message};

use super::{Protocol, config};
use crate::idle::Idle;
use crate::stream::{Inlet, OUTBOUND, Outbound, inlet};
use crate::{ConnectionError, HEARTBEAT, Incoming, LINGER, Outgoing};

/// The channel on which the client says that another one has ended.
const END: u8 = 255;

/// Takes a connection as a server. `readable` says of each channel, from 0, whether the client may write on it;
/// what comes on another is thrown away.
///
/// The connection ends when the client closes it; or, after [`Channels`] and all its [`Outgoing`]s have been
/// dropped, by a close frame and as soon as the client answers that.
pub async fn channels<T>(
    io: T,
    protocol: Protocol,
    readable: &[bool],
    idle: Duration,
) -> (Vec<Option<Incoming>>, Channels, Connection<T>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config())).await;
    let (write, read) = socket.split();
    let (outbound, to_write) = mpsc::channel(OUTBOUND);
    let (inlets, incoming) = readable
        .iter()
        .map(|&readable| readable.then(inlet).unzip())
        .unzip();
    let idle = Arc::new(Idle::new(idle));
    let connection = Connection {
        reader: Reader {
            socket: read,
            protocol,
            inlets,
            idle: Arc::clone(&idle),
            // Not a sender: when nobody has anything to say any more, the writer is to know.
            outbound: outbound.downgrade(),
        },
        writer: Writer {
            socket: write,
            protocol,
            idle: Arc::clone(&idle),
            outbound: to_write,
        },
        idle,
    };
    (incoming, Channels { outbound }, connection)
}

/// The channels towards the client.
#[derive(Debug)]
pub struct Channels {
    outbound: mpsc::Sender<Outbound>,
}

impl Channels {
    /// What is sent on a channel.
    #[must_use]
    pub fn outgoing(&self, channel: u8) -> Outgoing {
        let reset = Arc::new(AtomicBool::new(false));
        Outgoing::new(u32::from(channel), self.outbound.clone(), reset)
    }
}

/// The messages of a connection both ways, to be run beside what uses its channels.
#[derive(Debug)]
pub struct Connection<T> {
    reader: Reader<T>,
    writer: Writer<T>,
    idle: Arc<Idle>,
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection<T> {
    /// Carries everything until the connection ends.
    ///
    /// # Errors
    /// [`ConnectionError`] if one side was not done yet.
    pub async fn run(self) -> Result<(), ConnectionError> {
        let reading = self.reader.run();
        let writing = self.writer.run();
        tokio::pin!(reading, writing);
        tokio::select! {
            ended = &mut reading => ended,
            written = &mut writing => {
                written?;
                timeout(LINGER, reading).await.unwrap_or(Err(ConnectionError::Idle))
            }
            () = self.idle.expired() => Err(ConnectionError::Idle),
        }
    }
}

#[derive(Debug)]
struct Reader<T> {
    socket: SplitStream<WebSocketStream<T>>,
    protocol: Protocol,
    inlets: Vec<Option<Inlet>>,
    idle: Arc<Idle>,
    outbound: mpsc::WeakSender<Outbound>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Reader<T> {
    /// Until the client has closed the connection. Pings are answered on the way.
    async fn run(mut self) -> Result<(), ConnectionError> {
        while let Some(message) = self.socket.next().await {
            self.idle.mark();
            let message = match message.map_err(failed) {
                Ok(Message::Binary(bytes)) => bytes,
                Ok(Message::Text(text)) => text.into(),
                Ok(_) => continue,
                Err(None) => return Ok(()),
                Err(Some(error)) => return Err(error),
            };
            self.take(message).await?;
        }
        Ok(())
    }

    async fn take(&mut self, mut message: Bytes) -> Result<(), ConnectionError> {
        if message.is_empty() {
            return Ok(());
        }
        let first = message.split_to(1)[0];
        if self.protocol.ends && first == END {
            return self.end(&message);
        }
        let channel = if self.protocol.base64 {
            first.wrapping_sub(b'0')
        } else {
            first
        };
        let Some(Some(inlet)) = self.inlets.get(usize::from(channel)) else {
            return Ok(());
        };
        if self.protocol.base64 {
            let decoded = BASE64.decode(&message).map_err(broken)?;
            message = Bytes::from(decoded);
        }
        let pushing = inlet.push(message);
        tokio::pin!(pushing);
        while timeout(HEARTBEAT, &mut pushing).await.is_err() {
            self.beat().await;
        }
        Ok(())
    }

    fn end(&mut self, message: &[u8]) -> Result<(), ConnectionError> {
        let &[channel] = message else {
            return Err(broken(
                "a single byte, the channel, should follow the signal that one has ended",
            ));
        };
        let inlet = self.inlets.get_mut(usize::from(channel));
        if let Some(inlet) = inlet.and_then(Option::take) {
            inlet.end();
        }
        Ok(())
    }

    /// Pings of the client are not read while its input waits to be; a pong that it has not asked for tells it
    /// as well that there is still somebody, and us if it is not.
    ///
    /// Differs: upstream leaves such a client without an answer, which gives up after a minute.
    /// Shown by: a_client_whose_input_waits_is_told_that_the_connection_lives,
    /// a_client_that_leaves_while_its_input_waits_is_noticed.
    async fn beat(&self) {
        if let Some(outbound) = self.outbound.upgrade() {
            let _ended = outbound.send(Outbound::Ping(Bytes::new())).await;
        }
    }
}

#[derive(Debug)]
struct Writer<T> {
    socket: SplitSink<WebSocketStream<T>, Message>,
    protocol: Protocol,
    idle: Arc<Idle>,
    outbound: mpsc::Receiver<Outbound>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Writer<T> {
    /// Until nobody has anything to say; the close frame has been sent then.
    async fn run(mut self) -> Result<(), ConnectionError> {
        while let Some(outbound) = self.outbound.recv().await {
            if let Some(message) = self.message(outbound) {
                self.send(message).await?;
            }
        }
        let close = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        self.send(Message::Close(Some(close))).await
    }

    fn message(&self, outbound: Outbound) -> Option<Message> {
        match outbound {
            Outbound::Data { stream, data } => {
                let channel = u8::try_from(stream).ok()?;
                if self.protocol.base64 {
                    let mut text = String::from(char::from(b'0'.wrapping_add(channel)));
                    BASE64.encode_string(&data, &mut text);
                    return Some(Message::text(text));
                }
                let mut message = BytesMut::with_capacity(1 + data.len());
                message.extend_from_slice(&[channel]);
                message.extend_from_slice(&data);
                Some(Message::Binary(message.freeze()))
            }
            Outbound::Ping(data) => Some(Message::Pong(data)),
            // A channel has no end of its own, and is neither answered nor cut off.
            Outbound::End { .. } | Outbound::Reply { .. } | Outbound::Reset { .. } => None,
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), ConnectionError> {
        let left = || std::io::Error::from(std::io::ErrorKind::BrokenPipe).into();
        let failed = |error| failed(error).unwrap_or_else(left);
        self.socket.feed(message).await.map_err(failed)?;
        if self.outbound.is_empty() {
            self.socket.flush().await.map_err(failed)?;
        }
        self.idle.mark();
        Ok(())
    }
}

/// What went wrong; nothing if the connection has been closed as it should.
pub(super) fn failed(error: tungstenite::Error) -> Option<ConnectionError> {
    use tungstenite::Error;
    match error {
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::SendAfterClosing) => None,
        Error::Io(error) => Some(error.into()),
        // Many a client leaves without a word.
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            Some(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into())
        }
        other => Some(broken(other)),
    }
}

fn broken(error: impl std::fmt::Display) -> ConnectionError {
    ConnectionError::Protocol(error.to_string())
}
