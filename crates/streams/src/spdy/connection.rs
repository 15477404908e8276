//! One connection: what comes in goes to its stream, what the streams say goes out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::frame::{self, Frame, FrameReader};
use super::headers::{HeaderReader, HeaderWriter, Headers};
use crate::idle::Idle;
use crate::stream::{Inlet, OUTBOUND, Outbound, inlet};
use crate::{ConnectionError, Gone, HEARTBEAT, Incoming, LINGER, Outgoing};

/// How many streams may be open at once; one more is refused. Each forwarded connection has two, and what they
/// may hold of memory is bounded by this.
///
/// Differs: upstream has no limit.
/// Shown by: a_connection_has_so_many_streams_and_no_more.
const MAX_STREAMS: usize = 512;
/// How many streams wait to be taken.
const WAITING: usize = 16;
/// How much is read at a time.
const READ: usize = 32 * 1024;

/// Takes a connection as a server: the streams that the client opens, and what carries them.
///
/// The connection ends when the client hangs up; or, after [`Accept`] and all streams' ends have been dropped,
/// by a GOAWAY and as soon as the client hangs up then.
pub fn accept<T>(io: T, idle: Duration) -> (Accept, Connection<T>)
where
    T: AsyncRead + AsyncWrite + Send,
{
    let (streams, accepted) = mpsc::channel(WAITING);
    let (outbound, to_write) = mpsc::channel(OUTBOUND);
    let accept = Accept {
        streams: accepted,
        outbound: outbound.clone(),
    };
    let (read, write) = tokio::io::split(io);
    let table = Arc::new(Table::default());
    let idle = Arc::new(Idle::new(idle));
    let connection = Connection {
        reader: Reader {
            io: read,
            headers: HeaderReader::new(),
            table: Arc::clone(&table),
            idle: Arc::clone(&idle),
            streams,
            // Not a sender: when nobody has anything to say any more, the writer is to know.
            outbound: outbound.downgrade(),
        },
        writer: Writer {
            io: write,
            headers: HeaderWriter::new(),
            table,
            idle: Arc::clone(&idle),
            outbound: to_write,
            buffer: BytesMut::new(),
        },
        idle,
    };
    (accept, connection)
}

/// The streams that the client opens, in order.
#[derive(Debug)]
pub struct Accept {
    streams: mpsc::Receiver<NewStream>,
    outbound: mpsc::Sender<Outbound>,
}

impl Accept {
    /// The next stream; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<NewStream> {
        self.streams.recv().await
    }

    /// Begins the stream: the client learns that it is taken.
    ///
    /// # Errors
    /// [`Gone`] if the client has.
    pub async fn take(&self, stream: NewStream) -> Result<(Incoming, Outgoing), Gone> {
        let NewStream {
            id,
            incoming,
            reset,
            ..
        } = stream;
        let reply = Outbound::Reply { stream: id };
        self.outbound.send(reply).await.map_err(|_| Gone)?;
        let outgoing = Outgoing::new(id, self.outbound.clone(), reset);
        Ok((incoming, outgoing))
    }

    /// Refuses the stream.
    ///
    /// # Errors
    /// [`Gone`] if the client has.
    pub async fn refuse(&self, stream: NewStream) -> Result<(), Gone> {
        let refusal = Outbound::Reset {
            stream: stream.id,
            status: frame::REFUSED_STREAM,
        };
        self.outbound.send(refusal).await.map_err(|_| Gone)
    }
}

/// A stream that the client wants to open.
#[derive(Debug)]
pub struct NewStream {
    id: u32,
    headers: Headers,
    incoming: Incoming,
    reset: Arc<AtomicBool>,
}

impl NewStream {
    /// Its number: odd, and larger than those before.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// What it is about, under a name; empty if nothing is said.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.find(name).unwrap_or_default()
    }
}

/// The bytes of a connection both ways, to be run beside what uses its streams.
#[derive(Debug)]
pub struct Connection<T> {
    reader: Reader<T>,
    writer: Writer<T>,
    idle: Arc<Idle>,
}

