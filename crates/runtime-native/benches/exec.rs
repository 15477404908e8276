//! What one command in a container costs, beside a plain spawn of the same program and beside `runc exec` and
//! `crun exec`; how long pods take to start; and what a shim weighs.
//!
//! `cargo bench -p probelet-runtime-native --bench exec`, as root for all of it. A tool that is missing is named and
//! left out. The CPU is that of every process that takes part: this one, which is the agent, the shim, what it starts,
//! and the command; so its figures hold on a busy machine too, other than those of time.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]
#![expect(
    clippy::disallowed_methods,
    reason = "time is what is measured, and waited for"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has nothing to say"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use probelet_model::pod::{
    HostPathType, TerminationMessage, User, Volume, VolumeMount, VolumeSource,
};
use probelet_model::resources::{Qos, Resources};
use probelet_model::security::{Namespaces, PodSecurity, Security};
use probelet_runtime::{ContainerConfig, ExecRequest, Network, PodConfig, Runtime};
use probelet_runtime_native::{NativeRuntime, Options};
use rustix::process::geteuid;

/// How often a program is run in one round, and how many rounds there are of each way in turn.
const ATTEMPTS: u32 = 1000;
const ROUNDS: u32 = 3;
/// 200 a second.
const EVERY: Duration = Duration::from_millis(5);
/// Of what takes so long that the schedule cannot be kept.
const FEW: u32 = 100;
const PODS: usize = 100;

const BUDGET: f64 = 1.15;

fn main() {
    into_own_mount_namespace();
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let place = tempfile::tempdir().unwrap();
    let programs = Programs::make(&place.path().join("programs"));
    tokio.block_on(attempts(place.path(), &programs));
    tokio.block_on(pods(place.path()));
}

/// crun refuses to work where cgroup v2 is mounted beside v1; out of its sight, it works.
fn into_own_mount_namespace() {
    const MARK: &str = "PROBELET_BENCH_IN_NAMESPACE";
    if !geteuid().is_root() || std::env::var_os(MARK).is_some() {
        return;
    }
    let hybrid = "/sys/fs/cgroup/unified";
    if !has("unshare") || !Path::new(hybrid).exists() {
        return;
    }
    let script = format!("umount {hybrid}; exec \"$0\" \"$@\"");
    let error = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(std::env::args_os().skip(1))
        .env(MARK, "1")
        .exec();
    panic!("unshare: {error}");
}

fn has(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(tool).exists())
}

/// What is run: by name, the words with `{}` for the directory of the programs.
struct Programs {
    dir: PathBuf,
    commands: Vec<(&'static str, Vec<&'static str>)>,
}

impl Programs {
    fn make(dir: &Path) -> Self {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("file"), "x".repeat(1000)).unwrap();
        let mut commands = Vec::new();
        if fs::copy("/bin/busybox", dir.join("busybox")).is_ok() {
            for name in ["true", "cat", "sleep"] {
                symlink("busybox", dir.join(name)).unwrap();
            }
            commands.push(("true (busybox)", vec!["{}/true"]));
            commands.push(("cat FILE (busybox)", vec!["{}/cat", "{}/file"]));
        } else {
            println!(
                "left out: true and cat, as there is no /bin/busybox (package busybox-static)"
            );
        }
        fs::write(dir.join("tiny.c"), "int main(void) { return 0; }\n").unwrap();
        let compiled = Command::new("cc")
            .args(["-O2", "-static", "-o", "tiny", "tiny.c"])
            .current_dir(dir)
            .status();
        if compiled.is_ok_and(|status| status.success()) {
            commands.push(("tiny static program", vec!["{}/tiny"]));
        } else {
            println!("left out: the tiny program, as there is no C compiler with a static library");
        }
        Self {
            dir: dir.to_owned(),
            commands,
        }
    }

    fn words(&self, command: &[&str], dir: &Path) -> Vec<String> {
        let dir = dir.to_str().unwrap();
        command.iter().map(|word| word.replace("{}", dir)).collect()
    }
}

