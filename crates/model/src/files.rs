//! The files of volumes that are made of objects.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use crate::downward;
use crate::pod::{Pod, Volume, VolumeSource};
use crate::reference::{self, Lookup, MissingReference, PodFacts};
use crate::volume::{DownwardFile, FileSource, KeysOf, VolumeFile, VolumeFiles};

/// A volume that cannot be made; the pod waits with a `FailedMount` event of this text.
///
/// Upstream: pkg/volume/util/operationexecutor/operation_generator.go, GenerateMountVolumeFunc.
/// Shown by: what_a_volume_lacks_is_named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {reason}")]
pub struct MountError {
    /// The volume.
    pub volume: String,
    /// What it lacks.
    #[source]
    pub reason: MissingReference,
}

type Payload = BTreeMap<String, (u32, Vec<u8>)>;

/// The files of a volume, as they are now; `None` if it is not made of objects.
///
/// # Errors
/// What its sources lack.
///
/// Upstream: pkg/volume/projected/projected.go, collectData, which the other three are one source of.
/// Shown by: files_are_made_of_objects, what_a_volume_lacks_is_named,
/// optional_objects_and_keys_may_be_missing.
pub fn volume_files(
    pod: &Pod,
    volume: &Volume,
    facts: &PodFacts,
    lookup: Lookup<'_>,
) -> Result<Option<VolumeFiles>, MountError> {
    let VolumeSource::Files { sources, mode } = &volume.source else {
        return Ok(None);
    };
    let (mut files, mut errors) = (Payload::new(), Vec::new());
    for source in sources {
        let made = match source {
            FileSource::ConfigMap(keys) => of_config_map(keys, *mode, lookup),
            FileSource::Secret(keys) => of_secret(keys, *mode, lookup),
            FileSource::Downward(wanted) => of_pod(wanted, *mode, pod, facts),
        };
        match made {
            Ok(made) => files.extend(made),
            Err(error) => errors.push(error),
        }
    }
    let reason = match errors.len() {
        0 => {
            let files = files
                .into_iter()
                .map(|(path, (mode, content))| VolumeFile {
                    path,
                    mode,
                    content,
                })
                .collect();
            return Ok(Some(VolumeFiles { files }));
        }
        1 => errors.remove(0),
        _ => MissingReference::Several(errors),
    };
    Err(MountError {
        volume: volume.name.clone(),
        reason,
    })
}

/// The keys of a ConfigMap as files, those of `binaryData` too.
///
/// Upstream: pkg/volume/configmap/configmap.go, MakePayload.
/// Shown by: files_are_made_of_objects.
fn of_config_map(
    keys: &KeysOf,
    mode: u32,
    lookup: Lookup<'_>,
) -> Result<Payload, MissingReference> {
    let found = reference::config_map(&keys.name, keys.optional, lookup)?.unwrap_or_default();
    let texts = found
        .data
        .into_iter()
        .map(|(key, text)| (key, text.into_bytes()));
    let content = texts.chain(found.binary).collect();
    payload(content, keys, mode, MissingReference::ConfigFile)
}

/// The keys of a Secret as files.
///
/// Upstream: pkg/volume/secret/secret.go, MakePayload.
/// Shown by: files_are_made_of_objects.
fn of_secret(keys: &KeysOf, mode: u32, lookup: Lookup<'_>) -> Result<Payload, MissingReference> {
    let content = reference::secret(&keys.name, keys.optional, lookup)?.unwrap_or_default();
    payload(content, keys, mode, MissingReference::SecretFile)
}

/// All keys, or those of `items`.
fn payload(
    content: BTreeMap<String, Vec<u8>>,
    keys: &KeysOf,
    mode: u32,
    missing: fn(String) -> MissingReference,
) -> Result<Payload, MissingReference> {
    if keys.items.is_empty() {
        let files = content.into_iter();
        return Ok(files.map(|(key, value)| (key, (mode, value))).collect());
    }
    let mut files = Payload::new();
    for item in &keys.items {
        match content.get(&item.key) {
            Some(value) => {
                let mode = item.mode.unwrap_or(mode);
                files.insert(clean(&item.path), (mode, value.clone()));
            }
            None if keys.optional => {}
            None => return Err(missing(item.key.clone())),
        }
    }
    Ok(files)
}

/// Fields of the pod as files.
///
/// Upstream: pkg/volume/downwardapi/downwardapi.go, CollectData.
/// Shown by: files_are_made_of_objects.
fn of_pod(
    wanted: &[DownwardFile],
    mode: u32,
    pod: &Pod,
    facts: &PodFacts,
) -> Result<Payload, MissingReference> {
    wanted
        .iter()
        .map(|file| {
            let text = downward::text(&file.source, pod, None, facts)?;
            let mode = file.mode.unwrap_or(mode);
            Ok((clean(&file.path), (mode, text.into_bytes())))
        })
        .collect()
}

/// A path in its shortest form, so that one file has one.
fn clean(path: &str) -> String {
    let parts: Vec<_> = Path::new(path)
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests;
