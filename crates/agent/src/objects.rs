//! Objects of the store in their wire shape: what is added to a manifest, and how it is changed later.

use std::sync::Arc;

use probelet_model::changes;
use probelet_model::field::FieldError;
use probelet_model::id::{Kind, ObjectKey};
use probelet_model::manifest::ManifestObject;
use probelet_model::time::{Now, Wall};
use probelet_store::{DiskError, Durability, Store, TransactError, WriteError};
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
    /// The object is there, and its change is one that Kubernetes forbids.
    #[error(
        "{origin}: {key} is there already and cannot be changed like this:{}",
        list(errors)
    )]
    Immutable {
        /// The object.
        key: ObjectKey,
        /// File and line it comes from.
        origin: String,
        /// Each field that differs.
        errors: Vec<FieldError>,
    },
    /// The object is there and is being deleted.
    #[error("{origin}: {key} is being deleted; apply it again when it is gone")]
    Deleting {
        /// The object.
        key: ObjectKey,
        /// File and line it comes from.
        origin: String,
    },
    /// The store did not take it.
    #[error("{0}")]
    Store(String),
    /// The disk did not take it.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

fn list(errors: &[FieldError]) -> String {
    errors.iter().map(|error| format!("\n  {error}")).collect()
}

impl From<WriteError> for ApplyError {
    fn from(error: WriteError) -> Self {
        Self::Store(error.to_string())
    }
}

/// Applies objects all together, or none of them, and returns when they are on disk.
///
/// # Errors
/// [`ApplyError`].
pub async fn apply(
    store: &Store,
    objects: &[ManifestObject],
    now: Now,
) -> Result<Vec<(ObjectKey, Applied)>, ApplyError> {
    let written = store.transact(Durability::Derived, |transaction| {
        let mut applied = Vec::new();
        for object in objects {
            let key = &object.key;
            let there = transaction.get(key).map(|there| Arc::clone(&there.value));
            let how = match there {
                None => {
                    transaction.create(key.clone(), created(&object.value, now.wall))?;
                    Applied::Created
                }
                Some(there) => {
                    let origin = object.origin.to_string();
                    if there["metadata"].get("deletionTimestamp").is_some() {
                        return Err(ApplyError::Deleting {
                            key: key.clone(),
                            origin,
                        });
                    }
                    let errors = changes::immutable(&there, &object.value);
                    if !errors.is_empty() {
                        return Err(ApplyError::Immutable {
                            key: key.clone(),
                            origin,
                            errors,
                        });
                    }
                    let changed = changed(&there, &object.value);
                    if changed == *there {
                        Applied::Unchanged
                    } else {
                        transaction.update(key.clone(), None, changed)?;
                        Applied::Configured
                    }
                }
            };
            applied.push((key.clone(), how));
        }
        Ok(applied)
    });
    match written {
        Ok((applied, version)) => {
            store.durable(version).await?;
            Ok(applied)
        }
        Err(TransactError::Refused(error)) => Err(error),
        Err(error) => Err(ApplyError::Store(error.to_string())),
    }
}

/// Asks for the deletion of objects: pods end within their grace, everything else goes at once. Objects
/// that are not there are passed over.
pub fn delete(store: &Store, keys: &[ObjectKey], grace: Option<u64>, now: Now) {
    let written = store.transact(Durability::Derived, |transaction| {
        for key in keys {
            let Some(there) = transaction.get(key).map(|there| Arc::clone(&there.value)) else {
                continue;
            };
            match key.kind {
                Kind::Pod => {
                    transaction.update(
                        key.clone(),
                        None,
                        deleting((*there).clone(), grace, now.wall),
                    )?;
                }
                Kind::Service | Kind::Endpoints | Kind::Event => {
                    transaction.delete(key, None)?;
                }
            }
        }
        Ok::<_, WriteError>(())
    });
    if let Err(error) = written {
        tracing::error!("cannot delete: {error}");
    }
}

/// What the API server adds to a new object.
fn created(manifest: &Value, now: Wall) -> Value {
    let mut value = manifest.clone();
    let metadata = metadata_of(&mut value);
    metadata.insert("uid".to_owned(), identity::uuid().into());
    metadata.insert("creationTimestamp".to_owned(), now.to_string().into());
    metadata.insert("generation".to_owned(), 1.into());
    value
}

/// What is there, with the manifest's labels, annotations and spec. What Probelet itself has written, the
/// status and its own annotations, stays.
fn changed(there: &Value, manifest: &Value) -> Value {
    let mut value = there.clone();
    if there.get("spec") != manifest.get("spec") {
        value["spec"] = manifest["spec"].clone();
        let generation = there["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        metadata_of(&mut value).insert("generation".to_owned(), generation.into());
    }
    let own = |annotations: Option<&Value>| -> Map<String, Value> {
        let annotations = annotations.and_then(Value::as_object).into_iter().flatten();
        let own = annotations.filter(|(name, _)| name.starts_with("probelet.dev/"));
        own.map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let mut annotations = own(there["metadata"].get("annotations"));
    let wanted = manifest["metadata"]
        .get("annotations")
        .and_then(Value::as_object)
        .cloned();
    annotations.extend(wanted.unwrap_or_default());
    let labels = manifest["metadata"]
        .get("labels")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let metadata = metadata_of(&mut value);
    for (name, map) in [("annotations", annotations), ("labels", labels)] {
        if map.is_empty() {
            metadata.remove(name);
        } else {
            metadata.insert(name.to_owned(), Value::Object(map));
        }
    }
    value
}

/// A second deletion may shorten the grace and never lengthens it.
///
/// Upstream: staging/src/k8s.io/apiserver/pkg/registry/rest/delete.go, BeforeDelete.
/// Shown by: a_second_deletion_shortens_the_grace_and_never_lengthens_it.
fn deleting(mut value: Value, grace: Option<u64>, now: Wall) -> Value {
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
        "apiVersion": "v1",
        "kind": key.kind.as_str(),
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "uid": identity::uuid(),
            "creationTimestamp": now.to_string(),
        },
    });
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
