//! Objects on their way out, with all that hangs on them.
//!
//! Everything that is to go goes in one transaction, but for pods, which end within their grace, and
//! namespaces, which wait for their pods. So a controller that would make a pod anew is gone before its pods
//! are, and nobody else has to work for this to come to an end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use probelet_model::id::{Kind, ObjectKey};
use probelet_model::time::Wall;
use probelet_store::{Durability, Object, Store, Transaction, WriteError};
use serde_json::Value;

use crate::clock;
use crate::objects::{deleting, metadata_of};

/// A deletion that has begun.
#[derive(Debug)]
pub struct Deletion {
    store: Arc<Store>,
    /// The uids of all that goes; it grows by what is found later.
    doomed: Mutex<BTreeSet<String>>,
    namespaces: BTreeSet<String>,
}

impl Deletion {
    /// Deletes objects, what they own, what is in them if they are namespaces, and in the end the events that
    /// tell of any of it. Objects that are not there are passed over; finalizers hold nothing.
    pub(crate) fn begin(store: Arc<Store>, keys: &[ObjectKey]) -> Self {
        let there = keys.iter().filter_map(|key| store.get(key));
        let doomed = there.map(|object| uid(&object.value).to_owned()).collect();
        let namespaces = keys.iter().filter(|key| key.kind == Kind::Namespace);
        let deletion = Self {
            doomed: Mutex::new(doomed),
            namespaces: namespaces.map(|key| key.name.clone()).collect(),
            store,
        };
        deletion.sweep(None);
        deletion
    }

    /// Returns when all of it is gone.
    pub async fn gone(&self) {
        loop {
            let mut watch = self
                .store
                .watch_kinds(self.store.version(), &[Kind::Pod])
                .expect("a store remembers its newest version");
            let pods = self.sweep(None);
            if pods.is_empty() {
                return;
            }
            // One that has fallen behind looks at everything anew.
            while pods.iter().any(|(key, uid)| self.is_there(key, uid))
                && watch.next().await.is_ok()
            {}
        }
    }

    /// Ends the grace of the pods that are still there.
    pub fn hurry(&self) {
        self.sweep(Some(0));
    }

    fn is_there(&self, key: &ObjectKey, of: &str) -> bool {
        self.store
            .get(key)
            .is_some_and(|object| uid(&object.value) == of)
    }

    /// Deletes what is there of it, and returns the pods that are still to end, with their uids.
    fn sweep(&self, grace: Option<u64>) -> Vec<(ObjectKey, String)> {
        let mut doomed = self.doomed.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now().wall;
        let swept = self.store.transact(Durability::Derived, |transaction| {
            let objects = find(transaction, &mut doomed, &self.namespaces);
            let pods: Vec<(ObjectKey, String)> = objects
                .iter()
                .filter(|object| object.key.kind == Kind::Pod)
                .map(|object| (object.key.clone(), uid(&object.value).to_owned()))
                .collect();
            for object in &objects {
                remove(transaction, object, grace, pods.is_empty(), now)?;
            }
            if pods.is_empty() {
                drop_events(transaction, &doomed, &self.namespaces)?;
            }
            Ok::<_, WriteError>(pods)
        });
        match swept {
            Ok((pods, _)) => pods,
            Err(error) => {
                tracing::error!("cannot delete: {error}");
                Vec::new()
            }
        }
    }
}

/// What is there of the doomed and of what hangs on them.
fn find(
    transaction: &Transaction<'_>,
    doomed: &mut BTreeSet<String>,
    namespaces: &BTreeSet<String>,
) -> Vec<Object> {
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Event);
    let mut others: Vec<&Object> = kinds.flat_map(|kind| transaction.list(kind)).collect();
    let mut found: Vec<Object> = Vec::new();
    loop {
        let goes = |object: &&Object| {
            doomed.contains(uid(&object.value))
                || namespaces.contains(&object.key.namespace)
                || hangs_on(transaction, object, doomed)
        };
        let (going, staying): (Vec<_>, Vec<_>) = others.into_iter().partition(goes);
        if going.is_empty() {
            return found;
        }
        doomed.extend(going.iter().map(|object| uid(&object.value).to_owned()));
        found.extend(going.into_iter().cloned());
        others = staying;
    }
}

/// Whether all owners of an object are doomed, or the Service whose Endpoints it is.
fn hangs_on(transaction: &Transaction<'_>, object: &Object, doomed: &BTreeSet<String>) -> bool {
    if object.key.kind == Kind::Endpoints {
        let service = ObjectKey::new(Kind::Service, &object.key.namespace, &object.key.name);
        let service = transaction.get(&service);
        return service.is_some_and(|service| doomed.contains(uid(&service.value)));
    }
    let owners = object.value["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|owners| {
        let is_doomed = |owner: &Value| {
            owner["uid"]
                .as_str()
                .is_some_and(|uid| doomed.contains(uid))
        };
        !owners.is_empty() && owners.iter().all(is_doomed)
    })
}

fn remove(
    transaction: &mut Transaction<'_>,
    object: &Object,
    grace: Option<u64>,
    pods_are_gone: bool,
    now: Wall,
) -> Result<(), WriteError> {
    let value = match object.key.kind {
        Kind::Pod => {
            let mut value = deleting(Value::clone(&object.value), grace, now);
            metadata_of(&mut value).remove("finalizers");
            value
        }
        Kind::Namespace if !pods_are_gone => {
            let mut value = Value::clone(&object.value);
            metadata_of(&mut value)
                .entry("deletionTimestamp")
                .or_insert_with(|| now.to_string().into());
            value["status"]["phase"] = "Terminating".into();
            value
        }
        _ => return transaction.delete(&object.key, None).map(drop),
    };
    transaction
        .update(object.key.clone(), None, value)
        .map(drop)
}

fn drop_events(
    transaction: &mut Transaction<'_>,
    doomed: &BTreeSet<String>,
    namespaces: &BTreeSet<String>,
) -> Result<(), WriteError> {
    let tells_of_it = |event: &&Object| {
        let of = event.value["involvedObject"]["uid"].as_str();
        namespaces.contains(&event.key.namespace) || of.is_some_and(|of| doomed.contains(of))
    };
    let events = transaction.list(Kind::Event).into_iter();
    let keys: Vec<ObjectKey> = events
        .filter(tells_of_it)
        .map(|event| event.key.clone())
        .collect();
    for key in keys {
        transaction.delete(&key, None)?;
    }
    Ok(())
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
