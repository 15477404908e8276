//! Sockets of one pod's network namespace, fetched ahead of need, so that an attempt through one costs
//! no round trip to the shim.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use probelet_runtime::Family;

use crate::client::Client;
use crate::protocol::{Answer, Call};

/// How many are fetched at once. An idle socket costs a descriptor and about 3 KB of kernel memory.
const BATCH: usize = 8;
/// Fewer than this, and more are fetched.
const LOW: usize = 4;

/// Of one address family.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    ready: Mutex<Ready>,
}

#[derive(Debug, Default)]
struct Ready {
    sockets: Vec<OwnedFd>,
    refilling: bool,
}

impl Pool {
    /// A socket, or why there is none.
    pub(crate) async fn take(
        self: &Arc<Self>,
        client: &Client,
        family: Family,
    ) -> Result<OwnedFd, String> {
        let (socket, refill) = {
            let mut ready = self.lock();
            let socket = ready.sockets.pop();
            let refill = ready.sockets.len() < LOW && !ready.refilling;
            ready.refilling |= refill;
            (socket, refill)
        };
        if refill {
            let (pool, client) = (Arc::clone(self), client.clone());
            // A task of its own, as the caller may go away; ends with one answer of the shim.
            tokio::spawn(async move {
                let fetched = fetch(&client, family, BATCH).await.unwrap_or_default();
                let mut ready = pool.lock();
                ready.sockets.extend(fetched);
                ready.refilling = false;
            });
        }
        match socket {
            Some(socket) => Ok(socket),
            None => fetch(client, family, 1)
                .await?
                .pop()
                .ok_or_else(|| "the shim sent no socket".to_owned()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(client: &Client, family: Family, count: usize) -> Result<Vec<OwnedFd>, String> {
    match client.ask(Call::Sockets { family, count }).await {
        Some((Answer::Sockets(made), sockets)) => made.map(|()| sockets),
        Some((other, _)) => Err(format!("the shim answered {other:?}")),
        None => Err("the shim is gone".into()),
    }
}