impl<T: AsyncRead + AsyncWrite + Send> Connection<T> {
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
            // The half that writes is kept open until the client has had the time to read.
            written = &mut writing => {
                let _half = written?;
                timeout(LINGER, reading).await.unwrap_or(Err(ConnectionError::Idle))
            }
            () = self.idle.expired() => Err(ConnectionError::Idle),
        }
    }
}

/// The streams that are open, on one side or both.
#[derive(Debug, Default)]
struct Table {
    streams: Mutex<HashMap<u32, Open>>,
    /// The newest stream of the client.
    newest: AtomicU32,
}

#[derive(Debug)]
struct Open {
    /// Where its bytes go, while the client may send more.
    inlet: Option<Inlet>,
    /// Whether we may say more.
    outgoing: bool,
    reset: Arc<AtomicBool>,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Open>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inlet(&self, stream: u32) -> Option<Inlet> {
        self.lock().get(&stream)?.inlet.clone()
    }

    /// The client has said its last; answers where the end is to be told.
    fn end_incoming(&self, stream: u32) -> Option<Inlet> {
        let mut streams = self.lock();
        let open = streams.get_mut(&stream)?;
        let inlet = open.inlet.take();
        if !open.outgoing {
            streams.remove(&stream);
        }
        inlet
    }

    fn end_outgoing(&self, stream: u32) {
        let mut streams = self.lock();
        if let Some(open) = streams.get_mut(&stream) {
            open.outgoing = false;
            if open.inlet.is_none() {
                streams.remove(&stream);
            }
        }
    }

    /// Neither side says more; whoever reads or writes learns that it is gone.
    fn cut(&self, stream: u32) {
        if let Some(open) = self.lock().remove(&stream) {
            open.reset.store(true, Ordering::Release);
        }
    }
}

#[derive(Debug)]
struct Reader<T> {
    io: ReadHalf<T>,
    headers: HeaderReader,
    table: Arc<Table>,
    idle: Arc<Idle>,
    streams: mpsc::Sender<NewStream>,
    outbound: mpsc::WeakSender<Outbound>,
}

