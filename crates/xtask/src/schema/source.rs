//! Upstream's `types.go`, as far as its tags go: the comments that begin with a plus.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::tags::EXTENSIONS;

/// A `types.go`, as far as it matters.
#[derive(Default)]
pub(super) struct Source<'s> {
    types: BTreeMap<&'s str, Type<'s>>,
    constants: BTreeMap<&'s str, &'s str>,
}

#[derive(Default)]
struct Type<'s> {
    tags: Vec<&'s str>,
    fields: Vec<Field<'s>>,
}

struct Field<'s> {
    tags: Vec<&'s str>,
    /// As JSON has it; empty if the fields of its type stand in its place.
    name: &'s str,
    go_type: &'s str,
    omitempty: bool,
}

impl<'s> Source<'s> {
    pub(super) fn read(text: &'s str) -> Self {
        let mut source = Self::default();
        let mut tags: Vec<&str> = Vec::new();
        let mut within: Option<(&str, Type<'s>)> = None;
        for line in text.lines().map(str::trim) {
            if let Some(comment) = line.strip_prefix("//") {
                tags.extend(comment.trim().strip_prefix('+'));
                continue;
            }
            let tags = std::mem::take(&mut tags);
            if let Some((name, mut ty)) = within.take() {
                if line == "}" {
                    source.types.insert(name, ty);
                } else {
                    ty.fields.extend(Field::read(line, tags));
                    within = Some((name, ty));
                }
            } else if let Some(name) = line
                .strip_prefix("type ")
                .and_then(|line| line.strip_suffix(" struct {"))
            {
                let fields = Vec::new();
                within = Some((name, Type { tags, fields }));
            } else if let Some((left, value)) = line.split_once(" = \"") {
                let name = left.split_whitespace().next().unwrap_or_default();
                source.constants.insert(name, value.trim_end_matches('"'));
            }
        }
        source
    }

    /// The names of its struct types.
    pub(super) fn types(&self) -> impl Iterator<Item = &'s str> {
        self.types.keys().copied()
    }

    /// The rows of one of its types in the table of tags; nothing for one without tags.
    pub(super) fn rows(
        &self,
        name: &str,
        full_name: &str,
        definition: &Value,
    ) -> anyhow::Result<String> {
        let ty = &self.types[name];
        let own = self.words(&ty.tags)?;
        let mut rows = String::new();
        for field in self.flat(ty) {
            let property = &definition["properties"][field.name];
            if property.is_null() {
                bail!("{full_name}: no field {:?} in its definition", field.name);
            }
            let mut words = self.words(&field.tags)?;
            if !words.iter().any(|word| word.starts_with("default="))
                && let Some(zero) = field.zero(property)
            {
                words.push(format!("default={zero}"));
            }
            if !words.is_empty() {
                writeln!(rows, "  {} {}", field.name, words.join(" "))?;
            }
        }
        if own.is_empty() && rows.is_empty() {
            return Ok(rows);
        }
        let heading = [&[full_name.to_owned()], &*own].concat().join(" ");
        Ok(format!("\n{heading}\n{rows}"))
    }

    /// The fields as JSON has them.
    fn flat<'t>(&'t self, ty: &'t Type<'s>) -> Vec<&'t Field<'s>> {
        ty.fields
            .iter()
            .flat_map(|field| match self.types.get(field.go_type) {
                Some(ty) if field.name.is_empty() => self.flat(ty),
                _ => vec![field],
            })
            // What is left without a name is TypeMeta, which has no tags.
            .filter(|field| !field.name.is_empty())
            .collect()
    }

    /// The tags that are of interest, sorted, several of one name as one.
    fn words(&self, tags: &[&str]) -> anyhow::Result<Vec<String>> {
        let mut words: BTreeMap<&str, String> = BTreeMap::new();
        for tag in tags {
            let Some((name, value)) = tag.split_once('=') else {
                continue;
            };
            if name == "default" {
                words.insert(name, self.literal(value)?);
            } else if EXTENSIONS.iter().any(|(known, _)| *known == name) && value != "granular" {
                words
                    .entry(name)
                    .and_modify(|values| {
                        values.push(',');
                        values.push_str(value);
                    })
                    .or_insert_with(|| value.to_owned());
            }
        }
        Ok(words
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect())
    }

    fn literal(&self, value: &str) -> anyhow::Result<String> {
        let Some(constant) = value.strip_prefix("ref(") else {
            return Ok(value.to_owned());
        };
        let constant = constant.trim_end_matches(')');
        let value = self
            .constants
            .get(constant)
            .with_context(|| format!("no constant {constant}"))?;
        Ok(json!(value).to_string())
    }
}

impl<'s> Field<'s> {
    fn read(line: &'s str, tags: Vec<&'s str>) -> Option<Self> {
        let (declaration, tag) = line.split_once('`')?;
        let mut json = tag.split_once("json:\"")?.1.split('"').next()?.split(',');
        let name = json.next()?;
        let omitempty = json.any(|option| option == "omitempty" || option == "omitzero");
        let go_type = declaration.split_whitespace().last()?;
        (name != "-").then_some(Self {
            tags,
            name,
            go_type,
            omitempty,
        })
    }

    /// Upstream: kube-openapi pkg/generators/openapi.go, mustEnforceDefault.
    fn zero(&self, property: &Value) -> Option<&'static str> {
        if self.omitempty || self.go_type.starts_with(['*', '[']) {
            return None;
        }
        match property["type"].as_str()? {
            "string" => Some("\"\""),
            "integer" | "number" => Some("0"),
            "boolean" => Some("false"),
            _ => None,
        }
    }
}
