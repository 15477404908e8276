//! Finding a pod again: its shim if that lives, what it has left behind if not.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use probelet_runtime::PodRecord;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::layout::{self, ContainerFile, PodDir, SOCKET};
use crate::process::{self, ProcessId};
use crate::protocol::{Message, Record, ShimConfig};
use crate::wire::{Inbox, Received};
use crate::{clock, left_over, sys};

/// The largest message of a shim, which bounds its outputs itself.
const MAX_MESSAGE: usize = 256 * 1024 * 1024;
/// How long a shim that lives may take to listen and to say what it holds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a shim that has said what it holds.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) socket: AsyncFd<OwnedFd>,
    pub(crate) inbox: Inbox,
    /// Readable once the shim has ended.
    pub(crate) shim: AsyncFd<OwnedFd>,
    pub(crate) record: Record,
}

/// What there is of a pod.
#[derive(Debug)]
pub(crate) enum Found {
    /// All.
    Standing(Box<Connected>),
    /// Its shim is dead, and so is all it held.
    Dead(Box<PodRecord>),
    /// Nothing, or the beginnings of a sandbox that never stood.
    Nothing,
}

/// Looks for a pod.
pub(crate) async fn find(dir: &PodDir) -> io::Result<Found> {
    let shim = shim_of(dir);
    if let Some(shim) = shim {
        let deadline = tokio::time::sleep(PATIENCE);
        tokio::pin!(deadline);
        while !process::has_ended(&shim) {
            match connect(dir).await {
                Ok(connected) => return Ok(Found::Standing(Box::new(connected))),
                Err(error) => {
                    tracing::debug!(dir = %dir.path().display(), %error, "shim does not answer yet")
                }
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
                () = &mut deadline => return kill_and_bury(dir.clone(), Some(shim)).await,
            }
        }
    }
    kill_and_bury(dir.clone(), None).await
}

/// [`bury`], once a shim that does not answer has been killed.
async fn kill_and_bury(dir: PodDir, shim: Option<OwnedFd>) -> io::Result<Found> {
    let buried = tokio::task::spawn_blocking(move || {
        if let Some(shim) = shim {
            process::signal(&shim, Signal::KILL);
            if !process::wait_readable(&shim, PATIENCE) {
                return Err(io::Error::other("its shim cannot be killed"));
            }
        }
        bury(&dir)
    });
    buried.await.map_err(io::Error::other)?
}

fn shim_of(dir: &PodDir) -> Option<OwnedFd> {
    layout::read_json::<ProcessId>(&dir.pid()).ok()?.open()
}

/// Connects to a shim that lives.
pub(crate) async fn connect(dir: &PodDir) -> io::Result<Connected> {
    let shim = shim_of(dir).ok_or(Errno::SRCH)?;
    let here = File::open(dir.path())?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    // Through the directory's descriptor, as the path may be longer than an address takes.
    rustix::net::connect(
        &socket,
        &SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", here.as_raw_fd()))?,
    )?;
    let socket = sys::watch(socket, Interest::READABLE | Interest::WRITABLE)?;
    let mut inbox = Inbox::new(MAX_MESSAGE);
    let record = tokio::time::timeout(PATIENCE, first_message(&socket, &mut inbox)).await??;
    let shim = sys::watch(shim, Interest::READABLE)?;
    Ok(Connected {
        socket,
        inbox,
        shim,
        record,
    })
}

async fn first_message(socket: &AsyncFd<OwnedFd>, inbox: &mut Inbox) -> io::Result<Record> {
    loop {
        let mut ready = socket.readable().await?;
        match inbox.receive(socket.as_fd()) {
            Ok(Received::Message(json, _)) => match serde_json::from_slice(&json)? {
                Message::Record(record) => return Ok(*record),
                other => return Err(io::Error::other(format!("a shim began with {other:?}"))),
            },
            Ok(Received::End) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Makes sure that nothing runs of a pod whose shim is dead, and notes that its containers have ended.
/// Blocks.
///
/// # Errors
///
/// If something of it cannot be killed or removed. Then it can be tried again.
///
/// Shown by: a_killed_shim_leaves_nothing_of_a_pod_that_shares_its_processes.
pub(crate) fn bury(dir: &PodDir) -> io::Result<Found> {
    let Some(config) = beginnings(dir)? else {
        return Ok(Found::Nothing);
    };
    let deadline = clock::mono() + PATIENCE;
    let mut containers = dir.records();
    for file in containers.iter().filter(|file| file.record.exit.is_none()) {
        // The kernel kills an init whose shim dies; this waits until that has come to its end.
        if let Some(init) = file.init.open() {
            process::signal(&init, Signal::KILL);
            if !process::wait_readable(&init, deadline.since(clock::mono())) {
                return Err(io::Error::other(format!(
                    "container {} cannot be killed",
                    file.record.id
                )));
            }
        }
    }
    left_over::end(dir, &config, deadline)?;
    for file in containers
        .iter_mut()
        .filter(|file| file.record.exit.is_none())
    {
        file.end(dir, layout::killed(clock::wall()));
        layout::write_json(&dir.container(&file.record.id), file)?;
    }
    config.cgroups.remove_pod(&config.pod.uid)?;
    Ok(Found::Dead(Box::new(record(config, containers))))
}

/// What is written down of a pod that cannot be buried. `None` if it never stood.
pub(crate) fn written_down(dir: &PodDir) -> Option<PodRecord> {
    let config = beginnings(dir).ok().flatten()?;
    Some(record(config, dir.records()))
}

fn record(config: ShimConfig, containers: Vec<ContainerFile>) -> PodRecord {
    PodRecord {
        config: config.pod,
        containers: containers.into_iter().map(|file| file.record).collect(),
    }
}

/// What the sandbox of a pod was made from, if it has stood.
fn beginnings(dir: &PodDir) -> io::Result<Option<ShimConfig>> {
    let Ok(config) = layout::read_json(&dir.config()) else {
        return Ok(None);
    };
    Ok(fs::exists(dir.socket())?.then_some(config))
}
