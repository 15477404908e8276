//! `metadata`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::{Errors, names};
use crate::field::{FieldError, FieldPath};
use crate::pod::Meta;
use crate::time::Wall;

/// How many bytes the keys and values of all annotations may have together.
///
/// Upstream: apimachinery pkg/api/validation/objectmeta.go, TotalAnnotationSizeLimitB.
/// Shown by: names_and_labels_are_validated.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// What every object has: its name, namespace, labels and annotations.
///
/// Upstream: apimachinery pkg/api/validation/objectmeta.go, ValidateObjectMetaAccessor.
/// Shown by: names_and_labels_are_validated.
pub(super) fn meta(
    wire: &ObjectMeta,
    name_check: fn(&str) -> Vec<String>,
    errors: &mut Errors,
) -> Meta {
    let path = FieldPath::root().field("metadata");
    let name = wire.name.clone().unwrap_or_default();
    if name.is_empty() {
        errors.required(path.field("name"), "name or generateName is required");
    } else {
        errors.invalid_each(&path.field("name"), name.as_str(), name_check(&name));
    }
    let namespace = wire
        .namespace
        .clone()
        .unwrap_or_else(|| "default".to_owned());
    errors.invalid_each(
        &path.field("namespace"),
        namespace.as_str(),
        names::dns_label(&namespace),
    );
    let labels = wire.labels.clone().unwrap_or_default();
    self::labels(&labels, &path.field("labels"), errors);
    let annotations = wire.annotations.clone().unwrap_or_default();
    self::annotations(&annotations, &path.field("annotations"), errors);
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
        let message = format!("Too long: may not be more than {ANNOTATIONS_LIMIT} bytes");
        errors.add(FieldError::new(path.clone(), message));
    }
}

/// The point in time of a stamp; the far end of the clock for stamps beyond it.
pub(super) fn wall(time: &Time) -> Wall {
    Wall(i64::try_from(time.0.as_nanosecond()).unwrap_or(i64::MAX))
}
