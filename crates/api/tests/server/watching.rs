//! What a watch tells of.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use probelet_api::serve::Limits;
use probelet_model::id::{Kind, ObjectKey};
use probelet_store::{Durability, Transaction, Version};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::ground::{Ground, Who, get};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const METADATA: &str =
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json";

/// A watch that is read event by event.
struct Reader {
    body: Incoming,
    read: Vec<u8>,
}

impl Reader {
    async fn of(ground: &Ground, path: &str, accept: &str) -> Self {
        let response = ground
            .ask(Who::Admin, get(path, &[("accept", accept)]))
            .await;
        assert_eq!(response.status(), 200, "{path}");
        Self {
            body: response.into_body(),
            read: Vec::new(),
        }
    }

    /// The next event; nothing at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let piece = self.body.frame().await?.unwrap().into_data().unwrap();
            self.read.extend_from_slice(&piece);
        }
    }

    /// The next event, in short: `ADDED a@3`.
    async fn told(&mut self) -> String {
        let Some(event) = self.next().await else {
            return "end".to_owned();
        };
        let (kind, object) = (&event["type"], &event["object"]);
        let metadata = &object["metadata"];
        let kind = kind.as_str().unwrap();
        match kind {
            "ERROR" => format!(
                "ERROR {} {}",
                object["code"],
                object["message"].as_str().unwrap()
            ),
            "BOOKMARK" => {
                let end = metadata["annotations"]["k8s.io/initial-events-end"].as_str();
                let end = end.map_or("", |_| " initial");
                format!(
                    "BOOKMARK @{}{end}",
                    metadata["resourceVersion"].as_str().unwrap()
                )
            }
            _ => {
                let [name, version] =
                    ["name", "resourceVersion"].map(|field| metadata[field].as_str().unwrap());
                format!("{kind} {name}@{version}")
            }
        }
    }
}

fn put(ground: &Ground, namespace: &str, name: &str, label: &str) -> Version {
    let object = json!({
        "kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace, "labels": {"l": label}},
    });
    let key = ObjectKey::new(Kind::ConfigMap, namespace, name);
    let put = |transaction: &mut Transaction<'_>| transaction.put_any(key, object);
    ground.store.transact(Durability::Derived, put).unwrap().1
}

fn delete(ground: &Ground, namespace: &str, name: &str) {
    let key = ObjectKey::new(Kind::ConfigMap, namespace, name);
    let delete = |transaction: &mut Transaction<'_>| transaction.delete(&key, None);
    ground.store.transact(Durability::Derived, delete).unwrap();
}

async fn check(ground: &Ground, query: &str, expected: &[&str]) {
    let path = format!("/api/v1/namespaces/a/configmaps?watch=true&{query}");
    let mut reader = Reader::of(ground, &path, "application/json").await;
    for expected in expected {
        assert_eq!(reader.told().await, *expected, "{query}");
    }
}

/// Versions 1 to 7.
fn history(ground: &Ground) {
    put(ground, "a", "x", "1");
    put(ground, "b", "x", "1");
    put(ground, "a", "y", "2");
    put(ground, "a", "x", "2");
    put(ground, "a", "y", "1");
    delete(ground, "a", "x");
    put(ground, "a", "z", "1");
}

#[tokio::test]
async fn a_watch_begins_where_it_is_told_to() {
    let ground = Ground::new().await;
    history(&ground);
    check(&ground, "", &["ADDED y@5", "ADDED z@7"]).await;
    check(&ground, "resourceVersion=0", &["ADDED y@5", "ADDED z@7"]).await;
    check(
        &ground,
        "resourceVersion=3",
        &["MODIFIED x@4", "MODIFIED y@5", "DELETED x@6", "ADDED z@7"],
    )
    .await;
    check(
        &ground,
        "resourceVersion=1&fieldSelector=metadata.name=y",
        &["ADDED y@3", "MODIFIED y@5"],
    )
    .await;
    let future = "ERROR 410 changes after version 99 are not remembered, only those after 0 up to 7; list again";
    check(&ground, "resourceVersion=99", &[future, "end"]).await;
    let mut old = Reader::of(&ground, "/api/v1/watch/namespaces/a/configmaps/y", "*/*").await;
    assert_eq!(old.told().await, "ADDED y@5");
}

