//! The pure machines: probe in container in pod in node.
//!
//! Everything that Probelet decides is decided here: when a probe looks, what its attempts amount to,
//! when a container is killed and started again, which conditions a pod has, which endpoints a Service
//! has. The names of the files tell the story in order: [`input`] → `schedule` → `gate` → `threshold` →
//! `probe` → `backoff` → `image` → `restarts` → `container` → `pod` → `status` → `endpoints` → `services` →
//! [`effect`], with `node` routing.
//!
//! It is not a place for doing: no clock, no entropy, no file, no task, nothing that can wait or fail.
//! Time comes with each input, chance from one seed, and the outside world's failures are inputs.
//!
//! # The contract
//! - [`Engine::handle`] takes one input; drain [`Engine::next_effect`] until it is empty; sleep until
//!   [`Engine::deadline`] and hand in [`input::Input::Wake`] then (early or late does no harm).
//! - Effects come in the order in which they must be carried out; what must survive a crash
//!   ([`effect::Effect::Remember`]) comes before what depends on it.
//! - Every effect that is answered carries an id; an answer with another id than the one awaited is
//!   dropped and counted.
//!
//! Start reading at [`input::Input`] and [`effect::Effect`]: together they are all that can happen.

mod backoff;
mod container;
pub mod effect;
pub mod endpoints;
mod gate;
mod image;
pub mod input;
pub mod memory;
mod node;
mod pod;
mod probe;
mod random;
pub mod report;
mod restarts;
mod schedule;
mod services;
mod status;
mod threshold;

pub use backoff::BackOffLimits;
pub use gate::Skip;
pub use node::{Config, Deadline, Engine};
