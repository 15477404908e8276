//! What tests stand on: images that are made here, a registry, and stores.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use oci_client::client::{Client, ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{ImageIndexEntry, OciImageIndex, OciImageManifest, Platform};
use oci_client::{RegistryOperation, secrets::RegistryAuth};
use probelet_image::{ImageStore, Options};
use probelet_runtime::Image;
use serde_json::json;
use tempfile::TempDir;

use crate::tarball::{Tarball, digest, gzip, zstd};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const USER: &str = "jane";
pub(crate) const PASSWORD: &str = "pass:word";

/// An image: its configuration and its layers, packed.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Layer>,
}

#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) packed: Vec<u8>,
    pub(crate) media_type: &'static str,
}

impl Made {
    /// An image of layers that are packed in all three ways, one after the other.
    pub(crate) fn of(layers: &[Vec<u8>]) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": {
                "Env": ["PATH=/bin", "A=b"], "Entrypoint": ["/bin/busybox"], "Cmd": ["sh"], "User": "1000:50",
                "WorkingDir": "/work", "StopSignal": "SIGQUIT", "Volumes": { "/data": {} },
            },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let pack = |(number, layer): (usize, &Vec<u8>)| match number % 3 {
            0 => Layer {
                packed: gzip(layer),
                media_type: "application/vnd.docker.image.rootfs.diff.tar.gzip",
            },
            1 => Layer {
                packed: zstd(layer),
                media_type: "application/vnd.oci.image.layer.v1.tar+zstd",
            },
            _ => Layer {
                packed: layer.clone(),
                media_type: "application/vnd.oci.image.layer.v1.tar",
            },
        };
        Self {
            config: serde_json::to_vec(&config).unwrap(),
            layers: layers.iter().enumerate().map(pack).collect(),
        }
    }

    /// Busybox, with a layer that hides a file of it, and one that is more than a few packets long.
    pub(crate) fn busybox() -> Self {
        let busybox = fs::read("/bin/busybox").unwrap();
        let set = |header: &mut tar::Header| header.set_mode(0o755);
        let mut base = Tarball::default();
        base.directory("bin/", 0o755)
            .entry(tar::EntryType::Regular, "bin/busybox", "", &busybox, set)
            .symlink("bin/sh", "busybox")
            .directory("etc/", 0o755)
            .file(
                "etc/passwd",
                b"root:x:0:0::/:/bin/sh\napp:x:1000:50::/:/bin/sh\n",
            )
            .file("etc/old", b"old");
        let mut second = Tarball::default();
        second
            .directory("etc/", 0o755)
            .whiteout("etc/.wh.old")
            .file("etc/new", b"new");
        let mut third = Tarball::default();
        third
            .file("noise", &noise(7, 3 << 20))
            .directory("work/", 0o000);
        Self::of(&[base.finish(), second.finish(), third.finish()])
    }

    pub(crate) fn id(&self) -> String {
        digest(&self.config)
    }

    pub(crate) fn manifest(&self) -> OciImageManifest {
        let layers: Vec<ImageLayer> = self.layers.iter().map(Layer::image_layer).collect();
        let config = Config::new(
            self.config.clone(),
            "application/vnd.oci.image.config.v1+json".to_owned(),
            None,
        );
        OciImageManifest::build(&layers, &config, None)
    }

    /// The manifest as bytes.
    pub(crate) fn manifest_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.manifest()).unwrap()
    }
}

impl Layer {
    fn image_layer(&self) -> ImageLayer {
        ImageLayer::new(self.packed.clone(), self.media_type.to_owned(), None)
    }
}

/// Bytes that do not compress, the same each time.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 32).to_le_bytes()[0]
    };
    (0..bytes).map(|_| next()).collect()
}

/// Debian's docker-registry, on a port of its own.
#[derive(Debug)]
pub(crate) struct Registry {
    process: Child,
    dir: TempDir,
    pub(crate) host: String,
    scheme: ClientProtocol,
}

