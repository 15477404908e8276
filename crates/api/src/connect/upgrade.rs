//! From a request over HTTP to a connection that carries something else.

use std::future::Future;

use http::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::header::{SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use probelet_streams::{ConnectionError, websocket};

use crate::body::{self, Response};
use crate::failure::Failure;

/// The SPDY clients' word for a subprotocol.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// What a client wants to talk after the upgrade, and with which subprotocols, the one it likes best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    WebSocket { protocols: Vec<String> },
    Spdy { protocols: Vec<String> },
}

impl Offer {
    /// Reads it from the request's headers.
    ///
    /// Upstream: apimachinery pkg/util/proxy/upgradeaware.go, ServeHTTP; pkg/util/httpstream/spdy/upgrade.go,
    /// UpgradeResponse.
    /// Differs: a SPDY client that names no subprotocol is told so, where upstream answers with nothing.
    /// Shown by: what_is_no_upgrade_is_refused.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        if !values(headers, &CONNECTION).any(|value| value.eq_ignore_ascii_case("upgrade")) {
            return Err(Failure::bad_request("Upgrade request required"));
        }
        let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
        let upgrade = upgrade.unwrap_or_default().to_ascii_lowercase();
        if upgrade == "websocket" {
            if headers
                .get(SEC_WEBSOCKET_VERSION)
                .is_none_or(|version| version != "13")
            {
                return Err(Failure::bad_request("missing or bad WebSocket Version"));
            }
            if !headers.contains_key(SEC_WEBSOCKET_KEY) {
                return Err(Failure::bad_request("mismatch challenge/response"));
            }
            let protocols = values(headers, &SEC_WEBSOCKET_PROTOCOL).map(str::to_owned);
            return Ok(Self::WebSocket {
                protocols: protocols.collect(),
            });
        }
        if !upgrade.contains("spdy/3.1") {
            let message = "unable to upgrade: missing upgrade headers in request";
            return Err(Failure::bad_request(message));
        }
        let protocols: Vec<String> = values(headers, &STREAM_PROTOCOL)
            .map(str::to_owned)
            .collect();
        if protocols.is_empty() {
            let message = "unable to upgrade: X-Stream-Protocol-Version is required";
            return Err(Failure::bad_request(message));
        }
        Ok(Self::Spdy { protocols })
    }
}

/// The values of a header that may be there several times, and hold several each.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|value| !value.is_empty())
}

/// The first subprotocol of a SPDY client that is also one of ours.
///
/// Upstream: apimachinery pkg/util/httpstream/httpstream.go, Handshake.
/// Shown by: an_offer_is_read_and_the_clients_choice_taken.
pub(super) fn spdy_protocol(
    offered: &[String],
    ours: &[&'static str],
) -> Result<&'static str, Failure> {
    let common = |offered: &String| ours.iter().find(|own| *own == offered);
    offered.iter().find_map(common).copied().ok_or_else(|| {
        let (offered, ours) = (offered.join(" "), ours.join(" "));
        let message = format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{offered}], server accepts [{ours}]"
        );
        Failure::new(403, "Forbidden", message)
    })
}

/// The same of a WebSocket client; one that names none takes the empty one.
///
/// Upstream: apimachinery pkg/util/httpstream/wsstream/conn.go, handshake.
/// Shown by: an_offer_is_read_and_the_clients_choice_taken.
pub(super) fn websocket_protocol(
    offered: &[String],
    ours: &[websocket::Protocol],
) -> Result<websocket::Protocol, Failure> {
    let unnamed = [String::new()];
    let wanted = if offered.is_empty() {
        &unnamed
    } else {
        offered
    };
    let common = |offered: &String| ours.iter().find(|own| own.name == offered);
    wanted.iter().find_map(common).copied().ok_or_else(|| {
        let names: Vec<&str> = ours.iter().map(|own| own.name).collect();
        let (offered, names) = (offered.join(" "), names.join(" "));
        let message =
            format!("requested protocol(s) are not supported: [{offered}]; supports [{names}]");
        Failure::new(403, "Forbidden", message)
    })
}

