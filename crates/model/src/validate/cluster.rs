//! Kinds that say something of the cluster: Namespaces, Nodes, Leases, RuntimeClasses, ServiceAccounts.

use std::collections::BTreeSet;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::api::node::v1::RuntimeClass;

use super::{Errors, NEGATIVE, filled, meta, names};
use crate::field::{FieldError, FieldPath};
use crate::id::Kind;
use crate::pod::Meta;

/// A Namespace, and the finalizers in its spec.
///
/// Upstream: ValidateNamespace.
/// Shown by: namespaces_are_validated.
pub(crate) fn namespace(wire: &api::Namespace, errors: &mut Errors) -> Meta {
    let meta = meta::meta(&wire.metadata, Kind::Namespace, errors);
    let path = FieldPath::root().field("spec").field("finalizers");
    let finalizers = wire.spec.iter().flat_map(|spec| &spec.finalizers).flatten();
    for name in finalizers {
        meta::finalizer(name, &path, errors);
    }
    meta
}

/// A ServiceAccount: only what every object has.
///
/// Upstream: ValidateServiceAccount.
/// Shown by: every_kind_is_created.
pub(crate) fn service_account(wire: &api::ServiceAccount, errors: &mut Errors) -> Meta {
    meta::meta(&wire.metadata, Kind::ServiceAccount, errors)
}

/// A Node, and its taints.
///
/// Upstream: ValidateNode, validateNodeTaints.
/// Shown by: nodes_are_validated.
pub(crate) fn node(wire: &api::Node, errors: &mut Errors) -> Meta {
    const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let meta = meta::meta(&wire.metadata, Kind::Node, errors);
    let path = FieldPath::root().field("spec").field("taints");
    let taints = wire.spec.iter().flat_map(|spec| &spec.taints).flatten();
    let mut seen = BTreeSet::new();
    for (index, taint) in taints.enumerate() {
        let path = path.index(index);
        let key = taint.key.as_str();
        errors.invalid_each(&path.field("key"), key, names::label_key(key));
        let value = taint.value.as_deref().unwrap_or_default();
        errors.invalid_each(&path.field("value"), value, names::label_value(value));
        let effect = taint.effect.as_str();
        if effect.is_empty() {
            errors.required(path.field("effect"), "");
        } else if !EFFECTS.contains(&effect) {
            errors.unsupported(path.field("effect"), effect, EFFECTS);
        }
        if !seen.insert((effect, key)) {
            let pair = serde_json::json!({"key": key, "effect": effect});
            let mut error = FieldError::duplicate(path, pair);
            error
                .message
                .push_str(": taints must be unique by key and effect pair");
            errors.add(error);
        }
    }
    meta
}

/// A Lease: its numbers.
///
/// Upstream: pkg/apis/coordination/validation/validation.go, ValidateLeaseSpec.
/// Shown by: leases_are_validated.
pub(crate) fn lease(wire: &Lease, errors: &mut Errors) -> Meta {
    let meta = meta::meta(&wire.metadata, Kind::Lease, errors);
    let path = FieldPath::root().field("spec");
    if let Some(spec) = &wire.spec {
        if let Some(seconds @ ..=0) = spec.lease_duration_seconds {
            let path = path.field("leaseDurationSeconds");
            errors.invalid(path, seconds, "must be greater than 0");
        }
        if let Some(count @ ..0) = spec.lease_transitions {
            errors.invalid(path.field("leaseTransitions"), count, NEGATIVE);
        }
        if spec.holder_identity.is_some() && filled(spec.holder_identity.as_ref()).is_none() {
            let path = path.field("holderIdentity");
            errors.invalid(path, "", "must not be empty");
        }
    }
    meta
}

/// A RuntimeClass: its handler.
///
/// Upstream: pkg/apis/node/validation/validation.go, ValidateRuntimeClass.
/// Shown by: runtime_classes_are_validated.
pub(crate) fn runtime_class(wire: &RuntimeClass, errors: &mut Errors) -> Meta {
    let meta = meta::meta(&wire.metadata, Kind::RuntimeClass, errors);
    let handler = wire.handler.as_str();
    let path = FieldPath::root().field("handler");
    errors.invalid_each(&path, handler, names::dns_label(handler));
    meta
}
