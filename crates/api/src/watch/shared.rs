//! What the watches of one server share.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use probelet_store::Version;
use serde_json::json;

use crate::failure::Failure;
use crate::negotiate::Shape;

/// How many bytes of events are kept for those who have not read them yet.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

/// What kind of event a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum EventKind {
    Added,
    Modified,
    Deleted,
}

impl EventKind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// What a line says, but for the object, which the version stands for: no two changes share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) version: Version,
    pub(super) kind: EventKind,
    pub(super) shape: Shape,
    /// Events are told in two groups, and look different in each.
    pub(super) group: &'static str,
}

/// How many watches there are, and the lines they have in common.
#[derive(Debug)]
pub struct Watches {
    limit: usize,
    open: AtomicUsize,
    made: AtomicU64,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    by_key: HashMap<Key, Bytes>,
    /// The oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

impl Watches {
    /// None yet, and never more than `limit` at once.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            open: AtomicUsize::new(0),
            made: AtomicU64::new(0),
            lines: Mutex::default(),
        })
    }

    /// How many there are now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many lines have been made so far: one for each event, however many watch.
    #[must_use]
    pub fn lines_made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// How many bytes of lines are kept now.
    #[must_use]
    pub fn bytes_kept(&self) -> usize {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .bytes
    }

    /// One more watch.
    pub(super) fn open(self: &Arc<Self>) -> Result<OpenWatch, Failure> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(too_many());
        }
        Ok(OpenWatch(Arc::clone(self)))
    }

    /// The line of a key; `write` makes it if nobody has.
    pub(super) fn line(&self, key: Key, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        // Made under the lock, so that of two who want it one waits instead of doing it again.
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.by_key.get(&key) {
            return line.clone();
        }
        let mut line = Vec::new();
        write(&mut line);
        let line = Bytes::from(line);
        lines.keep(key, line.clone());
        drop(lines);
        self.made.fetch_add(1, Ordering::Relaxed);
        line
    }
}

impl Lines {
    fn keep(&mut self, key: Key, line: Bytes) {
        self.bytes += line.len();
        self.by_key.insert(key, line);
        self.order.push_back(key);
        while self.bytes > KEPT_BYTES {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            if let Some(line) = self.by_key.remove(&oldest) {
                self.bytes -= line.len();
            }
        }
    }
}

/// Counts as a watch until it is dropped.
#[derive(Debug)]
pub struct OpenWatch(Arc<Watches>);

impl Drop for OpenWatch {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a client is told for whom there is no room: to come back.
///
/// Upstream: apiserver pkg/server/filters/maxinflight.go, tooManyRequests.
/// Shown by: one_watch_too_many_is_told_to_wait.
fn too_many() -> Failure {
    let mut failure = Failure::new(
        429,
        "TooManyRequests",
        "Too many requests, please try again later.",
    );
    failure.details = json!({"retryAfterSeconds": 1});
    failure
}
