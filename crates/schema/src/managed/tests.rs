//! Writes to objects, one after another, as upstream's tests of its field managers tell them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ApplyError, Writer, apply, update};
use crate::Schema;

mod appliers;
mod order;
mod properties;
mod recorded;
mod upgrade;

/// An object on a server, and everybody's writes to it.
struct Server {
    schema: &'static Schema,
    live: Option<Value>,
    /// Goes on with every write.
    second: u32,
}

impl Server {
    fn of(api_version: &str, kind: &str) -> Self {
        Self {
            schema: Schema::of(api_version, kind).unwrap(),
            live: None,
            second: 0,
        }
    }

    fn holding(object: Value) -> Self {
        let text = |name: &str| object[name].as_str().unwrap().to_owned();
        Self {
            live: Some(object.clone()),
            ..Self::of(&text("apiVersion"), &text("kind"))
        }
    }

    fn write<T>(&mut self, at: &str, write: impl FnOnce(&Self, &Writer<'_>) -> T) -> T {
        self.second += 1;
        let time = format!("2026-01-02T03:04:{:02}Z", self.second);
        let (manager, subresource) = at.split_once('/').unwrap_or((at, ""));
        let writer = Writer {
            manager,
            subresource,
            time: &time,
        };
        write(self, &writer)
    }

    /// By a manager, `kubelet`, or by one through a subresource, `kubelet/status`.
    fn update(&mut self, by: &str, after: Value) -> &Value {
        let after = self.write(by, |server, writer| {
            update(server.schema, server.live.as_ref(), after, writer)
        });
        self.live.insert(after)
    }

    fn apply(&mut self, by: &str, applied: &Value) -> Result<&Value, ApplyError> {
        self.apply_with(by, applied, false)
    }

    fn force(&mut self, by: &str, applied: &Value) -> &Value {
        self.apply_with(by, applied, true).unwrap()
    }

    fn apply_with(&mut self, by: &str, applied: &Value, force: bool) -> Result<&Value, ApplyError> {
        let after = self.write(by, |server, writer| {
            apply(server.schema, server.live.as_ref(), applied, writer, force)
        })?;
        Ok(self.live.insert(after))
    }

    /// Who has fields: the manager, what it did, and through which subresource; and the second of that.
    fn managers(&self) -> Vec<String> {
        let entries = self.entries().into_iter();
        entries
            .map(|entry| {
                let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                let time = text("time");
                let second = time.rsplit(':').next().unwrap().trim_end_matches('Z');
                let subresource = text("subresource");
                let slash = if subresource.is_empty() { "" } else { "/" };
                let (manager, operation) = (text("manager"), text("operation"));
                format!("{manager}{slash}{subresource} {operation} {second}")
            })
            .collect()
    }

    fn entries(&self) -> Vec<Value> {
        let list = self.live.as_ref().unwrap()["metadata"].get("managedFields");
        list.map_or_else(Vec::new, |list| list.as_array().unwrap().clone())
    }

    /// What a manager owns.
    fn fields(&self, manager: &str) -> Value {
        let entries = self.entries();
        let entry = entries.iter().find(|entry| entry["manager"] == manager);
        entry.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
    }

    /// The object without its entries.
    fn object(&self) -> Value {
        super::split(self.live.clone().unwrap()).0
    }
}

fn conflicts(result: Result<&Value, ApplyError>) -> Vec<String> {
    match result {
        Err(ApplyError::Conflicts(conflicts)) => conflicts
            .into_iter()
            .map(|conflict| format!("{}: {}", conflict.message, conflict.field))
            .collect(),
        other => panic!("conflicts were expected: {other:?}"),
    }
}

fn configmap(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "demo"}, "data": data})
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
}

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec})
}

/// A Deployment of which nothing is said.
fn bare() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}})
}

fn web_deployment() -> Value {
    deployment(json!({
        "replicas": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx:1", "ports": [{"containerPort": 80}]}]},
        },
    }))
}

#[test]
fn an_update_owns_what_it_changes() {
    let mut server = Server::of("v1", "ConfigMap");
    server.update("a", configmap(json!({"a": "1", "b": "1"})));
    assert_eq!(
        server.fields("a"),
        json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}})
    );
    server.update("b", configmap(json!({"a": "1", "b": "2", "c": "2"})));
    assert_eq!(server.fields("a"), json!({"f:data": {".": {}, "f:a": {}}}));
    assert_eq!(
        server.fields("b"),
        json!({"f:data": {"f:b": {}, "f:c": {}}})
    );
    // What nobody has any more is nobody's, and who has nothing has no entry.
    server.update("c", configmap(json!({"a": "1"})));
    assert_eq!(server.managers(), ["a Update 01"]);
    // The same manager's next write adds to what it has.
    server.update("a", configmap(json!({"a": "1", "d": "4"})));
    assert_eq!(
        server.fields("a"),
        json!({"f:data": {".": {}, "f:a": {}, "f:d": {}}})
    );
    assert_eq!(server.managers(), ["a Update 04"]);
    // Without a name there is one.
    server.update("", configmap(json!({"a": "5", "d": "4"})));
    assert_eq!(server.managers(), ["a Update 04", "unknown Update 05"]);
}

