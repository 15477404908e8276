//! What is said when something is not done: Kubernetes' Status.

use probelet_model::field::FieldError;
use probelet_store::Version;
use serde_json::{Map, Value, json};

use crate::resource::Resource;

/// A request that failed: an HTTP code and a `Status` that says why.
///
/// Upstream: apimachinery pkg/api/errors/errors.go, the `New...` functions; their texts are what kubectl prints.
/// Shown by: a_wrong_field_is_a_cause_with_a_reason, what_is_empty_is_left_out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The HTTP code.
    pub code: u16,
    /// `NotFound`, `AlreadyExists`, ...: what clients act upon.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// `details`; nothing if null.
    pub details: Value,
    /// `metadata.continue`: how to go on all the same; mostly empty.
    pub continue_token: String,
}

impl Failure {
    /// A failure without details.
    #[must_use]
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
            continue_token: String::new(),
        }
    }

    /// 400: the request itself is wrong.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 404: there is no such object.
    #[must_use]
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self::new(404, "NotFound", message).about(resource, name)
    }

    /// 404: there is no such resource.
    #[must_use]
    pub fn no_such_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self {
            details: json!({}),
            ..Self::new(404, "NotFound", message)
        }
    }

    /// 405: the resource does not do that.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self {
            details: json!({}),
            ..Self::new(405, "MethodNotAllowed", message)
        }
    }

    /// 409: there is one already.
    #[must_use]
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(resource, name)
    }

    /// 409: somebody else was faster, or a precondition does not hold.
    #[must_use]
    pub fn conflict(resource: &Resource, name: &str, why: impl std::fmt::Display) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            resource.qualified()
        );
        Self::new(409, "Conflict", message).about(resource, name)
    }

    /// 403: not allowed, with a reason; `name` is empty if it is about no single object.
    #[must_use]
    pub fn forbidden(resource: &Resource, name: &str, why: impl std::fmt::Display) -> Self {
        let what = resource.qualified();
        let message = if name.is_empty() {
            format!("{what} is forbidden: {why}")
        } else {
            format!("{what} {name:?} is forbidden: {why}")
        };
        Self::new(403, "Forbidden", message).about(resource, name)
    }

    /// 410: the versions asked for are no longer remembered.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 422: fields of the object are wrong.
    #[must_use]
    pub fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Self {
        Self::invalid_kind(resource.group, resource.kind, name, errors)
    }

    /// 422: fields of something are wrong that is no object of a resource: options, a Scale.
    #[must_use]
    pub fn invalid_kind(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let list: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let list = match &list[..] {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let message = format!("{qualified} {name:?} is invalid: {list}");
        let causes: Vec<Value> = errors.iter().map(cause).collect();
        let mut failure = Self::new(422, "Invalid", message);
        failure.details = json!({
            "name": name, "group": group, "kind": kind, "causes": causes,
        });
        failure.without_empty_details()
    }

    /// 500 without a reason: what upstream makes of an error that it has no status for.
    #[must_use]
    pub fn unclassified(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 504: a version was asked for that has not been yet.
    ///
    /// Upstream: apiserver pkg/storage/errors.go, NewTooLargeResourceVersionError.
    /// Differs: at once, where upstream waits three seconds whether it comes.
    /// Shown by: a_version_that_has_not_been_yet_is_too_large.
    #[must_use]
    pub fn too_large_version(asked: Version, current: Version) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let mut failure = Self::new(504, "Timeout", message);
        failure.details = json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        });
        failure
    }

    /// 500: the fault is here.
    #[must_use]
    pub fn internal(why: impl std::fmt::Display) -> Self {
        let message = format!("Internal error occurred: {why}");
        Self {
            details: json!({"causes": [{"message": why.to_string()}]}),
            ..Self::new(500, "InternalError", message)
        }
    }

    /// The same, about an object: `details` has its name, group and resource.
    #[must_use]
    pub fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details = json!({"name": name, "group": resource.group, "kind": resource.plural});
        self.without_empty_details()
    }

    /// The `Status` object.
    #[must_use]
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if !self.continue_token.is_empty() {
            status["metadata"]["continue"] = self.continue_token.as_str().into();
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }

    fn without_empty_details(mut self) -> Self {
        if let Some(details) = self.details.as_object_mut() {
            let empty = |value: &Value| value.as_str() == Some("");
            let kept: Map<String, Value> = std::mem::take(details)
                .into_iter()
                .filter(|(_, value)| !empty(value))
                .collect();
            *details = kept;
        }
        self
    }
}

/// One wrong field. `reason` is the sort of mistake, in upstream's word for it.
///
/// Upstream: apimachinery pkg/api/errors/errors.go, NewInvalid; pkg/util/validation/field/errors.go, ErrorType.
/// Shown by: a_wrong_field_is_a_cause_with_a_reason.
fn cause(error: &FieldError) -> Value {
    const REASONS: &[(&str, &str)] = &[
        ("Required value", "FieldValueRequired"),
        ("Duplicate value", "FieldValueDuplicate"),
        ("Unsupported value", "FieldValueNotSupported"),
        ("Not found", "FieldValueNotFound"),
        ("Forbidden", "FieldValueForbidden"),
        ("Too long", "FieldValueTooLong"),
        ("Too many", "FieldValueTooMany"),
    ];
    let reason = REASONS
        .iter()
        .find(|(begin, _)| error.message.starts_with(begin))
        .map_or("FieldValueInvalid", |(_, reason)| reason);
    json!({"reason": reason, "message": error.message, "field": error.path.to_string()})
}

#[cfg(test)]
mod tests {
    use probelet_model::field::FieldPath;
    use probelet_model::id::Kind;

    use super::*;

    #[test]
    fn a_wrong_field_is_a_cause_with_a_reason() {
        let error = |name: &'static str, message: &str| FieldError {
            path: FieldPath::root().field(name),
            message: message.to_owned(),
        };
        let errors = [
            error("a", "Required value"),
            error("b", "Invalid value: 2: must be 1"),
        ];
        let failure = Failure::invalid(Resource::of(Kind::Deployment), "web", &errors);
        assert_eq!(
            failure.to_status(),
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 422,
                "reason": "Invalid",
                "message": "Deployment.apps \"web\" is invalid: [a: Required value, b: Invalid value: 2: must be 1]",
                "details": {"name": "web", "group": "apps", "kind": "Deployment", "causes": [
                    {"reason": "FieldValueRequired", "message": "Required value", "field": "a"},
                    {"reason": "FieldValueInvalid", "message": "Invalid value: 2: must be 1", "field": "b"},
                ]},
            })
        );
    }

    #[test]
    fn what_is_empty_is_left_out() {
        let pods = Resource::of(Kind::Pod);
        let failure = Failure::forbidden(pods, "", "no");
        assert_eq!(failure.message, "pods is forbidden: no");
        assert_eq!(failure.to_status()["details"], json!({"kind": "pods"}));
        let status = Failure::unclassified("why").to_status();
        assert_eq!((status.get("reason"), status.get("details")), (None, None));
    }
}
