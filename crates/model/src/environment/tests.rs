use serde_json::json;

use super::*;
use crate::id::Kind;
use crate::resources::Amounts;

fn pod(spec: &Value) -> Pod {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u-1",
            "labels": {"app": "web", "a.b/c": "d"},
            "annotations": {"note": "say \"hi\"\nthere", "a": "1"},
        },
        "spec": {"runtimeClassName": "host", "containers": [{"name": "main", "command": ["a"]}]},
    });
    for (name, value) in spec.as_object().unwrap() {
        match name.as_str() {
            "env" | "envFrom" | "resources" => pod["spec"]["containers"][0][name] = value.clone(),
            _ => pod["spec"][name] = value.clone(),
        }
    }
    Pod::from_value(&pod).unwrap()
}

fn facts() -> PodFacts {
    PodFacts {
        pod_ips: vec!["10.1.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
        host_ips: vec!["192.168.0.1".parse().unwrap()],
        node_name: "here".to_owned(),
        allocatable: Amounts {
            cpu_milli: Some(3900),
            memory: Some(8 << 30),
            ephemeral_storage: None,
        },
    }
}

fn objects(kind: Kind, name: &str) -> Option<Arc<Value>> {
    let value = match (kind, name) {
        (Kind::ConfigMap, "plain") => {
            json!({"data": {"COLOR": "red", "SIZE": "1", "dotted.key": "x"}, "binaryData": {"BIN": "AAE="}})
        }
        (Kind::Secret, "token") => json!({"data": {"TOKEN": "czNjcjN0", "COLOR": "Ymx1ZQ=="}}),
        (Kind::Secret, "bytes") => json!({"data": {"RAW": "/w=="}}),
        (Kind::ConfigMap, "broken") => json!({"data": {"A": 5}}),
        _ => return None,
    };
    Some(Arc::new(value))
}

fn variables(spec: &Value, services: &[Value]) -> Result<Vec<(String, String)>, MissingReference> {
    let pod = pod(spec);
    let services: Vec<Arc<Value>> = services.iter().cloned().map(Arc::new).collect();
    environment(&pod, &pod.containers[0], &facts(), &objects, &services)
}

#[track_caller]
fn check(spec: &Value, expected: &[(&str, &str)]) {
    let found = variables(spec, &[]).unwrap();
    let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (&**a, &**b)).collect();
    assert_eq!(found, expected, "{spec}");
}

#[test]
fn an_environment_is_made_in_upstreams_order() {
    let plain = json!({"configMapRef": {"name": "plain"}});
    let token = json!({"secretRef": {"name": "token"}, "prefix": "S_"});
    let both = json!({"secretRef": {"name": "token"}});
    let all = [("COLOR", "red"), ("SIZE", "1"), ("dotted.key", "x")];
    check(&json!({"envFrom": [plain]}), &all);
    check(
        &json!({"envFrom": [token]}),
        &[("S_COLOR", "blue"), ("S_TOKEN", "s3cr3t")],
    );
    // The later source wins, and `env` over both; what it refers to is known before it.
    check(
        &json!({
            "envFrom": [plain, both],
            "env": [
                {"name": "EARLY", "value": "$(LATE)"},
                {"name": "LATE", "value": "$(COLOR)-$(SIZE)"},
                {"name": "SIZE", "value": "2"},
                {"name": "AGAIN", "value": "$(SIZE)"},
                {"name": "EMPTY"},
            ],
        }),
        &[
            ("AGAIN", "2"),
            ("COLOR", "blue"),
            ("EARLY", "$(LATE)"),
            ("EMPTY", ""),
            ("LATE", "blue-1"),
            ("SIZE", "2"),
            ("TOKEN", "s3cr3t"),
            ("dotted.key", "x"),
        ],
    );
    // What comes from a key is not expanded again.
    check(
        &json!({"env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "plain", "key": "COLOR"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "token", "key": "TOKEN"}}},
            {"name": "C", "value": "$(A)$(B)"},
        ]}),
        &[("A", "red"), ("B", "s3cr3t"), ("C", "reds3cr3t")],
    );
}

