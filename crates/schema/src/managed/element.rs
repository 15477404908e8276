//! One step of a path to a field, as `managedFields` writes it.

use std::fmt;

use serde_json::Value;

use crate::{ListKind, Schema};

/// How a part of a value is chosen out of it.
///
/// Ordered as upstream orders them, which is the order in which conflicts are told.
///
/// Upstream: structured-merge-diff fieldpath/element.go, PathElement.
/// Shown by: fields_v1_is_that_of_upstream, conflicts_name_the_manager_as_upstream_does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    /// `f:replicas`: a field, or a key of a map.
    Field(String),
    /// `k:{"name":"web"}`: the element of a list whose keys have these values, in the order of their names.
    Key(Vec<(String, Scalar)>),
    /// `v:"kubernetes.io/pvc-protection"`: the element of a set.
    Value(Scalar),
    /// `i:0`: the element of a list at that place. No schema makes one; they can be read.
    Index(i64),
}

/// A value in a key or of a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scalar {
    Integer(i64),
    Text(String),
    /// What else JSON has, as its text.
    Other(String),
}

impl Scalar {
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.clone()),
            Value::Number(number) if number.is_i64() => {
                Self::Integer(number.as_i64().unwrap_or_default())
            }
            other => Self::Other(other.to_string()),
        }
    }

    fn json(&self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Text(text) => Value::from(text.as_str()).to_string(),
            Self::Other(json) => json.clone(),
        }
    }
}

impl Element {
    pub(super) fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    /// The element's name in `fieldsV1`.
    pub(super) fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let fields = fields.iter();
                let fields: Vec<String> = fields
                    .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), value.json()))
                    .collect();
                format!("k:{{{}}}", fields.join(","))
            }
            Self::Value(value) => format!("v:{}", value.json()),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// The element of a name in `fieldsV1`; none if it is of a sort that is not known, which is passed over so
    /// that a later version may have one.
    ///
    /// Upstream: structured-merge-diff fieldpath/serialize-pe.go, DeserializePathElement.
    /// Shown by: what_is_no_set_is_an_error_and_what_is_new_is_passed_over.
    pub(super) fn decode(name: &str) -> Result<Option<Self>, String> {
        if name.len() < 2 {
            return Err("key must be 2 characters long:".to_owned());
        }
        let Some((sort, rest)) = name.split_once(':').filter(|(sort, _)| sort.len() == 1) else {
            return Err(format!("missing colon: {name}"));
        };
        let json = || serde_json::from_str::<Value>(rest).map_err(|error| error.to_string());
        Ok(Some(match sort {
            "f" => Self::field(rest),
            "v" => Self::Value(Scalar::of(&json()?)),
            "k" => {
                let Value::Object(fields) = json()? else {
                    return Err(format!("a key is an object: {name}"));
                };
                let mut fields: Vec<(String, Scalar)> = fields
                    .iter()
                    .map(|(name, value)| (name.clone(), Scalar::of(value)))
                    .collect();
                fields.sort();
                Self::Key(fields)
            }
            "i" => Self::Index(rest.parse().map_err(|_| format!("no index: {name}"))?),
            _ => return Ok(None),
        }))
    }

    /// By what an element of a list is known; an error if it cannot be.
    ///
    /// Upstream: structured-merge-diff typed/helpers.go, listItemToPathElement. A key that is missing has its
    /// default, if there is one; else it is left out, which is another key.
    /// Shown by: a_key_has_its_default.
    pub(super) fn of_list(kind: &ListKind, items: &Schema, item: &Value) -> Result<Self, String> {
        match kind {
            ListKind::Atomic => Err("invalid indexing of non-associative list".to_owned()),
            ListKind::Set => match item {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".to_owned())
                }
                Value::Array(_) => {
                    Err("not supported: associative list with lists as elements".to_owned())
                }
                Value::Null => Err(
                    "associative list without keys has an element that's an explicit null"
                        .to_owned(),
                ),
                scalar => Ok(Self::Value(Scalar::of(scalar))),
            },
            ListKind::Map(keys) => Self::of_keys(keys, items, item),
        }
    }

    fn of_keys(keys: &[String], items: &Schema, item: &Value) -> Result<Self, String> {
        let Value::Object(item) = item else {
            return Err(if item.is_null() {
                "associative list with keys may not have a null element".to_owned()
            } else {
                "associative list with keys may not have non-map elements".to_owned()
            });
        };
        let mut fields: Vec<(String, Scalar)> = keys
            .iter()
            .filter_map(|key| {
                let default = || items.field(key).and_then(Schema::default);
                let value = item.get(key).or_else(default)?;
                Some((key.clone(), Scalar::of(value)))
            })
            .collect();
        if fields.is_empty() {
            let quoted: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have \
                 default values for any key fields)",
                quoted.join(" ")
            ));
        }
        fields.sort();
        Ok(Self::Key(fields))
    }
}

/// As a part of a path: `.replicas`, `[name="web"]`, `[="a"]`, `[0]`.
///
/// Upstream: structured-merge-diff fieldpath/element.go, PathElement.String.
/// Shown by: fields_v1_is_that_of_upstream, conflicts_name_the_manager_as_upstream_does.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{name}={}", value.json()))
                    .collect();
                write!(f, "[{}]", fields.join(","))
            }
            Self::Value(value) => write!(f, "[={}]", value.json()),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}
