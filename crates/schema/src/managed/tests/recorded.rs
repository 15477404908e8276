//! Writes as upstream's own library carries them out: `tests/writes`, whose README says how they were recorded.

use std::path::Path;

use serde_json::{Value, json};

use super::super::Conflict;
use super::{ApplyError, Server};

/// Without what every Deployment has, where it is empty: upstream's objects have it, ours need not.
fn without_ground(mut object: Value) -> Value {
    for path in [
        "/spec/template/spec/containers",
        "/spec/template/spec",
        "/spec/template/metadata",
        "/spec/template",
        "/spec/strategy",
        "/spec",
        "/status",
        "/metadata",
    ] {
        let is_empty = |value: &Value| value.is_null() || *value == json!({});
        let (above, name) = path.rsplit_once('/').unwrap();
        if object.pointer(path).is_some_and(is_empty) {
            let above = object.pointer_mut(above).and_then(Value::as_object_mut);
            above.unwrap().remove(name);
        }
    }
    object
}

/// The object without what says which one it is.
fn body(mut object: Value) -> Value {
    let fields = object.as_object_mut().unwrap();
    fields.remove("apiVersion");
    fields.remove("kind");
    fields["metadata"].as_object_mut().unwrap().remove("name");
    without_ground(object)
}

fn whole(body: &Value) -> Value {
    let mut object = body.clone();
    object["apiVersion"] = json!("apps/v1");
    object["kind"] = json!("Deployment");
    object["metadata"]["name"] = json!("web");
    object
}

/// `a1 Apply: .spec.replicas`.
fn in_short(conflict: &Conflict) -> String {
    let manager = conflict.message.strip_prefix("conflict with ").unwrap();
    let (manager, operation) = match manager.split_once(" using ") {
        Some((manager, _)) => (manager, "Update"),
        None => (manager, "Apply"),
    };
    let manager = manager.trim_matches('"');
    format!("{manager} {operation}: {}", conflict.field)
}

#[test]
fn writes_do_what_they_do_upstream() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/writes/deployment.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let mut writes = 0;
    for (number, story) in text.split("\n\n").enumerate() {
        let mut server = Server::of("apps/v1", "Deployment");
        for line in story.lines() {
            let write: Value = serde_json::from_str(line).unwrap();
            let (by, sent) = (write["by"].as_str().unwrap(), whole(&write["sent"]));
            let told = format!("story {number}: {line}");
            writes += 1;
            let result = match write["write"].as_str().unwrap() {
                "update" => {
                    server.update(by, sent);
                    Ok(())
                }
                how => server.apply_with(by, &sent, how == "force").map(|_| ()),
            };
            if let Some(expected) = write.get("conflicts") {
                let Err(ApplyError::Conflicts(conflicts)) = result else {
                    panic!("{told}: {result:?}");
                };
                let mut conflicts: Vec<String> = conflicts.iter().map(in_short).collect();
                conflicts.sort();
                assert_eq!(json!(conflicts), *expected, "{told}");
                continue;
            }
            assert_eq!(result, Ok(()), "{told}");
            // Of an update the object is the one that was sent, and no matter of ours.
            if write["write"] != "update" {
                assert_eq!(body(server.object()), write["object"], "{told}");
            }
            let managers: serde_json::Map<String, Value> = server
                .entries()
                .into_iter()
                .map(|entry| {
                    let text = |name: &str| entry[name].as_str().unwrap().to_owned();
                    let identity = format!("{} {}", text("manager"), text("operation"));
                    (identity, entry["fieldsV1"].clone())
                })
                .collect();
            assert_eq!(Value::Object(managers), write["managers"], "{told}");
        }
    }
    assert!(writes > 100, "{writes}");
}
