//! The engine in a virtual world: what `probelet simulate` runs, and what the engine is tested in.
//!
//! A [`world::World`] carries out what the engine asks for, in virtual time: containers do what their
//! [`script`] says, attempts meet it, and nothing is real but the engine. A [`node::Node`] puts the two
//! together as the agent does. On it stand a [`simulation::Simulation`], which tells what a
//! [`scenario::Scenario`] makes of some pods as [`record::Record`]s, and [`faults`], which looks for seeds
//! that break what must always hold. Records become a [`table`] or a picture ([`draw`]).
//!
//! It is not a place for decisions: what is probed, killed and restarted, and when, is the engine's matter
//! alone, tick for tick as on a real host. Nothing here reads a clock, sleeps, or draws a number but from
//! a seed it was given.
//!
//! Start reading at [`record::Record`], then [`node::Node::step`].

pub mod draw;
pub mod faults;
pub mod node;
pub mod record;
pub mod scenario;
pub mod script;
pub mod simulation;
pub mod table;
pub mod world;
