//! One running container, as the shim keeps it.
//!
//! `Starting` until its start pipe closes, then `Running` or `Failed`; over when its init has ended,
//! because the kernel lets an init end only after every other process of its pid namespace.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use probelet_model::time::{Mono, Wall};
use probelet_runtime::{
    ContainerConfig, ContainerRecord, Exit, StartContainerError, Started, Streams,
};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitIdStatus};

use super::Asker;
use super::attachments::Attachments;
use super::command::Environment;
use super::confinement::Confinement;
use super::descendants::{self, Files};

use super::identity::{Identity, Privilege};
use super::init::{self, FromInit, Setting};
use super::logs::{Log, Stream};
use super::pipes::{NearEnds, Pipes};
use super::runner::{self, Runner};
use super::running::read_to_end;
use super::sandbox::Sandbox;
use super::{note, plan, reap, reap_with_status};
use crate::cgroup::{ContainerCgroup, PodCgroup};
use crate::last_words;
use crate::layout::{self, ContainerFile, PodDir};
use crate::process::{self, ProcessId};
use crate::protocol::ShimConfig;
use crate::sys::{self, Child};
use crate::{clock, text, wire};

/// A container with processes.
pub(super) struct Container {
    pub(super) config: ContainerConfig,
    init: Child,
    init_id: ProcessId,
    privilege: Privilege,
    confinement: Confinement,
    /// Starts commands beside the main program, once there has been one.
    runner: Option<Runner>,
    end: End,
    /// Its mount namespace, where that is by what its processes are known.
    files: Option<Files>,
    /// Until its init has become another program, or has ended.
    channel: Option<OwnedFd>,
    /// Its init becomes its main program, and nobody in it reaps what is left by others but that.
    becomes_main: bool,
    /// The near end of a pipe, while the container has a stdin that somebody may still join.
    stdin: Option<OwnedFd>,
    /// The near end of its terminal, if it runs on one; its init makes it.
    terminal: Option<OwnedFd>,
    /// Near ends: of two pipes, or, the first, of the terminal once more.
    outputs: [Option<OwnedFd>; 2],
    /// Goes with it, its processes being gone.
    pub(super) cgroup: ContainerCgroup,
    log: Option<Log>,
    log_path: PathBuf,
    state: State,
    hostname: String,
    /// Its processes are among the host's.
    sees_host: bool,
    main: Option<Main>,
    /// May be told before or after the main process is.
    user_namespace: Option<OwnedFd>,
    /// As the init has told it; `None` if the init was killed before it could.
    ended: Option<Exit>,
    stopping: bool,
    kill_at: Option<Mono>,
    killed: bool,
}

/// How far the end of all of its processes has come.
enum End {
    /// The first one runs.
    NotYet,
    /// It has been reaped. If the kernel has not ended the others with it, a child of ours does.
    Init { rest: Option<Child> },
}

enum State {
    Starting {
        pipe: OwnedFd,
        failure: Vec<u8>,
        asker: Asker,
    },
    Running(Started),
    /// Its start has been answered with an error; what is left of it is about to end.
    Failed,
}

/// The main process, and what commands beside it share with it.
pub(super) struct Main {
    pidfd: OwnedFd,
    started: Started,
    pub(super) identity: Identity,
    pub(super) env: Environment,
    pub(super) dir: CString,
}

/// Where a command beside the main program runs.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) init: &'a Child,
    pub(super) main: &'a Main,
    privilege: Privilege,
}

impl Place<'_> {
    /// Makes streams of a command its user's.
    pub(super) fn give(&self, streams: &[OwnedFd]) {
        for stream in streams {
            self.main.identity.give(self.privilege, stream.as_fd());
        }
    }
}

/// One of the descriptors of a [`Container`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The start pipe.
    Start,
    /// Messages of the init.
    Channel,
    /// The main program's output.
    Output(Stream),
    /// The init has ended.
    Init,
}

/// How a start went.
pub(super) type StartAnswer = (Asker, Result<Started, StartContainerError>);

