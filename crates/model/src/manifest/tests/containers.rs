//! Hooks, restart policies and last words of containers, and what a pod adds to them.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::pod::{Hook, RestartPolicy, RestartRule};
use crate::probe::Handler;

#[track_caller]
fn check_each(container: &str, expected: &[&str]) {
    let expected: Vec<String> = expected
        .iter()
        .map(|line| line.replace('@', "spec.containers[0]"))
        .collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    in_container(container, &expected);
}

fn container(text: &str) -> crate::pod::Container {
    let text = PodText {
        container: text,
        ..PodText::default()
    };
    pod(&text.yaml()).containers.remove(0)
}

#[test]
fn a_grpc_probe_is_read() {
    for (text, service) in [
        ("port: 7", ""),
        ("port: 7, service: a.B", "a.B"),
        ("port: 7, service: ", ""),
    ] {
        let read = container(&format!("readinessProbe: {{grpc: {{{text}}}}}"));
        let service = service.to_owned();
        assert_eq!(
            read.readiness.unwrap().handler,
            Handler::Grpc { port: 7, service },
            "{text}"
        );
    }
}

#[test]
fn hooks_are_read() {
    let read = container(
        "lifecycle: {postStart: {exec: {command: [a]}}, preStop: {sleep: {seconds: 30}}}",
    );
    let command = vec!["a".to_owned()];
    assert_eq!(
        read.post_start,
        Some(Hook::Handler(Handler::Exec { command }))
    );
    assert_eq!(read.pre_stop, Some(Hook::Sleep(Duration::from_secs(30))));
    let read = container("lifecycle: {postStart: {sleep: {seconds: 0}}}");
    assert_eq!(
        (read.post_start, read.pre_stop),
        (Some(Hook::Sleep(Duration::ZERO)), None)
    );
}

#[test]
fn hooks_are_validated() {
    for (hook, expected) in [
        (
            "{}",
            &["@: Required value: must specify a handler type"][..],
        ),
        ("{exec: {}}", &["@.exec.command: Required value"]),
        ("{httpGet: {port: a}}", &[]),
        (
            "{httpGet: {port: 0}, sleep: {seconds: -1}, tcpSocket: {port: 1}}",
            &[
                "@.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "@.tcpSocket: Forbidden: may not specify more than 1 handler type",
                "@.sleep: Forbidden: may not specify more than 1 handler type",
            ],
        ),
        (
            "{sleep: {seconds: -1}}",
            &[
                "@.sleep: Invalid value: -1: must be non-negative and less than terminationGracePeriodSeconds (30)",
            ],
        ),
        (
            "{sleep: {seconds: 31}}",
            &[
                "@.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
            ],
        ),
        ("{sleep: {seconds: 30}}", &[]),
    ] {
        for name in ["postStart", "preStop"] {
            let path = format!("spec.containers[0].lifecycle.{name}");
            let expected: Vec<String> = expected
                .iter()
                .map(|line| line.replace('@', &path))
                .collect();
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            in_container(&format!("lifecycle: {{{name}: {hook}}}"), &expected);
        }
    }
}

#[test]
fn stop_signals_are_read_and_validated() {
    let read = |signal: &str| {
        let text = PodText {
            spec: "os: {name: linux}",
            container: &format!("lifecycle: {{stopSignal: {signal}}}"),
            ..PodText::default()
        };
        text.yaml()
    };
    let signal = |name: &str| pod(&read(name)).containers.remove(0).stop_signal;
    assert_eq!(signal("SIGQUIT"), Some(3));
    assert_eq!(signal("SIGRTMIN+3"), Some(37));
    assert_eq!(container("image: a").stop_signal, None);
    let errors = errors_of(&read("QUIT"));
    let expected = "spec.containers[0].lifecycle.stopSignal: Unsupported value: \"QUIT\": supported values: \
                    \"SIGABRT\", \"SIGALRM\", ";
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with(expected), "{errors:?}");
    in_container(
        "lifecycle: {stopSignal: SIGQUIT}",
        &[
            "spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`",
        ],
    );
}

