//! The order of a merged list: first what `$setElementOrder` says, then the patch, then the object.

use serde_json::Value;

use super::{
    BAD_ORDER, DIRECTIVE, Entries, PatchError, SET_ORDER, beside, lists as merge, lookup_list,
    malformed, no_key, plain, require_objects,
};
use crate::Schema;
use crate::go::Go;

/// Carries out every `$setElementOrder` of a patch, together with the patch of the list that it is about,
/// and takes both out of the patch.
///
/// Upstream: apimachinery pkg/util/strategicpatch/patch.go, mergePatchIntoOriginal.
/// Shown by: the_order_of_a_list_is_the_directives_then_the_objects.
pub(super) fn lists(
    schema: &Schema,
    original: &mut Entries,
    patch: &mut Entries,
) -> Result<(), PatchError> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|key| key.starts_with(SET_ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let wanted = patch.remove(&directive).map_or(Ok(Vec::new()), list)?;
        let key = beside(&directive, SET_ORDER, BAD_ORDER)?;
        let there = original.get(key).cloned().map(list).transpose()?;
        let patched = patch.remove(key).map(list).transpose()?;
        let field = lookup_list(schema, key)?;
        let merge_key = field.patch_strategy().merge_key.as_deref();
        agree(patched.as_deref().unwrap_or_default(), &wanted, merge_key)?;

        let before = there.clone().unwrap_or_default();
        let merged = match (there, patched) {
            (None, None) => continue,
            (Some(there), None) => there,
            (None, Some(patched)) => patched.into_iter().filter_map(plain).collect(),
            (Some(there), Some(patched)) => merge(field, there, patched)?,
        };
        let ordered = restore(merged, &wanted, &before, merge_key)?;
        original.insert(key.to_owned(), ordered.into());
    }
    Ok(())
}

/// `merged` in order: its elements that are in `wanted` as they are there; the others as in `before`, put
/// between them where `before` had them.
///
/// Upstream: apimachinery pkg/util/strategicpatch/patch.go, normalizeElementOrder.
/// Shown by: the_order_of_a_list_is_the_directives_then_the_objects, an_order_that_names_all_is_the_order.
pub(super) fn restore(
    merged: Vec<Value>,
    wanted: &[Value],
    before: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    if let Some(key) = key {
        for list in [&*merged, wanted, before] {
            require_objects(list)?;
            if let Some(element) = list.iter().find(|element| element.get(key).is_none()) {
                return Err(no_key(element, key));
            }
        }
    }
    let place = |list: &[Value], element: &Value| {
        list.iter()
            .position(|other| identity(other, key) == identity(element, key))
    };
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|element| place(wanted, element).is_some());
    named.sort_by_cached_key(|element| place(wanted, element));
    others.sort_by_cached_key(|element| place(before, element).unwrap_or(usize::MAX));

    let mut all = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for element in named {
        if let Some(at) = place(before, &element) {
            let comes_first = |other: &Value| place(before, other).is_some_and(|place| place < at);
            while let Some(other) = others.next_if(comes_first) {
                all.push(other);
            }
        }
        all.push(element);
    }
    all.extend(others);
    Ok(all)
}

/// What an element of a list is known by.
fn identity<'v>(element: &'v Value, key: Option<&str>) -> Option<&'v Value> {
    match key {
        Some(key) => element.get(key),
        None => Some(element),
    }
}

/// Whether a list's patch has only what the order names, and in that order.
///
/// Upstream: apimachinery pkg/util/strategicpatch/patch.go, validatePatchWithSetOrderList.
/// Shown by: patches_that_cannot_be_carried_out_say_why.
fn agree(patch: &[Value], wanted: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    if patch.is_empty() || wanted.is_empty() {
        return Ok(());
    }
    let known =
        |element| identity(element, key).ok_or_else(|| no_key(element, key.unwrap_or_default()));
    let mut rest = wanted.iter();
    for element in patch {
        if element.get(DIRECTIVE).is_some() {
            continue;
        }
        let element = known(element)?;
        let mut found = false;
        while !found && let Some(next) = rest.next() {
            found = known(next)? == element;
        }
        if !found {
            return Err(malformed(format!(
                "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
                Go::list(patch),
                Go::list(wanted)
            )));
        }
    }
    Ok(())
}

fn list(value: Value) -> Result<Vec<Value>, PatchError> {
    match value {
        Value::Array(elements) => Ok(elements),
        other => Err(malformed(format!(
            "expected a []interface {{}}, but received a {}",
            Go::type_of(&other)
        ))),
    }
}
