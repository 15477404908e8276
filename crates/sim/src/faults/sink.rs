//! Where commits go: a real store, followed by a reader as clients follow it.

use std::collections::BTreeMap;
use std::sync::Arc;

use probelet_engine::effect::Commit;
use probelet_model::id::{Kind, ObjectKey, PodUid};
use probelet_model::pod::Pod;
use probelet_model::status::PodStatus;
use probelet_store::{
    Change, ChangeKind, Durability, Object, Store, TransactError, Version, Watch, WriteError,
};
use serde_json::{Value, json};

use super::checks::Breach;

/// A store with its reader.
#[derive(Debug)]
pub(super) struct Sink {
    store: Store,
    watch: Watch,
    mirror: Mirror,
}

impl Sink {
    pub(super) fn new() -> Self {
        let store = Store::in_memory();
        let watch = store
            .watch(store.version())
            .expect("nothing has been forgotten yet");
        Self {
            store,
            watch,
            mirror: Mirror::default(),
        }
    }

    /// Puts a pod's status into its object.
    pub(super) fn put_pod(&mut self, pod: &Pod, status: &PodStatus) -> Result<(), Breach> {
        self.write(vec![pod_object(pod, status)])
    }

    /// Carries out one commit, all of it together.
    pub(super) fn commit<'a>(
        &mut self,
        commit: &Commit,
        pod: impl Fn(&PodUid) -> Option<&'a Arc<Pod>>,
    ) -> Result<(), Breach> {
        let statuses = commit.statuses.iter();
        let pods = statuses.filter_map(|(uid, status)| Some(pod_object(pod(uid)?, status)));
        let endpoints = commit.endpoints.iter().map(|change| {
            let (namespace, name) = (&change.service.namespace, &change.service.name);
            let subsets =
                serde_json::to_value(&change.endpoints).expect("endpoints are plain data");
            let value =
                json!({"metadata": {"name": name, "namespace": namespace}, "endpoints": subsets});
            (ObjectKey::new(Kind::Endpoints, namespace, name), value)
        });
        self.write(pods.chain(endpoints).collect())
    }

    fn write(&mut self, objects: Vec<(ObjectKey, Value)>) -> Result<(), Breach> {
        let before = self.store.version();
        let written = self.store.transact(Durability::Derived, |transaction| {
            for (key, value) in objects {
                transaction.put_any(key, value)?;
            }
            Ok::<(), WriteError>(())
        });
        let after = match written {
            Ok(((), version)) => version,
            Err(
                error @ (TransactError::Refused(_)
                | TransactError::ReadOnly
                | TransactError::NotDurable { .. }),
            ) => return Err(breach(error.to_string())),
        };
        if after < before {
            return Err(breach(format!("version {after} after {before}")));
        }
        self.follow()
    }

    fn follow(&mut self) -> Result<(), Breach> {
        while let Some(change) = self
            .watch
            .try_next()
            .map_err(|gone| breach(gone.to_string()))?
        {
            self.mirror.take(&change).map_err(breach)?;
        }
        for kind in [Kind::Pod, Kind::Endpoints] {
            let (objects, _) = self.store.list(kind);
            self.mirror.compare(kind, &objects).map_err(breach)?;
        }
        Ok(())
    }
}

fn breach(what: String) -> Breach {
    Breach {
        checker: "versions only grow, watch equals list plus events",
        what,
    }
}

fn pod_object(pod: &Pod, status: &PodStatus) -> (ObjectKey, Value) {
    let (namespace, name) = (&pod.meta.namespace, &pod.meta.name);
    let status = serde_json::to_value(status).expect("a status is plain data");
    let value = json!({"metadata": {"name": name, "namespace": namespace}, "status": status});
    (ObjectKey::new(Kind::Pod, namespace, name), value)
}

/// What a reader knows who began with nothing and has read every change.
#[derive(Debug, Default)]
struct Mirror {
    objects: BTreeMap<ObjectKey, (Version, Arc<Value>)>,
    version: Version,
}

impl Mirror {
    fn take(&mut self, change: &Change) -> Result<(), String> {
        if change.version <= self.version {
            return Err(format!(
                "{} is changed at {} after {}",
                change.key, change.version, self.version
            ));
        }
        self.version = change.version;
        let entry = (change.version, change.object.clone());
        let before = match change.kind {
            ChangeKind::Added | ChangeKind::Modified => {
                self.objects.insert(change.key.clone(), entry)
            }
            ChangeKind::Deleted => self.objects.remove(&change.key),
        };
        if before.is_none() != (change.kind == ChangeKind::Added) {
            return Err(format!("{:?} is no change of {}", change.kind, change.key));
        }
        Ok(())
    }

    fn compare(&self, kind: Kind, listed: &[Object]) -> Result<(), String> {
        let mut known = self.objects.iter().filter(|(key, _)| key.kind == kind);
        for object in listed {
            let same = known.next().is_some_and(|(key, (version, value))| {
                (key, version) == (&object.key, &object.version) && *value == object.value
            });
            if !same {
                return Err(format!("{} is not as its changes tell it", object.key));
            }
        }
        known
            .next()
            .map_or(Ok(()), |(key, _)| Err(format!("{key} is not listed")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, version: u64, kind: ChangeKind) -> Change {
        Change {
            key: ObjectKey::new(Kind::Pod, "default", name),
            version: Version(version),
            kind,
            object: Arc::new(json!({"at": version})),
            before: None,
        }
    }

    fn object(name: &str, version: u64) -> Object {
        Object {
            key: ObjectKey::new(Kind::Pod, "default", name),
            version: Version(version),
            value: Arc::new(json!({"at": version})),
        }
    }

    #[test]
    fn a_version_that_does_not_grow_is_caught() {
        let mut mirror = Mirror::default();
        mirror.take(&change("a", 4, ChangeKind::Added)).unwrap();
        assert!(mirror.take(&change("b", 4, ChangeKind::Added)).is_err());
    }

    #[test]
    fn a_change_that_nobody_was_told_of_is_caught() {
        let mut mirror = Mirror::default();
        mirror.take(&change("a", 1, ChangeKind::Added)).unwrap();
        mirror.compare(Kind::Pod, &[object("a", 1)]).unwrap();
        assert!(mirror.compare(Kind::Pod, &[object("a", 2)]).is_err());
        assert!(
            mirror
                .compare(Kind::Pod, &[object("a", 1), object("b", 2)])
                .is_err()
        );
        assert!(mirror.compare(Kind::Pod, &[]).is_err());
        assert!(
            mirror.take(&change("b", 2, ChangeKind::Modified)).is_err(),
            "it was never added"
        );
    }

    #[test]
    fn a_store_is_what_its_changes_tell() {
        let mut sink = Sink::new();
        let cast = super::super::cast::Cast::draw(&mut super::super::chance::Chance::new(1, 1), 1);
        let mut status = PodStatus::default();
        for count in 0..3 {
            status.observed_generation = Some(count);
            sink.put_pod(&cast.pods[0].pod, &status).unwrap();
        }
        assert_eq!(sink.mirror.version, Version(3));
    }
}
