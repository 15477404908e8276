//! The process that starts commands beside a container's main program. There is one for each container that has
//! ever been asked for a command, and it waits between them.
//!
//! It is a fork of the shim that has been to the container once and for all: its own place is the shim's pid
//! namespace, where no process of the container sees it, but its children's is the container's; and it has the
//! container's files, user, capabilities and filter of system calls. So what is left to do for a command is a
//! vfork and an execve, as for any other program, and nothing in it costs more for what bounds the container.
//! Putting the filter on alone would cost a fifth of what running `true` does.
//!
//! An attempt is its own child: the agent asks for it over an exec channel, and is answered over that, so that the shim
//! need not wake up. A command with streams of its own is the shim's child, and once that has begun this process is not
//! needed for it any more.
//!
//! This file is the shim's end; [`process`] is the other.

mod attempts;
mod process;
mod slots;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use probelet_model::time::Mono;
use probelet_runtime::{ContainerConfig, ExecRequest};
use rustix::event::PollFlags;
use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use self::slots::{Found, Slots};
use super::command::Environment;
use super::confinement::Confinement;
use super::identity::{Identity, Privilege};
use super::running::Running;
use super::{Asker, descendants, reap};
use crate::attempt::{Attempt, Outcome};
use crate::cgroup::ContainerCgroup;
use crate::clock;
use crate::process::has_ended;
use crate::protocol::Ending;
use crate::sys::{self, Child, Fresh};
use crate::wire::{Inbox, Outbox, Received};

/// The largest order. Its words are the largest part of one.
const MAX_ORDER: usize = 16 * 1024 * 1024;
/// How long what an attempt has started may take to end, once it is killed, before it is no longer waited for.
const CLEAN_UP: Duration = Duration::from_secs(30);

/// What is said of commands that it was about to start.
pub(super) const LOST: &str = "the process that starts the container's commands has ended";

/// Where and as whom commands run; all of it inherited over the fork.
pub(super) struct Setting<'a> {
    /// The container's init, by pidfd: its namespaces are the ones to enter.
    pub(super) init: BorrowedFd<'a>,
    pub(super) init_pid: Pid,
    pub(super) config: &'a ContainerConfig,
    pub(super) cgroup: &'a ContainerCgroup,
    pub(super) hostname: &'a str,
    /// The container's processes are among those of the shim's own pid namespace.
    pub(super) sees_host: bool,
    pub(super) identity: &'a Identity,
    pub(super) privilege: Privilege,
    pub(super) user_namespace: Option<BorrowedFd<'a>>,
    pub(super) confinement: &'a Confinement,
    pub(super) env: &'a Environment,
    pub(super) dir: &'a CStr,
    /// The container's process 1 is an init that reaps.
    pub(super) orphans_are_reaped: bool,
}

/// What the shim wants.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    /// A command. Its streams are attached.
    Start(Command),
    /// Attempts for whoever is at the other end of the exec channel that is attached, and for nobody else any more.
    Serve(u8),
    /// An attempt.
    Attempt(Attempt),
    /// What was to be done about an attempt that takes too long is done.
    Ended(u32),
    /// An attempt is not wanted any more, if it should still come.
    Forget(u32),
}

/// One command with streams of its own: its stdout, its stderr, and its stdin if it has one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Command {
    /// Of the shim's choice.
    pub(super) key: u64,
    pub(super) argv: Vec<String>,
    pub(super) stdin: bool,
    /// Stdin is a terminal, which becomes its own.
    pub(super) on_terminal: bool,
}

/// What the shim is told. The first three are about the command of a key.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// It has been executed. Its number is the shim's to wait for.
    Begun(u64, i32),
    /// It could not be. The number is that of a process that is about to end, and to be reaped.
    NotExecuted(u64, String, Option<i32>),
    /// It could not even be tried.
    Broken(u64, String),
    /// What has come of an attempt that the shim has ordered.
    Attempted(u32, Outcome),
    /// An attempt should have ended by now, and whoever asked for it has not seen to that.
    Overdue(u32),
    /// To [`Order::Forget`].
    Heard,
}

