//! When a connection last carried something.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Both ways of a connection mark it; a third future beside them waits for it to run out.
#[derive(Debug)]
pub(crate) struct Idle {
    limit: Duration,
    last: Mutex<Instant>,
}

impl Idle {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            last: Mutex::new(Instant::now()),
        }
    }

    /// Something was carried.
    pub(crate) fn mark(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Comes when nothing has been carried for too long.
    pub(crate) async fn expired(&self) {
        loop {
            let until = *self.last.lock().unwrap_or_else(PoisonError::into_inner) + self.limit;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}
