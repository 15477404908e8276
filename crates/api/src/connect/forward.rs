//! `port-forward`: connections from the client to a port of the pod.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use probelet_model::id::PodUid;
use probelet_runtime::{Family, Runtime};
use probelet_store::Object;
use probelet_streams::forward::{Forward, Forwards, MAX_PORTS, over_channels};
use probelet_streams::websocket::{Protocol, Tunnel};
use probelet_streams::{self as streams, Gone, IDLE, Outgoing, spdy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::upgrade::{
    self, Offer, spdy_protocol, to_spdy, to_websocket, together, websocket_protocol,
};
use super::{container, go_words};
use crate::body::Response;
use crate::failure::Failure;
use crate::route::Query;

/// The one subprotocol there is, over SPDY.
const SPDY: &str = "portforward.k8s.io";
/// What stands before it when SPDY goes through a WebSocket.
const TUNNEL: &str = "SPDY/3.1+";
/// And in one word.
const TUNNELED: &str = "SPDY/3.1+portforward.k8s.io";
/// The subprotocols of channels.
const CHANNELS: [Protocol; 3] = [Protocol::V4, Protocol::V4_BASE64, Protocol::UNNAMED];
/// How much is read at a time.
const READ: usize = 32 * 1024;

/// Answers with an upgrade, behind which any number of connections are made.
///
/// Upstream: pkg/registry/core/pod/rest/subresources.go, PortForwardREST.Connect; apiserver
/// pkg/util/proxy/streamtunnel.go, TunnelingHandler.
/// Shown by: a_port_is_forwarded_through_each_kind_of_connection.
pub(super) fn answer<R: Runtime>(
    runtime: &Arc<R>,
    pod: &Object,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Response, Failure> {
    let ports = ports(query)?;
    let dialer = Dialer {
        runtime: Arc::clone(runtime),
        pod: container::uid(&pod.value),
    };
    match Offer::of(request.headers())? {
        Offer::Spdy { protocols } => {
            let protocol = spdy_protocol(&protocols, &[SPDY])?;
            Ok(to_spdy(request, protocol, |io| async move {
                let (accept, connection) = spdy::accept(io, IDLE);
                together(connection.run(), dialer.serve(Forwards::new(accept))).await;
            }))
        }
        Offer::WebSocket { protocols } if protocols.iter().any(|name| name.starts_with(TUNNEL)) => {
            let inner = |name: &String| name.strip_prefix(TUNNEL).map(str::to_owned);
            let protocols: Vec<String> = protocols.iter().filter_map(inner).collect();
            spdy_protocol(&protocols, &[SPDY])?;
            Ok(to_websocket(request, TUNNELED, |io| async move {
                let (accept, connection) = spdy::accept(Tunnel::accept(io).await, IDLE);
                together(connection.run(), dialer.serve(Forwards::new(accept))).await;
            }))
        }
        Offer::WebSocket { protocols } => {
            if let Err(text) = for_channels(&ports) {
                return Ok(upgrade::words(StatusCode::BAD_REQUEST, &text));
            }
            let protocol = websocket_protocol(&protocols, &CHANNELS)?;
            Ok(to_websocket(request, protocol.name, move |io| async move {
                let (forwards, connection) = over_channels(io, protocol, &ports, IDLE).await;
                together(connection.run(), dialer.serve_all(forwards)).await;
            }))
        }
    }
}

/// `ports`, several of them or one with commas.
///
/// Upstream: apimachinery pkg/apis/meta/v1/conversion.go, Convert_Slice_string_To_Slice_int32.
/// Shown by: ports_are_read_as_upstream_does.
fn ports(query: &Query) -> Result<Vec<u16>, Failure> {
    let texts = query.all("ports").flat_map(|text| text.split(','));
    texts
        .map(|text| {
            text.parse().map_err(|_| {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let why = if digits {
                    "value out of range"
                } else {
                    "invalid syntax"
                };
                let message = format!(
                    "cannot convert to []int32: strconv.ParseUint: parsing {text:?}: {why}"
                );
                Failure::bad_request(message)
            })
        })
        .collect()
}

/// Whether there can be channels for these ports.
///
/// Upstream: k8s.io/kubelet pkg/cri/streaming/portforward/websocket.go, NewV4Options.
/// Shown by: ports_are_read_as_upstream_does.
fn for_channels(ports: &[u16]) -> Result<(), String> {
    if ports.is_empty() {
        return Err("query parameter \"port\" is required".to_owned());
    }
    if ports.contains(&0) {
        return Err("port \"0\" must be > 0".to_owned());
    }
    if ports.len() > MAX_PORTS {
        return Err(format!("there are channels for {MAX_PORTS} ports"));
    }
    Ok(())
}

/// Makes connections inside one pod.
#[derive(Debug)]
struct Dialer<R> {
    runtime: Arc<R>,
    pod: PodUid,
}

impl<R> Clone for Dialer<R> {
    fn clone(&self) -> Self {
        Self {
            runtime: Arc::clone(&self.runtime),
            pod: self.pod.clone(),
        }
    }
}

impl<R: Runtime> Dialer<R> {
    /// Serves what the client asks for, each in a task that ends with the connection, until it leaves.
    async fn serve(self, mut forwards: Forwards) {
        let mut tasks = JoinSet::new();
        while let Some(forward) = forwards.next().await {
            let dialer = self.clone();
            tasks.spawn(async move { dialer.forward(forward).await });
            while tasks.try_join_next().is_some() {}
        }
    }

    /// Serves what was asked for with the request, until all of it has ended.
    async fn serve_all(self, forwards: Vec<Forward>) {
        let mut tasks = JoinSet::new();
        for forward in forwards {
            let dialer = self.clone();
            tasks.spawn(async move { dialer.forward(forward).await });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Connects, and carries both ways. When the pod's side has said its last, so has the stream for errors: a
    /// client waits for that before it lets go of its own end.
    ///
    /// Upstream: k8s.io/kubelet pkg/cri/streaming/portforward/httpstream.go, portForward.
    /// Shown by: a_port_that_nobody_listens_on_is_said_in_upstreams_words,
    /// each_way_of_a_forwarded_connection_ends_by_itself.
    async fn forward(&self, forward: Forward) {
        if forward.begin().await.is_err() {
            return;
        }
        let Forward {
            port,
            mut incoming,
            outgoing,
            errors,
            ..
        } = forward;
        let (read, write) = match self.dial(port).await {
            Ok(connection) => connection.into_split(),
            Err(why) => {
                let pod = &self.pod;
                let text = format!("error forwarding port {port} to pod {pod}, uid : {why}");
                let _left = errors.send(Bytes::from(text)).await;
                let _left = errors.finish().await;
                let _left = outgoing.finish().await;
                return;
            }
        };
        let to_client = async move {
            carry_out(read, &outgoing).await?;
            outgoing.finish().await?;
            errors.finish().await
        };
        // A client that lets go of one way without having said its last wants neither.
        if let Err(Gone) = tokio::try_join!(to_client, carry_in(&mut incoming, write)) {
            tracing::debug!("a client has cut off a forwarded connection to port {port}");
        }
    }

    /// A connection to the pod's own localhost: what listens there for the pod alone is reached as well.
    ///
    /// Upstream: containerd internal/cri/server/sandbox_portforward_linux.go, portForward.
    /// Shown by: a_port_that_nobody_listens_on_is_said_in_upstreams_words.
    async fn dial(&self, port: u16) -> Result<TcpStream, String> {
        let v4 = match self.connect(Ipv4Addr::LOCALHOST.into(), port).await {
            Ok(connection) => return Ok(connection),
            Err(why) => why,
        };
        let v6 = match self.connect(Ipv6Addr::LOCALHOST.into(), port).await {
            Ok(connection) => return Ok(connection),
            Err(why) => why,
        };
        let pod = self.pod.as_str();
        Err(format!(
            "failed to connect to localhost:{port} inside namespace {pod:?}, IPv4: {v4} IPv6 {v6}"
        ))
    }

    async fn connect(&self, ip: IpAddr, port: u16) -> Result<TcpStream, String> {
        let address = SocketAddr::new(ip, port);
        let family = Family::of(ip);
        let socket = self.runtime.tcp_socket(&self.pod, family).await;
        let socket = socket.map_err(|error| error.to_string())?;
        let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
        socket.connect(address).await.map_err(|error| {
            let family = match family {
                Family::V4 => "tcp4",
                Family::V6 => "tcp6",
            };
            format!("dial {family} {address}: connect: {}", go_words(&error))
        })
    }
}

/// Carries what the pod says. A connection that the pod resets ends like any other.
///
/// Differs: of a reset, upstream's runtimes make an error, at which kubectl gives up the whole forwarding.
/// Shown by: a_connection_that_the_pod_resets_ends_alone.
async fn carry_out(mut from: OwnedReadHalf, to: &Outgoing) -> Result<(), Gone> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ);
        match from.read_buf(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(_) => to.send(buffer.split().freeze()).await?,
            Err(error) => {
                tracing::debug!("a forwarded connection: {error}");
                return Ok(());
            }
        }
    }
}

/// Carries what the client says, and that it has said its last; the other way goes on.
///
/// Differs: upstream's runtimes give the other way one second more.
/// Shown by: each_way_of_a_forwarded_connection_ends_by_itself.
async fn carry_in(from: &mut streams::Incoming, mut to: OwnedWriteHalf) -> Result<(), Gone> {
    while let Some(data) = from.next().await? {
        if to.write_all(&data).await.is_err() {
            return Ok(());
        }
    }
    let _gone = to.shutdown().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_upstream_does() {
        let read = |text: &str| ports(&Query::parse(text).unwrap());
        assert_eq!(read("ports=80&ports=81,82"), Ok(vec![80, 81, 82]));
        assert_eq!(read(""), Ok(Vec::new()));
        let check = |text: &str, expected: &str| {
            let failure = read(text).unwrap_err();
            assert_eq!((failure.code, &*failure.message), (400, expected));
        };
        check(
            "ports=70000",
            "cannot convert to []int32: strconv.ParseUint: parsing \"70000\": value out of range",
        );
        check(
            "ports=http",
            "cannot convert to []int32: strconv.ParseUint: parsing \"http\": invalid syntax",
        );
        check(
            "ports=",
            "cannot convert to []int32: strconv.ParseUint: parsing \"\": invalid syntax",
        );
        let refused = |ports: &[u16]| for_channels(ports).unwrap_err();
        assert_eq!(refused(&[]), "query parameter \"port\" is required");
        assert_eq!(refused(&[80, 0]), "port \"0\" must be > 0");
        assert_eq!(refused(&[80; 129]), "there are channels for 128 ports");
        assert_eq!(for_channels(&[80]), Ok(()));
    }
}
