//! Whether an object has the fields and types that Kubernetes gives it: all type errors and all unknown
//! fields, not only the first.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::field::{FieldError, FieldPath};
use crate::fields;
use crate::id::Kind;

/// More type errors than anybody reads at once; bounds the rounds of [`read`].
const MAX_TYPE_ERRORS: usize = 100;

/// An object as far as it could be read.
pub(super) struct Shape<T> {
    /// With a stand-in wherever there was a type error; `None` if even that did not help.
    pub(super) object: Option<T>,
    /// Type errors and unknown fields.
    pub(super) errors: Vec<FieldError>,
}

/// Reads `value` as a `T`.
///
/// A decoder stops at the first value of a wrong type. So that the rest is seen too, the value is noted,
/// a stand-in of the right type takes its place, and the reading starts again.
pub(super) fn read<T: DeserializeOwned>(kind: Kind, value: &Value) -> Shape<T> {
    let mut repaired: Option<Value> = None;
    let mut errors: Vec<FieldError> = Vec::new();
    while errors.len() < MAX_TYPE_ERRORS {
        let current = repaired.as_ref().unwrap_or(value);
        match read_once(current) {
            Ok((object, unknown)) => {
                errors.extend(unknown.into_iter().map(|path| {
                    let meant = fields::similar(kind, &path);
                    FieldError::unknown(path, meant)
                }));
                return Shape {
                    object: Some(object),
                    errors,
                };
            }
            Err(error) => {
                let again = errors.iter().any(|earlier| earlier.path == error.path);
                if !again {
                    let got = error.path.find(value);
                    errors.push(FieldError::new(error.path.clone(), error.explain(got)));
                }
                let stand_in = if again { Value::Null } else { error.stand_in() };
                let slot = repaired.get_or_insert_with(|| value.clone());
                match error.path.find_mut(slot) {
                    Some(slot) if *slot != stand_in => *slot = stand_in,
                    _ => break,
                }
            }
        }
    }
    Shape {
        object: None,
        errors,
    }
}

fn read_once<T: DeserializeOwned>(value: &Value) -> Result<(T, Vec<FieldPath>), TypeError> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    // Boxed, so that it is of one type whatever `T` is: what Pods have in common with all that makes Pods is then
    // compiled once.
    let mut note: Box<dyn FnMut(serde_ignored::Path<'_>) + '_> =
        Box::new(|path| unknown.push(ignored_path(&path)));
    let read = T::deserialize(serde_ignored::Deserializer::new(tracked, &mut note));
    drop(note);
    match read {
        Ok(object) => Ok((object, unknown)),
        Err(error) => Err(TypeError {
            path: error_path(&track.path()),
            message: error.to_string(),
        }),
    }
}

fn ignored_path(path: &serde_ignored::Path<'_>) -> FieldPath {
    use serde_ignored::Path;
    match path {
        Path::Root => FieldPath::root(),
        Path::Seq { parent, index } => ignored_path(parent).index(*index),
        Path::Map { parent, key } => ignored_path(parent).key_or_field(key),
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => ignored_path(parent),
    }
}

fn error_path(path: &serde_path_to_error::Path) -> FieldPath {
    use serde_path_to_error::Segment;
    path.iter()
        .fold(FieldPath::root(), |path, segment| match segment {
            Segment::Seq { index } => path.index(*index),
            Segment::Map { key } => path.key_or_field(key),
            Segment::Enum { .. } | Segment::Unknown => path,
        })
}

/// A value that is not of its field's type.
struct TypeError {
    path: FieldPath,
    /// The decoder's, `invalid type: string "a", expected i32`.
    message: String,
}

impl TypeError {
    fn expected(&self) -> Option<&str> {
        self.message
            .rsplit_once(", expected ")
            .map(|(_, expected)| expected)
    }

    fn explain(&self, got: Option<&Value>) -> String {
        let Some(expected) = self.expected() else {
            return bytes(&self.message).unwrap_or_else(|| self.message.clone());
        };
        let in_range = !self.message.starts_with("invalid value");
        let expected = match expected {
            "i32" | "i64" if in_range => "an integer",
            "i32" | "a 32-bit integer" => "a 32-bit integer",
            "i64" => "a 64-bit integer",
            "a string" | "string" => "a string",
            "a boolean" => "true or false",
            "a sequence" | "Vec" => "a list",
            "IntOrString" => "an integer or a string",
            "Quantity" => "a quantity",
            quoted if quoted.starts_with('"') => quoted,
            _ => "an object",
        };
        format!(
            "expected {expected}, got {}",
            got.map_or_else(|| "nothing".to_owned(), describe)
        )
    }

    fn stand_in(&self) -> Value {
        match self.expected() {
            Some("i32" | "i64" | "a 32-bit integer" | "IntOrString") => json!(0),
            Some("a string" | "string" | "Quantity") => json!(""),
            Some("a boolean") => json!(false),
            Some("a sequence" | "Vec") => json!([]),
            Some(_) => json!({}),
            None => Value::Null,
        }
    }
}

/// What is said of a text that is not base64; none of it, which may be a secret.
///
/// Upstream: Go src/encoding/base64/base64.go, CorruptInputError.Error.
/// Shown by: secrets_are_validated.
fn bytes(message: &str) -> Option<String> {
    const STARTS: [&str; 4] = [
        "Invalid symbol",
        "Invalid last symbol",
        "Invalid padding",
        "Invalid input length",
    ];
    let is_base64 = STARTS.iter().any(|start| message.starts_with(start));
    let offset = message
        .rsplit_once("offset ")
        .map(|(_, offset)| format!(" at input byte {}", offset.trim_end_matches('.')));
    is_base64.then(|| format!("illegal base64 data{}", offset.unwrap_or_default()))
}

fn describe(value: &Value) -> String {
    const LONGEST: usize = 60;
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) if text.chars().count() > LONGEST => {
            format!("{:?}...", text.chars().take(LONGEST).collect::<String>())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
