//! The shim: one small process per pod, which owns the pod's namespaces and is the parent of everything
//! in it. It starts, signals and reaps, writes logs and records, runs commands beside containers, makes
//! sockets for the agent, and outlives it.
//!
//! One thread, one poll loop, nothing that blocks: what takes time happens in a forked child with a pipe
//! to here. [`init`] is the child that becomes a container, [`runner`] the one that starts commands in it.
//!
//! Start reading at [`Shim::turn`].

mod agent;
mod atomic_writer;
mod attachments;
mod capabilities;
mod cgroup_view;
mod command;
mod commands;
mod confinement;
mod container;
mod copy;
mod descendants;
mod dev;
mod file_system;
mod host_root;
mod identity;
mod image_root;
mod init;
mod logs;
mod masked;
mod mount_point;
mod network;
mod own_program;
mod ownership;
mod pasta;
mod pids;
mod pipes;
mod plan;
mod rootfs;
mod rtnetlink;
mod runner;
mod running;
mod sandbox;
mod seccomp;
mod services;
mod session;
mod start;
mod sub_path;
mod sysctls;
mod terminal;
mod usage;
mod users;
mod volumes;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use probelet_model::id::ContainerId;
use probelet_model::time::Mono;
use probelet_runtime::{ContainerConfig, Exit, Family, StartContainerError, Transport};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};

use self::agent::Agents;
use self::attachments::Attachments;
use self::container::{Container, StartAnswer};
use self::runner::Runner;
use self::running::Running;
use self::sandbox::Sandbox;
use self::services::Services;
use self::session::Session;
pub use self::start::shim_main;
use self::usage::Measurement;
use crate::cgroup::PodCgroup;
use crate::layout::{self, ContainerFile, PodDir};
use crate::protocol::{Abilities, Answer, Call, Message, Record, ShimConfig};
use crate::sys::{self, Fresh};
use crate::{clock, text, volume_files, wire};

/// How long a volume's files are kept after they have been replaced: whoever is on the way to one of them
/// has got there by then.
const KEEP_REPLACED: Duration = Duration::from_secs(1);

/// Who asked: answers go back on the connection the question came by, or nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asker {
    connection: u64,
    request: u64,
}

/// A pod that stands.
struct Shim {
    config: ShimConfig,
    dir: PodDir,
    sandbox: Sandbox,
    cgroup: PodCgroup,
    agents: Agents,
    live: BTreeMap<ContainerId, Container>,
    ended: Vec<ContainerFile>,
    sessions: BTreeMap<u64, Session>,
    attachments: Attachments,
    measurement: Option<Measurement>,
    /// When it is to be looked whether volumes are too full; never, if none has a limit.
    look_at_volumes: Option<Mono>,
    /// What carries the pod's traffic out, or why nothing does.
    pasta: Option<Result<pasta::Running, String>>,
    /// Asked of containers that are still starting.
    early: Vec<(Asker, ContainerId, Call)>,
    /// Of the next session.
    next_key: u64,
    /// Of the next attempt that is relayed.
    next_attempt: u32,
    /// Directories of volumes that are to be removed, and when.
    replaced: Vec<(Mono, PathBuf)>,
    /// Children that remove what ended runs have left on disk.
    removals: BTreeMap<ContainerId, OwnedFd>,
    /// The pod is to go; whoever has asked for that gets an answer when it has gone.
    removing: Option<Vec<Asker>>,
    /// Children that are about to end, for whom nobody waits.
    strays: Vec<Running>,
    /// Tells of the ends of children.
    child_signals: OwnedFd,
}

/// Whose descriptor is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ready {
    Agents(agent::Part),
    Container(ContainerId, container::Part),
    Children,
    Runner(ContainerId),
    Attachment(u64, attachments::Part),
    Measurement,
    Removal(ContainerId),
    Pasta,
}

impl Shim {
    /// Until the pod is removed.
    fn run(&mut self) {
        while !self.is_over() {
            self.turn();
        }
        self.remove();
    }

