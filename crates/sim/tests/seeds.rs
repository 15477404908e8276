//! Nodes under faults, by seed.
//!
//! `SEEDS=100000` tries so many, beginning at `FIRST` (0); `SEED=17` tries that one. A seed that breaks
//! something prints as little of what it does as is needed for it.

#![cfg(test)]

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use probelet_sim::faults::{Broken, Plan, Stats, run};

/// How many seeds are tried where nobody says another number.
const SEEDS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().expect("a number of seeds, or a seed"))
}

/// Tries the seeds from `first` to before `end`, on all processors; ends at the first that breaks anything.
fn try_all(first: u64, end: u64) -> Result<Stats, Box<Broken>> {
    let next = AtomicU64::new(first);
    let plan = Plan::default();
    let work = || -> Result<Stats, Box<Broken>> {
        let mut all = Stats::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return Ok(all);
            }
            all += run(seed, &plan).inspect_err(|_| next.store(end, Ordering::Relaxed))?;
        }
    };
    thread::scope(|scope| {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        let mut all = Stats::default();
        for worker in workers {
            all += worker.join().expect("panics are caught with their seed")?;
        }
        Ok(all)
    })
}

#[test]
fn every_seed_comes_to_rest_and_nothing_breaks_on_the_way() {
    let (first, end) = match number("SEED") {
        Some(seed) => (seed, seed + 1),
        None => {
            let first = number("FIRST").unwrap_or(0);
            (first, first + number("SEEDS").unwrap_or(SEEDS))
        }
    };
    match try_all(first, end) {
        Ok(stats) => {
            println!("seeds {first} to {}: {stats:?}", end - 1);
            assert!(stats.inputs > 0 && stats.commits > 0);
        }
        Err(broken) => panic!("{broken}"),
    }
}
