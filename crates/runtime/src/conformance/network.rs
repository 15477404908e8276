//! How pods meet the network.
use crate::{Family, Network, Runtime};

use super::image_root::SLEEP;
use super::layers::{Layer, sh_on};
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
    // Its name too is the host's.
    let name = rustix::system::uname();
    let name = name.nodename().to_str().unwrap();
    world.runtime.remove_pod(&uid).await.unwrap();
    let mut config = pod("named", Network::Host, Vec::new());
    config.hostname = name.to_owned();
    world.runtime.start_pod(config).await.unwrap();
    let uid = "named".into();
    world.sh(&uid, "c", "exec sleep 1000").await;
    let names = "readlink /proc/self/ns/uts; uname -n; echo $HOSTNAME";
    let uts = std::fs::read_link("/proc/self/ns/uts").unwrap();
    let expected = format!("{}\n{name}\n{name}", uts.display());
    assert_eq!(world.output(&uid, "c", names).await, expected);
    let mut image = sh_on(&[&Layer::busybox(world.dir.path())], "image", SLEEP);
    image.name = "image".into();
    world.runtime.start_container(&uid, image).await.unwrap();
    let file = world.output(&uid, "image", "cat /etc/hostname").await;
    assert_eq!(file, name);
}

pub async fn any_user_may_listen_on_any_port_of_a_pod<R: Runtime>(mut world: World<R>) {
    let uid = world.pod("ports", Vec::new()).await;
    let listen = "exec perl -MIO::Socket::INET -e 'IO::Socket::INET->new(LocalPort => 80, Listen => 1) or die $!; \
            open F, q(>/dev/termination-log); print F q(listens)'";
    let mut config = sh("c", listen);
    config.user.uid = Some(101);
    world.runtime.start_container(&uid, config).await.unwrap();
    let exit = world.exit("c").await;
    assert_eq!(exit.message.as_deref(), Some("listens"));
    world.sh(&uid, "d", "exec sleep 1000").await;
    let groups = world
        .output(&uid, "d", "cat /proc/sys/net/ipv4/ping_group_range")
        .await;
    // A user namespace lacks most of them.
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(groups == "0\t2147483647", is_root, "{groups}");
}
