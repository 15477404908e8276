//! Pods that are wrong, rule by rule.

use super::*;

#[test]
fn names_and_labels_are_validated() {
    let name = PodText::default().yaml();
    let subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
                     start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    check(
        &name.replace("name: web", "name: Web"),
        &[&format!(
            "metadata.name: Invalid value: \"Web\": {subdomain}"
        )],
    );
    check(
        &name.replace("name: web", "labels: {}"),
        &["metadata.name: Required value: name or generateName is required"],
    );
    in_metadata(
        "namespace: a.b",
        &["metadata.namespace: Invalid value: \"a.b\": must not contain dots"],
    );
    in_metadata(
        "labels: {/a: b}",
        &["metadata.labels: Invalid value: \"/a\": prefix part must be non-empty"],
    );
    in_metadata(
        "labels: {a: 5}",
        &["metadata.labels.a: expected a string, got 5"],
    );
    in_metadata(
        "labels: {a: }",
        &["metadata.labels.a: expected a string, got null"],
    );
    in_metadata(
        "labels: {a.b/c: 1.5}",
        &["metadata.labels[a.b/c]: expected a string, got 1.5"],
    );
    in_metadata(
        "annotations: {/a: b}",
        &["metadata.annotations: Invalid value: \"/a\": prefix part must be non-empty"],
    );
    in_metadata("annotations: {A.B/c: 'd e'}", &[]);
    let long = |bytes: usize| format!("annotations: {{a: {}, b: x}}", "x".repeat(bytes - 3));
    in_metadata(&long(262_144), &[]);
    in_metadata(
        &long(262_145),
        &["metadata.annotations: Too long: may not be more than 262144 bytes"],
    );
}

