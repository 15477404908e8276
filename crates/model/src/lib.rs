//! Kubernetes objects in, validated domain types out.
//!
//! A manifest is read once, here, at the edge: [`manifest`] turns text into wire objects that keep every
//! field and every line number; defaulting and validation, as the API server does them, turn those into
//! the types of [`pod`], [`service`] and [`probe`], after which nobody checks anything again. [`status`]
//! holds what goes back out.
//!
//! It is not a place for behaviour: nothing here decides, waits, or touches more of the outside world
//! than the manifest files it is told to read.
//!
//! Start reading at [`pod::Pod`].

pub mod expand;
pub mod id;
pub mod pod;
pub mod probe;
pub mod service;
pub mod status;
pub mod time;
