//! Logs.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use probelet_runtime::{Runtime, log_path};
use probelet_store::Durability;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ground::{Ground, UID, key, running};

fn path(ground: &Ground, restart_count: u32) -> PathBuf {
    let path = log_path("ns", "p", &UID.into(), &"c".into(), restart_count);
    ground.host.log_dir().join(path)
}

/// Appends entries, one a second from `first`.
fn write(ground: &Ground, restart_count: u32, first: i64, texts: &[&str]) {
    let path = path(ground, restart_count);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    let mut entries = String::new();
    for (second, text) in (first..).zip(texts) {
        let stamp = probelet_model::time::Wall(second * 1_000_000_000).nanos_rfc3339();
        entries.push_str(&format!("{stamp} {text}\n"));
    }
    file.write_all(entries.as_bytes()).unwrap();
}

async fn log(ground: &Ground, query: &str) -> (u16, String) {
    let (head, body) = ground.ask(&format!("GET /log?{query} HTTP/1.0")).await;
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    if code == 200 {
        assert!(head.contains("content-type: text/plain\r\n"), "{head}");
        return (code, body);
    }
    let status: Value = serde_json::from_str(&body).unwrap();
    (code, status["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn logs_are_told_as_they_are_asked_for() {
    let mut status = running(1);
    status["lastState"] = json!({"terminated": {"containerID": "probelet://before"}});
    let ground = Ground::with("true", &status).await;
    write(&ground, 0, 10, &["stdout F before"]);
    let entries = [
        "stdout F one",
        "stderr F two",
        "stdout P thr",
        "stdout F ee",
        "stdout F four",
    ];
    write(&ground, 1, 90, &entries);
    let check = async |query: &str, expected: &str| {
        assert_eq!(
            log(&ground, query).await,
            (200, expected.to_owned()),
            "{query}"
        );
    };
    check("", "one\ntwo\nthree\nfour\n").await;
    check("container=c&follow=false", "one\ntwo\nthree\nfour\n").await;
    check("previous=true", "before\n").await;
    check("tailLines=2", "ee\nfour\n").await;
    check("tailLines=0", "").await;
    check("tailLines=1000", "one\ntwo\nthree\nfour\n").await;
    check("limitBytes=6", "one\ntw").await;
    check("sinceSeconds=6", "four\n").await;
    check("sinceTime=1970-01-01T00:01:31Z", "two\nthree\nfour\n").await;
    check(
        "tailLines=1&timestamps=true",
        "1970-01-01T00:01:34.000000000Z four\n",
    )
    .await;
    let (code, message) = log(&ground, "tailLines=-1").await;
    assert_eq!(code, 422);
    assert!(
        message.contains("tailLines: Invalid value: -1"),
        "{message}"
    );
}

#[tokio::test]
async fn a_log_that_is_not_there_is_said() {
    let waiting = json!({"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}});
    let ground = Ground::with("true", &waiting).await;
    let message = "container \"c\" in pod \"p\" is waiting to start: ContainerCreating";
    assert_eq!(log(&ground, "").await, (400, message.to_owned()));
    let message = "previous terminated container \"c\" in pod \"p\" not found";
    assert_eq!(
        log(&ground, "previous=true").await,
        (400, message.to_owned())
    );
    ground.put(&running(0));
    let (code, message) = log(&ground, "").await;
    assert_eq!(code, 400);
    let path = path(&ground, 0);
    let expected = format!(
        "failed to try resolving symlinks in path {path:?}: lstat {}: no such file or directory",
        path.display()
    );
    assert_eq!(message, expected);
}

#[tokio::test]
async fn a_run_that_could_not_be_started_has_an_empty_log() {
    let end = json!({"terminated": {"reason": "StartError", "exitCode": 128, "containerID": "probelet://x"}});
    let ended = json!({"name": "c", "state": end, "restartCount": 1, "lastState": end});
    let ground = Ground::with("true", &ended).await;
    for query in ["", "previous=true", "follow=true&tailLines=3"] {
        assert_eq!(log(&ground, query).await, (200, String::new()), "{query}");
    }
    let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let waits = json!({"name": "c", "state": waits, "restartCount": 1, "lastState": end});
    let ground = Ground::with("true", &waits).await;
    assert_eq!(log(&ground, "").await, (200, String::new()));
}

#[tokio::test]
async fn a_log_of_many_megabytes_is_told_whole() {
    let ground = Ground::new().await;
    let text = format!("stdout F {}", "x".repeat(990));
    let entries = vec![&*text; 9_000];
    write(&ground, 0, 0, &entries);
    let (code, body) = log(&ground, "").await;
    assert_eq!((code, body.len()), (200, 9_000 * 991));
    let (_, body) = log(&ground, "tailLines=4500").await;
    assert_eq!(body.len(), 4_500 * 991);
}

/// A client that follows.
struct Following(TcpStream);

impl Following {
    async fn new(ground: &Ground, query: &str) -> Self {
        let mut connection = TcpStream::connect(ground.address).await.unwrap();
        let request = format!("GET /log?follow=true&{query} HTTP/1.0\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.0 200 "));
        Self(connection)
    }

    async fn hears(&mut self, expected: &str) {
        let mut text = vec![0; expected.len()];
        let reading = self.0.read_exact(&mut text);
        timeout(Duration::from_secs(20), reading)
            .await
            .expect(expected)
            .unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    async fn ends(mut self, expected: &str) {
        let mut rest = String::new();
        timeout(Duration::from_secs(20), self.0.read_to_string(&mut rest))
            .await
            .expect("it does not end")
            .unwrap();
        assert_eq!(rest, expected);
    }
}

#[tokio::test]
async fn a_log_is_followed_until_its_run_ends() {
    let ground = Ground::new().await;
    write(&ground, 0, 1, &["stdout F one", "stdout F two"]);
    let mut client = Following::new(&ground, "tailLines=1").await;
    client.hears("two\n").await;
    write(&ground, 0, 3, &["stdout F three"]);
    client.hears("three\n").await;
    // Half an entry is none yet.
    let mut file = fs::File::options()
        .append(true)
        .open(path(&ground, 0))
        .unwrap();
    file.write_all(b"1970-01-01T00:00:04.000000000Z stdout F fo")
        .unwrap();
    file.write_all(b"ur\n").unwrap();
    client.hears("four\n").await;
    // A change of the pod that does not concern the run.
    let mut status = running(0);
    status["ready"] = json!(true);
    ground.put(&status);
    write(&ground, 0, 5, &["stdout F five"]);
    client.hears("five\n").await;
    write(&ground, 0, 6, &["stdout P last words"]);
    let mut next = running(1);
    next["containerID"] = json!("probelet://another");
    ground.put(&next);
    client.ends("last words").await;
}

#[tokio::test]
async fn a_log_is_followed_from_file_to_file() {
    let ground = Ground::new().await;
    write(&ground, 0, 1, &["stdout F one"]);
    let mut client = Following::new(&ground, "").await;
    client.hears("one\n").await;
    let file = path(&ground, 0);
    write(&ground, 0, 2, &["stdout F two"]);
    fs::rename(&file, file.with_extension("log.19700101-000002")).unwrap();
    write(&ground, 0, 3, &["stdout F three"]);
    client.hears("two\nthree\n").await;
    write(&ground, 0, 4, &["stdout F four"]);
    client.hears("four\n").await;
    // The end of the run and a new file at once.
    fs::rename(&file, file.with_extension("log.19700101-000004")).unwrap();
    write(&ground, 0, 5, &["stdout F five"]);
    ground.put(&json!({"name": "c", "state": {"terminated": {"containerID": "probelet://now"}}}));
    client.ends("five\n").await;
}

#[tokio::test]
async fn a_log_that_is_followed_ends_with_its_pod() {
    let ground = Ground::new().await;
    write(&ground, 0, 1, &["stdout F one"]);
    let mut client = Following::new(&ground, "").await;
    client.hears("one\n").await;
    fs::remove_dir_all(path(&ground, 0).parent().unwrap()).unwrap();
    ground
        .store
        .transact(Durability::Derived, |transaction| {
            transaction.delete(&key(), None)
        })
        .unwrap();
    client.ends("").await;
}

#[tokio::test]
async fn the_log_of_a_run_that_has_ended_is_not_waited_for() {
    let ended = json!({"name": "c", "state": {"terminated": {"containerID": "probelet://now"}}});
    let ground = Ground::with("true", &ended).await;
    write(&ground, 0, 1, &["stdout F one"]);
    let client = Following::new(&ground, "").await;
    client.ends("one\n").await;
    let client = Following::new(&ground, "limitBytes=2").await;
    client.ends("on").await;
}
