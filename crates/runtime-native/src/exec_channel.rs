//! The agent's end of an exec channel: one container's attempts, asked for and answered without the shim in between.
//!
//! Who asks sends by himself; a task takes the answers. It ends when the channel does, which is when what starts the
//! container's commands has ended, or when nobody may ask any more.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use probelet_runtime::ExecRequest;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::attempt::{self, Attempt, Outcome, first_id};
use crate::sys;
use crate::wire::{Inbox, Outbox, Received};

/// The largest answer; 4 MiB are the most that is kept of a stream.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// One of them.
#[derive(Debug)]
pub(crate) struct ExecChannel {
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    /// Watched for reading alone: a peer that reads would wake a writer up each time.
    socket: AsyncFd<OwnedFd>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    outbox: Outbox,
    waiting: HashMap<u32, oneshot::Sender<Outcome>>,
    next_id: u32,
    is_closed: bool,
}

/// An attempt that is on its way.
pub(crate) struct Asked {
    pub(crate) id: u32,
    /// Ends without an answer if the channel does.
    pub(crate) outcome: oneshot::Receiver<Outcome>,
}

impl ExecChannel {
    /// Of the near end of the channel of this number.
    pub(crate) fn new(socket: OwnedFd, number: u8) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            socket: sys::watch(socket, Interest::READABLE)?,
            state: Mutex::new(State {
                outbox: Outbox::default(),
                waiting: HashMap::new(),
                next_id: first_id(number),
                is_closed: false,
            }),
        });
        let task = tokio::spawn(take_answers(Arc::clone(&shared))).abort_handle();
        Ok(Self { shared, task })
    }

    /// Whether nothing can be asked any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.state().is_closed
    }

    /// Asks for an attempt; `None` if nothing can be asked any more.
    pub(crate) async fn ask(&self, request: ExecRequest) -> Option<Asked> {
        let (sender, outcome) = oneshot::channel();
        let id = {
            let mut state = self.shared.state();
            if state.is_closed {
                return None;
            }
            let id = state.next_id;
            state.next_id = id.wrapping_add(1);
            state.waiting.insert(id, sender);
            let attempt = Attempt { id, request };
            state.outbox.push(&attempt, Vec::new());
            id
        };
        self.shared.flush().await;
        Some(Asked { id, outcome })
    }
}

impl Drop for ExecChannel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in it is left half-done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_flush(&self) -> rustix::io::Result<()> {
        self.state().outbox.flush(self.socket.as_fd())
    }

    /// Sends all that waits. A channel that has ended is noticed by who reads from it.
    async fn flush(&self) {
        if self.try_flush() != Err(Errno::AGAIN) {
            return;
        }
        // Only a very long command line comes here.
        let writable = self.socket.get_ref().try_clone();
        let Ok(writable) = writable.and_then(|fd| sys::watch(fd, Interest::WRITABLE)) else {
            return;
        };
        while let Ok(mut ready) = writable.writable().await {
            if self.try_flush() != Err(Errno::AGAIN) {
                return;
            }
            ready.clear_ready();
        }
    }
}

async fn take_answers(shared: Arc<Shared>) {
    let mut inbox = Inbox::new(MAX_ANSWER);
    while let Ok(mut ready) = shared.socket.readable().await {
        match inbox.receive(shared.socket.as_fd()) {
            Ok(Received::Message(bytes, _)) => {
                let Some((id, outcome)) = attempt::from_bytes(&bytes) else {
                    break;
                };
                if let Some(waiting) = shared.state().waiting.remove(&id) {
                    // Whoever has stopped waiting does not want it.
                    let _not_wanted = waiting.send(outcome);
                }
            }
            Err(Errno::AGAIN) => ready.clear_ready(),
            Ok(Received::End) | Err(_) => break,
        }
    }
    let mut state = shared.state();
    state.is_closed = true;
    state.waiting.clear();
}
