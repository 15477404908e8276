//! From the first instruction of a shim to its event loop.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use probelet_runtime::StartPodError;
use rustix::fs::Mode;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use rustix::process::{chdir, setsid, umask};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::agent::Agents;
use super::attachments::Attachments;
use super::{Shim, note, sandbox, volumes};
use crate::layout::{self, PodDir, SOCKET};
use crate::process::ProcessId;
use crate::protocol::ShimConfig;
use crate::sys::{self, Signals, Stack};
use crate::text;
use crate::volume_files::{self, Content};

/// The whole life of a shim. The binary calls this before it sets anything else up, and with one thread;
/// `args` are the arguments after those of [`crate::Options::shim_command`].
///
/// On stdout it says, as JSON, how making the sandbox went: a `Result<(), StartPodError>`.
#[must_use]
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let (Some(dir), None) = (args.next(), args.next()) else {
        note("this command is for the agent alone: it wants the directory of one pod");
        return ExitCode::from(2);
    };
    let dir = PodDir::at(PathBuf::from(dir));
    let stood_up = detach(&dir).and_then(|content| stand_up(&dir, &content));
    let told = tell(stood_up.as_ref().map(drop));
    match stood_up {
        Ok(mut shim) => {
            if let Err(error) = told.and_then(|()| let_go_of_stdout()) {
                note(&format!("stdout: {error}"));
            }
            shim.run();
            ExitCode::SUCCESS
        }
        Err(error) => {
            note(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn failed(what: &str, error: &std::io::Error) -> StartPodError {
    StartPodError::Sandbox(format!("{what}: {}", text::of_io(error)))
}

/// Takes what is on stdin, then becomes a process that nothing of the agent's surroundings reaches.
fn detach(dir: &PodDir) -> Result<Content, StartPodError> {
    let attempt = || -> std::io::Result<Content> {
        sys::close_range_from(3, false)?;
        sys::set_signals(Signals::Shim);
        sys::give_back_large_allocations();
        // Fails only for the leader of a process group, which then is what was wanted.
        let _leader = setsid();
        umask(Mode::from_raw_mode(0o022));
        chdir("/")?;
        let content = volume_files::unpack(rustix::stdio::stdin().try_clone_to_owned()?)?;
        dup2_stdin(File::open("/dev/null")?)?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(dir.shim_log())?;
        dup2_stderr(log)?;
        layout::write_json(&dir.pid(), &ProcessId::own()?)?;
        Ok(content)
    };
    attempt().map_err(|error| failed("start shim", &error))
}

fn stand_up(dir: &PodDir, content: &Content) -> Result<Shim, StartPodError> {
    let config: ShimConfig = layout::read_json(&dir.config())
        .map_err(|error| failed("read the pod's config.json", &error))?;
    let made = sandbox::set_up(&config, dir, content).and_then(|privilege| {
        let listener =
            listen_in(dir.path()).map_err(|error| failed("listen for the agent", &error))?;
        Ok((privilege, listener))
    });
    let (privilege, listener) =
        made.inspect_err(|_| volumes::tear_down(dir, &config.pod.volumes))?;
    Ok(Shim {
        config,
        dir: dir.clone(),
        privilege,
        agents: Agents::new(listener),
        live: BTreeMap::new(),
        ended: Vec::new(),
        execs: BTreeMap::new(),
        sessions: BTreeMap::new(),
        attachments: Attachments::default(),
        early: Vec::new(),
        next_exec: 0,
        replaced: Vec::new(),
        removing: None,
        stack: Stack::new(),
    })
}

/// The socket's own path may be longer than an address takes, so it is named by its directory's
/// descriptor.
fn listen_in(dir: &Path) -> std::io::Result<OwnedFd> {
    let dir = File::open(dir)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    bind(
        &socket,
        &SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))?,
    )?;
    listen(&socket, 16)?;
    Ok(socket)
}

fn tell(result: Result<(), &StartPodError>) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&serde_json::to_vec(&result)?)?;
    stdout.flush()
}

fn let_go_of_stdout() -> std::io::Result<()> {
    Ok(dup2_stdout(File::open("/dev/null")?)?)
}
