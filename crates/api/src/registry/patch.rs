//! Patch: the four ways to say what is to be different.

use probelet_schema::Schema;
use probelet_schema::managed::{self, ApplyError, Conflict, Writer};
use probelet_schema::patch::{self, PatchError};
use probelet_store::{Object, Transaction};
use serde_json::{Value, json};

use super::incoming::{self, Expected, Incoming};
use super::update::{Owners, Writing, refuse_ephemeral_containers};
use super::write::{key_of, kind_of, meta, metadata};
use super::{Registry, Written, admit, create, event, scale};
use crate::failure::Failure;
use crate::request::{PatchType, Target, WriteOptions};
use crate::resource::Resource;

pub(super) async fn patch(
    registry: &Registry,
    target: &Target,
    patch_type: PatchType,
    patch: &Value,
    options: &WriteOptions,
) -> Result<Written, Failure> {
    refuse_ephemeral_containers(target)?;
    let key = key_of(target)?;
    if target
        .subresource
        .is_some_and(|below| below.name == "scale")
    {
        return scale::set(registry, target, options, |scale| {
            patched_scale(target, scale, patch_type, patch, options)
        })
        .await;
    }
    registry
        .transact(options.dry_run, |transaction| {
            let live = transaction.get(&key).cloned();
            match (patch_type, live) {
                (PatchType::Apply, live) => {
                    apply(registry, transaction, target, live.as_ref(), patch, options)
                }
                (_, None) => Err(Failure::not_found(target.resource, &key.name)),
                (_, Some(live)) => {
                    let shown = event::as_asked_for(target.resource, &live.value);
                    let patched = changed(Expected::of(target), &shown, patch_type, patch)?;
                    let after = incoming::read_patched(target, patched, options)?;
                    admit::check_name(target, &after.value)?;
                    writing(registry, target, options, Owners::Writer).replace(
                        transaction,
                        &live,
                        after,
                    )
                }
            }
        })
        .await
}

/// Applies objects all together, or none of them; conflicts are won. Of a failure comes the number of the object.
pub(super) async fn apply_all(
    registry: &Registry,
    objects: &[(Target, Value)],
    options: &WriteOptions,
) -> Result<Vec<(Written, bool)>, (usize, Failure)> {
    let mut at = 0;
    let applied = registry
        .transact(options.dry_run, |transaction| {
            let mut all = Vec::new();
            for (index, (target, object)) in objects.iter().enumerate() {
                at = index;
                let key = key_of(target)?;
                let live = transaction.get(&key).cloned();
                let before = live.as_ref().map(|live| live.version);
                let written = apply(
                    registry,
                    transaction,
                    target,
                    live.as_ref(),
                    object,
                    options,
                )?;
                let after = transaction.get(&key).map(|now| now.version);
                all.push((written, before != after));
            }
            Ok(all)
        })
        .await;
    applied.map_err(|failure| (at, failure))
}

const fn writing<'a>(
    registry: &'a Registry,
    target: &'a Target,
    options: &'a WriteOptions,
    owners: Owners,
) -> Writing<'a> {
    Writing {
        registry,
        target,
        options,
        owners,
    }
}

/// What one of the three patches that are only functions makes of an object.
///
/// Upstream: apiserver pkg/endpoints/handlers/patch.go, jsonPatcher.applyJSPatch and strategicPatchObject.
/// Shown by: an_object_is_patched_in_three_ways, a_patch_that_does_not_fit_is_refused.
fn changed(
    expected: Expected,
    object: &Value,
    patch_type: PatchType,
    patch: &Value,
) -> Result<Value, Failure> {
    const MOST_OPERATIONS: usize = 10_000;
    let operations = patch.as_array().map_or(0, Vec::len);
    if patch_type == PatchType::Json && operations > MOST_OPERATIONS {
        let message = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {operations}"
        );
        return Err(Failure::new(413, "RequestEntityTooLarge", message));
    }
    let changed = match (patch_type, expected.schema()) {
        (PatchType::Json, _) => patch::json(object, patch),
        (PatchType::Strategic, Some(schema)) => patch::strategic(schema, object, patch),
        (PatchType::Merge | PatchType::Strategic | PatchType::Apply, _) => {
            patch::merge(object, patch)
        }
    };
    changed.map_err(|error| match error {
        PatchError::Malformed(why) => Failure::bad_request(why),
        // Upstream does not say why.
        PatchError::DoesNotApply(_) => {
            let message = "the server rejected our request due to an error in our request";
            Failure {
                details: json!({}),
                ..Failure::new(422, "Invalid", message)
            }
        }
    })
}

/// What a patch makes of a scale, which has so few fields that an apply of one says no more than a merge.
///
/// Differs: an apply of a scale meets no conflict, and owns the replicas as an update does.
/// Shown by: replicas_are_read_and_set_by_scale.
fn patched_scale(
    target: &Target,
    scale: &Value,
    patch_type: PatchType,
    patch: &Value,
    options: &WriteOptions,
) -> Result<Incoming, Failure> {
    let patched = changed(Expected::of(target), scale, patch_type, patch)?;
    let after = incoming::read_patched(target, patched, options)?;
    admit::check_name(target, &after.value)?;
    Ok(after)
}

