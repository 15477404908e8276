//! The data of `probelet-schema`: OpenAPI v3 definitions of the kinds there are, and all that they reach.
//!
//! Fields, types and descriptions are those of `k8s-openapi`. It leaves out what upstream writes as comments
//! in its `types.go` (list types, merge keys, defaults): that is `schema/tags.txt`, read by [`tags`].

mod kinds;
mod source;
mod tags;

use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use k8s_openapi::schemars::SchemaGenerator;
use k8s_openapi::schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Where the data is, from the repository's root.
pub(crate) const DATA: &str = "crates/schema/data/definitions.json.z";
/// Where the tags are, from the repository's root.
pub(crate) const TAGS: &str = "crates/xtask/src/schema/tags.txt";

/// Schemas by their names.
type Definitions = Map<String, Value>;

/// The data, compressed.
pub(crate) fn data(root: &Path) -> anyhow::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text(root)?.as_bytes())?;
    Ok(encoder.finish()?)
}

/// Whether the data in the repository is what is made here. Its compressed form may be another one, as that
/// is a matter of the compressor's version.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let path = root.join(DATA);
    let compressed = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let mut there = String::new();
    ZlibDecoder::new(&*compressed).read_to_string(&mut there)?;
    if there != text(root)? {
        bail!("{DATA} is not what k8s-openapi and {TAGS} say: run cargo xtask schema");
    }
    Ok(())
}

/// `schema/tags.txt` anew, out of checkouts of upstream's `k8s.io/api` and `k8s.io/apimachinery`.
pub(crate) fn tags_of(api: &Path, apimachinery: &Path) -> anyhow::Result<String> {
    tags::table(api, apimachinery, &untagged()?)
}

fn text(root: &Path) -> anyhow::Result<String> {
    let path = root.join(TAGS);
    let tags = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut definitions = untagged()?;
    tags::add(&mut definitions, &tags)?;
    Ok(serde_json::to_string(&definitions)?)
}

/// The definitions as far as `k8s-openapi` has them, in the form that upstream serves.
fn untagged() -> anyhow::Result<Definitions> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let mut generator = SchemaGenerator::new(settings);
    let named = kinds::name(&mut generator);
    let mut definitions = generator.take_definitions(false);
    for (name, gvks) in named {
        let definition = definitions
            .get_mut(&name)
            .and_then(Value::as_object_mut)
            .with_context(|| format!("no definition of {name}"))?;
        // Upstream's types have all of them optional; k8s-openapi's structs do not.
        if let Some(Value::Array(required)) = definition.get_mut("required") {
            required.retain(|field| field != "metadata");
            if required.is_empty() {
                definition.remove("required");
            }
        }
        if !gvks.is_empty() {
            definition.insert("x-kubernetes-group-version-kind".to_owned(), gvks.into());
        }
    }
    for (name, definition) in &mut definitions {
        match name.as_str() {
            "io.k8s.apimachinery.pkg.api.resource.Quantity" => {
                either(definition, ["string", "number"])?;
            }
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => {
                either(definition, ["integer", "string"])?;
                definition["format"] = "int-or-string".into();
            }
            _ => {}
        }
        wrap_references(definition);
    }
    Ok(definitions)
}

/// OpenAPI's own word for a value of two types, as upstream has it.
fn either(definition: &mut Value, types: [&str; 2]) -> anyhow::Result<()> {
    let definition = definition.as_object_mut().context("an object")?;
    ensure!(
        definition
            .remove("x-kubernetes-int-or-string")
            .is_some_and(|it| it == true),
        "expected a type that is a number or a string"
    );
    definition.insert(
        "oneOf".to_owned(),
        types.map(|name| json!({ "type": name })).to_vec().into(),
    );
    Ok(())
}

/// In OpenAPI 3.0 nothing may stand beside a `$ref`, so one that has a description goes into an `allOf`.
fn wrap_references(schema: &mut Value) {
    match schema {
        Value::Object(entries) => {
            entries.values_mut().for_each(wrap_references);
            if entries.len() > 1
                && let Some(reference) = entries.remove("$ref")
            {
                entries.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(wrap_references),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
