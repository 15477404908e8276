//! What the conditions say, and when.

use super::*;

#[test]
fn a_stuck_rollout_meets_its_deadline_to_the_second() {
    let mut world = World::new();
    world.create(Kind::Deployment, web(1, 0));
    world.run_until(100);
    change(&mut world, |web| {
        web["spec"]["progressDeadlineSeconds"] = 30.into()
    });
    set_image(&mut world, "two", None);
    world.run_until(129);
    let [_, reason, _] = progressing(&world);
    assert_eq!(
        reason, "ReplicaSetUpdated",
        "the pod that was made was progress"
    );
    world.run_until(130);
    let two = name_of(&world, "two");
    let message = format!("ReplicaSet {two:?} has timed out progressing.");
    assert_eq!(
        progressing(&world),
        ["False", "ProgressDeadlineExceeded", &message]
    );
    assert_eq!(
        World::second(&condition(&world, "Progressing")["lastUpdateTime"]),
        130
    );
    let plan = world.plan(&key(Kind::Deployment, "web"), &get(&world));
    assert_eq!(
        plan,
        Plan::default(),
        "it says so once and does not look again"
    );
    assert_eq!(world.available(0), 3, "the old ones serve on");
    // A new template that is good gets it going again.
    set_image(&mut world, "three", Some(2));
    world.run_until(160);
    assert_eq!(size(&world, "three"), 3);
    let [status, reason, _] = progressing(&world);
    assert_eq!(
        [status.as_str(), reason.as_str()],
        ["True", "NewReplicaSetAvailable"]
    );
    assert_eq!(
        World::second(&condition(&world, "Progressing")["lastTransitionTime"]),
        160 - 30
    );
}

#[test]
fn each_bit_of_progress_puts_the_deadline_off() {
    let mut world = World::new();
    let mut web = web(1, 0);
    web["spec"]["progressDeadlineSeconds"] = 10.into();
    world.create(Kind::Deployment, web);
    world.run_until(100);
    set_image(&mut world, "two", Some(8));
    world.run_until(107);
    assert_eq!(
        World::second(&condition(&world, "Progressing")["lastUpdateTime"]),
        100
    );
    for second in [108, 116] {
        world.run_until(second);
        let condition = condition(&world, "Progressing");
        assert_eq!(condition["reason"], "ReplicaSetUpdated");
        assert_eq!(World::second(&condition["lastUpdateTime"]), second);
    }
    world.run_until(124);
    let [_, reason, _] = progressing(&world);
    assert_eq!(reason, "NewReplicaSetAvailable");
}

#[test]
fn without_a_deadline_nothing_is_said_of_progress() {
    let mut world = World::new();
    let mut web = web(1, 0);
    web["spec"]["progressDeadlineSeconds"] = 2_147_483_647_i64.into();
    world.create(Kind::Deployment, web);
    world.run_until(5000);
    assert_eq!(condition(&world, "Progressing"), Value::Null);
    assert_eq!(condition(&world, "Available")["status"], "True");
}

#[test]
fn a_resumed_deployment_has_its_whole_deadline() {
    let mut world = World::new();
    let mut web = web(1, 0);
    web["spec"]["progressDeadlineSeconds"] = 20.into();
    world.create(Kind::Deployment, web);
    world.run_until(10);
    set_image(&mut world, "two", None);
    world.run_until(15);
    change(&mut world, |web| web["spec"]["paused"] = true.into());
    world.run_until(100);
    assert_eq!(progressing(&world)[1], "DeploymentPaused");
    change(&mut world, |web| web["spec"]["paused"] = false.into());
    world.run_until(119);
    assert_eq!(
        progressing(&world),
        ["Unknown", "DeploymentResumed", "Deployment is resumed"]
    );
    world.run_until(120);
    assert_eq!(progressing(&world)[1], "ProgressDeadlineExceeded");
    // It stays said, whatever is paused then.
    change(&mut world, |web| web["spec"]["paused"] = true.into());
    world.run_until(130);
    assert_eq!(progressing(&world)[1], "ProgressDeadlineExceeded");
}

#[test]
fn a_replica_set_that_cannot_be_made_is_told() {
    let mut world = World::new();
    let web = world.create(Kind::Deployment, web(1, 0));
    world.refusal = Some("no".to_owned());
    let plan = world.plan(&web, &get(&world));
    assert!(plan.failed);
    world.apply(plan);
    let [status, reason, message] = progressing(&world);
    assert_eq!(
        [status.as_str(), reason.as_str()],
        ["False", "ReplicaSetCreateError"]
    );
    assert!(
        message.starts_with("Failed to create new replica set \"web-"),
        "{message}"
    );
    assert!(message.ends_with("is invalid: no"), "{message}");
    assert_eq!(
        world.said(),
        [format!("Deployment ReplicaSetCreateError: {message}")]
    );
    world.refusal = None;
    world.run_until(10);
    assert_eq!(world.available(0), 3);
}

#[test]
fn failures_of_replica_sets_are_the_deployments() {
    let mut world = World::new();
    world.create(Kind::Deployment, web(1, 0));
    world.run_until(10);
    world.refusal = Some("no".to_owned());
    for pod in world.list(Kind::Pod) {
        world.delete(&object::key(Kind::Pod, &pod), Propagation::Background);
    }
    world.run_until(20);
    let failure = condition(&world, "ReplicaFailure");
    assert_eq!(
        [&failure["status"], &failure["reason"]],
        ["True", "FailedCreate"]
    );
    assert_eq!(failure["lastUpdateTime"], failure["lastTransitionTime"]);
    world.refusal = None;
    world.run_until(30);
    assert_eq!(condition(&world, "ReplicaFailure"), Value::Null);
    assert_eq!(world.available(0), 3);
}
