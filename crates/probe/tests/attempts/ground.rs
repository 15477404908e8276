//! What the tests stand on: a runtime that is this host, and servers that misbehave to order.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use probelet_model::id::{ContainerId, PodUid};
use probelet_model::pod::{Container, ContainerPort, EnvVar, Protocol, TerminationMessage, User};
use probelet_model::probe::{Handler, Outcome, OutcomeStatus, PortRef, Probe, Scheme};
use probelet_probe::{HostSockets, Report, Sockets, Target};
use probelet_runtime::{
    ContainerConfig, Events, ExecError, ExecOutput, ExecRequest, Family, PodConfig, PodRecord,
    Runtime, RuntimeError, StartContainerError, StartPodError, Started,
};

pub(crate) const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A runtime whose one pod is this host: its sockets and commands are real, there is nothing to start.
#[derive(Default)]
pub(crate) struct Host {
    /// How often it was asked for a socket or a command.
    pub(crate) asked: AtomicU32,
    /// A second descriptor of each socket handed out, if wanted.
    pub(crate) kept: Option<Mutex<Vec<OwnedFd>>>,
    /// What it answers instead.
    pub(crate) fault: Option<Fault>,
}

/// How a runtime fails.
pub(crate) enum Fault {
    /// At once.
    Fails,
    /// By never answering.
    Hangs,
}

const NOTHING: &str = "the host runs no pods";

impl Runtime for Host {
    fn events(&self) -> Events {
        tokio::sync::mpsc::unbounded_channel().1
    }

    async fn pods(&self) -> Result<Vec<PodRecord>, RuntimeError> {
        Ok(Vec::new())
    }

    async fn start_pod(&self, _: PodConfig) -> Result<(), StartPodError> {
        Err(StartPodError::Sandbox(NOTHING.to_owned()))
    }

    async fn start_container(
        &self,
        _: &PodUid,
        _: ContainerConfig,
    ) -> Result<Started, StartContainerError> {
        Err(StartContainerError::Create(NOTHING.to_owned()))
    }

    async fn stop_container(
        &self,
        _: &PodUid,
        _: &ContainerId,
        _: Duration,
    ) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn remove_pod(&self, _: &PodUid) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn exec(
        &self,
        _: &PodUid,
        _: &ContainerId,
        request: ExecRequest,
    ) -> Result<ExecOutput, ExecError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.fault.is_some() {
            return Err(ExecError::Runtime("the shim does not answer".to_owned()));
        }
        let child = tokio::process::Command::new(&request.argv[0])
            .args(&request.argv[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| ExecError::Command(error.to_string()))?;
        let ended = tokio::time::timeout(request.timeout, child.wait_with_output()).await;
        let mut ended = ended
            .map_err(|_| ExecError::TimedOut)?
            .map_err(|error| ExecError::Runtime(error.to_string()))?;
        ended.stdout.truncate(request.output_limit);
        ended.stderr.truncate(request.output_limit);
        Ok(ExecOutput {
            exit_code: ended.status.code().unwrap(),
            stdout: ended.stdout,
            stderr: ended.stderr,
        })
    }

    async fn open_exec(
        &self,
        _pod: &PodUid,
        _container: &ContainerId,
        _request: probelet_runtime::SessionRequest,
    ) -> Result<probelet_runtime::Session, ExecError> {
        unreachable!("an attempt opens no session")
    }

    async fn attach(
        &self,
        _pod: &PodUid,
        _container: &ContainerId,
        _streams: probelet_runtime::Streams,
    ) -> Result<probelet_runtime::Session, ExecError> {
        unreachable!("an attempt attaches to nothing")
    }

    async fn update_volume(
        &self,
        _pod: &PodUid,
        _volume: &str,
        _files: probelet_runtime::VolumeFiles,
    ) -> Result<(), RuntimeError> {
        unreachable!("an attempt changes no volume")
    }

    fn log_dir(&self) -> &std::path::Path {
        unreachable!("an attempt reads no log")
    }

    async fn tcp_socket(&self, pod: &PodUid, family: Family) -> Result<OwnedFd, RuntimeError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Some(Fault::Fails) => return Err(RuntimeError::NoPod(pod.clone())),
            Some(Fault::Hangs) => std::future::pending().await,
            None => {}
        }
        let socket = HostSockets.tcp(family).await.unwrap();
        if let Some(kept) = &self.kept {
            kept.lock()
                .unwrap()
                .push(socket.as_fd().try_clone_to_owned().unwrap());
        }
        Ok(socket)
    }

    async fn bind(
        &self,
        pod: &PodUid,
        _address: SocketAddr,
        _transport: probelet_runtime::Transport,
    ) -> Result<OwnedFd, RuntimeError> {
        Err(RuntimeError::NoPod(pod.clone()))
    }

    async fn usage(&self, pod: &PodUid) -> Result<probelet_runtime::PodUsage, RuntimeError> {
        Err(RuntimeError::NoPod(pod.clone()))
    }
}

