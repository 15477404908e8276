//! `metadata`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::{Errors, filled, names};
use crate::field::{FieldError, FieldPath};
use crate::id::Kind;
use crate::pod::Meta;
use crate::time::Wall;

/// How many bytes the keys and values of all annotations may have together.
///
/// Upstream: apimachinery pkg/api/validation/objectmeta.go, TotalAnnotationSizeLimitB.
/// Shown by: names_and_labels_are_validated.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// The names that objects of a kind may have.
///
/// Upstream: pkg/apis/core/validation/validation.go, ValidatePodName and its like.
/// Shown by: names_and_labels_are_validated.
fn name_check(kind: Kind) -> fn(&str) -> Vec<String> {
    match kind {
        Kind::Service => names::dns_1035_label,
        Kind::Namespace => names::dns_label,
        _ => names::dns_subdomain,
    }
}

/// What every object has: its name, namespace, labels and annotations.
///
/// Upstream: apimachinery pkg/api/validation/objectmeta.go, ValidateObjectMetaAccessor.
/// Shown by: names_and_labels_are_validated.
pub(super) fn meta(wire: &ObjectMeta, kind: Kind, errors: &mut Errors) -> Meta {
    let path = FieldPath::root().field("metadata");
    let name = name(wire, kind, &path, errors);
    let namespace = namespace(wire, kind, path.field("namespace"), errors);
    let labels = wire.labels.clone().unwrap_or_default();
    self::labels(&labels, &path.field("labels"), errors);
    let annotations = wire.annotations.clone().unwrap_or_default();
    self::annotations(&annotations, &path.field("annotations"), errors);
    owners(wire, &path.field("ownerReferences"), errors);
    finalizers(wire, &path.field("finalizers"), errors);
    Meta {
        name,
        namespace,
        labels,
        annotations,
        generation: wire.generation.unwrap_or_default(),
        created_at: wire
            .creation_timestamp
            .as_ref()
            .map_or(Wall::default(), wall),
    }
}

/// The name, and what it may have been generated from.
fn name(wire: &ObjectMeta, kind: Kind, path: &FieldPath, errors: &mut Errors) -> String {
    let check = name_check(kind);
    let prefix = filled(wire.generate_name.as_ref());
    if let Some(prefix) = prefix {
        // The letters that follow make a dash at its end right.
        let masked = prefix
            .strip_suffix('-')
            .map_or_else(|| prefix.to_owned(), |start| format!("{start}a"));
        errors.invalid_each(&path.field("generateName"), prefix, check(&masked));
    }
    let name = wire.name.clone().unwrap_or_default();
    if name.is_empty() {
        let detail = "name or generateName is required";
        errors.required(path.field("name"), detail);
    } else {
        errors.invalid_each(&path.field("name"), name.as_str(), check(&name));
    }
    name
}

/// The objects that this one goes with.
///
/// Upstream: apimachinery pkg/api/validation/objectmeta.go, ValidateOwnerReferences.
/// Shown by: owners_and_finalizers_are_validated.
fn owners(wire: &ObjectMeta, path: &FieldPath, errors: &mut Errors) {
    let mut controller: Option<&str> = None;
    for owner in wire.owner_references.iter().flatten() {
        if owner.api_version.is_empty() {
            let detail = "version must not be empty";
            errors.invalid(path.field("apiVersion"), "", detail);
        }
        for (field, text) in [
            ("kind", &owner.kind),
            ("name", &owner.name),
            ("uid", &owner.uid),
        ] {
            if text.is_empty() {
                errors.invalid(path.field(field), "", "must not be empty");
            }
        }
        if owner.kind == "Event" && owner.api_version == "v1" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            errors.invalid(path.clone(), serde_json::json!(owner), detail);
        }
        if owner.controller == Some(true) {
            if let Some(first) = controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} \
                     and {}",
                    owner.name
                );
                let all = serde_json::json!(wire.owner_references);
                errors.invalid(path.clone(), all, &detail);
            }
            controller = Some(&owner.name);
        }
    }
}

/// What has to be done before the object may go.
///
/// Upstream: apimachinery pkg/api/validation/objectmeta.go, ValidateFinalizers; pkg/apis/core/validation,
/// ValidateFinalizerName.
/// Shown by: owners_and_finalizers_are_validated.
fn finalizers(wire: &ObjectMeta, path: &FieldPath, errors: &mut Errors) {
    let all = wire.finalizers.as_deref().unwrap_or_default();
    let has = |name: &str| all.iter().any(|one| one == name);
    if has("orphan") && has("foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.invalid(path.clone(), all.to_vec(), detail);
    }
    for (index, name) in all.iter().enumerate() {
        finalizer(name, &path.index(index), errors);
    }
}

/// One finalizer: one of Kubernetes' own, or somebody's, with a domain before it.
///
/// Upstream: ValidateFinalizerName.
/// Shown by: owners_and_finalizers_are_validated, namespaces_are_validated.
pub(super) fn finalizer(name: &str, path: &FieldPath, errors: &mut Errors) {
    const STANDARD: &[&str] = &["foregroundDeletion", "kubernetes", "orphan"];
    errors.invalid_each(path, name, names::label_key(name));
    if !name.contains('/') && !STANDARD.contains(&name) {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        errors.invalid(path.clone(), name, detail);
    }
}

/// The namespace of an object that lives in one; empty for any other.
fn namespace(wire: &ObjectMeta, kind: Kind, path: FieldPath, errors: &mut Errors) -> String {
    let namespace = filled(wire.namespace.as_ref());
    if !kind.is_namespaced() {
        if namespace.is_some() {
            errors.forbidden(path, "not allowed on this type");
        }
        return String::new();
    }
    let namespace = namespace.unwrap_or("default");
    errors.invalid_each(&path, namespace, names::dns_label(namespace));
    namespace.to_owned()
}

/// The keys and the values of labels.
///
/// Upstream: apimachinery pkg/apis/meta/v1/validation, ValidateLabels.
/// Shown by: names_and_labels_are_validated, every_error_of_every_document_has_its_place.
pub(super) fn labels(labels: &BTreeMap<String, String>, path: &FieldPath, errors: &mut Errors) {
    for (key, value) in labels {
        errors.invalid_each(path, key.as_str(), names::label_key(key));
        errors.invalid_each(path, value.as_str(), names::label_value(value));
    }
}

/// The keys of annotations, and how much they are together.
///
/// Upstream: apimachinery pkg/api/validation/objectmeta.go, ValidateAnnotations.
/// Shown by: names_and_labels_are_validated.
fn annotations(annotations: &BTreeMap<String, String>, path: &FieldPath, errors: &mut Errors) {
    for key in annotations.keys() {
        errors.invalid_each(path, key.as_str(), names::label_key(&key.to_lowercase()));
    }
    let size: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if size > ANNOTATIONS_LIMIT {
        errors.add(FieldError::too_long(path.clone(), ANNOTATIONS_LIMIT));
    }
}

/// The point in time of a stamp; the far end of the clock for stamps beyond it.
pub(super) fn wall(time: &Time) -> Wall {
    Wall(i64::try_from(time.0.as_nanosecond()).unwrap_or(i64::MAX))
}
