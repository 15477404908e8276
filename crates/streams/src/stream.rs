//! The two ends of a stream, whatever connection carries it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// How many bytes of one stream wait for its reader before the connection is no longer read.
const ROOM: u32 = 128 * 1024;
/// What a piece takes of that beside its bytes, so that many small ones are bounded too.
const PIECE_COST: u32 = 128;
/// How many pieces of output wait for the connection, of all streams together.
pub(crate) const OUTBOUND: usize = 8;
/// Longest piece that a connection writes as one, so that streams take turns.
pub(crate) const PIECE: usize = 32 * 1024;

/// The stream is no more: the client has reset it or gone away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream is gone")]
pub struct Gone;

/// What the client sends on a stream, in order. Dropped, the rest is thrown away as it comes.
#[derive(Debug)]
pub struct Incoming {
    pieces: mpsc::UnboundedReceiver<Piece>,
    ended: bool,
}

impl Incoming {
    /// The next bytes, never empty; `None` when the client has said that there are no more.
    ///
    /// Dropped before it answers, it has taken nothing.
    ///
    /// # Errors
    /// [`Gone`] if there may have been more.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Gone> {
        if self.ended {
            return Ok(None);
        }
        match self.pieces.recv().await {
            Some(Piece::Data { data, .. }) => Ok(Some(data)),
            Some(Piece::End) => {
                self.ended = true;
                Ok(None)
            }
            None => Err(Gone),
        }
    }
}

/// What waits for a stream's reader.
#[derive(Debug)]
enum Piece {
    Data {
        data: Bytes,
        /// Given back when the reader has taken the piece.
        _room: OwnedSemaphorePermit,
    },
    End,
}

/// The connection's end of an [`Incoming`]. Dropped without [`Inlet::end`], the stream is gone.
#[derive(Clone, Debug)]
pub(crate) struct Inlet {
    pieces: mpsc::UnboundedSender<Piece>,
    room: Arc<Semaphore>,
}

/// A stream towards us.
pub(crate) fn inlet() -> (Inlet, Incoming) {
    let (sender, pieces) = mpsc::unbounded_channel();
    let inlet = Inlet {
        pieces: sender,
        room: Arc::new(Semaphore::new(ROOM as usize)),
    };
    let incoming = Incoming {
        pieces,
        ended: false,
    };
    (inlet, incoming)
}

impl Inlet {
    /// Hands bytes on when there is room for them; throws them away if nobody reads any more. A piece larger
    /// than the room takes all of it.
    pub(crate) async fn push(&self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let size = u32::try_from(data.len()).unwrap_or(ROOM);
        let size = size.saturating_add(PIECE_COST).min(ROOM);
        tokio::select! {
            room = Arc::clone(&self.room).acquire_many_owned(size) => {
                if let Ok(room) = room {
                    let _unread = self.pieces.send(Piece::Data { data, _room: room });
                }
            }
            () = self.pieces.closed() => {}
        }
    }

    /// There will be no more.
    pub(crate) fn end(&self) {
        let _unread = self.pieces.send(Piece::End);
    }
}

/// What is to be said on a stream. Dropped without [`Outgoing::finish`], nothing more is said on it until the
/// connection ends.
#[derive(Debug)]
pub struct Outgoing {
    stream: u32,
    outbound: mpsc::Sender<Outbound>,
    /// The client wants no more of it.
    reset: Arc<AtomicBool>,
}

/// Something that the connection is to write.
#[derive(Debug)]
pub(crate) enum Outbound {
    /// Bytes of a stream.
    Data { stream: u32, data: Bytes },
    /// The end of a stream.
    End { stream: u32 },
    /// The answer to a new stream.
    Reply { stream: u32 },
    /// A stream is cut off.
    Reset { stream: u32, status: u32 },
    /// A sign of life, asked for or not: the body of a SPDY PING or of a WebSocket's pong.
    Ping(Bytes),
}

impl Outgoing {
    pub(crate) const fn new(
        stream: u32,
        outbound: mpsc::Sender<Outbound>,
        reset: Arc<AtomicBool>,
    ) -> Self {
        Self {
            stream,
            outbound,
            reset,
        }
    }

    /// Hands bytes to the connection, when it has room for them. An empty piece is sent as one.
    ///
    /// # Errors
    /// [`Gone`] if nobody will get them.
    pub async fn send(&self, mut data: Bytes) -> Result<(), Gone> {
        loop {
            let piece = data.split_to(data.len().min(PIECE));
            self.say(Outbound::Data {
                stream: self.stream,
                data: piece,
            })
            .await?;
            if data.is_empty() {
                return Ok(());
            }
        }
    }

    /// Says that there is no more, where the protocol has a way of saying it.
    ///
    /// # Errors
    /// [`Gone`] if nobody will hear it.
    pub async fn finish(self) -> Result<(), Gone> {
        self.say(Outbound::End {
            stream: self.stream,
        })
        .await
    }

    async fn say(&self, what: Outbound) -> Result<(), Gone> {
        if self.reset.load(Ordering::Acquire) {
            return Err(Gone);
        }
        self.outbound.send(what).await.map_err(|_| Gone)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_holds_no_more_than_its_room_and_goes_on_when_it_is_read() {
        let (inlet, mut incoming) = inlet();
        let half = Bytes::from(vec![7; (ROOM / 2 - PIECE_COST) as usize]);
        inlet.push(half.clone()).await;
        inlet.push(half.clone()).await;
        let waits = timeout(Duration::from_secs(1), inlet.push(half.clone())).await;
        assert!(waits.is_err(), "there was no room for a third");
        assert_eq!(incoming.next().await, Ok(Some(half.clone())));
        inlet.push(half.clone()).await;
        inlet.end();
        drop(inlet);
        assert_eq!(incoming.next().await, Ok(Some(half.clone())));
        assert_eq!(incoming.next().await, Ok(Some(half)));
        assert_eq!(incoming.next().await, Ok(None));
        assert_eq!(incoming.next().await, Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_reads_stops_nobody() {
        let (inlet, incoming) = inlet();
        let large = Bytes::from(vec![7; 3 * ROOM as usize]);
        inlet.push(large.clone()).await;
        let waiting = async {
            inlet.push(large.clone()).await;
            inlet.push(large.clone()).await;
        };
        let reader = async move {
            tokio::task::yield_now().await;
            drop(incoming);
        };
        timeout(Duration::from_secs(1), async {
            tokio::join!(waiting, reader)
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_stream_that_was_not_ended_is_gone() {
        let (inlet, mut incoming) = inlet();
        inlet.push(Bytes::from_static(b"half a wor")).await;
        drop(inlet);
        assert_eq!(
            incoming.next().await,
            Ok(Some(Bytes::from_static(b"half a wor")))
        );
        assert_eq!(incoming.next().await, Err(Gone));
    }
}
