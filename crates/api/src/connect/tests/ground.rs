//! What the tests stand on: a runtime whose one pod is this host, and a server over it.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use probelet_model::id::{ContainerId, Kind, ObjectKey, PodUid};
use probelet_model::time::Wall;
use probelet_runtime::{
    ContainerConfig, Events, ExecError, ExecOutput, ExecRequest, Family, PodConfig, PodRecord,
    Runtime, RuntimeError, Session, SessionRequest, StartContainerError, StartPodError, Started,
    Streams, VolumeFiles,
};
use probelet_store::{Durability, Store};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::body::{Response, full};
use crate::connect::connect;

pub(super) const UID: &str = "11111111-2222-3333-4444-555555555555";
/// When it is, for who asks.
pub(super) const NOW: Wall = Wall(100_000_000_000);

/// A runtime whose one pod is this host: its processes and sockets are real, there is nothing to start.
pub(super) struct Host {
    logs: tempfile::TempDir,
    /// What the main process of its container does.
    main: &'static str,
    /// Where it is told how a process has ended.
    exits: mpsc::UnboundedSender<i32>,
}

const NOTHING: &str = "the host runs no pods";

impl Runtime for Host {
    fn events(&self) -> Events {
        mpsc::unbounded_channel().1
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
        _: ExecRequest,
    ) -> Result<ExecOutput, ExecError> {
        Err(ExecError::Runtime(NOTHING.to_owned()))
    }

    async fn open_exec(
        &self,
        pod: &PodUid,
        container: &ContainerId,
        request: SessionRequest,
    ) -> Result<Session, ExecError> {
        assert_eq!((pod.as_str(), container.as_str()), (UID, "now"));
        let mut command = Command::new(&request.argv[0]);
        command.args(&request.argv[1..]);
        open(command, &request, self.exits.clone())
            .map_err(|error| ExecError::Command(error.to_string()))
    }

    async fn attach(
        &self,
        pod: &PodUid,
        container: &ContainerId,
        streams: Streams,
    ) -> Result<Session, ExecError> {
        let argv = ["sh", "-c", self.main].map(str::to_owned).to_vec();
        let request = SessionRequest {
            argv,
            streams,
            tty: false,
        };
        self.open_exec(pod, container, request).await
    }

    async fn update_volume(&self, _: &PodUid, _: &str, _: VolumeFiles) -> Result<(), RuntimeError> {
        Ok(())
    }

    fn log_dir(&self) -> &Path {
        self.logs.path()
    }

    async fn tcp_socket(&self, _: &PodUid, family: Family) -> Result<OwnedFd, RuntimeError> {
        let family = match family {
            Family::V4 => AddressFamily::INET,
            Family::V6 => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        rustix::net::socket_with(family, SocketType::STREAM, flags, None)
            .map_err(|error| RuntimeError::Failed(error.to_string()))
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

fn open(
    mut command: Command,
    request: &SessionRequest,
    exits: mpsc::UnboundedSender<i32>,
) -> io::Result<Session> {
    let Streams {
        stdin,
        stdout,
        stderr,
    } = request.streams;
    let mut session = Session {
        stdin: None,
        stdout: None,
        stderr: None,
        terminal: None,
        ended: oneshot::channel().1,
    };
    if request.tty {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&near)?;
        unlockpt(&near)?;
        let name = ptsname(&near, Vec::new())?;
        let far = File::options()
            .read(true)
            .write(true)
            .open(OsStr::from_bytes(name.to_bytes()))?;
        command
            .stdin(far.try_clone()?)
            .stdout(far.try_clone()?)
            .stderr(far);
        session.stdin = stdin.then(|| near.try_clone()).transpose()?;
        session.stdout = stdout.then(|| near.try_clone()).transpose()?;
        session.terminal = Some(near);
    } else {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if stdin {
            let (far, near) = io::pipe()?;
            command.stdin(far);
            session.stdin = Some(near.into());
        }
        if stdout {
            let (near, far) = io::pipe()?;
            command.stdout(far);
            session.stdout = Some(near.into());
        }
        if stderr {
            let (near, far) = io::pipe()?;
            command.stderr(far);
            session.stderr = Some(near.into());
        }
    }
    let mut child = command.spawn()?;
    // The far ends belong to the child alone.
    drop(command);
    let (told, ended) = oneshot::channel();
    session.ended = ended;
    tokio::task::spawn_blocking(move || {
        let code = child.wait().map(code);
        let code = code.map_err(|error| ExecError::Runtime(error.to_string()));
        if let Ok(code) = &code {
            let _nobody_asks = exits.send(*code);
        }
        let _left = told.send(code);
    });
    Ok(session)
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// A server over a host, with one pod in its store.
pub(super) struct Ground {
    pub(super) address: SocketAddr,
    pub(super) store: Arc<Store>,
    pub(super) host: Arc<Host>,
    exits: Mutex<mpsc::UnboundedReceiver<i32>>,
}

/// The status of a container that runs, for the `restart_count`th time.
pub(super) fn running(restart_count: u32) -> Value {
    json!({"name": "c", "state": {"running": {}}, "restartCount": restart_count,
        "containerID": "probelet://now"})
}

pub(super) fn key() -> ObjectKey {
    ObjectKey::new(Kind::Pod, "ns", "p")
}

impl Ground {
    /// With a pod of one container, which runs.
    pub(super) async fn new() -> Self {
        Self::with("cat; exit 7", &running(0)).await
    }

    pub(super) async fn with(main: &'static str, status: &Value) -> Self {
        let (told, exits) = mpsc::unbounded_channel();
        let host = Arc::new(Host {
            logs: tempfile::tempdir().unwrap(),
            main,
            exits: told,
        });
        let store = Arc::new(Store::in_memory());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ground = Self {
            address: listener.local_addr().unwrap(),
            store: Arc::clone(&store),
            host: Arc::clone(&host),
            exits: Mutex::new(exits),
        };
        ground.put(status);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (host, store) = (Arc::clone(&host), Arc::clone(&store));
                let answer = service_fn(move |request| {
                    let (host, store) = (Arc::clone(&host), Arc::clone(&store));
                    async move { Ok::<_, Infallible>(answer(&host, &store, request).await) }
                });
                let serving = http1::Builder::new()
                    .serve_connection(TokioIo::new(connection), answer)
                    .with_upgrades();
                tokio::spawn(serving);
            }
        });
        ground
    }

