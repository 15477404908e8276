//! Watches.

use std::time::Duration;

use super::*;
use crate::{Gone, Settings};

/// Longer than anything here takes; reached only by a failure.
const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_watchers_each_see_every_change_in_order() {
    let store = std::sync::Arc::new(Store::in_memory());
    let from = store.version();
    let watchers: Vec<_> = (0..100)
        .map(|_| {
            let mut watch = store.watch(from).unwrap();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while seen.len() < 500 {
                    seen.push(watch.next().await.unwrap().version.0);
                }
                seen
            })
        })
        .collect();
    for number in 0..500 {
        put(&store, Durability::Derived, "a", &number.to_string());
        if number % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let expected: Vec<u64> = (from.0 + 1..=from.0 + 500).collect();
    for watcher in watchers {
        assert_eq!(
            tokio::time::timeout(DEADLINE, watcher)
                .await
                .unwrap()
                .unwrap(),
            expected
        );
    }
}

#[tokio::test]
async fn a_waiting_watcher_is_woken_by_its_kind_only() {
    let store = Store::in_memory();
    let mut watch = store
        .watch_kinds(store.version(), &[Kind::Service])
        .unwrap();
    put(&store, Durability::Derived, "a", "1");
    assert_eq!(watch.try_next(), Ok(None));
    assert_eq!(
        watch.position(),
        store.version(),
        "what is filtered out is done with"
    );
    let service = ObjectKey::new(Kind::Service, "default", "s");
    let written = async {
        put(&store, Durability::Derived, "a", "2");
        tokio::task::yield_now().await;
        store
            .transact(Durability::Derived, |tx| {
                tx.create(service.clone(), value("x"))
            })
            .unwrap()
            .1
    };
    let (change, version) = tokio::join!(tokio::time::timeout(DEADLINE, watch.next()), written);
    let change = change.unwrap().unwrap();
    assert_eq!((change.key, change.version), (service, version));
}

#[tokio::test]
async fn a_reader_that_is_overtaken_is_told_so() {
    let store = Store::in_memory_with(Settings {
        remembered_changes: 4,
        ..Settings::default()
    });
    let mut slow = store.watch(Version(0)).unwrap();
    for number in 1..=4 {
        put(&store, Durability::Derived, "a", &number.to_string());
    }
    assert_eq!(slow.try_next().unwrap().unwrap().version, Version(1));
    put(&store, Durability::Derived, "a", "5");
    put(&store, Durability::Derived, "a", "6");
    let gone = Gone {
        asked: Version(1),
        oldest: Version(2),
        newest: Version(6),
    };
    assert_eq!(slow.next().await, Err(gone));
    assert_eq!(slow.try_next(), Err(gone));
    assert_eq!(
        gone.to_string(),
        "changes after version 1 are not remembered, only those after 2 up to 6; list again"
    );
    assert_eq!(store.watch(Version(1)).unwrap_err(), gone);
    assert_eq!(store.watch(Version(7)).unwrap_err().asked, Version(7));
    let mut again = store.watch(store.list(Kind::Pod).1).unwrap();
    put(&store, Durability::Derived, "a", "7");
    assert_eq!(text(&again.next().await.unwrap().object), "7");
}

#[tokio::test]
async fn a_watch_outlives_its_store() {
    let store = Store::in_memory();
    let mut watch = store.watch(store.version()).unwrap();
    put(&store, Durability::Derived, "a", "last");
    drop(store);
    assert_eq!(text(&watch.next().await.unwrap().object), "last");
    assert_eq!(watch.try_next(), Ok(None));
}
