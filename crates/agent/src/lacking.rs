//! What a pod asks for that it cannot be given on this host, as events of the pod.

use probelet_engine::effect::{Event, EventKind};
use probelet_model::pod::Pod;
use probelet_runtime::Lacks;

/// The warnings of one pod, which runs all the same.
///
/// Upstream: kubelet pkg/kubelet/lifecycle/predicate.go, predicateAdmitHandler.Admit
/// (SupplementalGroupsPolicyNotSupported).
/// Differs: the pod runs, where upstream does not admit it or has the field at every node.
/// Shown by: what_has_no_effect_is_said_of_the_pod_that_asks_for_it,
/// what_a_user_cannot_give_is_said_once_and_of_the_pod.
pub(crate) fn warnings(lacks: &Lacks, pod: &Pod) -> Vec<Event> {
    let mut warnings = Vec::new();
    let mut warn = |container, reason, field: &str, why: &str| {
        warnings.push(Event {
            pod: pod.uid.clone(),
            container,
            kind: EventKind::Warning,
            reason,
            message: format!("{field} is not supported in this node and has no effect: {why}"),
            attempt: None,
        });
    };
    if let Some(why) = &lacks.groups {
        // The one id there is shows as 0.
        if pod.security.fs_group.is_some_and(|group| group.gid != 0) {
            warn(None, "FSGroupNotSupported", "fsGroup", why);
        }
        if pod.security.supplemental_groups.iter().any(|gid| *gid != 0) {
            let reason = "SupplementalGroupsNotSupported";
            warn(None, reason, "supplementalGroups", why);
        }
    }
    for container in pod.all_containers() {
        let limits = &container.resources.limits;
        for (field, why, limit) in [
            ("resources.limits.cpu", &lacks.cpu, limits.cpu_milli),
            ("resources.limits.memory", &lacks.memory, limits.memory),
        ] {
            if let (Some(why), Some(_)) = (why, limit) {
                let container = Some(container.name.clone());
                warn(container, "LimitsNotSupported", field, why);
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use probelet_model::time::Wall;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_has_no_effect_is_said_of_the_pod_that_asks_for_it() {
        let pod = |security: &Value, resources: &Value| {
            let spec = json!({
                "runtimeClassName": "host",
                "securityContext": security,
                "containers": [{ "name": "main", "image": "none", "command": ["true"], "resources": resources }],
            });
            let created_at = Wall::default().to_string();
            let meta = json!({
                "name": "a", "namespace": "b", "uid": "u", "creationTimestamp": created_at,
            });
            Pod::from_value(&json!({ "metadata": meta, "spec": spec })).unwrap()
        };
        let lacks = Lacks {
            cpu: Some("no cgroup".to_owned()),
            memory: None,
            groups: Some("one id".to_owned()),
        };
        let said = |lacks: &Lacks, pod: &Pod| -> Vec<String> {
            let warnings = warnings(lacks, pod);
            let told = warnings.iter().map(|event| {
                let container = event.container.as_ref().map_or("-", |name| name.as_str());
                format!("{container} {} {}", event.reason, event.message)
            });
            told.collect()
        };
        let asks = pod(
            &json!({ "fsGroup": 5, "supplementalGroups": [7] }),
            &json!({ "limits": { "cpu": "1", "memory": "1Gi" } }),
        );
        assert_eq!(
            said(&lacks, &asks),
            [
                "- FSGroupNotSupported fsGroup is not supported in this node and has no effect: one id",
                "- SupplementalGroupsNotSupported supplementalGroups is not supported in this node and has no effect: one id",
                "main LimitsNotSupported resources.limits.cpu is not supported in this node and has no effect: no cgroup",
            ]
        );
        assert_eq!(said(&Lacks::default(), &asks), [""; 0]);
        let asks_nothing = pod(&json!({}), &json!({ "requests": { "cpu": "1" } }));
        assert_eq!(said(&lacks, &asks_nothing), [""; 0]);
    }
}
