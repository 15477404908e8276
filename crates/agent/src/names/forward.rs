//! Asks the host's nameservers, from the host's network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use probelet_names::{Query, Reply, ResolvConf, ResponseCode, is_answer_to};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::identity;

/// How long one nameserver may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often each is asked.
const ROUNDS: usize = 2;

/// As many as a resolver asks.
const NAMESERVERS: usize = 3;

/// The longest datagram that is read.
const LONGEST: usize = 4096;

/// Knows whom to ask.
#[derive(Debug)]
pub(super) struct Forwarder {
    pub(super) resolv_conf: PathBuf,
    pub(super) port: u16,
}

impl Default for Forwarder {
    fn default() -> Self {
        Self {
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            port: 53,
        }
    }
}

impl Forwarder {
    /// The first answer to a question, which came as `packet`, or that there is none. With `whole` it is all
    /// of it, however long.
    pub(super) async fn ask(&self, query: &Query, packet: &[u8], whole: bool) -> Vec<u8> {
        // Read each time: hosts that move between networks change it.
        let nameservers = self.nameservers();
        for nameserver in nameservers.iter().cycle().take(nameservers.len() * ROUNDS) {
            let asked = tokio::time::timeout(PATIENCE, one(query, packet, *nameserver, whole));
            match asked.await {
                Ok(Ok(answer)) => return query.with_own_id(answer),
                Ok(Err(error)) => tracing::debug!(%nameserver, %error, "asking the next"),
                Err(_elapsed) => tracing::debug!(%nameserver, "no answer; asking the next"),
            }
        }
        query.write(&Reply::of(ResponseCode::ServerFailure))
    }

    /// As a resolver, which asks its own host if nobody is named.
    fn nameservers(&self) -> Vec<SocketAddr> {
        let text = std::fs::read_to_string(&self.resolv_conf).unwrap_or_default();
        let named = ResolvConf::read(&text).nameservers;
        let mut addresses: Vec<IpAddr> = named
            .iter()
            .filter_map(|address| address.parse().ok())
            .take(NAMESERVERS)
            .collect();
        if addresses.is_empty() {
            addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let at = |ip| SocketAddr::new(ip, self.port);
        addresses.into_iter().map(at).collect()
    }
}

/// Asks one of them, from a port and with an id that nobody can guess.
async fn one(
    query: &Query,
    packet: &[u8],
    nameserver: SocketAddr,
    whole: bool,
) -> io::Result<Vec<u8>> {
    let id = u16::from_ne_bytes(identity::random());
    let mut question = packet.to_vec();
    question[..2].copy_from_slice(&id.to_be_bytes());
    let any: IpAddr = match nameserver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(nameserver).await?;
    socket.send(&question).await?;
    let mut buffer = vec![0; LONGEST];
    let answer = loop {
        let length = socket.recv(&mut buffer).await?;
        if is_answer_to(&buffer[..length], query, id) {
            break &buffer[..length];
        }
    };
    let is_truncated = answer[2] & 2 != 0;
    if is_truncated && whole {
        return by_stream(query, &question, nameserver, id).await;
    }
    Ok(answer.to_vec())
}

async fn by_stream(
    query: &Query,
    question: &[u8],
    nameserver: SocketAddr,
    id: u16,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(nameserver).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    let question = [&length.to_be_bytes()[..], question].concat();
    stream.write_all(&question).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    if is_answer_to(&answer, query, id) {
        Ok(answer)
    } else {
        Err(io::Error::other("an answer to another question"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `A example.com`.
    const QUESTION: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01";

    fn answer(question: &[u8], flags: u8, more: &[u8]) -> Vec<u8> {
        let mut answer = [question, more].concat();
        answer[2] = 0x80 | flags;
        answer
    }

    /// A forwarder whose nameservers are on this port; nobody listens at the first of them.
    fn forwarder(dir: &std::path::Path, port: u16) -> Forwarder {
        let resolv_conf = dir.join("resolv.conf");
        let text = "nameserver 127.213.255.252\nnameserver 127.213.255.251\n";
        std::fs::write(&resolv_conf, text).unwrap();
        Forwarder { resolv_conf, port }
    }

    #[tokio::test]
    async fn the_next_is_asked_and_answers_to_others_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let server = UdpSocket::bind("127.213.255.251:0").await.unwrap();
        let forwarder = forwarder(dir.path(), server.local_addr().unwrap().port());
        let query = Query::read(QUESTION).unwrap();
        let serve = async {
            let mut buffer = [0; 512];
            let (length, client) = server.recv_from(&mut buffer).await.unwrap();
            let question = &buffer[..length];
            assert_eq!(question[2..], QUESTION[2..]);
            let mut forged = answer(question, 0, b"forged");
            forged[0] ^= 1;
            for packet in [forged, question.to_vec(), answer(question, 0, b"true")] {
                server.send_to(&packet, client).await.unwrap();
            }
        };
        let (heard, ()) = tokio::join!(forwarder.ask(&query, QUESTION, false), serve);
        assert_eq!(heard, answer(QUESTION, 0, b"true"));
    }

    #[tokio::test]
    async fn a_long_answer_is_fetched_by_stream_for_who_can_take_it() {
        let dir = tempfile::tempdir().unwrap();
        let streams = tokio::net::TcpListener::bind("127.213.255.251:0")
            .await
            .unwrap();
        let address = streams.local_addr().unwrap();
        let datagrams = UdpSocket::bind(address).await.unwrap();
        let forwarder = forwarder(dir.path(), address.port());
        let query = Query::read(QUESTION).unwrap();
        let long = vec![7; 5000];
        let serve = async {
            let mut buffer = [0; 512];
            let (length, client) = datagrams.recv_from(&mut buffer).await.unwrap();
            let cut = answer(&buffer[..length], 2, &[]);
            datagrams.send_to(&cut, client).await.unwrap();
            let (mut stream, _) = streams.accept().await.unwrap();
            let length = stream.read_u16().await.unwrap();
            let mut question = vec![0; length.into()];
            stream.read_exact(&mut question).await.unwrap();
            let whole = answer(&question, 0, &long);
            stream
                .write_u16(whole.len().try_into().unwrap())
                .await
                .unwrap();
            stream.write_all(&whole).await.unwrap();
        };
        let (heard, ()) = tokio::join!(forwarder.ask(&query, QUESTION, true), serve);
        assert_eq!(heard, answer(QUESTION, 0, &long));
    }

    #[tokio::test]
    async fn without_anybody_it_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let taken = UdpSocket::bind("127.213.255.250:0").await.unwrap();
        let forwarder = forwarder(dir.path(), taken.local_addr().unwrap().port());
        let query = Query::read(QUESTION).unwrap();
        let heard = forwarder.ask(&query, QUESTION, false).await;
        assert_eq!(heard, query.write(&Reply::of(ResponseCode::ServerFailure)));
    }
}
