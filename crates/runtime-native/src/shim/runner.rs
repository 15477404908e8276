//! The process that starts commands beside a container's main program. There is one for each container that has
//! ever been asked for a command, and it waits between them.
//!
//! It is a fork of the shim that has been to the container once and for all: its own place is the shim's pid
//! namespace, where no process of the container sees it, but its children's is the container's; and it has the
//! container's files, user, capabilities and filter of system calls. So what is left to do for a command is a
//! vfork and an execve, as for any other program, and nothing in it costs more for what bounds the container.
//! Putting the filter on alone would cost a fifth of what running `true` does.
//!
//! A command is not its child but the shim's, so that it needs no more of it once the command has begun.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use probelet_model::time::Mono;
use probelet_runtime::ContainerConfig;
use rustix::event::PollFlags;
use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{
    DumpableBehavior, Pid, Signal, set_child_subreaper, set_dumpable_behavior,
    set_parent_process_death_signal,
};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use serde::{Deserialize, Serialize};

use super::command::{CommandError, Environment, StandardStreams, Words, enter_dir, take_streams};
use super::confinement::Confinement;
use super::exec::Running;
use super::identity::{Identity, Privilege};
use crate::cgroup::ContainerCgroup;
use crate::process::has_ended;
use crate::sys::{self, Child, Fresh, SharedPid, Signals, Stack};
use crate::text;
use crate::wire::{self, Inbox, Outbox, Received};

/// The largest order. Its words are the largest part of one.
const MAX_ORDER: usize = 16 * 1024 * 1024;

/// Where and as whom commands run; all of it inherited over the fork.
pub(super) struct Setting<'a> {
    /// The container's init, by pidfd: its namespaces are the ones to enter.
    pub(super) init: BorrowedFd<'a>,
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
}

/// One command. With it come its stdout, its stderr, and its stdin if it has one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) argv: Vec<String>,
    /// An attempt, all of whose processes can be found below it as long as it lives: one that detaches itself
    /// becomes its child.
    ///
    /// Differs: with upstream it becomes a child of the container's process 1.
    pub(super) attempt: bool,
    pub(super) stdin: bool,
    /// Stdin is a terminal, which becomes its own.
    pub(super) on_terminal: bool,
}

/// What came of one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It has been executed. Its number is the shim's to wait for.
    Begun(i32),
    /// It could not be. The number is that of a process that is about to end, and to be reaped.
    NotExecuted(String, Option<i32>),
    /// It could not even be tried.
    Broken(String),
}

/// Such a process, as the shim keeps it.
#[derive(Debug)]
pub(super) struct Runner {
    process: Child,
    channel: OwnedFd,
    inbox: Inbox,
    outbox: Outbox,
    newest: SharedPid,
    /// The last number that it has told of.
    told: Option<i32>,
    /// Whose orders have not been answered, oldest first, and from when on the answer is looked for.
    waiting: VecDeque<(u64, Mono)>,
    /// A child has ended meanwhile, and it may be one that could not be executed.
    hurries: bool,
}

impl Runner {
    /// Forks it; it gets itself ready while the first order is on its way.
    pub(super) fn start(setting: &Setting<'_>) -> Result<Self> {
        let (channel, far) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::io::ioctl_fionbio(&channel, true)?;
        let newest = SharedPid::new()?;
        let process = sys::fork(Fresh::Nothing, || serve(setting, far.as_fd(), &newest))?;
        Ok(Self {
            process,
            channel,
            inbox: Inbox::new(MAX_ORDER),
            outbox: Outbox::default(),
            newest,
            told: None,
            waiting: VecDeque::new(),
            hurries: false,
        })
    }

    /// What to poll for, if anything: its end is told by a signal.
    pub(super) fn part(&self, now: Mono) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let mut flags = PollFlags::empty();
        if !self.outbox.is_empty() {
            flags |= PollFlags::OUT;
        }
        let oldest = self.waiting.front();
        if oldest.is_some_and(|(_, from)| self.hurries || *from <= now) {
            flags |= PollFlags::IN;
        }
        (!flags.is_empty()).then(|| (self.channel.as_fd(), flags))
    }

    /// Orders a command, and closes the streams here. The answer is looked for from then on, or once a child has ended.
    pub(super) fn order(&mut self, key: u64, order: &Order, streams: Vec<OwnedFd>, from: Mono) {
        self.outbox.push(order, streams);
        self.waiting.push_back((key, from));
        self.flush();
    }

    /// One that is gone is noticed when its end is told.
    fn flush(&mut self) {
        let _full_or_gone = self.outbox.flush(self.channel.as_fd());
    }

    /// What has been answered, and whether more may come.
    pub(super) fn take(&mut self) -> (Vec<(u64, Answer)>, bool) {
        self.flush();
        let mut answers = Vec::new();
        self.hurries = false;
        while !self.waiting.is_empty() {
            match self.inbox.receive(self.channel.as_fd()) {
                Ok(Received::Message(json, _)) => {
                    let Ok(answer) = serde_json::from_slice(&json) else {
                        return (answers, false);
                    };
                    if let Answer::Begun(pid) | Answer::NotExecuted(_, Some(pid)) = &answer {
                        self.told = Some(*pid);
                    }
                    answers.extend(self.waiting.pop_front().map(|(key, _)| (key, answer)));
                }
                Err(Errno::AGAIN) => {
                    self.hurries = true;
                    break;
                }
                Ok(Received::End) | Err(_) => return (answers, false),
            }
        }
        (answers, !has_ended(&self.process.pidfd))
    }

    /// Kills it and what it is about to start. Answers with the processes that are to be reaped, and with those
    /// whose orders are lost.
    pub(super) fn give_up(self) -> (Vec<Running>, Vec<u64>) {
        let newest = self.newest.get().map(number);
        // A child that nobody has waited for yet: the number is its own.
        let newest = newest.filter(|pid| Some(*pid) != self.told);
        let pids = [Some(number(self.process.pid)), newest];
        let ending: Vec<Running> = pids.into_iter().flatten().filter_map(Running::of).collect();
        ending.iter().for_each(|process| process.kill());
        let lost = self.waiting.into_iter().map(|(key, _)| key);
        (ending, lost.collect())
    }
}

