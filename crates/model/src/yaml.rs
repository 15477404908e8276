//! YAML (and JSON, which is YAML) into trees that know where each node stood.
//!
//! [`documents`] reads a text; a [`Node`] is walked by [`Node::entries`], [`Node::elements`] and
//! [`Node::scalar`], or turned into JSON whole with [`Node::to_value`], in which case [`Node::locate`] finds
//! the place of whatever turns out to be wrong with it.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, MessageFormatter, Spanned, UserMessageFormatter};

use crate::field::{FieldPath, Segment};

/// How many events aliases may add to what is written: real manifests repeat a few blocks; a bomb of
/// nested aliases would repeat them without end.
const MAX_REPLAYED_EVENTS: usize = 100_000;
/// Objects and lists in each other. A Pod has about a dozen at its deepest; in a debug build each takes some
/// 40 KiB of stack while it is read, and a thread may have no more than 2 MiB.
const MAX_DEPTH: usize = 32;
/// Nodes in one document. A Pod has a few hundred.
const MAX_NODES: usize = 1_000_000;

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

/// One node of a document: an object, a list or a scalar, and where it starts.
#[derive(Clone, Debug)]
pub struct Node {
    content: Content,
    at: Position,
}

#[derive(Clone, Debug)]
enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One field of an object.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// Where the name stands.
    pub key_at: Position,
    /// Its value.
    pub node: Node,
}

impl Entry {
    /// The value and where to point for it: at the value, or at the key if the value starts on a later line.
    fn place(&self) -> (&Node, Position) {
        let starts_beside_key = self.node.at.line == self.key_at.line;
        (
            &self.node,
            if starts_beside_key {
                self.node.at
            } else {
                self.key_at
            },
        )
    }
}

/// A text that is no YAML, or asks for more than [`documents`] gives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// Where it was noticed.
    pub at: Position,
    /// What was noticed, without the place.
    pub message: String,
}

/// The documents of `text` in order, the empty ones left out. A syntax error is the last item; an error
/// that leaves the next document readable, such as a key given twice, is not.
#[must_use]
pub fn documents(text: &str) -> Vec<Result<Node, SyntaxError>> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            flow_nesting_limit: MAX_DEPTH,
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED_EVENTS },
        // 0644 is 420, as kubectl reads it.
        legacy_octal_numbers: true,
        emit_comments: false,
        with_snippet: false,
    };
    let mut reader = text.as_bytes();
    serde_saphyr::read_with_options::<_, Node>(&mut reader, options)
        .map(|document| document.map_err(|error| SyntaxError::new(&error, text)))
        .collect()
}

impl SyntaxError {
    fn new(error: &serde_saphyr::Error, text: &str) -> Self {
        let at = error
            .location()
            .map_or(Position { line: 1, column: 1 }, Position::from);
        // The end of the text is reported on the line after the last one.
        let last = u32::try_from(text.lines().count())
            .unwrap_or(u32::MAX)
            .max(1);
        let at = if at.line > last {
            Position {
                line: last,
                column: 1,
            }
        } else {
            at
        };
        Self {
            at,
            message: UserMessageFormatter.format_message(error).into_owned(),
        }
    }
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
        Self {
            line: narrow(location.line()),
            column: narrow(location.column()),
        }
    }
}

impl Node {
    /// The node as JSON, which knows no places.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(nodes) => Value::Array(nodes.iter().map(Self::to_value).collect()),
            Content::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.to_value()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    /// Where the node starts.
    #[must_use]
    pub const fn at(&self) -> Position {
        self.at
    }

