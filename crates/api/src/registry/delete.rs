//! Delete: at once, or after a grace, or when the last finalizer is done.

use std::sync::Arc;
use std::time::Duration;

use probelet_model::id::{Kind, ObjectKey};
use probelet_model::time::Wall;
use probelet_store::{Object, Transaction};
use serde_json::{Value, json};

use super::write::{answer, finalizers, key_of, kind_of, meta, metadata, refused, stamped};
use super::{Listed, Registry, Written, admit, event};
use crate::failure::Failure;
use crate::request::{DeleteOptions, ListOptions, Propagation, Target};
use crate::selector::Selector;

pub(super) async fn delete(
    registry: &Registry,
    target: &Target,
    options: &DeleteOptions,
) -> Result<Written, Failure> {
    let key = key_of(target)?;
    if target.subresource.is_some() {
        return Err(Failure::method_not_allowed());
    }
    let now = registry.now();
    registry
        .transact(options.dry_run, |transaction| {
            remove(transaction, target, &key, options, now)
        })
        .await
}

/// Deletes what is selected of a collection, in one transaction.
///
/// Upstream: apiserver pkg/registry/generic/registry/store.go, Store.DeleteCollection.
/// Shown by: a_collection_is_deleted_by_selector.
pub(super) async fn delete_collection(
    registry: &Registry,
    target: &Target,
    options: &DeleteOptions,
    of: &ListOptions,
) -> Result<Listed, Failure> {
    let kind = kind_of(target)?;
    if kind == Kind::Namespace || target.name.is_some() {
        return Err(Failure::method_not_allowed());
    }
    let selector = Selector::parse(target.resource, &of.label_selector, &of.field_selector)?;
    let now = registry.now();
    let objects = registry
        .transact(options.dry_run, |transaction| {
            let asked = |object: &Object| {
                (target.namespace.is_empty() || object.key.namespace == target.namespace)
                    && selector.matches(&object.value)
            };
            let all = transaction.list(kind).into_iter();
            let objects: Vec<Object> = all.filter(|object| asked(object)).cloned().collect();
            for object in &objects {
                remove(transaction, target, &object.key, options, now)?;
            }
            Ok(objects)
        })
        .await?;
    Ok(Listed {
        objects: objects
            .into_iter()
            .map(|object| Object {
                value: event::as_asked_for(target.resource, &object.value),
                ..object
            })
            .collect(),
        version: registry.store.version(),
        continue_token: String::new(),
        remaining: None,
    })
}

/// Deletes one object, as far as that can be done at once.
///
/// Upstream: apiserver pkg/registry/generic/registry/store.go, Store.Delete.
/// Shown by: a_pod_is_deleted_with_grace, a_finalizer_holds_an_object,
/// propagation_is_written_down_as_finalizers, preconditions_of_a_deletion_hold.
pub(super) fn remove(
    transaction: &mut Transaction<'_>,
    target: &Target,
    key: &ObjectKey,
    options: &DeleteOptions,
    now: Wall,
) -> Result<Written, Failure> {
    if key.kind == Kind::Namespace && admit::IMMORTAL.contains(&key.name.as_str()) {
        let why = "this namespace may not be deleted";
        return Err(Failure::forbidden(target.resource, &key.name, why));
    }
    let live = transaction
        .get(key)
        .cloned()
        .ok_or_else(|| Failure::not_found(target.resource, &key.name))?;
    check_preconditions(target, &live, options)?;
    let (object, is_gone) = match plan(&live, options, now) {
        Plan::Wait => (live.clone(), false),
        Plan::Mark(value) => {
            let marked = transaction
                .update(key.clone(), None, value)
                .map_err(|error| refused(target.resource, &key.name, &error))?;
            (marked, false)
        }
        Plan::Remove(last) => {
            let gone = transaction
                .delete(key, None)
                .map_err(|error| refused(target.resource, &key.name, &error))?;
            let last = Object {
                value: Arc::new(stamped(last, gone.version)),
                ..gone
            };
            (last, true)
        }
    };
    let kept = options.dry_run.then_some(Some(live.version));
    Ok(Written {
        value: answer(target, &object, kept),
        created: false,
        deleted: is_gone && !returns_the_object(key.kind),
        warnings: Vec::new(),
    })
}

