mod cluster;

use std::time::Duration;

use probelet_store::{Settings, Version};
use serde_json::json;

use self::cluster::{Cluster, READY_AFTER, key, wall};
use super::*;

fn template(image: &str, ready_after: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": "web" }, "annotations": { READY_AFTER: ready_after } },
        "spec": { "containers": [{ "name": "web", "image": image, "command": ["web"] }] },
    })
}

fn controller(kind: Kind, name: &str, replicas: u64, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": kind.as_str(),
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "web" } },
            "template": template(image, "2"),
        },
    })
}

#[tokio::test(start_paused = true)]
async fn a_deployment_becomes_pods_and_is_rolled_out() {
    let cluster = Cluster::new(Settings::default());
    let web = controller(Kind::Deployment, "web", 3, "one");
    let web = cluster.create(Kind::Deployment, web);
    cluster.until_complete(&web, 3).await;
    let [set] = &cluster.list(Kind::ReplicaSet)[..] else {
        panic!("there is one set");
    };
    for pod in cluster.list(Kind::Pod) {
        probelet_model::pod::Pod::from_value(&pod).expect("the engine can run it");
        assert_eq!(pod["spec"]["nodeName"], "here");
        assert_eq!(pod["spec"]["runtimeClassName"], "host");
        assert_eq!(
            pod["spec"]["restartPolicy"], "Always",
            "it has upstream's defaults"
        );
        assert_eq!(
            pod["metadata"]["ownerReferences"][0]["uid"],
            set["metadata"]["uid"]
        );
        assert!(pod["metadata"]["uid"].is_string());
        assert!(pod["metadata"]["creationTimestamp"].is_string());
    }
    let first = set["metadata"]["name"].as_str().unwrap();
    let told = cluster.told();
    assert_eq!(
        told[&format!("ScalingReplicaSet: Scaled up replica set {first} from 0 to 3")],
        1
    );
    assert_eq!(told.len(), 4, "and three pods: {told:?}");
    cluster.set_image(&web, "two");
    cluster.until_complete(&web, 3).await;
    let now = cluster.get(&web);
    let annotations = &now["metadata"]["annotations"];
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "2");
    for pod in cluster.list(Kind::Pod) {
        assert_eq!(pod["spec"]["containers"][0]["image"], "two");
    }
    // An hour later nobody tells of it any more, and nothing ever happens again.
    cluster
        .until("all events are gone", |cluster| {
            cluster.list(Kind::Event).is_empty()
        })
        .await;
    let version = cluster.store.version();
    tokio::time::sleep(Duration::from_secs(1_000_000)).await;
    assert_eq!(cluster.store.version(), version);
}

