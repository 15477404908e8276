//! What upstream says about its types in comments, as far as it matters to an API server: how a list's
//! elements are known, how a patch is merged, what a field is when nobody says.
//!
//! The table has a line for each type, with its own tags, and below it, indented, one for each of its fields
//! that has any. The tags are upstream's, by upstream's names.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::Definitions;
use super::source::Source;

const HEADING: &str = "\
# What upstream's types.go say in comments about the types of the schema: listType and listMapKey are how
# server-side apply knows a list's elements, mapType and structType whether it looks into an object,
# patchStrategy and patchMergeKey what strategic merge patch does. A default is what stands in the comment, or
# the zero value of a field that is always written.
#
# Made by `cargo xtask tags`, from Kubernetes 1.35's sources; not meant to be edited by hand.
";

/// The tags that are of interest beside `default`, and what OpenAPI calls them.
pub(super) const EXTENSIONS: [(&str, &str); 6] = [
    ("listMapKey", "x-kubernetes-list-map-keys"),
    ("listType", "x-kubernetes-list-type"),
    ("mapType", "x-kubernetes-map-type"),
    ("patchMergeKey", "x-kubernetes-patch-merge-key"),
    ("patchStrategy", "x-kubernetes-patch-strategy"),
    ("structType", "x-kubernetes-map-type"),
];

/// Puts the table's tags into the definitions.
pub(super) fn add(definitions: &mut Definitions, table: &str) -> anyhow::Result<()> {
    let mut current = "";
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        let schema = if line.starts_with(' ') {
            definitions
                .get_mut(current)
                .and_then(|definition| definition["properties"].get_mut(name))
        } else {
            current = name;
            definitions.get_mut(name)
        };
        let schema = schema.with_context(|| format!("{current}: there is no {name}"))?;
        for word in words {
            add_one(schema, word).with_context(|| format!("{current}: {name}"))?;
        }
    }
    Ok(())
}

fn add_one(schema: &mut Value, word: &str) -> anyhow::Result<()> {
    let (tag, value) = word.split_once('=').context("a tag has a value")?;
    if tag == "default" {
        schema["default"] = serde_json::from_str(value)?;
        return Ok(());
    }
    let Some((_, extension)) = EXTENSIONS.iter().find(|(known, _)| *known == tag) else {
        bail!("{tag:?} is no tag");
    };
    if schema.get("allOf").is_some() && !tag.starts_with("patch") {
        // Upstream has none, and our reader would look for it at the type.
        bail!("{tag:?} at a field that is of a named type");
    }
    schema[*extension] = if tag == "listMapKey" {
        value.split(',').collect()
    } else {
        value.into()
    };
    Ok(())
}

/// The Go packages, as the definitions name them, and where their types are, below which checkout.
const PACKAGES: [(&str, Checkout, &str); 11] = [
    ("io.k8s.api.apps.v1", Checkout::Api, "apps/v1"),
    (
        "io.k8s.api.authentication.v1",
        Checkout::Api,
        "authentication/v1",
    ),
    (
        "io.k8s.api.authorization.v1",
        Checkout::Api,
        "authorization/v1",
    ),
    ("io.k8s.api.autoscaling.v1", Checkout::Api, "autoscaling/v1"),
    (
        "io.k8s.api.coordination.v1",
        Checkout::Api,
        "coordination/v1",
    ),
    ("io.k8s.api.core.v1", Checkout::Api, "core/v1"),
    ("io.k8s.api.discovery.v1", Checkout::Api, "discovery/v1"),
    ("io.k8s.api.events.v1", Checkout::Api, "events/v1"),
    ("io.k8s.api.node.v1", Checkout::Api, "node/v1"),
    ("io.k8s.api.policy.v1", Checkout::Api, "policy/v1"),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1",
        Checkout::Apimachinery,
        "pkg/apis/meta/v1",
    ),
];

#[derive(Clone, Copy)]
enum Checkout {
    Api,
    Apimachinery,
}

/// The table, for the types that are among the definitions.
pub(super) fn table(
    api: &Path,
    apimachinery: &Path,
    definitions: &Definitions,
) -> anyhow::Result<String> {
    let mut table = HEADING.to_owned();
    for (package, checkout, directory) in PACKAGES {
        let checkout = match checkout {
            Checkout::Api => api,
            Checkout::Apimachinery => apimachinery,
        };
        let path = checkout.join(directory).join("types.go");
        let source = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let source = Source::read(&source);
        for name in source.types() {
            let full_name = format!("{package}.{name}");
            if let Some(definition) = definitions.get(&full_name) {
                table.push_str(&source.rows(name, &full_name, definition)?);
            }
        }
    }
    Ok(table)
}
