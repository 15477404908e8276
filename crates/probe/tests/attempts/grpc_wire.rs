//! grpc, against servers that misbehave byte by byte.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use probelet_model::probe::OutcomeStatus::{Failure, Success};

use crate::ground::{LOCALHOST, PATIENT, SHORT, Server, run, seen};
use crate::grpc::grpc;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Flags: END_STREAM and ACK are the same bit.
const LAST: u8 = 1;
const ACK: u8 = 1;
const WHOLE: u8 = 4;

const SERVING: &[u8] = b"\0\0\0\0\x02\x08\x01";

type Frame = (u8, u8, u32, Vec<u8>);

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header block of literals.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

fn headers(flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE | flags, 1, &block(fields))
}

pub(crate) fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, b"")
}

fn ok() -> Vec<u8> {
    headers(
        0,
        &[(":status", "200"), ("content-type", "application/grpc")],
    )
}

fn trailers(status: &str) -> Vec<u8> {
    headers(LAST, &[("grpc-status", status)])
}

fn goaway(last: u32, code: u32, debug: &str) -> Vec<u8> {
    let payload = [
        &last.to_be_bytes()[..],
        &code.to_be_bytes(),
        debug.as_bytes(),
    ]
    .concat();
    frame(GOAWAY, 0, 0, &payload)
}

fn healthy() -> Vec<u8> {
    [settings(), ok(), frame(DATA, 0, 1, SERVING), trailers("0")].concat()
}

/// The next frame of a client; `None` at the end of its bytes.
fn read_frame(stream: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let [l0, l1, l2, kind, flags, stream_id @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, l0, l1, l2]) as usize];
    stream.read_exact(&mut payload).ok()?;
    Some((kind, flags, u32::from_be_bytes(stream_id), payload))
}

/// Reads as far as a client's whole request.
pub(crate) fn read_request(stream: &mut TcpStream) -> Option<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).ok()?;
    assert_eq!(preface, *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    while let Some((kind, flags, ..)) = read_frame(stream) {
        if kind == DATA && flags & LAST != 0 {
            return Some(());
        }
    }
    None
}

/// A server that answers the request of each connection with the next of `answers`, the last of them
/// for ever, and closes.
fn server(answers: Vec<Vec<u8>>) -> Server {
    let mut answers = answers.into_iter().peekable();
    let mut answer = Vec::new();
    scripted(move |stream| {
        answer = answers.next().unwrap_or_else(|| answer.clone());
        drop(stream.write_all(&answer));
    })
}

/// A server that does with each connection what `handle` does, once the request is there.
fn scripted(mut handle: impl FnMut(&mut TcpStream) + Send + 'static) -> Server {
    let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
    Server::raw(listener, Arc::default(), move |mut stream| {
        stream.set_nodelay(true).unwrap();
        if read_request(&mut stream).is_some() {
            handle(&mut stream);
            drop(stream.shutdown(std::net::Shutdown::Write));
            drop(stream.read_to_end(&mut Vec::new()));
        }
    })
}

/// What an attempt says to a server that begins well and goes on with `rest`, then closes.
async fn output(rest: &[Vec<u8>]) -> String {
    let server = server(vec![[settings(), rest.concat()].concat()]);
    let (status, output) = seen(run(server.address, grpc(server.address, ""), PATIENT).await);
    assert_eq!(status == Success, output == "service healthy");
    output
}

/// The same, of an attempt whose call fails.
async fn failure(rest: &[Vec<u8>]) -> String {
    let output = output(rest).await;
    let start = "error: health rpc probe failed: ";
    output
        .strip_prefix(start)
        .unwrap_or_else(|| panic!("{output}"))
        .replace("rpc error: code = ", "")
}

#[tokio::test]
async fn a_response_in_odd_pieces() {
    let fields = block(&[
        (":status", "200"),
        ("content-type", "application/grpc+proto"),
    ]);
    let (first, second) = fields.split_at(7);
    let rest = [
        frame(0xfa, 0xff, 7, b"nobody knows this frame"),
        frame(SETTINGS, ACK, 0, b""),
        frame(HEADERS, 0, 1, first),
        frame(CONTINUATION, 0, 1, b""),
        frame(CONTINUATION, WHOLE, 1, second),
        frame(DATA, 0, 1, b""),
        frame(DATA, 8, 1, &[&[3], &SERVING[..2], &[0; 3]].concat()),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        frame(DATA, 0, 1, &SERVING[2..]),
        goaway(1, 0, ""),
        trailers("0"),
    ];
    assert_eq!(output(&rest).await, "service healthy");
    let bytes = [settings(), rest.concat()].concat();
    let server = scripted(move |stream| {
        for byte in &bytes {
            drop(stream.write_all(&[*byte]));
        }
    });
    let report = run(server.address, grpc(server.address, ""), PATIENT).await;
    assert_eq!(seen(report).0, Success);
}

