//! From the engine's commits to the store, and to whoever watches.

use std::sync::Arc;

use probelet_engine::effect::{Commit, EndpointsChange};
use probelet_model::id::{Kind, ObjectKey, PodUid};
use probelet_model::status::{ConditionKind, PodStatus};
use probelet_model::time::Wall;
use probelet_store::{Durability, Store, Transaction, WriteError};
use serde_json::{Value, json};

use crate::happening::What;
use crate::objects;

/// Upstream: pkg/apis/core/types.go, EndpointsLastChangeTriggerTime.
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// Upstream: pkg/apis/core/types.go, IsHeadlessService.
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
                write_status(transaction, &key, status, &mut told)?;
            }
        }
        for change in &commit.endpoints {
            write_endpoints(transaction, change, now, &mut told)?;
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

fn write_status(
    transaction: &mut Transaction<'_>,
    key: &ObjectKey,
    status: &Arc<PodStatus>,
    told: &mut Vec<(ObjectKey, What)>,
) -> Result<(), WriteError> {
    let Some(there) = transaction.get(key) else {
        return Ok(());
    };
    let mut value = (*there.value).clone();
    let before: PodStatus = serde_json::from_value(value["status"].take()).unwrap_or_default();
    value["status"] =
        serde_json::to_value(&**status).map_err(|_| WriteError::Malformed(key.clone()))?;
    transaction.update(key.clone(), None, value)?;
    told.extend(
        differences(&before, status)
            .into_iter()
            .map(|what| (key.clone(), what)),
    );
    Ok(())
}

/// What a reader of the status would want to be told.
fn differences(before: &PodStatus, now: &PodStatus) -> Vec<What> {
    let mut told = Vec::new();
    for container in &now.container_statuses {
        let same = before.container(&container.name).is_some_and(|before| {
            before.state == container.state
                && before.ready == container.ready
                && before.started == container.started
                && before.restart_count == container.restart_count
        });
        if !same {
            told.push(What::Container {
                container: Box::new(container.clone()),
            });
        }
    }
    if before.phase != now.phase {
        told.push(What::Phase { phase: now.phase });
    }
    for kind in [ConditionKind::ContainersReady, ConditionKind::Ready] {
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
