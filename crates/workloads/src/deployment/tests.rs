use std::cell::Cell;
use std::rc::Rc;

use serde_json::json;

use super::*;
use crate::world::{World, deployment, key, replica_set};

mod bounds;
mod progress;
mod scaling;

fn pod(image: &str, ready_after: Option<u64>) -> Value {
    json!({ "image": image, "readyAfter": ready_after })
}

/// A Deployment `web` of three pods, with the bounds of a rolling update.
fn web(max_surge: u64, max_unavailable: u64) -> Value {
    let mut web = deployment("web", 3, &pod("one", Some(2)));
    web["spec"]["strategy"]["rollingUpdate"] =
        json!({ "maxSurge": max_surge, "maxUnavailable": max_unavailable });
    web
}

fn get(world: &World) -> Arc<Value> {
    world.get(&key(Kind::Deployment, "web")).unwrap()
}

fn change(world: &mut World, change: impl FnOnce(&mut Value)) {
    world.change(&key(Kind::Deployment, "web"), change);
}

fn set_image(world: &mut World, image: &str, ready_after: Option<u64>) {
    let pod = pod(image, ready_after);
    change(world, |web| web["spec"]["template"]["spec"] = pod);
}

/// The ReplicaSet of an image.
fn set_of(world: &World, image: &str) -> Arc<Value> {
    let sets = world.list(Kind::ReplicaSet);
    let mut of_image = sets
        .into_iter()
        .filter(|set| set["spec"]["template"]["spec"]["image"] == image);
    let found = of_image
        .next()
        .unwrap_or_else(|| panic!("a set of {image}"));
    assert!(of_image.next().is_none(), "one set of {image}");
    found
}

fn name_of(world: &World, image: &str) -> String {
    object::name(&set_of(world, image)).to_owned()
}

fn size(world: &World, image: &str) -> i64 {
    set_of(world, image)["spec"]["replicas"].as_i64().unwrap()
}

fn condition(world: &World, kind: &str) -> Value {
    let web = get(world);
    let conditions = web["status"]["conditions"].as_array().unwrap();
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == kind);
    found.cloned().unwrap_or_default()
}

/// Status, reason and message of `Progressing`.
fn progressing(world: &World) -> [String; 3] {
    let condition = condition(world, "Progressing");
    ["status", "reason", "message"]
        .map(|field| condition[field].as_str().unwrap_or_default().to_owned())
}

/// What was told of the Deployment since event `from`, with the images in the place of the names of their sets.
fn told(world: &World, from: usize) -> Vec<String> {
    let sets = world.list(Kind::ReplicaSet);
    let of_deployment = world.events[from..]
        .iter()
        .filter_map(|(second, said)| Some((second, said.strip_prefix("Deployment ")?)));
    of_deployment
        .map(|(second, said)| {
            let mut said = format!("{second}s {said}");
            for set in &sets {
                let image = set["spec"]["template"]["spec"]["image"].as_str().unwrap();
                said = said.replace(object::name(set), image);
            }
            said
        })
        .collect()
}

