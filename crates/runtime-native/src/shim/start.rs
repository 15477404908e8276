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
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use rustix::process::{chdir, geteuid, setsid, umask};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::agent::Agents;
use super::attachments::Attachments;
use super::{Shim, note, own_program, pasta, sandbox, usage, volumes};
use crate::cgroup::PodCgroup;
use crate::layout::{self, PodDir, SOCKET};
use crate::process::ProcessId;
use crate::protocol::ShimConfig;
use crate::removal;
use crate::sys::{self, Signals};
use crate::volume_files::{self, Content};
use crate::{clock, text};

/// The whole life of a shim. The binary calls this before it sets anything else up, and with one thread;
/// `args` are the arguments after those of [`crate::Options::shim_command`].
///
/// On stdout it says, as JSON, how making the sandbox went: a `Result<(), StartPodError>`.
#[must_use]
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let dir = match &args[..] {
        [dir] => PodDir::at(PathBuf::from(dir)),
        [flag, tree] if flag == removal::REMOVE => return removal::main(tree),
        _ => {
            note("this command is for the agent alone: it wants the directory of one pod");
            return ExitCode::from(2);
        }
    };
    let stood_up = own_program::protect()
        .map_err(|error| failed("keep the shim's program from containers", &error))
        .and_then(|()| detach(&dir))
        .and_then(|content| stand_up(&dir, &content));
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
        leave_session_keyring()?;
        layout::write_json(&dir.pid(), &ProcessId::own()?)?;
        Ok(content)
    };
    attempt().map_err(|error| failed("start shim", &error))
}

/// The keys of whoever started the agent are not for pods.
///
/// Differs: where an ordinary user has no more keys to spend (200 of all kinds, as a rule), his pods do without. Their
/// processes are his own, as the keys are.
fn leave_session_keyring() -> std::io::Result<()> {
    match sys::leave_session_keyring() {
        Err(Errno::DQUOT) if !geteuid().is_root() => {
            note("no session keyring of its own: sysctl kernel.keys.maxkeys is too low");
            Ok(())
        }
        left => left.map_err(|errno| {
            std::io::Error::other(format!("make a session keyring: {}", text::reason(errno)))
        }),
    }
}

fn stand_up(dir: &PodDir, content: &Content) -> Result<Shim, StartPodError> {
    let config: ShimConfig = layout::read_json(&dir.config())
        .map_err(|error| failed("read the pod's config.json", &error))?;
    // Before the namespaces: without root, the cgroups are the user's and not those of a user namespace.
    let pod = &config.pod;
    let cgroup = match config.cgroups.make_pod(&pod.uid, &pod.resources, pod.qos) {
        // What another user has delegated may not be as it should; the pod can do without.
        Err(error) if !geteuid().is_root() => {
            note(&format!("resources are not limited: {error}"));
            PodCgroup::default()
        }
        made => made.map_err(|error| failed("limit resources", &error))?,
    };
    let child_signals =
        sys::child_signals().map_err(|errno| failed("watch over children", &errno.into()))?;
    let waiting =
        pasta::prepare(&config, dir).map_err(|error| failed("make ready for pasta", &error))?;
    let made = sandbox::set_up(&config, dir, content).and_then(|sandbox| {
        let pasta = waiting.map(pasta::Waiting::start);
        let required = config.pasta.as_ref().is_some_and(|pasta| pasta.required);
        match &pasta {
            Some(Err(why)) if required => return Err(StartPodError::Sandbox(why.clone())),
            Some(Err(why)) => note(why),
            Some(Ok(_)) | None => {}
        }
        let listener =
            listen_in(dir.path()).map_err(|error| failed("listen for the agent", &error))?;
        Ok((sandbox, pasta, listener))
    });
    let (sandbox, pasta, listener) = made.inspect_err(|_| {
        volumes::tear_down(dir, &config.pod.volumes);
        let _cannot_be_told = config.cgroups.remove_pod(&config.pod.uid);
    })?;
    let limited = usage::has_limits(&config.pod.volumes);
    let look_at_volumes = limited.then(|| clock::mono() + usage::BETWEEN_LOOKS);
    Ok(Shim {
        config,
        dir: dir.clone(),
        sandbox,
        cgroup,
        agents: Agents::new(listener),
        live: BTreeMap::new(),
        ended: Vec::new(),
        sessions: BTreeMap::new(),
        attachments: Attachments::default(),
        measurement: None,
        look_at_volumes,
        pasta,
        early: Vec::new(),
        next_key: 0,
        next_attempt: 0,
        replaced: Vec::new(),
        removals: BTreeMap::new(),
        removing: None,
        strays: Vec::new(),
        child_signals,
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
