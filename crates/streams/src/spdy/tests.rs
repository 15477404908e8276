//! A client of our own, byte by byte, against the server.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::frame::{Frame, FrameReader, put_data, put_open, put_ping, put_reset};
use super::headers::{HeaderWriter, Headers};
use super::*;
use crate::forward::Forwards;
use crate::remote::{self, CREATION, Remote, Wanted};
use crate::{ConnectionError, Gone, IDLE, LINGER};

/// What a server's frames are to a client: replies have a type of their own there.
struct Client {
    io: DuplexStream,
    headers: HeaderWriter,
    frames: FrameReader,
    bytes: BytesMut,
}

impl Client {
    fn new(io: DuplexStream) -> Self {
        Self {
            io,
            headers: HeaderWriter::new(),
            frames: FrameReader::default(),
            bytes: BytesMut::new(),
        }
    }

    async fn open(&mut self, stream: u32, headers: &[(&str, &str)]) {
        let block = self.headers.write(&Headers::new(headers));
        let mut out = BytesMut::new();
        put_open(&mut out, stream, false, &block);
        self.io.write_all(&out).await.unwrap();
    }

    async fn data(&mut self, stream: u32, fin: bool, data: &[u8]) {
        let mut out = BytesMut::new();
        put_data(&mut out, stream, fin, data.len());
        out.extend_from_slice(data);
        self.io.write_all(&out).await.unwrap();
    }

    /// The next frame; `None` when the server has hung up.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.frames.next(&mut self.bytes).unwrap() {
                return Some(frame);
            }
            if self.io.read_buf(&mut self.bytes).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn is_replied(&mut self) {
        let frame = self.next().await.unwrap();
        assert!(
            matches!(frame, Frame::Other { block: Some(_) }),
            "{frame:?}"
        );
    }

    /// The server says this on a stream, in however many pieces.
    async fn says(&mut self, stream: u32, fin: bool, expected: &[u8]) {
        let mut said = Vec::new();
        loop {
            let Some(Frame::Data {
                stream: on,
                fin: last,
                data,
            }) = self.next().await
            else {
                panic!("no data");
            };
            assert_eq!(on, stream);
            said.extend_from_slice(&data);
            if said.len() >= expected.len() {
                assert_eq!((last, &said[..]), (fin, expected));
                return;
            }
        }
    }
}

fn connect() -> (Client, Accept, Connection<DuplexStream>) {
    let (near, far) = duplex(64 * 1024);
    let (accept, connection) = accept(far, IDLE);
    (Client::new(near), accept, connection)
}

const ALL: Wanted = Wanted {
    stdin: true,
    stdout: true,
    stderr: true,
    tty: false,
};

