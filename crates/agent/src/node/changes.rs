//! What changes in the store, as far as it is this node's matter.

use std::collections::BTreeSet;
use std::sync::Arc;

use probelet_api::registry::placing;
use probelet_engine::input::{Input, Origin};
use probelet_model::id::{Kind, ObjectKey, PodUid};
use probelet_model::pod::Pod;
use probelet_model::service::Service;
use probelet_model::status::PodStatus;
use probelet_runtime::{Images, Runtime};
use probelet_store::{Change, ChangeKind, Durability, Gone, Object, WriteError};
use serde_json::Value;

use super::Node;
use crate::happening::What;
use crate::{clock, committer, configuration, explain, objects};

impl<R: Runtime, I: Images> Node<R, I> {
    pub(super) fn store_change(&mut self, change: Result<Change, Gone>) {
        match change {
            Ok(change) => self.object_changed(&change.key, change.kind, &change.object),
            Err(Gone { .. }) => self.relist(),
        }
    }

    /// The loop fell behind what the store remembers: everything is looked at anew, and so is what was there before
    /// and is no more.
    pub(super) fn relist(&mut self) {
        let version = self.store.version();
        self.watch = self
            .store
            .watch(version)
            .expect("a store remembers its newest version");
        let pods = self.store.list(Kind::Pod).0;
        let services = self.store.list(Kind::Service).0;
        let uids: BTreeSet<PodUid> = pods.iter().map(|pod| uid_of(&pod.value)).collect();
        let keys: BTreeSet<&ObjectKey> = services.iter().map(|service| &service.key).collect();
        let gone = self.pods.iter().filter(|(uid, _)| !uids.contains(*uid));
        for pod in gone
            .map(|(_, known)| Arc::clone(&known.seen))
            .collect::<Vec<_>>()
        {
            self.pod_removed(&pod);
        }
        for service in self.traffic.services() {
            if !keys.contains(&service) {
                self.service_removed(&service);
            }
        }
        for object in pods.iter().chain(&services) {
            self.object_changed(&object.key, ChangeKind::Modified, &object.value);
        }
        self.place_waiting();
        self.update_volumes(configuration::has_files);
    }

    pub(super) fn object_changed(&mut self, key: &ObjectKey, kind: ChangeKind, value: &Arc<Value>) {
        match (key.kind, kind) {
            (Kind::Pod, ChangeKind::Added | ChangeKind::Modified) => self.pod_changed(key, value),
            (Kind::Pod, ChangeKind::Deleted) => self.pod_removed(value),
            (Kind::Service, ChangeKind::Added | ChangeKind::Modified) => {
                let version = self.store.version();
                self.service_applied(
                    key,
                    &Object {
                        key: key.clone(),
                        version,
                        value: Arc::clone(value),
                    },
                );
            }
            (Kind::Service, ChangeKind::Deleted) => self.service_removed(key),
            (Kind::Node, ChangeKind::Added | ChangeKind::Modified) => self.place_waiting(),
            (Kind::ConfigMap | Kind::Secret, _) => {
                self.update_volumes(|pod| configuration::is_made_of(pod, key));
            }
            _ => {}
        }
    }

    /// Pods that came while the node took none run once it does again.
    pub(super) fn place_waiting(&self) {
        let node_name = &self.facts.node_name;
        let placed = self.store.transact(Durability::Derived, |transaction| {
            let node = transaction.get(&ObjectKey::new(Kind::Node, "", node_name));
            if node.is_some_and(|node| placing::is_cordoned(&node.value)) {
                return Ok(());
            }
            let waiting: Vec<(ObjectKey, Value)> = transaction
                .list(Kind::Pod)
                .into_iter()
                .filter(|pod| placing::is_waiting(&pod.value))
                .map(|pod| (pod.key.clone(), Value::clone(&pod.value)))
                .collect();
            for (key, mut pod) in waiting {
                placing::bind(&mut pod, node_name);
                transaction.update(key, None, pod)?;
            }
            Ok::<_, WriteError>(())
        });
        if let Err(error) = placed {
            tracing::warn!("cannot give waiting pods their node: {error}");
        }
    }

    /// One that never ran has nothing to wait for.
    pub(super) fn waiting_pod_changed(&self, key: &ObjectKey, value: &Value) {
        if value["metadata"].get("deletionTimestamp").is_some() {
            self.remove_object(
                key,
                &PodUid::from(value["metadata"]["uid"].as_str().unwrap_or_default()),
            );
        }
    }

