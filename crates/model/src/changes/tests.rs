use serde_json::json;

use super::*;

fn changed(pointer: &str, value: Value) -> Vec<String> {
    let old = json!({"kind": "Pod", "metadata": {"name": "a"}, "spec": {
        "nodeName": "here",
        "terminationGracePeriodSeconds": 30,
        "tolerations": [],
        "initContainers": [{"name": "i", "image": "b", "restartPolicy": "Always"}],
        "containers": [{
            "name": "a", "image": "b", "command": ["c", "d"], "tty": false,
            "readinessProbe": {"periodSeconds": 10},
        }],
    }});
    let mut new = old.clone();
    new["spec"].as_object_mut().unwrap().remove("nodeName");
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = new.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(elements) if name == "-" => elements.push(value),
        Value::Array(elements) => elements[name.parse::<usize>().unwrap()] = value,
        parent => parent[name] = value,
    }
    let errors = immutable(&old, &new);
    assert!(
        errors
            .iter()
            .all(|error| error.message.starts_with("Forbidden: pod updates may not ")),
        "{errors:?}"
    );
    errors
        .into_iter()
        .map(|error| error.path.to_string())
        .collect()
}

#[test]
fn a_pods_spec_may_change_in_few_places() {
    for (pointer, value, expected) in [
        ("/metadata/labels", json!({"a": "b"}), &[][..]),
        ("/spec/containers/0/image", json!("c"), &[]),
        ("/spec/tolerations/-", json!({"key": "a"}), &[]),
        ("/spec/volumes", json!([]), &[]),
        ("/spec/hostNetwork", json!(false), &[]),
        ("/spec/hostNetwork", json!(true), &["spec.hostNetwork"]),
        ("/spec/hostname", json!(""), &[]),
        ("/spec/hostname", json!("h"), &["spec.hostname"]),
        ("/spec/securityContext", json!({}), &[]),
        ("/spec/securityContext", json!(null), &[]),
        ("/spec/priority", json!(0), &["spec.priority"]),
        ("/spec/nodeName", json!("there"), &["spec.nodeName"]),
        (
            "/spec/containers/0/readinessProbe/periodSeconds",
            json!(5),
            &["spec.containers[0].readinessProbe.periodSeconds"],
        ),
        (
            "/spec/containers/0/command/1",
            json!("e"),
            &["spec.containers[0].command[1]"],
        ),
        (
            "/spec/containers/0/command",
            json!(["e"]),
            &["spec.containers[0].command"],
        ),
        (
            "/spec/containers/-",
            json!({"name": "b"}),
            &["spec.containers"],
        ),
        (
            "/spec/terminationGracePeriodSeconds",
            json!(1),
            &["spec.terminationGracePeriodSeconds"],
        ),
        ("/spec/volumes", json!([{"name": "a"}]), &["spec.volumes"]),
        ("/spec/initContainers/0/image", json!("c"), &[]),
        (
            "/spec/initContainers/0/imagePullPolicy",
            json!("Never"),
            &["spec.initContainers[0].imagePullPolicy"],
        ),
        (
            "/spec/initContainers/0/restartPolicy",
            json!("Never"),
            &["spec.initContainers[0].restartPolicy"],
        ),
        (
            "/spec/initContainers/-",
            json!({"name": "j"}),
            &["spec.initContainers"],
        ),
        (
            "/spec/readinessGates",
            json!([{"conditionType": "a"}]),
            &["spec.readinessGates"],
        ),
        ("/spec/activeDeadlineSeconds", json!(5), &[]),
        (
            "/metadata/annotations",
            json!({"liveness.probe.probelet.dev/a": "periodMilliseconds=20"}),
            &["metadata.annotations[liveness.probe.probelet.dev/a]"],
        ),
        ("/metadata/annotations", json!({"a/b": "c"}), &[]),
    ] {
        assert_eq!(changed(pointer, value), expected, "{pointer}");
    }
}

#[test]
fn a_pull_policy_changes_with_its_image() {
    let pod = |image: &str, policy: &str| {
        let container = json!({"name": "a", "image": image, "imagePullPolicy": policy});
        json!({"kind": "Pod", "spec": {"containers": [container]}})
    };
    let old = pod("a:1", "IfNotPresent");
    assert_eq!(immutable(&old, &pod("a", "Always")), []);
    let errors = immutable(&old, &pod("a:1", "Always"));
    let paths: Vec<String> = errors.iter().map(|error| error.path.to_string()).collect();
    assert_eq!(paths, ["spec.containers[0].imagePullPolicy"]);
}

#[test]
fn a_deadline_may_be_set_and_shortened() {
    let pod =
        |seconds: Option<i64>| json!({"kind": "Pod", "spec": {"activeDeadlineSeconds": seconds}});
    let path = "spec.activeDeadlineSeconds: Invalid value";
    for (old, new, expected) in [
        (None, None, None),
        (None, Some(5), None),
        (Some(5), Some(5), None),
        (Some(5), Some(4), None),
        (
            Some(5),
            Some(6),
            Some(format!(
                "{path}: 6: must be less than or equal to previous value"
            )),
        ),
        (
            Some(5),
            None,
            Some(format!(
                "{path}: \"null\": must not update from a positive integer to nil value"
            )),
        ),
    ] {
        let errors = immutable(&pod(old), &pod(new));
        let found: Vec<String> = errors.iter().map(FieldError::to_string).collect();
        assert_eq!(found, Vec::from_iter(expected), "{old:?} {new:?}");
    }
}

