//! What it costs to open a store of 10,000 objects, half of them pods and half of them ConfigMaps, after a clean end
//! and after a crash.
//!
//! `cargo bench -p probelet-store` prints the figures, with the CPU time, and how often the file could be read in that
//! time.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has nothing to say"
)]

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use probelet_model::id::{Kind, ObjectKey};
use probelet_store::{Durability, Store, WriteError};
use serde_json::{Value, json};

const OBJECTS: usize = 10_000;
const ROUNDS: usize = 5;

fn main() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = dir.path().join("objects.redb");
    let store = Store::open(dir.path()).unwrap();
    fill(&store);
    // As a process that dies leaves it.
    let crashed = dir.path().join("crashed.redb");
    std::fs::copy(&file, &crashed).unwrap();
    store.close().unwrap();
    drop(store);
    let clean = dir.path().join("clean.redb");
    std::fs::rename(&file, &clean).unwrap();

    let size = clean.metadata().unwrap().len();
    println!("{OBJECTS} objects in a file of {} MB", size >> 20);
    let read = best(|| (), || std::fs::read(&clean).unwrap());
    println!("read of the file: {read}");
    for (what, left) in [("a clean end", &clean), ("a crash", &crashed)] {
        // What the one before has left is not what is asked about.
        let again = || std::fs::copy(left, &file).map(drop).unwrap();
        let took = best(again, || open(dir.path()));
        let ratio = took.cpu.as_secs_f64() / read.cpu.as_secs_f64();
        println!("open after {what}: {took}, {ratio:.1} x the read (budget 1 s)");
    }
}

fn open(dir: &Path) -> Store {
    let store = Store::open(dir).unwrap();
    let (pods, _) = store.list(Kind::Pod);
    assert_eq!(pods.len(), OBJECTS / 2, "all of them are there");
    store
}

fn fill(store: &Store) {
    let pod: Value = serde_json::from_str(include_str!("pod.json")).unwrap();
    for batch in 0..OBJECTS / 100 {
        store
            .transact(Durability::Derived, |transaction| {
                for number in batch * 50..(batch + 1) * 50 {
                    let name = format!("web-{number}");
                    let mut pod = pod.clone();
                    pod["metadata"]["name"] = name.as_str().into();
                    transaction.create(ObjectKey::new(Kind::Pod, "default", &*name), pod)?;
                    let key = ObjectKey::new(Kind::ConfigMap, "default", &*name);
                    transaction.create(key, config_map(&name))?;
                }
                Ok::<_, WriteError>(())
            })
            .unwrap();
    }
    // The last one waits for all of them.
    store
        .transact(Durability::Synced, |_| Ok::<_, WriteError>(()))
        .unwrap();
}

fn config_map(name: &str) -> Value {
    let lines: String = (0..20)
        .map(|line| format!("setting-{line}: value of {name}\n"))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "data": {"config.yaml": lines, "mode": "production"},
    })
}

/// How long something took.
#[derive(Clone, Copy)]
struct Took {
    wall: Duration,
    /// On the CPU, by this thread: unlike the rest, other work on the host does not add to it.
    cpu: Duration,
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1?}, CPU {:.1?}", self.wall, self.cpu)
    }
}

/// The shortest of some rounds; what each makes is dropped when its time is over.
fn best<T>(prepare: impl Fn(), act: impl Fn() -> T) -> Took {
    let rounds = (0..ROUNDS).map(|_| {
        prepare();
        let (began, cpu) = (clock(), cpu_time());
        let made = act();
        let took = Took {
            wall: clock().duration_since(began),
            cpu: cpu_time().saturating_sub(cpu),
        };
        drop(made);
        took
    });
    rounds
        .min_by_key(|took| took.cpu)
        .expect("there are rounds")
}

fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn clock() -> Instant {
    Instant::now()
}
