//! The walk through a message by its table.

use serde_json::{Map, Value};

use super::Flaw;
use super::special;
use super::tables::{Field, Message, Shape, TABLES, Type};
use super::wire::{Content, Fields, varint};

/// How many values a body may have. An empty message takes two bytes of a body and dozens in memory; the
/// largest object that a server takes, 3 MiB, has no use for so many.
const MOST_VALUES: u32 = 500_000;

/// Reads one body.
///
/// It recurses only as deep as the tables do, which have no message within itself.
#[derive(Debug)]
pub(super) struct Decoder {
    values_left: u32,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            values_left: MOST_VALUES,
        }
    }
}

impl Decoder {
    /// Reads a message's fields into `into`, on top of what is there: protobuf merges a message that comes
    /// twice.
    pub(super) fn message(
        &mut self,
        message: &Message,
        bytes: &[u8],
        into: &mut Map<String, Value>,
    ) -> Result<(), Flaw> {
        for field in Fields::of(bytes) {
            let (number, content) = field?;
            let Some(field) = message.field(number) else {
                continue;
            };
            self.count_one()?;
            match field.shape {
                Shape::One => self.one(field, content, into),
                Shape::List => self.list(field, content, into),
                Shape::Map => self.map(field, content, into),
            }
            .map_err(|flaw| flaw.within(field.name))?;
        }
        Ok(())
    }

    /// The last one there is counts, except for messages, which are merged.
    fn one(
        &mut self,
        field: &Field,
        content: Content<'_>,
        into: &mut Map<String, Value>,
    ) -> Result<(), Flaw> {
        let value = match field.of {
            Type::Message(index) if field.name == "." => {
                return self.message(TABLES.message(index), content.bytes()?, into);
            }
            Type::Message(index) => {
                let mut inner = match into.remove(field.name) {
                    Some(Value::Object(before)) => before,
                    _ => Map::new(),
                };
                self.message(TABLES.message(index), content.bytes()?, &mut inner)?;
                Value::Object(inner)
            }
            of => self.value(of, content)?,
        };
        if value.is_null() || (is_zero(&value) && !field.keeps_zero) {
            into.remove(field.name);
        } else {
            into.insert(field.name.to_owned(), value);
        }
        Ok(())
    }

    fn list(
        &mut self,
        field: &Field,
        content: Content<'_>,
        into: &mut Map<String, Value>,
    ) -> Result<(), Flaw> {
        let list = into
            .entry(field.name)
            .or_insert_with(|| Value::Array(Vec::new()));
        let Value::Array(list) = list else {
            return Err(Flaw::new("a list and something else by one name"));
        };
        match (field.of, content) {
            // Packed: newer writers put all the numbers of a list into one field.
            (Type::Int32 | Type::Int64 | Type::Bool, Content::Bytes(mut bytes)) => {
                while !bytes.is_empty() {
                    self.count_one()?;
                    let number = Content::Varint(varint(&mut bytes)?);
                    list.push(self.value(field.of, number)?);
                }
            }
            (of, content) => list.push(self.value(of, content)?),
        }
        Ok(())
    }

    /// An entry is a message of a key and a value, either of which is left out if it is empty.
    fn map(
        &mut self,
        field: &Field,
        content: Content<'_>,
        into: &mut Map<String, Value>,
    ) -> Result<(), Flaw> {
        let (mut key, mut value) = ("", Content::Bytes(&[]));
        for entry in Fields::of(content.bytes()?) {
            match entry? {
                (1, content) => key = content.text()?,
                (2, content) => value = content,
                _ => {}
            }
        }
        let value = self.value(field.of, value)?;
        let map = into
            .entry(field.name)
            .or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(map) = map else {
            return Err(Flaw::new("a map and something else by one name"));
        };
        map.insert(key.to_owned(), value);
        Ok(())
    }

    fn value(&mut self, of: Type, content: Content<'_>) -> Result<Value, Flaw> {
        Ok(match of {
            Type::Bool => (content.varint()? != 0).into(),
            Type::Int32 => special::int32(content.varint()?).into(),
            Type::Int64 => content.varint()?.cast_signed().into(),
            Type::Text => content.text()?.into(),
            Type::Bytes => special::base64(content.bytes()?).into(),
            Type::IntOrString => special::int_or_string(content.bytes()?)?,
            Type::Json => special::json(content.bytes()?)?,
            Type::MicroTime => special::micro_time(content.bytes()?)?,
            Type::Quantity => special::quantity(content.bytes()?)?,
            Type::Texts => self.texts(content.bytes()?)?,
            Type::Time => special::time(content.bytes()?)?,
            Type::Message(index) => {
                let mut object = Map::new();
                self.message(TABLES.message(index), content.bytes()?, &mut object)?;
                Value::Object(object)
            }
        })
    }

    fn texts(&mut self, bytes: &[u8]) -> Result<Value, Flaw> {
        let mut texts = Vec::new();
        for field in Fields::of(bytes) {
            self.count_one()?;
            if let (1, content) = field? {
                texts.push(self.value(Type::Text, content)?);
            }
        }
        Ok(Value::Array(texts))
    }

    fn count_one(&mut self) -> Result<(), Flaw> {
        let left = self.values_left.checked_sub(1);
        self.values_left = left.ok_or(Flaw::new("too many values"))?;
        Ok(())
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}
