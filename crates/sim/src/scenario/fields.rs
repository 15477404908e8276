//! Fields of a YAML text, read one by one; what is wrong with any of them is collected.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use probelet_model::field::{FieldError, FieldPath};
use probelet_model::go;
use probelet_model::manifest::{Diagnostic, Position};
use probelet_model::yaml::Node;
use serde_json::Value;

/// Collects errors.
#[derive(Debug)]
pub(super) struct Errors<'a> {
    source: &'a str,
    root: &'a Node,
    pub(super) found: Vec<Diagnostic>,
}

/// One value, and the way to it.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    node: &'a Node,
    pub(super) path: FieldPath,
}

impl<'a> Errors<'a> {
    pub(super) const fn new(source: &'a str, root: &'a Node) -> Self {
        Self {
            source,
            root,
            found: Vec::new(),
        }
    }

    /// Something is wrong at `path`: with its value, or where it should be.
    pub(super) fn add(&mut self, path: FieldPath, message: impl Into<String>) {
        let position: Position = self.root.locate(&path);
        let error = FieldError {
            path,
            message: message.into(),
        };
        self.found.push(Diagnostic {
            source: self.source.to_owned(),
            position: Some(position),
            error,
        });
    }

    pub(super) fn invalid(&mut self, field: &Field<'_>, must: impl Display) {
        let value = field.node.to_value();
        let value = match &value {
            Value::Array(_) => "list".to_owned(),
            Value::Object(_) => "object".to_owned(),
            scalar => scalar.to_string(),
        };
        self.add(
            field.path.clone(),
            format!("Invalid value: {value}: must be {must}"),
        );
    }

