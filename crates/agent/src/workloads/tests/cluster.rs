//! A store with the driver over it, and pods that live without an engine.

use std::time::Duration;

use probelet_store::Settings;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::*;

/// Seconds until a pod is ready, by its annotation; never without.
pub(super) const READY_AFTER: &str = "example.com/ready-after";

/// A store with the driver over it, and a stand-in for the node: pods become ready, and end a second after they
/// are told to.
pub(super) struct Cluster {
    pub(super) store: Arc<Store>,
    pub(super) start: Instant,
    driver: Option<JoinHandle<()>>,
    node: JoinHandle<()>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
        self.node.abort();
    }
}

pub(super) fn wall(start: Instant) -> Wall {
    Wall::default() + Duration::from_secs(1_800_000_000) + start.elapsed()
}

pub(super) fn key(kind: Kind, name: &str) -> ObjectKey {
    ObjectKey::new(kind, "default", name)
}

impl Cluster {
    pub(super) fn new(settings: Settings) -> Self {
        let store = Arc::new(Store::in_memory_with(settings));
        let start = Instant::now();
        let node = tokio::spawn(stand_in(Arc::clone(&store), start));
        let mut cluster = Self {
            store,
            start,
            driver: None,
            node,
        };
        cluster.start();
        cluster
    }

    pub(super) fn start(&mut self) {
        let options = Options {
            node_name: "here".to_owned(),
            default_runtime_class: Some("host".to_owned()),
            root_ca: "CA".to_owned(),
        };
        let start = self.start;
        let driver = Driver::new(Arc::clone(&self.store), options, move || wall(start));
        self.driver = Some(tokio::spawn(driver.run()));
    }

    /// As kill -9 would.
    pub(super) fn kill(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.abort();
        }
    }

    pub(super) fn create(&self, kind: Kind, value: Value) -> ObjectKey {
        let options = decode::Options {
            default_runtime_class: Some("host".to_owned()),
        };
        let admitted = admission::create(kind, value, &options).unwrap();
        self.put(&admitted.key, admitted.value);
        admitted.key
    }

    /// Without asking whether it may be.
    pub(super) fn put(&self, key: &ObjectKey, value: Value) {
        let value = server_fields(value, wall(self.start));
        let created = self.store.transact(Durability::Derived, |transaction| {
            transaction.create(key.clone(), value)
        });
        created.unwrap();
    }

    pub(super) fn change(&self, key: &ObjectKey, change: impl FnOnce(&mut Value)) {
        let changed = self.store.transact(Durability::Derived, |transaction| {
            let before = Value::clone(&transaction.get(key).unwrap().value);
            let mut value = before.clone();
            change(&mut value);
            if value["spec"] != before["spec"] {
                let generation = before["metadata"]["generation"].as_i64().unwrap_or(0);
                value["metadata"]["generation"] = (generation + 1).into();
            }
            transaction.update(key.clone(), None, value)
        });
        changed.unwrap();
    }

    pub(super) fn set_image(&self, deployment: &ObjectKey, image: &str) {
        self.change(deployment, |deployment| {
            deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        });
    }

    pub(super) fn delete(&self, key: &ObjectKey, propagation: probelet_workloads::Propagation) {
        let uid = self.get(key)["metadata"]["uid"]
            .as_str()
            .unwrap()
            .to_owned();
        let action = probelet_workloads::Action::Delete {
            key: key.clone(),
            uid,
            propagation,
        };
        let plan = Plan {
            actions: vec![action],
            ..Plan::default()
        };
        let applied = apply::apply(
            &self.store,
            &plan,
            &Told::default(),
            "here",
            wall(self.start),
        );
        assert_eq!(applied.unwrap(), Applied::Yes);
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Arc<Value> {
        self.store.get(key).unwrap().value
    }

    pub(super) fn list(&self, kind: Kind) -> Vec<Arc<Value>> {
        let all = self.store.list_in(kind, "default").0;
        all.into_iter().map(|object| object.value).collect()
    }

    /// Waits until something is so.
    pub(super) async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let mut watch = newest(&self.store);
        let wait = async {
            while !is(self) {
                if watch.next().await.is_err() {
                    watch = newest(&self.store);
                }
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(4000), wait).await;
        let told = self.told();
        assert!(waited.is_ok(), "it comes to pass that {what}: {told:?}");
    }

    pub(super) async fn until_complete(&self, deployment: &ObjectKey, replicas: u64) {
        self.until("the deployment is complete", |cluster| {
            let deployment = cluster.get(deployment);
            let status = &deployment["status"];
            let counts = ["replicas", "updatedReplicas", "availableReplicas"];
            status["observedGeneration"] == deployment["metadata"]["generation"]
                && counts
                    .iter()
                    .all(|count| status[count].as_u64().unwrap_or(0) == replicas)
                && cluster.list(Kind::Pod).len() == usize::try_from(replicas).unwrap()
        })
        .await;
    }

    /// Reason and message of what was told, with how often.
    pub(super) fn told(&self) -> BTreeMap<String, u64> {
        let events = self.list(Kind::Event).into_iter();
        events
            .map(|event| {
                let text = |field: &str| event[field].as_str().unwrap().to_owned();
                let said = format!("{}: {}", text("reason"), text("message"));
                (said, event["count"].as_u64().unwrap())
            })
            .collect()
    }
}

async fn stand_in(store: Arc<Store>, start: Instant) {
    let mut watch = store.watch_kinds(store.version(), &[Kind::Pod]).unwrap();
    let mut moments: BTreeMap<ObjectKey, (Instant, bool)> = BTreeMap::new();
    loop {
        let next = moments.values().map(|(at, _)| *at).min();
        let wake = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            change = watch.next() => match change {
                Ok(change) => seen(&change, &mut moments),
                Err(_) => watch = store.watch_kinds(store.version(), &[Kind::Pod]).unwrap(),
            },
            () = wake => {}
        }
        let now = Instant::now();
        let due: Vec<ObjectKey> = moments
            .iter()
            .filter(|(_, (at, _))| *at <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            let (_, ends) = moments.remove(&key).unwrap();
            live(&store, &key, ends, wall(start));
        }
    }
}

fn seen(change: &Change, moments: &mut BTreeMap<ObjectKey, (Instant, bool)>) {
    let metadata = &change.object["metadata"];
    let mut after = |seconds: u64, ends: bool| {
        let at = Instant::now() + Duration::from_secs(seconds);
        moments.insert(change.key.clone(), (at, ends));
    };
    let was_told = |value: &Value| value["metadata"]["deletionTimestamp"].is_string();
    match change.kind {
        ChangeKind::Deleted => {}
        _ if was_told(&change.object) => {
            if change
                .before
                .as_deref()
                .is_none_or(|before| !was_told(before))
            {
                after(1, true);
            }
        }
        ChangeKind::Added => {
            if let Some(seconds) = metadata["annotations"][READY_AFTER].as_str() {
                after(seconds.parse().unwrap(), false);
            }
        }
        ChangeKind::Modified => {}
    }
}

fn live(store: &Store, key: &ObjectKey, ends: bool, now: Wall) {
    let lived = store.transact(Durability::Derived, |transaction| {
        if ends {
            return transaction.delete(key, None).map(drop);
        }
        let mut value = Value::clone(&transaction.get(key).unwrap().value);
        value["status"] = json!({
            "phase": "Running",
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": now.to_string() }],
        });
        transaction.update(key.clone(), None, value).map(drop)
    });
    lived.unwrap();
}
