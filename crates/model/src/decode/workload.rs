//! ReplicaSets and Deployments: their own fields, and the template as the Pod that it makes.

use k8s_openapi::api::{apps::v1 as api, core::v1 as core};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::template::{moved, pod_of};
use super::{Judged, Object, Options, choose_class, finish, read, shape, without_status};
use crate::defaults;
use crate::field::{FieldError, FieldPath};
use crate::id::Kind;
use crate::pod::Meta;
use crate::validate::{self, Errors};
use crate::workload::{Deployment, ReplicaSet, Template};

/// What a ReplicaSet comes to.
pub(super) fn replica_set(value: &Value, options: &Options) -> Result<Judged, Vec<FieldError>> {
    let own = read_own(Kind::ReplicaSet, value, replica_set_of(value));
    judged(value, own.map(|set| set.meta), options)
}

/// What a Deployment comes to.
pub(super) fn deployment(value: &Value, options: &Options) -> Result<Judged, Vec<FieldError>> {
    let own = read_own(Kind::Deployment, value, deployment_of(value));
    judged(value, own.map(|deployment| deployment.meta), options)
}

/// What is wrong with either, but for what is in its template.
pub(super) fn own_errors(kind: Kind, value: &Value) -> Vec<FieldError> {
    let own = match kind {
        Kind::ReplicaSet => read_own(kind, value, replica_set_of(value)).map(drop),
        _ => read_own(kind, value, deployment_of(value)).map(drop),
    };
    own.err().unwrap_or_default()
}

impl ReplicaSet {
    /// The ReplicaSet of a wire object, new or stored.
    ///
    /// # Errors
    ///
    /// All that is wrong with it; neither its status nor the pods of its template are judged.
    pub fn from_value(value: &Value) -> Result<Self, Vec<FieldError>> {
        let value = defaulted(Kind::ReplicaSet, value);
        let set = read_own(Kind::ReplicaSet, &value, replica_set_of(&value))?;
        let template = whole(set.template, &value);
        Ok(Self { template, ..set })
    }
}

impl Deployment {
    /// The Deployment of a wire object, new or stored.
    ///
    /// # Errors
    ///
    /// All that is wrong with it; neither its status nor the pods of its template are judged.
    pub fn from_value(value: &Value) -> Result<Self, Vec<FieldError>> {
        let value = defaulted(Kind::Deployment, value);
        let deployment = read_own(Kind::Deployment, &value, deployment_of(&value))?;
        let template = whole(deployment.template, &value);
        Ok(Self {
            template,
            ..deployment
        })
    }
}

fn replica_set_of(value: &Value) -> impl Fn(&api::ReplicaSet, &mut Errors) -> ReplicaSet {
    let has_selector = has_selector(value);
    move |wire, errors| validate::workload::replica_set(wire, has_selector, errors)
}

fn deployment_of(value: &Value) -> impl Fn(&api::Deployment, &mut Errors) -> Deployment {
    let has_selector = has_selector(value);
    move |wire, errors| validate::workload::deployment(wire, has_selector, errors)
}

fn has_selector(value: &Value) -> bool {
    let selector = FieldPath::root().field("spec").field("selector");
    selector
        .find(value)
        .is_some_and(|selector| !selector.is_null())
}

fn defaulted(kind: Kind, value: &Value) -> Value {
    let mut value = without_status(value);
    defaults::apply(kind, &mut value);
    value
}

fn template_path() -> FieldPath {
    FieldPath::root().field("spec").field("template")
}

fn whole(template: Template, object: &Value) -> Template {
    let value = template_path().find(object).cloned().unwrap_or_default();
    Template { value, ..template }
}

/// Reads everything but what is in the template.
fn read_own<W: DeserializeOwned, T>(
    kind: Kind,
    value: &Value,
    validate: impl Fn(&W, &mut Errors) -> T,
) -> Result<T, Vec<FieldError>> {
    let template = template_path();
    let mut shape = shape::read::<W>(kind, value);
    shape
        .errors
        .retain(|error| error.path == template || !error.path.is_within(&template));
    finish(kind, value, shape, validate).map(|(object, _)| object)
}

/// The object's own errors, then those of its pods. Where its own rules speak of a field of the template,
/// the pod's need not.
fn judged(
    value: &Value,
    own: Result<Meta, Vec<FieldError>>,
    options: &Options,
) -> Result<Judged, Vec<FieldError>> {
    let path = template_path();
    let namespace = value["metadata"]["namespace"].as_str().unwrap_or("default");
    let Some(template) = path.find(value).filter(|template| template.is_object()) else {
        let mut errors = own.err().unwrap_or_default();
        if errors.iter().all(|error| !path.is_within(&error.path)) {
            errors.retain(|error| !error.path.is_within(&path));
            errors.push(FieldError::required(path, ""));
        }
        return Err(errors);
    };
    let mut pod = pod_of(template, namespace);
    choose_class(&mut pod, options);
    let pod = read(Kind::Pod, &pod, |wire: &core::Pod, errors: &mut Errors| {
        validate::pod::pod(wire, errors);
    });
    match (own, pod) {
        (Ok(meta), Ok(((), warnings))) => Ok(Judged {
            meta,
            object: Object::Other,
            warnings: warnings
                .into_iter()
                .map(|warning| moved(warning, &path))
                .collect(),
        }),
        (own, pod) => {
            let mut errors = own.err().unwrap_or_default();
            let count = errors.len();
            for error in pod.err().unwrap_or_default() {
                let error = moved(error, &path);
                if errors[..count].iter().all(|own| own.path != error.path) {
                    errors.push(error);
                }
            }
            Err(errors)
        }
    }
}
