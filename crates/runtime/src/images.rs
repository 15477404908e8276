//! The port to whatever keeps images.

use std::future::Future;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A store of images.
///
/// References are as in a manifest: `nginx`, `docker.io/library/nginx:1.27`, `host:5000/app@sha256:…`. Every
/// call may be made from any task, several at once; several calls for one image share the work.
pub trait Images: Send + Sync + 'static {
    /// The image of that reference, if it is here; a reference that is none is an error.
    ///
    /// Upstream: CRI ImageService, ImageStatus.
    /// Shown by: a_tag_that_is_not_there_is_not_found.
    fn image(
        &self,
        reference: &str,
    ) -> impl Future<Output = Result<Option<Image>, ImageError>> + Send;

    /// Brings the image here, or sees that it is, as its registry has it now. Of the credentials those are
    /// used that are for its registry, then the runtime's own, then none.
    ///
    /// Upstream: CRI ImageService, PullImage.
    /// Shown by: an_image_is_pulled_with_a_login.
    fn pull(
        &self,
        reference: &str,
        credentials: Vec<Credential>,
    ) -> impl Future<Output = Result<Image, ImageError>> + Send;

    /// Keeps an image from being removed as long as `holder`, the uid of a pod, has not been released. What a
    /// pod holds is remembered over restarts.
    fn hold(
        &self,
        holder: &str,
        image: &ImageId,
    ) -> impl Future<Output = Result<(), ImageError>> + Send;

    /// Lets go of all that a pod held.
    fn release(&self, holder: &str) -> impl Future<Output = Result<(), ImageError>> + Send;

    /// All images, for the node's status.
    fn images(&self) -> impl Future<Output = Result<Vec<Image>, ImageError>> + Send;
}

/// What an image is known by: the digest of its configuration, `sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageId(pub String);

/// An image that is here, unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Names it has here, `docker.io/library/nginx:1.27`.
    pub tags: Vec<String>,
    /// Digests it was pulled by, `docker.io/library/nginx@sha256:…`.
    pub digests: Vec<String>,
    /// Bytes on the disk, unpacked.
    pub size: u64,
    /// How it wants to be run.
    pub config: ImageConfig,
    /// Its files.
    pub root: ImageRoot,
}

impl Image {
    /// What `status.containerStatuses[].imageID` says of it.
    ///
    /// Upstream: containerd internal/cri/server/container_status.go, toCRIContainerStatus (the first digest it
    /// was pulled by, else its id).
    /// Shown by: an_image_is_pulled_with_a_login.
    #[must_use]
    pub fn status_id(&self) -> &str {
        self.digests.first().unwrap_or(&self.id.0)
    }
}

/// How an image wants to be run: `config` of an OCI image configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Cmd`.
    pub cmd: Vec<String>,
    /// `Env`, in order.
    pub env: Vec<(String, String)>,
    /// `User`: `uid`, `name`, `uid:gid`, `name:group`, or nothing.
    pub user: String,
    /// `WorkingDir`.
    pub working_dir: Option<String>,
    /// `StopSignal`: `SIGQUIT`, `QUIT` or `3`.
    pub stop_signal: Option<String>,
    /// `Volumes`: paths that are not part of the root.
    pub volumes: Vec<PathBuf>,
}

/// What a root file system is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRoot {
    /// Directories of its layers, the lowest first, as overlayfs takes them: whiteouts are devices 0:0, and
    /// a directory that hides those below it has the attribute `opaque` (`trusted.overlay.` as root,
    /// `user.overlay.` otherwise). Nobody writes to them.
    pub layers: Vec<PathBuf>,
    /// Paths of the image that a container gets directories of its own for, with what the image has there.
    pub volumes: Vec<PathBuf>,
}

/// How to log in at a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// As the key of `auths` in a docker config.json: `registry.example.com`, `https://index.docker.io/v1/`,
    /// `host:5000/team`, `*.example.com`.
    pub registry: String,
    /// The user.
    pub username: String,
    /// The password, or a token.
    pub password: String,
}

/// Without the password.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("registry", &self.registry)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Why there is no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The reference is none.
    #[error("couldn't parse image name \"{reference}\": {reason}")]
    Name {
        /// What was given.
        reference: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Anything else, said for people.
    #[error("{0}")]
    Failed(String),
}
