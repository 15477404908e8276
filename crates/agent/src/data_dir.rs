//! Where an agent keeps what must outlive it.
//!
//! ```text
//! <data dir>/lock           held by the one agent that works here; names it
//!            agent.sock     where it is asked for status, or to end
//!            agent.log      what it says in the background
//!            objects.redb   the store
//!            memory/<uid>   what the engine must know after a crash, a file a pod
//!            run/, logs/    the runtime's
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use probelet_model::id::PodUid;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::time::Timespec;

/// Whoever looks whether the lock is held ([`DataDir::is_locked`]) holds it for less than this, so that
/// one who wants it asks a few times before taking it for somebody's.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};
const LOOKS: u32 = 5;
/// Where root's data goes if nobody says.
const ROOTS: &str = "/var/lib/probelet";

/// A data directory that may or may not be somebody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    path: PathBuf,
}

/// A data directory could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another agent works there.
    #[error(
        "data directory {dir} is in use by {holder}: apply to that one with `kubectl --kubeconfig {dir}/kubeconfig apply -f`, end it with `probelet down --data-dir {dir}`, or give another --data-dir",
        dir = path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// What the other one says of itself.
        holder: String,
    },
    /// Something stands in the way.
    #[error("data directory {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What.
        source: io::Error,
    },
}

/// Held as long as an agent works in a data directory; the kernel lets go of it when the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl DataDir {
    /// The directory at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Whether it is root's default one.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.path == Path::new(ROOTS)
    }

    /// Where data goes if nobody says: `/var/lib/probelet` for root, else `$XDG_STATE_HOME/probelet`,
    /// else `~/.local/state/probelet`.
    #[must_use]
    pub fn default_path(
        is_root: bool,
        xdg_state_home: Option<PathBuf>,
        home: Option<PathBuf>,
    ) -> PathBuf {
        if is_root {
            return PathBuf::from(ROOTS);
        }
        // The XDG specification has relative paths ignored.
        let state = xdg_state_home.filter(|path| path.is_absolute());
        let state = state.or_else(|| home.map(|home| home.join(".local/state")));
        state
            .unwrap_or_else(|| PathBuf::from("/tmp"))
            .join("probelet")
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory if it is not there; nobody but its owner may enter it (0700).
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn create(&self) -> Result<(), DataDirError> {
        let make = |path: &Path| {
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path);
            made.map_err(|source| DataDirError::Io {
                path: path.to_owned(),
                source,
            })
        };
        make(&self.path)?;
        make(&self.path.join("memory"))
    }

    /// Makes the directory if it is not there (0700), and takes it for this process.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn lock(&self) -> Result<Lock, DataDirError> {
        self.create()?;
        let path = self.path.join("lock");
        let io = |source| DataDirError::Io {
            path: path.clone(),
            source,
        };
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        let mut taken = flock(&file, FlockOperation::NonBlockingLockExclusive);
        for _ in 0..LOOKS {
            if taken != Err(Errno::WOULDBLOCK) {
                break;
            }
            let _cut_short = rustix::thread::nanosleep(&LOOK);
            taken = flock(&file, FlockOperation::NonBlockingLockExclusive);
        }
        match taken {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(io)?;
                let holder = if holder.trim().is_empty() {
                    "another process"
                } else {
                    holder.trim()
                };
                return Err(DataDirError::InUse {
                    path: self.path.clone(),
                    holder: holder.to_owned(),
                });
            }
            Err(errno) => return Err(io(errno.into())),
        }
        let name = format!("probelet, process {}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(name.as_bytes()))
            .map_err(io)?;
        Ok(Lock { _file: file })
    }

    /// The process that took the lock last.
    #[must_use]
    pub fn holder(&self) -> Option<u32> {
        let text = fs::read_to_string(self.path.join("lock")).ok()?;
        text.split_whitespace().next_back()?.parse().ok()
    }

    /// Whether somebody holds the lock.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        let Ok(file) = File::open(self.path.join("lock")) else {
            return false;
        };
        matches!(
            flock(&file, FlockOperation::NonBlockingLockShared),
            Err(Errno::WOULDBLOCK)
        )
    }

    /// The agent's log, when it runs in the background.
    #[must_use]
    pub fn agent_log(&self) -> PathBuf {
        self.path.join("agent.log")
    }

    /// Where the agent is asked for things.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path.join("agent.sock")
    }

    /// The kubeconfig of whoever owns the directory.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// Where images are.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.path.join("images")
    }

    pub(crate) fn memory(&self, pod: &PodUid) -> PathBuf {
        self.path.join("memory").join(pod.as_str())
    }

    /// The pods that have a memory file.
    pub(crate) fn remembered(&self) -> Vec<PodUid> {
        let entries = fs::read_dir(self.path.join("memory"))
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter_map(|entry| Some(PodUid::from(entry.file_name().to_str()?)))
            .collect()
    }
}

/// A short name for a path that may be too long for a socket's address (108 bytes), good as long as the
/// directory it keeps open.
#[derive(Debug)]
pub(crate) struct ShortPath {
    directory: File,
    name: String,
}

impl ShortPath {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let parent = path.parent().unwrap_or_else(|| Path::new("/"));
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(Self {
            directory: File::open(parent)?,
            name,
        })
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/self/fd/{}/{}",
            self.directory.as_raw_fd(),
            self.name
        ))
    }
}
