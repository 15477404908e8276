//! A registry: what it is asked, and what its answers mean.

use std::time::Duration;

use oci_client::client::{BlobResponse, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use probelet_runtime::ImageError;
use reqwest::header::{ACCEPT, CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode};

use crate::credentials::Login;
use crate::digest::Digest;
use crate::manifest::{self, Descriptor};
use crate::reference::Reference;
use crate::registries::{Endpoint, Scheme};

mod authorize;
mod words;

pub(crate) use self::authorize::Authorization;

const USER_AGENT: &str = concat!("probelet/", env!("CARGO_PKG_VERSION"));
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// A registry that sends nothing for so long is given up.
const READ_PATIENCE: Duration = Duration::from_secs(60);

/// What a registry did not give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RegistryError {
    /// There is nothing there, or somebody else is there: another endpoint may do.
    Unreachable(String),
    /// It wants to know who asks, or does not like who does.
    Denied(String),
    NotFound(String),
    /// It fails.
    Broken(String),
    /// What it gave is not what was asked for.
    Invalid(String),
}

impl RegistryError {
    pub(crate) fn words(&self) -> &str {
        match self {
            Self::Unreachable(words)
            | Self::Denied(words)
            | Self::NotFound(words)
            | Self::Broken(words)
            | Self::Invalid(words) => words,
        }
    }

    pub(crate) fn into_image_error(self, context: &str) -> ImageError {
        ImageError::Failed(format!("{context}: {}", self.words()))
    }
}

/// One endpoint, as one user.
#[derive(Clone)]
pub(crate) struct Session {
    http: reqwest::Client,
    endpoint: Endpoint,
    /// `http` or `https`, once it is known.
    scheme: &'static str,
    login: Login,
    authorization: Authorization,
}

/// What a reference is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) digest: Digest,
    /// What was there, if it had to be fetched to know its digest.
    pub(crate) content: Option<Content>,
}

/// A manifest as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: String,
}