    /// Only what others change is news to the engine; the rest of the status it has made itself.
    fn pod_changed(&mut self, key: &ObjectKey, value: &Arc<Value>) {
        if placing::is_waiting(value) {
            return self.waiting_pod_changed(key, value);
        }
        let uid = PodUid::from(value["metadata"]["uid"].as_str().unwrap_or_default());
        if let Some(known) = self.pods.get_mut(&uid) {
            let same =
                same_but_status(&known.seen, value) && same_foreign_conditions(&known.seen, value);
            known.seen = Arc::clone(value);
            if same {
                return;
            }
        }
        // A change from before the object went away comes late when the loop is behind.
        let there = self.store.get(key);
        if there.is_none_or(|there| there.value["metadata"]["uid"] != uid.as_str()) {
            return;
        }
        let object = Object {
            key: key.clone(),
            version: self.store.version(),
            value: Arc::clone(value),
        };
        let Some(pod) = decoded(&object, Pod::from_value) else {
            return;
        };
        if self.pods.contains_key(&uid) {
            if configuration::tells_of_itself(&pod) {
                self.update_volumes_of(&pod);
            }
            self.handle(Input::PodApplied {
                pod: Arc::new(pod),
                origin: Origin::New,
            });
        } else if !self.stops {
            let memory = self.open_memory(&uid);
            self.admit(object, memory, pod, Origin::New);
        }
    }

    /// The object went before its containers: they get no grace, as from the kubelet.
    fn pod_removed(&mut self, value: &Value) {
        let Some(known) = self.pods.get(&uid_of(value)) else {
            return;
        };
        let object = Object {
            key: known.key.clone(),
            version: self.store.version(),
            value: Arc::new(objects::deleting(value.clone(), Some(0), clock::now().wall)),
        };
        if let Some(pod) = decoded(&object, Pod::from_value) {
            self.handle(Input::PodApplied {
                pod: Arc::new(pod),
                origin: Origin::New,
            });
        }
    }

    fn service_removed(&mut self, key: &ObjectKey) {
        self.handle(Input::ServiceDeleted { key: key.clone() });
        self.traffic.forget(key);
        self.traffic_changed = true;
        let endpoints = ObjectKey::new(Kind::Endpoints, &key.namespace, &key.name);
        objects::remove(&self.store, &[endpoints]);
        let gone = self.store.transact(Durability::Derived, |transaction| {
            committer::slices::delete(transaction, key)
        });
        if let Err(error) = gone {
            tracing::warn!("cannot remove the endpoint slices of {key}: {error}");
        }
        self.tell(key.clone(), What::Deleted);
    }

    pub(super) fn service_applied(&mut self, key: &ObjectKey, object: &Object) {
        let Some(service) = decoded(object, Service::from_value) else {
            return;
        };
        self.traffic.service(key, service.clone());
        self.traffic_changed = true;
        self.handle(Input::ServiceApplied {
            service: Arc::new(service),
        });
    }
}

fn uid_of(pod: &Value) -> PodUid {
    PodUid::from(pod["metadata"]["uid"].as_str().unwrap_or_default())
}

/// A stored object as the engine knows it. What is stored has been validated, so an error here means that
/// it was written by another version.
pub(super) fn decoded<T, E: std::fmt::Display>(
    object: &Object,
    from_value: impl FnOnce(&Value) -> Result<T, Vec<E>>,
) -> Option<T> {
    from_value(&object.value)
        .inspect_err(|errors| {
            for error in errors {
                tracing::error!("{} is stored but cannot be run: {error}", object.key);
            }
        })
        .ok()
}

/// Whether two versions of an object differ in no more than their status.
fn same_but_status(before: &Value, now: &Value) -> bool {
    let fields = |value: &Value| value.as_object().map_or(0, serde_json::Map::len);
    let metadata = |value: &Value, name: &str| value["metadata"].get(name).cloned();
    fields(before) > 0
        && before.get("spec") == now.get("spec")
        && ["labels", "deletionTimestamp", "deletionGracePeriodSeconds"]
            .into_iter()
            .all(|name| metadata(before, name) == metadata(now, name))
        && annotations(before).eq(annotations(now))
}

/// The annotations that others have written.
fn annotations(pod: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let all = pod["metadata"]["annotations"].as_object();
    all.into_iter()
        .flatten()
        .filter(|(name, _)| !explain::is_explanation(name))
}

/// Whether two versions of a Pod's status have the same conditions of others, which gates may wait for.
fn same_foreign_conditions(before: &Value, now: &Value) -> bool {
    let foreign = |pod: &Value| {
        let status = serde_json::from_value(pod["status"].clone());
        status
            .map(|status: PodStatus| status.foreign_conditions)
            .unwrap_or_default()
    };
    before["status"]["conditions"] == now["status"]["conditions"] || foreign(before) == foreign(now)
}
