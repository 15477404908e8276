//! Objects that `kubectl apply` wrote, taken over by `kubectl apply --server-side`: the annotation says what
//! kubectl applied, so that it may have these fields without a conflict.

use serde_json::Value;

use super::compare::Comparison;
use super::ground::Ground;
use super::set::FieldSet;
use super::value::fields_of;
use super::{Kind, validate};
use crate::Schema;

/// The manager that this is for. Whoever does not want it takes another name.
pub(super) const MANAGER: &str = "kubectl";

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How large all annotations together may be, in bytes of keys and values.
const MOST_ANNOTATIONS: usize = 256 * 1024;

/// The fields that kubectl applied and that still have the values it gave them; none if it cannot be told.
///
/// Upstream: apimachinery pkg/util/managedfields/internal/lastappliedmanager.go,
/// allowedConflictsFromLastApplied.
/// Shown by: kubectl_takes_over_what_it_applied_itself.
pub(super) fn fields(
    schema: &Schema,
    kind: &Kind<'_>,
    live: &Value,
    ground: &Ground,
) -> Option<FieldSet> {
    let text = annotation(live)?;
    let last: Value = serde_json::from_str(text).ok()?;
    if last["apiVersion"] != kind.api_version || validate::flaws(schema, &last).is_some() {
        return None;
    }
    let compared = Comparison::of(schema, &last, live, ground);
    let removed = compared.removed.clone();
    let written = compared.written();
    Some(fields_of(schema, &last).without(&written).without(&removed))
}

/// Brings the annotation up to date with what was applied, if there is one.
///
/// Upstream: apimachinery pkg/util/managedfields/internal/lastappliedupdater.go, lastAppliedUpdater.Apply.
/// Shown by: kubectl_takes_over_what_it_applied_itself.
pub(super) fn renew(object: &mut Value, applied: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut applied = applied.clone();
    let annotations = applied.pointer_mut("/metadata/annotations");
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    // Upstream's encoder ends with a newline.
    let text = format!("{applied}\n");
    let annotations = object.pointer_mut("/metadata/annotations");
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.insert(ANNOTATION.to_owned(), text.into());
        let size = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
        if annotations.iter().map(size).sum::<usize>() > MOST_ANNOTATIONS {
            annotations.remove(ANNOTATION);
        }
    }
}

fn annotation(object: &Value) -> Option<&str> {
    let text = object["metadata"]["annotations"]
        .get(ANNOTATION)?
        .as_str()?;
    Some(text).filter(|text| !text.is_empty())
}