impl Session {
    /// Connects, and logs in as far as the registry wants it.
    pub(crate) async fn open(
        endpoint: &Endpoint,
        login: &Login,
        reference: &Reference,
    ) -> Result<Self, RegistryError> {
        let schemes: &[&'static str] = match endpoint.scheme {
            Scheme::Https => &["https"],
            Scheme::Http => &["http"],
            Scheme::Insecure => &["https", "http"],
        };
        let http = client(endpoint)?;
        let mut first = None;
        for scheme in schemes {
            let mut session = Self {
                http: http.clone(),
                endpoint: endpoint.clone(),
                scheme,
                login: login.clone(),
                authorization: Authorization::None,
            };
            match session.authorize(reference).await {
                Ok(()) => return Ok(session),
                Err(error @ RegistryError::Unreachable(_)) => {
                    // Of two failures that one counts that is about the protocol really spoken.
                    first = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(first.unwrap_or_else(|| RegistryError::Broken("no scheme to try".to_owned())))
    }

    fn url(&self, path: &str) -> String {
        format!("{}://{}/v2/{path}", self.scheme, self.endpoint.host)
    }

    /// Asks who must log in how, and does it.
    async fn authorize(&mut self, reference: &Reference) -> Result<(), RegistryError> {
        let url = self.url("");
        let response = self
            .http
            .get(&url)
            .send()
            .await
            .map_err(|e| unreachable("Get", &url, &e))?;
        let challenges: Vec<String> = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .collect();
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(());
        }
        self.authorization =
            authorize::authorize(&self.http, &challenges, &self.login, &reference.path).await?;
        Ok(())
    }

    /// Logs in again, for tokens do not last.
    pub(crate) async fn renew(&mut self, reference: &Reference) -> Result<(), RegistryError> {
        self.authorize(reference).await
    }

    /// The digest that the reference has there now.
    ///
    /// Upstream: containerd core/remotes/docker/resolver.go, dockerResolver.Resolve.
    /// Shown by: a_tag_that_is_not_there_is_not_found, a_wrong_password_is_denied.
    pub(crate) async fn resolve(&self, reference: &Reference) -> Result<Resolved, RegistryError> {
        let path = format!("{}/manifests/{}", reference.path, reference.object());
        let url = self.url(&path);
        let response = self.send(Method::HEAD, &url, reference).await?;
        let status = response.status();
        let digest = match (
            &reference.digest(),
            header(&response, "docker-content-digest"),
        ) {
            (Some(digest), _) => Some((*digest).clone()),
            (None, Some(text)) => Some(text.parse::<Digest>().map_err(|error| {
                RegistryError::Invalid(format!("{text:?} in header not a valid digest: {error}"))
            })?),
            (None, None) => None,
        };
        if let Some(digest) = digest.filter(|_| status.is_success()) {
            return Ok(Resolved {
                digest,
                content: None,
            });
        }
        if !status.is_success() && status != StatusCode::METHOD_NOT_ALLOWED {
            return Err(self.refusal("HEAD", &response, reference));
        }
        let content = self.manifest(reference).await?;
        let digest = reference.digest().cloned();
        let digest = digest.unwrap_or_else(|| Digest::of(&content.bytes));
        Ok(Resolved {
            digest,
            content: Some(content),
        })
    }

    /// The manifest of a tag or a digest; of a digest it is seen that it is that.
    pub(crate) async fn manifest(&self, reference: &Reference) -> Result<Content, RegistryError> {
        let path = format!("{}/manifests/{}", reference.path, reference.object());
        let url = self.url(&path);
        let response = self.send(Method::GET, &url, reference).await?;
        if !response.status().is_success() {
            return Err(self.refusal("GET", &response, reference));
        }
        let media_type = header(&response, CONTENT_TYPE.as_str()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let media_type = match media_type {
            // Says nothing.
            "application/json" | "application/octet-stream" | "text/plain" => "",
            media_type => media_type,
        };
        let media_type = media_type.to_owned();
        let bytes = body(response, &url).await?;
        match reference.digest() {
            Some(digest) if !digest.is_of(&bytes) => Err(RegistryError::Invalid(format!(
                "unexpected content of {url}: its digest is {}",
                Digest::of(&bytes)
            ))),
            _ => Ok(Content { bytes, media_type }),
        }
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        reference: &Reference,
    ) -> Result<Response, RegistryError> {
        let name = if method == Method::HEAD {
            "Head"
        } else {
            "Get"
        };
        let mut request = self
            .http
            .request(method, url)
            .header(ACCEPT, manifest::ACCEPT);
        if self.endpoint.is_mirror {
            request = request.query(&[("ns", &reference.domain)]);
        }
        let request = self.authorization.apply(request);
        request
            .send()
            .await
            .map_err(|error| unreachable(name, url, &error))
    }

    fn refusal(&self, method: &str, response: &Response, reference: &Reference) -> RegistryError {
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return RegistryError::NotFound(format!("{reference}: not found"));
        }
        let challenge = header(response, WWW_AUTHENTICATE.as_str()).unwrap_or_default();
        if status == StatusCode::UNAUTHORIZED && challenge.contains("insufficient_scope") {
            return RegistryError::Denied(
                "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"
                    .to_owned(),
            );
        }
        let nobody = !matches!(self.login, Login::Password { .. });
        if status == StatusCode::UNAUTHORIZED && nobody && challenge.starts_with("Basic") {
            return RegistryError::Denied(
                "pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials"
                    .to_owned(),
            );
        }
        let words = format!(
            "unexpected status from {method} request to {}: {status}",
            response.url()
        );
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            RegistryError::Denied(words)
        } else {
            RegistryError::Broken(words)
        }
    }

    /// A small blob, whole.
    pub(crate) async fn small_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
    ) -> Result<Vec<u8>, RegistryError> {
        use futures_util::StreamExt;
        let digest = &blob.digest;
        if blob.size > manifest::MOST_BYTES {
            let size = blob.size;
            return Err(RegistryError::Invalid(format!(
                "rejecting {size} byte configuration {digest}"
            )));
        }
        let mut stream = match self.blob(reference, blob, 0).await? {
            BlobResponse::Full(stream) | BlobResponse::Partial(stream) => stream.stream,
        };
        let mut bytes = Vec::new();
        let is_all = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX) >= blob.size;
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => bytes.extend_from_slice(&piece),
                // The client's own look at the digest comes last; ours is below.
                Err(_) if is_all(&bytes) => break,
                Err(error) => return Err(RegistryError::Broken(chain(&error))),
            }
            if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > blob.size {
                break;
            }
        }
        if !digest.is_of(&bytes) {
            return Err(RegistryError::Invalid(format!(
                "unexpected content: digest {} of {} bytes, expected {digest} of {}",
                Digest::of(&bytes),
                bytes.len(),
                blob.size
            )));
        }
        Ok(bytes)
    }

    /// A blob from `offset` on, if the registry can, else from its start. Nothing of it has been verified.
    pub(crate) async fn blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<BlobResponse, RegistryError> {
        let client = self.blob_client(reference).await?;
        let place = self.place(reference, &blob.digest);
        let digest = blob.digest.as_str();
        let offset = (offset > 0).then_some(offset);
        let failed = |error| blob_error(error, &blob.digest);
        match offset {
            Some(offset) => client
                .pull_blob_stream_partial(&place, digest, offset, None)
                .await
                .map_err(failed),
            None => {
                let stream = client
                    .pull_blob_stream(&place, digest)
                    .await
                    .map_err(failed)?;
                Ok(BlobResponse::Full(stream))
            }
        }
    }

    async fn blob_client(
        &self,
        reference: &Reference,
    ) -> Result<oci_client::Client, RegistryError> {
        let https = self.scheme == "https";
        let config = ClientConfig {
            protocol: if https {
                ClientProtocol::Https
            } else {
                ClientProtocol::Http
            },
            accept_invalid_certificates: self.endpoint.scheme != Scheme::Https,
            connect_timeout: Some(CONNECT_PATIENCE),
            read_timeout: Some(READ_PATIENCE),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        };
        let client = oci_client::Client::try_from(config);
        let client = client.map_err(|error| RegistryError::Broken(chain(&error)))?;
        let auth = match &self.authorization {
            Authorization::None => RegistryAuth::Anonymous,
            Authorization::Basic(username, password) => {
                RegistryAuth::Basic(username.clone(), password.clone())
            }
            Authorization::Bearer(token) => RegistryAuth::Bearer(token.clone()),
        };
        let place = self.place(reference, &Digest::of(b""));
        client
            .store_auth_if_needed(place.resolve_registry(), &auth)
            .await;
        Ok(client)
    }

    fn place(&self, reference: &Reference, digest: &Digest) -> oci_client::Reference {
        let host = self.endpoint.host.clone();
        let (path, digest) = (reference.path.clone(), digest.to_string());
        if !self.endpoint.is_mirror {
            return oci_client::Reference::with_digest(host, path, digest);
        }
        let mut place = oci_client::Reference::with_digest(reference.domain.clone(), path, digest);
        place.set_mirror_registry(host);
        place
    }
}

