//! ConfigMaps and Secrets.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1 as api;
use serde_json::Value;

use super::{Errors, meta, names};
use crate::field::{FieldError, FieldPath, Segment};
use crate::id::Kind;
use crate::pod::Meta;

/// How many bytes all values of a ConfigMap or a Secret may have together.
///
/// Upstream: pkg/apis/core/types.go, MaxSecretSize.
/// Shown by: config_maps_are_validated, secrets_are_validated.
const MAX_BYTES: usize = 1024 * 1024;

/// A ConfigMap: its keys, each in one of both maps, and its size.
///
/// Upstream: ValidateConfigMap.
/// Shown by: config_maps_are_validated.
pub(crate) fn config_map(wire: &api::ConfigMap, errors: &mut Errors) -> Meta {
    let meta = meta::meta(&wire.metadata, Kind::ConfigMap, errors);
    let mut size = 0;
    let binary = wire.binary_data.as_ref();
    for (name, value) in wire.data.iter().flatten() {
        let path = key(&FieldPath::root().field("data"), name, errors);
        if binary.is_some_and(|binary| binary.contains_key(name)) {
            errors.invalid(
                path,
                name.as_str(),
                "duplicate of key present in binaryData",
            );
        }
        size += value.len();
    }
    for (name, value) in binary.into_iter().flatten() {
        key(&FieldPath::root().field("binaryData"), name, errors);
        size += value.0.len();
    }
    // The whole is meant, which upstream writes so.
    let whole = FieldPath::root().then(Segment::Key(String::new()));
    bounded(size, whole, errors);
    meta
}

/// A Secret: its keys, its size, and what its type asks for.
///
/// Upstream: ValidateSecret.
/// Shown by: secrets_are_validated.
pub(crate) fn secret(wire: &api::Secret, errors: &mut Errors) -> Meta {
    let meta = meta::meta(&wire.metadata, Kind::Secret, errors);
    let path = FieldPath::root().field("data");
    let data = wire.data.clone().unwrap_or_default();
    for name in data.keys() {
        key(&path, name, errors);
    }
    bounded(
        data.values().map(|value| value.0.len()).sum(),
        path.clone(),
        errors,
    );
    let at = |name: &str| path.then(Segment::Key(name.to_owned()));
    let mut need = |names: &[&str]| {
        for name in names.iter().filter(|name| !data.contains_key(**name)) {
            errors.required(at(name), "");
        }
    };
    match wire.type_.as_deref().unwrap_or_default() {
        "kubernetes.io/service-account-token" => {
            const ACCOUNT: &str = "kubernetes.io/service-account.name";
            if meta.annotations.get(ACCOUNT).is_none_or(String::is_empty) {
                let path = FieldPath::root().field("metadata").field("annotations");
                errors.required(path.then(Segment::Key(ACCOUNT.to_owned())), "");
            }
        }
        "kubernetes.io/dockercfg" => json_at(".dockercfg", &data, &at, errors),
        "kubernetes.io/dockerconfigjson" => json_at(".dockerconfigjson", &data, &at, errors),
        // Either will do, if only one is wanted.
        "kubernetes.io/basic-auth"
            if !data.contains_key("username") && !data.contains_key("password") =>
        {
            need(&["username", "password"]);
        }
        "kubernetes.io/ssh-auth" => {
            let key = data.get("ssh-privatekey");
            if key.is_none_or(|value| value.0.is_empty()) {
                errors.required(at("ssh-privatekey"), "");
            }
        }
        "kubernetes.io/tls" => need(&["tls.crt", "tls.key"]),
        _ => {}
    }
    meta
}

/// A key that has to hold a JSON object.
fn json_at(
    name: &str,
    data: &std::collections::BTreeMap<String, ByteString>,
    at: &dyn Fn(&str) -> FieldPath,
    errors: &mut Errors,
) {
    match data.get(name) {
        None => errors.required(at(name), ""),
        Some(value) => {
            if let Err(error) = serde_json::from_slice::<serde_json::Map<String, Value>>(&value.0) {
                // What a secret holds is not told.
                let redacted = "<secret contents redacted>";
                errors.invalid(at(name), redacted, &error.to_string());
            }
        }
    }
}

/// One key of a map, which has to be able to be a file's name.
fn key(map: &FieldPath, name: &str, errors: &mut Errors) -> FieldPath {
    let path = map.then(Segment::Key(name.to_owned()));
    errors.invalid_each(&path, name, names::config_key(name));
    path
}

fn bounded(size: usize, path: FieldPath, errors: &mut Errors) {
    if size > MAX_BYTES {
        errors.add(FieldError::too_long(path, MAX_BYTES));
    }
}
