//! Strategic merge patch: merge patch by somebody who knows the kind.
//!
//! Where the schema says so, a list is merged and not replaced: one of objects by their merge key, one of
//! scalars as a set. What a merge cannot say, directives in the patch say: `$patch: replace` and
//! `$patch: delete` about the object they stand in, `$retainKeys` about the fields that may stay,
//! `$deleteFromPrimitiveList/<field>` and `$setElementOrder/<field>` about a list beside them.
//!
//! Upstream: apimachinery pkg/util/strategicpatch/patch.go, StrategicMergeMapPatch.
//! Shown by: strategic_patches_do_what_upstream_does, a_pod_is_patched_by_its_names,
//! what_kubectl_applies_is_merged_by_the_same_keys.

mod order;

use std::mem::take;

use serde_json::Value;

use super::PatchError;
use crate::go::Go;
use crate::{Node, Schema};

type Entries = serde_json::Map<String, Value>;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

const BAD_PRIMITIVE_LIST: &str = "invalid patch format of primitive list";
const BAD_RETAIN_KEYS: &str = "invalid patch format of retainKeys";
const BAD_ORDER: &str = "invalid patch format of setElementOrder list";

/// An object with a patch of it put in.
///
/// Upstream: apimachinery pkg/util/strategicpatch/patch.go, mergeMap.
/// Shown by: strategic_patches_do_what_upstream_does, a_patch_once_carried_out_changes_nothing_more.
pub(super) fn objects(
    schema: &Schema,
    mut original: Entries,
    mut patch: Entries,
) -> Result<Entries, PatchError> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Entries::new()),
            _ => Err(unknown_directive(&directive, patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    order::lists(schema, &mut original, &mut patch)?;
    for (key, value) in patch {
        if key.starts_with(DELETE_FROM) {
            let key = beside(&key, DELETE_FROM, BAD_PRIMITIVE_LIST)?;
            delete_from(schema, &mut original, key, value)?;
        } else {
            field(schema, &mut original, key, value)?;
        }
    }
    Ok(original)
}

fn field(
    schema: &Schema,
    original: &mut Entries,
    key: String,
    patch: Value,
) -> Result<(), PatchError> {
    match (original.get_mut(&key), patch) {
        (_, Value::Null) => {
            original.remove(&key);
        }
        (Some(Value::Object(there)), Value::Object(patch)) => {
            let field = lookup(schema, &key)?;
            *there = match field.node() {
                // Nobody knows what is in it, so it is all or nothing.
                Node::Any => patch,
                Node::Object(_) | Node::Map(_) | Node::List(_) | Node::Scalar(_) => {
                    objects(field, take(there), patch)?
                }
            };
        }
        (Some(Value::Array(there)), Value::Array(patch)) => {
            *there = lists(lookup_list(schema, &key)?, take(there), patch)?;
        }
        (_, patch) => match plain(patch) {
            Some(patch) => {
                original.insert(key, patch);
            }
            None => {
                original.remove(&key);
            }
        },
    }
    Ok(())
}

/// A list with a patch of it put in, if it is one that is merged.
///
/// Upstream: apimachinery pkg/util/strategicpatch/patch.go, mergeSlice.
/// Shown by: strategic_patches_do_what_upstream_does, a_merged_list_has_the_names_of_both.
fn lists(
    schema: &Schema,
    original: Vec<Value>,
    patch: Vec<Value>,
) -> Result<Vec<Value>, PatchError> {
    if !schema.patch_strategy().merge {
        return Ok(patch);
    }
    let Some(elements) = Elements::of(&[&original, &patch])? else {
        return Ok(original);
    };
    let key = schema.patch_strategy().merge_key.as_deref();
    let (original, patch, merged) = match elements {
        Elements::Scalars => {
            let mut merged: Vec<Value> = Vec::new();
            for element in original.iter().chain(&patch) {
                if !merged.contains(element) {
                    merged.push(element.clone());
                }
            }
            (original, patch, merged)
        }
        Elements::Objects => {
            let key = key.ok_or_else(|| {
                malformed("cannot merge lists without merge key for struct".to_owned())
            })?;
            let (original, patch) = by_directive(original, patch, key)?;
            let merged = by_key(schema, original.clone(), &patch, key)?;
            (original, patch, merged)
        }
    };
    order::restore(merged, &patch, &original, key)
}

/// Carries out the elements of a patch that are directives. What is left is to be merged.
///
/// Upstream: apimachinery pkg/util/strategicpatch/patch.go, mergeSliceWithSpecialElements.
/// Shown by: strategic_patches_do_what_upstream_does, patches_that_cannot_be_carried_out_say_why.
fn by_directive(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut rest = Vec::new();
    let mut replace = false;
    for element in patch {
        match element.get(DIRECTIVE) {
            None => rest.push(element),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    let value = element.get(key).ok_or_else(|| no_key(&element, key))?;
                    require_objects(&original)?;
                    original.retain(|there| there.get(key) != Some(value));
                }
                Some("replace") => replace = true,
                Some("merge") => {
                    return Err(malformed(
                        "merging lists cannot yet be specified in the patch".to_owned(),
                    ));
                }
                _ => {
                    let entries = element.as_object().cloned().unwrap_or_default();
                    return Err(unknown_directive(directive, entries));
                }
            },
        }
    }
    Ok(if replace {
        (rest, Vec::new())
    } else {
        (original, rest)
    })
}