/// Where the programs are in every container.
const INSIDE: &str = "/probelet-bench";

async fn attempts(place: &Path, programs: &Programs) {
    let native = Native::start(place, &programs.dir).await;
    let engines: Vec<Engine> = ["crun", "runc"]
        .into_iter()
        .filter_map(|name| Engine::start(name, place, &programs.dir))
        .collect();
    println!(
        "CPU of one attempt, {ROUNDS} x {ATTEMPTS} at 200 a second, seccomp on here and off in crun and runc:"
    );
    for (name, command) in &programs.commands {
        let (outside, inside) = (
            programs.words(command, &programs.dir),
            programs.words(command, Path::new(INSIDE)),
        );
        let (mut plain, mut ours) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..ROUNDS {
            let before = cpu(&[]);
            for turn in Schedule::of(ATTEMPTS) {
                turn.come().await;
                spawn(&outside);
            }
            plain += cpu(&[]) - before;
            let processes = native.processes();
            let before = cpu(&processes);
            for turn in Schedule::of(ATTEMPTS) {
                turn.come().await;
                native.exec(&inside).await;
            }
            ours += cpu(&processes) - before;
        }
        let (plain, ours) = (plain / (ROUNDS * ATTEMPTS), ours / (ROUNDS * ATTEMPTS));
        let ratio = |cpu: Duration| cpu.as_secs_f64() / plain.as_secs_f64();
        println!("  {name}");
        println!("    plain spawn {plain:>9.0?}");
        println!(
            "    probelet    {ours:>9.0?}  {:.2} x (budget {BUDGET} x: {})",
            ratio(ours),
            met(ratio(ours) <= BUDGET)
        );
        for engine in &engines {
            let before = cpu(&[]);
            for turn in Schedule::of(FEW) {
                turn.come().await;
                engine.exec(&inside);
            }
            let cpu = (cpu(&[]) - before) / FEW;
            println!(
                "    {} exec   {cpu:>9.0?}  {:.1} x",
                engine.name,
                ratio(cpu)
            );
        }
    }
    native.end().await;
}

const fn met(is: bool) -> &'static str {
    if is { "met" } else { "missed" }
}

/// One attempt after the other, each at its time or as soon as the one before has ended.
struct Schedule {
    start: Instant,
    next: u32,
    count: u32,
}

struct Turn(Instant);

impl Schedule {
    fn of(count: u32) -> Self {
        Self {
            start: Instant::now(),
            next: 0,
            count,
        }
    }
}

impl Iterator for Schedule {
    type Item = Turn;

    fn next(&mut self) -> Option<Turn> {
        (self.next < self.count).then(|| {
            self.next += 1;
            Turn(self.start + EVERY * self.next)
        })
    }
}

impl Turn {
    async fn come(&self) {
        tokio::time::sleep_until(self.0.into()).await;
    }
}

/// As the standard library does it, without a fork, with its output kept as of a probe.
fn spawn(words: &[String]) {
    let output = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
}

/// Of this process and of these, and of the children of each that have been waited for. In steps of a clock tick, so
/// that it takes many attempts to say something.
fn cpu(others: &[i32]) -> Duration {
    let own = i32::try_from(std::process::id()).unwrap();
    let ticks = others.iter().chain([&own]).map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
        let fields = fields.split_ascii_whitespace().skip(11).take(4);
        fields
            .filter_map(|field| field.parse::<u64>().ok())
            .sum::<u64>()
    });
    Duration::from_millis(ticks.sum::<u64>() * 1000 / rustix::param::clock_ticks_per_second())
}

/// One pod of ours with one container.
struct Native {
    runtime: NativeRuntime,
    data_dir: PathBuf,
}

