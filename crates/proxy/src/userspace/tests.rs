//! Real connections over loopback.

mod exhausted;
mod pods;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::plan::ServicePlan;

/// Longer than anything here takes; reached only by a failure.
const DEADLINE: Duration = Duration::from_secs(20);

/// Pods whose network namespace is the host's.
struct Host;

impl Connect for Host {
    async fn connect(&self, _pod: &PodUid, address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(address).await
    }
}

/// A server that says its name to each client, and then what it hears, until the client has done.
struct Server {
    backend: Backend,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    stream.write_all(name.as_bytes()).await.unwrap();
                    let (mut read, mut write) = stream.split();
                    // A client that breaks off is its own business.
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    let _ = write.shutdown().await;
                });
            }
        });
        Self {
            backend: Backend {
                ip: address.ip(),
                port: address.port(),
                pod: name.into(),
            },
            task,
        }
    }

    /// Gone, and with it its port: who connects is refused.
    async fn stop(self) -> Backend {
        self.task.abort();
        let _ = self.task.await;
        self.backend
    }
}

fn key(name: &str) -> ServiceKey {
    ServiceKey {
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

fn service(name: &str, listen: &[SocketAddr], backends: &[&Backend]) -> ServicePlan {
    let port = PortPlan {
        name: String::new(),
        port: 80,
        listen: listen.to_vec(),
        backends: backends.iter().copied().cloned().collect(),
    };
    ServicePlan {
        key: key(name),
        ip: Ipv4Addr::new(127, 213, 255, 1),
        ports: vec![port],
        not_carried: Vec::new(),
    }
}

/// Any port of a loopback address.
const fn any(last: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 213, 255, last)), 0)
}

/// A plan of one service, called `web`.
fn web(backends: &[&Backend]) -> Plan {
    Plan {
        services: vec![service("web", &[any(10)], backends)],
    }
}

fn address(applied: &Applied) -> SocketAddr {
    applied.ports[0].address.clone().unwrap()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("in time")
}

/// What a client hears that says nothing.
async fn hear(address: SocketAddr) -> io::Result<String> {
    within(async {
        let mut stream = TcpStream::connect(address).await?;
        stream.shutdown().await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    })
    .await
}

