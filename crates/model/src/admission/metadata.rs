//! What an update may not touch of `metadata`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::first::set_or_remove;
use crate::field::{FieldError, FieldPath};

/// What only a server sets.
const OF_THE_SERVER: &[&str] = &[
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "selfLink",
    "uid",
];

/// Gives `after` what only a server sets, as `before` has it; and its name, where it says none.
///
/// Upstream: apiserver pkg/registry/rest/update.go, BeforeUpdate.
/// Shown by: what_only_a_server_sets_stays.
pub(super) fn carry_over(before: &Value, after: &mut Value) {
    let Some(object) = after.as_object_mut() else {
        return;
    };
    let metadata = object.entry("metadata").or_insert(Value::Null);
    if metadata.is_null() {
        *metadata = json!({});
    }
    let old = &before["metadata"];
    for name in OF_THE_SERVER {
        set_or_remove(metadata, name, old.get(name));
    }
    for name in ["name", "namespace"] {
        if metadata.get(name).is_none_or(Value::is_null) {
            set_or_remove(metadata, name, old.get(name));
        }
    }
}

/// What has changed and may not.
///
/// Upstream: apimachinery pkg/api/validation/objectmeta.go, ValidateObjectMetaAccessorUpdate;
/// ValidateNoNewFinalizers.
/// Shown by: a_name_stays, what_is_being_deleted_gets_no_finalizers.
pub(super) fn changes(before: &Value, after: &Value) -> Vec<FieldError> {
    let path = FieldPath::root().field("metadata");
    let (old, new) = (&before["metadata"], &after["metadata"]);
    let mut errors = Vec::new();
    for name in ["name", "namespace"] {
        if old.get(name) != new.get(name) {
            let value = new.get(name).cloned().unwrap_or_else(|| json!(""));
            errors.push(FieldError::invalid(
                path.field(name),
                value,
                "field is immutable",
            ));
        }
    }
    if old.get("deletionTimestamp").is_some() {
        let (old, new) = (finalizers(old), finalizers(new));
        let added: Vec<String> = new
            .difference(&old)
            .map(|finalizer| format!("{finalizer:?}"))
            .collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers \
                 []string{{{}}}",
                added.join(", ")
            );
            errors.push(FieldError::forbidden(path.field("finalizers"), &detail));
        }
    }
    errors
}

fn finalizers(metadata: &Value) -> BTreeSet<&str> {
    let list = metadata["finalizers"].as_array().into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}