/// Kinds whose deletion is answered by the object; of the others a `Status` tells.
///
/// Upstream: ReturnDeletedObject of each kind's storage; pkg/registry/generic/registry/store.go, finalizeDelete.
/// Shown by: a_deletion_is_answered_as_upstream_does_for_each_kind.
const fn returns_the_object(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Namespace | Kind::Pod | Kind::Service | Kind::ServiceAccount
    )
}

/// 409 if the object is not the one, or not at the version, that is to be deleted.
///
/// Upstream: apiserver pkg/registry/rest/delete.go, BeforeDelete.
/// Shown by: preconditions_of_a_deletion_hold.
fn check_preconditions(
    target: &Target,
    live: &Object,
    options: &DeleteOptions,
) -> Result<(), Failure> {
    let uid = meta(&live.value, "uid");
    let why = match (&options.uid, options.version) {
        (Some(asked), _) if asked != uid => format!(
            "the UID in the precondition ({asked}) does not match the UID in record ({uid}). The object might \
             have been deleted and then recreated"
        ),
        (_, Some(asked)) if asked != live.version => format!(
            "the ResourceVersion in the precondition ({asked}) does not match the ResourceVersion in record \
             ({}). The object might have been modified",
            live.version
        ),
        _ => return Ok(()),
    };
    // The resource is the kind's name, as upstream has it.
    let resource = target.resource;
    let kind = if resource.group.is_empty() {
        resource.kind.to_owned()
    } else {
        format!("{}.{}", resource.kind, resource.group)
    };
    let name = &live.key.name;
    let mut failure = Failure::conflict(resource, name, &why);
    failure.message = format!("Operation cannot be fulfilled on {kind} {name:?}: {why}");
    failure.details["kind"] = resource.kind.into();
    Err(failure)
}

/// What a deletion comes to.
#[derive(Debug, PartialEq)]
enum Plan {
    /// It goes on already, and nothing about it changes.
    Wait,
    /// The object stays for now, and says that it goes.
    Mark(Value),
    /// It goes; this is its last state.
    Remove(Value),
}

fn plan(live: &Object, options: &DeleteOptions, now: Wall) -> Plan {
    let mut value = Value::clone(&live.value);
    if live.key.kind == Kind::Namespace
        && let Some(plan) = terminate(&value, now)
    {
        return plan;
    }
    let grace = if live.key.kind == Kind::Pod {
        match begin_grace(&mut value, options, now) {
            Grace::Unchanged => return Plan::Wait,
            Grace::None => 0,
            Grace::Seconds(seconds) => seconds,
        }
    } else {
        0
    };
    set_finalizers(&mut value, live.key.kind, options);
    let held = !finalizers(&value).is_empty();
    if held && grace == 0 {
        mark(&mut value, now);
    }
    if held || grace > 0 {
        Plan::Mark(value)
    } else {
        Plan::Remove(value)
    }
}

/// A namespace terminates until the finalizers of its spec are done.
///
/// Upstream: pkg/registry/core/namespace/storage/storage.go, REST.Delete.
/// Shown by: a_namespace_goes_when_it_is_finalized.
fn terminate(namespace: &Value, now: Wall) -> Option<Plan> {
    if namespace["metadata"].get("deletionTimestamp").is_none() {
        let mut value = namespace.clone();
        metadata(&mut value).insert("deletionTimestamp".to_owned(), now.to_string().into());
        value["status"]["phase"] = "Terminating".into();
        return Some(Plan::Mark(value));
    }
    let in_spec = namespace["spec"]["finalizers"].as_array();
    in_spec
        .is_some_and(|finalizers| !finalizers.is_empty())
        .then_some(Plan::Wait)
}

