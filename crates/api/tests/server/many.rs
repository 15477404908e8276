//! Two hundred watches and fifty thousand writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;
use probelet_api::negotiate::Media;
use probelet_api::resource::Resource;
use probelet_api::route::options::WatchOptions;
use probelet_api::selector::Selector;
use probelet_api::watch::{self, Subject, Surroundings};
use probelet_model::id::{Kind, ObjectKey};
use probelet_model::time::Now;
use probelet_store::{Durability, Store, Version, WriteError};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::ground::{Ground, Who, get};

const WATCHES: usize = 200;
/// Of them, over HTTP/2 on one connection.
const BY_HTTP2: usize = 4;
/// Of them, over HTTP/1.1, a connection each.
const BY_HTTP1: usize = 4;
/// Of them, one takes nothing.
const STALLED: usize = 1;
const WRITES: usize = 50_000;
/// Who writes waits now and then until all have read: nobody is to be overtaken but the one who stands still.
const AT_ONCE: usize = 1000;
const OBJECTS: usize = 50;

/// What all that read have to see, and how far each of them has come.
struct Expected {
    text: Vec<u8>,
    read: Vec<AtomicUsize>,
    moved: Notify,
}

impl Expected {
    /// A reader's next piece; true at the end.
    fn check(&self, reader: usize, piece: &[u8]) -> bool {
        let at = self.read[reader].load(Ordering::Acquire);
        let expected = &self.text[at..(at + piece.len()).min(self.text.len())];
        assert!(expected == piece, "reader {reader} at byte {at}");
        self.read[reader].store(at + piece.len(), Ordering::Release);
        self.moved.notify_one();
        at + piece.len() == self.text.len()
    }

    async fn until_all_have_read(&self, bytes: usize) {
        while self
            .read
            .iter()
            .any(|read| read.load(Ordering::Acquire) < bytes)
        {
            self.moved.notified().await;
        }
    }
}

fn config_map(write: usize) -> Value {
    let name = write % OBJECTS;
    json!({
        "kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {"name": format!("c{name}"), "namespace": "default"},
        "data": {"write": write.to_string()},
    })
}

fn line(write: usize) -> String {
    let kind = if write < OBJECTS { "ADDED" } else { "MODIFIED" };
    let mut object = config_map(write);
    object["metadata"]["resourceVersion"] = (write + 1).to_string().into();
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

fn write(store: &Store, writes: std::ops::Range<usize>) {
    for write in writes {
        let object = config_map(write);
        let key = ObjectKey::new(Kind::ConfigMap, "default", format!("c{}", write % OBJECTS));
        store
            .transact(Durability::Derived, |transaction| {
                transaction.put_any(key, object)?;
                Ok::<(), WriteError>(())
            })
            .unwrap();
    }
}

fn now() -> Now {
    Now::default()
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_misses_an_event_and_who_stands_still_costs_nothing() {
    let ground = Ground::new().await;
    let (mut text, mut ends) = (Vec::new(), Vec::new());
    for write in 0..WRITES {
        text.extend_from_slice(line(write).as_bytes());
        ends.push(text.len());
    }
    let expected = Arc::new(Expected {
        text,
        read: (0..WATCHES - STALLED)
            .map(|_| AtomicUsize::new(0))
            .collect(),
        moved: Notify::new(),
    });
    let path = "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=0";
    let before = resident_bytes();

    let mut readers = tokio::task::JoinSet::new();
    let follow = |reader: usize, mut body: hyper::body::Incoming| {
        let expected = Arc::clone(&expected);
        async move {
            loop {
                let frame = body.frame().await.expect("a watch has no end").unwrap();
                let piece = frame.into_data().unwrap();
                if expected.check(reader, &piece) {
                    return;
                }
            }
        }
    };
    let mut http2 = ground.http2().await;
    for reader in 0..BY_HTTP2 {
        let response = http2.send_request(get(path, &[])).await.unwrap();
        readers.spawn(follow(reader, response.into_body()));
    }
    for reader in BY_HTTP2..BY_HTTP2 + BY_HTTP1 {
        let response = ground.ask(Who::Admin, get(path, &[])).await;
        readers.spawn(follow(reader, response.into_body()));
    }
    let mut stalled = ground.ask(Who::Admin, get(path, &[])).await.into_body();
    // The rest as the server has them, without a connection: two cores have better things to do than TLS.
    let (_ending, stopping) = tokio::sync::watch::channel(false);
    for reader in BY_HTTP2 + BY_HTTP1..WATCHES - STALLED {
        let subject = Subject {
            resource: Resource::of(Kind::ConfigMap),
            namespace: "default".to_owned(),
            selector: Selector::default(),
            media: Media::default(),
        };
        let around = Surroundings {
            store: Arc::clone(&ground.store),
            watches: Arc::clone(ground.api.watches()),
            clock: now,
            stopping: stopping.clone(),
            random: 0,
        };
        let mut body = watch::open(subject, &WatchOptions::default(), around).unwrap();
        let expected = Arc::clone(&expected);
        readers.spawn(async move {
            loop {
                let frame = body.frame().await.expect("a watch has no end").unwrap();
                if expected.check(reader, &frame.into_data().unwrap()) {
                    return;
                }
            }
        });
    }
    assert_eq!(ground.api.watches().count(), WATCHES);

    for first in (0..WRITES).step_by(AT_ONCE) {
        write(&ground.store, first..first + AT_ONCE);
        expected
            .until_all_have_read(ends[first + AT_ONCE - 1])
            .await;
    }
    while let Some(read) = readers.join_next().await {
        read.unwrap();
    }
    assert_eq!(ground.store.version(), Version(WRITES as u64));

    let watches = ground.api.watches();
    assert_eq!(
        watches.lines_made(),
        WRITES as u64,
        "each event is made into text once"
    );
    assert!(
        watches.bytes_kept() <= 16 * 1024 * 1024,
        "{}",
        watches.bytes_kept()
    );
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 150_000_000, "{grown} bytes more than before");

    // Whoever stood still has missed most of it, and is told so behind what it had not read yet.
    let mut read = Vec::new();
    while let Some(frame) = stalled.frame().await {
        read.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    let last = read
        .trim_ascii_end()
        .rsplit(|byte| *byte == b'\n')
        .next()
        .unwrap();
    let last: Value = serde_json::from_slice(last).unwrap();
    assert_eq!(last["type"], "ERROR");
    assert_eq!(last["object"]["code"], 410);
    assert_eq!(last["object"]["reason"], "Expired");
    let seen = read.len()
        - read
            .trim_ascii_end()
            .rsplit(|byte| *byte == b'\n')
            .next()
            .unwrap()
            .len()
        - 1;
    assert_eq!(
        read[..seen],
        expected.text[..seen],
        "what it has seen is what was"
    );
    assert!(seen < expected.text.len());
}
