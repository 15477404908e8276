//! The Kubernetes API over the store.
//!
//! A request comes in by [`serve`] (TLS, who is asking, limits), [`route`] finds out what it is about
//! ([`resource`], [`request`]), [`negotiate`] reads its body, and [`registry`] does it in one transaction of the
//! store: decode, admit by `probelet-model`, write, answer. Reads are told as objects or as rows ([`present`],
//! [`table`]), watches follow the store's cursor ([`mod@watch`]), what is asked and not stored is answered by
//! [`review`], what is measured by [`usage`], and what is upgraded goes to [`connect`]; both of these ask the
//! runtime. [`access`] has the certificates and tokens that people come in with.
//!
//! It is not a place for decisions about pods: what an object means, whether it may be, and how it may change
//! is the model's matter; what follows from it the agent's.
//!
//! Start reading at [`resource`], then [`registry`], then [`serve`].

pub mod access;
pub mod body;
pub mod connect;
pub mod discovery;
pub mod failure;
pub mod negotiate;
pub mod present;
pub mod registry;
pub mod request;
pub mod resource;
pub mod review;
pub mod route;
pub mod selector;
pub mod serve;
pub mod table;
pub mod usage;
pub mod watch;

pub use failure::Failure;
pub use registry::Registry;
