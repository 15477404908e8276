//! The store itself: contents in memory, one writer at a time, and a file below.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use probelet_model::id::{Kind, ObjectKey};
use tokio::sync::watch;

use crate::disk::{self, Disk, OpenError};
use crate::object::{Change, ChangeKind, Object, Version, stamped};
use crate::ring::{Gone, Ring};
use crate::transaction::Transaction;
use crate::watch::Watch;
use crate::writer::{DiskError, Writer};

/// Versioned objects.
///
/// Shape: one per data directory, shared by `Arc`, used from any thread. Reads and derived writes are
/// done in microseconds and may be made on an async worker; a synced write waits for the disk.
/// Dropped or closed, it has written everything down.
#[derive(Debug)]
pub struct Store {
    memory: Arc<Memory>,
    /// Held for the whole of a transaction, so that what it checked still holds when it takes effect.
    writing: Mutex<()>,
    backing: Backing,
}

/// What a store keeps below its memory.
#[derive(Debug)]
enum Backing {
    Nothing,
    File(Writer),
    /// There is a file, and it is not ours to write.
    ReadOnly,
}

/// When a write counts as made. Readers and watchers see it at once in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once it is on disk: what people and clients write.
    Synced,
    /// At once; the disk follows within [`Settings::linger`]. For what can be derived again: status,
    /// endpoints, events.
    Derived,
}

/// The few numbers that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many changes are remembered for watchers. By default 4,096.
    pub remembered_changes: usize,
    /// How long a derived write may wait for company before it goes to disk. By default 25 ms, which
    /// makes at most 40 fsyncs a second of whatever goes on.
    pub linger: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            remembered_changes: 4096,
            linger: Duration::from_millis(25),
        }
    }
}

/// Why a transaction did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum TransactError<E> {
    /// The closure's own error; nothing was applied.
    #[error(transparent)]
    Refused(E),
    /// The store was opened to be read; nothing was applied.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// Applied and visible, but not known to be on disk: like a write whose answer was lost. The store
    /// goes on trying.
    #[error("applied in memory at version {version}, but not written to disk")]
    NotDurable {
        /// The version of the last change.
        version: Version,
        /// What the disk said.
        source: DiskError,
    },
}