/// What the forked child does until the shim closes the channel.
fn serve(setting: &Setting<'_>, channel: BorrowedFd<'_>, newest: &SharedPid) -> i32 {
    let ready = get_ready(setting, channel);
    let mut stack = Stack::new();
    let mut inbox = Inbox::new(MAX_ORDER);
    loop {
        let Ok(Received::Message(json, fds)) = inbox.receive(channel) else {
            return 0;
        };
        let answer = match (&ready, serde_json::from_slice::<Order>(&json)) {
            (Err(errno), _) => {
                Answer::Broken(format!("enter the container: {}", text::reason(*errno)))
            }
            (Ok(()), Err(error)) => Answer::Broken(error.to_string()),
            (Ok(()), Ok(order)) => start(setting, &mut stack, newest, &order, &fds)
                .unwrap_or_else(|error| Answer::NotExecuted(error.to_string(), None)),
        };
        drop(fds);
        let Ok(json) = serde_json::to_vec(&answer) else {
            return 1;
        };
        if wire::send(channel, &[&[wire::LAST], &json[..]].concat(), &[]).is_err() {
            return 0;
        }
    }
}

/// Becomes as far as possible what a command is to be.
fn get_ready(setting: &Setting<'_>, channel: BorrowedFd<'_>) -> Result<()> {
    let namespace = setting.user_namespace.unwrap_or(setting.init);
    setting.cgroup.join()?;
    sys::close_all_but(&[channel, setting.init, namespace])?;
    sys::set_signals(Signals::Default);
    // What is to become a command has the memory of this process, and with it the shim's, when the container's
    // other processes see it first.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let mut namespaces = ThreadNameSpaceType::MOUNT;
    if !setting.sees_host {
        namespaces |= ThreadNameSpaceType::PROCESS_ID;
    }
    move_into_thread_name_spaces(setting.init, namespaces)?;
    Identity::join(setting.user_namespace)?;
    if setting.confinement.can_be_put_on_early() {
        put_on_confinement(setting)?;
    }
    // Last, as a change of user undoes it. A shim that has died before leaves a closed channel.
    set_parent_process_death_signal(Some(Signal::KILL))
}

fn put_on_confinement(setting: &Setting<'_>) -> Result<()> {
    let Setting {
        identity,
        privilege,
        ..
    } = *setting;
    setting.confinement.put_on(|| identity.set_ids(privilege))
}

fn start(
    setting: &Setting<'_>,
    stack: &mut Stack,
    newest: &SharedPid,
    order: &Order,
    fds: &[OwnedFd],
) -> std::result::Result<Answer, CommandError> {
    let terminal_env = order
        .on_terminal
        .then(|| terminal_environment(setting))
        .transpose()?;
    let env = terminal_env.as_ref().unwrap_or(setting.env);
    let words = Words::new(&order.argv, env)?;
    let [stdout, stderr, stdin @ ..] = fds else {
        return Ok(Answer::Broken("the streams were not sent".into()));
    };
    let streams = StandardStreams {
        stdin: stdin.first().filter(|_| order.stdin).map(AsFd::as_fd),
        stdout: stdout.as_fd(),
        stderr: stderr.as_fd(),
        on_terminal: order.on_terminal,
    };
    let mut failure = None;
    let pid = sys::vfork_sibling(stack, newest, || {
        failure = Some(become_command(setting, order, &streams, &words, env));
        127
    });
    Ok(match (pid, failure) {
        (Ok(pid), None) => Answer::Begun(number(pid)),
        (Ok(pid), Some(error)) => Answer::NotExecuted(error.to_string(), Some(number(pid))),
        (Err(errno), _) => Answer::Broken(format!("start command: {}", text::reason(errno))),
    })
}

const fn number(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

/// Returns only if it fails.
fn become_command(
    setting: &Setting<'_>,
    order: &Order,
    streams: &StandardStreams<'_>,
    words: &Words,
    env: &Environment,
) -> CommandError {
    let attempt = || {
        take_streams(streams)?;
        let user = |errno| CommandError::User {
            uid: setting.identity.uid,
            reason: text::reason(errno),
        };
        if order.attempt {
            set_child_subreaper(Some(Pid::INIT)).map_err(user)?;
        }
        if !setting.confinement.can_be_put_on_early() {
            put_on_confinement(setting).map_err(user)?;
        }
        enter_dir(setting.dir)
    };
    attempt().err().unwrap_or_else(|| words.execute(env))
}

/// On a terminal, `TERM` is what upstream says it is, whatever the container's is.
fn terminal_environment(setting: &Setting<'_>) -> std::result::Result<Environment, CommandError> {
    let own = setting.config.env.iter();
    let own: Vec<_> = own.filter(|(name, _)| name != "TERM").cloned().collect();
    Environment::new(&own, &setting.identity.home, setting.hostname, true)
}
