//! Images from files.

use std::fs;
use std::path::Path;
use std::process::Command;

use probelet_image::Progress;
use serde_json::json;

use crate::ground::{Made, Shelf, assert_is_busybox, write_layout};
use crate::tarball::{Tarball, digest, gzip};

fn pack(folder: &Path) -> Vec<u8> {
    let output = Command::new("tar")
        .arg("-C")
        .arg(folder)
        .args(["-c", "."])
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

async fn refused(shelf: &Shelf, path: &Path) -> String {
    let loaded = shelf.store.load(path, None, Progress::none()).await;
    loaded.unwrap_err().to_string()
}

#[tokio::test]
async fn an_oci_layout_is_loaded_from_a_folder_and_from_archives() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("layout");
    let (app, small) = (
        Made::busybox(),
        Made::of(&[Tarball::default().file("a", b"a").finish()]),
    );
    let name = json!({ "io.containerd.image.name": "registry.example.com/team/app:v1" });
    let tag = json!({ "org.opencontainers.image.ref.name": "v2" });
    write_layout(&folder, &[(&app, name), (&small, tag)]);
    let packed = pack(&folder);
    fs::write(dir.path().join("layout.tar"), &packed).unwrap();
    fs::write(dir.path().join("layout.tar.gz"), gzip(&packed)).unwrap();
    for path in ["layout", "layout.tar", "layout.tar.gz", "-"] {
        let shelf = Shelf::new();
        let loaded = if path == "-" {
            shelf
                .store
                .load_stream(
                    std::io::Cursor::new(packed.clone()),
                    Some("small"),
                    Progress::none(),
                )
                .await
        } else {
            shelf
                .store
                .load(&dir.path().join(path), Some("small"), Progress::none())
                .await
        };
        let mut loaded = loaded.unwrap();
        loaded.sort_by_key(|loaded| loaded.image.root.layers.len());
        let [second, first] = &loaded[..] else {
            panic!("{loaded:?}");
        };
        assert_eq!(first.names, ["registry.example.com/team/app:v1"], "{path}");
        assert_eq!(
            (&first.image.id.0, &first.image.digests),
            (&app.id(), &vec![])
        );
        assert_is_busybox(&first.image);
        assert_eq!(second.names, ["docker.io/library/small:v2"]);
        assert_eq!(
            fs::read(second.image.root.layers[0].join("a")).unwrap(),
            b"a"
        );
    }
    // Without a repository a tag is no name.
    let shelf = Shelf::new();
    let loaded = shelf
        .store
        .load(&folder, None, Progress::none())
        .await
        .unwrap();
    assert!(
        loaded
            .iter()
            .any(|loaded| loaded.names.is_empty() && loaded.image.tags.is_empty())
    );
}

