//! What is about the text and not yet about an object: syntax, documents, lists, kinds, places.

use std::fs;
use std::path::PathBuf;

use super::*;

const SERVICE: &str =
    "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n";

fn keys(loaded: &Loaded) -> Vec<String> {
    loaded
        .objects
        .iter()
        .map(|object| object.key.to_string())
        .collect()
}

#[test]
fn yaml_that_does_not_parse_has_line_and_column() {
    for (text, place) in [
        ("a: [1\n", "t:1:"),
        ("a: b: c\n", "t:1:5: "),
        ("a: 1\n\tb: 2\n", "t:1:4: "),
        ("a: 'b\n", "t:1:"),
        ("a: 1\na: 2\n", "t:2:1: "),
        ("{\"a\": }}", "t:1:"),
        ("a: *b\n", "t:1:4: "),
        ("a: .inf\n", "t:1:4: "),
        ("a: &b [*b]\n", "t:1:"),
    ] {
        let errors = load_text(text).unwrap_err();
        assert_eq!(errors.0.len(), 1, "{text:?}: {errors}");
        assert!(errors.to_string().starts_with(place), "{text:?}: {errors}");
        assert!(!errors.0[0].error.message.contains(" line "), "{errors}");
    }
}

#[test]
fn what_was_read_before_a_syntax_error_is_checked() {
    let text = "apiVersion: v1\nkind: Foo\n---\na: [\n";
    let errors = load_text(text).unwrap_err();
    assert_eq!(
        errors.0[0].to_string(),
        "t:2:7: no matches for kind \"Foo\" in version \"v1\""
    );
    assert_eq!(errors.0[1].position.map(|position| position.line), Some(4));
    assert_eq!(errors.0.len(), 2);
}

#[test]
fn documents_after_a_duplicate_key_are_checked() {
    let text = "apiVersion: v1\nkind: Pod\nkind: Pod\n---\nkind: Foo\napiVersion: v1\n";
    let errors = load_text(text).unwrap_err();
    assert_eq!(errors.0[0].position, Some(Position { line: 3, column: 1 }));
    assert_eq!(
        errors.0[1].to_string(),
        "t:5:7: no matches for kind \"Foo\" in version \"v1\""
    );
}

#[test]
fn bombs_and_depths_are_refused() {
    let mut bomb = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("b{level}: &a{level} [{aliases}]\n"));
    }
    let deep_flow = "[".repeat(100_000);
    let deep_block: String = (0..3000)
        .map(|depth| format!("{:depth$}a:\n", ""))
        .collect();
    let deep_list = "- ".repeat(50_000);
    for text in [bomb, deep_flow, deep_block, deep_list] {
        assert_eq!(load_text(&text).unwrap_err().0.len(), 1);
    }
}

#[test]
fn documents_json_and_lists_are_read() {
    let pod = PodText::default().yaml();
    let json = serde_json::to_string_pretty(&only(load_text(&pod)).value).unwrap();
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n-\n{}",
        indented(SERVICE, 2)
    );
    let services = "apiVersion: v1\nkind: ServiceList\nitems: [{metadata: {name: s}, spec: {ports: [{port: 1}]}}]\n";
    for (text, expected) in [
        (
            format!("# nothing\n---\n{pod}---\n# nothing\n---\n---\n{SERVICE}"),
            &["Pod default/web", "Service default/s"][..],
        ),
        (json, &["Pod default/web"]),
        (list, &["Service default/s"]),
        (services.to_owned(), &["Service default/s"]),
        (
            format!("%YAML 1.2\n---\n{SERVICE}...\n"),
            &["Service default/s"],
        ),
        (format!("\u{feff}{SERVICE}"), &["Service default/s"]),
        (SERVICE.replace('\n', "\r\n"), &["Service default/s"]),
    ] {
        assert_eq!(keys(&load_text(&text).unwrap()), expected, "\n{text}");
    }
}