#[test]
fn what_an_environment_lacks_is_named() {
    let of = |from: Value| json!({"env": [{"name": "A", "valueFrom": from}]});
    for (spec, expected) in [
        (
            json!({"envFrom": [{"configMapRef": {"name": "x"}}]}),
            "configmap \"x\" not found",
        ),
        (
            json!({"envFrom": [{"secretRef": {"name": "x"}}]}),
            "secret \"x\" not found",
        ),
        (
            of(json!({"configMapKeyRef": {"name": "x", "key": "k"}})),
            "configmap \"x\" not found",
        ),
        (
            of(json!({"secretKeyRef": {"name": "x", "key": "k"}})),
            "secret \"x\" not found",
        ),
        (
            of(json!({"configMapKeyRef": {"name": "plain", "key": "k"}})),
            "couldn't find key k in ConfigMap shop/plain",
        ),
        (
            // No environment has what is binary.
            of(json!({"configMapKeyRef": {"name": "plain", "key": "BIN"}})),
            "couldn't find key BIN in ConfigMap shop/plain",
        ),
        (
            of(json!({"secretKeyRef": {"name": "token", "key": "k"}})),
            "couldn't find key k in Secret shop/token",
        ),
        (
            of(json!({"secretKeyRef": {"name": "bytes", "key": "RAW"}})),
            "the value of RAW is not a text",
        ),
        (
            json!({"envFrom": [{"prefix": "P_", "secretRef": {"name": "bytes"}}]}),
            "the value of P_RAW is not a text",
        ),
        (
            of(json!({"configMapKeyRef": {"name": "broken", "key": "A"}})),
            "ConfigMap \"broken\": invalid type: integer `5`, expected a string",
        ),
        (
            of(json!({"resourceFieldRef": {"containerName": "other", "resource": "limits.cpu"}})),
            "container other not found",
        ),
    ] {
        let error = variables(&spec, &[]).unwrap_err();
        assert_eq!(error.to_string(), expected, "{spec}");
    }
}

#[test]
fn what_is_optional_may_be_missing() {
    check(
        &json!({
            "envFrom": [
                {"configMapRef": {"name": "x", "optional": true}},
                {"secretRef": {"name": "x", "optional": true}},
            ],
            "env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "k", "optional": true}}},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "plain", "key": "k", "optional": true}}},
                {"name": "C", "valueFrom": {"secretKeyRef": {"name": "x", "key": "k", "optional": true}}},
                {"name": "D", "valueFrom": {"secretKeyRef": {"name": "token", "key": "k", "optional": true}}},
                {"name": "E", "value": "$(A)"},
            ],
        }),
        &[("E", "$(A)")],
    );
}

#[test]
fn a_pod_is_told_of_itself() {
    for (field, expected) in [
        ("metadata.name", "web"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels['a.b/c']", "d"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['a']", "1"),
        ("spec.nodeName", "here"),
        ("spec.serviceAccountName", "default"),
        ("status.podIP", "10.1.0.2"),
        ("status.podIPs", "10.1.0.2,fd00::2"),
        ("status.hostIP", "192.168.0.1"),
        ("status.hostIPs", "192.168.0.1"),
    ] {
        let from = json!({"fieldRef": {"fieldPath": field}});
        check(
            &json!({"env": [{"name": "A", "valueFrom": from}]}),
            &[("A", expected)],
        );
    }
    let whole = |field: &str| {
        let source = crate::volume::DownwardSource::Field(field.to_owned());
        downward::text(&source, &pod(&json!({})), None, &facts()).unwrap()
    };
    assert_eq!(whole("metadata.labels"), "a.b/c=\"d\"\napp=\"web\"");
    assert_eq!(
        whole("metadata.annotations"),
        "a=\"1\"\nnote=\"say \\\"hi\\\"\\nthere\""
    );
    assert_eq!(whole("status.podIP"), "10.1.0.2");
    let nobody = PodFacts::default();
    let source = crate::volume::DownwardSource::Field("status.podIP".to_owned());
    let text = downward::text(&source, &pod(&json!({})), None, &nobody);
    assert_eq!(text, Ok(String::new()));
}

#[test]
fn resources_are_told_in_units_of_a_divisor() {
    let requests = json!({"cpu": "1250m", "memory": "100Mi", "ephemeral-storage": "1Gi"});
    for (resource, divisor, expected) in [
        ("requests.cpu", "", "2"),
        ("requests.cpu", "1m", "1250"),
        ("requests.memory", "0", "104857600"),
        ("requests.memory", "1Mi", "100"),
        ("requests.memory", "1M", "105"),
        ("requests.ephemeral-storage", "1Ki", "1048576"),
        // The node's, where the container has no limit.
        ("limits.cpu", "1", "4"),
        ("limits.cpu", "1m", "3900"),
        ("limits.memory", "1Gi", "8"),
        ("limits.ephemeral-storage", "", "0"),
    ] {
        let from = json!({"resourceFieldRef": {"resource": resource, "divisor": divisor}});
        check(
            &json!({
                "resources": {"requests": requests},
                "env": [{"name": "A", "valueFrom": from}],
            }),
            &[("A", expected)],
        );
    }
    check(
        &json!({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}}]}),
        &[("A", "0")],
    );
}