#[test]
fn a_deployment_makes_its_first_replica_set() {
    let mut world = World::new();
    let mut web = web(1, 1);
    web["metadata"]["annotations"] = json!({ "example.com/team": "a" });
    let web = world.create(Kind::Deployment, web);
    let plan = world.plan(&web, &get(&world));
    let [
        Action::Create { key, value },
        Action::Update { value: after, .. },
    ] = &plan.actions[..]
    else {
        panic!("a ReplicaSet and the status: {plan:?}");
    };
    let hash = key.name.strip_prefix("web-").unwrap();
    assert_eq!(
        *value,
        json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": key.name,
                "namespace": "default",
                "labels": { "app": "web", "pod-template-hash": hash },
                "annotations": {
                    "example.com/team": "a",
                    "deployment.kubernetes.io/revision": "1",
                    "deployment.kubernetes.io/desired-replicas": "3",
                    "deployment.kubernetes.io/max-replicas": "4",
                },
                "ownerReferences": [{
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": "web",
                    "uid": get(&world)["metadata"]["uid"],
                    "controller": true,
                    "blockOwnerDeletion": true,
                }],
            },
            "spec": {
                "replicas": 3,
                "selector": { "matchLabels": { "app": "web", "pod-template-hash": hash } },
                "template": {
                    "metadata": { "labels": { "app": "web", "pod-template-hash": hash } },
                    "spec": { "image": "one", "readyAfter": 2 },
                },
            },
        })
    );
    assert_eq!(after["metadata"]["annotations"][revision::REVISION], "1");
    world.settle();
    assert_eq!(
        told(&world, 0),
        ["0s ScalingReplicaSet: Scaled up replica set one from 0 to 3"]
    );
    let name = name_of(&world, "one");
    let created = format!("ReplicaSet {name:?} is progressing.");
    assert_eq!(progressing(&world), ["True", "ReplicaSetUpdated", &created]);
    world.run_until(1);
    let status = get(&world)["status"].clone();
    let now = |second: i64| {
        Value::from(
            (Wall::default()
                + std::time::Duration::from_secs(1_800_000_000 + second.unsigned_abs()))
            .to_string(),
        )
    };
    assert_eq!(
        status,
        json!({
            "observedGeneration": 1,
            "replicas": 3,
            "updatedReplicas": 3,
            "unavailableReplicas": 3,
            "terminatingReplicas": 0,
            "conditions": [
                {
                    "type": "Available",
                    "status": "False",
                    "reason": "MinimumReplicasUnavailable",
                    "message": "Deployment does not have minimum availability.",
                    "lastUpdateTime": now(0),
                    "lastTransitionTime": now(0),
                },
                {
                    "type": "Progressing",
                    "status": "True",
                    "reason": "ReplicaSetUpdated",
                    "message": created,
                    "lastUpdateTime": now(0),
                    "lastTransitionTime": now(0),
                },
            ],
        })
    );
    world.run_until(2);
    let done = format!("ReplicaSet {name:?} has successfully progressed.");
    assert_eq!(
        progressing(&world),
        ["True", "NewReplicaSetAvailable", &done]
    );
    assert_eq!(
        condition(&world, "Progressing")["lastTransitionTime"],
        now(0)
    );
    assert_eq!(
        condition(&world, "Available")["reason"],
        "MinimumReplicasAvailable"
    );
    let plan = world.plan(&web, &get(&world));
    assert_eq!(plan, Plan::default(), "a Deployment at rest costs nothing");
}

#[test]
fn a_set_keeps_the_template_it_is_known_by() {
    let mut world = World::new();
    let web = world.create(Kind::Deployment, web(1, 1));
    let around = Around {
        replica_sets: &[],
        is_taken: &|_| false,
        pods: &[],
        namespace_ends: false,
        admit: &|_, mut value| {
            value["spec"]["template"]["spec"]["runtimeClassName"] = "new-default".into();
            Ok(value)
        },
    };
    let plan = plan(&get(&world), &around, world.now());
    world.apply(plan);
    world.run_until(10);
    assert_eq!(world.list(Kind::ReplicaSet).len(), 1);
    assert_eq!(world.plan(&web, &get(&world)), Plan::default());
}

#[test]
fn a_new_template_is_rolled_out_step_by_step() {
    let roll = |max_surge: u64, max_unavailable: u64| {
        let mut world = World::new();
        world.create(Kind::Deployment, web(max_surge, max_unavailable));
        world.run_until(10);
        let from = world.events.len();
        set_image(&mut world, "two", Some(2));
        world.run_until(60);
        assert_eq!((size(&world, "one"), size(&world, "two")), (0, 3));
        let [_, reason, _] = progressing(&world);
        assert_eq!(reason, "NewReplicaSetAvailable");
        told(&world, from)
    };
    let scaled = |second: u64, way: &str, image: &str, from: u64, to: u64| {
        format!("{second}s ScalingReplicaSet: Scaled {way} replica set {image} from {from} to {to}")
    };
    assert_eq!(
        roll(1, 0),
        [
            scaled(10, "up", "two", 0, 1),
            scaled(12, "down", "one", 3, 2),
            scaled(12, "up", "two", 1, 2),
            scaled(14, "down", "one", 2, 1),
            scaled(14, "up", "two", 2, 3),
            scaled(16, "down", "one", 1, 0),
        ]
    );
    assert_eq!(
        roll(0, 1),
        [
            scaled(10, "down", "one", 3, 2),
            scaled(10, "up", "two", 0, 1),
            scaled(12, "down", "one", 2, 1),
            scaled(12, "up", "two", 1, 2),
            scaled(14, "down", "one", 1, 0),
            scaled(14, "up", "two", 2, 3),
        ]
    );
    assert_eq!(
        roll(3, 0),
        [
            scaled(10, "up", "two", 0, 3),
            scaled(12, "down", "one", 3, 0),
        ]
    );
}