    /// Waits for something to happen and deals with it.
    fn turn(&mut self) {
        for ready in self.wait() {
            match ready {
                Ready::Agents(part) => {
                    let no_pasta = self.pasta.as_ref().and_then(|pasta| pasta.as_ref().err());
                    for (asker, call, fds) in self.agents.take(part, || {
                        record(&self.config, &self.live, &self.ended, no_pasta)
                    }) {
                        self.call(asker, call, fds);
                    }
                }
                Ready::Container(id, part) => self.container_ready(&id, part),
                Ready::Children => self.children_have_ended(),
                Ready::Runner(id) => self.runner_ready(&id),
                Ready::Attachment(key, part) => self.attachments.take(key, part, clock::mono()),
                Ready::Measurement => self.measured(),
                Ready::Removal(id) => self.removals.retain(|of, child| *of != id || !reap(child)),
                Ready::Pasta => self.pasta_ended(),
            }
        }
        self.keep_deadlines();
    }

    fn wait(&self) -> Vec<Ready> {
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        let mut tokens = Vec::new();
        let mut watch = |fd, flags, token| {
            fds.push(PollFd::from_borrowed_fd(fd, flags));
            tokens.push(token);
        };
        for (fd, flags, part) in self.agents.parts() {
            watch(fd, flags, Ready::Agents(part));
        }
        // Commands before containers: a container's init ends only after they have been reaped.
        watch(self.child_signals.as_fd(), PollFlags::IN, Ready::Children);
        for (id, container) in &self.live {
            if let Some((fd, flags)) = container.standing_runner().map(Runner::part) {
                watch(fd, flags, Ready::Runner(id.clone()));
            }
            for (fd, part) in container.parts(&self.attachments) {
                let ready = Ready::Container(id.clone(), part);
                watch(fd.as_fd(), PollFlags::IN, ready);
            }
        }
        for (fd, flags, key, part) in self.attachments.parts() {
            watch(fd, flags, Ready::Attachment(key, part));
        }
        if let Some(measurement) = &self.measurement {
            watch(measurement.fd(), PollFlags::IN, Ready::Measurement);
        }
        for (id, child) in &self.removals {
            watch(child.as_fd(), PollFlags::IN, Ready::Removal(id.clone()));
        }
        if let Some(Ok(pasta)) = &self.pasta {
            watch(pasta.pidfd().as_fd(), PollFlags::IN, Ready::Pasta);
        }
        let timeout = self.deadline().map(clock::until);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => Vec::new(),
            Ok(_) => {
                let ready = fds
                    .iter()
                    .zip(tokens)
                    .filter(|(fd, _)| !fd.revents().is_empty());
                ready.map(|(_, token)| token).collect()
            }
            Err(errno) => {
                note(&format!("poll: {}", text::reason(errno)));
                Vec::new()
            }
        }
    }

    fn deadline(&self) -> Option<Mono> {
        let containers = self.live.values().filter_map(Container::deadline);
        containers
            .chain(
                self.live
                    .values()
                    .filter_map(|it| it.standing_runner()?.deadline()),
            )
            .chain(self.sessions.values().map(Session::deadline))
            .chain(self.attachments.deadline())
            .chain(self.replaced.iter().map(|(at, _)| *at))
            .chain(self.look_at_volumes)
            .filter(|at| *at < Mono(u64::MAX))
            .min()
    }

    fn keep_deadlines(&mut self) {
        let now = clock::mono();
        for container in self
            .live
            .values_mut()
            .filter(|container| container.deadline().is_some_and(|at| at <= now))
        {
            container.kill();
        }
        self.keep_command_deadlines(now);
        self.attachments.keep_deadlines(now);
        if self.look_at_volumes.is_some_and(|at| at <= now) {
            self.look_at_volumes = Some(now + usage::BETWEEN_LOOKS);
            self.measure_volumes();
        }
        self.replaced.retain(|(at, dir)| {
            let due = *at <= now;
            if due && let Err(error) = layout::remove_tree(dir) {
                note(&format!("remove {}: {error}", dir.display()));
            }
            !due
        });
    }

    fn call(&mut self, asker: Asker, call: Call, fds: Vec<OwnedFd>) {
        if let Call::Exec { container, .. }
        | Call::ExecChannel { container }
        | Call::OpenExec { container, .. }
        | Call::Attach { container, .. } = &call
            && self.live.get(container).is_some_and(Container::is_starting)
        {
            return self.early.push((asker, container.clone(), call));
        }
        match call {
            Call::Start(config) => self.start_container(asker, *config),
            Call::Stop { container, grace } => {
                if let Some(container) = self.live.get_mut(&container) {
                    container.stop(clock::mono() + grace);
                }
                self.agents.answer(asker, Answer::Stopping, Vec::new());
            }
            Call::Exec { container, request } => self.exec(asker, &container, request),
            Call::ExecChannel { container } => self.open_exec_channel(asker, &container),
            Call::EndAttempt { container, id } => self.end_attempt(&container, id, Some(asker)),
            Call::Runs { container } => {
                let answer = Answer::Runs(self.runs(&container));
                self.agents.answer(asker, answer, Vec::new());
            }
            Call::OpenExec { container, request } => self.open_exec(asker, &container, request),
            Call::Attach { container, streams } => self.attach(asker, container, streams),
            Call::UpdateVolume { volume } => {
                let updated = self.update_volume(&volume, fds);
                self.agents
                    .answer(asker, Answer::VolumeUpdated(updated), Vec::new());
            }
            Call::Sockets { family, count } => match sockets(family, count) {
                Ok(sockets) => self.agents.answer(asker, Answer::Sockets(Ok(())), sockets),
                Err(errno) => {
                    self.agents
                        .answer(asker, Answer::Sockets(Err(text::reason(errno))), Vec::new())
                }
            },
            Call::Bind { address, transport } => {
                let (answer, sockets) = match self.bind(address, transport) {
                    Ok(socket) => (Ok(()), vec![socket]),
                    Err(text) => (Err(text), Vec::new()),
                };
                self.agents.answer(asker, Answer::Bound(answer), sockets);
            }
            Call::Usage => self.measure(asker),
            Call::Remove => {
                self.removing.get_or_insert_default().push(asker);
                self.live.values_mut().for_each(Container::kill);
            }
        }
    }

    fn bind(&self, address: SocketAddr, transport: Transport) -> Result<OwnedFd, String> {
        let bound = match &self.sandbox.services {
            Some(services) if Services::has(address.ip()) => services.bind(address, transport),
            None if Services::has(address.ip()) => {
                return Err("this pod cannot reach services: its shim.log says why".to_owned());
            }
            Some(_) | None => network::bind(address, transport),
        };
        bound.map_err(text::reason)
    }

    fn start_container(&mut self, asker: Asker, config: ContainerConfig) {
        let refused = |text: &str| Err(StartContainerError::Create(text.to_owned()));
        let started = if self.removing.is_some() {
            Err(StartContainerError::NoPod(self.config.pod.uid.clone()))
        } else if !layout::is_plain_name(config.id.as_str())
            || !layout::is_plain_name(config.name.as_str())
        {
            refused("its id or name cannot be a file's name")
        } else if self.live.contains_key(&config.id)
            || self.ended.iter().any(|file| file.record.id == config.id)
        {
            refused("its id has been used before")
        } else {
            self.forget_old_runs(&config);
            let (shim, cgroup) = (&self.config, &self.cgroup);
            Container::start(shim, &self.dir, &mut self.sandbox, cgroup, config, asker)
        };
        match started {
            Ok(container) => {
                self.live.insert(container.config.id.clone(), container);
            }
            Err(error) => self
                .agents
                .answer(asker, Answer::Started(Err(error)), Vec::new()),
        }
    }

    /// Of the runs of one container that have ended, the last is kept, for its log and its exit.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_gc.go, evictContainers with
    /// MaxPerPodContainer 1.
    /// Shown by: of_the_ended_runs_of_a_container_the_last_is_kept.
    fn forget_old_runs(&mut self, next: &ContainerConfig) {
        let last = self
            .ended
            .iter()
            .rposition(|file| file.record.name == next.name);
        let (mut index, mut forgotten) = (0, Vec::new());
        let (dir, shim) = (&self.dir, &self.config);
        self.ended.retain(|file| {
            let old = file.record.name == next.name && Some(index) != last;
            index += 1;
            if old {
                let run = ContainerConfig {
                    restart_count: file.record.restart_count,
                    ..next.clone()
                };
                logs::remove(&container::log_path(shim, &run));
                let _gone = std::fs::remove_file(dir.container(&file.record.id));
                forgotten.push(file.record.id.clone());
            }
            !old
        });
        for id in &forgotten {
            self.remove_root(id);
        }
    }

    /// What a run of an image has written may take long to remove, so a child does that.
    fn remove_root(&mut self, id: &ContainerId) {
        let root = self.dir.container_root(id);
        if !root.exists() {
            return;
        }
        let removal = sys::fork(Fresh::Nothing, || {
            if sys::close_all_but(&[]).is_err() {
                return 1;
            }
            if let Err(error) = layout::remove_tree(&root) {
                note(&format!("remove {}: {error}", root.display()));
            }
            0
        });
        match removal {
            Ok(child) => {
                self.removals.insert(id.clone(), child.pidfd);
            }
            Err(errno) => note(&format!(
                "remove {}: {}",
                root.display(),
                text::reason(errno)
            )),
        }
    }

    fn update_volume(&mut self, volume: &str, fds: Vec<OwnedFd>) -> Result<(), String> {
        let content = fds.into_iter().next().ok_or("the files were not sent")?;
        let content = volume_files::unpack(content).map_err(|error| error.to_string())?;
        let files = content.get(volume).ok_or("other files were sent")?;
        let replaced = volumes::update(&self.dir, &self.config.pod, volume, files)?;
        let at = clock::mono() + KEEP_REPLACED;
        self.replaced.extend(replaced.map(|dir| (at, dir)));
        Ok(())
    }

    fn container_ready(&mut self, id: &ContainerId, part: container::Part) {
        let Some(container) = self.live.get_mut(id) else {
            return;
        };
        match part {
            container::Part::Channel => container.read_channel(),
            container::Part::Output(stream) => {
                container.read_output(stream, &mut self.attachments);
            }
            container::Part::Start => {
                let answer = container.read_start();
                self.started(id, answer);
            }
            container::Part::Init => {
                let Some(exit) = container.reap(&self.sandbox, &mut self.attachments) else {
                    return;
                };
                // The start pipe is closed by now, if it was not read to its end before.
                let answer = container.read_start();
                self.started(id, answer);
                self.ended(id, exit);
            }
        }
    }

    fn started(&mut self, id: &ContainerId, answer: Option<StartAnswer>) {
        let Some((asker, answer)) = answer else {
            return;
        };
        if let Some(file) = self.live.get(id).and_then(Container::file) {
            self.write(&file);
        }
        self.agents
            .answer(asker, Answer::Started(answer), Vec::new());
        let (now, later) = std::mem::take(&mut self.early)
            .into_iter()
            .partition(|(_, of, _)| of == id);
        self.early = later;
        let now: Vec<(Asker, ContainerId, Call)> = now;
        for (asker, _, call) in now {
            self.call(asker, call, Vec::new());
        }
        self.give_back_memory();
    }

    /// After work that is seldom done.
    fn give_back_memory(&self) {
        if let Err(error) = sys::give_back_clean_pages() {
            note(&format!("giving memory back: {error}"));
        }
    }

    fn ended(&mut self, id: &ContainerId, exit: Exit) {
        self.lose_runner(id);
        let Some(container) = self.live.remove(id) else {
            return;
        };
        self.attachments.end(id, exit.code);
        // One that has never run leaves nothing: its start has been answered with an error.
        let Some(mut file) = container.file() else {
            let _gone = std::fs::remove_file(self.dir.message(id));
            self.remove_root(id);
            return logs::remove(&container::log_path(&self.config, &container.config));
        };
        // Its cgroups go before anybody hears of its end.
        drop(container);
        let exit = file.end(&self.dir, exit);
        self.write(&file);
        self.ended.push(file);
        self.agents.tell(&Message::Exited {
            container: id.clone(),
            exit,
        });
    }

    fn pasta_ended(&mut self) {
        if let Some(Ok(pasta)) = self.pasta.take() {
            pasta.end();
        }
        let why = "pasta has ended; the pod has no way out until it is started anew";
        note(why);
        self.pasta = Some(Err(why.to_owned()));
    }

    fn write(&self, file: &ContainerFile) {
        if let Err(error) = layout::write_json(&self.dir.container(&file.record.id), file) {
            note(&format!(
                "container {}: write record: {error}",
                file.record.id
            ));
        }
    }

    fn is_over(&self) -> bool {
        self.removing.is_some()
            && self.live.is_empty()
            && self.sessions.is_empty()
            && self.strays.is_empty()
            && self.attachments.is_empty()
            && self.removals.is_empty()
    }

    /// Removes what is on disk, and says so to whoever has asked.
    fn remove(&mut self) {
        self.sandbox.pids.end();
        if let Some(Ok(pasta)) = self.pasta.take() {
            pasta.end();
        }
        volumes::tear_down(&self.dir, &self.config.pod.volumes);
        let cgroups = self.config.cgroups.remove_pod(&self.config.pod.uid);
        let removed = layout::remove_pod(&self.dir, &self.config.log_dir, &self.config.pod);
        let removed = removed
            .and(cgroups)
            .map_err(|error| format!("remove {}: {error}", self.dir.path().display()));
        for asker in self.removing.take().into_iter().flatten() {
            self.agents
                .answer(asker, Answer::Removed(removed.clone()), Vec::new());
        }
        self.agents.finish(Duration::from_secs(2));
    }
}

