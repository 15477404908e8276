//! Manifests that are wrong: the exit code, the place and the field.

use std::fs::File;
use std::process::Stdio;

use serde_json::json;

use crate::rig::{Rig, Said, User, each, shell};

/// Applies a text and expects to be refused; nothing has been made then, not even the data directory.
fn refused(rig: &Rig, text: &str) -> Said {
    let file = rig.file("wrong.yaml", text);
    let said = rig.run("up", &["-f", file.to_str().unwrap()]);
    assert_eq!(said.code, Some(1), "{} {}", said.out, said.err);
    assert_eq!(said.out, "");
    assert!(!rig.data_dir.exists(), "it made {}", rig.data_dir.display());
    said
}

/// That a pod with these lines in its container is refused at a place of the file for a reason.
fn container(lines: &str, place: &str, reason: &str) {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: pod}}\nspec:\n  runtimeClassName: host\n  \
         containers:\n  - name: main\n    image: none\n    {}\n",
        lines.replace('\n', "\n    ")
    );
    whole(&text, place, reason);
}

/// That a text is refused at a place for a reason.
fn whole(text: &str, place: &str, reason: &str) {
    let rig = Rig::new(User::Own);
    let said = refused(&rig, text);
    let expected = format!("wrong.yaml:{place}: {reason}");
    assert!(
        said.err.contains(&expected),
        "{expected:?} is not in {}",
        said.err
    );
    rig.finish();
}

const SLEEP: &str = "command: [sleep, '1000']";

#[test]
fn yaml_that_does_not_parse() {
    whole(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: [\n",
        "3:18",
        "unclosed bracket",
    );
}

#[test]
fn a_kind_that_is_unknown() {
    whole(
        "apiVersion: v1\nkind: Gadget\nmetadata: {name: x}\n",
        "2:7",
        "no matches for kind \"Gadget\" in version \"v1\"",
    );
}

#[test]
fn a_field_that_is_unknown() {
    container(
        &format!("{SLEEP}\nlivenesProbe: {{}}"),
        "10:19",
        "unknown field \"spec.containers[0].livenesProbe\", did you mean \"livenessProbe\"?",
    );
}

#[test]
fn two_handlers() {
    container(
        &format!("{SLEEP}\nlivenessProbe:\n  tcpSocket: {{port: 80}}\n  exec: {{command: [a]}}"),
        "11:18",
        "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
    );
}

#[test]
fn port_zero() {
    container(
        &format!("{SLEEP}\nlivenessProbe:\n  tcpSocket: {{port: 0}}"),
        "11:25",
        "spec.containers[0].livenessProbe.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive",
    );
}

#[test]
fn success_threshold_two_for_liveness() {
    container(
        &format!("{SLEEP}\nlivenessProbe:\n  tcpSocket: {{port: 80}}\n  successThreshold: 2"),
        "12:25",
        "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
    );
}

#[test]
fn negative_seconds() {
    container(
        &format!("{SLEEP}\nreadinessProbe:\n  tcpSocket: {{port: 80}}\n  periodSeconds: -3"),
        "12:22",
        "spec.containers[0].readinessProbe.periodSeconds: Invalid value: -3: must be greater than or equal to 0",
    );
}

#[test]
fn an_empty_command() {
    container(
        "command: []",
        "9:14",
        "spec.containers[0].command: Required value",
    );
    container(
        &format!("{SLEEP}\nlivenessProbe:\n  exec: {{command: []}}"),
        "11:23",
        "spec.containers[0].livenessProbe.exec.command: Required value",
    );
}

#[test]
fn a_field_that_is_not_carried_out() {
    container(
        &format!("{SLEEP}\nlifecycle:\n  preStop:\n    tcpSocket: {{port: 80}}"),
        "12:20",
        "spec.containers[0].lifecycle.preStop.tcpSocket: not carried out yet",
    );
}

#[test]
fn names_that_are_there_twice() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: pod}\nspec:\n  runtimeClassName: host\n  \
               containers:\n  - {name: main, image: none, command: [sleep, '1']}\n";
    whole(
        &format!("{pod}---\n{pod}"),
        "11:18",
        "Pod default/pod is already at ",
    );
    let twice = pod.replace(
        "'1']}\n",
        "'1']}\n  - {name: main, image: none, command: [sleep, '1']}\n",
    );
    whole(
        &twice,
        "8:12",
        "spec.containers[1].name: Duplicate value: \"main\"",
    );
}