    /// The fields in the order they are written, no name twice, if the node is an object.
    #[must_use]
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Map(entries) => Some(entries),
            Content::Scalar(_) | Content::List(_) => None,
        }
    }

    /// The elements, if the node is a list.
    #[must_use]
    pub fn elements(&self) -> Option<&[Self]> {
        match &self.content {
            Content::List(nodes) => Some(nodes),
            Content::Scalar(_) | Content::Map(_) => None,
        }
    }

    /// The null, boolean, number or text, if the node is neither an object nor a list.
    #[must_use]
    pub const fn scalar(&self) -> Option<&Value> {
        match &self.content {
            Content::Scalar(value) => Some(value),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// The field `name`, if the node is an object that has it.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries()?.iter().find(|entry| entry.key == name)
    }

    /// The text of the field `name`, and the field's position.
    pub(crate) fn text(&self, name: &str) -> Option<(&str, Position)> {
        match &self.entry(name)?.node {
            Self {
                content: Content::Scalar(Value::String(text)),
                at,
            } => Some((text, *at)),
            _ => None,
        }
    }

    /// The elements of the field `name`, if it is a list.
    pub(crate) fn list(&self, name: &str) -> Option<&[Self]> {
        self.entry(name)?.node.elements()
    }

    /// Sets the field `name` if there is none.
    pub(crate) fn set_missing(&mut self, name: &str, value: &str) {
        let at = self.at;
        if self.entry(name).is_none()
            && let Content::Map(entries) = &mut self.content
        {
            let node = Self {
                content: Content::Scalar(value.into()),
                at,
            };
            entries.push(Entry {
                key: name.to_owned(),
                key_at: at,
                node,
            });
        }
    }

    /// Where to point for `path`: its value; its key, if the value starts on a later line; what is nearest
    /// above it, if it is not there.
    #[must_use]
    pub fn locate(&self, path: &FieldPath) -> Position {
        let mut node = self;
        let mut at = self.at;
        for segment in path.segments() {
            let next = match segment {
                Segment::Index(index) => {
                    let element = node.elements().and_then(|nodes| nodes.get(*index));
                    element.map(|node| (node, node.at))
                }
                Segment::Field(name) => node.entry(name).map(Entry::place),
                Segment::Key(key) => node.entry(key).map(Entry::place),
            };
            let Some(next) = next else { return at };
            (node, at) = next;
        }
        at
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self {
            content: spanned.value,
            at: spanned.referenced.into(),
        })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Content, E> {
        let number = Number::from_f64(value)
            .ok_or_else(|| E::custom("neither infinities nor NaN exist in JSON"))?;
        Ok(Content::Scalar(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = access.next_element()? {
            nodes.push(node);
        }
        Ok(Content::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            let node = access.next_value()?;
            entries.push(Entry {
                key: key.value,
                key_at: key.referenced.into(),
                node,
            });
        }
        Ok(Content::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_walked_and_every_step_has_its_place() {
        let mut found = documents("a: [1, x]\nb:\n  c: ~\n---\n- 5\n");
        assert_eq!(found.len(), 2);
        let list = found.remove(1).unwrap();
        assert_eq!(list.elements().unwrap()[0].scalar(), Some(&5.into()));
        assert!(list.entries().is_none() && list.entry("a").is_none() && list.scalar().is_none());
        let node = found.remove(0).unwrap();
        let keys: Vec<(&str, u32)> = node
            .entries()
            .unwrap()
            .iter()
            .map(|entry| (entry.key.as_str(), entry.key_at.line))
            .collect();
        assert_eq!(keys, [("a", 1), ("b", 2)]);
        let path = FieldPath::root().field("a").index(1);
        assert_eq!(node.locate(&path), Position { line: 1, column: 8 });
        let value = &node.entry("b").unwrap().node;
        assert_eq!(value.entry("c").unwrap().node.scalar(), Some(&Value::Null));
        assert_eq!(
            node.to_value(),
            serde_json::json!({ "a": [1, "x"], "b": { "c": null } })
        );
    }

    #[test]
    fn a_syntax_error_says_where() {
        let error = documents("a: 1\na: 2\n").remove(0).unwrap_err();
        assert_eq!(error.at.line, 2);
        assert!(!error.to_string().is_empty());
    }
}
