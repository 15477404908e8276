//! JSON patch, RFC 6902, as the library understands it that upstream uses, and in its words.
//!
//! It is laxer than the RFC with an object's key that is not there: to `test` and `copy` it is null, and
//! `replace` adds it. And an index may be negative: it counts from the end.
//!
//! Upstream: gopkg.in/evanphx/json-patch.v4 patch.go, Patch.ApplyIndent.
//! Shown by: json_patches_do_what_upstream_does.

use serde_json::{Map, Value};

use super::PatchError;
use crate::go;

/// What all `copy` of one patch may add, in bytes of JSON.
///
/// Upstream: apiserver pkg/server/config.go, Config.JSONPatchMaxCopyBytes.
/// Shown by: what_a_json_patch_copies_is_bounded.
const MAX_COPIED: usize = 3 * 1024 * 1024;

const MISSING: &str = "missing value";

pub(super) fn apply(mut object: Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = patch
        .as_array()
        .ok_or_else(|| undecodable(patch, "[]handlers.jsonPatchOp"))?;
    let mut copied = 0;
    for operation in operations {
        let fields = operation
            .as_object()
            .ok_or_else(|| undecodable(operation, "handlers.jsonPatchOp"))?;
        Operation(fields)
            .apply(&mut object, &mut copied)
            .map_err(PatchError::DoesNotApply)?;
    }
    Ok(object)
}

fn undecodable(value: &Value, go_type: &str) -> PatchError {
    PatchError::Malformed(format!(
        "error decoding patch: json: cannot unmarshal {} into Go value of type {go_type}",
        go::kind(value)
    ))
}

struct Operation<'p>(&'p Map<String, Value>);

impl Operation<'_> {
    fn apply(&self, object: &mut Value, copied: &mut usize) -> Result<(), String> {
        match self.0.get("op").and_then(Value::as_str) {
            Some("add") => self.add(object),
            Some("remove") => self.remove(object),
            Some("replace") => self.replace(object),
            Some("move") => self.shift(object),
            Some("copy") => self.copy(object, copied),
            Some("test") => self.test(object),
            other => Err(format!("Unexpected kind: {}", other.unwrap_or("unknown"))),
        }
    }

    fn value(&self) -> Value {
        self.0.get("value").cloned().unwrap_or(Value::Null)
    }

    fn path(&self, operation: &str) -> Result<&str, String> {
        self.0.get("path").and_then(Value::as_str).ok_or_else(|| {
            format!(
                "{operation} operation failed to decode path: operation missing path field: {MISSING}"
            )
        })
    }

    fn from(&self, operation: &str) -> Result<&str, String> {
        self.0.get("from").and_then(Value::as_str).ok_or_else(|| {
            format!(
                "{operation} operation failed to decode from: operation, missing from field: {MISSING}"
            )
        })
    }

    fn add(&self, object: &mut Value) -> Result<(), String> {
        let path = self.path("add")?;
        let place = Place::find(object, path).ok_or_else(|| {
            format!("add operation does not apply: doc is missing path: \"{path}\": {MISSING}")
        })?;
        place
            .add(self.value())
            .map_err(|why| format!("error in add for path: '{path}': {why}"))
    }

    fn remove(&self, object: &mut Value) -> Result<(), String> {
        let path = self.path("remove")?;
        let place = Place::find(object, path).ok_or_else(|| {
            format!("remove operation does not apply: doc is missing path: \"{path}\": {MISSING}")
        })?;
        place
            .remove()
            .map(drop)
            .map_err(|why| format!("error in remove for path: '{path}': {why}"))
    }

    fn replace(&self, object: &mut Value) -> Result<(), String> {
        let path = self.path("replace")?;
        if path.is_empty() {
            let value = self.value();
            if !value.is_object() && !value.is_array() {
                return Err("replace operation value must be object or array".to_owned());
            }
            *object = value;
            return Ok(());
        }
        let place = Place::find(object, path).ok_or_else(|| {
            format!("replace operation does not apply: doc is missing path: {path}: {MISSING}")
        })?;
        place.set(self.value()).map_err(|_| {
            format!("replace operation does not apply: doc is missing key: {path}: {MISSING}")
        })
    }

    fn shift(&self, object: &mut Value) -> Result<(), String> {
        let from = self.from("move")?;
        let place = Place::find(object, from).ok_or_else(|| {
            format!("move operation does not apply: doc is missing from path: {from}: {MISSING}")
        })?;
        let key = place.key.clone();
        let value = place
            .remove()
            .map_err(|why| format!("error in move for path: '{key}': {why}"))?;
        let path = self.path("move")?;
        let place = Place::find(object, path).ok_or_else(|| {
            format!(
                "move operation does not apply: doc is missing destination path: {path}: {MISSING}"
            )
        })?;
        place
            .add(value)
            .map_err(|why| format!("error in move for path: '{path}': {why}"))
    }

    fn copy(&self, object: &mut Value, copied: &mut usize) -> Result<(), String> {
        let from = self.from("copy")?;
        let place = Place::find(object, from).ok_or_else(|| {
            format!("copy operation does not apply: doc is missing from path: {from}: {MISSING}")
        })?;
        let value = place
            .value()
            .map_err(|why| format!("error in copy for from: '{from}': {why}"))?
            .clone();
        let path = self.path("copy")?;
        let place = Place::find(object, path).ok_or_else(|| {
            format!(
                "copy operation does not apply: doc is missing destination path: {path}: {MISSING}"
            )
        })?;
        *copied += value.to_string().len();
        if *copied > MAX_COPIED {
            return Err(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}"
            ));
        }
        place
            .add(value)
            .map_err(|why| format!("error while adding value during copy: {why}"))
    }

    fn test(&self, object: &mut Value) -> Result<(), String> {
        let path = self.path("test")?;
        let place;
        let there = if path.is_empty() {
            &*object
        } else {
            place = Place::find(object, path).ok_or_else(|| {
                format!("test operation does not apply: is missing path: {path}: {MISSING}")
            })?;
            place
                .value()
                .map_err(|why| format!("error in test for path: '{path}': {why}"))?
        };
        if *there == self.value() {
            Ok(())
        } else {
            Err(format!("testing value {path} failed: test failed"))
        }
    }
}

