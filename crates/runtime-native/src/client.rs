//! The agent's end of one pod: a handle that asks, and a task that carries questions and answers.
//!
//! The task reads the handle's queue (unbounded: as long as callers wait for answers) and the socket; it
//! publishes events and answers. It ends when the handle is dropped, when the pod is removed, when another
//! agent takes over, or when the shim has died.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::Duration;

use probelet_model::id::{ContainerId, PodUid};
use probelet_runtime::{ContainerRecord, Event};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use crate::attach::{self, Connected};
use crate::layout::PodDir;
use crate::protocol::{Abilities, Answer, Call, Message, Request};
use crate::wire::{Inbox, Outbox, Received};

/// An answer and the descriptors that came with it.
pub(crate) type Answered = (Answer, Vec<OwnedFd>);

/// Asks one shim. Questions take effect in the order they are asked.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    questions: mpsc::UnboundedSender<Question>,
    abilities: Abilities,
}

#[derive(Debug)]
struct Question {
    call: Call,
    fds: Vec<OwnedFd>,
    answer: oneshot::Sender<Answered>,
}

impl Client {
    /// `None` if the shim is gone, or goes before it has answered.
    pub(crate) async fn ask(&self, call: Call) -> Option<Answered> {
        self.ask_with(call, Vec::new()).await
    }

    /// The same, with descriptors for the shim.
    pub(crate) async fn ask_with(&self, call: Call, fds: Vec<OwnedFd>) -> Option<Answered> {
        let (answer, answered) = oneshot::channel();
        let question = Question { call, fds, answer };
        self.questions.send(question).ok()?;
        answered.await.ok()
    }

    /// What may be asked of the shim.
    pub(crate) const fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// Whether the shim was there when this end last looked.
    pub(crate) fn is_alive(&self) -> bool {
        !self.questions.is_closed()
    }
}

/// Serves a fresh connection until its end. `child` is the shim if this process has started it, to be
/// reaped.
pub(crate) fn serve(
    dir: PodDir,
    connected: Connected,
    child: Option<Child>,
    events: mpsc::UnboundedSender<Event>,
) -> (Client, tokio::task::JoinHandle<()>) {
    let (questions, asked) = mpsc::unbounded_channel();
    let mut link = Link {
        pod: connected.record.config.uid.clone(),
        dir,
        socket: connected.socket,
        shim: connected.shim,
        child,
        inbox: connected.inbox,
        outbox: Outbox::default(),
        asked,
        waiting: HashMap::new(),
        next_id: 0,
        events,
        told: HashSet::new(),
    };
    link.tell_exits(&connected.record.containers);
    let client = Client {
        questions,
        abilities: connected.record.abilities,
    };
    (client, tokio::spawn(link.run()))
}

struct Link {
    pod: PodUid,
    dir: PodDir,
    socket: AsyncFd<OwnedFd>,
    shim: AsyncFd<OwnedFd>,
    child: Option<Child>,
    inbox: Inbox,
    outbox: Outbox,
    asked: mpsc::UnboundedReceiver<Question>,
    waiting: HashMap<u64, oneshot::Sender<Answered>>,
    next_id: u64,
    events: mpsc::UnboundedSender<Event>,
    /// Exits that have been sent as events, so that a new connection does not repeat them.
    told: HashSet<ContainerId>,
}

/// Why a connection ended.
enum End {
    /// Nobody asks any more.
    Dropped,
    /// Another agent has connected.
    Replaced,
    /// The shim has removed the pod.
    Removed,
    /// It broke, for a reason that only the shim's state can tell.
    Broken,
}

impl Link {
    async fn run(mut self) {
        loop {
            match self.converse().await {
                End::Dropped | End::Replaced => return,
                End::Removed => {
                    self.shim_ended().await;
                    return;
                }
                End::Broken => {}
            }
            // Their answers went with the connection. Those who ask will hear that it is lost.
            self.waiting.clear();
            match self.reconnect().await {
                Some(connected) => {
                    self.tell_exits(&connected.record.containers);
                    (self.socket, self.inbox) = (connected.socket, connected.inbox);
                    self.outbox = Outbox::default();
                }
                None => return self.lost().await,
            }
        }
    }

