//! What a query, or the body of a DELETE, asks for beyond the object itself.

use std::time::Duration;

use probelet_store::Version;
use serde_json::{Value, json};

use super::query::Query;
use crate::failure::Failure;
use crate::request::{
    DeleteOptions, FieldValidation, ListOptions, PatchType, Propagation, WriteOptions,
};
use crate::resource::Resource;

/// How a watch is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchOptions {
    /// Changes after this version; `None` is whatever there is, and then changes.
    pub version: Option<Version>,
    /// `allowWatchBookmarks`.
    pub bookmarks: bool,
    /// `sendInitialEvents`: what there is as events first, and a bookmark behind them.
    pub initial_events: Option<bool>,
    /// `timeoutSeconds`.
    pub timeout: Option<Duration>,
}

/// Reads the options of a list.
///
/// Upstream: apimachinery pkg/apis/meta/internalversion/validation/validation.go, validateListOptions.
/// Shown by: options_are_read, options_that_cannot_be.
///
/// # Errors
/// [`Failure`] (400, 422) with upstream's texts.
pub fn list(query: &Query) -> Result<ListOptions, Failure> {
    let version = query.first("resourceVersion").unwrap_or_default();
    let continue_token = query.first("continue").unwrap_or_default();
    let matching = query.first("resourceVersionMatch").unwrap_or_default();
    let mut flaws = Flaws::of("ListOptions");
    if query
        .first("sendInitialEvents")
        .is_some_and(|value| !value.is_empty())
    {
        flaws.forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        );
    }
    if !matching.is_empty() {
        let field = "resourceVersionMatch";
        if !continue_token.is_empty() {
            flaws.forbidden(field, "resourceVersionMatch is forbidden for continue");
        }
        if version.is_empty() {
            flaws.forbidden(
                field,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            );
        }
        match matching {
            "Exact" if version == "0" => flaws.forbidden(
                field,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ),
            "Exact" | "NotOlderThan" => {}
            other => flaws.unsupported(field, &format!("{other:?}"), "\"Exact\", \"NotOlderThan\""),
        }
    }
    flaws.end()?;
    let limit = integer(query, "limit")?.unwrap_or(0);
    Ok(ListOptions {
        label_selector: query.first("labelSelector").unwrap_or_default().to_owned(),
        field_selector: query.first("fieldSelector").unwrap_or_default().to_owned(),
        limit: usize::try_from(limit).unwrap_or(0),
        continue_token: continue_token.to_owned(),
        version: parse_version(version)
            .map_err(|why| Failure::bad_request(format!("invalid resource version: {why}")))?,
        exact: matching == "Exact",
    })
}