async fn refused(address: SocketAddr) -> bool {
    hear(address)
        .await
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[tokio::test]
async fn traffic_follows_readiness_at_the_next_connection() {
    let (a, b) = (Server::start("a").await, Server::start("b").await);
    let proxy = Userspace::new(Host, 100);
    let at = address(&proxy.apply(&web(&[])));
    assert!(refused(at).await, "no backend yet");
    for _ in 0..20 {
        assert_eq!(address(&proxy.apply(&web(&[&a.backend]))), at);
        assert_eq!(hear(at).await.unwrap(), "a");
        assert_eq!(address(&proxy.apply(&web(&[&b.backend]))), at);
        assert_eq!(hear(at).await.unwrap(), "b");
        assert_eq!(address(&proxy.apply(&web(&[]))), at);
        assert!(refused(at).await);
    }
    proxy.apply(&Plan::default());
    assert!(refused(at).await);
    std::net::TcpListener::bind(at).expect("the port of a removed service is free");
}

#[tokio::test]
async fn ready_backends_take_turns() {
    let servers = [
        Server::start("a").await,
        Server::start("b").await,
        Server::start("c").await,
    ];
    let proxy = Userspace::new(Host, 100);
    let at = address(&proxy.apply(&web(&servers.each_ref().map(|server| &server.backend))));
    let mut heard = Vec::new();
    for _ in 0..9 {
        heard.push(hear(at).await.unwrap());
    }
    for name in ["a", "b", "c"] {
        assert_eq!(
            heard.iter().filter(|text| *text == name).count(),
            3,
            "{heard:?}"
        );
    }
    assert!(heard.windows(2).all(|two| two[0] != two[1]), "{heard:?}");
}

#[tokio::test]
async fn a_backend_that_cannot_be_reached_is_passed_over() {
    let (alive, dead) = (
        Server::start("alive").await,
        Server::start("dead").await.stop().await,
    );
    let proxy = Userspace::new(Host, 100);
    let at = address(&proxy.apply(&web(&[&dead, &alive.backend])));
    for _ in 0..4 {
        assert_eq!(hear(at).await.unwrap(), "alive");
    }
    proxy.apply(&web(&[&dead]));
    let error = within(async {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.read_u8().await.unwrap_err()
    });
    assert_eq!(error.await.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn each_end_can_finish_before_the_other() {
    let server = Server::start("hello ").await;
    let proxy = Userspace::new(Host, 100);
    let at = address(&proxy.apply(&web(&[&server.backend])));
    within(async {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let mut greeting = [0; 6];
        stream.read_exact(&mut greeting).await.unwrap();
        stream.write_all(b"and good-bye").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!((&greeting, &*rest), (b"hello ", "and good-bye"));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_breaks_off_breaks_off_for_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = listener.local_addr().unwrap();
    let backend = Backend {
        ip: there.ip(),
        port: there.port(),
        pod: "rude".into(),
    };
    let proxy = Userspace::new(Host, 100);
    let at = address(&proxy.apply(&web(&[&backend])));
    let mut client = TcpStream::connect(at).await.unwrap();
    let (server, _) = within(listener.accept()).await.unwrap();
    server.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(
        within(client.read_u8()).await.unwrap_err().kind(),
        io::ErrorKind::ConnectionReset
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_data_arrives_whole_both_ways() {
    const SIZE: usize = 8 << 20;
    let server = Server::start("").await;
    let proxy = Userspace::new(Host, 100);
    let at = address(&proxy.apply(&web(&[&server.backend])));
    let sent: Vec<u8> = (0..SIZE)
        .map(|at| u8::try_from(at * 31 % 251).unwrap())
        .collect();
    let clients = (0..3).map(|_| {
        let sent = sent.clone();
        tokio::spawn(async move {
            let (mut read, mut write) = TcpStream::connect(at).await.unwrap().into_split();
            let mut heard = Vec::new();
            let (written, read) = tokio::join!(
                async {
                    write.write_all(&sent).await?;
                    write.shutdown().await
                },
                read.read_to_end(&mut heard)
            );
            written.unwrap();
            assert_eq!(read.unwrap(), SIZE);
            heard == sent
        })
    });
    for client in clients.collect::<Vec<_>>() {
        assert!(within(client).await.unwrap());
    }
}

#[tokio::test]
async fn a_standing_connection_outlives_readiness_and_the_service() {
    let server = Server::start("x").await;
    let proxy = Userspace::new(Host, 100);
    let at = address(&proxy.apply(&web(&[&server.backend])));
    let mut client = TcpStream::connect(at).await.unwrap();
    assert_eq!(within(client.read_u8()).await.unwrap(), b'x');
    for (plan, byte) in [(web(&[]), b'1'), (Plan::default(), b'2')] {
        proxy.apply(&plan);
        assert!(refused(at).await);
        client.write_u8(byte).await.unwrap();
        assert_eq!(within(client.read_u8()).await.unwrap(), byte);
    }
    within(proxy.shutdown()).await;
    assert!(
        within(client.read_u8()).await.is_err(),
        "ended with the proxy"
    );
}

#[tokio::test]
async fn shutdown_leaves_nothing() {
    let server = Server::start("x").await;
    let proxy = Userspace::new(Host, 100);
    let plan = Plan {
        services: vec![
            service("a", &[any(21)], &[&server.backend]),
            service("b", &[any(22)], &[&server.backend]),
            service("c", &[any(23)], &[]),
        ],
    };
    let applied = proxy.apply(&plan);
    let connect = Arc::downgrade(&proxy.connect);
    let _standing = TcpStream::connect(address(&applied)).await.unwrap();
    within(proxy.shutdown()).await;
    drop(proxy);
    for port in applied.ports {
        let at = port.address.unwrap();
        assert!(refused(at).await);
        std::net::TcpListener::bind(at).expect("free");
    }
    assert!(
        connect.upgrade().is_none(),
        "no task is left that could connect"
    );
}

#[tokio::test]
async fn dropping_it_closes_the_ports_at_once() {
    let server = Server::start("x").await;
    let proxy = Userspace::new(Host, 100);
    let at = address(&proxy.apply(&web(&[&server.backend])));
    drop(proxy);
    assert!(refused(at).await);
}

#[tokio::test]
async fn two_services_with_the_same_port_have_an_address_each() {
    let (a, b) = (Server::start("a").await, Server::start("b").await);
    let proxy = Userspace::new(Host, 100);
    let first = proxy.apply(&Plan {
        services: vec![service("a", &[any(31)], &[&a.backend])],
    });
    let port = address(&first).port();
    let same_port = SocketAddr::new(any(32).ip(), port);
    let both = Plan {
        services: vec![
            service("a", &[any(31)], &[&a.backend]),
            service("b", &[same_port, any(32)], &[&b.backend]),
        ],
    };
    let applied = proxy.apply(&both);
    let [at_a, at_b] = ["a", "b"].map(|name| applied.host_addresses(&key(name)).unwrap().0[0]);
    assert_eq!((at_a, at_b), (address(&first), same_port));
    assert_eq!(
        (hear(at_a).await.unwrap(), hear(at_b).await.unwrap()),
        ("a".to_owned(), "b".to_owned())
    );
}

#[tokio::test]
async fn a_port_taken_by_somebody_else_leads_to_another_and_back_after_a_restart() {
    let server = Server::start("x").await;
    let squatter = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let wished = SocketAddr::new(any(41).ip(), squatter.local_addr().unwrap().port());
    let plan = |had: Option<SocketAddr>| {
        let listen: Vec<SocketAddr> = had.into_iter().chain([wished, any(41)]).collect();
        Plan {
            services: vec![service("web", &listen, &[&server.backend])],
        }
    };
    let proxy = Userspace::new(Host, 100);
    let at = address(&proxy.apply(&plan(None)));
    assert_eq!(at.ip(), wished.ip());
    assert_ne!(at.port(), wished.port());
    assert_eq!(hear(at).await.unwrap(), "x");
    drop(squatter);
    assert_eq!(
        address(&proxy.apply(&plan(None))),
        at,
        "no address changes under a client"
    );
    within(proxy.shutdown()).await;
    let again = Userspace::new(Host, 100);
    assert_eq!(
        address(&again.apply(&plan(Some(at)))),
        at,
        "nor over a restart"
    );
    assert_eq!(hear(at).await.unwrap(), "x");
}

#[tokio::test]
async fn a_port_without_any_address_is_reported_and_tried_again() {
    let server = Server::start("x").await;
    let squatter = std::net::TcpListener::bind(any(51)).unwrap();
    let taken = squatter.local_addr().unwrap();
    let plan = Plan {
        services: vec![
            service("a", &[taken], &[&server.backend]),
            service("b", &[any(52)], &[&server.backend]),
        ],
    };
    let proxy = Userspace::new(Host, 100);
    let applied = proxy.apply(&plan);
    let error = applied.ports[0].address.clone().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot listen on {taken} (")),
        "{error}"
    );
    assert_eq!(applied.host_addresses(&key("a")), None);
    assert_eq!(
        hear(applied.host_addresses(&key("b")).unwrap().0[0])
            .await
            .unwrap(),
        "x"
    );
    drop(squatter);
    assert_eq!(address(&proxy.apply(&plan)), taken);
    assert_eq!(hear(taken).await.unwrap(), "x");
}

#[tokio::test]
async fn above_the_limit_a_client_waits_for_its_turn() {
    let server = Server::start("x").await;
    let proxy = Userspace {
        connections: 2,
        ..Userspace::new(Host, 100)
    };
    let at = address(&proxy.apply(&web(&[&server.backend])));
    let mut served = Vec::new();
    for _ in 0..2 {
        let mut client = TcpStream::connect(at).await.unwrap();
        assert_eq!(within(client.read_u8()).await.unwrap(), b'x');
        served.push(client);
    }
    let mut third = TcpStream::connect(at).await.unwrap();
    let route = Arc::clone(&proxy.state().ports.values().next().unwrap().route);
    assert_eq!(route.room.available_permits(), 0);
    assert_eq!(
        third.try_read(&mut [0]).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    drop(served.pop());
    assert_eq!(within(third.read_u8()).await.unwrap(), b'x');
}

#[tokio::test]
async fn clients_keep_coming_while_backends_change() {
    let (a, b) = (Server::start("a").await, Server::start("b").await);
    let proxy = Userspace::new(Host, 100);
    let at = address(&proxy.apply(&web(&[&a.backend])));
    let clients = tokio::spawn(async move {
        let mut heard = [0, 0];
        for _ in 0..300 {
            match &*hear(at).await.unwrap() {
                "a" => heard[0] += 1,
                "b" => heard[1] += 1,
                other => panic!("{other:?}"),
            }
        }
        heard
    });
    let mut turn = 0;
    while !clients.is_finished() {
        turn += 1;
        let backends: &[&Backend] = match turn % 3 {
            0 => &[&a.backend],
            1 => &[&b.backend],
            _ => &[&a.backend, &b.backend],
        };
        proxy.apply(&web(backends));
        tokio::task::yield_now().await;
    }
    let heard = clients.await.unwrap();
    assert!(heard[0] > 0 && heard[1] > 0, "{heard:?}");
}
