//! What the forked child does: it becomes as far as possible what a command is to be, and then starts commands until
//! the shim closes the channel.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use probelet_runtime::ExecError;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, Result};
use rustix::process::{
    DumpableBehavior, Pid, Signal, set_child_subreaper, set_dumpable_behavior,
    set_parent_process_death_signal,
};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::attempts::{Asker, Attempts, Said};
use super::slots::Slots;
use super::{Command, MAX_ORDER, Order, Setting, Told};
use crate::attempt::{self, Attempt};
use crate::shim::command::{
    self, CommandError, Entered, Environment, NOT_EXECUTED, StandardStreams, Words, enter_dir,
    enter_dir_early, take_streams,
};
use crate::shim::identity::Identity;
use crate::shim::init;
use crate::shim::running::Running;
use crate::sys::{self, Signals, Stack};
use crate::wire::{Inbox, Outbox, Received};
use crate::{clock, text};

/// The whole of it.
pub(super) fn serve(setting: &Setting<'_>, channel: BorrowedFd<'_>, slots: &Slots) -> i32 {
    let ready = get_ready(setting, channel);
    let (ready, child_signals) = match ready {
        Ok((entered, child_signals)) => (Ok(entered), Some(child_signals)),
        Err(errno) => (Err(errno), None),
    };
    let mut process = Process {
        setting,
        ready,
        child_signals,
        stack: Stack::new(),
        slots,
        shim: Line::new(channel),
        agent: None,
        attempts: Attempts::new(slots),
        forgotten: Vec::new(),
    };
    while process.turn().is_ok() {}
    0
}

/// Becomes as far as possible what a command is to be. Answers with what tells of the ends of children.
fn get_ready(setting: &Setting<'_>, channel: BorrowedFd<'_>) -> Result<(Entered, OwnedFd)> {
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
    // Only a container of an image has one of its own, and the host's may be entered by nobody without root.
    if cgroup_namespace("self")? != cgroup_namespace(&super::number(setting.init_pid).to_string())?
    {
        namespaces |= ThreadNameSpaceType::CONTROL_GROUP;
    }
    move_into_thread_name_spaces(setting.init, namespaces)?;
    // It may be closed to the final user; whatever else is wrong with it, each command says for itself.
    //
    // Differs: upstream's runtimes look it up anew for each command.
    let entered = enter_dir_early(setting.dir).unwrap_or(Entered::Denied);
    Identity::join(setting.user_namespace)?;
    init::join_keyring(&setting.config.id)?;
    if setting.confinement.can_be_put_on_early() {
        put_on_confinement(setting, || ())?;
    }
    // Last, as a change of user undoes it. A shim that has died before leaves a closed channel.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok((entered, sys::child_signals()?))
}

fn cgroup_namespace(of: &str) -> Result<PathBuf> {
    let link = std::fs::read_link(format!("/proc/{of}/ns/cgroup"));
    link.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn put_on_confinement<T>(setting: &Setting<'_>, look_up: impl FnOnce() -> T) -> Result<T> {
    let Setting {
        identity,
        privilege,
        ..
    } = *setting;
    let ids = || identity.set_ids(privilege);
    setting.confinement.put_on(ids, look_up)
}

struct Process<'a> {
    setting: &'a Setting<'a>,
    ready: Result<Entered>,
    child_signals: Option<OwnedFd>,
    stack: Stack,
    slots: &'a Slots,
    shim: Line<BorrowedFd<'a>>,
    /// The newest exec channel, and its number.
    agent: Option<(u8, Line<OwnedFd>)>,
    attempts: Attempts<'a>,
    /// Attempts that are not to be made if they should still be ordered.
    forgotten: Vec<u32>,
}

/// Somebody who gives orders, and is answered.
struct Line<Socket> {
    socket: Socket,
    inbox: Inbox,
    outbox: Outbox,
}

/// What was sent, and the descriptors that came with it.
type Message = (Vec<u8>, Vec<OwnedFd>);

/// The shim is gone, or wants no more of this process.
struct End;

/// Whose descriptor is ready.
#[derive(Clone, Copy, Debug)]
enum Ready {
    Shim,
    Children,
    Agent,
    Output(usize, usize),
}

impl<Socket: AsFd> Line<Socket> {
    fn new(socket: Socket) -> Self {
        Self {
            socket,
            inbox: Inbox::new(MAX_ORDER),
            outbox: Outbox::default(),
        }
    }

    fn flags(&self) -> PollFlags {
        if self.outbox.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        }
    }

    /// One that is gone is noticed when it is read from.
    fn flush(&mut self) {
        let _full_or_gone = self.outbox.flush(self.socket.as_fd());
    }

    /// The next message, if there is one.
    fn receive(&mut self) -> std::result::Result<Option<Message>, End> {
        match self.inbox.receive(self.socket.as_fd()) {
            Ok(Received::Message(bytes, fds)) => Ok(Some((bytes, fds))),
            Err(Errno::AGAIN) => Ok(None),
            Ok(Received::End) | Err(_) => Err(End),
        }
    }
}