    /// Gives the pod's one container a status.
    pub(super) fn put(&self, status: &Value) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "ns", "name": "p", "uid": UID},
            "spec": {"containers": [{"name": "c"}]},
            "status": {"containerStatuses": [status]},
        });
        self.store
            .transact(Durability::Derived, |transaction| {
                transaction.put_any(key(), pod)
            })
            .unwrap();
    }

    /// Connects as a client of WebSocket.
    pub(super) async fn websocket(&self, path: &str, protocols: &str) -> Client {
        let request = http::Request::get(format!("ws://{}/{path}", self.address))
            .header("host", "x")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", protocols)
            .body(())
            .unwrap();
        let connection = TcpStream::connect(self.address).await.unwrap();
        let (client, response) = client_async(request, connection).await.unwrap();
        Client {
            socket: client,
            protocol: response.headers()["sec-websocket-protocol"]
                .to_str()
                .unwrap()
                .to_owned(),
        }
    }

    /// Asks in HTTP/1.0, which is answered in one go; head and body.
    pub(super) async fn ask(&self, head: &str) -> (String, String) {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{head}\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// How the next process to end has ended.
    pub(super) async fn exit(&self) -> i32 {
        let next = std::future::poll_fn(|cx| self.exits.lock().unwrap().poll_recv(cx));
        tokio::time::timeout(Duration::from_secs(20), next)
            .await
            .expect("no process has ended")
            .unwrap()
    }
}

async fn answer(
    host: &Arc<Host>,
    store: &Arc<Store>,
    request: http::Request<hyper::body::Incoming>,
) -> Response {
    let pod = store.get(&key()).unwrap();
    let subresource = request.uri().path().trim_start_matches('/').to_owned();
    let answer = connect(host, store, &pod, &subresource, NOW, request).await;
    answer.unwrap_or_else(|failure| {
        let mut response = Response::new(full(failure.to_status().to_string()));
        *response.status_mut() = http::StatusCode::from_u16(failure.code).unwrap();
        response
    })
}

/// A client of channels.
pub(super) struct Client {
    socket: WebSocketStream<TcpStream>,
    pub(super) protocol: String,
}

impl Client {
    pub(super) async fn say(&mut self, channel: u8, data: &[u8]) {
        let message = [&[channel], data].concat();
        self.socket.send(Message::binary(message)).await.unwrap();
    }

    /// The next message: its channel and what it says; `None` when the server has closed as it should.
    pub(super) async fn hear(&mut self) -> Option<(u8, Bytes)> {
        match self.socket.next().await.unwrap().unwrap() {
            Message::Binary(mut message) => {
                let channel = message.split_to(1)[0];
                Some((channel, message))
            }
            Message::Close(frame) => {
                assert_eq!(frame.unwrap().code, 1000.into());
                assert!(self.socket.next().await.is_none());
                None
            }
            other => panic!("{other:?}"),
        }
    }

    /// All there is to hear, of stdout, of stderr and the status.
    pub(super) async fn all(mut self) -> (String, String, String) {
        let mut heard = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        while let Some((channel, data)) = self.hear().await {
            heard[usize::from(channel)].extend_from_slice(&data);
        }
        let [_, stdout, stderr, status] = heard.map(|text| String::from_utf8(text).unwrap());
        (stdout, stderr, status)
    }
}