impl<T: AsyncRead + AsyncWrite + Send> Reader<T> {
    /// Until the client hangs up.
    async fn run(mut self) -> Result<(), ConnectionError> {
        let mut frames = FrameReader::default();
        let mut bytes = BytesMut::new();
        loop {
            bytes.reserve(READ);
            if self.io.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            self.idle.mark();
            while let Some(frame) = frames.next(&mut bytes).map_err(broken)? {
                self.take(frame).await?;
            }
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), ConnectionError> {
        match frame {
            Frame::Open { stream, fin, block } => {
                // Read in any case: the blocks after it depend on it.
                let headers = self.headers.read(&block).map_err(broken)?;
                self.open(stream, fin, headers).await;
            }
            Frame::Data { stream, fin, data } => {
                // Of a stream that nobody knows: it was reset while this was on its way.
                if let Some(inlet) = self.table.inlet(stream) {
                    self.push(&inlet, data).await;
                }
                if fin && let Some(inlet) = self.table.end_incoming(stream) {
                    inlet.end();
                }
            }
            Frame::Reset { stream } => self.table.cut(stream),
            // The even ones would be answers to ours.
            Frame::Ping(id) if id % 2 == 1 => {
                let answer = Bytes::copy_from_slice(&id.to_be_bytes());
                self.say(Outbound::Ping(answer)).await;
            }
            Frame::Other { block: Some(block) } => {
                self.headers.read(&block).map_err(broken)?;
            }
            // A client that goes away still reads what its streams have to say; it hangs up by itself.
            Frame::Ping(_) | Frame::GoAway | Frame::Other { block: None } => {}
        }
        Ok(())
    }

    async fn open(&mut self, stream: u32, fin: bool, headers: Headers) {
        let newest = self.table.newest.load(Ordering::Relaxed);
        let status = if stream.is_multiple_of(2) || stream <= newest {
            Some(frame::PROTOCOL_ERROR)
        } else if self.table.lock().len() >= MAX_STREAMS {
            Some(frame::REFUSED_STREAM)
        } else {
            None
        };
        self.table
            .newest
            .store(newest.max(stream), Ordering::Relaxed);
        if let Some(status) = status {
            return self.say(Outbound::Reset { stream, status }).await;
        }
        let (inlet, incoming) = inlet();
        let reset = Arc::new(AtomicBool::new(false));
        if fin {
            inlet.end();
        }
        let open = Open {
            inlet: Some(inlet).filter(|_| !fin),
            outgoing: true,
            reset: Arc::clone(&reset),
        };
        self.table.lock().insert(stream, open);
        let new = NewStream {
            id: stream,
            headers,
            incoming,
            reset,
        };
        if self.streams.send(new).await.is_err() {
            self.table.cut(stream);
        }
    }

    /// Waits for room; with a ping now and then, which fails if the client has left. Its answer matters to nobody.
    ///
    /// Shown by: a_client_that_leaves_while_its_input_waits_is_noticed.
    async fn push(&mut self, inlet: &Inlet, data: Bytes) {
        let pushing = inlet.push(data);
        tokio::pin!(pushing);
        while timeout(HEARTBEAT, &mut pushing).await.is_err() {
            let ping = Bytes::from_static(&[0, 0, 0, 2]);
            self.say(Outbound::Ping(ping)).await;
        }
    }

    /// Says something, unless all has been said.
    async fn say(&mut self, what: Outbound) {
        if let Some(outbound) = self.outbound.upgrade() {
            let _ended = outbound.send(what).await;
        }
    }
}

#[derive(Debug)]
struct Writer<T> {
    io: WriteHalf<T>,
    headers: HeaderWriter,
    table: Arc<Table>,
    idle: Arc<Idle>,
    outbound: mpsc::Receiver<Outbound>,
    /// Of the frames that are being written, all but the data.
    buffer: BytesMut,
}

impl<T: AsyncRead + AsyncWrite + Send> Writer<T> {
    /// Until nobody has anything to say; answers with the half that writes, which is still open.
    async fn run(mut self) -> Result<WriteHalf<T>, ConnectionError> {
        while let Some(outbound) = self.outbound.recv().await {
            self.write(outbound).await?;
            if self.outbound.is_empty() {
                self.io.flush().await?;
            }
        }
        let newest = self.table.newest.load(Ordering::Relaxed);
        frame::put_go_away(&mut self.buffer, newest);
        self.send(Bytes::new()).await?;
        self.io.flush().await?;
        Ok(self.io)
    }

    async fn write(&mut self, outbound: Outbound) -> Result<(), ConnectionError> {
        match outbound {
            Outbound::Data { stream, data } => {
                if self.is_open(stream) && !data.is_empty() {
                    frame::put_data(&mut self.buffer, stream, false, data.len());
                    self.send(data).await?;
                }
                return Ok(());
            }
            Outbound::End { stream } => {
                if self.is_open(stream) {
                    frame::put_data(&mut self.buffer, stream, true, 0);
                }
                self.table.end_outgoing(stream);
            }
            Outbound::Reply { stream } => {
                let block = self.headers.write(&Headers::default());
                frame::put_reply(&mut self.buffer, stream, &block);
            }
            Outbound::Reset { stream, status } => {
                frame::put_reset(&mut self.buffer, stream, status);
                // A stream that is refused because it has another's number is not that other.
                if status != frame::PROTOCOL_ERROR {
                    self.table.cut(stream);
                }
            }
            Outbound::Ping(mut id) => {
                frame::put_ping(&mut self.buffer, id.try_get_u32().unwrap_or_default());
            }
        }
        self.send(Bytes::new()).await
    }

    /// Whether the client still wants to hear of a stream.
    fn is_open(&self, stream: u32) -> bool {
        self.table
            .lock()
            .get(&stream)
            .is_some_and(|open| open.outgoing)
    }

    async fn send(&mut self, data: Bytes) -> Result<(), ConnectionError> {
        let mut frame = self.buffer.split().chain(data);
        while frame.has_remaining() {
            if self.io.write_buf(&mut frame).await? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
            }
            self.idle.mark();
        }
        Ok(())
    }
}

fn broken(error: impl std::fmt::Display) -> ConnectionError {
    ConnectionError::Protocol(error.to_string())
}
