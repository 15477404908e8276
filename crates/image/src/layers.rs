//! Layers: unpacked once each, whoever needs them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::digest::Digest;
use crate::files::{self, FileLock};
use crate::place::Place;
use crate::progress::{LayerState, Progress};
use crate::unpack::{self, Job, MAPPED_IDS, Opaque, Owners, Unpacked};

/// What a process says of why it failed is cut here.
const MOST_WORDS: u64 = 4 << 10;
/// Layers are fed to the process in pieces of so many bytes.
const PIECE: usize = 256 << 10;

/// What unpacks layers, and removes them.
#[derive(Clone, Debug)]
pub(crate) struct Unpacker {
    command: Vec<OsString>,
    place: Place,
    opaque: Opaque,
}

/// A layer could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayerError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("failed to start {program:?}: {source}")]
    Start {
        program: OsString,
        source: io::Error,
    },
    #[error("failed to extract layer {diff_id}: {words}")]
    Unpack { diff_id: Digest, words: String },
}

/// The right to make one layer, which is not here.
#[derive(Debug)]
pub(crate) struct Making {
    lock: FileLock,
    diff_id: Digest,
}

impl Unpacker {
    pub(crate) fn new(command: Vec<OsString>, place: Place, opaque: Opaque) -> Self {
        Self {
            command,
            place,
            opaque,
        }
    }

    /// Whether the layer is here, or who may make it. Waits for whoever is at it.
    pub(crate) async fn begin(
        &self,
        diff_id: &Digest,
        digest: &Digest,
        progress: &Progress,
    ) -> Result<Option<Making>, LayerError> {
        if self.place.files(diff_id).is_dir() {
            progress.layer(digest, LayerState::Exists);
            return Ok(None);
        }
        let path = self.place.layer_lock(diff_id);
        let at = |source| LayerError::Io {
            path: path.clone(),
            source,
        };
        let lock = match FileLock::try_take(&path).map_err(at)? {
            Some(lock) => lock,
            None => {
                progress.layer(digest, LayerState::Waiting);
                FileLock::take(&path).await.map_err(at)?
            }
        };
        if self.place.files(diff_id).is_dir() {
            progress.layer(digest, LayerState::Exists);
            return Ok(None);
        }
        let diff_id = diff_id.clone();
        Ok(Some(Making { lock, diff_id }))
    }

    /// Unpacks what `blob` has, which is `bytes` long, as the layer.
    pub(crate) async fn unpack(
        &self,
        making: Making,
        blob: impl AsyncRead + Unpin,
        bytes: u64,
    ) -> Result<(), LayerError> {
        let diff_id = &making.diff_id.clone();
        let tmp = self.place.layer_tmp(diff_id);
        let at = |source| LayerError::Io {
            path: tmp.clone(),
            source,
        };
        self.clear(&tmp).await.map_err(at)?;
        files::make_private(&tmp).map_err(at)?;
        let into = tmp.join("files");
        files::make_public(&into).map_err(at)?;
        let job = Job {
            into,
            diff_id: diff_id.clone(),
            bytes,
            owners: self.place.owners(),
            opaque: self.opaque,
        };
        match self.run(job.args(), blob).await {
            Ok(unpacked) => {
                if unpacked.left_out > 0 {
                    let count = unpacked.left_out;
                    tracing::info!(%diff_id, count, "devices and attributes of a layer are left out, for want of rights");
                }
                let facts = serde_json::to_vec(&unpacked)
                    .map_err(io::Error::other)
                    .map_err(at)?;
                let (from, to) = (tmp.clone(), self.place.layer(diff_id));
                let finished = tokio::task::spawn_blocking(move || {
                    files::write_whole(&from.join("layer.json"), &facts)?;
                    files::rename(&from, &to)?;
                    // Not before.
                    drop(making.lock);
                    Ok(())
                });
                finished
                    .await
                    .map_err(io::Error::other)
                    .and_then(|done| done)
                    .map_err(at)?;
                Ok(())
            }
            Err(error) => {
                self.clear(&tmp).await.map_err(at)?;
                Err(match error {
                    RunError::Start(source) => LayerError::Start {
                        program: self.command.first().cloned().unwrap_or_default(),
                        source,
                    },
                    RunError::Failed(words) => LayerError::Unpack {
                        diff_id: diff_id.clone(),
                        words,
                    },
                })
            }
        }
    }

