//! The store over its file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::{OpenError, Settings, TransactError};

/// A linger no test lives to see the end of.
const FOREVER: Settings = Settings {
    remembered_changes: 4096,
    linger: Duration::from_secs(3600),
};

fn contents(store: &Store) -> BTreeMap<ObjectKey, Arc<Value>> {
    let kinds = [Kind::Pod, Kind::Service, Kind::Endpoints, Kind::Event];
    let objects = kinds.into_iter().flat_map(|kind| store.list(kind).0);
    objects.map(|object| (object.key, object.value)).collect()
}

fn objects_file(dir: &Path) -> std::path::PathBuf {
    dir.join("objects.redb")
}

#[test]
fn a_store_opened_again_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("not/yet/there");
    let store = Store::open(&dir).unwrap();
    for number in 0..50 {
        put(
            &store,
            Durability::Derived,
            &format!("pod-{number}"),
            &"x".repeat(number * 100),
        );
    }
    for number in (0..50).step_by(3) {
        delete(&store, &format!("pod-{number}"));
    }
    let service = ObjectKey::new(Kind::Service, "ünïcode", "s");
    store
        .transact(Durability::Synced, |tx| {
            tx.create(service.clone(), value("\u{0}\u{1f600}"))
        })
        .unwrap();
    let (before, version) = (contents(&store), store.version());
    store.close().unwrap();
    for _ in 0..2 {
        let again = Store::open(&dir).unwrap();
        assert_eq!(contents(&again), before);
        assert_eq!(again.version(), version, "a clean end keeps the version");
        assert!(
            again.watch(Version(version.0 - 1)).is_err(),
            "old changes are not remembered"
        );
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &objects_file(&dir).metadata().unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        std::fs::read_dir(&dir).unwrap().count(),
        1,
        "no draft is left"
    );
}

#[tokio::test]
async fn waiting_for_durability_does_not_wait_for_company() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_with(dir.path(), FOREVER).unwrap();
    let version = put(&store, Durability::Derived, "a", "derived");
    tokio::time::timeout(Duration::from_secs(20), store.durable(version))
        .await
        .unwrap()
        .unwrap();
    store.durable(version).await.unwrap();
    put(&store, Durability::Derived, "b", "derived before");
    put(&store, Durability::Synced, "c", "synced");
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(objects_file(dir.path()), objects_file(copy.path())).unwrap();
    let names: Vec<String> = Store::open_read_only(copy.path())
        .unwrap()
        .list(Kind::Pod)
        .0
        .into_iter()
        .map(|pod| pod.key.name)
        .collect();
    assert_eq!(
        names,
        ["a", "b", "c"],
        "a synced write takes with it what came before"
    );
}

#[test]
fn versions_go_on_after_those_that_a_crash_kept_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_with(dir.path(), FOREVER).unwrap();
    put(&store, Durability::Synced, "a", "on disk");
    let lost = put(&store, Durability::Derived, "b", "not on disk");
    let crashed = tempfile::tempdir().unwrap();
    std::fs::copy(objects_file(dir.path()), objects_file(crashed.path())).unwrap();
    let after = Store::open(crashed.path()).unwrap();
    assert_eq!(after.get(&pod("b")), None);
    assert!(after.version() > lost);
    assert!(
        after.watch(lost).is_err(),
        "who saw the lost version has to list again"
    );
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for result in [Store::open(dir.path()), Store::open_read_only(dir.path())] {
        let error = result.unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        let path = objects_file(dir.path());
        let expected = format!(
            "{} is in use by another process: stop that one first, or choose another data directory",
            path.display()
        );
        assert_eq!(error.to_string(), expected);
    }
    put(&store, Durability::Synced, "a", "undisturbed");
    drop(store);
    assert!(Store::open(dir.path()).unwrap().get(&pod("a")).is_some());
}

#[test]
fn a_reader_in_passing_does_not_stop_an_open() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let reader = std::fs::File::open(objects_file(dir.path())).unwrap();
    reader.lock_shared().unwrap();
    let refused = Store::open(dir.path());
    assert!(
        matches!(refused, Err(OpenError::InUse { .. })),
        "one that stays does"
    );
    assert!(
        Store::open_read_only(dir.path()).is_ok(),
        "readers do not meet"
    );
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| Store::open(dir.path()).map(drop));
        // However far the open has come, it succeeds once the reader is done.
        reader.unlock().unwrap();
        opening.join().unwrap().unwrap();
    });
}

