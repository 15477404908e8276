//! A client from another hand, tungstenite's, against the server.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::remote::{Remote, Wanted, over_websocket};
use crate::{ConnectionError, Gone, IDLE, forward};

type Client = WebSocketStream<DuplexStream>;

async fn connect() -> (Client, DuplexStream) {
    let (near, far) = duplex(64 * 1024);
    let client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    (client, far)
}

async fn say(client: &mut Client, message: &'static [u8]) {
    client
        .send(Message::Binary(Bytes::from_static(message)))
        .await
        .unwrap();
}

/// The next message that is not empty; `None` when the server has closed.
async fn hear(client: &mut Client) -> Option<Bytes> {
    match client.next().await?.unwrap() {
        Message::Binary(bytes) => Some(bytes),
        Message::Text(text) => Some(text.into()),
        Message::Close(frame) => {
            assert_eq!(frame.unwrap().code, 1000.into());
            None
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_key_is_accepted_as_the_standard_has_it() {
    let key = b"dGhlIHNhbXBsZSBub25jZQ==";
    assert_eq!(accept_key(key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

/// An echo with a status at the end, over each protocol.
async fn check(protocol: Protocol, send: &[&'static [u8]], ends: bool, expected: &[&str]) {
    let (mut client, far) = connect().await;
    let wanted = Wanted {
        stdin: true,
        stdout: true,
        stderr: false,
        tty: true,
    };
    let (remote, connection) = over_websocket(far, protocol, wanted, IDLE).await;
    let server = async move {
        let Remote {
            stdin,
            stdout,
            stderr,
            resize,
            status,
        } = remote;
        assert!(stderr.is_none());
        let mut resize = resize.unwrap();
        assert_eq!(
            resize.next().await,
            Ok(Some(Bytes::from_static(b"{\"Width\":1}")))
        );
        let stdout = stdout.unwrap();
        let mut stdin = stdin.unwrap();
        let data = stdin.next().await.unwrap().unwrap();
        stdout.send(data).await.unwrap();
        if ends {
            assert_eq!(stdin.next().await, Ok(None));
        }
        stdout.finish().await.unwrap();
        status.send(Bytes::from_static(b"done")).await.unwrap();
    };
    let client = async move {
        for message in send {
            say(&mut client, message).await;
        }
        let mut heard = Vec::new();
        while let Some(message) = hear(&mut client).await {
            heard.push(String::from_utf8(message.to_vec()).unwrap());
        }
        assert_eq!(heard, expected);
        assert!(client.next().await.is_none());
    };
    let (ended, (), ()) = tokio::join!(connection.run(), server, client);
    ended.unwrap();
}

#[tokio::test]
async fn a_websocket_session_from_greeting_to_close() {
    let resize: &[u8] = b"\x04{\"Width\":1}";
    let plain = ["\u{1}", "\u{1}hi", "\u{3}done"];
    let ended: [&[u8]; 7] = [resize, b"", b"\x07x", b"\x02x", b"\0", b"\0hi", b"\xff\0"];
    check(Protocol::V5, &ended, true, &plain).await;
    check(Protocol::V4, &[resize, b"\0hi"], false, &plain).await;
    check(Protocol::UNNAMED, &[resize, b"\0hi"], false, &plain).await;
    let base64: [&[u8]; 2] = [b"4eyJXaWR0aCI6MX0=", b"0aGk="];
    check(
        Protocol::V4_BASE64,
        &base64,
        false,
        &["1", "1aGk=", "3ZG9uZQ=="],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_input_waits_is_told_that_the_connection_lives() {
    let (mut client, far) = connect().await;
    let wanted = Wanted {
        stdin: true,
        ..Wanted::default()
    };
    let (mut remote, connection) = over_websocket(far, Protocol::V5, wanted, IDLE).await;
    let (done, is_done) = tokio::sync::oneshot::channel();
    let server = async move {
        let mut stdin = remote.stdin.take().unwrap();
        // A process that does not read.
        is_done.await.unwrap();
        let mut size = 0;
        while let Some(data) = stdin.next().await.unwrap() {
            size += data.len();
        }
        assert_eq!(size, 300_000);
        drop(remote);
    };
    let client = async move {
        assert_eq!(hear(&mut client).await, Some(Bytes::from_static(b"\x03")));
        for _ in 0..3 {
            client
                .feed(Message::binary([&[0][..], &[7; 100_000]].concat()))
                .await
                .unwrap();
        }
        client
            .feed(Message::Ping(Bytes::from_static(b"?")))
            .await
            .unwrap();
        let flushing = tokio::time::timeout(Duration::from_secs(60), client.flush());
        assert!(flushing.await.is_err(), "nothing holds it back");
        assert_eq!(
            client.next().await.unwrap().unwrap(),
            Message::Pong(Bytes::new())
        );
        done.send(()).unwrap();
        client.flush().await.unwrap();
        say(&mut client, b"\xff\0").await;
        let mut answered = false;
        while let Some(message) = client.next().await {
            answered |= message.unwrap() == Message::Pong(Bytes::from_static(b"?"));
        }
        assert!(answered);
    };
    let (ended, (), ()) = tokio::join!(connection.run(), server, client);
    ended.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_its_input_waits_is_noticed() {
    let (mut client, far) = connect().await;
    let wanted = Wanted {
        stdin: true,
        ..Wanted::default()
    };
    let (remote, connection) = over_websocket(far, Protocol::V5, wanted, IDLE).await;
    let client = async move {
        for _ in 0..2 {
            let message = Message::binary([&[0][..], &[7; 100_000]].concat());
            client.send(message).await.unwrap();
        }
    };
    let (ended, ()) = tokio::join!(connection.run(), client);
    assert!(matches!(ended, Err(ConnectionError::Io(_))), "{ended:?}");
    drop(remote);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_by_both_ways() {
    let (client, far) = connect().await;
    let wanted = Wanted {
        stdin: true,
        stdout: true,
        ..Wanted::default()
    };
    let (remote, connection) = over_websocket(far, Protocol::V5, wanted, IDLE).await;
    drop(client);
    let ended = connection.run().await;
    assert!(matches!(ended, Err(ConnectionError::Io(_))), "{ended:?}");
    assert_eq!(remote.stdin.unwrap().next().await, Err(Gone));
    let stdout = remote.stdout.unwrap();
    assert_eq!(stdout.send(Bytes::from_static(b"x")).await, Err(Gone));
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_connection() {
    let check = async |protocol, message: &'static [u8]| {
        let (mut client, far) = connect().await;
        let wanted = Wanted {
            stdin: true,
            ..Wanted::default()
        };
        let (remote, connection) = over_websocket(far, protocol, wanted, IDLE).await;
        say(&mut client, message).await;
        let ended = connection.run().await;
        assert!(
            matches!(ended, Err(ConnectionError::Protocol(_))),
            "{ended:?}"
        );
        drop(remote);
    };
    check(Protocol::V5, b"\xff").await;
    check(Protocol::V5, b"\xff\0\0").await;
    check(Protocol::V4_BASE64, b"0not base64!").await;
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_connection() {
    let (near, far) = duplex(64 * 1024);
    let wanted = Wanted {
        stdin: true,
        ..Wanted::default()
    };
    let (remote, connection) = over_websocket(far, Protocol::V4, wanted, IDLE).await;
    let client = async move {
        let mut near = near;
        let mut head = vec![0x82, 0x80 | 127];
        head.extend_from_slice(&(MAX_MESSAGE as u64 + 1).to_be_bytes());
        head.extend_from_slice(&[0; 4]);
        near.write_all(&head).await.unwrap();
        near
    };
    let (ended, near) = tokio::join!(connection.run(), client);
    assert!(
        matches!(ended, Err(ConnectionError::Protocol(_))),
        "{ended:?}"
    );
    drop((near, remote));
}

#[tokio::test]
async fn each_port_has_two_channels_that_begin_with_its_number() {
    let (mut client, far) = connect().await;
    let (forwards, connection) =
        forward::over_channels(far, Protocol::V4, &[80, 0x1f90], IDLE).await;
    let server = async move {
        for mut forward in forwards {
            forward.begin().await.unwrap();
            let data = forward.incoming.next().await.unwrap().unwrap();
            forward.outgoing.send(data.clone()).await.unwrap();
            forward.errors.send(data).await.unwrap();
        }
    };
    let client = async move {
        say(&mut client, b"\x02second").await;
        say(&mut client, b"\0first").await;
        let mut heard = Vec::new();
        while let Some(message) = hear(&mut client).await {
            heard.push(message);
        }
        let expected: [&[u8]; 8] = [
            &[0, 80, 0],
            &[1, 80, 0],
            b"\0first",
            b"\x01first",
            &[2, 0x90, 0x1f],
            &[3, 0x90, 0x1f],
            b"\x02second",
            b"\x03second",
        ];
        assert_eq!(heard, expected);
        assert!(client.next().await.is_none());
    };
    let (ended, (), ()) = tokio::join!(connection.run(), server, client);
    ended.unwrap();
}

#[tokio::test]
async fn a_tunnel_carries_bytes_whatever_the_messages() {
    let (mut client, far) = connect().await;
    let server = async move {
        let mut tunnel = Tunnel::accept(far).await;
        let mut three = [0; 3];
        tunnel.read_exact(&mut three).await.unwrap();
        assert_eq!(&three, b"abc");
        tunnel.write_all(b"xyz").await.unwrap();
        tunnel.flush().await.unwrap();
        let mut rest = Vec::new();
        tunnel.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"de");
    };
    let client = async move {
        for message in [&b"ab"[..], b"", b"cd", b"e"] {
            say(&mut client, message).await;
        }
        assert_eq!(hear(&mut client).await, Some(Bytes::from_static(b"xyz")));
        client.close(None).await.unwrap();
        while client.next().await.is_some() {}
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn a_tunnel_is_closed_by_a_close_frame_and_refuses_text() {
    let (mut client, far) = connect().await;
    let mut tunnel = Tunnel::accept(far).await;
    client.send(Message::text("no")).await.unwrap();
    let error = tunnel.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    let closing = async { tunnel.shutdown().await.unwrap() };
    let client = async { assert!(matches!(client.next().await, Some(Ok(Message::Close(_))))) };
    tokio::join!(closing, client);
}

proptest! {
    #[test]
    fn no_message_makes_a_connection_panic(messages in vec(vec(any::<u8>(), 0..40), 0..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            for protocol in [Protocol::V5, Protocol::V4_BASE64] {
                let (mut client, far) = connect().await;
                let wanted = Wanted {
                    stdin: true,
                    tty: true,
                    ..Wanted::default()
                };
                let (remote, connection) = over_websocket(far, protocol, wanted, IDLE).await;
                let messages = messages.clone();
                let client = async move {
                    for message in messages {
                        // The server may have hung up already.
                        let _refused = client.send(Message::binary(message)).await;
                    }
                };
                let _any = tokio::join!(connection.run(), client);
                drop(remote);
            }
        });
    }
}
