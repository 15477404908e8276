//! Bodies, read as what they should be.

use probelet_model::field::{FieldError, FieldPath};
use probelet_model::id::Kind;
use probelet_schema::Schema;
use serde_json::{Value, json};

use super::event;
use crate::failure::Failure;
use crate::request::{FieldValidation, Target, WriteOptions};

/// What a body has to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
}

impl Expected {
    /// The body of a write to a target.
    pub(super) fn of(target: &Target) -> Self {
        let (group, version, kind) = target.subresource.map_or(
            (
                target.resource.group,
                target.resource.version,
                target.resource.kind,
            ),
            |below| below.kind,
        );
        Self {
            group,
            version,
            kind,
        }
    }

    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    pub(super) fn schema(&self) -> Option<&'static Schema> {
        Schema::of(&self.api_version(), self.kind)
    }

    /// The body as such an object: with the kind that it leaves unsaid, and a place for its metadata.
    ///
    /// Upstream: apiserver pkg/endpoints/handlers/rest.go, transformDecodeError.
    /// Shown by: a_body_is_what_it_is_posted_as.
    pub(super) fn typed(&self, mut body: Value) -> Result<Value, Failure> {
        let Some(fields) = body.as_object_mut() else {
            let why = "couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of type \
                       struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \
                       \"json:\\\"kind,omitempty\\\"\" }";
            return Err(Failure::bad_request(format!(
                "the object provided is unrecognized (must be of type {}): {why} ({})",
                self.kind,
                summary(&body)
            )));
        };
        let own = self.api_version();
        let text = |name: &str, default: &str| {
            let said = fields.get(name).and_then(Value::as_str);
            said.filter(|said| !said.is_empty())
                .unwrap_or(default)
                .to_owned()
        };
        let (api_version, kind) = (text("apiVersion", &own), text("kind", self.kind));
        if kind != self.kind && Kind::named(&api_version, &kind).is_none() {
            return Err(self.unreadable(
                &format!(
                    "no kind {kind:?} is registered for version {api_version:?} in scheme \
                 \"pkg/api/legacyscheme/scheme.go:30\""
                ),
                &kind,
            ));
        }
        if api_version != own {
            return Err(Failure::bad_request(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({own})"
            )));
        }
        if kind != self.kind {
            let package = if self.group.is_empty() {
                "core"
            } else {
                self.group.split('.').next().unwrap_or_default()
            };
            let why = format!(
                "converting (v1.{kind}) to ({package}.{}): unknown conversion",
                self.kind
            );
            return Err(self.unreadable(&why, &kind));
        }
        fields.insert("apiVersion".to_owned(), own.into());
        fields.insert("kind".to_owned(), kind.into());
        match fields.get("metadata") {
            Some(Value::Object(_)) => {}
            None | Some(Value::Null) => {
                fields.insert("metadata".to_owned(), json!({}));
            }
            Some(other) => {
                let why = format!(
                    "json: cannot unmarshal {} into Go struct field {}.metadata of type v1.ObjectMeta",
                    go_type(other),
                    self.kind
                );
                return Err(self.unreadable(&why, self.kind));
            }
        }
        Ok(body)
    }

    /// 400: something of `kind` came that cannot be read as what is expected.
    pub(super) fn unreadable(&self, why: &str, kind: &str) -> Failure {
        Failure::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {}: {why}",
            self.version, self.kind
        ))
    }
}

/// The first thirty letters, to recognise it by.
fn summary(body: &Value) -> String {
    let text = body.to_string();
    let short: String = text.chars().take(30).collect();
    let more = if short.len() < text.len() { " ..." } else { "" };
    format!("{short}{more}")
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A body that has been read.
#[derive(Debug)]
pub(super) struct Incoming {
    /// In the shape in which it is stored, without what nobody knows.
    pub(super) value: Value,
    /// What was left out of it, if that is only to be warned of.
    pub(super) warnings: Vec<String>,
}

/// Reads the body of a create or an update.
///
/// Upstream: apiserver pkg/endpoints/handlers/create.go, createHandler.
/// Shown by: unknown_fields_are_refused_warned_of_or_dropped.
pub(super) fn read(
    target: &Target,
    body: Value,
    options: &WriteOptions,
) -> Result<Incoming, Failure> {
    let expected = Expected::of(target);
    let body = expected.typed(body)?;
    let (value, strict) = known(&expected, body);
    let warnings = match options.field_validation {
        FieldValidation::Ignore => Vec::new(),
        FieldValidation::Warn => strict,
        FieldValidation::Strict if strict.is_empty() => strict,
        FieldValidation::Strict => {
            let why = format!("strict decoding error: {}", strict.join(", "));
            return Err(expected.unreadable(&why, expected.kind));
        }
    };
    Ok(Incoming {
        value: event::as_stored(target.resource, value),
        warnings,
    })
}

/// Reads what a patch has made of an object.
///
/// Upstream: apiserver pkg/endpoints/handlers/patch.go, jsonPatcher.applyPatchToCurrentObject.
/// Shown by: unknown_fields_are_refused_warned_of_or_dropped.
pub(super) fn read_patched(
    target: &Target,
    patched: Value,
    options: &WriteOptions,
) -> Result<Incoming, Failure> {
    let expected = Expected::of(target);
    let text = patched.to_string();
    let patched = expected.typed(patched)?;
    let (value, strict) = known(&expected, patched);
    let warnings = match options.field_validation {
        FieldValidation::Ignore => Vec::new(),
        FieldValidation::Warn => strict,
        FieldValidation::Strict if strict.is_empty() => strict,
        FieldValidation::Strict => {
            let error = FieldError {
                path: FieldPath::root().field("patch"),
                message: format!(
                    "Invalid value: {}: strict decoding error: {}",
                    Value::from(text),
                    strict.join(", ")
                ),
            };
            return Err(Failure::invalid_kind("", "", "", &[error]));
        }
    };
    Ok(Incoming {
        value: event::as_stored(target.resource, value),
        warnings,
    })
}

/// An object without the fields that nobody knows, and what there is to say of those.
fn known(expected: &Expected, value: Value) -> (Value, Vec<String>) {
    let Some(schema) = expected.schema() else {
        return (value, Vec::new());
    };
    let unknown = schema.unknown_fields(&value);
    let unknown = unknown.iter().map(|path| format!("unknown field {path:?}"));
    let unknown = unknown.collect();
    (schema.without_unknown_fields(value), unknown)
}

/// What the model has against an object: 400 if it cannot be read, 422 if it can.
///
/// Upstream: a value of a wrong type ends the decoding, and the words are those of Go's decoder.
/// Differs: all such values are named, by their path.
/// Shown by: a_value_of_a_wrong_type_cannot_be_read.
pub(super) fn unfit(target: &Target, name: &str, errors: &[FieldError]) -> Failure {
    let unreadable: Vec<String> = errors
        .iter()
        .filter(|error| error.is_wrong_type())
        .map(ToString::to_string)
        .collect();
    if unreadable.is_empty() {
        return Failure::invalid(target.resource, name, errors);
    }
    let expected = Expected::of(target);
    expected.unreadable(&unreadable.join(", "), expected.kind)
}
