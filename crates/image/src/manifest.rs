//! Manifests, indexes and configurations: what an image consists of.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use probelet_runtime::ImageConfig;
use serde::Deserialize;

use crate::digest::Digest;

/// Manifests and configurations are no longer than this; containerd takes as much of a manifest.
pub(crate) const MOST_BYTES: u64 = 8 << 20;
/// An image has no more layers than this. overlayfs takes 500.
const MOST_LAYERS: usize = 500;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const SCHEMA_1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// A layer is no longer than this, packed.
const MOST_OF_A_LAYER: u64 = 64 << 30;

/// What a registry is asked for.
pub(crate) const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, */*";

const LAYERS: [&str; 11] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];

/// Where something is, by its content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) platform: Option<Platform>,
    #[serde(default)]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Platform {
    architecture: String,
    os: String,
    variant: String,
}

/// A manifest of one image, or of several for several machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Manifest {
    Image {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
    Index(Vec<Descriptor>),
}

/// A manifest or a configuration is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("invalid manifest: {0}")]
    Manifest(String),
    #[error(
        "media type {0:?} is no longer supported, please rebuild the image as {DOCKER_MANIFEST:?} or {OCI_MANIFEST:?}"
    )]
    Schema1(String),
    #[error("unsupported media type {0:?} of a manifest")]
    MediaType(String),
    #[error("unsupported media type {0:?} of a layer")]
    Layer(String),
    #[error("no match for platform in manifest: not found")]
    Platform,
    #[error("invalid image configuration: {0}")]
    Config(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde_json::Value>,
}

impl Manifest {
    /// Reads what came with that media type, which may be empty.
    pub(crate) fn parse(bytes: &[u8], media_type: &str) -> Result<Self, ManifestError> {
        if [SCHEMA_1, SCHEMA_1_SIGNED].contains(&media_type) {
            return Err(ManifestError::Schema1(media_type.to_owned()));
        }
        let wrong = |what: &str| ManifestError::Manifest(what.to_owned());
        let wire: Wire = serde_json::from_slice(bytes).map_err(|e| wrong(&e.to_string()))?;
        if wire.schema_version == 1 || wire.fs_layers.is_some() {
            return Err(ManifestError::Schema1(SCHEMA_1.to_owned()));
        }
        // What it says of itself goes before what was said of it.
        let own = Some(wire.media_type).filter(|own| !own.is_empty());
        let media_type = own.unwrap_or_else(|| media_type.to_owned());
        let may_be_image = ![OCI_INDEX, DOCKER_INDEX].contains(&media_type.as_str());
        let may_be_index = ![OCI_MANIFEST, DOCKER_MANIFEST].contains(&media_type.as_str());
        match (wire.config, wire.layers, wire.manifests) {
            (Some(config), Some(layers), None) if may_be_image => {
                if layers.len() > MOST_LAYERS {
                    return Err(wrong("more than 500 layers"));
                }
                for layer in &layers {
                    if !LAYERS.contains(&layer.media_type.as_str()) {
                        return Err(ManifestError::Layer(layer.media_type.clone()));
                    }
                    if layer.size > MOST_OF_A_LAYER {
                        return Err(wrong(&format!("a layer of {} bytes", layer.size)));
                    }
                }
                Ok(Self::Image { config, layers })
            }
            (None, None, Some(manifests)) if may_be_index => Ok(Self::Index(manifests)),
            (None, None, None) if !media_type.is_empty() => {
                Err(ManifestError::MediaType(media_type))
            }
            (None, _, None) => Err(wrong("it has neither layers with a config nor manifests")),
            (_, _, Some(_)) if may_be_image => Err(wrong("it is both an image and an index")),
            _ => Err(wrong("it is not what its media type says")),
        }
    }
}

/// The one for this machine.
///
/// Upstream: github.com/containerd/platforms, Default and Only: the same system and architecture, a variant
/// that the machine can run, the closest first.
/// Shown by: the_image_for_this_machine_is_taken_from_an_index.
pub(crate) fn pick(manifests: &[Descriptor]) -> Result<&Descriptor, ManifestError> {
    pick_for(manifests, &Platform::own())
}

fn pick_for<'a>(
    manifests: &'a [Descriptor],
    own: &Platform,
) -> Result<&'a Descriptor, ManifestError> {
    let ranked = manifests.iter().filter_map(|manifest| {
        let rank = match &manifest.platform {
            // Nothing is said: it may be for this machine.
            None => u32::MAX,
            Some(platform) => own.distance(platform)?,
        };
        Some((rank, manifest))
    });
    let best = ranked.min_by_key(|(rank, _)| *rank);
    best.map(|(_, manifest)| manifest)
        .ok_or(ManifestError::Platform)
}

impl Platform {
    fn own() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", "v1"),
            "x86" => ("386", ""),
            "aarch64" => ("arm64", "v8"),
            "arm" => ("arm", "v7"),
            "powerpc64" => ("ppc64le", ""),
            "riscv64" => ("riscv64", ""),
            "loongarch64" => ("loong64", ""),
            other => (other, ""),
        };
        Self {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// How far an image for `other` is from this machine, if it can run it.
    fn distance(&self, other: &Self) -> Option<u32> {
        let architecture = match other.architecture.as_str() {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            "i386" => "386",
            architecture => architecture,
        };
        if other.os != self.os || architecture != self.architecture {
            return None;
        }
        let number = |variant: &str| {
            variant
                .strip_prefix('v')
                .and_then(|number| number.parse().ok())
        };
        let own: u32 = number(&self.variant).unwrap_or(0);
        let others = match other.variant.as_str() {
            "" => own,
            variant => number(variant)?,
        };
        own.checked_sub(others)
    }
}

/// What a configuration says: how to run the image, and the digests of its layers unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Configuration {
    pub(crate) config: ImageConfig,
    pub(crate) diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct WireConfiguration {
    config: Option<WireConfig>,
    rootfs: WireRoot,
}

#[derive(Deserialize)]
struct WireRoot {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireConfig {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    volumes: Option<BTreeMap<String, serde_json::Value>>,
    working_dir: Option<String>,
    stop_signal: Option<String>,
}

impl Configuration {
    /// Reads the configuration of an image that has so many layers.
    pub(crate) fn parse(bytes: &[u8], layers: usize) -> Result<Self, ManifestError> {
        let wrong = |what: String| ManifestError::Config(what);
        let wire: WireConfiguration =
            serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        let diff_ids = wire.rootfs.diff_ids.unwrap_or_default();
        if diff_ids.len() != layers {
            return Err(wrong(
                "mismatched image rootfs and manifest layers".to_owned(),
            ));
        }
        let config = wire.config.unwrap_or_default();
        let variable = |text: String| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (text, String::new()),
        };
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let volumes = config.volumes.unwrap_or_default();
        let mut volumes: Vec<PathBuf> = volumes.keys().map(|path| clean(path)).collect();
        volumes.sort();
        volumes.dedup();
        volumes.retain(|path| path != Path::new("/"));
        Ok(Self {
            config: ImageConfig {
                entrypoint: config.entrypoint.unwrap_or_default(),
                cmd: config.cmd.unwrap_or_default(),
                env: config
                    .env
                    .unwrap_or_default()
                    .into_iter()
                    .map(variable)
                    .collect(),
                user: config.user.unwrap_or_default(),
                working_dir: some(config.working_dir),
                stop_signal: some(config.stop_signal),
                volumes,
            },
            diff_ids,
        })
    }
}

/// An absolute path without `.` and `..`.
fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(platform: &str, variant: &str) -> Descriptor {
        let (os, architecture) = platform.split_once('/').unwrap();
        Descriptor {
            media_type: OCI_MANIFEST.to_owned(),
            digest: Digest::of(format!("{platform}/{variant}").as_bytes()),
            size: 1,
            platform: Some(Platform {
                architecture: architecture.to_owned(),
                os: os.to_owned(),
                variant: variant.to_owned(),
            }),
            annotations: None,
        }
    }

    #[test]
    fn the_image_for_this_machine_is_taken_from_an_index() {
        let own = |architecture: &str, variant: &str| Platform {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: variant.to_owned(),
        };
        let all = [
            descriptor("unknown/unknown", ""),
            descriptor("windows/amd64", ""),
            descriptor("linux/amd64", "v3"),
            descriptor("linux/amd64", ""),
            descriptor("linux/arm", "v5"),
            descriptor("linux/arm", "v6"),
            descriptor("linux/arm64", "v8"),
        ];
        assert_eq!(pick_for(&all, &own("amd64", "v1")), Ok(&all[3]));
        assert_eq!(pick_for(&all, &own("arm", "v7")), Ok(&all[5]));
        assert_eq!(pick_for(&all, &own("arm64", "v8")), Ok(&all[6]));
        assert_eq!(
            pick_for(&all, &own("s390x", "")),
            Err(ManifestError::Platform)
        );
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let digest = Digest::of(b"");
        let layer = |media_type: &str| {
            format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":1}}"#)
        };
        let config = layer("application/vnd.oci.image.config.v1+json");
        let refused = |text: &str, media_type: &str| {
            Manifest::parse(text.as_bytes(), media_type)
                .unwrap_err()
                .to_string()
        };
        assert!(refused("{", "").starts_with("invalid manifest: "));
        assert!(refused("{}", SCHEMA_1_SIGNED).contains("is no longer supported, please rebuild"));
        assert!(
            refused(r#"{"schemaVersion":1,"fsLayers":[]}"#, "").contains("is no longer supported")
        );
        let encrypted = layer("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
        assert_eq!(
            refused(
                &format!(r#"{{"config":{config},"layers":[{encrypted}]}}"#),
                OCI_MANIFEST
            ),
            "unsupported media type \"application/vnd.oci.image.layer.v1.tar+gzip+encrypted\" of a layer"
        );
        assert!(
            refused(
                &format!(r#"{{"config":{config},"layers":[],"manifests":[]}}"#),
                ""
            )
            .contains("both")
        );
        assert!(
            refused(&format!(r#"{{"config":{config},"layers":[]}}"#), OCI_INDEX)
                .contains("media type")
        );
        assert_eq!(
            refused(r#"{"mediaType":"text/x"}"#, ""),
            "unsupported media type \"text/x\" of a manifest"
        );
        let traversal = config.replace(digest.as_str(), "sha256:../../etc");
        assert!(
            refused(&format!(r#"{{"config":{traversal},"layers":[]}}"#), "").contains("digest")
        );
        let error = Configuration::parse(br#"{"rootfs":{"diff_ids":[]}}"#, 1).unwrap_err();
        assert!(
            error.to_string().contains("mismatched image rootfs"),
            "{error}"
        );
    }

    #[test]
    fn a_configuration_says_how_to_run() {
        let text = br#"{"architecture":"amd64","os":"linux","config":{"User":"app","Env":["PATH=/bin","A=b=c"],
            "Entrypoint":["/x"],"Cmd":null,"Volumes":{"/data/":{},"rel/../../x":{},"/":{}},"WorkingDir":"/w","StopSignal":""},
            "rootfs":{"type":"layers","diff_ids":[]}}"#;
        let config = Configuration::parse(text, 0).unwrap().config;
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(config.entrypoint, words(&["/x"]));
        assert_eq!(config.cmd, words(&[]));
        assert_eq!(config.env[1], ("A".to_owned(), "b=c".to_owned()));
        assert_eq!((config.user.as_str(), config.stop_signal), ("app", None));
        assert_eq!(
            config.volumes,
            [PathBuf::from("/data"), PathBuf::from("/x")]
        );
    }
}