impl Process<'_> {
    /// Waits for something to happen and deals with it.
    fn turn(&mut self) -> std::result::Result<(), End> {
        for ready in self.wait() {
            match ready {
                Ready::Shim => {
                    self.shim.flush();
                    if let Some((json, fds)) = self.shim.receive()? {
                        self.obey(&json, fds);
                    }
                }
                Ready::Children => {
                    self.child_signals.iter().for_each(sys::children_have_ended);
                    let said = self.attempts.take_ended();
                    self.say(said);
                }
                Ready::Output(index, stream) => self.attempts.take_output(index, stream),
                Ready::Agent => self.hear_agent(),
            }
        }
        let overdue = self.attempts.overdue(clock::mono());
        self.say(overdue);
        Ok(())
    }

    /// The outputs of attempts come before what may remove one, which would make others of their numbers.
    fn wait(&self) -> Vec<Ready> {
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(8);
        let mut tokens = Vec::with_capacity(8);
        let mut watch = |fd, flags, token| {
            fds.push(PollFd::from_borrowed_fd(fd, flags));
            tokens.push(token);
        };
        let now = clock::mono();
        for (fd, index, stream) in self.attempts.outputs(now) {
            watch(fd, PollFlags::IN, Ready::Output(index, stream));
        }
        watch(self.shim.socket, self.shim.flags(), Ready::Shim);
        if let Some(child_signals) = &self.child_signals {
            watch(child_signals.as_fd(), PollFlags::IN, Ready::Children);
        }
        if let Some((_, line)) = &self.agent {
            watch(line.socket.as_fd(), line.flags(), Ready::Agent);
        }
        let timeout = self.attempts.deadline(now).map(clock::until);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(1..) => {
                let ready = fds.iter().zip(tokens);
                let ready = ready.filter(|(fd, _)| !fd.revents().is_empty());
                ready.map(|(_, token)| token).collect()
            }
            Ok(_) | Err(_) => Vec::new(),
        }
    }

    fn obey(&mut self, json: &[u8], fds: Vec<OwnedFd>) {
        match serde_json::from_slice(json) {
            Ok(Order::Start(command)) => {
                let told = match self.ready {
                    Ok(entered) => {
                        let stack = &mut self.stack;
                        start(self.setting, entered, stack, self.slots, &command, &fds)
                    }
                    Err(errno) => Told::Broken(command.key, not_entered(errno)),
                };
                drop(fds);
                self.tell(&told);
            }
            Ok(Order::Serve(number)) => {
                self.agent = fds.into_iter().next().map(|fd| (number, Line::new(fd)));
                self.forgotten.clear();
            }
            Ok(Order::Attempt(attempt)) => self.attempt(Asker::Shim, &attempt),
            Ok(Order::Ended(id)) => {
                let said = self.attempts.ended_by_shim(id);
                self.say(said);
            }
            Ok(Order::Forget(id)) => {
                // Its order may have come meanwhile, or come later.
                if self.attempts.has(id) {
                    self.tell(&Told::Overdue(id));
                } else {
                    self.forgotten.push(id);
                }
                self.tell(&Told::Heard);
            }
            // Of a shim that is this same program.
            Err(_) => {}
        }
    }

    fn tell(&mut self, told: &Told) {
        self.shim.outbox.push(told, Vec::new());
        self.shim.flush();
    }

    fn hear_agent(&mut self) {
        let Some((number, line)) = &mut self.agent else {
            return;
        };
        line.flush();
        let number = *number;
        match line.receive() {
            Ok(Some((json, _))) => {
                let attempt = serde_json::from_slice(&json).ok();
                let wanted = attempt.filter(|attempt: &Attempt| !self.was_forgotten(attempt.id));
                if let Some(attempt) = wanted {
                    self.attempt(Asker::Channel(number), &attempt);
                }
            }
            Ok(None) => {}
            // What is in progress goes on, and is ended in its time.
            Err(End) => self.agent = None,
        }
    }

    fn was_forgotten(&mut self, id: u32) -> bool {
        let index = self.forgotten.iter().position(|of| *of == id);
        index
            .map(|index| self.forgotten.swap_remove(index))
            .is_some()
    }

    fn attempt(&mut self, asker: Asker, attempt: &Attempt) {
        let broken = |text: String| ExecError::Runtime(format!("start command: {text}"));
        let started = self
            .ready
            .map_err(|errno| ExecError::Runtime(not_entered(errno)))
            .and_then(|entered| {
                let words = Words::new(&attempt.request.argv, self.setting.env);
                let words = words.map_err(|error| ExecError::Command(error.to_string()))?;
                let fresh = self.attempts.prepare(attempt.id);
                let fresh = fresh.map_err(|errno| broken(text::reason(errno)))?;
                let (setting, stack) = (self.setting, &mut self.stack);
                let mut failure = None;
                let pid = sys::vfork_told(stack, fresh.slot.pid(), || {
                    let streams = fresh.streams();
                    let error =
                        become_command(setting, entered, true, &streams, &words, setting.env);
                    give_up(error, &mut failure)
                });
                let failure = failure.map(|error| error.to_string());
                match pid {
                    Ok(pid) => Ok((fresh, Running::fresh(pid), failure)),
                    Err(errno) => {
                        fresh.slot.free();
                        Err(broken(text::reason(errno)))
                    }
                }
            });
        match started {
            Ok((fresh, command, failure)) => {
                let of = (asker, attempt.id);
                self.attempts
                    .add(of, fresh, command, failure, &attempt.request);
            }
            Err(error) => self.say(vec![Said::Answer(asker, attempt.id, Err(error))]),
        }
    }

    fn say(&mut self, said: Vec<Said>) {
        for said in said {
            match said {
                Said::Overdue(id) => self.tell(&Told::Overdue(id)),
                Said::Answer(Asker::Shim, id, outcome) => self.tell(&Told::Attempted(id, outcome)),
                Said::Answer(Asker::Channel(of), id, outcome) => {
                    // Nobody waits for what was asked for over another channel.
                    if let Some((number, line)) = &mut self.agent
                        && *number == of
                    {
                        line.outbox
                            .push_bytes(&attempt::to_bytes(id, outcome), Vec::new());
                        line.flush();
                    }
                }
            }
        }
    }
}

