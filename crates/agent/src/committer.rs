//! From the engine's commits to the store, and to whoever watches.

pub(crate) mod slices;

use std::sync::Arc;

use probelet_engine::effect::{Commit, EndpointsChange};
use probelet_model::id::{Kind, ObjectKey, PodUid};
use probelet_model::status::{ConditionKind, PodStatus};
use probelet_model::time::Wall;
use probelet_store::{Durability, Store, Transaction, WriteError};
use serde_json::{Value, json};

use crate::happening::{ContainerSort, What};
use crate::objects;

/// The annotation of Endpoints that says when what they follow from changed.
///
/// Upstream: pkg/apis/core/types.go, EndpointsLastChangeTriggerTime.
/// Shown by: endpoints_have_the_labels_of_their_service_and_the_time_of_the_change.
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// The label of the Endpoints of a headless Service.
///
/// Upstream: pkg/apis/core/types.go, IsHeadlessService.
/// Shown by: endpoints_have_the_labels_of_their_service_and_the_time_of_the_change.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Makes a commit visible, all of it at one time, and returns what has changed, for people.
pub(crate) fn commit(
    store: &Store,
    commit: &Commit,
    key_of: impl Fn(&PodUid) -> Option<ObjectKey>,
    now: Wall,
) -> Vec<(ObjectKey, What)> {
    let written = store.transact(Durability::Derived, |transaction| {
        let mut told = Vec::new();
        for (uid, status) in &commit.statuses {
            if let Some(key) = key_of(uid) {
                write_status(transaction, uid, &key, status, &mut told)?;
            }
        }
        for change in &commit.endpoints {
            write_endpoints(transaction, change, now, &mut told)?;
            slices::write(transaction, change, now)?;
        }
        Ok::<_, WriteError>(told)
    });
    match written {
        Ok((told, _)) => told,
        Err(error) => {
            tracing::error!("cannot commit: {error}");
            Vec::new()
        }
    }
}

/// Writes the status of a pod; that of one that was deleted and made again under the same name is nobody's.
///
/// Upstream: kubelet pkg/kubelet/status/status_manager.go, syncPod.
/// Shown by: the_status_of_a_pod_that_was_made_again_is_its_own.
fn write_status(
    transaction: &mut Transaction<'_>,
    uid: &PodUid,
    key: &ObjectKey,
    status: &Arc<PodStatus>,
    told: &mut Vec<(ObjectKey, What)>,
) -> Result<(), WriteError> {
    let Some(there) = objects::pod(transaction, key, uid) else {
        return Ok(());
    };
    let mut value = (*there).clone();
    let before: PodStatus = serde_json::from_value(value["status"].take()).unwrap_or_default();
    // What others have written since the engine last looked stays.
    let now = PodStatus {
        foreign_conditions: before.foreign_conditions.clone(),
        ..PodStatus::clone(status)
    };
    value["status"] = serde_json::to_value(now).map_err(|_| WriteError::Malformed(key.clone()))?;
    transaction.update(key.clone(), None, value)?;
    told.extend(
        differences(&there["spec"], &before, status)
            .into_iter()
            .map(|what| (key.clone(), what)),
    );
    Ok(())
}

/// What a reader of the status would want to be told.
fn differences(spec: &Value, before: &PodStatus, now: &PodStatus) -> Vec<What> {
    let mut told = Vec::new();
    let init = now
        .init_container_statuses
        .iter()
        .map(|container| (container, init_sort(spec, &container.name)));
    let regular = now
        .container_statuses
        .iter()
        .map(|container| (container, ContainerSort::Regular));
    for (container, sort) in init.chain(regular) {
        let same = before.container(&container.name).is_some_and(|before| {
            before.state == container.state
                && before.ready == container.ready
                && before.started == container.started
                && before.restart_count == container.restart_count
        });
        if !same {
            told.push(What::Container {
                container: Box::new(container.clone()),
                sort,
            });
        }
    }
    if before.phase != now.phase {
        told.push(What::Phase { phase: now.phase });
    }
    // Without init containers it is True from the beginning.
    let initialized =
        (!now.init_container_statuses.is_empty()).then_some(ConditionKind::Initialized);
    let ready = [ConditionKind::ContainersReady, ConditionKind::Ready];
    for kind in initialized.into_iter().chain(ready) {
        let (was, is) = (before.condition(kind), now.condition(kind));
        if let Some(condition) = is
            && was.map(|was| was.status) != Some(condition.status)
        {
            told.push(What::Condition {
                condition: condition.clone(),
            });
        }
    }
    told
}

fn init_sort(spec: &Value, name: &str) -> ContainerSort {
    let all = spec["initContainers"].as_array();
    let container = all.and_then(|all| all.iter().find(|container| container["name"] == name));
    if container.is_some_and(|container| container["restartPolicy"] == "Always") {
        ContainerSort::Sidecar
    } else {
        ContainerSort::Init
    }
}

