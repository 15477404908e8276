//! What the kinds with few rules are refused for.

use super::*;

#[test]
fn config_maps_are_validated() {
    let kind = Kind::ConfigMap;
    let key = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
               'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
    refused(kind, &json!({"data": {"a.B_c-1": ""}}), &[]);
    refused(
        kind,
        &json!({"data": {"a/b": "", "..": ""}, "binaryData": {"a": "AA==", "c d": ""}}),
        &[
            "data[..]: Invalid value: \"..\": must not be '..'",
            "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
            &format!("data[a/b]: Invalid value: \"a/b\": {key}"),
            &format!("binaryData[c d]: Invalid value: \"c d\": {key}"),
        ],
    );
    let long = "x".repeat(1024 * 1024 - 1);
    refused(kind, &json!({"data": {"big": long}}), &[]);
    refused(
        kind,
        &json!({"data": {"big": long}, "binaryData": {"b": "AA=="}}),
        &["[]: Too long: may not be more than 1048576 bytes"],
    );
    refused(
        kind,
        &json!({"data": {"a": 1}, "immutable": "yes", "what": {}}),
        &[
            "data.a: expected a string, got 1",
            "immutable: expected true or false, got \"yes\"",
            "unknown field \"what\"",
        ],
    );
}

#[test]
fn a_secret_is_defaulted() {
    let mut value = example(Kind::Secret);
    merge(
        &mut value,
        &json!({"data": {"a": "b2xk", "b": "Yg=="}, "stringData": {"a": "new", "c": "ü"}}),
    );
    let value = created(Kind::Secret, value);
    assert_eq!(value["type"], "Opaque");
    assert_eq!(
        value["data"],
        json!({"a": "bmV3", "b": "Yg==", "c": "w7w="})
    );
    assert_eq!(value.get("stringData"), None);
    let bare = created(Kind::Secret, example(Kind::Secret));
    assert_eq!(bare.get("data"), None);
}

#[test]
fn secrets_are_validated() {
    let kind = Kind::Secret;
    let of =
        |name: &str, data: Value| json!({"type": format!("kubernetes.io/{name}"), "data": data});
    for (change, expected) in [
        (json!({"type": "example.com/mine"}), &[][..]),
        (
            json!({"stringData": {"a": 5}}),
            &["stringData.a: expected a string, got 5"],
        ),
        (
            json!({"data": {"a": "no base64!"}}),
            &["data.a: illegal base64 data at input byte 2"],
        ),
        (
            json!({"data": {"a": "YW"}}),
            &["data.a: illegal base64 data"],
        ),
        (
            json!({"data": {"..a": ""}}),
            &["data[..a]: Invalid value: \"..a\": must not start with '..'"],
        ),
        (
            of("dockerconfigjson", json!({})),
            &["data[.dockerconfigjson]: Required value"],
        ),
        (
            of("dockerconfigjson", json!({".dockerconfigjson": "W10="})),
            &[
                "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid type: sequence, \
               expected a map at line 1 column 0",
            ],
        ),
        (of("dockercfg", json!({".dockercfg": "e30="})), &[]),
        (
            of("basic-auth", json!({})),
            &[
                "data[username]: Required value",
                "data[password]: Required value",
            ],
        ),
        (of("basic-auth", json!({"password": ""})), &[]),
        (
            of("ssh-auth", json!({"ssh-privatekey": ""})),
            &["data[ssh-privatekey]: Required value"],
        ),
        (
            of("tls", json!({"tls.crt": "YQ=="})),
            &["data[tls.key]: Required value"],
        ),
        (
            of("service-account-token", json!({})),
            &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
    ] {
        refused(kind, &change, expected);
    }
    let big = "A".repeat(1_398_104);
    refused(
        kind,
        &json!({"data": {"a": big}}),
        &["data: Too long: may not be more than 1048576 bytes"],
    );
}

#[test]
fn owners_and_finalizers_are_validated() {
    let owner = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "u", "controller": true});
    let all = json!([owner("a"), owner("b")]);
    for (metadata, expected) in [
        (
            json!({"finalizers": ["a.b/c", "kubernetes"], "generateName": "x-"}),
            vec![],
        ),
        (
            json!({"finalizers": ["mine"]}),
            vec![
                "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is \
                 it fully qualified"
                    .to_owned(),
            ],
        ),
        (
            json!({"finalizers": ["orphan", "foregroundDeletion"]}),
            vec![
                "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and \
                 foregroundDeletion cannot be both set"
                    .to_owned(),
            ],
        ),
        (
            json!({"ownerReferences": all}),
            vec![format!(
                "metadata.ownerReferences: Invalid value: {all}: Only one reference can have Controller set to \
                 true. Found \"true\" in references for a and b"
            )],
        ),
        (
            json!({"ownerReferences": [{}]}),
            ["apiVersion: Invalid value: \"\": version must not be empty", "kind: Invalid value: \"\": must not be empty",
             "name: Invalid value: \"\": must not be empty", "uid: Invalid value: \"\": must not be empty"]
                .map(|text| format!("metadata.ownerReferences.{text}"))
                .to_vec(),
        ),
        (
            json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "a", "uid": "b"}]}),
            vec![
                "metadata.ownerReferences: Invalid value: {\"apiVersion\":\"v1\",\"kind\":\"Event\",\"name\":\"a\",\
                 \"uid\":\"b\"}: /v1, Kind=Event is disallowed from being an owner"
                    .to_owned(),
            ],
        ),
    ] {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        refused(Kind::ConfigMap, &json!({"metadata": metadata}), &expected);
    }
    let mut unnamed = example(Kind::ConfigMap);
    merge(
        &mut unnamed,
        &json!({"metadata": {"name": null, "generateName": "A-"}}),
    );
    let errors = create(Kind::ConfigMap, unnamed, &options()).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(errors[0].path.to_string(), "metadata.generateName");
    assert!(
        errors[1]
            .to_string()
            .ends_with("name or generateName is required")
    );
}

