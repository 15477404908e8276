//! ReplicaSets, Deployments, owners and namespaces: what to make and what to delete.
//!
//! Planners: pure functions from what is there to what is to be done about it ([`Plan`]), driven by readiness
//! alone. They read no clock and no store; the agent runs them when something they look at has changed, or when
//! the moment has come that a plan has named.
//!
//! It is no place for the lives of pods: those are the engine's. A planner makes Pod objects and asks for their
//! deletion, and what it knows of a pod is the pod's status.
//!
//! Differs: upstream's controllers read caches that lag behind their own writes, and keep expectations so as not
//! to do a thing twice. Here a plan is made from the store itself and applied only if what it was made from is
//! still so; there is nothing to expect.
//!
//! Start reading at [`plan`](mod@plan), then [`replica_set`] and [`deployment`].

mod claim;
pub mod deletion;
pub mod deployment;
pub mod event_expiry;
pub mod namespaces;
mod object;
pub mod owners;
pub mod plan;
mod random;
pub mod replica_set;
mod selector;
mod template;

#[cfg(test)]
mod world;

pub use plan::{Action, Event, EventKind, Plan, Propagation};
pub use selector::selects;
