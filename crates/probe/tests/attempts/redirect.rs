//! Which redirects are followed, and with what request.

use probelet_model::probe::OutcomeStatus::{Failure, Success, Warning};

use crate::ground::{Answer, Host, PATIENT, Server, get, get_with, response, run, run_at, seen};

/// A server that redirects `/` to `location` and answers `/ok` and `/bad`.
fn server(location: &str) -> Server {
    let location = location.to_owned();
    Server::new(move |request| match request.split(' ').nth(1) {
        Some("/ok") => response("200 OK", "", "there"),
        Some("/bad") => response("500 No", "", ""),
        _ => response("302 Found", &format!("Location: {location}\r\n"), "moved"),
    })
}

#[tokio::test]
async fn c4_302_to_a_good_path() {
    let server = server("/ok");
    assert_eq!(
        seen(run(server.address, get("/"), PATIENT).await),
        (Success, "there".to_owned())
    );
    let referer = format!(
        "\r\nAccept: */*\r\nReferer: http://{}/\r\nConnection: close\r\n",
        server.address
    );
    assert!(
        server.requests()[1].contains(&referer),
        "{}",
        server.requests()[1]
    );
}

#[tokio::test]
async fn c5_302_to_a_bad_path() {
    let server = server("/bad");
    let expected = (Failure, "HTTP probe failed with statuscode: 500".to_owned());
    assert_eq!(seen(run(server.address, get("/"), PATIENT).await), expected);
}

#[tokio::test]
async fn c7_302_to_another_host_is_not_followed() {
    let body = "<a href=\"http://0.0.0.0/\">Found</a>.";
    let server = Server::new(move |_| response("302 Found", "Location: http://0.0.0.0/\r\n", body));
    let expected = (
        Warning,
        format!("Probe terminated redirects, Response body: {body}"),
    );
    assert_eq!(seen(run(server.address, get("/"), PATIENT).await), expected);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn c8_a_redirect_loop() {
    let server = server("/again");
    let expected = (
        Failure,
        "Get \"/again\": stopped after 10 redirects".to_owned(),
    );
    assert_eq!(seen(run(server.address, get("/"), PATIENT).await), expected);
    assert_eq!(server.requests().len(), 10);
}

#[tokio::test]
async fn the_port_may_differ_and_each_hop_has_a_socket_of_the_pod() {
    let second = server("/");
    let first = server(&format!("http://{}/ok", second.address));
    let host = Host::default();
    let report = run_at(
        &host,
        Some(first.address.ip()),
        first.address.port(),
        get("/"),
        PATIENT,
    )
    .await;
    assert_eq!(seen(report), (Success, "there".to_owned()));
    assert_eq!(host.asked.load(std::sync::atomic::Ordering::Relaxed), 2);
    assert!(second.requests()[0].contains(&format!("\r\nHost: {}\r\n", second.address)));
}

#[tokio::test]
async fn a_relative_location_keeps_the_host_header_and_a_whole_one_does_not() {
    let relative = server("ok");
    assert_eq!(
        seen(
            run(
                relative.address,
                get_with("/", &[("Host", "a.example")]),
                PATIENT
            )
            .await
        )
        .0,
        Success
    );
    assert!(relative.requests()[1].contains("\r\nHost: a.example\r\n"));

    let other = server("/");
    let absolute = server(&format!("http://{}/ok", other.address));
    assert_eq!(
        seen(
            run(
                absolute.address,
                get_with("/", &[("Host", "a.example")]),
                PATIENT
            )
            .await
        )
        .0,
        Success
    );
    assert!(other.requests()[0].contains(&format!("\r\nHost: {}\r\n", other.address)));
}

#[tokio::test]
async fn a_location_that_is_none_is_a_failure() {
    let server = server("/%zz");
    let expected = format!(
        "Get \"http://{}/\": failed to parse Location header \"/%zz\": parse \"/%zz\": invalid URL escape \"%zz\"",
        server.address
    );
    assert_eq!(
        seen(run(server.address, get("/"), PATIENT).await),
        (Failure, expected)
    );
}

#[tokio::test]
async fn a_scheme_nobody_speaks_is_a_failure() {
    let server = server("ftp://127.0.0.1/x");
    let expected = "Get \"ftp://127.0.0.1/x\": unsupported protocol scheme \"ftp\"".to_owned();
    assert_eq!(
        seen(run(server.address, get("/"), PATIENT).await),
        (Failure, expected)
    );
}

#[tokio::test]
async fn the_body_of_a_followed_redirect_is_not_waited_for() {
    let server = Server::new(|request| match request.split(' ').nth(1) {
        Some("/ok") => response("200 OK", "", "there"),
        _ => Answer::Stall(
            "HTTP/1.1 307 Go\r\nLocation: /ok\r\nContent-Length: 10\r\n\r\n".to_owned(),
        ),
    });
    assert_eq!(
        seen(run(server.address, get("/"), PATIENT).await),
        (Success, "there".to_owned())
    );
}

#[tokio::test]
async fn an_attempt_without_a_place_to_go_is_a_failure() {
    let server = server("/ok");
    let report = run(server.address, get("localhost:8080/x"), PATIENT).await;
    assert_eq!(
        seen(report),
        (
            Failure,
            "Get \"http:8080/x\": http: no Host in request URL".to_owned()
        )
    );
    assert!(server.requests().is_empty());
}
