//! What is wrong with an object on any cluster, apart from what only Probelet cannot do.

use k8s_openapi::api::core::v1 as api;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Object, Options, drop_server_fields, judge, merge, shape};
use crate::field::{FieldError, FieldPath};
use crate::id::Kind;
use crate::validate::{self, Errors};
use crate::{defaults, fields};

/// An object as an API server would take it, and as Probelet would.
#[derive(Clone, Debug)]
pub(crate) struct Examined {
    /// The object, if an API server would take it. What Probelet does not carry out is missing in it.
    pub(crate) object: Option<Object>,
    /// What an API server refuses.
    pub(crate) invalid: Vec<FieldError>,
    /// What Probelet alone refuses.
    pub(crate) not_carried_out: Vec<FieldError>,
}

/// Reads a Pod or a Service that may be meant for a cluster.
pub(crate) fn pod(mut value: Value) -> Examined {
    drop_server_fields(&mut value);
    defaults::apply(Kind::Pod, &mut value);
    examine(Kind::Pod, value, |wire: &api::Pod, errors| {
        Object::Pod(Box::new(validate::pod::pod(wire, errors)))
    })
}

/// The same for a Service.
pub(crate) fn service(mut value: Value) -> Examined {
    drop_server_fields(&mut value);
    defaults::apply(Kind::Service, &mut value);
    examine(Kind::Service, value, |wire: &api::Service, errors| {
        Object::Service(validate::service::service(wire, errors))
    })
}

/// What an API server refuses of an object in which there is no Pod.
pub(crate) fn other(kind: Kind, mut value: Value) -> Vec<FieldError> {
    drop_server_fields(&mut value);
    defaults::apply(kind, &mut value);
    let judged = judge(kind, &value, &Options::default());
    judged.err().unwrap_or_default()
}

/// What an API server refuses of a ReplicaSet or Deployment, but for what is in its template.
pub(crate) fn workload(kind: Kind, value: &Value) -> Vec<FieldError> {
    let mut value = value.clone();
    drop_server_fields(&mut value);
    defaults::apply(kind, &mut value);
    let is_generated = value["metadata"]["generateName"]
        .as_str()
        .is_some_and(|prefix| !prefix.is_empty());
    let name = FieldPath::root().field("metadata").field("name");
    let mut errors = super::workload::own_errors(kind, &value);
    errors.retain(|error| !(is_generated && error.path == name && error.is_required()));
    errors
}

/// What is wrong with the shape of an object that Probelet has no type for.
pub(crate) fn shape_of<W: DeserializeOwned>(value: &Value) -> (Option<W>, Vec<FieldError>) {
    // The table that hints at misspelt fields is a Pod's; it has none of the fields of a controller.
    let shape = shape::read::<W>(Kind::Pod, value);
    (shape.object, shape.errors)
}

fn examine<W: DeserializeOwned>(
    kind: Kind,
    value: Value,
    validate: impl Fn(&W, &mut Errors) -> Object,
) -> Examined {
    let shape = shape::read::<W>(kind, &value);
    let findings = fields::check(kind, &value);
    let mut errors = Errors::default();
    let object = shape.object.map(|wire| validate(&wire, &mut errors));
    // Which class runs the pod is between Probelet and whoever starts it, not a matter of the manifest.
    let class = FieldPath::root().field("spec").field("runtimeClassName");
    let (not_carried_out, invalid): (Vec<_>, Vec<_>) =
        merge(shape.errors, findings.errors, errors.into_vec())
            .into_iter()
            .filter(|error| error.path != class)
            .partition(FieldError::is_not_carried_out);
    Examined {
        object: object.filter(|_| invalid.is_empty()),
        invalid,
        not_carried_out,
    }
}
