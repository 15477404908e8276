//! Waiting for a value, with an end.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Far more than anything here takes, on a machine that is busy with something else too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A point in time at which patience ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Duration);

impl Deadline {
    pub(crate) fn after(wait: Duration) -> Self {
        Self(clock() + wait)
    }

    /// What is left; `None` when it is over.
    pub(crate) fn left(self) -> Option<Duration> {
        self.0.checked_sub(clock()).filter(|left| !left.is_zero())
    }
}

/// Time since some point, for differences.
pub(crate) fn clock() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::try_from(now).expect("the monotonic clock does not go below zero")
}

/// Looks until there is something to see.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    try_until(PATIENCE, look).unwrap_or_else(|| panic!("waited {PATIENCE:?} for {what}"))
}

/// Looks until there is something to see or patience ends.
pub(crate) fn try_until<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Deadline::after(patience);
    loop {
        let found = look();
        if found.is_some() || deadline.left().is_none() {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(30));
    }
}
