//! Transactions and what readers see of them.

use std::sync::Arc;

use super::*;
use crate::{ChangeKind, TransactError};

#[test]
fn an_object_is_read_as_it_was_written_with_its_version() {
    let store = Store::in_memory();
    let version = put(&store, Durability::Derived, "a", "one");
    let object = store.get(&pod("a")).unwrap();
    assert_eq!((object.version, &object.key), (version, &pod("a")));
    let expected = json!({
        "metadata": {"name": "any", "resourceVersion": version.to_string()},
        "unknown": {"text": "one"},
    });
    assert_eq!(*object.value, expected);
    assert_eq!(store.get(&pod("b")), None);
}

#[test]
fn a_list_has_one_kind_by_key_and_its_version() {
    let store = Store::in_memory();
    for name in ["c", "a", "b"] {
        put(&store, Durability::Derived, name, "x");
    }
    let service = ObjectKey::new(Kind::Service, "default", "s");
    store
        .transact(Durability::Derived, |tx| {
            tx.create(service.clone(), value("y"))
        })
        .unwrap();
    let (pods, version) = store.list(Kind::Pod);
    assert_eq!(
        pods.iter()
            .map(|object| &*object.key.name)
            .collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(version, store.version());
    assert_eq!(store.list(Kind::Service).0.len(), 1);
    assert_eq!(store.list(Kind::Event).0, []);
}

#[test]
fn a_transaction_is_seen_as_a_whole_at_consecutive_versions() {
    let store = Store::in_memory();
    put(&store, Durability::Derived, "old", "x");
    let before = store.version();
    let mut watch = store.watch(before).unwrap();
    let (seen_inside, after) = store
        .transact(Durability::Derived, |tx| {
            tx.create(pod("new"), value("1"))?;
            tx.update(pod("new"), None, value("2"))?;
            tx.delete(&pod("old"), Some(before))?;
            let names: Vec<String> = tx
                .list(Kind::Pod)
                .iter()
                .map(|object| object.key.name.clone())
                .collect();
            assert_eq!(store.version(), before, "nothing is seen before the end");
            Ok::<_, WriteError>(names)
        })
        .unwrap();
    assert_eq!(seen_inside, ["new"]);
    assert_eq!(after, Version(before.0 + 3));
    let changes: Vec<_> = std::iter::from_fn(|| watch.try_next().unwrap()).collect();
    let told: Vec<_> = changes
        .iter()
        .map(|change| (&*change.key.name, change.kind, change.version.0))
        .collect();
    let expected = [
        ("new", ChangeKind::Added, before.0 + 1),
        ("new", ChangeKind::Modified, before.0 + 2),
        ("old", ChangeKind::Deleted, before.0 + 3),
    ];
    assert_eq!(told, expected);
    assert_eq!(
        changes[2].object["metadata"]["resourceVersion"],
        json!(after.to_string())
    );
    assert_eq!(
        text(&changes[2].object),
        "x",
        "a deletion shows the last state"
    );
}

#[test]
fn what_errs_is_not_applied() {
    let store = Store::in_memory();
    put(&store, Durability::Derived, "a", "kept");
    let (before, mut watch) = (store.version(), store.watch(store.version()).unwrap());
    let result = store.transact(Durability::Synced, |tx| {
        tx.update(pod("a"), None, value("lost"))?;
        tx.create(pod("b"), value("lost"))?;
        tx.create(pod("a"), value("never"))
    });
    assert!(
        matches!(result, Err(TransactError::Refused(WriteError::AlreadyExists(key))) if key == pod("a"))
    );
    assert_eq!(store.version(), before);
    assert_eq!(text(&store.get(&pod("a")).unwrap().value), "kept");
    assert_eq!(store.get(&pod("b")), None);
    assert_eq!(watch.try_next(), Ok(None));
}

#[test]
fn preconditions_are_checked() {
    let store = Store::in_memory();
    let stale = put(&store, Durability::Derived, "a", "1");
    let fresh = put(&store, Durability::Derived, "a", "2");
    let check =
        |write: &dyn Fn(&mut crate::Transaction<'_>) -> Result<crate::Object, WriteError>,
         expected: &str| {
            let error = store
                .transact(Durability::Derived, |tx| write(tx))
                .unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
    check(
        &|tx| tx.create(pod("a"), value("3")),
        "Pod default/a already exists",
    );
    check(
        &|tx| tx.update(pod("b"), None, value("3")),
        "Pod default/b does not exist",
    );
    check(
        &|tx| tx.delete(&pod("b"), None),
        "Pod default/b does not exist",
    );
    let conflict = format!(
        "Pod default/a is at version {fresh}, not {stale}: read it again and apply the change to that"
    );
    check(
        &|tx| tx.update(pod("a"), Some(stale), value("3")),
        &conflict,
    );
    check(&|tx| tx.delete(&pod("a"), Some(stale)), &conflict);
    check(
        &|tx| tx.create(pod("c"), json!([1])),
        "Pod default/c is not a JSON object with metadata",
    );
    check(
        &|tx| tx.update(pod("a"), None, json!({"metadata": 1})),
        "Pod default/a is not a JSON object with metadata",
    );
    assert_eq!(store.version(), fresh);
    store
        .transact(Durability::Derived, |tx| {
            tx.update(pod("a"), Some(fresh), value("3"))
        })
        .unwrap();
}

#[test]
fn an_update_that_changes_nothing_is_none() {
    let store = Store::in_memory();
    let version = put(&store, Durability::Derived, "a", "same");
    let before = store.get(&pod("a")).unwrap();
    let mut read_and_written_back = Value::clone(&before.value);
    read_and_written_back["metadata"]["resourceVersion"] = json!("1234");
    for same in [value("same"), read_and_written_back] {
        let (object, at) = store
            .transact(Durability::Synced, |tx| tx.update(pod("a"), None, same))
            .unwrap();
        assert_eq!(at, version);
        assert!(Arc::ptr_eq(&object.value, &before.value));
    }
    assert_eq!(store.watch(version).unwrap().try_next(), Ok(None));
}

#[test]
fn a_panicking_transaction_harms_nobody_else() {
    let store = Store::in_memory();
    put(&store, Durability::Derived, "a", "1");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.transact(Durability::Derived, |tx| {
            tx.delete(&pod("a"), None).unwrap();
            panic!("a caller's bug");
            #[expect(unreachable_code, reason = "names the error type")]
            Ok::<(), WriteError>(())
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(text(&store.get(&pod("a")).unwrap().value), "1");
    put(&store, Durability::Derived, "a", "2");
    assert_eq!(text(&store.get(&pod("a")).unwrap().value), "2");
}