#[test]
fn a_namespace_is_defaulted() {
    let value = created(Kind::Namespace, example(Kind::Namespace));
    assert_eq!(
        value["metadata"]["labels"],
        json!({"kubernetes.io/metadata.name": "web"})
    );
    assert_eq!(value["spec"], json!({"finalizers": ["kubernetes"]}));
}

#[test]
fn namespaces_are_validated() {
    refused(
        Kind::Namespace,
        &json!({"metadata": {"name": "a.b"}, "spec": {"finalizers": ["mine"]}}),
        &[
            "metadata.name: Invalid value: \"a.b\": must not contain dots",
            "spec.finalizers: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully \
             qualified",
        ],
    );
}

#[test]
fn nodes_are_validated() {
    let taint = |effect: &str| json!({"key": "a", "effect": effect});
    for (taints, expected) in [
        (json!([taint("NoSchedule"), taint("NoExecute")]), &[][..]),
        (
            json!([taint(""), taint("Never")]),
            &[
                "spec.taints[0].effect: Required value",
                "spec.taints[1].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \
                 \"PreferNoSchedule\", \"NoExecute\"",
            ],
        ),
        (
            json!([taint("NoExecute"), taint("NoExecute")]),
            &[
                "spec.taints[1]: Duplicate value: {\"effect\":\"NoExecute\",\"key\":\"a\"}: taints must be unique by \
                 key and effect pair",
            ],
        ),
    ] {
        refused(Kind::Node, &json!({"spec": {"taints": taints}}), expected);
    }
}

#[test]
fn leases_are_validated() {
    refused(
        Kind::Lease,
        &json!({"spec": {"leaseDurationSeconds": 40, "holderIdentity": "a", "leaseTransitions": 0}}),
        &[],
    );
    refused(
        Kind::Lease,
        &json!({"spec": {"leaseDurationSeconds": 0, "holderIdentity": "", "leaseTransitions": -1}}),
        &[
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
            "spec.holderIdentity: Invalid value: \"\": must not be empty",
        ],
    );
}

#[test]
fn runtime_classes_are_validated() {
    refused(
        Kind::RuntimeClass,
        &json!({"handler": "a.b"}),
        &["handler: Invalid value: \"a.b\": must not contain dots"],
    );
}

