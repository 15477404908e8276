//! The first process of a container: a fork of the shim, in its own pid and mount namespaces. It builds
//! the root. In a container of an image it then becomes the main program, as upstream, process 1 for everybody there.
//! With its end the kernel kills whatever else runs in the container.
//!
//! In a container without an image, whose programs are the host's, it stays, starts the main program, reaps every
//! orphan, and ends when the main program ends.
//!
//! Differs: the command of such a container is not process 1, for which the kernel drops every signal without a
//! handler; so that TERM ends a program of the host that was not written to be process 1, and nobody waits out the
//! grace period.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use probelet_model::id::ContainerId;
use probelet_model::time::Wall;
use probelet_runtime::{ContainerConfig, Exit, PodConfig, StartContainerError, wall_nanos};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, pidfd_open, set_child_subreaper,
    set_parent_process_death_signal, wait,
};
use serde::{Deserialize, Serialize};

use super::command::{
    self, CommandError, Entered, Environment, NOT_EXECUTED, StandardStreams, Words, enter_dir,
    enter_dir_early, prepare,
};
use super::confinement::Confinement;
use super::identity::{Identity, Privilege};
use super::rootfs::{self, Plan};
use super::terminal::{self, Terminal};
use super::users::{self, Users};
use super::volumes;
use crate::cgroup::ContainerCgroup;
use crate::layout::code_of_signal;
use crate::sys::{self, Fresh};
use crate::{clock, process, text, wire};

/// All that an init needs, inherited over the fork.
pub(super) struct Setting<'a> {
    pub(super) config: &'a ContainerConfig,
    pub(super) cgroup: &'a ContainerCgroup,
    pub(super) pod: &'a PodConfig,
    pub(super) privilege: Privilege,
    pub(super) confinement: &'a Confinement,
    /// Of its pid namespace; then the kernel makes it the parent of every orphan.
    pub(super) is_process_1: bool,
    /// It becomes the main program itself.
    ///
    /// Upstream: runc libcontainer/standard_init_linux.go, Init.
    /// Shown by: the_command_of_an_image_is_process_1.
    pub(super) becomes_main: bool,
    pub(super) root: Plan,
    /// Carries [`FromInit`] to the shim, and one packet back: go on.
    pub(super) channel: BorrowedFd<'a>,
    /// Carries a [`StartContainerError`] as JSON; closed without one by the main program's start.
    pub(super) failure: BorrowedFd<'a>,
    /// `None`: a terminal, which the init makes.
    pub(super) pipes: Option<StandardStreams<'a>>,
}

/// What an init, and its child before it becomes the main program, tell the shim.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromInit {
    /// The main process is there. Its pidfd is attached. An init that stays is answered with a packet, before which
    /// it does not reap the process, so that its number can still be read.
    Main {
        identity: Identity,
        /// Noted before the process can end.
        #[serde(with = "wall_nanos")]
        at: Wall,
    },
    /// The main program runs in a user namespace of its own, attached.
    UserNamespace,
    /// The main program runs on a terminal, whose near end is attached. Comes before [`Self::Main`].
    Terminal,
    /// The main process has ended.
    Ended(Exit),
}

/// What a forked child of the shim does instead of returning.
pub(super) fn run(setting: &Setting<'_>) -> i32 {
    match start(setting) {
        Ok(Next::Supervise(main)) => supervise(setting.channel, main),
        Ok(Next::End(code)) => code,
        Err(error) => {
            report_failure(setting.failure, &error);
            1
        }
    }
}

/// What is left to do for an init that has done what it could.
enum Next {
    /// There is a main program beside it.
    Supervise(Pid),
    /// It has not become the main program.
    End(i32),
}