fn service(namespace: &str, name: &str, address: &str, ports: &Value) -> Value {
    json!({
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"clusterIP": address, "ports": ports},
    })
}

#[test]
fn services_are_in_the_environment() {
    let ports =
        json!([{"port": 80, "name": "http-web"}, {"port": 53, "name": "dns", "protocol": "UDP"}]);
    let one = json!([{"port": 443}]);
    let services = [
        service("shop", "my-db", "10.0.0.5", &ports),
        service("shop", "quiet", "None", &one),
        service("shop", "new", "", &one),
        service("other", "far", "10.0.0.6", &one),
        service("default", "kubernetes", "10.0.0.1", &one),
    ];
    let named = |found: Vec<(String, String)>| -> Vec<String> {
        found
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    };
    let kubernetes = [
        "KUBERNETES_PORT=tcp://10.0.0.1:443",
        "KUBERNETES_PORT_443_TCP=tcp://10.0.0.1:443",
        "KUBERNETES_PORT_443_TCP_ADDR=10.0.0.1",
        "KUBERNETES_PORT_443_TCP_PORT=443",
        "KUBERNETES_PORT_443_TCP_PROTO=tcp",
        "KUBERNETES_SERVICE_HOST=10.0.0.1",
        "KUBERNETES_SERVICE_PORT=443",
    ];
    let own = [
        "MY_DB_PORT=tcp://10.0.0.5:80",
        "MY_DB_PORT_53_UDP=udp://10.0.0.5:53",
        "MY_DB_PORT_53_UDP_ADDR=10.0.0.5",
        "MY_DB_PORT_53_UDP_PORT=53",
        "MY_DB_PORT_53_UDP_PROTO=udp",
        "MY_DB_PORT_80_TCP=tcp://10.0.0.5:80",
        "MY_DB_PORT_80_TCP_ADDR=10.0.0.5",
        "MY_DB_PORT_80_TCP_PORT=80",
        "MY_DB_PORT_80_TCP_PROTO=tcp",
        "MY_DB_SERVICE_HOST=10.0.0.5",
        "MY_DB_SERVICE_PORT=80",
        "MY_DB_SERVICE_PORT_DNS=53",
        "MY_DB_SERVICE_PORT_HTTP_WEB=80",
    ];
    let found = named(variables(&json!({}), &services).unwrap());
    assert_eq!(found, [&kubernetes[..], &own[..]].concat());
    let without = json!({"enableServiceLinks": false});
    assert_eq!(named(variables(&without, &services).unwrap()), kubernetes);
    // A variable of the container's own stands before one of a Service, and may refer to another.
    let env = json!({"env": [
        {"name": "MY_DB_SERVICE_HOST", "value": "elsewhere"},
        {"name": "URL", "value": "$(MY_DB_SERVICE_HOST):$(MY_DB_SERVICE_PORT)"},
    ]});
    let found = named(variables(&env, &services[..1]).unwrap());
    assert!(found.contains(&"MY_DB_SERVICE_HOST=elsewhere".to_owned()));
    assert!(found.contains(&"URL=elsewhere:80".to_owned()));
    // One of its own called kubernetes stands before the one of the default namespace.
    let both = [
        service("shop", "kubernetes", "10.0.0.9", &one),
        service("default", "kubernetes", "10.0.0.1", &one),
    ];
    let found = named(variables(&json!({}), &both).unwrap());
    assert!(found.contains(&"KUBERNETES_SERVICE_HOST=10.0.0.9".to_owned()));
    let six = [service("shop", "six", "fd00::1", &one)];
    let found = named(variables(&json!({}), &six).unwrap());
    assert!(found.contains(&"SIX_PORT=tcp://[fd00::1]:443".to_owned()));
}

#[test]
fn a_command_is_expanded_from_all_of_the_environment() {
    let environment = [("A", "1"), ("B", "$(A)")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    let words = ["$(A)$(B)", "$(C)", "$$(A)"].map(str::to_owned);
    assert_eq!(
        expand_command(&words, &environment),
        ["1$(A)", "$(C)", "$(A)"]
    );
}
