//! The logins of docker's own configuration: `config.json` in `$DOCKER_CONFIG`, else in `~/.docker`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::auth::decode_auth;
use crate::credentials::Login;
use crate::files;

/// A program that keeps passwords has so long to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// What docker calls its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// A user name that says that the secret is an identity token.
const TOKEN: &str = "<token>";
/// What the programs say when they have nothing.
const NOTHING: &str = "credentials not found in native keychain";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{}: {what}", path.display())]
    File { path: PathBuf, what: String },
    #[error("docker-credential-{name}: {what}")]
    Program { name: String, what: String },
}

/// Where it is, if the environment says so.
pub(crate) fn path() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let directory = variable("DOCKER_CONFIG").map(PathBuf::from);
    let directory = directory.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".docker")));
    Some(directory?.join("config.json"))
}

/// How to log in at a registry.
///
/// Upstream: github.com/docker/cli cli/config/configfile/file.go, GetAuthConfig (a program for the registry, a
/// program for all, the file).
/// Shown by: logins_are_read_as_docker_writes_them, logins_of_docker_are_used.
pub(crate) async fn login(path: &Path, domain: &str) -> Result<Login, ConfigError> {
    let failed = |what: String| ConfigError::File {
        path: path.to_owned(),
        what,
    };
    let text = files::if_there(tokio::fs::read(path).await).map_err(|e| failed(e.to_string()))?;
    let Some(text) = text else {
        return Ok(Login::Nobody);
    };
    let config: Config = serde_json::from_slice(&text).map_err(|e| failed(e.to_string()))?;
    let server = if domain == "docker.io" {
        DOCKER_HUB
    } else {
        domain
    };
    let program = config.cred_helpers.get(server);
    let program = program.unwrap_or(&config.creds_store);
    if !program.is_empty() {
        return ask(program, server).await;
    }
    let same_host = |key: &&String| host_of(key) == host_of(server);
    let key = config.auths.keys().find(|key| *key == server);
    let key = key.or_else(|| config.auths.keys().find(same_host));
    match key {
        Some(key) => config.auths[key]
            .login()
            .map_err(|what| failed(format!("auths.{key}.{what}"))),
        None => Ok(Login::Nobody),
    }
}

impl Entry {
    fn login(&self) -> Result<Login, String> {
        if !self.identitytoken.is_empty() {
            return Ok(Login::IdentityToken(self.identitytoken.clone()));
        }
        let (username, password) = if self.auth.is_empty() {
            (self.username.clone(), self.password.clone())
        } else {
            let decoded = decode_auth(&self.auth);
            let (username, password) = decoded.map_err(|error| format!("auth: {error}"))?;
            // Some programs fill it up.
            (username, password.trim_matches('\0').to_owned())
        };
        Ok(if username.is_empty() {
            Login::Nobody
        } else {
            Login::Password { username, password }
        })
    }
}

fn host_of(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    key.split('/').next().unwrap_or(key)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks `docker-credential-NAME`.
async fn ask(name: &str, server: &str) -> Result<Login, ConfigError> {
    let failed = |what: String| ConfigError::Program {
        name: name.to_owned(),
        what,
    };
    // The name comes from a file of the user, but is not to be a path.
    if name.contains('/') {
        return Err(failed("not the name of a program".to_owned()));
    }
    let asked = async {
        let mut child = Command::new(format!("docker-credential-{name}"))
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read may answer all the same.
            let _closed = stdin.write_all(server.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let answered = tokio::time::timeout(PATIENCE, asked).await;
    let output = answered
        .map_err(|_| failed("no answer in 30 s".to_owned()))?
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if words == NOTHING {
            return Ok(Login::Nobody);
        }
        return Err(failed(format!("{}: {words}", output.status)));
    }
    let answer = serde_json::from_slice(&output.stdout);
    let Answer { username, secret } = answer.map_err(|error| failed(error.to_string()))?;
    Ok(match (username.as_str(), secret) {
        ("", _) => Login::Nobody,
        (TOKEN, secret) => Login::IdentityToken(secret),
        (_, password) => Login::Password { username, password },
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn password(username: &str, password: &str) -> Login {
        Login::Password {
            username: username.to_owned(),
            password: password.to_owned(),
        }
    }

    #[tokio::test]
    async fn logins_are_read_as_docker_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        assert_eq!(login(&path, "docker.io").await.unwrap(), Login::Nobody);
        let auth = STANDARD.encode("jane:pass:word\0\0");
        fs::write(
            &path,
            format!(
                r#"{{"auths": {{
                "https://index.docker.io/v1/": {{"auth": "{auth}"}},
                "https://old.example.com/v1/": {{"username": "joe", "password": "x"}},
                "host:5000": {{"identitytoken": "abc", "auth": "{auth}"}},
                "raw.example.com": {{"auth": "YTpiYg"}},
                "empty.example.com": {{}},
                "broken.example.com": {{"auth": "%"}}
            }}, "HttpHeaders": {{}}}}"#
            ),
        )
        .unwrap();
        let of = async |domain| login(&path, domain).await.unwrap();
        assert_eq!(of("docker.io").await, password("jane", "pass:word"));
        assert_eq!(of("old.example.com").await, password("joe", "x"));
        assert_eq!(
            of("host:5000").await,
            Login::IdentityToken("abc".to_owned())
        );
        assert_eq!(of("raw.example.com").await, password("a", "bb"));
        assert_eq!(of("empty.example.com").await, Login::Nobody);
        assert_eq!(of("unknown.example.com").await, Login::Nobody);
        let error = login(&path, "broken.example.com").await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("auths.broken.example.com.auth: "),
            "{error}"
        );
        fs::write(&path, "{").unwrap();
        let error = login(&path, "docker.io").await.unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
    }

    #[tokio::test]
    async fn programs_that_fail_say_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let helpers = r#"{"credHelpers": {"a.example.com": "probelet-no-such-program"}}"#;
        fs::write(&path, helpers).unwrap();
        let error = login(&path, "a.example.com").await.unwrap_err().to_string();
        let program = "docker-credential-probelet-no-such-program: ";
        assert!(error.starts_with(program), "{error}");
        assert_eq!(login(&path, "b.example.com").await.unwrap(), Login::Nobody);
        fs::write(&path, r#"{"credsStore": "../x"}"#).unwrap();
        let error = login(&path, "a.example.com").await.unwrap_err().to_string();
        assert_eq!(error, "docker-credential-../x: not the name of a program");
    }
}
