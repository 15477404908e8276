//! Images: when they are pulled, and what is told of those that cannot be had.

use probelet_engine::input::ImageFailure;
use probelet_model::pod::{PullPolicy, RestartPolicy};
use probelet_model::status::{ContainerState, Phase};

use crate::rig::Rig;
use crate::rig::images::{ImagePlan, absent, present};
use crate::rig::plan::{ContainerPlan, Start, container, init, pod, sidecar};

const APP: &str = "example/app:1";

fn app(name: &str) -> ContainerPlan {
    container(name).start_takes(0.0)
}

/// A pod of one container `a`, whose image behaves as planned.
fn one(image: ImagePlan, policy: PullPolicy) -> Rig {
    let mut rig = Rig::new();
    rig.world.images.plan(APP, image);
    rig.apply(pod("p").on_images().with(app("a").image(APP, policy)));
    rig
}

/// Reason and message of a container that waits.
fn waits(rig: &Rig, container: &str) -> (String, String) {
    match rig.state_of("p", container) {
        ContainerState::Waiting(waiting) => (
            waiting.reason.unwrap_or_default(),
            waiting.message.unwrap_or_default(),
        ),
        other => panic!("{container} does not wait: {other:?}"),
    }
}

fn messages(rig: &Rig, reason: &str) -> Vec<String> {
    let events = rig.events(reason).into_iter();
    events.map(|(_, message)| message).collect()
}

#[test]
fn an_image_that_is_there_is_used() {
    let mut rig = one(present(), PullPolicy::IfNotPresent);
    rig.run_until(1.0);
    assert_eq!(rig.word_of("p", "a"), "Running");
    assert_eq!(rig.pulls("a"), [0.0; 0]);
    assert_eq!(
        messages(&rig, "Pulled"),
        [
            "Container image \"example/app:1\" already present on machine and can be accessed by the pod"
        ]
    );
    assert_eq!(rig.event_reasons(), ["Pulled", "Created", "Started"]);
    let status = &rig.status("p").container_statuses[0];
    assert_eq!(status.image, "docker.io/example/app:1");
    assert_eq!(status.image_id, "docker.io/example/app:1@sha256:1");
}

#[test]
fn a_pull_that_goes_well_is_told_with_its_time_and_size() {
    let mut rig = one(absent().pull(1.2, Ok(())), PullPolicy::IfNotPresent);
    rig.run_until(1.0);
    assert_eq!(waits(&rig, "a").0, "ContainerCreating");
    assert_eq!(rig.status("p").phase, Phase::Pending);
    assert_eq!(rig.status("p").container_statuses[0].image, APP);
    assert_eq!(rig.status("p").container_statuses[0].image_id, "");
    rig.run_until(2.0);
    assert_eq!(rig.word_of("p", "a"), "Running");
    assert_eq!(
        messages(&rig, "Pulling"),
        ["Pulling image \"example/app:1\""]
    );
    assert_eq!(
        messages(&rig, "Pulled"),
        [
            "Successfully pulled image \"example/app:1\" in 1.2s (1.2s including waiting). Image size: 4270000 bytes."
        ]
    );
    assert_eq!(rig.starts("a"), [(1.2, 0)]);
}

