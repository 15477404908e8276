//! tcpSocket, and what every connection is like.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use probelet_model::id::PodUid;
use probelet_model::probe::OutcomeStatus::{Failure, Success};
use probelet_model::probe::{Handler, PortRef, ProberError};
use probelet_probe::{PodSockets, Sockets, tcp};
use probelet_runtime::Family;
use rustix::net::sockopt::socket_linger;

use crate::ground::{Host, LOCALHOST, PATIENT, SHORT, Server, closed_port, run, run_at, seen};

fn tcp_socket() -> Handler {
    Handler::TcpSocket {
        host: None,
        port: PortRef::Name("http".to_owned()),
    }
}

#[tokio::test]
async fn c16_tcp_open_and_closed() {
    let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let open = listener.local_addr().unwrap();
    assert_eq!(
        seen(run(open, tcp_socket(), PATIENT).await),
        (Success, String::new())
    );
    let closed = closed_port();
    let expected = (
        Failure,
        format!("dial tcp {closed}: connect: connection refused"),
    );
    assert_eq!(seen(run(closed, tcp_socket(), PATIENT).await), expected);
}

#[tokio::test]
async fn a_connection_is_closed_at_once_and_nothing_is_sent() {
    let (said, hears) = std::sync::mpsc::channel();
    let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let server = Server::raw(listener, Arc::default(), move |mut stream| {
        let mut heard = Vec::new();
        let ended = std::io::Read::read_to_end(&mut stream, &mut heard);
        drop(said.send((ended.ok(), heard)));
    });
    assert_eq!(
        seen(run(server.address, tcp_socket(), PATIENT).await).0,
        Success
    );
    // A plain end, not a reset.
    assert_eq!(hears.recv_timeout(PATIENT).unwrap(), (Some(0), Vec::new()));
}

#[tokio::test]
async fn a_target_that_does_not_answer() {
    let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    // Fills the queue of connections, after which the kernel drops what comes.
    let mut waiting = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, SHORT) {
        waiting.push(stream);
    }
    let report = run(address, tcp_socket(), SHORT).await;
    assert!(report.duration >= SHORT);
    assert_eq!(
        seen(report),
        (Failure, format!("dial tcp {address}: i/o timeout"))
    );
    let report = run(address, crate::ground::get("/"), SHORT).await;
    let expected = format!(
        "Get \"http://{address}/\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    );
    assert_eq!(seen(report), (Failure, expected));
    drop(waiting);
}

/// With SO_LINGER on, closing would hold the thread up until the target's kernel has answered.
#[tokio::test]
async fn closing_never_waits_for_the_target() {
    let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let host = Host {
        kept: Some(Mutex::default()),
        ..Host::default()
    };
    let report = run_at(
        &host,
        Some(address.ip()),
        address.port(),
        tcp_socket(),
        PATIENT,
    )
    .await;
    assert_eq!(seen(report).0, Success);
    let kept = host.kept.unwrap().into_inner().unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(socket_linger(&kept[0]).unwrap(), None);
}

/// Hands out sockets that already have the port they are to connect to.
struct Bound(std::net::SocketAddr);

impl Sockets for Bound {
    async fn tcp(&self, family: Family) -> Result<std::os::fd::OwnedFd, ProberError> {
        let host = Host::default();
        let pod: PodUid = "pod".into();
        let socket = PodSockets {
            runtime: &host,
            pod: &pod,
        }
        .tcp(family)
        .await?;
        rustix::net::bind(&socket, &self.0).unwrap();
        Ok(socket)
    }
}

#[tokio::test]
async fn a_socket_that_meets_itself_has_met_nobody() {
    let address = closed_port();
    let outcome = tcp::attempt(
        &Bound(address),
        &address.ip().to_string(),
        address.port(),
        PATIENT,
    )
    .await
    .unwrap();
    let expected = format!("dial tcp {address}: connect: connection refused");
    assert_eq!((outcome.status, outcome.output), (Failure, expected));
}

#[tokio::test]
async fn a_name_nobody_has_is_a_failure() {
    let handler = Handler::TcpSocket {
        host: Some("nobody.invalid".to_owned()),
        port: PortRef::Number(80),
    };
    let (status, output) =
        seen(run_at(&Host::default(), None, 1, handler, Duration::from_secs(2)).await);
    assert_eq!(status, Failure);
    // Without a resolver in reach the reason is another, and that is the host's matter.
    assert!(
        output.starts_with("dial tcp: lookup nobody.invalid: "),
        "{output}"
    );
}
