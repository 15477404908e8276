//! A pod's volumes.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1 as api;

use super::{Errors, filled, name, name_once, volume_files};
use crate::field::{FieldError, FieldPath};
use crate::pod::{HostPathType, Volume, VolumeSource};
use crate::quantity;

/// Every `hostPath.type`, as upstream orders them in its errors.
const HOST_PATH_TYPES: &[(&str, HostPathType)] = &[
    ("", HostPathType::Unset),
    ("BlockDevice", HostPathType::BlockDevice),
    ("CharDevice", HostPathType::CharDevice),
    ("Directory", HostPathType::Directory),
    ("DirectoryOrCreate", HostPathType::DirectoryOrCreate),
    ("File", HostPathType::File),
    ("FileOrCreate", HostPathType::FileOrCreate),
    ("Socket", HostPathType::Socket),
];

const TOO_MANY: &str = "may not specify more than 1 volume type";

/// One volume of a pod, of one kind. One of a kind that is not carried out becomes an empty directory: the
/// table of fields refuses it, and the mounts that name it are not to be blamed.
///
/// Upstream: ValidateVolumes, validateVolumeSource.
/// Shown by: volumes_are_validated.
pub(super) fn volume(
    wire: &api::Volume,
    seen: &mut BTreeSet<String>,
    path: &FieldPath,
    errors: &mut Errors,
) -> Volume {
    let mut found = Vec::new();
    if let Some(source) = &wire.empty_dir {
        found.push((
            "emptyDir",
            empty_dir(source, &path.field("emptyDir"), errors),
        ));
    }
    if let Some(source) = &wire.host_path
        && found.is_empty()
    {
        found.push((
            "hostPath",
            host_path(source, &path.field("hostPath"), errors),
        ));
    } else if wire.host_path.is_some() {
        errors.forbidden(path.field("hostPath"), TOO_MANY);
    }
    for (field, source) in volume_files::sources(wire, path, errors) {
        if found.is_empty() {
            found.push((field, source));
        } else {
            errors.forbidden(path.field(field), TOO_MANY);
        }
    }
    name(&wire.name, path.field("name"), errors);
    name_once(&wire.name, seen, path.field("name"), errors);
    let stand_in = VolumeSource::EmptyDir {
        in_memory: false,
        size_limit: None,
    };
    Volume {
        name: wire.name.clone(),
        source: found.pop().map_or(stand_in, |(_, source)| source),
    }
}

/// An emptyDir: its medium, and how much it may hold.
///
/// Upstream: validateEmptyDirVolumeSource.
/// Shown by: volumes_are_validated, a_pod_is_read, an_empty_dir_without_a_limit_has_none.
fn empty_dir(
    wire: &api::EmptyDirVolumeSource,
    path: &FieldPath,
    errors: &mut Errors,
) -> VolumeSource {
    let size_limit = wire.size_limit.as_ref().and_then(|limit| {
        let path = path.field("sizeLimit");
        match quantity::whole(&limit.0) {
            Some(bytes) if bytes >= 0 => u64::try_from(bytes).ok().filter(|bytes| *bytes > 0),
            Some(_) => {
                errors.add(FieldError::forbidden(
                    path,
                    "SizeLimit field must be a valid resource quantity",
                ));
                None
            }
            None => {
                errors.invalid(path, limit.0.as_str(), quantity::FORMAT);
                None
            }
        }
    });
    VolumeSource::EmptyDir {
        in_memory: filled(wire.medium.as_ref()) == Some("Memory"),
        size_limit,
    }
}

/// A hostPath: its path, and what must be there.
///
/// Upstream: validateHostPathVolumeSource.
/// Differs: a relative path is refused; upstream does not check.
/// Shown by: volumes_are_validated, a_pod_is_read.
fn host_path(
    wire: &api::HostPathVolumeSource,
    path: &FieldPath,
    errors: &mut Errors,
) -> VolumeSource {
    let place = Path::new(&wire.path);
    if wire.path.is_empty() {
        errors.required(path.field("path"), "");
    } else if place.components().any(|part| part == Component::ParentDir) {
        errors.invalid(
            path.field("path"),
            wire.path.as_str(),
            "must not contain '..'",
        );
    } else if place.is_relative() {
        errors.invalid(
            path.field("path"),
            wire.path.as_str(),
            "must be an absolute path",
        );
    }
    let text = wire.type_.as_deref().unwrap_or_default();
    let known = HOST_PATH_TYPES.iter().find(|(name, _)| *name == text);
    let kind = known.map_or(HostPathType::Unset, |(_, kind)| *kind);
    if known.is_none() {
        let names: Vec<&str> = HOST_PATH_TYPES.iter().map(|(name, _)| *name).collect();
        errors.add(FieldError::unsupported(path.field("type"), text, &names));
    }
    VolumeSource::HostPath {
        path: PathBuf::from(&wire.path),
        kind,
    }
}
