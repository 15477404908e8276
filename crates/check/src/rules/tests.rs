//! Manifests in, findings out: for each lint what brings it about, and what does not by a hair.

use std::collections::BTreeSet;

use probelet_model::manifest::Source;
use probelet_model::manifest::survey::survey;

use crate::lint::LINTS;
use crate::report::Report;

fn report(text: &str) -> Report {
    let source = Source::Text {
        name: "t".to_owned(),
        text: text.to_owned(),
    };
    let survey = survey(&[source]);
    let errors: Vec<String> = survey.errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, [""; 0], "\n{text}");
    crate::check(&survey, &BTreeSet::new())
}

/// A Pod with one container of which the lines are given, and more lines of the spec.
fn pod(spec: &str, container: &str) -> String {
    let indented = |text: &str, by: usize| -> String {
        text.lines()
            .map(|line| format!("{:by$}{line}\n", ""))
            .collect()
    };
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a, labels: {{app: a}}}}\nspec:\n{}  containers:\n  - name: c\n    image: i\n{}",
        indented(spec, 2),
        indented(container, 4),
    )
}

/// That a text has these findings and no others: line, id, and a part of the message.
#[track_caller]
fn found(text: &str, expected: &[(u32, &str, &str)]) {
    let report = report(text);
    let found: Vec<(u32, &str, &str)> = report
        .findings
        .iter()
        .map(|one| (one.position.line, one.lint.id, one.message.as_str()))
        .collect();
    let is_as_expected = found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| {
            found.0 == expected.0 && found.1 == expected.1 && found.2.contains(expected.2)
        });
    assert!(
        is_as_expected,
        "found {found:#?}\nnot {expected:#?}\nin\n{text}"
    );
}

#[track_caller]
fn in_container(container: &str, expected: &[(u32, &str, &str)]) {
    found(&pod("", container), expected);
}

#[test]
fn pace() {
    in_container(
        "livenessProbe: {httpGet: {port: 1}, timeoutSeconds: 10}",
        &[],
    );
    in_container(
        "livenessProbe:\n  httpGet: {port: 1}\n  timeoutSeconds: 11",
        &[(
            10,
            "probe-timeout-exceeds-period",
            "the probe acts within 43 s, not 41 s",
        )],
    );
    let all = report(&pod(
        "",
        "livenessProbe: {grpc: {port: 1}, timeoutSeconds: 5, periodSeconds: 2}\nreadinessProbe: {httpGet: {port: \
         1}, timeoutSeconds: 5, periodSeconds: 1, failureThreshold: 1}",
    ));
    let once = all
        .findings
        .iter()
        .find(|one| one.message.contains("every 1 s"));
    let once = once.unwrap();
    assert!(
        once.message
            .ends_with("every 1 s: the probe acts within 6 s"),
        "{}",
        once.message
    );
    assert_eq!(
        once.help,
        "set timeoutSeconds to at most 1, or periodSeconds to at least 5"
    );
    in_container(
        "livenessProbe: {httpGet: {port: 1}, failureThreshold: 2}",
        &[],
    );
    in_container(
        "readinessProbe: {httpGet: {port: 1}, failureThreshold: 1}",
        &[],
    );
    in_container(
        "livenessProbe: {httpGet: {port: 1}, failureThreshold: 1, initialDelaySeconds: 3}",
        &[(
            8,
            "liveness-single-failure",
            "longer than 1 s kills the container; so may a start that takes longer than 2 s",
        )],
    );
    in_container(
        "startupProbe: {httpGet: {port: 1}}\nlivenessProbe: {httpGet: {port: 1}, failureThreshold: 1}",
        &[(
            9,
            "liveness-single-failure",
            "a single answer that takes longer than 1 s kills the container",
        )],
    );
}

