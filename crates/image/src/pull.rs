//! A pull: from a reference to an image that is here.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use probelet_runtime::{Credential, Image, ImageError};

use crate::credentials::{self, Login};
use crate::digest::Digest;
use crate::docker_config;
use crate::download::download;
use crate::index::{Index, Record};
use crate::manifest::{self, Configuration, Descriptor, Manifest};
use crate::progress::{Event, LayerState, Progress};
use crate::reference::Reference;
use crate::registry::{Content, RegistryError, Resolved, Session};
use crate::store::ImageStore;

/// Layers that come at a time, as with docker.
const AT_A_TIME: usize = 3;
/// Indexes in indexes are followed so deep.
const MOST_INDEXES: u32 = 4;

impl ImageStore {
    /// [`Images::pull`](probelet_runtime::Images::pull), and says how far it is.
    ///
    /// Upstream: containerd internal/cri/server/images/image_pull.go, CRIImageService.PullImage.
    /// Shown by: an_image_is_pulled_with_a_login, a_tag_that_is_not_there_is_not_found.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn pull_with(
        &self,
        reference: &str,
        credentials: Vec<Credential>,
        progress: Progress,
    ) -> Result<Image, ImageError> {
        let reference = Reference::parse(reference)?;
        let context = format!("failed to pull and unpack image \"{reference}\"");
        let resolve = format!("{context}: failed to resolve reference \"{reference}\"");
        let (session, resolved) = self
            .resolve(&reference, &credentials)
            .await
            .map_err(|error| error.into_image_error(&resolve))?;
        let names = Names::of(&reference, &resolved.digest);
        if let Some(image) = self.rename_known(&names).await? {
            progress.tell(|| Event::Resolved {
                reference: reference.to_string(),
                digest: resolved.digest.to_string(),
                layers: Vec::new(),
            });
            return Ok(image);
        }
        let failed = |error: RegistryError| error.into_image_error(&context);
        let fetched = fetch(&session, &reference, &resolved)
            .await
            .map_err(failed)?;
        progress.tell(|| Event::Resolved {
            reference: reference.to_string(),
            digest: resolved.digest.to_string(),
            layers: fetched
                .layers
                .iter()
                .map(|layer| (layer.digest.to_string(), layer.size))
                .collect(),
        });
        let Fetched {
            id,
            configuration,
            layers,
        } = fetched;
        let diff_ids = configuration.diff_ids;
        let claim = self.claim(&diff_ids).await?;
        let wanted = distinct(&diff_ids, &layers);
        stream::iter(wanted)
            .map(|(diff_id, blob)| {
                self.bring(&session, &reference, diff_id, blob, &progress, &context)
            })
            .boxed()
            .buffer_unordered(AT_A_TIME)
            .try_collect::<()>()
            .await?;
        let record = Record {
            config: configuration.config,
            layers: diff_ids,
            tags: names.tags,
            digests: names.digests,
            size: 0,
        };
        let image = self.commit(id, record).await?;
        drop(claim);
        Ok(image)
    }

    /// Asks every endpoint for what the reference is of: with each login that is for it, as nobody where there is none.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_image.go, kubeGenericRuntimeManager.PullImage.
    /// Shown by: who_is_let_in_hears_that_something_is_not_there.
    async fn resolve(
        &self,
        reference: &Reference,
        credentials: &[Credential],
    ) -> Result<(Session, Resolved), RegistryError> {
        let mut logins = credentials::matching(credentials, reference);
        match own_login(reference).await {
            Ok(Login::Nobody) => {}
            Ok(login) => logins.push(login),
            // Without a login of one's own one may be let in all the same.
            Err(error) => tracing::warn!(%error, "the configuration of docker cannot be used"),
        }
        logins.dedup();
        if logins.is_empty() {
            logins.push(Login::Nobody);
        }
        let mut worst: Option<RegistryError> = None;
        for endpoint in self.registries.endpoints(&reference.domain) {
            // Secrets for a registry are not for its mirrors.
            let only = [Login::Nobody];
            let logins = if endpoint.is_mirror {
                &only[..]
            } else {
                &logins
            };
            for login in logins {
                let tried = async {
                    let session = Session::open(&endpoint, login, reference).await?;
                    let resolved = session.resolve(reference).await?;
                    Ok::<_, RegistryError>((session, resolved))
                };
                let error = match tried.await {
                    Ok(found) => return Ok(found),
                    Err(error) => error,
                };
                tracing::debug!(host = endpoint.host, error = error.words(), "not resolved");
                let goes_on =
                    matches!(error, RegistryError::Denied(_) | RegistryError::NotFound(_));
                if worst
                    .as_ref()
                    .is_none_or(|worst| rank(&error) > rank(worst))
                {
                    worst = Some(error);
                }
                if !goes_on {
                    break;
                }
            }
        }
        Err(worst.unwrap_or_else(|| RegistryError::NotFound(format!("{reference}: not found"))))
    }

    /// The image, if what the registry has is here already, with the names that it was asked for by.
    async fn rename_known(&self, names: &Names) -> Result<Option<Image>, ImageError> {
        let names = names.clone();
        self.blocking(move |store| {
            let _lock = crate::files::FileLock::take_blocking(&store.place.lock())?;
            let mut index = Index::read(&store.place)?;
            let known = index.images.iter().find(|(_, record)| {
                !record.digests.is_disjoint(&names.digests) && record.is_whole(&store.place)
            });
            let Some((id, record)) = known.map(|(id, record)| (id.clone(), record.clone())) else {
                return Ok(None);
            };
            if !names.tags.is_subset(&record.tags) {
                let tags = names.tags;
                index.add(&id, Record { tags, ..record });
                index.write(&store.place)?;
            }
            Ok(Some(index.images[&id].image(&id, &store.place)))
        })
        .await
    }

    /// Downloads and unpacks a layer, unless it is here.
    async fn bring(
        &self,
        session: &Session,
        reference: &Reference,
        diff_id: Digest,
        blob: Descriptor,
        progress: &Progress,
        context: &str,
    ) -> Result<(), ImageError> {
        let failed = |error: String| ImageError::Failed(format!("{context}: {error}"));
        let begun = self.unpacker.begin(&diff_id, &blob.digest, progress).await;
        let Some(making) = begun.map_err(|error| failed(error.to_string()))? else {
            return Ok(());
        };
        let path = self.place.partial(&diff_id, &blob.digest);
        let mut session = session.clone();
        let file = download(&mut session, reference, &blob, &path, progress)
            .await
            .map_err(|error| error.into_image_error(context))?;
        progress.layer(&blob.digest, LayerState::Unpacking);
        let unpacked = self.unpacker.unpack(making, file, blob.size).await;
        // It is verified: what could not be unpacked now never will be.
        if let Err(error) = tokio::fs::remove_file(&path).await {
            tracing::warn!(path = %path.display(), %error, "a downloaded layer could not be removed");
        }
        unpacked.map_err(|error| failed(error.to_string()))?;
        progress.layer(&blob.digest, LayerState::Done);
        Ok(())
    }
}