fn start(setting: &Setting<'_>) -> Result<Next, StartContainerError> {
    let create = |text: String| StartContainerError::Create(text);
    let set_up = |text: String| StartContainerError::Start(text);
    let system = |errno: Errno| set_up(format!("set up container: {}", text::reason(errno)));
    let Setting {
        channel, failure, ..
    } = *setting;
    setting.cgroup.join().map_err(system)?;
    let pipes = setting.pipes.iter().flat_map(StandardStreams::all);
    let kept: Vec<BorrowedFd<'_>> = pipes.chain([channel, failure]).collect();
    sys::close_all_but(&kept).map_err(system)?;
    // A shim that died before this line leaves a closed channel, which ends us below.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(system)?;
    if !setting.is_process_1 {
        set_child_subreaper(Some(getpid())).map_err(system)?;
    }
    join_keyring(&setting.config.id).map_err(system)?;
    for volume in &setting.pod.volumes {
        volumes::make_missing_source(volume).map_err(|error| {
            create(format!(
                "volume \"{}\": {}",
                volume.name,
                text::of_io(&error)
            ))
        })?;
    }
    rootfs::enter(&setting.root)?;
    let far;
    let streams = match setting.pipes {
        Some(pipes) => pipes,
        None => {
            far = make_terminal(channel)
                .map_err(|errno| set_up(format!("make a terminal: {}", text::reason(errno))))?;
            on_terminal(far.as_fd())
        }
    };

    let command = |error: CommandError| StartContainerError::Command(error.to_string());
    let wanted = users::Wanted {
        user: setting.config.user,
        image: &setting.config.image_user,
        security: &setting.pod.security,
    };
    let identity = Users::here()
        .find(wanted)
        .map_err(|error| create(error.to_string()))?;
    let env = Environment::new(
        &setting.config.env,
        &identity.home,
        &setting.pod.hostname,
        streams.on_terminal,
    )
    .map_err(command)?;
    let words = Words::new(&setting.config.argv, &env).map_err(command)?;
    let dir = setting.config.working_dir.as_deref().unwrap_or("/");
    let dir = CString::new(dir).map_err(|_nul| command(CommandError::Nul("workingDir")))?;
    let at = clock::wall();
    if setting.becomes_main {
        let own = pidfd_open(getpid(), PidfdFlags::empty()).map_err(system)?;
        let told = FromInit::Main {
            identity: identity.clone(),
            at,
        };
        tell(channel, &told, vec![own]).map_err(system)?;
        let error = become_main(setting, &streams, &identity, &env, &words, &dir, None);
        return Ok(Next::End(give_up(failure, &error)));
    }
    let bounded = eventfd(0, EventfdFlags::CLOEXEC).map_err(system)?;
    let main = sys::fork(Fresh::Nothing, || {
        let bounded = Some(&bounded);
        let error = become_main(setting, &streams, &identity, &env, &words, &dir, bounded);
        give_up(failure, &error)
    });
    let main = main.map_err(system)?;
    // What is left to do here needs no more power than the container has.
    let told = setting
        .confinement
        .put_on_own()
        .and_then(|()| rustix::io::write(&bounded, &1_u64.to_ne_bytes()));
    if let Err(errno) = told {
        process::signal(&main.pidfd, Signal::KILL);
        return Err(system(errno));
    }
    tell(channel, &FromInit::Main { identity, at }, vec![main.pidfd]).map_err(system)?;
    Ok(Next::Supervise(main.pid))
}

/// Moves the calling process into the container's own session keyring.
///
/// Upstream: runc libcontainer/standard_init_linux.go, Init and getSessionRingParams.
/// Shown by: keys_of_whoever_started_the_agent_are_not_the_containers.
pub(super) fn join_keyring(container: &ContainerId) -> Result<(), Errno> {
    let name = CString::new(format!("_ses.{container}")).map_err(|_nul| Errno::INVAL)?;
    sys::join_session_keyring(&name)
}

/// Makes the container's terminal, gives its near end to the shim and answers with the far one.
fn make_terminal(channel: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let Terminal { near, far } = Terminal::here()?;
    terminal::mount_console(far.as_fd())?;
    tell(channel, &FromInit::Terminal, vec![near])?;
    Ok(far)
}