#[test]
fn an_update_that_changes_nothing_changes_no_time() {
    let mut server = Server::of("v1", "ConfigMap");
    server.update("a", configmap(json!({"key": "1"})));
    let before = server.live.clone();
    server.update("a", configmap(json!({"key": "1"})));
    server.update("b", configmap(json!({"key": "1"})));
    assert_eq!(server.live, before);
    // Nor does being robbed.
    server.update("a", configmap(json!({"key": "1", "other": "1"})));
    server.update("b", configmap(json!({"key": "2", "other": "1"})));
    assert_eq!(server.managers(), ["a Update 04", "b Update 05"]);
}

/// What a real server answers to `kubectl create deployment`, as far as the object has these fields.
#[test]
fn what_is_always_there_is_nobodys() {
    let mut server = Server::of("apps/v1", "Deployment");
    let mut created = web_deployment();
    created["metadata"]["labels"] = json!({"app": "web"});
    created["spec"]["strategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}});
    created["spec"]["template"]["spec"]["securityContext"] = json!({});
    created["status"] = json!({});
    server.update("kubectl-create", created);
    assert_eq!(
        server.fields("kubectl-create"),
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:strategy": {
                    "f:type": {},
                    "f:rollingUpdate": {".": {}, "f:maxSurge": {}},
                },
                "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                    "f:spec": {
                        "f:securityContext": {},
                        "f:containers": {"k:{\"name\":\"web\"}": {
                            ".": {},
                            "f:name": {},
                            "f:image": {},
                            "f:ports": {
                                ".": {},
                                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                                    ".": {},
                                    "f:containerPort": {},
                                },
                            },
                        }},
                    },
                },
            },
        })
    );
}

#[test]
fn what_is_never_tracked_is_in_no_entry() {
    let metadata = json!({
        "name": "web", "namespace": "default", "uid": "u", "resourceVersion": "1", "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z", "selfLink": "/",
    });
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata});
    let mut server = Server::of("apps/v1", "Deployment");
    server.update("a", object.clone());
    assert_eq!(server.live, Some(object.clone()));
    server.apply("b", &object).unwrap();
    assert_eq!(server.entries(), Vec::<Value>::new());
}

#[test]
fn the_status_is_owned_through_its_subresource_alone() {
    let mut server = Server::of("v1", "Pod");
    let mut object = pod(json!({"nodeName": "n"}));
    object["status"] = json!({"phase": "Pending"});
    server.update("creator", object.clone());
    assert_eq!(
        server.fields("creator"),
        json!({"f:spec": {"f:nodeName": {}}})
    );
    object["metadata"]["labels"] = json!({"a": "b"});
    object["status"] = json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}],
    });
    server.update("kubelet/status", object);
    assert_eq!(
        server.managers(),
        ["creator Update 01", "kubelet/status Update 02"]
    );
    assert_eq!(
        server.fields("kubelet"),
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:status": {
                "f:phase": {},
                "f:podIP": {},
                "f:podIPs": {".": {}, "k:{\"ip\":\"10.0.0.1\"}": {".": {}, "f:ip": {}}},
                "f:conditions": {".": {}, "k:{\"type\":\"Ready\"}": {".": {}, "f:type": {}, "f:status": {}}},
            },
        })
    );
    let mut applied = pod(json!({"nodeName": "n"}));
    applied["status"] = json!({"phase": "Failed"});
    server.apply("applier", &applied).unwrap();
    assert_eq!(
        server.fields("applier"),
        json!({"f:spec": {"f:nodeName": {}}})
    );
}

#[test]
fn managed_fields_can_be_reset() {
    for reset in [json!([]), json!([{}])] {
        let mut server = Server::of("v1", "ConfigMap");
        let mut object = configmap(json!({"key": "1"}));
        object["metadata"]["uid"] = json!("u");
        server.update("a", object.clone());
        // Who does not know of them does not delete them.
        for unknowing in [Value::Null, json!([{"manager": "spoiled"}])] {
            object["metadata"]["managedFields"] = unknowing;
            server.update("a", object.clone());
            assert_eq!(server.managers(), ["a Update 01"]);
        }
        // Nor does who writes to a subresource.
        object["metadata"]["managedFields"] = reset.clone();
        server.update("a/status", object.clone());
        assert_eq!(server.managers(), ["a Update 01"]);
        server.update("a", object.clone());
        assert_eq!(server.entries(), Vec::<Value>::new());
        // Not tracked, and so it stays until somebody applies.
        object["data"]["key"] = json!("2");
        server.update("a", object.clone());
        assert_eq!(server.entries(), Vec::<Value>::new());
        server
            .apply("b", &configmap(json!({"other": "1"})))
            .unwrap();
        assert_eq!(
            server.fields("before-first-apply"),
            json!({"f:data": {".": {}, "f:key": {}}})
        );
        assert_eq!(server.fields("b"), json!({"f:data": {"f:other": {}}}));
    }
}

