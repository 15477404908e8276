//! The definitions that come with the crate: `data/definitions.json.z`, read once.
//!
//! The file is what `cargo xtask schema` makes: a JSON object of OpenAPI v3 schemas by their names, as the
//! documents serve them, compressed by zlib. What is kept of it in memory is the [`Schema`]s alone, without
//! the descriptions, which are most of it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::OnceLock;

use serde_json::{Map as JsonMap, Value};

use crate::schema::{Cell, List, ListKind, Map, Node, Object, PatchStrategy, Scalar, Schema};

/// What [`read`] reads.
static DATA: &[u8] = include_bytes!("../data/definitions.json.z");

/// How a schema names another.
pub(crate) const REFERENCE: &str = "#/components/schemas/";

/// Of all kinds: apiVersion, then kind.
type Kinds = BTreeMap<String, BTreeMap<String, Cell>>;

/// The schema of a kind.
pub(crate) fn kind(api_version: &str, kind: &str) -> Option<&'static Schema> {
    static KINDS: OnceLock<Kinds> = OnceLock::new();
    KINDS
        .get_or_init(|| kinds(&read()))
        .get(api_version)?
        .get(kind)?
        .get()
}

/// The definitions as they are served. Not kept: whoever asks makes something of it once.
///
/// # Panics
/// Never: a test reads the file, and it cannot change after that.
pub(crate) fn read() -> JsonMap<String, Value> {
    let mut text = String::new();
    flate2::read::ZlibDecoder::new(DATA)
        .read_to_string(&mut text)
        .expect("the data was compressed by us");
    serde_json::from_str(&text).expect("the data was written by us")
}

/// The kinds among definitions: each that has an `x-kubernetes-group-version-kind`, under each of those.
fn kinds(definitions: &JsonMap<String, Value>) -> Kinds {
    let types = Types::of(definitions);
    let mut kinds = Kinds::new();
    for (name, definition) in definitions {
        let gvks = definition["x-kubernetes-group-version-kind"].as_array();
        for gvk in gvks.into_iter().flatten() {
            let [group, version, kind] =
                ["group", "version", "kind"].map(|part| gvk[part].as_str().unwrap_or_default());
            let api_version = if group.is_empty() {
                version.to_owned()
            } else {
                format!("{group}/{version}")
            };
            kinds
                .entry(api_version)
                .or_default()
                .insert(kind.to_owned(), types.0[name.as_str()]);
        }
    }
    kinds
}

/// All named types. Each has its place before any is read, so that they may mean each other.
pub(crate) struct Types(BTreeMap<String, Cell>);

impl Types {
    pub(crate) fn of(definitions: &JsonMap<String, Value>) -> Self {
        let types = Self(
            definitions
                .keys()
                .map(|name| (name.clone(), &*Box::leak(Box::default())))
                .collect(),
        );
        for (name, definition) in definitions {
            // The place is new: nobody can have been there before.
            let _ = types.0[name].set(types.schema(name, definition));
        }
        types
    }

    /// The type of that name.
    #[cfg(test)]
    pub(crate) fn get(&self, name: &str) -> Option<&'static Schema> {
        self.0.get(name)?.get()
    }

    fn schema(&self, name: &str, from: &Value) -> Schema {
        let default = from.get("default").cloned();
        let patch = patch_strategy(from);
        match reference(from) {
            Some(name) => Schema::reference(self.0[name], default, patch),
            None => Schema::new(self.node(name, from, &patch), default, patch),
        }
    }

    fn node(&self, name: &str, from: &Value, patch: &PatchStrategy) -> Node {
        let atomic = from["x-kubernetes-map-type"] == "atomic";
        if let Some(fields) = from["properties"].as_object() {
            return Node::Object(Object {
                name: name.to_owned(),
                fields: fields
                    .iter()
                    .map(|(name, field)| (name.clone(), self.schema("", field)))
                    .collect(),
                atomic,
            });
        }
        if from["additionalProperties"].is_object() {
            return Node::Map(Map {
                values: Box::new(self.schema("", &from["additionalProperties"])),
                atomic,
            });
        }
        match from["type"].as_str() {
            Some("array") => Node::List(List {
                items: Box::new(self.schema("", &from["items"])),
                kind: list_kind(from, patch),
            }),
            Some("object") => Node::Any,
            _ => scalar(name, from).map_or(Node::Any, Node::Scalar),
        }
    }
}

/// The definition that a schema means, alone or, as OpenAPI wants it when more is said about it, in an
/// `allOf` of one.
fn reference(from: &Value) -> Option<&str> {
    from.get("$ref")
        .or_else(|| from.get("allOf")?.get(0)?.get("$ref"))?
        .as_str()?
        .strip_prefix(REFERENCE)
}

fn patch_strategy(from: &Value) -> PatchStrategy {
    let strategies = from["x-kubernetes-patch-strategy"]
        .as_str()
        .unwrap_or_default();
    let has = |name: &str| strategies.split(',').any(|strategy| strategy == name);
    PatchStrategy {
        merge: has("merge"),
        retain_keys: has("retainKeys"),
        merge_key: from["x-kubernetes-patch-merge-key"]
            .as_str()
            .map(str::to_owned),
    }
}

fn list_kind(from: &Value, patch: &PatchStrategy) -> ListKind {
    match from["x-kubernetes-list-type"].as_str() {
        Some("map") => ListKind::Map(
            from["x-kubernetes-list-map-keys"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        ),
        Some("set") => ListKind::Set,
        None if patch.merge => match &patch.merge_key {
            Some(key) => ListKind::Map(vec![key.clone()]),
            None => ListKind::Set,
        },
        _ => ListKind::Atomic,
    }
}

fn scalar(name: &str, from: &Value) -> Option<Scalar> {
    if name.ends_with(".IntOrString") {
        return Some(Scalar::IntOrString);
    }
    if name.ends_with(".Quantity") {
        return Some(Scalar::Quantity);
    }
    Some(match (from["type"].as_str()?, from["format"].as_str()) {
        ("string", Some("byte")) => Scalar::Bytes,
        ("string", Some("date-time")) if name.ends_with(".MicroTime") => Scalar::MicroTime,
        ("string", Some("date-time")) => Scalar::Time,
        ("string", _) => Scalar::String,
        ("integer", Some("int32")) => Scalar::Int32,
        ("integer", _) => Scalar::Int64,
        ("number", _) => Scalar::Float64,
        ("boolean", _) => Scalar::Boolean,
        _ => return None,
    })
}
