use std::pin::Pin;
use std::time::Duration;

use probelet_store::Durability;
use serde_json::json;

use super::*;

/// An object of a few words: `Kind namespace/name`, with these owners.
fn put(store: &Store, kind: Kind, name: &str, owners: &[&str]) -> ObjectKey {
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let key = ObjectKey::new(kind, namespace, name);
    let owners: Vec<Value> = owners.iter().map(|uid| json!({ "uid": uid })).collect();
    let value = json!({
        "metadata": { "uid": format!("{kind} {name}"), "ownerReferences": owners },
    });
    store
        .transact(Durability::Derived, |transaction| {
            transaction.create(key.clone(), value).map(drop)
        })
        .unwrap();
    key
}

fn about(store: &Store, name: &str, uid: &str) {
    let key = ObjectKey::new(Kind::Event, "default", name);
    let value = json!({ "metadata": {}, "involvedObject": { "uid": uid } });
    store
        .transact(Durability::Derived, |transaction| {
            transaction.create(key, value).map(drop)
        })
        .unwrap();
}

fn there(store: &Store) -> Vec<String> {
    let all = Kind::ALL.into_iter().flat_map(|kind| store.list(kind).0);
    all.map(|object| format!("{} {}", object.key.kind, object.key.name))
        .collect()
}

/// What the agent's loop does with a pod that has ended.
fn end(store: &Store, key: &ObjectKey) {
    let value = store.get(key).unwrap().value;
    assert!(value["metadata"]["deletionTimestamp"].is_string());
    store
        .transact(Durability::Derived, |transaction| {
            transaction.delete(key, None).map(drop)
        })
        .unwrap();
}

async fn is_done(what: Pin<&mut impl Future<Output = ()>>) -> bool {
    tokio::time::timeout(Duration::ZERO, what).await.is_ok()
}

#[tokio::test]
async fn what_an_object_owns_goes_with_it_and_pods_are_waited_for() {
    let store = Arc::new(Store::in_memory());
    let web = put(&store, Kind::Deployment, "default/web", &[]);
    let set = put(
        &store,
        Kind::ReplicaSet,
        "default/web-1",
        &["Deployment web"],
    );
    let pod = put(&store, Kind::Pod, "default/web-1-a", &["ReplicaSet web-1"]);
    let shared = put(
        &store,
        Kind::Pod,
        "default/shared",
        &["ReplicaSet web-1", "another"],
    );
    let service = put(&store, Kind::Service, "default/web", &[]);
    put(&store, Kind::Endpoints, "default/web", &[]);
    put(&store, Kind::Endpoints, "default/own", &[]);
    put(
        &store,
        Kind::EndpointSlice,
        "default/web-s",
        &["Service web"],
    );
    about(&store, "of-web", "Deployment web");
    about(&store, "of-own", "Endpoints own");

    let deletion = Deletion::begin(Arc::clone(&store), &[web, service]);
    assert!(store.get(&set).is_none());
    assert_eq!(
        there(&store),
        [
            "Pod shared",
            "Pod web-1-a",
            "Endpoints own",
            "Event of-own",
            "Event of-web"
        ]
    );
    let mut gone = std::pin::pin!(deletion.gone());
    assert!(!is_done(gone.as_mut()).await);
    // A plan from before the deletion that came to be carried out after it.
    let late = put(&store, Kind::Pod, "default/web-1-b", &["ReplicaSet web-1"]);
    end(&store, &pod);
    assert!(!is_done(gone.as_mut()).await);
    end(&store, &late);
    assert!(is_done(gone.as_mut()).await);
    assert_eq!(
        there(&store),
        ["Pod shared", "Endpoints own", "Event of-own"]
    );
    let kept = store.get(&shared).unwrap().value;
    assert_eq!(kept["metadata"].get("deletionTimestamp"), None);
}

#[tokio::test]
async fn a_namespace_goes_after_its_pods_with_all_that_is_in_it() {
    let store = Arc::new(Store::in_memory());
    let namespace = put(&store, Kind::Namespace, "own", &[]);
    let pod = put(&store, Kind::Pod, "own/pod", &[]);
    let other = put(&store, Kind::Pod, "default/other", &[]);
    put(&store, Kind::ConfigMap, "own/kube-root-ca.crt", &[]);

    let deletion = Deletion::begin(Arc::clone(&store), std::slice::from_ref(&namespace));
    assert_eq!(there(&store), ["Pod other", "Pod pod", "Namespace own"]);
    let ending = store.get(&namespace).unwrap().value;
    assert!(ending["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(ending["status"]["phase"], "Terminating");
    let grace = || {
        let pod = store.get(&pod).unwrap().value;
        pod["metadata"]["deletionGracePeriodSeconds"].clone()
    };
    assert_eq!(grace(), 30);
    deletion.hurry();
    assert_eq!(grace(), 0);
    end(&store, &pod);
    assert!(is_done(std::pin::pin!(deletion.gone())).await);
    assert_eq!(there(&store), ["Pod other"]);
    let kept = store.get(&other).unwrap().value;
    assert_eq!(kept["metadata"].get("deletionTimestamp"), None);
}