/// How long a pod still has.
enum Grace {
    /// The deletion under way goes on as it is.
    Unchanged,
    /// It has none: it has been asked for none, or its time was up.
    None,
    /// So long; the pod says so.
    Seconds(i64),
}

/// Gives a pod its grace, or shortens the one it has.
///
/// Upstream: apiserver pkg/registry/rest/delete.go, BeforeDelete; pkg/registry/core/pod/strategy.go,
/// CheckGracefulDelete.
/// Differs: a pod without a node is not deleted at once; every pod is this node's.
/// Shown by: a_pod_is_deleted_with_grace.
fn begin_grace(pod: &mut Value, options: &DeleteOptions, now: Wall) -> Grace {
    let asked = options
        .grace
        .map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
    let own = pod["spec"]["terminationGracePeriodSeconds"].as_i64();
    let is_terminal = matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    let metadata = metadata(pod);
    let until: Option<Wall> = metadata
        .get("deletionTimestamp")
        .and_then(|stamp| serde_json::from_value(stamp.clone()).ok());
    if let Some(until) = until {
        let had = metadata
            .get("deletionGracePeriodSeconds")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        return match asked {
            _ if had == 0 => Grace::None,
            Some(asked) if asked < had => {
                let until = until - seconds(had) + seconds(asked);
                say(metadata, until, asked);
                Grace::Seconds(asked)
            }
            _ => Grace::Unchanged,
        };
    }
    let grace = match asked.or(own).unwrap_or(0) {
        _ if is_terminal => 0,
        negative if negative < 0 => 1,
        grace => grace,
    };
    say(metadata, now + seconds(grace), grace);
    count_generation(metadata);
    Grace::Seconds(grace)
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

fn say(metadata: &mut serde_json::Map<String, Value>, until: Wall, grace: i64) {
    metadata.insert("deletionTimestamp".to_owned(), until.to_string().into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
}

fn count_generation(metadata: &mut serde_json::Map<String, Value>) {
    let generation = metadata.get("generation").and_then(Value::as_i64);
    if let Some(generation) = generation.filter(|generation| *generation > 0) {
        metadata.insert("generation".to_owned(), (generation + 1).into());
    }
}

/// Says of an object without grace that it is being deleted.
///
/// Upstream: apiserver pkg/registry/generic/registry/store.go, markAsDeleting.
/// Shown by: a_finalizer_holds_an_object.
fn mark(value: &mut Value, now: Wall) {
    let metadata = metadata(value);
    let until: Option<Wall> = metadata
        .get("deletionTimestamp")
        .and_then(|stamp| serde_json::from_value(stamp.clone()).ok());
    if until.is_none() {
        count_generation(metadata);
    }
    let until = until.filter(|until| *until <= now).unwrap_or(now);
    say(metadata, until, 0);
}

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Writes down what is to become of what the object owns; others carry it out.
///
/// Upstream: apiserver pkg/registry/generic/registry/store.go, deletionFinalizersForGarbageCollection.
/// Shown by: propagation_is_written_down_as_finalizers.
fn set_finalizers(value: &mut Value, kind: Kind, options: &DeleteOptions) {
    let there: Vec<String> = finalizers(value).into_iter().map(str::to_owned).collect();
    let wanted = match options.propagation {
        // Events own nothing.
        _ if kind == Kind::Event => None,
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) => None,
        None => [ORPHAN, FOREGROUND]
            .into_iter()
            .find(|known| there.iter().any(|there| there == known)),
    };
    let mut finalizers: Vec<String> = there
        .iter()
        .filter(|name| ![ORPHAN, FOREGROUND].contains(&name.as_str()))
        .cloned()
        .collect();
    finalizers.extend(wanted.map(str::to_owned));
    let same =
        there.len() == finalizers.len() && there.iter().all(|name| finalizers.contains(name));
    if same {
        return;
    }
    let metadata = metadata(value);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), json!(finalizers));
    }
}
