//! No text does harm, and no place is made up.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Lines that often come near a manifest.
const LINES: &[&str] = &[
    "apiVersion: v1",
    "kind: Pod",
    "kind: Service",
    "kind: List",
    "kind: Deployment",
    "apiVersion: apps/v1",
    "template: {metadata: {labels: {a: b}}, spec: {}}",
    "selector: {matchLabels: {a: b}}",
    "items:",
    "metadata: {name: a}",
    "metadata:",
    "name: a",
    "spec:",
    "spec: {}",
    "containers:",
    "initContainers:",
    "restartPolicy: Always",
    "restartPolicyRules: [{action: Restart}]",
    "lifecycle: {postStart: {sleep: {seconds: 1}}}",
    "grpc: {port: 1}",
    "annotations: {liveness.probe.probelet.dev/main: periodMilliseconds=20}",
    "- name: a",
    "- a",
    "command: [a]",
    "ports: [{port: 1}]",
    "livenessProbe:",
    "exec: {command: [a]}",
    "exec:",
    "httpGet: {port: 80}",
    "periodSeconds: -1",
    "a: &a [1]",
    "b: *a",
    "<<: *a",
    "? a",
    "---",
    "...",
    "securityContext: {sysctls: [{name: a/b.c}]}",
    "resources: {limits: {cpu: 1, a/b: 1}}",
    "dnsConfig: {nameservers: [1.1.1.1], searches: [_]}",
    "image: a:b@c",
    "volumes: [{name: v, hostPath: {path: /}}]",
    "runtimeClassName: host",
    "'",
    "\"",
    "|",
    "- - -",
    "{",
    "]",
    "\t",
    "!!binary x",
    "%YAML 1.1",
    "a: 1e400",
    "5: 5",
    "~:",
    "[a]: b",
];

fn text() -> impl Strategy<Value = String> {
    let line = (0..6_usize, select(LINES))
        .prop_map(|(depth, line)| format!("{:1$}{line}\n", "", depth * 2));
    prop_oneof![
        3 => prop::collection::vec(line, 0..20).prop_map(|lines| lines.concat()),
        1 => any::<String>(),
        1 => "[-:{}\\[\\]&*!|>'\"%@`#, \n\ta-c0-2~<?]{0,60}",
    ]
}

fn check_places(text: &str) {
    let Err(Diagnostics(errors)) = load_text(text) else {
        return;
    };
    assert!(!errors.is_empty());
    // YAML ends lines at a carriage return too.
    let lines = text.replace("\r\n", "\n").split(['\n', '\r']).count();
    for error in errors {
        if let Some(Position { line, column }) = error.position {
            assert!(
                line >= 1 && column >= 1 && usize::try_from(line).unwrap() <= lines.max(1),
                "{error}\n{text:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics_and_every_place_exists(text in text()) {
        check_places(&text);
        let source = Source::Text { name: "t".to_owned(), text: text.clone() };
        let survey = survey::survey(&[source]);
        prop_assert_eq!(survey.texts.get("t"), Some(&text));
        prop_assert!(survey.errors.iter().all(|error| error.position.is_none_or(|at| at.line >= 1)));
    }

    #[test]
    fn a_damaged_pod_is_read_or_refused(at in 0..1200_usize, damage in select(LINES), replaced in 0..20_usize) {
        let mut text = PodText {
            metadata: "labels: {app: web}",
            spec: "dnsConfig: {searches: [a_b.c.], options: [{name: ndots, value: '2'}]}\nhostAliases: [{ip: '::1', hostnames: [a]}]\n\
                   securityContext: {fsGroup: 5, sysctls: [{name: net/ipv4/tcp_syncookies, value: '1'}], supplementalGroups: [1]}\n\
                   volumes:\n- name: v\n  emptyDir: {sizeLimit: 1Mi}\ninitContainers:\n\
                   - {name: i, command: [a], restartPolicy: Always, startupProbe: {grpc: {port: 1}}}",
            container: "image: a:b\nresources: {limits: {cpu: 100m, memory: 1Gi}}\n\
                        securityContext: {capabilities: {add: [BPF]}, seccompProfile: {type: Localhost, localhostProfile: a/b}}\n\
                        ports: [{containerPort: 80, hostPort: 8080, hostIP: 127.0.0.1}]\n\
                        volumeMounts: [{name: v, mountPath: /v, subPathExpr: $(A)/b}]\nenv: [{name: A, value: b}]\nreadinessProbe:\n  httpGet:\n    port: http\n    httpHeaders: [{name: A, value: b}]",
        }
        .yaml();
        let at = at.min(text.len());
        let end = (at + replaced).min(text.len());
        text.replace_range(at..end, damage);
        check_places(&text);
        if let Ok(loaded) = load_text(&text) {
            for object in loaded.objects {
                let again = match &object.object {
                    Object::Pod(_) => crate::pod::Pod::from_value(&object.value).map(|pod| Object::Pod(Box::new(pod))),
                    Object::Service(_) => crate::service::Service::from_value(&object.value).map(Object::Service),
                    Object::Other => Ok(Object::Other),
                };
                prop_assert_eq!(again.unwrap(), object.object);
                let admitted = decode::admit(object.key.kind, object.value.clone(), &Options::default());
                prop_assert_eq!(admitted.unwrap().value, object.value);
            }
        }
    }
}
