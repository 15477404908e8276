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
use rustix::process::Signal;

use super::Asker;
use super::attachments::Attachments;
use super::command::Environment;
use super::exec::read_to_end;
use super::identity::{Identity, Privilege};
use super::init::{self, FromInit, Setting};
use super::logs::{Log, Stream};
use super::pipes::{NearEnds, Pipes};
use super::rootfs::{self, Mount, Plan};
use super::{note, reap, volumes};
use crate::last_words;
use crate::layout::{self, ContainerFile, PodDir};
use crate::process::{self, ProcessId};
use crate::protocol::ShimConfig;
use crate::sys::{self, Child, Fresh};
use crate::{clock, text, wire};

/// A container with processes.
pub(super) struct Container {
    pub(super) config: ContainerConfig,
    init: Child,
    init_id: ProcessId,
    channel: OwnedFd,
    /// The near end of a pipe, while the container has a stdin that somebody may still join.
    stdin: Option<OwnedFd>,
    /// The near end of its terminal, if it runs on one; its init makes it.
    terminal: Option<OwnedFd>,
    /// Near ends: of two pipes, or, the first, of the terminal once more.
    outputs: [Option<OwnedFd>; 2],
    log: Option<Log>,
    log_path: PathBuf,
    state: State,
    hostname: String,
    main: Option<Main>,
    /// May be told before or after the main process is.
    user_namespace: Option<OwnedFd>,
    /// As the init has told it; `None` if the init was killed before it could.
    ended: Option<Exit>,
    stopping: bool,
    kill_at: Option<Mono>,
    killed: bool,
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
    pub(super) user_namespace: Option<&'a OwnedFd>,
    /// The container's own variables.
    pub(super) env: &'a [(String, String)],
    pub(super) hostname: &'a str,
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
        privilege: Privilege,
        config: ContainerConfig,
        asker: Asker,
    ) -> Result<Self, StartContainerError> {
        let create = |text: String| StartContainerError::Create(text);
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
        let (near, far) = Pipes::make(&config).map_err(system)?;
        let setting = Setting {
            config: &config,
            volumes: &shim.pod.volumes,
            hostname: &shim.pod.hostname,
            privilege,
            root: plan(shim, dir, &config)?,
            channel: channel_in.as_fd(),
            failure: pipe_in.as_fd(),
            pipes: far.standard(),
        };
        let init = sys::fork(Fresh::PidAndMount, || init::run(&setting)).map_err(system)?;
        let init_id = ProcessId::of(init.pid).map_err(|error| {
            process::signal(&init.pidfd, Signal::KILL);
            create(format!("look up init: {}", text::of_io(&error)))
        })?;
        Ok(Self {
            config,
            init,
            init_id,
            channel,
            stdin: near.stdin,
            terminal: None,
            outputs: near.outputs,
            log: Some(log),
            log_path,
            state: State::Starting {
                pipe,
                failure: Vec::new(),
                asker,
            },
            hostname: shim.pod.hostname.clone(),
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
        // The channel last but one, the init last: what they said comes before their end.
        start.into_iter().chain(streams).chain([
            (&self.channel, Part::Channel),
            (&self.init.pidfd, Part::Init),
        ])
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
            user_namespace: self.user_namespace.as_ref(),
            env: &self.config.env,
            hostname: &self.hostname,
        })
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

    /// TERM to the main process, now or as soon as there is one, and a time for KILL, which only ever
    /// comes nearer.
    pub(super) fn stop(&mut self, deadline: Mono) {
        if !self.stopping {
            self.stopping = true;
            self.send_term();
        }
        self.kill_at = Some(self.kill_at.map_or(deadline, |at| at.min(deadline)));
    }

    /// Ends every process of it.
    pub(super) fn kill(&mut self) {
        self.kill_at = None;
        self.killed = true;
        process::signal(&self.init.pidfd, Signal::KILL);
    }

    fn send_term(&self) {
        if let (State::Running(_), Some(main)) = (&self.state, &self.main) {
            process::signal(&main.pidfd, Signal::TERM);
        }
    }

    /// Reads what the init has to say.
    pub(super) fn read_channel(&mut self) {
        let (mut buffer, mut fds) = ([0; 16 * 1024], Vec::new());
        while let Ok(length @ 1..) =
            wire::receive_packet(self.channel.as_fd(), &mut buffer, &mut fds)
        {
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
        let _gone = wire::send(self.channel.as_fd(), b"!", &[]);
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
            (Err(_), None) => Err(StartContainerError::Create(
                "killed while it was being set up".into(),
            )),
        };
        self.state = answer
            .as_ref()
            .map_or(State::Failed, |started| State::Running(started.clone()));
        if self.stopping {
            self.send_term();
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

    /// Reaps the init if it has ended; then everything of the container is over, its output included, and
    /// the answer says how it ended.
    pub(super) fn reap(&mut self, attachments: &mut Attachments) -> Option<Exit> {
        if !reap(&self.init.pidfd) {
            return None;
        }
        self.read_channel();
        for stream in [Stream::Out, Stream::Err] {
            while self.read_output(stream, attachments) {}
        }
        let finished = self.log.as_mut().map(|log| log.finish(clock::wall()));
        self.check_log(finished);
        Some(
            self.ended
                .take()
                .unwrap_or_else(|| layout::killed(clock::wall())),
        )
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

fn plan(
    shim: &ShimConfig,
    dir: &PodDir,
    config: &ContainerConfig,
) -> Result<Plan, StartContainerError> {
    let mut mounts = Vec::new();
    for mount in &config.mounts {
        let volume = shim
            .pod
            .volumes
            .iter()
            .find(|volume| volume.name == mount.volume);
        let volume = volume.ok_or_else(|| {
            StartContainerError::Create(format!("volume \"{}\": the pod has none", mount.volume))
        })?;
        mounts.push(Mount {
            what: format!("volume \"{}\"", mount.volume),
            source: volumes::source(dir, volume),
            target: mount.path.clone(),
            read_only: mount.read_only || volumes::is_read_only(volume),
        });
    }
    // After the volumes: it may be in one.
    mounts.push(Mount {
        what: "terminationMessagePath".to_owned(),
        source: dir.message(&config.id),
        target: config.termination_message.path.clone(),
        read_only: false,
    });
    let host_network = shim.pod.network == probelet_runtime::Network::Host;
    Ok(Plan {
        staging: dir.root(),
        hidden: vec![shim.data_dir.clone()],
        kept_run_file: if host_network {
            rootfs::resolv_conf_in_run()
        } else {
            None
        },
        mounts,
        working_dir: config.working_dir.as_ref().map(PathBuf::from),
    })
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
