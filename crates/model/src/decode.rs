//! Wire objects into domain types: the one way, for manifests and for what the store holds.
//!
//! [`crate::admission`] stands before it where a server takes objects in. An object is defaulted, read strictly (unknown fields and wrong types are errors), compared with the
//! table of the fields that are carried out, and validated; every error of all four is reported.

pub(crate) mod examine;
mod shape;
pub(crate) mod template;
mod workload;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1 as core;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::field::FieldError;
use crate::id::{Kind, ObjectKey};
use crate::pod::{Meta, Pod};
use crate::service::Service;
use crate::validate::{self, Errors};
use crate::{defaults, fields, status};

/// What a manifest's author may leave to the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `spec.runtimeClassName` of Pods that name none.
    pub default_runtime_class: Option<String>,
}

/// An object that a manifest can bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A Pod.
    Pod(Box<Pod>),
    /// A Service.
    Service(Service),
    /// An object of another kind: its wire object says all there is.
    Other,
}

/// A new object, ready to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted {
    /// Where it will live.
    pub key: ObjectKey,
    /// The wire object with upstream's defaults, without what only a server may set (uid, status, ...).
    pub value: Value,
    /// The same, validated.
    pub object: Object,
    /// Fields that were accepted and do nothing here.
    pub warnings: Vec<FieldError>,
}

/// Takes in a new object as a manifest has it.
///
/// # Errors
///
/// All that is wrong with it, in upstream's order as far as there is one.
pub fn admit(kind: Kind, mut value: Value, options: &Options) -> Result<Admitted, Vec<FieldError>> {
    drop_server_fields(&mut value);
    prepare(kind, &mut value, options);
    Ok(judge(kind, &value, options)?.admitted(kind, value))
}

/// Fills in what an object leaves unsaid.
pub(crate) fn prepare(kind: Kind, value: &mut Value, options: &Options) {
    if let Some(object) = value.as_object_mut() {
        for (name, text) in [("apiVersion", kind.api_version()), ("kind", kind.as_str())] {
            object
                .entry(name)
                .or_insert_with(|| Value::String(text.to_owned()));
        }
    }
    if kind == Kind::Pod {
        choose_class(value, options);
    }
    defaults::apply(kind, value);
}

/// Gives a Pod that names no runtime class the one of the command line.
fn choose_class(pod: &mut Value, options: &Options) {
    let spec = pod.get_mut("spec").and_then(Value::as_object_mut);
    if let (Some(class), Some(spec)) = (&options.default_runtime_class, spec) {
        let named = spec.entry("runtimeClassName").or_insert(Value::Null);
        if named.is_null() || named.as_str() == Some("") {
            *named = class.as_str().into();
        }
    }
}

/// What a defaulted object comes to.
pub(crate) struct Judged {
    pub(crate) meta: Meta,
    pub(crate) object: Object,
    pub(crate) warnings: Vec<FieldError>,
}

impl Judged {
    /// With the wire object it was made of.
    pub(crate) fn admitted(self, kind: Kind, mut value: Value) -> Admitted {
        defaults::prune_nulls(&mut value);
        Admitted {
            key: ObjectKey::new(kind, self.meta.namespace, self.meta.name),
            value,
            object: self.object,
            warnings: self.warnings,
        }
    }
}

/// Reads and validates a defaulted object of any kind; its status is not judged.
pub(crate) fn judge(
    kind: Kind,
    value: &Value,
    options: &Options,
) -> Result<Judged, Vec<FieldError>> {
    let value = &without_status(value);
    match kind {
        Kind::Pod => {
            let (pod, warnings) = read(kind, value, validate::pod::pod)?;
            Ok(Judged {
                meta: pod.meta.clone(),
                object: Object::Pod(Box::new(pod)),
                warnings,
            })
        }
        Kind::Service => {
            let (service, warnings) = read(kind, value, validate::service::service)?;
            Ok(Judged {
                meta: service.meta.clone(),
                object: Object::Service(service),
                warnings,
            })
        }
        Kind::Endpoints => other(kind, value, validate::endpoints::endpoints),
        Kind::Event => other(kind, value, validate::event::event),
        Kind::Namespace => other(kind, value, validate::cluster::namespace),
        Kind::ConfigMap => other(kind, value, validate::config::config_map),
        Kind::Secret => other(kind, value, validate::config::secret),
        Kind::ServiceAccount => other(kind, value, validate::cluster::service_account),
        Kind::Node => other(kind, value, validate::cluster::node),
        Kind::EndpointSlice => other(kind, value, validate::endpoints::slice),
        Kind::Lease => other(kind, value, validate::cluster::lease),
        Kind::ReplicaSet => workload::replica_set(value, options),
        Kind::Deployment => workload::deployment(value, options),
        Kind::RuntimeClass => other(kind, value, validate::cluster::runtime_class),
    }
}

/// An object that is its wire object, and metadata.
fn other<W: DeserializeOwned>(
    kind: Kind,
    value: &Value,
    validate: fn(&W, &mut Errors) -> Meta,
) -> Result<Judged, Vec<FieldError>> {
    let (meta, warnings) = read(kind, value, validate)?;
    Ok(Judged {
        meta,
        object: Object::Other,
        warnings,
    })
}

