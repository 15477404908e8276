//! The documents, as their readers rely on them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{document, fnv1a, index};

fn read(path: &str) -> Value {
    let (text, _) = document(path).unwrap_or_else(|| panic!("no document {path}"));
    serde_json::from_slice(&text).unwrap()
}

/// Of every document of the index.
fn paths() -> Vec<String> {
    let index: Value = serde_json::from_slice(&index()).unwrap();
    index["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

/// All operations, with their paths and methods.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if method != "parameters" {
                operations.push((path.clone(), method.clone(), operation.clone()));
            }
        }
    }
    operations
}

#[test]
fn the_index_names_every_document_by_its_hash() {
    assert_eq!(
        paths(),
        [
            "api/v1",
            "apis/apps/v1",
            "apis/authentication.k8s.io/v1",
            "apis/authorization.k8s.io/v1",
            "apis/coordination.k8s.io/v1",
            "apis/discovery.k8s.io/v1",
            "apis/events.k8s.io/v1",
            "apis/node.k8s.io/v1",
        ]
    );
    let index: Value = serde_json::from_slice(&index()).unwrap();
    let mut hashes = BTreeSet::new();
    for path in paths() {
        let (text, hash) = document(&path).unwrap();
        assert_eq!(hash, format!("{:016X}", fnv1a(&text)));
        let url = format!("/openapi/v3/{path}?hash={hash}");
        assert_eq!(index["paths"][&path]["serverRelativeURL"], url.as_str());
        assert!(hashes.insert(hash), "{path} has another's hash");
    }
    assert!(document("apis/batch/v1").is_none());
}

#[test]
fn every_reference_of_a_document_is_in_it() {
    fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
        match value {
            Value::Object(entries) => {
                found.extend(entries.get("$ref").and_then(Value::as_str));
                entries.values().for_each(|value| references(value, found));
            }
            Value::Array(elements) => elements.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    for path in paths() {
        let document = read(&path);
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let there: BTreeSet<String> = schemas
            .keys()
            .map(|name| format!("#/components/schemas/{name}"))
            .collect();
        let found: BTreeSet<String> = found.into_iter().map(str::to_owned).collect();
        assert_eq!(found, there, "{path}");
    }
}

#[test]
fn every_operation_has_a_name_of_its_own_and_an_answer() {
    let mut ids = BTreeSet::new();
    for path in paths() {
        for (place, method, operation) in operations(&read(&path)) {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id.clone()), "{id} twice");
            assert!(
                operation["responses"]["200"].is_object(),
                "{method} {place}"
            );
            assert_ne!(operation["description"], "", "{method} {place}");
        }
    }
    // What the official clients call their functions.
    for id in [
        "listCoreV1NamespacedPod",
        "listCoreV1PodForAllNamespaces",
        "readCoreV1NamespacedPodLog",
        "connectCoreV1GetNamespacedPodExec",
        "createCoreV1NamespacedPodEviction",
        "createCoreV1NamespacedServiceAccountToken",
        "replaceCoreV1NamespaceFinalize",
        "deleteCoreV1CollectionNamespacedPod",
        "patchAppsV1NamespacedDeploymentScale",
        "createAuthorizationV1SelfSubjectAccessReview",
        "createAuthorizationV1NamespacedLocalSubjectAccessReview",
        "readNodeV1RuntimeClass",
        "getDiscoveryV1APIResources",
    ] {
        assert!(ids.contains(id), "no {id}");
    }
}

/// By this kubectl sees that the server validates fields.
#[test]
fn what_can_be_patched_says_that_fields_are_validated() {
    let mut patched = BTreeSet::new();
    for path in paths() {
        for (place, method, operation) in operations(&read(&path)) {
            let validates = operation["parameters"]
                .as_array()
                .is_some_and(|parameters| {
                    parameters.iter().any(|parameter| {
                        parameter["name"] == "fieldValidation" && parameter["in"] == "query"
                    })
                });
            let writes = ["patch", "put", "post"].contains(&method.as_str())
                && operation["x-kubernetes-action"] != "connect";
            assert_eq!(validates, writes, "{method} {place}");
            if method == "patch" {
                let kind = &operation["x-kubernetes-group-version-kind"];
                patched.insert(format!(
                    "{}/{}",
                    kind["group"].as_str().unwrap(),
                    kind["kind"].as_str().unwrap()
                ));
            }
        }
    }
    for kind in [
        "/ConfigMap",
        "/Endpoints",
        "/Event",
        "/Namespace",
        "/Node",
        "/Pod",
        "/Secret",
        "/Service",
        "/ServiceAccount",
        "apps/Deployment",
        "apps/ReplicaSet",
        "coordination.k8s.io/Lease",
        "discovery.k8s.io/EndpointSlice",
        "events.k8s.io/Event",
        "node.k8s.io/RuntimeClass",
    ] {
        assert!(patched.contains(kind), "{kind} cannot be patched");
    }
}

#[test]
fn a_schema_says_what_it_is_and_how_it_is_merged() {
    let document = read("api/v1");
    let schemas = &document["components"]["schemas"];
    let pod = &schemas["io.k8s.api.core.v1.Pod"];
    assert_eq!(pod["x-kubernetes-group-version-kind"][0]["kind"], "Pod");
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-list-type"], "map");
    assert_eq!(containers["x-kubernetes-list-map-keys"][0], "name");
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    for (name, schema) in schemas.as_object().unwrap() {
        assert!(schema["description"].is_string(), "{name}");
    }
}
