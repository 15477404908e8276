//! Who owns which field: `metadata.managedFields`, and server-side apply, which lives by it.
//!
//! [`apply`] and [`update`] are the two ways to write. Below them: `entries` is `managedFields` as upstream
//! thinks of it, `set` the sets of fields in it and `element` the steps of their paths; `merge` puts what
//! is applied into what is there, `prune` takes out what is not applied any more, `compare` finds what
//! differs and `value` what is there at all; `reset` has the fields that nobody can own, `ground` those
//! that are always there, and `last_applied` is how objects of `kubectl apply` come over.
//!
//! Upstream: apimachinery pkg/util/managedfields/internal/fieldmanager.go, NewDefaultFieldManager, whose layers
//! are told here in one place each; and structured-merge-diff merge/update.go, Updater.
//! Shown by: writes_do_what_they_do_upstream.
//!
//! Differs: the set of a manager that wrote in another version of the kind is taken as it is, where upstream
//! converts the object to that version to compare it. Of the kinds that are served only Event has two versions.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::Schema;

mod compare;
mod element;
mod entries;
mod ground;
mod last_applied;
mod merge;
mod prune;
mod reset;
mod set;
mod validate;
mod value;

use compare::Comparison;
use entries::{Entries, Identity, Operation, Ownership};
pub(crate) use ground::Ground;
use set::FieldSet;

/// The manager of the fields that an object had before anybody's were tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who writes, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// The subresource written to, `status`; empty for the object itself.
    pub subresource: &'a str,
    /// RFC 3339, for the entry's `time`.
    pub time: &'a str,
}

/// A field that somebody else owns with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// As upstream says it: `conflict with "kubectl-client-side-apply" using apps/v1`.
    pub message: String,
    /// `.spec.replicas`.
    pub field: String,
}

/// Why an apply is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Others own fields of it with other values, and force was not asked for. In the order of the managers'
    /// names, and of each manager's paths.
    #[error("{} conflicts", .0.len())]
    Conflicts(Vec<Conflict>),
    /// It cannot be applied at all: managedFields in it, duplicate list keys, a field of a wrong type.
    #[error("{0}")]
    Malformed(String),
}

/// Server-side apply: `live` (nothing, for a new object) with what `applied` says put in, what this manager
/// had applied before and no longer does taken out where nobody else owns it, and `managedFields` brought up
/// to date. With `force`, conflicts are won. An apply that changes nothing gives `live` back as it is.
///
/// Fields that the write cannot change (`status`, but through its subresource) are put in all the same and
/// not owned: the caller puts the old ones back.
///
/// # Errors
/// [`ApplyError`].
///
/// Upstream: apimachinery pkg/util/managedfields/internal/fieldmanager.go, FieldManager.Apply.
/// Shown by: to_apply_twice_changes_nothing, appliers_of_different_fields_never_conflict,
/// what_a_sole_owner_drops_is_gone.
pub fn apply(
    schema: &Schema,
    live: Option<&Value>,
    applied: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    if !applied["metadata"]["managedFields"].is_null() {
        return malformed("metadata.managedFields must be nil".to_owned());
    }
    let kind = Kind::of(applied);
    if let Some(live) = live
        && Kind::of(live) != kind
    {
        return malformed(format!("invalid object type: {}", kind.in_words()));
    }
    if let Some(flaws) = validate::flaws(schema, applied) {
        return malformed(format!(
            "failed to create typed patch object ({}): {flaws}",
            in_words(applied)
        ));
    }
    let (before, managed_fields) = split(live.cloned().unwrap_or_else(empty));
    let mut entries = Entries::decode(managed_fields.as_ref())
        .map_err(|error| malformed_text(&format!("failed to decode managed fields: {error}")))?;
    let scope = Scope::new(schema, &kind, writer);
    if entries.0.is_empty() {
        scope.update(&mut entries, &empty(), &before, BEFORE_FIRST_APPLY);
    }
    let mut outcome = scope.apply(entries.clone(), &before, applied, force);
    // kubectl takes over what it applied itself when the server did not do it yet.
    if writer.manager == last_applied::MANAGER
        && let Err(Refusal::Conflicts(conflicts)) = outcome
    {
        let allowed =
            last_applied::fields(schema, &kind, &scope.as_written(&before), &scope.ground);
        let left = conflicts.without(&allowed.unwrap_or_default());
        outcome = if left.is_empty() {
            scope.apply(entries, &before, applied, true)
        } else {
            Err(Refusal::Conflicts(left))
        };
    }
    let (mut object, entries) = outcome.map_err(|refusal| refusal.error(&before))?;
    if writer.manager == last_applied::MANAGER {
        last_applied::renew(&mut object, applied);
    }
    Ok(join(object, &entries))
}

