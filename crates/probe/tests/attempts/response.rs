//! What a response is taken for.

use std::sync::atomic::Ordering;

use probelet_model::probe::OutcomeStatus::{Failure, Success, Warning};
use probelet_model::probe::{Code, Handler, OutcomeStatus, PortRef};

use crate::ground::{
    Answer, Host, LOCALHOST, PATIENT, SHORT, Server, get, get_with, response, run, run_at, seen,
};

/// What an attempt makes of one answer.
async fn of(answer: impl Fn() -> Answer + Send + 'static) -> (OutcomeStatus, String) {
    let server = Server::new(move |_| answer());
    seen(run(server.address, get("/"), PATIENT).await)
}

async fn of_text(text: &'static str) -> (OutcomeStatus, String) {
    of(move || Answer::Whole(text.to_owned())).await
}

fn words(status: OutcomeStatus, output: &str) -> (OutcomeStatus, String) {
    (status, output.to_owned())
}

#[tokio::test]
async fn c1_200_body_ok() {
    let server = Server::new(|_| response("200 OK", "", "ok"));
    let report = run(server.address, get("/"), PATIENT).await;
    assert_eq!(report.result.as_ref().unwrap().code, Some(Code::Http(200)));
    assert_eq!(seen(report), words(Success, "ok"));
}

#[tokio::test]
async fn c2_399_without_location() {
    let expected = words(Warning, "Probe terminated redirects, Response body: odd");
    assert_eq!(of(|| response("399 Odd", "", "odd")).await, expected);
    let expected = words(Warning, "Probe terminated redirects, Response body: ");
    assert_eq!(of(|| response("302 Found", "", "")).await, expected);
}

#[tokio::test]
async fn c3_400_404_500() {
    for status in [400, 404, 500] {
        let expected = (
            Failure,
            format!("HTTP probe failed with statuscode: {status}"),
        );
        assert_eq!(
            of(move || response(&format!("{status} No"), "", "not shown")).await,
            expected
        );
    }
}

#[tokio::test]
async fn c9_a_long_body_is_cut() {
    let (status, output) = of(|| response("200 OK", "", &"x".repeat(10_241))).await;
    assert_eq!((status, output.len()), (Success, 10_240));
    let chunk = format!("{:x}\r\n{}\r\n", 6_000, "y".repeat(6_000));
    let (status, output) = of(move || {
        Answer::Stall(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}"
        ))
    })
    .await;
    assert_eq!((status, output.len()), (Success, 10_240));
}

#[tokio::test]
async fn c10_a_stalled_body_is_an_error_three_times() {
    for status in ["200 OK", "500 No", "302 Found"] {
        let server = Server::new(move |_| {
            Answer::Stall(format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nab"))
        });
        let report = run(server.address, get("/"), SHORT).await;
        let expected =
            "context deadline exceeded (Client.Timeout or context cancellation while reading body)";
        assert_eq!(report.result.unwrap_err().message, expected);
        assert_eq!((report.tries, server.requests().len()), (3, 3));
        assert!(report.duration >= 3 * SHORT);
    }
}

#[tokio::test]
async fn c11_a_handler_slower_than_the_timeout() {
    for so_far in ["", "HTTP/1.1 200 OK\r\nX-Half: "] {
        let server = Server::new(move |_| Answer::Stall(so_far.to_owned()));
        let report = run(server.address, get("/slow"), SHORT).await;
        assert!(report.duration >= SHORT);
        let expected = format!(
            "Get \"http://{}/slow\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            server.address
        );
        assert_eq!(seen(report), (Failure, expected));
    }
}

#[tokio::test]
async fn c13_empty_accept_and_user_agent_are_not_sent() {
    let server = Server::new(|_| response("200 OK", "", ""));
    let report = run(
        server.address,
        get_with("/", &[("Accept", ""), ("User-Agent", "")]),
        PATIENT,
    )
    .await;
    assert_eq!(seen(report).0, Success);
    let expected = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.address
    );
    assert_eq!(server.requests(), [expected]);
}

