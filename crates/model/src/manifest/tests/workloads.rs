//! The kinds that make Pods of a template: what is wrong with them beside it, and what they add to it.

use super::*;
use crate::manifest::survey::{Survey, survey};
use crate::pod::VolumeSource;

/// A workload with one container; `spec` goes beside the template, `pod` into the template's spec.
fn workload(version: &str, kind: &str, spec: &str, pod: &str) -> String {
    let template = format!(
        "template:\n  metadata: {{labels: {{app: web}}}}\n  spec:\n    runtimeClassName: host\n{}    \
         containers: [{{name: main, command: [a]}}]\n",
        indented(pod, 4)
    );
    let spec = format!("{}{template}", indented(spec, 0));
    let spec = if kind == "CronJob" {
        format!(
            "schedule: '* * * * *'\njobTemplate:\n  spec:\n{}",
            indented(&spec, 4)
        )
    } else {
        spec
    };
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: web}}\nspec:\n{}",
        indented(&spec, 2)
    )
}

fn surveyed(text: &str) -> Survey {
    survey(&[Source::Text {
        name: "t".to_owned(),
        text: text.to_owned(),
    }])
}

/// The errors without their places; without any there is a subject.
#[track_caller]
fn check_survey(text: &str, expected: &[&str]) {
    let survey = surveyed(text);
    let errors = survey.errors.iter().map(|error| error.error.to_string());
    assert_eq!(errors.collect::<Vec<_>>(), expected, "\n{text}");
    assert_eq!(
        survey.subjects.len(),
        usize::from(expected.is_empty()),
        "\n{text}"
    );
}

const WEB: &str = "selector: {matchLabels: {app: web}}";

#[test]
fn a_selector_is_there_and_selects_its_own_template() {
    let mismatch = "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`";
    for kind in ["DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"] {
        let named = match kind {
            "ReplicaSet" => "deployment".to_owned(),
            kind => kind.to_lowercase(),
        };
        let empty =
            format!("spec.selector: Invalid value: {{}}: empty selector is invalid for {named}");
        for (selector, expected) in [
            (WEB, None),
            ("selector: {matchLabels: {app: other}}", Some(mismatch)),
            (
                "selector: {matchLabels: {app: web, tier: a}}",
                Some(mismatch),
            ),
            ("selector: {}", Some(&*empty)),
        ] {
            let text = workload("apps/v1", kind, selector, "");
            check_survey(&text, &Vec::from_iter(expected));
        }
    }
    for (selector, expected) in [
        ("selector: {app: web}", None),
        // It then is what the template's labels are.
        ("", None),
        ("selector: {}", None),
        ("selector: {app: other}", Some(mismatch)),
    ] {
        let text = workload("v1", "ReplicationController", selector, "");
        check_survey(&text, &Vec::from_iter(expected));
    }
    check_survey(
        &workload("v1", "ReplicationController", "", "").replace("{app: web}", "{}"),
        &["spec.selector: Required value"],
    );
    for kind in ["CronJob", "Job"] {
        check_survey(&workload("batch/v1", kind, "", "restartPolicy: Never"), &[]);
    }
}

#[test]
fn a_selectors_expressions_all_hold() {
    for (rules, holds) in [
        ("{key: app, operator: In, values: [a, web]}", true),
        ("{key: app, operator: In, values: [a]}", false),
        ("{key: none, operator: In, values: [web]}", false),
        ("{key: app, operator: NotIn, values: [a]}", true),
        ("{key: app, operator: NotIn, values: [web]}", false),
        ("{key: none, operator: NotIn, values: [web]}", true),
        ("{key: app, operator: Exists}", true),
        ("{key: none, operator: Exists}", false),
        ("{key: app, operator: DoesNotExist}", false),
        ("{key: none, operator: DoesNotExist}", true),
        (
            "{key: app, operator: Exists}, {key: none, operator: Exists}",
            false,
        ),
    ] {
        let selector = format!("selector: {{matchExpressions: [{rules}]}}");
        let survey = surveyed(&workload("apps/v1", "Deployment", &selector, ""));
        assert_eq!(
            survey.subjects.len() == 1,
            holds,
            "{rules}: {:?}",
            survey.errors
        );
    }
}

