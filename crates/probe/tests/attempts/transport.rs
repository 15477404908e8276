//! What goes wrong before there is a response, in Go's words.

use std::process::Command;
use std::sync::atomic::Ordering;

use probelet_model::probe::OutcomeStatus::{Failure, Success};
use probelet_model::probe::{Handler, PortRef, Scheme};

use crate::ground::{
    Answer, Fault, Host, LOCALHOST, PATIENT, SHORT, Server, closed_port, get, response, run,
    run_at, seen,
};

/// The text of a failed attempt on a server that answers `answer`, without its beginning.
async fn failure(answer: impl Fn() -> Answer + Send + 'static) -> String {
    let server = Server::new(move |_| answer());
    let (status, output) = seen(run(server.address, get("/"), PATIENT).await);
    assert_eq!(status, Failure, "{output}");
    let start = format!("Get \"http://{}/\": ", server.address);
    output
        .strip_prefix(&start)
        .unwrap_or_else(|| panic!("{output}"))
        .to_owned()
}

#[tokio::test]
async fn c12_connection_refused_is_a_failure_and_not_retried() {
    let address = closed_port();
    let host = Host::default();
    let report = run_at(
        &host,
        Some(address.ip()),
        address.port(),
        get("/x"),
        PATIENT,
    )
    .await;
    let expected =
        format!("Get \"http://{address}/x\": dial tcp {address}: connect: connection refused");
    assert_eq!(seen(report), (Failure, expected));
    assert_eq!(host.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_connection_that_ends_too_early() {
    assert_eq!(failure(|| Answer::Whole(String::new())).await, "EOF");
    let broken = "net/http: HTTP/1.x transport connection broken: unexpected EOF";
    assert_eq!(
        failure(|| Answer::Whole("HTTP/1.1 200 OK".to_owned())).await,
        broken
    );
    assert_eq!(
        failure(|| Answer::Whole("HTTP/1.1 200 OK\r\nA: b\r\n".to_owned())).await,
        broken
    );
}

#[tokio::test]
async fn a_reset_connection() {
    let text = failure(|| Answer::Reset(String::new())).await;
    assert!(text.starts_with("read tcp 127.0.0.1:"), "{text}");
    assert!(text.ends_with(": read: connection reset by peer"), "{text}");
}

#[tokio::test]
async fn what_is_not_http() {
    for (answer, expected) in [
        (
            "SSH-2.0-OpenSSH_9.6\r\n",
            r#"malformed HTTP response "SSH-2.0-OpenSSH_9.6""#,
        ),
        (
            "\u{15}\u{3}\u{1}\0\u{2}\u{2}P",
            r#"malformed HTTP response "\x15\x03\x01\x00\x02\x02P""#,
        ),
        (
            "HTTP/1.1 abc\r\n\r\n",
            r#"malformed HTTP status code "abc""#,
        ),
        (
            "HTTP/3.0 200 OK\r\n\r\n",
            r#"malformed HTTP version "HTTP/3.0""#,
        ),
        (
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "malformed MIME header line: no colon",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            r#"bad Content-Length "x""#,
        ),
    ] {
        let expected = format!("net/http: HTTP/1.x transport connection broken: {expected}");
        assert_eq!(failure(|| Answer::Whole(answer.to_owned())).await, expected);
    }
}

#[tokio::test]
async fn a_greeting_in_another_protocol_is_not_waited_on() {
    let text = failure(|| Answer::Stall("220 mail ESMTP\r\n".to_owned())).await;
    assert_eq!(
        text,
        r#"net/http: HTTP/1.x transport connection broken: malformed HTTP status code "mail""#
    );
}

#[tokio::test]
async fn headers_without_end() {
    let text =
        failure(|| Answer::Stall(format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(20_000))))
            .await;
    assert_eq!(
        text,
        "net/http: server response headers exceeded 65536 bytes; aborted"
    );
    let text = failure(|| Answer::Stall("HTTP/1.1 100 Continue\r\n\r\n".repeat(5_000))).await;
    assert_eq!(
        text,
        "net/http: server response headers exceeded 65536 bytes; aborted"
    );
    let text = failure(|| Answer::Stall("x".repeat(100_000))).await;
    assert_eq!(
        text,
        "net/http: server response headers exceeded 65536 bytes; aborted"
    );
}

#[tokio::test]
async fn ipv6_is_bracketed() {
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else {
        return; // This host has no IPv6.
    };
    let address = listener.local_addr().unwrap();
    drop(listener);
    let refused = seen(run(address, get("/"), PATIENT).await);
    assert_eq!(
        refused.1,
        format!("Get \"http://{address}/\": dial tcp {address}: connect: connection refused")
    );
    let server = Server::at(address, |_| response("200 OK", "", "six"));
    assert_eq!(
        seen(run(address, get("/"), PATIENT).await),
        (Success, "six".to_owned())
    );
    assert!(server.requests()[0].contains(&format!("\r\nHost: [::1]:{}\r\n", address.port())));
}

fn get_from(host: &str, port: u16) -> Handler {
    let path = "/".to_owned();
    Handler::HttpGet {
        host: Some(host.to_owned()),
        port: PortRef::Number(port),
        path,
        scheme: Scheme::Http,
        headers: Vec::new(),
    }
}

#[tokio::test]
async fn a_host_of_its_own_is_looked_up_and_met_from_here() {
    let server = Server::new(|_| response("200 OK", "", "named"));
    let host = Host {
        fault: Some(Fault::Fails),
        ..Host::default()
    };
    let handler = get_from("localhost", server.address.port());
    let report = run_at(&host, None, 1, handler, PATIENT).await;
    assert_eq!(seen(report), (Success, "named".to_owned()));
    assert!(server.requests()[0].contains(&format!(
        "\r\nHost: localhost:{}\r\n",
        server.address.port()
    )));
    assert_eq!(host.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_host_that_cannot_be_one_is_an_error() {
    let report = run_at(&Host::default(), None, 1, get_from("a b", 80), PATIENT).await;
    let expected = r#"parse "http://a%20b:80/": invalid URL escape "%20""#;
    assert_eq!(
        (report.result.unwrap_err().message.as_str(), report.tries),
        (expected, 3)
    );
}

#[tokio::test]
async fn what_the_runtime_lacks_is_not_the_targets_failure() {
    for (fault, expected) in [
        (Fault::Fails, "pod pod has no sandbox"),
        (Fault::Hangs, "no socket to probe with after 200ms"),
    ] {
        let host = Host {
            fault: Some(fault),
            ..Host::default()
        };
        let report = run_at(&host, Some(LOCALHOST), 1, get("/"), SHORT).await;
        assert_eq!(
            (report.result.unwrap_err().message.as_str(), report.tries),
            (expected, 3)
        );
        assert_eq!(host.asked.load(Ordering::Relaxed), 3);
    }
    let report = run_at(&Host::default(), None, 1, get("/"), SHORT).await;
    assert_eq!(
        report.result.unwrap_err().message,
        "the pod has no address yet"
    );
}

/// Runs itself again with proxies in the environment, as a process must not change its own.
#[tokio::test]
async fn proxies_in_the_environment_are_ignored() {
    const NAMES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"];
    if NAMES.iter().all(|name| std::env::var_os(name).is_some()) {
        let server = Server::new(|_| response("200 OK", "", "direct"));
        assert_eq!(
            seen(run(server.address, get("/"), PATIENT).await),
            (Success, "direct".to_owned())
        );
        return;
    }
    let nowhere = format!("http://{}", closed_port());
    let again = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "transport::proxies_in_the_environment_are_ignored",
        ])
        .envs(NAMES.map(|name| (name, &nowhere)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(
        again.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
