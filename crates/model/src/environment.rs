//! The environment of a container, as it is when the container starts.
//!
//! Upstream: kubelet pkg/kubelet/kubelet_pods.go, makeEnvironmentVariables.
//! Shown by: an_environment_is_made_in_upstreams_order.

mod links;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::downward;
use crate::expand::expand;
use crate::pod::{Container, EnvFrom, EnvValue, KeyRef, Pod};
use crate::reference::{self, Lookup, MissingReference, PodFacts};

/// The variables of a container, each once: those of `envFrom`, over them those of `env` with `$(VAR)`
/// expanded, and the addresses of Services where neither says otherwise. `services` are those of any
/// namespace.
///
/// A key of a ConfigMap or Secret is always a variable's name as well, since any printable name is one.
///
/// # Errors
/// What is referred to and not there; the container waits with reason `CreateContainerConfigError` and this
/// text.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, makeEnvironmentVariables.
/// Shown by: an_environment_is_made_in_upstreams_order, what_an_environment_lacks_is_named,
/// what_is_optional_may_be_missing.
pub fn environment(
    pod: &Pod,
    container: &Container,
    facts: &PodFacts,
    lookup: Lookup<'_>,
    services: &[Arc<Value>],
) -> Result<Vec<(String, String)>, MissingReference> {
    let links = links::links(&pod.meta.namespace, pod.enable_service_links, services);
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for from in &container.env_from {
        known.extend(all_of(from, lookup)?);
    }
    for variable in &container.env {
        let value = match &variable.value {
            EnvValue::Literal(text) => Some(expand(text, |name| {
                known.get(name).or_else(|| links.get(name)).cloned()
            })),
            EnvValue::Downward(source) => {
                Some(downward::text(source, pod, Some(container), facts)?)
            }
            EnvValue::ConfigMapKey(key) => of_config_map(key, pod, lookup)?,
            EnvValue::SecretKey(key) => of_secret(key, pod, lookup)?,
        };
        if let Some(value) = value {
            known.insert(variable.name.clone(), value);
        }
    }
    for (name, value) in links {
        known.entry(name).or_insert(value);
    }
    Ok(known.into_iter().collect())
}

/// `words`, a container's command, with `$(VAR)` expanded from its environment.
///
/// Upstream: kubelet pkg/kubelet/container/helpers.go, ExpandContainerCommandAndArgs.
/// Shown by: a_command_is_expanded_from_all_of_the_environment.
#[must_use]
pub fn expand_command(words: &[String], environment: &[(String, String)]) -> Vec<String> {
    let value = |name: &str| {
        let found = environment.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    words.iter().map(|word| expand(word, value)).collect()
}

fn all_of(
    from: &EnvFrom,
    lookup: Lookup<'_>,
) -> Result<BTreeMap<String, String>, MissingReference> {
    let EnvFrom {
        prefix,
        is_secret,
        name,
        optional,
    } = from;
    let named = |key: String| format!("{prefix}{key}");
    if *is_secret {
        let data = reference::secret(name, *optional, lookup)?.unwrap_or_default();
        data.into_iter()
            .map(|(key, value)| Ok((named(key.clone()), text(&named(key), value)?)))
            .collect()
    } else {
        let config_map = reference::config_map(name, *optional, lookup)?.unwrap_or_default();
        Ok(config_map
            .data
            .into_iter()
            .map(|(key, value)| (named(key), value))
            .collect())
    }
}

fn of_config_map(
    key: &KeyRef,
    pod: &Pod,
    lookup: Lookup<'_>,
) -> Result<Option<String>, MissingReference> {
    let Some(mut found) = reference::config_map(&key.name, key.optional, lookup)? else {
        return Ok(None);
    };
    match found.data.remove(&key.key) {
        None if !key.optional => Err(MissingReference::ConfigMapKey {
            namespace: pod.meta.namespace.clone(),
            name: key.name.clone(),
            key: key.key.clone(),
        }),
        value => Ok(value),
    }
}

fn of_secret(
    key: &KeyRef,
    pod: &Pod,
    lookup: Lookup<'_>,
) -> Result<Option<String>, MissingReference> {
    let Some(mut found) = reference::secret(&key.name, key.optional, lookup)? else {
        return Ok(None);
    };
    match found.remove(&key.key) {
        None if !key.optional => Err(MissingReference::SecretKey {
            namespace: pod.meta.namespace.clone(),
            name: key.name.clone(),
            key: key.key.clone(),
        }),
        None => Ok(None),
        Some(value) => text(&key.key, value).map(Some),
    }
}

/// Differs: bytes that are no text are named; upstream's container runtime refuses the whole request.
fn text(name: &str, bytes: Vec<u8>) -> Result<String, MissingReference> {
    String::from_utf8(bytes).map_err(|_| MissingReference::NotText(name.to_owned()))
}

#[cfg(test)]
mod tests;