impl Native {
    async fn start(place: &Path, programs: &Path) -> Self {
        let native = Self::new(place);
        let volume = Volume {
            name: "programs".into(),
            source: VolumeSource::HostPath {
                path: programs.to_owned(),
                kind: HostPathType::Directory,
            },
        };
        let mount = VolumeMount {
            volume: "programs".into(),
            path: INSIDE.into(),
            read_only: true,
            sub_path: None,
            sub_path_expr: None,
        };
        native.pod("exec", vec![volume], vec![mount]).await;
        // The first one makes what the others use.
        native.exec(&[format!("{INSIDE}/true")]).await;
        native
    }

    fn new(place: &Path) -> Self {
        let data_dir = place.join("data");
        let runtime = NativeRuntime::new(Options {
            data_dir: data_dir.clone(),
            shim_command: vec![env!("CARGO_BIN_EXE_probelet-native-shim").into()],
        });
        Self {
            runtime: runtime.unwrap(),
            data_dir,
        }
    }

    async fn pod(&self, uid: &str, volumes: Vec<Volume>, mounts: Vec<VolumeMount>) {
        let pod = PodConfig {
            uid: uid.into(),
            namespace: "default".into(),
            name: uid.into(),
            hostname: uid.into(),
            network: Network::Own([10, 213, 0, 2].into()),
            volumes,
            volume_files: BTreeMap::new(),
            namespaces: Namespaces::default(),
            security: PodSecurity::default(),
            hosts: None,
            resolv_conf: None,
            qos: Qos::default(),
            resources: Resources::default(),
        };
        self.runtime.start_pod(pod).await.unwrap();
        let container = ContainerConfig {
            id: "c".into(),
            name: "c".into(),
            restart_count: 0,
            argv: vec!["sleep".into(), "1000".into()],
            env: Vec::new(),
            working_dir: None,
            mounts,
            user: User::default(),
            image: None,
            image_user: String::new(),
            security: Security::default(),
            resources: Resources::default(),
            memory_that_counts: None,
            stop_signal: None,
            termination_message: TerminationMessage::default(),
            stdin: false,
            stdin_once: false,
            tty: false,
        };
        let started = self.runtime.start_container(&uid.into(), container).await;
        started.unwrap();
    }

    async fn exec(&self, words: &[String]) {
        self.exec_in("exec", words).await;
    }

    async fn exec_in(&self, pod: &str, words: &[String]) {
        let request = ExecRequest {
            argv: words.to_vec(),
            timeout: Duration::from_secs(5),
            output_limit: 10 * 1024,
        };
        let output = self.runtime.exec(&pod.into(), &"c".into(), request).await;
        assert_eq!(output.unwrap().exit_code, 0);
    }

    /// The shim, and those of its children that share its pid namespace.
    fn processes(&self) -> Vec<i32> {
        let shim = self.shim("exec");
        self.runners("exec").into_iter().chain([shim]).collect()
    }

    /// What starts commands in the containers of a pod.
    fn runners(&self, pod: &str) -> Vec<i32> {
        let shim = self.shim(pod);
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let children = pids.filter(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status"));
            status.is_ok_and(|status| {
                status.contains(&format!("\nPPid:\t{shim}\n"))
                    && status.contains(&format!("\nNSpid:\t{pid}\n"))
            })
        });
        children.collect()
    }

    fn shim(&self, pod: &str) -> i32 {
        let id = fs::read_to_string(self.data_dir.join("run").join(pod).join("shim.pid")).unwrap();
        id.split([':', ',']).nth(1).unwrap().parse().unwrap()
    }

    async fn end(&self) {
        self.runtime.remove_pod(&"exec".into()).await.unwrap();
    }
}

/// A container of another runtime, with the same programs in it.
struct Engine {
    name: &'static str,
    root: PathBuf,
}