/// A place in an object, whether or not anything is there.
struct Place<'o> {
    within: Within<'o>,
    key: String,
}

enum Within<'o> {
    Object(&'o mut Map<String, Value>),
    List(&'o mut Vec<Value>),
}

impl<'o> Place<'o> {
    /// `None` if there is nothing in which it could be.
    fn find(object: &'o mut Value, path: &str) -> Option<Self> {
        let (parents, key) = path.rsplit_once('/')?;
        let mut within = Within::of(object)?;
        for parent in parents.split('/').skip(1) {
            within = Within::of(match within {
                Within::Object(entries) => entries.get_mut(&decoded(parent))?,
                Within::List(elements) => {
                    let index = index(&decoded(parent), elements.len()).ok()?;
                    &mut elements[index]
                }
            })?;
        }
        let key = decoded(key);
        Some(Self { within, key })
    }

    fn value(&self) -> Result<&Value, String> {
        Ok(match &self.within {
            Within::Object(entries) => entries.get(&self.key).unwrap_or(&Value::Null),
            Within::List(elements) => &elements[index(&self.key, elements.len())?],
        })
    }

    fn set(self, value: Value) -> Result<(), String> {
        match self.within {
            Within::Object(entries) => {
                entries.insert(self.key, value);
            }
            Within::List(elements) => {
                let index = index(&self.key, elements.len())?;
                elements[index] = value;
            }
        }
        Ok(())
    }

    fn add(self, value: Value) -> Result<(), String> {
        match self.within {
            Within::Object(entries) => {
                entries.insert(self.key, value);
            }
            Within::List(elements) if self.key == "-" => elements.push(value),
            Within::List(elements) => elements.insert(index(&self.key, elements.len() + 1)?, value),
        }
        Ok(())
    }

    fn remove(self) -> Result<Value, String> {
        match self.within {
            Within::Object(entries) => entries.remove(&self.key).ok_or_else(|| {
                format!("Unable to remove nonexistent key: {}: {MISSING}", self.key)
            }),
            Within::List(elements) => Ok(elements.remove(index(&self.key, elements.len())?)),
        }
    }
}

impl<'o> Within<'o> {
    fn of(value: &'o mut Value) -> Option<Self> {
        match value {
            Value::Object(entries) => Some(Self::Object(entries)),
            Value::Array(elements) => Some(Self::List(elements)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    }
}

/// The element of a list of `length` that a key means.
fn index(key: &str, length: usize) -> Result<usize, String> {
    let index: i64 = key.parse().map_err(|_| {
        format!("value was not a proper array index: '{key}': strconv.Atoi: parsing {key:?}: invalid syntax")
    })?;
    let from_the_start = if index < 0 {
        i64::try_from(length).ok().map(|length| index + length)
    } else {
        Some(index)
    };
    from_the_start
        .and_then(|index| usize::try_from(index).ok())
        .filter(|index| *index < length)
        .ok_or_else(|| format!("Unable to access invalid index: {index}: invalid index referenced"))
}

/// RFC 6901: `~1` is a slash, then `~0` a tilde.
fn decoded(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}