#[test]
fn a_pull_that_fails_is_tried_again_after_twice_as_long() {
    let mut rig = one(
        absent().pull_fails("manifest unknown"),
        PullPolicy::IfNotPresent,
    );
    rig.run_until(1.0);
    assert_eq!(
        waits(&rig, "a"),
        ("ErrImagePull".to_owned(), "manifest unknown".to_owned())
    );
    assert_eq!(rig.status("p").phase, Phase::Pending);
    assert_eq!(
        messages(&rig, "Failed"),
        [
            "Failed to pull image \"example/app:1\": manifest unknown",
            "Error: ErrImagePull"
        ]
    );
    rig.run_until(25.0);
    assert_eq!(
        waits(&rig, "a"),
        (
            "ImagePullBackOff".to_owned(),
            "Back-off pulling image \"example/app:1\": ErrImagePull: manifest unknown".to_owned()
        )
    );
    assert_eq!(
        rig.events("BackOff"),
        [(20.0, "Back-off pulling image \"example/app:1\"".to_owned())]
    );
    rig.run_until(1000.0);
    assert_eq!(
        rig.pulls("a"),
        [0.0, 10.0, 30.0, 70.0, 150.0, 310.0, 610.0, 910.0]
    );
    assert!(messages(&rig, "Failed").contains(&"Error: ImagePullBackOff".to_owned()));
    assert_eq!(rig.starts("a"), []);
}

#[test]
fn e7_one_runs_and_one_waits_for_its_image() {
    let mut rig = Rig::new();
    rig.world
        .images
        .plan("example/none:1", absent().pull_fails("x"));
    let broken = app("b").image("example/none:1", PullPolicy::IfNotPresent);
    rig.apply(pod("p").on_images().with(app("a")).with(broken));
    rig.run_until(25.0);
    assert_eq!(rig.word_of("p", "a"), "Running");
    assert_eq!(waits(&rig, "b").0, "ImagePullBackOff");
    assert_eq!(rig.status("p").phase, Phase::Pending);
}

#[test]
fn a_pull_that_goes_well_does_not_shorten_the_back_off() {
    let image = absent()
        .pull_fails("x")
        .pull(0.0, Ok(()))
        .pull_fails("y")
        .pull(0.0, Ok(()));
    let mut rig = Rig::new();
    rig.world.images.plan(APP, image);
    let short = app("a").image(APP, PullPolicy::Always).exits(30.0, 0);
    rig.apply(pod("p").on_images().with(short));
    rig.run_until(65.0);
    // Failed at 0, well at 10, failed at 40 when it is started again: 20 s from there.
    assert_eq!(rig.pulls("a"), [0.0, 10.0, 40.0, 60.0]);
}

#[test]
fn a_failed_pull_is_forgotten_after_600_seconds() {
    let image = absent()
        .pull_fails("x")
        .pull(0.0, Ok(()))
        .pull_fails("y")
        .pull(0.0, Ok(()));
    let mut rig = Rig::new();
    rig.world.images.plan(APP, image);
    let long = app("a").image(APP, PullPolicy::Always).exits(700.0, 0);
    rig.apply(pod("p").on_images().with(long));
    rig.run_until(725.0);
    assert_eq!(rig.pulls("a"), [0.0, 10.0, 710.0, 720.0]);
}

#[test]
fn never_and_absent_is_never_pulled() {
    let mut rig = one(absent(), PullPolicy::Never);
    rig.run_until(25.0);
    let message = "Container image \"example/app:1\" is not present with pull policy of Never";
    assert_eq!(
        waits(&rig, "a"),
        ("ErrImageNeverPull".to_owned(), message.to_owned())
    );
    assert_eq!(rig.pulls("a"), [0.0; 0]);
    assert_eq!(rig.look_ups("a"), [0.0, 10.0, 20.0]);
    assert_eq!(messages(&rig, "ErrImageNeverPull"), [message; 3]);
    assert_eq!(messages(&rig, "Failed"), ["Error: ErrImageNeverPull"; 3]);
    // Somebody loads it.
    rig.world.images.plan(APP, present());
    rig.run_until(31.0);
    assert_eq!(rig.word_of("p", "a"), "Running");
}

#[test]
fn always_pulls_at_every_start() {
    let mut rig = Rig::new();
    rig.world.images.plan(APP, present().pull(0.5, Ok(())));
    let restarts = app("a").image(APP, PullPolicy::Always).exits(100.0, 0);
    rig.apply(pod("p").on_images().with(restarts));
    rig.run_until(150.0);
    assert_eq!(rig.pulls("a"), [0.0, 100.5]);
    assert_eq!(rig.starts("a"), [(0.5, 0), (101.0, 1)]);
}

