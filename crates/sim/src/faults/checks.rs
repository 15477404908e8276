//! What must hold whatever happens.
//!
//! A checker sees what goes into the engine and what comes out of it, nothing else; it knows no line of
//! the engine. Each one is small, and each has tests in which a broken trace is caught.
//!
//! Start reading at [`Seen`], then `facts`, then any of the others.

mod facts;
mod order;
mod probing;
mod status;
mod traffic;

#[cfg(test)]
pub(super) mod tests;

use probelet_engine::effect::Effect;
use probelet_engine::input::Input;
use probelet_model::time::{Mono, Now};

pub(super) use self::facts::Facts;

/// One thing that there is to see.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen<'a> {
    /// The engine hears of this.
    Told(&'a Input),
    /// The engine asks for this, and it is about to be done.
    Asked(&'a Effect),
    /// All that one input led to has been done; the engine's deadline.
    Drained(Option<Mono>),
    /// The agent is dead.
    Died,
}

/// Something that must hold.
trait Checker {
    /// In a word or two.
    fn name(&self) -> &'static str;

    /// Looks at one thing, with what was known before it.
    ///
    /// # Errors
    /// What is wrong.
    fn see(&mut self, now: Now, seen: Seen<'_>, facts: &Facts) -> Result<(), String>;
}

/// A checker was not content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub checker: &'static str,
    /// What is wrong.
    pub what: String,
}

/// All of them.
pub(super) struct Checks {
    facts: Facts,
    checkers: Vec<Box<dyn Checker>>,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            facts: Facts::default(),
            checkers: vec![
                Box::new(probing::OneAtATime),
                Box::new(probing::StartupFirst),
                Box::new(probing::LeftInPeace),
                Box::new(probing::EarnedKill),
                Box::new(status::NothingFlips),
                Box::new(status::NothingGoesBack),
                Box::new(status::ReadyAddsUp),
                Box::new(traffic::ReadyAndEndpointsAgree),
                Box::new(order::RememberedFirst::default()),
                Box::new(order::OneRun),
                Box::new(order::DeadlineAhead::default()),
            ],
        }
    }
}

impl Checks {
    /// Lets everybody look.
    ///
    /// # Errors
    /// The first who is not content.
    pub(super) fn see(&mut self, now: Now, seen: Seen<'_>) -> Result<(), Breach> {
        for checker in &mut self.checkers {
            checker.see(now, seen, &self.facts).map_err(|what| Breach {
                checker: checker.name(),
                what,
            })?;
        }
        self.facts.note(seen);
        Ok(())
    }
}
