//! https.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};

use probelet_model::probe::OutcomeStatus::{Failure, Success};
use probelet_model::probe::{Handler, PortRef, Scheme};
use rustls::pki_types::PrivateKeyDer;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use crate::ground::{Host, LOCALHOST, PATIENT, SHORT, Server, get, response, run, run_at, seen};

fn https(host: Option<&str>, address: SocketAddr) -> Handler {
    Handler::HttpGet {
        host: host.map(str::to_owned),
        port: PortRef::Number(address.port()),
        path: "/tls".to_owned(),
        scheme: Scheme::Https,
        headers: Vec::new(),
    }
}

/// What a server saw of a client: SNI and ALPN.
type Client = (Option<String>, Option<Vec<u8>>);

/// A server with a self-signed certificate for a name that nobody asks for.
fn server(
    version: &'static SupportedProtocolVersion,
    answer: &'static str,
) -> (Server, mpsc::Receiver<Client>) {
    let own = rcgen::generate_simple_self_signed(vec!["other.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let (seen, sees) = mpsc::channel();
    let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let server = Server::raw(listener, Arc::default(), move |stream| {
        let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        let mut request = [0; 1024];
        let read = tls.read(&mut request).unwrap();
        assert!(request[..read].starts_with(b"GET /tls HTTP/1.1\r\n"));
        seen.send((
            tls.conn.server_name().map(str::to_owned),
            tls.conn.alpn_protocol().map(<[u8]>::to_vec),
        ))
        .unwrap();
        tls.write_all(answer.as_bytes()).unwrap();
        tls.flush().unwrap();
    });
    (server, sees)
}

#[tokio::test]
async fn c15_a_self_signed_certificate() {
    for version in [&TLS12, &TLS13] {
        let (server, sees) = server(version, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let report = run(server.address, https(None, server.address), PATIENT).await;
        assert_eq!(seen(report), (Success, "ok".to_owned()));
        assert_eq!(
            sees.recv_timeout(PATIENT).unwrap(),
            (None, Some(b"http/1.1".to_vec()))
        );
        let report = run_at(
            &Host::default(),
            None,
            1,
            https(Some("localhost"), server.address),
            PATIENT,
        )
        .await;
        assert_eq!(seen(report).0, Success);
        assert_eq!(
            sees.recv_timeout(PATIENT).unwrap().0.as_deref(),
            Some("localhost")
        );
    }
}

#[tokio::test]
async fn an_end_without_close_notify_ends_a_body() {
    let (server, _sees) = server(&TLS13, "HTTP/1.1 200 OK\r\n\r\nall of it");
    let report = run(server.address, https(None, server.address), PATIENT).await;
    assert_eq!(seen(report), (Success, "all of it".to_owned()));
}

#[tokio::test]
async fn the_scheme_may_change_on_the_way() {
    let (second, _sees) = server(&TLS13, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecure");
    let location = format!("Location: https://{}/tls\r\n", second.address);
    let first = Server::new(move |_| response("301 Moved", &location, ""));
    let report = run(first.address, get("/"), PATIENT).await;
    assert_eq!(seen(report), (Success, "secure".to_owned()));
}

/// A server that reads a ClientHello and answers `bytes`.
async fn failure(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let server = Server::raw(listener, Arc::default(), move |mut stream| {
        if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
            drop(stream.write_all(bytes));
        }
    });
    let (status, output) = seen(run(server.address, https(None, server.address), PATIENT).await);
    assert_eq!(status, Failure);
    let start = format!("Get \"https://{}/tls\": ", server.address);
    output
        .strip_prefix(&start)
        .unwrap_or_else(|| panic!("{output}"))
        .to_owned()
}

#[tokio::test]
async fn a_server_without_tls() {
    let http = failure(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert_eq!(http, "http: server gave HTTP response to HTTPS client");
    assert_eq!(
        failure(b"SSH-2.0-x\r\n").await,
        "tls: first record does not look like a TLS handshake"
    );
    assert_eq!(failure(b"").await, "EOF");
    assert_eq!(
        failure(b"\x15\x03\x03\x00\x02\x02\x28").await,
        "remote error: tls: handshake failure"
    );
}

#[tokio::test]
async fn a_handshake_that_stalls() {
    let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let server = Server::raw(listener, Arc::default(), |mut stream| {
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let report = run(server.address, https(None, server.address), SHORT).await;
    let expected = format!(
        "Get \"https://{}/tls\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        server.address
    );
    assert_eq!(seen(report), (Failure, expected));
}