/// Server-side apply.
///
/// Upstream: apiserver pkg/endpoints/handlers/patch.go, applyPatcher; apimachinery
/// pkg/util/managedfields/internal/fieldmanager.go, FieldManager.Apply.
/// Shown by: an_apply_creates_and_changes, an_apply_conflicts_with_other_owners.
fn apply(
    registry: &Registry,
    transaction: &mut Transaction<'_>,
    target: &Target,
    live: Option<&Object>,
    applied: &Value,
    options: &WriteOptions,
) -> Result<Written, Failure> {
    let expected = Expected::of(target);
    if !applied["metadata"]["managedFields"].is_null() {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    let api_version = applied["apiVersion"].as_str().unwrap_or_default();
    let own = expected.api_version();
    if api_version != own {
        return Err(Failure::bad_request(format!(
            "incorrect version specified in apply patch. Specified patch version: {api_version}, expected: {own}"
        )));
    }
    let mut applied = expected.typed(applied.clone())?;
    let name = target.name.as_deref().unwrap_or_default();
    if meta(&applied, "name").is_empty() {
        metadata(&mut applied).insert("name".to_owned(), name.into());
    }
    admit::check_name(target, &applied)?;
    let uid = meta(&applied, "uid").to_owned();
    let existing = live.map_or("", |live| meta(&live.value, "uid"));
    if live.is_none() && !uid.is_empty() {
        let why = format!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        );
        return Err(Failure::conflict(target.resource, name, why));
    }
    if !uid.is_empty() && uid != existing {
        return Err(super::update::other_uid(target, &uid, existing));
    }
    let applied = event::as_stored(target.resource, applied);
    let kind = kind_of(target)?;
    let stored = Resource::of(kind);
    let schema = Schema::of(&stored.api_version(), stored.kind)
        .ok_or_else(|| Failure::internal(format!("there is no schema of {kind}")))?;
    let subresource = target.subresource.map_or("", |below| below.name);
    let writer = Writer {
        manager: &options.field_manager,
        subresource,
        time: &registry.now().to_string(),
    };
    let before = live.map(|live| &*live.value);
    let after =
        managed::apply(schema, before, &applied, &writer, options.force).map_err(refused_apply)?;
    let after = Incoming {
        value: after,
        warnings: Vec::new(),
    };
    match live {
        Some(live) => {
            writing(registry, target, options, Owners::Settled).replace(transaction, live, after)
        }
        None if subresource.is_empty() => {
            create::insert(registry, transaction, target, after, options)
        }
        None => Err(Failure::not_found(target.resource, name)),
    }
}

/// An apply that is refused, as a status.
///
/// Upstream: apimachinery pkg/util/managedfields/internal/conflict.go, NewConflictError.
/// Shown by: an_apply_conflicts_with_other_owners, the_words_of_conflicts_are_upstreams.
fn refused_apply(error: ApplyError) -> Failure {
    match error {
        // Upstream has no status for it.
        ApplyError::Malformed(why) => Failure::unclassified(why),
        ApplyError::Conflicts(conflicts) => {
            let causes: Vec<Value> = conflicts
                .iter()
                .map(|conflict| {
                    json!({
                        "reason": "FieldManagerConflict",
                        "message": conflict.message,
                        "field": conflict.field,
                    })
                })
                .collect();
            Failure {
                details: json!({"causes": causes}),
                ..Failure::new(409, "Conflict", conflict_words(&conflicts))
            }
        }
    }
}

fn conflict_words(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!(
            "Apply failed with 1 conflict: {}: {}",
            one.message, one.field
        );
    }
    let mut managers: Vec<&str> = conflicts
        .iter()
        .map(|conflict| conflict.message.as_str())
        .collect();
    managers.sort_unstable();
    managers.dedup();
    let mut lines = Vec::new();
    for manager in managers {
        // "conflict with ..." of one, "conflicts with ..." of many.
        lines.push(format!(
            "{}:",
            manager.replacen("conflict ", "conflicts ", 1)
        ));
        let of_manager = conflicts.iter().filter(|one| one.message == manager);
        lines.extend(of_manager.map(|one| format!("- {}", one.field)));
    }
    format!(
        "Apply failed with {} conflicts: {}",
        conflicts.len(),
        lines.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_conflicts_are_upstreams() {
        let conflict = |manager: &str, field: &str| Conflict {
            message: format!("conflict with {manager:?} using apps/v1"),
            field: field.to_owned(),
        };
        let check = |conflicts: Vec<Conflict>, expected: &str| {
            let failure = refused_apply(ApplyError::Conflicts(conflicts.clone()));
            assert_eq!((failure.code, failure.reason), (409, "Conflict"));
            assert_eq!(failure.message, expected);
            let causes = failure.details["causes"].as_array().unwrap();
            assert_eq!(causes.len(), conflicts.len());
            assert_eq!(causes[0]["reason"], "FieldManagerConflict");
        };
        check(
            vec![conflict("a", ".spec.replicas")],
            "Apply failed with 1 conflict: conflict with \"a\" using apps/v1: .spec.replicas",
        );
        check(
            vec![
                conflict("b", ".spec.x"),
                conflict("a", ".spec.replicas"),
                conflict("b", ".spec.y"),
            ],
            "Apply failed with 3 conflicts: conflicts with \"a\" using apps/v1:\n- .spec.replicas\n\
             conflicts with \"b\" using apps/v1:\n- .spec.x\n- .spec.y",
        );
    }
}