impl Pod {
    /// The Pod of a wire object, new or stored; of its status, the conditions of others.
    ///
    /// # Errors
    ///
    /// All that is wrong with it. The status is not judged.
    pub fn from_value(value: &Value) -> Result<Self, Vec<FieldError>> {
        let pod = from_value(Kind::Pod, value, validate::pod::pod)?;
        Ok(Self {
            foreign_conditions: status::foreign_conditions(value),
            ..pod
        })
    }
}

impl Service {
    /// The Service of a wire object, new or stored.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn from_value(value: &Value) -> Result<Self, Vec<FieldError>> {
        from_value(Kind::Service, value, validate::service::service)
    }
}

fn from_value<W: DeserializeOwned, T>(
    kind: Kind,
    value: &Value,
    validate: impl Fn(&W, &mut Errors) -> T,
) -> Result<T, Vec<FieldError>> {
    let mut value = without_status(value);
    defaults::apply(kind, &mut value);
    read(kind, &value, validate).map(|(object, _)| object)
}

/// What is wrong with the status of an object: its types, and fields that there are not.
pub(crate) fn errors_of_status(kind: Kind, value: &Value) -> Vec<FieldError> {
    let status = value.get("status").cloned().unwrap_or_default();
    let value = serde_json::json!({"status": status});
    match kind {
        Kind::Pod => shape::read::<core::Pod>(kind, &value).errors,
        Kind::Service => shape::read::<core::Service>(kind, &value).errors,
        Kind::Namespace => shape::read::<core::Namespace>(kind, &value).errors,
        Kind::Node => shape::read::<core::Node>(kind, &value).errors,
        Kind::ReplicaSet => shape::read::<ReplicaSet>(kind, &value).errors,
        Kind::Deployment => shape::read::<Deployment>(kind, &value).errors,
        _ => Vec::new(),
    }
}

/// A status is not read as a manifest is; most of a stored Pod is status.
fn without_status(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| *name != "status");
            Value::Object(
                fields
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
            )
        }
        other => other.clone(),
    }
}

/// Reads a defaulted object; with it come the warnings.
fn read<W: DeserializeOwned, T>(
    kind: Kind,
    value: &Value,
    validate: impl Fn(&W, &mut Errors) -> T,
) -> Result<(T, Vec<FieldError>), Vec<FieldError>> {
    let shape = shape::read::<W>(kind, value);
    finish(kind, value, shape, validate)
}

fn finish<W, T>(
    kind: Kind,
    value: &Value,
    shape: shape::Shape<W>,
    validate: impl Fn(&W, &mut Errors) -> T,
) -> Result<(T, Vec<FieldError>), Vec<FieldError>> {
    let findings = fields::check(kind, value);
    let mut errors = Errors::default();
    let object = shape.object.map(|wire| validate(&wire, &mut errors));
    let errors = merge(shape.errors, findings.errors, errors.into_vec());
    match object {
        Some(object) if errors.is_empty() => Ok((object, findings.warnings)),
        _ => Err(errors),
    }
}

/// One list, in which no error only follows from another: what is said of a field of a wrong type or an
/// unknown field, and that a field is missing beside one that was misspelt, is left out; and where
/// validation speaks, the table of fields keeps silent.
fn merge(
    shape: Vec<FieldError>,
    table: Vec<FieldError>,
    validation: Vec<FieldError>,
) -> Vec<FieldError> {
    let follows = |error: &FieldError| {
        shape.iter().any(|cause| {
            error.path.is_within(&cause.path)
                || (error.is_required() && cause.path.is_within(&error.path))
        })
    };
    let table: Vec<FieldError> = table
        .into_iter()
        .filter(|error| !follows(error) && validation.iter().all(|other| other.path != error.path))
        .collect();
    let validation: Vec<FieldError> = validation
        .into_iter()
        .filter(|error| !follows(error))
        .collect();
    [shape, table, validation].concat()
}

/// Removes what only a server may set.
fn drop_server_fields(value: &mut Value) {
    const METADATA: &[&str] = &[
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    ];
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !METADATA.contains(&name.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1 as api;
    use serde_json::json;

    use super::*;

    /// An object in which the field that `pattern` names is null, and nothing else is set.
    fn with_null_at(pattern: &str) -> Value {
        pattern
            .rsplit('.')
            .fold(Value::Null, |value, part| match part.strip_suffix("[]") {
                Some(name) => json!({ name: [value] }),
                None => json!({ part: value }),
            })
    }

    #[test]
    fn every_row_of_the_tables_is_a_field_of_kubernetes() {
        let unknown = |errors: Vec<FieldError>| {
            errors
                .into_iter()
                .map(|error| error.to_string())
                .find(|error| error.contains("unknown"))
        };
        for pattern in fields::patterns(Kind::Pod) {
            let shape = shape::read::<api::Pod>(Kind::Pod, &with_null_at(pattern));
            assert_eq!(unknown(shape.errors), None);
        }
        for pattern in fields::patterns(Kind::Service) {
            let shape = shape::read::<api::Service>(Kind::Service, &with_null_at(pattern));
            assert_eq!(unknown(shape.errors), None);
        }
        let shape = shape::read::<api::Pod>(Kind::Pod, &with_null_at("spec.containers[].nope"));
        assert!(unknown(shape.errors).is_some());
    }
}
