//! Kubernetes objects in, validated domain types out.
//!
//! A manifest is read once, here, at the edge: [`manifest`] turns text into wire objects that keep every
//! field and every line number; [`decode`] fills in the API server's defaults and turns them, validated as
//! the API server does it, into the types of [`mod@pod`], [`service`], [`workload`] and [`probe`], after which
//! nobody checks anything again. What the store holds comes back the same way. [`admission`] is what a server
//! does with an object of any kind before it stores it, [`changes`] says what an update may not touch, and
//! [`status`] holds what goes back out. What a pod refers to is looked up when it starts: [`environment`] for
//! its variables, [`files`] for its volumes.
//!
//! It is not a place for behaviour: nothing here decides, waits, or touches more of the outside world
//! than the manifest files it is told to read.
//!
//! Start reading at [`pod::Pod`], then [`manifest::load`]; which fields are carried out is the table in
//! `fields.rs`.

pub mod admission;
pub mod changes;
pub mod decode;
mod defaults;
mod downward;
pub mod environment;
pub mod expand;
pub mod field;
mod fields;
pub mod files;
pub mod go;
pub mod id;
pub mod label;
pub mod manifest;
pub mod pod;
pub mod probe;
mod qos;
mod quantity;
pub mod reference;
pub mod resources;
pub mod security;
pub mod selector;
pub mod service;
pub mod signal;
pub mod status;
pub mod time;
mod validate;
pub mod volume;
pub mod workload;
pub mod yaml;