fn not_entered(errno: Errno) -> String {
    format!("enter the container: {}", text::reason(errno))
}

/// Starts a command that is the shim's child.
fn start(
    setting: &Setting<'_>,
    entered: Entered,
    stack: &mut Stack,
    slots: &Slots,
    command: &Command,
    fds: &[OwnedFd],
) -> Told {
    let key = command.key;
    let not_executed = |error: CommandError| Told::NotExecuted(key, error.to_string(), None);
    let terminal_env = command
        .on_terminal
        .then(|| terminal_environment(setting))
        .transpose();
    let terminal_env = match terminal_env {
        Ok(env) => env,
        Err(error) => return not_executed(error),
    };
    let env = terminal_env.as_ref().unwrap_or(setting.env);
    let words = match Words::new(&command.argv, env) {
        Ok(words) => words,
        Err(error) => return not_executed(error),
    };
    let [stdout, stderr, stdin @ ..] = fds else {
        return Told::Broken(key, "the streams were not sent".into());
    };
    let streams = StandardStreams {
        stdin: stdin.first().filter(|_| command.stdin).map(AsFd::as_fd),
        stdout: stdout.as_fd(),
        stderr: stderr.as_fd(),
        on_terminal: command.on_terminal,
    };
    let mut failure = None;
    let pid = sys::vfork_sibling(stack, slots.newest(), || {
        let error = become_command(setting, entered, false, &streams, &words, env);
        give_up(error, &mut failure)
    });
    match (pid, failure) {
        (Ok(pid), None) => Told::Begun(key, super::number(pid)),
        (Ok(pid), Some(error)) => {
            Told::NotExecuted(key, error.to_string(), Some(super::number(pid)))
        }
        (Err(errno), _) => Told::Broken(key, format!("start command: {}", text::reason(errno))),
    }
}

/// Returns only if it fails.
fn become_command(
    setting: &Setting<'_>,
    entered: Entered,
    is_attempt: bool,
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
        let look_up = || {
            enter_dir(setting.dir, entered)?;
            words.look_up()
        };
        let path = if setting.confinement.can_be_put_on_early() {
            look_up()?
        } else {
            put_on_confinement(setting, look_up).map_err(user)??
        };
        if is_attempt {
            // All of its processes can be found below it as long as it lives: one that detaches itself becomes its
            // child.
            //
            // Differs: with upstream it becomes a child of the container's process 1.
            set_child_subreaper(Some(Pid::INIT)).map_err(user)?;
            // An attempt that nobody will answer for has no use. After the confinement, as a change of user undoes it.
            set_parent_process_death_signal(Some(Signal::KILL)).map_err(user)?;
        }
        sys::unblock_signals();
        Ok(words.execute(path, env))
    };
    attempt().unwrap_or_else(|error| error)
}

/// What is left to a process that has not become a command: to say why, where upstream's runtimes would, and to end
/// with this exit code.
fn give_up(error: CommandError, failure: &mut Option<CommandError>) -> i32 {
    if matches!(error, CommandError::Execute { .. }) {
        command::say(&error);
        return NOT_EXECUTED;
    }
    *failure = Some(error);
    127
}

/// On a terminal, `TERM` is what upstream says it is, whatever the container's is.
fn terminal_environment(setting: &Setting<'_>) -> std::result::Result<Environment, CommandError> {
    let own = setting.config.env.iter();
    let own: Vec<_> = own.filter(|(name, _)| name != "TERM").cloned().collect();
    Environment::new(&own, &setting.identity.home, setting.hostname, true)
}