/// Which of several failures is told: the one from furthest on the way.
///
/// Upstream: containerd core/remotes/docker/resolver.go, dockerResolver.Resolve (firstErrPriority).
/// Shown by: a_wrong_password_is_denied.
fn rank(error: &RegistryError) -> u32 {
    match error {
        RegistryError::Unreachable(_) => 1,
        RegistryError::NotFound(_) => 2,
        RegistryError::Denied(_) | RegistryError::Broken(_) | RegistryError::Invalid(_) => 3,
    }
}

async fn own_login(reference: &Reference) -> Result<Login, docker_config::ConfigError> {
    match docker_config::path() {
        Some(path) => docker_config::login(&path, &reference.domain).await,
        None => Ok(Login::Nobody),
    }
}

/// What an image is called after a pull.
#[derive(Clone, Debug)]
struct Names {
    tags: BTreeSet<String>,
    digests: BTreeSet<String>,
}

impl Names {
    fn of(reference: &Reference, digest: &Digest) -> Self {
        Self {
            tags: reference
                .tag()
                .map(|_| reference.to_string())
                .into_iter()
                .collect(),
            digests: BTreeSet::from([reference.at(digest).to_string()]),
        }
    }
}

/// What is known of an image before its layers come.
struct Fetched {
    id: Digest,
    configuration: Configuration,
    layers: Vec<Descriptor>,
}

async fn fetch(
    session: &Session,
    reference: &Reference,
    resolved: &Resolved,
) -> Result<Fetched, RegistryError> {
    let invalid = |error: manifest::ManifestError| RegistryError::Invalid(error.to_string());
    let mut content = match &resolved.content {
        Some(content) => content.clone(),
        None => session.manifest(&reference.at(&resolved.digest)).await?,
    };
    for _ in 0..MOST_INDEXES {
        let Content { bytes, media_type } = &content;
        match Manifest::parse(bytes, media_type).map_err(invalid)? {
            Manifest::Image { config, layers } => {
                let bytes = session.small_blob(reference, &config).await?;
                let configuration = Configuration::parse(&bytes, layers.len()).map_err(invalid)?;
                return Ok(Fetched {
                    id: config.digest,
                    configuration,
                    layers,
                });
            }
            Manifest::Index(manifests) => {
                let digest = manifest::pick(&manifests).map_err(invalid)?.digest.clone();
                content = session.manifest(&reference.at(&digest)).await?;
            }
        }
    }
    Err(RegistryError::Invalid(
        "too many indexes in indexes".to_owned(),
    ))
}

/// Every layer once: the same may be in an image several times.
fn distinct(diff_ids: &[Digest], layers: &[Descriptor]) -> Vec<(Digest, Descriptor)> {
    let mut seen = BTreeSet::new();
    let pairs = diff_ids.iter().cloned().zip(layers.iter().cloned());
    pairs
        .filter(|(diff_id, _)| seen.insert(diff_id.clone()))
        .collect()
}
