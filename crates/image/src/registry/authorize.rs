//! Who asks: Basic, or a token from where the registry says.

use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;

use super::{RegistryError, body, unreachable};
use crate::credentials::Login;

/// How requests say who asks.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Authorization {
    None,
    Basic(String, String),
    Bearer(String),
}

/// Without what is secret.
impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic(..) => "Basic",
            Self::Bearer(_) => "Bearer",
        })
    }
}

impl Authorization {
    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::None => request,
            Self::Basic(username, password) => request.basic_auth(username, Some(password)),
            Self::Bearer(token) => request.bearer_auth(token),
        }
    }
}

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

/// Does what one of the challenges asks for.
///
/// Upstream: containerd core/remotes/docker/authorizer.go, dockerAuthorizer.AddResponses, and auth/fetch.go.
/// Shown by: challenges_are_read, a_token_is_fetched_from_the_realm.
pub(super) async fn authorize(
    http: &reqwest::Client,
    challenges: &[String],
    login: &Login,
    repository: &str,
) -> Result<Authorization, RegistryError> {
    let challenges: Vec<Challenge> = challenges.iter().flat_map(|text| parse(text)).collect();
    let bearer = challenges.iter().find_map(|challenge| match challenge {
        Challenge::Bearer { realm, service } => Some((realm, service)),
        Challenge::Basic => None,
    });
    if let Some((realm, service)) = bearer {
        let token = token(http, realm, service.as_deref(), login, repository).await?;
        return Ok(Authorization::Bearer(token));
    }
    match login {
        Login::Password { username, password } if challenges.contains(&Challenge::Basic) => {
            Ok(Authorization::Basic(username.clone(), password.clone()))
        }
        Login::Password { .. } | Login::Nobody | Login::IdentityToken(_) => Ok(Authorization::None),
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

async fn token(
    http: &reqwest::Client,
    realm: &str,
    service: Option<&str>,
    login: &Login,
    repository: &str,
) -> Result<String, RegistryError> {
    let scope = format!("repository:{repository}:pull");
    let mut words = vec![("scope", scope.as_str())];
    words.extend(service.map(|service| ("service", service)));
    let (request, method, kind) = match login {
        Login::Nobody => (http.get(realm).query(&words), "GET", "anonymous"),
        Login::Password { username, password } => {
            let request = http
                .get(realm)
                .query(&words)
                .basic_auth(username, Some(password));
            (request, "GET", "oauth")
        }
        Login::IdentityToken(secret) => {
            words.extend([
                ("grant_type", "refresh_token"),
                ("refresh_token", secret),
                ("client_id", "probelet"),
            ]);
            (http.post(realm).form(&words), "POST", "oauth")
        }
    };
    let failed =
        |words: String| format!("failed to authorize: failed to fetch {kind} token: {words}");
    let response = request.send().await.map_err(|error| {
        RegistryError::Unreachable(failed(unreachable("Get", realm, &error).words().to_owned()))
    })?;
    let status = response.status();
    if !status.is_success() {
        let url = response.url();
        let words = failed(format!(
            "unexpected status from {method} request to {url}: {status}"
        ));
        let denied = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        return Err(if denied || status == StatusCode::BAD_REQUEST {
            RegistryError::Denied(words)
        } else {
            RegistryError::Broken(words)
        });
    }
    let bytes = body(response, realm).await?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|error| {
        RegistryError::Invalid(failed(format!("unable to decode token response: {error}")))
    })?;
    let token = token
        .token
        .filter(|token| !token.is_empty())
        .or(token.access_token);
    token.ok_or_else(|| RegistryError::Invalid(failed("token response has no token".to_owned())))
}

/// The challenges in one header: `Bearer realm="…",service="…", Basic realm="…"`.
fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    for (scheme, parameters) in schemes(header) {
        let parameter = |name: &str| {
            let found = parameters
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            challenges.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = parameter("realm")
        {
            let service = parameter("service").filter(|service| !service.is_empty());
            challenges.push(Challenge::Bearer { realm, service });
        }
    }
    challenges
}

type Parameters = Vec<(String, String)>;

fn schemes(header: &str) -> Vec<(String, Parameters)> {
    let mut schemes: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if let Some(after) = after.strip_prefix('=') {
            let (value, after) = value(after);
            if let Some((_, parameters)) = schemes.last_mut() {
                parameters.push((word.to_owned(), value));
            }
            rest = after;
        } else {
            schemes.push((word.to_owned(), Vec::new()));
            rest = after;
        }
        rest = rest.trim_start_matches([' ', ',']);
    }
    schemes
}

