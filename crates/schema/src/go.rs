//! Values as Go names and prints them, for errors that people look up.

use std::fmt;

use serde_json::Value;

/// What a decoder of Go calls a value.
pub(crate) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// `%v` of a decoded JSON value: `map[image:nginx ports:[80 443]]`.
pub(crate) struct Go<'v>(pub(crate) &'v Value);

impl Go<'_> {
    pub(crate) fn list(list: &[Value]) -> String {
        let elements: Vec<String> = list.iter().map(|element| Go(element).to_string()).collect();
        format!("[{}]", elements.join(" "))
    }

    /// `%T`.
    pub(crate) fn type_of(value: &Value) -> &'static str {
        match value {
            Value::Null => "<nil>",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float64",
            Value::Number(_) => "int64",
            Value::String(_) => "string",
            Value::Array(_) => "[]interface {}",
            Value::Object(_) => "map[string]interface {}",
        }
    }
}

impl fmt::Display for Go<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("<nil>"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(value) => write!(f, "{value}"),
            Value::String(value) => f.write_str(value),
            Value::Array(elements) => f.write_str(&Go::list(elements)),
            Value::Object(entries) => {
                f.write_str("map[")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    let space = if index == 0 { "" } else { " " };
                    write!(f, "{space}{key}:{}", Go(value))?;
                }
                f.write_str("]")
            }
        }
    }
}
