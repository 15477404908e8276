//! The agent's own door: a Unix socket in the data directory that answers the commands of the same user.
//!
//! A request is one line of JSON, an answer one line or more. The directory is 0700, so whoever can reach
//! the socket could also write the files beside it; nothing more is asked of a client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use probelet_model::id::{Kind, ObjectKey};
use probelet_store::Store;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::data_dir::{DataDir, ShortPath};
use crate::deletion::Deletion;
use crate::happening::Happening;
use crate::node::Command;
use crate::{bootstrap, objects, snapshot, workloads};

/// A request is no longer than this.
const LONGEST_REQUEST: u64 = 64 * 1024;
/// A client that has not said by then what it wants makes room for another.
const SLOWEST_REQUEST: Duration = Duration::from_secs(5);
/// Clients at one time; more wait.
const CLIENTS: usize = 64;
/// How long an agent may take to start or to end before it is said not to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long until one that is not there yet, or not gone yet, is asked again.
const AGAIN: Duration = Duration::from_millis(10);

/// The lines of an answer.
type Lines = tokio::io::Lines<BufReader<UnixStream>>;

/// What an agent can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase")]
pub enum Request {
    /// All it holds, as one list.
    Status,
    /// Stop every pod, delete the objects too if `delete`, and end.
    Down {
        /// Whether the objects go too.
        delete: bool,
    },
    /// Every happening from now on, a line each, until the client closes.
    Follow,
}

/// An answer's line, where it is neither a list nor a happening.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// It is done.
    Done,
    /// It cannot be done.
    Error(String),
}

/// Nobody answers in a data directory, or not well.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No agent works there.
    #[error("no agent runs in {}", data_dir.path().display())]
    NoAgent {
        /// The directory.
        data_dir: DataDir,
    },
    /// Somebody works there and does not answer.
    #[error("the agent in {} does not answer", data_dir.path().display())]
    Silent {
        /// The directory.
        data_dir: DataDir,
    },
    /// The agent refuses.
    #[error("{0}")]
    Refused(String),
    /// Anything else.
    #[error("asking the agent in {}: {source}", data_dir.path().display())]
    Io {
        /// The directory.
        data_dir: DataDir,
        /// What.
        source: io::Error,
    },
}

/// Answers requests until dropped.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
    store: Arc<Store>,
    commands: mpsc::Sender<Command>,
    follow: tokio::sync::broadcast::Sender<Happening>,
}

impl Door {
    /// The caller holds the directory's lock, so a socket that is there is a dead one's.
    pub(crate) fn open(
        data_dir: &DataDir,
        store: Arc<Store>,
        commands: mpsc::Sender<Command>,
        follow: tokio::sync::broadcast::Sender<Happening>,
    ) -> io::Result<Self> {
        let path = data_dir.socket();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(ShortPath::of(&path)?.path())?;
        Ok(Self {
            listener,
            store,
            commands,
            follow,
        })
    }