#[test]
fn undo_gives_an_old_replica_set_a_new_revision() {
    let mut world = World::new();
    world.create(Kind::Deployment, web(1, 0));
    world.run_until(10);
    set_image(&mut world, "two", Some(2));
    world.run_until(40);
    set_image(&mut world, "one", Some(2));
    world.run_until(80);
    assert_eq!((size(&world, "one"), size(&world, "two")), (3, 0));
    let annotation = |of: &Value, name: &str| object::annotation(of, name).map(str::to_owned);
    assert_eq!(
        annotation(&get(&world), revision::REVISION).as_deref(),
        Some("3")
    );
    let one = set_of(&world, "one");
    assert_eq!(annotation(&one, revision::REVISION).as_deref(), Some("3"));
    let history = annotation(&one, "deployment.kubernetes.io/revision-history");
    assert_eq!(history.as_deref(), Some("1"));
    let two = set_of(&world, "two");
    assert_eq!(annotation(&two, revision::REVISION).as_deref(), Some("2"));
    let [_, reason, _] = progressing(&world);
    assert_eq!(reason, "NewReplicaSetAvailable");
}

#[test]
fn recreate_never_has_two_revisions_at_one_time() {
    let mut world = World::new();
    let mut web = web(1, 1);
    web["spec"]["strategy"] = json!({ "type": "Recreate" });
    web["spec"]["template"]["spec"]["endsAfter"] = 7.into();
    world.create(Kind::Deployment, web);
    world.run_until(10);
    world.check = Some(Box::new(|world| {
        let pods = world.list(Kind::Pod);
        let mut images: Vec<&Value> = pods.iter().map(|pod| &pod["spec"]["image"]).collect();
        images.dedup();
        assert!(images.len() <= 1, "{images:?}");
    }));
    let from = world.events.len();
    set_image(&mut world, "two", Some(2));
    world.run_until(40);
    assert_eq!(
        told(&world, from),
        [
            "10s ScalingReplicaSet: Scaled down replica set one from 3 to 0",
            "17s ScalingReplicaSet: Scaled up replica set two from 0 to 3",
        ]
    );
    assert_eq!(progressing(&world)[1], "NewReplicaSetAvailable");
    assert_eq!(get(&world)["status"]["availableReplicas"], 3);
    // Back: the set is there already.
    let from = world.events.len();
    set_image(&mut world, "one", Some(2));
    change(&mut world, |web| {
        web["spec"]["template"]["spec"]["endsAfter"] = 7.into()
    });
    world.run_until(80);
    assert_eq!(size(&world, "one"), 3);
    assert_eq!(told(&world, from).len(), 2);
}

#[test]
fn unhealthy_old_pods_go_first() {
    // A bad rollout is followed by a good one: the pods that are not ready go at once.
    let mut world = World::new();
    let mut web = web(2, 1);
    web["spec"]["replicas"] = 4.into();
    world.create(Kind::Deployment, web);
    world.run_until(10);
    set_image(&mut world, "bad", None);
    world.run_until(20);
    assert_eq!((size(&world, "one"), size(&world, "bad")), (3, 3));
    set_image(&mut world, "good", Some(5));
    world.settle();
    assert_eq!(size(&world, "bad"), 0);
    assert_eq!(size(&world, "one"), 3);
    assert_eq!(size(&world, "good"), 3);
    world.run_until(60);
    assert_eq!((size(&world, "one"), size(&world, "good")), (0, 4));
}

#[test]
fn the_oldest_of_two_sets_of_one_template_is_the_new_one() {
    let mut world = World::new();
    let mut sets = Vec::new();
    for name in ["b", "a"] {
        let mut set = replica_set(name, 0, &pod("one", Some(2)));
        set["metadata"]["labels"] = json!({ "app": "web" });
        set["spec"]["template"]["metadata"]["labels"] = json!({ "app": "web" });
        sets.push(world.create(Kind::ReplicaSet, set));
        world.seconds += 1;
    }
    // Their selectors are not the Deployment's matter.
    world.create(Kind::Deployment, web(1, 0));
    let web = key(Kind::Deployment, "web");
    let plan = world.plan(&web, &world.get(&web).unwrap());
    world.apply(plan);
    let replicas =
        |key: &probelet_model::id::ObjectKey| world.get(key).unwrap()["spec"]["replicas"].clone();
    assert_eq!(
        [replicas(&sets[0]), replicas(&sets[1])],
        [json!(3), json!(0)]
    );
}

