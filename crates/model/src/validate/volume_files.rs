//! Volumes made of objects: configMap, secret, downwardAPI, projected.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use k8s_openapi::api::core::v1 as api;

use super::environment::{field_ref, resource_ref};
use super::{Errors, filled};
use crate::field::FieldPath;
use crate::pod::VolumeSource;
use crate::volume::{DownwardFile, FileSource, KeyToPath, KeysOf};

/// What a file may tell of its pod.
///
/// Upstream: pkg/apis/core/validation/validation.go, validVolumeDownwardAPIFieldPathExpressions.
/// Shown by: volumes_of_files_are_validated.
const FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
/// `defaultMode`, where a manifest says none.
const MODE: u32 = 0o644;

/// The kinds of volume that are made of files: the field's name, and the volume.
///
/// Upstream: validateVolumeSource and what it calls.
/// Shown by: volumes_of_files_are_validated.
pub(super) fn sources(
    wire: &api::Volume,
    path: &FieldPath,
    errors: &mut Errors,
) -> Vec<(&'static str, VolumeSource)> {
    let mut found = Vec::new();
    if let Some(wire) = &wire.config_map {
        let path = path.field("configMap");
        let keys = keys_of(
            filled(Some(&wire.name)),
            wire.items.as_deref(),
            wire.optional,
            "name",
            &path,
            errors,
        );
        let mode = mode(wire.default_mode, path.field("defaultMode"), errors);
        found.push(("configMap", files(vec![FileSource::ConfigMap(keys)], mode)));
    }
    if let Some(wire) = &wire.secret {
        let path = path.field("secret");
        let name = filled(wire.secret_name.as_ref());
        let keys = keys_of(
            name,
            wire.items.as_deref(),
            wire.optional,
            "secretName",
            &path,
            errors,
        );
        let mode = mode(wire.default_mode, path.field("defaultMode"), errors);
        found.push(("secret", files(vec![FileSource::Secret(keys)], mode)));
    }
    if let Some(wire) = &wire.downward_api {
        let path = path.field("downwardAPI");
        let items = downward(wire.items.as_deref(), &path.field("items"), errors);
        let mode = mode(wire.default_mode, path.field("defaultMode"), errors);
        found.push((
            "downwardAPI",
            files(vec![FileSource::Downward(items)], mode),
        ));
    }
    if let Some(wire) = &wire.projected {
        let path = path.field("projected");
        let sources = projections(wire.sources.as_deref(), &path.field("sources"), errors);
        let mode = mode(wire.default_mode, path.field("defaultMode"), errors);
        found.push(("projected", files(sources, mode)));
    }
    found
}

const fn files(sources: Vec<FileSource>, mode: u32) -> VolumeSource {
    VolumeSource::Files { sources, mode }
}

/// The sources of a projected volume, no two of which write the same file.
///
/// Upstream: validateProjectionSources.
/// Differs: the second of two files is named; upstream names the volume.
/// Shown by: volumes_of_files_are_validated.
fn projections(
    wire: Option<&[api::VolumeProjection]>,
    path: &FieldPath,
    errors: &mut Errors,
) -> Vec<FileSource> {
    let mut sources = Vec::new();
    let mut taken = BTreeSet::new();
    for (index, wire) in wire.unwrap_or_default().iter().enumerate() {
        let path = path.index(index);
        let before = sources.len();
        let keys = [
            wire.secret
                .as_ref()
                .map(|wire| ("secret", &wire.name, &wire.items, wire.optional)),
            wire.config_map
                .as_ref()
                .map(|wire| ("configMap", &wire.name, &wire.items, wire.optional)),
        ];
        for (field, name, items, optional) in keys.into_iter().flatten() {
            let path = path.field(field);
            let name = filled(Some(name));
            let keys = keys_of(name, items.as_deref(), optional, "name", &path, errors);
            once(
                keys.items.iter().map(|item| &item.path),
                &path,
                &mut taken,
                errors,
            );
            sources.push(match field {
                "secret" => FileSource::Secret(keys),
                _ => FileSource::ConfigMap(keys),
            });
        }
        if let Some(wire) = &wire.downward_api {
            let path = path.field("downwardAPI");
            let items = downward(wire.items.as_deref(), &path.field("items"), errors);
            once(
                items.iter().map(|item| &item.path),
                &path,
                &mut taken,
                errors,
            );
            sources.push(FileSource::Downward(items));
        }
        if sources.len() > before + 1 {
            errors.forbidden(path, "may not specify more than 1 volume type");
        }
    }
    sources
}