#[tokio::test]
async fn the_server_sees_what_the_kubelet_sends() {
    let server = Server::new(|_| response("200 OK", "", ""));
    let headers = [
        ("x-token", "b"),
        ("Host", "example.com"),
        ("X-Token", "a"),
        ("User-Agent", "me"),
    ];
    assert_eq!(
        seen(run(server.address, get("/a?b=c#d"), PATIENT).await).0,
        Success
    );
    assert_eq!(
        seen(run(server.address, get_with("", &headers), PATIENT).await).0,
        Success
    );
    let plain = format!(
        "GET /a?b=c HTTP/1.1\r\nHost: {}\r\nUser-Agent: kube-probe/1.35\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        server.address
    );
    let dressed = "GET / HTTP/1.1\r\nHost: example.com\r\nUser-Agent: me\r\nAccept: */*\r\nX-Token: b\r\n\
                   X-Token: a\r\nConnection: close\r\n\r\n";
    assert_eq!(server.requests(), [plain.as_str(), dressed]);
}

#[tokio::test]
async fn chunks_are_put_together() {
    let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n00a;x=y\r\n0123456789\r\n0\r\n\r\n";
    assert_eq!(of_text(text).await, words(Success, "abc0123456789"));
    let bytes = text.chars().map(String::from).collect::<Vec<_>>();
    assert_eq!(
        of(move || Answer::Pieces(bytes.clone())).await,
        words(Success, "abc0123456789")
    );
}

#[tokio::test]
async fn a_body_that_is_not_as_it_says_is_an_error() {
    for (text, expected) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
            "unexpected EOF",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            "unexpected EOF",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "invalid byte in chunk length",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            "malformed chunked encoding",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n",
            "http chunk length too large",
        ),
    ] {
        let server = Server::new(move |_| Answer::Whole(text.to_owned()));
        let report = run(server.address, get("/"), PATIENT).await;
        assert_eq!(report.result.unwrap_err().message, expected, "{text:?}");
        assert_eq!(report.tries, 3);
    }
}

#[tokio::test]
async fn a_body_without_length_ends_with_the_connection() {
    assert_eq!(
        of_text("HTTP/1.0 200 OK\r\n\r\nold").await,
        words(Success, "old")
    );
    assert_eq!(
        of_text("HTTP/1.1 200 OK\n\nbare").await,
        words(Success, "bare")
    );
    assert_eq!(of_text("HTTP/1.1 200\r\n\r\n").await, words(Success, ""));
}

#[tokio::test]
async fn a_response_without_a_body_is_not_waited_on() {
    let server = Server::new(|_| Answer::Stall("HTTP/1.1 204 No Content\r\n\r\n".to_owned()));
    assert_eq!(
        seen(run(server.address, get("/"), PATIENT).await),
        words(Success, "")
    );
}

#[tokio::test]
async fn heads_of_1xx_are_passed_over() {
    let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nok";
    assert_eq!(of_text(text).await, words(Success, "ok"));
    let switched = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    assert_eq!(
        of_text(switched).await,
        words(Failure, "HTTP probe failed with statuscode: 101")
    );
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let text = "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nok";
    let bytes = text.chars().map(String::from).collect::<Vec<_>>();
    assert_eq!(
        of(move || Answer::Pieces(bytes.clone())).await,
        words(Success, "ok")
    );
}

#[tokio::test]
async fn output_is_text() {
    let server = Server::new(|_| response("200 OK", "", "h\u{e9}"));
    let (_, output) = seen(run(server.address, get("/"), PATIENT).await);
    assert_eq!(output, "hé");
}

#[tokio::test]
async fn a_misspelt_port_is_an_error_and_asks_nobody() {
    let host = Host::default();
    let report = run_at(&host, Some(LOCALHOST), 0, get("/"), PATIENT).await;
    assert_eq!(report.result.unwrap_err().message, "invalid port number: 0");
    let handler = Handler::TcpSocket {
        host: None,
        port: PortRef::Name("web".to_owned()),
    };
    let report = run_at(&host, Some(LOCALHOST), 80, handler, PATIENT).await;
    assert_eq!(report.result.unwrap_err().message, "port \"web\" not found");
    assert_eq!((report.tries, host.asked.load(Ordering::Relaxed)), (3, 0));
}