#[test]
fn liveness_beside_readiness() {
    let both = |liveness: &str, readiness: &str| {
        format!("livenessProbe: {{{liveness}}}\nreadinessProbe: {{{readiness}}}")
    };
    // Named or numbered, it is the same port.
    in_container(
        &format!(
            "ports: [{{name: http, containerPort: 80}}]\n{}",
            both("httpGet: {port: http}", "httpGet: {port: 80}")
        ),
        &[(
            9,
            "liveness-equals-readiness",
            "liveness acts within 31 s, readiness within 31 s",
        )],
    );
    in_container(
        &both(
            "httpGet: {port: 80}, failureThreshold: 6",
            "httpGet: {port: 80}",
        ),
        &[(
            8,
            "liveness-shares-readiness-check",
            "liveness acts within 61 s, readiness within 31 s",
        )],
    );
    in_container(
        &both(
            "httpGet: {port: 80}, failureThreshold: 6",
            "httpGet: {port: 80}, timeoutSeconds: 5",
        ),
        &[
            (
                8,
                "liveness-shares-readiness-check",
                "61 s, readiness within 35 s",
            ),
            (8, "liveness-stricter-than-readiness", "between 1 s and 5 s"),
        ],
    );
    in_container(
        &both("httpGet: {port: 80, path: /live}", "httpGet: {port: 80}"),
        &[],
    );
    in_container(
        &both(
            "httpGet: {port: 80, path: /live}, failureThreshold: 2",
            "httpGet: {port: 80}",
        ),
        &[(
            8,
            "liveness-quicker-than-readiness",
            "liveness acts within 21 s, readiness within 31 s",
        )],
    );
}

#[test]
fn the_threshold_that_is_proposed_is_enough() {
    let text = pod(
        "",
        "livenessProbe: {httpGet: {port: 80}}\nreadinessProbe: {httpGet: {port: 80}}",
    );
    let help = &report(&text).findings[0].help;
    assert!(
        help.ends_with("set livenessProbe.failureThreshold to 7, which acts within 71 s"),
        "{help}"
    );
    in_container(
        "livenessProbe: {httpGet: {port: 80, path: /l}, failureThreshold: 7}\nreadinessProbe: {httpGet: {port: 80}}",
        &[],
    );
}

#[test]
fn starts() {
    in_container(
        "livenessProbe: {httpGet: {port: 1}, initialDelaySeconds: 29}",
        &[],
    );
    in_container(
        "livenessProbe: {httpGet: {port: 1}, initialDelaySeconds: 30}",
        &[(
            8,
            "long-delay-without-startup-probe",
            "for 30 s, and a start that takes longer than 49 s",
        )],
    );
    let readiness =
        "readinessProbe: {tcpSocket: {port: 2}, failureThreshold: 1, initialDelaySeconds:";
    in_container(
        &format!("livenessProbe: {{httpGet: {{port: 1}}}}\n{readiness} 20}}"),
        &[],
    );
    in_container(
        &format!("livenessProbe: {{httpGet: {{port: 1}}}}\n{readiness} 21}}"),
        &[(
            8,
            "start-shorter-than-readiness-delay",
            "takes longer than 20 s and does kill one that takes longer than 30 s",
        )],
    );
    in_container(
        &format!("startupProbe: {{httpGet: {{port: 1}}}}\n{readiness} 21}}"),
        &[
            (8, "start-shorter-than-readiness-delay", "startup may kill"),
            (
                9,
                "startup-beside-initial-delay",
                "out of traffic until 21 s",
            ),
        ],
    );
    in_container(
        "startupProbe: {httpGet: {port: 1}, initialDelaySeconds: 99}",
        &[],
    );
}

