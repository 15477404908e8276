//! Several who apply, and others who update.

use serde_json::{Value, json};

use super::{ApplyError, Server, bare, configmap, conflicts, deployment, pod, web_deployment};

fn malformed(result: Result<&Value, ApplyError>) -> String {
    match result {
        Err(ApplyError::Malformed(text)) => text,
        other => panic!("it should not be applied: {other:?}"),
    }
}

#[test]
fn a_new_object_is_what_is_applied() {
    let mut server = Server::of("apps/v1", "Deployment");
    server.apply("a", &web_deployment()).unwrap();
    assert_eq!(server.object(), web_deployment());
    assert_eq!(
        server.entries(),
        [json!({
            "manager": "a",
            "operation": "Apply",
            "apiVersion": "apps/v1",
            "time": "2026-01-02T03:04:01Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:spec": {
                    "f:replicas": {},
                    "f:selector": {},
                    "f:template": {
                        "f:metadata": {"f:labels": {"f:app": {}}},
                        "f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {
                            ".": {},
                            "f:name": {},
                            "f:image": {},
                            "f:ports": {
                                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                                    ".": {},
                                    "f:containerPort": {},
                                },
                            },
                        }}},
                    },
                },
            },
        })]
    );
}

#[test]
fn conflicts_name_the_manager_as_upstream_does() {
    let mut server = Server::of("apps/v1", "Deployment");
    server.update("creator", web_deployment());
    let mut scaled = server.live.clone().unwrap();
    scaled["spec"]["replicas"] = json!(4);
    server.update("autoscaler/scale", scaled);
    let paused = deployment(json!({"paused": true, "minReadySeconds": 1}));
    server.apply("applier", &paused).unwrap();
    let before = server.live.clone();
    let applied = deployment(json!({
        "replicas": 101,
        "paused": false,
        "minReadySeconds": 2,
        "template": {"spec": {"containers": [{
            "name": "web",
            "image": "nginx:2",
            "ports": [{"containerPort": 80, "protocol": "TCP", "name": "http"}],
        }]}},
    }));
    assert_eq!(
        conflicts(server.apply("other", &applied)),
        [
            "conflict with \"applier\": .spec.minReadySeconds",
            "conflict with \"applier\": .spec.paused",
            "conflict with \"autoscaler\" with subresource \"scale\" using apps/v1: .spec.replicas",
            "conflict with \"creator\" using apps/v1: .spec.template.spec.containers[name=\"web\"].image",
        ]
    );
    assert_eq!(server.live, before);
    server.force("other", &applied);
    assert_eq!(server.object()["spec"]["replicas"], 101);
    assert_eq!(server.managers(), ["other Apply 05", "creator Update 01"]);
    // Nothing is left to win.
    server.apply("other", &applied).unwrap();
}

#[test]
fn the_same_value_is_no_conflict_and_is_owned_by_both() {
    let mut server = Server::of("v1", "ConfigMap");
    server.apply("a", &configmap(json!({"key": "1"}))).unwrap();
    server.apply("b", &configmap(json!({"key": "1"}))).unwrap();
    assert_eq!(server.fields("a"), server.fields("b"));
    // The object is the same: that somebody else has it too is nothing that happened at a time.
    assert_eq!(server.managers(), ["b Apply ", "a Apply 01"]);
    assert_eq!(
        conflicts(server.apply("a", &configmap(json!({"key": "2"})))),
        ["conflict with \"b\": .data.key"]
    );
}

#[test]
fn what_a_sole_owner_drops_is_gone() {
    let mut server = Server::of("apps/v1", "Deployment");
    let mut applied = web_deployment();
    applied["metadata"]["labels"] = json!({"a": "1", "b": "1"});
    applied["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    applied["spec"]["template"]["spec"]["securityContext"] = json!({"runAsUser": 1});
    server.apply("a", &applied).unwrap();
    assert_eq!(server.object(), applied);
    applied["metadata"]["labels"] = json!({"a": "1"});
    applied["spec"].as_object_mut().unwrap().remove("replicas");
    let of_pod = applied["spec"]["template"]["spec"].as_object_mut().unwrap();
    of_pod.remove("volumes");
    of_pod.remove("securityContext");
    server.apply("a", &applied).unwrap();
    assert_eq!(server.object(), applied);
    // Down to nothing.
    server.apply("a", &bare()).unwrap();
    assert_eq!(server.object(), bare());
    assert_eq!(server.entries(), Vec::<Value>::new());
}

#[test]
fn what_another_owns_stays() {
    let names = |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        pod(json!({ "containers": containers }))
    };
    let mut server = Server::of("v1", "Pod");
    server.apply("one", &names(&["a", "b", "c"])).unwrap();
    server.apply("two", &names(&["c", "d"])).unwrap();
    server.apply("one", &names(&["a"])).unwrap();
    assert_eq!(server.object(), names(&["a", "c", "d"]));
    // What somebody has put into an element goes with it: the element itself is the applier's alone.
    let mut changed = server.live.clone().unwrap();
    changed["spec"]["containers"][0]["image"] = json!("nginx");
    server.update("three", changed);
    server.apply("one", &names(&[])).unwrap();
    assert_eq!(
        server.object()["spec"]["containers"],
        json!([{"name": "c"}, {"name": "d"}])
    );
}

