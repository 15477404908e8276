//! Objects of the store in their wire shape: what is added to a manifest, and how it is changed later.

use std::sync::Arc;

use probelet_api::Registry;
use probelet_api::request::Target;
use probelet_api::resource::Resource;
use probelet_model::id::{ObjectKey, PodUid};
use probelet_model::manifest::ManifestObject;
use probelet_model::time::Wall;
use probelet_store::{Durability, Store, Transaction, WriteError};
use serde_json::{Map, Value, json};

use crate::identity;

/// What became of an applied object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was new.
    Created,
    /// It was there, and is other now.
    Configured,
    /// It was there as it is.
    Unchanged,
}

impl Applied {
    /// As kubectl says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// An object is not taken as it is, or its change is one that Kubernetes forbids.
    #[error("{origin}: {message}")]
    Refused {
        /// The object.
        key: ObjectKey,
        /// File and line it comes from.
        origin: String,
        /// What the API says of it.
        message: String,
    },
    /// The object is there and is being deleted.
    #[error("{origin}: {key} is being deleted; apply it again when it is gone")]
    Deleting {
        /// The object.
        key: ObjectKey,
        /// File and line it comes from.
        origin: String,
    },
}

/// Who owns what `up -f` has applied.
const FIELD_MANAGER: &str = "probelet";

/// Applies objects as `kubectl apply --server-side --force-conflicts` does, but all together, or none of them;
/// returns when they are on disk.
///
/// # Errors
/// [`ApplyError`].
pub(crate) async fn apply(
    registry: &Registry,
    objects: &[ManifestObject],
) -> Result<Vec<(ObjectKey, Applied)>, ApplyError> {
    for object in objects {
        let there = registry.store().get(&object.key);
        if there.is_some_and(|there| there.value["metadata"].get("deletionTimestamp").is_some()) {
            return Err(ApplyError::Deleting {
                key: object.key.clone(),
                origin: object.origin.to_string(),
            });
        }
    }
    let targets: Vec<(Target, Value)> = objects
        .iter()
        .map(|object| (target(&object.key), object.written.clone()))
        .collect();
    let applied =
        registry
            .apply_all(&targets, FIELD_MANAGER)
            .await
            .map_err(|(index, failure)| ApplyError::Refused {
                key: objects[index].key.clone(),
                origin: objects[index].origin.to_string(),
                message: failure.message,
            })?;
    let how = applied
        .into_iter()
        .map(|(written, changed)| match (written.created, changed) {
            (true, _) => Applied::Created,
            (false, true) => Applied::Configured,
            (false, false) => Applied::Unchanged,
        });
    let keys = objects.iter().map(|object| object.key.clone());
    Ok(keys.zip(how).collect())
}

fn target(key: &ObjectKey) -> Target {
    Target {
        resource: Resource::of(key.kind),
        namespace: key.namespace.clone(),
        name: Some(key.name.clone()),
        subresource: None,
    }
}

/// Removes objects at once. Those that are not there are passed over.
pub(crate) fn remove(store: &Store, keys: &[ObjectKey]) {
    let written = store.transact(Durability::Derived, |transaction| {
        for key in keys {
            if transaction.get(key).is_some() {
                transaction.delete(key, None)?;
            }
        }
        Ok::<_, WriteError>(())
    });
    if let Err(error) = written {
        tracing::error!("cannot delete: {error}");
    }
}

/// The pod at `key`, unless it is another one of that name.
pub(crate) fn pod(
    transaction: &Transaction<'_>,
    key: &ObjectKey,
    uid: &PodUid,
) -> Option<Arc<Value>> {
    let there = Arc::clone(&transaction.get(key)?.value);
    (there["metadata"]["uid"] == uid.as_str()).then_some(there)
}

/// A second deletion may shorten the grace and never lengthens it.
///
/// Upstream: staging/src/k8s.io/apiserver/pkg/registry/rest/delete.go, BeforeDelete.
/// Shown by: a_second_deletion_shortens_the_grace_and_never_lengthens_it.
pub(crate) fn deleting(mut value: Value, grace: Option<u64>, now: Wall) -> Value {
    let own = value["spec"]["terminationGracePeriodSeconds"]
        .as_u64()
        .unwrap_or(30);
    let asked = grace.unwrap_or(own);
    let metadata = metadata_of(&mut value);
    let before = metadata
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_u64);
    if before.is_some_and(|before| before <= asked) {
        return value;
    }
    let at = now + std::time::Duration::from_secs(asked);
    metadata.insert("deletionTimestamp".to_owned(), at.to_string().into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), asked.into());
    value
}

/// A fresh object that Probelet makes itself.
pub(crate) fn made(key: &ObjectKey, now: Wall, rest: &Value) -> Value {
    let mut value = json!({
        "apiVersion": key.kind.api_version(),
        "kind": key.kind.as_str(),
        "metadata": {
            "name": key.name,
            "uid": identity::uuid(),
            "creationTimestamp": now.to_string(),
        },
    });
    if key.kind.is_namespaced() {
        value["metadata"]["namespace"] = key.namespace.as_str().into();
    }
    merge(&mut value, rest);
    value
}

/// Puts the fields of `from` over those of `into`, object by object.
pub(crate) fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

pub(crate) fn metadata_of(value: &mut Value) -> &mut Map<String, Value> {
    if !value["metadata"].is_object() {
        value["metadata"] = Value::Object(Map::new());
    }
    value["metadata"]
        .as_object_mut()
        .expect("it has just been made an object")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_deletion_shortens_the_grace_and_never_lengthens_it() {
        let pod = json!({ "metadata": {}, "spec": { "terminationGracePeriodSeconds": 20 } });
        let at = |seconds: u64| Wall::default() + std::time::Duration::from_secs(seconds);
        let check = |deleted: &Value, grace: u64, until: u64| {
            assert_eq!(
                deleted["metadata"],
                json!({
                    "deletionGracePeriodSeconds": grace,
                    "deletionTimestamp": at(until).to_string(),
                })
            );
        };
        let first = deleting(pod.clone(), None, at(100));
        check(&first, 20, 120);
        check(&deleting(first.clone(), Some(5), at(110)), 5, 115);
        for grace in [None, Some(20), Some(60)] {
            check(&deleting(first.clone(), grace, at(110)), 20, 120);
        }
        check(&deleting(pod, Some(60), at(100)), 60, 160);
    }
}