#[tokio::test]
async fn what_docker_saves_is_loaded() {
    let plain = |file: &str| Tarball::default().file(file, b"x").finish();
    let layers = [plain("one"), plain("two")];
    let made = Made::of(&layers);
    let hex = made.id().replace("sha256:", "");
    // As docker wrote them for years: the second layer is that of another image.
    let manifest = json!([{
        "Config": format!("{hex}.json"),
        "RepoTags": ["app:v1", "team/app:v2"],
        "Layers": ["1/layer.tar", "2/layer.tar"],
    }, { "Config": format!("{hex}.json"), "RepoTags": null, "Layers": ["1/layer.tar", "2/layer.tar"] }]);
    let mut archive = Tarball::default();
    archive
        .file("1/layer.tar", &layers[0])
        .file("3/layer.tar", &layers[1])
        .symlink("2/layer.tar", "../3/layer.tar")
        .file(&format!("{hex}.json"), &made.config)
        .file("manifest.json", manifest.to_string().as_bytes());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("saved.tar");
    fs::write(&path, archive.finish()).unwrap();
    let shelf = Shelf::new();
    let loaded = shelf
        .store
        .load(&path, None, Progress::none())
        .await
        .unwrap();
    assert_eq!(
        loaded[0].names,
        ["docker.io/library/app:v1", "docker.io/team/app:v2"]
    );
    assert!(loaded[1].names.is_empty());
    let image = &loaded[0].image;
    assert_eq!(image.id.0, made.id());
    assert!(image.root.layers[0].join("one").exists() && image.root.layers[1].join("two").exists());
    assert_eq!(shelf.store.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn broken_archives_say_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Shelf::new();
    let path = dir.path().join("archive.tar");
    let refusal = async |archive: &mut Tarball| {
        fs::write(&path, archive.finish()).unwrap();
        refused(&shelf, &path).await
    };
    let text = refusal(Tarball::default().file("other", b"")).await;
    assert_eq!(
        text,
        "neither a docker archive nor an OCI layout: it has no manifest.json and no index.json"
    );
    let text = refusal(Tarball::default().file("manifest.json", b"{")).await;
    assert!(text.starts_with("manifest.json: "), "{text}");
    let saved = |config: &str| {
        json!([{ "Config": config, "Layers": ["layer"], "RepoTags": ["a"] }]).to_string()
    };
    let text =
        refusal(Tarball::default().file("manifest.json", saved("../../etc/passwd").as_bytes()))
            .await;
    assert_eq!(text, "incomplete: ../../etc/passwd is missing");
    let made = Made::of(&[b"layer".to_vec()]);
    let wrong = format!("blobs/sha256/{}", digest(b"x").replace("sha256:", ""));
    let text = refusal(
        Tarball::default()
            .file("manifest.json", saved(&wrong).as_bytes())
            .file(&wrong, &made.config),
    )
    .await;
    assert!(text.contains("its digest is sha256:"), "{text}");
    let text = refusal(
        Tarball::default()
            .file("manifest.json", saved("c").as_bytes())
            .file("c", &made.config)
            .file("layer", b"other"),
    )
    .await;
    assert!(
        text.starts_with("layer: failed to extract layer sha256:"),
        "{text}"
    );
    let text = refused(&shelf, &dir.path().join("nothing")).await;
    assert_eq!(text, "No such file or directory (os error 2)");

    let folder = dir.path().join("layout");
    write_layout(
        &folder,
        &[(&Made::of(&[Tarball::default().finish()]), json!({}))],
    );
    let layer = digest(&gzip(&Tarball::default().finish())).replace("sha256:", "");
    let blob = folder.join("blobs/sha256").join(&layer);
    fs::write(&blob, b"tampered with").unwrap();
    let text = refused(&shelf, &folder).await;
    assert!(
        text.starts_with(&format!("blobs/sha256/{layer}: its digest is ")),
        "{text}"
    );
    fs::remove_file(blob).unwrap();
    assert_eq!(
        refused(&shelf, &folder).await,
        format!("incomplete: blobs/sha256/{layer} is missing")
    );
    assert_eq!(shelf.store.list().await.unwrap(), []);
    shelf.store.prune(false).await.unwrap();
    shelf.assert_empty();
}

/// The layers are what overlayfs takes them for, as whoever runs this may mount them.
#[tokio::test]
async fn overlayfs_shows_what_the_image_has() {
    let mut base = Tarball::default();
    base.file("etc/gone", b"")
        .file("etc/stays", b"")
        .file("all/old", b"")
        .file("was/old", b"");
    let mut above = Tarball::default();
    above
        .whiteout("etc/.wh.gone")
        .file("all/new", b"")
        .whiteout("all/.wh..wh..opq")
        .whiteout(".wh.was")
        .file("was/new", b"");
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("layout");
    let made = Made::of(&[base.finish(), above.finish()]);
    write_layout(&folder, &[(&made, json!({}))]);
    let shelf = Shelf::new();
    let loaded = shelf
        .store
        .load(&folder, None, Progress::none())
        .await
        .unwrap();
    let layers = &loaded[0].image.root.layers;
    let lower = format!("lowerdir={}:{}", layers[1].display(), layers[0].display());
    let (spaces, options) = match crate::is_root() {
        true => ("-m", lower),
        false => ("-Urm", format!("{lower},userxattr")),
    };
    let merged = dir.path().join("merged");
    fs::create_dir(&merged).unwrap();
    let script = "mount -t overlay overlay -o \"$1\" \"$2\" && cd \"$2\" && find . -type f | sort";
    let output = Command::new("unshare")
        .args([spaces, "sh", "-c", script, "sh", &options])
        .arg(&merged)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "./all/new\n./etc/stays\n./was/new\n",
        "{told}"
    );
}
