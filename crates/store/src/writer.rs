//! The thread that carries changes to disk.
//!
//! What waits for it is a map of the latest value by key, so a key that changes faster than the disk
//! turns costs one place, and a slow disk delays nobody but those who asked to wait. Each batch is
//! everything that waits, written as one transaction: the file is always a state that the store was in.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use probelet_model::id::ObjectKey;
use serde_json::Value;
use tokio::sync::watch;

use crate::disk::Disk;
use crate::object::{Change, ChangeKind, Version};

/// How long after a failure the next attempt waits, unless somebody waits for it.
const RETRY: Duration = Duration::from_secs(1);

/// The disk did not take a write. The store holds it in memory and tries again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot write {path}: {reason}", path = .path.display())]
pub struct DiskError {
    /// The file.
    pub path: Arc<std::path::Path>,
    /// What went wrong, for people.
    pub reason: Arc<str>,
}

/// What the file is to hold at one key: `None` for no object.
pub(crate) type Saved = Option<(Version, Arc<Value>)>;

/// The handle to the thread.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    path: Arc<std::path::Path>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to do, or more of a hurry.
    work: Condvar,
    /// `progress` has changed; for threads.
    attempted: Condvar,
    /// The same for tasks. Sent with `queue` held.
    progress: watch::Sender<Progress>,
}

#[derive(Debug)]
struct Queue {
    waiting: BTreeMap<ObjectKey, Saved>,
    /// The version the store is at once `waiting` is written.
    newest: Version,
    /// Somebody waits.
    urgent: bool,
    closing: bool,
}

/// How far the file has come.
#[derive(Clone, Debug)]
struct Progress {
    durable: Version,
    /// How many attempts have failed, and how the last of them did.
    failures: u64,
    failure: Option<DiskError>,
    /// Whether the last attempt failed.
    failing: bool,
}

impl Progress {
    /// Whether the wait for `version` is over, which began after `failures` failures.
    fn verdict(&self, version: Version, failures: u64) -> Option<Result<(), DiskError>> {
        if self.durable >= version {
            return Some(Ok(()));
        }
        (self.failures > failures).then(|| self.failure.clone().map_or(Ok(()), Err))
    }
}

impl Writer {
    pub(crate) fn start(disk: Disk, version: Version, linger: Duration) -> io::Result<Self> {
        let queue = Queue {
            waiting: BTreeMap::new(),
            newest: version,
            urgent: false,
            closing: false,
        };
        let progress = Progress {
            durable: version,
            failures: 0,
            failure: None,
            failing: false,
        };
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            work: Condvar::new(),
            attempted: Condvar::new(),
            progress: watch::Sender::new(progress),
        });
        let path = Arc::from(disk.path());
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.run(disk, linger)
            })?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
            path,
        })
    }

    /// Takes changes to be written, in the order of their versions.
    pub(crate) fn enqueue(&self, changes: &[Change]) {
        let mut queue = self.shared.lock();
        let idle = queue.waiting.is_empty();
        for change in changes {
            let saved = match change.kind {
                ChangeKind::Added | ChangeKind::Modified => {
                    Some((change.version, Arc::clone(&change.object)))
                }
                ChangeKind::Deleted => None,
            };
            queue.waiting.insert(change.key.clone(), saved);
            queue.newest = change.version;
        }
        if idle {
            self.shared.work.notify_one();
        }
    }

    /// Blocks until `version` is on disk.
    pub(crate) fn wait(&self, version: Version) -> Result<(), DiskError> {
        let mut queue = self.shared.lock();
        let failures = self.hurry(&mut queue, version)?;
        loop {
            if let Some(verdict) = self.shared.progress.borrow().verdict(version, failures) {
                return verdict;
            }
            queue = self
                .shared
                .attempted
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The same without a thread to block.
    pub(crate) async fn durable(&self, version: Version) -> Result<(), DiskError> {
        let mut progress = self.shared.progress.subscribe();
        let failures = self.hurry(&mut self.shared.lock(), version)?;
        let done = progress
            .wait_for(|progress| progress.verdict(version, failures).is_some())
            .await;
        let done = done.expect("the sender lives in `shared`, which this writer holds");
        done.verdict(version, failures).expect("waited for")
    }

    /// How the last attempt to write failed, if it did.
    pub(crate) fn healthy(&self) -> Result<(), DiskError> {
        let progress = self.shared.progress.borrow();
        match &progress.failure {
            Some(error) if progress.failing => Err(error.clone()),
            Some(_) | None => Ok(()),
        }
    }

    /// Writes what waits, gives the file back and ends the thread.
    pub(crate) fn close(&self) -> Result<(), DiskError> {
        let Some(thread) = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        else {
            return Ok(());
        };
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        if thread.join().is_err() {
            return Err(self.error("the thread that writes it has panicked"));
        }
        if self.shared.lock().waiting.is_empty() {
            return Ok(());
        }
        Err(self
            .shared
            .progress
            .borrow()
            .failure
            .clone()
            .unwrap_or_else(|| self.error("it was closed")))
    }

    /// Wakes the thread if `version` is not on disk yet. Returns the number of failures so far.
    fn hurry(&self, queue: &mut Queue, version: Version) -> Result<u64, DiskError> {
        let progress = self.shared.progress.borrow();
        if progress.durable < version {
            if queue.closing {
                return Err(self.error("the store is closed"));
            }
            queue.urgent = true;
            self.shared.work.notify_one();
        }
        Ok(progress.failures)
    }

    fn error(&self, reason: &str) -> DiskError {
        DiskError {
            path: Arc::clone(&self.path),
            reason: reason.into(),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the last changes are lost");
        }
    }
}

impl Shared {
    /// Poison would mean that this module panicked between two consistent states; there is no such place.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut disk: Disk, linger: Duration) {
        let mut queue = self.lock();
        loop {
            queue = self
                .work
                .wait_while(queue, |queue| queue.waiting.is_empty() && !queue.closing)
                .unwrap_or_else(PoisonError::into_inner);
            queue = self.pause(queue, linger);
            if queue.waiting.is_empty() {
                let version = queue.newest;
                drop(queue);
                disk.close(version);
                return;
            }
            let written;
            (queue, written) = self.write(queue, &mut disk);
            if !written {
                if queue.closing {
                    return;
                }
                queue = self.pause(queue, RETRY);
            }
        }
    }

    /// Waits for `time`, or until somebody is in a hurry.
    fn pause<'a>(&self, queue: MutexGuard<'a, Queue>, time: Duration) -> MutexGuard<'a, Queue> {
        let waited = self
            .work
            .wait_timeout_while(queue, time, |queue| !queue.urgent && !queue.closing);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Writes all that waits; what could not be written waits on, behind what has come since.
    fn write<'a>(
        &'a self,
        mut queue: MutexGuard<'a, Queue>,
        disk: &mut Disk,
    ) -> (MutexGuard<'a, Queue>, bool) {
        let batch = std::mem::take(&mut queue.waiting);
        let version = queue.newest;
        queue.urgent = false;
        drop(queue);
        let result = disk.write(&batch, version);
        let mut queue = self.lock();
        let written = result.is_ok();
        self.progress.send_modify(|progress| match result {
            Ok(()) => {
                progress.durable = version;
                progress.failing = false;
            }
            Err(error) => {
                progress.failing = true;
                tracing::warn!(%error, "will try again");
                progress.failures += 1;
                progress.failure = Some(error);
            }
        });
        if !written {
            for (key, saved) in batch {
                queue.waiting.entry(key).or_insert(saved);
            }
        }
        self.attempted.notify_all();
        (queue, written)
    }
}