fn write_endpoints(
    transaction: &mut Transaction<'_>,
    change: &EndpointsChange,
    now: Wall,
    told: &mut Vec<(ObjectKey, What)>,
) -> Result<(), WriteError> {
    let Some(service) = transaction.get(&change.service) else {
        return Ok(());
    };
    let mut labels = service.value["metadata"]
        .get("labels")
        .cloned()
        .unwrap_or_else(|| json!({}));
    if service.value["spec"]["clusterIP"] == "None" {
        labels[HEADLESS] = "".into();
    }
    let key = ObjectKey::new(
        Kind::Endpoints,
        &change.service.namespace,
        &change.service.name,
    );
    let subsets = serde_json::to_value(&change.endpoints.subsets)
        .map_err(|_| WriteError::Malformed(key.clone()))?;
    let there = transaction.get(&key).map(|there| Arc::clone(&there.value));
    if let Some(there) = &there
        && there.get("subsets").unwrap_or(&Value::Null) == &subsets
        && there["metadata"].get("labels").unwrap_or(&json!({})) == &labels
    {
        return Ok(());
    }
    let mut value = there.map_or_else(
        || objects::made(&key, now, &json!({})),
        |there| (*there).clone(),
    );
    let metadata = objects::metadata_of(&mut value);
    metadata.insert("labels".to_owned(), labels);
    match change.trigger_time {
        Some(time) => metadata.insert(
            "annotations".to_owned(),
            json!({ TRIGGER_TIME: time.to_string() }),
        ),
        None => metadata.remove("annotations"),
    };
    value["subsets"] = subsets;
    transaction.put_any(key, value)?;
    told.push((
        change.service.clone(),
        What::Endpoints {
            subsets: change.endpoints.subsets.clone(),
        },
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use probelet_model::service::Endpoints;
    use probelet_model::status::Phase;

    use super::*;

    #[test]
    fn a_status_replaces_all_but_the_conditions_of_others() {
        let store = Store::in_memory();
        let key = ObjectKey::new(Kind::Pod, "default", "web");
        let gate = json!({ "type": "example.com/gate", "status": "True", "reason": "Why" });
        let stored = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": "web", "namespace": "default", "uid": "u" },
            "status": {
                "phase": "Pending",
                "podIP": "10.213.0.2",
                "conditions": [
                    { "type": "Ready", "status": "False", "lastTransitionTime": "2026-11-24T10:00:00Z" },
                    gate,
                ],
            },
        });
        store
            .transact(Durability::Derived, |transaction| {
                transaction.create(key.clone(), stored).map(drop)
            })
            .unwrap();
        let status = PodStatus {
            phase: Phase::Running,
            ..PodStatus::default()
        };
        let new = Commit {
            statuses: vec![(PodUid::from("u"), Arc::new(status))],
            endpoints: Vec::new(),
        };
        let told = commit(&store, &new, |_| Some(key.clone()), Wall::default());
        let written = store.get(&key).unwrap().value["status"].clone();
        assert_eq!(written, json!({ "phase": "Running", "conditions": [gate] }));
        let phase = What::Phase {
            phase: Phase::Running,
        };
        assert_eq!(told, [(key, phase)]);
    }

    #[test]
    fn the_status_of_a_pod_that_was_made_again_is_its_own() {
        let store = Store::in_memory();
        let key = ObjectKey::new(Kind::Pod, "default", "web");
        let again = json!({
            "metadata": { "name": "web", "namespace": "default", "uid": "second" },
            "status": { "phase": "Running" },
        });
        store
            .transact(Durability::Derived, |transaction| {
                transaction.create(key.clone(), again).map(drop)
            })
            .unwrap();
        let before = store.version();
        let last = PodStatus {
            phase: Phase::Failed,
            ..PodStatus::default()
        };
        let late = Commit {
            statuses: vec![(PodUid::from("first"), Arc::new(last))],
            endpoints: Vec::new(),
        };
        let told = commit(&store, &late, |_| Some(key.clone()), Wall::default());
        assert_eq!((told.len(), store.version()), (0, before));
    }

    #[test]
    fn endpoints_have_the_labels_of_their_service_and_the_time_of_the_change() {
        let key = |kind| ObjectKey::new(kind, "default", "web");
        let metadata = |cluster_ip: &str, trigger_time| {
            let store = Store::in_memory();
            let service = json!({
                "metadata": { "name": "web", "namespace": "default", "labels": { "app": "web" } },
                "spec": { "clusterIP": cluster_ip },
            });
            store
                .transact(Durability::Derived, |transaction| {
                    transaction.create(key(Kind::Service), service).map(drop)
                })
                .unwrap();
            let change = EndpointsChange {
                service: key(Kind::Service),
                endpoints: Endpoints::default(),
                slices: Vec::new(),
                trigger_time,
            };
            let new = Commit {
                statuses: Vec::new(),
                endpoints: vec![change],
            };
            commit(&store, &new, |_| None, Wall::default());
            let written = store.get(&key(Kind::Endpoints)).unwrap().value;
            written["metadata"].clone()
        };
        let plain = metadata("", None);
        assert_eq!(plain["labels"], json!({ "app": "web" }));
        assert_eq!(plain.get("annotations"), None);
        let headless = metadata("None", Some(Wall::default()));
        assert_eq!(
            headless["labels"],
            json!({ "app": "web", "service.kubernetes.io/headless": "" })
        );
        let time = "endpoints.kubernetes.io/last-change-trigger-time";
        assert_eq!(
            headless["annotations"],
            json!({ time: Wall::default().to_string() })
        );
    }
}