/// The elements of a list, merged with those of a patch that have the same key, and the others after them.
///
/// Upstream: apimachinery pkg/util/strategicpatch/patch.go, mergeSliceWithoutSpecialElements.
/// Shown by: strategic_patches_do_what_upstream_does, patches_that_cannot_be_carried_out_say_why.
fn by_key(
    schema: &Schema,
    mut original: Vec<Value>,
    patch: &[Value],
    key: &str,
) -> Result<Vec<Value>, PatchError> {
    let items = schema.items().unwrap_or(schema);
    for element in patch {
        let value = element.get(key).ok_or_else(|| no_key(element, key))?;
        let there = original
            .iter_mut()
            .find(|there| there.get(key) == Some(value));
        match (there, element) {
            (Some(Value::Object(there)), Value::Object(element)) => {
                *there = objects(items, take(there), element.clone())?;
            }
            _ => original.push(element.clone()),
        }
    }
    Ok(original)
}

/// Carries out `$deleteFromPrimitiveList`.
///
/// Upstream: apimachinery pkg/util/strategicpatch/patch.go, deleteFromSlice.
/// Shown by: strategic_patches_do_what_upstream_does.
fn delete_from(
    schema: &Schema,
    original: &mut Entries,
    key: &str,
    patch: Value,
) -> Result<(), PatchError> {
    match (original.get_mut(key), patch) {
        (_, Value::Null) => {
            original.remove(key);
        }
        (Some(Value::Array(there)), Value::Array(patch)) => {
            lookup_list(schema, key)?;
            match Elements::of(&[there, &patch])? {
                Some(Elements::Objects) => return Err(malformed(BAD_PRIMITIVE_LIST.to_owned())),
                Some(Elements::Scalars) | None => there.retain(|there| !patch.contains(there)),
            }
        }
        _ => {}
    }
    Ok(())
}

/// Carries out `$retainKeys`: drops the fields of the object that it does not name.
///
/// Upstream: apimachinery pkg/util/strategicpatch/patch.go, applyRetainKeysDirective.
/// Shown by: only_what_retain_keys_names_stays.
fn retain_keys(original: &mut Entries, patch: &mut Entries) -> Result<(), PatchError> {
    let Some(retained) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let bad = || malformed(BAD_RETAIN_KEYS.to_owned());
    let retained = retained.as_array().ok_or_else(bad)?;
    let is_retained = |key: &str| retained.iter().any(|retained| retained == key);
    for (key, value) in &*patch {
        let of_a_list = key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER);
        if !value.is_null() && !of_a_list && !is_retained(key) {
            return Err(bad());
        }
    }
    original.retain(|key, _| is_retained(key));
    Ok(())
}

/// The list that a directive is about: what comes after the slash.
fn beside<'k>(key: &'k str, directive: &str, bad: &str) -> Result<&'k str, PatchError> {
    key.split_once('/')
        .filter(|(before, _)| *before == directive)
        .map(|(_, list)| list)
        .ok_or_else(|| malformed(bad.to_owned()))
}

