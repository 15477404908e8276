//! The store: what is here, what is kept, and what goes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use probelet_runtime::{Credential, Image, ImageError, ImageId, Images};

use crate::digest::Digest;
use crate::files::{self, FileLock};
use crate::index::{self, Index, Record};
use crate::layers::{self, Unpacker};
use crate::place::{PARTIAL, Place, TMP};
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registries::Registries;
use crate::unpack::{Opaque, Owners};

/// How an [`ImageStore`] is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything is kept; made if missing. Several processes may use it at a time.
    pub dir: PathBuf,
    /// Program and first arguments that lead to [`unpack_main`](crate::unpack_main), for example the running
    /// binary and `unpack`.
    pub unpack_command: Vec<OsString>,
}

/// Images by content.
///
/// It is cheap to clone; clones are the same store.
#[derive(Clone, Debug)]
pub struct ImageStore {
    pub(crate) place: Place,
    pub(crate) unpacker: Unpacker,
    pub(crate) registries: Arc<Registries>,
}

/// An image was not removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveError {
    /// There is none.
    #[error("no such image: {0}")]
    Missing(String),
    /// Several images have ids that begin so.
    #[error("{0} is the beginning of several ids")]
    Ambiguous(String),
    /// Pods need it.
    #[error("image {id} is held by the pods {}", holders.join(", "))]
    Held {
        /// The image.
        id: String,
        /// Uids of pods.
        holders: Vec<String>,
    },
    /// Something else.
    #[error("{0}")]
    Failed(String),
}

/// What went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that images lost.
    pub untagged: Vec<String>,
    /// Ids of images that are gone.
    pub deleted: Vec<String>,
    /// Bytes that their layers had, as far as no other image has them.
    pub freed: u64,
}

/// An image, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The image.
    pub image: Image,
    /// Uids of the pods that keep it from being removed.
    pub holders: Vec<String>,
}

impl ImageStore {
    /// Opens a store. What processes that died left behind goes with the next [`ImageStore::prune`].
    ///
    /// # Errors
    /// If its directory cannot be made.
    pub fn open(options: Options) -> io::Result<Self> {
        let is_root = rustix::process::geteuid().is_root();
        let owners = if is_root {
            Owners::Kept
        } else {
            Owners::Squashed
        };
        Self::with_owners(options, owners)
    }

    /// The same for an ordinary user whose subordinate ids are used: layers belong to whom they say, seen from
    /// a user namespace that the process of [`Options::unpack_command`] enters first.
    ///
    /// # Errors
    /// If its directory cannot be made.
    pub fn open_mapped(options: Options) -> io::Result<Self> {
        Self::with_owners(options, Owners::Mapped)
    }

    fn with_owners(options: Options, owners: Owners) -> io::Result<Self> {
        let dir = std::path::absolute(options.dir)?;
        let place = Place::new(dir, owners);
        place.make()?;
        let opaque = if owners == Owners::Kept && is_first_user_namespace() {
            Opaque::Trusted
        } else {
            Opaque::User
        };
        Ok(Self {
            unpacker: Unpacker::new(options.unpack_command, place.clone(), opaque),
            place,
            registries: Arc::default(),
        })
    }

    /// The same store, with registries reached in other ways than by default.
    #[must_use]
    pub fn with_registries(mut self, registries: Registries) -> Self {
        self.registries = Arc::new(registries);
        self
    }