fn client(endpoint: &Endpoint) -> Result<reqwest::Client, RegistryError> {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // Fails if the program has chosen another, which does as well.
        let _there_already = rustls::crypto::ring::default_provider().install_default();
    });
    let builder = reqwest::Client::builder()
        .dns_resolver(std::sync::Arc::new(words::Resolver))
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_PATIENCE)
        .read_timeout(READ_PATIENCE)
        .danger_accept_invalid_certs(endpoint.scheme != Scheme::Https);
    builder
        .build()
        .map_err(|error| RegistryError::Broken(chain(&error)))
}

fn header(response: &Response, name: &str) -> Option<String> {
    let value = response.headers().get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// All of a body, unless it is absurd.
async fn body(mut response: Response, url: &str) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    loop {
        let piece = response
            .chunk()
            .await
            .map_err(|error| unreachable("Get", url, &error))?;
        let Some(piece) = piece else {
            return Ok(bytes);
        };
        bytes.extend_from_slice(&piece);
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > manifest::MOST_BYTES {
            return Err(RegistryError::Invalid(format!(
                "rejecting {url}: it is too large"
            )));
        }
    }
}

fn unreachable(method: &str, url: &str, error: &reqwest::Error) -> RegistryError {
    let cause = words::of_connecting(error).unwrap_or_else(|| {
        std::error::Error::source(error).map_or_else(|| error.to_string(), chain)
    });
    RegistryError::Unreachable(format!("failed to do request: {method} {url:?}: {cause}"))
}

fn blob_error(error: OciDistributionError, digest: &Digest) -> RegistryError {
    let context = format!("failed to copy: {digest}");
    match error {
        OciDistributionError::UnauthorizedError { .. } => {
            RegistryError::Denied(format!("{context}: 401 Unauthorized"))
        }
        OciDistributionError::RegistryError { ref envelope, .. } => {
            use oci_client::errors::OciErrorCode;
            let is_missing = envelope.errors.iter().any(|error| {
                matches!(
                    error.code,
                    OciErrorCode::BlobUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound
                )
            });
            if is_missing {
                RegistryError::NotFound(format!("{context}: not found"))
            } else {
                RegistryError::Denied(format!("{context}: {error}"))
            }
        }
        OciDistributionError::DigestError(error) => {
            RegistryError::Invalid(format!("{context}: {error}"))
        }
        error => RegistryError::Broken(format!("{context}: {}", chain(&error))),
    }
}

/// An error and what it came from.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !words.ends_with(&more) {
            words = format!("{words}: {more}");
        }
        next = cause.source();
    }
    words
}