#[test]
fn containers_are_validated() {
    let port = "spec.containers[0].ports";
    let mount = "spec.containers[0].volumeMounts";
    for (container, expected) in [
        ("command: []", vec!["spec.containers[0].command: Required value: runtimeClassName \"host\" has no image to take a command from".to_owned()]),
        ("command: []\nargs: [a]", vec![]),
        ("command: [a, 5]\nargs: [true]", vec![
            "spec.containers[0].args[0]: expected a string, got true".to_owned(),
            "spec.containers[0].command[1]: expected a string, got 5".to_owned(),
        ]),
        ("command: sleep 5", vec!["spec.containers[0].command: expected a list, got \"sleep 5\"".to_owned()]),
        ("imagePullPolicy: Sometimes", vec!["spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"".to_owned()]),
        ("ports: [{containerPort: 0}]", vec![format!("{port}[0].containerPort: Required value")]),
        ("ports: [{containerPort: 65536}]", vec![format!("{port}[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive")]),
        ("ports: [{containerPort: 80, name: a}, {containerPort: 81, name: a}]", vec![format!("{port}[1].name: Duplicate value: \"a\"")]),
        ("ports: [{containerPort: 80, name: a--b}]", vec![format!("{port}[0].name: Invalid value: \"a--b\": must not contain consecutive hyphens")]),
        ("ports: [{containerPort: 80, protocol: HTTP}]", vec![format!("{port}[0].protocol: Unsupported value: \"HTTP\": supported values: \"SCTP\", \"TCP\", \"UDP\"")]),
        ("ports: [{containerPort: 80, protocol: SCTP}]", vec![]),
        ("env: [{value: a}]", vec!["spec.containers[0].env[0].name: Required value".to_owned()]),
        ("env: [{name: A=B}]", vec!["spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]),
        ("env: [{name: A, value: 5}]", vec!["spec.containers[0].env[0].value: expected a string, got 5".to_owned()]),
        ("volumeMounts: [{name: v, mountPath: /a}]", vec![format!("{mount}[0].name: Not found: \"v\"")]),
        ("workingDir: a", vec!["spec.containers[0].workingDir: Invalid value: \"a\": must be an absolute path".to_owned()]),
        ("securityContext: {runAsUser: -1}", vec!["spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive".to_owned()]),
        ("securityContext: {runAsUser: 2147483647, runAsGroup: 2147483648}", vec!["spec.containers[0].securityContext.runAsGroup: Invalid value: 2147483648: must be between 0 and 2147483647, inclusive".to_owned()]),
        ("securityContext: {runAsNonRoot: true, runAsUser: 0}", vec!["spec.containers[0].securityContext.runAsUser: Invalid value: 0: container's runAsUser breaks non-root policy".to_owned()]),
        ("securityContext: {runAsNonRoot: true}", vec!["spec.containers[0].securityContext.runAsUser: Required value: runAsNonRoot is set and runtimeClassName \"host\" runs as root".to_owned()]),
        ("securityContext: {runAsNonRoot: true, runAsUser: 5}", vec![]),
        ("livenesProbe: {}", vec!["unknown field \"spec.containers[0].livenesProbe\", did you mean \"livenessProbe\"?".to_owned()]),
        ("zzz: 1", vec!["unknown field \"spec.containers[0].zzz\"".to_owned()]),
        ("lifecycle: {preStop: {}}", vec!["spec.containers[0].lifecycle.preStop: Required value: must specify a handler type".to_owned()]),
        ("lifecycle: {preStop: {exec: {command: []}}}", vec!["spec.containers[0].lifecycle.preStop.exec.command: Required value".to_owned()]),
        ("lifecycle: {preStop: {sleep: {seconds: 31}}}", vec!["spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)".to_owned()]),
        ("lifecycle: {preStop: {sleep: {seconds: 1}, httpGet: {port: 80}}}", vec!["spec.containers[0].lifecycle.preStop.sleep: Forbidden: may not specify more than 1 handler type".to_owned()]),
    ] {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        in_container(container, &expected);
    }
}

#[test]
fn mounts_are_validated() {
    let mount = "spec.containers[0].volumeMounts";
    for (mounts, expected) in [
        (
            "[{name: v, mountPath: /a}, {name: v, mountPath: /b}]",
            vec![],
        ),
        (
            "[{mountPath: /a}]",
            vec![format!("{mount}[0].name: Required value")],
        ),
        (
            "[{name: v}]",
            vec![format!("{mount}[0].mountPath: Required value")],
        ),
        (
            "[{name: v, mountPath: //.}]",
            vec![format!(
                "{mount}[0].mountPath: Invalid value: \"//.\": must name a place below '/', without '..' and outside /proc"
            )],
        ),
        (
            "[{name: v, mountPath: /proc/sys}]",
            vec![format!(
                "{mount}[0].mountPath: Invalid value: \"/proc/sys\": must name a place below '/', without '..' and outside /proc"
            )],
        ),
        (
            "[{name: v, mountPath: /a/../../b}]",
            vec![format!(
                "{mount}[0].mountPath: Invalid value: \"/a/../../b\": must name a place below '/', without '..' and outside /proc"
            )],
        ),
        (
            "[{name: v, mountPath: /}]",
            vec![format!(
                "{mount}[0].mountPath: Invalid value: \"/\": must name a place below '/', without '..' and outside /proc"
            )],
        ),
        (
            "[{name: v, mountPath: 'a:b'}]",
            vec![format!(
                "{mount}[0].mountPath: Invalid value: \"a:b\": must not contain ':'"
            )],
        ),
        (
            "[{name: v, mountPath: /a}, {name: v, mountPath: /a}]",
            vec![format!(
                "{mount}[1].mountPath: Invalid value: \"/a\": must be unique"
            )],
        ),
        (
            "[{name: v, mountPath: /a, subPath: b/c, subPathExpr: ''}]",
            vec![],
        ),
        (
            "[{name: v, mountPath: /a, subPath: /../b}]",
            vec![
                format!("{mount}[0].subPath: Invalid value: \"/../b\": must be a relative path"),
                format!("{mount}[0].subPath: Invalid value: \"/../b\": must not contain '..'"),
            ],
        ),
        (
            "[{name: v, mountPath: /a, subPathExpr: a/..}]",
            vec![format!(
                "{mount}[0].subPathExpr: Invalid value: \"a/..\": must not contain '..'"
            )],
        ),
        (
            "[{name: v, mountPath: /a, subPath: b, subPathExpr: $(A)}]",
            vec![format!(
                "{mount}[0].subPathExpr: Invalid value: \"$(A)\": subPathExpr and subPath are mutually exclusive"
            )],
        ),
        (
            "[{name: v, mountPath: /a, mountPropagation: HostToContainer, recursiveReadOnly: Enabled}]",
            vec![
                format!("{mount}[0].mountPropagation: \"HostToContainer\" is not carried out yet"),
                format!("{mount}[0].recursiveReadOnly: \"Enabled\" is not carried out yet"),
            ],
        ),
    ] {
        let container = format!("volumeMounts: {mounts}");
        let text = PodText {
            spec: "volumes: [{name: v}]",
            container: &container,
            ..PodText::default()
        }
        .yaml();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(&text, &expected);
    }
}

#[test]
fn volumes_are_validated() {
    let volume = "spec.volumes";
    for (volumes, expected) in [
        (
            "[{name: a}, {name: a}]",
            vec![format!("{volume}[1].name: Duplicate value: \"a\"")],
        ),
        (
            "[{emptyDir: {}}]",
            vec![format!("{volume}[0].name: Required value")],
        ),
        (
            "[{name: a.b}]",
            vec![format!(
                "{volume}[0].name: Invalid value: \"a.b\": must not contain dots"
            )],
        ),
        (
            "[{name: a, emptyDir: {}, hostPath: {path: /a}}]",
            vec![format!(
                "{volume}[0].hostPath: Forbidden: may not specify more than 1 volume type"
            )],
        ),
        (
            "[{name: a, hostPath: {}}]",
            vec![format!("{volume}[0].hostPath.path: Required value")],
        ),
        (
            "[{name: a, hostPath: {path: /a/../b}}]",
            vec![format!(
                "{volume}[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"
            )],
        ),
        (
            "[{name: a, hostPath: {path: a}}]",
            vec![format!(
                "{volume}[0].hostPath.path: Invalid value: \"a\": must be an absolute path"
            )],
        ),
        (
            "[{name: a, hostPath: {path: /a, type: Dir}}]",
            vec![format!(
                "{volume}[0].hostPath.type: Unsupported value: \"Dir\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\""
            )],
        ),
        (
            "[{name: a, emptyDir: {sizeLimit: -1}}]",
            vec![format!(
                "{volume}[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"
            )],
        ),
        (
            "[{name: a, emptyDir: {sizeLimit: big}}]",
            vec![format!(
                "{volume}[0].emptyDir.sizeLimit: Invalid value: \"big\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            )],
        ),
        (
            "[{name: a, emptyDir: {medium: HugePages}}]",
            vec![format!(
                "{volume}[0].emptyDir.medium: \"HugePages\" is not carried out yet"
            )],
        ),
        (
            "[{name: a, nfs: {server: b, path: /}}]",
            vec![format!("{volume}[0].nfs: not carried out yet")],
        ),
        (
            "[{name: a, configMaps: {name: b}}]",
            vec![format!(
                "unknown field \"{volume}[0].configMaps\", did you mean \"configMap\"?"
            )],
        ),
    ] {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        in_spec(&format!("volumes: {volumes}"), &expected);
    }
}

#[test]
fn the_spec_is_validated() {
    for (spec, expected) in [
        (
            "terminationGracePeriodSeconds: -1",
            &[
                "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
            ][..],
        ),
        (
            "restartPolicy: always",
            &[
                "spec.restartPolicy: Unsupported value: \"always\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            ],
        ),
        (
            "hostname: a.b",
            &["spec.hostname: Invalid value: \"a.b\": must not contain dots"],
        ),
        (
            "subdomain: a.b",
            &["spec.subdomain: Invalid value: \"a.b\": must not contain dots"],
        ),
        (
            "hostNetwork: maybe",
            &["spec.hostNetwork: expected true or false, got \"maybe\""],
        ),
        ("hostNetwork: true", &[]),
        (
            "securityContext: {runAsUser: 3000000000}",
            &[
                "spec.securityContext.runAsUser: Invalid value: 3000000000: must be between 0 and 2147483647, inclusive",
            ],
        ),
        (
            "volumes: {}",
            &["spec.volumes: expected a list, got an object"],
        ),
    ] {
        in_spec(spec, expected);
    }
    for (container, expected) in [
        (
            "",
            Some("Required value: runAsNonRoot is set and runtimeClassName \"host\" runs as root"),
        ),
        (
            "securityContext: {runAsUser: 0}",
            Some("Invalid value: 0: container's runAsUser breaks non-root policy"),
        ),
        ("securityContext: {runAsUser: 5}", None),
        ("securityContext: {runAsNonRoot: false}", None),
    ] {
        let text = PodText {
            spec: "securityContext: {runAsNonRoot: true}",
            container,
            ..PodText::default()
        };
        let expected =
            expected.map(|error| format!("spec.containers[0].securityContext.runAsUser: {error}"));
        check(&text.yaml(), &Vec::from_iter(expected.as_deref()));
    }
    let text = PodText {
        spec: "hostNetwork: true",
        container: "ports: [{containerPort: 80, hostPort: 81}]",
        ..PodText::default()
    };
    check(
        &text.yaml(),
        &[
            "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true",
        ],
    );
    check(
        &text.yaml().replace("hostPort: 81", "hostPort: 65536"),
        &[
            "spec.containers[0].ports[0].hostPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
            "spec.containers[0].ports[0].hostPort: Invalid value: 65536: must match `containerPort` when `hostNetwork` is true",
        ],
    );
    check(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {runtimeClassName: host}\n",
        &["spec.containers: Required value"],
    );
    check(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {runtimeClassName: host, containers: 5}\n",
        &["spec.containers: expected a list, got 5"],
    );
    let twice = format!(
        "{}  - name: main\n    command: [a]\n",
        PodText::default().yaml()
    );
    check(
        &twice,
        &["spec.containers[1].name: Duplicate value: \"main\""],
    );
    check(
        &twice.replace("name: main", "name:"),
        &[
            "spec.containers[0].name: Required value",
            "spec.containers[1].name: Required value",
        ],
    );
}

#[test]
fn a_class_is_the_host_or_none() {
    let text = PodText {
        spec: "runtimeClassName:",
        container: "image: web",
        ..PodText::default()
    }
    .yaml();
    assert!(pod(&PodText::default().yaml()).on_host);
    assert!(!pod(&text).on_host);
    check(
        &text.replace("runtimeClassName:", "runtimeClassName: kata"),
        &["spec.runtimeClassName: Not found: \"kata\""],
    );
    let sources = [Source::Text {
        name: "t".to_owned(),
        text,
    }];
    let options = Options {
        default_runtime_class: Some("host".to_owned()),
    };
    let object = only(load(&sources, &options));
    assert_eq!(object.value["spec"]["runtimeClassName"], "host");
}

#[test]
fn images_are_validated() {
    for (class, image, expected) in [
        ("host", "''", ""),
        ("''", "a", ""),
        ("''", "''", "Required value"),
        (
            "''",
            "' a'",
            "Invalid value: \" a\": must not have leading or trailing whitespace",
        ),
        (
            "host",
            "'a '",
            "Invalid value: \"a \": must not have leading or trailing whitespace",
        ),
    ] {
        let text = PodText {
            spec: &format!("runtimeClassName: {class}"),
            container: &format!("image: {image}\ncommand: [a]"),
            ..PodText::default()
        };
        let expected = format!("spec.containers[0].image: {expected}");
        let expected = Some(expected.as_str()).filter(|line| !line.ends_with(": "));
        check(&text.yaml(), expected.as_slice());
    }
}

#[test]
fn an_image_brings_its_own_command() {
    let of = |words: &str| {
        let text = PodText {
            spec: "runtimeClassName: ''",
            container: &format!("command: []\nimage: a\n{words}"),
            ..PodText::default()
        };
        let container = pod(&text.yaml()).containers.remove(0);
        [container.command, container.args]
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(of(""), [none.clone(), none.clone()]);
    assert_eq!(of("args: [b]"), [none, vec!["b".to_owned()]]);
}

#[test]
fn all_type_errors_are_found_and_nothing_that_only_follows_from_them() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: 5, labels: [a]}\nspec:\n  runtimeClassName: host\n  \
                initContainers: 5\n  containers:\n  - name: a\n    command: b\n    livenessProbe: []\n  - 7\n  - name: c\n    \
                ports: [80]\n    command: [d]\n";
    check_lines(
        text,
        &[
            "t:3:29: metadata.labels: expected an object, got a list",
            "t:3:18: metadata.name: expected a string, got 5",
            "t:9:14: spec.containers[0].command: expected a list, got \"b\"",
            "t:10:20: spec.containers[0].livenessProbe: expected an object, got a list",
            "t:11:5: spec.containers[1]: expected an object, got 7",
            "t:13:13: spec.containers[2].ports[0]: expected an object, got 80",
            "t:6:19: spec.initContainers: expected a list, got 5",
        ],
    );
}