#[test]
fn counts_are_not_negative() {
    for (version, kind, spec, pod, counts) in [
        (
            "apps/v1",
            "Deployment",
            WEB,
            "",
            &["minReadySeconds", "replicas", "revisionHistoryLimit"][..],
        ),
        (
            "batch/v1",
            "Job",
            "",
            "restartPolicy: Never",
            &["backoffLimit", "completions", "parallelism"],
        ),
    ] {
        for count in counts {
            check_survey(
                &workload(version, kind, &format!("{spec}\n{count}: 0"), pod),
                &[],
            );
            check_survey(
                &workload(version, kind, &format!("{spec}\n{count}: -1"), pod),
                &[&format!(
                    "spec.{count}: Invalid value: -1: must be greater than or equal to 0"
                )],
            );
        }
    }
}

#[test]
fn a_template_ends_as_its_kind_has_it() {
    let controllers = [
        (
            "apps/v1",
            "DaemonSet",
            "Forbidden: activeDeadlineSeconds in DaemonSet is not Supported",
        ),
        (
            "apps/v1",
            "Deployment",
            "Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
        ),
        (
            "apps/v1",
            "ReplicaSet",
            "Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
        ),
        (
            "apps/v1",
            "StatefulSet",
            "Forbidden: activeDeadlineSeconds in StatefulSet is not Supported",
        ),
        (
            "v1",
            "ReplicationController",
            "Forbidden: activeDeadlineSeconds in ReplicationController is not Supported",
        ),
    ];
    let spec = "spec.template.spec";
    for (version, kind, deadline) in controllers {
        let selector = if version == "v1" { "" } else { WEB };
        for policy in ["OnFailure", "Never"] {
            check_survey(
                &workload(version, kind, selector, &format!("restartPolicy: {policy}")),
                &[&format!(
                    "{spec}.restartPolicy: Unsupported value: \"{policy}\": supported values: \"Always\""
                )],
            );
        }
        check_survey(
            &workload(version, kind, selector, "restartPolicy: Always"),
            &[],
        );
        check_survey(
            &workload(version, kind, selector, "activeDeadlineSeconds: 5"),
            &[&format!("{spec}.activeDeadlineSeconds: {deadline}")],
        );
    }
    for (kind, spec) in [
        ("Job", spec),
        ("CronJob", "spec.jobTemplate.spec.template.spec"),
    ] {
        let required =
            format!("{spec}.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"");
        for (pod, expected) in [
            ("", Some(&*required)),
            ("restartPolicy: Always", Some(&*required)),
            ("restartPolicy: OnFailure", None),
            ("restartPolicy: Never\nactiveDeadlineSeconds: 5", None),
        ] {
            check_survey(
                &workload("batch/v1", kind, "", pod),
                &Vec::from_iter(expected),
            );
        }
    }
}

#[test]
fn a_stateful_sets_claims_are_volumes_of_its_pods() {
    let claims = format!("{WEB}\nvolumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{}}}}]");
    let mount =
        "containers: [{name: main, command: [a], volumeMounts: [{name: data, mountPath: /d}]}]";
    let with = |kind: &str, pod: &str| {
        let text = workload("apps/v1", kind, &claims, pod);
        text.replace("containers: [{name: main, command: [a]}]", mount)
    };
    let host_path =
        "volumes: [{name: data, hostPath: {path: /a}}, {name: other, hostPath: {path: /b}}]";
    for (pod, expected) in [
        ("", &["data"][..]),
        ("volumes:", &["data"]),
        (host_path, &["other", "data"]),
    ] {
        let text = with("StatefulSet", pod);
        let survey = surveyed(&text);
        let [subject] = &survey.subjects[..] else {
            panic!("{:?}\n{text}", survey.errors);
        };
        let Object::Pod(pod) = &subject.object else {
            panic!("{:?}", subject.object);
        };
        let names: Vec<&str> = pod
            .volumes
            .iter()
            .map(|volume| volume.name.as_str())
            .collect();
        assert_eq!(names, expected, "\n{text}");
        let claimed = &pod.volumes.last().unwrap().source;
        assert!(
            matches!(claimed, VolumeSource::EmptyDir { .. }),
            "{claimed:?}"
        );
    }
    let unclaimed = with("StatefulSet", "").replace("name: data}, spec", "name: datas}, spec");
    check_survey(
        &unclaimed,
        &["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""],
    );
}