/// Answers 101 for a WebSocket and goes on with `serve` in a task of its own.
pub(super) fn to_websocket<F>(
    request: Request<Incoming>,
    protocol: &str,
    serve: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send,
{
    let key = request.headers().get(SEC_WEBSOCKET_KEY);
    let accept = websocket::accept_key(key.map_or(b"", HeaderValue::as_bytes));
    let mut response = switching("websocket");
    let headers = response.headers_mut();
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Ok(protocol) = HeaderValue::from_str(protocol)
        && !protocol.is_empty()
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    go_on(request, serve);
    response
}

/// Answers 101 for SPDY and goes on with `serve` in a task of its own.
pub(super) fn to_spdy<F>(
    request: Request<Incoming>,
    protocol: &'static str,
    serve: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send,
{
    let mut response = switching("SPDY/3.1");
    let protocol = HeaderValue::from_static(protocol);
    response.headers_mut().insert(STREAM_PROTOCOL, protocol);
    go_on(request, serve);
    response
}

/// Words that the kubelet answers with, and that no Status is made of.
pub(super) fn words(code: StatusCode, text: &str) -> Response {
    let mut response = Response::new(body::full(format!("{text}\n")));
    *response.status_mut() = code;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

fn switching(to: &'static str) -> Response {
    let mut response = Response::new(body::full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(to));
    response
}

/// The connection is upgraded when the answer has been written; what then comes ends with it.
fn go_on<F>(request: Request<Incoming>, serve: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send,
{
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => serve(TokioIo::new(upgraded)).await,
            Err(error) => tracing::debug!("a client left before its upgrade: {error}"),
        }
    });
}

/// Runs a connection and the work on its streams beside it. If the connection ends first, the client has gone,
/// and the work is dropped where it stands; if the work does, the client is given the time to read.
pub(super) async fn together(
    connection: impl Future<Output = Result<(), ConnectionError>>,
    work: impl Future<Output = ()>,
) {
    tokio::pin!(connection);
    let ended = {
        tokio::pin!(work);
        tokio::select! {
            ended = &mut connection => Some(ended),
            () = &mut work => None,
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => connection.await,
    };
    if let Err(error) = ended {
        tracing::debug!("a streaming connection ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(text: &[(&'static str, &'static str)]) -> HeaderMap {
        text.iter()
            .map(|&(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn what_is_no_upgrade_is_refused() {
        let check = |text: &[(&'static str, &'static str)], expected: &str| {
            let failure = Offer::of(&headers(text)).unwrap_err();
            assert_eq!((failure.code, &*failure.message), (400, expected));
        };
        let upgrade = ("connection", "keep-alive, Upgrade");
        check(&[], "Upgrade request required");
        check(&[("connection", "close")], "Upgrade request required");
        let missing = "unable to upgrade: missing upgrade headers in request";
        check(&[upgrade], missing);
        check(&[upgrade, ("upgrade", "h2c")], missing);
        let spdy = ("upgrade", "SPDY/3.1");
        let missing = "unable to upgrade: X-Stream-Protocol-Version is required";
        check(&[upgrade, spdy], missing);
        let websocket = ("upgrade", "WebSocket");
        check(&[upgrade, websocket], "missing or bad WebSocket Version");
        let version = ("sec-websocket-version", "13");
        check(
            &[upgrade, websocket, version],
            "mismatch challenge/response",
        );
    }

    #[test]
    fn an_offer_is_read_and_the_clients_choice_taken() {
        let spdy = headers(&[
            ("connection", "upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v9, v5.channel.k8s.io"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
        ]);
        let Ok(Offer::Spdy { protocols }) = Offer::of(&spdy) else {
            panic!("no SPDY");
        };
        let ours = ["v4.channel.k8s.io", "v5.channel.k8s.io"];
        assert_eq!(spdy_protocol(&protocols, &ours), Ok("v5.channel.k8s.io"));
        let failure = spdy_protocol(&protocols, &["a", "b"]).unwrap_err();
        let expected = "unable to upgrade: unable to negotiate protocol: client supports [v9 v5.channel.k8s.io v4.channel.k8s.io], server accepts [a b]";
        assert_eq!((failure.code, &*failure.message), (403, expected));

        let websocket = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "x"),
            ("sec-websocket-protocol", "v9, v4.channel.k8s.io"),
        ]);
        let Ok(Offer::WebSocket { protocols }) = Offer::of(&websocket) else {
            panic!("no WebSocket");
        };
        let ours = [websocket::Protocol::UNNAMED, websocket::Protocol::V4];
        let chosen = websocket_protocol(&protocols, &ours);
        assert_eq!(chosen, Ok(websocket::Protocol::V4));
        let chosen = websocket_protocol(&[], &ours);
        assert_eq!(chosen, Ok(websocket::Protocol::UNNAMED));
        let failure = websocket_protocol(&["v9".to_owned()], &ours).unwrap_err();
        let expected =
            "requested protocol(s) are not supported: [v9]; supports [ v4.channel.k8s.io]";
        assert_eq!((failure.code, &*failure.message), (403, expected));
    }
}