/// A container whose port `http` is `port`.
pub(crate) fn container(port: u16) -> Container {
    Container {
        name: "c".into(),
        image: String::new(),
        pull_policy: probelet_model::pod::PullPolicy::default(),
        command: vec!["/bin/true".to_owned()],
        args: Vec::new(),
        security: probelet_model::security::Security::default(),
        working_dir: None,
        env: vec![EnvVar {
            name: "A".to_owned(),
            value: probelet_model::pod::EnvValue::Literal("literal".to_owned()),
        }],
        ports: vec![ContainerPort {
            name: Some("http".to_owned()),
            number: port,
            protocol: Protocol::Tcp,
            host_port: None,
            host_ip: None,
        }],
        volume_mounts: Vec::new(),
        user: User::default(),
        startup: None,
        readiness: None,
        liveness: None,
        post_start: None,
        pre_stop: None,
        stop_signal: None,
        restart_policy: None,
        restart_rules: Vec::new(),
        env_from: Vec::new(),
        resources: probelet_model::resources::Resources::default(),
        stdin: false,
        stdin_once: false,
        tty: false,
        termination_message: TerminationMessage::default(),
    }
}

/// An attempt of `handler` in a pod at `ip`.
pub(crate) async fn run_at(
    runtime: &Host,
    ip: Option<IpAddr>,
    port: u16,
    handler: Handler,
    timeout: Duration,
) -> Report {
    let probe = Probe {
        handler,
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(10),
        timeout,
        success_threshold: 1,
        failure_threshold: 3,
        termination_grace_period: None,
    };
    let spec = container(port);
    let target = Target {
        runtime,
        pod: &"pod".into(),
        container: &"run".into(),
        spec: &spec,
        pod_ip: ip,
    };
    probelet_probe::run(target, &probe).await
}

/// Long enough for anything that ends by itself.
pub(crate) const PATIENT: Duration = Duration::from_secs(10);
/// For what does not.
pub(crate) const SHORT: Duration = Duration::from_millis(200);

/// The GET that a manifest's httpGet with only a port and a path is.
pub(crate) fn get(path: &str) -> Handler {
    get_with(path, &[])
}

/// A GET with headers.
pub(crate) fn get_with(path: &str, headers: &[(&str, &str)]) -> Handler {
    Handler::HttpGet {
        host: None,
        port: PortRef::Name("http".to_owned()),
        path: path.to_owned(),
        scheme: Scheme::Http,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

/// An attempt on this host.
pub(crate) async fn run(address: SocketAddr, handler: Handler, timeout: Duration) -> Report {
    run_at(
        &Host::default(),
        Some(address.ip()),
        address.port(),
        handler,
        timeout,
    )
    .await
}

/// What an attempt that saw something, at the first try, saw.
pub(crate) fn seen(report: Report) -> (OutcomeStatus, String) {
    assert_eq!(report.tries, 1);
    let Outcome { status, output, .. } = report.result.unwrap();
    (status, output)
}

/// A port of this host that nobody listens on.
pub(crate) fn closed_port() -> SocketAddr {
    TcpListener::bind((LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
}

/// What a server does with one connection once the request is there.
pub(crate) enum Answer {
    /// Sends this and closes.
    Whole(String),
    /// Sends these one by one, each a segment of its own, and closes.
    Pieces(Vec<String>),
    /// Sends this and waits for the client to go.
    Stall(String),
    /// Sends this and resets the connection.
    Reset(String),
}

/// A response with a body and its length.
pub(crate) fn response(status: &str, headers: &str, body: &str) -> Answer {
    Answer::Whole(format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    ))
}

/// A server on its own thread, one connection at a time, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers each request by its text.
    pub(crate) fn new(answer: impl FnMut(&str) -> Answer + Send + 'static) -> Self {
        Self::at((LOCALHOST, 0).into(), answer)
    }

    /// The same at a given address.
    pub(crate) fn at(
        address: SocketAddr,
        mut answer: impl FnMut(&str) -> Answer + Send + 'static,
    ) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        Self::raw(
            TcpListener::bind(address).unwrap(),
            requests,
            move |mut stream| {
                let request = read_request(&mut stream);
                if request.is_empty() {
                    return;
                }
                log.lock().unwrap().push(request.clone());
                give(&mut stream, answer(&request));
            },
        )
    }

    /// Hands each connection to `handle`.
    pub(crate) fn raw(
        listener: TcpListener,
        requests: Arc<Mutex<Vec<String>>>,
        mut handle: impl FnMut(TcpStream) + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                handle(stream.unwrap());
            }
        });
        Self {
            address,
            requests,
            over,
            thread: Some(thread),
        }
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        let ended = self.thread.take().unwrap().join();
        assert!(
            ended.is_ok() || std::thread::panicking(),
            "the server's thread panicked"
        );
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

/// The client may have gone already: what it does is asserted on its own side.
fn give(stream: &mut TcpStream, answer: Answer) {
    stream.set_nodelay(true).unwrap();
    match answer {
        Answer::Whole(text) => drop(stream.write_all(text.as_bytes())),
        Answer::Pieces(pieces) => {
            for piece in pieces {
                if stream.write_all(piece.as_bytes()).is_err() {
                    return;
                }
                std::thread::yield_now();
            }
        }
        Answer::Stall(text) => {
            drop(stream.write_all(text.as_bytes()));
            drop(stream.read(&mut [0]));
        }
        Answer::Reset(text) => {
            drop(stream.write_all(text.as_bytes()));
            rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO)).unwrap();
        }
    }
}
