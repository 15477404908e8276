//! Kubernetes events as objects of the store.

mod counted;
mod similar;

use std::collections::BTreeMap;

use probelet_engine::effect::Event;
use probelet_model::id::{Kind, ObjectKey, PodUid};
use probelet_model::time::Wall;
use probelet_store::{Durability, Store, Transaction, WriteError};
use serde_json::{Value, json};

use self::similar::{Class, PodEvents, Write};
use crate::objects;

/// Writes events: one that says the same again is counted, another is a new object, and of many that are
/// similar the later ones become one.
///
/// Upstream: client-go tools/record/events_cache.go, EventCorrelator.
/// Differs: similar are only events of one container and one cause, none is dropped by a rate limit, and
/// a pod keeps 100, which go with it.
/// Shown by: the_same_is_counted_and_the_eleventh_text_is_combined,
/// a_talkative_probe_pushes_nothing_else_out, what_was_there_before_is_counted_on.
#[derive(Debug)]
pub(crate) struct Recorder {
    node_name: String,
    pods: BTreeMap<PodUid, PodEvents<ObjectKey>>,
    made: u64,
}

impl Recorder {
    /// A recorder that counts on from the events that are there.
    pub(crate) fn new(store: &Store, node_name: &str) -> Self {
        let mut recorder = Self {
            node_name: node_name.to_owned(),
            pods: BTreeMap::new(),
            made: 0,
        };
        let mut objects = store.list(Kind::Event).0;
        let last = |value: &Value| -> Wall {
            serde_json::from_value(value["lastTimestamp"].clone()).unwrap_or_default()
        };
        objects.sort_by_key(|object| last(&object.value));
        for object in objects {
            let value = &object.value;
            let text = |field: &str| value[field].as_str().unwrap_or_default();
            let involved = &value["involvedObject"];
            let field_path = involved["fieldPath"].as_str().map(str::to_owned);
            let message = counted::without(text("message"));
            let class = Class::of(field_path, text("type"), text("reason"), message);
            let pod = PodUid::from(involved["uid"].as_str().unwrap_or_default());
            let pod = recorder.pods.entry(pod).or_default();
            pod.restore(class, message.to_owned(), object.key, last(value));
        }
        recorder
    }

    pub(crate) fn record(&mut self, store: &Store, pod: &ObjectKey, event: &Event, now: Wall) {
        let container = event.container.as_ref();
        let field_path = container.map(|name| field_path(store, pod, name.as_str()));
        let class = Class::of(
            field_path,
            event.kind.as_str(),
            event.reason,
            &event.message,
        );
        let made = &mut self.made;
        let key = || {
            *made += 1;
            let suffix = now.0.cast_unsigned().wrapping_add(*made);
            let name = format!("{}.{suffix:x}", pod.name);
            ObjectKey::new(Kind::Event, &pod.namespace, name)
        };
        let known = self.pods.entry(event.pod.clone()).or_default();
        let failed = event.reason == "Unhealthy";
        let (message, count_words) = match &event.attempt {
            Some(attempt) => (
                counted::room(&event.message),
                counted::words(attempt, failed),
            ),
            None => (&*event.message, String::new()),
        };
        let (write, gone) = known.happened(class.clone(), message, now, key);
        let written = store.transact(Durability::Derived, |transaction| {
            for key in &gone {
                transaction.delete(key, None)?;
            }
            match &write {
                Write::Count(key, message) => {
                    count(transaction, key, &format!("{message}{count_words}"), now)
                }
                Write::Create(key, message) => {
                    let message = format!("{message}{count_words}");
                    let value = self.event(key, pod, &event.pod, &class, &message, now);
                    transaction.create(key.clone(), value).map(drop)
                }
            }
        });
        if let Err(error) = written {
            tracing::warn!("cannot record event {} of {pod}: {error}", event.reason);
        }
    }

    /// The pod is gone, and its events with it.
    pub(crate) fn forget(&mut self, store: &Store, pod: &PodUid) {
        let events = self.pods.remove(pod).unwrap_or_default();
        let keys: Vec<ObjectKey> = events.into_keys().collect();
        let written = store.transact(Durability::Derived, |transaction| {
            for key in &keys {
                transaction.delete(key, None)?;
            }
            Ok::<_, WriteError>(())
        });
        if let Err(error) = written {
            tracing::warn!("cannot remove the events of pod {pod}: {error}");
        }
    }

    fn event(
        &self,
        key: &ObjectKey,
        pod: &ObjectKey,
        uid: &PodUid,
        class: &Class,
        message: &str,
        now: Wall,
    ) -> Value {
        let mut involved = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": uid,
        });
        if let Some(path) = &class.field_path {
            involved["fieldPath"] = path.as_str().into();
        }
        let rest = json!({
            "involvedObject": involved,
            "reason": class.reason,
            "message": message,
            "type": class.kind,
            "count": 1,
            "firstTimestamp": now.to_string(),
            "lastTimestamp": now.to_string(),
            "eventTime": null,
            "source": { "component": "probelet", "host": self.node_name },
            "reportingComponent": "probelet",
            "reportingInstance": self.node_name,
        });
        objects::made(key, now, &rest)
    }
}

/// Where in the pod's spec a container stands.
///
/// Upstream: kubelet pkg/kubelet/container/ref.go, fieldPath.
/// Shown by: they_run_one_after_the_other_and_then_the_rest, json_is_a_kubernetes_list_with_whole_statuses.
fn field_path(store: &Store, pod: &ObjectKey, container: &str) -> String {
    let stored = store.get(pod);
    let is_init = stored.is_some_and(|stored| {
        let containers = stored.value["spec"]["initContainers"].as_array();
        containers.is_some_and(|all| all.iter().any(|one| one["name"] == container))
    });
    let field = if is_init {
        "initContainers"
    } else {
        "containers"
    };
    format!("spec.{field}{{{container}}}")
}

fn count(
    transaction: &mut Transaction<'_>,
    key: &ObjectKey,
    message: &str,
    now: Wall,
) -> Result<(), WriteError> {
    let Some(there) = transaction.get(key) else {
        return Err(WriteError::NotFound(key.clone()));
    };
    let mut value = (*there.value).clone();
    value["message"] = message.into();
    value["count"] = (value["count"].as_u64().unwrap_or(0) + 1).into();
    value["lastTimestamp"] = now.to_string().into();
    transaction.update(key.clone(), None, value).map(drop)
}
