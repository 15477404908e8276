//! Changes of a Deployment's size.

use super::*;

#[test]
fn a_paused_deployment_is_scaled_and_not_rolled_out() {
    let mut world = World::new();
    world.create(Kind::Deployment, web(1, 0));
    world.run_until(10);
    change(&mut world, |web| web["spec"]["paused"] = true.into());
    set_image(&mut world, "two", Some(2));
    world.run_until(700);
    assert_eq!(world.list(Kind::ReplicaSet).len(), 1, "nothing new is made");
    assert_eq!(
        progressing(&world),
        ["Unknown", "DeploymentPaused", "Deployment is paused"]
    );
    change(&mut world, |web| web["spec"]["replicas"] = 5.into());
    world.run_until(710);
    assert_eq!(size(&world, "one"), 5);
    assert_eq!(get(&world)["status"]["availableReplicas"], 5);
    assert_eq!(get(&world)["status"].get("updatedReplicas"), None);
    change(&mut world, |web| web["spec"]["replicas"] = 0.into());
    world.run_until(720);
    change(&mut world, |web| web["spec"]["replicas"] = 2.into());
    world.run_until(730);
    assert_eq!(size(&world, "one"), 2, "the newest comes back from zero");
    let seen = Rc::new(Cell::new(false));
    let seen_here = Rc::clone(&seen);
    world.check = Some(Box::new(move |world| {
        let resumed = progressing(world)[1] == "DeploymentResumed";
        seen_here.set(seen_here.get() || resumed);
    }));
    change(&mut world, |web| web["spec"]["paused"] = false.into());
    world.run_until(760);
    assert!(
        !seen.get(),
        "in one step it is resumed and makes its new set"
    );
    assert_eq!((size(&world, "one"), size(&world, "two")), (0, 2));
    assert_eq!(progressing(&world)[1], "NewReplicaSetAvailable");
}

#[test]
fn scaling_while_rolling_is_in_proportion() {
    // The example of the Kubernetes documentation: 10 replicas, surge 3, unavailable 2, a bad image, then 15.
    let mut world = World::new();
    let mut web = web(3, 2);
    web["spec"]["replicas"] = 10.into();
    world.create(Kind::Deployment, web);
    world.run_until(10);
    set_image(&mut world, "two", None);
    world.run_until(20);
    assert_eq!((size(&world, "one"), size(&world, "two")), (8, 5));
    change(&mut world, |web| web["spec"]["replicas"] = 15.into());
    world.run_until(30);
    assert_eq!((size(&world, "one"), size(&world, "two")), (11, 7));
    for image in ["one", "two"] {
        let set = set_of(&world, image);
        assert_eq!(
            object::annotation(&set, revision::DESIRED_REPLICAS),
            Some("15")
        );
        assert_eq!(object::annotation(&set, revision::MAX_REPLICAS), Some("18"));
    }
    change(&mut world, |web| web["spec"]["replicas"] = 5.into());
    world.run_until(40);
    assert_eq!((size(&world, "one"), size(&world, "two")), (3, 5));
    change(&mut world, |web| web["spec"]["replicas"] = 0.into());
    world.run_until(50);
    assert_eq!(world.list(Kind::Pod).len(), 0);
}