impl Registry {
    /// One that lets in [`USER`] alone.
    pub(crate) fn with_login() -> Self {
        let file = Command::new("htpasswd")
            .args(["-Bbn", USER, PASSWORD])
            .output()
            .unwrap();
        assert!(file.status.success());
        let auth = |dir: &Path| {
            fs::write(dir.join("htpasswd"), &file.stdout).unwrap();
            format!(
                "auth: {{htpasswd: {{realm: test, path: {}/htpasswd}}}}",
                dir.display()
            )
        };
        Self::start(auth, "", ClientProtocol::Http)
    }

    pub(crate) fn open() -> Self {
        Self::start(|_| String::new(), "", ClientProtocol::Http)
    }

    /// One whose certificate nobody vouches for.
    pub(crate) fn with_tls() -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let files = move |dir: &Path| {
            fs::write(dir.join("cert"), certified.cert.pem()).unwrap();
            fs::write(dir.join("key"), certified.signing_key.serialize_pem()).unwrap();
            String::new()
        };
        let tls = ", tls: {certificate: DIR/cert, key: DIR/key}";
        Self::start(files, tls, ClientProtocol::Https)
    }

    fn start(more: impl FnOnce(&Path) -> String, http: &str, scheme: ClientProtocol) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let more = more(dir.path());
        let place = dir.path().display().to_string();
        let http = http.replace("DIR", &place);
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = free.local_addr().unwrap().to_string();
        drop(free);
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {place}/data}}}}\nhttp: {{addr: '{host}'{http}}}\n{more}\n"
        );
        let path = dir.path().join("config.yml");
        fs::write(&path, config).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut registry = Self {
            process,
            dir,
            host,
            scheme,
        };
        while TcpStream::connect(&registry.host).is_err() {
            assert!(
                registry.process.try_wait().unwrap().is_none(),
                "the registry ended"
            );
            pause(Duration::from_millis(20));
        }
        registry
    }

    pub(crate) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }

    fn client(&self) -> Client {
        let _there_already = rustls::crypto::ring::default_provider().install_default();
        let https = matches!(self.scheme, ClientProtocol::Https);
        Client::try_from(ClientConfig {
            protocol: if https {
                ClientProtocol::Https
            } else {
                ClientProtocol::Http
            },
            accept_invalid_certificates: true,
            ..ClientConfig::default()
        })
        .unwrap()
    }

    fn auth() -> RegistryAuth {
        RegistryAuth::Basic(USER.to_owned(), PASSWORD.to_owned())
    }

    pub(crate) async fn push(&self, image: &Made, name: &str) {
        let reference: oci_client::Reference = self.reference(name).parse().unwrap();
        let client = self.client();
        let logged_in = client
            .auth(&reference, &Self::auth(), RegistryOperation::Push)
            .await;
        logged_in.unwrap();
        let layers = image.layers.iter().map(|layer| &layer.packed);
        for blob in layers.chain([&image.config]) {
            let pushed = client
                .push_blob(&reference, blob.clone(), &digest(blob))
                .await;
            pushed.unwrap();
        }
        let media_type = http::HeaderValue::from_static(MANIFEST);
        let pushed = client
            .push_manifest_raw(&reference, image.manifest_bytes(), media_type)
            .await;
        pushed.unwrap();
    }

    /// Pushes an index of images, which are there, by platform.
    pub(crate) async fn push_index(&self, name: &str, images: &[(&str, &Made)]) {
        let entry = |(platform, image): &(&str, &Made)| {
            let (os, architecture) = platform.split_once('/').unwrap();
            let bytes = image.manifest_bytes();
            ImageIndexEntry {
                media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
                digest: digest(&bytes),
                size: bytes.len().try_into().unwrap(),
                platform: Some(Platform {
                    architecture: architecture.into(),
                    os: os.into(),
                    os_version: None,
                    os_features: None,
                    variant: None,
                    features: None,
                }),
                annotations: None,
                artifact_type: None,
            }
        };
        let index = OciImageIndex {
            schema_version: 2,
            media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
            manifests: images.iter().map(entry).collect(),
            annotations: None,
            artifact_type: None,
        };
        let reference = self.reference(name).parse().unwrap();
        let pushed = self
            .client()
            .push_manifest_list(&reference, &Self::auth(), index)
            .await;
        pushed.unwrap();
    }

    /// Where the registry has the content of that digest.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A store in a directory of its own.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) dir: TempDir,
    pub(crate) store: ImageStore,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        Self { dir, store }
    }

    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let owners = if crate::is_root() { "kept" } else { "squashed" };
        let path = self.dir.path().join(directory.replace("OWNERS", owners));
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut names: Vec<String> = fs::read_dir(path).unwrap().map(name).collect();
        names.sort();
        names
    }

    /// Nothing is left of anything.
    pub(crate) fn assert_empty(&self) {
        for directory in ["layers/OWNERS", "claims", "partial", "trash", "locks"] {
            assert_eq!(self.names(directory), [""; 0], "{directory}");
        }
    }
}