#[test]
fn always_pulls_what_cannot_be_looked_up() {
    let broken = present().look_fails(ImageFailure::Failed("disk".to_owned()));
    let mut rig = one(broken, PullPolicy::Always);
    rig.run_until(2.0);
    assert_eq!(rig.pulls("a"), [0.0]);
    assert_eq!(rig.word_of("p", "a"), "Running");
}

#[test]
fn a_restart_finds_the_image_and_pulls_nothing() {
    let mut rig = Rig::new();
    rig.world.images.plan(APP, absent());
    let restarts = app("a").image(APP, PullPolicy::IfNotPresent).exits(5.0, 1);
    rig.apply(pod("p").on_images().with(restarts));
    rig.run_until(8.0);
    assert_eq!(rig.pulls("a"), [0.0]);
    assert_eq!(rig.starts("a"), [(1.0, 0), (6.0, 1)]);
    assert_eq!(rig.look_ups("a"), [0.0, 6.0]);
    // While it waits for its restart, the image is told of the run that has ended.
    rig.run_until(12.0);
    assert_eq!(rig.word_of("p", "a"), "CrashLoopBackOff");
    let status = &rig.status("p").container_statuses[0];
    assert_eq!(status.image_id, "docker.io/example/app:1@sha256:1");
}

#[test]
fn a_run_that_could_not_be_started_has_an_image() {
    let mut rig = Rig::new();
    rig.world.images.plan(APP, present());
    let broken = app("a")
        .image(APP, PullPolicy::IfNotPresent)
        .start(Start::CannotExecute);
    let plan = pod("p").policy(RestartPolicy::Never).on_images();
    rig.apply(plan.with(broken));
    rig.run_until(1.0);
    assert_eq!(rig.status("p").phase, Phase::Failed);
    let status = &rig.status("p").container_statuses[0];
    assert!(matches!(&status.state, ContainerState::Terminated(end)
            if end.reason.as_deref() == Some("StartError")));
    assert_eq!(status.image, "docker.io/example/app:1");
    assert_eq!(status.image_id, "docker.io/example/app:1@sha256:1");
}

#[test]
fn a_name_that_is_none_is_told_and_tried_again() {
    let error = "couldn't parse image name \"example/app:1\": invalid reference format";
    let broken = absent().look_fails(ImageFailure::Name(error.to_owned()));
    let mut rig = one(broken, PullPolicy::Always);
    rig.run_until(1.0);
    let message = format!("Failed to apply default image tag \"example/app:1\": {error}");
    assert_eq!(
        waits(&rig, "a"),
        ("InvalidImageName".to_owned(), message.clone())
    );
    assert_eq!(messages(&rig, "InspectFailed"), [message]);
    assert_eq!(messages(&rig, "Failed"), ["Error: InvalidImageName"]);
    assert_eq!(rig.pulls("a"), [0.0; 0]);
    rig.run_until(10.0);
    assert_eq!(rig.pulls("a"), [10.0]);
}

#[test]
fn an_image_that_cannot_be_looked_up_is_told_and_tried_again() {
    let broken = present().look_fails(ImageFailure::Failed("bad disk".to_owned()));
    let mut rig = one(broken, PullPolicy::IfNotPresent);
    rig.run_until(1.0);
    let message = "Failed to inspect image \"example/app:1\": bad disk";
    assert_eq!(
        waits(&rig, "a"),
        ("ImageInspectError".to_owned(), message.to_owned())
    );
    assert_eq!(messages(&rig, "InspectFailed"), [message]);
    assert_eq!(messages(&rig, "Failed"), ["Error: ImageInspectError"]);
    rig.run_until(11.0);
    assert_eq!(rig.word_of("p", "a"), "Running");
}

