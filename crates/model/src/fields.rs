//! Which fields of Kubernetes Probelet carries out: one table for each kind of object.
//!
//! A field that is in none of the tables is known to Kubernetes and not to Probelet: to set it is an
//! error, so that nothing a manifest asks for is silently left undone. An empty list, an empty object and
//! null ask for nothing.

mod rows;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::LazyLock;

use serde_json::Value;

use self::rows::Literal::{self, Bool, Text};
use self::rows::Row;
use self::rows::Treatment::{self, CarriedOut, Case, ClusterOnly, NotYet, Only, Warn};
use crate::field::{FieldError, FieldPath, Segment};
use crate::id::Kind;
use crate::probe::ProbeKind;

type Table = BTreeMap<String, Treatment>;

static POD_TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = table(&[rows::OBJECT, rows::POD]);
    for list in ["spec.initContainers[]", "spec.containers[]"] {
        table.extend(below_prefix(list, rows::CONTAINER));
        for kind in ProbeKind::ALL {
            let probe = format!("{list}.{}", kind.field());
            table.extend(below_prefix(&probe, rows::PROBE));
        }
    }
    table
});
static SERVICE_TABLE: LazyLock<Table> = LazyLock::new(|| table(&[rows::OBJECT, rows::SERVICE]));

fn table(parts: &[&[Row]]) -> Table {
    parts
        .iter()
        .flat_map(|rows| rows.iter())
        .map(|(pattern, row)| ((*pattern).to_owned(), *row))
        .collect()
}

/// Rows that hold below one field or more.
fn below_prefix(prefix: &str, rows: &'static [Row]) -> impl Iterator<Item = (String, Treatment)> {
    rows.iter()
        .map(move |(name, row)| (format!("{prefix}.{name}"), *row))
}

/// The table of a kind; a kind without one is carried out as a whole.
fn table_of(kind: Kind) -> Option<&'static Table> {
    match kind {
        Kind::Pod => Some(&POD_TABLE),
        Kind::Service => Some(&SERVICE_TABLE),
        _ => None,
    }
}

/// Every pattern of the table, `spec.containers[].name`.
#[cfg(test)]
pub(crate) fn patterns(kind: Kind) -> impl Iterator<Item = &'static str> {
    table_of(kind)
        .into_iter()
        .flat_map(|table| table.keys().map(String::as_str))
}

/// What [`check`] found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Fields that are not carried out.
    pub(crate) errors: Vec<FieldError>,
    /// Fields that do nothing without a cluster.
    pub(crate) warnings: Vec<FieldError>,
}

/// Compares every field that `value` sets with the table of its kind.
pub(crate) fn check(kind: Kind, value: &Value) -> Findings {
    let mut findings = Findings::default();
    if let Some(table) = table_of(kind) {
        let mut walk = Walk {
            table,
            findings: &mut findings,
        };
        walk.visit(value, &FieldPath::root(), "");
    }
    findings
}

struct Walk<'a> {
    table: &'static Table,
    findings: &'a mut Findings,
}

impl Walk<'_> {
    fn visit(&mut self, value: &Value, path: &FieldPath, pattern: &str) {
        if let Some(treatment) = self.table.get(pattern) {
            self.treat(*treatment, value, path);
        } else if below(self.table, pattern)
            .any(|rest| pattern.is_empty() || rest.starts_with(['.', '[']))
        {
            self.descend(value, path, pattern);
        } else if !asks_for_nothing(value) {
            self.findings
                .errors
                .push(FieldError::not_carried_out(path.clone()));
        }
    }

    fn descend(&mut self, value: &Value, path: &FieldPath, pattern: &str) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let dot = if pattern.is_empty() { "" } else { "." };
                    self.visit(
                        value,
                        &path.key_or_field(name),
                        &format!("{pattern}{dot}{name}"),
                    );
                }
            }
            Value::Array(elements) => {
                for (index, value) in elements.iter().enumerate() {
                    self.visit(value, &path.index(index), &format!("{pattern}[]"));
                }
            }
            // A type error, reported as such elsewhere.
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn treat(&mut self, treatment: Treatment, value: &Value, path: &FieldPath) {
        match treatment {
            CarriedOut | ClusterOnly => {}
            Warn(message) if !asks_for_nothing(value) => {
                self.findings
                    .warnings
                    .push(FieldError::new(path.clone(), message));
            }
            Warn(_) => {}
            NotYet if !value.is_null() => {
                let what = value
                    .as_str()
                    .map_or(String::new(), |text| format!("{text:?} is "));
                self.findings.errors.push(FieldError::new(
                    path.clone(),
                    format!("{what}not carried out yet"),
                ));
            }
            NotYet => {}
            Only(literals) => {
                if !value.is_null() && !literals.iter().any(|literal| literal.is(value)) {
                    let message = format!("{value} is not carried out yet");
                    self.findings
                        .errors
                        .push(FieldError::new(path.clone(), message));
                }
            }
            Case(cases, otherwise) => {
                let case = cases.iter().find(|(text, _)| value == text);
                self.treat(
                    case.map_or(*otherwise, |(_, treatment)| *treatment),
                    value,
                    path,
                );
            }
        }
    }
}

impl Literal {
    fn is(&self, value: &Value) -> bool {
        match self {
            Bool(literal) => value == literal,
            Text(literal) => value == literal,
        }
    }
}

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The carried-out field that somebody who wrote the last part of `path` probably meant.
pub(crate) fn similar(kind: Kind, path: &FieldPath) -> Option<&'static str> {
    let (last, parents) = path.segments().split_last()?;
    let Segment::Field(wrong) = last else {
        return None;
    };
    let mut pattern = String::new();
    for segment in parents {
        match segment {
            Segment::Field(name) if pattern.is_empty() => pattern.push_str(name),
            Segment::Field(name) => {
                pattern.push('.');
                pattern.push_str(name);
            }
            Segment::Index(_) => pattern.push_str("[]"),
            Segment::Key(_) => return None,
        }
    }
    let best = children(table_of(kind)?, &pattern).min_by_key(|name| distance(name, wrong))?;
    (distance(best, wrong) <= 2).then_some(best)
}

/// The fields that the table knows below `pattern`; empty where that is a list.
fn children<'p>(
    table: &'static Table,
    pattern: &'p str,
) -> impl Iterator<Item = &'static str> + 'p {
    below(table, pattern).filter_map(move |rest| {
        let name = if pattern.is_empty() {
            rest
        } else {
            rest.strip_prefix('.')?
        };
        name.split(['.', '[']).next()
    })
}

/// What follows `pattern` in the rows that start with it.
fn below<'p>(table: &'static Table, pattern: &'p str) -> impl Iterator<Item = &'static str> + 'p {
    let from = (Bound::Excluded(pattern), Bound::Unbounded);
    table
        .range::<str, _>(from)
        .map_while(move |(row, _)| row.strip_prefix(pattern))
}

/// How many letters have to be added, removed or changed to make one word of the other, case aside.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, from) in left.to_lowercase().chars().enumerate() {
        let mut corner = row[0];
        row[0] = line + 1;
        for (column, to) in right.iter().enumerate() {
            let changed = corner + usize::from(from != *to);
            corner = row[column + 1];
            row[column + 1] = changed.min(corner + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}