    /// Removes what an unpacking left behind, once nobody writes to it.
    async fn clear(&self, tmp: &Path) -> io::Result<()> {
        if files::if_there(fs::symlink_metadata(tmp))?.is_none() {
            return Ok(());
        }
        // Its parent is gone, and so its input ends: it does not take long.
        while is_written_to(tmp)? {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        self.remove(tmp).await
    }

    /// Removes a directory of files that may belong to anybody.
    pub(crate) async fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self
            .run(unpack::remove_args(path), tokio::io::empty())
            .await;
        match removed {
            Ok(_) => Ok(()),
            Err(RunError::Start(error)) => Err(error),
            Err(RunError::Failed(words)) => Err(io::Error::other(words)),
        }
    }

    async fn run(
        &self,
        args: Vec<OsString>,
        mut input: impl AsyncRead + Unpin,
    ) -> Result<Unpacked, RunError> {
        let (program, first) = self
            .command
            .split_first()
            .ok_or_else(|| RunError::Failed("no unpack command".to_owned()))?;
        let mapped = (self.place.owners() == Owners::Mapped).then_some(MAPPED_IDS);
        let mut child = Command::new(program)
            .args(first)
            .args(mapped)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(RunError::Start)?;
        let stdin = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let feed = async move {
            // A process that fails stops reading; why, it says itself.
            if let Some(mut stdin) = stdin {
                let mut buffer = vec![0; PIECE];
                loop {
                    let read = input.read(&mut buffer).await?;
                    if read == 0 || stdin.write_all(&buffer[..read]).await.is_err() {
                        break;
                    }
                }
            }
            Ok::<_, io::Error>(())
        };
        let (fed, said, complaint) = tokio::join!(feed, words(stdout), words(stderr));
        let failed = |error: io::Error| RunError::Failed(error.to_string());
        let status = child.wait().await.map_err(failed)?;
        fed.map_err(failed)?;
        if !status.success() {
            let complaint = complaint.trim();
            return Err(RunError::Failed(if complaint.is_empty() {
                format!("the unpacking process ended with {status}")
            } else {
                complaint.to_owned()
            }));
        }
        serde_json::from_str(&said).map_err(|error| {
            RunError::Failed(format!("the unpacking process said {said:?}: {error}"))
        })
    }

    /// Bytes of the files of layers that are here.
    pub(crate) fn size(&self, layers: &[Digest]) -> io::Result<u64> {
        let mut size = 0_u64;
        for layer in layers {
            let text = fs::read(self.place.layer_facts(layer))?;
            let facts: Unpacked = serde_json::from_slice(&text).map_err(io::Error::other)?;
            size = size.saturating_add(facts.size);
        }
        Ok(size)
    }
}

enum RunError {
    Start(io::Error),
    Failed(String),
}

async fn words(from: Option<impl AsyncRead + Unpin>) -> String {
    let mut words = Vec::new();
    if let Some(mut from) = from {
        // What cannot be read is not said.
        let _read = (&mut from).take(MOST_WORDS).read_to_end(&mut words).await;
        let _rest = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&words).into_owned()
}

/// Whether a process is unpacking into that directory.
pub(crate) fn is_written_to(tmp: &Path) -> io::Result<bool> {
    let opened = files::if_there(File::open(tmp.join("files")));
    let directory = match opened {
        Ok(Some(directory)) => directory,
        Ok(None) => return Ok(false),
        // A finished root directory may forbid to be opened; then nobody writes to it any more.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        Err(error) => return Err(error),
    };
    match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}
