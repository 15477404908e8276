//! The patches that are only functions of an object and a patch: JSON patch, merge patch, strategic merge
//! patch. The fourth, apply, is [`crate::managed::apply`].

mod json;
mod strategic;

use serde_json::{Map, Value};

use crate::{Schema, go};

/// Why a patch cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is not one: a bad request (400).
    #[error("{0}")]
    Malformed(String),
    /// It does not fit the object, as a `test` that fails: unprocessable (422).
    #[error("{0}")]
    DoesNotApply(String),
}

/// JSON patch, RFC 6902. Either all of its operations are carried out, or none.
///
/// Upstream: apiserver pkg/endpoints/handlers/patch.go, jsonPatcher.applyJSPatch.
/// Shown by: json_patches_do_what_upstream_does.
///
/// # Errors
/// [`PatchError`].
pub fn json(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    json::apply(object.clone(), patch)
}

/// JSON merge patch, RFC 7386.
///
/// Upstream: apiserver pkg/endpoints/handlers/patch.go, jsonPatcher.applyJSPatch.
/// Shown by: merge_patches_do_what_the_rfc_says.
///
/// # Errors
/// [`PatchError::Malformed`] for a patch that is no object: it would leave none.
pub fn merge(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::Malformed("Invalid JSON Patch".to_owned()));
    }
    Ok(merged(object.clone(), patch))
}

/// RFC 7386, section 2, MergePatch.
fn merged(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut entries = match target {
        Value::Object(entries) => entries,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    for (key, value) in patch {
        if value.is_null() {
            entries.remove(key);
        } else {
            let there = entries.remove(key).unwrap_or_default();
            entries.insert(key.clone(), merged(there, value));
        }
    }
    Value::Object(entries)
}

/// Strategic merge patch: `$patch`, `$deleteFromPrimitiveList/`, `$setElementOrder/`, `$retainKeys`, and
/// lists merged by their keys.
///
/// Upstream: apimachinery pkg/util/strategicpatch/patch.go, StrategicMergeMapPatch.
/// Differs: a patch that cannot be carried out, for want of a merge key or because it names a field that the
/// kind does not have, is malformed (400); upstream answers that the server has failed (500).
/// Shown by: strategic_patches_do_what_upstream_does, patches_that_cannot_be_carried_out_say_why.
///
/// # Errors
/// [`PatchError`].
pub fn strategic(schema: &Schema, object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::Malformed(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            go::kind(patch)
        )));
    };
    let original = object.as_object().cloned().unwrap_or_default();
    strategic::objects(schema, original, patch.clone()).map(Value::Object)
}

#[cfg(test)]
mod tests;
