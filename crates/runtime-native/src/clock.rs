//! The two clocks: the shim outlives the agent and keeps its own deadlines, so it reads them itself.

use probelet_model::time::{Mono, Wall};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Now, for deadlines.
pub(crate) fn mono() -> Mono {
    Mono(u64::try_from(nanos(clock_gettime(ClockId::Monotonic))).unwrap_or(0))
}

/// Now, for stamps.
pub(crate) fn wall() -> Wall {
    Wall(nanos(clock_gettime(ClockId::Realtime)))
}

fn nanos(time: Timespec) -> i64 {
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec)
}

/// How long until `deadline`, as poll wants it; rounded up to never wake too early.
pub(crate) fn until(deadline: Mono) -> Timespec {
    let left = deadline.since(mono());
    Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    }
}