impl Container {
    /// Forks the init; everything after happens in the event loop.
    pub(super) fn start(
        shim: &ShimConfig,
        dir: &PodDir,
        sandbox: &mut Sandbox,
        pod: &PodCgroup,
        config: ContainerConfig,
        asker: Asker,
    ) -> Result<Self, StartContainerError> {
        let create = |text: String| StartContainerError::Create(text);
        let confinement =
            Confinement::of(&config.security, &mut sandbox.profiles).map_err(create)?;
        let system = |errno: Errno| create(format!("set up container: {}", text::reason(errno)));
        let log_path = log_path(shim, &config);
        let log = Log::open(log_path.clone()).map_err(|error| {
            create(format!(
                "open log {}: {}",
                log_path.display(),
                text::of_io(&error)
            ))
        })?;
        last_words::make(&dir.message(&config.id))
            .map_err(|error| create(format!("make termination log: {}", text::of_io(&error))))?;
        let (channel, channel_in) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(system)?;
        let pipes = || pipe_with(PipeFlags::CLOEXEC);
        let (pipe, pipe_in) = pipes().map_err(system)?;
        for end in [&channel, &pipe] {
            rustix::io::ioctl_fionbio(end, true).map_err(system)?;
        }
        let cgroup = pod
            .make(&config)
            .map_err(|error| StartContainerError::Start(format!("limit resources: {error}")))?;
        let (near, far) = Pipes::make(&config).map_err(system)?;
        let becomes_main = config.image.is_some() && sandbox.pids.are_the_containers_own();
        let setting = Setting {
            config: &config,
            cgroup: &cgroup,
            pod: &shim.pod,
            privilege: sandbox.privilege,
            confinement: &confinement,
            is_process_1: sandbox.pids.are_the_containers_own(),
            becomes_main,
            root: plan::of(shim, dir, sandbox.privilege, &config)?,
            channel: channel_in.as_fd(),
            failure: pipe_in.as_fd(),
            pipes: far.standard(),
        };
        let init = sandbox
            .pids
            .fork(&mut sandbox.stack, || init::run(&setting))
            .map_err(system)?;
        let is_found_by_files = !sandbox.pids.are_the_containers_own();
        let files = is_found_by_files.then(|| Files::of(init.pid)).flatten();
        let init_id = ProcessId::of(init.pid).map_err(|error| {
            process::signal(&init.pidfd, Signal::KILL);
            create(format!("look up init: {}", text::of_io(&error)))
        })?;
        Ok(Self {
            config,
            init,
            init_id,
            privilege: sandbox.privilege,
            confinement,
            runner: None,
            end: End::NotYet,
            files,
            channel: Some(channel),
            becomes_main,
            stdin: near.stdin,
            terminal: None,
            outputs: near.outputs,
            cgroup,
            log: Some(log),
            log_path,
            state: State::Starting {
                pipe,
                failure: Vec::new(),
                asker,
            },
            hostname: shim.pod.hostname.clone(),
            sees_host: shim.pod.namespaces.host_pid,
            main: None,
            user_namespace: None,
            ended: None,
            stopping: false,
            kill_at: None,
            killed: false,
        })
    }