/// A word, or a text in quotes, and what comes after it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', ',']).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        return (word.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, letter)) = chars.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, letter)| letter)),
            letter => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
        };
        for (header, challenges) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#,
                vec![bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                )],
            ),
            (r#"Basic realm="Registry Realm""#, vec![Challenge::Basic]),
            (
                r#"basic realm="a, b=\"c\"", bearer service=x , realm=https://y"#,
                vec![Challenge::Basic, bearer("https://y", Some("x"))],
            ),
            ("Negotiate", vec![]),
            ("Bearer", vec![]),
            (r#"Bearer realm="open"#, vec![bearer("open", None)]),
            ("", vec![]),
        ] {
            assert_eq!(parse(header), challenges, "{header}");
        }
    }

    /// Answers one request, and returns it.
    fn answer(status: &str, body: &str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let realm = format!("http://{}/token", listener.local_addr().unwrap());
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            loop {
                let read = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&request);
                let whole = |text: &str| {
                    let (head, body) = text.split_once("\r\n\r\n")?;
                    let length = head
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length: "));
                    (body.len() >= length.map_or(0, |length| length.parse().unwrap())).then_some(())
                };
                if whole(&text).is_some() {
                    break;
                }
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (realm, thread)
    }

    #[tokio::test]
    async fn a_token_is_fetched_from_the_realm() {
        let endpoint = crate::registries::Registries::default()
            .endpoints("localhost")
            .remove(0);
        let http = super::super::client(&endpoint).unwrap();
        let ask = async |realm: &str, login: &Login| {
            let challenge = format!(r#"Bearer realm="{realm}",service="me""#);
            authorize(&http, &[challenge], login, "team/app").await
        };
        let bearer = |token: &str| Ok(Authorization::Bearer(token.to_owned()));
        let scope = "scope=repository%3Ateam%2Fapp%3Apull&service=me";

        let (realm, server) = answer("200 OK", r#"{"token": "abc", "expires_in": 300}"#);
        assert_eq!(ask(&realm, &Login::Nobody).await, bearer("abc"));
        let request = server.join().unwrap();
        assert!(
            request.starts_with(&format!("GET /token?{scope} HTTP/1.1")),
            "{request}"
        );

        let password = Login::Password {
            username: "jane".to_owned(),
            password: "x".to_owned(),
        };
        let (realm, server) = answer("200 OK", r#"{"access_token": "def"}"#);
        assert_eq!(ask(&realm, &password).await, bearer("def"));
        assert!(
            server
                .join()
                .unwrap()
                .contains("authorization: Basic amFuZTp4")
        );

        let (realm, server) = answer("200 OK", r#"{"access_token": "ghi"}"#);
        assert_eq!(
            ask(&realm, &Login::IdentityToken("t".to_owned())).await,
            bearer("ghi")
        );
        let request = server.join().unwrap();
        assert!(request.starts_with("POST /token HTTP/1.1"), "{request}");
        assert!(
            request.contains("grant_type=refresh_token&refresh_token=t"),
            "{request}"
        );

        let (realm, server) = answer("401 Unauthorized", "no");
        let denied = ask(&realm, &password).await.unwrap_err();
        server.join().unwrap();
        let url = format!("{realm}?{scope}");
        assert_eq!(
            denied,
            RegistryError::Denied(format!(
                "failed to authorize: failed to fetch oauth token: unexpected status from GET request to {url}: 401 Unauthorized"
            ))
        );
    }
}