#[tokio::test]
async fn what_leaves_a_selection_is_gone_and_what_enters_it_is_new() {
    let ground = Ground::new().await;
    history(&ground);
    let expected = ["DELETED x@4", "ADDED y@5", "ADDED z@7"];
    check(&ground, "resourceVersion=2&labelSelector=l%3D1", &expected).await;
    let expected = ["ADDED y@3", "ADDED x@4", "DELETED y@5", "DELETED x@6"];
    check(&ground, "resourceVersion=2&labelSelector=l%3D2", &expected).await;
    let path = "/api/v1/configmaps?watch=true&resourceVersion=2&labelSelector=l%3D1";
    let mut reader = Reader::of(&ground, path, "*/*").await;
    let left = reader.next().await.unwrap();
    assert_eq!(
        left["object"]["metadata"]["labels"]["l"], "1",
        "as it was last seen"
    );
}

#[tokio::test]
async fn initial_events_have_an_end() {
    let ground = Ground::new().await;
    history(&ground);
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let expected = ["ADDED y@5", "ADDED z@7", "BOOKMARK @7 initial"];
    check(&ground, query, &expected).await;
    check(&ground, &format!("{query}&resourceVersion=5"), &expected).await;
    let path = format!("/api/v1/configmaps?watch=true&{query}&resourceVersion=8");
    let answer = ground.get(&path, &[]).await;
    assert_eq!(answer.code, 504);
    assert_eq!(
        answer.json()["message"],
        "Too large resource version: 8, current: 7"
    );
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over() {
    let ground = Ground::new().await;
    history(&ground);
    check(
        &ground,
        "timeoutSeconds=1&resourceVersion=6",
        &["ADDED z@7", "end"],
    )
    .await;
    let query = "timeoutSeconds=1&resourceVersion=7&allowWatchBookmarks=true";
    check(&ground, query, &["BOOKMARK @7", "end"]).await;
    assert_eq!(ground.api.watches().count(), 0);
}

#[tokio::test]
async fn who_comes_too_late_is_told_so() {
    let ground = Ground::new().await;
    for write in 0..5000 {
        put(&ground, "a", "x", &write.to_string());
    }
    check(
        &ground,
        "resourceVersion=3",
        &["ERROR 410 too old resource version: 3 (904)", "end"],
    )
    .await;
}

#[tokio::test]
async fn events_come_in_the_shape_that_is_asked_for() {
    let ground = Ground::new().await;
    history(&ground);
    let path = "/api/v1/namespaces/a/configmaps?watch=true";
    let mut tables = Reader::of(&ground, path, TABLE).await;
    let first = tables.next().await.unwrap();
    assert_eq!(first["object"]["kind"], "Table");
    assert_eq!(first["object"]["metadata"]["resourceVersion"], "5");
    assert_eq!(first["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(first["object"]["rows"][0]["cells"][0], "y");
    let second = tables.next().await.unwrap();
    assert_eq!(second["object"]["columnDefinitions"], Value::Null);
    let mut metadata = Reader::of(&ground, path, METADATA).await;
    let first = metadata.next().await.unwrap();
    assert_eq!(first["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(first["object"]["metadata"]["name"], "y");
    let event = json!({
        "kind": "Event", "apiVersion": "v1", "metadata": {"name": "e", "namespace": "a"},
        "involvedObject": {"kind": "Pod", "name": "p"}, "message": "m",
    });
    let key = ObjectKey::new(Kind::Event, "a", "e");
    let put = |transaction: &mut Transaction<'_>| transaction.put_any(key, event);
    ground.store.transact(Durability::Derived, put).unwrap();
    for (path, kind, field) in [
        ("/api/v1/events?watch=true", "v1", "involvedObject"),
        (
            "/apis/events.k8s.io/v1/events?watch=true",
            "events.k8s.io/v1",
            "regarding",
        ),
    ] {
        let mut reader = Reader::of(&ground, path, "*/*").await;
        let event = reader.next().await.unwrap();
        assert_eq!(event["object"]["apiVersion"], kind);
        assert_eq!(event["object"][field]["name"], "p");
    }
}

#[tokio::test]
async fn who_takes_nothing_is_cut() {
    let limits = Limits {
        stall_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let ground = Ground::with(limits).await;
    let mut stream = ground.tls(Who::Admin, &[]).await;
    stream
        .write_all(b"GET /api/v1/configmaps?watch=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let watches = ground.api.watches();
    while watches.count() == 0 {
        tokio::task::yield_now().await;
    }
    // More than all buffers on the way have room for.
    let long = "x".repeat(100_000);
    for write in 0..200 {
        put(&ground, "a", "x", &format!("{write}{long}"));
        tokio::task::yield_now().await;
    }
    while watches.count() > 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
}
