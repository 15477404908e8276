//! References: what images are called.

use std::fmt;

use probelet_runtime::ImageError;

use crate::digest::Digest;

/// A reference with everything that a short one leaves out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reference {
    /// The registry, with a port if there is one: `docker.io`, `127.0.0.1:5000`.
    pub(crate) domain: String,
    /// The repository there: `library/nginx`.
    pub(crate) path: String,
    pub(crate) version: Version,
}

/// What of a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Version {
    Tag(String),
    Digest(Digest),
}

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const MOST_OF_A_PATH: usize = 255;
const INVALID: &str = "invalid reference format";

impl Reference {
    /// Reads a reference as a manifest has it. A digest goes before a tag; without either it is `latest`.
    ///
    /// Upstream: github.com/distribution/reference normalize.go, ParseDockerRef.
    /// Shown by: references_are_filled_in_as_docker_does, what_is_no_reference_is_refused_in_upstreams_words.
    pub(crate) fn parse(text: &str) -> Result<Self, ImageError> {
        Self::normalized(text).map_err(|reason| ImageError::Name {
            reference: text.to_owned(),
            reason,
        })
    }

    fn normalized(text: &str) -> Result<Self, String> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(format!(
                "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            ));
        }
        let (domain, rest) = split_domain(text);
        let remote = rest.split(':').next().unwrap_or_default();
        if remote.to_lowercase() != remote {
            return Err(format!(
                "{INVALID}: repository name ({remote}) must be lowercase"
            ));
        }
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (rest.as_str(), None),
        };
        let (path, tag) = match name.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (name, None),
        };
        let well_formed = is_domain(&domain)
            && path.split('/').all(is_path_component)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest_form);
        if !well_formed {
            return Err(INVALID.to_owned());
        }
        if path.len() > MOST_OF_A_PATH {
            return Err(format!(
                "repository name must not be more than {MOST_OF_A_PATH} characters"
            ));
        }
        let version = match digest {
            Some(digest) => Version::Digest(digest.parse::<Digest>().map_err(|e| e.to_string())?),
            None => Version::Tag(tag.unwrap_or("latest").to_owned()),
        };
        Ok(Self {
            domain,
            path: path.to_owned(),
            version,
        })
    }

    /// The name without tag or digest: `docker.io/library/nginx`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The same repository, what has that digest.
    pub(crate) fn at(&self, digest: &Digest) -> Self {
        Self {
            version: Version::Digest(digest.clone()),
            ..self.clone()
        }
    }

    /// Tag or digest, as in the paths of a registry.
    pub(crate) fn object(&self) -> &str {
        match &self.version {
            Version::Tag(tag) => tag,
            Version::Digest(digest) => digest.as_str(),
        }
    }

    pub(crate) fn tag(&self) -> Option<&str> {
        match &self.version {
            Version::Tag(tag) => Some(tag),
            Version::Digest(_) => None,
        }
    }

    pub(crate) fn digest(&self) -> Option<&Digest> {
        match &self.version {
            Version::Tag(_) => None,
            Version::Digest(digest) => Some(digest),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, path, .. } = self;
        match &self.version {
            Version::Tag(tag) => write!(f, "{domain}/{path}:{tag}"),
            Version::Digest(digest) => write!(f, "{domain}/{path}@{digest}"),
        }
    }
}

