//! How pods meet the network.
use crate::{Family, Network, Runtime};

use super::world::*;

/// Says a name to whoever connects.
pub fn server(name: &str) -> String {
    format!(
        "exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => \"0.0.0.0\", LocalPort => 8080, \
         Listen => 5) or die $!; while ($c = $s->accept) {{ print $c \"{name}\"; close $c }}'"
    )
}

pub async fn two_pods_listen_on_one_port<R: Runtime>(world: World<R>) {
    for (uid, ip) in [
        ("left", "10.213.0.21"),
        ("right", "10.213.0.22"),
        ("six", "fd00::7"),
    ] {
        world
            .runtime
            .start_pod(pod(uid, own(ip), Vec::new()))
            .await
            .unwrap();
    }
    world.sh(&"left".into(), "l", &server("left")).await;
    world.sh(&"right".into(), "r", &server("right")).await;
    assert_eq!(
        world
            .hear(&"left".into(), "10.213.0.21:8080".parse().unwrap())
            .await,
        "left"
    );
    for _ in 0..20 {
        assert_eq!(
            world
                .hear(&"right".into(), "10.213.0.22:8080".parse().unwrap())
                .await,
            "right"
        );
    }
    world.sh(&"six".into(), "s", "exec sleep 1000").await;
    let listening = world
        .runtime
        .tcp_socket(&"six".into(), Family::V6)
        .await
        .unwrap();
    let address: std::net::SocketAddr = "[fd00::7]:0".parse().unwrap();
    rustix::net::bind(&listening, &address).unwrap();
    let nobody = world.runtime.tcp_socket(&"nobody".into(), Family::V4).await;
    assert_eq!(nobody.unwrap_err().to_string(), "pod nobody has no sandbox");
}

pub async fn a_pod_on_the_hosts_network_is_reached_there<R: Runtime>(world: World<R>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    world
        .runtime
        .start_pod(pod("hostnet", Network::Host, Vec::new()))
        .await
        .unwrap();
    let uid = "hostnet".into();
    let script = format!(
        "exec perl -MIO::Socket::INET -e 'IO::Socket::INET->new(\"127.0.0.1:{port}\") or die $!'"
    );
    world.sh(&uid, "c", &script).await;
    listener.accept().await.unwrap();
    let socket = world.runtime.tcp_socket(&uid, Family::V4).await.unwrap();
    let socket = tokio::net::TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
    socket
        .connect(listener.local_addr().unwrap())
        .await
        .unwrap();
}
