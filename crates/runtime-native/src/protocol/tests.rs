use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::attempt::{self, Attempt};
use crate::layout::ContainerFile;

/// Texts as builds have written them, the oldest first, one a line. A pod stands for as long as it likes, so they
/// have to be read for ever: lines are added, and none is changed or removed.
const CONFIGS: &str = include_str!("written/config.jsonl");
const CONTAINERS: &str = include_str!("written/container.jsonl");
const MESSAGES: &str = include_str!("written/messages.jsonl");
const REQUESTS: &str = include_str!("written/requests.jsonl");
/// Of an exec channel.
const ATTEMPTS: &str = include_str!("written/attempt.jsonl");
/// Answers on one; each but the last with an empty line behind it.
const ATTEMPTED: &str = include_str!("written/attempted.txt");

/// Reads each line, and loses nothing of it.
fn reads<T: DeserializeOwned + Serialize>(lines: &str) -> Vec<T> {
    let read = |line: &str| {
        let value: T = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let kept = serde_json::to_value(&value).unwrap();
        let written = serde_json::from_str(line).unwrap();
        assert!(holds(&kept, &written), "{line} is read as {kept}");
        value
    };
    lines.lines().map(read).collect()
}

/// Whether all that was written is there, with what came later or without.
fn holds(read: &Value, written: &Value) -> bool {
    match (read, written) {
        (Value::Object(read), Value::Object(written)) => written
            .iter()
            .all(|(name, written)| read.get(name).is_some_and(|read| holds(read, written))),
        (Value::Array(read), Value::Array(written)) => {
            read.len() == written.len()
                && read
                    .iter()
                    .zip(written)
                    .all(|(read, written)| holds(read, written))
        }
        (read, written) => read == written,
    }
}

#[test]
fn what_was_once_written_is_read_for_ever() {
    assert_eq!(reads::<ShimConfig>(CONFIGS).len(), 2);
    assert_eq!(reads::<ContainerFile>(CONTAINERS).len(), 2);
    assert_eq!(reads::<Message>(MESSAGES).len(), 33);
    assert_eq!(reads::<Request>(REQUESTS).len(), 14);
    assert_eq!(reads::<Attempt>(ATTEMPTS).len(), 1);
    for (line, expected) in ATTEMPTED
        .split("\n\n")
        .zip([Ok(b"a\nb".to_vec()), Err(ExecError::TimedOut)])
    {
        let (id, outcome) = attempt::from_bytes(line.as_bytes()).unwrap();
        assert_eq!(
            (id, outcome.map(|output| output.stdout)),
            (50331648, expected)
        );
    }
}

#[test]
fn a_text_that_loses_something_is_noticed() {
    let written = serde_json::json!({"a": [{"b": 1}], "c": null});
    let with_more = serde_json::json!({"a": [{"b": 1, "new": 2}], "c": null, "new": 3});
    assert!(holds(&with_more, &written));
    let renamed = serde_json::json!({"a": [{"bb": 1}], "c": null});
    assert!(!holds(&renamed, &written));
}

#[test]
fn an_old_shim_is_asked_for_no_more_than_it_can_do() {
    let starts: Vec<ContainerConfig> = reads(REQUESTS)
        .into_iter()
        .filter_map(|request: Request| match request.call {
            Call::Start(config) => Some(*config),
            _ => None,
        })
        .collect();
    let [before_images, all] = &starts[..] else {
        panic!("{starts:?}");
    };
    let first = Abilities::default();
    assert_eq!(first.lack(before_images), Some("stdin"));
    let sessions = Abilities {
        sessions: true,
        ..first
    };
    assert_eq!(sessions.lack(before_images), None);
    assert_eq!(sessions.lack(all), Some("image"));
    let images = Abilities {
        images: true,
        ..sessions
    };
    assert_eq!(images.lack(all), None);
}

#[test]
fn what_a_shim_of_before_sessions_says_is_understood() {
    let record = r#"{"Record":{"config":{"uid":"u","namespace":"default","name":"n","hostname":"n",
        "network":"Host","volumes":[]},"containers":[]}}"#;
    let Ok(Message::Record(record)) = serde_json::from_str(record) else {
        panic!("a record");
    };
    assert!(!record.abilities.sessions);
    assert!(record.config.volume_files.is_empty());
}

#[test]
fn abilities_of_a_newer_shim_are_passed_over() {
    let newer = r#"{"sessions":true,"another":true}"#;
    let abilities: Abilities = serde_json::from_str(newer).unwrap();
    assert!(abilities.sessions && !abilities.images);
}
