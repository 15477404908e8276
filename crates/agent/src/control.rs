//! The agent's own door: a Unix socket in the data directory that answers the commands of the same user.
//!
//! A request is one line of JSON, an answer one line or more. The directory is 0700, so whoever can reach
//! the socket could also write the files beside it; nothing more is asked of a client.

use std::io;
use std::sync::Arc;

use probelet_model::id::{Kind, ObjectKey};
use probelet_store::Store;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::clock;
use crate::data_dir::{DataDir, ShortPath};
use crate::happening::Happening;
use crate::node::Command;
use crate::{objects, snapshot};

/// A request is no longer than this.
const LONGEST_REQUEST: u64 = 64 * 1024;
/// Clients at one time; more wait.
const CLIENTS: usize = 64;

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
    /// The agent went away before it had answered.
    #[error("the agent in {} ended without an answer", data_dir.path().display())]
    Ended {
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
    pub(crate) async fn serve(self) {
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
                    tokio::spawn(async move {
                        if let Err(error) = answer(stream, &store, &commands, &follow).await {
                            tracing::debug!("a client of the control socket went away: {error}");
                        }
                        drop(turn);
                    });
                }
                Err(error) => {
                    tracing::warn!("control socket: {error}");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn answer(
    stream: UnixStream,
    store: &Store,
    commands: &mpsc::Sender<Command>,
    follow: &tokio::sync::broadcast::Sender<Happening>,
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LONGEST_REQUEST))
        .read_line(&mut line)
        .await?;
    match serde_json::from_str(&line) {
        Ok(Request::Status) => send(&mut write, &snapshot::list(store)).await,
        Ok(Request::Down { delete }) => {
            down(store, commands, delete).await;
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

/// Stops every pod; with `delete` the objects go too. Returns when all have ended.
pub(crate) async fn down(store: &Store, commands: &mpsc::Sender<Command>, delete: bool) {
    if delete {
        delete_and_wait(store, &everything(store), None).await;
    }
    let (answer, stopped) = oneshot::channel();
    if commands.send(Command::StopPods(answer)).await.is_ok() {
        // An error means that the loop has ended, and nothing is left to wait for.
        let _ended = stopped.await;
    }
}

/// Deletes objects and returns when they are gone.
pub(crate) async fn delete_and_wait(store: &Store, keys: &[ObjectKey], grace: Option<u64>) {
    loop {
        let watch = store.watch_kinds(store.version(), &[Kind::Pod, Kind::Service]);
        objects::delete(store, keys, grace, clock::now());
        let gone = |key: &ObjectKey| store.get(key).is_none();
        let Ok(mut watch) = watch else { continue };
        while !keys.iter().all(gone) {
            if watch.next().await.is_err() {
                break;
            }
        }
        if keys.iter().all(gone) {
            return;
        }
    }
}

fn everything(store: &Store) -> Vec<ObjectKey> {
    let of = |kind| store.list(kind).0.into_iter().map(|object| object.key);
    of(Kind::Pod).chain(of(Kind::Service)).collect()
}

async fn send(to: &mut (impl AsyncWriteExt + Unpin), what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line).await
}

/// Asks the agent of a data directory, and hands each line of its answer to `take` until that says stop
/// or there are no more.
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
    let no_agent = || AskError::NoAgent {
        data_dir: data_dir.clone(),
    };
    let path = data_dir.socket();
    let short = ShortPath::of(&path).map_err(|_| no_agent())?;
    let mut stream = match UnixStream::connect(short.path()).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Err(no_agent());
        }
        Err(error) => return Err(io(error)),
    };
    send(&mut stream, request).await.map_err(io)?;
    let mut lines = BufReader::new(stream).lines();
    let mut any = false;
    while let Some(line) = lines.next_line().await.map_err(io)? {
        any = true;
        let value: Value = serde_json::from_str(&line).map_err(|error| io(error.into()))?;
        if let Some(error) = value.get("error").and_then(Value::as_str) {
            return Err(AskError::Refused(error.to_owned()));
        }
        if !take(value) {
            return Ok(());
        }
    }
    if any {
        Ok(())
    } else {
        Err(AskError::Ended {
            data_dir: data_dir.clone(),
        })
    }
}
