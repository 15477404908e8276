//! Volumes that are made of objects: configMap, secret, downwardAPI, and projected, which is several of them.

use serde::{Deserialize, Serialize};

/// Where some of a volume's files come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileSource {
    /// The keys of a ConfigMap.
    ConfigMap(KeysOf),
    /// The keys of a Secret.
    Secret(KeysOf),
    /// Fields of the pod itself.
    Downward(Vec<DownwardFile>),
}

/// The keys of a ConfigMap or Secret, each a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysOf {
    /// The object's name, in the pod's namespace.
    pub name: String,
    /// `items`: these keys alone, at these paths; all keys, each at its own name, if empty.
    pub items: Vec<KeyToPath>,
    /// Whether the object or a key of `items` may be missing.
    pub optional: bool,
}

/// One of `items`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyToPath {
    /// `key`.
    pub key: String,
    /// `path`, relative, without `..`.
    pub path: String,
    /// `mode`; the volume's if `None`.
    pub mode: Option<u32>,
}

/// A file with a field of the pod in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownwardFile {
    /// `path`, relative, without `..`.
    pub path: String,
    /// `mode`; the volume's if `None`.
    pub mode: Option<u32>,
    /// What is in it.
    pub source: DownwardSource,
}

/// What the downward API tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DownwardSource {
    /// `fieldRef.fieldPath`: `metadata.name`, `metadata.labels['app']`, `status.podIP`, ...
    Field(String),
    /// `resourceFieldRef`.
    Resource {
        /// `containerName`; of an environment variable, `None` is the container itself.
        container: Option<String>,
        /// `resource`: `limits.cpu`, `requests.memory`, ...
        resource: String,
        /// `divisor`; `1` if the manifest says none.
        divisor: String,
    },
}

/// The content of a volume, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFiles {
    /// The files, by path.
    pub files: Vec<VolumeFile>,
}

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFile {
    /// Relative, without `..`; directories are made as needed.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What is in it.
    pub content: Vec<u8>,
}
