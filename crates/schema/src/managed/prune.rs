//! What a manager had applied and does not apply any more, taken out.

use serde_json::Value;

use super::set::FieldSet;
use super::value::{fields_of, without};
use crate::Schema;

/// `merged` without what is in `last`, the manager's last set, and in none of the sets that are `owned` now,
/// its new one among them.
///
/// In three steps, as upstream takes them: out goes all of `last`, with what is below it; back comes whatever
/// anybody owns; and back comes what `last` did not name itself, but only something above it.
///
/// Upstream: structured-merge-diff merge/update.go, Updater.prune.
/// Shown by: what_a_sole_owner_drops_is_gone, what_another_owns_stays.
pub(super) fn prune(schema: &Schema, merged: Value, last: &FieldSet, owned: FieldSet) -> Value {
    if last.is_empty() {
        return merged;
    }
    let named = |set: FieldSet| set.with_named_fields(Some(schema));
    let last = named(last.clone());
    let there = named(fields_of(schema, &merged));
    let left = |value: &Value| named(fields_of(schema, value));

    let pruned = without(schema, &merged, &last);
    let kept = left(&pruned).union(named(owned));
    let pruned = without(schema, &merged, &there.clone().without(&kept));
    let gone = there.without(&left(&pruned)).intersection(&last);
    without(schema, &merged, &gone)
}
