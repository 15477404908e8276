//! Where things are on disk, and how they are written and removed.
//!
//! ```text
//! <data dir>/run/<pod uid>/config.json           what the sandbox is made from
//!                          shim.pid              who the shim is
//!                          shim.sock             where it listens; made once the sandbox stands
//!                          shim.log              what it has to say for people
//!                          pasta.log             what the pod's pasta has to say, if it has one
//!                          pasta.ready           a pipe that tells when that stands
//!                          containers/<id>.json  a run that has started, and how it ended
//!                          messages/<id>         what a run wrote as its last words, until it has ended
//!                          volumes/<name>/       emptyDir volumes
//!                          roots/<id>/           what a run of an image has written, until the run is forgotten
//!                          etc/                  hosts, hostname and resolv.conf of its containers
//!                          shm/                  what its containers share of memory
//!                          root/                 an empty place to build root file systems on
//! <data dir>/logs/                               see probelet_runtime::log_path
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use probelet_model::id::{ContainerId, PodUid};
use probelet_model::time::Wall;
use probelet_runtime::{ContainerRecord, Exit, PodConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::last_words;
use crate::process::ProcessId;
pub(crate) use crate::tree::remove as remove_tree;

/// Where all pods' directories are.
pub(crate) fn run_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("run")
}

/// Where all pods' logs are.
pub(crate) fn log_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("logs")
}

/// One pod's directory of logs.
pub(crate) fn pod_log_dir(log_dir: &Path, pod: &PodConfig) -> PathBuf {
    let log = probelet_runtime::log_path(&pod.namespace, &pod.name, &pod.uid, &"any".into(), 0);
    let pod = log
        .components()
        .next()
        .expect("a log path starts with the pod's part");
    log_dir.join(pod)
}

/// Whether a text that came from outside may be a file's name.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && !name.contains(['/', '\0'])
        && name.len() <= 200
}

/// One pod's directory.
#[derive(Clone, Debug)]
pub(crate) struct PodDir(PathBuf);

impl PodDir {
    pub(crate) fn new(data_dir: &Path, pod: &PodUid) -> Self {
        Self(run_dir(data_dir).join(pod.as_str()))
    }

    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }

    pub(crate) fn pid(&self) -> PathBuf {
        self.0.join("shim.pid")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join(SOCKET)
    }

    pub(crate) fn shim_log(&self) -> PathBuf {
        self.0.join("shim.log")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    pub(crate) fn roots(&self) -> PathBuf {
        self.0.join("roots")
    }

    /// All that is on disk of a run of an image.
    pub(crate) fn container_root(&self, id: &ContainerId) -> PathBuf {
        self.roots().join(id.as_str())
    }

    pub(crate) fn etc(&self) -> PathBuf {
        self.0.join("etc")
    }

    pub(crate) fn shared_memory(&self) -> PathBuf {
        self.0.join("shm")
    }

    /// There once it has been said that images are copied.
    pub(crate) fn copies_said(&self) -> PathBuf {
        self.0.join("copies-said")
    }

    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.volumes().join(name)
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.0.join("volumes")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.0.join("containers")
    }

    /// Not among the records: what is in it is the container's.
    pub(crate) fn messages(&self) -> PathBuf {
        self.0.join("messages")
    }

    pub(crate) fn message(&self, id: &ContainerId) -> PathBuf {
        self.messages().join(id.as_str())
    }

    pub(crate) fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(format!("{id}.json"))
    }

    /// The containers' records, oldest run first. A file that cannot be read is left out: it was cut
    /// short by a crash of the host, and its container ended then.
    pub(crate) fn records(&self) -> Vec<ContainerFile> {
        let entries = fs::read_dir(self.containers())
            .into_iter()
            .flatten()
            .flatten();
        let mut files: Vec<ContainerFile> = entries
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "json")
            })
            .filter_map(|path| read_json::<ContainerFile>(&path).ok())
            .collect();
        files.sort_by_key(|file| file.record.started.started_at);
        files
    }
}

/// The socket's name in a pod's directory.
pub(crate) const SOCKET: &str = "shim.sock";

/// What `containers/<id>.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ContainerFile {
    /// What the runtime tells about it.
    pub(crate) record: ContainerRecord,
    /// The first process of its pid namespace, whose end ends them all.
    pub(crate) init: ProcessId,
    /// Where its last words are looked for, once it has failed without any.
    #[serde(default)]
    pub(crate) fall_back_to: Option<PathBuf>,
}

impl ContainerFile {
    /// Notes how it ended, and its last words.
    pub(crate) fn end(&mut self, dir: &PodDir, exit: Exit) -> Exit {
        let message = dir.message(&self.record.id);
        let log = self.fall_back_to.as_deref().filter(|_| exit.code != 0);
        let exit = Exit {
            message: last_words::read(&message, log),
            ..exit
        };
        let _gone = fs::remove_file(message);
        self.record.exit = Some(exit.clone());
        exit
    }
}

/// The exit code that stands for a signal.
pub(crate) const fn code_of_signal(signal: i32) -> i32 {
    128 + signal
}

/// What the signal that ends all of a container makes of a command in it.
pub(crate) const KILLED: i32 = code_of_signal(rustix::process::Signal::KILL.as_raw());

/// The exit of a container that was killed with all it had.
pub(crate) fn killed(finished_at: Wall) -> Exit {
    let signal = rustix::process::Signal::KILL.as_raw();
    Exit {
        code: code_of_signal(signal),
        signal: Some(signal),
        finished_at,
        out_of_memory: false,
        message: None,
    }
}

/// Writes a file whole or not at all; of several who do so at a time, one is the last.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let count = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let new = path.with_extension(format!("{}-{count}.new", std::process::id()));
    fs::write(&new, serde_json::to_vec(value)?)?;
    fs::rename(&new, path)
}

/// Reads what [`write_json`] has written.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Removes what is left of a pod on disk. That it is gone already is no error.
pub(crate) fn remove_pod(dir: &PodDir, log_dir: &Path, pod: &PodConfig) -> io::Result<()> {
    remove_tree(&pod_log_dir(log_dir, pod))?;
    remove_tree(dir.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_not_plain() {
        assert!(is_plain_name("6f2d"));
        assert!(
            ["", ".", "..", "a/b", "/etc"]
                .iter()
                .all(|name| !is_plain_name(name))
        );
    }
}
