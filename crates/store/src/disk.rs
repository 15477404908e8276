//! The file: `objects.redb`.
//!
//! Two tables. `objects` maps (kind, namespace, name) to (version, JSON); `meta` holds the format of the
//! file, the version it is at, and the version to go on from. The last is far ahead while the file is
//! open for writing and exact after a clean end: versions that a client has seen but that a crash kept
//! from the disk are thereby never given out again.
//!
//! A file is first read as a copy in memory, where recovery after a crash may do what it has to do and a
//! damaged page hurts nobody; only a file that could be read that way is opened for writing.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use probelet_model::id::{Kind, ObjectKey};
use redb::backends::InMemoryBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend,
    TableDefinition,
};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as NoSuchKind;
use serde_json::Value;

use crate::object::{Object, Version};
use crate::writer::{DiskError, Saved};

const FILE: &str = "objects.redb";
const OBJECTS: TableDefinition<'_, (&str, &str, &str), (u64, &[u8])> =
    TableDefinition::new("objects");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const FORMAT: u64 = 1;
/// How far the version to go on from is ahead while the file is open: more than the changes that can
/// ever wait for one fsync.
const AHEAD: u64 = 1_000_000;
/// All objects are in memory anyway; redb needs room for the pages of one batch.
const CACHE_BYTES: usize = 4 << 20;
/// Readers hold the file for as long as it takes to read it; an open that meets one tries again.
const READER_PATIENCE: [Duration; 6] = [Duration::from_millis(50); 6];

/// Why the store's file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made.
    #[error("cannot make the data directory {path}: make it yourself, or choose another", path = .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be made, read or written.
    #[error("cannot open {path}: check that it and its directory belong to you and that the disk is not full", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{path} is in use by another process: stop that one first, or choose another data directory", path = .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// There is none, and it was only to be read.
    #[error("{path} does not exist: nothing has been stored there yet", path = .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It holds something else, or is damaged.
    #[error(
        "{path} cannot be read ({reason}) and was left as it is: restore it from a backup, or move it away to start empty",
        path = .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A later Probelet has written it.
    #[error(
        "{path} has format {format}, and this version reads format {FORMAT} only: run the version that wrote it, or choose another data directory",
        path = .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u64,
    },
    /// No thread to write it.
    #[error("cannot start the thread that writes the store")]
    Thread(#[source] io::Error),
}

/// What a file holds.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) objects: Vec<Object>,
    /// The version to go on from.
    pub(crate) version: Version,
}

/// Reads the file of `dir` without changing it.
pub(crate) fn read(dir: &Path) -> Result<Loaded, OpenError> {
    let path = dir.join(FILE);
    match bytes(&path)? {
        Some(bytes) => parse(&path, &bytes),
        None => Err(OpenError::Missing { path }),
    }
}

/// The file, open for writing.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    /// `None` after a failure: redb wants to be opened again then.
    database: Option<Database>,
}

