//! The body of a request.

use std::fmt;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use probelet_model::yaml;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::request::PatchType;

/// A body, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// What it says.
    pub value: Value,
    /// The fields that are in it twice, of which the last counts: `spec.replicas`.
    pub duplicates: Vec<String>,
}

/// Reads a body by its content type; none is JSON.
///
/// Upstream: apiserver pkg/endpoints/handlers/negotiation/negotiate.go, NegotiateInputSerializer; its JSON decoder
/// in apimachinery pkg/runtime/serializer/json/json.go.
/// Differs: a field that is twice in a YAML body is an error whatever `fieldValidation` says: the reader of YAML does not
/// go on behind it.
/// Shown by: bodies_are_read, what_is_no_body_is_refused.
///
/// # Errors
/// [`Failure`]: 415 for a type that is not known, 400 for a body that is not of its type.
pub fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Content, Failure> {
    match media_type(headers)? {
        "" | "application/json" => json(body),
        "application/yaml" => from_yaml(body),
        "application/vnd.kubernetes.protobuf" => probelet_schema::protobuf::decode(body)
            .map(Content::from)
            .map_err(|error| Failure::bad_request(error.to_string())),
        _ => Err(unsupported(
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// What kind of patch a body is, and what it says.
///
/// Upstream: apiserver pkg/endpoints/handlers/patch.go, PatchResource.
/// Shown by: patches_are_told_apart.
///
/// # Errors
/// [`Failure`]: 415 for a type that is no patch's, 400 for a body that is not of its type.
pub fn patch_type(headers: &HeaderMap, body: &[u8]) -> Result<(PatchType, Content), Failure> {
    match media_type(headers)? {
        "application/json-patch+json" => Ok((PatchType::Json, json(body)?)),
        "application/merge-patch+json" => Ok((PatchType::Merge, json(body)?)),
        "application/strategic-merge-patch+json" => Ok((PatchType::Strategic, json(body)?)),
        "application/apply-patch+yaml" => Ok((PatchType::Apply, from_yaml(body)?)),
        _ => Err(unsupported(
            "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, \
             application/apply-patch+yaml",
        )),
    }
}

impl From<Value> for Content {
    fn from(value: Value) -> Self {
        Self {
            value,
            duplicates: Vec::new(),
        }
    }
}

fn media_type(headers: &HeaderMap) -> Result<&str, Failure> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok("");
    };
    let value = value
        .to_str()
        .map_err(|_| Failure::bad_request("the content type is no text"))?;
    Ok(value.split(';').next().unwrap_or_default().trim())
}

fn unsupported(accepted: &str) -> Failure {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {accepted}"
    );
    Failure::new(415, "UnsupportedMediaType", message)
}

fn json(body: &[u8]) -> Result<Content, Failure> {
    let mut duplicates = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(body);
    let node = Reader {
        path: &mut String::new(),
        duplicates: &mut duplicates,
    };
    let value = node
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| {
            Failure::bad_request(format!(
                "couldn't get version/kind; json parse error: {error}"
            ))
        })?;
    Ok(Content { value, duplicates })
}

fn from_yaml(body: &[u8]) -> Result<Content, Failure> {
    let yaml_error = |why: &dyn fmt::Display| {
        Failure::bad_request(format!("error converting YAML to JSON: yaml: {why}"))
    };
    let text = std::str::from_utf8(body).map_err(|error| yaml_error(&error))?;
    let mut documents = yaml::documents(text);
    match documents.len() {
        0 => Ok(Value::Null.into()),
        // More than one is what kubectl splits; upstream reads the first and leaves the rest.
        _ => documents
            .swap_remove(0)
            .map(|node| node.to_value().into())
            .map_err(|error| yaml_error(&format!("line {}: {error}", error.at.line))),
    }
}

/// Reads JSON as [`Value`] does, and remembers what was there twice.
struct Reader<'a> {
    path: &'a mut String,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        let length = self.path.len();
        loop {
            use fmt::Write;
            // Writing to a String cannot fail.
            let _infallible = write!(self.path, "[{}]", elements.len());
            let element = access.next_element_seed(Reader {
                path: &mut *self.path,
                duplicates: &mut *self.duplicates,
            })?;
            self.path.truncate(length);
            match element {
                Some(element) => elements.push(element),
                None => return Ok(Value::Array(elements)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        let length = self.path.len();
        while let Some(name) = access.next_key::<String>()? {
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(&name);
            if fields.contains_key(&name) {
                self.duplicates.push(self.path.clone());
            }
            let value = access.next_value_seed(Reader {
                path: &mut *self.path,
                duplicates: &mut *self.duplicates,
            })?;
            self.path.truncate(length);
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(content_type: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        }
        headers
    }

    #[test]
    fn bodies_are_read() {
        let rows = [
            ("", "{\"a\": [1, -2, 1.5, \"x\", null, true]}"),
            (
                "application/json",
                "{\"a\": [1, -2, 1.5, \"x\", null, true]}",
            ),
            (
                "application/json; charset=utf-8",
                "{\"a\": [1, -2, 1.5, \"x\", null, true]}",
            ),
            ("application/yaml", "a: [1, -2, 1.5, x, ~, true]"),
        ];
        for (kind, body) in rows {
            let read = decode(&headers(kind), body.as_bytes()).unwrap();
            assert_eq!(
                read.value,
                json!({"a": [1, -2, 1.5, "x", null, true]}),
                "{kind}"
            );
        }
        let twice = b"{\"spec\": {\"a\": 1, \"l\": [{}, {\"b\": 1, \"b\": 2}], \"a\": 3}, \"x\": {\"a\": 1}}";
        let read = decode(&headers(""), twice).unwrap();
        assert_eq!(read.duplicates, ["spec.l[1].b", "spec.a"]);
        assert_eq!(read.value["spec"]["a"], 3);
    }

    #[test]
    fn what_is_no_body_is_refused() {
        let rows = [
            ("text/plain", "{}", 415, "unknown format"),
            (
                "application/json",
                "{",
                400,
                "couldn't get version/kind; json parse error",
            ),
            ("application/json", "{} {}", 400, "trailing characters"),
            (
                "application/yaml",
                "a: 1\na: 2",
                400,
                "error converting YAML to JSON: yaml: line 2",
            ),
            (
                "application/vnd.kubernetes.protobuf",
                "{}",
                400,
                "expected prefix [107 56 115 0]",
            ),
        ];
        for (kind, body, code, message) in rows {
            let failure = decode(&headers(kind), body.as_bytes()).unwrap_err();
            assert_eq!(failure.code, code, "{kind}");
            assert!(failure.message.contains(message), "{}", failure.message);
        }
        let failure = patch_type(&headers("application/json"), b"{}").unwrap_err();
        assert_eq!(failure.code, 415);
        assert!(failure.message.contains("application/apply-patch+yaml"));
    }

    #[test]
    fn patches_are_told_apart() {
        let rows = [
            ("application/json-patch+json", PatchType::Json),
            ("application/merge-patch+json", PatchType::Merge),
            (
                "application/strategic-merge-patch+json",
                PatchType::Strategic,
            ),
            ("application/apply-patch+yaml", PatchType::Apply),
        ];
        for (kind, expected) in rows {
            let (found, _) = patch_type(&headers(kind), b"[]").unwrap();
            assert_eq!(found, expected, "{kind}");
        }
    }
}