#[test]
fn containers_of_one_image_wait_for_one_pull_and_one_back_off() {
    let mut rig = Rig::new();
    let image = absent().pull_fails("x").pull(2.0, Ok(()));
    rig.world.images.plan(APP, image);
    rig.apply(pod("p").on_images().with(app("a")).with(app("b")));
    rig.run_until(5.0);
    assert_eq!(waits(&rig, "a").0, "ErrImagePull");
    assert_eq!(waits(&rig, "b").0, "ImagePullBackOff");
    rig.run_until(15.0);
    assert_eq!(rig.pulls("a"), [0.0, 10.0]);
    assert_eq!(rig.pulls("b"), [0.0; 0]);
    assert_eq!(rig.starts("a"), [(12.0, 0)]);
    assert_eq!(rig.starts("b"), [(12.0, 0)]);
}

#[test]
fn containers_of_different_images_do_not_wait_for_each_other() {
    let mut rig = Rig::new();
    for image in ["example/x:1", "example/y:1"] {
        rig.world.images.plan(image, absent().pull(3.0, Ok(())));
    }
    let of = |name: &str, image: &str| app(name).image(image, PullPolicy::IfNotPresent);
    let plan = pod("p").on_images();
    rig.apply(
        plan.with(of("a", "example/x:1"))
            .with(of("b", "example/y:1")),
    );
    rig.run_until(4.0);
    assert_eq!(rig.starts("a"), [(3.0, 0)]);
    assert_eq!(rig.starts("b"), [(3.0, 0)]);
}

#[test]
fn init_containers_and_sidecars_get_their_images_in_their_turn() {
    let mut rig = Rig::new();
    for image in ["example/i:1", "example/s:1", "example/a:1"] {
        rig.world.images.plan(image, absent());
    }
    let policy = PullPolicy::IfNotPresent;
    rig.apply(
        pod("p")
            .on_images()
            .init(init("i", 2.0).image("example/i:1", policy))
            .init(sidecar("s").image("example/s:1", policy))
            .with(app("a").image("example/a:1", policy)),
    );
    rig.run_until(10.0);
    assert_eq!(rig.pulls("i"), [0.0]);
    assert_eq!(rig.pulls("s"), [3.0]);
    assert_eq!(rig.pulls("a"), [4.0]);
    assert_eq!(rig.starts("a"), [(5.0, 0)]);
}

#[test]
fn an_init_container_without_its_image_keeps_the_pod_pending() {
    let mut rig = Rig::new();
    rig.world
        .images
        .plan("example/i:1", absent().pull_fails("x"));
    let broken = init("i", 1.0).image("example/i:1", PullPolicy::IfNotPresent);
    let plan = pod("p").policy(RestartPolicy::Never).on_images();
    rig.apply(plan.init(broken).with(app("a")));
    rig.run_until(25.0);
    assert_eq!(waits(&rig, "i").0, "ImagePullBackOff");
    assert_eq!(waits(&rig, "a").0, "PodInitializing");
    assert_eq!(rig.status("p").phase, Phase::Pending);
}

#[test]
fn a_deletion_does_not_wait_for_a_pull() {
    let mut rig = one(absent().pull(60.0, Ok(())), PullPolicy::IfNotPresent);
    rig.run_until(5.0);
    rig.delete("p", 30.0);
    rig.run_until(70.0);
    assert_eq!(rig.ended(), [(5.0, true)]);
    assert_eq!(rig.starts("a"), []);
    assert_eq!(rig.engine().stale_answers(), 1);
}

#[test]
fn a_pod_that_has_lived_too_long_waits_for_no_image() {
    let mut rig = Rig::new();
    rig.world.images.plan(APP, absent().pull(60.0, Ok(())));
    rig.apply(pod("p").on_images().active_deadline(5.0).with(app("a")));
    rig.run_until(6.0);
    assert_eq!(rig.status("p").phase, Phase::Failed);
    rig.run_until(70.0);
    assert_eq!(rig.starts("a"), []);
}

