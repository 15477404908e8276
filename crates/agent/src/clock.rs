//! The one place that reads the clocks.

use probelet_model::time::{Mono, Now, Wall};
use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::time::Instant;

/// Both clocks, now.
#[must_use]
pub fn now() -> Now {
    Now {
        mono: Mono(u64::try_from(nanos(clock_gettime(ClockId::Monotonic))).unwrap_or(0)),
        wall: Wall(nanos(clock_gettime(ClockId::Realtime))),
    }
}

/// When the monotonic clock shows `at`, as tokio counts.
pub(crate) fn instant(at: Mono) -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is where time is read")]
    let base = std::time::Instant::now();
    Instant::from_std(base + at.since(now().mono))
}

fn nanos(time: Timespec) -> i64 {
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec)
}