/// A value of a patch as it is where nothing was before: without nulls, and without what only directives
/// would do. `None` if it is itself only a directive.
///
/// Upstream: apimachinery pkg/util/strategicpatch/patch.go, discardNullValuesFromPatch and removeDirectives.
/// Shown by: strategic_patches_do_what_upstream_does, a_patch_of_nothing_before_it_is_what_comes_of_it.
fn plain(value: Value) -> Option<Value> {
    match value {
        Value::Object(entries) if entries.contains_key(DIRECTIVE) => None,
        Value::Object(entries) => Some(
            entries
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .filter_map(|(key, value)| Some((key, plain(value)?)))
                .collect(),
        ),
        Value::Array(elements) => Some(elements.into_iter().filter_map(plain).collect()),
        value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => Some(value),
    }
}

/// What the elements of some lists are; they have to be of one type.
#[derive(Clone, Copy)]
enum Elements {
    Objects,
    Scalars,
}

impl Elements {
    /// `None` if there are no elements.
    ///
    /// Upstream: apimachinery pkg/util/strategicpatch/patch.go, sliceElementType.
    /// Shown by: patches_that_cannot_be_carried_out_say_why.
    fn of(lists: &[&[Value]]) -> Result<Option<Self>, PatchError> {
        let mut elements = lists.iter().copied().flatten();
        let Some(first) = elements.next() else {
            return Ok(None);
        };
        if first.is_array() {
            return Err(PatchError::DoesNotApply(
                "lists of lists are not supported".to_owned(),
            ));
        }
        let type_of = std::mem::discriminant::<Value>;
        if elements.any(|element| type_of(element) != type_of(first)) {
            let lists: Vec<String> = lists.iter().map(|list| Go::list(list)).collect();
            return Err(malformed(format!(
                "list element types are not identical: [{}]",
                lists.join(" ")
            )));
        }
        Ok(Some(if first.is_object() {
            Self::Objects
        } else {
            Self::Scalars
        }))
    }
}

/// The schema of a field that both an object and its patch have.
///
/// Upstream: apimachinery third_party/forked/golang/json/fields.go, LookupPatchMetadataForStruct.
/// Shown by: patches_that_cannot_be_carried_out_say_why.
fn lookup<'s>(schema: &'s Schema, key: &str) -> Result<&'s Schema, PatchError> {
    let Node::Object(object) = schema.node() else {
        return Err(malformed(
            "merging an object in json but data type is not struct, instead is: map".to_owned(),
        ));
    };
    object.fields.get(key).ok_or_else(|| {
        let name = object.name.rsplit('.').next().unwrap_or_default();
        malformed(format!(
            "unable to find api field in struct {name} for the json field {key:?}"
        ))
    })
}

/// The schema of a list that a patch is about.
///
/// Upstream: apimachinery pkg/util/strategicpatch/meta.go, PatchMetaFromStruct.LookupPatchMetadataForSlice.
/// Shown by: patches_that_cannot_be_carried_out_say_why.
fn lookup_list<'s>(schema: &'s Schema, key: &str) -> Result<&'s Schema, PatchError> {
    let field = lookup(schema, key)?;
    match field.node() {
        Node::List(_) => Ok(field),
        Node::Object(_) | Node::Map(_) | Node::Scalar(_) | Node::Any => Err(malformed(
            "expected slice or array type, but got: struct".to_owned(),
        )),
    }
}

fn require_objects(list: &[Value]) -> Result<(), PatchError> {
    match list.iter().position(|element| !element.is_object()) {
        Some(index) => Err(malformed(format!("value for key {index} is not a map"))),
        None => Ok(()),
    }
}

const fn malformed(text: String) -> PatchError {
    PatchError::Malformed(text)
}

fn no_key(element: &Value, key: &str) -> PatchError {
    malformed(format!(
        "map: {} does not contain declared merge key: {key}",
        Go(element)
    ))
}

fn unknown_directive(directive: &Value, mut rest: Entries) -> PatchError {
    rest.insert(DIRECTIVE.to_owned(), directive.clone());
    malformed(format!(
        "unknown patch type: {} in map: {}",
        Go(directive),
        Go(&Value::Object(rest))
    ))
}
