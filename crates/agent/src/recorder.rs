//! Kubernetes events as objects of the store.

use std::collections::{BTreeMap, VecDeque};

use probelet_engine::effect::Event;
use probelet_model::id::{Kind, ObjectKey, PodUid};
use probelet_model::time::Wall;
use probelet_store::{Durability, Store, WriteError};
use serde_json::{Value, json};

use crate::objects;

/// How many different events are kept for one pod; the oldest go first.
const KEPT_PER_POD: usize = 100;

/// Writes events: one that says the same again is counted, another is a new object. Different causes are
/// never merged.
///
/// Upstream: client-go tools/record/events_cache.go, EventCorrelator.
/// Differs: no event is combined with similar ones and none is dropped by a rate limit; instead each pod
/// keeps its newest 100, and they go with the pod.
#[derive(Debug)]
pub(crate) struct Recorder {
    node_name: String,
    pods: BTreeMap<PodUid, VecDeque<(Sameness, ObjectKey)>>,
    made: u64,
}

/// What makes an event the same as one before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sameness {
    field_path: Option<String>,
    kind: String,
    reason: String,
    message: String,
}

impl Recorder {
    /// A recorder that counts on from the events that are there.
    pub(crate) fn new(store: &Store, node_name: &str) -> Self {
        let mut recorder = Self {
            node_name: node_name.to_owned(),
            pods: BTreeMap::new(),
            made: 0,
        };
        for object in store.list(Kind::Event).0 {
            let value = &object.value;
            let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
            let sameness = Sameness {
                field_path: value["involvedObject"]["fieldPath"]
                    .as_str()
                    .map(str::to_owned),
                kind: text("type"),
                reason: text("reason"),
                message: text("message"),
            };
            let pod = PodUid::from(value["involvedObject"]["uid"].as_str().unwrap_or_default());
            recorder
                .pods
                .entry(pod)
                .or_default()
                .push_back((sameness, object.key));
        }
        recorder
    }

    pub(crate) fn record(&mut self, store: &Store, pod: &ObjectKey, event: &Event, now: Wall) {
        let field_path = event
            .container
            .as_ref()
            .map(|name| format!("spec.containers{{{name}}}"));
        let sameness = Sameness {
            field_path,
            kind: event.kind.as_str().to_owned(),
            reason: event.reason.to_owned(),
            message: event.message.clone(),
        };
        let known = self.pods.entry(event.pod.clone()).or_default();
        let position = known.iter().position(|(same, _)| *same == sameness);
        let written = match position.and_then(|position| known.remove(position)) {
            Some((sameness, key)) => {
                let counted = count(store, &key, now);
                known.push_back((sameness, key));
                counted
            }
            None => {
                self.made += 1;
                let suffix = now.0.cast_unsigned().wrapping_add(self.made);
                let key = ObjectKey::new(
                    Kind::Event,
                    &pod.namespace,
                    format!("{}.{suffix:x}", pod.name),
                );
                let value = self.event(&key, pod, event, &sameness, now);
                let known = self.pods.entry(event.pod.clone()).or_default();
                known.push_back((sameness, key.clone()));
                let oldest = if known.len() > KEPT_PER_POD {
                    known.pop_front()
                } else {
                    None
                };
                store.transact(Durability::Derived, |transaction| {
                    if let Some((_, oldest)) = &oldest {
                        transaction.delete(oldest, None)?;
                    }
                    transaction.create(key, value).map(drop)
                })
            }
        };
        if let Err(error) = written {
            tracing::warn!("cannot record event {} of {pod}: {error}", event.reason);
        }
    }

    /// The pod is gone, and its events with it.
    pub(crate) fn forget(&mut self, store: &Store, pod: &PodUid) {
        let keys = self.pods.remove(pod).unwrap_or_default();
        let written = store.transact(Durability::Derived, |transaction| {
            for (_, key) in &keys {
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
        event: &Event,
        sameness: &Sameness,
        now: Wall,
    ) -> Value {
        let mut involved = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": event.pod,
        });
        if let Some(path) = &sameness.field_path {
            involved["fieldPath"] = path.as_str().into();
        }
        let rest = json!({
            "involvedObject": involved,
            "reason": sameness.reason,
            "message": sameness.message,
            "type": sameness.kind,
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

fn count(
    store: &Store,
    key: &ObjectKey,
    now: Wall,
) -> Result<((), probelet_store::Version), probelet_store::TransactError<WriteError>> {
    store.transact(Durability::Derived, |transaction| {
        let Some(there) = transaction.get(key) else {
            return Err(WriteError::NotFound(key.clone()));
        };
        let mut value = (*there.value).clone();
        value["count"] = (value["count"].as_u64().unwrap_or(0) + 1).into();
        value["lastTimestamp"] = now.to_string().into();
        transaction.update(key.clone(), None, value).map(drop)
    })
}
