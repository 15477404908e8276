//! The store as a whole.

mod contents;
mod crash;
mod file;
mod properties;
mod watching;

use probelet_model::id::{Kind, ObjectKey};
use serde_json::{Value, json};

use crate::{Durability, Store, Version, WriteError};

fn pod(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Pod, "default", name)
}

fn value(text: &str) -> Value {
    json!({"metadata": {"name": "any"}, "unknown": {"text": text}})
}

fn text(value: &Value) -> &str {
    value["unknown"]["text"].as_str().unwrap()
}

/// Creates or updates in one transaction, and tells its version.
fn put(store: &Store, durability: Durability, name: &str, text: &str) -> Version {
    store
        .transact(durability, |tx| tx.put_any(pod(name), value(text)))
        .unwrap()
        .1
}

fn delete(store: &Store, name: &str) -> Version {
    let deleted = store.transact(Durability::Derived, |tx| {
        tx.delete(&pod(name), None).map(drop)
    });
    deleted
        .unwrap_or_else(|error: crate::TransactError<WriteError>| panic!("{error}"))
        .1
}

#[test]
fn it_can_be_shared_and_waited_for_in_tasks() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    fn sent<T: Send>(_: T) {}
    let store = Store::in_memory();
    shared(&store);
    let mut watch = store.watch(store.version()).unwrap();
    sent(watch.next());
    sent(store.durable(store.version()));
}
