//! Questions over real sockets. Pods are on the host here: what they bind lies at another address of its
//! loopback interface.

mod ground;

use probelet_model::pod::{ContainerPort, Meta};
use probelet_model::probe::PortRef;
use probelet_model::service::{
    EndpointAddress, EndpointPort, EndpointSubset, ServicePort, TargetRef,
};
use probelet_proxy::Connect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::ground::{Host, question, within};
use super::*;

const A: u16 = 1;

fn service(namespace: &str, name: &str) -> Service {
    Service {
        uid: String::new(),
        meta: Meta {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            ..Meta::default()
        },
        selector: None,
        ports: vec![ServicePort {
            name: String::new(),
            protocol: Protocol::Tcp,
            port: 80,
            target_port: PortRef::Number(80),
        }],
        publish_not_ready_addresses: false,
        headless: false,
    }
}

fn behind(backend: Option<SocketAddr>) -> Endpoints {
    let subset = |backend: SocketAddr| EndpointSubset {
        addresses: vec![EndpointAddress {
            ip: backend.ip(),
            hostname: None,
            node_name: "node".to_owned(),
            target_ref: TargetRef {
                kind: "Pod".to_owned(),
                namespace: "shop".to_owned(),
                name: "p".to_owned(),
                uid: "backend".into(),
            },
        }],
        not_ready_addresses: Vec::new(),
        ports: vec![EndpointPort {
            name: String::new(),
            port: backend.port(),
            protocol: Protocol::Tcp,
        }],
    };
    Endpoints {
        subsets: backend.map(subset).into_iter().collect(),
    }
}

/// Pods of this host, whose Services are told of by [`World::publish`].
struct World {
    host: Arc<Host>,
    names: Arc<Names<Host>>,
}

impl World {
    fn new(doors: usize) -> Self {
        let host = Arc::<Host>::default();
        let proxy = Userspace::new(PodConnections(Arc::clone(&host)), doors);
        Self {
            names: Arc::new(Names::new(Arc::clone(&host), Arc::new(proxy))),
            host,
        }
    }

    fn publish(&self, services: &[(Service, Endpoints)]) -> Plan {
        let plan = Plan::new(services);
        let applied = self.names.proxy.apply(&plan);
        let keyed = services.iter().map(|(service, endpoints)| {
            let kind = probelet_model::id::Kind::Service;
            let key = ObjectKey::new(kind, &service.meta.namespace, &service.meta.name);
            (key, (service.clone(), endpoints.clone()))
        });
        self.names.publish(&keyed.collect(), &plan, &applied);
        plan
    }

    async fn enter(&self, pod: &str, namespace: &str) {
        let eager = Eager::Links {
            namespace: namespace.to_owned(),
            own: true,
        };
        self.names.enter(&pod.into(), eager).await;
    }

    /// Where the sockets of a pod for names are, and what a resolver is told there.
    async fn ask(&self, pod: &str, name: &str) -> Vec<u8> {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = self.host.bound(pod, DNS, Transport::Udp).unwrap();
        client.send_to(&question(name, A), server).await.unwrap();
        let mut answer = vec![0; 4096];
        let (length, _) = within(client.recv_from(&mut answer)).await.unwrap();
        answer.truncate(length);
        answer
    }

    fn door(&self, pod: &str, plan: &Plan, service: usize) -> Option<SocketAddr> {
        let address = SocketAddr::from((plan.services[service].ip, 80));
        self.host.bound(pod, address, Transport::Tcp)
    }
}

fn code(answer: &[u8]) -> u8 {
    answer[3] & 0xf
}

/// The last four bytes of an answer without EDNS: the address.
fn address(answer: &[u8]) -> [u8; 4] {
    answer[answer.len() - 4..].try_into().unwrap()
}

