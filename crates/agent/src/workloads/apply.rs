//! From a plan to the store, in one transaction.

use std::sync::Arc;

use probelet_api::registry::placing;
use probelet_model::id::{Kind, ObjectKey};
use probelet_model::time::Wall;
use probelet_store::{Durability, Store, TransactError, Transaction, Version, WriteError};
use probelet_workloads::deletion::{self, Deleted};
use probelet_workloads::{Action, Plan, Propagation};
use serde_json::Value;

use super::events::{Events, Told};
use crate::identity;
use crate::objects::metadata_of;

/// What became of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// It is carried out.
    Yes,
    /// Nothing is done: what it was made from is not so any more.
    Outdated,
}

/// A plan could not be carried out, now or later.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct ApplyError(TransactError<WriteError>);

/// Carries out a plan, all of it or nothing, and tells of it.
pub(super) fn apply(
    store: &Store,
    plan: &Plan,
    told: &Told,
    node_name: &str,
    now: Wall,
) -> Result<Applied, ApplyError> {
    if plan.is_empty() {
        return Ok(Applied::Yes);
    }
    let applied = store.transact(Durability::Derived, |transaction| {
        for action in &plan.actions {
            act(transaction, action, node_name, now)?;
        }
        let mut events = Events::new(transaction, told, now);
        for event in &plan.events {
            events.record(event)?;
        }
        Ok::<_, WriteError>(())
    });
    match applied {
        Ok(_) => Ok(Applied::Yes),
        Err(TransactError::Refused(
            WriteError::AlreadyExists(_) | WriteError::NotFound(_) | WriteError::Conflict { .. },
        )) => Ok(Applied::Outdated),
        Err(error) => Err(ApplyError(error)),
    }
}

fn act(
    transaction: &mut Transaction<'_>,
    action: &Action,
    node_name: &str,
    now: Wall,
) -> Result<(), WriteError> {
    match action {
        Action::Create { key, value } => {
            let mut value = server_fields(value.clone(), now);
            if key.kind == Kind::Pod {
                let node = transaction.get(&ObjectKey::new(Kind::Node, "", node_name));
                placing::place(&mut value, node_name, node.map(|node| &*node.value));
            }
            transaction.create(key.clone(), value)?;
        }
        Action::Update { key, value } => {
            let version: Option<Version> = value["metadata"]["resourceVersion"]
                .as_str()
                .and_then(|version| version.parse().ok());
            transaction.update(key.clone(), version, value.clone())?;
        }
        Action::Delete {
            key,
            uid,
            propagation,
        } => {
            if let Some(there) = with_uid(transaction, key, uid) {
                delete(transaction, key, &there, *propagation, now)?;
            }
        }
        Action::Remove { key, uid } => {
            if with_uid(transaction, key, uid).is_some() {
                transaction.delete(key, None)?;
            }
        }
    }
    Ok(())
}

fn delete(
    transaction: &mut Transaction<'_>,
    key: &ObjectKey,
    there: &Value,
    propagation: Propagation,
    now: Wall,
) -> Result<(), WriteError> {
    match deletion::requested(key.kind, there, propagation, now) {
        Deleted::Gone => transaction.delete(key, None)?,
        Deleted::Later(value) => transaction.update(key.clone(), None, value)?,
    };
    Ok(())
}

/// The object at a key, if it is the one that is meant.
fn with_uid(transaction: &Transaction<'_>, key: &ObjectKey, uid: &str) -> Option<Arc<Value>> {
    let there = transaction.get(key)?;
    (there.value["metadata"]["uid"] == uid).then(|| Arc::clone(&there.value))
}

/// A new object with what only a server sets.
pub(super) fn server_fields(mut value: Value, now: Wall) -> Value {
    let metadata = metadata_of(&mut value);
    metadata.insert("uid".to_owned(), identity::uuid().into());
    metadata.insert("creationTimestamp".to_owned(), now.to_string().into());
    value
}