#[test]
fn commands() {
    in_container(
        "readinessProbe: {exec: {command: [a]}}",
        &[(
            8,
            "exec-default-timeout",
            "the command gets 1 s, the default; where it takes longer, readiness acts within 31 s",
        )],
    );
    for quiet in [
        "exec: {command: [a, '|x']}, timeoutSeconds: 1",
        "exec: {command: [sh, -c, 'a && b | c']}, timeoutSeconds: 2",
        "exec: {command: ['[', a, '>', b, ']']}, timeoutSeconds: 2",
        "exec: {command: [a]}, timeoutSeconds: 2, periodSeconds: 3",
    ] {
        in_container(&format!("readinessProbe: {{{quiet}}}"), &[]);
    }
    in_container(
        "readinessProbe:\n  exec: {command: [curl -f localhost]}\n  timeoutSeconds: 2",
        &[(
            9,
            "exec-needs-shell",
            "no program is called \"curl -f localhost\"; every attempt errs, and the container is never ready",
        )],
    );
    in_container(
        "readinessProbe: {exec: {command: [/usr/bin/find, /a, -exec, grep, b, '{}', ;]}, timeoutSeconds: 2}",
        &[],
    );
    in_container(
        "readinessProbe: {exec: {command: [a, '||', b]}, timeoutSeconds: 2}",
        &[(8, "exec-needs-shell", "a gets \"||\" as an argument")],
    );
    in_container(
        "livenessProbe: {exec: {command: [a]}, timeoutSeconds: 1, periodSeconds: 2}",
        &[(
            8,
            "exec-probe-cost",
            "a process every 2 s in each Pod: about 2 to 2 % of a CPU",
        )],
    );
    let env = "env:\n- {name: A, value: a}\n- {name: B, valueFrom: {fieldRef: {fieldPath: metadata.name}}}\n";
    let with_env = |argument: &str| {
        let text = pod(
            "",
            &format!(
                "{env}readinessProbe: {{exec: {{command: [a, '{argument}']}}, timeoutSeconds: 2}}"
            ),
        );
        let found = report(&text).findings;
        found
            .into_iter()
            .filter(|one| one.lint.id != "not-carried-out")
            .map(|one| (one.lint.id, one.message))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        with_env("x$(B)"),
        [(
            "exec-variable-not-expanded",
            "$(B) is left as it is, as B comes from valueFrom".to_owned(),
        )]
    );
    for quiet in ["$(A)", "$$(B)", "$(C)", "$B"] {
        assert_eq!(with_env(quiet), [], "{quiet}");
    }
}

#[test]
fn ports() {
    in_container("livenessProbe: {httpGet: {port: 81}}", &[]);
    in_container(
        "ports: [{containerPort: 81}]\nlivenessProbe: {httpGet: {port: 81}}",
        &[],
    );
    in_container(
        "ports: [{containerPort: 81, protocol: UDP}, {name: b, containerPort: 82}]\nlivenessProbe: {httpGet: {port: 81}}",
        &[(
            9,
            "probe-port-not-declared",
            "TCP port 81 (it declares 81/UDP, b 82)",
        )],
    );
    in_container(
        "livenessProbe: {httpGet: {port: web}}",
        &[(
            8,
            "probe-port-name-missing",
            "c has no port named \"web\" (it declares none): every attempt errs, and the container is never restarted",
        )],
    );
    in_container(
        "readinessProbe: {httpGet: {port: 80, host: localhost}}",
        &[(8, "probe-host-set", "localhost is the node")],
    );
    in_container(
        "readinessProbe: {tcpSocket: {port: 80, host: db.example}}",
        &[(8, "probe-host-set", "the node asks db.example")],
    );
    in_container("readinessProbe: {tcpSocket: {port: 80}}", &[]);
    in_container(
        "livenessProbe: {tcpSocket: {port: 80}}",
        &[(8, "liveness-tcp-only", "the kernel accepts")],
    );
}

#[test]
fn a_port_of_another_container_will_do() {
    let other = "- name: d\n  image: i\n  ports: [{containerPort: 90}]\n".replace('\n', "\n  ");
    let text = pod(
        "",
        "ports: [{containerPort: 80}]\nreadinessProbe: {httpGet: {port: 90}}",
    );
    found(&format!("{text}  {other}\n"), &[]);
}

#[test]
fn stops() {
    let probe = "livenessProbe:\n  httpGet: {port: 1}\n  terminationGracePeriodSeconds: 5";
    found(&pod("", probe), &[]);
    found(
        &pod("restartPolicy: Never", probe),
        &[(
            11,
            "probe-grace-ignored",
            "within its own 30 s and not within 5 s",
        )],
    );
    found(
        &pod("restartPolicy: OnFailure", probe),
        &[(9, "on-failure-exit-zero", "never started again")],
    );
    let facts = |spec: &str| {
        report(&pod(spec, probe)).probes[0]
            .stops_within
            .unwrap()
            .as_secs()
    };
    assert_eq!((facts(""), facts("restartPolicy: Never")), (5, 30));
    let with = |hook: &str| {
        let spec = format!("{probe}\nlifecycle: {{preStop: {hook}}}");
        report(&pod("", &spec)).probes[0]
            .stops_within
            .unwrap()
            .as_secs()
    };
    assert_eq!(with("{exec: {command: [a]}}"), 7);
    assert_eq!(
        [1, 3, 4, 5, 6].map(|n| with(&format!("{{sleep: {{seconds: {n}}}}}"))),
        [5, 5, 6, 7, 7]
    );
    let short = probe.replace("Seconds: 5", "Seconds: 1");
    assert_eq!(
        report(&pod("", &short)).probes[0]
            .stops_within
            .unwrap()
            .as_secs(),
        2
    );
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {}}
spec:
  replicas: 4
  progressDeadlineSeconds: 50
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: i
        ports: [{name: http, containerPort: 80}]
        startupProbe: {httpGet: {port: http}, failureThreshold: 5}
        readinessProbe: {httpGet: {port: http}}