#[test]
fn a_negative_grace_may_become_one_second() {
    let pod = |grace: i64| json!({"kind": "Pod", "spec": {"terminationGracePeriodSeconds": grace}});
    for (old, new, is_allowed) in [(-1, 1, true), (-1, 2, false), (0, 1, false), (2, 1, false)] {
        let errors = immutable(&pod(old), &pod(new));
        assert_eq!(errors.is_empty(), is_allowed, "{old} {new}: {errors:?}");
    }
}

#[test]
fn how_a_running_pod_is_probed_stays() {
    let pod = |annotations: Value| json!({"kind": "Pod", "metadata": {"annotations": annotations}});
    let key = "liveness.probe.probelet.dev/a";
    let slow = pod(json!({key: "periodMilliseconds=250", "other": "x"}));
    let quick = pod(json!({key: "periodMilliseconds=20", "other": "x"}));
    let none = pod(json!({"other": "y"}));
    let expected = format!(
        "metadata.annotations[{key}]: Forbidden: pod updates may not change how often or how long a \
         container is probed"
    );
    for (old, new) in [(&slow, &quick), (&slow, &none), (&none, &slow)] {
        let errors = immutable(old, new);
        let found: Vec<String> = errors.iter().map(FieldError::to_string).collect();
        assert_eq!(found, [expected.as_str()]);
    }
    assert_eq!(immutable(&slow, &slow), []);
}

#[test]
fn a_services_address_stays() {
    let service = |spec: Value| json!({"kind": "Service", "spec": spec});
    let old = service(json!({"clusterIP": "10.0.0.1"}));
    for allowed in [
        json!({"ports": []}),
        json!({"clusterIP": ""}),
        json!({"clusterIP": "10.0.0.1"}),
    ] {
        assert_eq!(immutable(&old, &service(allowed)), []);
    }
    assert_eq!(immutable(&service(json!({})), &old), []);
    let errors = immutable(&old, &service(json!({"clusterIP": "None"})));
    assert_eq!(
        errors[0].to_string(),
        "spec.clusterIPs[0]: Invalid value: [\"None\"]: may not change once set"
    );
}

fn errors_of(old: &Value, new: &Value) -> Vec<String> {
    let errors = immutable(old, new);
    errors.iter().map(FieldError::to_string).collect()
}

#[test]
fn tolerations_may_be_added() {
    let pod = |tolerations: Value| json!({"kind": "Pod", "spec": {"tolerations": tolerations}});
    let old = pod(json!([{"key": "a", "tolerationSeconds": 5}]));
    let refused = [
        "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
    ];
    for (new, expected) in [
        (json!([{"key": "a", "tolerationSeconds": 6}]), &[][..]),
        (json!([{"key": "b"}, {"key": "a"}]), &[]),
        (json!([{"key": "b"}]), &refused),
        (json!([]), &refused),
    ] {
        assert_eq!(errors_of(&old, &pod(new)), expected);
    }
    assert_eq!(errors_of(&pod(json!([])), &old), [""; 0]);
}

#[test]
fn one_field_of_some_kinds_stays() {
    let selector = |app: &str| json!({"selector": {"matchLabels": {"app": app}}, "replicas": 1});
    for (old, new, expected) in [
        (
            json!({"kind": "Deployment", "spec": selector("a")}),
            json!({"kind": "Deployment", "spec": selector("b")}),
            r#"spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable"#,
        ),
        (
            json!({"kind": "ReplicaSet", "spec": selector("a")}),
            json!({"kind": "ReplicaSet", "spec": {}}),
            "spec.selector: Invalid value: null: field is immutable",
        ),
        (
            json!({"kind": "RuntimeClass", "handler": "a"}),
            json!({"kind": "RuntimeClass", "handler": "b"}),
            "handler: Invalid value: \"b\": field is immutable",
        ),
        (
            json!({"kind": "EndpointSlice", "addressType": "IPv4"}),
            json!({"kind": "EndpointSlice", "addressType": "IPv6"}),
            "addressType: Invalid value: \"IPv6\": field is immutable",
        ),
        (
            json!({"kind": "Secret", "type": "Opaque"}),
            json!({"kind": "Secret", "type": "kubernetes.io/tls"}),
            "type: Invalid value: \"kubernetes.io/tls\": field is immutable",
        ),
    ] {
        assert_eq!(errors_of(&old, &new), [expected]);
        assert_eq!(errors_of(&old, &old), [""; 0]);
    }
    let spec = json!({"kind": "Deployment", "spec": selector("a")});
    let mut scaled = spec.clone();
    scaled["spec"]["replicas"] = json!(5);
    assert_eq!(errors_of(&spec, &scaled), [""; 0]);
}

#[test]
fn what_is_immutable_stays() {
    for kind in ["ConfigMap", "Secret"] {
        let object = |immutable: Option<bool>, data: Value| json!({"kind": kind, "immutable": immutable, "data": data});
        let fixed = object(Some(true), json!({"a": "b"}));
        let refused =
            |name: &str| format!("{name}: Forbidden: field is immutable when `immutable` is set");
        assert_eq!(errors_of(&fixed, &fixed), [""; 0]);
        assert_eq!(
            errors_of(&fixed, &object(Some(false), json!({"a": "c"}))),
            [refused("immutable"), refused("data")]
        );
        assert_eq!(
            errors_of(&fixed, &object(None, json!({"a": "b"}))),
            [refused("immutable")]
        );
        let mut binary = fixed.clone();
        binary["binaryData"] = json!({"c": "AA=="});
        assert_eq!(errors_of(&fixed, &binary), [refused("binaryData")]);
        let open = object(None, json!({"a": "b"}));
        assert_eq!(errors_of(&open, &fixed), [""; 0]);
    }
}
