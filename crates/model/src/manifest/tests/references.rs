//! Environments and volumes that are made of objects, and resources.

use super::*;
use crate::pod::{EnvFrom, EnvValue, KeyRef, VolumeSource};
use crate::volume::{DownwardFile, DownwardSource, FileSource, KeyToPath, KeysOf};

const KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
                   'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

#[test]
fn environments_are_read() {
    let text = PodText {
        container: "envFrom:\n- {configMapRef: {name: a}}\n- {prefix: P_, secretRef: {name: b, optional: true}}\n\
                    env:\n- {name: A, valueFrom: {configMapKeyRef: {name: a, key: k}}}\n\
                    - {name: B, valueFrom: {secretKeyRef: {name: b, key: k, optional: true}}}\n\
                    - {name: C, valueFrom: {fieldRef: {fieldPath: status.podIP}}}\n\
                    - {name: D, valueFrom: {resourceFieldRef: {resource: requests.cpu}}}\n\
                    - {name: E, valueFrom: {resourceFieldRef: {containerName: main, resource: limits.memory, divisor: 1Mi}}}",
        ..PodText::default()
    };
    let object = only(load_text(&text.yaml()));
    let Object::Pod(read) = &object.object else {
        panic!("{object:?}");
    };
    let container = &read.containers[0];
    let from = |prefix: &str, is_secret, name: &str, optional| EnvFrom {
        prefix: prefix.to_owned(),
        is_secret,
        name: name.to_owned(),
        optional,
    };
    assert_eq!(
        container.env_from,
        [from("", false, "a", false), from("P_", true, "b", true)]
    );
    let key = |name: &str, optional| KeyRef {
        name: name.to_owned(),
        key: "k".to_owned(),
        optional,
    };
    let resource = |container: Option<&str>, resource: &str, divisor: &str| {
        EnvValue::Downward(DownwardSource::Resource {
            container: container.map(str::to_owned),
            resource: resource.to_owned(),
            divisor: divisor.to_owned(),
        })
    };
    let values: Vec<&EnvValue> = container.env.iter().map(|one| &one.value).collect();
    assert_eq!(
        values,
        [
            &EnvValue::ConfigMapKey(key("a", false)),
            &EnvValue::SecretKey(key("b", true)),
            &EnvValue::Downward(DownwardSource::Field("status.podIP".to_owned())),
            &resource(None, "requests.cpu", "1"),
            &resource(Some("main"), "limits.memory", "1Mi"),
        ]
    );
    // The defaults that upstream shows.
    let env = &object.value["spec"]["containers"][0]["env"];
    assert_eq!(env[2]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    assert_eq!(env[3]["valueFrom"]["resourceFieldRef"]["divisor"], "0");
    assert!(read.enable_service_links);
    assert_eq!(read.service_account, "default");
}

#[test]
fn environments_are_validated() {
    let place = "spec.containers[0].env[0].valueFrom";
    let of = |from: &str, expected: &[&str]| {
        let expected: Vec<String> = expected
            .iter()
            .map(|text| text.replacen('@', place, 1))
            .collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        in_container(&format!("env: [{{name: A, valueFrom: {from}}}]"), &expected);
    };
    for field in [
        "metadata.name",
        "metadata.labels['a.b/c']",
        "metadata.annotations['Big']",
        "spec.serviceAccountName",
        "status.hostIPs",
    ] {
        of(&format!("{{fieldRef: {{fieldPath: \"{field}\"}}}}"), &[]);
    }
    for (from, expected) in [
        (
            "{}",
            &[
                "@: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or \
                 `secretKeyRef`",
            ][..],
        ),
        (
            "{fieldRef: {fieldPath: metadata.name}, secretKeyRef: {name: a, key: b}}",
            &["@: Invalid value: \"\": may not have more than one field specified at a time"],
        ),
        (
            "{fieldRef: {fieldPath: ''}}",
            &["@.fieldRef.fieldPath: Required value"],
        ),
        (
            "{fieldRef: {fieldPath: metadata.labels}}",
            &[
                "@.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \"metadata.name\", \
                 \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \
                 \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
            ],
        ),
        (
            "{fieldRef: {fieldPath: \"metadata.name['a']\"}}",
            &[
                "@.fieldRef.fieldPath: Invalid value: \"metadata.name['a']\": error converting fieldPath: field label \
                 does not support subscript: metadata.name['a']",
            ],
        ),
        (
            "{fieldRef: {fieldPath: \"metadata.labels['/a']\"}}",
            &["@.fieldRef: Invalid value: \"/a\": prefix part must be non-empty"],
        ),
        (
            "{fieldRef: {fieldPath: spec.replicas}}",
            &[
                "@.fieldRef.fieldPath: Invalid value: \"spec.replicas\": error converting fieldPath: field label not \
                 supported: spec.replicas",
            ],
        ),
        (
            "{resourceFieldRef: {resource: ''}}",
            &["@.resourceFieldRef.resource: Required value"],
        ),
        (
            "{resourceFieldRef: {resource: limits.gpu}}",
            &[
                "@.resourceFieldRef.resource: Unsupported value: \"limits.gpu\": supported values: \"limits.cpu\", \
                 \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \
                 \"requests.memory\"",
            ],
        ),
        (
            "{resourceFieldRef: {resource: limits.cpu, divisor: 1k}}",
            &[
                "@.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with \
                 the cpu resource",
            ],
        ),
        (
            "{resourceFieldRef: {resource: limits.memory, divisor: 2}}",
            &[
                "@.resourceFieldRef.divisor: Invalid value: \"limits.memory\": only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, \
                 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource",
            ],
        ),
        (
            "{configMapKeyRef: {name: '', key: ''}}",
            &[
                "@.configMapKeyRef.name: Required value",
                "@.configMapKeyRef.key: Required value",
            ],
        ),
        (
            "{secretKeyRef: {name: a, key: ..}}",
            &["@.secretKeyRef.key: Invalid value: \"..\": must not be '..'"],
        ),
    ] {
        of(from, expected);
    }
    let key = format!("@.secretKeyRef.key: Invalid value: \"a b\": {KEY}");
    of("{secretKeyRef: {name: a, key: a b}}", &[&key]);
    in_container(
        "env: [{name: A, value: b, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
        &[&format!(
            "{place}: Invalid value: \"\": may not be specified when `value` is not empty"
        )],
    );
    let place = "spec.containers[0].envFrom[0]";
    for (from, expected) in [
        (
            "{}",
            "@: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
        ),
        (
            "{configMapRef: {name: a}, secretRef: {name: b}}",
            "@: Invalid value: \"\": may not have more than one field specified at a time",
        ),
        ("{configMapRef: {}}", "@.configMapRef.name: Required value"),
        (
            "{prefix: a=, secretRef: {name: b}}",
            "@.prefix: Invalid value: \"a=\": a valid environment variable name must consist only of printable ASCII \
             characters other than '='",
        ),
    ] {
        in_container(
            &format!("envFrom: [{from}]"),
            &[&expected.replacen('@', place, 1)],
        );
    }
}

#[test]
fn volumes_of_files_are_read() {
    let text = PodText {
        spec: "volumes:\n- {name: a, configMap: {name: c, items: [{key: k, path: a/b, mode: 0400}], optional: true}}\n\
               - {name: b, secret: {secretName: s, defaultMode: 0600}}\n\
               - {name: c, downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}}\n\
               - {name: d, projected: {sources: [{configMap: {name: c}}, {secret: {name: s}}, \
               {downwardAPI: {items: [{path: x, fieldRef: {fieldPath: metadata.name}}]}}]}}",
        ..PodText::default()
    };
    let object = only(load_text(&text.yaml()));
    let Object::Pod(read) = &object.object else {
        panic!("{object:?}");
    };
    let keys = |name: &str| KeysOf {
        name: name.to_owned(),
        items: Vec::new(),
        optional: false,
    };
    let field = |path: &str, field: &str| {
        FileSource::Downward(vec![DownwardFile {
            path: path.to_owned(),
            mode: None,
            source: DownwardSource::Field(field.to_owned()),
        }])
    };
    let some = KeysOf {
        items: vec![KeyToPath {
            key: "k".to_owned(),
            path: "a/b".to_owned(),
            mode: Some(0o400),
        }],
        optional: true,
        ..keys("c")
    };
    let sources: Vec<&VolumeSource> = read.volumes.iter().map(|volume| &volume.source).collect();
    let files = |sources, mode| VolumeSource::Files { sources, mode };
    assert_eq!(
        sources,
        [
            &files(vec![FileSource::ConfigMap(some)], 0o644),
            &files(vec![FileSource::Secret(keys("s"))], 0o600),
            &files(vec![field("l", "metadata.labels")], 0o644),
            &files(
                vec![
                    FileSource::ConfigMap(keys("c")),
                    FileSource::Secret(keys("s")),
                    field("x", "metadata.name"),
                ],
                0o644
            ),
        ]
    );
    let volumes = &object.value["spec"]["volumes"];
    assert_eq!(volumes[0]["configMap"]["defaultMode"], 0o644);
    assert_eq!(volumes[1]["secret"]["defaultMode"], 0o600);
    let item = &volumes[3]["projected"]["sources"][2]["downwardAPI"]["items"][0];
    assert_eq!(item["fieldRef"]["apiVersion"], "v1");
}

#[test]
fn volumes_of_files_are_validated() {
    let place = "spec.volumes[0]";
    let of = |volume: &str, expected: &[&str]| {
        let expected: Vec<String> = expected
            .iter()
            .map(|text| text.replacen('@', place, 1))
            .collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        in_spec(&format!("volumes: [{{name: v, {volume}}}]"), &expected);
    };
    let mode = "must be a number between 0 and 0777 (octal), both inclusive";
    for (volume, expected) in [
        ("configMap: {}", &["@.configMap.name: Required value"][..]),
        ("secret: {}", &["@.secret.secretName: Required value"]),
        (
            "configMap: {name: a, items: [{key: '', path: ''}]}",
            &[
                "@.configMap.items[0].key: Required value",
                "@.configMap.items[0].path: Required value",
            ],
        ),
        (
            "secret: {secretName: a, items: [{key: k, path: /a}, {key: k, path: a/../b}, {key: k, path: ..a}]}",
            &[
                "@.secret.items[0].path: Invalid value: \"/a\": must be a relative path",
                "@.secret.items[1].path: Invalid value: \"a/../b\": must not contain '..'",
                "@.secret.items[2].path: Invalid value: \"..a\": must not start with '..'",
            ],
        ),
        (
            "downwardAPI: {items: [{path: a}]}",
            &[
                "@.downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required",
            ],
        ),
        (
            "downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.name}, \
             resourceFieldRef: {resource: limits.cpu, containerName: main}}]}",
            &[
                "@.downwardAPI.items[0]: Invalid value: \"resource\": fieldRef and resourceFieldRef can not be specified \
                 simultaneously",
            ],
        ),
        (
            "downwardAPI: {items: [{path: a, fieldRef: {fieldPath: status.podIP}}]}",
            &[
                "@.downwardAPI.items[0].fieldRef.fieldPath: Unsupported value: \"status.podIP\": supported values: \
                 \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \
                 \"metadata.uid\"",
            ],
        ),
        (
            "downwardAPI: {items: [{path: a, resourceFieldRef: {resource: limits.cpu}}]}",
            &["@.downwardAPI.items[0].resourceFieldRef.containerName: Required value"],
        ),
        (
            "projected: {sources: [{configMap: {name: a}, secret: {name: b}}]}",
            &["@.projected.sources[0]: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            "projected: {sources: [{serviceAccountToken: {path: token}}]}",
            &["@.projected.sources[0].serviceAccountToken: not carried out yet"],
        ),
        (
            "emptyDir: {}, configMap: {name: a}",
            &["@.configMap: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            "projected: {sources: [{configMap: {name: a, items: [{key: a, path: x}]}}, \
             {secret: {name: b, items: [{key: a, path: x}]}}]}",
            &[
                "@.projected.sources[1].secret.items[0].path: Invalid value: \"x\": conflicting duplicate paths",
            ],
        ),
    ] {
        of(volume, expected);
    }
    for (volume, field) in [
        (
            "configMap: {name: a, defaultMode: 512}",
            "configMap.defaultMode",
        ),
        (
            "secret: {secretName: a, defaultMode: 512}",
            "secret.defaultMode",
        ),
        (
            "secret: {secretName: a, items: [{key: a, path: b, mode: 512}]}",
            "secret.items[0].mode",
        ),
        ("downwardAPI: {defaultMode: 512}", "downwardAPI.defaultMode"),
        ("projected: {defaultMode: 512}", "projected.defaultMode"),
    ] {
        of(volume, &[&format!("@.{field}: Invalid value: 512: {mode}")]);
    }
    of(
        "configMap: {name: a, defaultMode: -1}",
        &[&format!(
            "@.configMap.defaultMode: Invalid value: -1: {mode}"
        )],
    );
}

#[test]
fn resources_are_validated() {
    let place = "spec.containers[0].resources";
    for (resources, expected) in [
        (
            "requests: {cpu: 100m, memory: 1Gi, ephemeral-storage: 1Gi}, limits: {cpu: '1', memory: 2Gi}",
            &[][..],
        ),
        (
            "requests: {cpu: 1, hugepages-2Mi: 2Mi, example.com/gpu: 1}",
            &[
                "@.limits: Required value: Limit must be set for non overcommitable resources",
                "@.limits: Required value: Limit must be set for non overcommitable resources",
            ],
        ),
        (
            "limits: {example.com/gpu: 1.5, hugepages-2Mi: 2Mi}, requests: {hugepages-2Mi: 4Mi}",
            &[
                "@.limits[hugepages-2Mi]: not carried out yet",
                "@.limits[example.com/gpu]: Invalid value: \"1.5\": must be an integer",
                "@.requests[example.com/gpu]: Invalid value: \"1.5\": must be an integer",
                "@.requests: Invalid value: \"4Mi\": must be equal to hugepages-2Mi limit of 2Mi",
                "@: Forbidden: HugePages require cpu or memory",
            ],
        ),
        (
            "limits: {ephemeral-storage: 1Gi}",
            &["@.limits[ephemeral-storage]: not carried out yet"],
        ),
        ("claims: [{name: a}]", &["@.claims: not carried out yet"]),
        (
            "requests: {cpu: lots}",
            &[
                "@.requests[cpu]: Invalid value: \"lots\": quantities must match the regular expression \
                 '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ],
        ),
        (
            "requests: {memory: -1}",
            &["@.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0"],
        ),
        (
            "requests: {gpu: 1}",
            &[
                "@.requests[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
            ],
        ),
        (
            "requests: {cpu: 2}, limits: {cpu: 1500m}",
            &["@.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1500m"],
        ),
    ] {
        let expected: Vec<String> = expected
            .iter()
            .map(|text| text.replacen('@', place, 1))
            .collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        in_container(&format!("resources: {{{resources}}}"), &expected);
    }
}
