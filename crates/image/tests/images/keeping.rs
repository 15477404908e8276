//! What stays and what goes.

use std::fs;

use probelet_image::{Progress, RemoveError};
use probelet_runtime::{Image, ImageId, Images};
use serde_json::json;

use crate::ground::{Made, Shelf, open, write_layout};
use crate::tarball::Tarball;

const POD: &str = "2b9cb5fd-5a3e-4a3f-a6ae-0b4d4a0c2b11";

/// Loads images of those layers, by name.
async fn stock(shelf: &Shelf, images: &[(&str, &[&str])]) -> Vec<Image> {
    let layer = |text: &&str| {
        Tarball::default()
            .file(text, text.as_bytes())
            .directory("closed/", 0)
            .finish()
    };
    let mut all = Vec::new();
    for (name, layers) in images {
        let layers: Vec<Vec<u8>> = layers.iter().map(layer).collect();
        let made = Made::of(&layers);
        let dir = tempfile::tempdir().unwrap();
        let annotations = match *name {
            "" => json!({}),
            name => json!({ "io.containerd.image.name": name }),
        };
        write_layout(dir.path(), &[(&made, annotations)]);
        let loaded = shelf
            .store
            .load(dir.path(), None, Progress::none())
            .await
            .unwrap();
        all.extend(loaded.into_iter().map(|loaded| loaded.image));
    }
    all
}

#[tokio::test]
async fn an_image_that_a_pod_holds_stays() {
    let shelf = Shelf::new();
    let images = stock(&shelf, &[("held", &["a", "b"]), ("free", &["a", "c"])]).await;
    shelf.store.hold(POD, &images[0].id).await.unwrap();
    shelf.store.hold(POD, &images[0].id).await.unwrap();
    // Another process sees it too.
    let other = open(shelf.dir.path());
    let id = images[0].id.0.clone();
    for name in ["held", &id, &id[7..20]] {
        let held = other.remove(name).await.unwrap_err();
        assert_eq!(
            held.to_string(),
            format!("image {id} is held by the pods {POD}"),
            "{name}"
        );
    }
    let removed = other.prune(true).await.unwrap();
    assert_eq!(removed.untagged, ["docker.io/library/free:latest"]);
    assert_eq!(removed.deleted, [images[1].id.0.clone()]);
    assert_eq!(removed.freed, 1);
    let listed = shelf.store.list().await.unwrap();
    assert_eq!(
        (listed.len(), &listed[0].holders),
        (1, &vec![POD.to_owned()])
    );
    assert!(
        listed[0]
            .image
            .root
            .layers
            .iter()
            .all(|layer| layer.is_dir())
    );
    shelf.store.release(POD).await.unwrap();
    shelf.store.release(POD).await.unwrap();
    let removed = shelf.store.remove("held").await.unwrap();
    assert_eq!((removed.deleted, removed.freed), (vec![id], 2));
    shelf.store.prune(false).await.unwrap();
    shelf.assert_empty();
}

#[tokio::test]
async fn what_is_not_here_cannot_be_held_or_removed() {
    let shelf = Shelf::new();
    let missing = ImageId(format!("sha256:{}", "0".repeat(64)));
    let error = shelf.store.hold(POD, &missing).await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with(&format!("no such image: {}", missing.0)),
        "{error}"
    );
    for holder in ["", "../x", "a/b"] {
        assert!(shelf.store.hold(holder, &missing).await.is_err());
        assert!(shelf.store.release(holder).await.is_err());
    }
    let error = shelf.store.remove("nothing").await.unwrap_err();
    assert_eq!(error, RemoveError::Missing("nothing".to_owned()));
}

#[tokio::test]
async fn an_image_goes_with_its_last_name() {
    let shelf = Shelf::new();
    let images = stock(
        &shelf,
        &[("app:v1", &["a"]), ("app:v2", &["a"]), ("app:v3", &["b"])],
    )
    .await;
    assert_eq!(images[0].id, images[1].id);
    let removed = shelf.store.remove("app:v1").await.unwrap();
    assert_eq!(removed.untagged, ["docker.io/library/app:v1"]);
    assert_eq!(removed.deleted, [""; 0]);
    assert!(shelf.store.image("app:v2").await.unwrap().is_some());
    let removed = shelf.store.remove("app:v2").await.unwrap();
    assert_eq!(removed.deleted, [images[0].id.0.clone()]);
    assert_eq!(shelf.store.image(&images[0].id.0).await.unwrap(), None);
    assert_eq!(shelf.names("layers/OWNERS").len(), 1);
}

#[tokio::test]
async fn a_name_leaves_the_image_that_had_it() {
    let shelf = Shelf::new();
    let images = stock(
        &shelf,
        &[("app", &["old"]), ("app", &["new"]), ("", &["nameless"])],
    )
    .await;
    let named = shelf.store.image("app").await.unwrap().unwrap();
    assert_eq!(named.id, images[1].id);
    assert_eq!(shelf.store.images().await.unwrap().len(), 3);
    let removed = shelf.store.prune(false).await.unwrap();
    assert_eq!((removed.deleted.len(), removed.untagged.len()), (2, 0));
    assert_eq!(shelf.store.images().await.unwrap(), [named]);
}

#[tokio::test]
async fn what_dead_writers_left_is_swept_up() {
    let shelf = Shelf::new();
    let images = stock(&shelf, &[("app", &["a"])]).await;
    let owners = if crate::is_root() { "kept" } else { "squashed" };
    let layers = shelf.dir.path().join("layers").join(owners);
    let hex = "0".repeat(64);
    fs::create_dir_all(layers.join(format!("sha256-{hex}.tmp/files/x"))).unwrap();
    fs::create_dir_all(layers.join(format!("sha256-{hex}/files"))).unwrap();
    fs::write(
        shelf
            .dir
            .path()
            .join(format!("partial/sha256-{hex}+sha256-{hex}")),
        "part",
    )
    .unwrap();
    fs::write(shelf.dir.path().join("claims/1-1"), format!("sha256-{hex}")).unwrap();
    fs::write(shelf.dir.path().join("trash/file"), "x").unwrap();
    fs::write(shelf.dir.path().join("index.json.tmp"), "{").unwrap();
    let removed = shelf.store.prune(false).await.unwrap();
    assert_eq!((removed.deleted.len(), removed.freed), (0, 4));
    assert_eq!(shelf.names("layers/OWNERS").len(), 1);
    for directory in ["claims", "partial", "trash", "locks"] {
        assert_eq!(shelf.names(directory), [""; 0], "{directory}");
    }
    assert_eq!(shelf.store.images().await.unwrap(), images);
    // An image whose files somebody took is not taken for one.
    fs::rename(
        shelf.dir.path().join("layers"),
        shelf.dir.path().join("taken"),
    )
    .unwrap();
    assert_eq!(shelf.store.image("app").await.unwrap(), None);
    assert!(shelf.store.hold(POD, &images[0].id).await.is_err());
}

#[tokio::test]
async fn an_index_of_a_newer_program_is_left_alone() {
    let shelf = Shelf::new();
    fs::write(
        shelf.dir.path().join("index.json"),
        r#"{"version": 2, "images": {}}"#,
    )
    .unwrap();
    let error = shelf.store.prune(true).await.unwrap_err().to_string();
    assert!(
        error.ends_with("index.json: written by a newer probelet"),
        "{error}"
    );
}
