//! The schemas, against what is known of Kubernetes' kinds, and what is asked of them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ListKind, Node, Scalar, Schema};

fn of(api_version: &str, kind: &str) -> &'static Schema {
    Schema::of(api_version, kind).unwrap_or_else(|| panic!("no {kind} in {api_version}"))
}

/// What is at a path: fields by their names, `[]` for the elements of a list.
fn at(kind: &'static Schema, path: &str) -> &'static Schema {
    path.split('.').fold(kind, |schema, name| {
        let next = if name == "[]" {
            schema.items()
        } else {
            schema.field(name)
        };
        next.unwrap_or_else(|| panic!("{path}: no {name}"))
    })
}

#[test]
fn every_kind_is_there_with_its_list() {
    for (api_version, kinds) in [
        (
            "v1",
            "ConfigMap Endpoints Event Namespace Node Pod Secret Service ServiceAccount",
        ),
        ("apps/v1", "Deployment ReplicaSet"),
        ("coordination.k8s.io/v1", "Lease"),
        ("discovery.k8s.io/v1", "EndpointSlice"),
        ("events.k8s.io/v1", "Event"),
        ("node.k8s.io/v1", "RuntimeClass"),
    ] {
        for kind in kinds.split(' ') {
            let schema = of(api_version, kind);
            assert!(
                matches!(at(schema, "metadata").node(), Node::Object(_)),
                "{kind}"
            );
            let list = of(api_version, &format!("{kind}List"));
            assert!(at(list, "items.[]").field("metadata").is_some(), "{kind}");
        }
    }
    for (api_version, kind) in [
        ("authentication.k8s.io/v1", "SelfSubjectReview"),
        ("authentication.k8s.io/v1", "TokenRequest"),
        ("authentication.k8s.io/v1", "TokenReview"),
        ("authorization.k8s.io/v1", "LocalSubjectAccessReview"),
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview"),
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview"),
        ("authorization.k8s.io/v1", "SubjectAccessReview"),
        ("autoscaling/v1", "Scale"),
        ("policy/v1", "Eviction"),
        ("policy/v1", "DeleteOptions"),
        ("v1", "DeleteOptions"),
        ("v1", "Status"),
        ("apps/v1", "WatchEvent"),
    ] {
        assert!(of(api_version, kind).field("apiVersion").is_some() || kind == "WatchEvent");
    }
    assert!(Schema::of("v1", "Podd").is_none());
    assert!(Schema::of("batch/v1", "Job").is_none());
}

#[test]
fn lists_and_objects_are_known_as_upstream_marks_them() {
    let keys = |keys: &[&str]| ListKind::Map(keys.iter().map(|key| (*key).to_owned()).collect());
    let pod = of("v1", "Pod");
    let service = of("v1", "Service");
    for (kind, path, expected, merge_key) in [
        (pod, "spec.containers", keys(&["name"]), Some("name")),
        (pod, "spec.initContainers", keys(&["name"]), Some("name")),
        (
            pod,
            "spec.ephemeralContainers",
            keys(&["name"]),
            Some("name"),
        ),
        (
            pod,
            "spec.containers.[].ports",
            keys(&["containerPort", "protocol"]),
            Some("containerPort"),
        ),
        (pod, "spec.containers.[].env", keys(&["name"]), Some("name")),
        (
            pod,
            "spec.containers.[].volumeMounts",
            keys(&["mountPath"]),
            Some("mountPath"),
        ),
        (pod, "spec.containers.[].args", ListKind::Atomic, None),
        (pod, "spec.imagePullSecrets", keys(&["name"]), Some("name")),
        (pod, "spec.hostAliases", keys(&["ip"]), Some("ip")),
        (pod, "spec.tolerations", ListKind::Atomic, None),
        (
            pod,
            "spec.topologySpreadConstraints",
            keys(&["topologyKey", "whenUnsatisfiable"]),
            Some("topologyKey"),
        ),
        (pod, "status.conditions", keys(&["type"]), Some("type")),
        (pod, "metadata.ownerReferences", keys(&["uid"]), Some("uid")),
        (pod, "metadata.finalizers", ListKind::Set, None),
        (pod, "metadata.managedFields", ListKind::Atomic, None),
        (
            service,
            "spec.ports",
            keys(&["port", "protocol"]),
            Some("port"),
        ),
        (
            of("v1", "ServiceAccount"),
            "secrets",
            keys(&["name"]),
            Some("name"),
        ),
        (
            of("v1", "Node"),
            "status.addresses",
            keys(&["type"]),
            Some("type"),
        ),
        (of("v1", "Node"), "spec.taints", ListKind::Atomic, None),
    ] {
        let Node::List(list) = at(kind, path).node() else {
            panic!("{path} is no list");
        };
        assert_eq!(list.kind, expected, "{path}");
        let strategy = at(kind, path).patch_strategy();
        assert_eq!(strategy.merge_key.as_deref(), merge_key, "{path}");
        assert_eq!(
            strategy.merge,
            merge_key.is_some() || expected == ListKind::Set,
            "{path}"
        );
    }
    let deployment = of("apps/v1", "Deployment");
    for (kind, path, atomic) in [
        (deployment, "spec.selector", true),
        (of("apps/v1", "ReplicaSet"), "spec.selector", true),
        (service, "spec.selector", true),
        (pod, "spec.nodeSelector", true),
        (pod, "metadata.labels", false),
        (pod, "spec.securityContext", false),
        (of("v1", "Event"), "involvedObject", true),
    ] {
        let found = match at(kind, path).node() {
            Node::Object(object) => object.atomic,
            Node::Map(map) => map.atomic,
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(found, atomic, "{path}");
    }
    assert!(at(pod, "spec.volumes").patch_strategy().retain_keys);
    assert!(at(deployment, "spec.strategy").patch_strategy().retain_keys);
    assert_eq!(
        at(pod, "spec.containers.[].ports.[].protocol").default(),
        Some(&json!("TCP"))
    );
    assert_eq!(
        at(service, "spec.ports.[].protocol").default(),
        Some(&json!("TCP"))
    );
}

#[test]
fn scalars_have_their_types() {
    let pod = of("v1", "Pod");
    for (path, expected) in [
        ("spec.nodeName", Scalar::String),
        ("spec.hostNetwork", Scalar::Boolean),
        ("spec.priority", Scalar::Int32),
        ("spec.terminationGracePeriodSeconds", Scalar::Int64),
        (
            "spec.containers.[].livenessProbe.httpGet.port",
            Scalar::IntOrString,
        ),
        ("spec.containers.[].resources.limits.cpu", Scalar::Quantity),
        ("metadata.creationTimestamp", Scalar::Time),
    ] {
        let Node::Scalar(found) = at(pod, path).node() else {
            panic!("{path} is no scalar");
        };
        assert_eq!(*found, expected, "{path}");
    }
    let Node::Scalar(Scalar::Bytes) = at(of("v1", "Secret"), "data.x").node() else {
        panic!("a secret's data is bytes");
    };
    let Node::Scalar(Scalar::MicroTime) =
        at(of("coordination.k8s.io/v1", "Lease"), "spec.renewTime").node()
    else {
        panic!("a lease's times are to the microsecond");
    };
    assert!(matches!(
        at(pod, "metadata.managedFields.[].fieldsV1").node(),
        Node::Any
    ));
}

#[test]
fn unknown_fields_are_named_as_upstream_names_them() {
    let check = |kind: &str, object: Value, expected: &[&str]| {
        let schema = of("v1", kind);
        assert_eq!(schema.unknown_fields(&object), expected, "{object}");
        let kept = schema.without_unknown_fields(object);
        assert_eq!(schema.unknown_fields(&kept), Vec::<String>::new());
    };
    check(
        "Pod",
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web" } }),
        &[],
    );
    check(
        "Pod",
        json!({ "spec": { "containers": [{ "imagee": "x", "name": "a" }] } }),
        &["spec.containers[0].imagee"],
    );
    check(
        "Pod",
        json!({
            "extra": { "a": 1 },
            "metadata": { "labels": { "any": "thing" }, "annotation": {} },
            "spec": {
                "Containers": [],
                "containers": [
                    { "name": "a" },
                    { "name": "b", "livenessProbe": { "httpGet": { "prt": 80 } }, "env": [{}, { "val": 1 }] },
                ],
            },
        }),
        &[
            "extra",
            "metadata.annotation",
            "spec.Containers",
            "spec.containers[1].env[1].val",
            "spec.containers[1].livenessProbe.httpGet.prt",
        ],
    );
    // What is of a wrong type has no fields to be known or unknown.
    check(
        "Pod",
        json!({ "spec": { "containers": { "imagee": "x" } } }),
        &[],
    );
    check(
        "Pod",
        json!({ "spec": null, "metadata": [], "status": 3 }),
        &[],
    );
    check("Pod", json!([]), &[]);
    check(
        "ConfigMap",
        json!({ "data": { "a.b": "c" }, "dat": {} }),
        &["dat"],
    );
    check(
        "PodList",
        json!({ "items": [{ "spec": {} }, { "spek": {} }] }),
        &["items[1].spek"],
    );
    // What others recorded about fields is theirs.
    check(
        "Pod",
        json!({ "metadata": { "managedFields": [{ "fieldsV1": { "f:spec": { ".": {} } } }] } }),
        &[],
    );
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<i32>().prop_map(Value::from)];
    let key = "(spec|metadata|containers|name|labels|ports|status|volumes|x|y)";
    leaf.prop_recursive(6, 48, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map(key, inner, 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn without_its_unknown_fields_an_object_has_none(object in anything()) {
        let pod = of("v1", "Pod");
        let kept = pod.without_unknown_fields(object.clone());
        prop_assert_eq!(pod.unknown_fields(&kept), Vec::<String>::new());
        if pod.unknown_fields(&object).is_empty() {
            prop_assert_eq!(&kept, &object);
        } else {
            prop_assert_ne!(&kept, &object);
        }
    }
}