#[tokio::test(start_paused = true)]
async fn whenever_it_is_killed_the_next_one_goes_on() {
    for steps in 1..12 {
        let mut cluster = Cluster::new(Settings::default());
        let web = controller(Kind::Deployment, "web", 3, "one");
        let web = cluster.create(Kind::Deployment, web);
        cluster.until_complete(&web, 3).await;
        cluster.set_image(&web, "two");
        for _ in 0..20 {
            let Version(version) = cluster.store.version();
            let far = Version(version + steps);
            let progress = cluster.until("it goes on", |cluster| cluster.store.version() >= far);
            let _done_or_not = tokio::time::timeout(Duration::from_secs(9), progress).await;
            cluster.kill();
            // What happens meanwhile is seen all the same.
            tokio::time::sleep(Duration::from_millis(500)).await;
            cluster.start();
        }
        cluster.until_complete(&web, 3).await;
        assert_eq!(cluster.list(Kind::ReplicaSet).len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_fallen_behind_looks_at_everything() {
    let settings = Settings {
        remembered_changes: 2,
        ..Settings::default()
    };
    let cluster = Cluster::new(settings);
    let web = controller(Kind::Deployment, "web", 5, "one");
    let web = cluster.create(Kind::Deployment, web);
    // The stand-in may miss pods too, so that these need not become ready.
    cluster
        .until("five pods are made", |cluster| {
            cluster.list(Kind::Pod).len() == 5
        })
        .await;
    cluster.change(&web, |web| web["spec"]["replicas"] = 1.into());
    cluster
        .until("four of them are told to end", |cluster| {
            let pods = cluster.list(Kind::Pod);
            let alive = pods
                .iter()
                .filter(|pod| pod["metadata"].get("deletionTimestamp").is_none());
            alive.count() == 1
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_takes_its_own_with_it() {
    use probelet_workloads::Propagation::{Background, Foreground, Orphan};
    for propagation in [Background, Foreground, Orphan] {
        let cluster = Cluster::new(Settings::default());
        let web = controller(Kind::Deployment, "web", 3, "one");
        let web = cluster.create(Kind::Deployment, web);
        cluster.until_complete(&web, 3).await;
        cluster.delete(&web, propagation);
        cluster
            .until("the deployment is gone", |cluster| {
                cluster.store.get(&web).is_none()
            })
            .await;
        if propagation == Orphan {
            tokio::time::sleep(Duration::from_secs(100)).await;
            assert_eq!(cluster.list(Kind::ReplicaSet).len(), 1);
            assert_eq!(cluster.list(Kind::Pod).len(), 3);
            continue;
        }
        assert_eq!(
            cluster.list(Kind::Pod).is_empty(),
            propagation == Foreground,
            "in the foreground the pods go first"
        );
        cluster
            .until("all is gone", |cluster| {
                let of = |kind| cluster.list(kind).is_empty();
                of(Kind::Pod) && of(Kind::ReplicaSet)
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_furnished_and_ends_with_all_that_is_in_it() {
    let cluster = Cluster::new(Settings::default());
    let in_mine = |kind: Kind, name: &str| ObjectKey::new(kind, "mine", name);
    let mine = cluster.create(
        Kind::Namespace,
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "mine" } }),
    );
    let root_ca = in_mine(Kind::ConfigMap, "kube-root-ca.crt");
    let furniture = [in_mine(Kind::ServiceAccount, "default"), root_ca.clone()];
    let is_furnished =
        |cluster: &Cluster| furniture.iter().all(|key| cluster.store.get(key).is_some());
    cluster.until("it is furnished", is_furnished).await;
    assert_eq!(cluster.get(&root_ca)["data"], json!({ "ca.crt": "CA" }));
    for name in namespaces::ALWAYS_THERE {
        let namespace = cluster.get(&ObjectKey::new(Kind::Namespace, "", name));
        assert_eq!(namespace["status"]["phase"], "Active");
    }
    // What is taken away comes back.
    cluster.delete(&furniture[0], probelet_workloads::Propagation::Background);
    cluster.until("it is furnished again", is_furnished).await;
    let mut web = controller(Kind::Deployment, "web", 2, "one");
    web["metadata"]["namespace"] = "mine".into();
    cluster.create(Kind::Deployment, web);
    let pods = |cluster: &Cluster| cluster.store.list_in(Kind::Pod, "mine").0;
    cluster
        .until("there are pods", |cluster| pods(cluster).len() == 2)
        .await;
    let now = wall(cluster.start).to_string();
    cluster.change(&mine, |mine| {
        mine["metadata"]["deletionTimestamp"] = now.into()
    });
    cluster
        .until("its pods are told to end", |cluster| {
            let pods = pods(cluster);
            pods.iter()
                .all(|pod| pod.value["metadata"]["deletionTimestamp"].is_string())
        })
        .await;
    assert_eq!(cluster.get(&mine)["status"]["phase"], "Terminating");
    cluster
        .until("the namespace is gone", |cluster| {
            cluster.store.get(&mine).is_none()
        })
        .await;
    for kind in Kind::ALL {
        assert_eq!(cluster.store.list_in(kind, "mine").0, [], "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_template_that_is_refused_is_told_in_the_servers_words() {
    let cluster = Cluster::new(Settings::default());
    let mut set = controller(Kind::ReplicaSet, "web", 2, "one");
    set["spec"]["template"]["spec"]["containers"] = json!([]);
    let set_key = key(Kind::ReplicaSet, "web");
    cluster.put(&set_key, set);
    let failure = |cluster: &Cluster| cluster.get(&set_key)["status"]["conditions"][0].clone();
    cluster
        .until("it is told", |cluster| {
            failure(cluster)["reason"] == "FailedCreate"
        })
        .await;
    let message = failure(&cluster)["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("Pod \"web-"), "{message}");
    assert!(
        message.ends_with("\" is invalid: spec.containers: Required value"),
        "{message}"
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    let told = cluster.told();
    let attempts: u64 = told.values().sum();
    assert!((9..=14).contains(&attempts), "waits double: {told:?}");
    assert!(
        told.keys()
            .all(|said| said.contains("Error creating: Pod \"web-"))
    );
    // Mended, it is tried at once.
    cluster.change(&set_key, |set| {
        set["spec"]["template"] = template("one", "0")
    });
    cluster
        .until("the pods are ready", |cluster| {
            cluster.get(&set_key)["status"]["readyReplicas"] == 2
        })
        .await;
    assert_eq!(cluster.get(&set_key)["status"].get("conditions"), None);
}

#[tokio::test(start_paused = true)]
async fn many_events_of_one_kind_become_one() {
    let cluster = Cluster::new(Settings::default());
    let set = controller(Kind::ReplicaSet, "web", 30, "one");
    let set = cluster.create(Kind::ReplicaSet, set);
    cluster
        .until("thirty pods are made", |cluster| {
            cluster.list(Kind::Pod).len() == 30
        })
        .await;
    let created = |cluster: &Cluster| -> (usize, u64) {
        let told = cluster.told();
        let (combined, alone): (Vec<_>, Vec<_>) = told
            .iter()
            .filter(|(said, _)| said.starts_with("SuccessfulCreate: "))
            .partition(|(said, _)| {
                said.contains("(combined from similar events): Created pod: web-")
            });
        (
            alone.len(),
            combined.into_iter().map(|(_, count)| count).sum(),
        )
    };
    assert_eq!(created(&cluster), (10, 20));
    // Ten minutes later they are told alone again.
    tokio::time::sleep(Duration::from_secs(601)).await;
    cluster.change(&set, |set| set["spec"]["replicas"] = 33.into());
    cluster
        .until("three more are made", |cluster| {
            cluster.list(Kind::Pod).len() == 33
        })
        .await;
    assert_eq!(created(&cluster), (13, 20));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_again_is_counted() {
    let cluster = Cluster::new(Settings::default());
    let web = controller(Kind::Deployment, "web", 1, "one");
    let web = cluster.create(Kind::Deployment, web);
    for replicas in [1, 2, 1, 2] {
        cluster.change(&web, |web| web["spec"]["replicas"] = replicas.into());
        cluster.until_complete(&web, replicas).await;
    }
    let told = cluster.told();
    let counts = |what: &str| -> Vec<u64> {
        let about = told.iter().filter(|(said, _)| said.contains(what));
        about.map(|(_, count)| *count).collect()
    };
    assert_eq!(counts("from 1 to 2"), [2]);
    assert_eq!(counts("from 2 to 1"), [1]);
    let event = cluster
        .list(Kind::Event)
        .into_iter()
        .find(|event| event["message"].as_str().unwrap().contains("from 1 to 2"))
        .unwrap();
    assert!(event["firstTimestamp"].as_str() < event["lastTimestamp"].as_str());
    assert_eq!(
        event["source"],
        json!({ "component": "deployment-controller" })
    );
    assert_eq!(event["involvedObject"]["kind"], "Deployment");
    assert_eq!(event["involvedObject"]["name"], "web");
}
