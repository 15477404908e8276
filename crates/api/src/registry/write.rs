//! One transaction, and the disk after it.

use std::sync::Arc;

use probelet_model::id::{Kind, ObjectKey};
use probelet_store::{Durability, Object, TransactError, Transaction, Version, WriteError};
use serde_json::{Map, Value, json};

use super::{Registry, event};
use crate::failure::Failure;
use crate::request::Target;
use crate::resource::Resource;

/// Why a transaction comes to nothing.
enum Refusal<T> {
    Failed(Failure),
    /// It was only to be tried.
    Rehearsed(T),
}

impl Registry {
    /// Does what `write` does in one transaction and waits for the disk; with `dry_run`, answers the same and
    /// does nothing.
    pub(super) async fn transact<T>(
        &self,
        dry_run: bool,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let done = self.store.transact(Durability::Derived, |transaction| {
            match write(transaction) {
                Ok(answer) if dry_run => Err(Refusal::Rehearsed(answer)),
                Ok(answer) => Ok(answer),
                Err(failure) => Err(Refusal::Failed(failure)),
            }
        });
        match done {
            Ok((answer, version)) => {
                let durable = self.store.durable(version).await;
                durable.map(|()| answer).map_err(Failure::internal)
            }
            Err(TransactError::Refused(Refusal::Rehearsed(answer))) => Ok(answer),
            Err(TransactError::Refused(Refusal::Failed(failure))) => Err(failure),
            Err(TransactError::ReadOnly) => {
                Err(Failure::internal("the store is open for reading only"))
            }
            Err(TransactError::NotDurable { source, .. }) => Err(Failure::internal(source)),
        }
    }
}

/// Where a target's objects are stored.
pub(super) fn kind_of(target: &Target) -> Result<Kind, Failure> {
    target
        .resource
        .stored
        .ok_or_else(Failure::method_not_allowed)
}

/// The object that a target names.
pub(super) fn key_of(target: &Target) -> Result<ObjectKey, Failure> {
    let name = target
        .name
        .as_deref()
        .ok_or_else(Failure::method_not_allowed)?;
    Ok(ObjectKey::new(kind_of(target)?, &target.namespace, name))
}

/// What the store says no to, as a status.
pub(super) fn refused(resource: &Resource, name: &str, error: &WriteError) -> Failure {
    match error {
        WriteError::AlreadyExists(_) => Failure::already_exists(resource, name),
        WriteError::NotFound(_) => Failure::not_found(resource, name),
        WriteError::Conflict { .. } => Failure::conflict(resource, name, MODIFIED),
        WriteError::Malformed(_) => Failure::internal(error),
    }
}

/// What is said of a write that was made from an older version.
///
/// Upstream: apiserver pkg/registry/generic/registry/store.go, OptimisticLockErrorMsg.
/// Shown by: a_stale_version_conflicts.
pub(super) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// An object of the store in the shape of the group that it is asked for in. `before` is the version it keeps
/// in the answer to a dry run, in which it does not get another: `Some(None)` is none at all.
pub(super) fn answer(
    target: &Target,
    object: &Object,
    before: Option<Option<Version>>,
) -> Arc<Value> {
    let shown = event::as_asked_for(target.resource, &object.value);
    let Some(version) = before else {
        return shown;
    };
    let mut value = Value::clone(&shown);
    if let Some(version) = version {
        value = stamped(value, version);
    } else {
        metadata(&mut value).remove("resourceVersion");
    }
    Arc::new(value)
}

/// A value with its version in it.
pub(super) fn stamped(mut value: Value, version: Version) -> Value {
    metadata(&mut value).insert("resourceVersion".to_owned(), version.to_string().into());
    value
}

/// `metadata` of an object, made if it has none.
pub(super) fn metadata(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    if !value["metadata"].is_object() {
        value["metadata"] = json!({});
    }
    value["metadata"]
        .as_object_mut()
        .expect("it has just been made an object")
}

/// A text in the metadata of an object; empty if it is not there.
pub(super) fn meta<'v>(value: &'v Value, name: &str) -> &'v str {
    value["metadata"][name].as_str().unwrap_or_default()
}

/// The finalizers of an object.
pub(super) fn finalizers(value: &Value) -> Vec<&str> {
    let all = value["metadata"]["finalizers"].as_array();
    all.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Random bytes.
///
/// # Panics
/// If the kernel has none to give, which it has from early boot on.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .expect("the kernel gives random bytes from early boot on");
    bytes
}

/// A random UUID (RFC 9562, version 4).
pub(super) fn uuid() -> String {
    let mut number = u128::from_be_bytes(random());
    number = number & !(0xf << 76) | 4 << 76;
    number = number & !(0b11 << 62) | 0b10 << 62;
    let hex = format!("{number:032x}");
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}
