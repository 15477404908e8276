//! Revisions: the annotations by which ReplicaSets remember what they were for.

use serde_json::Value;

use super::sets::Set;
use super::spec::Spec;
use crate::object;

/// Of a ReplicaSet, and of the Deployment: the number of its template.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// The numbers it had before, with commas.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The Deployment's size when it was last scaled.
pub(super) const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The same with the surge.
pub(super) const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// The Deployment's annotations that its ReplicaSets do not get.
///
/// Upstream: pkg/controller/deployment/util/deployment_util.go, annotationsToSkip.
/// Shown by: annotations_are_copied_and_revisions_remembered.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];
/// The longest history.
///
/// Upstream: pkg/controller/deployment/sync.go, maxRevHistoryLengthInChars.
/// Shown by: a_history_forgets_its_oldest.
const LONGEST_HISTORY: usize = 2000;

/// The number of a ReplicaSet; zero without one, `None` if it cannot be read.
pub(super) fn of(set: &Value) -> Option<i64> {
    object::annotation(set, REVISION).map_or(Some(0), |text| text.parse().ok())
}

/// The number that comes after those of `old`.
///
/// Upstream: pkg/controller/deployment/util/deployment_util.go, MaxRevision.
/// Shown by: undo_gives_an_old_replica_set_a_new_revision.
pub(super) fn next<'a>(old: impl Iterator<Item = &'a Set>) -> i64 {
    old.filter_map(|set| of(&set.value)).max().unwrap_or(0) + 1
}

/// Gives a ReplicaSet the Deployment's annotations, and the number `next` if its own is smaller, which then goes
/// into its history.
///
/// Upstream: pkg/controller/deployment/util/deployment_util.go, SetNewReplicaSetAnnotations.
/// Shown by: annotations_are_copied_and_revisions_remembered, a_history_forgets_its_oldest.
pub(super) fn bring_up_to_date(deployment: &Value, set: &mut Value, next: i64) {
    let annotations = deployment["metadata"]["annotations"].as_object();
    for (name, value) in annotations.into_iter().flatten() {
        if !NOT_COPIED.contains(&name.as_str()) {
            object::set_annotation(set, name, value.as_str().unwrap_or_default());
        }
    }
    let Some(current) = of(set) else {
        return;
    };
    if current >= next {
        return;
    }
    if let Some(current) = object::annotation(set, REVISION).map(str::to_owned) {
        let history = object::annotation(set, REVISION_HISTORY).unwrap_or_default();
        if let Some(history) = remembered(history, &current) {
            object::set_annotation(set, REVISION_HISTORY, &history);
        }
    }
    object::set_annotation(set, REVISION, &next.to_string());
}

/// A history with one more number, and as many of the old ones as there is room for.
fn remembered(history: &str, number: &str) -> Option<String> {
    if history.is_empty() {
        return Some(number.to_owned());
    }
    let mut kept = history;
    while kept.len() + number.len() + 1 > LONGEST_HISTORY {
        let (_oldest, rest) = kept.split_once(',')?;
        kept = rest;
    }
    Some(format!("{kept},{number}"))
}

/// Writes down the size a ReplicaSet was scaled for.
///
/// Upstream: pkg/controller/deployment/util/deployment_util.go, SetReplicasAnnotations.
/// Shown by: a_deployment_makes_its_first_replica_set, scaling_while_rolling_is_in_proportion.
pub(super) fn set_replicas(set: &mut Value, spec: &Spec) {
    for (name, number) in [
        (DESIRED_REPLICAS, spec.replicas),
        (MAX_REPLICAS, spec.max_pods()),
    ] {
        object::set_annotation(set, name, &number.to_string());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn annotations_are_copied_and_revisions_remembered() {
        let deployment = json!({ "metadata": { "annotations": {
            "example.com/team": "a",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            REVISION: "9",
        }}});
        let mut set = json!({ "metadata": {} });
        bring_up_to_date(&deployment, &mut set, 1);
        assert_eq!(
            set["metadata"]["annotations"],
            json!({ "example.com/team": "a", REVISION: "1" })
        );
        bring_up_to_date(&deployment, &mut set, 1);
        assert_eq!(
            of(&set),
            Some(1),
            "it is not remembered that it is what it is"
        );
        for (next, history) in [(4, json!("1")), (5, json!("1,4")), (3, json!("1,4"))] {
            bring_up_to_date(&deployment, &mut set, next);
            assert_eq!(set["metadata"]["annotations"][REVISION_HISTORY], history);
        }
        assert_eq!(of(&set), Some(5));
        let mut odd = json!({ "metadata": { "annotations": { REVISION: "x" } } });
        bring_up_to_date(&deployment, &mut odd, 7);
        assert_eq!(object::annotation(&odd, REVISION), Some("x"));
    }

    #[test]
    fn a_history_forgets_its_oldest() {
        let long = vec!["1234567"; 250].join(",");
        let history = remembered(&long, "42").unwrap();
        assert!(history.len() <= LONGEST_HISTORY);
        assert!(history.ends_with("1234567,42"));
        assert_eq!(history.split(',').count(), 250);
        assert_eq!(remembered(&"1".repeat(2000), "42"), None);
    }
}
