//! What labels may look like, for those who select by them.

use crate::validate::names;

/// What is wrong with the key of a label, in upstream's words; nothing, if it is right.
///
/// Upstream: apimachinery pkg/labels/selector.go, validateLabelKey.
/// Shown by: names_are_right_or_wrong_as_upstream_has_it.
#[must_use]
pub fn key_errors(key: &str) -> Vec<String> {
    names::label_key(key)
}

/// What is wrong with the value of a label, in upstream's words; nothing, if it is right.
///
/// Upstream: apimachinery pkg/labels/selector.go, validateLabelValue.
/// Shown by: names_are_right_or_wrong_as_upstream_has_it.
#[must_use]
pub fn value_errors(value: &str) -> Vec<String> {
    names::label_value(value)
}