/// Reads the options of a watch.
///
/// Upstream: the same file, validateWatchOptions.
/// Shown by: options_are_read, options_that_cannot_be.
///
/// # Errors
/// [`Failure`] (400, 422) with upstream's texts.
pub fn watch(query: &Query, resource: &Resource) -> Result<WatchOptions, Failure> {
    let matching = query.first("resourceVersionMatch").unwrap_or_default();
    let initial_events = query
        .first("sendInitialEvents")
        .is_some()
        .then(|| query.flag("sendInitialEvents"));
    let mut flaws = Flaws::of("ListOptions");
    match (matching, initial_events) {
        ("", None) | ("NotOlderThan", Some(_)) => {}
        (_, None) => flaws.forbidden(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        ("", Some(_)) => flaws.forbidden(
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (other, Some(_)) => flaws.unsupported(
            "resourceVersionMatch",
            &format!("{other:?}"),
            "\"NotOlderThan\"",
        ),
    }
    if initial_events.is_some()
        && query
            .first("continue")
            .is_some_and(|token| !token.is_empty())
    {
        flaws.forbidden("continue", "sendInitialEvents is forbidden with continue");
    }
    flaws.end()?;
    let version = query.first("resourceVersion").unwrap_or_default();
    let version = parse_version(version).map_err(|why| {
        let message = format!("{} \"\" is invalid: {why}", resource.qualified());
        Failure::new(422, "Invalid", message)
    })?;
    let timeout = integer(query, "timeoutSeconds")?;
    Ok(WatchOptions {
        // Zero is "whatever there is", as if nothing had been said.
        version: version.filter(|version| version.0 > 0),
        bookmarks: query.flag("allowWatchBookmarks"),
        initial_events,
        timeout: timeout
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
    })
}

/// Reads the options of a write; `user_agent` names the field manager if the query does not, and `patch_type` is
/// that of a PATCH.
///
/// Upstream: apimachinery pkg/apis/meta/v1/validation/validation.go, ValidateCreateOptions, ValidateUpdateOptions,
/// ValidatePatchOptions; apiserver pkg/endpoints/handlers/create.go, managerOrUserAgent.
/// Shown by: options_are_read, options_that_cannot_be.
///
/// # Errors
/// [`Failure`] (422) with upstream's texts.
pub fn write(
    kind: &'static str,
    query: &Query,
    user_agent: &str,
    patch_type: Option<PatchType>,
) -> Result<WriteOptions, Failure> {
    let mut flaws = Flaws::of(kind);
    let dry_run = dry_run(query.all("dryRun"), &mut flaws);
    let field_validation = match query.first("fieldValidation").unwrap_or_default() {
        "" => FieldValidation::default(),
        "Ignore" => FieldValidation::Ignore,
        "Warn" => FieldValidation::Warn,
        "Strict" => FieldValidation::Strict,
        other => {
            flaws.unsupported(
                "fieldValidation",
                &format!("{other:?}"),
                "\"\", \"Ignore\", \"Strict\", \"Warn\"",
            );
            FieldValidation::default()
        }
    };
    let manager = query.first("fieldManager").unwrap_or_default();
    if manager.len() > MANAGER_MAX {
        flaws.add(
            "FieldValueTooLong",
            "fieldManager",
            format!("Too long: may not be more than {MANAGER_MAX} bytes"),
        );
    }
    let force = query.first("force");
    match patch_type {
        Some(PatchType::Apply) if manager.is_empty() => flaws.add(
            "FieldValueRequired",
            "fieldManager",
            "Required value: is required for apply patch".to_owned(),
        ),
        Some(PatchType::Apply) | None => {}
        Some(PatchType::Json | PatchType::Merge | PatchType::Strategic) => {
            if force.is_some() {
                flaws.forbidden("force", "may not be specified for non-apply patch");
            }
        }
    }
    flaws.end()?;
    let field_manager = if manager.is_empty() {
        client_name(user_agent)
    } else {
        manager.to_owned()
    };
    Ok(WriteOptions {
        dry_run,
        field_manager,
        field_validation,
        force: force.is_some() && query.flag("force"),
    })
}

/// How long a field manager's name may be.
const MANAGER_MAX: usize = 128;

/// What a client calls itself: its User-Agent up to the first slash.
fn client_name(user_agent: &str) -> String {
    let name = user_agent.split('/').next().unwrap_or_default();
    let mut name: String = name.chars().filter(|letter| !letter.is_control()).collect();
    while name.len() > MANAGER_MAX {
        name.pop();
    }
    name
}

/// Reads the options of a DELETE: its body if it has one, else its query.
///
/// Upstream: apiserver pkg/endpoints/handlers/delete.go, DeleteResource; apimachinery
/// pkg/apis/meta/v1/validation/validation.go, ValidateDeleteOptions.
/// Shown by: a_delete_says_how.
///
/// # Errors
/// [`Failure`] (400, 422) with upstream's texts.
pub fn delete(query: &Query, body: Option<&Value>) -> Result<DeleteOptions, Failure> {
    let from_query;
    let body = if let Some(body) = body {
        if let Some(kind) = body["kind"]
            .as_str()
            .filter(|kind| *kind != "DeleteOptions")
        {
            let message = format!("decoded object cannot be converted to DeleteOptions: {kind}");
            return Err(Failure::bad_request(message));
        }
        body
    } else {
        let dry_run: Vec<&str> = query.all("dryRun").collect();
        from_query = json!({
            "gracePeriodSeconds": integer(query, "gracePeriodSeconds")?,
            "propagationPolicy": query.first("propagationPolicy"),
            "orphanDependents": query
                .first("orphanDependents")
                .is_some()
                .then(|| query.flag("orphanDependents")),
            "dryRun": dry_run,
        });
        &from_query
    };
    let mut flaws = Flaws::of("DeleteOptions");
    // Upstream takes a negative one for 1.
    let grace = typed(body, "gracePeriodSeconds", Value::as_i64)?
        .map(|seconds| u64::try_from(seconds).unwrap_or(1));
    let orphan = typed(body, "orphanDependents", Value::as_bool)?;
    let policy = typed(body, "propagationPolicy", Value::as_str)?;
    if orphan.is_some() && policy.is_some() {
        flaws.add(
            "FieldValueInvalid",
            "propagationPolicy",
            format!(
                "Invalid value: {:?}: orphanDependents and deletionPropagation cannot be both set",
                policy.unwrap_or_default()
            ),
        );
    }
    let propagation = match (policy, orphan) {
        (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
        (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
        (Some("Foreground"), _) => Some(Propagation::Foreground),
        (None, None) => None,
        (Some(other), _) => {
            flaws.unsupported(
                "propagationPolicy",
                &format!("{other:?}"),
                "\"Background\", \"Foreground\", \"Orphan\", \"nil\"",
            );
            None
        }
    };
    let requested = body["dryRun"].as_array().map_or(&[][..], Vec::as_slice);
    let dry_run = dry_run(requested.iter().filter_map(Value::as_str), &mut flaws);
    flaws.end()?;
    let preconditions = &body["preconditions"];
    let version = match typed(preconditions, "resourceVersion", Value::as_str)? {
        None => None,
        Some(version) => parse_version(version).map_err(Failure::bad_request)?,
    };
    Ok(DeleteOptions {
        grace,
        uid: typed(preconditions, "uid", Value::as_str)?.map(str::to_owned),
        version,
        propagation,
        dry_run,
    })
}

/// A field that, if it is there, has to be of a type.
fn typed<'a, T>(
    body: &'a Value,
    field: &str,
    read: impl FnOnce(&'a Value) -> Option<T>,
) -> Result<Option<T>, Failure> {
    match &body[field] {
        Value::Null => Ok(None),
        value => read(value).map(Some).ok_or_else(|| {
            Failure::bad_request(format!("DeleteOptions: {field} cannot be {value}"))
        }),
    }
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>, flaws: &mut Flaws) -> bool {
    let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
    if values.iter().any(|value| *value != "All") {
        let listed: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
        let listed = format!("[]string{{{}}}", listed.join(", "));
        flaws.unsupported("dryRun", &listed, "\"All\"");
    }
    !values.is_empty()
}

fn integer(query: &Query, name: &str) -> Result<Option<i64>, Failure> {
    let Some(text) = query.first(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        Failure::bad_request(format!(
            "strconv.ParseInt: parsing {text:?}: invalid syntax"
        ))
    })
}

fn parse_version(text: &str) -> Result<Option<Version>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        )
    })
}