    /// All images, with who holds them, sorted by name.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn list(&self) -> Result<Vec<Listed>, ImageError> {
        self.blocking(|store| {
            let index = Index::read(&store.place)?;
            let mut holders = index::holders(&store.place)?;
            let mut listed: Vec<Listed> = Vec::new();
            for (id, record) in &index.images {
                listed.push(Listed {
                    image: record.image(id, &store.place),
                    holders: holders.remove(id.as_str()).unwrap_or_default(),
                });
            }
            let key = |listed: &Listed| (listed.image.tags.is_empty(), listed.image.tags.clone());
            listed.sort_by_key(key);
            Ok(listed)
        })
        .await
    }

    /// Takes a name from an image; with its last name the image goes. `name` may be a reference or an id, or
    /// the beginning of one; with an id the image goes with all its names.
    ///
    /// # Errors
    /// [`RemoveError`]; an image that a pod holds stays.
    pub async fn remove(&self, name: &str) -> Result<Removed, RemoveError> {
        let name = name.to_owned();
        let failed = |error: String| RemoveError::Failed(error);
        let store = self.clone();
        let removed = tokio::task::spawn_blocking(move || store.remove_now(&name));
        let removed = removed.await.map_err(|error| failed(error.to_string()))??;
        self.empty_trash().await;
        Ok(removed)
    }

    fn remove_now(&self, name: &str) -> Result<Removed, RemoveError> {
        let failed = |error: io::Error| RemoveError::Failed(error.to_string());
        let _lock = FileLock::take_blocking(&self.place.lock()).map_err(failed)?;
        let mut index = Index::read(&self.place).map_err(failed)?;
        let holders = index::holders(&self.place).map_err(failed)?;
        let (id, tag) = chosen(&index, name)?;
        let mut removed = Removed::default();
        let record = index.images.get_mut(&id);
        let record = record.ok_or_else(|| RemoveError::Missing(name.to_owned()))?;
        let is_last = match &tag {
            Some(tag) => record.tags.iter().all(|other| other == tag),
            None => true,
        };
        if is_last {
            if let Some(holders) = holders.get(id.as_str()) {
                return Err(RemoveError::Held {
                    id: id.to_string(),
                    holders: holders.clone(),
                });
            }
            removed.untagged = record.tags.iter().cloned().collect();
            index.images.remove(&id);
            removed.deleted.push(id.to_string());
        } else if let Some(tag) = tag {
            record.tags.remove(&tag);
            removed.untagged.push(tag);
        }
        index.write(&self.place).map_err(failed)?;
        removed.freed = self.discard_layers(&index).map_err(failed)?;
        Ok(removed)
    }

    /// Removes images without a name, or with `all` every image, but those that pods hold; and layers, parts
    /// of layers and files that nothing needs any more.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub async fn prune(&self, all: bool) -> Result<Removed, ImageError> {
        let removed = self
            .blocking(move |store| {
                let _lock = FileLock::take_blocking(&store.place.lock())?;
                let mut index = Index::read(&store.place)?;
                let holders = index::holders(&store.place)?;
                let mut removed = Removed::default();
                index.images.retain(|id, record| {
                    let stays =
                        holders.contains_key(id.as_str()) || !(all || record.tags.is_empty());
                    if !stays {
                        removed.untagged.extend(record.tags.iter().cloned());
                        removed.deleted.push(id.to_string());
                    }
                    stays
                });
                if !removed.deleted.is_empty() {
                    index.write(&store.place)?;
                }
                removed.freed = store.discard_layers(&index)?;
                removed.freed += store.sweep()?;
                Ok(removed)
            })
            .await?;
        self.empty_trash().await;
        Ok(removed)
    }

    /// Moves layers that no image and no claim has out of the way, and says how large they were. Only for the
    /// holder of the store's lock.
    fn discard_layers(&self, index: &Index) -> io::Result<u64> {
        let mut needed: BTreeSet<String> = claimed(&self.place)?;
        for record in index.images.values() {
            needed.extend(record.layers.iter().map(Digest::file_name));
        }
        let mut freed = 0;
        for entry in fs::read_dir(self.place.layers())? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let finished = name.strip_suffix(TMP);
            if needed.contains(finished.unwrap_or(&name)) {
                continue;
            }
            if finished.is_some() && layers::is_written_to(&entry.path())? {
                continue;
            }
            let facts = fs::read(entry.path().join("layer.json")).ok();
            let facts = facts.and_then(|text| serde_json::from_slice(&text).ok());
            freed += facts.map_or(0, |facts: crate::unpack::Unpacked| facts.size);
            self.discard(&entry.path())?;
        }
        Ok(freed)
    }

    fn discard(&self, path: &Path) -> io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}", std::process::id());
            let to = self.place.trash().join(name);
            if files::if_there(fs::symlink_metadata(&to))?.is_none() {
                return fs::rename(path, to);
            }
        }
    }

    /// Removes what dead processes left: parts of layers that nobody claims, locks that nobody has. Says how
    /// many bytes that was. Only for the holder of the store's lock.
    fn sweep(&self) -> io::Result<u64> {
        let claimed = claimed(&self.place)?;
        let mut freed = 0;
        for entry in fs::read_dir(self.place.partials())? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let diff_id = name.split(PARTIAL).next().unwrap_or_default();
            if !claimed.contains(diff_id) {
                freed += entry.metadata()?.len();
                fs::remove_file(entry.path())?;
            }
        }
        for entry in fs::read_dir(self.place.locks())? {
            let path = entry?.path();
            if let Some(_lock) = FileLock::try_take(&path)? {
                fs::remove_file(&path)?;
            }
        }
        Ok(freed)
    }

    /// Removes what was discarded. What cannot be removed now is tried again another time.
    async fn empty_trash(&self) {
        let Ok(entries) = fs::read_dir(self.place.trash()) else {
            return;
        };
        for entry in entries.flatten() {
            if let Err(error) = self.unpacker.remove(&entry.path()).await {
                tracing::warn!(path = %entry.path().display(), %error, "a discarded layer could not be removed");
            }
        }
    }

    /// Claims layers, so that nobody discards them, whether they are here yet or not.
    pub(crate) async fn claim(&self, layers: &[Digest]) -> Result<Claim, ImageError> {
        let names: Vec<String> = layers.iter().map(Digest::file_name).collect();
        self.blocking(move |store| {
            let _lock = FileLock::take_blocking(&store.place.lock())?;
            Claim::make(&store.place, &names)
        })
        .await
    }

    /// Writes down an image whose layers are here and claimed.
    pub(crate) async fn commit(&self, id: Digest, mut record: Record) -> Result<Image, ImageError> {
        self.blocking(move |store| {
            record.size = store.unpacker.size(&record.layers)?;
            let _lock = FileLock::take_blocking(&store.place.lock())?;
            let mut index = Index::read(&store.place)?;
            index.add(&id, record);
            index.write(&store.place)?;
            let record = &index.images[&id];
            Ok(record.image(&id, &store.place))
        })
        .await
    }

    /// Does what waits for files, away from what must not wait.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ImageError> {
        let store = self.clone();
        let failed = |error: String| {
            ImageError::Failed(format!(
                "image store {}: {error}",
                self.place.dir().display()
            ))
        };
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(done) => done.map_err(|error| failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

impl Images for ImageStore {
    async fn image(&self, reference: &str) -> Result<Option<Image>, ImageError> {
        let wanted = match reference.parse::<Digest>() {
            Ok(id) => Err(id),
            Err(_) => Ok(Reference::parse(reference)?),
        };
        self.blocking(move |store| {
            let index = Index::read(&store.place)?;
            let found = match &wanted {
                Ok(reference) => index.find(reference),
                Err(id) => index.images.get_key_value(id),
            };
            // An image whose layers somebody deleted by hand is pulled again.
            let found = found.filter(|(_, record)| record.is_whole(&store.place));
            Ok(found.map(|(id, record)| record.image(id, &store.place)))
        })
        .await
    }

    async fn pull(
        &self,
        reference: &str,
        credentials: Vec<Credential>,
    ) -> Result<Image, ImageError> {
        self.pull_with(reference, credentials, Progress::none())
            .await
    }

    async fn hold(&self, holder: &str, image: &ImageId) -> Result<(), ImageError> {
        let holder = file_name(holder)?;
        let image = image.0.clone();
        self.blocking(move |store| {
            let _lock = FileLock::take_blocking(&store.place.lock())?;
            let index = Index::read(&store.place)?;
            let is_here = image.parse().is_ok_and(|id: Digest| {
                let record = index.images.get(&id);
                record.is_some_and(|record| record.is_whole(&store.place))
            });
            if !is_here {
                return Err(io::Error::other(format!("no such image: {image}")));
            }
            let path = store.place.holds().join(holder);
            let held = files::if_there(fs::read_to_string(&path))?.unwrap_or_default();
            if held.lines().any(|line| line == image) {
                return Ok(());
            }
            files::write_whole(&path, format!("{held}{image}\n").as_bytes())
        })
        .await
    }

    async fn release(&self, holder: &str) -> Result<(), ImageError> {
        let holder = file_name(holder)?;
        self.blocking(move |store| {
            let path = store.place.holds().join(holder);
            if files::if_there(fs::symlink_metadata(&path))?.is_none() {
                return Ok(());
            }
            let _lock = FileLock::take_blocking(&store.place.lock())?;
            files::if_there(fs::remove_file(path)).map(drop)
        })
        .await
    }

    async fn images(&self) -> Result<Vec<Image>, ImageError> {
        let listed = self.list().await?;
        Ok(listed.into_iter().map(|listed| listed.image).collect())
    }
}

/// The uid of a pod, which becomes the name of a file.
fn file_name(holder: &str) -> Result<String, ImageError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if holder.is_empty() || holder.len() > 200 || !holder.bytes().all(is_plain) {
        return Err(ImageError::Failed(format!(
            "{holder:?} is not the uid of a pod"
        )));
    }
    Ok(holder.to_owned())
}

