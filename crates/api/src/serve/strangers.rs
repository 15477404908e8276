//! Connections of which nobody knows yet whose they are: so many, and of more the oldest is cut.
//!
//! Whoever reaches the port may connect and say nothing. That must not keep those out who have a certificate or a
//! token.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

/// All of them, by age.
#[derive(Debug)]
pub(super) struct Strangers {
    most: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// By number, so that the first is the oldest; without a handle until its task has been spawned.
    connections: BTreeMap<u64, Option<AbortHandle>>,
}

/// One of them. It is none any more once it is known, or gone.
#[derive(Debug)]
pub(super) struct Stranger {
    number: u64,
    among: Arc<Strangers>,
}

impl Strangers {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            waiting: Mutex::default(),
        })
    }

    /// A connection has been accepted.
    pub(super) fn enter(self: &Arc<Self>) -> Arc<Stranger> {
        let mut waiting = self.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.connections.insert(number, None);
        drop(waiting);
        Arc::new(Stranger {
            number,
            among: Arc::clone(self),
        })
    }

    /// The task of connection `number` can be cut by `handle`; if there are too many, the oldest are.
    pub(super) fn served_by(&self, number: u64, handle: AbortHandle) {
        let mut waiting = self.lock();
        if let Some(place) = waiting.connections.get_mut(&number) {
            *place = Some(handle);
        }
        while waiting.connections.len() > self.most {
            match waiting.connections.pop_first() {
                Some((_, Some(oldest))) => oldest.abort(),
                Some((_, None)) => {}
                None => break,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in between can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stranger {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// It has shown whose it is.
    pub(super) fn is_known(&self) {
        self.among.lock().connections.remove(&self.number);
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.is_known();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_too_many_strangers_the_oldest_is_cut_and_who_is_known_stays() {
        let strangers = Strangers::new(2);
        let mut tasks = Vec::new();
        for number in 0..4 {
            let stranger = strangers.enter();
            let known = Arc::clone(&stranger);
            let task = tokio::spawn(async move {
                let _held = stranger;
                std::future::pending::<()>().await;
            });
            strangers.served_by(known.number(), task.abort_handle());
            if number == 0 {
                known.is_known();
            }
            tasks.push(task);
        }
        let second = tasks.remove(1);
        assert!(second.await.unwrap_err().is_cancelled());
        assert!(tasks.iter().all(|task| !task.is_finished()));
        assert_eq!(strangers.lock().connections.len(), 2);
        for task in tasks {
            task.abort();
        }
    }
}