    /// Carries messages both ways until the connection ends.
    async fn converse(&mut self) -> End {
        loop {
            match self.outbox.flush(self.socket.as_fd()) {
                Ok(()) | Err(Errno::AGAIN) => {}
                Err(errno) => {
                    tracing::debug!(pod = %self.pod, %errno, "shim does not take requests")
                }
            }
            let interest = if self.outbox.is_empty() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            tokio::select! {
                question = self.asked.recv() => {
                    let Some(Question { call, fds, answer }) = question else { return End::Dropped };
                    self.next_id += 1;
                    self.waiting.insert(self.next_id, answer);
                    self.outbox.push(&Request { id: self.next_id, call }, fds);
                }
                ready = self.socket.ready(interest) => {
                    let Ok(mut ready) = ready else { return End::Broken };
                    // Only what was tried and would block may be cleared; the writing is tried above.
                    if ready.ready().is_writable() {
                        ready.clear_ready_matching(tokio::io::Ready::WRITABLE);
                    }
                    ready.clear_ready_matching(tokio::io::Ready::READABLE);
                    drop(ready);
                    if let Some(end) = self.read() {
                        return end;
                    }
                }
            }
        }
    }

    /// Takes every message there is.
    fn read(&mut self) -> Option<End> {
        loop {
            let message = match self.inbox.receive(self.socket.as_fd()) {
                Ok(Received::Message(json, fds)) => {
                    serde_json::from_slice(&json).map(|message| (message, fds))
                }
                Ok(Received::End) => return Some(End::Broken),
                Err(Errno::AGAIN) => return None,
                Err(errno) => {
                    tracing::warn!(pod = %self.pod, %errno, "connection to shim broke");
                    return Some(End::Broken);
                }
            };
            match message {
                Ok((Message::Answer { id, answer }, fds)) => {
                    let removed = matches!(answer, Answer::Removed(_));
                    if let Some(waiting) = self.waiting.remove(&id) {
                        // Whoever has stopped waiting does not want it; descriptors close by themselves.
                        let _not_wanted = waiting.send((answer, fds));
                    }
                    if removed {
                        return Some(End::Removed);
                    }
                }
                Ok((Message::Exited { container, exit }, _)) => {
                    self.told.insert(container.clone());
                    let _nobody_listens = self.events.send(Event::Exited {
                        pod: self.pod.clone(),
                        container,
                        exit,
                    });
                }
                Ok((Message::VolumeFull { volume }, _)) => {
                    let pod = self.pod.clone();
                    let _nobody_listens = self.events.send(Event::VolumeFull { pod, volume });
                }
                Ok((Message::Replaced, _)) => return Some(End::Replaced),
                Ok((Message::Record(_), _)) => {}
                Err(error) => {
                    tracing::warn!(pod = %self.pod, %error, "did not understand the shim")
                }
            }
        }
    }

    fn tell_exits(&mut self, containers: &[ContainerRecord]) {
        for record in containers {
            let Some(exit) = record.exit.clone() else {
                continue;
            };
            if self.told.insert(record.id.clone()) {
                let event = Event::Exited {
                    pod: self.pod.clone(),
                    container: record.id.clone(),
                    exit,
                };
                let _nobody_listens = self.events.send(event);
            }
        }
    }

    /// A new connection, unless the shim has died or does not answer at all.
    async fn reconnect(&self) -> Option<Connected> {
        for _ in 0..20 {
            let patience = Duration::from_millis(100);
            if tokio::time::timeout(patience, self.shim.readable())
                .await
                .is_ok()
            {
                return None;
            }
            if let Ok(connected) = attach::connect(&self.dir).await {
                return Some(connected);
            }
        }
        // It holds the pod and cannot be talked to: without it, the pod can at least be started again.
        crate::process::signal(self.shim.get_ref(), rustix::process::Signal::KILL);
        None
    }

    async fn lost(mut self) {
        self.shim_ended().await;
        let dir = self.dir.clone();
        let buried = tokio::task::spawn_blocking(move || attach::bury(&dir)).await;
        if let Ok(Err(error)) = buried {
            tracing::warn!(pod = %self.pod, %error, "could not note how the pod's containers ended");
        }
        // Closed first: who hears of the loss and asks again must not be served by this end.
        self.asked.close();
        let _nobody_listens = self.events.send(Event::PodLost { pod: self.pod });
    }

    /// Waits for the end of a shim that is certain to end, and reaps it.
    async fn shim_ended(&mut self) {
        if tokio::time::timeout(Duration::from_secs(10), self.shim.readable())
            .await
            .is_err()
        {
            crate::process::signal(self.shim.get_ref(), rustix::process::Signal::KILL);
            let _ended = self.shim.readable().await;
        }
        if let Some(child) = &mut self.child
            && let Err(error) = child.wait()
        {
            tracing::warn!(pod = %self.pod, %error, "could not reap the shim");
        }
    }
}