/// Whether the first component is a registry, or a name at Docker Hub.
///
/// Upstream: github.com/distribution/reference normalize.go, splitDockerDomain.
/// Shown by: references_are_filled_in_as_docker_does.
fn split_domain(text: &str) -> (String, String) {
    let (domain, rest) = match text.split_once('/') {
        None => (DEFAULT_DOMAIN, text),
        Some((LEGACY_DOMAIN, rest)) => (DEFAULT_DOMAIN, rest),
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.to_lowercase() != first =>
        {
            (first, rest)
        }
        Some(_) => (DEFAULT_DOMAIN, text),
    };
    if domain == DEFAULT_DOMAIN && !rest.contains('/') {
        return (domain.to_owned(), format!("library/{rest}"));
    }
    (domain.to_owned(), rest.to_owned())
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rfind(':') {
        Some(at) if !text[at..].contains(']') => (&text[..at], Some(&text[at + 1..])),
        _ => (text, None),
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if !port.is_none_or(is_port) {
        return false;
    }
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        return !inner.is_empty()
            && inner
                .bytes()
                .all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.');
    }
    host.split('.').all(|component| {
        let is_inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !component.is_empty()
            && component.bytes().all(is_inner)
            && !component.starts_with('-')
            && !component.ends_with('-')
    })
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let is_word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = text.as_bytes();
    loop {
        let word = rest.iter().take_while(|b| is_word(b)).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        if rest.is_empty() {
            return true;
        }
        let between = rest.iter().take_while(|b| !is_word(b)).count();
        let separator = &rest[..between];
        let is_separator = matches!(separator, b"." | b"_" | b"__")
            || (!separator.is_empty() && separator.iter().all(|b| *b == b'-'));
        if !is_separator {
            return false;
        }
        rest = &rest[between..];
    }
}

fn is_tag(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = text.bytes();
    bytes.next().is_some_and(is_word)
        && text.len() <= 128
        && bytes.all(|b| is_word(b) || b == b'.' || b == b'-')
}

/// Whether it looks like a digest, of whatever algorithm.
fn is_digest_form(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    let component = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(component)
        && hex.len() >= 32
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa";

    #[test]
    fn references_are_filled_in_as_docker_does() {
        for (given, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27-alpine", "docker.io/library/nginx:1.27-alpine"),
            ("team/app", "docker.io/team/app:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/nginx:a", "docker.io/library/nginx:a"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("host:5000/a/b/c", "host:5000/a/b/c:latest"),
            (
                "127.0.0.1:5000/x_y/z__a-b--c.d",
                "127.0.0.1:5000/x_y/z__a-b--c.d:latest",
            ),
            ("[fe80::1]:5000/app", "[fe80::1]:5000/app:latest"),
            ("Host/app", "Host/app:latest"),
            ("gcr.io/a/b:_x", "gcr.io/a/b:_x"),
        ] {
            assert_eq!(
                Reference::parse(given).unwrap().to_string(),
                full,
                "{given}"
            );
            assert_eq!(Reference::parse(full).unwrap().to_string(), full);
        }
        for given in ["nginx", "nginx:1.27"] {
            let reference = Reference::parse(&format!("{given}@sha256:{HEX}")).unwrap();
            assert_eq!(
                reference.to_string(),
                format!("docker.io/library/nginx@sha256:{HEX}")
            );
            assert_eq!(reference.name(), "docker.io/library/nginx");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused_in_upstreams_words() {
        let long = "a".repeat(256);
        for (given, reason) in [
            ("", INVALID),
            ("a b", INVALID),
            ("nginx:", INVALID),
            ("nginx:-x", INVALID),
            ("nginx@", INVALID),
            ("/nginx", INVALID),
            ("nginx/", INVALID),
            ("a//b", INVALID),
            ("-host.x/app", INVALID),
            ("host:port/app", INVALID),
            ("https://host/app", INVALID),
            ("a___b", INVALID),
            ("a/../b", INVALID),
            ("nginx:1:2", INVALID),
            (
                "Nginx",
                "invalid reference format: repository name (library/Nginx) must be lowercase",
            ),
            (
                "host.x/App:v",
                "invalid reference format: repository name (App) must be lowercase",
            ),
            (
                HEX,
                "invalid repository name (7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa), cannot specify 64-byte hexadecimal strings",
            ),
            (
                &format!("h.x/{long}"),
                "repository name must not be more than 255 characters",
            ),
            (
                "nginx@sha256:0123456789abcdef0123456789abcdef",
                "invalid checksum digest length",
            ),
            (
                "nginx@md5:0123456789abcdef0123456789abcdef",
                "unsupported digest algorithm",
            ),
            ("nginx@sha256:abc", INVALID),
        ] {
            let error = Reference::parse(given).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("couldn't parse image name \"{given}\": {reason}")
            );
        }
    }
}