impl Store {
    /// Opens `<dir>/objects.redb`, and makes both if they are missing.
    ///
    /// # Errors
    /// [`OpenError`]; a file that cannot be read is left as it is.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::open_with(dir, Settings::default())
    }

    /// The same with numbers of one's own.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_with(dir: &Path, settings: Settings) -> Result<Self, OpenError> {
        let (disk, loaded) = Disk::open(dir)?;
        let memory = Memory::new(loaded, settings);
        let writer = Writer::start(disk, memory.contents().version(), settings.linger)
            .map_err(OpenError::Thread)?;
        Ok(Self::over(memory, Backing::File(writer)))
    }

    /// What `<dir>/objects.redb` holds while nobody else has it open. Writes are refused.
    ///
    /// # Errors
    /// [`OpenError::InUse`] while an agent runs, [`OpenError::Missing`] if there is no such file.
    pub fn open_read_only(dir: &Path) -> Result<Self, OpenError> {
        let loaded = disk::read(dir)?;
        Ok(Self::over(
            Memory::new(loaded, Settings::default()),
            Backing::ReadOnly,
        ))
    }

    /// An empty store that forgets everything when it is dropped.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::in_memory_with(Settings::default())
    }

    /// The same with numbers of one's own.
    #[must_use]
    pub fn in_memory_with(settings: Settings) -> Self {
        Self::over(
            Memory::new(disk::Loaded::default(), settings),
            Backing::Nothing,
        )
    }

    /// The version of the newest change.
    #[must_use]
    pub fn version(&self) -> Version {
        self.memory.contents().version()
    }

    /// The object at `key`.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<Object> {
        self.memory.contents().get(key).cloned()
    }

    /// All objects of a kind by key, and the version this was true at: a watch from there misses nothing.
    #[must_use]
    pub fn list(&self, kind: Kind) -> (Vec<Object>, Version) {
        let contents = self.memory.contents();
        (
            contents.of_kind(kind).cloned().collect(),
            contents.version(),
        )
    }

    /// The objects of a kind in one namespace by key, and the version this was true at.
    #[must_use]
    pub fn list_in(&self, kind: Kind, namespace: &str) -> (Vec<Object>, Version) {
        let contents = self.memory.contents();
        (
            contents.in_namespace(kind, namespace).cloned().collect(),
            contents.version(),
        )
    }

    /// All objects of a kind by key, as they were at `version`.
    ///
    /// # Errors
    /// [`Gone`] if the changes since then are no longer remembered.
    pub fn list_at(&self, kind: Kind, version: Version) -> Result<Vec<Object>, Gone> {
        let contents = self.memory.contents();
        let mut then: BTreeMap<&ObjectKey, Object> = contents
            .of_kind(kind)
            .map(|object| (&object.key, object.clone()))
            .collect();
        let mut undone = BTreeSet::new();
        for change in contents.after(version)? {
            // Of each key, the first change tells how it was before all of them.
            if change.key.kind != kind || !undone.insert(&change.key) {
                continue;
            }
            match &change.before {
                None => {
                    then.remove(&change.key);
                }
                Some(before) => {
                    let object = Object {
                        key: change.key.clone(),
                        version: stamped(before),
                        value: Arc::clone(before),
                    };
                    then.insert(&change.key, object);
                }
            }
        }
        Ok(then.into_values().collect())
    }

    /// Applies what `write` does to the transaction, all of it together, or nothing if it errs. Returns
    /// its answer and the version of the last change, or the present version if nothing changed.
    ///
    /// `write` runs while all other writers wait: it should compute and not wait for anything, and must
    /// not begin another transaction. With [`Durability::Synced`] this call waits for the disk; in async
    /// code make it [`Durability::Derived`] and await [`Store::durable`] instead.
    ///
    /// # Errors
    /// [`TransactError`].
    pub fn transact<T, E>(
        &self,
        durability: Durability,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<(T, Version), TransactError<E>> {
        if matches!(self.backing, Backing::ReadOnly) {
            return Err(TransactError::ReadOnly);
        }
        let writing = self.lock_writing();
        let contents = self.memory.contents();
        let mut transaction = Transaction::new(&contents);
        let answer = write(&mut transaction).map_err(TransactError::Refused)?;
        let changes = transaction.into_changes();
        drop(contents);
        let version = self.publish(changes);
        drop(writing);
        match (&self.backing, durability) {
            // Also if nothing changed: the caller is told that what it wants is on disk.
            (Backing::File(writer), Durability::Synced) => {
                writer
                    .wait(version)
                    .map_err(|source| TransactError::NotDurable { version, source })?;
            }
            (Backing::File(_), Durability::Derived) | (Backing::Nothing | Backing::ReadOnly, _) => {
            }
        }
        Ok((answer, version))
    }

    /// Waits until everything up to `version` is on disk, and hurries it there. In a store without a file
    /// that is so at once.
    ///
    /// # Errors
    /// [`DiskError`] if the disk refused; the store goes on trying.
    pub async fn durable(&self, version: Version) -> Result<(), DiskError> {
        match &self.backing {
            Backing::File(writer) => writer.durable(version).await,
            Backing::Nothing | Backing::ReadOnly => Ok(()),
        }
    }

    /// Follows all changes after `from`.
    ///
    /// # Errors
    /// [`Gone`] if they are no longer remembered.
    pub fn watch(&self, from: Version) -> Result<Watch, Gone> {
        self.watch_kinds(from, &[])
    }

    /// Follows the changes after `from` of objects of some kinds; of none given, of all.
    ///
    /// # Errors
    /// [`Gone`] if they are no longer remembered.
    pub fn watch_kinds(&self, from: Version, kinds: &[Kind]) -> Result<Watch, Gone> {
        Watch::new(Arc::clone(&self.memory), from, kinds.to_vec())
    }

    /// Whether the disk takes what is written; it is asked nothing.
    ///
    /// # Errors
    /// [`DiskError`], the last one, as long as nothing has been written since.
    pub fn healthy(&self) -> Result<(), DiskError> {
        match &self.backing {
            Backing::File(writer) => writer.healthy(),
            Backing::Nothing | Backing::ReadOnly => Ok(()),
        }
    }

    /// Writes everything down and lets go of the file. Writes after this are seen in memory only, and a
    /// synced one is told so. A second call does nothing.
    ///
    /// # Errors
    /// [`DiskError`] if the disk refused the last changes.
    pub fn close(&self) -> Result<(), DiskError> {
        match &self.backing {
            Backing::File(writer) => writer.close(),
            Backing::Nothing | Backing::ReadOnly => Ok(()),
        }
    }

    fn over(memory: Memory, backing: Backing) -> Self {
        Self {
            memory: Arc::new(memory),
            writing: Mutex::new(()),
            backing,
        }
    }

    /// Poison means that a caller's closure panicked; it had changed nothing yet.
    fn lock_writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes changes visible, and hands them to the writer. The caller holds `writing`, which gives the
    /// writer the same order.
    fn publish(&self, changes: Vec<Change>) -> Version {
        if changes.is_empty() {
            return self.version();
        }
        if let Backing::File(writer) = &self.backing {
            writer.enqueue(&changes);
        }
        self.memory.publish(changes)
    }
}

