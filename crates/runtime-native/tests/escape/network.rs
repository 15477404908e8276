//! What listens on the host, and beside the pod, where Services are answered.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use probelet_runtime::{Network, Runtime, Transport};

use crate::ground::{Prison, refused};
use crate::suite::{Native, World, host_path, mount, pod, run, sh};

refused! {
    no_virtual_machine_is_talked_to: "vsock";
}

/// A listener on every address of the host.
fn on_host() -> (TcpListener, String) {
    let listener = TcpListener::bind("[::]:0")
        .or_else(|_no_ipv6| TcpListener::bind("0.0.0.0:0"))
        .unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    (listener, port)
}

/// The address from which the host sends packets, if it has any way out. Nothing is sent.
fn of_host() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

#[test]
fn a_listener_of_the_host_is_not_reached() {
    let (listener, port) = on_host();
    run(async {
        let prison = Prison::ordinary().await;
        let host = of_host();
        let mut argv = vec!["reach", &port];
        argv.extend([
            "127.0.0.1",
            "127.213.0.1",
            "127.213.0.10",
            "127.213.255.255",
            "169.254.213.1",
            "10.213.0.1",
            "10.213.0.9",
            "::1",
            "::ffff:127.0.0.1",
        ]);
        argv.extend(host.as_deref());
        prison.refuses(&argv).await;
    });
    listener.accept().unwrap_err();
}

#[test]
fn packets_made_by_hand_do_not_reach_the_host() {
    let (listener, port) = on_host();
    run(async {
        let prison = Prison::ordinary().await;
        let host = of_host();
        for from in ["10.213.0.9", "10.213.0.77", "127.0.0.1"] {
            let mut argv = vec!["spoof", &port, from];
            argv.extend(["127.0.0.1", "127.213.0.1", "169.254.213.1", "10.213.0.1"]);
            argv.extend(host.as_deref());
            prison.refuses(&argv).await;
        }
    });
    listener.accept().unwrap_err();
}

/// Of another pod's Services the same address is this pod's own, at which nobody is.
#[test]
fn services_of_another_pod_are_not_reached() {
    run(async {
        let prison = Prison::ordinary().await;
        let other = pod(
            "neighbour",
            Network::Own("10.213.0.77".parse().unwrap()),
            Vec::new(),
        );
        let runtime = &prison.world.runtime;
        runtime.start_pod(other).await.unwrap();
        let address: SocketAddr = "127.213.0.5:4080".parse().unwrap();
        let neighbour = "neighbour".into();
        let bound = runtime.bind(&neighbour, address, Transport::Tcp);
        let _listener = bound.await.unwrap();
        prison
            .refuses(&["reach", "4080", "127.213.0.5", "10.213.0.77"])
            .await;
        prison
            .refuses(&["spoof", "4080", "10.213.0.9", "127.213.0.5", "10.213.0.77"])
            .await;
        runtime.remove_pod(&neighbour).await.unwrap();
    });
}

/// It has the host's network, and with that the abstract sockets there, of which Probelet has none; sockets with a
/// path are files.
#[test]
fn a_pod_in_the_hosts_network_does_not_reach_the_shims_socket() {
    run(async {
        let prison = Prison::in_network(Network::Host).await;
        prison.start(prison.waiting("main")).await;
        let socket = prison.world.path("data/run/prison/shim.sock");
        assert!(socket.exists());
        let socket = socket.display().to_string();
        for attempt in ["socket_file", "abstract_socket"] {
            prison.refuses(&[attempt, &socket]).await;
        }
        let sockets = prison.exec("main", &["cat", "/proc/net/unix"]).await;
        let sockets = String::from_utf8_lossy(&sockets.stdout).into_owned();
        let own = sockets
            .lines()
            .filter_map(|line| line.split_whitespace().nth(7));
        let own: Vec<&str> = own
            .filter(|name| name.starts_with('@') && name.contains("shim"))
            .collect();
        assert!(own.is_empty(), "{own:?}");
    });
}

/// Of the host's files it sees all but the data directory.
#[test]
fn a_container_of_the_host_class_does_not_reach_the_shims_socket() {
    run(async {
        let world = World::native();
        std::fs::copy(crate::ground::program(), world.path("escape")).unwrap();
        let volumes = vec![host_path(
            "tools",
            world.path("escape"),
            probelet_model::pod::HostPathType::File,
        )];
        let uid = "prison".into();
        let config = pod("prison", Network::Host, volumes);
        world.runtime.start_pod(config).await.unwrap();
        let mut config = sh("main", "sleep 1000");
        config.mounts = vec![mount("tools", "/tmp/escape", true)];
        world.runtime.start_container(&uid, config).await.unwrap();
        let socket = world.path("data/run/prison/shim.sock");
        assert!(socket.exists());
        let attempt = format!("/tmp/escape socket_file {}", socket.display());
        let output = world.exec(&uid, "main", &attempt).await;
        assert_eq!(output.exit_code, 1, "{output:?}");
    });
}
