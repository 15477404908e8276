//! Pulls from a real registry.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use probelet_image::{Event, LayerState, Progress, Registries};
use probelet_runtime::{Credential, ImageError, Images};

use crate::front::Front;
use crate::ground::{Layer, Made, PASSWORD, Registry, Shelf, USER, assert_is_busybox};
use crate::kills::Pull;
use crate::tarball::{Tarball, digest, gzip};

fn credential(registry: &Registry, password: &str) -> Vec<Credential> {
    vec![Credential {
        registry: registry.host.clone(),
        username: USER.to_owned(),
        password: password.to_owned(),
    }]
}

fn words(result: Result<probelet_runtime::Image, ImageError>) -> String {
    match result {
        Err(ImageError::Failed(words)) => words,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_image_is_pulled_with_a_login() {
    let registry = Registry::with_login();
    let made = Made::busybox();
    registry.push(&made, "team/app:v1").await;
    let shelf = Shelf::new();
    let reference = registry.reference("team/app:v1");
    assert_eq!(shelf.store.image(&reference).await.unwrap(), None);
    let image = shelf
        .store
        .pull(&reference, credential(&registry, PASSWORD))
        .await
        .unwrap();
    assert_is_busybox(&image);
    assert_eq!(image.id.0, made.id());
    assert_eq!(image.tags, std::slice::from_ref(&reference));
    let by_digest = format!(
        "{}@{}",
        registry.reference("team/app"),
        digest(&made.manifest_bytes())
    );
    assert_eq!(image.digests, std::slice::from_ref(&by_digest));
    for name in [&reference, &by_digest, &image.id.0] {
        assert_eq!(
            shelf.store.image(name).await.unwrap().as_ref(),
            Some(&image),
            "{name}"
        );
    }
    let images = shelf.store.images().await.unwrap();
    assert_eq!(images, std::slice::from_ref(&image));
    assert_eq!(shelf.names("partial"), [""; 0]);
    // Another name for what is here: nothing comes.
    registry.push(&made, "team/app:v2").await;
    let second = registry.reference("team/app:v2");
    let again = shelf
        .store
        .pull(&second, credential(&registry, PASSWORD))
        .await
        .unwrap();
    assert_eq!((again.id, again.tags), (image.id, vec![reference, second]));
    // By a digest no tag is given.
    let fresh = Shelf::new();
    let image = fresh
        .store
        .pull(&by_digest, credential(&registry, PASSWORD))
        .await
        .unwrap();
    assert_eq!(
        (image.tags.len(), image.status_id()),
        (0, by_digest.as_str())
    );
}

#[tokio::test]
async fn a_wrong_password_is_denied() {
    let registry = Registry::with_login();
    registry.push(&Made::of(&[]), "app:v1").await;
    let shelf = Shelf::new();
    let reference = registry.reference("app:v1");
    let context = format!(
        "failed to pull and unpack image \"{reference}\": failed to resolve reference \"{reference}\""
    );
    let host = &registry.host;
    let denied = words(
        shelf
            .store
            .pull(&reference, credential(&registry, "wrong"))
            .await,
    );
    assert_eq!(
        denied,
        format!(
            "{context}: unexpected status from HEAD request to http://{host}/v2/app/manifests/v1: 401 Unauthorized"
        )
    );
    let denied = words(shelf.store.pull(&reference, Vec::new()).await);
    assert_eq!(
        denied,
        format!(
            "{context}: pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials"
        )
    );
    // One for somebody else is not tried; of several that are, one is enough.
    let mut several = credential(&registry, "wrong");
    several.extend(credential(&registry, PASSWORD));
    let image = shelf.store.pull(&reference, several).await.unwrap();
    assert_eq!(image.root.layers.len(), 0);
}

#[tokio::test]
async fn who_is_let_in_hears_that_something_is_not_there() {
    let registry = Registry::with_login();
    registry.push(&Made::of(&[]), "app:v1").await;
    let shelf = Shelf::new();
    let no_digest = format!("app@{}", digest(b"nothing"));
    for name in ["app:v2", "other/app:v1", &no_digest] {
        let reference = registry.reference(name);
        let credentials = credential(&registry, PASSWORD);
        assert_eq!(
            words(shelf.store.pull(&reference, credentials).await),
            format!(
                "failed to pull and unpack image \"{reference}\": failed to resolve reference \"{reference}\": {reference}: not found"
            )
        );
    }
}

#[tokio::test]
async fn a_tag_that_is_not_there_is_not_found() {
    let registry = Registry::open();
    registry.push(&Made::of(&[]), "app:v1").await;
    let shelf = Shelf::new();
    for name in ["app:v2", "other/app:v1"] {
        let reference = registry.reference(name);
        assert_eq!(
            words(shelf.store.pull(&reference, Vec::new()).await),
            format!(
                "failed to pull and unpack image \"{reference}\": failed to resolve reference \"{reference}\": {reference}: not found"
            )
        );
    }
    let error = shelf.store.pull("A B", Vec::new()).await.unwrap_err();
    assert!(matches!(error, ImageError::Name { .. }), "{error:?}");
    let Err(ImageError::Failed(words)) = shelf.store.pull("127.0.0.1:1/app", Vec::new()).await
    else {
        panic!("somebody listens there");
    };
    assert!(
        words.contains("failed to do request: Get \"http://127.0.0.1:1/v2/\": "),
        "{words}"
    );
    assert_eq!(shelf.store.images().await.unwrap(), []);
    shelf.assert_empty();
}

#[tokio::test]
async fn a_registry_that_cannot_be_reached_is_told_as_go_tells_it() {
    let shelf = Shelf::new();
    for (name, expect) in [
        (
            "127.0.0.1:1/app",
            "dial tcp 127.0.0.1:1: connect: connection refused",
        ),
        (
            "[::1]:1/app",
            "dial tcp [::1]:1: connect: connection refused",
        ),
        ("nobody.invalid/app", "dial tcp: lookup nobody.invalid: "),
    ] {
        let error = shelf.store.pull(name, Vec::new()).await.unwrap_err();
        assert!(matches!(error, ImageError::Failed(_)), "{error:?}");
        let said = error.to_string();
        let (_, cause) = said.split_once("/v2/\": ").unwrap();
        assert!(cause.starts_with(expect), "{said}");
    }
    // By the name, the address that was tried first.
    let error = shelf.store.pull("localhost:1/app", Vec::new()).await;
    let said = error.unwrap_err().to_string();
    let refused = ["127.0.0.1:1", "[::1]:1"]
        .map(|address| format!("/v2/\": dial tcp {address}: connect: connection refused"));
    assert!(refused.iter().any(|end| said.ends_with(end)), "{said}");
}

/// What docker's own configuration says is used: of this process and its programs, so it is one of its own.
#[tokio::test]
async fn logins_of_docker_are_used() {
    use base64::Engine;
    let registry = Registry::with_login();
    registry.push(&Made::of(&[]), "app:v1").await;
    let (host, reference) = (&registry.host, registry.reference("app:v1"));
    let config = tempfile::tempdir().unwrap();
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let program = config.path().join("docker-credential-probelet-test");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = get ] && read -r server || [ \"$server\" = {host} ] || exit 1\nprintf '{{\"ServerURL\":\"x\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'\n"
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for (text, is_in) in [
        (
            format!(r#"{{"auths": {{"{host}": {{"auth": "{auth}"}}}}}}"#),
            true,
        ),
        (
            format!(r#"{{"credHelpers": {{"{host}": "probelet-test"}}}}"#),
            true,
        ),
        (r#"{"credsStore": "probelet-test"}"#.to_owned(), true),
        (r#"{"auths": {}}"#.to_owned(), false),
    ] {
        fs::write(config.path().join("config.json"), &text).unwrap();
        let shelf = Shelf::new();
        let mut pull = Pull::of(shelf.dir.path(), &reference);
        let path = std::env::var("PATH").unwrap();
        pull.command
            .env("DOCKER_CONFIG", config.path())
            .env("PATH", format!("{}:{path}", config.path().display()));
        let said = pull.said();
        assert_eq!(said.contains("pulled: sha256:"), is_in, "{text}: {said}");
    }
}

#[tokio::test]
async fn the_image_of_this_machine_comes_from_an_index() {
    let registry = Registry::open();
    let own = Made::of(&[Tarball::default().file("own", b"").finish()]);
    let other = Made::of(&[Tarball::default().file("other", b"").finish()]);
    registry.push(&own, "app:own").await;
    registry.push(&other, "app:other").await;
    let architecture = if cfg!(target_arch = "aarch64") {
        "linux/arm64"
    } else {
        "linux/amd64"
    };
    let all = [
        ("linux/s390x", &other),
        ("windows/amd64", &other),
        (architecture, &own),
    ];
    registry.push_index("app:all", &all).await;
    registry.push_index("app:none", &all[..2]).await;
    let shelf = Shelf::new();
    let image = shelf
        .store
        .pull(&registry.reference("app:all"), Vec::new())
        .await
        .unwrap();
    assert_eq!(image.id.0, own.id());
    assert!(image.root.layers[0].join("own").exists());
    let none = shelf
        .store
        .pull(&registry.reference("app:none"), Vec::new())
        .await;
    let words = words(none);
    assert!(
        words.ends_with("no match for platform in manifest: not found"),
        "{words}"
    );
}

#[tokio::test]
async fn a_download_goes_on_where_it_was_cut_off() {
    let registry = Registry::open();
    let front = Front::before(&registry.host);
    let layer = Tarball::default()
        .file("noise", &crate::ground::noise(3, 4 << 20))
        .finish();
    let made = Made::of(&[layer]);
    registry.push(&made, "app:v1").await;
    let shelf = Shelf::new();
    let told: Arc<Mutex<Vec<Event>>> = Arc::default();
    let progress = {
        let (told, front) = (Arc::clone(&told), front.clone());
        Progress::new(move |event| {
            // The configuration is a blob too, and comes before this.
            if matches!(event, Event::Resolved { .. }) {
                front.cut_next_blob_after(1_500_000);
            }
            told.lock().unwrap().push(event);
        })
    };
    let reference = format!("{}/app:v1", front.host);
    let image = shelf
        .store
        .pull_with(&reference, Vec::new(), progress)
        .await
        .unwrap();
    let noise = fs::read(image.root.layers[0].join("noise")).unwrap();
    assert!(noise == crate::ground::noise(3, 4 << 20));
    let blob = digest(&made.layers[0].packed);
    let asked = front
        .requests()
        .into_iter()
        .filter(|request| request.contains(&blob));
    let ranges: Vec<Option<String>> = asked
        .map(|request| {
            let range = request
                .lines()
                .find_map(|line| line.strip_prefix("range: bytes="));
            range.map(str::to_owned)
        })
        .collect();
    let [None, Some(second)] = &ranges[..] else {
        panic!("{ranges:?}");
    };
    let from: usize = second.strip_suffix('-').unwrap().parse().unwrap();
    assert!(from > 1_000_000 && from < 1_500_000, "{from}");
    let events = told.lock().unwrap();
    let done = Event::Layer {
        digest: blob,
        state: LayerState::Done,
    };
    assert_eq!(events.last(), Some(&done));
    let is_part = |event: &Event| match event {
        Event::Layer {
            state: LayerState::Downloading { bytes, of },
            ..
        } => bytes < of,
        _ => false,
    };
    assert!(events.iter().any(is_part));
}

#[tokio::test]
async fn content_that_is_not_what_its_digest_says_is_refused() {
    let registry = Registry::open();
    let layer = |text: &str| Tarball::default().file("file", text.as_bytes()).finish();
    let shelf = Shelf::new();
    // The blob of a layer, the configuration, the manifest.
    for part in 0..3 {
        let made = Made::of(&[layer(&format!("part {part}"))]);
        let name = format!("app:{part}");
        registry.push(&made, &name).await;
        let parts = [
            made.layers[0].packed.clone(),
            made.config.clone(),
            made.manifest_bytes(),
        ];
        let path = registry.blob(&digest(&parts[part]));
        let mut content = fs::read(&path).unwrap();
        let last = content.len() - 9;
        content[last] ^= 1;
        fs::write(&path, content).unwrap();
        let error = shelf
            .store
            .pull(&registry.reference(&name), Vec::new())
            .await
            .unwrap_err();
        let words = error.to_string();
        let expected = words.contains("unexpected content") || words.contains("500 Internal");
        assert!(expected, "{part}: {words}");
    }
    // A configuration that lies about its layer.
    let mut lying = Made::of(&[layer("honest")]);
    lying.layers = vec![Layer {
        packed: gzip(&layer("other")),
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip",
    }];
    registry.push(&lying, "app:lying").await;
    let words = words(
        shelf
            .store
            .pull(&registry.reference("app:lying"), Vec::new())
            .await,
    );
    assert!(
        words.contains("wrong diff id calculated on extraction"),
        "{words}"
    );
    assert_eq!(shelf.store.images().await.unwrap(), []);
    assert_eq!(shelf.names("layers/OWNERS"), [""; 0]);
    shelf.store.prune(false).await.unwrap();
    shelf.assert_empty();
}

#[tokio::test]
async fn pulls_at_once_share_the_work() {
    let registry = Registry::open();
    let front = Front::before(&registry.host);
    registry.push(&Made::busybox(), "app:v1").await;
    let shelf = Shelf::new();
    let reference = format!("{}/app:v1", front.host);
    // Two in this process, and two processes.
    let others: Vec<_> = (0..2)
        .map(|_| Pull::of(shelf.dir.path(), &reference).start())
        .collect();
    let (one, two) = tokio::join!(
        shelf.store.pull(&reference, Vec::new()),
        shelf.store.pull(&reference, Vec::new())
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_is_busybox(&one);
    assert_eq!(one, two);
    for other in others {
        let output = other.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(&format!("pulled: {}", one.id.0)), "{said}");
    }
    let blobs = front.blobs();
    for layer in &Made::busybox().layers {
        assert_eq!(blobs.get(&digest(&layer.packed)), Some(&1), "{blobs:?}");
    }
}

#[tokio::test]
async fn https_is_spoken_and_certificates_count() {
    let registry = Registry::with_tls();
    registry.push(&Made::of(&[]), "app:v1").await;
    // A loopback address is an insecure registry, and TLS is what is tried first.
    let shelf = Shelf::new();
    shelf
        .store
        .pull(&registry.reference("app:v1"), Vec::new())
        .await
        .unwrap();
    // A mirror is not, unless somebody says so.
    let mut registries = Registries::default();
    registries
        .add_mirror(&format!("127.0.0.1:1=https://{}", registry.host))
        .unwrap();
    let strict = Shelf::new();
    let store = strict.store.clone().with_registries(registries.clone());
    let error = store
        .pull("127.0.0.1:1/app:v1", Vec::new())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("certificate"), "{error}");
    registries.add_insecure(&registry.host).unwrap();
    let store = strict.store.clone().with_registries(registries);
    let image = store.pull("127.0.0.1:1/app:v1", Vec::new()).await.unwrap();
    assert_eq!(image.tags, ["127.0.0.1:1/app:v1"]);
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_without_secrets() {
    let registry = Registry::open();
    let front = Front::before(&registry.host);
    registry.push(&Made::of(&[]), "app:v1").await;
    let mut registries = Registries::default();
    registries
        .add_mirror(&format!("registry.invalid=http://{}", front.host))
        .unwrap();
    let shelf = Shelf::new();
    let store = shelf.store.clone().with_registries(registries);
    let secret = vec![Credential {
        registry: "registry.invalid".to_owned(),
        username: "a".to_owned(),
        password: "b".to_owned(),
    }];
    let image = store.pull("registry.invalid/app:v1", secret).await.unwrap();
    assert_eq!(image.tags, ["registry.invalid/app:v1"]);
    let requests = front.requests();
    assert!(
        requests
            .iter()
            .any(|request| request.contains("?ns=registry.invalid ")),
        "{requests:?}"
    );
    assert!(
        !requests
            .iter()
            .any(|request| request.to_lowercase().contains("authorization:"))
    );
}
