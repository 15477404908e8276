//! What every case needs: a runtime on a fresh directory, pods and containers to ask for, and waiting for
//! values.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use probelet_model::id::{ContainerId, PodUid};
use probelet_model::pod::{HostPathType, User, Volume, VolumeMount, VolumeSource};
use rustix::io::Errno;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use crate::{
    ContainerConfig, Event, Events, ExecError, ExecOutput, ExecRequest, Exit, Family, Network,
    PodConfig, Runtime, SessionRequest, Started, Streams,
};

/// How long anything may take on a busy machine. No case waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What makes the runtimes that are put to the test, and knows where they keep things.
#[derive(Debug)]
pub struct Ground<R> {
    /// A runtime that keeps all it has in this directory, and finds there what another has left.
    pub open: fn(&Path) -> R,
    /// Where on the host a runtime on this directory keeps what is the pod's, with its volumes in `volumes/<name>`;
    /// it goes with the pod.
    pub kept: fn(&Path, &str) -> PathBuf,
    /// Ends whatever still runs of a runtime that was opened on this directory.
    pub clear: fn(&Path),
}

/// A runtime, its events, and a directory that goes with it.
#[derive(Debug)]
pub struct World<R> {
    pub runtime: R,
    pub events: Events,
    pub dir: Place<R>,
}

/// A directory, and what runs on it: nothing else would end that after a case.
#[derive(Debug)]
pub struct Place<R> {
    dir: tempfile::TempDir,
    ground: Ground<R>,
}

impl<R> Place<R> {
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl<R> Drop for Place<R> {
    fn drop(&mut self) {
        (self.ground.clear)(self.dir.path());
    }
}

impl<R: Runtime> World<R> {
    /// A fresh one.
    pub fn new(ground: Ground<R>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = (ground.open)(dir.path());
        Self {
            events: runtime.events(),
            runtime,
            dir: Place { dir, ground },
        }
    }

    /// One on a directory of its own whose runtime has been opened already.
    pub fn around(runtime: R, dir: tempfile::TempDir, ground: Ground<R>) -> Self {
        Self {
            events: runtime.events(),
            runtime,
            dir: Place { dir, ground },
        }
    }

    /// The caller has died, and comes back: what stood is found again.
    pub async fn again(self) -> Self {
        let Self {
            runtime,
            events,
            dir,
        } = self;
        drop((runtime, events));
        let runtime = (dir.ground.open)(dir.path());
        runtime.pods().await.unwrap();
        Self {
            events: runtime.events(),
            runtime,
            dir,
        }
    }

    /// Where on the host the pod's things are.
    pub fn kept(&self, pod: &str) -> PathBuf {
        (self.dir.ground.kept)(self.dir.path(), pod)
    }
}

impl<R: Runtime> World<R> {
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a pod with its own network and these volumes.
    pub async fn pod(&self, uid: &str, volumes: Vec<Volume>) -> PodUid {
        let config = pod(uid, Network::Own("10.213.0.9".parse().unwrap()), volumes);
        self.runtime.start_pod(config).await.unwrap();
        uid.into()
    }

    /// Starts a container that runs a shell script.
    pub async fn sh(&self, pod: &PodUid, id: &str, script: &str) -> Started {
        self.runtime
            .start_container(pod, sh(id, script))
            .await
            .unwrap()
    }

    /// Runs a shell script beside a container.
    pub async fn exec(&self, pod: &PodUid, id: &str, script: &str) -> ExecOutput {
        self.runtime
            .exec(pod, &id.into(), request(script))
            .await
            .unwrap()
    }