#[test]
fn a_found_replica_set_is_progress() {
    let mut world = World::new();
    let mut set = replica_set("there", 3, &pod("one", Some(2)));
    let labels = json!({ "app": "web" });
    set["metadata"]["labels"] = labels.clone();
    set["spec"]["selector"]["matchLabels"] = labels.clone();
    set["spec"]["template"]["metadata"]["labels"] = labels;
    world.create(Kind::ReplicaSet, set);
    let mut web = web(1, 0);
    web["spec"]["minReadySeconds"] = 5.into();
    let web = world.create(Kind::Deployment, web);
    let plan = world.plan(&web, &get(&world));
    world.apply(plan);
    let found = "Found new replica set \"there\"";
    assert_eq!(progressing(&world), ["True", "FoundNewReplicaSet", found]);
    let there = set_of(&world, "one");
    assert_eq!(object::controller(&there).unwrap()["name"], "web");
    assert_eq!(there["spec"]["minReadySeconds"], 5);
    assert_eq!(there["metadata"]["generation"], 2);
    for of in [&*there, &*get(&world)] {
        assert_eq!(object::annotation(of, revision::REVISION), Some("1"));
    }
    world.run_until(7);
    assert_eq!(world.list(Kind::ReplicaSet).len(), 1);
    assert_eq!(progressing(&world)[1], "NewReplicaSetAvailable");
}

#[test]
fn a_deployment_made_again_takes_up_its_orphans() {
    let mut world = World::new();
    let web_key = world.create(Kind::Deployment, web(1, 0));
    world.run_until(10);
    world.delete(&web_key, Propagation::Orphan);
    world.settle();
    assert!(world.get(&web_key).is_none());
    let pods = world.list(Kind::Pod);
    world.create(Kind::Deployment, web(1, 0));
    world.run_until(20);
    assert_eq!(world.list(Kind::Pod), pods);
    assert_eq!(progressing(&world)[1], "NewReplicaSetAvailable");
}

#[test]
fn old_revisions_go_beyond_the_limit() {
    let mut world = World::new();
    let mut web = web(3, 0);
    web["spec"]["revisionHistoryLimit"] = 2.into();
    world.create(Kind::Deployment, web);
    for image in ["two", "three", "four", "five"] {
        world.run_for(20);
        set_image(&mut world, image, Some(2));
    }
    world.run_for(20);
    let sets = world.list(Kind::ReplicaSet);
    let mut revisions: Vec<&str> = sets
        .iter()
        .filter_map(|set| object::annotation(set, revision::REVISION))
        .collect();
    revisions.sort_unstable();
    assert_eq!(revisions, ["3", "4", "5"]);
}

#[test]
fn a_taken_name_counts_as_a_collision() {
    let mut world = World::new();
    let template = deployment("web", 3, &pod("one", Some(2)))["spec"]["template"].clone();
    let taken = format!("web-{}", crate::template::hash(&template, None));
    world.create(Kind::ReplicaSet, replica_set(&taken, 0, &pod("x", None)));
    world.create(Kind::Deployment, web(1, 0));
    world.run_until(10);
    assert_eq!(get(&world)["status"]["collisionCount"], 1);
    let expected = format!("web-{}", crate::template::hash(&template, Some(1)));
    assert_eq!(name_of(&world, "one"), expected);
    assert_eq!(world.alive(), 3);
}

#[test]
fn a_deployment_that_goes_takes_all_with_it() {
    for propagation in [Propagation::Background, Propagation::Foreground] {
        let mut world = World::new();
        let web = world.create(Kind::Deployment, web(1, 0));
        world.run_until(10);
        world.delete(&web, propagation);
        world.settle();
        assert_eq!(
            world.get(&web).is_some(),
            propagation == Propagation::Foreground
        );
        assert_eq!(world.alive(), 0, "no pod is made again");
        world.run_until(20);
        for kind in [Kind::Deployment, Kind::ReplicaSet, Kind::Pod] {
            assert_eq!(world.list(kind).len(), 0, "{kind} after {propagation:?}");
        }
    }
}