/// The image that is meant, and the name of it, if it was a name.
fn chosen(index: &Index, name: &str) -> Result<(Digest, Option<String>), RemoveError> {
    let missing = || RemoveError::Missing(name.to_owned());
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    if !hex.is_empty() && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        let matching = |id: &&Digest| id.hex().starts_with(hex);
        let mut ids = index.images.keys().filter(matching);
        match (ids.next(), ids.next()) {
            (Some(id), None) => return Ok((id.clone(), None)),
            (Some(_), Some(_)) => return Err(RemoveError::Ambiguous(name.to_owned())),
            // `cafe` may be a name too.
            (None, _) => {}
        }
    }
    let reference = Reference::parse(name).map_err(|e| RemoveError::Failed(e.to_string()))?;
    let (id, _) = index.find(&reference).ok_or_else(missing)?;
    let tag = reference.tag().map(|_| reference.to_string());
    Ok((id.clone(), tag))
}

/// Layers that somebody counts on, as long as this is there.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    _lock: FileLock,
}

impl Claim {
    /// Only for the holder of the store's lock.
    fn make(place: &Place, layers: &[String]) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}", std::process::id());
            let path = place.claims().join(name);
            if path.exists() {
                continue;
            }
            let Some(mut lock) = FileLock::try_take(&path)? else {
                continue;
            };
            lock.file().write_all(layers.join("\n").as_bytes())?;
            return Ok(Self { path, _lock: lock });
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Without its lock it counts for nothing anyway.
        let _gone = fs::remove_file(&self.path);
    }
}

/// Names of the layers that are claimed. Claims of dead processes are removed. Only for the holder of the
/// store's lock.
fn claimed(place: &Place) -> io::Result<BTreeSet<String>> {
    let mut claimed = BTreeSet::new();
    for entry in fs::read_dir(place.claims())? {
        let path = entry?.path();
        match FileLock::try_take(&path)? {
            Some(_lock) => {
                files::if_there(fs::remove_file(&path))?;
            }
            None => {
                let text = files::if_there(fs::read_to_string(&path))?.unwrap_or_default();
                claimed.extend(text.lines().map(str::to_owned));
            }
        }
    }
    Ok(claimed)
}

/// Whether root is root of the whole host, who alone may use attributes named `trusted`.
fn is_first_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let mut words = map.split_whitespace();
    words.next() == Some("0") && words.next() == Some("0") && words.next() == Some("4294967295")
}