/// Mode 0 within is nothing to whoever removes it as root, but to others it is.
impl Drop for Shelf {
    fn drop(&mut self) {
        let removed = Command::new(crate::unpack_program())
            .arg("remove")
            .arg(self.dir.path())
            .stdout(Stdio::null())
            .status();
        assert!(removed.unwrap().success());
    }
}

pub(crate) fn open(dir: &Path) -> ImageStore {
    ImageStore::open(Options {
        dir: dir.to_owned(),
        unpack_command: vec![crate::unpack_program().into()],
    })
    .unwrap()
}

/// What an image of [`Made::busybox`] has, looked up as overlayfs would.
pub(crate) fn assert_is_busybox(image: &Image) {
    let [base, second, third] = &image.root.layers[..] else {
        panic!("{image:?}");
    };
    assert!(fs::read(base.join("bin/busybox")).unwrap() == fs::read("/bin/busybox").unwrap());
    assert_eq!(
        fs::read_link(base.join("bin/sh")).unwrap(),
        Path::new("busybox")
    );
    assert_eq!(fs::read(second.join("etc/new")).unwrap(), b"new");
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let white = fs::symlink_metadata(second.join("etc/old")).unwrap();
    assert!(white.file_type().is_char_device() && white.rdev() == 0);
    assert!(fs::read(third.join("noise")).unwrap() == noise(7, 3 << 20));
    assert_eq!(fs::metadata(third.join("work")).unwrap().mode() & 0o7777, 0);
    assert_eq!(image.config.entrypoint, ["/bin/busybox"]);
    assert_eq!(image.config.user, "1000:50");
    assert_eq!(image.config.env[0], ("PATH".to_owned(), "/bin".to_owned()));
    assert_eq!(image.root.volumes, [PathBuf::from("/data")]);
    assert!(image.size > 3 << 20);
}

/// Lets others go on.
pub(crate) fn pause(time: Duration) {
    let (_sender, receiver) = mpsc::channel::<()>();
    let _timeout = receiver.recv_timeout(time);
}

/// An OCI layout as a folder.
pub(crate) fn write_layout(folder: &Path, images: &[(&Made, serde_json::Value)]) {
    fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
    let write = |bytes: &[u8]| {
        let digest = digest(bytes);
        let name = digest.strip_prefix("sha256:").unwrap();
        let mut file = fs::File::create(folder.join("blobs/sha256").join(name)).unwrap();
        file.write_all(bytes).unwrap();
        (digest, bytes.len())
    };
    let mut manifests = Vec::new();
    for (image, annotations) in images {
        write(&image.config);
        for layer in &image.layers {
            write(&layer.packed);
        }
        let (digest, size) = write(&image.manifest_bytes());
        manifests.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest, "size": size, "annotations": annotations,
        }));
    }
    let index = json!({ "schemaVersion": 2, "manifests": manifests });
    fs::write(folder.join("index.json"), index.to_string()).unwrap();
    fs::write(
        folder.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
}

pub(crate) type Counts = BTreeMap<String, usize>;
