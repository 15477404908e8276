//! What every test needs: a runtime on a fresh data directory, pods and containers to ask for, and
//! waiting for values.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use probelet_model::id::{ContainerId, PodUid};
use probelet_model::pod::{HostPathType, User, Volume, VolumeMount, VolumeSource};
use probelet_runtime::{
    ContainerConfig, Event, Events, ExecError, ExecOutput, ExecRequest, Exit, Family, Network,
    PodConfig, Runtime, SessionRequest, Started, Streams,
};
use probelet_runtime_native::{NativeRuntime, Options};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

/// How long anything may take on a busy machine. No test waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(20);

/// A runtime, its events, and a directory that goes with it.
pub(crate) struct World<R> {
    pub(crate) runtime: R,
    pub(crate) events: Events,
    pub(crate) dir: Place,
}

/// A directory, and the shims below it: nothing else would end them after a test.
#[derive(Debug)]
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The number of a pod's shim.
    pub(crate) fn shim(&self, pod: &str) -> Option<Pid> {
        let file = self.path().join("data/run").join(pod).join("shim.pid");
        let text = std::fs::read_to_string(file).ok()?;
        Pid::from_raw(text.split([':', ',']).nth(1)?.parse().ok()?)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let pods = std::fs::read_dir(self.path().join("data/run"));
        for pod in pods.into_iter().flatten().flatten() {
            let Some(shim) = self.shim(&pod.file_name().to_string_lossy()) else {
                continue;
            };
            if is_running(shim.as_raw_nonzero().get().unsigned_abs()) {
                let _gone = kill_process(shim, Signal::KILL);
            }
        }
    }
}

/// A native runtime on the data directory in `dir`.
pub(crate) fn native(dir: &Path) -> NativeRuntime {
    let shim = std::env::var_os("PROBELET_TEST_SHIM")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_probelet-native-shim").into());
    NativeRuntime::new(Options {
        data_dir: dir.join("data"),
        shim_command: vec![shim],
    })
    .unwrap()
}

impl World<NativeRuntime> {
    pub(crate) fn native() -> Self {
        let dir = Place(tempfile::tempdir().unwrap());
        let runtime = native(dir.path());
        let events = runtime.events();
        Self {
            runtime,
            events,
            dir,
        }
    }
}

impl<R: Runtime> World<R> {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a pod with its own network and these volumes.
    pub(crate) async fn pod(&self, uid: &str, volumes: Vec<Volume>) -> PodUid {
        let config = pod(uid, Network::Own("10.213.0.9".parse().unwrap()), volumes);
        self.runtime.start_pod(config).await.unwrap();
        uid.into()
    }

    /// Starts a container that runs a shell script.
    pub(crate) async fn sh(&self, pod: &PodUid, id: &str, script: &str) -> Started {
        self.runtime
            .start_container(pod, sh(id, script))
            .await
            .unwrap()
    }

    /// Runs a shell script beside a container.
    pub(crate) async fn exec(&self, pod: &PodUid, id: &str, script: &str) -> ExecOutput {
        self.runtime
            .exec(pod, &id.into(), request(script))
            .await
            .unwrap()
    }

