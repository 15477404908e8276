//! Events.

use k8s_openapi::api::core::v1 as api;

use super::{Errors, meta, names};
use crate::field::FieldPath;
use crate::id::Kind;
use crate::pod::Meta;

/// An Event: it is in the namespace of what it is about; a new one, which has an `eventTime`, says who tells it
/// and what was done.
///
/// Upstream: pkg/apis/core/validation/events.go, legacyValidateEvent.
/// Differs: its metadata is validated as that of any other object, which upstream does for
/// `events.k8s.io/v1` alone.
/// Shown by: events_are_validated.
pub(crate) fn event(wire: &api::Event, errors: &mut Errors) -> Meta {
    let meta = meta::meta(&wire.metadata, Kind::Event, errors);
    let about = wire
        .involved_object
        .namespace
        .as_deref()
        .unwrap_or_default();
    let is_new = wire.event_time.is_some();
    let agrees = match (about.is_empty(), is_new) {
        (true, false) => meta.namespace == "default",
        (true, true) => matches!(&*meta.namespace, "default" | "kube-system"),
        // Upstream lets a new one be about another namespace.
        (false, true) => true,
        (false, false) => meta.namespace == about,
    };
    if !agrees {
        let path = FieldPath::root().field("involvedObject").field("namespace");
        errors.invalid(path, about, "does not match event.namespace");
    }
    if is_new {
        told(wire, errors);
    }
    meta
}

fn told(wire: &api::Event, errors: &mut Errors) {
    let root = FieldPath::root();
    let reporter = wire.reporting_component.as_deref().unwrap_or_default();
    let path = root.field("reportingController");
    if reporter.is_empty() {
        errors.required(path.clone(), "");
    }
    errors.invalid_each(&path, reporter, names::label_key(reporter));
    let texts = [
        ("reportingInstance", wire.reporting_instance.as_deref(), 128),
        ("action", wire.action.as_deref(), 128),
        ("reason", wire.reason.as_deref(), 128),
        ("message", wire.message.as_deref(), 1024),
    ];
    for (field, text, limit) in texts {
        let text = text.unwrap_or_default();
        if text.is_empty() && field != "message" {
            errors.required(root.field(field), "");
        }
        if text.len() > limit {
            let detail = format!("can have at most {limit} characters");
            errors.invalid(root.field(field), "", &detail);
        }
    }
}