/// Such a process, as the shim keeps it.
pub(super) struct Runner {
    process: Child,
    channel: OwnedFd,
    inbox: Inbox,
    outbox: Outbox,
    slots: Slots,
    orphans_are_reaped: bool,
    /// The last number that it has told of.
    told: Option<i32>,
    /// The keys of commands of which it has not told yet.
    waiting: BTreeSet<u64>,
    /// For whom attempts are made that the shim has ordered, by id.
    relayed: BTreeMap<u32, Asker>,
    /// How many exec channels there have been.
    channels: u8,
    ending: Vec<BeingEnded>,
    /// Until when it has to show that it still does anything: it may have been stopped by somebody in the container, or
    /// start a program from a disk that does not answer.
    to_be_heard: Option<Mono>,
}

/// An attempt whose time is over.
struct BeingEnded {
    id: u32,
    /// The child of ours that ends all of it.
    by: Child,
    deadline: Mono,
    askers: Vec<Asker>,
}

/// An answer to [`crate::protocol::Call::EndAttempt`].
pub(super) type Ended = (Asker, Ending);

/// What a runner leaves behind.
pub(super) struct Left {
    /// To be reaped.
    pub(super) ending: Vec<Running>,
    /// The keys of commands that will not be started.
    pub(super) commands: BTreeSet<u64>,
    /// Who waits for attempts.
    pub(super) relayed: Vec<Asker>,
    pub(super) ended: Vec<Ended>,
}

impl Runner {
    /// Forks it; it gets itself ready while the first order is on its way.
    pub(super) fn start(setting: &Setting<'_>) -> Result<Self> {
        let (channel, far) = channel()?;
        let slots = Slots::new()?;
        let process = sys::fork(Fresh::Nothing, || {
            process::serve(setting, far.as_fd(), &slots)
        })?;
        Ok(Self {
            process,
            channel,
            inbox: Inbox::new(MAX_ORDER),
            outbox: Outbox::default(),
            slots,
            orphans_are_reaped: setting.orphans_are_reaped,
            told: None,
            waiting: BTreeSet::new(),
            relayed: BTreeMap::new(),
            channels: 0,
            ending: Vec::new(),
            to_be_heard: None,
        })
    }

