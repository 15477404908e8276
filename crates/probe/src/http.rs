//! One GET, as the kubelet makes it.
//!
//! The way of an attempt: a [`Get`] becomes a URL and header fields; each hop connects, writes its
//! request, reads a head; a redirect on the same host is another hop, anything else is the response;
//! its status and the first bytes of its body make the outcome. The request is written by hand and the
//! head parsed by `httparse`, as that is the cheapest way and the only one that keeps Go's bytes.

mod body;
mod escape;
mod head;
mod reference;
mod request;
mod stream;
mod tls;
mod url;

use std::time::Duration;

use probelet_model::probe::{Code, Outcome, OutcomeStatus, ProberError, Scheme};
use tokio::time::timeout_at;

use crate::dial::{DialError, Dialer, Sockets};
use crate::http::head::Head;
use crate::http::request::Fields;
use crate::http::stream::{Received, Stream};
use crate::http::url::Url;
use crate::{go, prober_error};

/// What the target sees as User-Agent unless the manifest says something else.
///
/// Upstream: pkg/probe/http/request.go, userAgent; the version is the one behaviour is pinned to.
/// Shown by: the_server_sees_what_the_kubelet_sends.
pub const USER_AGENT: &str = "kube-probe/1.35";

/// How many requests an attempt may make; a redirect after the last is one too many.
///
/// Upstream: pkg/probe/http/http.go, RedirectChecker.
/// Shown by: c8_a_redirect_loop.
const MAX_REQUESTS: u32 = 10;

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub struct Get<'a> {
    /// With or without TLS.
    pub scheme: Scheme,
    /// An IP address or a name; IPv6 without brackets.
    pub host: &'a str,
    /// Where to connect.
    pub port: u16,
    /// As in the manifest: a URL reference of which path, query and fragment count.
    pub path: &'a str,
    /// As in the manifest, in order.
    pub headers: &'a [(String, String)],
}

/// Makes one GET and follows redirects on the same host.
///
/// 200 to 299 is a success with the body as output; another 3xx, or a redirect to another host, a
/// warning; any other status a failure, and so is whatever goes wrong before a response's head is
/// there, in the words of Go's client. `timeout` is for all of it, from the first connect on.
///
/// Errors: no socket could be had, `host` cannot stand in a URL, or the body could not be read, be it
/// for lack of time.
///
/// Upstream: pkg/probe/http/http.go, DoHTTPProbe; pkg/probe/http/request.go,
/// NewRequestForHTTPGetAction; Go src/net/http/client.go, Client.do.
/// Shown by: c1_200_body_ok, c3_400_404_500, c7_302_to_another_host_is_not_followed,
/// c12_connection_refused_is_a_failure_and_not_retried.
pub async fn attempt<S: Sockets>(
    sockets: &S,
    get: &Get<'_>,
    timeout: Duration,
) -> Result<Outcome, ProberError> {
    let url = Url::for_probe(get.scheme, get.host, get.port, get.path).map_err(prober_error)?;
    let dialer = Dialer::new(sockets, get.host, timeout).await?;
    let deadline = dialer.deadline();
    let mut exchange = Exchange {
        dialer,
        first: url.clone(),
        url,
        in_body: false,
    };
    match timeout_at(deadline, exchange.run(get.headers)).await {
        Ok(Ok((status, body))) => Ok(judge(status, &body)),
        Ok(Err(Stop::Failure(output))) => Ok(Outcome {
            status: OutcomeStatus::Failure,
            output,
            code: None,
        }),
        Ok(Err(Stop::Error(error))) => Err(error),
        Err(_) => exchange.timed_out(),
    }
}

fn judge(status: u16, body: &[u8]) -> Outcome {
    let (outcome, output) = match status {
        200..300 => (OutcomeStatus::Success, go::text(body)),
        300..400 => (
            OutcomeStatus::Warning,
            format!(
                "Probe terminated redirects, Response body: {}",
                go::text(body)
            ),
        ),
        _ => (
            OutcomeStatus::Failure,
            format!("HTTP probe failed with statuscode: {status}"),
        ),
    };
    Outcome {
        status: outcome,
        output,
        code: Some(Code::Http(status)),
    }
}

/// Why there is no response to judge.
#[derive(Debug)]
enum Stop {
    Failure(String),
    Error(ProberError),
}

/// One attempt under way.
#[derive(Debug)]
struct Exchange<'a, S> {
    dialer: Dialer<'a, S>,
    /// Whose host name redirects have to keep.
    first: Url,
    /// The hop we are at.
    url: Url,
    /// Whether the final head is there. It decides what a timeout means.
    in_body: bool,
}

