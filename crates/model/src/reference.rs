//! What a pod refers to by name: ConfigMaps and Secrets of its namespace.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;
use serde_json::Value;

use crate::id::Kind;
use crate::resources::Amounts;

/// Finds an object of the pod's namespace by its kind and name.
pub type Lookup<'a> = &'a dyn Fn(Kind, &str) -> Option<Arc<Value>>;

/// What a pod cannot know of itself before it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// `status.podIPs`, the first of them `status.podIP`.
    pub pod_ips: Vec<IpAddr>,
    /// `status.hostIPs`, the first of them `status.hostIP`.
    pub host_ips: Vec<IpAddr>,
    /// `spec.nodeName`.
    pub node_name: String,
    /// `status.allocatable` of the node, which stands for the limits that a container does not have.
    pub allocatable: Amounts,
}

/// What a pod refers to and what is not there, or not of use.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, makeEnvironmentVariables; pkg/volume/configmap/configmap.go
/// and pkg/volume/secret/secret.go, MakePayload; apimachinery pkg/api/errors/errors.go, NewNotFound. The texts
/// are theirs.
/// Shown by: what_an_environment_lacks_is_named, what_a_volume_lacks_is_named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MissingReference {
    /// There is no such ConfigMap.
    #[error("configmap {0:?} not found")]
    ConfigMap(String),
    /// There is no such Secret.
    #[error("secret {0:?} not found")]
    Secret(String),
    /// An environment variable is to have the value of a key that a ConfigMap does not have.
    #[error("couldn't find key {key} in ConfigMap {namespace}/{name}")]
    ConfigMapKey {
        /// The ConfigMap's namespace.
        namespace: String,
        /// The ConfigMap.
        name: String,
        /// What it does not have.
        key: String,
    },
    /// An environment variable is to have the value of a key that a Secret does not have.
    #[error("couldn't find key {key} in Secret {namespace}/{name}")]
    SecretKey {
        /// The Secret's namespace.
        namespace: String,
        /// The Secret.
        name: String,
        /// What it does not have.
        key: String,
    },
    /// A volume names a key that its ConfigMap does not have.
    #[error("configmap references non-existent config key: {0}")]
    ConfigFile(String),
    /// A volume names a key that its Secret does not have.
    #[error("references non-existent secret key: {0}")]
    SecretFile(String),
    /// A resource is asked for of a container that the pod does not have.
    #[error("container {0} not found")]
    Container(String),
    /// An object is not what its kind has to be.
    #[error("{0}")]
    Malformed(String),
    /// An environment variable is to have a value that no environment can hold.
    #[error("the value of {0} is not a text")]
    NotText(String),
    /// Several of a volume's sources are not there.
    #[error("[{}]", list(.0))]
    Several(Vec<Self>),
}

/// Several errors in one line, each once.
///
/// Upstream: apimachinery pkg/util/errors/errors.go, aggregate.Error.
/// Shown by: what_a_volume_lacks_is_named.
fn list(errors: &[MissingReference]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in errors.iter().map(ToString::to_string) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts.join(", ")
}

/// A ConfigMap's `data`, and its `binaryData`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigMap {
    pub(crate) data: BTreeMap<String, String>,
    pub(crate) binary: BTreeMap<String, Vec<u8>>,
}

/// The ConfigMap of that name; `None` if there is none and that is allowed.
pub(crate) fn config_map(
    name: &str,
    optional: bool,
    lookup: Lookup<'_>,
) -> Result<Option<ConfigMap>, MissingReference> {
    let Some(value) = lookup(Kind::ConfigMap, name) else {
        let missing = MissingReference::ConfigMap(name.to_owned());
        return if optional { Ok(None) } else { Err(missing) };
    };
    let wire: api::ConfigMap = read(Kind::ConfigMap, name, &value)?;
    let binary = wire.binary_data.unwrap_or_default();
    Ok(Some(ConfigMap {
        data: wire.data.unwrap_or_default(),
        binary: binary
            .into_iter()
            .map(|(key, value)| (key, value.0))
            .collect(),
    }))
}

/// The `data` of the Secret of that name; `None` if there is none and that is allowed.
pub(crate) fn secret(
    name: &str,
    optional: bool,
    lookup: Lookup<'_>,
) -> Result<Option<BTreeMap<String, Vec<u8>>>, MissingReference> {
    let Some(value) = lookup(Kind::Secret, name) else {
        let missing = MissingReference::Secret(name.to_owned());
        return if optional { Ok(None) } else { Err(missing) };
    };
    let wire: api::Secret = read(Kind::Secret, name, &value)?;
    let data = wire.data.unwrap_or_default();
    Ok(Some(
        data.into_iter()
            .map(|(key, value)| (key, value.0))
            .collect(),
    ))
}

fn read<W: serde::de::DeserializeOwned>(
    kind: Kind,
    name: &str,
    value: &Value,
) -> Result<W, MissingReference> {
    W::deserialize(value)
        .map_err(|error| MissingReference::Malformed(format!("{kind} {name:?}: {error}")))
}
