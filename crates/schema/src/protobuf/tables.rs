//! The layout of messages, as data: `tables.txt`, which says itself how it is written and was made.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The tables, read at first use.
pub(super) static TABLES: LazyLock<Tables> =
    LazyLock::new(|| Tables::parse(include_str!("tables.txt")));

/// The kinds a body may be of, and the messages they are made of.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// The message of a body, by apiVersion and kind.
    kinds: BTreeMap<(&'static str, &'static str), usize>,
    messages: Vec<Message>,
}

/// A message's fields, by number.
#[derive(Debug, Default)]
pub(super) struct Message {
    fields: Vec<Field>,
}

/// One field of a message.
#[derive(Debug)]
pub(super) struct Field {
    number: u32,
    /// In JSON; `.` if the field is a message whose fields stand in its parent's place.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) of: Type,
    /// Whether its zero value is kept; of a list, whether it is written when it is empty.
    pub(super) keeps_zero: bool,
}

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    List,
    /// By text.
    Map,
}

/// What stands in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Bytes,
    Int32,
    Int64,
    Text,
    IntOrString,
    /// Bytes that are JSON: `FieldsV1`.
    Json,
    MicroTime,
    Quantity,
    /// A message around a list of texts, which protobuf needs and JSON does not: `ExtraValue`.
    Texts,
    Time,
    /// The index of another message.
    Message(usize),
}

impl Tables {
    /// The message of a kind's body.
    pub(super) fn body_of(&self, api_version: &str, kind: &str) -> Option<&Message> {
        let own = self.kinds.get(&(api_version, kind));
        // DeleteOptions is of every group: clients name the one they talk to.
        let index = own.or_else(|| self.kinds.get(&("*", kind)))?;
        Some(self.message(*index))
    }

    /// The message that a [`Type::Message`] means.
    pub(super) fn message(&self, index: usize) -> &Message {
        &self.messages[index]
    }

    fn parse(text: &'static str) -> Self {
        let lines = || {
            text.lines()
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
        };
        let is_kind = |line: &&str| line.contains(" = ");
        // Messages name one another in any order, so that their places come first.
        let places: BTreeMap<&str, usize> = lines()
            .filter(|line| !line.starts_with(' ') && !is_kind(line))
            .zip(0..)
            .collect();
        let mut tables = Self::default();
        for line in lines() {
            let words: Vec<&'static str> = line.split_whitespace().collect();
            match words[..] {
                [api_version, kind, "=", message] => {
                    tables.kinds.insert((api_version, kind), places[message]);
                }
                [_message] => tables.messages.push(Message::default()),
                [number, name, ref rest @ ..] => {
                    let message = tables.messages.last_mut();
                    message
                        .expect("a message stands above its fields")
                        .fields
                        .push(Field::parse(number, name, rest, &places));
                }
                [] => {}
            }
        }
        for message in &mut tables.messages {
            message.fields.sort_by_key(|field| field.number);
        }
        tables
    }
}

impl Message {
    /// All of them.
    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field of a number; none if it came after the tables.
    pub(super) fn field(&self, number: u32) -> Option<&Field> {
        let place = self
            .fields
            .binary_search_by_key(&number, |field| field.number);
        place.ok().map(|place| &self.fields[place])
    }
}

impl Field {
    fn parse(
        number: &str,
        name: &'static str,
        rest: &[&'static str],
        places: &BTreeMap<&str, usize>,
    ) -> Self {
        let (shape, word) = match *rest {
            ["list", word] => (Shape::List, word),
            ["map", word] => (Shape::Map, word),
            [word] => (Shape::One, word),
            _ => panic!("a field is a number, a name and a type: {name} {rest:?}"),
        };
        let plain = word.trim_start_matches('*');
        Self {
            number: number.parse().expect("a field begins with its number"),
            name,
            shape,
            of: match plain {
                "bool" => Type::Bool,
                "bytes" => Type::Bytes,
                "int32" => Type::Int32,
                "int64" => Type::Int64,
                "string" => Type::Text,
                "intorstring" => Type::IntOrString,
                "json" => Type::Json,
                "microtime" => Type::MicroTime,
                "quantity" => Type::Quantity,
                "strings" => Type::Texts,
                "time" => Type::Time,
                message => Type::Message(places[message]),
            },
            keeps_zero: plain != word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let tables = &*TABLES;
        assert!(tables.messages.len() > 200, "{}", tables.messages.len());
        for message in &tables.messages {
            let numbers: Vec<u32> = message.fields.iter().map(|field| field.number).collect();
            assert!(
                numbers.is_sorted_by(|a, b| a < b),
                "a number twice: {numbers:?}"
            );
            for field in &message.fields {
                let inline_message =
                    matches!(field.of, Type::Message(_)) && field.shape == Shape::One;
                assert!(field.name != "." || inline_message, "{field:?}");
            }
        }
    }

    /// The decoder recurses by the table alone, so that this bounds its stack whatever a body says.
    #[test]
    fn no_message_is_within_itself() {
        fn depth(tables: &Tables, message: usize, above: &mut Vec<usize>) -> usize {
            assert!(!above.contains(&message), "{above:?} {message}");
            above.push(message);
            let below = tables.messages[message]
                .fields
                .iter()
                .filter_map(|field| match field.of {
                    Type::Message(of) => Some(depth(tables, of, above)),
                    _ => None,
                })
                .max();
            above.pop();
            1 + below.unwrap_or(0)
        }
        let tables = &*TABLES;
        let deepest = (0..tables.messages.len())
            .map(|message| depth(tables, message, &mut Vec::new()))
            .max();
        assert!(deepest < Some(20), "{deepest:?}");
    }

    #[test]
    fn delete_options_are_of_every_group() {
        for api_version in ["v1", "apps/v1", "discovery.k8s.io/v1"] {
            assert!(TABLES.body_of(api_version, "DeleteOptions").is_some());
        }
        assert!(TABLES.body_of("apps/v1", "Pod").is_none());
    }
}