impl Engine {
    /// `None`, said by name, if it cannot be.
    fn start(name: &'static str, place: &Path, programs: &Path) -> Option<Self> {
        if !geteuid().is_root() || !has(name) {
            println!("left out: {name} exec, which takes root and {name}");
            return None;
        }
        let bundle = place.join(name);
        let rootfs = bundle.join("rootfs");
        let inside = rootfs.join(INSIDE.trim_start_matches('/'));
        fs::create_dir_all(&inside).unwrap();
        for entry in fs::read_dir(programs).unwrap().flatten() {
            let to = inside.join(entry.file_name());
            match fs::read_link(entry.path()) {
                Ok(target) => symlink(target, to).unwrap(),
                Err(_) => drop(fs::copy(entry.path(), to).unwrap()),
            }
        }
        let made = Command::new(name).arg("spec").current_dir(&bundle).status();
        assert!(made.unwrap().success(), "{name} spec");
        let file = bundle.join("config.json");
        let mut config: serde_json::Value =
            serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = [format!("{INSIDE}/sleep"), "1000".into()].to_vec().into();
        fs::write(&file, config.to_string()).unwrap();
        let engine = Self {
            name,
            root: place.join(format!("{name}-state")),
        };
        let bundle = bundle.display().to_string();
        let status = engine
            .command(&["run", "--detach", "--bundle", &bundle, &engine.id()])
            .status();
        if !status.is_ok_and(|status| status.success()) {
            println!("left out: {name} exec, as {name} cannot start a container here");
            return None;
        }
        Some(engine)
    }

    fn id(&self) -> String {
        format!("probelet-bench-{}-{}", self.name, std::process::id())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.name);
        command.arg("--root").arg(&self.root).args(words);
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn exec(&self, words: &[String]) {
        let id = self.id();
        let words = words.iter().map(String::as_str);
        let words: Vec<&str> = ["exec", &id].into_iter().chain(words).collect();
        let mut command = self.command(&words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ended = self.command(&["kill", &self.id(), "KILL"]).status();
        // Its cgroup can be removed once its processes have ended.
        for _ in 0..100 {
            let deleted = self.command(&["delete", "--force", &self.id()]).status();
            let left = fs::read_dir(&self.root).is_ok_and(|mut left| left.next().is_some());
            if deleted.is_ok_and(|status| status.success()) && !left {
                return;
            }
            std::thread::sleep(EVERY);
        }
    }
}

/// From nothing to running, one pod after the other, all of which stay; then what their shims weigh.
async fn pods(place: &Path) {
    let native = Native::new(&place.join("pods"));
    let uid = |number: usize| format!("pod-{number}");
    let mut took = Vec::new();
    for number in 0..PODS {
        let before = Instant::now();
        native.pod(&uid(number), Vec::new(), Vec::new()).await;
        took.push(before.elapsed());
    }
    took.sort_unstable();
    let at = |part: usize| took[(took.len() - 1) * part / 100];
    println!(
        "pod create to running, {PODS} pods: p50 {:.1?} (budget 50 ms: {}), p99 {:.1?} (budget 150 ms: {})",
        at(50),
        met(at(50) < Duration::from_millis(50)),
        at(99),
        met(at(99) < Duration::from_millis(150)),
    );
    let mut weights: Vec<u64> = (0..PODS)
        .map(|number| pss(native.shim(&uid(number))))
        .collect();
    weights.sort_unstable();
    let heaviest = weights[PODS - 1];
    println!(
        "PSS of a shim with one container: p50 {} kB, max {heaviest} kB (budget 3072 kB: {})",
        weights[PODS / 2],
        met(heaviest <= 3072)
    );
    for _ in 0..100 {
        native.exec_in(&uid(0), &["true".into()]).await;
    }
    let (shim, runners) = (native.shim(&uid(0)), native.runners(&uid(0)));
    println!(
        "after 100 attempts: {} kB, and {} kB in what starts the commands",
        pss(shim),
        runners.into_iter().map(pss).sum::<u64>()
    );
    for number in 0..PODS {
        native
            .runtime
            .remove_pod(&uid(number).into())
            .await
            .unwrap();
    }
}

/// In kB; what several share is divided among them.
fn pss(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