/// What readers read.
#[derive(Debug)]
pub(crate) struct Memory {
    contents: RwLock<Contents>,
    /// The newest version: wakes watchers, carries nothing they rely on.
    pub(crate) moved: watch::Sender<Version>,
}

impl Memory {
    fn new(loaded: disk::Loaded, settings: Settings) -> Self {
        let objects = loaded
            .objects
            .into_iter()
            .map(|object| (object.key.clone(), object))
            .collect();
        let ring = Ring::new(loaded.version, settings.remembered_changes);
        Self {
            contents: RwLock::new(Contents { objects, ring }),
            moved: watch::Sender::new(loaded.version),
        }
    }

    pub(crate) fn contents(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents
            .read()
            .expect("no code panics while it changes the contents")
    }

    fn publish(&self, changes: Vec<Change>) -> Version {
        let mut contents = self
            .contents
            .write()
            .expect("no code panics while it changes the contents");
        for change in changes {
            contents.apply(change);
        }
        let version = contents.version();
        drop(contents);
        self.moved.send_replace(version);
        version
    }
}

/// All objects and the newest changes, at one version.
#[derive(Debug)]
pub(crate) struct Contents {
    objects: BTreeMap<ObjectKey, Object>,
    ring: Ring,
}

impl Contents {
    pub(crate) fn version(&self) -> Version {
        self.ring.newest()
    }

    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key)
    }

    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        let first = ObjectKey::new(kind, "", "");
        self.objects
            .range(first..)
            .map(|(_, object)| object)
            .take_while(move |object| object.key.kind == kind)
    }

    pub(crate) fn in_namespace(
        &self,
        kind: Kind,
        namespace: &str,
    ) -> impl Iterator<Item = &Object> {
        let first = ObjectKey::new(kind, namespace, "");
        self.objects
            .range(first..)
            .map(|(_, object)| object)
            .take_while(move |object| object.key.kind == kind && object.key.namespace == namespace)
    }

    pub(crate) fn after(&self, version: Version) -> Result<impl Iterator<Item = &Change>, Gone> {
        self.ring.after(version)
    }

    fn apply(&mut self, change: Change) {
        match change.kind {
            ChangeKind::Added | ChangeKind::Modified => {
                let object = Object {
                    key: change.key.clone(),
                    version: change.version,
                    value: Arc::clone(&change.object),
                };
                self.objects.insert(change.key.clone(), object);
            }
            ChangeKind::Deleted => {
                self.objects.remove(&change.key);
            }
        }
        self.ring.push(change);
    }
}