/// Each of `items` has a path that no other has.
fn once<'a>(
    paths: impl Iterator<Item = &'a String>,
    source: &FieldPath,
    taken: &mut BTreeSet<String>,
    errors: &mut Errors,
) {
    for (index, path) in paths.enumerate() {
        if !path.is_empty() && !taken.insert(path.clone()) {
            let place = source.field("items").index(index).field("path");
            errors.invalid(place, path.as_str(), "conflicting duplicate paths");
        }
    }
}

/// An object's name, and which of its keys become which files.
///
/// Upstream: validateKeyToPath.
/// Shown by: volumes_of_files_are_validated.
fn keys_of(
    name: Option<&str>,
    items: Option<&[api::KeyToPath]>,
    optional: Option<bool>,
    name_field: &'static str,
    path: &FieldPath,
    errors: &mut Errors,
) -> KeysOf {
    if name.is_none() {
        errors.required(path.field(name_field), "");
    }
    let items = items
        .unwrap_or_default()
        .iter()
        .enumerate()
        .map(|(index, wire)| {
            let path = path.field("items").index(index);
            if wire.key.is_empty() {
                errors.required(path.field("key"), "");
            }
            relative(&wire.path, &path.field("path"), errors);
            KeyToPath {
                key: wire.key.clone(),
                path: wire.path.clone(),
                mode: wire
                    .mode
                    .map(|bits| mode(Some(bits), path.field("mode"), errors)),
            }
        });
    KeysOf {
        items: items.collect(),
        name: name.unwrap_or_default().to_owned(),
        optional: optional.unwrap_or_default(),
    }
}

/// Files that tell of the pod, each from one source.
///
/// Upstream: validateDownwardAPIVolumeFile.
/// Differs: the item is named; upstream names the volume.
/// Shown by: volumes_of_files_are_validated.
fn downward(
    wire: Option<&[api::DownwardAPIVolumeFile]>,
    path: &FieldPath,
    errors: &mut Errors,
) -> Vec<DownwardFile> {
    let mut all = Vec::new();
    for (index, wire) in wire.unwrap_or_default().iter().enumerate() {
        let path = path.index(index);
        relative(&wire.path, &path.field("path"), errors);
        let source = match (&wire.field_ref, &wire.resource_field_ref) {
            (Some(_), Some(_)) => {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(path.clone(), "resource", detail);
                None
            }
            (Some(wire), None) => Some(field_ref(wire, FIELDS, &path.field("fieldRef"), errors)),
            (None, Some(wire)) => Some(resource_ref(
                wire,
                true,
                &path.field("resourceFieldRef"),
                errors,
            )),
            (None, None) => {
                errors.required(
                    path.clone(),
                    "one of fieldRef and resourceFieldRef is required",
                );
                None
            }
        };
        all.extend(source.map(|source| {
            DownwardFile {
                path: wire.path.clone(),
                mode: wire
                    .mode
                    .map(|bits| mode(Some(bits), path.field("mode"), errors)),
                source,
            }
        }));
    }
    all
}

/// A path inside a volume.
///
/// Upstream: validateLocalNonReservedPath.
/// Shown by: volumes_of_files_are_validated.
fn relative(text: &str, path: &FieldPath, errors: &mut Errors) {
    let place = Path::new(text);
    if text.is_empty() {
        errors.required(path.clone(), "");
    } else if place.is_absolute() {
        errors.invalid(path.clone(), text, "must be a relative path");
    } else if place.components().any(|part| part == Component::ParentDir) {
        errors.invalid(path.clone(), text, "must not contain '..'");
    } else if text.starts_with("..") {
        errors.invalid(path.clone(), text, "must not start with '..'");
    }
}

fn mode(bits: Option<i32>, path: FieldPath, errors: &mut Errors) -> u32 {
    let Some(bits) = bits else { return MODE };
    u32::try_from(bits)
        .ok()
        .filter(|bits| *bits <= 0o777)
        .unwrap_or_else(|| {
            let detail = "must be a number between 0 and 0777 (octal), both inclusive";
            errors.invalid(path, bits, detail);
            MODE
        })
}
