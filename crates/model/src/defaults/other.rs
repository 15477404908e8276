//! The defaults of the kinds that have few.

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::{Fields, object_in, objects_in, set, set_missing};

/// A Namespace is labelled with its name, and goes only when what is in it has gone.
///
/// Upstream: pkg/apis/core/v1/defaults.go, SetDefaults_Namespace; pkg/registry/core/namespace/strategy.go,
/// PrepareForCreate.
/// Shown by: a_namespace_is_defaulted.
pub(super) fn namespace(fields: &mut Fields) {
    let name = fields
        .get("metadata")
        .and_then(|metadata| metadata.get("name"))
        .filter(|name| name.as_str().is_some_and(|name| !name.is_empty()))
        .cloned();
    if let (Some(name), Some(metadata)) = (name, object_in(fields, "metadata")) {
        set_missing(metadata, "labels", json!({}));
        if let Some(labels) = object_in(metadata, "labels") {
            labels.insert("kubernetes.io/metadata.name".to_owned(), name);
        }
    }
    set_missing(fields, "spec", json!({}));
    if let Some(spec) = object_in(fields, "spec") {
        set_missing(spec, "finalizers", json!(["kubernetes"]));
    }
}

/// A Secret has a type; what is written as `stringData` is `data`.
///
/// Upstream: pkg/apis/core/v1/defaults.go, SetDefaults_Secret; pkg/apis/core/v1/conversion.go,
/// Convert_v1_Secret_To_core_Secret.
/// Shown by: a_secret_is_defaulted.
pub(super) fn secret(fields: &mut Fields) {
    set(fields, "type", json!("Opaque"));
    let texts = fields.get("stringData").and_then(Value::as_object);
    let Some(texts) = texts.filter(|texts| texts.values().all(Value::is_string)) else {
        return;
    };
    let texts: Vec<(String, Value)> = texts
        .iter()
        .map(|(key, text)| {
            let bytes = text.as_str().unwrap_or_default().as_bytes();
            (key.clone(), json!(ByteString(bytes.to_vec())))
        })
        .collect();
    if !texts.is_empty() {
        set_missing(fields, "data", json!({}));
    }
    if let Some(data) = object_in(fields, "data") {
        data.extend(texts);
        fields.remove("stringData");
    } else if texts.is_empty() {
        fields.remove("stringData");
    }
}

/// A port of Endpoints is one of TCP.
///
/// Upstream: pkg/apis/core/v1/defaults.go, SetDefaults_Endpoints.
/// Shown by: endpoints_are_validated.
pub(super) fn endpoints(fields: &mut Fields) {
    for subset in objects_in(fields, "subsets") {
        for port in objects_in(subset, "ports") {
            set(port, "protocol", json!("TCP"));
        }
    }
}

/// A port of an EndpointSlice is one of TCP, without a name.
///
/// Upstream: pkg/apis/discovery/v1/defaults.go, SetDefaults_EndpointPort.
/// Shown by: endpoint_slices_are_validated.
pub(super) fn slice(fields: &mut Fields) {
    for port in objects_in(fields, "ports") {
        set_missing(port, "name", json!(""));
        set(port, "protocol", json!("TCP"));
    }
}
