//! Doors in pods, and ports of pods on the host. The pods' namespace is the host's here, and a pod's socket
//! is bound to another address than the Service's on the host.

use std::net::TcpListener as Listener;
use std::os::fd::OwnedFd;

use super::*;
use crate::plan::ServicePlan;

/// As a runtime binds one: it listens.
fn bound(address: SocketAddr) -> OwnedFd {
    let listener = Listener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener.into()
}

/// A port number that is free on an address.
fn free(ip: IpAddr) -> u16 {
    Listener::bind((ip, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A Service `web` that pods meet at `at`.
fn meeting(at: SocketAddr, backends: &[&Backend]) -> Plan {
    let IpAddr::V4(ip) = at.ip() else {
        panic!("an address of the range of services")
    };
    let mut web = service("web", &[any(70)], backends);
    web.ports[0].port = at.port();
    Plan {
        services: vec![ServicePlan { ip, ..web }],
    }
}

fn door(last: u8) -> SocketAddr {
    let ip = any(last).ip();
    SocketAddr::new(ip, free(ip))
}

#[tokio::test]
async fn a_door_in_a_pod_follows_the_same_plan_as_the_hosts() {
    let (a, b) = (Server::start("a").await, Server::start("b").await);
    let proxy = Userspace::new(Host, 100);
    let (at, pod) = (door(71), PodUid::from("p"));
    let host = address(&proxy.apply(&meeting(at, &[])));
    assert_eq!(
        proxy.lacking(&pod, &key("web")),
        Ok(vec![]),
        "it has not entered"
    );
    proxy.enter(&pod);
    assert_eq!(proxy.lacking(&pod, &key("none")), Ok(vec![]));
    assert_eq!(proxy.lacking(&pod, &key("web")), Ok(vec![at]));
    proxy.open(&pod, &key("web"), at, bound(at)).unwrap();
    assert_eq!(proxy.lacking(&pod, &key("web")), Ok(vec![]));
    assert_eq!(proxy.open_in(&pod), [key("web")].into());
    for _ in 0..10 {
        assert!(refused(at).await && refused(host).await, "no backend");
        for server in [&a, &b] {
            proxy.apply(&meeting(at, &[&server.backend]));
            let heard = (hear(at).await.unwrap(), hear(host).await.unwrap());
            let name = server.backend.pod.as_str().to_owned();
            assert_eq!(heard, (name.clone(), name));
        }
        proxy.apply(&meeting(at, &[]));
    }
    proxy.apply(&Plan::default());
    Listener::bind(at).expect("the port of a removed service is free");
}

#[tokio::test]
async fn a_pod_that_leaves_has_no_doors_and_gets_none() {
    let server = Server::start("a").await;
    let proxy = Userspace::new(Host, 100);
    let (at, pod) = (door(72), PodUid::from("p"));
    proxy.apply(&meeting(at, &[&server.backend]));
    proxy.enter(&pod);
    proxy.open(&pod, &key("web"), at, bound(at)).unwrap();
    assert_eq!(hear(at).await.unwrap(), "a");
    proxy.leave(&pod);
    let late = bound(at);
    proxy.open(&pod, &key("web"), at, late).unwrap();
    assert!(refused(at).await);
    Listener::bind(at).expect("free");
    let elsewhere = door(73);
    proxy.enter(&pod);
    proxy
        .open(&pod, &key("web"), elsewhere, bound(elsewhere))
        .unwrap();
    assert!(refused(elsewhere).await, "not where the service is");
    within(proxy.shutdown()).await;
    proxy.open(&pod, &key("web"), at, bound(at)).unwrap();
    assert!(refused(at).await);
}

#[tokio::test]
async fn there_is_an_end_to_doors_in_pods() {
    let proxy = Userspace::new(Host, 1);
    let at = door(74);
    proxy.apply(&meeting(at, &[]));
    let [one, two] = ["one", "two"].map(PodUid::from);
    for pod in [&one, &two] {
        proxy.enter(pod);
        assert_eq!(proxy.lacking(pod, &key("web")), Ok(vec![at]));
    }
    proxy.open(&one, &key("web"), at, bound(at)).unwrap();
    let error = proxy.lacking(&two, &key("web")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("pods have 1 ports of services open already")
    );
    assert_eq!(
        proxy.lacking(&one, &key("web")),
        Ok(vec![]),
        "it has all it wants"
    );
    proxy.leave(&one);
    assert_eq!(proxy.lacking(&two, &key("web")), Ok(vec![at]));
}

fn host_port(listen: SocketAddr, backend: &Backend) -> HostPort {
    HostPort {
        listen,
        backend: backend.clone(),
    }
}

const MAIN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 213, 255, 80));

#[tokio::test]
async fn a_host_port_leads_to_its_pod_until_that_leaves() {
    let server = Server::start("a").await;
    let proxy = Userspace::new(Host, 100);
    let (pod, at) = (PodUid::from("a"), door(81));
    let ports = [host_port(at, &server.backend)];
    for _ in 0..2 {
        proxy
            .open_host_ports(&pod, "default/a", &ports, MAIN)
            .unwrap();
        assert_eq!(hear(at).await.unwrap(), "a");
    }
    let standing = TcpStream::connect(at).await.unwrap();
    proxy.leave(&pod);
    assert!(refused(at).await);
    drop(standing);
    proxy
        .open_host_ports(&pod, "default/a", &ports, MAIN)
        .unwrap();
    let gone = server.stop().await;
    assert_eq!(gone.pod.as_str(), "a");
    assert!(hear(at).await.is_err(), "nobody listens in the pod");
}

#[tokio::test]
async fn a_host_port_that_another_pod_has_is_refused_by_its_name() {
    let server = Server::start("a").await;
    let proxy = Userspace::new(Host, 100);
    let [one, two] = ["one", "two"].map(PodUid::from);
    let (at, other) = (door(82), door(83));
    let open = |pod: &PodUid, at: &[SocketAddr]| {
        let ports: Vec<HostPort> = at
            .iter()
            .map(|at| host_port(*at, &server.backend))
            .collect();
        proxy
            .open_host_ports(pod, &format!("default/{pod}"), &ports, MAIN)
            .map_err(|error| error.to_string())
    };
    open(&one, &[at]).unwrap();
    let taken = format!("host port {at} is taken by pod default/one");
    assert_eq!(open(&two, &[other, at]), Err(taken));
    Listener::bind(other).expect("all of them or none");
    let squatter = Listener::bind(other).unwrap();
    let error = open(&two, &[other]).unwrap_err();
    let expected = format!("host port {other}: cannot listen on {other} (Address already in use");
    assert!(error.starts_with(&expected), "{error}");
    drop(squatter);
    proxy.leave(&one);
    open(&two, &[at, other]).unwrap();
}

#[tokio::test]
async fn a_service_of_ours_is_not_in_the_way_of_a_host_port_of_all_addresses() {
    let server = Server::start("a").await;
    let proxy = Userspace::new(Host, 100);
    let ours = address(&proxy.apply(&web(&[&server.backend])));
    let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, ours.port()));
    let ports = [host_port(all, &server.backend)];
    proxy
        .open_host_ports(&"p".into(), "default/p", &ports, MAIN)
        .unwrap();
    for ip in [MAIN, IpAddr::V4(Ipv4Addr::LOCALHOST)] {
        assert_eq!(hear(SocketAddr::new(ip, ours.port())).await.unwrap(), "a");
    }
}
