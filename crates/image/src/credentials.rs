//! Which of several ways to log in is for an image.

use probelet_runtime::Credential;

use crate::reference::Reference;
use crate::registries::split_port;

/// How to log in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Login {
    Nobody,
    Password {
        username: String,
        password: String,
    },
    /// What an earlier login gave, to be exchanged.
    IdentityToken(String),
}

/// Without what is secret.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::Password { username, .. } => write!(f, "Password({username})"),
            Self::IdentityToken(_) => f.write_str("IdentityToken"),
        }
    }
}

/// The credentials that are for the image, the most particular first.
///
/// Upstream: kubelet pkg/credentialprovider/keyring.go, BasicDockerKeyring.Lookup.
/// Shown by: pull_secrets_are_matched_as_the_kubelet_does.
pub(crate) fn matching(credentials: &[Credential], reference: &Reference) -> Vec<Login> {
    let mut matching: Vec<(String, Login)> = Vec::new();
    for credential in credentials {
        let place = place(&credential.registry);
        if covers(&place, reference) {
            let login = Login::Password {
                username: credential.username.clone(),
                password: credential.password.clone(),
            };
            matching.push((place, login));
        }
    }
    // Reverse order of the alphabet: so a longer path is before its beginning.
    matching.sort_by(|(one, _), (other, _)| other.cmp(one));
    matching.into_iter().map(|(_, login)| login).collect()
}

/// A key of `auths` without its scheme, and without the paths that only say which API it was.
fn place(key: &str) -> String {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    // docker's own name for its registry.
    let host = if host == "index.docker.io" {
        "docker.io"
    } else {
        host
    };
    let path = match path.trim_end_matches('/') {
        "v1" | "v2" => "",
        path => path
            .strip_prefix("v1/")
            .or_else(|| path.strip_prefix("v2/"))
            .unwrap_or(path),
    };
    match path {
        "" => host.to_owned(),
        path => format!("{host}/{path}"),
    }
}

/// Every part of the host matches, with `*` for any letters; the port is the same; and the path is a
/// beginning of the image's.
fn covers(place: &str, reference: &Reference) -> bool {
    let (pattern, path) = place.split_once('/').unwrap_or((place, ""));
    let (pattern, pattern_port) = split_port(pattern);
    let (host, port) = split_port(&reference.domain);
    let (patterns, parts) = (pattern.split('.'), host.split('.'));
    pattern_port == port
        && patterns.clone().count() == parts.clone().count()
        && patterns
            .zip(parts)
            .all(|(pattern, part)| glob(pattern.as_bytes(), part.as_bytes()))
        && reference.path.starts_with(path)
}

/// `*` is any letters, `?` is one. Takes a time of pattern by text at most: patterns are other people's.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    // Where to go on if it does not match: behind the last `*`, with one letter more for that.
    let mut again = None;
    while next < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                again = Some((at + 1, next));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[next] => {
                at += 1;
                next += 1;
            }
            _ => {
                let Some((behind, from)) = again else {
                    return false;
                };
                again = Some((behind, from + 1));
                (at, next) = (behind, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_secrets_are_matched_as_the_kubelet_does() {
        let credential = |registry: &str| Credential {
            registry: registry.to_owned(),
            username: registry.to_owned(),
            password: "secret".to_owned(),
        };
        let keys = [
            "https://index.docker.io/v1/",
            "registry.example.com",
            "registry.example.com/team",
            "https://registry.example.com/v2/team/app",
            "*.example.com",
            "reg*.example.com",
            "registry.example.com:5000",
            "*.com",
        ];
        let all: Vec<Credential> = keys.map(credential).to_vec();
        let users = |image: &str| {
            let reference = Reference::parse(image).unwrap();
            let logins = matching(&all, &reference).into_iter();
            logins
                .map(|login| match login {
                    Login::Password { username, .. } => username,
                    other => panic!("{other:?}"),
                })
                .collect::<Vec<String>>()
        };
        assert_eq!(users("nginx"), ["https://index.docker.io/v1/"]);
        assert_eq!(
            users("registry.example.com/team/app:v1"),
            [
                "https://registry.example.com/v2/team/app",
                "registry.example.com/team",
                "registry.example.com",
                "reg*.example.com",
                "*.example.com",
            ]
        );
        assert_eq!(
            users("registry.example.com/other"),
            ["registry.example.com", "reg*.example.com", "*.example.com"]
        );
        assert_eq!(
            users("registry.example.com:5000/x"),
            ["registry.example.com:5000"]
        );
        assert_eq!(users("a.registry.example.com/x"), [""; 0]);
    }
}
