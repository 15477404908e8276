//! What was acknowledged is there after any crash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, ListParams, PostParams};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::kube_rs::client_of;
use crate::node::Node;

const CRASHES: u64 = 200;
/// How many write at a time.
const WRITERS: u64 = 4;

#[test]
fn an_acknowledged_write_survives_two_hundred_crashes() {
    let mut node = Node::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let counts = Arc::new(Counts::default());
    let mut acknowledged: Vec<String> = Vec::new();
    for crash in 0..CRASHES {
        // Spread over what some writes take.
        let life = Duration::from_micros(crash * 7919 % 40_000);
        let before = counts.acknowledged.load(Ordering::Relaxed);
        let client = runtime.block_on(client_of(&node.kubeconfig()));
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| runtime.spawn(write(client.clone(), Arc::clone(&counts))))
            .collect();
        runtime.block_on(async {
            while counts.acknowledged.load(Ordering::Relaxed) == before {
                assert!(
                    !writers.iter().all(JoinHandle::is_finished),
                    "nobody can write"
                );
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(life).await;
        });
        // Each of them has a write under way, or is about to begin one.
        assert!(!writers.iter().any(JoinHandle::is_finished));
        node.kill();
        for writer in writers {
            acknowledged.extend(runtime.block_on(writer).unwrap());
        }
        node.start_again();
    }
    let there: BTreeMap<String, ConfigMap> = runtime.block_on(async {
        let maps: Api<ConfigMap> = Api::default_namespaced(client_of(&node.kubeconfig()).await);
        let all = maps.list(&ListParams::default()).await.unwrap();
        let named = |map: ConfigMap| (map.metadata.name.clone().unwrap(), map);
        all.items.into_iter().map(named).collect()
    });
    let whole = |name: &String| {
        let data = there.get(name)?.data.as_ref()?;
        (data.get("by") == Some(name)).then_some(())
    };
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|name| whole(name).is_none())
        .collect();
    assert!(lost.is_empty(), "of {} writes {lost:?}", acknowledged.len());
    println!(
        "{CRASHES} crashes, {} acknowledged writes",
        acknowledged.len()
    );
    node.finish();
}

/// Of all writers together.
#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    acknowledged: AtomicU64,
}

/// Writes until nobody answers, and returns what was acknowledged.
async fn write(client: Client, counts: Arc<Counts>) -> Vec<String> {
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let mut written = Vec::new();
    loop {
        let name = format!("write-{}", counts.begun.fetch_add(1, Ordering::Relaxed));
        let map = json!({ "metadata": { "name": name }, "data": { "by": name } });
        let map: ConfigMap = serde_json::from_value(map).unwrap();
        if maps.create(&PostParams::default(), &map).await.is_err() {
            return written;
        }
        counts.acknowledged.fetch_add(1, Ordering::Relaxed);
        written.push(name);
    }
}