#[test]
fn scalars_mean_what_they_mean_to_kubectl() {
    let text = PodText {
        metadata: "annotations: {a: \"\\ud83d\\ude00 \\/\"}",
        ..PodText::default()
    }
    .yaml();
    let object = only(load_text(&text));
    assert_eq!(object.value["metadata"]["annotations"]["a"], "\u{1f600} /");
    let text = PodText {
        container: "livenessProbe: {tcpSocket: {port: 0x50}, periodSeconds: 010}",
        ..PodText::default()
    };
    let container = only(load_text(&text.yaml())).value["spec"]["containers"][0].clone();
    assert_eq!(container["livenessProbe"]["periodSeconds"], 8);
    assert_eq!(container["livenessProbe"]["tcpSocket"]["port"], 80);
    in_spec("hostNetwork: yes", &[]);
    in_metadata(
        "labels: {a: yes}",
        &["metadata.labels.a: expected a string, got true"],
    );
}

#[test]
fn anchors_and_merges_are_followed() {
    let text = PodText {
        container: "livenessProbe: &probe {tcpSocket: {port: 80}, periodSeconds: 3}\n\
                    readinessProbe:\n  <<: *probe\n  successThreshold: 2\n\
                    startupProbe: *probe",
        ..PodText::default()
    };
    let container = pod(&text.yaml()).containers.remove(0);
    assert_eq!(container.startup, container.liveness);
    let readiness = container.readiness.unwrap();
    assert_eq!(
        (readiness.success_threshold, readiness.period.as_secs()),
        (2, 3)
    );
}

#[test]
fn kinds_are_known_told_apart_or_refused() {
    for (text, expected) in [
        (
            "apiVersion: v1\nkind: Foo\n",
            "t:2:7: no matches for kind \"Foo\" in version \"v1\"",
        ),
        (
            "kind: Pod\napiVersion: apps/v1\n",
            "t:1:7: no matches for kind \"Pod\" in version \"apps/v1\"",
        ),
        (
            "apiVersion: apps/v1\nkind: StatefulSet\n",
            "t:2:7: kind \"StatefulSet\" (apps/v1) is not carried out yet",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\n",
            "t:1:1: metadata.name: Required value: name or generateName is required",
        ),
        (
            "apiVersion: events.k8s.io/v1\nkind: Event\n",
            "t:2:7: kind \"Event\" (events.k8s.io/v1) is not carried out yet",
        ),
        (
            "apiVersion: node.k8s.io/v1\nkind: Nothing\n",
            "t:2:7: no matches for kind \"Nothing\" in version \"node.k8s.io/v1\"",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a-}\n",
            "t:3:26: metadata.generateName: cannot use generate name with apply: \"a-\"",
        ),
        ("\napiVersion: v1\n", "t:2:1: kind: Required value"),
        ("kind: Pod\n", "t:1:1: apiVersion: Required value"),
        (
            "kind: Pod\napiVersion: 1\n",
            "t:2:13: apiVersion: Required value",
        ),
        (
            "- a\n",
            "t:1:1: expected an object with apiVersion and kind",
        ),
        (
            "hello\n",
            "t:1:1: expected an object with apiVersion and kind",
        ),
        (
            "apiVersion: v1\nkind: List\nitems:\n- 5\n",
            "t:4:3: expected an object with apiVersion and kind",
        ),
        ("", "t: no objects passed to apply"),
        ("---\n# nothing\n", "t: no objects passed to apply"),
        (
            "apiVersion: v1\nkind: List\nitems: []\n",
            "t: no objects passed to apply",
        ),
    ] {
        check_lines(text, &[expected]);
    }
}