#[test]
fn a_lost_sandbox_begins_the_search_anew() {
    let mut rig = one(absent().pull(10.0, Ok(())), PullPolicy::IfNotPresent);
    rig.run_until(5.0);
    rig.lose("p");
    rig.run_until(20.0);
    assert_eq!(
        rig.pulls("a").len(),
        1,
        "what the first pull brought is there"
    );
    assert_eq!(rig.word_of("p", "a"), "Running");
}

#[test]
fn another_image_is_pulled_in_its_stead() {
    let mut rig = one(absent().pull(60.0, Ok(())), PullPolicy::IfNotPresent);
    rig.run_until(5.0);
    let mut other = rig.pod("p");
    other.containers[0].image = "example/app:2".to_owned();
    rig.apply_again(other);
    rig.run_until(6.0);
    assert_eq!(rig.word_of("p", "a"), "Running");
    let status = &rig.status("p").container_statuses[0];
    assert_eq!(status.image, "docker.io/example/app:2");
}

#[test]
fn a_pull_goes_on_with_the_next_agent() {
    let mut rig = one(absent().pull(10.0, Ok(())), PullPolicy::IfNotPresent);
    rig.world.images.plan(APP, absent().pull(10.0, Ok(())));
    rig.run_until(5.0);
    rig.crash();
    rig.run_for(1.0);
    rig.world.images.plan(APP, absent().pull(2.0, Ok(())));
    rig.boot();
    rig.run_until(20.0);
    assert_eq!(rig.pulls("a"), [0.0, 6.0]);
    assert_eq!(rig.starts("a"), [(8.0, 0)]);
    assert_eq!(rig.word_of("p", "a"), "Running");
}

#[test]
fn a_restart_that_was_granted_and_waits_for_its_image_is_not_asked_for_its_back_off_again() {
    let mut rig = Rig::new();
    rig.world.images.plan(APP, present().pull(5.0, Ok(())));
    let restarts = app("a").image(APP, PullPolicy::Always).exits(1.0, 1);
    rig.apply(pod("p").on_images().with(restarts));
    rig.run_until(8.0);
    assert_eq!(
        rig.pulls("a"),
        [0.0, 6.0],
        "its restart waits for its image"
    );
    rig.restart_agent();
    rig.run_until(14.0);
    assert_eq!(rig.starts("a"), [(5.0, 0), (13.0, 1)]);
}

#[test]
fn an_image_backs_off_on_after_a_restart_of_the_agent() {
    let mut rig = one(absent().pull_fails("x"), PullPolicy::IfNotPresent);
    rig.run_until(31.0);
    assert_eq!(rig.pulls("a"), [0.0, 10.0, 30.0]);
    rig.restart_agent();
    assert_eq!(rig.look_ups("a").len(), 5);
    rig.run_until(33.0);
    assert_eq!(
        waits(&rig, "a"),
        (
            "ImagePullBackOff".to_owned(),
            "Back-off pulling image \"example/app:1\": ErrImagePull: x".to_owned()
        )
    );
    rig.run_until(71.0);
    assert_eq!(rig.pulls("a"), [0.0, 10.0, 30.0, 70.0]);
}

#[test]
fn a_run_keeps_its_image_over_a_restart_of_the_agent() {
    for forgets in [false, true] {
        let mut rig = one(present(), PullPolicy::IfNotPresent);
        rig.run_until(1.0);
        rig.crash();
        rig.start_agent();
        rig.take_up(false, !forgets);
        rig.run_until(5.0);
        let status = &rig.status("p").container_statuses[0];
        assert_eq!(status.image_id, "docker.io/example/app:1@sha256:1");
        assert_eq!(status.image, "docker.io/example/app:1");
        assert_eq!(rig.starts("a").len(), 1);
        assert_eq!(rig.stops("a"), []);
    }
}