    /// What a shell script prints beside a container.
    pub async fn output(&self, pod: &PodUid, id: &str, script: &str) -> String {
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
    pub async fn exit(&mut self, id: &str) -> Exit {
        loop {
            match self.event().await {
                Event::Exited {
                    container, exit, ..
                } if container.as_str() == id => return exit,
                other => println!("meanwhile: {other:?}"),
            }
        }
    }

    pub async fn event(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time")
            .expect("open")
    }

    /// Sends nothing and returns all that a server in the pod says.
    pub async fn hear(&self, pod: &PodUid, address: SocketAddr) -> String {
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

pub fn pod(uid: &str, network: Network, volumes: Vec<Volume>) -> PodConfig {
    let name = format!("pod-{uid}");
    PodConfig {
        uid: uid.into(),
        namespace: "default".into(),
        hostname: name.clone(),
        name,
        network,
        volumes,
        volume_files: BTreeMap::new(),
        namespaces: probelet_model::security::Namespaces::default(),
        security: probelet_model::security::PodSecurity::default(),
        hosts: None,
        resolv_conf: None,
        qos: probelet_model::resources::Qos::default(),
        resources: probelet_model::resources::Resources::default(),
    }
}

pub fn own(ip: &str) -> Network {
    Network::Own(ip.parse::<IpAddr>().unwrap())
}

pub fn host_path(name: &str, path: impl Into<PathBuf>, kind: HostPathType) -> Volume {
    Volume {
        name: name.into(),
        source: VolumeSource::HostPath {
            path: path.into(),
            kind,
        },
    }
}

pub fn empty_dir(name: &str, in_memory: bool, size_limit: Option<u64>) -> Volume {
    Volume {
        name: name.into(),
        source: VolumeSource::EmptyDir {
            in_memory,
            size_limit,
        },
    }
}

pub fn mount(volume: &str, path: impl Into<PathBuf>, read_only: bool) -> VolumeMount {
    VolumeMount {
        volume: volume.into(),
        path: path.into(),
        read_only,
        sub_path: None,
        sub_path_expr: None,
    }
}

pub fn container(id: &str, argv: &[&str]) -> ContainerConfig {
    ContainerConfig {
        id: id.into(),
        name: "main".into(),
        restart_count: 0,
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: Vec::new(),
        working_dir: None,
        mounts: Vec::new(),
        user: User::default(),
        image: None,
        image_user: String::new(),
        security: probelet_model::security::Security::default(),
        resources: probelet_model::resources::Resources::default(),
        memory_that_counts: None,
        stop_signal: None,
        termination_message: probelet_model::pod::TerminationMessage::default(),
        stdin: false,
        stdin_once: false,
        tty: false,
    }
}

pub fn sh(id: &str, script: &str) -> ContainerConfig {
    container(id, &["sh", "-c", script])
}

pub fn request(script: &str) -> ExecRequest {
    ExecRequest {
        argv: ["sh", "-c", script].map(str::to_owned).into(),
        timeout: PATIENCE,
        output_limit: 10 * 1024,
    }
}

/// A shell script with streams of its own.
pub fn session(script: &str, streams: Streams, tty: bool) -> SessionRequest {
    SessionRequest {
        argv: ["sh", "-c", script].map(str::to_owned).into(),
        streams,
        tty,
    }
}

/// Every stream.
pub const ALL: Streams = Streams {
    stdin: true,
    stdout: true,
    stderr: true,
};

/// A near end to read from.
#[derive(Debug)]
pub struct Reader(pipe::Receiver);

impl Reader {
    pub fn new(fd: OwnedFd) -> Self {
        // A pipe or a terminal: both can be waited for in the same way.
        Self(pipe::Receiver::from_file_unchecked(fd.into()).unwrap())
    }

    /// What comes next; nothing at the end, which a terminal tells by an error.
    pub async fn read(&self) -> Vec<u8> {
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
    pub async fn read_to_end(&self) -> Vec<u8> {
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
    pub async fn text(&self) -> String {
        String::from_utf8(self.read_to_end().await).unwrap()
    }

    /// What comes up to and with `mark`.
    pub async fn read_until(&self, mark: &str) -> String {
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
pub struct Writer(pipe::Sender);

impl Writer {
    pub fn new(fd: OwnedFd) -> Self {
        Self(pipe::Sender::from_file_unchecked(fd.into()).unwrap())
    }

    /// Writes all of it, or says why not.
    pub async fn write(&self, mut bytes: &[u8]) -> std::io::Result<()> {
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
pub async fn outcome(ended: oneshot::Receiver<Result<i32, ExecError>>) -> Result<i32, ExecError> {
    tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("an end in time")
        .expect("told")
}

/// The first value there is.
pub async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
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
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

/// The command lines that hold this text, of all processes there are.
pub fn processes_with(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    let lines = pids.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}

pub fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| {
        !stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
    })
}

pub fn id(text: &str) -> ContainerId {
    text.into()
}