    /// What a shell script prints beside a container.
    pub(crate) async fn output(&self, pod: &PodUid, id: &str, script: &str) -> String {
        let output = self.exec(pod, id, script).await;
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        assert_eq!(
            output.exit_code,
            0,
            "{script}: {} {}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// The next exit of that container.
    pub(crate) async fn exit(&mut self, id: &str) -> Exit {
        loop {
            match self.event().await {
                Event::Exited {
                    container, exit, ..
                } if container.as_str() == id => return exit,
                other => println!("meanwhile: {other:?}"),
            }
        }
    }

    pub(crate) async fn event(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time")
            .expect("open")
    }

    /// Sends nothing and returns all that a server in the pod says.
    pub(crate) async fn hear(&self, pod: &PodUid, address: SocketAddr) -> String {
        eventually(async || {
            let socket = self
                .runtime
                .tcp_socket(pod, Family::of(address.ip()))
                .await
                .unwrap();
            let socket = tokio::net::TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
            let mut stream = socket.connect(address).await.ok()?;
            let mut text = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut text)
                .await
                .ok()?;
            Some(text)
        })
        .await
    }
}

pub(crate) fn pod(uid: &str, network: Network, volumes: Vec<Volume>) -> PodConfig {
    let name = format!("pod-{uid}");
    PodConfig {
        uid: uid.into(),
        namespace: "default".into(),
        hostname: name.clone(),
        name,
        network,
        volumes,
        volume_files: BTreeMap::new(),
    }
}

pub(crate) fn own(ip: &str) -> Network {
    Network::Own(ip.parse::<IpAddr>().unwrap())
}

pub(crate) fn host_path(name: &str, path: impl Into<PathBuf>, kind: HostPathType) -> Volume {
    Volume {
        name: name.into(),
        source: VolumeSource::HostPath {
            path: path.into(),
            kind,
        },
    }
}

pub(crate) fn empty_dir(name: &str, in_memory: bool, size_limit: Option<u64>) -> Volume {
    Volume {
        name: name.into(),
        source: VolumeSource::EmptyDir {
            in_memory,
            size_limit,
        },
    }
}

pub(crate) fn mount(volume: &str, path: impl Into<PathBuf>, read_only: bool) -> VolumeMount {
    VolumeMount {
        volume: volume.into(),
        path: path.into(),
        read_only,
    }
}

pub(crate) fn container(id: &str, argv: &[&str]) -> ContainerConfig {
    ContainerConfig {
        id: id.into(),
        name: "main".into(),
        restart_count: 0,
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: Vec::new(),
        working_dir: None,
        mounts: Vec::new(),
        user: User::default(),
        termination_message: probelet_model::pod::TerminationMessage::default(),
        stdin: false,
        stdin_once: false,
        tty: false,
    }
}

pub(crate) fn sh(id: &str, script: &str) -> ContainerConfig {
    container(id, &["sh", "-c", script])
}

pub(crate) fn request(script: &str) -> ExecRequest {
    ExecRequest {
        argv: ["sh", "-c", script].map(str::to_owned).into(),
        timeout: PATIENCE,
        output_limit: 10 * 1024,
    }
}

/// A shell script with streams of its own.
pub(crate) fn session(script: &str, streams: Streams, tty: bool) -> SessionRequest {
    SessionRequest {
        argv: ["sh", "-c", script].map(str::to_owned).into(),
        streams,
        tty,
    }
}

/// Every stream.
pub(crate) const ALL: Streams = Streams {
    stdin: true,
    stdout: true,
    stderr: true,
};

/// A near end to read from.
#[derive(Debug)]
pub(crate) struct Reader(pipe::Receiver);

impl Reader {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        // A pipe or a terminal: both can be waited for in the same way.
        Self(pipe::Receiver::from_file_unchecked(fd.into()).unwrap())
    }

    /// What comes next; nothing at the end, which a terminal tells by an error.
    pub(crate) async fn read(&self) -> Vec<u8> {
        let read = async {
            loop {
                self.0.readable().await.unwrap();
                let mut buffer = vec![0; 64 * 1024];
                match self.0.try_read(&mut buffer) {
                    Ok(length) => {
                        buffer.truncate(length);
                        return buffer;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => {
                        return Vec::new();
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("output in time")
    }

    /// All there is, to the end.
    pub(crate) async fn read_to_end(&self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let more = self.read().await;
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }

    /// All there is, to the end, as text.
    pub(crate) async fn text(&self) -> String {
        String::from_utf8(self.read_to_end().await).unwrap()
    }

    /// What comes up to and with `mark`.
    pub(crate) async fn read_until(&self, mark: &str) -> String {
        let mut text = String::new();
        while !text.contains(mark) {
            let more = self.read().await;
            assert!(!more.is_empty(), "ended without {mark:?}: {text:?}");
            text.push_str(&String::from_utf8_lossy(&more));
        }
        text
    }
}

/// A near end to write to.
#[derive(Debug)]
pub(crate) struct Writer(pipe::Sender);

impl Writer {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(pipe::Sender::from_file_unchecked(fd.into()).unwrap())
    }

    /// Writes all of it, or says why not.
    pub(crate) async fn write(&self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            self.0.writable().await?;
            match self.0.try_write(bytes) {
                Ok(length) => bytes = &bytes[length..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// How a session ends.
pub(crate) async fn outcome(
    ended: oneshot::Receiver<Result<i32, ExecError>>,
) -> Result<i32, ExecError> {
    tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("an end in time")
        .expect("told")
}

/// The first value there is.
pub(crate) async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, search)
        .await
        .expect("a value in time")
}

/// Runs a test's future on a runtime of its own.
pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

/// The command lines that hold this text, of all processes there are.
pub(crate) fn processes_with(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    let lines = pids.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}

pub(crate) fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| {
        !stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
    })
}

pub(crate) fn id(text: &str) -> ContainerId {
    text.into()
}