/// What was applied as a whole goes; what nobody named stays.
#[test]
fn what_nobody_owns_stays() {
    let mut server = Server::of("v1", "Pod");
    let env = |env: Value| pod(json!({"containers": [{"name": "c", "env": env}]}));
    server
        .apply("a", &env(json!([{"name": "A", "value": "1"}])))
        .unwrap();
    let with_default = |server: &mut Server| {
        let mut object = server.live.clone().unwrap();
        object["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
        server.live = Some(object);
    };
    with_default(&mut server);
    server.apply("a", &env(json!([{"name": "B"}]))).unwrap();
    assert_eq!(
        server.object()["spec"]["containers"],
        json!([{"name": "c", "env": [{"name": "B"}], "imagePullPolicy": "Always"}])
    );
    // With the element goes what was in it.
    server.apply("a", &pod(json!({"nodeName": "n"}))).unwrap();
    assert_eq!(server.object(), pod(json!({"nodeName": "n"})));
}

#[test]
fn an_update_takes_what_it_changes_from_appliers() {
    let mut server = Server::of("v1", "ConfigMap");
    let applied = configmap(json!({"a": "1", "b": "1"}));
    server.apply("applier", &applied).unwrap();
    server.update("updater", configmap(json!({"a": "2", "b": "1"})));
    assert_eq!(server.fields("applier"), json!({"f:data": {"f:b": {}}}));
    assert_eq!(server.fields("updater"), json!({"f:data": {"f:a": {}}}));
    assert_eq!(
        conflicts(server.apply("applier", &applied)),
        ["conflict with \"updater\" using v1: .data.a"]
    );
    // What is not applied any more stays now, as it is another's.
    server
        .apply("applier", &configmap(json!({"b": "1"})))
        .unwrap();
    assert_eq!(server.object(), configmap(json!({"a": "2", "b": "1"})));
}

#[test]
fn the_same_name_is_two_managers_if_it_applies_and_updates() {
    let mut server = Server::of("v1", "ConfigMap");
    server.update("a", configmap(json!({"key": "1"})));
    assert_eq!(
        conflicts(server.apply("a", &configmap(json!({"key": "2"})))),
        ["conflict with \"a\" using v1: .data.key"]
    );
    server.apply("a", &configmap(json!({"key": "1"}))).unwrap();
    // And another through each subresource.
    server
        .apply("a/status", &configmap(json!({"other": "1"})))
        .unwrap();
    assert_eq!(
        server.managers(),
        ["a Apply ", "a/status Apply 04", "a Update 01"]
    );
}

#[test]
fn an_apply_that_changes_nothing_gives_the_object_back() {
    let mut server = Server::of("apps/v1", "Deployment");
    let mut applied = web_deployment();
    // What a file has that was written by a program.
    applied["metadata"]["creationTimestamp"] = Value::Null;
    applied["spec"]["strategy"] = json!({});
    applied["status"] = json!({});
    server.apply("a", &applied).unwrap();
    let mut defaulted = server.live.clone().unwrap();
    defaulted["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    defaulted["metadata"]["uid"] = json!("u");
    defaulted["spec"]["strategy"] = json!({"type": "RollingUpdate"});
    defaulted["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"] = json!("TCP");
    applied["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("creationTimestamp");
    server.live = Some(defaulted.clone());
    server.apply("a", &applied).unwrap();
    assert_eq!(server.live, Some(defaulted));
}

#[test]
fn a_key_has_its_default() {
    let mut server = Server::of("v1", "Pod");
    let ports = |ports: Value| pod(json!({"containers": [{"name": "c", "ports": ports}]}));
    server
        .apply(
            "a",
            &ports(json!([{"containerPort": 80, "protocol": "TCP", "name": "foo"}])),
        )
        .unwrap();
    assert_eq!(
        conflicts(server.apply("b", &ports(json!([{"containerPort": 80, "name": "bar"}])))),
        ["conflict with \"a\": .spec.containers[name=\"c\"]\
             .ports[containerPort=80,protocol=\"TCP\"].name"]
    );
    server
        .apply(
            "b",
            &ports(json!([{"containerPort": 80, "protocol": "UDP"}])),
        )
        .unwrap();
    assert_eq!(
        server.object()["spec"]["containers"][0]["ports"],
        json!([
            {"containerPort": 80, "protocol": "TCP", "name": "foo"},
            {"containerPort": 80, "protocol": "UDP"},
        ])
    );
    let twice = ports(json!([{"containerPort": 80}, {"containerPort": 80, "protocol": "TCP"}]));
    assert_eq!(
        malformed(server.apply("c", &twice)),
        "failed to create typed patch object (/web; /v1, Kind=Pod): .spec.containers[name=\"c\"].ports: \
         duplicate entries for key [containerPort=80,protocol=\"TCP\"]"
    );
}

#[test]
fn what_does_not_fit_is_refused_in_the_words_of_upstream() {
    let spec = |spec: Value| {
        let mut object = pod(spec);
        object["metadata"]["namespace"] = json!("demo");
        object
    };
    let check = |applied: Value, flaw: &str| {
        let mut server = Server::of("v1", "Pod");
        assert_eq!(
            malformed(server.apply("a", &applied)),
            format!("failed to create typed patch object (demo/web; /v1, Kind=Pod): {flaw}")
        );
    };
    let container = |container: Value| spec(json!({"containers": [container]}));
    check(
        spec(json!({"nodeNam": "n"})),
        ".spec.nodeNam: field not declared in schema",
    );
    check(
        spec(json!({"containers": {}})),
        ".spec.containers: expected list, got &{map[]}",
    );
    check(
        spec(json!({"containers": ["c"]})),
        ".spec.containers: element 0: associative list with keys may not have non-map elements",
    );
    check(
        spec(json!({"containers": [null]})),
        ".spec.containers: element 0: associative list with keys may not have a null element",
    );
    check(
        container(json!({"name": "c", "image": 1})),
        ".spec.containers[name=\"c\"].image: expected string, got &value.valueUnstructured{Value:1}",
    );
    check(
        container(json!({"name": "c", "env": [{"name": "A"}, {"name": "A"}]})),
        ".spec.containers[name=\"c\"].env: duplicate entries for key [name=\"A\"]",
    );
    check(
        container(json!({"name": "c", "resources": {"limits": {"cpu": {"a": [1, true, null]}}}})),
        ".spec.containers[name=\"c\"].resources.limits.cpu: expected any scalar, got &{map[a:[1 true <nil>]]}",
    );
    check(
        container(json!({"name": "c", "command": [["sh"]]})),
        ".spec.containers[name=\"c\"].command[0]: expected string, got \
         &value.valueUnstructured{Value:[]interface {}{\"sh\"}}",
    );
    check(
        spec(json!({"hostNetwork": "yes", "priority": "high", "securityContext": 1})),
        "errors:\n  .spec.hostNetwork: expected boolean, got &{yes}\n  \
         .spec.priority: expected numeric (int or float), got string\n  \
         .spec.securityContext: expected map, got &{1}",
    );
    let mut finalizers = spec(json!({}));
    finalizers["metadata"]["finalizers"] = json!(["a", "a"]);
    check(
        finalizers,
        ".metadata.finalizers: duplicate entries for key [=\"a\"]",
    );
}

#[test]
fn what_is_of_another_kind_or_has_entries_is_refused() {
    let mut server = Server::of("v1", "Pod");
    server.apply("a", &pod(json!({}))).unwrap();
    let mut other = pod(json!({}));
    other["apiVersion"] = json!("v2");
    assert_eq!(
        malformed(server.apply("a", &other)),
        "invalid object type: /v2, Kind=Pod"
    );
    let mut managed = pod(json!({}));
    managed["metadata"]["managedFields"] = json!([]);
    assert_eq!(
        malformed(server.apply("a", &managed)),
        "metadata.managedFields must be nil"
    );
    managed["metadata"]["managedFields"] = Value::Null;
    server.apply("a", &managed).unwrap();
    let mut spoiled = pod(json!({}));
    spoiled["metadata"]["managedFields"] = json!([{"operation": "Delete"}]);
    assert_eq!(
        malformed(Server::holding(spoiled).apply("a", &pod(json!({})))),
        "failed to decode managed fields: operation must be `Apply` or `Update`"
    );
}

#[test]
fn an_element_without_any_key_is_refused() {
    let account = |secrets: Value| {
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}, "secrets": secrets,
        })
    };
    let mut server = Server::of("v1", "ServiceAccount");
    let error = "element 1: associative list with keys has an element that omits all key fields [\"name\"] \
                 (and doesn't have default values for any key fields)";
    let keyless = account(json!([{"name": "s"}, {"namespace": "n"}]));
    assert_eq!(
        malformed(server.apply("a", &keyless)),
        format!(
            "failed to create typed patch object (/a; /v1, Kind=ServiceAccount): .secrets: {error}"
        )
    );
    // One that is there already can be nobody's.
    server.update("b", keyless);
    assert_eq!(
        server.fields("b"),
        json!({"f:secrets": {".": {}, "k:{\"name\":\"s\"}": {}}})
    );
    assert_eq!(
        malformed(server.apply("a", &account(json!([{"name": "t"}])))),
        format!(
            "failed to create typed live object (/a; /v1, Kind=ServiceAccount): .secrets: {error}"
        )
    );
}