fn record(
    config: &ShimConfig,
    live: &BTreeMap<ContainerId, Container>,
    ended: &[ContainerFile],
    no_pasta: Option<&String>,
) -> Record {
    let live = live.values().filter_map(Container::file);
    let mut containers: Vec<_> = ended
        .iter()
        .cloned()
        .chain(live)
        .map(|file| file.record)
        .collect();
    containers.sort_by_key(|record| record.started.started_at);
    Record {
        config: config.pod.clone(),
        containers,
        abilities: Abilities {
            sessions: true,
            images: true,
            exec_channels: true,
        },
        pasta_failed: no_pasta.cloned(),
    }
}

/// Reaps a child if it has ended, and says whether it is no more.
fn reap(child: &OwnedFd) -> bool {
    reap_with_status(child).is_some()
}

/// The same, with how it has ended, if that can be known.
fn reap_with_status(child: &OwnedFd) -> Option<Option<WaitIdStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match waitid(WaitId::PidFd(child.as_fd()), options) {
        Ok(None) | Err(Errno::INTR) => None,
        status => Some(status.ok().flatten()),
    }
}

/// Fresh TCP sockets of this process's, and that is the pod's, network namespace.
fn sockets(family: Family, count: usize) -> Result<Vec<OwnedFd>, Errno> {
    (0..count.min(wire::MAX_FDS))
        .map(|_| tcp_socket(family))
        .collect()
}

/// A fresh TCP socket of the calling process's network namespace.
pub(crate) fn tcp_socket(family: Family) -> Result<OwnedFd, Errno> {
    let family = match family {
        Family::V4 => AddressFamily::INET,
        Family::V6 => AddressFamily::INET6,
    };
    socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        Some(ipproto::TCP),
    )
}

/// Says something for people, in the pod's `shim.log`.
pub(crate) fn note(text: &str) {
    use std::io::Write;
    let _nowhere_to_say_it = writeln!(
        std::io::stderr(),
        "{} {text}",
        clock::wall().micros_rfc3339()
    );
}