#[test]
fn every_error_of_every_document_has_its_place() {
    let text = format!(
        "{}---\n{}",
        PodText {
            spec: "restartPolicy: Sometimes",
            container: "ports:\n- containerPort: 0",
            metadata: "labels:\n  -: a"
        }
        .yaml(),
        SERVICE.replace("80", "-80"),
    );
    let label = "metadata.labels: Invalid value: \"-\": name part must consist of alphanumeric characters, '-', '_' or '.', \
                 and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', \
                 regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    check_lines(
        &text,
        &[
            &format!("t:5:3: {label}"),
            "t:14:22: spec.containers[0].ports[0].containerPort: Required value",
            "t:9:18: spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            "t:19:23: spec.ports[0].port: Invalid value: -80: must be between 1 and 65535, inclusive",
        ],
    );
}

#[test]
fn what_is_missing_is_reported_at_what_is_nearest() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  runtimeClassName: host\n  containers:\n  - name: a\n    livenessProbe:\n      periodSeconds: 5\n";
    check_lines(
        text,
        &[
            "t:8:5: spec.containers[0].command: Required value: runtimeClassName \"host\" has no image to take a command from",
            "t:9:5: spec.containers[0].livenessProbe: Required value: must specify a handler type",
        ],
    );
    check_lines(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n",
        &["t:1:1: spec.ports: Required value"],
    );
}

#[test]
fn the_same_object_twice_is_refused() {
    check_lines(
        &format!("{SERVICE}---\n{SERVICE}"),
        &["t:8:18: Service default/s is already at t:1:1"],
    );
    let other = SERVICE.replace("name: s", "name: s, namespace: other");
    assert_eq!(
        keys(&load_text(&format!("{SERVICE}---\n{other}")).unwrap()),
        ["Service default/s", "Service other/s"]
    );
}

#[test]
fn files_and_directories_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("b.yaml"), SERVICE).unwrap();
    fs::write(path("a.yml"), PodText::default().yaml()).unwrap();
    fs::write(
        path("c.json"),
        serde_json::json!({"apiVersion": "v1", "kind": "Foo"}).to_string(),
    )
    .unwrap();
    fs::write(path("d.txt"), "no manifest").unwrap();
    fs::create_dir(path("e.yaml")).unwrap();
    fs::write(path("e.yaml").join("f.yaml"), "no manifest").unwrap();
    let load = |name: &str| load(&[Source::Path(path(name))], &Options::default());

    let errors = load("").unwrap_err();
    let expected = format!(
        "{}:1:27: no matches for kind \"Foo\" in version \"v1\"",
        path("c.json").display()
    );
    assert_eq!(errors.to_string(), expected);
    fs::remove_file(path("c.json")).unwrap();
    assert_eq!(
        keys(&load("").unwrap()),
        ["Pod default/web", "Service default/s"]
    );
    assert_eq!(
        load("b.yaml").unwrap().objects[0].origin.to_string(),
        format!("{}:1:1", path("b.yaml").display())
    );

    fs::remove_dir_all(path("e.yaml")).unwrap();
    fs::create_dir(path("empty")).unwrap();
    assert!(
        load("empty")
            .unwrap_err()
            .to_string()
            .contains("recognized file extensions are [.json .yaml .yml]")
    );
    let missing = path("none.yaml").display().to_string();
    assert_eq!(
        load("none.yaml").unwrap_err().to_string(),
        format!("{missing}: the path {missing:?} does not exist")
    );
    fs::write(path("d.txt"), b"a: 1\nb: \xff\n").unwrap();
    assert_eq!(
        load("d.txt").unwrap_err().to_string(),
        format!("{}:2:4: not UTF-8", path("d.txt").display())
    );
    fs::write(path("d.txt"), SERVICE).unwrap();
    assert_eq!(keys(&load("d.txt").unwrap()), ["Service default/s"]);
}

#[test]
fn standard_input_is_called_by_its_dash() {
    let sources = [
        Source::Stdin("kind: Pod\n".to_owned()),
        Source::Path(PathBuf::from("/nonexistent")),
    ];
    let errors = load(&sources, &Options::default()).unwrap_err();
    let expected =
        "-:1:1: apiVersion: Required value\n/nonexistent: the path \"/nonexistent\" does not exist";
    assert_eq!(errors.to_string(), expected);
}
