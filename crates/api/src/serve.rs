//! The server: from a connection to an answer.
//!
//! [`listen`] has the sockets, `tls` and `socket` what lies on them, `who` finds out who is asking, `plain`
//! answers what is about no object, `verbs` what is. Nothing here is decided about objects: that is
//! [`crate::registry`]'s.

mod answer;
mod count;
pub mod listen;
mod plain;
mod socket;
mod strangers;
mod tls;
mod verbs;
mod who;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use hyper::body::Incoming;
use probelet_model::time::Now;
use probelet_runtime::Runtime;
use ring::rand::{SecureRandom, SystemRandom};

use crate::access::{Authenticate, User};
use crate::body::{self, Response};
use crate::failure::Failure;
use crate::negotiate::Media;
use crate::registry::Registry;
use crate::route::{Query, Route};
use crate::usage::{OfNode, Samples};
use crate::watch::Watches;
use count::{Asked, Counters};
use socket::Gate;

pub use listen::{ListenError, Server};
pub use tls::TlsError;

/// The few numbers that can be chosen.
///
/// Differs: upstream takes a head of 1 MiB, as many connections and watches as there is memory for, and waits as long
/// for a reader as for a writer. Here whatever a client can take of the host has an end.
/// Shown by: a_head_has_a_limit, one_watch_too_many_is_told_to_wait, who_takes_nothing_is_cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; more wait to be accepted. By default 1,000.
    pub connections: usize,
    /// Connections at once that have not shown yet whose they are; of more the oldest is cut. By default 256.
    pub strangers: usize,
    /// Watches at once; one more is told to try later (429). By default 2,000.
    pub watches: usize,
    /// Bytes of a request's body. By default 3 MiB, as upstream.
    pub body_bytes: usize,
    /// Bytes of a request's head. By default 64 KiB.
    pub head_bytes: u32,
    /// How long a client may take to send a request, its head and its body each. By default 30 s.
    pub request_timeout: Duration,
    /// How long a connection with a watch on it may take nothing before it is cut. By default 60 s.
    pub stall_timeout: Duration,
    /// How long answers under way have when the server ends. By default 2 s.
    pub end_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1000,
            strangers: 256,
            watches: 2000,
            body_bytes: 3 * 1024 * 1024,
            head_bytes: 64 * 1024,
            request_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            end_grace: Duration::from_secs(2),
        }
    }
}

/// A question about the health of something, by name.
#[derive(Clone)]
pub struct Check {
    /// As `/readyz/<name>` has it.
    pub name: &'static str,
    /// Answered at once; what is wrong is logged, and not told.
    pub healthy: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// What gives more lines for `/metrics`.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What a server may have beyond its objects.
#[derive(Clone, Default)]
pub struct Options {
    /// Its limits.
    pub limits: Limits,
    /// Who knows bearer tokens, in the order in which they are asked.
    pub authenticators: Vec<Arc<dyn Authenticate>>,
    /// What `/healthz`, `/livez` and `/readyz` look at.
    pub checks: Vec<Check>,
    /// More for `/metrics`, in Prometheus' text format.
    pub metrics: Option<Metrics>,
    /// What the node uses; `metrics.k8s.io` tells nothing of it if `None`.
    pub of_node: Option<OfNode>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("limits", &self.limits)
            .field("authenticators", &self.authenticators)
            .field("checks", &self.checks)
            .finish_non_exhaustive()
    }
}

/// The API over a registry of objects and a runtime.
#[derive(Debug)]
pub struct Api<R> {
    registry: Arc<Registry>,
    runtime: Arc<R>,
    clock: fn() -> Now,
    options: Options,
    watches: Arc<Watches>,
    samples: Samples,
    counters: Counters,
    random: SystemRandom,
    /// True once the server ends: watches end, and connections when they have answered.
    stopping: tokio::sync::watch::Sender<bool>,
}

/// What is known of whoever sits at the other end of a connection.
#[derive(Clone, Debug)]
struct Peer {
    /// Whose certificate it has shown.
    user: Option<User>,
    /// Where it has found us.
    local: std::net::SocketAddr,
    gate: Arc<Gate>,
    stranger: Arc<strangers::Stranger>,
}

/// A request with its query read.
struct Asking {
    request: Request<Incoming>,
    query: Query,
    user: User,
    peer: Peer,
}

impl<R: Runtime> Api<R> {
    /// An API; `clock` is the only source of time, and read for stamps and ages.
    #[must_use]
    pub fn new(
        registry: Arc<Registry>,
        runtime: Arc<R>,
        clock: fn() -> Now,
        options: Options,
    ) -> Arc<Self> {
        Arc::new(Self {
            registry,
            runtime,
            clock,
            watches: Watches::new(options.limits.watches),
            options,
            samples: Samples::default(),
            counters: Counters::default(),
            random: SystemRandom::new(),
            stopping: tokio::sync::watch::Sender::new(false),
        })
    }

    /// What the watches of this server share.
    #[must_use]
    pub const fn watches(&self) -> &Arc<Watches> {
        &self.watches
    }

    /// Answers one request; what fails is answered too.
    async fn handle(
        self: Arc<Self>,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Result<Response, Infallible> {
        let began = (self.clock)().mono;
        let media = Media::for_failures(request.headers());
        let is_head = request.method() == Method::HEAD;
        let route = Route::of(request.uri().path());
        let asked = Asked::of(&route, &request);
        let answered = match self.answer(peer, route, request).await {
            Ok(response) => response,
            Err(failure) => answer::failure(&failure, media),
        };
        let took = (self.clock)().mono.since(began);
        self.counters.count(&asked, answered.status(), took);
        let mut response = answer::with_common_headers(answered, &self.uuid());
        if is_head {
            *response.body_mut() = body::full("");
        }
        Ok(response)
    }

    async fn answer(
        &self,
        peer: Peer,
        route: Route,
        request: Request<Incoming>,
    ) -> Result<Response, Failure> {
        let user = self.who(&peer, request.headers())?;
        let query = Query::parse(request.uri().query().unwrap_or_default())
            .map_err(|error| Failure::bad_request(error.to_string()))?;
        let asking = Asking {
            request,
            query,
            user,
            peer,
        };
        match route {
            Route::Resource { target, watch } => self.resource(target, watch, asking).await,
            other => self.plain(&other, &asking),
        }
    }

    /// Random bytes.
    fn random<const LENGTH: usize>(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        self.random
            .fill(&mut bytes)
            .expect("the kernel gives random bytes to everybody");
        bytes
    }

    /// A random UUID.
    fn uuid(&self) -> String {
        let mut bytes: [u8; 16] = self.random();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = format!("{:032x}", u128::from_be_bytes(bytes));
        let (a, b, c, d, e) = (
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        );
        format!("{a}-{b}-{c}-{d}-{e}")
    }
}
