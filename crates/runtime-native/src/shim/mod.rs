//! The shim: one small process per pod, which owns the pod's namespaces and is the parent of everything
//! in it. It starts, signals and reaps, writes logs and records, runs commands beside containers, makes
//! sockets for the agent, and outlives it.
//!
//! One thread, one poll loop, nothing that blocks: what takes time happens in a forked child with a pipe
//! to here. [`init`] is the child that becomes a container, [`guardian`] the one behind a command.
//!
//! Start reading at [`Shim::turn`].

mod agent;
mod command;
mod container;
mod exec;
mod guardian;
mod identity;
mod init;
mod logs;
mod mount_point;
mod network;
mod rootfs;
mod sandbox;
mod start;
mod volumes;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use probelet_model::id::ContainerId;
use probelet_model::time::Mono;
use probelet_runtime::{
    ContainerConfig, ExecError, ExecRequest, Exit, Family, StartContainerError,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use self::agent::Agents;
use self::container::{Container, StartAnswer};
use self::exec::Exec;
use self::identity::Privilege;
pub use self::start::shim_main;
use crate::layout::{self, ContainerFile, PodDir};
use crate::protocol::{Answer, Call, Message, Record, ShimConfig};
use crate::sys::{self, Stack};
use crate::{clock, text, wire};

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
    privilege: Privilege,
    agents: Agents,
    live: BTreeMap<ContainerId, Container>,
    ended: Vec<ContainerFile>,
    execs: BTreeMap<u64, Exec>,
    /// Asked of containers that are still starting.
    early: Vec<(Asker, ContainerId, ExecRequest)>,
    next_exec: u64,
    /// The pod is to go; whoever has asked for that gets an answer when it has gone.
    removing: Option<Vec<Asker>>,
    stack: Stack,
}

/// Whose descriptor is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ready {
    Agents(agent::Part),
    Container(ContainerId, container::Part),
    Exec(u64, exec::Part),
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
                    for (asker, request) in self
                        .agents
                        .take(part, || record(&self.config, &self.live, &self.ended))
                    {
                        self.call(asker, request.call);
                    }
                }
                Ready::Container(id, part) => self.container_ready(&id, part),
                Ready::Exec(key, part) => self.exec_ready(key, part),
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
        for (key, exec) in &self.execs {
            for (fd, part) in exec.parts() {
                watch(
                    std::os::fd::AsFd::as_fd(fd),
                    PollFlags::IN,
                    Ready::Exec(*key, part),
                );
            }
        }
        for (id, container) in &self.live {
            for (fd, part) in container.parts() {
                watch(
                    std::os::fd::AsFd::as_fd(fd),
                    PollFlags::IN,
                    Ready::Container(id.clone(), part),
                );
            }
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
            .chain(self.execs.values().map(Exec::deadline))
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
        for exec in self
            .execs
            .values_mut()
            .filter(|exec| exec.deadline() <= now)
        {
            exec.give_up();
        }
    }

    fn call(&mut self, asker: Asker, call: Call) {
        match call {
            Call::Start(config) => self.start_container(asker, config),
            Call::Stop { container, grace } => {
                if let Some(container) = self.live.get_mut(&container) {
                    container.stop(clock::mono() + grace);
                }
                self.agents.answer(asker, Answer::Stopping, Vec::new());
            }
            Call::Exec { container, request } => self.exec(asker, container, request),
            Call::Sockets { family, count } => match sockets(family, count) {
                Ok(sockets) => self.agents.answer(asker, Answer::Sockets(Ok(())), sockets),
                Err(errno) => {
                    self.agents
                        .answer(asker, Answer::Sockets(Err(text::reason(errno))), Vec::new())
                }
            },
            Call::Remove => {
                self.removing.get_or_insert_default().push(asker);
                self.live.values_mut().for_each(Container::kill);
            }
        }
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
            Container::start(&self.config, &self.dir, self.privilege, config, asker)
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
        let mut index = 0;
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
            }
            !old
        });
    }

    fn exec(&mut self, asker: Asker, id: ContainerId, request: ExecRequest) {
        let container = self.live.get(&id);
        if container.is_some_and(Container::is_starting) {
            self.early.push((asker, id, request));
            return;
        }
        let Some(place) = container.and_then(Container::running) else {
            return self.agents.answer(
                asker,
                Answer::Executed(Err(ExecError::NotRunning(id))),
                Vec::new(),
            );
        };
        match Exec::start(&mut self.stack, self.privilege, id, place, &request, asker) {
            Ok(exec) => {
                self.execs.insert(self.next_exec, exec);
                self.next_exec += 1;
            }
            Err(error) => self
                .agents
                .answer(asker, Answer::Executed(Err(error)), Vec::new()),
        }
    }

    fn exec_ready(&mut self, key: u64, part: exec::Part) {
        let Some(exec) = self.execs.get_mut(&key) else {
            return;
        };
        // A container that ends takes its commands with it, so what its init has said about that is older.
        let container = self.live.get_mut(&exec.container);
        let running = container.is_some_and(|container| {
            container.read_channel();
            container.running().is_some()
        });
        let over = part == exec::Part::Guardian && exec.reap();
        let answer = exec.take(part, running);
        if over {
            self.execs.remove(&key);
        }
        if let Some((asker, answer)) = answer {
            self.agents
                .answer(asker, Answer::Executed(answer), Vec::new());
        }
    }

    fn container_ready(&mut self, id: &ContainerId, part: container::Part) {
        let Some(container) = self.live.get_mut(id) else {
            return;
        };
        match part {
            container::Part::Channel => container.read_channel(),
            container::Part::Output(stream) => {
                container.read_output(stream);
            }
            container::Part::Start => {
                let answer = container.read_start();
                self.started(id, answer);
            }
            container::Part::Init => {
                let Some(exit) = container.reap() else { return };
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
        let now: Vec<(Asker, ContainerId, ExecRequest)> = now;
        for (asker, id, request) in now {
            self.exec(asker, id, request);
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
        let Some(container) = self.live.remove(id) else {
            return;
        };
        // One that has never run leaves nothing: its start has been answered with an error.
        let Some(mut file) = container.file() else {
            let _gone = std::fs::remove_file(self.dir.message(id));
            return logs::remove(&container::log_path(&self.config, &container.config));
        };
        let exit = file.end(&self.dir, exit);
        self.write(&file);
        self.ended.push(file);
        self.agents.tell(&Message::Exited {
            container: id.clone(),
            exit,
        });
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
        self.removing.is_some() && self.live.is_empty() && self.execs.is_empty()
    }

    /// Removes what is on disk, and says so to whoever has asked.
    fn remove(&mut self) {
        volumes::tear_down(&self.dir, &self.config.pod.volumes);
        let removed = layout::remove_pod(&self.dir, &self.config.log_dir, &self.config.pod);
        let removed =
            removed.map_err(|error| format!("remove {}: {error}", self.dir.path().display()));
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
fn note(text: &str) {
    use std::io::Write;
    let _nowhere_to_say_it = writeln!(
        std::io::stderr(),
        "{} {text}",
        clock::wall().micros_rfc3339()
    );
}
