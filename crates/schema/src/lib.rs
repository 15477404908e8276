//! What Kubernetes' objects look like, and what follows from that alone.
//!
//! [`Schema`] is one kind's tree of fields: types, list types, merge keys. On it stand the checks for
//! unknown fields and wrong types, the four patch types ([`patch`]), the ownership of fields behind
//! server-side apply ([`managed`]), the OpenAPI documents ([`openapi`]), and the reading of protobuf bodies
//! ([`protobuf`]).
//!
//! It is not a place for meaning: nothing here validates, defaults, or knows the store. All of it is pure
//! functions over JSON values.
//!
//! Start reading at [`Schema`].

mod definitions;
mod go;
pub mod managed;
pub mod openapi;
pub mod patch;
pub mod protobuf;
mod schema;
mod type_error;

pub use schema::{List, ListKind, Map, Node, Object, PatchStrategy, Scalar, Schema};