#[test]
fn a_wrong_grace_is_not_held_against_a_sleep() {
    let text = PodText {
        spec: "terminationGracePeriodSeconds: -1",
        container: "lifecycle: {preStop: {sleep: {seconds: 5}}}",
        ..PodText::default()
    };
    check(
        &text.yaml(),
        &[
            "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
}

#[test]
fn restart_policies_and_rules_are_read() {
    let read = container("image: a");
    assert_eq!((read.restart_policy, read.restart_rules.len()), (None, 0));
    for (text, policy) in [
        ("Always", RestartPolicy::Always),
        ("OnFailure", RestartPolicy::OnFailure),
        ("Never", RestartPolicy::Never),
    ] {
        let read = container(&format!("restartPolicy: {text}"));
        assert_eq!(read.restart_policy, Some(policy));
    }
    let read = container(
        "restartPolicy: Never\nrestartPolicyRules:\n\
         - {action: Restart, exitCodes: {operator: In, values: [42, 43]}}\n\
         - {action: Restart, exitCodes: {operator: NotIn}}",
    );
    let [first, second] = read.restart_rules.as_slice() else {
        panic!("{:?}", read.restart_rules);
    };
    let codes = vec![42, 43];
    assert_eq!(
        *first,
        RestartRule {
            listed: true,
            codes
        }
    );
    assert_eq!([first.matches(42), first.matches(1)], [true, false]);
    assert_eq!([second.matches(0), second.matches(1)], [true, true]);
}

#[test]
fn restart_rules_are_validated() {
    let rule = "{action: Restart, exitCodes: {operator: In, values: [1]}}";
    let with = |rules: &str| format!("restartPolicy: Never\nrestartPolicyRules: [{rules}]");
    let values = |count: usize| vec!["1"; count].join(", ");
    for (container, expected) in [
        (
            format!("restartPolicyRules: [{rule}]"),
            "@.restartPolicy: Required value: must specify restartPolicy when restart rules are used",
        ),
        ("restartPolicyRules: []".to_owned(), ""),
        (
            "restartPolicy: Sometimes".to_owned(),
            "@.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
        ),
        (
            "restartPolicy: ''".to_owned(),
            "@.restartPolicy: Unsupported value: \"\": supported values: \"Always\", \"Never\", \"OnFailure\"",
        ),
        (with(&vec![rule; 20].join(", ")), ""),
        (
            with(&vec![rule; 21].join(", ")),
            "@.restartPolicyRules: Too many: 21: must have at most 20 items",
        ),
        (
            with("{action: RestartAllContainers, exitCodes: {operator: In, values: [1]}}"),
            "@.restartPolicyRules[0].action: Unsupported value: \"RestartAllContainers\": supported values: \"Restart\"",
        ),
        (
            with("{exitCodes: {operator: In, values: [1]}}"),
            "@.restartPolicyRules[0].action: Unsupported value: \"\": supported values: \"Restart\"",
        ),
        (
            with("{action: Restart}"),
            "@.restartPolicyRules[0].exitCodes: Required value: must be specified",
        ),
        (
            with("{action: Restart, exitCodes: {values: [1]}}"),
            "@.restartPolicyRules[0].exitCodes.operator: Unsupported value: \"\": supported values: \"In\", \"NotIn\"",
        ),
        (
            with("{action: Restart, exitCodes: {operator: Equals, values: [1]}}"),
            "@.restartPolicyRules[0].exitCodes.operator: Unsupported value: \"Equals\": supported values: \"In\", \"NotIn\"",
        ),
        (
            with(&format!(
                "{{action: Restart, exitCodes: {{operator: In, values: [{}]}}}}",
                values(255)
            )),
            "",
        ),
        (
            with(&format!(
                "{{action: Restart, exitCodes: {{operator: In, values: [{}]}}}}",
                values(256)
            )),
            "@.restartPolicyRules[0].exitCodes.values: Too many: 256: must have at most 255 items",
        ),
        (
            with("{action: Restart, exitCodes: {operator: In, values: [a]}}"),
            "@.restartPolicyRules[0].exitCodes.values[0]: expected an integer, got \"a\"",
        ),
    ] {
        let expected: &[&str] = if expected.is_empty() {
            &[]
        } else {
            &[expected]
        };
        check_each(&container, expected);
    }
}

#[test]
fn a_sidecar_has_no_restart_rules() {
    let rules = "restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}]";
    let with = |policy: &str| {
        format!("initContainers: [{{name: a, command: [a], restartPolicy: {policy}, {rules}}}]")
    };
    in_spec(&with("Never"), &[]);
    in_spec(&with("OnFailure"), &[]);
    in_spec(
        &with("Always"),
        &[
            "spec.initContainers[0].restartPolicyRules: Forbidden: may not be set for init containers with restartPolicy=Always",
        ],
    );
}

#[test]
fn termination_messages_are_read() {
    let read = container("image: a").termination_message;
    assert_eq!(read, crate::pod::TerminationMessage::default());
    let read = container(
        "terminationMessagePath: /tmp/last\nterminationMessagePolicy: FallbackToLogsOnError",
    );
    assert_eq!(read.termination_message.path, PathBuf::from("/tmp/last"));
    assert!(read.termination_message.fall_back_to_logs);
}

#[test]
fn a_termination_message_has_its_place_below_the_root() {
    let wrong = |path: &str, detail: &str| {
        format!("@.terminationMessagePath: Invalid value: \"{path}\": {detail}")
    };
    let nowhere = "must name a place below '/', without '..' and outside /proc";
    for (path, detail) in [
        ("last", "must be an absolute path"),
        ("../last", "must be an absolute path"),
        ("/tmp/../../last", nowhere),
        ("/", nowhere),
        ("/proc/1/mem", nowhere),
    ] {
        check_each(
            &format!("terminationMessagePath: {path}"),
            &[&wrong(path, detail)],
        );
    }
    check_each(
        "terminationMessagePath: /dev/../x",
        &[&wrong("/dev/../x", nowhere)],
    );
    check_each(
        "terminationMessagePolicy: Logs",
        &[
            "@.terminationMessagePolicy: Unsupported value: \"Logs\": supported values: \"File\", \"FallbackToLogsOnError\"",
        ],
    );
}

#[test]
fn a_deadline_is_read_and_validated() {
    let text = |seconds: &str| {
        PodText {
            spec: &format!("activeDeadlineSeconds: {seconds}"),
            ..PodText::default()
        }
        .yaml()
    };
    assert_eq!(pod(&PodText::default().yaml()).active_deadline, None);
    for seconds in [1, 2_147_483_647] {
        let deadline = pod(&text(&seconds.to_string())).active_deadline;
        assert_eq!(deadline, Some(Duration::from_secs(seconds)));
    }
    for seconds in ["0", "-1", "2147483648"] {
        let expected = format!(
            "spec.activeDeadlineSeconds: Invalid value: {seconds}: must be between 1 and 2147483647, inclusive"
        );
        check(&text(seconds), &[&expected]);
    }
}

#[test]
fn readiness_gates_are_read_and_validated() {
    let text = PodText {
        spec: "readinessGates: [{conditionType: a}, {conditionType: example.com/b}]",
        ..PodText::default()
    };
    assert_eq!(pod(&text.yaml()).readiness_gates, ["a", "example.com/b"]);
    in_spec(
        "readinessGates: [{conditionType: a}, {conditionType: /b}]",
        &[
            "spec.readinessGates[1].conditionType: Invalid value: \"/b\": prefix part must be non-empty",
        ],
    );
}

#[test]
fn the_conditions_of_others_come_from_a_stored_status_alone() {
    let conditions = json!([
        {"type": "example.com/b", "status": "True", "reason": "Why"},
        {"type": "Ready", "status": "True", "lastTransitionTime": null},
        {"status": "True"},
    ]);
    let text = format!(
        "{}status: {{conditions: {conditions}}}\n",
        PodText::default().yaml()
    );
    let object = only(load_text(&text));
    assert_eq!(object.value.get("status"), None);
    let mut stored = object.value;
    stored["status"] = json!({"conditions": conditions});
    let read = crate::pod::Pod::from_value(&stored)
        .unwrap()
        .foreign_conditions;
    assert_eq!(read.len(), 1);
    assert_eq!(
        (read[0].kind.as_str(), read[0].status.as_str()),
        ("example.com/b", "True")
    );
    assert_eq!(read[0].rest["reason"], "Why");
}
