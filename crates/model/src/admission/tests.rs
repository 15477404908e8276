mod kinds;
mod workloads;

use serde_json::json;

use super::*;

fn options() -> Options {
    Options {
        default_runtime_class: Some("host".to_owned()),
    }
}

fn template() -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "command": ["a"]}]},
    })
}

/// A small object of each kind, without what `create` adds.
fn example(kind: Kind) -> Value {
    let rest = match kind {
        Kind::Pod => json!({"spec": template()["spec"]}),
        Kind::Service => json!({"spec": {"ports": [{"port": 80}]}}),
        Kind::Deployment | Kind::ReplicaSet => {
            json!({"spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template()}})
        }
        Kind::EndpointSlice => json!({"addressType": "IPv4", "endpoints": []}),
        Kind::RuntimeClass => json!({"handler": "host"}),
        Kind::Event => json!({"involvedObject": {"kind": "Pod", "namespace": "shop"}}),
        Kind::ConfigMap => json!({"data": {"a": "1"}}),
        _ => json!({}),
    };
    let mut metadata = json!({"name": "web"});
    if kind.is_namespaced() {
        metadata["namespace"] = json!("shop");
    }
    let mut object =
        json!({"apiVersion": kind.api_version(), "kind": kind.as_str(), "metadata": metadata});
    for (name, value) in rest.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

#[track_caller]
fn created(kind: Kind, value: Value) -> Value {
    create(kind, value, &options()).unwrap().value
}

#[track_caller]
fn refused(kind: Kind, change: &Value, expected: &[&str]) {
    let mut value = example(kind);
    merge(&mut value, change);
    let found = create(kind, value, &options()).map(|admitted| admitted.value);
    let found: Vec<String> = match found {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(FieldError::to_string).collect(),
    };
    assert_eq!(found, expected, "{kind} {change}");
}

/// A merge patch.
fn merge(value: &mut Value, change: &Value) {
    let Some(fields) = change.as_object() else {
        *value = change.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    for (name, change) in fields {
        if change.is_null() {
            value.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut value[name.as_str()], change);
        }
    }
}

#[test]
fn every_kind_is_created() {
    for kind in Kind::ALL {
        let admitted = create(kind, example(kind), &options()).unwrap();
        assert_eq!(admitted.key.kind, kind);
        assert_eq!(admitted.key.name, "web");
        let namespace = if kind.is_namespaced() { "shop" } else { "" };
        assert_eq!(admitted.key.namespace, namespace);
        assert_eq!(admitted.warnings, []);
        // What is admitted is admitted again, as it is.
        let before = admitted.value;
        let again = update(kind, &before, before.clone(), Part::Object, &options()).unwrap();
        assert_eq!(again.value, before, "{kind}");
        assert_eq!(again.key, admitted.key);
        // The kind of a body that does not say it is that of the resource.
        let mut bare = example(kind);
        merge(&mut bare, &json!({"kind": null, "apiVersion": null}));
        assert_eq!(created(kind, bare), before);
        let mut nameless = example(kind);
        nameless["metadata"]["name"] = json!("-");
        let errors = create(kind, nameless, &options()).unwrap_err();
        let place = "metadata.name: Invalid value: \"-\": ";
        assert!(errors[0].to_string().starts_with(place), "{errors:?}");
    }
}

#[test]
fn a_namespace_is_for_kinds_that_live_in_one() {
    for kind in Kind::ALL {
        let errors: &[&str] = if kind.is_namespaced() {
            &[]
        } else {
            &["metadata.namespace: Forbidden: not allowed on this type"]
        };
        if kind != Kind::Event {
            refused(kind, &json!({"metadata": {"namespace": "other"}}), errors);
        }
    }
}

#[test]
fn a_new_object_begins_at_its_beginning() {
    let lies = json!({
        "metadata": {"uid": "mine", "generation": 7, "resourceVersion": "3", "creationTimestamp": "2020-01-01T00:00:00Z"},
        "status": {"phase": "Running", "replicas": 9},
    });
    for (kind, status, generation) in [
        (Kind::Pod, Some(json!({"phase": "Pending"})), Some(1)),
        (Kind::Service, Some(json!({"loadBalancer": {}})), None),
        (Kind::Namespace, Some(json!({"phase": "Active"})), None),
        (Kind::ReplicaSet, Some(json!({"replicas": 0})), Some(1)),
        (Kind::Deployment, Some(json!({})), Some(1)),
        (Kind::EndpointSlice, None, Some(1)),
        (Kind::Lease, None, None),
    ] {
        let mut value = example(kind);
        merge(&mut value, &lies);
        if !first::has_status(kind) {
            value.as_object_mut().unwrap().remove("status");
        }
        let value = created(kind, value);
        assert_eq!(value.get("status"), status.as_ref(), "{kind}");
        let metadata = value["metadata"].as_object().unwrap();
        let found = metadata.get("generation").and_then(Value::as_i64);
        assert_eq!(found, generation, "{kind}");
        for name in ["uid", "resourceVersion", "creationTimestamp"] {
            assert!(!metadata.contains_key(name), "{kind} {name}");
        }
    }
    // A node tells of itself.
    let mut node = example(Kind::Node);
    node["status"] = json!({"capacity": {"cpu": "2"}});
    assert_eq!(created(Kind::Node, node.clone())["status"], node["status"]);

    for (spec, expected) in [
        (json!({}), "default"),
        (json!({"serviceAccountName": "robot"}), "robot"),
        (json!({"serviceAccount": "robot"}), "robot"),
    ] {
        let mut pod = example(Kind::Pod);
        merge(&mut pod["spec"], &spec);
        let pod = created(Kind::Pod, pod);
        for name in ["serviceAccount", "serviceAccountName"] {
            assert_eq!(pod["spec"][name], expected);
        }
    }
}

/// What the store holds of an object that was created.
fn stored(kind: Kind) -> Value {
    let mut value = created(kind, example(kind));
    merge(
        &mut value,
        &json!({"metadata": {
            "uid": "u-1", "creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "5",
            "managedFields": [{"manager": "a"}],
        }}),
    );
    value
}

#[test]
fn what_only_a_server_sets_stays() {
    for kind in Kind::ALL {
        let before = stored(kind);
        let mut after = example(kind);
        merge(
            &mut after,
            &json!({"metadata": {"uid": "other", "generation": 9, "labels": {"a": "b"},
                "resourceVersion": "6", "managedFields": [{"manager": "b"}]}}),
        );
        if first::has_status(kind) {
            after["status"] = json!({"phase": "Running"});
        }
        let value = update(kind, &before, after, Part::Object, &options())
            .unwrap()
            .value;
        let mut expected = before.clone();
        merge(
            &mut expected,
            &json!({"metadata": {"labels": {"a": "b"}, "resourceVersion": "6",
                "managedFields": [{"manager": "b"}]}}),
        );
        if kind == Kind::EndpointSlice {
            expected["metadata"]["generation"] = json!(2);
        }
        assert_eq!(value, expected, "{kind}");
    }

    // What a server has chosen for it need not be in the manifest.
    let mut pod = stored(Kind::Pod);
    pod["spec"]["nodeName"] = json!("here");
    let again = update(
        Kind::Pod,
        &pod,
        example(Kind::Pod),
        Part::Object,
        &options(),
    );
    assert_eq!(again.unwrap().value["spec"], pod["spec"]);
    let mut service = stored(Kind::Service);
    merge(
        &mut service,
        &json!({"spec": {"clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"]}}),
    );
    let manifest = example(Kind::Service);
    let again = update(Kind::Service, &service, manifest, Part::Object, &options());
    assert_eq!(again.unwrap().value["spec"], service["spec"]);
    // A namespace's finalizers are another's to change.
    let mut namespace = stored(Kind::Namespace);
    namespace["spec"]["finalizers"] = json!(["kubernetes", "a.b/c"]);
    let manifest = example(Kind::Namespace);
    let again = update(
        Kind::Namespace,
        &namespace,
        manifest,
        Part::Object,
        &options(),
    );
    assert_eq!(again.unwrap().value["spec"], namespace["spec"]);
}

#[test]
fn a_status_is_changed_alone() {
    for kind in Kind::ALL
        .into_iter()
        .filter(|kind| first::has_status(*kind))
    {
        let mut before = stored(kind);
        before["metadata"]["labels"] = json!({"old": "1"});
        let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "b"}]);
        before["metadata"]["ownerReferences"] = owner.clone();
        let mut after = before.clone();
        merge(
            &mut after,
            &json!({
                "metadata": {"labels": {"new": "2"}, "annotations": {"a": "b"}, "ownerReferences": null, "generation": 5},
                "spec": null,
                "status": {"conditions": [{"type": "a.b/c", "status": "True", "reason": "a", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
            }),
        );
        let value = update(kind, &before, after.clone(), Part::Status, &options())
            .unwrap()
            .value;
        let mut expected = before.clone();
        expected["status"] = after["status"].clone();
        expected["metadata"]["annotations"] = json!({"a": "b"});
        if kind != Kind::Deployment {
            expected["metadata"]["labels"] = json!({"old": "1", "new": "2"});
        }
        if kind != Kind::Pod {
            merge(
                &mut expected,
                &json!({"metadata": {"ownerReferences": null}}),
            );
        }
        assert_eq!(value, expected, "{kind}");

        after["status"] = json!({"conditions": 5, "nope": 1});
        let errors = update(kind, &before, after, Part::Status, &options()).unwrap_err();
        let errors: Vec<String> = errors.iter().map(FieldError::to_string).collect();
        assert_eq!(
            errors,
            [
                "status.conditions: expected a list, got 5",
                "unknown field \"status.nope\""
            ],
            "{kind}"
        );
    }
}

#[test]
fn generations_are_counted() {
    let replicas = json!({"spec": {"replicas": 5}});
    let image = json!({"spec": {"activeDeadlineSeconds": 5}});
    let note = json!({"metadata": {"annotations": {"a": "b"}}});
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    for (kind, change, expected) in [
        (Kind::Pod, &image, Some(2)),
        (Kind::Pod, &note, Some(1)),
        (Kind::Deployment, &replicas, Some(2)),
        (Kind::Deployment, &note, Some(2)),
        (Kind::Deployment, &label, Some(1)),
        (Kind::ReplicaSet, &replicas, Some(2)),
        (Kind::ReplicaSet, &note, Some(1)),
        (Kind::EndpointSlice, &note, Some(1)),
        (Kind::EndpointSlice, &label, Some(2)),
        (Kind::ConfigMap, &note, None),
    ] {
        let before = stored(kind);
        let mut after = before.clone();
        merge(&mut after, change);
        let value = update(kind, &before, after, Part::Object, &options())
            .unwrap()
            .value;
        let found = value["metadata"].get("generation").and_then(Value::as_i64);
        assert_eq!(found, expected, "{kind} {change}");
    }
}

#[test]
fn a_warning_is_about_what_has_changed() {
    let mut value = example(Kind::Service);
    value["spec"]["clusterIP"] = json!("10.0.0.9");
    let admitted = create(Kind::Service, value, &options()).unwrap();
    assert_eq!(admitted.warnings.len(), 1);
    let before = admitted.value;
    let mut after = before.clone();
    after["spec"]["type"] = json!("NodePort");
    let admitted = update(Kind::Service, &before, after, Part::Object, &options()).unwrap();
    let warnings: Vec<String> = admitted
        .warnings
        .iter()
        .map(FieldError::to_string)
        .collect();
    assert_eq!(
        warnings,
        ["spec.type: carried out as ClusterIP: reachable from this host only"]
    );
}

#[track_caller]
fn not_updated(kind: Kind, before: &Value, change: &Value, expected: &[&str]) {
    let mut after = before.clone();
    merge(&mut after, change);
    let errors = update(kind, before, after, Part::Object, &options()).unwrap_err();
    let errors: Vec<String> = errors.iter().map(FieldError::to_string).collect();
    assert_eq!(errors, expected);
}

#[test]
fn a_name_stays() {
    let before = stored(Kind::ConfigMap);
    not_updated(
        Kind::ConfigMap,
        &before,
        &json!({"metadata": {"name": "b", "namespace": "c"}}),
        &[
            "metadata.name: Invalid value: \"b\": field is immutable",
            "metadata.namespace: Invalid value: \"c\": field is immutable",
        ],
    );
}

#[test]
fn what_is_being_deleted_gets_no_finalizers() {
    let mut before = stored(Kind::ConfigMap);
    before["metadata"]["finalizers"] = json!(["a.b/old"]);
    before["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    not_updated(
        Kind::ConfigMap,
        &before,
        &json!({"metadata": {"finalizers": ["a.b/new", "a.b/old"]}}),
        &[
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, \
             found new finalizers []string{\"a.b/new\"}",
        ],
    );
    let mut after = before.clone();
    merge(
        &mut after,
        &json!({"metadata": {"finalizers": [], "deletionTimestamp": null}}),
    );
    let after = update(Kind::ConfigMap, &before, after, Part::Object, &options()).unwrap();
    let metadata = &after.value["metadata"];
    assert_eq!(metadata["finalizers"], json!([]));
    assert_eq!(
        metadata["deletionTimestamp"],
        before["metadata"]["deletionTimestamp"]
    );
}

#[test]
fn an_update_is_validated_and_compared() {
    let before = stored(Kind::Deployment);
    not_updated(
        Kind::Deployment,
        &before,
        &json!({"spec": {"replicas": -1, "selector": {"matchLabels": {"app": "other"}}}}),
        &[
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template \
             `labels`",
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"other\"}}: field is immutable",
        ],
    );
    let before = stored(Kind::Pod);
    not_updated(
        Kind::Pod,
        &before,
        &json!({"spec": {"hostNetwork": true}}),
        &[
            "spec.hostNetwork: Forbidden: pod updates may not change fields other than \
           `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
           `spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` \
           (allow it to be set to 1 if it was previously negative)",
        ],
    );
}