impl<S: Sockets> Exchange<'_, S> {
    /// The final response's status and the beginning of its body.
    async fn run(&mut self, headers: &[(String, String)]) -> Result<(u16, Vec<u8>), Stop> {
        let mut fields = Fields::new(headers).map_err(|reason| self.failure(&reason))?;
        let own_referer = fields.referer();
        let mut host = fields.host().map(str::to_owned);
        let mut requests = 0;
        loop {
            let request = fields
                .write(&self.url, host.as_deref())
                .map_err(|reason| self.failure(&reason))?;
            let mut received = Received::new(self.connect().await?);
            received
                .send(&request)
                .await
                .map_err(|reason| self.failure(&reason))?;
            let head = head::read(&mut received)
                .await
                .map_err(|reason| self.failure(&reason))?;
            let Some(hop) = self.redirect(&head)? else {
                self.in_body = true;
                let body = body::read(&mut received, head.framing).await;
                return body
                    .map(|body| (head.status, body))
                    .map_err(|reason| Stop::Error(prober_error(reason)));
            };
            requests += 1;
            if requests == MAX_REQUESTS {
                return Err(failure(&hop.location, "stopped after 10 redirects"));
            }
            fields.set_referer(own_referer.as_deref(), &self.url, &hop.url);
            // Upstream: Go src/net/http/client.go, Client.do: a Host header outlives relative redirects.
            host = host.filter(|host| hop.is_relative && *host != self.url.authority);
            self.url = hop.url;
        }
    }

    /// The hop that `head` asks for, if it is one to be followed: its body is then left unread.
    fn redirect(&self, head: &Head) -> Result<Option<Hop>, Stop> {
        let (301 | 302 | 303 | 307 | 308, Some(location)) = (head.status, &head.location) else {
            return Ok(None);
        };
        let (url, is_absolute) = self.url.join(location).map_err(|reason| {
            self.failure(&format!(
                "failed to parse Location header {}: {reason}",
                go::quote(location.as_bytes())
            ))
        })?;
        if url.hostname() != self.first.hostname() {
            return Ok(None);
        }
        Ok(Some(Hop {
            url,
            is_relative: !is_absolute,
            location: location.clone(),
        }))
    }

    async fn connect(&mut self) -> Result<Stream, Stop> {
        if self.url.authority.is_empty() {
            return Err(self.failure("http: no Host in request URL"));
        }
        let with_tls = match self.url.scheme.as_str() {
            "http" => false,
            "https" => true,
            other => return Err(self.failure(&format!("unsupported protocol scheme \"{other}\""))),
        };
        let port = self.url.port();
        let Ok(port) = port.parse() else {
            return Err(self.failure(&format!("dial tcp: address {port}: invalid port")));
        };
        let host = self.url.hostname();
        let socket = self
            .dialer
            .connect(host, port)
            .await
            .map_err(|error| match error {
                DialError::NoSocket(error) => Stop::Error(error),
                DialError::TimedOut(_) => failure(&self.url.text(), HEADERS_TIMED_OUT),
                DialError::Failed(reason) => failure(&self.url.text(), &reason),
            })?;
        if !with_tls {
            return Ok(Stream::Plain(socket));
        }
        let stream = tls::handshake(socket, host)
            .await
            .map_err(|reason| self.failure(&reason))?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// A timeout before the head of the response has come is a failure, one within its body an error.
    ///
    /// Upstream: Go src/net/http/client.go, Client.do and cancelTimerBody.Read.
    /// Shown by: c11_a_handler_slower_than_the_timeout, c10_a_stalled_body_is_an_error_three_times.
    fn timed_out(&self) -> Result<Outcome, ProberError> {
        if self.in_body {
            const BODY: &str = "context deadline exceeded (Client.Timeout or context cancellation while reading body)";
            return Err(prober_error(BODY));
        }
        let output = client_text(&self.url.text(), HEADERS_TIMED_OUT);
        Ok(Outcome {
            status: OutcomeStatus::Failure,
            output,
            code: None,
        })
    }

    fn failure(&self, reason: &str) -> Stop {
        failure(&self.url.text(), reason)
    }
}

/// Whatever was under way, as since Go 1.23 the client no longer waits to hear how its dial ended.
const HEADERS_TIMED_OUT: &str =
    "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";

/// A redirect that is followed.
#[derive(Debug)]
struct Hop {
    url: Url,
    is_relative: bool,
    /// As the server wrote it.
    location: String,
}

fn failure(url: &str, reason: &str) -> Stop {
    Stop::Failure(client_text(url, reason))
}

/// An error of the client as Go says it: `Get "<URL>": <reason>`.
///
/// Upstream: Go src/net/url/url.go, Error.Error.
/// Shown by: c12_connection_refused_is_a_failure_and_not_retried.
fn client_text(url: &str, reason: &str) -> String {
    format!("Get {}: {reason}", go::quote(url.as_bytes()))
}
