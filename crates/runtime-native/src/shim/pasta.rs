//! `pasta`, which carries traffic out of a pod whose agent is not root: a child of the shim, so that it lives as
//! long as the pod, whether or not there is an agent.
//!
//! It needs the host's network namespace, which the shim leaves for good; so it is forked before that, waits, and
//! is executed once the pod's namespaces stand.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use probelet_runtime::Network;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Signal, WaitId, WaitIdOptions, getpid, set_parent_process_death_signal, waitid,
};
use rustix::stdio::{dup2_stderr, dup2_stdout};

use super::network;
use crate::layout::PodDir;
use crate::process;
use crate::protocol::{Pasta, ShimConfig};
use crate::sys::{self, Child, Fresh, Signals, StringTable};
use crate::{clock, text};

/// How long it may take to stand. It takes some milliseconds.
const LIMIT: Duration = Duration::from_secs(10);

/// Forked, and waiting in the host's namespaces.
pub(super) struct Waiting {
    child: Child,
    go: OwnedFd,
    ready: File,
    network: (Ipv4Addr, u8),
    log: PathBuf,
}

/// At work.
pub(super) struct Running(OwnedFd);

/// Forks it, if the pod is to have one.
pub(super) fn prepare(config: &ShimConfig, dir: &PodDir) -> io::Result<Option<Waiting>> {
    let (Some(pasta), Network::Own(IpAddr::V4(ip))) = (&config.pasta, config.pod.network) else {
        return Ok(None);
    };
    let (log, fifo) = (dir.path().join("pasta.log"), dir.path().join("pasta.ready"));
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0)?;
    let ready = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(&fifo)?;
    let program = c_string(pasta.program.as_os_str().as_bytes())?;
    let argv = arguments(pasta, ip, &fifo)?;
    let (wait, go) = pipe_with(PipeFlags::CLOEXEC)?;
    let child = sys::fork(Fresh::Nothing, || {
        let prepared = set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(io::Error::from)
            .and_then(|()| Ok(dup2_stdout(File::open("/dev/null")?)?))
            .and_then(|()| Ok(dup2_stderr(File::create(&log)?)?))
            .and_then(|()| Ok(sys::close_all_but(&[wait.as_fd()])?));
        if prepared.is_err() {
            return 1;
        }
        // Nothing comes if the sandbox could not be made.
        if !matches!(rustix::io::read(&wait, &mut [0; 1]), Ok(1)) {
            return 0;
        }
        sys::set_signals(Signals::Default);
        let errno = sys::execve(
            &program,
            &StringTable::new(argv),
            &StringTable::new(Vec::new()),
        );
        let _nowhere_to_say_it =
            rustix::io::write(rustix::stdio::stderr(), text::reason(errno).as_bytes());
        1
    })?;
    Ok(Some(Waiting {
        child,
        go,
        ready,
        network: pasta.network,
        log,
    }))
}

/// It gives the pod's `eth0` the pod's address. Nothing is forwarded inwards; the host's loopback, which stands
/// behind the gateway's address unless that is turned off, is not the pod's to reach.
fn arguments(pasta: &Pasta, ip: Ipv4Addr, ready: &Path) -> io::Result<Vec<CString>> {
    let shim = getpid().as_raw_nonzero();
    let (network, bits) = pasta.network;
    let gateway = Ipv4Addr::from(u32::from(network) + 1);
    let words = format!(
        "pasta --foreground --quiet --config-net --ns-ifname eth0 --no-map-gw -t none -u none -T none -U none \
         --address {ip} --netmask {bits} --gateway {gateway} --userns /proc/{shim}/ns/user --netns \
         /proc/{shim}/ns/net --pid"
    );
    let words = words.split(' ').map(str::as_bytes);
    words
        .chain([ready.as_os_str().as_bytes()])
        .map(c_string)
        .collect()
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    Ok(CString::new(bytes)?)
}

impl Waiting {
    /// Lets it begin, and waits until the pod has its interface.
    ///
    /// # Errors
    /// In words.
    pub(super) fn start(mut self) -> Result<Running, String> {
        match self.wait_for_it() {
            Ok(()) => Ok(Running(self.child.pidfd)),
            Err(why) => {
                Running(self.child.pidfd).end();
                Err(format!("pasta: {why}"))
            }
        }
    }

    fn wait_for_it(&mut self) -> Result<(), String> {
        let said = |error: io::Error| text::of_io(&error);
        rustix::io::write(&self.go, b"1").map_err(text::reason)?;
        let deadline = clock::mono() + LIMIT;
        let fds = &mut [
            PollFd::new(&self.ready, PollFlags::IN),
            PollFd::new(&self.child.pidfd, PollFlags::IN),
        ];
        let came = poll(fds, Some(&clock::until(deadline))).map_err(text::reason)?;
        // Its number, once it stands; the end of the file, if it has opened that and died.
        let length = self.ready.read(&mut [0; 32]).unwrap_or(0);
        if came == 0 {
            return Err(format!("not ready after {} s", LIMIT.as_secs()));
        }
        if length == 0 {
            return Err(last_words(&self.log));
        }
        network::refuse(self.network).map_err(|errno| said(errno.into()))
    }
}

/// The last it said that is not about the system's log.
fn last_words(log: &Path) -> String {
    let said = fs::read_to_string(log).unwrap_or_default();
    let last = said
        .lines()
        .rfind(|line| !line.is_empty() && !line.contains("to syslog"));
    last.unwrap_or("it ended without a word").to_owned()
}

impl Running {
    /// Readable once it has ended.
    pub(super) fn pidfd(&self) -> &OwnedFd {
        &self.0
    }

    /// Ends and reaps it.
    pub(super) fn end(self) {
        process::signal(&self.0, Signal::KILL);
        let _reaped = waitid(WaitId::PidFd(self.0.as_fd()), WaitIdOptions::EXITED);
    }
}