#[test]
fn read_only_shows_everything_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        Store::open_read_only(dir.path()),
        Err(OpenError::Missing { .. })
    ));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let store = Store::open(dir.path()).unwrap();
    put(&store, Durability::Synced, "a", "one");
    let copy = tempfile::tempdir().unwrap();
    // As a crash leaves it: redb has to recover this file.
    std::fs::copy(objects_file(dir.path()), objects_file(copy.path())).unwrap();
    let bytes = std::fs::read(objects_file(copy.path())).unwrap();
    let reader = Store::open_read_only(copy.path()).unwrap();
    assert_eq!(text(&reader.get(&pod("a")).unwrap().value), "one");
    let refused = reader.transact(Durability::Derived, |tx| tx.delete(&pod("a"), None));
    assert!(matches!(refused, Err(TransactError::ReadOnly)));
    let second = Store::open_read_only(copy.path()).unwrap();
    assert_eq!(contents(&second), contents(&reader));
    reader.close().unwrap();
    assert!(
        std::fs::read(objects_file(copy.path())).unwrap() == bytes,
        "the file is as it was"
    );
}

#[test]
fn a_file_that_is_no_store_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = objects_file(dir.path());
    for bytes in [
        &b"x"[..],
        b"this is somebody's shopping list",
        &[0; 100_000],
    ] {
        std::fs::write(&file, bytes).unwrap();
        for result in [Store::open(dir.path()), Store::open_read_only(dir.path())] {
            let error = result.unwrap_err();
            assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
            assert!(
                error.to_string().contains(&*file.display().to_string()),
                "{error}"
            );
        }
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
    }
}

/// Damage anywhere is found, or it is where it does no harm; in no case is a damaged file written.
#[test]
fn a_damaged_file_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for number in 0..200 {
        put(
            &store,
            Durability::Derived,
            &format!("pod-{number}"),
            &"x".repeat(300),
        );
    }
    let before = contents(&store);
    store.close().unwrap();
    let file = objects_file(dir.path());
    let whole = std::fs::read(&file).unwrap();
    let mut found = 0;
    let page = 4096;
    let used = whole
        .chunks(page)
        .enumerate()
        .filter(|(_, chunk)| chunk.iter().any(|byte| *byte != 0));
    for (number, chunk) in used {
        let mut bytes = whole.clone();
        for byte in &mut bytes[number * page..][..chunk.len()] {
            *byte ^= 0x5a;
        }
        std::fs::write(&file, &bytes).unwrap();
        match Store::open_read_only(dir.path()) {
            Ok(store) => assert_eq!(contents(&store), before, "page {number}"),
            Err(error) => {
                assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
                assert!(matches!(
                    Store::open(dir.path()),
                    Err(OpenError::Damaged { .. })
                ));
                assert!(
                    std::fs::read(&file).unwrap() == bytes,
                    "page {number} was written"
                );
                found += 1;
            }
        }
    }
    assert!(found > 10, "{found} damaged pages were found");
}

#[test]
fn a_closed_store_says_so_to_who_wants_to_be_sure() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    put(&store, Durability::Derived, "a", "written");
    store.close().unwrap();
    store.close().unwrap();
    let late = store.transact(Durability::Synced, |tx| tx.create(pod("b"), value("late")));
    assert!(matches!(late, Err(TransactError::NotDurable { .. })));
    drop(store);
    let again = Store::open(dir.path()).unwrap();
    assert_eq!(again.list(Kind::Pod).0.len(), 1);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("below")).unwrap_err();
    assert!(
        matches!(&error, OpenError::Directory { path, .. } if *path == file.join("below")),
        "{error}"
    );
}

#[test]
fn an_empty_file_is_a_new_store() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(objects_file(dir.path()), "").unwrap();
    let store = Store::open(dir.path()).unwrap();
    put(&store, Durability::Synced, "a", "first");
    assert_eq!(store.version(), Version(1));
}