#[test]
fn entries_that_are_sent_are_taken() {
    let mut server = Server::of("v1", "ConfigMap");
    server.update("a", configmap(json!({"key": "1"})));
    let mut object = server.live.clone().unwrap();
    object["metadata"]["managedFields"][0]["manager"] = json!("b");
    server.update("c", object);
    assert_eq!(server.managers(), ["b Update 01"]);
}

#[test]
fn entries_of_versions_that_nobody_knows_are_dropped() {
    let entry = |manager: &str, api_version: &str| {
        json!({
            "manager": manager, "operation": "Update", "apiVersion": api_version,
            "fieldsType": "FieldsV1", "fieldsV1": {"f:reason": {}},
        })
    };
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "Killing",
    });
    for apply in [false, true] {
        let mut object = event.clone();
        object["metadata"]["managedFields"] = json!([
            entry("core", "v1"),
            entry("events", "events.k8s.io/v1"),
            entry("old", "events.k8s.io/v1beta1"),
        ]);
        let mut server = Server::holding(object);
        if apply {
            server.apply("a", &event).unwrap();
        } else {
            server.update("a", event.clone());
        }
        let left = server.managers();
        let left: Vec<&str> = left.iter().filter_map(|m| m.split(' ').next()).collect();
        assert_eq!(left[left.len() - 2..], ["core", "events"], "{left:?}");
    }
}

#[test]
fn entries_are_ordered_by_operation_and_time() {
    let mut server = Server::of("v1", "ConfigMap");
    server.update("z", configmap(json!({"a": "1"})));
    server.update("a", configmap(json!({"a": "1", "b": "1"})));
    server.apply("y", &configmap(json!({"c": "1"}))).unwrap();
    server.apply("x", &configmap(json!({"d": "1"}))).unwrap();
    assert_eq!(
        server.managers(),
        ["y Apply 03", "x Apply 04", "z Update 01", "a Update 02"]
    );
}

#[test]
fn the_oldest_updates_are_merged() {
    let mut server = Server::of("v1", "ConfigMap");
    let mut object = configmap(json!({}));
    for number in 1..=14 {
        object["data"][format!("k{number}")] = json!("1");
        server.update(&format!("m{number:02}"), object.clone());
    }
    let managers = server.managers();
    assert_eq!(managers.len(), 10, "{managers:?}");
    assert_eq!(managers[0], "ancient-changes Update 05");
    assert_eq!(managers[1], "m06 Update 06");
    assert_eq!(
        server.fields("ancient-changes"),
        json!({"f:data": {".": {}, "f:k1": {}, "f:k2": {}, "f:k3": {}, "f:k4": {}, "f:k5": {}}})
    );
}

#[test]
fn a_set_below_an_atomic_field_is_the_field() {
    let mut object = web_deployment();
    object["metadata"]["managedFields"] = json!([{
        "manager": "old", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}, "f:selector": {"f:matchLabels": {"f:app": {}}}}},
    }]);
    let mut server = Server::holding(object);
    server
        .apply("new", &deployment(json!({"replicas": 3})))
        .unwrap();
    assert_eq!(
        server.fields("old"),
        json!({"f:spec": {"f:replicas": {}, "f:selector": {}}})
    );
}

proptest! {
    /// Whatever entries somebody sends, nothing breaks, and what comes out can be read.
    #[test]
    fn no_entries_make_it_panic(sent in entries()) {
        let mut object = configmap(json!({"key": "1"}));
        object["metadata"]["managedFields"] = sent;
        let mut server = Server::of("v1", "ConfigMap");
        server.update("a", object.clone());
        server.update("a", configmap(json!({"key": "2"})));
        prop_assert!(super::Entries::decode(Some(&json!(server.entries()))).is_ok());
        let mut server = Server::holding(object);
        let _ = server.apply("b", &configmap(json!({"key": "2"})));
    }
}

fn entries() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just(json!("Apply")),
        Just(json!("Update")),
        Just(json!("v1")),
        Just(json!("FieldsV1")),
        Just(json!(1)),
        Just(Value::Null),
    ];
    let name = prop_oneof![
        Just("f:data".to_owned()),
        Just("f:metadata".to_owned()),
        Just(".".to_owned()),
        "[fkvix]:[a-z0-9{}\":]{0,6}",
    ];
    let set = Just(json!({})).prop_recursive(3, 8, 3, move |below| {
        prop::collection::btree_map(name.clone(), below, 0..3).prop_map(|map| json!(map))
    });
    let good = (set, "[a-c]", any::<bool>()).prop_map(|(set, manager, applied)| {
        let operation = if applied { "Apply" } else { "Update" };
        json!({
            "manager": manager, "operation": operation, "apiVersion": "v1",
            "fieldsType": "FieldsV1", "fieldsV1": set,
        })
    });
    let bad = prop::collection::btree_map("operation|apiVersion|fieldsType|fieldsV1", word, 0..4)
        .prop_map(|entry| json!(entry));
    prop::collection::vec(prop_oneof![3 => good, 1 => bad], 0..4).prop_map(|list| json!(list))
}