async fn refused(door: SocketAddr) -> bool {
    let connected = within(TcpStream::connect(door)).await;
    connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[tokio::test]
async fn a_door_is_there_before_the_answer_and_follows_readiness() {
    let world = World::new(10);
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ready = behind(Some(server.local_addr().unwrap()));
    let services = [(service("shop", "web"), ready.clone())];
    let plan = world.publish(&services);
    world.enter("asks", "elsewhere").await;
    assert_eq!(world.door("asks", &plan, 0), None, "nobody has asked");
    let answer = world.ask("asks", "web.shop.svc.cluster.local").await;
    assert_eq!(address(&answer), plan.services[0].ip.octets());
    let door = world.door("asks", &plan, 0).unwrap();
    let (mut client, served) = tokio::join!(TcpStream::connect(door), server.accept());
    let mut served = served.unwrap().0;
    served.write_all(b"hello").await.unwrap();
    drop(served);
    let mut heard = String::new();
    within(client.as_mut().unwrap().read_to_string(&mut heard))
        .await
        .unwrap();
    assert_eq!(heard, "hello");
    world.publish(&[(service("shop", "web"), behind(None))]);
    assert!(refused(door).await);
    let again = world.ask("asks", "web.shop.svc.cluster.local").await;
    assert_eq!(address(&again), plan.services[0].ip.octets());
    world.publish(&services);
    within(TcpStream::connect(door)).await.unwrap();
    world.names.leave(&"asks".into());
    assert!(refused(door).await);
}

#[tokio::test]
async fn services_of_the_environment_are_reached_without_a_question() {
    let world = World::new(10);
    let both = [
        (service("shop", "db"), behind(None)),
        (service("other", "db"), behind(None)),
    ];
    let plan = world.publish(&both);
    world.enter("p", "shop").await;
    // By namespace and name: other/db, shop/db.
    assert_eq!(world.door("p", &plan, 0), None);
    assert!(world.door("p", &plan, 1).is_some());
    let more = (service("shop", "queue"), behind(None));
    let plan = world.publish(&[both[0].clone(), both[1].clone(), more]);
    within(async {
        while world.door("p", &plan, 2).is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.names.enter(&"taken-up".into(), Eager::All).await;
    assert!((0..3).all(|service| world.door("taken-up", &plan, service).is_some()));
}

#[tokio::test]
async fn without_room_for_a_door_the_name_is_a_failure() {
    let world = World::new(1);
    let services = ["a", "b"].map(|name| (service("shop", name), behind(None)));
    world.publish(&services);
    world.enter("p", "elsewhere").await;
    assert_eq!(code(&world.ask("p", "a.shop.svc.cluster.local").await), 0);
    assert_eq!(code(&world.ask("p", "b.shop.svc.cluster.local").await), 2);
    assert_eq!(code(&world.ask("p", "a.shop.svc.cluster.local").await), 0);
    assert_eq!(
        code(&world.ask("p", "none.shop.svc.cluster.local").await),
        3
    );
    world.publish(&services[1..]);
    assert_eq!(code(&world.ask("p", "b.shop.svc.cluster.local").await), 0);
}

#[tokio::test]
async fn packets_that_are_no_questions_stop_nothing() {
    let world = World::new(1);
    world.enter("p", "shop").await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = world.host.bound("p", DNS, Transport::Udp).unwrap();
    let answered = [&question("a", A)[..12], b"\xc0"].concat();
    let mut response = question("a", A);
    response[2] |= 0x80;
    for packet in [&b""[..], b"x", &response, &[0xff; 600], &answered] {
        client.send_to(packet, server).await.unwrap();
    }
    let mut answer = [0; 512];
    let length = within(client.recv(&mut answer)).await.unwrap();
    assert_eq!(
        (length, code(&answer)),
        (12, 1),
        "only the last can be answered"
    );
    assert_eq!(code(&world.ask("p", "x.svc.cluster.local").await), 0);
}

#[tokio::test]
async fn a_stream_takes_question_after_question() {
    let world = World::new(1);
    world.publish(&[(service("shop", "web"), behind(None))]);
    world.enter("p", "shop").await;
    let server = world.host.bound("p", DNS, Transport::Tcp).unwrap();
    let mut stream = TcpStream::connect(server).await.unwrap();
    for (name, expected) in [("web.shop", 0), ("none.shop", 3)] {
        let question = question(&format!("{name}.svc.cluster.local"), A);
        stream
            .write_u16(question.len().try_into().unwrap())
            .await
            .unwrap();
        stream.write_all(&question).await.unwrap();
        let length = within(stream.read_u16()).await.unwrap();
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!((code(&answer), &answer[..2]), (expected, &question[..2]));
    }
}

#[tokio::test]
async fn a_pod_that_leaves_is_answered_no_more() {
    let world = World::new(1);
    world.enter("p", "shop").await;
    let server = world.host.bound("p", DNS, Transport::Tcp).unwrap();
    TcpStream::connect(server).await.unwrap();
    world.names.leave(&"p".into());
    within(async {
        while !refused(server).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(Arc::strong_count(&world.names), 1, "no task is left");
}

#[test]
fn host_ports_are_those_of_tcp_and_of_pods_with_their_own_network() {
    let value = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web", "uid": "u" },
        "spec": {
            "runtimeClassName": "host",
            "containers": [{ "name": "main", "image": "x", "command": ["x"] }],
        },
    });
    let mut pod = Pod::from_value(&value).unwrap();
    let port = |number, protocol, host_port, host_ip: Option<&str>| ContainerPort {
        name: None,
        number,
        protocol,
        host_port,
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
    };
    pod.containers[0].ports = vec![
        port(80, Protocol::Tcp, Some(8080), None),
        port(81, Protocol::Tcp, None, None),
        port(82, Protocol::Tcp, Some(8082), Some("127.0.0.1")),
        port(53, Protocol::Udp, Some(53), None),
    ];
    let ip = IpAddr::from([10, 213, 0, 2]);
    let told = |pod: &Pod| -> Vec<String> {
        let ports = host_ports(pod, ip);
        ports
            .iter()
            .map(|port| format!("{} {}:{}", port.listen, port.backend.ip, port.backend.port))
            .collect()
    };
    let expected = ["0.0.0.0:8080 10.213.0.2:80", "127.0.0.1:8082 10.213.0.2:82"];
    assert_eq!(told(&pod), expected);
    pod.host_network = true;
    assert_eq!(told(&pod), [""; 0]);
}

#[tokio::test]
async fn connections_of_the_proxy_are_made_by_the_runtime() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connections = PodConnections(Arc::<Host>::default());
    let address = server.local_addr().unwrap();
    let pod = PodUid::from("p");
    let (connected, accepted) = tokio::join!(connections.connect(&pod, address), server.accept());
    assert_eq!(
        connected.unwrap().local_addr().unwrap(),
        accepted.unwrap().1
    );
}
