//! Images from files: what `docker save` writes, and OCI layouts, packed or as folders.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, SeekFrom};
use std::path::Path;

use probelet_runtime::{Image, ImageError};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use self::source::Source;
use crate::digest::{Digest, Hashing};
use crate::index::Record;
use crate::manifest::{self, Configuration, Descriptor, Manifest};
use crate::progress::{Event, LayerState, Progress};
use crate::reference::Reference;
use crate::store::ImageStore;

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The image.
    pub image: Image,
    /// The names it was loaded by; it may have others.
    pub names: Vec<String>,
}

/// Images could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is neither.
    #[error(
        "neither a docker archive nor an OCI layout: it has no manifest.json and no index.json"
    )]
    Unknown,
    /// A part of it is not there.
    #[error("incomplete: {0} is missing")]
    Missing(String),
    /// A part of it is not what it should be.
    #[error("{name}: {what}")]
    Invalid {
        /// The part.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// A name in it is none, or the store fails.
    #[error(transparent)]
    Store(#[from] ImageError),
}

/// An image that is to be loaded.
struct Plan {
    id: Digest,
    names: BTreeSet<String>,
    configuration: Configuration,
    /// Where its layers are, the lowest first.
    layers: Vec<Part>,
}

/// A part of an archive, and what it must be, if that is known.
#[derive(Clone)]
struct Part {
    name: String,
    digest: Option<Digest>,
}

impl ImageStore {
    /// Loads the images of a folder or a file. `name` is for an image that has none there, or only a tag.
    ///
    /// # Errors
    /// [`LoadError`]. What was loaded before it stays.
    pub async fn load(
        &self,
        path: &Path,
        name: Option<&str>,
        progress: Progress,
    ) -> Result<Vec<Loaded>, LoadError> {
        let (path, trash) = (path.to_owned(), self.place.trash());
        let opened = tokio::task::spawn_blocking(move || Source::open(&path, &trash));
        let source = opened.await.map_err(io::Error::other)??;
        self.load_source(source, name, progress).await
    }

    /// Loads the images of an archive that comes as a stream.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn load_stream(
        &self,
        stream: impl Read + Send + 'static,
        name: Option<&str>,
        progress: Progress,
    ) -> Result<Vec<Loaded>, LoadError> {
        let trash = self.place.trash();
        let opened = tokio::task::spawn_blocking(move || Source::spool(stream, &trash));
        let source = opened.await.map_err(io::Error::other)??;
        self.load_source(source, name, progress).await
    }

    async fn load_source(
        &self,
        source: Source,
        name: Option<&str>,
        progress: Progress,
    ) -> Result<Vec<Loaded>, LoadError> {
        let name = name.map(Reference::parse).transpose()?;
        let plans = plans(&source, name.as_ref())?;
        let mut loaded = Vec::new();
        for plan in plans {
            loaded.push(self.load_image(&source, plan, &progress).await?);
        }
        Ok(loaded)
    }

    async fn load_image(
        &self,
        source: &Source,
        plan: Plan,
        progress: &Progress,
    ) -> Result<Loaded, LoadError> {
        let diff_ids = plan.configuration.diff_ids;
        let claim = self.claim(&diff_ids).await?;
        let mut sizes = Vec::new();
        for (diff_id, part) in diff_ids.iter().zip(&plan.layers) {
            sizes.push((diff_id.to_string(), source.section(&part.name)?.length));
        }
        progress.tell(|| Event::Resolved {
            reference: plan
                .names
                .first()
                .cloned()
                .unwrap_or_else(|| plan.id.to_string()),
            digest: plan.id.to_string(),
            layers: sizes,
        });
        for (diff_id, part) in diff_ids.iter().zip(&plan.layers) {
            self.load_layer(source, diff_id, part, progress).await?;
        }
        let record = Record {
            config: plan.configuration.config,
            layers: diff_ids,
            tags: plan.names.clone(),
            digests: BTreeSet::new(),
            size: 0,
        };
        let image = self.commit(plan.id, record).await?;
        drop(claim);
        Ok(Loaded {
            image,
            names: plan.names.into_iter().collect(),
        })
    }

    async fn load_layer(
        &self,
        source: &Source,
        diff_id: &Digest,
        part: &Part,
        progress: &Progress,
    ) -> Result<(), LoadError> {
        let invalid = |what: String| LoadError::Invalid {
            name: part.name.clone(),
            what,
        };
        let begun = self.unpacker.begin(diff_id, diff_id, progress).await;
        let Some(making) = begun.map_err(|error| invalid(error.to_string()))? else {
            return Ok(());
        };
        let section = source.section(&part.name)?;
        progress.layer(diff_id, LayerState::Unpacking);
        if let Some(digest) = part.digest.clone() {
            let reader = section.reader();
            let read = tokio::task::spawn_blocking(move || {
                let mut hashing = Hashing::new(reader, digest.hasher());
                io::copy(&mut hashing, &mut io::sink())?;
                let got = hashing.hasher.finish();
                Ok::<_, io::Error>((got == digest).then_some(()).ok_or(got))
            });
            if let Err(got) = read.await.map_err(io::Error::other)?? {
                return Err(invalid(format!("its digest is {got}")));
            }
        }
        let mut file = tokio::fs::File::from_std(section.file.try_clone()?);
        file.seek(SeekFrom::Start(section.offset)).await?;
        let unpacked = self
            .unpacker
            .unpack(making, file.take(section.length), section.length);
        unpacked.await.map_err(|error| invalid(error.to_string()))?;
        progress.layer(diff_id, LayerState::Done);
        Ok(())
    }
}