#[tokio::test]
async fn a_spdy_session_waits_for_its_streams() {
    let (mut client, mut accept, connection) = connect();
    let server = async move {
        let remote = remote::over_spdy(&mut accept, ALL).await.unwrap();
        drop(accept);
        let Remote {
            stdin,
            stdout,
            stderr,
            status,
            resize,
        } = remote;
        assert!(resize.is_none());
        let mut stdin = stdin.unwrap();
        let stdout = stdout.unwrap();
        while let Some(data) = stdin.next().await.unwrap() {
            stdout.send(data).await.unwrap();
        }
        stderr.unwrap().finish().await.unwrap();
        stdout.finish().await.unwrap();
        status.send(Bytes::from_static(b"{}")).await.unwrap();
        status.finish().await.unwrap();
    };
    let client = async move {
        client.open(1, &[("streamtype", "error")]).await;
        client.open(3, &[("streamtype", "unheard-of")]).await;
        client.open(5, &[("StreamType", "stdin")]).await;
        client.open(7, &[("streamtype", "stdout")]).await;
        client.is_replied().await;
        assert_eq!(client.next().await, Some(Frame::Reset { stream: 3 }));
        client.is_replied().await;
        client.is_replied().await;
        client.open(9, &[("streamtype", "stderr")]).await;
        client.is_replied().await;
        client.data(5, false, b"hello").await;
        client.says(7, false, b"hello").await;
        client.data(5, true, b"").await;
        client.says(9, true, b"").await;
        client.says(7, true, b"").await;
        client.says(1, false, b"{}").await;
        client.says(1, true, b"").await;
        assert_eq!(client.next().await, Some(Frame::GoAway));
    };
    let (ended, (), ()) = tokio::join!(connection.run(), server, client);
    ended.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_open_its_streams_is_not_waited_for() {
    let (mut client, mut accept, connection) = connect();
    let server = async move {
        let begun = tokio::time::Instant::now();
        let remote = remote::over_spdy(&mut accept, ALL).await;
        assert_eq!(remote.unwrap_err(), Gone);
        assert_eq!(begun.elapsed(), CREATION);
    };
    let client = async move {
        client.open(1, &[("streamtype", "stdout")]).await;
        client.is_replied().await;
        assert_eq!(client.next().await, Some(Frame::GoAway));
    };
    let (ended, (), ()) = tokio::join!(connection.run(), server, client);
    ended.unwrap();
}

#[tokio::test]
async fn pings_are_answered_and_wrong_streams_refused() {
    let (mut client, mut accept, connection) = connect();
    let server = async move { while accept.next().await.is_some() {} };
    let client = async move {
        let mut out = BytesMut::new();
        put_ping(&mut out, 7);
        put_ping(&mut out, 8);
        client.io.write_all(&out).await.unwrap();
        assert_eq!(client.next().await, Some(Frame::Ping(7)));
        client.open(3, &[]).await;
        client.open(4, &[]).await;
        assert_eq!(client.next().await, Some(Frame::Reset { stream: 4 }));
        client.open(3, &[]).await;
        assert_eq!(client.next().await, Some(Frame::Reset { stream: 3 }));
    };
    let (ended, (), ()) = tokio::join!(connection.run(), server, client);
    ended.unwrap();
}

#[tokio::test]
async fn a_connection_has_so_many_streams_and_no_more() {
    let (mut client, mut accept, connection) = connect();
    let server = async move {
        let mut open = Vec::new();
        while let Some(stream) = accept.next().await {
            open.push(accept.take(stream).await.unwrap());
        }
        assert_eq!(open.len(), 513);
    };
    let client = async move {
        for number in 0..512 {
            client.open(2 * number + 1, &[]).await;
            client.is_replied().await;
        }
        client.open(1025, &[]).await;
        assert_eq!(client.next().await, Some(Frame::Reset { stream: 1025 }));
        let mut out = BytesMut::new();
        put_reset(&mut out, 1, 5);
        client.io.write_all(&out).await.unwrap();
        client.open(1027, &[]).await;
        client.is_replied().await;
    };
    let (ended, (), ()) = tokio::join!(connection.run(), server, client);
    ended.unwrap();
}

#[tokio::test]
async fn a_stream_that_is_reset_is_gone_both_ways() {
    let (mut client, mut accept, connection) = connect();
    let server = async move {
        let stream = accept.next().await.unwrap();
        let (mut incoming, outgoing) = accept.take(stream).await.unwrap();
        assert_eq!(incoming.next().await, Err(Gone));
        assert_eq!(outgoing.send(Bytes::from_static(b"x")).await, Err(Gone));
        let stream = accept.next().await.unwrap();
        accept.refuse(stream).await.unwrap();
    };
    let client = async move {
        client.open(1, &[]).await;
        client.is_replied().await;
        let mut out = BytesMut::new();
        put_reset(&mut out, 1, 5);
        client.io.write_all(&out).await.unwrap();
        // Late for the stream, and no reason to complain.
        client.data(1, false, b"late").await;
        client.open(3, &[]).await;
        assert_eq!(client.next().await, Some(Frame::Reset { stream: 3 }));
        assert_eq!(client.next().await, Some(Frame::GoAway));
    };
    let (ended, (), ()) = tokio::join!(connection.run(), server, client);
    ended.unwrap();
}

/// Much more than fits anywhere, echoed by a server that reads while it writes.
#[tokio::test]
async fn more_than_fits_anywhere_comes_through_whole() {
    const SIZE: usize = 3 * 1024 * 1024;
    let (mut client, mut accept, connection) = connect();
    let server = async move {
        let stream = accept.next().await.unwrap();
        let (mut incoming, outgoing) = accept.take(stream).await.unwrap();
        while let Some(data) = incoming.next().await.unwrap() {
            outgoing.send(data).await.unwrap();
        }
        outgoing.finish().await.unwrap();
    };
    let client = async move {
        client.open(1, &[]).await;
        client.is_replied().await;
        let Client {
            io,
            mut frames,
            mut bytes,
            ..
        } = client;
        let (mut read, mut write) = tokio::io::split(io);
        let byte = |at: usize| u8::try_from(at % 251).unwrap();
        let sending = async {
            let all: Vec<u8> = (0..SIZE).map(byte).collect();
            let mut out = BytesMut::new();
            // Frames longer than anything is kept at once.
            for piece in all.chunks(1024 * 1024) {
                put_data(&mut out, 1, false, piece.len());
                out.extend_from_slice(piece);
            }
            put_data(&mut out, 1, true, 0);
            write.write_all(&out).await.unwrap();
        };
        let receiving = async {
            let mut at = 0;
            loop {
                match frames.next(&mut bytes).unwrap() {
                    Some(Frame::Data { data, fin, .. }) => {
                        assert!(data.iter().zip(at..).all(|(&got, at)| got == byte(at)));
                        at += data.len();
                        if fin {
                            return at;
                        }
                    }
                    Some(other) => panic!("{other:?}"),
                    None => {
                        assert_ne!(read.read_buf(&mut bytes).await.unwrap(), 0);
                    }
                }
            }
        };
        let ((), received) = tokio::join!(sending, receiving);
        assert_eq!(received, SIZE);
    };
    let (ended, (), ()) = tokio::join!(connection.run(), server, client);
    ended.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_its_input_waits_is_noticed() {
    let (mut client, mut accept, connection) = connect();
    let server = async move {
        let stream = accept.next().await.unwrap();
        let _unread = accept.take(stream).await.unwrap();
        std::future::pending::<()>().await;
    };
    let client = async move {
        client.open(1, &[]).await;
        client.is_replied().await;
        client.data(1, false, &[7; 130_000]).await;
        client.data(1, false, &[7; 1_000]).await;
        assert_eq!(client.next().await, Some(Frame::Ping(2)));
    };
    tokio::select! {
        ended = connection.run() => {
            assert!(matches!(ended, Err(ConnectionError::Io(_))), "{ended:?}");
        }
        _never = async { tokio::join!(server, client) } => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_carries_nothing_is_given_up() {
    let (client, accept, connection) = connect();
    let begun = tokio::time::Instant::now();
    let ended = connection.run().await;
    assert!(matches!(ended, Err(ConnectionError::Idle)), "{ended:?}");
    assert_eq!(begun.elapsed(), IDLE);
    drop((client, accept));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_hang_up_is_hung_up_on() {
    let (mut client, accept, connection) = connect();
    drop(accept);
    let begun = tokio::time::Instant::now();
    let ended = connection.run().await;
    assert!(matches!(ended, Err(ConnectionError::Idle)), "{ended:?}");
    assert_eq!(begun.elapsed(), LINGER);
    assert_eq!(client.next().await, Some(Frame::GoAway));
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn streams_are_paired_by_their_request() {
    let (mut client, accept, connection) = connect();
    let server = async move {
        let mut forwards = Forwards::new(accept);
        for _ in 0..3 {
            let forward = forwards.next().await.unwrap();
            forward.begin().await.unwrap();
            let said = Bytes::from(forward.port.to_string());
            forward.outgoing.send(said).await.unwrap();
            forward.outgoing.finish().await.unwrap();
            forward.errors.finish().await.unwrap();
        }
        assert!(forwards.next().await.is_none());
    };
    let client = async move {
        let stream =
            |kind, port, request| [("streamtype", kind), ("port", port), ("requestid", request)];
        client.open(1, &stream("error", "80", "0")).await;
        client.open(3, &stream("error", "81", "1")).await;
        client.open(5, &stream("data", "81", "1")).await;
        for _ in 0..3 {
            client.is_replied().await;
        }
        client.says(5, false, b"81").await;
        client.says(5, true, b"").await;
        client.says(3, true, b"").await;
        client.open(7, &stream("data", "80", "0")).await;
        client.is_replied().await;
        client.says(7, false, b"80").await;
        client.says(7, true, b"").await;
        client.says(1, true, b"").await;
        for (number, headers) in [
            (9, stream("data", "0", "2")),
            (11, stream("data", "70000", "2")),
            (13, stream("stdin", "80", "2")),
        ] {
            client.open(number, &headers).await;
            assert_eq!(client.next().await, Some(Frame::Reset { stream: number }));
        }
        // As clients of old do.
        client.open(15, &stream("error", "82", "")).await;
        client.open(17, &stream("data", "82", "")).await;
        client.is_replied().await;
        client.is_replied().await;
        client.says(17, false, b"82").await;
        client.says(17, true, b"").await;
        client.says(15, true, b"").await;
    };
    let (ended, (), ()) = tokio::join!(connection.run(), server, client);
    ended.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_other_half_does_not_come_is_told_so() {
    let (mut client, accept, connection) = connect();
    let server = async move {
        let mut forwards = Forwards::new(accept);
        assert!(forwards.next().await.is_none());
    };
    let client = async move {
        let stream = |kind, request| [("streamtype", kind), ("port", "80"), ("requestid", request)];
        client.open(1, &stream("error", "a")).await;
        client.is_replied().await;
        client
            .says(1, false, b"(request=a) timed out waiting for streams")
            .await;
        client.says(1, true, b"").await;
        client.open(3, &stream("error", "b")).await;
        client.open(5, &stream("error", "b")).await;
        client.is_replied().await;
        client.is_replied().await;
        client
            .says(
                5,
                false,
                b"error processing stream for request b: error stream already assigned",
            )
            .await;
    };
    let (ended, (), ()) = tokio::join!(connection.run(), server, client);
    ended.unwrap();
}

proptest! {
    #[test]
    fn no_bytes_make_a_connection_panic(bytes in vec(any::<u8>(), 0..400)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut client, accept, connection) = connect();
            let server = async {
                let mut forwards = Forwards::new(accept);
                while forwards.next().await.is_some() {}
            };
            let client = async move {
                // The server may have hung up already.
                let _refused = client.io.write_all(&bytes).await;
            };
            let _any = tokio::join!(connection.run(), server, client);
        });
    }
}
