use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::id::Kind;
use crate::resources::Amounts;

fn objects(kind: Kind, name: &str) -> Option<Arc<Value>> {
    let value = match (kind, name) {
        (Kind::ConfigMap, "plain") => {
            json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AP8="}})
        }
        (Kind::Secret, "keys") => json!({"data": {"a": "c2VjcmV0", "raw": "/w=="}}),
        _ => return None,
    };
    Some(Arc::new(value))
}

fn pod(volume: &Value) -> Pod {
    let mut volume = volume.clone();
    volume["name"] = json!("v");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "runtimeClassName": "host",
            "volumes": [volume],
            "containers": [{"name": "main", "command": ["a"], "resources": {"requests": {"memory": "1Mi"}}}],
        },
    });
    Pod::from_value(&pod).unwrap()
}

fn files(volume: &Value) -> Result<Option<VolumeFiles>, MountError> {
    let pod = pod(volume);
    let facts = PodFacts {
        allocatable: Amounts {
            cpu_milli: Some(2000),
            ..Amounts::default()
        },
        ..PodFacts::default()
    };
    volume_files(&pod, &pod.volumes[0], &facts, &objects)
}

#[track_caller]
fn check(volume: &Value, expected: &[(&str, u32, &[u8])]) {
    let found = files(volume).unwrap().unwrap().files;
    let found: Vec<(&str, u32, &[u8])> = found
        .iter()
        .map(|file| (&*file.path, file.mode, &*file.content))
        .collect();
    assert_eq!(found, expected, "{volume}");
}

#[test]
fn files_are_made_of_objects() {
    check(
        &json!({"configMap": {"name": "plain"}}),
        &[
            ("a", 0o644, b"1"),
            ("b", 0o644, b"2"),
            ("c", 0o644, b"\0\xff"),
        ],
    );
    check(
        &json!({"configMap": {"name": "plain", "defaultMode": 0o400, "items": [
            {"key": "c", "path": "deep/./er//c"}, {"key": "a", "path": "a", "mode": 0o755},
        ]}}),
        &[("a", 0o755, b"1"), ("deep/er/c", 0o400, b"\0\xff")],
    );
    check(
        &json!({"secret": {"secretName": "keys", "defaultMode": 0o600}}),
        &[("a", 0o600, b"secret"), ("raw", 0o600, b"\xff")],
    );
    check(
        &json!({"downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "cpu", "mode": 0o440, "resourceFieldRef": {
                "containerName": "main", "resource": "limits.cpu", "divisor": "1m",
            }},
            {"path": "memory", "resourceFieldRef": {"containerName": "main", "resource": "requests.memory"}},
        ]}}),
        &[
            ("cpu", 0o440, b"2000"),
            ("labels", 0o644, b"app=\"web\""),
            ("memory", 0o644, b"1048576"),
        ],
    );
    // Of two sources of one file, the later is there.
    check(
        &json!({"projected": {"defaultMode": 0o444, "sources": [
            {"configMap": {"name": "plain"}},
            {"secret": {"name": "keys", "items": [{"key": "a", "path": "a"}]}},
            {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        ]}}),
        &[
            ("a", 0o444, b"secret"),
            ("b", 0o444, b"2"),
            ("c", 0o444, b"\0\xff"),
            ("name", 0o444, b"web"),
        ],
    );
    assert_eq!(files(&json!({"emptyDir": {}})), Ok(None));
}

#[test]
fn what_a_volume_lacks_is_named() {
    let missing = json!({"configMap": {"name": "x"}});
    for (volume, expected) in [
        (missing.clone(), "configmap \"x\" not found"),
        (
            json!({"secret": {"secretName": "x"}}),
            "secret \"x\" not found",
        ),
        (
            json!({"configMap": {"name": "plain", "items": [{"key": "k", "path": "k"}]}}),
            "configmap references non-existent config key: k",
        ),
        (
            json!({"secret": {"secretName": "keys", "items": [{"key": "k", "path": "k"}]}}),
            "references non-existent secret key: k",
        ),
        (
            json!({"downwardAPI": {"items": [{"path": "p", "resourceFieldRef": {
                "containerName": "other", "resource": "limits.cpu",
            }}]}}),
            "container other not found",
        ),
        (
            json!({"projected": {"sources": [missing, {"secret": {"name": "x"}}, missing]}}),
            "[configmap \"x\" not found, secret \"x\" not found]",
        ),
    ] {
        let error = files(&volume).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("MountVolume.SetUp failed for volume \"v\" : {expected}"),
            "{volume}"
        );
    }
}

#[test]
fn optional_objects_and_keys_may_be_missing() {
    for volume in [
        json!({"configMap": {"name": "x", "optional": true}}),
        json!({"secret": {"secretName": "x", "optional": true}}),
        json!({"secret": {"secretName": "x", "optional": true, "items": [{"key": "k", "path": "k"}]}}),
        json!({"configMap": {"name": "plain", "optional": true, "items": [{"key": "k", "path": "k"}]}}),
        json!({"projected": {"sources": [{"configMap": {"name": "x", "optional": true}}]}}),
    ] {
        check(&volume, &[]);
    }
}
