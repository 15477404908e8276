//! A container's `volumeMounts`, and which paths of a container can be mounted at.

use std::collections::BTreeSet;
use std::path::PathBuf;

use k8s_openapi::api::core::v1 as api;

use super::{Errors, filled};
use crate::field::{FieldError, FieldPath};
use crate::pod::{Volume, VolumeMount};

/// A container's `volumeMounts`: each names a volume of the pod and a path that no other has.
///
/// Upstream: pkg/apis/core/validation/validation.go, ValidateVolumeMounts; kubelet
/// pkg/kubelet/kubelet_pods.go, makeMounts (a relative path is taken from the root).
/// Differs: `:` is refused, as the field's documentation says and no code of the API server checks.
/// Shown by: mounts_are_validated, a_pod_is_read.
pub(super) fn volume_mounts(
    wire: &[api::VolumeMount],
    volumes: &[Volume],
    path: &FieldPath,
    errors: &mut Errors,
) -> Vec<VolumeMount> {
    let mut seen = BTreeSet::new();
    let numbered = wire.iter().enumerate();
    numbered
        .map(|(index, wire)| {
            let path = path.index(index);
            if wire.name.is_empty() {
                errors.required(path.field("name"), "");
            } else if volumes.iter().all(|volume| volume.name != wire.name) {
                errors.add(FieldError::not_found(path.field("name"), &wire.name));
            }
            let (sub_path, sub_path_expr) = sub_path(wire, &path, errors);
            let (path, text) = (path.field("mountPath"), wire.mount_path.as_str());
            if text.is_empty() {
                errors.required(path, "");
            } else if text.contains(':') {
                errors.invalid(path, text, "must not contain ':'");
            } else if !below_root(text) {
                errors.invalid(path, text, NOT_BELOW_ROOT);
            } else if !seen.insert(text) {
                errors.invalid(path, text, "must be unique");
            }
            VolumeMount {
                volume: wire.name.clone(),
                path: PathBuf::from("/").join(text),
                read_only: wire.read_only.unwrap_or_default(),
                sub_path,
                sub_path_expr,
            }
        })
        .collect()
}

/// `subPath` and `subPathExpr`, of which there is one at most.
///
/// Upstream: ValidateVolumeMounts.
/// Differs: what is wrong is told of the mount, where upstream's path leaves its number out.
/// Shown by: mounts_are_validated, sub_paths_are_read.
fn sub_path(
    wire: &api::VolumeMount,
    path: &FieldPath,
    errors: &mut Errors,
) -> (Option<String>, Option<String>) {
    let plain = filled(wire.sub_path.as_ref());
    let expression = filled(wire.sub_path_expr.as_ref());
    if let Some(plain) = plain {
        descends(plain, &path.field("subPath"), errors);
    }
    if let Some(expression) = expression {
        let path = path.field("subPathExpr");
        if plain.is_some() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.invalid(path.clone(), expression, detail);
        }
        descends(expression, &path, errors);
    }
    (plain.map(str::to_owned), expression.map(str::to_owned))
}

/// A path below another.
///
/// Upstream: validateLocalDescendingPath.
/// Shown by: mounts_are_validated, seccomp_profiles_are_validated.
pub(super) fn descends(text: &str, path: &FieldPath, errors: &mut Errors) {
    if text.starts_with('/') {
        errors.invalid(path.clone(), text, "must be a relative path");
    }
    if text.split('/').any(|part| part == "..") {
        errors.invalid(path.clone(), text, "must not contain '..'");
    }
}

/// What is wrong with a path that is not [`below_root`].
pub(super) const NOT_BELOW_ROOT: &str =
    "must name a place below '/', without '..' and outside /proc";

/// Whether a path, relative ones taken from the root, is one that something can be mounted at.
///
/// Differs: upstream leaves this to the runtime, and the container fails to start.
pub(super) fn below_root(path: &str) -> bool {
    let mut parts = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .peekable();
    let root_or_proc = parts.peek().is_none_or(|first| *first == "proc");
    !root_or_proc && parts.all(|part| part != "..")
}
