//! What pods and the node use, as `metrics.k8s.io` tells it.

use probelet_model::id::{Kind, ObjectKey};
use probelet_store::{Durability, Transaction};
use serde_json::{Value, json};

use crate::ground::Ground;

const GROUP: &str = "/apis/metrics.k8s.io/v1beta1";

fn put(ground: &Ground, kind: Kind, namespace: &str, name: &str, phase: &str) {
    let key = ObjectKey::new(kind, namespace, name);
    let value = json!({
        "kind": kind.as_str(), "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace, "uid": name, "labels": {"app": name}},
        "spec": {}, "status": {"phase": phase},
    });
    let put = |transaction: &mut Transaction<'_>| transaction.put_any(key, value);
    ground.store.transact(Durability::Derived, put).unwrap();
}

async fn json(ground: &Ground, path: &str) -> Value {
    let protobuf = [("accept", "application/vnd.kubernetes.protobuf, */*")];
    ground
        .get(&format!("{GROUP}{path}"), &protobuf)
        .await
        .json()
}

#[tokio::test]
async fn pods_tell_what_they_use() {
    let ground = Ground::new().await;
    put(&ground, Kind::Pod, "a", "busy", "Running");
    put(&ground, Kind::Pod, "a", "unknown", "Running");
    put(&ground, Kind::Pod, "b", "waits", "Pending");
    let list = json(&ground, "/pods").await;
    assert_eq!(list["kind"], "PodMetricsList");
    assert_eq!(list["apiVersion"], "metrics.k8s.io/v1beta1");
    let expected = json!([{
        "kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {
            "name": "busy", "namespace": "a", "labels": {"app": "busy"},
            "creationTimestamp": "2026-11-01T00:00:00Z",
        },
        "timestamp": "2026-11-01T00:00:00Z",
        "window": "2s",
        "containers": [{"name": "main", "usage": {"cpu": "250m", "memory": "5Mi"}}],
    }]);
    assert_eq!(list["items"], expected);
    // The next question is told of the time since.
    let one = json(&ground, "/namespaces/a/pods/busy").await;
    assert_eq!(
        (&one["window"], &one["containers"]),
        (&json!("4s"), &expected[0]["containers"])
    );
    for none in ["/namespaces/b/pods", "/pods?labelSelector=app%3Dwaits"] {
        assert_eq!(json(&ground, none).await["items"], json!([]), "{none}");
    }
    let chosen = json(&ground, "/namespaces/a/pods?labelSelector=app%3Dbusy").await;
    assert_eq!(chosen["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn one_that_does_not_run_has_no_metrics() {
    let ground = Ground::new().await;
    put(&ground, Kind::Pod, "b", "waits", "Pending");
    for (path, expected) in [
        (
            "/namespaces/b/pods/waits",
            "podmetrics.metrics.k8s.io \"b/waits\" not found",
        ),
        ("/namespaces/b/pods/none", "pods \"none\" not found"),
        ("/nodes/other", "nodes \"other\" not found"),
    ] {
        let status = json(&ground, path).await;
        assert_eq!(
            (&status["code"], &status["message"]),
            (&404.into(), &expected.into())
        );
    }
    let refused = json(&ground, "/pods?labelSelector=%3D%3D").await;
    assert_eq!(refused["code"], 400);
    let watch = ground.get(&format!("{GROUP}/pods?watch=1"), &[]).await;
    assert_eq!(watch.json()["code"], 405);
}

#[tokio::test]
async fn the_node_tells_what_it_uses() {
    let ground = Ground::new().await;
    put(&ground, Kind::Node, "", "node-1", "");
    put(&ground, Kind::Node, "", "another", "");
    let list = json(&ground, "/nodes").await;
    let items = list["items"].as_array().unwrap();
    assert_eq!((&list["kind"], items.len()), (&json!("NodeMetricsList"), 1));
    assert_eq!(items[0]["usage"], json!({"cpu": "0", "memory": "3Mi"}));
    assert_eq!(items[0]["metadata"]["name"], "node-1");
    let found = ground.get("/apis/metrics.k8s.io", &[]).await.json();
    assert_eq!(
        found["preferredVersion"]["groupVersion"],
        "metrics.k8s.io/v1beta1"
    );
}
