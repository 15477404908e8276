//! What is there before anybody has made anything: the namespaces every cluster has, and the runtime class.

use std::collections::BTreeMap;

use probelet_model::id::{Kind, ObjectKey};
use probelet_model::time::Wall;
use probelet_store::{Durability, Store, WriteError};
use probelet_workloads::namespaces::{self, ALWAYS_THERE, DEFAULT_ACCOUNT, ROOT_CA};
use serde_json::{Value, json};

use crate::{objects, this_node};

/// The class of pods that run on this host's own files.
const HOST_CLASS: &str = "host";

/// Makes what is missing of it.
///
/// # Errors
/// [`WriteError`], of which none is expected.
pub(crate) fn ensure(store: &Store, now: Wall) -> Result<(), WriteError> {
    let missing: BTreeMap<ObjectKey, Value> = wanted(store)
        .filter(|(key, _)| store.get(key).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let written = store.transact(Durability::Derived, |transaction| {
        for (key, rest) in missing {
            let value = objects::made(&key, now, &rest);
            transaction.create(key, value)?;
        }
        Ok(())
    });
    match written {
        Err(probelet_store::TransactError::Refused(error)) => Err(error),
        // A disk that refuses says so with the next write that is waited for.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn wanted(store: &Store) -> impl Iterator<Item = (ObjectKey, Value)> {
    let namespace = |name: String| {
        let key = ObjectKey::new(Kind::Namespace, "", &name);
        (key, namespaces::new(&name))
    };
    let class = (
        ObjectKey::new(Kind::RuntimeClass, "", HOST_CLASS),
        json!({ "handler": HOST_CLASS }),
    );
    // Probelet without an API took objects in namespaces that nobody had made.
    let used = [Kind::Pod, Kind::Service]
        .into_iter()
        .flat_map(|kind| store.list(kind).0)
        .map(|object| object.key.namespace);
    let known = ALWAYS_THERE.into_iter().map(str::to_owned);
    known.chain(used).map(namespace).chain([class])
}

/// What is there beyond what a fresh data directory has at its first start, and the events.
pub(crate) fn made_by_others(store: &Store) -> Vec<ObjectKey> {
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Event);
    let keys = kinds
        .flat_map(|kind| store.list(kind).0)
        .map(|object| object.key);
    keys.filter(|key| !is_furniture(key)).collect()
}

/// Whether it is of what every cluster has.
fn is_furniture(key: &ObjectKey) -> bool {
    let is_everywhere = ALWAYS_THERE.contains(&key.namespace.as_str());
    match key.kind {
        Kind::Namespace => ALWAYS_THERE.contains(&key.name.as_str()),
        Kind::RuntimeClass => key.name == HOST_CLASS,
        Kind::ServiceAccount => is_everywhere && key.name == DEFAULT_ACCOUNT,
        Kind::ConfigMap => is_everywhere && key.name == ROOT_CA,
        Kind::Lease => key.namespace == this_node::LEASES,
        Kind::Node => true,
        Kind::Pod
        | Kind::Service
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::Event
        | Kind::Secret
        | Kind::ReplicaSet
        | Kind::Deployment => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_cluster_has_is_made_once_and_what_others_wrote_into_it_stays() {
        let store = Store::in_memory();
        ensure(&store, Wall::default()).unwrap();
        let names: Vec<String> = store
            .list(Kind::Namespace)
            .0
            .into_iter()
            .map(|object| object.key.name)
            .collect();
        let mut wanted = ALWAYS_THERE;
        wanted.sort_unstable();
        assert_eq!(names, wanted);
        assert_eq!(made_by_others(&store), []);
        let key = ObjectKey::new(Kind::Namespace, "", "default");
        let mut labelled = (*store.get(&key).unwrap().value).clone();
        assert_eq!(labelled["metadata"].get("namespace"), None);
        labelled["metadata"]["labels"]["mine"] = "x".into();
        store
            .transact(Durability::Derived, |transaction| {
                transaction.update(key.clone(), None, labelled).map(drop)
            })
            .unwrap();
        let before = store.version();
        ensure(&store, Wall::default()).unwrap();
        assert_eq!(store.version(), before);
        let class = ObjectKey::new(Kind::RuntimeClass, "", HOST_CLASS);
        assert_eq!(store.get(&class).unwrap().value["handler"], HOST_CLASS);
    }
}
