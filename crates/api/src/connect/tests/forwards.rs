//! `port-forward`.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::ground::{Ground, UID};
use super::spdy::{Client, Said};

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Opens the two streams of one connection, numbered from `first`.
async fn open<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    client: &mut Client<T>,
    first: u32,
    port: u16,
) {
    let port = port.to_string();
    let request = first.to_string();
    let headers = |kind| {
        [
            ("streamtype", kind),
            ("port", &*port),
            ("requestid", &*request),
        ]
    };
    client.open(first, &headers("error")).await;
    client.finish(first).await;
    client.open(first + 2, &headers("data")).await;
}

async fn spdy(ground: &Ground) -> Client<TcpStream> {
    let (client, chosen) = Client::connect(ground, "portforward", "portforward.k8s.io").await;
    assert_eq!(chosen, "portforward.k8s.io");
    client
}

/// An echo over one connection, and its end both ways.
async fn check_echo<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    client: &mut Client<T>,
    listener: &TcpListener,
    first: u32,
) {
    open(client, first, listener.local_addr().unwrap().port()).await;
    let app = async {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        connection.read_to_end(&mut all).await.unwrap();
        connection.write_all(&all).await.unwrap();
    };
    let client = async {
        client.say(first + 2, b"hello ").await;
        client.say(first + 2, b"there").await;
        client.finish(first + 2).await;
        assert_eq!(client.all(first + 2).await, "hello there");
        assert_eq!(client.hear().await, Some(Said::End(first)));
    };
    tokio::join!(app, client);
}

#[tokio::test]
async fn a_port_is_forwarded_through_each_kind_of_connection() {
    let ground = Ground::new().await;
    let (listener, port) = listen().await;
    let mut client = spdy(&ground).await;
    check_echo(&mut client, &listener, 1).await;
    check_echo(&mut client, &listener, 5).await;

    let tunnel = tunnel(ground.address).await;
    let mut client = Client::over(tunnel);
    check_echo(&mut client, &listener, 1).await;
    check_echo(&mut client, &listener, 5).await;

    let query = format!("portforward?ports={port}");
    let mut client = ground.websocket(&query, "v4.channel.k8s.io").await;
    let app = async {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut five = [0; 5];
        connection.read_exact(&mut five).await.unwrap();
        connection.write_all(&five).await.unwrap();
        // The client of channels cannot say that it has said all.
        drop(connection);
    };
    let client = async move {
        let number = port.to_le_bytes().to_vec();
        assert_eq!(client.hear().await, Some((0, number.clone().into())));
        assert_eq!(client.hear().await, Some((1, number.into())));
        client.say(0, b"hello").await;
        assert_eq!(client.hear().await, Some((0, "hello".into())));
    };
    tokio::join!(app, client);
    let (head, body) = ground.ask("GET /portforward HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x").await;
    assert!(head.starts_with("HTTP/1.0 400 "), "{head}");
    assert_eq!(body, "query parameter \"port\" is required\n");
}

/// A WebSocket as a client sees a tunnel: what is written into the one end comes in binary messages, of any size.
async fn tunnel(address: SocketAddr) -> DuplexStream {
    let request = http::Request::get(format!("ws://{address}/portforward"))
        .header("host", "x")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", TUNNEL)
        .body(())
        .unwrap();
    let connection = TcpStream::connect(address).await.unwrap();
    let (socket, response) = tokio_tungstenite::client_async(request, connection)
        .await
        .unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], TUNNEL);
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(carry(socket, far));
    near
}

async fn carry(socket: WebSocketStream<TcpStream>, far: DuplexStream) {
    let (mut write, mut read) = socket.split();
    let (mut from, mut to) = tokio::io::split(far);
    let out = async {
        let mut buffer = [0; 7];
        while let Ok(some @ 1..) = from.read(&mut buffer).await {
            write
                .send(Message::binary(buffer[..some].to_vec()))
                .await
                .unwrap();
        }
    };
    let back = async {
        while let Some(Ok(message)) = read.next().await {
            to.write_all(&message.into_data()).await.unwrap();
        }
    };
    tokio::select! { () = out => {} () = back => {} }
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_said_in_upstreams_words() {
    let ground = Ground::new().await;
    let (listener, port) = listen().await;
    drop(listener);
    let mut client = spdy(&ground).await;
    open(&mut client, 1, port).await;
    let expected = format!(
        "error forwarding port {port} to pod {UID}, uid : failed to connect to localhost:{port} inside namespace \"{UID}\", IPv4: dial tcp4 127.0.0.1:{port}: connect: connection refused IPv6 dial tcp6 [::1]:{port}: connect: "
    );
    let said = client.all(1).await;
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!(client.hear().await, Some(Said::End(3)));
}

#[tokio::test]
async fn each_way_of_a_forwarded_connection_ends_by_itself() {
    let ground = Ground::new().await;
    let (listener, port) = listen().await;
    let mut client = spdy(&ground).await;
    open(&mut client, 1, port).await;
    let (mut app, _) = listener.accept().await.unwrap();
    // The pod first: the client hears the end of both streams, and can still be heard.
    app.write_all(b"bye").await.unwrap();
    app.shutdown().await.unwrap();
    assert_eq!(client.all(3).await, "bye");
    assert_eq!(client.hear().await, Some(Said::End(1)));
    client.say(3, b"wait").await;
    let mut four = [0; 4];
    app.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"wait");
    client.finish(3).await;
    assert_eq!(app.read(&mut four).await.unwrap(), 0);

    // The client first, and the answer more than a second later.
    open(&mut client, 5, port).await;
    let (mut app, _) = listener.accept().await.unwrap();
    client.say(7, b"ask").await;
    client.finish(7).await;
    let mut all = Vec::new();
    app.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"ask");
    let early = tokio::time::timeout(Duration::from_millis(1100), client.hear()).await;
    assert!(early.is_err(), "{early:?}");
    app.write_all(b"answer").await.unwrap();
    drop(app);
    assert_eq!(client.all(7).await, "answer");
    assert_eq!(client.hear().await, Some(Said::End(5)));
}

#[tokio::test]
async fn a_connection_that_the_pod_resets_ends_alone() {
    let ground = Ground::new().await;
    let (listener, port) = listen().await;
    let mut client = spdy(&ground).await;
    open(&mut client, 1, port).await;
    let (mut app, _) = listener.accept().await.unwrap();
    app.write_all(b"x").await.unwrap();
    assert_eq!(client.hear().await, Some(Said::Data(3, "x".into())));
    // Closing with a linger of nothing is a reset.
    rustix::net::sockopt::set_socket_linger(app.as_fd(), Some(Duration::ZERO)).unwrap();
    drop(app);
    assert_eq!(client.all(3).await, "");
    assert_eq!(client.hear().await, Some(Said::End(1)));
    check_echo(&mut client, &listener, 5).await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_connections_with_it() {
    let ground = Ground::new().await;
    let (listener, port) = listen().await;
    let mut client = spdy(&ground).await;
    open(&mut client, 1, port).await;
    let (mut app, _) = listener.accept().await.unwrap();
    drop(client);
    let mut all = Vec::new();
    // By an end or by a reset.
    let _ended = app.read_to_end(&mut all).await;
    assert_eq!(all, b"");
}
