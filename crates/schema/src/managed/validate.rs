//! Whether what is applied fits the schema.

use std::collections::BTreeSet;

use serde_json::Value;

use super::element::Element;
use crate::{ListKind, Node, Scalar, Schema};

/// What does not fit, in the words of upstream; none if all does.
///
/// Upstream: structured-merge-diff typed/validate.go, TypedValue.Validate, and helpers.go,
/// ValidationErrors.Error.
/// Shown by: what_does_not_fit_is_refused_in_the_words_of_upstream.
pub(super) fn flaws(schema: &Schema, value: &Value) -> Option<String> {
    let mut flaws = Vec::new();
    check(schema, value, "", &mut flaws);
    match &flaws[..] {
        [] => None,
        [flaw] => Some(flaw.clone()),
        flaws => Some(format!("errors:\n  {}", flaws.join("\n  "))),
    }
}

fn check(schema: &Schema, value: &Value, path: &str, flaws: &mut Vec<String>) {
    let at = |what: String| {
        if path.is_empty() {
            what
        } else {
            format!("{path}: {what}")
        }
    };
    match (schema.node(), value) {
        (Node::Any, _) | (_, Value::Null) => {}
        (Node::Object(_) | Node::Map(_), Value::Object(fields)) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                let Some(field) = schema.field(name) else {
                    flaws.push(format!("{path}: field not declared in schema"));
                    return;
                };
                check(field, value, &path, flaws);
            }
        }
        (Node::Object(_) | Node::Map(_), other) => {
            flaws.push(at(format!("expected map, got &{{{}}}", plain(other))));
        }
        (Node::List(list), Value::Array(items)) => {
            let mut seen = BTreeSet::new();
            for (place, item) in items.iter().enumerate() {
                let element = if list.kind == ListKind::Atomic {
                    Element::Index(i64::try_from(place).unwrap_or(i64::MAX))
                } else {
                    match Element::of_list(&list.kind, &list.items, item) {
                        Ok(element) => element,
                        Err(error) => return flaws.push(at(format!("element {place}: {error}"))),
                    }
                };
                let below = format!("{path}{element}");
                if !seen.insert(element.clone()) {
                    flaws.push(at(format!("duplicate entries for key {element}")));
                }
                check(&list.items, item, &below, flaws);
            }
        }
        (Node::List(_), other) => {
            flaws.push(at(format!("expected list, got &{{{}}}", plain(other))));
        }
        (Node::Scalar(scalar), value) => {
            flaws.extend(misfit(*scalar, value).map(at));
        }
    }
}

/// What is wrong with a scalar of this type, in upstream's words.
///
/// Upstream: structured-merge-diff typed/validate.go, validateScalar. What has a format is of no type there.
/// Shown by: what_does_not_fit_is_refused_in_the_words_of_upstream.
fn misfit(scalar: Scalar, value: &Value) -> Option<String> {
    match scalar {
        Scalar::String | Scalar::Bytes => (!value.is_string()).then(|| {
            format!(
                "expected string, got &value.valueUnstructured{{Value:{}}}",
                quoted(value)
            )
        }),
        Scalar::Int32 | Scalar::Int64 | Scalar::Float64 => (!value.is_number()).then(|| {
            format!(
                "expected numeric (int or float), got {}",
                name_of_type(value)
            )
        }),
        Scalar::Boolean => {
            (!value.is_boolean()).then(|| format!("expected boolean, got &{{{}}}", plain(value)))
        }
        Scalar::IntOrString | Scalar::Quantity | Scalar::Time | Scalar::MicroTime => {
            (value.is_object() || value.is_array())
                .then(|| format!("expected any scalar, got &{{{}}}", plain(value)))
        }
    }
}

/// What Go calls the type of a value that it has read from JSON.
fn name_of_type(value: &Value) -> &'static str {
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

/// As Go prints it by `%v`.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields: Vec<String> = fields
                .map(|(name, value)| format!("{name}:{}", plain(value)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
    }
}

/// As Go prints it by `%#v`.
fn quoted(value: &Value) -> String {
    let kind = name_of_type(value);
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(quoted).collect();
            format!("{kind}{{{}}}", items.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields: Vec<String> = fields
                .map(|(name, value)| format!("{name:?}:{}", quoted(value)))
                .collect();
            format!("{kind}{{{}}}", fields.join(", "))
        }
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
