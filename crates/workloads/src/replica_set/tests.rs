use serde_json::json;

use super::*;
use crate::world::{World, key, replica_set};

fn ready_after(seconds: u64) -> Value {
    json!({ "readyAfter": seconds, "nodeName": "here" })
}

fn status(world: &World) -> Value {
    let set = world.get(&key(Kind::ReplicaSet, "web")).unwrap();
    set["status"].clone()
}

fn names(world: &World) -> Vec<String> {
    let pods = world.list(Kind::Pod);
    pods.iter()
        .map(|pod| object::name(pod).to_owned())
        .collect()
}

#[test]
fn a_pod_is_made_from_the_template() {
    let mut world = World::new();
    let mut set = replica_set("web", 1, &ready_after(0));
    set["spec"]["template"]["metadata"] = json!({
        "labels": { "app": "web", "tier": "front" },
        "annotations": { "a": "1" },
        "finalizers": ["example.com/hold"],
    });
    world.create(Kind::ReplicaSet, set);
    let set = world.get(&key(Kind::ReplicaSet, "web")).unwrap();
    let plan = world.plan(&key(Kind::ReplicaSet, "web"), &set);
    let [Action::Create { key, value }, Action::Update { .. }] = &plan.actions[..] else {
        panic!("a pod and the status: {plan:?}");
    };
    assert_eq!(
        *value,
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": key.name,
                "generateName": "web-",
                "namespace": "default",
                "labels": { "app": "web", "tier": "front" },
                "annotations": { "a": "1" },
                "finalizers": ["example.com/hold"],
                "ownerReferences": [{
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "web",
                    "uid": set["metadata"]["uid"],
                    "controller": true,
                    "blockOwnerDeletion": true,
                }],
            },
            "spec": { "readyAfter": 0, "nodeName": "here" },
        })
    );
}

#[test]
fn missing_pods_are_made_and_surplus_ones_deleted() {
    let mut world = World::new();
    let set = world.create(Kind::ReplicaSet, replica_set("web", 3, &ready_after(5)));
    world.run_until(4);
    assert_eq!(world.alive(), 3);
    assert_eq!(
        status(&world),
        json!({
            "replicas": 3,
            "fullyLabeledReplicas": 3,
            "terminatingReplicas": 0,
            "observedGeneration": 1,
        })
    );
    let made = names(&world);
    let said: Vec<String> = made
        .iter()
        .map(|name| format!("ReplicaSet SuccessfulCreate: Created pod: {name}"))
        .collect();
    assert_eq!(world.said().len(), 3);
    assert!(
        said.iter()
            .all(|said| world.said().contains(&said.as_str()))
    );
    world.run_until(5);
    assert_eq!(status(&world)["readyReplicas"], 3);
    assert_eq!(status(&world)["availableReplicas"], 3);
    world.change(&set, |set| set["spec"]["replicas"] = 1.into());
    world.settle();
    assert_eq!(world.alive(), 1);
    assert_eq!(
        status(&world),
        json!({
            "replicas": 1,
            "fullyLabeledReplicas": 1,
            "readyReplicas": 1,
            "availableReplicas": 1,
            "terminatingReplicas": 2,
            "observedGeneration": 2,
        })
    );
    let deleted = world
        .said()
        .iter()
        .filter(|said| said.starts_with("ReplicaSet SuccessfulDelete: Deleted pod: web-"))
        .count();
    assert_eq!(deleted, 2);
    world.run_for(1);
    assert_eq!(status(&world)["terminatingReplicas"], 0);
}

#[test]
fn a_plan_makes_five_hundred_pods_at_most() {
    let mut world = World::new();
    let set = world.create(Kind::ReplicaSet, replica_set("web", 700, &ready_after(5)));
    let plan = world.plan(&set, &world.get(&set).unwrap());
    assert_eq!(plan.events.len(), BURST);
    world.settle();
    assert_eq!(world.alive(), 700, "the rest follows");
    world.change(&set, |set| set["spec"]["replicas"] = 0.into());
    world.settle();
    assert_eq!(world.alive(), 0);
}

#[test]
fn pods_that_end_are_replaced() {
    let mut world = World::new();
    world.create(Kind::ReplicaSet, replica_set("web", 2, &ready_after(1)));
    world.run_until(1);
    let [gone, failed] = &names(&world)[..] else {
        panic!("there are two");
    };
    world.delete(&key(Kind::Pod, gone), Propagation::Background);
    world.change(&key(Kind::Pod, failed), |pod| {
        pod["status"] = json!({ "phase": "Failed" });
    });
    world.settle();
    assert_eq!(status(&world)["replicas"], 2, "neither of the two counts");
    assert_eq!(status(&world)["terminatingReplicas"], 1);
    world.run_for(5);
    assert_eq!(status(&world)["readyReplicas"], 2);
    assert_eq!(
        world.list(Kind::Pod).len(),
        3,
        "the failed one is still to be seen"
    );
}