    /// What to poll for: what it tells. Its end is told by a signal.
    pub(super) fn part(&self) -> (BorrowedFd<'_>, PollFlags) {
        let flags = if self.outbox.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        };
        (self.channel.as_fd(), flags)
    }

    /// Its number; it is reaped after it has been given up.
    pub(super) const fn pid(&self) -> Pid {
        self.process.pid
    }

    /// When to look at attempts that are being ended, and at whether it is of any use.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let ending = self.ending.iter().map(|it| it.deadline);
        ending.chain(self.to_be_heard).min()
    }

    /// Whether it has done nothing for too long.
    pub(super) fn is_stuck(&self, now: Mono) -> bool {
        self.to_be_heard.is_some_and(|at| at <= now)
    }

    fn order(&mut self, order: &Order, fds: Vec<OwnedFd>) {
        self.outbox.push(order, fds);
        self.flush();
    }

    /// Orders a command, and closes its streams here.
    pub(super) fn start_command(&mut self, command: Command, streams: Vec<OwnedFd>) {
        self.waiting.insert(command.key);
        self.order(&Order::Start(command), streams);
    }

    /// Orders an attempt for somebody who knows no exec channels.
    pub(super) fn relay(&mut self, id: u32, request: ExecRequest, asker: Asker) {
        self.relayed.insert(id, asker);
        self.order(&Order::Attempt(Attempt { id, request }), Vec::new());
    }

    /// A new exec channel: its near end, and its number. Those before are closed.
    pub(super) fn exec_channel(&mut self) -> Result<(OwnedFd, u8)> {
        let (near, far) = channel()?;
        // 0 is for attempts that are relayed.
        self.channels = self.channels.checked_add(1).unwrap_or(1);
        self.order(&Order::Serve(self.channels), vec![far]);
        Ok((near, self.channels))
    }

    /// One that is gone is noticed when its end is told.
    fn flush(&mut self) {
        let _full_or_gone = self.outbox.flush(self.channel.as_fd());
    }

    /// What it has told, and whether more may come.
    pub(super) fn take(&mut self) -> (Vec<Told>, bool) {
        self.flush();
        let mut all = Vec::new();
        loop {
            match self.inbox.receive(self.channel.as_fd()) {
                Ok(Received::Message(json, _)) => {
                    let Ok(told) = serde_json::from_slice(&json) else {
                        return (all, false);
                    };
                    match &told {
                        Told::Begun(key, pid) | Told::NotExecuted(key, _, Some(pid)) => {
                            self.told = Some(*pid);
                            self.waiting.remove(key);
                        }
                        Told::NotExecuted(key, _, None) | Told::Broken(key, _) => {
                            self.waiting.remove(key);
                        }
                        Told::Heard => self.to_be_heard = None,
                        Told::Attempted(..) | Told::Overdue(_) => {}
                    }
                    all.push(told);
                }
                Err(Errno::AGAIN) => return (all, !has_ended(&self.process.pidfd)),
                Ok(Received::End) | Err(_) => return (all, false),
            }
        }
    }

    /// Who waits for this attempt.
    pub(super) fn take_relayed(&mut self, id: u32) -> Option<Asker> {
        self.relayed.remove(&id)
    }

    /// Has an attempt be ended whose time is over. Answers if there is nothing to wait for.
    pub(super) fn end_attempt(&mut self, id: u32, asker: Option<Asker>) -> Option<Ending> {
        match self.slots.end(id) {
            Found::Ending(command) => {
                let (runner, are_reaped) = (self.process.pid, self.orphans_are_reaped);
                if let Ok(by) = sys::fork(Fresh::Nothing, || {
                    descendants::end_with_root(command, runner, are_reaped)
                }) {
                    self.ending.push(BeingEnded {
                        id,
                        by,
                        deadline: clock::mono() + CLEAN_UP,
                        askers: asker.into_iter().collect(),
                    });
                    return None;
                }
                descendants::end_alone(command, runner);
                self.order(&Order::Ended(id), Vec::new());
                Some(Ending::Gone)
            }
            Found::IsEnding => {
                let Some(it) = self.ending.iter_mut().find(|it| it.id == id) else {
                    return Some(Ending::Gone);
                };
                it.askers.extend(asker);
                None
            }
            Found::Ended => Some(Ending::Answered),
            // It is slow to begin, as in a container with little CPU, or stuck.
            Found::Nothing => {
                self.order(&Order::Forget(id), Vec::new());
                self.to_be_heard
                    .get_or_insert_with(|| clock::mono() + CLEAN_UP);
                Some(Ending::Gone)
            }
        }
    }

    /// Those attempts that have been ended, or cannot be; and processes that are to be reaped whenever they end.
    pub(super) fn take_ended(&mut self, now: Mono) -> (Vec<Ended>, Vec<Running>) {
        let (mut answers, mut left) = (Vec::new(), Vec::new());
        for it in std::mem::take(&mut self.ending) {
            let ending = if reap(&it.by.pidfd) {
                Ending::Killed
            } else if it.deadline <= now {
                left.push(Running::fresh(it.by.pid));
                Ending::Gone
            } else {
                self.ending.push(it);
                continue;
            };
            self.order(&Order::Ended(it.id), Vec::new());
            answers.extend(it.askers.into_iter().map(|asker| (asker, ending)));
        }
        left.iter().for_each(|process| process.kill());
        (answers, left)
    }

    /// Kills it and what it is about to start; its attempts end with it.
    pub(super) fn give_up(self) -> Left {
        let newest = self
            .slots
            .newest()
            .load(std::sync::atomic::Ordering::Acquire);
        // A child that nobody has waited for yet: the number is its own.
        let newest = (Some(newest) != self.told).then(|| Running::of(newest));
        let by = self.ending.iter().map(|it| Running::fresh(it.by.pid));
        let own = Running::fresh(self.process.pid);
        let ending: Vec<Running> = by.chain([own]).chain(newest.flatten()).collect();
        ending.iter().for_each(|process| process.kill());
        let ended = self.ending.into_iter().flat_map(|it| it.askers);
        Left {
            ending,
            commands: self.waiting,
            relayed: self.relayed.into_values().collect(),
            ended: ended.map(|asker| (asker, Ending::Gone)).collect(),
        }
    }
}

fn channel() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

const fn number(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}
