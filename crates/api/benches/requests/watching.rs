//! One event, and all who watch.

use http_body_util::BodyExt;
use probelet_store::{Durability, WriteError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::ground::{Ground, get};
use crate::measure::many;
use crate::{COLLECTION, PODS, key};

const EVENTS: usize = 200;
/// How many watches share a connection.
const TOGETHER: usize = 50;

/// Prints what one change of a pod costs until so many watchers have read it, each on a stream of its own.
pub(crate) async fn events(ground: &Ground, watchers: usize) {
    let from = ground.store.version();
    let path = format!("{COLLECTION}?watch=true&resourceVersion={from}");
    let (seen, mut all_seen) = mpsc::unbounded_channel();
    let mut readers = JoinSet::new();
    let mut connection = ground.http2().await;
    for watcher in 0..watchers {
        if watcher > 0 && watcher % TOGETHER == 0 {
            connection = ground.http2().await;
        }
        let mut client = connection.clone();
        let mut asked = get(&path, &[]);
        *asked.uri_mut() = format!("https://localhost{path}").parse().unwrap();
        asked.headers_mut().remove("host");
        client.ready().await.unwrap();
        let mut body = client.send_request(asked).await.unwrap().into_body();
        let seen = seen.clone();
        readers.spawn(async move {
            while let Some(frame) = body.frame().await {
                let piece = frame.unwrap().into_data().unwrap_or_default();
                // A line is one event, and ends with the only line feed in it; all have read it before there is another.
                if piece.ends_with(b"\n") && seen.send(()).is_err() {
                    return;
                }
            }
        });
    }
    let times = many(10, EVENTS, async |event| {
        change(ground, event);
        for _ in 0..watchers {
            all_seen.recv().await.expect("a watch has no end");
        }
    });
    let what = format!("an event to watchers: {watchers}");
    times.await.print(&what, None, None);
    readers.shutdown().await;
}

/// Changes the status of a pod, as whoever runs it does.
fn change(ground: &Ground, event: usize) {
    ground
        .store
        .transact(Durability::Derived, |transaction| {
            let key = key(event % PODS);
            let there = transaction.get(&key).expect("it is there");
            let mut pod = serde_json::Value::clone(&there.value);
            // Another number each time: what is equal to what is there is no change.
            pod["status"]["containerStatuses"][0]["restartCount"] = there.version.0.into();
            transaction.update(key, None, pod)?;
            Ok::<_, WriteError>(())
        })
        .unwrap();
}