#[test]
fn a_service_whose_port_is_no_number_and_no_name() {
    whole(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  ports:\n  - {port: 0}\n",
        "6:12",
        "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
    );
}

#[test]
fn a_file_that_is_missing() {
    let rig = Rig::new(User::Own);
    let said = rig.run("up", &["-f", "no-such.yaml"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.err
            .contains("the path \"no-such.yaml\" does not exist"),
        "{}",
        said.err
    );
    assert!(!rig.data_dir.exists());
    rig.finish();
}

#[test]
fn words_that_are_no_command() {
    let rig = Rig::new(User::Own);
    for (subcommand, more) in [
        ("up", "--no-such-option"),
        ("no-such-command", "-f"),
        ("status", "--output=xml"),
    ] {
        let said = rig.run(subcommand, &[more]);
        assert_eq!(said.code, Some(2), "{}", said.err);
        assert!(
            said.err.contains("Usage:") || said.err.contains("--help"),
            "{}",
            said.err
        );
    }
    let said = rig.run("up", &["--pod-cidr", "10.0.0.0/30"]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(
        said.err.contains("is not an IPv4 range with room for pods"),
        "{}",
        said.err
    );
    rig.finish();
}

#[test]
fn one_wrong_object_keeps_all_the_others_out_and_every_fault_is_told() {
    each(|rig| {
        let good = rig.pod("good", &shell("exec sleep 1000"));
        let bad = rig.pod("bad", &json!([])).to_string();
        let text = format!("{good}\n---\n{bad}\n---\nkind: Pod\n");
        let said = refused(rig, &text);
        assert!(said.err.contains("wrong.yaml:3:"), "{}", said.err);
        assert!(
            said.err
                .contains("spec.containers[0].command: Required value"),
            "{}",
            said.err
        );
        assert!(said.err.contains("apiVersion"), "{}", said.err);
        assert!(
            said.err.lines().all(|line| line.starts_with("error: ")),
            "{}",
            said.err
        );
    });
}

#[test]
fn manifests_come_from_directories_standard_input_and_json() {
    each(|rig| {
        let dir = rig.dir("manifests");
        let pod = |name: &str| rig.pod(name, &shell("exec sleep 1000"));
        std::fs::write(dir.join("one.json"), pod("one").to_string()).unwrap();
        std::fs::write(dir.join("two.yml"), pod("two").to_string()).unwrap();
        std::fs::write(dir.join("notes.txt"), "not a manifest").unwrap();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": [pod("three")] });
        let input = rig.manifest("input", &[&list]);
        let arguments = ["--detach", "-f", dir.to_str().unwrap(), "-f", "-"];
        rig.run_with("up", &arguments, Stdio::from(File::open(input).unwrap()))
            .done();
        let status = rig.status_when("all three running", |status| {
            ["one", "two", "three"]
                .iter()
                .all(|name| status.phase(name) == "Running")
        });
        assert_eq!(status.of("Pod").count(), 3);
    });
}

#[test]
fn an_empty_directory_and_an_empty_input_are_told() {
    each(|rig| {
        let dir = rig.dir("empty");
        let said = rig.run("up", &["-f", dir.to_str().unwrap()]);
        assert_eq!(said.code, Some(1));
        assert!(
            said.err
                .contains("recognized file extensions are [.json .yaml .yml]"),
            "{}",
            said.err
        );
        let said = rig.run("up", &["-f", "-"]);
        assert_eq!(said.code, Some(1), "{} {}", said.out, said.err);
        assert!(said.err.contains("error: -: "), "{}", said.err);
    });
}