impl Disk {
    /// Opens, or makes, the file of `dir`.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Loaded), OpenError> {
        std::fs::create_dir_all(dir).map_err(|source| OpenError::Directory {
            path: dir.to_owned(),
            source,
        })?;
        let path = dir.join(FILE);
        loop {
            let Some(bytes) = bytes(&path)? else {
                create(&path)?;
                continue;
            };
            if bytes.is_empty() {
                // What a full disk or a power cut leaves of a new file: there is nothing in it to lose.
                format(&path).map_err(|error| damaged(&path, &error.into()))?;
                continue;
            }
            let loaded = parse(&path, &bytes)?;
            drop(bytes);
            let database = open_database(&path)?;
            // Somebody else may have had the file between the two.
            let head = head(&database).map_err(|error| damaged(&path, &error))?;
            if head
                != Some(Head {
                    format: FORMAT,
                    next: loaded.version,
                })
                && head.is_some()
            {
                continue;
            }
            let mut disk = Self {
                path,
                database: Some(database),
            };
            let started = disk.write(&BTreeMap::new(), loaded.version);
            started.map_err(|error| OpenError::Io {
                path: disk.path.clone(),
                source: io::Error::other(error.reason.to_string()),
            })?;
            return Ok((disk, loaded));
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one batch as one transaction; when this returns the disk has it.
    pub(crate) fn write(
        &mut self,
        batch: &BTreeMap<ObjectKey, Saved>,
        version: Version,
    ) -> Result<(), DiskError> {
        let next = Version(version.0 + AHEAD);
        self.commit(batch, next).map_err(|reason| {
            self.database = None;
            DiskError {
                path: Arc::from(&*self.path),
                reason: reason.into(),
            }
        })
    }

    /// Notes that no version after `version` has been given out, and lets go of the file.
    pub(crate) fn close(mut self, version: Version) {
        // Nothing is lost if this fails: versions go on further ahead then.
        if let Err(reason) = self.commit(&BTreeMap::new(), version) {
            tracing::debug!(path = %self.path.display(), reason, "closed without a last note");
        }
    }

    fn commit(&mut self, batch: &BTreeMap<ObjectKey, Saved>, next: Version) -> Result<(), String> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open_database(&self.path).map_err(|error| chain(&error))?,
        };
        let database = self.database.insert(database);
        commit(database, batch, next).map_err(|error| error.to_string())
    }
}

/// The first lines of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    format: u64,
    next: Version,
}

fn commit(
    database: &Database,
    batch: &BTreeMap<ObjectKey, Saved>,
    next: Version,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        for (key, saved) in batch {
            let place = (key.kind.as_str(), &*key.namespace, &*key.name);
            match saved {
                Some((version, value)) => {
                    objects.insert(place, (version.0, &*value.to_string().into_bytes()))?
                }
                None => objects.remove(place)?,
            };
        }
        let mut meta = transaction.open_table(META)?;
        meta.insert("format", FORMAT)?;
        meta.insert("next", next.0)?;
    }
    transaction.commit()?;
    Ok(())
}

/// `None` in a database that was made and never written.
fn head(database: &impl ReadableDatabase) -> Result<Option<Head>, redb::Error> {
    let transaction = database.begin_read()?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let number = |name| Ok::<_, redb::Error>(meta.get(name)?.map_or(0, |number| number.value()));
    Ok(Some(Head {
        format: number("format")?,
        next: Version(number("next")?),
    }))
}