/// What is wrong with options.
struct Flaws {
    kind: &'static str,
    causes: Vec<Value>,
}

impl Flaws {
    const fn of(kind: &'static str) -> Self {
        Self {
            kind,
            causes: Vec::new(),
        }
    }

    fn add(&mut self, reason: &str, field: &str, message: String) {
        self.causes
            .push(json!({"reason": reason, "message": message, "field": field}));
    }

    fn forbidden(&mut self, field: &str, why: &str) {
        self.add("FieldValueForbidden", field, format!("Forbidden: {why}"));
    }

    fn unsupported(&mut self, field: &str, value: &str, supported: &str) {
        self.add(
            "FieldValueNotSupported",
            field,
            format!("Unsupported value: {value}: supported values: {supported}"),
        );
    }

    fn end(self) -> Result<(), Failure> {
        if self.causes.is_empty() {
            return Ok(());
        }
        let text = |cause: &Value| {
            let part = |name: &str| cause[name].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", part("field"), part("message"))
        };
        let texts: Vec<String> = self.causes.iter().map(text).collect();
        let list = match &texts[..] {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let kind = self.kind;
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {list}");
        let mut failure = Failure::new(422, "Invalid", message);
        failure.details = json!({"group": "meta.k8s.io", "kind": kind, "causes": self.causes});
        Err(failure)
    }
}

#[cfg(test)]
mod tests;
