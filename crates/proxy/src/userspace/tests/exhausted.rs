//! A process that has run out of descriptors; one of its own, as the limit is for the whole process.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit};
use rustix::time::ClockId;

use super::*;

const BACKEND: &str = "PROBELET_PROXY_TEST_BACKEND";

/// Not a test by itself: a proxy in a process that takes all descriptors there are at the first line of
/// its stdin, gives them back at the second, and ends at the third. Says where it is, when it has none
/// left, and how many milliseconds of CPU all of it took.
#[tokio::test]
#[ignore = "run by running_out_of_descriptors_does_not_spin, in a process of its own"]
async fn proxy_without_descriptors() {
    let backend: SocketAddr = std::env::var(BACKEND)
        .expect("started by its test")
        .parse()
        .unwrap();
    let backend = Backend {
        ip: backend.ip(),
        port: backend.port(),
        pod: "far".into(),
    };
    let few = Rlimit {
        current: Some(64),
        maximum: Some(64),
    };
    rustix::process::setrlimit(Resource::Nofile, few).unwrap();
    let proxy = Userspace::new(Host, 100);
    let plan = Plan {
        services: vec![service("web", &[any(61)], &[&backend])],
    };
    println!("\nat {}", address(&proxy.apply(&plan)));
    let told = tokio::task::spawn_blocking(|| {
        let mut lines = io::stdin().lines();
        lines.next();
        let taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        println!("\nfull {}", taken.len());
        lines.next();
        drop(taken);
        lines.next();
    });
    told.await.unwrap();
    let cpu = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    println!("\ncpu {}", cpu.tv_sec * 1000 + cpu.tv_nsec / 1_000_000);
}

#[tokio::test]
async fn running_out_of_descriptors_does_not_spin() {
    let server = Server::start("x").await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "userspace::tests::exhausted::proxy_without_descriptors",
            "--ignored",
            "--nocapture",
        ])
        .env(
            BACKEND,
            SocketAddr::new(server.backend.ip, server.backend.port).to_string(),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut told = |what: &str| {
        lines
            .find_map(|line| line.strip_prefix(what).map(str::to_owned))
            .unwrap()
    };
    let at: SocketAddr = told("at ").parse().unwrap();
    stdin.write_all(b"take\n").unwrap();
    let taken: u64 = told("full ").parse().unwrap();
    assert!(taken > 10, "{taken}");
    // The kernel lets it in, and nobody can accept it; a second in which a loop would show.
    let mut client = TcpStream::connect(at).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(1), client.read_u8()).await;
    assert!(heard.is_err(), "{heard:?}");
    stdin.write_all(b"give back\n").unwrap();
    assert_eq!(
        within(client.read_u8()).await.unwrap(),
        b'x',
        "served once there are descriptors again"
    );
    drop(stdin);
    let cpu: u64 = told("cpu ").parse().unwrap();
    for _rest in lines {}
    assert!(child.wait().unwrap().success());
    assert!(
        cpu < 500,
        "{cpu} ms of CPU in a second of having nothing to do"
    );
}
