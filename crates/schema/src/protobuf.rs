//! Kubernetes' protobuf bodies into JSON: what kubectl posts since 1.32, and what client-go can be told to.
//!
//! A body is four bytes, `k8s` and a zero, then an envelope (`runtime.Unknown`) with the object's kind and,
//! as bytes, the object's own message. The messages are not compiled in: `tables` holds their layout as
//! data, and one decoder walks any of them. `wire` is protobuf's encoding, `special` the messages whose
//! JSON is not their fields: times, quantities, `IntOrString`.
//!
//! Only this way round: every client accepts JSON for an answer.
//!
//! Upstream: apimachinery pkg/runtime/serializer/protobuf/protobuf.go, Serializer.Decode.
//! Shown by: bodies_of_kubectl_are_read_as_their_json.

mod decoder;
mod special;
mod tables;
mod wire;

use serde_json::{Map, Value};

use crate::managed::Ground;

use decoder::Decoder;
use tables::{Message, Shape, TABLES, Type};
use wire::{Content, Fields};

/// What every body begins with.
const PREFIX: &[u8] = b"k8s\0";

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It does not begin with `k8s` and a zero byte.
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    Prefix,
    /// A kind that has no table here.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownKind {
        /// As the envelope names it.
        api_version: String,
        /// As the envelope names it.
        kind: String,
    },
    /// Cut short, or no protobuf; or so many values that nobody can have meant them.
    #[error("{0}")]
    Malformed(String),
}

/// The object in a body, with `apiVersion` and `kind` from its envelope.
///
/// Shape: as Go would write it in JSON, were it to leave out all that is empty. A client writes a field that
/// is no pointer even if nobody set it, so that an empty text, zero, `false`, a zero time or a message
/// without content is as good as not there; behind a pointer it was set, and stays (`replicas: 0`,
/// `emptyDir: {}`), and so does a value that JSON has no `omitempty` for. Fields that no table knows are
/// passed over, as upstream's generated code does.
///
/// Differs: text that is no UTF-8 is an error; upstream stores it, and spoils it when it answers in JSON.
///
/// # Errors
/// [`DecodeError`].
pub fn decode(body: &[u8]) -> Result<Value, DecodeError> {
    let envelope = body.strip_prefix(PREFIX).ok_or(DecodeError::Prefix)?;
    let envelope = Envelope::read(envelope).map_err(|flaw| flaw.error("body"))?;
    let message = TABLES
        .body_of(&envelope.api_version, &envelope.kind)
        .ok_or_else(|| DecodeError::UnknownKind {
            api_version: envelope.api_version.clone(),
            kind: envelope.kind.clone(),
        })?;
    let mut object = Map::new();
    Decoder::default()
        .message(message, envelope.raw, &mut object)
        .map_err(|flaw| flaw.error(&envelope.kind))?;
    // Last, so that they are the envelope's whatever the message says.
    object.insert("apiVersion".to_owned(), envelope.api_version.into());
    object.insert("kind".to_owned(), envelope.kind.into());
    Ok(Value::Object(object))
}

/// What Go writes for an object of a kind in which nothing is set, as far as that has parts: the messages say
/// which fields are structs and which are pointers to one. Nothing for a kind that has no table here.
pub(crate) fn ground(api_version: &str, kind: &str) -> Ground {
    let message = TABLES.body_of(api_version, kind);
    message.map_or_else(Ground::default, ground_of)
}

fn ground_of(message: &Message) -> Ground {
    let mut ground = Ground::default();
    for field in message.fields() {
        match (field.shape, field.of) {
            (Shape::One, Type::Message(index)) if !field.keeps_zero => {
                let below = ground_of(TABLES.message(index));
                if field.name == "." {
                    ground.extend(below);
                } else {
                    ground.insert(field.name, below);
                }
            }
            (Shape::List, _) if field.keeps_zero => ground.insert(field.name, Ground::default()),
            _ => {}
        }
    }
    ground
}

/// `runtime.Unknown`, without the content encoding and type that Kubernetes has never filled in.
#[derive(Debug, Default)]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Flaw> {
        let mut envelope = Self::default();
        for field in Fields::of(bytes) {
            match field? {
                (1, Content::Bytes(type_meta)) => {
                    for field in Fields::of(type_meta) {
                        match field? {
                            (1, content) => envelope.api_version = content.text()?.to_owned(),
                            (2, content) => envelope.kind = content.text()?.to_owned(),
                            _ => {}
                        }
                    }
                }
                (2, content) => envelope.raw = content.bytes()?,
                _ => {}
            }
        }
        Ok(envelope)
    }
}

/// What is wrong with some bytes, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Flaw {
    /// From the inside out; turned around when it is told.
    path: Vec<&'static str>,
    what: &'static str,
}

impl Flaw {
    const fn new(what: &'static str) -> Self {
        Self {
            path: Vec::new(),
            what,
        }
    }

    fn within(mut self, field: &'static str) -> Self {
        self.path.push(field);
        self
    }

    fn error(self, root: &str) -> DecodeError {
        let mut text = root.to_owned();
        for name in self.path.iter().rev().filter(|name| **name != ".") {
            text.push('.');
            text.push_str(name);
        }
        DecodeError::Malformed(format!("{text}: {}", self.what))
    }
}

#[cfg(test)]
mod tests;