";

#[test]
fn deployments() {
    found(DEPLOYMENT, &[]);
    found(
        &DEPLOYMENT.replace("failureThreshold: 5", "failureThreshold: 6"),
        &[(
            7,
            "progress-deadline-too-short",
            "container web may take 60 s to start, but the rollout is called failed after 50 s",
        )],
    );
    found(
        &DEPLOYMENT.replace(
            "progressDeadlineSeconds: 50",
            "progressDeadlineSeconds: 600",
        ),
        &[],
    );
    let by_default = |failures: &str| {
        let deadline = "  progressDeadlineSeconds: 50\n";
        DEPLOYMENT
            .replace(deadline, "")
            .replace("failureThreshold: 5", failures)
    };
    found(&by_default("failureThreshold: 60"), &[]);
    found(
        &by_default("failureThreshold: 61"),
        &[(
            5,
            "progress-deadline-too-short",
            "container web may take 610 s to start, but the rollout is called failed after 600 s",
        )],
    );
    let report = report(DEPLOYMENT);
    assert!(
        (report.load().attempts - 0.4).abs() < 1e-9,
        "4 Pods, every 10 s: {:?}",
        report.load()
    );
    assert_eq!(
        report.probes[1].object.to_string(),
        "Deployment default/web"
    );
}

#[test]
fn services() {
    let service = |target: &str, selector: &str| {
        format!(
            "{DEPLOYMENT}---\napiVersion: v1\nkind: Service\nmetadata: {{name: s}}\nspec:\n  selector: {{app: {selector}}}\n  ports: [{{port: 1, targetPort: {target}}}]\n"
        )
    };
    found(&service("http", "web"), &[]);
    found(&service("htp", "other"), &[]);
    found(
        &service("htp", "web"),
        &[(
            24,
            "service-target-port-missing",
            "no TCP port is named \"htp\" in Deployment default/web: port 1 has no endpoint",
        )],
    );
    let unready = service("http", "web").replace("readinessProbe", "livenessProbe");
    found(
        &unready,
        &[(
            23,
            "service-without-readiness",
            "no readiness probe in Deployment default/web",
        )],
    );
    found(
        &unready.replace(
            "selector: {app: web}\n  ports",
            "publishNotReadyAddresses: true\n  selector: {app: web}\n  ports",
        ),
        &[],
    );
}

#[test]
fn fields_that_up_does_not_carry_out_are_one_finding_an_object() {
    in_container(
        "resources: {claims: [{name: a}]}\nvolumeDevices: [{name: a, devicePath: /a}]",
        &[(
            8,
            "not-carried-out",
            "does not carry out spec.containers[0].resources.claims, spec.containers[0].volumeDevices",
        )],
    );
}

#[test]
fn lints_are_allowed_by_an_annotation_of_the_object_or_of_its_template() {
    let text = DEPLOYMENT.replace("readinessProbe: {httpGet", "livenessProbe: {tcpSocket");
    found(&text, &[(17, "liveness-tcp-only", "")]);
    let annotation =
        "annotations: {check.probelet.dev/ignore: 'on-failure-exit-zero , liveness-tcp-only'}";
    found(&text.replace("annotations: {}", annotation), &[]);
    found(
        &text.replace(
            "metadata: {labels: {app: web}}",
            &format!("metadata: {{labels: {{app: web}}, {annotation}}}"),
        ),
        &[],
    );
    found(
        &text.replace(
            "annotations: {}",
            "annotations: {check.probelet.dev/ignore: liveness-tcp}",
        ),
        &[
            (4, "unknown-ignore", "\"liveness-tcp\""),
            (17, "liveness-tcp-only", ""),
        ],
    );
}

#[test]
fn every_lint_has_a_test_here() {
    let source = include_str!("tests.rs");
    for lint in LINTS {
        assert!(source.contains(&format!("\"{}\"", lint.id)), "{}", lint.id);
    }
}
