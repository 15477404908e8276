//! The OpenAPI v3 documents: one for each group and version, and an index of them.
//!
//! A document has the paths of the group's resources with what can be asked there, and the schemas of all
//! that goes in and out. Clients read from it that the server validates fields (kubectl, before it applies),
//! and explain the fields to people (`kubectl explain`).

mod parameters;
mod paths;
mod resources;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::definitions::{self, REFERENCE};

/// The document that lists the others: `{"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=..."}}}`.
/// A document with another content has another hash, so that one may be kept for ever.
///
/// Upstream: kube-openapi pkg/handler3/handler.go, OpenAPIService.HandleDiscovery.
/// Shown by: the_index_names_every_document_by_its_hash.
#[must_use]
pub fn index() -> Arc<[u8]> {
    Arc::clone(&Documents::get().index)
}

/// One document, by its place below `/openapi/v3/`: `api/v1`, `apis/apps/v1`; and its hash.
///
/// Upstream: kube-openapi pkg/handler3/handler.go, OpenAPIService.HandleGroupVersion.
/// Shown by: every_reference_of_a_document_is_in_it, kubectl_explains_what_the_documents_say.
#[must_use]
pub fn document(path: &str) -> Option<(Arc<[u8]>, &'static str)> {
    let document = Documents::get().by_path.get(path)?;
    Some((Arc::clone(&document.text), &document.hash))
}

struct Documents {
    index: Arc<[u8]>,
    by_path: BTreeMap<String, Document>,
}

struct Document {
    text: Arc<[u8]>,
    hash: String,
}

impl Documents {
    /// They are made at the first question about any of them, as the index has the hashes of all.
    fn get() -> &'static Self {
        static DOCUMENTS: OnceLock<Documents> = OnceLock::new();
        DOCUMENTS.get_or_init(Self::make)
    }

    fn make() -> Self {
        let definitions = definitions::read();
        let by_path: BTreeMap<String, Document> = resources::GROUPS
            .iter()
            .map(|group| {
                let text = text_of(group, &definitions);
                let hash = format!("{:016X}", fnv1a(&text));
                let text = text.into();
                (group.path(), Document { text, hash })
            })
            .collect();
        let paths: Map<String, Value> = by_path
            .iter()
            .map(|(path, document)| {
                let url = format!("/openapi/v3/{path}?hash={}", document.hash);
                (path.clone(), json!({ "serverRelativeURL": url }))
            })
            .collect();
        Self {
            index: json!({ "paths": paths }).to_string().into_bytes().into(),
            by_path,
        }
    }
}

fn text_of(group: &resources::Group, definitions: &Map<String, Value>) -> Vec<u8> {
    let paths = paths::of(group, &|group, kind| named(definitions, group, kind));
    let mut schemas = BTreeMap::new();
    reach(&paths, definitions, &mut schemas);
    let layout = Layout {
        openapi: "3.0.0",
        info: json!({ "title": "Kubernetes", "version": "v1.35.0" }),
        paths,
        components: BTreeMap::from([("schemas", schemas)]),
    };
    serde_json::to_vec(&layout).expect("values with text for keys are JSON")
}

/// A document. It borrows the schemas: together they are most of it, and the documents have many in common.
#[derive(Serialize)]
struct Layout<'d> {
    openapi: &'static str,
    info: Value,
    paths: Value,
    components: BTreeMap<&'static str, BTreeMap<&'d str, &'d Value>>,
}

/// The definition of a kind.
fn named(definitions: &Map<String, Value>, group: &str, kind: &str) -> Option<String> {
    definitions
        .iter()
        .find(|(_, definition)| {
            definition["x-kubernetes-group-version-kind"]
                .as_array()
                .is_some_and(|gvks| {
                    gvks.iter()
                        .any(|gvk| gvk["group"] == group && gvk["kind"] == kind)
                })
        })
        .map(|(name, _)| name.clone())
}

/// Notes the definitions that are meant by references below `value`, and by references in those.
fn reach<'d>(
    value: &Value,
    definitions: &'d Map<String, Value>,
    reached: &mut BTreeMap<&'d str, &'d Value>,
) {
    match value {
        Value::Object(entries) => {
            if let Some((name, definition)) = entries
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|reference| reference.strip_prefix(REFERENCE))
                .and_then(|name| definitions.get_key_value(name))
                && reached.insert(name, definition).is_none()
            {
                reach(definition, definitions, reached);
            }
            for value in entries.values() {
                reach(value, definitions, reached);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                reach(element, definitions, reached);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// FNV-1a, 64 bits: the same on every machine and with every compiler, and nobody attacks it here.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
