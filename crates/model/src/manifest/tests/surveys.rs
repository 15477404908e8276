//! What may be meant for a cluster: templates, owners, and what is left alone.

use super::*;
use crate::manifest::survey::{Subject, Survey, survey};

fn survey_text(text: &str) -> Survey {
    survey(&[Source::Text {
        name: "t".to_owned(),
        text: text.to_owned(),
    }])
}

/// Each error of `text` with its place.
#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let errors: Vec<String> = survey_text(text)
        .errors
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(errors, expected, "\n{text}");
}

#[track_caller]
fn one(text: &str) -> Subject {
    let mut survey = survey_text(text);
    assert_eq!(survey.errors, [], "\n{text}");
    assert_eq!(survey.subjects.len(), 1);
    survey.subjects.remove(0)
}

const CONTAINERS: &str = "      containers:\n      - name: web\n        image: nginx\n";

/// An object of `apps/v1` with a selector that fits; `spec` and `pod` are more lines.
fn app(kind: &str, spec: &str, pod: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: web, namespace: prod}}\nspec:\n{}  selector: {{matchLabels: \
         {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n{}{CONTAINERS}",
        indented(spec, 2),
        indented(pod, 6),
    )
}

fn job(pod: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: web}}\nspec:\n  template:\n    spec:\n{}{CONTAINERS}",
        indented(pod, 6)
    )
}

#[test]
fn every_kind_that_makes_pods_is_read() {
    for (kind, replicas) in [
        ("Deployment", Some(1)),
        ("StatefulSet", Some(1)),
        ("ReplicaSet", Some(1)),
        ("DaemonSet", None),
    ] {
        let subject = one(&app(kind, "", ""));
        assert_eq!(subject.owner.to_string(), format!("{kind} prod/web"));
        assert_eq!(subject.replicas, replicas);
        let path = subject.path(&FieldPath::root().field("spec").field("containers").index(0));
        assert_eq!(path.to_string(), "spec.template.spec.containers[0]");
        assert_eq!(
            subject.locate(&path.field("image")),
            Position {
                line: 11,
                column: 16
            }
        );
        let Object::Pod(pod) = &subject.object else {
            panic!("{:?}", subject.object);
        };
        assert_eq!(
            (pod.meta.namespace.as_str(), pod.meta.labels["app"].as_str()),
            ("prod", "web")
        );
    }
    assert_eq!(one(&app("Deployment", "replicas: 7", "")).replicas, Some(7));

    let job = job("restartPolicy: Never");
    assert_eq!(one(&job).replicas, Some(1));
    let cron = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: web}\nspec:\n  schedule: '* * * * *'\n  \
                jobTemplate:\n    spec:\n      parallelism: 2\n      template:\n        spec:\n          restartPolicy: \
                Never\n          containers: [{name: web, image: nginx}]\n";
    let subject = one(cron);
    assert_eq!(subject.replicas, Some(2));
    let path = subject.path(&FieldPath::root().field("spec"));
    assert_eq!(path.to_string(), "spec.jobTemplate.spec.template.spec");

    let controller = app("ReplicationController", "", "")
        .replace("apps/v1", "v1")
        .replace("{matchLabels: {app: web}}", "{app: web}");
    assert_eq!(one(&controller).owner.kind, "ReplicationController");
}

