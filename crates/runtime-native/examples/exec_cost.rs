//! What one command in a container costs, beside a plain spawn of the same program, and what a shim
//! weighs: `cargo run --release -p probelet-runtime-native --example exec_cost -- <path of the shim>`.

#![expect(clippy::print_stdout, reason = "the figures are the point")]

use std::process::{Command, Stdio};
use std::time::Duration;

use probelet_model::pod::User;
use probelet_runtime::{ContainerConfig, ExecRequest, Network, PodConfig, Runtime};
use probelet_runtime_native::{NativeRuntime, Options};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: u32 = 1000;

fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shim = std::env::args_os().nth(1).ok_or("say where the shim is")?;
    let program = std::env::args()
        .nth(2)
        .unwrap_or_else(|| "/bin/true".to_owned());
    let dir = std::env::temp_dir().join(format!("exec-cost-{}", std::process::id()));
    let options = Options {
        data_dir: dir.clone(),
        shim_command: vec![shim],
    };
    let runtime = NativeRuntime::new(options)?;
    let pod = "cost".into();
    let config = PodConfig {
        uid: "cost".into(),
        namespace: "default".into(),
        name: "cost".into(),
        hostname: "cost".into(),
        network: Network::Own([10, 213, 0, 2].into()),
        volumes: Vec::new(),
        volume_files: std::collections::BTreeMap::new(),
    };
    let before = now();
    runtime.start_pod(config).await?;
    let sandbox = now();
    let container = ContainerConfig {
        id: "c".into(),
        name: "c".into(),
        restart_count: 0,
        argv: vec!["sleep".into(), "1000".into()],
        env: Vec::new(),
        working_dir: None,
        mounts: Vec::new(),
        user: User::default(),
        termination_message: probelet_model::pod::TerminationMessage::default(),
        stdin: false,
        stdin_once: false,
        tty: false,
    };
    runtime.start_container(&pod, container).await?;
    println!(
        "sandbox {:?}, container {:?}",
        sandbox - before,
        now() - sandbox
    );

    let request = ExecRequest {
        argv: vec![program.clone()],
        timeout: Duration::from_secs(5),
        output_limit: 10240,
    };
    let before = now();
    for _ in 0..ROUNDS {
        runtime.exec(&pod, &"c".into(), request.clone()).await?;
    }
    let wall = (now() - before) / ROUNDS;
    let before = now();
    for _ in 0..ROUNDS {
        runtime
            .tcp_socket(&pod, probelet_runtime::Family::V4)
            .await?;
    }
    println!("socket {:?}", (now() - before) / ROUNDS);
    let id = std::fs::read_to_string(dir.join("run/cost/shim.pid"))?;
    let id = id.split([':', ',']).nth(1).unwrap_or("self").to_owned();
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    for line in status
        .lines()
        .filter(|line| line.starts_with("VmRSS") || line.starts_with("Rss"))
    {
        println!("shim {line}");
    }
    runtime.remove_pod(&pod).await?;
    std::fs::remove_dir_all(dir)?;
    // The shim has been reaped, so its time and that of all it has reaped counts as ours.
    let with_pod = cpu_time()?;
    println!(
        "exec: wall {wall:?}, CPU {:?}, pod and sockets included",
        with_pod / ROUNDS
    );

    let before = now();
    for _ in 0..ROUNDS {
        Command::new(&program)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()?;
    }
    let wall = (now() - before) / ROUNDS;
    println!(
        "plain spawn: wall {wall:?}, CPU {:?}",
        (cpu_time()? - with_pod) / ROUNDS
    );
    Ok(())
}

/// Of this process and of every descendant that has been reaped.
fn cpu_time() -> std::io::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_ascii_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(4)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(
        ticks * 1000 / rustix::param::clock_ticks_per_second(),
    ))
}
