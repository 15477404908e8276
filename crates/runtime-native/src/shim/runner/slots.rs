//! Which attempts a runner has in progress, as the shim sees it too: in memory that both have.
//!
//! The shim ends an attempt whose time is over, also where the runner, which is bound to the container's CPU, does not
//! come to do anything. It knows the command by number, so the runner must not reap one that the shim is about to end:
//! that is what the states are for. The runner is not trusted with more than that, as whoever may trace it may write here.

use std::sync::atomic::{AtomicI32, Ordering};

use rustix::io::Result;
use rustix::process::Pid;

use crate::sys::SharedNumbers;

/// How many attempts there may be at a time; more are refused.
const COUNT: usize = 64;
const FIELDS: usize = 3;

/// Nobody's.
const FREE: i32 = 0;
/// The command has been started, or is about to.
const STARTED: i32 = 1;
/// The shim ends it, and says when that is done. Until then it is not reaped.
const ENDING: i32 = 2;
/// It has ended by itself, and that is being answered.
const ENDED: i32 = 3;

/// All of them.
#[derive(Debug)]
pub(super) struct Slots(SharedNumbers);

/// What came of an attempt to end one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The command; it will not be reaped until the runner has heard that this is done.
    Ending(Pid),
    /// It is being ended.
    IsEnding,
    /// It has ended by itself.
    Ended,
    /// There is no such command, or not yet.
    Nothing,
}

impl Slots {
    /// Free ones.
    pub(super) fn new() -> Result<Self> {
        const { assert!(COUNT * FIELDS < SharedNumbers::COUNT) };
        SharedNumbers::new().map(Self)
    }

    /// The number of the newest command that is the shim's child.
    pub(super) const fn newest(&self) -> &AtomicI32 {
        &self.0.all()[0]
    }

    fn all(&self) -> impl Iterator<Item = Slot<'_>> + Clone {
        let (fields, _) = self.0.all()[1..].as_chunks();
        fields.iter().take(COUNT).map(Slot)
    }

    /// For the runner: a free one, from that number on, and its number.
    pub(super) fn take(&self, id: u32, from: usize) -> Option<(usize, Slot<'_>)> {
        let in_turn = self
            .all()
            .enumerate()
            .cycle()
            .skip(from % COUNT)
            .take(COUNT);
        let mut free = in_turn.filter(|(_, slot)| matches!(slot.state(), FREE | ENDED));
        let (number, slot) = free.next()?;
        slot.pid().store(0, Ordering::Relaxed);
        slot.0[0].store(id.cast_signed(), Ordering::Relaxed);
        slot.0[2].store(STARTED, Ordering::Release);
        Some((number, slot))
    }

    /// For the shim: has the command of an attempt be left to the caller, who is to end it.
    pub(super) fn end(&self, id: u32) -> Found {
        let is_it = |slot: &Slot<'_>| {
            slot.state() != FREE && slot.0[0].load(Ordering::Relaxed) == id.cast_signed()
        };
        let Some(slot) = self.all().find(is_it) else {
            return Found::Nothing;
        };
        let Some(pid) = Pid::from_raw(slot.pid().load(Ordering::Acquire)) else {
            return Found::Nothing;
        };
        match slot.change(STARTED, ENDING) {
            Ok(_) => Found::Ending(pid),
            Err(ENDING) => Found::IsEnding,
            Err(_) => Found::Ended,
        }
    }
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<'a>(&'a [AtomicI32; FIELDS]);

impl<'a> Slot<'a> {
    /// Where the number of the command goes.
    pub(super) const fn pid(self) -> &'a AtomicI32 {
        &self.0[1]
    }

    fn state(self) -> i32 {
        self.0[2].load(Ordering::Acquire)
    }

    fn change(self, from: i32, to: i32) -> std::result::Result<i32, i32> {
        self.0[2].compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }

    /// For the runner, whose command has ended: whether it may be reaped, as the shim is not about to end it.
    pub(super) fn may_reap(self) -> bool {
        self.change(STARTED, ENDED).is_ok()
    }

    /// For the runner: there is no such attempt any more.
    pub(super) fn free(self) {
        self.0[2].store(FREE, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(slots: &Slots, id: u32, pid: i32) -> Slot<'_> {
        let (_, slot) = slots.take(id, 0).unwrap();
        slot.pid().store(pid, Ordering::Release);
        slot
    }

    #[test]
    fn a_command_is_either_ended_or_reaped() {
        let slots = Slots::new().unwrap();
        let (first, second) = (started(&slots, 1, 10), started(&slots, 2, 20));
        assert_eq!(slots.end(1), Found::Ending(Pid::from_raw(10).unwrap()));
        assert_eq!(slots.end(1), Found::IsEnding);
        assert!(!first.may_reap());
        assert!(second.may_reap());
        assert_eq!(slots.end(2), Found::Ended);
        first.free();
        assert_eq!(slots.end(1), Found::Nothing);
        assert_eq!(slots.end(3), Found::Nothing);
    }

    #[test]
    fn one_that_is_not_there_yet_is_not_found() {
        let slots = Slots::new().unwrap();
        let (_, slot) = slots.take(1, 0).unwrap();
        assert_eq!(slots.end(1), Found::Nothing);
        slot.pid().store(10, Ordering::Release);
        assert_eq!(slots.end(1), Found::Ending(Pid::from_raw(10).unwrap()));
    }

    #[test]
    fn what_has_ended_is_remembered_as_long_as_others_are_free() {
        let slots = Slots::new().unwrap();
        let (number, slot) = slots.take(1, 0).unwrap();
        slot.pid().store(10, Ordering::Release);
        assert!(slot.may_reap());
        let (next, _) = slots.take(2, number + 1).unwrap();
        assert_ne!(next, number);
        assert_eq!(slots.end(1), Found::Ended);
        let taken = (3..).map_while(|id| slots.take(id, next + 1));
        assert_eq!(taken.count(), COUNT - 1);
        assert_eq!(slots.end(1), Found::Nothing);
    }
}