    /// What to poll for; of the output, what is not held back.
    pub(super) fn parts<'a>(
        &'a self,
        attachments: &'a Attachments,
    ) -> impl Iterator<Item = (&'a OwnedFd, Part)> {
        let start = match &self.state {
            State::Starting { pipe, .. } => Some((pipe, Part::Start)),
            State::Running(_) | State::Failed => None,
        };
        let streams = self.outputs.iter().zip([Stream::Out, Stream::Err]);
        let streams = streams.filter_map(|(fd, stream)| {
            let held_back = attachments.hold_back(&self.config.id, stream);
            Some((fd.as_ref().filter(|_| !held_back)?, Part::Output(stream)))
        });
        let end = match &self.end {
            End::NotYet => Some(&self.init.pidfd),
            End::Init { rest } => rest.as_ref().map(|child| &child.pidfd),
        };
        // The channel last but one, the init last: what they said comes before their end.
        start
            .into_iter()
            .chain(streams)
            .chain(self.channel.as_ref().map(|fd| (fd, Part::Channel)))
            .chain(end.map(|fd| (fd, Part::Init)))
    }

    /// When it is to be killed.
    pub(super) const fn deadline(&self) -> Option<Mono> {
        self.kill_at
    }

    /// What commands beside it need, if it runs.
    pub(super) fn running(&self) -> Option<Place<'_>> {
        let main = self
            .main
            .as_ref()
            .filter(|_| self.is_running() && self.ended.is_none() && !self.killed)?;
        Some(Place {
            init: &self.init,
            main,
            privilege: self.privilege,
        })
    }

    pub(super) const fn init_pid(&self) -> i32 {
        self.init_id.pid
    }

    /// What starts commands in it; only while it runs.
    pub(super) fn runner(&mut self) -> Result<&mut Runner, Errno> {
        if self.runner.is_none() {
            let Place { init, main, .. } = self.running().ok_or(Errno::SRCH)?;
            let setting = runner::Setting {
                init: init.pidfd.as_fd(),
                init_pid: init.pid,
                config: &self.config,
                hostname: &self.hostname,
                sees_host: self.sees_host,
                cgroup: &self.cgroup,
                identity: &main.identity,
                privilege: self.privilege,
                user_namespace: self.user_namespace.as_ref().map(AsFd::as_fd),
                confinement: &self.confinement,
                env: &main.env,
                dir: &main.dir,
                orphans_are_reaped: !self.becomes_main,
            };
            self.runner = Some(Runner::start(&setting)?);
        }
        self.runner.as_mut().ok_or(Errno::SRCH)
    }

    /// The runner, if there is one.
    pub(super) const fn standing_runner(&self) -> Option<&Runner> {
        self.runner.as_ref()
    }

    /// The same.
    pub(super) const fn standing_runner_mut(&mut self) -> Option<&mut Runner> {
        self.runner.as_mut()
    }

    /// The next command gets another.
    pub(super) const fn forget_runner(&mut self) -> Option<Runner> {
        self.runner.take()
    }

    pub(super) const fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    pub(super) const fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting { .. })
    }

    /// What to remember of it, once it has started.
    pub(super) fn file(&self) -> Option<ContainerFile> {
        let State::Running(started) = &self.state else {
            return None;
        };
        let record = ContainerRecord {
            id: self.config.id.clone(),
            name: self.config.name.clone(),
            restart_count: self.config.restart_count,
            started: started.clone(),
            exit: None,
        };
        Some(ContainerFile {
            record,
            init: self.init_id.clone(),
            fall_back_to: self
                .config
                .termination_message
                .fall_back_to_logs
                .then(|| self.log_path.clone()),
        })
    }

    /// Its stop signal to the main process, now or as soon as there is one, and a time for KILL, which only ever
    /// comes nearer.
    pub(super) fn stop(&mut self, deadline: Mono) {
        if !self.stopping {
            self.stopping = true;
            self.send_stop_signal();
        }
        self.kill_at = Some(self.kill_at.map_or(deadline, |at| at.min(deadline)));
    }

    /// Ends every process of it.
    pub(super) fn kill(&mut self) {
        self.kill_at = None;
        self.killed = true;
        process::signal(&self.init.pidfd, Signal::KILL);
    }

    /// The signal that asks the main process to stop: its own, else TERM.
    ///
    /// Upstream: containerd internal/cri/server/container_stop.go, stopContainer (the image's stop signal,
    /// else TERM).
    /// Shown by: working_directories_are_made_and_the_stop_signal_of_the_image_is_sent.
    fn send_stop_signal(&self) {
        if let (State::Running(_), Some(main)) = (&self.state, &self.main) {
            let signal = self.config.stop_signal;
            let signal = signal.unwrap_or_else(|| Signal::TERM.as_raw());
            let _gone = sys::send_signal(main.pidfd.as_fd(), signal);
        }
    }

    /// Reads what the init has to say.
    pub(super) fn read_channel(&mut self) {
        let (mut buffer, mut fds) = ([0; 16 * 1024], Vec::new());
        while let Some(channel) = &self.channel {
            let length = match wire::receive_packet(channel.as_fd(), &mut buffer, &mut fds) {
                Ok(length @ 1..) => length,
                Err(Errno::AGAIN) => return,
                Ok(_) | Err(_) => {
                    self.channel = None;
                    return;
                }
            };
            match (serde_json::from_slice(&buffer[..length]), fds.pop()) {
                (Ok(FromInit::Main { identity, at }), Some(pidfd)) => {
                    self.take_main(identity, at, pidfd)
                }
                (Ok(FromInit::UserNamespace), Some(namespace)) => {
                    self.user_namespace = Some(namespace)
                }
                (Ok(FromInit::Terminal), Some(terminal)) => self.take_terminal(terminal),
                (Ok(FromInit::Ended(exit)), None) => self.ended = Some(exit),
                (unexpected, _) => note(&format!(
                    "container {}: unexpected {unexpected:?}",
                    self.config.id
                )),
            }
            fds.clear();
        }
    }

    fn take_terminal(&mut self, terminal: OwnedFd) {
        match rustix::io::fcntl_dupfd_cloexec(&terminal, 3) {
            Ok(output) => self.outputs[Stream::Out as usize] = Some(output),
            Err(errno) => note(&format!(
                "container {}: terminal: {}",
                self.config.id,
                text::reason(errno)
            )),
        }
        self.terminal = Some(terminal);
    }

    /// Lets somebody join: what of `wanted` there is.
    ///
    /// Upstream: containerd internal/cri/io/container_io.go, Attach.
    /// Differs: of a container whose stdin ends with the first who joins it (`stdinOnce`), a second does not
    /// get it as long as the first is there.
    /// Shown by: stdin_once_ends_with_the_first_who_had_it, stdin_is_shared_and_stays.
    pub(super) fn attach(
        &mut self,
        wanted: Streams,
        attachments: &mut Attachments,
    ) -> Result<NearEnds, Errno> {
        let copy = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3);
        let id = self.config.id.clone();
        let stderr = wanted.stderr && !self.config.tty;
        let mut near = attachments.join(id, wanted.stdout, stderr)?;
        let stdin = match &self.terminal {
            _ if !wanted.stdin => None,
            Some(terminal) if self.config.stdin => Some(copy(terminal)?),
            Some(_) => None,
            // With it goes the last writing end: who reads it meets the end once that is closed.
            None if self.config.stdin_once => self.stdin.take(),
            None => self.stdin.as_ref().map(copy).transpose()?,
        };
        near.kinds.stdin = stdin.is_some();
        if let Some(stdin) = stdin {
            near.fds.insert(1, stdin);
        }
        if let Some(terminal) = &self.terminal {
            near.kinds.terminal = true;
            near.fds.push(copy(terminal)?);
        }
        Ok(near)
    }

    fn take_main(&mut self, identity: Identity, started_at: Wall, pidfd: OwnedFd) {
        let dir = self.config.working_dir.as_deref().unwrap_or("/");
        // Both have been made of the same values by the init, in vain if they were wrong.
        let env = Environment::new(
            &self.config.env,
            &identity.home,
            &self.hostname,
            self.config.tty,
        );
        if let (Ok(env), Ok(dir), Some(pid)) = (env, CString::new(dir), pid_of(&pidfd)) {
            self.main = Some(Main {
                pidfd,
                started: Started { started_at, pid },
                identity,
                env,
                dir,
            });
        }
        // One that becomes the main program reads no more, and what it leaves unread would be an error here.
        if let Some(channel) = self.channel.as_ref().filter(|_| !self.becomes_main) {
            let _gone = wire::send(channel.as_fd(), b"!", &[]);
        }
    }

    /// Reads the start pipe; at its end answers the start, once.
    pub(super) fn read_start(&mut self) -> Option<StartAnswer> {
        let State::Starting {
            pipe,
            failure,
            asker,
        } = &mut self.state
        else {
            return None;
        };
        if !read_to_end(pipe, failure) {
            return None;
        }
        let (asker, failure) = (*asker, std::mem::take(failure));
        self.read_channel();
        let answer = match (serde_json::from_slice(&failure), &self.main) {
            (Ok(error), _) => Err(error),
            (Err(_), Some(main)) => Ok(main.started.clone()),
            (Err(_), None) => Err(StartContainerError::Start(
                "killed while it was being set up".into(),
            )),
        };
        self.state = answer
            .as_ref()
            .map_or(State::Failed, |started| State::Running(started.clone()));
        if self.stopping {
            self.send_stop_signal();
        }
        Some((asker, answer))
    }

    /// Reads a buffer of output into the log, and passes it on to those who have joined.
    pub(super) fn read_output(&mut self, stream: Stream, attachments: &mut Attachments) -> bool {
        let slot = &mut self.outputs[stream as usize];
        let Some(fd) = slot else { return false };
        let mut buffer = [0; 64 * 1024];
        match rustix::io::read(&*fd, &mut buffer) {
            Ok(length @ 1..) => {
                let written = self
                    .log
                    .as_mut()
                    .map(|log| log.take(stream, &buffer[..length], clock::wall()));
                self.check_log(written);
                attachments.feed(&self.config.id, stream, &buffer[..length], clock::mono());
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            Ok(_) | Err(_) => {
                *slot = None;
                false
            }
        }
    }

    /// Reaps the init if it has ended, and has what is left of the container end too; then everything of it is over,
    /// its output included, and the answer says how it ended.
    pub(super) fn reap(
        &mut self,
        sandbox: &Sandbox,
        attachments: &mut Attachments,
    ) -> Option<Exit> {
        if matches!(self.end, End::NotYet) {
            let status = reap_with_status(&self.init.pidfd)?;
            if self.becomes_main {
                let code = status.as_ref().and_then(WaitIdStatus::exit_status);
                let signal = status.as_ref().and_then(WaitIdStatus::terminating_signal);
                self.ended = Some(init::exit(code, signal));
            }
            self.end = End::Init {
                rest: self.end_the_rest(sandbox),
            };
        }
        if let End::Init { rest } = &mut self.end {
            if rest.as_ref().is_some_and(|child| !reap(&child.pidfd)) {
                return None;
            }
            *rest = None;
        }
        self.read_channel();
        for stream in [Stream::Out, Stream::Err] {
            while self.read_output(stream, attachments) {}
        }
        let finished = self.log.as_mut().map(|log| log.finish(clock::wall()));
        self.check_log(finished);
        let exit = self
            .ended
            .take()
            .unwrap_or_else(|| layout::killed(clock::wall()));
        Some(Exit {
            out_of_memory: self.cgroup.out_of_memory(),
            ..exit
        })
    }

    /// Whether its end has begun, of which its init has not told. What the kernel ends with it ends after that.
    pub(super) fn is_about_to_end(&self) -> bool {
        self.becomes_main && process::is_exiting(self.init.pid)
    }

    /// Where its pid namespace is not its own, whatever still sees its files is killed.
    fn end_the_rest(&self, sandbox: &Sandbox) -> Option<Child> {
        if sandbox.pids.are_the_containers_own() {
            return None;
        }
        let files = self.files.as_ref()?;
        let reaper = self.runner.as_ref().map(Runner::pid);
        let child = sys::fork(sys::Fresh::Nothing, || {
            descendants::end_all_who_see(files, reaper)
        });
        if let Err(errno) = &child {
            note(&format!(
                "container {}: end its processes: {}",
                self.config.id,
                text::reason(*errno)
            ));
        }
        child.ok()
    }

    /// A log that cannot be written, because the disk is full, must not stop the container; but it is said.
    fn check_log(&self, written: Option<std::io::Result<()>>) {
        if let Some(Err(error)) = written {
            note(&format!("container {}: log: {error}", self.config.id));
        }
    }
}

/// Where the log of a run is.
pub(super) fn log_path(shim: &ShimConfig, config: &ContainerConfig) -> PathBuf {
    let pod = &shim.pod;
    shim.log_dir.join(probelet_runtime::log_path(
        &pod.namespace,
        &pod.name,
        &pod.uid,
        &config.name,
        config.restart_count,
    ))
}

/// The number, in this process's pid namespace, behind a pidfd that may come from another.
fn pid_of(pidfd: &OwnedFd) -> Option<u32> {
    use std::os::fd::AsRawFd;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    info.lines()
        .find_map(|line| line.strip_prefix("Pid:"))?
        .trim()
        .parse()
        .ok()
}
