//! Sockets at which a pod meets Services.
use crate::{Family, Runtime, Transport};
use probelet_model::id::PodUid;
use std::net::{SocketAddr, TcpListener};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use super::world::*;

/// Listens on a port of all addresses and says a name to whoever connects.
pub const SERVER: &str = "exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => \"0.0.0.0\", \
    LocalPort => 8080, Listen => 5) or die $!; while ($c = $s->accept) { print $c \"the pod\"; close $c }'";

pub fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

pub async fn bound(runtime: &impl Runtime, pod: &PodUid, address: &str) -> tokio::net::TcpListener {
    let socket = runtime.bind(pod, at(address), Transport::Tcp);
    let listener = TcpListener::from(socket.await.unwrap());
    tokio::net::TcpListener::from_std(listener).unwrap()
}

pub async fn connect(
    runtime: &impl Runtime,
    pod: &PodUid,
    address: &str,
) -> std::io::Result<TcpStream> {
    let socket = runtime.tcp_socket(pod, Family::V4).await.unwrap();
    let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
    socket.connect(at(address)).await
}

/// Answers one client and says from where it came.
pub async fn answer(listener: &tokio::net::TcpListener, text: &str) -> SocketAddr {
    let (mut client, from) = listener.accept().await.unwrap();
    client.write_all(text.as_bytes()).await.unwrap();
    from
}

pub async fn a_service_is_answered_beside_a_server_on_all_addresses<R: Runtime>(world: World<R>) {
    let uid = world.pod("p", Vec::new()).await;
    let early = bound(&world.runtime, &uid, "127.213.4.5:8080").await;
    world.sh(&uid, "c", SERVER).await;
    assert_eq!(world.hear(&uid, at("10.213.0.9:8080")).await, "the pod");
    let late = bound(&world.runtime, &uid, "127.213.4.6:8080").await;
    for (listener, address) in [(&early, "127.213.4.5:8080"), (&late, "127.213.4.6:8080")] {
        let (heard, from) =
            tokio::join!(world.hear(&uid, at(address)), answer(listener, "a service"));
        assert_eq!(
            (heard.as_str(), from.ip()),
            ("a service", at("10.213.0.9:0").ip())
        );
    }
    assert_eq!(world.hear(&uid, at("127.0.0.1:8080")).await, "the pod");
    let taken = world
        .runtime
        .bind(&uid, at("10.213.0.9:8080"), Transport::Tcp)
        .await;
    let error = taken.unwrap_err().to_string();
    assert!(
        error.starts_with("bind 10.213.0.9:8080 in pod p: "),
        "{error}"
    );
}

pub async fn what_nobody_answers_in_the_range_of_services_is_refused<R: Runtime>(world: World<R>) {
    let uid = world.pod("p", Vec::new()).await;
    world.sh(&uid, "c", SERVER).await;
    assert_eq!(world.hear(&uid, at("10.213.0.9:8080")).await, "the pod");
    let error = connect(&world.runtime, &uid, "127.213.4.5:8080")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

pub async fn datagrams_reach_a_port_that_needs_a_privilege_on_the_host<R: Runtime>(
    world: World<R>,
) {
    let uid = world.pod("p", Vec::new()).await;
    let socket = world
        .runtime
        .bind(&uid, at("127.213.0.10:53"), Transport::Udp)
        .await
        .unwrap();
    let socket = UdpSocket::from_std(socket.into()).unwrap();
    let script = "exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Proto => \"udp\", \
            PeerAddr => \"127.213.0.10:53\") or die $!; $s->send(\"ping\"); $s->recv($a, 9); print $a'";
    world.sh(&uid, "c", "exec sleep 1000").await;
    let echo = async {
        let mut buffer = [0; 16];
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"ping");
        socket.send_to(b"pong", from).await.unwrap();
    };
    let (said, ()) = tokio::join!(world.output(&uid, "c", script), echo);
    assert_eq!(said, "pong");
}

pub async fn an_agent_that_comes_back_can_answer_again<R: Runtime>(world: World<R>) {
    let uid = world.pod("p", Vec::new()).await;
    drop(bound(&world.runtime, &uid, "127.213.4.5:80").await);
    let world = world.again().await;
    let next = &world.runtime;
    let listener = bound(next, &uid, "127.213.4.5:80").await;
    let (connected, _) = tokio::join!(
        connect(next, &uid, "127.213.4.5:80"),
        answer(&listener, "again")
    );
    connected.unwrap();
}
