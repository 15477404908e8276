//! Manifests: files, directories and standard input into objects that can be stored.
//!
//! [`load`] reads what is to be run here and reports everything that is wrong with any of it, each error
//! with the place it is written at. [`survey`](mod@survey) reads what may be meant for a cluster: templates
//! too, and nothing is refused that an API server would take.

pub mod diagnostic;
mod kinds;
mod source;
pub mod survey;
mod workload;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

pub use self::diagnostic::{Diagnostic, Diagnostics};
use self::kinds::Known;
use self::source::Document;
pub use self::source::Source;
use crate::decode::{self, Admitted};
pub use crate::decode::{Object, Options};
use crate::field::{FieldError, FieldPath};
use crate::id::{Kind, ObjectKey};
pub use crate::yaml::Position;
use crate::yaml::{self, Node};

/// What some manifests hold.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The objects, in the order they are written; no two have the same key.
    pub objects: Vec<ManifestObject>,
    /// Fields that were accepted and do nothing here.
    pub warnings: Vec<Diagnostic>,
}

/// One object of a manifest.
#[derive(Clone, Debug)]
pub struct ManifestObject {
    /// Where it will live.
    pub key: ObjectKey,
    /// The wire object as it is written.
    pub written: Value,
    /// The same with upstream's defaults, without what only a server may set (uid, status, ...).
    pub value: Value,
    /// The same, validated.
    pub object: Object,
    /// Where it is written.
    pub origin: Origin,
}

/// Where an object is written: `examples/pod.yaml:1:1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The manifest as it was named: a path, or `-` for standard input.
    pub source: String,
    /// Where the object starts in it.
    pub position: Position,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}",
            self.source, self.position.line, self.position.column
        )
    }
}

/// Reads manifests.
///
/// # Errors
///
/// All that is wrong in any of them. A text that is no YAML is reported up to its first syntax error.
///
/// Differs: two objects with the same key are an error; `kubectl apply` would apply one over the other.
pub fn load(sources: &[Source], options: &Options) -> Result<Loaded, Diagnostics> {
    let mut load = Load {
        options,
        loaded: Loaded::default(),
        errors: Vec::new(),
        seen: BTreeMap::new(),
    };
    for source in sources {
        load.source(source);
    }
    if load.errors.is_empty() {
        Ok(load.loaded)
    } else {
        Err(Diagnostics(load.errors))
    }
}

/// [`load`] under way.
struct Load<'a> {
    options: &'a Options,
    loaded: Loaded,
    errors: Vec<Diagnostic>,
    seen: BTreeMap<ObjectKey, Origin>,
}

impl Load<'_> {
    fn source(&mut self, source: &Source) {
        let before = (self.loaded.objects.len(), self.errors.len());
        match source.read() {
            Ok(documents) => {
                for document in documents {
                    self.document(&document);
                }
            }
            Err(error) => self.errors.push(error),
        }
        if before == (self.loaded.objects.len(), self.errors.len()) {
            self.errors.push(Diagnostic::whole(
                &source.name(),
                "no objects passed to apply",
            ));
        }
    }

    fn document(&mut self, document: &Document) {
        for node in yaml::documents(&document.text) {
            match node {
                Ok(node) => self.node(&document.name, &node),
                Err(error) => {
                    self.errors
                        .push(Diagnostic::at(&document.name, error.at, error.message))
                }
            }
        }
    }

    /// An object, or a list of some.
    fn node(&mut self, source: &str, node: &Node) {
        match kinds::of(node) {
            Ok(Known::CarriedOut(kind)) => self.object(source, kind, node),
            Ok(Known::List(item_kind)) => {
                for item in node.list("items").unwrap_or_default() {
                    let mut item = item.clone();
                    if let Some(kind) = item_kind {
                        item.set_missing("apiVersion", kind.api_version());
                        item.set_missing("kind", kind.as_str());
                    }
                    self.node(source, &item);
                }
            }
            Ok(Known::Other(other)) => {
                let error = Diagnostic::field(source, other.at, other.refusal());
                self.errors.push(error);
            }
            Err((position, error)) => self.errors.push(Diagnostic::field(source, position, error)),
        }
    }

    fn object(&mut self, source: &str, kind: Kind, node: &Node) {
        let diagnose = |error: FieldError| {
            let position = node.locate(&error.path);
            Diagnostic::field(source, position, error)
        };
        let value = node.to_value();
        if let Some(prefix) = generated(&value) {
            let path = FieldPath::root().field("metadata").field("generateName");
            let message = format!("cannot use generate name with apply: {prefix:?}");
            self.errors.push(diagnose(FieldError::new(path, message)));
            return;
        }
        match decode::admit(kind, value.clone(), self.options) {
            Ok(Admitted {
                key,
                value: admitted,
                object,
                warnings,
            }) => {
                self.loaded
                    .warnings
                    .extend(warnings.into_iter().map(diagnose));
                let origin = Origin {
                    source: source.to_owned(),
                    position: node.at(),
                };
                if let Some(first) = self.seen.get(&key) {
                    let position = node.locate(&FieldPath::root().field("metadata").field("name"));
                    self.errors.push(Diagnostic::at(
                        source,
                        position,
                        format!("{key} is already at {first}"),
                    ));
                    return;
                }
                self.seen.insert(key.clone(), origin.clone());
                self.loaded.objects.push(ManifestObject {
                    key,
                    written: value,
                    value: admitted,
                    object,
                    origin,
                });
            }
            Err(errors) => self.errors.extend(errors.into_iter().map(diagnose)),
        }
    }
}

/// What the name of an object is to begin with that has none of its own.
///
/// Upstream: kubectl pkg/cmd/apply/apply.go, applyOneObject.
/// Shown by: names_and_labels_are_validated.
fn generated(value: &Value) -> Option<&str> {
    let metadata = &value["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    metadata["generateName"]
        .as_str()
        .filter(|prefix| name.is_empty() && !prefix.is_empty())
}

#[cfg(test)]
mod tests;