const fn on_terminal(far: BorrowedFd<'_>) -> StandardStreams<'_> {
    StandardStreams {
        stdin: Some(far),
        stdout: far,
        stderr: far,
        on_terminal: true,
    }
}

/// Returns only if it fails.
fn become_main(
    setting: &Setting<'_>,
    streams: &StandardStreams<'_>,
    identity: &Identity,
    env: &Environment,
    words: &Words,
    dir: &CString,
    bounded: Option<&OwnedFd>,
) -> CommandError {
    let attempt = || {
        prepare(streams)?;
        let entered = enter_dir_early(dir)?;
        let user = |reason: String| CommandError::User {
            uid: identity.uid,
            reason,
        };
        let namespace = identity
            .enter(setting.privilege)
            .map_err(|error| user(text::of_io(&error)))?;
        if let Some(namespace) = namespace {
            let told = tell(setting.channel, &FromInit::UserNamespace, vec![namespace]);
            told.map_err(|errno| user(text::reason(errno)))?;
        }
        // Before an init that stays is bounded, nobody runs who might want its power.
        if let Some(bounded) = bounded {
            rustix::io::read(bounded, &mut [0; 8]).map_err(|errno| user(text::reason(errno)))?;
        }
        let look_up = || {
            if entered == Entered::Denied {
                enter_dir(dir, entered)?;
            }
            words.look_up()
        };
        let path = setting
            .confinement
            .put_on(|| identity.set_ids(setting.privilege), look_up)
            .map_err(|errno| user(text::reason(errno)))??;
        if setting.becomes_main || !setting.is_process_1 {
            // No pid namespace ends it if its parent is killed. A profile of the node may not allow it.
            let _forbidden = set_parent_process_death_signal(Some(Signal::KILL));
        }
        Ok(words.execute(path, env))
    };
    attempt().unwrap_or_else(|error| error)
}

/// What is left to a process that has not become the main program: to say why, where upstream's runtimes would, and
/// to end with this exit code.
fn give_up(failure: BorrowedFd<'_>, error: &CommandError) -> i32 {
    if matches!(error, CommandError::Execute { .. }) {
        command::say(error);
        return NOT_EXECUTED;
    }
    report_failure(failure, &StartContainerError::Command(error.to_string()));
    127
}

/// Reaps until the main process has ended.
fn supervise(channel: BorrowedFd<'_>, main: Pid) -> i32 {
    // The pipes too: once the container's own processes have closed them, nothing more can come.
    if sys::close_all_but(&[channel]).is_err() {
        return 1;
    }
    // Nothing, if the shim is gone: then so is this container.
    let told = wire::receive_packet(channel, &mut [0; 1], &mut Vec::new());
    if !told.is_ok_and(|length| length > 0) {
        return 1;
    }
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == main => {
                let _shim_gone = tell(channel, &FromInit::Ended(exit_of(status)), Vec::new());
                return 0;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return 1,
        }
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    exit(status.exit_status(), status.terminating_signal())
}

/// That of a main program that has ended just now.
pub(super) fn exit(code: Option<i32>, signal: Option<i32>) -> Exit {
    let code = signal.map_or_else(|| code.unwrap_or(-1), code_of_signal);
    Exit {
        code,
        signal,
        finished_at: clock::wall(),
        out_of_memory: false,
        message: None,
    }
}

fn tell(channel: BorrowedFd<'_>, message: &FromInit, fds: Vec<OwnedFd>) -> Result<(), Errno> {
    let json = serde_json::to_vec(message).map_err(|_impossible| Errno::INVAL)?;
    wire::send(channel, &json, &fds)
}

fn report_failure(pipe: BorrowedFd<'_>, error: &StartContainerError) {
    let Ok(json) = serde_json::to_vec(error) else {
        return;
    };
    if let Ok(pipe) = pipe.try_clone_to_owned() {
        let _shim_gone = File::from(pipe).write_all(&json);
    }
}
