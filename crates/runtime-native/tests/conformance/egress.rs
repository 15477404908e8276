//! Traffic out of pods and between them.
//!
//! Each test is run once more in a network namespace of its own, which plays the host: with an interface, a default
//! route, and behind it another namespace, which plays the outside. Nothing of the real host's network is touched.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use probelet_runtime::{Runtime, StartPodError};
use probelet_runtime_native::{Egress, NativeRuntime, NetworkOptions};
use rustix::process::{Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};

use crate::suite::*;

/// Set for a test that is in its own network namespace.
const INSIDE: &str = "PROBELET_TEST_HOST";
/// Where the world outside answers.
const OUTSIDE: [&str; 2] = ["198.51.100.1", "fd55::1"];
/// Where the host meets it.
const HOST: [&str; 2] = ["198.51.100.2", "fd55::2"];

/// The world beyond the host: a server that says to whoever connects what address they come from.
struct Outside(Child);

impl Drop for Outside {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Says who it is that has connected.
const WHO: &str = "use IO::Socket::IP; $s = IO::Socket::IP->new(LocalHost => '::', LocalPort => 80, V6Only => 0, \
     GetAddrInfoFlags => 0,      Listen => 20, ReuseAddr => 1) or die $@; while ($c = $s->accept) { $p = $c->peerhost; $p =~ s/^::ffff://; \
     print $c $p; close $c }";

/// Runs `test` in a network namespace of its own; the calling test if `name` is its.
fn on_a_host_of_its_own<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F) {
    if !rustix::process::geteuid().is_root() {
        println!("{name}: only root can play a host with networks");
        return;
    }
    if std::env::var_os(INSIDE).is_some() {
        let outside = outside();
        run(test());
        return drop(outside);
    }
    let output = Command::new("unshare")
        .args(["--net", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("egress::{name}"), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"));
}

fn outside() -> Outside {
    let mut server = Command::new("unshare")
        .args(["--net", "perl", "-e"])
        .arg(format!("$| = 1; print \"up\\n\"; {WHO}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 3];
    std::io::Read::read_exact(server.stdout.as_mut().unwrap(), &mut up).unwrap();
    let there = server.id();
    OUTSIDE_PID.store(there, Ordering::Relaxed);
    sh_out(&format!(
        "ip link set lo up
         ip link add up0 type veth peer name down0 netns {there}
         ip addr add {0}/24 dev up0; ip addr add {1}/64 dev up0 nodad; ip link set up0 up
         nsenter -t {there} -n sh -e -c 'ip addr add {2}/24 dev down0; ip addr add {3}/64 dev down0 nodad
             ip link set lo up; ip link set down0 up'
         ip route add default via {2}; ip route add default via {3}",
        HOST[0], HOST[1], OUTSIDE[0], OUTSIDE[1],
    ));
    Outside(server)
}

/// A script for the world outside.
fn in_the_outside(script: &str) -> String {
    let pid = OUTSIDE_PID.load(Ordering::Relaxed);
    format!(
        "nsenter -t {pid} -n sh -c '{}'",
        script.replace('\'', "'\\''")
    )
}

static OUTSIDE_PID: AtomicU32 = AtomicU32::new(0);

/// What a shell script of the host prints.
#[track_caller]
fn sh_out(script: &str) -> String {
    let output = Command::new("sh")
        .args(["-e", "-c", script])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {text}{errors}");
    text
}

fn options(egress: Egress) -> NetworkOptions {
    NetworkOptions {
        egress,
        ..NetworkOptions::default()
    }
}

/// A script that prints what the server at that address says.
fn ask(address: &str) -> String {
    format!(
        "exec perl -MIO::Socket::IP -e '$s = IO::Socket::IP->new(PeerHost => \"{address}\", PeerPort => 80, Timeout \
         => 9) or die \"$!\"; print <$s>'"
    )
}

/// Pods that talk over what links them.
trait Linked {
    /// A pod with a server that says who has connected.
    async fn linked(&self, uid: &str, ip: &str);

    /// Whom the server at that address takes a pod for.
    async fn told(&self, pod: &str, address: &str) -> String;

    async fn v6_of(&self, pod: &str) -> String;
}

impl Linked for World<NativeRuntime> {
    async fn linked(&self, uid: &str, ip: &str) {
        self.runtime
            .start_pod(pod(uid, own(ip), Vec::new()))
            .await
            .unwrap();
        let server = container(uid, &["perl", "-e", WHO]);
        self.runtime
            .start_container(&uid.into(), server)
            .await
            .unwrap();
        let address = SocketAddr::new(ip.parse().unwrap(), 80);
        self.hear(&uid.into(), address).await;
    }

    async fn told(&self, pod: &str, address: &str) -> String {
        self.output(&pod.into(), pod, &ask(address)).await
    }

    async fn v6_of(&self, pod: &str) -> String {
        let script = "ip -o -6 addr show dev eth0 scope global";
        let line = self.output(&pod.into(), pod, script).await;
        let address = line.split_whitespace().nth(3).unwrap();
        address.split('/').next().unwrap().to_owned()
    }
}

/// Interfaces and rules of the host, the name of none that comes and goes with a test left out.
fn links_and_rules() -> (String, String) {
    let links = sh_out("ip -o link | cut -d: -f2 | cut -d@ -f1 | sort");
    (links, sh_out("nft list ruleset"))
}

#[test]
fn a_pod_reaches_the_outside_behind_the_hosts_address() {
    on_a_host_of_its_own(
        "a_pod_reaches_the_outside_behind_the_hosts_address",
        async || {
            let world = World::native_with(options(Egress::Auto));
            world.linked("out", "10.213.0.2").await;
            assert_eq!(world.told("out", OUTSIDE[0]).await, HOST[0]);
            assert_eq!(world.told("out", OUTSIDE[1]).await, HOST[1]);
            assert_eq!(sh_out("cat /proc/sys/net/ipv4/ip_forward"), "1\n");
            // The host itself sees the pod as it is.
            let listener = std::net::TcpListener::bind("0.0.0.0:80").unwrap();
            let accepted = std::thread::spawn(move || {
                let (mut stream, peer) = listener.accept().unwrap();
                std::io::Write::write_all(&mut stream, b"host").unwrap();
                peer.ip()
            });
            assert_eq!(world.told("out", HOST[0]).await, "host");
            assert_eq!(accepted.join().unwrap().to_string(), "10.213.0.2");
            let state = world.runtime.network_state().borrow().clone();
            assert!(state.egress, "{state:?}");
            world.runtime.remove_pod(&"out".into()).await.unwrap();
        },
    );
}

#[test]
fn probes_go_as_before_and_are_not_tracked() {
    on_a_host_of_its_own("probes_go_as_before_and_are_not_tracked", async || {
        let world = World::native_with(options(Egress::Bridge));
        world.linked("probed", "10.213.0.2").await;
        let uid = "probed".into();
        let before = tracked(&world).await;
        for _ in 0..20 {
            let said = world.hear(&uid, "10.213.0.2:80".parse().unwrap()).await;
            assert_eq!(said, "10.213.0.2", "the source of a probe");
        }
        assert_eq!(tracked(&world).await, before);
        world.runtime.remove_pod(&uid).await.unwrap();
    });
}

/// How many connections the kernel remembers, here and in the pod.
async fn tracked(world: &World<NativeRuntime>) -> [String; 2] {
    let count = "cat /proc/sys/net/netfilter/nf_conntrack_count";
    [
        sh_out(count),
        world.output(&"probed".into(), "probed", count).await,
    ]
}

#[test]
fn pods_reach_each_other_and_the_host_reaches_them() {
    on_a_host_of_its_own(
        "pods_reach_each_other_and_the_host_reaches_them",
        async || {
            let world = World::native_with(options(Egress::Auto));
            world.linked("left", "10.213.0.2").await;
            world.linked("right", "10.213.0.3").await;
            let heard = |address: &str| {
                let address = SocketAddr::new(address.parse::<IpAddr>().unwrap(), 80);
                let mut text = String::new();
                let mut stream = TcpStream::connect(address).unwrap();
                std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
                text
            };
            for uid in ["left", "right"] {
                let own = if uid == "left" {
                    "10.213.0.2"
                } else {
                    "10.213.0.3"
                };
                world
                    .hear(&uid.into(), SocketAddr::new(own.parse().unwrap(), 80))
                    .await;
                assert_eq!(heard(own), "10.213.0.1");
            }
            assert_eq!(world.told("left", "10.213.0.3").await, "10.213.0.2");
            assert_eq!(world.told("right", "10.213.0.2").await, "10.213.0.3");
            let (left, right) = (world.v6_of("left").await, world.v6_of("right").await);
            assert_eq!(world.told("left", &right).await, left);
            let told = world.runtime.addresses("10.213.0.2".parse().unwrap());
            let told: Vec<String> = told.iter().map(IpAddr::to_string).collect();
            assert_eq!(told, ["10.213.0.2", &left]);
            assert!(heard(&right).starts_with("fd"));
            for uid in ["left", "right"] {
                world.runtime.remove_pod(&uid.into()).await.unwrap();
            }
        },
    );
}

#[test]
fn the_outside_does_not_reach_into_pods() {
    on_a_host_of_its_own("the_outside_does_not_reach_into_pods", async || {
        let world = World::native_with(options(Egress::Auto));
        world.linked("sheltered", "10.213.0.2").await;
        let route = format!("ip route add 10.213.0.0/16 via {}", HOST[0]);
        sh_out(&in_the_outside(&route));
        let reach = in_the_outside(&ask("10.213.0.2").replace("Timeout => 9", "Timeout => 1"));
        let output = Command::new("sh").args(["-c", &reach]).output().unwrap();
        assert!(!output.status.success(), "reached it: {output:?}");
        world.runtime.remove_pod(&"sheltered".into()).await.unwrap();
    });
}

#[test]
fn an_agent_that_comes_back_finds_links_as_they_were() {
    on_a_host_of_its_own(
        "an_agent_that_comes_back_finds_links_as_they_were",
        async || {
            let world = World::native_with(options(Egress::Auto));
            world.linked("one", "10.213.0.2").await;
            world.linked("other", "10.213.0.3").await;
            let before = links_and_rules();
            let World { runtime, dir, .. } = world;
            drop(runtime);
            // An agent killed while it linked a pod leaves a pod without a whole link.
            let link = sh_out(
                "ip -o link show master $(ip -o link show type bridge | cut -d: -f2) | head -1",
            );
            let link = link.split(['@', ':']).nth(1).unwrap().trim();
            sh_out(&format!("ip link set {link} nomaster"));
            let runtime = native_with(dir.path(), options(Egress::Auto));
            let events = runtime.events();
            assert_eq!(runtime.pods().await.unwrap().len(), 2);
            let world = World {
                runtime,
                events,
                dir,
            };
            assert_eq!(links_and_rules(), before);
            for (uid, other) in [("one", "10.213.0.3"), ("other", "10.213.0.2")] {
                world.told(uid, other).await;
                assert_eq!(world.told(uid, OUTSIDE[0]).await, HOST[0]);
            }
            for uid in ["one", "other"] {
                world.runtime.remove_pod(&uid.into()).await.unwrap();
            }
        },
    );
}

#[test]
fn nothing_is_left_when_the_last_pod_is_gone() {
    on_a_host_of_its_own("nothing_is_left_when_the_last_pod_is_gone", async || {
        sh_out(
            "nft add table inet somebody; nft add chain inet somebody theirs; ip link add theirs type bridge",
        );
        let before = links_and_rules();
        let world = World::native_with(options(Egress::Auto));
        for _ in 0..2 {
            world.linked("first", "10.213.0.2").await;
            world.linked("last", "10.213.0.3").await;
            world.runtime.remove_pod(&"first".into()).await.unwrap();
            assert_eq!(world.told("last", OUTSIDE[0]).await, HOST[0]);
            world.runtime.remove_pod(&"last".into()).await.unwrap();
            // The kernel removes the links of a namespace in its own time.
            eventually(async || (links_and_rules() == before).then_some(())).await;
        }
    });
}

#[test]
fn what_a_dead_pod_has_left_is_removed_at_the_start() {
    on_a_host_of_its_own(
        "what_a_dead_pod_has_left_is_removed_at_the_start",
        async || {
            let before = links_and_rules();
            let world = World::native_with(options(Egress::Auto));
            world.linked("dead", "10.213.0.2").await;
            let World { runtime, dir, .. } = world;
            drop(runtime);
            kill_process(dir.shim("dead").unwrap(), Signal::KILL).unwrap();
            // Also where pods are to have no way out any more.
            let runtime = eventually(async || {
                let runtime = native_with(dir.path(), options(Egress::None));
                runtime.pods().await.ok().map(|_| runtime)
            })
            .await;
            eventually(async || (links_and_rules() == before).then_some(())).await;
            drop(runtime);
            // And the pod starts anew, under the name its link had.
            let runtime = native_with(dir.path(), options(Egress::Auto));
            let events = runtime.events();
            let world = World {
                runtime,
                events,
                dir,
            };
            world.linked("dead", "10.213.0.2").await;
            assert_eq!(world.told("dead", OUTSIDE[0]).await, HOST[0]);
            world.runtime.remove_pod(&"dead".into()).await.unwrap();
        },
    );
}

#[test]
fn two_data_directories_do_not_share_a_range() {
    on_a_host_of_its_own("two_data_directories_do_not_share_a_range", async || {
        let world = World::native_with(options(Egress::Auto));
        world.linked("one", "10.213.0.2").await;
        let before = links_and_rules();

        let strict = World::native_with(options(Egress::Bridge));
        let refused = strict
            .runtime
            .start_pod(pod("two", own("10.213.0.2"), Vec::new()))
            .await;
        let Err(StartPodError::Sandbox(why)) = refused else {
            panic!("{refused:?}");
        };
        assert!(
            why.contains("10.213.0.0/16 is in use already") && why.contains("--pod-cidr"),
            "{why}"
        );
        assert!(
            why.contains(&world.dir.path().display().to_string()),
            "{why}"
        );
        assert!(!strict.path("data/run/two").exists());
        let easy = World::native_with(options(Egress::Auto));
        easy.linked("three", "10.213.0.2").await;
        let state = easy.runtime.network_state().borrow().clone();
        assert!(
            !state.egress && state.message.contains("is in use already"),
            "{state:?}"
        );
        assert_eq!(links_and_rules(), before);

        let elsewhere = NetworkOptions {
            cidr: ("10.214.0.0".parse().unwrap(), 24),
            ..options(Egress::Bridge)
        };
        let apart = World::native_with(elsewhere);
        apart.linked("four", "10.214.0.2").await;
        assert_eq!(apart.told("four", OUTSIDE[0]).await, HOST[0]);
        apart.runtime.remove_pod(&"four".into()).await.unwrap();
        sh_out("ip link add taken type bridge");
        let taken = NetworkOptions {
            name: Some("taken".into()),
            cidr: ("10.215.0.0".parse().unwrap(), 24),
            ..options(Egress::Bridge)
        };
        let taken = World::native_with(taken);
        sh_out("ip link set taken alias mine");
        let refused = taken
            .runtime
            .start_pod(pod("five", own("10.215.0.2"), Vec::new()))
            .await;
        let why = refused.unwrap_err().to_string();
        assert!(why.contains("interface taken is there already"), "{why}");
        world.runtime.remove_pod(&"one".into()).await.unwrap();
        easy.runtime.remove_pod(&"three".into()).await.unwrap();
    });
}

#[test]
fn without_nft_pods_reach_each_other_alone() {
    on_a_host_of_its_own("without_nft_pods_reach_each_other_alone", async || {
        let nft = sh_out("command -v nft || echo /usr/sbin/nft");
        sh_out(&format!("mount --bind /dev/null {}", nft.trim()));
        let world = World::native_with(options(Egress::Auto));
        let state = world.runtime.network_state();
        assert!(!state.borrow().egress && state.borrow().message.contains("nftables"));
        world.linked("left", "10.213.0.2").await;
        world.linked("right", "10.213.0.3").await;
        world
            .hear(&"right".into(), "10.213.0.3:80".parse().unwrap())
            .await;
        assert_eq!(world.told("left", "10.213.0.3").await, "10.213.0.2");
        for uid in ["left", "right"] {
            world.runtime.remove_pod(&uid.into()).await.unwrap();
        }
    });
}

#[test]
fn a_firewall_that_drops_is_told_of_and_left_alone() {
    on_a_host_of_its_own(
        "a_firewall_that_drops_is_told_of_and_left_alone",
        async || {
            sh_out(
            "nft add table ip filter
             nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
        );
            let theirs = sh_out("nft list table ip filter");
            let world = World::native_with(options(Egress::Auto));
            world.linked("dropped", "10.213.0.2").await;
            let mut state = world.runtime.network_state();
            let told =
                state.wait_for(|state| state.message.contains("table ip filter, chain FORWARD"));
            let told = tokio::time::timeout(Duration::from_secs(20), told).await;
            let told = told.expect("told").unwrap().message.clone();
            assert!(
                told.contains("iptables -I DOCKER-USER -i probelet_"),
                "{told}"
            );
            assert_eq!(sh_out("nft list table ip filter"), theirs);
            world.runtime.remove_pod(&"dropped".into()).await.unwrap();
        },
    );
}

#[test]
fn a_hundred_pods_are_linked_side_by_side() {
    on_a_host_of_its_own("a_hundred_pods_are_linked_side_by_side", async || {
        let before = links_and_rules();
        let alone = a_hundred(&Arc::new(World::native_with(options(Egress::None)))).await;
        let world = Arc::new(World::native_with(options(Egress::Bridge)));
        let linked = a_hundred(&world).await;
        println!("start_pod, ten at a time, p50 and p99: alone {alone:?}, linked {linked:?}");
        let links = sh_out("ip -o link show type veth | grep -c ' master probelet_'");
        assert_eq!(links.trim(), "100");
        for number in 2..102 {
            let uid = format!("p{number}");
            world
                .runtime
                .remove_pod(&uid.as_str().into())
                .await
                .unwrap();
        }
        eventually(async || (links_and_rules() == before).then_some(())).await;
    });
}

fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap()
}

/// Starts as many pods, and says how long the middle one and the second slowest took.
async fn a_hundred(world: &Arc<World<NativeRuntime>>) -> [Duration; 2] {
    let mut times = Vec::new();
    for round in 0..10 {
        let pods = (0..10).map(|at| {
            let (world, number) = (Arc::clone(world), round * 10 + at + 2);
            tokio::spawn(async move {
                let begun = now();
                let ip = own(&format!("10.213.0.{number}"));
                let config = pod(&format!("p{number}"), ip, Vec::new());
                world.runtime.start_pod(config).await.unwrap();
                now() - begun
            })
        });
        for pod in pods.collect::<Vec<_>>() {
            times.push(pod.await.unwrap());
        }
    }
    times.sort();
    [times[50], times[98]]
}

#[test]
fn pasta_carries_what_leaves_a_pod_without_root() {
    on_a_host_of_its_own("pasta_carries_what_leaves_a_pod_without_root", async || {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        // This host's may be for root alone; elsewhere it is for everybody.
        let tun = format!(
            "mknod {0} c 10 200 && chmod 666 {0} && mount --bind {0} /dev/net/tun && command -v pasta",
            place("tun").display()
        );
        if !Command::new("sh")
            .args(["-c", &tun])
            .status()
            .unwrap()
            .success()
        {
            return println!("no /dev/net/tun or no pasta to be had here");
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(std::env::current_exe().unwrap(), place("tests")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_probelet-native-shim"), place("shim")).unwrap();
        fs::create_dir(place("tmp")).unwrap();
        std::os::unix::fs::chown(place("tmp"), Some(65534), Some(65534)).unwrap();
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(place("tests"))
            .args([
                "--exact",
                "egress::without_root",
                "--ignored",
                "--nocapture",
            ])
            .env("PROBELET_TEST_SHIM", place("shim"))
            .env("TMPDIR", place("tmp"))
            .current_dir("/")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && text.contains("1 passed"));
    });
}

#[test]
#[ignore = "pasta_carries_what_leaves_a_pod_without_root runs it, on a host made for it"]
fn without_root() {
    run(async {
        let world = World::native_with(options(Egress::Auto));
        let begun = now();
        world.linked("out", "10.213.0.2").await;
        println!("a pod with pasta, and its server: {:?}", now() - begun);
        let state = world.runtime.network_state().borrow().clone();
        assert!(state.egress && state.message.contains("pasta"), "{state:?}");
        assert_eq!(world.told("out", OUTSIDE[0]).await, HOST[0]);
        assert_eq!(world.told("out", OUTSIDE[1]).await, HOST[1]);
        let uid = "out".into();
        let said = world.hear(&uid, "10.213.0.2:80".parse().unwrap()).await;
        assert_eq!(said, "10.213.0.2", "the source of a probe");
        // Another pod is not looked for outside.
        let other = world.exec(&uid, "out", &ask("10.213.0.3")).await;
        let why = String::from_utf8_lossy(&other.stderr).into_owned();
        assert!(why.contains("No route to host"), "{why}");
        let mine = "pasta --foreground --quiet";
        assert_eq!(processes_with(mine).len(), 1);
        world.runtime.remove_pod(&uid).await.unwrap();
        assert_eq!(processes_with(mine), [""; 0]);
        // It ends with the shim, however that ends.
        world.linked("killed", "10.213.0.3").await;
        assert_eq!(processes_with(mine).len(), 1);
        kill_process(world.dir.shim("killed").unwrap(), Signal::KILL).unwrap();
        eventually(async || processes_with(mine).is_empty().then_some(())).await;
        world.runtime.remove_pod(&"killed".into()).await.unwrap();
    });
}
