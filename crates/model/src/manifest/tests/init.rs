//! Init containers and sidecars.

use std::time::Duration;

use super::*;
use crate::pod::RestartPolicy;

#[track_caller]
fn in_init(container: &str, expected: &[&str]) {
    let text = init(container);
    let expected: Vec<String> = expected
        .iter()
        .map(|line| line.replace('@', "spec.initContainers[0]"))
        .collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check(&text, &expected);
}

fn init(container: &str) -> String {
    let spec = format!(
        "initContainers:\n- name: first\n  command: [a]\n{}",
        indented(container, 2)
    );
    PodText {
        spec: &spec,
        ..PodText::default()
    }
    .yaml()
}

#[test]
fn init_containers_and_sidecars_are_read_in_order() {
    let text = PodText {
        spec: "initContainers:\n\
               - {name: first, command: [a], image: web, ports: [{containerPort: 80}]}\n\
               - name: side\n  command: [b]\n  restartPolicy: Always\n  \
               lifecycle: {postStart: {sleep: {seconds: 1}}, preStop: {httpGet: {port: 80}}}\n  \
               readinessProbe: {grpc: {port: 9}}\n\
               - {name: last, command: [c], restartPolicy: Never}",
        ..PodText::default()
    };
    let object = only(load_text(&text.yaml()));
    let read = pod(&text.yaml());
    let names: Vec<&str> = read
        .all_containers()
        .map(|container| container.name.as_str())
        .collect();
    assert_eq!(names, ["first", "side", "last", "main"]);
    let sidecars: Vec<bool> = read
        .init_containers
        .iter()
        .map(crate::pod::Container::is_restartable_init)
        .collect();
    assert_eq!(sidecars, [false, true, false]);
    let side = read.container("side").unwrap();
    assert_eq!(
        side.readiness.as_ref().unwrap().period,
        Duration::from_secs(10)
    );
    assert!(side.post_start.is_some() && side.pre_stop.is_some());
    assert_eq!(read.container("first").unwrap().restart_policy, None);
    assert_eq!(
        read.container("last").unwrap().restart_policy,
        Some(RestartPolicy::Never)
    );

    let init = &object.value["spec"]["initContainers"];
    assert_eq!(init[0]["imagePullPolicy"], "Always");
    assert_eq!(init[0]["terminationMessagePath"], "/dev/termination-log");
    assert_eq!(init[0]["ports"][0]["protocol"], "TCP");
    assert_eq!(init[1]["readinessProbe"]["grpc"]["service"], "");
    assert_eq!(init[1]["readinessProbe"]["failureThreshold"], 3);
    assert_eq!(init[1]["lifecycle"]["preStop"]["httpGet"]["path"], "/");
    assert_eq!(crate::pod::Pod::from_value(&object.value).unwrap(), read);
}

#[test]
fn an_init_container_has_neither_hooks_nor_probes() {
    let tcp = "{tcpSocket: {port: 0}}";
    in_init(
        &format!(
            "startupProbe: {tcp}\nlivenessProbe: {tcp}\nreadinessProbe: {tcp}\nlifecycle: {{preStop: {{}}}}"
        ),
        &[
            "@.lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
            "@.livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
            "@.readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
            "@.startupProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ],
    );
    in_init(
        "restartPolicy: OnFailure\nlivenessProbe: {exec: {command: [a]}}",
        &[
            "@.livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ],
    );
}

#[test]
fn a_sidecar_has_both_validated() {
    in_init(
        "restartPolicy: Always\nlivenessProbe: {tcpSocket: {port: 1}}\nlifecycle: {postStart: {exec: {command: [a]}}}",
        &[],
    );
    in_init(
        "restartPolicy: Always\nlivenessProbe: {tcpSocket: {port: 1}, successThreshold: 2}\n\
         startupProbe: {}\nlifecycle: {preStop: {}}",
        &[
            "@.lifecycle.preStop: Required value: must specify a handler type",
            "@.livenessProbe.successThreshold: Invalid value: 2: must be 1",
            "@.startupProbe: Required value: must specify a handler type",
        ],
    );
}

#[test]
fn the_rules_of_containers_are_those_of_init_containers() {
    in_init(
        "ports: [{containerPort: 0}]\nenv: [{value: a}]\nvolumeMounts: [{name: v, mountPath: /a}]\nworkingDir: a",
        &[
            "@.ports[0].containerPort: Required value",
            "@.env[0].name: Required value",
            "@.volumeMounts[0].name: Not found: \"v\"",
            "@.workingDir: Invalid value: \"a\": must be an absolute path",
        ],
    );
    in_init(
        "livenesProbe: {}",
        &["unknown field \"@.livenesProbe\", did you mean \"livenessProbe\"?"],
    );
    let text = init("").replace("    command: [a]\n", "");
    check(
        &text,
        &[
            "spec.initContainers[0].command: Required value: runtimeClassName \"host\" has no image to take a command from",
        ],
    );
}

#[test]
fn a_name_is_there_once_and_the_init_container_is_to_blame() {
    let text = PodText {
        spec: "initContainers:\n- {name: main, command: [a]}\n- {name: a, command: [a]}\n- {name: a, command: [a]}\n\
               - {command: [a]}\n- {command: [a]}",
        ..PodText::default()
    };
    check_lines(
        &text.yaml(),
        &[
            "t:8:12: spec.initContainers[0].name: Duplicate value: \"main\"",
            "t:10:12: spec.initContainers[2].name: Duplicate value: \"a\"",
            "t:11:5: spec.initContainers[3].name: Required value",
            "t:12:5: spec.initContainers[4].name: Required value",
        ],
    );
}

#[test]
fn host_ports_meet_among_regular_containers_and_inside_an_init_container() {
    let twice =
        "ports: [{containerPort: 80}, {containerPort: 80}, {containerPort: 80, protocol: UDP}]";
    let first = PodText {
        spec: &format!(
            "hostNetwork: true\ninitContainers:\n- {{name: a, command: [a], ports: [{{containerPort: 80}}]}}\n\
             - {{name: b, command: [a], {twice}}}"
        ),
        container: twice,
        ..PodText::default()
    };
    let text = format!(
        "{}  - {{name: other, command: [a], ports: [{{containerPort: 81}}, {{containerPort: 80}}]}}\n",
        first.yaml()
    );
    let expected = [
        "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//80\"",
        "spec.containers[1].ports[1].hostPort: Duplicate value: \"TCP//80\"",
        "spec.initContainers[1].ports[1].hostPort: Duplicate value: \"TCP//80\"",
    ];
    check(&text, &expected);
    let differing = text.replace("{containerPort: 81}", "{containerPort: 81, hostPort: 82}");
    let mismatch = "spec.containers[1].ports[0].hostPort: Invalid value: 82: must match `containerPort` when `hostNetwork` is true";
    check(
        &differing,
        &[expected[0], expected[1], expected[2], mismatch],
    );
}