#[tokio::test]
async fn ends_that_are_not_grpc_statuses() {
    let data = |message: &[u8]| frame(DATA, 0, 1, message);
    for (rest, expected) in [
        (vec![], "Unavailable desc = error reading from server: EOF"),
        (
            vec![vec![0, 0]],
            "Unavailable desc = error reading from server: unexpected EOF",
        ),
        (vec![ok(), trailers("0")], "EOF"),
        (
            vec![trailers("0")],
            "Internal desc = malformed header: missing HTTP status; malformed header: missing HTTP content-type",
        ),
        (
            vec![headers(
                LAST,
                &[(":status", "200"), ("content-type", "application/grpc")],
            )],
            "Unknown desc = ",
        ),
        (
            vec![ok(), data(SERVING), headers(LAST, &[])],
            "Unknown desc = ",
        ),
        (
            vec![ok(), frame(DATA, LAST, 1, SERVING)],
            "Internal desc = server closed the stream without sending trailers",
        ),
        (
            vec![ok(), data(&SERVING[..6]), trailers("0")],
            "Internal desc = unexpected EOF",
        ),
        (
            vec![ok(), data(SERVING), trailers("13")],
            "Internal desc = ",
        ),
        (
            vec![ok(), data(SERVING), data(SERVING)],
            "Unknown desc = grpc: client streaming protocol violation: get <nil>, want <EOF>",
        ),
        (
            vec![ok(), data(b"\x01\0\0\0\0")],
            "Internal desc = grpc: compressed flag set with identity or empty encoding",
        ),
        (
            vec![ok(), data(b"\0\xff\xff\xff\xff")],
            "ResourceExhausted desc = grpc: received message larger than max (4294967295 vs. 4194304)",
        ),
        (
            vec![ok(), ok()],
            "Internal desc = a HEADERS frame cannot appear in the middle of a stream",
        ),
        (
            vec![headers(
                0,
                &[(":status", "502"), ("content-type", "text/html")],
            )],
            "Unavailable desc = unexpected HTTP status code received from server: 502 (Bad Gateway); \
             transport: received unexpected content-type \"text/html\"",
        ),
        (
            vec![frame(RST_STREAM, 0, 1, &[0, 0, 0, 2])],
            "Internal desc = stream terminated by RST_STREAM with error code: INTERNAL_ERROR",
        ),
        (
            vec![frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])],
            "Canceled desc = stream terminated by RST_STREAM with error code: CANCEL",
        ),
        (
            vec![goaway(1, 0, "bye")],
            "Unavailable desc = closing transport due to: connection error: \
             desc = \"error reading from server: EOF\", \
             received prior goaway: code: NO_ERROR, debug data: \"bye\"",
        ),
        (
            vec![frame(HEADERS, WHOLE, 1, b"\x80")],
            "Unavailable desc = error reading from server: connection error: COMPRESSION_ERROR",
        ),
        (
            vec![frame(HEADERS, 0, 1, b""), frame(DATA, 0, 1, b"")],
            "Unavailable desc = error reading from server: connection error: PROTOCOL_ERROR",
        ),
        (
            vec![frame(DATA, 0, 1, &[0; 16_385])],
            "Unavailable desc = error reading from server: http2: frame too large",
        ),
        (
            vec![headers(0, &[(":status", "200"), ("X-Upper", "1")])],
            "Internal desc = invalid header field name \"X-Upper\"",
        ),
    ] {
        assert_eq!(failure(&rest).await, expected);
    }
}

#[tokio::test]
async fn a_server_of_http_without_the_health_service() {
    let rest = [headers(
        LAST,
        &[(":status", "404"), ("content-type", "text/plain")],
    )];
    let expected = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): \
        unexpected HTTP status code received from server: 404 (Not Found); \
        transport: received unexpected content-type \"text/plain\"";
    assert_eq!(output(&rest).await, expected);
}

#[tokio::test]
async fn a_header_list_without_end() {
    // Indexed again and again, a field of the dynamic table grows far beyond what is sent.
    let mut bomb = b"\x40\x01a\x7f\xa1\x1e".to_vec();
    bomb.extend([b'x'; 4_000]);
    bomb.extend([0xbe; 8_000]);
    let rest = [frame(HEADERS, WHOLE, 1, &bomb)];
    let expected = "Internal desc = peer header list size exceeded limit";
    assert_eq!(failure(&rest).await, expected);
    let mut endless = vec![frame(HEADERS, 0, 1, &[])];
    endless.extend(vec![frame(CONTINUATION, 0, 1, &[0; 16_384]); 5]);
    let expected = "Unavailable desc = error reading from server: connection error: PROTOCOL_ERROR";
    assert_eq!(failure(&endless).await, expected);
}

