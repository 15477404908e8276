//! What a server makes of an object before it stores it: defaults, checks, and the fields that only it sets.

mod first;
mod metadata;

use serde_json::Value;

use crate::changes;
use crate::decode::{self, Admitted, Options};
use crate::field::FieldError;
use crate::id::Kind;

/// Which part of an object an update may change; the rest stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status, where the kind has one of its own; all, where it has not.
    Object,
    /// The status alone, and of the metadata what upstream lets go with it.
    Status,
}

/// A new object of any kind: defaulted and validated, with the status that a new one has where the kind has
/// one of its own (a Node's is taken as it is given), at generation 1 where the kind counts generations, and
/// without anything else that only a server sets.
///
/// Upstream: apiserver pkg/registry/rest/create.go, BeforeCreate, and each kind's strategy.
/// Shown by: every_kind_is_created, a_new_object_begins_at_its_beginning.
///
/// # Errors
/// All that is wrong with it.
pub fn create(kind: Kind, value: Value, options: &Options) -> Result<Admitted, Vec<FieldError>> {
    let status = (kind == Kind::Node)
        .then(|| value.get("status").cloned())
        .flatten();
    let mut admitted = decode::admit(kind, value, options)?;
    first::begin(kind, &mut admitted.value, status);
    Ok(admitted)
}

/// A changed object: `after` in the place of `before`, defaulted, validated, and compared with what may
/// change. What only a server sets (uid, creationTimestamp, deletionTimestamp, ...) is taken from `before`;
/// `metadata.generation` is one more if the spec has changed, where the kind counts generations.
/// `metadata.resourceVersion` and `managedFields` are left as `after` has them.
///
/// Upstream: apiserver pkg/registry/rest/update.go, BeforeUpdate, and each kind's strategy.
/// Shown by: what_only_a_server_sets_stays, a_status_is_changed_alone, generations_are_counted.
///
/// # Errors
/// All that is wrong with it, in upstream's words: `field is immutable` and its like.
pub fn update(
    kind: Kind,
    before: &Value,
    mut after: Value,
    part: Part,
    options: &Options,
) -> Result<Admitted, Vec<FieldError>> {
    metadata::carry_over(before, &mut after);
    match part {
        Part::Object => {
            first::carry_over(kind, before, &mut after);
            decode::prepare(kind, &mut after, options);
            let mut errors = changes::immutable(before, &after);
            errors.extend(metadata::changes(before, &after));
            match decode::judge(kind, &after, options) {
                Ok(judged) if errors.is_empty() => {
                    let mut admitted = judged.admitted(kind, after);
                    let value = &admitted.value;
                    // What was said before need not be said again.
                    admitted
                        .warnings
                        .retain(|warning| warning.path.find(before) != warning.path.find(value));
                    first::count_generation(kind, before, &mut admitted.value);
                    Ok(admitted)
                }
                Ok(_) => Err(errors),
                Err(others) => Err([others, errors].concat()),
            }
        }
        Part::Status => {
            let value = first::with_status_of(kind, before, after);
            let errors = [
                decode::errors_of_status(kind, &value),
                metadata::changes(before, &value),
            ]
            .concat();
            if errors.is_empty() {
                Ok(decode::judge(kind, &value, options)?.admitted(kind, value))
            } else {
                Err(errors)
            }
        }
    }
}

#[cfg(test)]
mod tests;
