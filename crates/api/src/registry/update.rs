//! Update: an object in the place of another.

use std::sync::Arc;

use probelet_model::admission::{self, Part};
use probelet_model::decode::Options;
use probelet_model::field::{FieldError, FieldPath};
use probelet_model::id::Kind;
use probelet_schema::Schema;
use probelet_schema::managed::{self, Writer};
use probelet_store::{Object, Transaction, Version};
use serde_json::{Map, Value};

use super::incoming::{self, Incoming};
use super::write::{
    MODIFIED, answer, finalizers, key_of, kind_of, meta, metadata, refused, stamped,
};
use super::{Registry, Written, admit, create};
use crate::failure::Failure;
use crate::request::{Target, WriteOptions};
use crate::resource::Resource;

pub(super) async fn update(
    registry: &Registry,
    target: &Target,
    body: Value,
    options: &WriteOptions,
) -> Result<Written, Failure> {
    refuse_ephemeral_containers(target)?;
    let key = key_of(target)?;
    let incoming = incoming::read(target, body, options)?;
    admit::check_name(target, &incoming.value)?;
    registry
        .transact(options.dry_run, |transaction| {
            let live = transaction.get(&key).cloned();
            let wanted = meta(&incoming.value, "uid");
            let uid = live.as_ref().map_or("", |live| meta(&live.value, "uid"));
            let creates = target.subresource.is_none() && creates_on_update(key.kind);
            if live.is_none() && !creates {
                return Err(Failure::not_found(target.resource, &key.name));
            }
            if !wanted.is_empty() && wanted != uid {
                return Err(other_uid(target, wanted, uid));
            }
            match live {
                None => create::insert(registry, transaction, target, incoming, options),
                Some(live) => {
                    let writing = Writing {
                        registry,
                        target,
                        options,
                        owners: Owners::Writer,
                    };
                    writing.replace(transaction, &live, incoming)
                }
            }
        })
        .await
}

/// Ephemeral containers are not carried out, and this is how one is told so.
///
/// Upstream: pkg/registry/core/pod/strategy.go, podEphemeralContainersStrategy.
/// Differs: they are refused with 403.
/// Shown by: ephemeral_containers_are_refused.
pub(super) fn refuse_ephemeral_containers(target: &Target) -> Result<(), Failure> {
    if target
        .subresource
        .is_some_and(|below| below.name == "ephemeralcontainers")
    {
        let name = target.name.as_deref().unwrap_or_default();
        let why = "ephemeral containers are not carried out yet";
        return Err(Failure::forbidden(target.resource, name, why));
    }
    Ok(())
}

/// 409: the object is another one of the same name.
///
/// Upstream: apiserver pkg/storage/errors.go, Preconditions.Check.
/// Shown by: another_uid_conflicts.
pub(super) fn other_uid(target: &Target, wanted: &str, uid: &str) -> Failure {
    let name = target.name.as_deref().unwrap_or_default();
    let prefix = match (target.resource.group, target.resource.plural) {
        ("", "services") => "services/specs",
        ("", "endpoints") => "services/endpoints",
        ("", "nodes") => "minions",
        (_, plural) => plural,
    };
    let place = if target.namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{}/{name}", target.namespace)
    };
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{prefix}/{place}, ResourceVersion: 0, \
         AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
    );
    Failure::conflict(target.resource, name, why)
}

/// Kinds of which an update makes an object that is not there.
///
/// Upstream: AllowCreateOnUpdate of each kind's strategy.
/// Shown by: an_update_creates_only_what_it_may.
const fn creates_on_update(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Endpoints | Kind::Event | Kind::Lease | Kind::RuntimeClass
    )
}

/// Kinds of which an update has to say what version it was made from.
///
/// Upstream: AllowUnconditionalUpdate of each kind's strategy.
/// Shown by: some_updates_need_a_version.
const fn needs_a_version(kind: Kind) -> bool {
    matches!(kind, Kind::Lease | Kind::RuntimeClass)
}

/// Whose the changed fields are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owners {
    /// The writer's.
    Writer,
    /// As the new object says: an apply has settled it.
    Settled,
}

/// One write to an object that is there.
pub(super) struct Writing<'a> {
    pub(super) registry: &'a Registry,
    pub(super) target: &'a Target,
    pub(super) options: &'a WriteOptions,
    pub(super) owners: Owners,
}