    /// The document as a whole.
    pub(super) fn root(&self) -> Field<'a> {
        Field {
            node: self.root,
            path: FieldPath::root(),
        }
    }

    /// Whether the value is an object, of which `known` are all the fields there are.
    pub(super) fn object(&mut self, field: &Field<'_>, known: &[&str]) -> bool {
        let Some(entries) = field.node.entries() else {
            self.invalid(field, "an object");
            return false;
        };
        for entry in entries {
            if !known.contains(&entry.key.as_str()) {
                let path = field.path.field(entry.key.clone());
                let hint = nearest(&entry.key, known)
                    .map_or(String::new(), |name| format!(", did you mean {name:?}?"));
                let message = format!("unknown field \"{path}\"{hint}");
                self.add(path, message);
            }
        }
        true
    }

    /// The entries of an object with free keys.
    pub(super) fn entries(&mut self, field: &Field<'a>) -> Vec<(String, Field<'a>)> {
        let Some(entries) = field.node.entries() else {
            self.invalid(field, "an object");
            return Vec::new();
        };
        let entries = entries.iter().map(|entry| {
            let path = field.path.field(entry.key.clone());
            let node = &entry.node;
            (entry.key.clone(), Field { node, path })
        });
        entries.collect()
    }

    /// The elements of a list, of which there must be some.
    pub(super) fn elements(&mut self, field: &Field<'a>) -> Vec<Field<'a>> {
        let Some(nodes) = field.node.elements() else {
            self.invalid(field, "a list");
            return Vec::new();
        };
        if nodes.is_empty() {
            self.add(
                field.path.clone(),
                "Required value: must have an entry at least",
            );
        }
        let elements = nodes.iter().enumerate().map(|(index, node)| Field {
            node,
            path: field.path.index(index),
        });
        elements.collect()
    }

    /// Which of some fields is there: one must be, and no other beside it.
    pub(super) fn one_of(
        &mut self,
        field: &Field<'a>,
        names: &[&'static str],
    ) -> Option<&'static str> {
        let mut there = names.iter().filter(|name| field.get(name).is_some());
        let Some(first) = there.next() else {
            let message = format!("Required value: must have one of {}", names.join(", "));
            self.add(field.path.clone(), message);
            return None;
        };
        for other in there {
            self.forbidden(field, other, &format!("may not be set beside {first}"));
        }
        Some(first)
    }

    /// The field `name` of an object may not be there.
    pub(super) fn forbidden(&mut self, field: &Field<'_>, name: &'static str, why: &str) {
        if field.get(name).is_some() {
            self.add(field.path.field(name), format!("Forbidden: {why}"));
        }
    }

    pub(super) fn required(&mut self, field: &Field<'_>, name: &'static str) {
        if field.get(name).is_none() {
            self.add(field.path.field(name), "Required value");
        }
    }

    /// `200ms`, `1m30s`, `0`; zero if the field is not there or is wrong.
    pub(super) fn duration(&mut self, of: &Field<'a>, name: &'static str) -> Duration {
        let field = of.get(name);
        field.map_or(Duration::ZERO, |field| self.duration_of(&field))
    }

    pub(super) fn duration_of(&mut self, field: &Field<'_>) -> Duration {
        const WORDS: &str = "a duration with its unit, such as 200ms, 12s or 1m30s";
        let text = match field.node.scalar() {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => {
                self.invalid(field, WORDS);
                return Duration::ZERO;
            }
        };
        let positive = text.strip_prefix('-').map(go::parse_duration);
        match go::parse_duration(&text) {
            Ok(duration) => return duration,
            Err(go::NoDuration::TooLong) => {
                self.invalid(field, "at most 2562047h, which is 292 years")
            }
            Err(go::NoDuration::Unreadable) => match positive {
                Some(Ok(_)) => self.invalid(field, "zero or more"),
                Some(Err(_)) | None => self.invalid(field, WORDS),
            },
        }
        Duration::ZERO
    }

    /// When something is to happen: a time from the start, not after `end` if there is one.
    pub(super) fn moment(&mut self, field: &Field<'_>, end: Option<Duration>) -> Duration {
        let at = self.duration_of(field);
        if let Some(end) = end.filter(|end| at > *end) {
            let end = go::duration(end);
            self.invalid(field, format!("no later than the end, at {end}"));
        }
        at
    }

    /// A whole number within a range; `default` if the field is not there or is wrong.
    pub(super) fn integer(
        &mut self,
        of: &Field<'a>,
        name: &'static str,
        range: RangeInclusive<i32>,
        default: i32,
    ) -> i32 {
        let Some(field) = of.get(name) else {
            return default;
        };
        let number = field.node.scalar().and_then(Value::as_i64);
        let number = number.and_then(|number| i32::try_from(number).ok());
        if let Some(number) = number.filter(|number| range.contains(number)) {
            return number;
        }
        let (low, high) = (range.start(), range.end());
        self.invalid(&field, format!("a whole number from {low} to {high}"));
        default
    }

    /// A text; empty if the field is not there or is wrong.
    pub(super) fn text(&mut self, of: &Field<'a>, name: &'static str) -> String {
        let Some(field) = of.get(name) else {
            return String::new();
        };
        let Some(Value::String(text)) = field.node.scalar() else {
            self.invalid(&field, "a text");
            return String::new();
        };
        text.clone()
    }

    /// One of some texts; the first if the field is not there or is wrong.
    pub(super) fn one_text(
        &mut self,
        of: &Field<'a>,
        name: &'static str,
        texts: &[&'static str],
    ) -> &'static str {
        let first = texts.first().copied().unwrap_or_default();
        let Some(field) = of.get(name) else {
            return first;
        };
        let written = field.node.scalar().and_then(Value::as_str);
        let known = texts.iter().find(|text| Some(**text) == written);
        if known.is_none() {
            let quoted: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
            self.invalid(&field, format!("one of {}, as a text", quoted.join(", ")));
        }
        known.copied().unwrap_or(first)
    }

    /// `true` or `false`; false if the field is not there or is wrong.
    pub(super) fn flag(&mut self, of: &Field<'a>, name: &'static str) -> bool {
        let Some(field) = of.get(name) else {
            return false;
        };
        let Some(Value::Bool(flag)) = field.node.scalar() else {
            self.invalid(&field, "true or false");
            return false;
        };
        *flag
    }

    /// A field that says all by being there.
    pub(super) fn mark(&mut self, of: &Field<'a>, name: &'static str) {
        if let Some(field) = of.get(name)
            && field.node.scalar() != Some(&Value::Bool(true))
        {
            self.invalid(&field, "true, or not there");
        }
    }
}

impl<'a> Field<'a> {
    /// A field of this object; one that is null is not there.
    pub(super) fn get(&self, name: &str) -> Option<Self> {
        let entry = self.node.entry(name)?;
        if entry.node.scalar() == Some(&Value::Null) {
            return None;
        }
        Some(Self {
            node: &entry.node,
            path: self.path.field(name.to_owned()),
        })
    }

    pub(super) fn is_object(&self) -> bool {
        self.node.entries().is_some()
    }
}

/// The word among `known` that was probably meant.
fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    const FAR: usize = 3;
    let lower = word.to_lowercase();
    let distance = |name: &str| distance(&lower, &name.to_lowercase());
    let nearest = known.iter().min_by_key(|name| distance(name))?;
    (distance(nearest) < FAR.min(word.chars().count())).then_some(nearest)
}

/// How many letters have to be added, left out or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