    /// Reads requests and publishes answers; one task a client, [`CLIENTS`] at a time.
    pub(crate) async fn serve(self, workloads: Arc<workloads::Running>) {
        let clients = Arc::new(Semaphore::new(CLIENTS));
        loop {
            let turn = Arc::clone(&clients)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (store, commands) = (Arc::clone(&self.store), self.commands.clone());
                    let follow = self.follow.clone();
                    let workloads = Arc::clone(&workloads);
                    tokio::spawn(async move {
                        if let Err(error) =
                            answer(stream, &store, &workloads, &commands, &follow).await
                        {
                            tracing::debug!("a client of the control socket went away: {error}");
                        }
                        drop(turn);
                    });
                }
                Err(error) => {
                    tracing::warn!("control socket: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn answer(
    stream: UnixStream,
    store: &Arc<Store>,
    workloads: &workloads::Running,
    commands: &mpsc::Sender<Command>,
    follow: &tokio::sync::broadcast::Sender<Happening>,
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut request = BufReader::new(read.take(LONGEST_REQUEST));
    tokio::time::timeout(SLOWEST_REQUEST, request.read_line(&mut line)).await??;
    match serde_json::from_str(&line) {
        Ok(Request::Status) => send(&mut write, &snapshot::list(store)).await,
        Ok(Request::Down { delete }) => {
            down(store, workloads, commands, delete).await;
            send(&mut write, &Answer::Done).await?;
            let _ending_already = commands.send(Command::End).await;
            Ok(())
        }
        Ok(Request::Follow) => {
            let mut happenings = follow.subscribe();
            loop {
                match happenings.recv().await {
                    Ok(happening) => send(&mut write, &happening).await?,
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(missed)) => {
                        send(
                            &mut write,
                            &Answer::Error(format!("missed {missed} happenings")),
                        )
                        .await?;
                    }
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return Ok(()),
                }
            }
        }
        Err(error) => {
            send(
                &mut write,
                &Answer::Error(format!("not a request: {error}")),
            )
            .await
        }
    }
}

/// Stops every pod; with `delete` the objects go too. Returns when all have ended. Nothing makes pods any more.
pub(crate) async fn down(
    store: &Arc<Store>,
    workloads: &workloads::Running,
    commands: &mpsc::Sender<Command>,
    delete: bool,
) {
    workloads.end().await;
    if delete {
        let keys = bootstrap::made_by_others(store);
        Deletion::begin(Arc::clone(store), &keys).gone().await;
    }
    let (answer, stopped) = oneshot::channel();
    if commands.send(Command::StopPods(answer)).await.is_ok() {
        // An error means that the loop has ended, and nothing is left to wait for.
        let _ended = stopped.await;
    }
    if delete {
        let events = store.list(Kind::Event).0.into_iter();
        let events: Vec<ObjectKey> = events.map(|event| event.key).collect();
        objects::remove(store, &events);
    }
}

async fn send(to: &mut (impl AsyncWriteExt + Unpin), what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line).await
}

/// Asks the agent of a data directory, and hands each line of its answer to `take` until that says stop
/// or there are no more. One that is just starting or ending is waited for.
///
/// # Errors
/// [`AskError`].
pub async fn ask(
    data_dir: &DataDir,
    request: &Request,
    mut take: impl FnMut(Value) -> bool,
) -> Result<(), AskError> {
    let io = |source| AskError::Io {
        data_dir: data_dir.clone(),
        source,
    };
    let give_up = tokio::time::Instant::now() + PATIENCE;
    let (first, mut lines) = loop {
        match asked(data_dir, request).await {
            Ok(answer) => break answer,
            Err(error) if !is_absence(&error) => return Err(io(error)),
            Err(_) if !data_dir.is_locked() => {
                let data_dir = data_dir.clone();
                return Err(AskError::NoAgent { data_dir });
            }
            Err(_) if tokio::time::Instant::now() > give_up => {
                let data_dir = data_dir.clone();
                return Err(AskError::Silent { data_dir });
            }
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    };
    let mut next = Some(first);
    while let Some(line) = next {
        let value: Value = serde_json::from_str(&line).map_err(|error| io(error.into()))?;
        if let Some(error) = value.get("error").and_then(Value::as_str) {
            return Err(AskError::Refused(error.to_owned()));
        }
        if !take(value) {
            return Ok(());
        }
        next = lines.next_line().await.map_err(io)?;
    }
    Ok(())
}

/// The first line of the answer, and the rest. An agent that ends without one is as good as none.
async fn asked(data_dir: &DataDir, request: &Request) -> io::Result<(String, Lines)> {
    let short = ShortPath::of(&data_dir.socket())?;
    let mut stream = UnixStream::connect(short.path()).await?;
    send(&mut stream, request).await?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next_line().await?;
    Ok((first.ok_or(io::ErrorKind::ConnectionReset)?, lines))
}

/// Whether nobody was there to answer, or not to the end.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
    )
}