impl Writing<'_> {
    /// Puts `after` in the place of `live`.
    ///
    /// Upstream: apiserver pkg/registry/generic/registry/store.go, Store.Update.
    /// Shown by: a_stale_version_conflicts, an_update_that_changes_nothing_is_no_change,
    /// the_last_finalizer_takes_the_object_with_it.
    pub(super) fn replace(
        &self,
        transaction: &mut Transaction<'_>,
        live: &Object,
        after: Incoming,
    ) -> Result<Written, Failure> {
        let Incoming {
            value: mut after,
            mut warnings,
        } = after;
        self.check_version(live, &after)?;
        admit::settle_namespace(self.target, &mut after)?;
        let mut value = if self.subresource() == "finalize" {
            finalized(&live.value, &after)
        } else {
            self.admitted(live, after, &mut warnings)?
        };
        self.keep_times(&live.value, &mut value);
        let written = if is_over(live, &value) {
            // As upstream, whose watchers see the state before this last change go.
            let gone = transaction.delete(&live.key, None);
            gone.map(|gone| Object {
                value: Arc::new(stamped(value, gone.version)),
                ..gone
            })
        } else {
            transaction.update(live.key.clone(), None, value)
        };
        let object =
            written.map_err(|error| refused(self.target.resource, &live.key.name, &error))?;
        let kept = self.options.dry_run.then_some(Some(live.version));
        Ok(Written {
            value: answer(self.target, &object, kept),
            created: false,
            deleted: false,
            warnings,
        })
    }

    fn subresource(&self) -> &'static str {
        self.target.subresource.map_or("", |below| below.name)
    }

    fn check_version(&self, live: &Object, after: &Value) -> Result<(), Failure> {
        let (resource, name) = (self.target.resource, live.key.name.as_str());
        let said = meta(after, "resourceVersion");
        let version = match said {
            "" => Version(0),
            said => said.parse().map_err(|_| {
                Failure::unclassified(format!(
                    "strconv.ParseUint: parsing {said:?}: invalid syntax"
                ))
            })?,
        };
        if version == Version(0) {
            if !needs_a_version(live.key.kind) {
                return Ok(());
            }
            let error = FieldError {
                path: FieldPath::root().field("metadata").field("resourceVersion"),
                message: "Invalid value: 0x0: must be specified for an update".to_owned(),
            };
            // The kind is the resource's name, as upstream has it.
            return Err(Failure::invalid_kind(
                resource.group,
                resource.plural,
                name,
                &[error],
            ));
        }
        if version == live.version {
            Ok(())
        } else {
            Err(Failure::conflict(resource, name, MODIFIED))
        }
    }

    /// What the model makes of the change, with its owners.
    fn admitted(
        &self,
        live: &Object,
        mut after: Value,
        warnings: &mut Vec<String>,
    ) -> Result<Value, Failure> {
        let kind = kind_of(self.target)?;
        let part = if self.subresource() == "status" {
            Part::Status
        } else {
            Part::Object
        };
        if part == Part::Object && kind == Kind::Pod {
            keep_account(&live.value, &mut after);
        }
        if part == Part::Object && kind == Kind::Namespace {
            admit::label_namespace(&mut after);
        }
        let model = Options {
            default_runtime_class: self.registry.settings.default_runtime_class.clone(),
        };
        let admitted = admission::update(kind, &live.value, after, part, &model)
            .map_err(|errors| incoming::unfit(self.target, &live.key.name, &errors))?;
        warnings.extend(admitted.warnings.iter().map(ToString::to_string));
        let resource = Resource::of(kind);
        let schema = Schema::of(&resource.api_version(), resource.kind);
        Ok(match (self.owners, schema) {
            (Owners::Settled, _) | (_, None) => admitted.value,
            (Owners::Writer, Some(schema)) => {
                let writer = Writer {
                    manager: &self.options.field_manager,
                    subresource: self.subresource(),
                    time: &self.registry.now().to_string(),
                };
                managed::update(schema, Some(&live.value), admitted.value, &writer)
            }
        })
    }

    /// A write that changes nothing but the times in `managedFields` changes nothing.
    ///
    /// Upstream: apiserver pkg/endpoints/handlers/fieldmanager/equality.go,
    /// IgnoreManagedFieldsTimestampsTransformer.
    /// Shown by: an_update_that_changes_nothing_is_no_change.
    fn keep_times(&self, live: &Value, value: &mut Value) {
        let timeless = |value: &Value| {
            let mut value = value.clone();
            let metadata = metadata(&mut value);
            metadata.remove("resourceVersion");
            let entries = metadata.get_mut("managedFields");
            for entry in entries.and_then(Value::as_array_mut).into_iter().flatten() {
                entry.as_object_mut().map(|entry| entry.remove("time"));
            }
            value
        };
        if timeless(live) == timeless(value) {
            value.clone_from(live);
        }
    }
}

/// A pod stays with its service account if an update does not speak of it, as it stays on its node.
///
/// Differs: upstream lets the admission of an update fill in the account alone, and wants the node again.
/// Shown by: what_the_node_has_given_stays.
fn keep_account(live: &Value, pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    for field in ["serviceAccountName", "serviceAccount"] {
        let said = spec.get(field).and_then(Value::as_str);
        if let Some(had) = live["spec"].get(field)
            && said.is_none_or(str::is_empty)
        {
            spec.insert(field.to_owned(), had.clone());
        }
    }
}

/// `namespaces/finalize`: the finalizers of the spec, and nothing else.
///
/// Upstream: pkg/registry/core/namespace/strategy.go, namespaceFinalizeStrategy.
/// Shown by: a_namespace_goes_when_it_is_finalized.
fn finalized(live: &Value, after: &Value) -> Value {
    let mut value = live.clone();
    let wanted = after["spec"]["finalizers"].as_array();
    let wanted = wanted.filter(|finalizers| !finalizers.is_empty());
    if !value["spec"].is_object() {
        value["spec"] = Value::Object(Map::new());
    }
    if let Some(spec) = value["spec"].as_object_mut() {
        match wanted {
            Some(finalizers) => {
                spec.insert("finalizers".to_owned(), Value::Array(finalizers.clone()));
            }
            None => {
                spec.remove("finalizers");
            }
        }
    }
    value
}

/// Whether an object was only waiting for the last of its finalizers.
///
/// Upstream: apiserver pkg/registry/generic/registry/store.go, ShouldDeleteDuringUpdate;
/// pkg/registry/core/namespace/storage/storage.go, ShouldDeleteNamespaceDuringUpdate.
/// Shown by: the_last_finalizer_takes_the_object_with_it, a_namespace_goes_when_it_is_finalized.
fn is_over(live: &Object, after: &Value) -> bool {
    let metadata = &live.value["metadata"];
    let grace = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    let in_spec = after["spec"]["finalizers"].as_array();
    metadata.get("deletionTimestamp").is_some()
        && grace == 0
        && finalizers(after).is_empty()
        && (live.key.kind != Kind::Namespace || in_spec.is_none_or(Vec::is_empty))
}
