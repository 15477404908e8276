//! The store remembers.
//!
//! Objects are Kubernetes-shaped JSON values under a kind, a namespace and a name. One counter numbers
//! every change to any of them, and a reader follows the changes with a cursor into the few thousand
//! newest. Everything is in memory; below it one file keeps what must outlive the process.
//!
//! The data goes one way: a transaction takes effect in memory ([`Store::transact`]), which readers and
//! watchers see at once; a thread of its own carries the latest value of every changed key to the file,
//! in whole transactions and in order. Who has to know that a write is on disk waits for it
//! ([`Durability::Synced`], [`Store::durable`]); nobody else ever waits for a disk.
//!
//! It is not a place for meaning: nothing here validates, defaults, or knows what a Pod is. Nor is it
//! where a pod's volatile memory (runs of results, back-off) lives: that is [`MemoryFile`], a file a pod,
//! cheap enough to be written at every turn.
//!
//! Start reading at [`Store`], then `transaction`, `watch`, `writer`, `disk`.

mod disk;
mod memory;
mod object;
mod ring;
mod store;
mod transaction;
mod watch;
mod writer;

#[cfg(test)]
mod tests;

pub use disk::OpenError;
pub use memory::MemoryFile;
pub use object::{Change, ChangeKind, Object, ParseVersionError, Version};
pub use ring::Gone;
pub use store::{Durability, Settings, Store, TransactError};
pub use transaction::{Transaction, WriteError};
pub use watch::Watch;
pub use writer::DiskError;