#[test]
fn a_status_counts_labels_readiness_and_availability() {
    let mut world = World::new();
    let mut set = replica_set("web", 2, &ready_after(3));
    set["spec"]["minReadySeconds"] = 10.into();
    let set = world.create(Kind::ReplicaSet, set);
    world.run_until(3);
    assert_eq!(status(&world)["readyReplicas"], 2);
    assert_eq!(status(&world).get("availableReplicas"), None);
    let plan = world.plan(&set, &world.get(&set).unwrap());
    assert_eq!(
        plan.deadline,
        Some(world.now() + std::time::Duration::from_secs(10))
    );
    world.run_until(12);
    assert_eq!(status(&world).get("availableReplicas"), None);
    world.run_until(13);
    assert_eq!(status(&world)["availableReplicas"], 2);
    let plan = world.plan(&set, &world.get(&set).unwrap());
    assert_eq!(plan, Plan::default(), "then there is nothing to wait for");
    world.change(&set, |set| {
        set["spec"]["template"]["metadata"]["labels"]["tier"] = "front".into();
    });
    world.settle();
    assert_eq!(status(&world).get("fullyLabeledReplicas"), None);
    assert_eq!(status(&world)["replicas"], 2);
}

#[test]
fn a_refused_template_is_told_and_tried_again() {
    let mut world = World::new();
    let set = world.create(Kind::ReplicaSet, replica_set("web", 3, &ready_after(0)));
    world.refusal = Some("spec.containers: Required value".to_owned());
    let plan = world.plan(&set, &world.get(&set).unwrap());
    assert!(plan.failed);
    let [event] = &plan.events[..] else {
        panic!("the first refusal ends the batch: {plan:?}");
    };
    assert_eq!(event.reason, "FailedCreate");
    let error = event
        .message
        .strip_prefix("Error creating: ")
        .unwrap()
        .to_owned();
    assert!(error.starts_with("Pod \"web-"), "{error}");
    assert!(error.ends_with("\" is invalid: spec.containers: Required value"));
    world.apply(plan);
    let condition = |world: &World| status(world)["conditions"][0].clone();
    assert_eq!(
        condition(&world),
        json!({
            "type": "ReplicaFailure",
            "status": "True",
            "lastTransitionTime": world.now().to_string(),
            "reason": "FailedCreate",
            "message": error,
        })
    );
    let again = world.plan(&set, &world.get(&set).unwrap());
    assert!(
        again.failed && again.actions.is_empty(),
        "the condition stays as it is"
    );
    world.refusal = None;
    world.settle();
    assert_eq!(world.alive(), 3);
    assert_eq!(status(&world).get("conditions"), None);
}

#[test]
fn a_plan_looks_at_little_of_a_pod() {
    let pod = json!({
        "metadata": { "uid": "u", "labels": { "app": "web" }, "annotations": { "a": "1" } },
        "status": {
            "phase": "Running",
            "conditions": [
                { "type": "Initialized", "status": "True" },
                { "type": "Ready", "status": "True", "lastTransitionTime": "2026-11-28T10:00:00Z" },
            ],
            "containerStatuses": [{ "restartCount": 0 }],
        },
    });
    for (path, value, same) in [
        ("/metadata/annotations/a", json!("2"), true),
        ("/status/containerStatuses/0/restartCount", json!(1), true),
        ("/status/conditions/0/status", json!("False"), true),
        ("/status/conditions/1/status", json!("False"), false),
        (
            "/status/conditions/1/lastTransitionTime",
            json!("2026-11-28T10:00:01Z"),
            false,
        ),
        ("/status/phase", json!("Failed"), false),
        ("/metadata/labels/app", json!("db"), false),
        ("/metadata/uid", json!("v"), false),
    ] {
        let mut after = pod.clone();
        *after.pointer_mut(path).unwrap() = value;
        assert_eq!(sees_no_difference(&pod, &after), same, "{path}");
    }
    for field in ["deletionTimestamp", "ownerReferences"] {
        let mut after = pod.clone();
        after["metadata"][field] = "new".into();
        assert!(!sees_no_difference(&pod, &after), "{field}");
    }
}

#[test]
fn nothing_is_made_in_a_namespace_that_ends() {
    let mut world = World::new();
    world.namespace_ends = true;
    world.create(Kind::ReplicaSet, replica_set("web", 3, &ready_after(0)));
    world.settle();
    assert_eq!(world.alive(), 0);
    assert_eq!(world.said(), Vec::<&str>::new());
    assert_eq!(status(&world).get("conditions"), None);
}

#[test]
fn an_orphan_counts_and_who_loses_the_label_is_replaced() {
    let mut world = World::new();
    let pod = json!({
        "metadata": { "name": "loner", "namespace": "default", "labels": { "app": "web" } },
        "spec": ready_after(0),
    });
    let loner = world.create(Kind::Pod, pod);
    let set = world.create(Kind::ReplicaSet, replica_set("web", 2, &ready_after(0)));
    world.settle();
    assert_eq!(world.alive(), 2, "one was there");
    let uid = world.get(&set).unwrap()["metadata"]["uid"].clone();
    let owner = |world: &World| world.get(&loner).unwrap()["metadata"]["ownerReferences"].clone();
    assert_eq!(owner(&world)[0]["uid"], uid);
    world.change(&loner, |pod| {
        pod["metadata"]["labels"]["app"] = "debug".into()
    });
    world.settle();
    assert_eq!(owner(&world), json!(null));
    assert_eq!(world.alive(), 3);
    assert_eq!(status(&world)["replicas"], 2);
    world.change(&loner, |pod| {
        pod["metadata"]["labels"]["app"] = "web".into()
    });
    world.run_for(1);
    assert_eq!(world.alive(), 2, "back again it is one too many");
}