/// What an update or a patch of another type made of `before` (nothing, for a new object), with
/// `managedFields` brought up to date: the fields that differ are the writer's, as operation Update.
/// A writer may have reset `managedFields` in `after` by an empty list, as upstream lets it.
///
/// Upstream: apimachinery pkg/util/managedfields/internal/fieldmanager.go, FieldManager.UpdateNoErrors.
/// Shown by: an_update_owns_what_it_changes, managed_fields_can_be_reset.
#[must_use]
pub fn update(schema: &Schema, before: Option<&Value>, after: Value, writer: &Writer<'_>) -> Value {
    let (after, sent) = split(after);
    let stored = before.and_then(|before| before["metadata"].get("managedFields"));
    let is_reset = match &sent {
        Some(Value::Array(list)) => {
            list.is_empty() || (list.len() == 1 && list[0].as_object().is_some_and(Map::is_empty))
        }
        _ => false,
    };
    let of_stored = || Entries::decode(stored).unwrap_or_default();
    let mut entries = if !writer.subresource.is_empty() {
        of_stored()
    } else if is_reset {
        Entries::default()
    } else {
        // Clients that do not know of managedFields leave them out and do not mean to.
        Entries::decode(sent.as_ref())
            .ok()
            .filter(|entries| !entries.0.is_empty())
            .unwrap_or_else(of_stored)
    };
    // An object whose fields are not tracked stays so until somebody applies to it.
    let exists = before.is_some_and(|before| before["metadata"]["uid"].is_string());
    if !(entries.0.is_empty() && exists) {
        let scope = Scope::new(schema, &Kind::of(&after), writer);
        let nothing = empty();
        scope.update(
            &mut entries,
            before.unwrap_or(&nothing),
            &after,
            writer.manager,
        );
    }
    join(after, &entries)
}

/// What there is to know for one write.
struct Scope<'a> {
    schema: &'a Schema,
    writer: &'a Writer<'a>,
    kind: Kind<'a>,
    /// What the write cannot change.
    reset: FieldSet,
    ground: Ground,
}

impl<'a> Scope<'a> {
    fn new(schema: &'a Schema, kind: &Kind<'a>, writer: &'a Writer<'a>) -> Self {
        Self {
            schema,
            writer,
            kind: *kind,
            reset: reset::of(kind.kind, writer.subresource),
            ground: Ground::of(kind.api_version, kind.kind),
        }
    }

    fn identity(&self, manager: &str, operation: Operation) -> Identity {
        let manager = if manager.is_empty() {
            "unknown"
        } else {
            manager
        };
        Identity::new(
            manager,
            operation,
            self.kind.api_version,
            self.writer.subresource,
        )
    }

    /// An object as upstream compares it.
    fn as_written<'v>(&self, object: &'v Value) -> Cow<'v, Value> {
        value::as_written(self.schema, object)
    }

    fn compare(&self, before: &Value, after: &Value) -> Comparison {
        Comparison::of(self.schema, before, after, &self.ground).without_below(&self.reset)
    }

    /// Gives what differs to a manager, and takes it from all others.
    ///
    /// Upstream: structured-merge-diff merge/update.go, Updater.Update; apimachinery
    /// pkg/util/managedfields/internal/managedfieldsupdater.go, managedFieldsUpdater.Update.
    /// Shown by: an_update_takes_what_it_changes_from_appliers.
    fn update(&self, entries: &mut Entries, before: &Value, after: &Value, manager: &str) {
        entries.fit(self.schema, self.kind);
        let compared = self.compare(&self.as_written(before), &self.as_written(after));
        let removed = compared.removed.clone();
        let written = compared.written();
        for of in entries.0.values_mut() {
            of.set = std::mem::take(&mut of.set)
                .without(&written)
                .without(&removed);
        }
        entries.drop_empty();
        let written = written.without(&reset::NEVER_TRACKED);
        if !written.is_empty() {
            let identity = self.identity(manager, Operation::Update);
            let previous = entries.0.remove(&identity);
            let set = previous.map_or_else(FieldSet::new, |of| of.set);
            entries.0.insert(identity, self.owns(set.union(written)));
        }
        entries.cap();
    }

    /// Merges what is applied into what is there, and gives it to its manager, or tells of the conflicts.
    ///
    /// Upstream: structured-merge-diff merge/update.go, Updater.Apply; apimachinery
    /// pkg/util/managedfields/internal/managedfieldsupdater.go, managedFieldsUpdater.Apply.
    /// Shown by: what_is_applied_is_there_and_owned, conflicts_name_the_manager_as_upstream_does.
    fn apply(
        &self,
        mut entries: Entries,
        before: &Value,
        applied: &Value,
        force: bool,
    ) -> Result<(Value, Entries), Refusal> {
        entries.fit(self.schema, self.kind);
        let live = self.as_written(before);
        let merged = merge::merge(self.schema, &live, applied).map_err(Refusal::Malformed)?;
        let identity = self.identity(self.writer.manager, Operation::Apply);
        let last = entries.0.remove(&identity);
        let set = value::fields_of(self.schema, applied).without_below(&self.reset);
        let owned = entries.0.values().map(|of| of.set.clone());
        let owned = owned.fold(set.clone(), FieldSet::union);
        let after = match &last {
            Some(last) => prune::prune(self.schema, merged, &last.set, owned),
            None => merged,
        };

        let compared = self.compare(&live, &after);
        let removed = compared.removed.clone();
        let written = compared.written();
        let conflicts = Conflicts(
            entries
                .0
                .iter()
                .map(|(identity, of)| (identity.clone(), of.set.intersection(&written)))
                .filter(|(_, set)| !set.is_empty())
                .collect(),
        );
        if !force && !conflicts.is_empty() {
            return Err(Refusal::Conflicts(conflicts));
        }
        for of in entries.0.values_mut() {
            of.set = std::mem::take(&mut of.set)
                .without(&written)
                .without(&removed);
        }
        let mut after = self.as_written(&after).into_owned();
        let mut ownership = self.owns(set.without(&reset::NEVER_TRACKED));
        if after == *live {
            // Nothing changed but perhaps who owns it: that is no event that has a time.
            ownership.time = last.and_then(|last| last.time);
            after = before.clone();
        }
        entries.0.insert(identity, ownership);
        entries.drop_empty();
        Ok((after, entries))
    }

    fn owns(&self, set: FieldSet) -> Ownership {
        Ownership {
            set,
            api_version: self.kind.api_version.to_owned(),
            time: Some(self.writer.time.to_owned()),
        }
    }
}