#[test]
fn shares_are_upstreams() {
    // Upstream's TestScale: the Deployment's size and surge, before and after; the sizes of its sets, the oldest
    // first, and what they become; whether the youngest is of its template.
    for (before, after, sizes, expected, has_new) in [
        ((10, 0), (12, 0), vec![10], vec![12], true),
        ((10, 0), (5, 0), vec![10], vec![5], true),
        ((5, 0), (10, 0), vec![3, 2], vec![6, 4], true),
        ((5, 0), (3, 0), vec![3, 2], vec![2, 1], true),
        ((9, 0), (4, 0), vec![1, 8], vec![0, 4], true),
        ((7, 0), (10, 0), vec![2, 3, 2], vec![3, 4, 3], true),
        ((13, 0), (8, 0), vec![3, 8, 2], vec![2, 5, 1], true),
        ((3, 0), (4, 0), vec![1, 1, 1], vec![1, 1, 2], true),
        ((3, 0), (2, 0), vec![1, 1, 1], vec![0, 1, 1], true),
        ((4, 0), (5, 0), vec![2, 2], vec![2, 3], false),
        ((6, 0), (0, 0), vec![1, 2, 3], vec![0, 0, 0], true),
        ((6, 0), (6, 0), vec![0, 0, 0], vec![0, 0, 6], true),
        ((10, 2), (20, 2), vec![6, 6], vec![11, 11], true),
        ((10, 3), (50, 6), vec![8, 5], vec![34, 22], true),
        ((10, 0), (14, 0), vec![3, 7], vec![4, 10], false),
        ((2, 1), (2, 1), vec![1, 2], vec![1, 2], true),
    ] {
        let mut world = World::new();
        let mut web = web(after.1, 1);
        web["spec"]["replicas"] = after.0.into();
        web["spec"]["paused"] = true.into();
        let newest = if has_new {
            sizes.len() - 1
        } else {
            sizes.len()
        };
        web["spec"]["template"]["spec"] = pod(&newest.to_string(), None);
        world.create(Kind::Deployment, web);
        for (index, size) in sizes.iter().enumerate() {
            world.seconds += 1;
            let mut set = replica_set(
                &format!("set-{index}"),
                *size,
                &pod(&index.to_string(), None),
            );
            set["metadata"]["labels"] = json!({ "app": "web" });
            set["spec"]["selector"] =
                json!({ "matchLabels": { "app": "web", "set": index.to_string() } });
            set["spec"]["template"]["metadata"]["labels"] = json!({ "app": "web" });
            set["metadata"]["annotations"] = json!({
                revision::DESIRED_REPLICAS: before.0.to_string(),
                revision::MAX_REPLICAS: (before.0 + before.1).to_string(),
            });
            world.create(Kind::ReplicaSet, set);
        }
        let web = key(Kind::Deployment, "web");
        let plan = world.plan(&web, &world.get(&web).unwrap());
        world.apply(plan);
        let sets = world.list(Kind::ReplicaSet);
        let found: Vec<u64> = sets
            .iter()
            .map(|set| set["spec"]["replicas"].as_u64().unwrap())
            .collect();
        assert_eq!(found, expected, "from {sizes:?} of {before:?} to {after:?}");
    }
}

#[test]
fn a_set_scaled_by_hand_does_not_stop_later_rollouts() {
    let mut world = World::new();
    world.create(Kind::Deployment, web(1, 0));
    world.run_until(10);
    let one = key(Kind::ReplicaSet, &name_of(&world, "one"));
    // Both at once, as two people may.
    world.change(&one, |set| set["spec"]["replicas"] = 5.into());
    change(&mut world, |web| web["spec"]["replicas"] = 5.into());
    world.run_until(20);
    set_image(&mut world, "two", Some(2));
    world.run_until(60);
    assert_eq!((size(&world, "one"), size(&world, "two")), (0, 5));
}

#[test]
fn adopted_pods_of_old_templates_go_when_the_new_set_is_saturated() {
    let mut world = World::new();
    world.create(Kind::Deployment, web(1, 0));
    world.run_until(10);
    let mut stray = replica_set("stray", 2, &pod("stray", Some(0)));
    stray["metadata"]["labels"] = json!({ "app": "web" });
    stray["spec"]["selector"] = json!({ "matchLabels": { "app": "web", "set": "stray" } });
    stray["spec"]["template"]["metadata"]["labels"] = json!({ "app": "web", "set": "stray" });
    stray["metadata"]["annotations"] = json!({ revision::DESIRED_REPLICAS: "2" });
    let stray = world.create(Kind::ReplicaSet, stray);
    world.run_until(20);
    let stray = world.get(&stray).unwrap();
    assert_eq!(
        object::controller(&stray).unwrap()["name"],
        "web",
        "it is adopted"
    );
    assert_eq!(size(&world, "stray"), 0);
    assert_eq!(size(&world, "one"), 3);
}

#[test]
fn a_changed_strategy_does_not_stop_a_rollout() {
    let mut world = World::new();
    world.create(Kind::Deployment, web(1, 0));
    world.run_until(10);
    set_image(&mut world, "two", None);
    world.run_until(20);
    assert_eq!((size(&world, "one"), size(&world, "two")), (3, 1));
    change(&mut world, |web| {
        web["spec"]["strategy"] = json!({ "type": "Recreate" });
        web["spec"]["replicas"] = 5.into();
    });
    world.run_until(40);
    assert_eq!((size(&world, "one"), size(&world, "two")), (0, 5));
}