#[test]
fn endpoints_are_validated() {
    let of = |subset: Value| json!({"subsets": [subset]});
    let invalid = |ip: &str, detail: &str| {
        format!("subsets[0].addresses[0].ip: Invalid value: \"{ip}\": {detail}")
    };
    for (ip, expected) in [
        ("10.0.0.1", None),
        ("fd00::1", None),
        (
            "ten",
            Some("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ),
        ("0.0.0.0", Some("may not be unspecified (0.0.0.0 or ::)")),
        (
            "127.0.0.1",
            Some("may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        ),
        (
            "fe80::1",
            Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        ),
        (
            "224.0.0.5",
            Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        ),
        (
            "ff02::1",
            Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        ),
    ] {
        let expected: Vec<String> = expected
            .map(|detail| invalid(ip, detail))
            .into_iter()
            .collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        refused(
            Kind::Endpoints,
            &of(json!({"addresses": [{"ip": ip}], "ports": [{"port": 80}]})),
            &expected,
        );
    }
    refused(
        Kind::Endpoints,
        &of(json!({"ports": [{"port": 80}, {"port": 0, "name": "a", "protocol": "X"}]})),
        &[
            "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
            "subsets[0].ports[0].name: Required value",
            "subsets[0].ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "subsets[0].ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ],
    );
}

#[test]
fn endpoint_slices_are_validated() {
    let kind = Kind::EndpointSlice;
    for (change, expected) in [
        (
            json!({"endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}, {"name": "a"}]}),
            &[][..],
        ),
        (
            json!({"addressType": "IPv5"}),
            &[
                "addressType: Unsupported value: \"IPv5\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"",
            ],
        ),
        (json!({"addressType": ""}), &["addressType: Required value"]),
        (
            json!({"endpoints": [{"addresses": []}, {"addresses": ["fd00::1", "x"], "hostname": "-"}]}),
            &[
                "endpoints[0].addresses: Required value: must contain at least 1 address",
                "endpoints[1].addresses[0]: Invalid value: \"fd00::1\": must be an IPv4 address",
                "endpoints[1].addresses[1]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or \
                 2001:db8::ffff)",
                "endpoints[1].hostname: Invalid value: \"-\": a lowercase RFC 1123 label must consist of lower case \
                 alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. \
                 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            ],
        ),
        (
            json!({"addressType": "IPv6", "endpoints": [{"addresses": ["10.0.0.1"]}]}),
            &["endpoints[0].addresses[0]: Invalid value: \"10.0.0.1\": must be an IPv6 address"],
        ),
        (
            json!({"addressType": "FQDN", "endpoints": [{"addresses": ["a.example"]}]}),
            &[],
        ),
        (
            json!({"ports": [{"port": 80}, {"port": 81}]}),
            &["ports[1].name: Duplicate value: \"\""],
        ),
    ] {
        refused(kind, &change, expected);
    }
    let many = json!({"endpoints": vec![json!({"addresses": ["10.0.0.1"]}); 1001]});
    refused(
        kind,
        &many,
        &["endpoints: Too many: 1001: must have at most 1000 items"],
    );
    let value = created(kind, {
        let mut value = example(kind);
        value["ports"] = json!([{"port": 80}]);
        value
    });
    assert_eq!(
        value["ports"],
        json!([{"name": "", "port": 80, "protocol": "TCP"}])
    );
}

#[test]
fn events_are_validated() {
    let kind = Kind::Event;
    let elsewhere = |about: Value| json!({"involvedObject": {"namespace": about}});
    refused(
        kind,
        &elsewhere(json!("other")),
        &["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"],
    );
    refused(
        kind,
        &elsewhere(json!(null)),
        &["involvedObject.namespace: Invalid value: \"\": does not match event.namespace"],
    );
    let new = json!({"eventTime": "2026-01-01T00:00:00.000000Z"});
    refused(
        kind,
        &new,
        &[
            "reportingController: Required value",
            "reportingController: Invalid value: \"\": name part must be non-empty",
            "reportingController: Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or \
             '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', \
             regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            "reportingInstance: Required value",
            "action: Required value",
            "reason: Required value",
        ],
    );
    let told = json!({
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingComponent": "a.b/c", "reportingInstance": "i",
        "action": "Doing", "reason": "Because", "message": "x".repeat(1025),
    });
    refused(
        kind,
        &told,
        &["message: Invalid value: \"\": can have at most 1024 characters"],
    );
}