fn plans(source: &Source, name: Option<&Reference>) -> Result<Vec<Plan>, LoadError> {
    if let Some(text) = source.small("manifest.json")? {
        return docker_plans(source, &text, name);
    }
    match source.small("index.json")? {
        Some(text) => oci_plans(source, &text, name),
        None => Err(LoadError::Unknown),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// What is wrong with a manifest.json that is of one image, where `docker save` has a list of images.
const NOT_SAVED: &str = "expected the list of images that `docker save` writes; this is one image's own manifest, as \
    `skopeo copy` writes it to dir:, of which docker-archive: and oci: can be loaded";

/// The images of an archive as `docker save` writes it, by its manifest.json.
///
/// Upstream: github.com/moby/moby image/tarexport/load.go, tarexporter.Load.
/// Shown by: what_docker_saves_is_loaded.
fn docker_plans(
    source: &Source,
    text: &[u8],
    name: Option<&Reference>,
) -> Result<Vec<Plan>, LoadError> {
    if text.trim_ascii_start().starts_with(b"{") {
        return Err(invalid("manifest.json", NOT_SAVED));
    }
    let saved: Vec<Saved> =
        serde_json::from_slice(text).map_err(|e| invalid("manifest.json", e))?;
    let mut plans = Vec::new();
    for saved in saved {
        let config = needed(source, &saved.config)?;
        let id = Digest::of(&config);
        // Its path says what it is.
        let is_named = blob_of(&saved.config);
        if let Some(wrong) = is_named.filter(|named| *named != id) {
            return Err(invalid(
                &saved.config,
                format!("its digest is {id}, not {wrong}"),
            ));
        }
        let mut names = BTreeSet::new();
        for tag in saved.repo_tags.unwrap_or_default() {
            names.insert(Reference::parse(&tag)?.to_string());
        }
        if names.is_empty() {
            names.extend(name.map(Reference::to_string));
        }
        let configuration = Configuration::parse(&config, saved.layers.len());
        let layer = |name: String| Part {
            digest: blob_of(&name),
            name,
        };
        plans.push(Plan {
            id,
            names,
            configuration: configuration.map_err(|e| invalid(&saved.config, e))?,
            layers: saved.layers.into_iter().map(layer).collect(),
        });
    }
    Ok(plans)
}

/// The digest that the path of a blob says.
fn blob_of(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// The images of an OCI layout, by its index.json.
///
/// Upstream: containerd core/images/archive/importer.go, ImportIndex.
/// Shown by: an_oci_layout_is_loaded_from_a_folder_and_from_archives.
fn oci_plans(
    source: &Source,
    text: &[u8],
    name: Option<&Reference>,
) -> Result<Vec<Plan>, LoadError> {
    let index = Manifest::parse(text, "").map_err(|error| invalid("index.json", error))?;
    let Manifest::Index(manifests) = index else {
        return Err(invalid("index.json", "it is not an index"));
    };
    // One name may be there once for every platform.
    let mut by_name: BTreeMap<Called, Vec<Descriptor>> = BTreeMap::new();
    for manifest in manifests {
        let called = Called::of(&manifest, name)?;
        by_name.entry(called).or_default().push(manifest);
    }
    let mut plans: Vec<Plan> = Vec::new();
    for (called, manifests) in by_name {
        let mut chosen = chosen(&manifests)?.clone();
        let (config, layers) = loop {
            let bytes = verified(source, &chosen.digest)?;
            let at = blob_path(&chosen.digest);
            match Manifest::parse(&bytes, &chosen.media_type).map_err(|e| invalid(&at, e))? {
                Manifest::Image { config, layers } => break (config, layers),
                // Digests cannot go round.
                Manifest::Index(manifests) => {
                    chosen = manifest::pick(&manifests)
                        .map_err(|e| invalid(&at, e))?
                        .clone();
                }
            }
        };
        let bytes = verified(source, &config.digest)?;
        let configuration = Configuration::parse(&bytes, layers.len());
        let configuration = configuration.map_err(|e| invalid(&blob_path(&config.digest), e))?;
        let layer = |layer: &Descriptor| Part {
            name: blob_path(&layer.digest),
            digest: Some(layer.digest.clone()),
        };
        let names: BTreeSet<String> = called.name().into_iter().collect();
        let id = config.digest;
        if names.is_empty() && plans.iter().any(|plan| plan.id == id) {
            // Another tag of one that is there.
            continue;
        }
        plans.push(Plan {
            id,
            names,
            configuration,
            layers: layers.iter().map(layer).collect(),
        });
    }
    Ok(plans)
}

fn chosen(manifests: &[Descriptor]) -> Result<&Descriptor, LoadError> {
    manifest::pick(manifests).map_err(|error| invalid("index.json", error))
}

/// What an image of a layout is called there: by containerd in full, by others by a name or only a tag.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Called {
    /// So.
    Name(String),
    /// By a tag, which is no name, but tells it from others.
    Tag(String),
    /// Nothing.
    Nothing,
}

impl Called {
    fn of(manifest: &Descriptor, given: Option<&Reference>) -> Result<Self, ImageError> {
        let annotation = |key: &str| {
            let annotations = manifest.annotations.as_ref();
            annotations.and_then(|annotations| annotations.get(key))
        };
        let full = |name: &str| Ok(Self::Name(Reference::parse(name)?.to_string()));
        if let Some(name) = annotation("io.containerd.image.name") {
            return full(name);
        }
        match (annotation("org.opencontainers.image.ref.name"), given) {
            (Some(name), _) if name.contains([':', '/']) => full(name),
            (Some(tag), Some(given)) => full(&format!("{}:{tag}", given.name())),
            (Some(tag), None) => Ok(Self::Tag(tag.clone())),
            (None, Some(given)) => Ok(Self::Name(given.to_string())),
            (None, None) => Ok(Self::Nothing),
        }
    }

    fn name(self) -> Option<String> {
        match self {
            Self::Name(name) => Some(name),
            Self::Tag(_) | Self::Nothing => None,
        }
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}", digest.as_str().replacen(':', "/", 1))
}

fn needed(source: &Source, name: &str) -> Result<Vec<u8>, LoadError> {
    source
        .small(name)?
        .ok_or_else(|| LoadError::Missing(name.to_owned()))
}

fn verified(source: &Source, digest: &Digest) -> Result<Vec<u8>, LoadError> {
    let name = blob_path(digest);
    let bytes = needed(source, &name)?;
    if !digest.is_of(&bytes) {
        return Err(invalid(
            &name,
            format!("its digest is {}", Digest::of(&bytes)),
        ));
    }
    Ok(bytes)
}

fn invalid(name: &str, what: impl ToString) -> LoadError {
    LoadError::Invalid {
        name: name.to_owned(),
        what: what.to_string(),
    }
}