/// Why an apply did not happen, before it is told.
enum Refusal {
    Conflicts(Conflicts),
    /// Something about a list of the live object.
    Malformed(String),
}

impl Refusal {
    fn error(self, live: &Value) -> ApplyError {
        match self {
            Self::Conflicts(conflicts) => ApplyError::Conflicts(conflicts.in_words()),
            Self::Malformed(flaw) => malformed_text(&format!(
                "failed to create typed live object ({}): {flaw}",
                in_words(live)
            )),
        }
    }
}

/// The fields in conflict of each other manager.
struct Conflicts(Vec<(Identity, FieldSet)>);

impl Conflicts {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn without(self, allowed: &FieldSet) -> Self {
        let left = self.0.into_iter();
        let left = left.map(|(identity, set)| (identity, set.without(allowed)));
        Self(left.filter(|(_, set)| !set.is_empty()).collect())
    }

    fn in_words(&self) -> Vec<Conflict> {
        let conflicts = self.0.iter().flat_map(|(identity, set)| {
            let message = format!("conflict with {}", identity.in_words());
            set.paths().into_iter().map(move |field| Conflict {
                message: message.clone(),
                field,
            })
        });
        conflicts.collect()
    }
}

impl Entries {
    /// Each set as the schema has it today, and none of a version that nobody knows any more.
    ///
    /// Upstream: structured-merge-diff merge/update.go, reconcileManagedFieldsWithSchemaChanges.
    /// Shown by: entries_of_versions_that_nobody_knows_are_dropped.
    fn fit(&mut self, schema: &Schema, kind: Kind<'_>) {
        self.0.retain(|_, of| {
            of.api_version == kind.api_version || Schema::of(&of.api_version, kind.kind).is_some()
        });
        for of in self.0.values_mut() {
            of.set = std::mem::take(&mut of.set).fitted_to(schema);
        }
    }
}

/// An object's apiVersion and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind<'a> {
    api_version: &'a str,
    kind: &'a str,
}

impl<'a> Kind<'a> {
    fn of(object: &'a Value) -> Self {
        let text = |name: &str| object[name].as_str().unwrap_or_default();
        Self {
            api_version: text("apiVersion"),
            kind: text("kind"),
        }
    }

    /// As Go prints a GroupVersionKind.
    fn in_words(self) -> String {
        let Self { api_version, kind } = self;
        let group = if api_version.contains('/') { "" } else { "/" };
        format!("{group}{api_version}, Kind={kind}")
    }
}

/// An object as upstream names it where it is of the wrong kind.
///
/// Upstream: apimachinery pkg/util/managedfields/internal/structuredmerge.go, objectGVKNN.
/// Shown by: what_is_of_another_kind_or_has_entries_is_refused.
fn in_words(object: &Value) -> String {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    format!(
        "{}/{}; {}",
        text("namespace"),
        text("name"),
        Kind::of(object).in_words()
    )
}

fn empty() -> Value {
    Value::Object(Map::new())
}

/// The object without its `managedFields`, and these.
fn split(mut object: Value) -> (Value, Option<Value>) {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    let managed_fields = metadata.and_then(|metadata| metadata.remove("managedFields"));
    (object, managed_fields)
}

/// The object with these `managedFields`.
fn join(mut object: Value, entries: &Entries) -> Value {
    if let Some(managed_fields) = entries.encode() {
        object["metadata"]["managedFields"] = managed_fields;
    }
    object
}

fn malformed<T>(text: String) -> Result<T, ApplyError> {
    Err(ApplyError::Malformed(text))
}

fn malformed_text(text: &str) -> ApplyError {
    ApplyError::Malformed(text.to_owned())
}

#[cfg(test)]
mod tests;