#[test]
fn a_template_has_to_be_what_its_owner_needs() {
    for kind in ["Deployment", "StatefulSet", "ReplicaSet", "DaemonSet"] {
        refused(
            &app(kind, "", "restartPolicy: Never"),
            &[
                "t:9:22: spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ],
        );
        refused(
            &app(kind, "", "").replace("labels: {app: web}", "labels: {app: other}"),
            &[
                "t:7:24: spec.template.metadata.labels: Invalid value: {\"app\":\"other\"}: `selector` does not match template `labels`",
            ],
        );
        refused(
            &app(kind, "", "").replace("  selector: {matchLabels: {app: web}}\n", ""),
            &["t:4:1: spec.selector: Required value"],
        );
    }
    refused(
        &app("Deployment", "replicas: -1", "activeDeadlineSeconds: 5"),
        &[
            "t:5:13: spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "t:10:30: spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
        ],
    );
    refused(
        &app("StatefulSet", "", "activeDeadlineSeconds: 5"),
        &[
            "t:9:30: spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported",
        ],
    );
    for pod in ["", "restartPolicy: Always"] {
        let errors = survey_text(&job(pod)).errors;
        let messages: Vec<&str> = errors
            .iter()
            .map(|one| one.error.message.as_str())
            .collect();
        assert_eq!(
            messages,
            ["Required value: valid values: \"OnFailure\", \"Never\""]
        );
    }
    refused(&job("restartPolicy: OnFailure"), &[]);
    refused(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {selector: {matchLabels: {a: b}}}\n",
        &["t:4:7: spec.template: Required value"],
    );
}

#[test]
fn selectors_select_by_expressions_too() {
    let with = |rule: &str| {
        app("Deployment", "", "").replace(
            "{matchLabels: {app: web}}",
            &format!("{{matchExpressions: [{{key: app, {rule}}}]}}"),
        )
    };
    for (rule, fits) in [
        ("operator: In, values: [web, api]", true),
        ("operator: In, values: [api]", false),
        ("operator: NotIn, values: [api]", true),
        ("operator: NotIn, values: [web]", false),
        ("operator: Exists", true),
        ("operator: DoesNotExist", false),
    ] {
        assert_eq!(survey_text(&with(rule)).errors.is_empty(), fits, "{rule}");
    }
}

#[test]
fn what_is_wrong_in_a_template_is_told_with_its_path_and_place() {
    let probe =
        "        livenessProbe:\n          tcpSocket: {port: 0}\n          periodSecond: 5\n";
    refused(
        &format!("{}{probe}", app("Deployment", "", "")),
        &[
            "t:14:25: unknown field \"spec.template.spec.containers[0].livenessProbe.periodSecond\", did you mean \"periodSeconds\"?",
            "t:13:29: spec.template.spec.containers[0].livenessProbe.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ],
    );
    refused(
        &app("Deployment", "replica: 5\nminReadySeconds: a", ""),
        &[
            "t:6:20: spec.minReadySeconds: expected an integer, got \"a\"",
            "t:5:12: unknown field \"spec.replica\"",
        ],
    );
    refused(
        &app("Deployment", "", "").replace(
            "        image: nginx\n",
            "        image: nginx\n        command: 5\n",
        ),
        &["t:12:18: spec.template.spec.containers[0].command: expected a list, got 5"],
    );
}

#[test]
fn what_a_cluster_carries_out_is_not_refused_but_named() {
    let pod = "runtimeClassName: gvisor\nvolumes: [{name: v, nfs: {server: a, path: /}}]\nhostUsers: false";
    let text = app("Deployment", "", pod);
    let container = "        resources: {limits: {ephemeral-storage: 1Gi}}\n        volumeMounts: [{name: v, mountPath: /v}]\n";
    let subject = one(&format!("{text}{container}"));
    let named: Vec<String> = subject
        .not_carried_out
        .iter()
        .map(|one| one.path.to_string())
        .collect();
    assert_eq!(
        named,
        [
            "spec.template.spec.containers[0].resources.limits[ephemeral-storage]",
            "spec.template.spec.hostUsers",
            "spec.template.spec.volumes[0].nfs",
        ]
    );
}

#[test]
fn claims_of_a_stateful_set_are_volumes_of_its_pods() {
    let mount = "        volumeMounts: [{name: data, mountPath: /data}]\n";
    let claims = "volumeClaimTemplates: [{metadata: {name: data}, spec: {}}]";
    assert_eq!(
        one(&format!("{}{mount}", app("StatefulSet", claims, ""))).not_carried_out,
        []
    );
    refused(
        &format!("{}{mount}", app("StatefulSet", "", "")),
        &["t:12:31: spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""],
    );
}

#[test]
fn other_kinds_are_counted_and_those_that_cannot_be_are_errors() {
    let survey = survey_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\n---\n\
         apiVersion: example.com/v1\nkind: Deployment\n",
    );
    assert_eq!(survey.errors, []);
    let skipped: Vec<(&str, usize)> = survey
        .skipped
        .iter()
        .map(|(kind, count)| (kind.as_str(), *count))
        .collect();
    assert_eq!(
        skipped,
        [("ConfigMap", 2), ("Deployment", 1), ("Ingress", 1)]
    );
    refused(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a b: c}\n",
        &[
            "t:4:13: data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric \
             characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for \
             validation is '[-._a-zA-Z0-9]+')",
        ],
    );
    refused(
        "apiVersion: apps/v1\nkind: Deploymnet\n---\napiVersion: extensions/v1beta1\nkind: Deployment\n",
        &[
            "t:2:7: no matches for kind \"Deploymnet\" in version \"apps/v1\"",
            "t:5:7: no matches for kind \"Deployment\" in version \"extensions/v1beta1\"",
        ],
    );
}

#[test]
fn what_is_written_is_told_from_what_is_a_default() {
    let text = app("Deployment", "", "")
        + "        livenessProbe: {tcpSocket: {port: 80}, periodSeconds: 10, timeoutSeconds: }\n";
    let subject = one(&text);
    let probe = subject.path(
        &FieldPath::root()
            .field("spec")
            .field("containers")
            .index(0)
            .field("livenessProbe"),
    );
    assert_eq!(
        subject.written(&probe.field("periodSeconds")),
        Some(&10.into())
    );
    assert_eq!(subject.written(&probe.field("timeoutSeconds")), None);
    assert_eq!(subject.written(&probe.field("failureThreshold")), None);
}