/// The bytes of the file while no other process writes it; `None` if there is no file.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>, OpenError> {
    let failed = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // The lock that redb's writer holds on the whole file. Shared, so that readers do not meet.
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::InUse {
                path: path.to_owned(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Makes an empty database under another name and gives it its own: there is never half a file.
fn create(path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    // Objects may hold secrets.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .map_err(failed)?;
    let made = format(&draft).map_err(|error| damaged(path, &error.into()));
    let linked = made.and_then(|()| match std::fs::hard_link(&draft, path) {
        // Somebody was faster; theirs is as good.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(failed),
    });
    let removed = std::fs::remove_file(&draft).map_err(failed);
    linked?;
    removed?;
    // The name must be on disk before anything in the file can be.
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(failed)
}

/// Makes the empty file at `path` an empty database.
fn format(path: &Path) -> Result<(), DatabaseError> {
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create(path)
        .map(drop)
}

fn open_database(path: &Path) -> Result<Database, OpenError> {
    let mut patience = READER_PATIENCE.into_iter();
    loop {
        match Builder::new().set_cache_size(CACHE_BYTES).open(path) {
            Ok(database) => return Ok(database),
            Err(DatabaseError::DatabaseAlreadyOpen) => match patience.next() {
                Some(time) => std::thread::park_timeout(time),
                None => {
                    return Err(OpenError::InUse {
                        path: path.to_owned(),
                    });
                }
            },
            Err(error) => return Err(damaged(path, &error.into())),
        }
    }
}

/// Opens a copy of the file in memory, recovers and checks it there, and reads all of it.
fn parse(path: &Path, bytes: &[u8]) -> Result<Loaded, OpenError> {
    // redb panics on some pages that it has not written.
    let result = catch_unwind(AssertUnwindSafe(|| {
        let copy = InMemoryBackend::new();
        let failed = |error: io::Error| damaged(path, &redb::Error::Io(error));
        copy.set_len(bytes.len() as u64).map_err(failed)?;
        copy.write(0, bytes).map_err(failed)?;
        let mut builder = Builder::new();
        let opened = builder
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(copy);
        load(path, &opened.map_err(|error| damaged(path, &error.into()))?)
    }));
    result.unwrap_or_else(|_| Err(damage(path, "its pages make no sense")))
}

fn load(path: &Path, database: &Database) -> Result<Loaded, OpenError> {
    let failed = |error| damaged(path, &error);
    let Some(Head { format, next }) = head(database).map_err(failed)? else {
        return Ok(Loaded::default());
    };
    if format != FORMAT {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            format,
        });
    }
    let transaction = database
        .begin_read()
        .map_err(|error| failed(error.into()))?;
    let table = transaction
        .open_table(OBJECTS)
        .map_err(|error| failed(error.into()))?;
    let mut objects = Vec::new();
    for entry in table.iter().map_err(|error| failed(error.into()))? {
        let (place, saved) = entry.map_err(|error| failed(error.into()))?;
        let (kind, namespace, name) = place.value();
        let (version, json) = saved.value();
        let unreadable =
            |reason: String| damage(path, &format!("{kind} {namespace}/{name}: {reason}"));
        let known = Kind::deserialize(IntoDeserializer::<NoSuchKind>::into_deserializer(kind));
        let key = ObjectKey::new(
            known.map_err(|error| unreadable(error.to_string()))?,
            namespace,
            name,
        );
        let value: Value =
            serde_json::from_slice(json).map_err(|error| unreadable(error.to_string()))?;
        objects.push(Object {
            key,
            version: Version(version),
            value: Arc::new(value),
        });
    }
    Ok(Loaded {
        objects,
        version: next,
    })
}

fn damaged(path: &Path, error: &redb::Error) -> OpenError {
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse {
            path: path.to_owned(),
        },
        redb::Error::Io(error) if error.kind() != io::ErrorKind::InvalidData => OpenError::Io {
            path: path.to_owned(),
            source: io::Error::new(error.kind(), error.to_string()),
        },
        other => damage(path, &other.to_string()),
    }
}

fn damage(path: &Path, reason: &str) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::{Change, ChangeKind};
    use crate::writer::Writer;

    fn change(name: &str, version: u64) -> Change {
        let key = ObjectKey::new(Kind::Pod, "default", name);
        Change {
            key,
            version: Version(version),
            kind: ChangeKind::Added,
            object: Arc::new(json!({"at": version})),
            before: None,
        }
    }

    /// Stands for a full disk: after a failure redb has to open the file again, and here cannot.
    #[test]
    fn what_the_disk_refuses_is_kept_and_written_once_it_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let (mut disk, loaded) = Disk::open(dir.path()).unwrap();
        let (file, away) = (dir.path().join(FILE), dir.path().join("away"));
        disk.database = None;
        std::fs::rename(&file, &away).unwrap();
        let writer = Writer::start(disk, loaded.version, Duration::from_secs(3600)).unwrap();
        writer.enqueue(&[change("a", 1)]);
        let error = writer.wait(Version(1)).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("cannot write {}: ", file.display())),
            "{error}"
        );
        writer.enqueue(&[change("a", 2), change("b", 3)]);
        assert!(writer.wait(Version(3)).is_err());
        assert!(
            !file.exists(),
            "no new file is begun in the place of one that is gone"
        );
        std::fs::rename(&away, &file).unwrap();
        writer.wait(Version(3)).unwrap();
        writer.close().unwrap();
        let Loaded { objects, version } = read(dir.path()).unwrap();
        let found: Vec<_> = objects
            .iter()
            .map(|object| (&*object.key.name, object.version.0))
            .collect();
        assert_eq!((found, version), (vec![("a", 2), ("b", 3)], Version(3)));
    }
}