#[tokio::test]
async fn a_call_that_was_not_taken_up_is_made_once_more() {
    let draining = [settings(), goaway(0, 0, "")].concat();
    let refusing = [settings(), frame(RST_STREAM, 0, 1, &[0, 0, 0, 7])].concat();
    for (not_taken, text) in [
        (draining, "the connection is draining"),
        (
            refusing,
            "stream terminated by RST_STREAM with error code: REFUSED_STREAM",
        ),
    ] {
        let once = server(vec![not_taken.clone(), healthy()]);
        let report = run(once.address, grpc(once.address, ""), PATIENT).await;
        assert_eq!(seen(report), (Success, "service healthy".to_owned()));
        let always = server(vec![not_taken]);
        let report = run(always.address, grpc(always.address, ""), PATIENT).await;
        let expected =
            format!("error: health rpc probe failed: rpc error: code = Unavailable desc = {text}");
        assert_eq!(seen(report), (Failure, expected));
    }
    let gone = server(vec![[settings(), goaway(0, 0, "")].concat(), Vec::new()]);
    let report = run(gone.address, grpc(gone.address, ""), PATIENT).await;
    let expected = "error: health rpc probe failed: rpc error: code = Unavailable desc = \
        connection error: desc = \"error reading server preface: EOF\"";
    assert_eq!(seen(report), (Failure, expected.to_owned()));
}

#[tokio::test]
async fn a_dial_is_tried_again_after_a_second() {
    let server = server(vec![Vec::new(), healthy()]);
    let report = run(server.address, grpc(server.address, ""), PATIENT).await;
    assert!(report.duration >= Duration::from_secs(1), "{report:?}");
    assert_eq!(seen(report), (Success, "service healthy".to_owned()));
}

#[tokio::test]
async fn a_connection_reset_during_the_call() {
    let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let server = Server::raw(listener, Arc::default(), |mut stream| {
        if read_request(&mut stream).is_some() {
            stream.write_all(&settings()).unwrap();
            // Its acknowledgement tells that the settings have been read.
            assert_eq!(read_frame(&mut stream).unwrap().0, SETTINGS);
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        }
    });
    let (status, output) = seen(run(server.address, grpc(server.address, ""), PATIENT).await);
    assert_eq!(status, Failure);
    let start = "error: health rpc probe failed: rpc error: code = Unavailable desc = \
        error reading from server: read tcp 127.0.0.1:";
    assert!(output.starts_with(start), "{output}");
    let end = format!("->{}: read: connection reset by peer", server.address);
    assert!(output.ends_with(&end), "{output}");
}

#[tokio::test]
async fn servers_that_never_get_as_far_as_settings() {
    for answer in [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        frame(PING, 0, 0, &[0; 8]),
        [frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]), healthy()].concat(),
        Vec::new(),
    ] {
        let server = server(vec![answer]);
        let report = run(server.address, grpc(server.address, ""), SHORT).await;
        assert!(report.duration >= SHORT);
        let expected = format!(
            "timeout: failed to connect service \"{}\" within 200ms: context deadline exceeded",
            server.address
        );
        assert_eq!(seen(report), (Failure, expected));
    }
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    // It takes the request and waits for the client to go.
    let server = scripted(|stream| drop(stream.read_to_end(&mut Vec::new())));
    let report = run(server.address, grpc(server.address, ""), SHORT).await;
    let expected = format!(
        "timeout: failed to connect service \"{}\" within 200ms: context deadline exceeded",
        server.address
    );
    assert_eq!(seen(report), (Failure, expected));
}

#[tokio::test]
async fn pings_are_answered_and_windows_opened() {
    let (said, heard) = channel();
    let server = scripted(move |stream| {
        let large = 1_000_000_u32;
        // A message with a field that nobody knows, of a million bytes, then the one that counts.
        let mut message = vec![0];
        message.extend((large + 6).to_be_bytes());
        message.extend(b"\x12\xc0\x84\x3d");
        message.resize(message.len() + large as usize, b'x');
        message.extend(b"\x08\x01");
        let begin = [settings(), frame(PING, 0, 0, b"8 bytes."), ok()].concat();
        stream.write_all(&begin).unwrap();
        let (mut window, mut frames) = (65_535_usize, Vec::new());
        for piece in message.chunks(16_384) {
            while window < piece.len() {
                let received = read_frame(stream).unwrap();
                if (received.0, received.2) == (WINDOW_UPDATE, 1) {
                    let increment = received.3.as_slice().try_into().unwrap();
                    window += u32::from_be_bytes(increment) as usize;
                } else {
                    frames.push(received);
                }
            }
            window -= piece.len();
            stream.write_all(&frame(DATA, 0, 1, piece)).unwrap();
        }
        stream.write_all(&trailers("0")).unwrap();
        while let Some(received) = read_frame(stream) {
            frames.push(received);
        }
        let clean = stream.read(&mut [0]);
        said.send((frames, clean.ok())).unwrap();
    });
    let report = run(server.address, grpc(server.address, ""), PATIENT).await;
    assert_eq!(seen(report), (Success, "service healthy".to_owned()));
    let (frames, end) = heard.recv_timeout(PATIENT).unwrap();
    assert!(frames.contains(&(SETTINGS, ACK, 0, Vec::new())));
    assert!(frames.contains(&(PING, ACK, 0, b"8 bytes.".to_vec())));
    let grants = frames
        .iter()
        .filter(|(kind, _, stream, _)| (*kind, *stream) == (WINDOW_UPDATE, 0));
    assert!(grants.count() > 10);
    // The last words, then a plain end and no reset.
    assert_eq!(frames.last(), Some(&(GOAWAY, 0, 0, vec![0; 8])));
    assert_eq!(end, Some(0));
}
