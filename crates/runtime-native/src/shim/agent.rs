//! The agent's side of the shim: a listening socket, and at most one connection on it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{Uid, geteuid};
use serde::Deserialize;

use super::{Asker, note};
use crate::protocol::{Answer, Call, Message, Record, Request};
use crate::wire::{Inbox, Outbox, Received};
use crate::{clock, text};

/// The largest request. A container's environment is the largest part of one.
const MAX_REQUEST: usize = 16 * 1024 * 1024;
/// What may wait for an agent that does not read, before it is taken for dead.
const MAX_WAITING: usize = 64 * 1024 * 1024;

/// Whoever may ask.
pub(super) struct Agents {
    listener: OwnedFd,
    current: Option<Connection>,
    connections: u64,
}

struct Connection {
    socket: OwnedFd,
    id: u64,
    inbox: Inbox,
    outbox: Outbox,
}

/// As much of a request of a newer agent as has to be understood.
#[derive(Deserialize)]
struct Unknown {
    id: u64,
}

/// Which of the two descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Somebody connects.
    Listener,
    /// The agent has sent something, or reads again, or is gone.
    Connection,
}

impl Agents {
    /// Whoever connects to `listener`, which is non-blocking.
    pub(super) const fn new(listener: OwnedFd) -> Self {
        Self {
            listener,
            current: None,
            connections: 0,
        }
    }

    /// What to poll for.
    pub(super) fn parts(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags, Part)> {
        let current = self.current.iter().map(|connection| {
            let out = if connection.outbox.is_empty() {
                PollFlags::empty()
            } else {
                PollFlags::OUT
            };
            (
                connection.socket.as_fd(),
                PollFlags::IN | out,
                Part::Connection,
            )
        });
        [(self.listener.as_fd(), PollFlags::IN, Part::Listener)]
            .into_iter()
            .chain(current)
    }

    /// Deals with a ready descriptor; answers with what has been asked, and the descriptors that came with it.
    pub(super) fn take(
        &mut self,
        part: Part,
        record: impl FnOnce() -> Record,
    ) -> Vec<(Asker, Call, Vec<OwnedFd>)> {
        match part {
            Part::Listener => {
                self.accept(record);
                Vec::new()
            }
            Part::Connection => {
                let calls = self.read();
                self.flush();
                calls
            }
        }
    }

    /// A new connection replaces the one there is: of the two agents, that one is on its way out.
    fn accept(&mut self, record: impl FnOnce() -> Record) {
        let Ok(socket) = accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
        else {
            return;
        };
        match socket_peercred(&socket) {
            Ok(peer) if peer.uid == geteuid() || peer.uid == Uid::ROOT => {}
            peer => return note(&format!("refused a connection of {peer:?}")),
        }
        self.tell(&Message::Replaced);
        self.connections += 1;
        let inbox = Inbox::new(MAX_REQUEST);
        self.current = Some(Connection {
            socket,
            id: self.connections,
            inbox,
            outbox: Outbox::default(),
        });
        self.tell(&Message::Record(Box::new(record())));
    }

    fn read(&mut self) -> Vec<(Asker, Call, Vec<OwnedFd>)> {
        let mut calls = Vec::new();
        let Some(connection) = &mut self.current else {
            return calls;
        };
        let end = loop {
            match connection.inbox.receive(connection.socket.as_fd()) {
                Ok(Received::Message(json, fds)) => {
                    match serde_json::from_slice::<Request>(&json) {
                        Ok(Request { id: request, call }) => {
                            let connection = connection.id;
                            calls.push((
                                Asker {
                                    connection,
                                    request,
                                },
                                call,
                                fds,
                            ));
                        }
                        Err(error) => {
                            note(&format!("did not understand a request: {error}"));
                            if let Ok(Unknown { id }) = serde_json::from_slice(&json) {
                                let answer = Answer::NotUnderstood;
                                let answer = Message::Answer { id, answer };
                                connection.outbox.push(&answer, Vec::new());
                            }
                        }
                    }
                }
                Ok(Received::End) | Err(Errno::CONNRESET) => break None,
                Err(Errno::AGAIN) => return calls,
                Err(errno) => break Some(errno),
            }
        };
        if let Some(errno) = end {
            note(&format!(
                "dropped the agent's connection: {}",
                text::reason(errno)
            ));
        }
        self.current = None;
        calls
    }

    /// Sends an answer, if the one who asked is still there.
    pub(super) fn answer(&mut self, asker: Asker, answer: Answer, fds: Vec<OwnedFd>) {
        let message = Message::Answer {
            id: asker.request,
            answer,
        };
        if let Some(connection) = self
            .current
            .as_mut()
            .filter(|connection| connection.id == asker.connection)
        {
            connection.outbox.push(&message, fds);
            self.flush();
        }
    }

    /// Sends what nobody has asked for.
    pub(super) fn tell(&mut self, message: &Message) {
        if let Some(connection) = &mut self.current {
            connection.outbox.push(message, Vec::new());
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Some(connection) = &mut self.current else {
            return;
        };
        match connection.outbox.flush(connection.socket.as_fd()) {
            Ok(()) => {}
            Err(Errno::AGAIN) if connection.outbox.len() <= MAX_WAITING => {}
            // What it has sent before it went is still to be read, and then the end of it.
            Err(Errno::PIPE | Errno::CONNRESET) => connection.outbox = Outbox::default(),
            Err(errno) => {
                note(&format!(
                    "dropped the agent's connection: {}",
                    text::reason(errno)
                ));
                self.current = None;
            }
        }
    }

    /// Sends what still waits, for no longer than `limit`.
    pub(super) fn finish(&mut self, limit: Duration) {
        let deadline = clock::mono() + limit;
        while let Some(connection) = self
            .current
            .as_ref()
            .filter(|connection| !connection.outbox.is_empty())
        {
            let mut fds = [PollFd::new(&connection.socket, PollFlags::OUT)];
            if !matches!(
                poll(&mut fds, Some(&clock::until(deadline))),
                Ok(1..) | Err(Errno::INTR)
            ) {
                return;
            }
            self.flush();
        }
    }
}
