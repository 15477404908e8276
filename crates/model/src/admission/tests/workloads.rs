//! ReplicaSets and Deployments.

use std::time::Duration;

use super::*;
use crate::workload::{Deployment, ReplicaSet, Share, Strategy};

#[test]
fn workloads_are_defaulted() {
    let deployment = created(Kind::Deployment, example(Kind::Deployment));
    let spec = &deployment["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Always");
    assert_eq!(pod["containers"][0]["terminationMessagePolicy"], "File");
    // The class of the command line is the pods' matter.
    assert_eq!(pod.get("runtimeClassName"), None);
    let metadata = &spec["template"]["metadata"];
    assert_eq!(metadata, &json!({"labels": {"app": "web"}}));

    let zero = json!({"spec": {
        "replicas": 0, "revisionHistoryLimit": 0, "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    }});
    let mut value = example(Kind::Deployment);
    merge(&mut value, &zero);
    let spec = &created(Kind::Deployment, value)["spec"];
    assert_eq!(spec["replicas"], 0);
    assert_eq!(spec["revisionHistoryLimit"], 0);
    let bounds = json!({"maxSurge": 1, "maxUnavailable": 0});
    assert_eq!(spec["strategy"]["rollingUpdate"], bounds);

    let set = created(Kind::ReplicaSet, example(Kind::ReplicaSet));
    assert_eq!(set["spec"]["replicas"], 1);
    assert_eq!(set["spec"].get("strategy"), None);
}

#[test]
fn a_replica_set_is_validated() {
    let kind = Kind::ReplicaSet;
    let labels = "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template \
                  `labels`";
    for (spec, expected) in [
        (json!({"replicas": 0}), &[][..]),
        (
            json!({"replicas": -1, "minReadySeconds": -1}),
            &[
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
            ],
        ),
        (
            json!({"selector": null}),
            &["spec.selector: Required value"],
        ),
        (
            json!({"selector": {"matchLabels": null}}),
            &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
        ),
        (
            json!({"selector": {"matchLabels": {"app": "other"}}}),
            &[labels],
        ),
        (
            json!({"template": null}),
            &["spec.template: Required value"],
        ),
        (
            json!({"template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 5}}}),
            &[
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not \
                 Supported",
            ],
        ),
        // The pods are read as pods are.
        (
            json!({"template": {"metadata": {"name": "-", "generateName": "-"}, "spec": {
                "hostUsers": false, "containers": [{"name": "A", "commnd": [], "command": 5}],
            }}}),
            &[
                "spec.template.spec.containers[0].command: expected a list, got 5",
                "unknown field \"spec.template.spec.containers[0].commnd\", did you mean \"command\"?",
                "spec.template.spec.hostUsers: false is not carried out yet",
                "spec.template.spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist \
                 of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character \
                 (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            ],
        ),
        (json!({"replica": 5}), &["unknown field \"spec.replica\""]),
        (
            json!({"template": 5}),
            &["spec.template: expected an object, got 5"],
        ),
    ] {
        refused(kind, &json!({"spec": spec}), expected);
    }
    // Without a class of its own, nor one of the command line, its pods run images.
    let errors = create(kind, example(kind), &Options::default()).unwrap_err();
    assert_eq!(errors.len(), 1);
    let error = errors[0].to_string();
    assert_eq!(
        error,
        "spec.template.spec.containers[0].image: Required value"
    );
}

#[test]
fn selectors_are_validated() {
    let of = |operator: &str, values: Value| {
        json!({"spec": {"selector": {"matchExpressions": [
            {"key": "app", "operator": operator, "values": values},
        ]}}})
    };
    let path = "spec.selector.matchExpressions[0]";
    let refused = |change: &Value, expected: &[String]| {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        let errors = {
            let mut value = example(Kind::ReplicaSet);
            merge(&mut value, change);
            create(Kind::ReplicaSet, value, &options())
        };
        let errors = errors.err().unwrap_or_default();
        let errors: Vec<String> = errors
            .iter()
            .map(FieldError::to_string)
            .filter(|error| !error.ends_with(": invalid label selector"))
            .collect();
        assert_eq!(errors, expected, "{change}");
    };
    refused(&of("In", json!(["web"])), &[]);
    refused(&of("Exists", json!([])), &[]);
    refused(
        &of("NotIn", json!([])),
        &[format!(
            "{path}.values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
        )],
    );
    refused(
        &of("DoesNotExist", json!(["a"])),
        &[format!(
            "{path}.values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        )],
    );
    refused(
        &of("Like", json!(["a"])),
        &[format!(
            "{path}.operator: Invalid value: \"Like\": not a valid selector operator"
        )],
    );
    refused(
        &json!({"spec": {"selector": {"matchLabels": {"/": "web"}}}}),
        &[
            "prefix part must be non-empty",
            "name part must be non-empty",
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
             alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
             '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ]
        .map(|detail| format!("spec.selector.matchLabels: Invalid value: \"/\": {detail}"))
        .into_iter()
        .chain(["spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template \
                 `labels`"
            .to_owned()])
        .collect::<Vec<_>>(),
    );
}

#[test]
fn a_deployment_is_validated() {
    let kind = Kind::Deployment;
    let update = |update: Value| json!({"strategy": {"rollingUpdate": update}});
    let path = "spec.strategy.rollingUpdate";
    let percent = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', \
                   regex used for validation is '[0-9]+%')";
    for (spec, expected) in [
        (json!({"strategy": {"type": "Recreate"}}), vec![]),
        (
            json!({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}),
            vec![format!(
                "{path}: Forbidden: may not be specified when strategy `type` is 'Recreate'"
            )],
        ),
        (
            json!({"strategy": {"type": "Slowly"}}),
            vec![
                "spec.strategy.type: Unsupported value: \"Slowly\": supported values: \"Recreate\", \
                 \"RollingUpdate\""
                    .to_owned(),
            ],
        ),
        (update(json!({"maxSurge": 0, "maxUnavailable": 1})), vec![]),
        (
            update(json!({"maxSurge": "0%", "maxUnavailable": 0})),
            vec![format!(
                "{path}.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"
            )],
        ),
        (
            update(json!({"maxSurge": "half", "maxUnavailable": "101%"})),
            vec![
                format!("{path}.maxSurge: Invalid value: \"half\": {percent}"),
                format!(
                    "{path}.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"
                ),
            ],
        ),
        (
            update(json!({"maxSurge": -1})),
            vec![format!(
                "{path}.maxSurge: Invalid value: -1: must be greater than or equal to 0"
            )],
        ),
        (
            json!({"minReadySeconds": 600}),
            vec![
                "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"
                    .to_owned(),
            ],
        ),
        (
            json!({"revisionHistoryLimit": -1}),
            vec![
                "spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0"
                    .to_owned(),
            ],
        ),
        (
            json!({"selector": null}),
            vec!["spec.selector: Required value".to_owned()],
        ),
    ] {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        refused(kind, &json!({"spec": spec}), &expected);
    }
    let nothing = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}});
    let errors = create(kind, nothing, &options()).unwrap_err();
    let errors: Vec<String> = errors.iter().map(FieldError::to_string).collect();
    assert_eq!(
        errors,
        [
            "spec.selector: Required value",
            "spec.template: Required value"
        ]
    );
}

#[test]
fn workloads_are_read() {
    let mut value = stored(Kind::Deployment);
    merge(
        &mut value,
        &json!({"spec": {"paused": true, "minReadySeconds": 3, "template": {"metadata": {"annotations": {"a": "b"}}}}}),
    );
    let deployment = Deployment::from_value(&value).unwrap();
    assert_eq!(deployment.uid, "u-1");
    assert_eq!(deployment.meta.name, "web");
    assert_eq!((deployment.replicas, deployment.paused), (1, true));
    assert_eq!(deployment.min_ready, Duration::from_secs(3));
    assert_eq!(deployment.progress_deadline, Some(Duration::from_secs(600)));
    assert_eq!(deployment.revision_history_limit, 10);
    assert_eq!(
        deployment.strategy,
        Strategy::RollingUpdate {
            max_surge: Share::Percent(25),
            max_unavailable: Share::Percent(25),
        }
    );
    assert_eq!(deployment.template.value, value["spec"]["template"]);
    assert_eq!(deployment.template.annotations["a"], "b");
    let labels = &deployment.template.labels;
    assert!(
        deployment
            .selector
            .matches(|key| labels.get(key).map(String::as_str))
    );
    value["spec"]["progressDeadlineSeconds"] = json!(i32::MAX);
    let deployment = Deployment::from_value(&value).unwrap();
    assert_eq!(deployment.progress_deadline, None);

    let value = stored(Kind::ReplicaSet);
    let set = ReplicaSet::from_value(&value).unwrap();
    assert_eq!((set.replicas, set.min_ready), (1, Duration::ZERO));
    assert_eq!(set.template.value, value["spec"]["template"]);
    let errors = ReplicaSet::from_value(&json!({})).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
}
