//! Wire objects into domain types: the one way, for manifests and for what the store holds.
//!
//! An object is defaulted, read strictly (unknown fields and wrong types are errors), compared with the
//! table of the fields that are carried out, and validated; every error of all four is reported.

pub(crate) mod examine;
mod shape;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::field::FieldError;
use crate::id::{Kind, ObjectKey};
use crate::pod::Pod;
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
    Pod(Pod),
    /// A Service.
    Service(Service),
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

/// Takes in the wire object of a new Pod or Service.
///
/// # Errors
///
/// All that is wrong with it, in upstream's order as far as there is one.
pub fn admit(kind: Kind, mut value: Value, options: &Options) -> Result<Admitted, Vec<FieldError>> {
    drop_server_fields(&mut value);
    if let (Kind::Pod, Some(class), Some(spec)) = (
        kind,
        &options.default_runtime_class,
        value.get_mut("spec").and_then(Value::as_object_mut),
    ) {
        let named = spec.entry("runtimeClassName").or_insert(Value::Null);
        if named.is_null() || named.as_str() == Some("") {
            *named = class.as_str().into();
        }
    }
    defaults::apply(kind, &mut value);
    let (object, warnings) = match kind {
        Kind::Pod => {
            read(kind, &value, validate::pod::pod).map(|(pod, found)| (Object::Pod(pod), found))?
        }
        Kind::Service => read(kind, &value, validate::service::service)
            .map(|(service, found)| (Object::Service(service), found))?,
        Kind::Endpoints | Kind::Event => {
            let message = format!(
                "kind {:?} is made by Probelet, not taken from others",
                kind.as_str()
            );
            return Err(vec![FieldError::new(
                crate::field::FieldPath::root(),
                message,
            )]);
        }
    };
    defaults::prune_nulls(&mut value);
    let meta = match &object {
        Object::Pod(pod) => &pod.meta,
        Object::Service(service) => &service.meta,
    };
    let key = ObjectKey::new(kind, &meta.namespace, &meta.name);
    Ok(Admitted {
        key,
        value,
        object,
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

    #[test]
    fn kinds_that_probelet_makes_itself_are_not_taken_in() {
        for kind in [Kind::Endpoints, Kind::Event] {
            assert_eq!(
                admit(kind, json!({}), &Options::default())
                    .unwrap_err()
                    .len(),
                1
            );
        }
    }
}
