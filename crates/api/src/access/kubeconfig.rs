//! The file that tells kubectl where the API is and who asks.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::certificates::Certificates;
use super::file;

/// What cluster, user and context are called.
pub const NAME: &str = "probelet";

/// A kubeconfig for the administrator, certificates and key included. A server that listens at every address is found
/// at loopback.
#[must_use]
pub fn kubeconfig(certificates: &Certificates, mut address: SocketAddr) -> Value {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": NAME,
            "cluster": {
                "certificate-authority-data": STANDARD.encode(&certificates.ca),
                "server": format!("https://{address}"),
            },
        }],
        "users": [{
            "name": NAME,
            "user": {
                "client-certificate-data": STANDARD.encode(&certificates.admin.certificate),
                "client-key-data": STANDARD.encode(&certificates.admin.key),
            },
        }],
        "contexts": [{
            "name": NAME,
            "context": {"cluster": NAME, "user": NAME},
        }],
        "current-context": NAME,
        "preferences": {},
    })
}

/// A kubeconfig as text.
///
/// # Errors
/// Never for an object of texts, lists and objects, which is what a kubeconfig is.
pub fn to_yaml(kubeconfig: &Value) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(kubeconfig)
}

/// Why a kubeconfig is not there.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file system does not let us.
    #[error("cannot write {path}")]
    File {
        /// What was to be written.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It has no YAML.
    #[error("cannot write {path} as YAML")]
    Yaml {
        /// What was to be written.
        path: PathBuf,
        /// What the writer said.
        source: serde_saphyr::ser::Error,
    },
}

/// Writes a kubeconfig for its owner alone (mode 0600), whole or not at all.
///
/// # Errors
/// [`WriteError`]; what was at `path` is as it was.
pub fn write(path: &Path, kubeconfig: &Value) -> Result<(), WriteError> {
    let text = to_yaml(kubeconfig).map_err(|source| WriteError::Yaml {
        path: path.to_owned(),
        source,
    })?;
    file::write(path, text.as_bytes()).map_err(|source| WriteError::File {
        path: path.to_owned(),
        source,
    })
}

/// Why a kubeconfig cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system does not let us.
    #[error("cannot read {path}")]
    File {
        /// What was to be read.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It is no YAML.
    #[error("{path} is no YAML")]
    Yaml {
        /// What was read.
        path: PathBuf,
        /// What is wrong with it, and where.
        source: Box<serde_saphyr::Error>,
    },
}

/// Reads a kubeconfig; a file that is empty gives `null`.
///
/// # Errors
/// [`ReadError`].
pub fn read(path: &Path) -> Result<Value, ReadError> {
    let text = std::fs::read_to_string(path).map_err(|source| ReadError::File {
        path: path.to_owned(),
        source,
    })?;
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str(&text).map_err(|source| ReadError::Yaml {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// What is in the way of a merge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The file is no object.
    #[error("it is no kubeconfig: not an object")]
    NoObject,
    /// A part of it has another type.
    #[error("it is no kubeconfig: `{0}` is not a list")]
    NoList(&'static str),
}

/// `theirs` with our cluster, user and context in it, and ours the current context, as `kind` and `k3d` leave it.
/// What is called like ours is replaced where it stands; everything else stays as and where it was. Nothing
/// (`null`, an empty file) becomes ours.
///
/// # Errors
/// [`MergeError`], if `theirs` is something else than a kubeconfig.
pub fn merge_into(theirs: Value, ours: &Value) -> Result<Value, MergeError> {
    let mut merged = match theirs {
        Value::Null => Map::new(),
        Value::Object(fields) => fields,
        _ => return Err(MergeError::NoObject),
    };
    for list in ["clusters", "users", "contexts"] {
        let entry = merged.entry(list).or_insert(Value::Null);
        if entry.is_null() {
            *entry = json!([]);
        }
        let entries = entry.as_array_mut().ok_or(MergeError::NoList(list))?;
        for own in ours[list].as_array().into_iter().flatten() {
            match entries
                .iter_mut()
                .find(|entry| entry["name"] == own["name"])
            {
                Some(entry) => *entry = own.clone(),
                None => entries.push(own.clone()),
            }
        }
    }
    merged.insert(
        "current-context".to_owned(),
        ours["current-context"].clone(),
    );
    for (field, value) in ours.as_object().into_iter().flatten() {
        merged.entry(field.clone()).or_insert_with(|| value.clone());
    }
    Ok(Value::Object(merged))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use probelet_model::time::Wall;

    use super::*;

    #[test]
    fn it_is_written_for_its_owner_alone_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let now = Wall(1_793_491_200_000_000_000);
        let certificates = Certificates::open(dir.path(), "node-1", &[], now).unwrap();
        let ours = kubeconfig(&certificates, SocketAddr::from(([127, 0, 0, 1], 6443)));
        let path = dir.path().join("kubeconfig");
        write(&path, &ours).unwrap();
        write(&path, &ours).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        let read = probelet_model::yaml::documents(&text).remove(0).unwrap();
        assert_eq!(read.to_value(), ours);
        assert_eq!(
            ours["clusters"][0]["cluster"]["server"],
            "https://127.0.0.1:6443"
        );
        let everywhere = kubeconfig(&certificates, SocketAddr::from(([0; 16], 6443)));
        assert_eq!(
            everywhere["clusters"][0]["cluster"]["server"],
            "https://[::1]:6443"
        );
        let key = STANDARD
            .decode(
                ours["users"][0]["user"]["client-key-data"]
                    .as_str()
                    .unwrap(),
            )
            .unwrap();
        assert_eq!(key, certificates.admin.key.as_bytes());
    }

    fn ours() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "probelet", "preferences": {},
            "clusters": [{"name": "probelet", "cluster": {"server": "new"}}],
            "users": [{"name": "probelet", "user": {"client-key-data": "new"}}],
            "contexts": [{"name": "probelet", "context": {"cluster": "probelet", "user": "probelet"}}],
        })
    }

    #[test]
    fn ours_joins_theirs() {
        let theirs = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "work", "extensions": [1],
            "preferences": {"colors": true},
            "clusters": [
                {"name": "probelet", "cluster": {"server": "old"}},
                {"name": "work", "cluster": {"server": "https://work"}},
            ],
            "users": null,
            "contexts": [{"name": "work", "context": {"cluster": "work"}}],
        });
        let expected = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "probelet", "extensions": [1],
            "preferences": {"colors": true},
            "clusters": [
                {"name": "probelet", "cluster": {"server": "new"}},
                {"name": "work", "cluster": {"server": "https://work"}},
            ],
            "users": [{"name": "probelet", "user": {"client-key-data": "new"}}],
            "contexts": [
                {"name": "work", "context": {"cluster": "work"}},
                {"name": "probelet", "context": {"cluster": "probelet", "user": "probelet"}},
            ],
        });
        let merged = merge_into(theirs, &ours()).unwrap();
        assert_eq!(merged, expected);
        assert_eq!(merge_into(merged.clone(), &ours()), Ok(merged));
        assert_eq!(merge_into(Value::Null, &ours()), Ok(ours()));
    }

    #[test]
    fn what_is_no_kubeconfig_is_left_alone() {
        assert_eq!(
            merge_into(json!("text"), &ours()),
            Err(MergeError::NoObject)
        );
        assert_eq!(
            merge_into(json!({"users": {}}), &ours()),
            Err(MergeError::NoList("users"))
        );
    }
}
