//! Inputs that come late, twice, in another order, or say nothing new; and a sandbox that fails.

use std::time::Duration;

use probelet_engine::effect::EventKind;
use probelet_engine::input::{AttemptId, Exit, Input, OperationId};
use probelet_model::probe::ProbeKind::{Liveness, Readiness};
use probelet_model::probe::ProberError;
use probelet_model::status::ContainerState;

use crate::rig::plan::{SandboxFailure, container, every, pod, service};
use crate::rig::{Rig, uid};

#[test]
fn answers_that_nobody_waits_for_are_counted_and_change_nothing() {
    let mut rig = Rig::of(pod("p").with(container("c").liveness(every(10.0), "s")));
    rig.run_until(15.0);
    let (pod, entries) = (uid("p"), rig.trace.len());
    let id = rig.run_id("p", "c").unwrap();
    let operation = OperationId(999);
    let finished_at = rig.now().wall;
    let exit = Exit {
        code: 1,
        signal: None,
        out_of_memory: false,
        finished_at,
        message: None,
    };
    let stale = [
        Input::PodStarted {
            pod: pod.clone(),
            operation,
            result: Ok(std::net::IpAddr::from([10, 0, 0, 9]).into()),
        },
        Input::ContainerStarted {
            pod: pod.clone(),
            operation,
            result: Ok(finished_at),
        },
        Input::PodRemoved {
            pod: pod.clone(),
            operation,
            result: Ok(()),
        },
        Input::HookFinished {
            pod: pod.clone(),
            operation,
            result: Ok(()),
        },
        Input::AttemptFinished {
            pod: pod.clone(),
            attempt: AttemptId(999),
            result: Err(ProberError {
                message: String::new(),
            }),
            duration: Duration::ZERO,
        },
        Input::ContainerExited {
            pod,
            container: "another".into(),
            exit,
        },
        Input::PodStopped { pod: uid("nobody") },
    ];
    let count = u64::try_from(stale.len()).unwrap();
    stale.into_iter().for_each(|input| rig.tell(input));
    assert_eq!(rig.engine().stale_answers(), count);
    assert_eq!(rig.trace.len(), entries);
    assert_eq!(rig.run_id("p", "c"), Some(id));
}

#[test]
fn an_exit_told_twice_restarts_once() {
    let mut rig =
        Rig::of(pod("p").with(container("c").exits(5.0, 1).then(|life| life.ends = None)));
    rig.run_until(4.0);
    let id = rig.run_id("p", "c").unwrap();
    rig.run_until(6.0);
    let exit = Exit {
        code: 1,
        signal: None,
        out_of_memory: false,
        finished_at: rig.now().wall,
        message: None,
    };
    rig.tell(Input::ContainerExited {
        pod: uid("p"),
        container: id,
        exit,
    });
    rig.run_until(60.0);
    assert_eq!(rig.starts("c").len(), 2);
    assert_eq!(rig.engine().stale_answers(), 1);
}

#[test]
fn an_exit_told_before_the_start_it_belongs_to_is_not_lost() {
    let mut rig = Rig::of(pod("p").with(container("c").start_takes(1.0)));
    rig.run_until(0.5);
    let id = rig.memories("p").last().unwrap().1.containers["c"]
        .id
        .clone()
        .unwrap();
    let exit = Exit {
        code: 7,
        signal: None,
        out_of_memory: false,
        finished_at: rig.now().wall,
        message: None,
    };
    rig.tell(Input::ContainerExited {
        pod: uid("p"),
        container: id,
        exit,
    });
    assert!(
        matches!(rig.state("p"), ContainerState::Waiting(_)),
        "first the start is answered"
    );
    // In the rig's world the first run goes on, so the engine's second is not let in: look at once.
    rig.run_until(0.99);
    let started_at = rig.now().wall;
    let first = OperationId(2);
    rig.tell(Input::ContainerStarted {
        pod: uid("p"),
        operation: first,
        result: Ok(started_at),
    });
    assert_eq!(rig.starts("c"), [(0.0, 0), (0.99, 1)]);
    let status = rig.status("p");
    let ContainerState::Terminated(end) = &status.container_statuses[0].state else {
        panic!("{status:?}");
    };
    assert_eq!(end.exit_code, 7);
}

#[test]
fn a_pod_applied_again_unchanged_does_nothing() {
    let mut rig = Rig::of(pod("p").with(container("c").readiness(every(10.0), "f")));
    rig.serve(service("web", "p"));
    rig.run_until(5.0);
    let entries = rig.trace.len();
    rig.apply_again(rig.pod("p"));
    rig.run_until(6.0);
    assert_eq!(rig.trace.len(), entries);
    rig.run_until(11.0);
    assert_eq!(rig.attempts("c", Readiness), [0.1, 10.1]);
}

#[test]
fn an_image_that_changes_restarts_its_container_alone() {
    let plan = pod("p")
        .with(container("c").on_term(2.0, 0))
        .with(container("d"));
    let mut rig = Rig::of(plan);
    rig.run_until(5.0);
    let mut other = rig.pod("p");
    other.containers[0].image = "example/app:2".to_owned();
    rig.apply_again(other);
    assert_eq!(rig.status("p").container_statuses[0].image, "example/app:1");
    rig.run_until(10.0);
    let killing = "Container c definition changed, will be restarted";
    assert_eq!(rig.events("Killing"), [(5.0, killing.to_owned())]);
    assert_eq!(rig.starts("c"), [(0.0, 0), (7.0, 1)]);
    assert_eq!(rig.starts("d").len(), 1);
    assert_eq!(rig.status("p").container_statuses[0].image, "example/app:2");
}

#[test]
fn an_image_that_changes_during_the_start_restarts_too() {
    let mut rig = Rig::of(pod("p").with(container("c").start_takes(2.0)));
    rig.run_until(1.0);
    let mut other = rig.pod("p");
    other.containers[0].image = "example/app:2".to_owned();
    rig.apply_again(other);
    rig.run_until(10.0);
    assert_eq!(rig.starts("c"), [(0.0, 0), (2.0, 1)]);
    assert_eq!(rig.status("p").container_statuses[0].image, "example/app:2");
}

#[test]
fn volumes_that_fail_are_tried_again_after_twice_as_long() {
    let failing = pod("p").sandbox_fails(&[SandboxFailure::Volume; 11]);
    let mut rig = Rig::of(failing.with(container("c")));
    rig.run_until(600.0);
    let tries = rig.sandboxes();
    let waits: Vec<f64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(
        waits,
        [
            0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 122.0, 122.0, 122.0
        ]
    );
    assert_eq!(rig.events("FailedMount").len(), 11);
    assert_eq!(rig.starts("c").len(), 1, "and then it goes on");
}

#[test]
fn sandboxes_that_fail_are_tried_again_every_10_seconds() {
    let failing = pod("p").sandbox_fails(&[SandboxFailure::Other; 4]);
    let mut rig = Rig::of(failing.with(container("c")));
    rig.run_until(60.0);
    assert_eq!(rig.sandboxes(), [0.0, 10.0, 20.0, 30.0, 40.0]);
    let message = "Failed to create pod sandbox: no more namespaces";
    assert_eq!(
        rig.events("FailedCreatePodSandBox")[0],
        (0.0, message.to_owned())
    );
    assert!(rig.status("p").is_ready());
}

#[test]
fn an_attempt_that_outlives_its_container_is_dropped() {
    let plan = container("c")
        .liveness(every(10.0).failures(1), "fs")
        .latency(Liveness, 5.0)
        .exits(12.0, 1)
        .then(|life| life.ends = None);
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(60.0);
    assert_eq!(
        rig.attempts("c", Liveness),
        [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
    );
    assert_eq!(
        rig.engine().stale_answers(),
        1,
        "the failure of 10 came at 15, about a dead run"
    );
    assert!(rig.stops("c").is_empty());
    assert_eq!(rig.attempts_by_run("c", Liveness), [1, 5]);
}

#[test]
fn a_steady_probe_writes_nothing_down() {
    let plan = container("c")
        .liveness(every(1.0), "s")
        .readiness(every(1.0), "s");
    let mut rig = Rig::of(pod("p").with(plan));
    rig.run_until(10.0);
    let (memories, statuses) = (rig.memories("p").len(), rig.statuses("p").len());
    rig.run_until(1_000.0);
    assert_eq!(rig.memories("p").len(), memories);
    assert_eq!(rig.statuses("p").len(), statuses);
}

#[test]
fn a_wake_with_nothing_due_does_nothing() {
    let mut rig = Rig::of(pod("p").with(container("c").liveness(every(10.0), "s")));
    rig.run_until(15.0);
    let entries = rig.trace.len();
    rig.tell(Input::Wake);
    assert_eq!(rig.trace.len(), entries);
    let deadline = rig.engine().deadline().unwrap();
    assert_eq!(
        (deadline.pod, deadline.at),
        (uid("p"), rig.now().mono + Duration::from_secs(5))
    );
}

#[test]
fn another_image_waits_for_no_back_off() {
    let crashing = || container("c").start_takes(0.0).exits(0.0, 1);
    for down in [false, true] {
        let mut rig = Rig::of(pod("p").with(crashing()));
        rig.run_until(50.0);
        assert_eq!(rig.starts("c").len(), 4, "the next would come at 70");
        if down {
            rig.crash();
        }
        let mut other = rig.pod("p");
        other.containers[0].image = "example/app:2".to_owned();
        rig.apply_again(other);
        if down {
            rig.boot();
        }
        rig.run_until(85.0);
        let after: Vec<f64> = rig.starts("c")[4..].iter().map(|(at, _)| *at).collect();
        assert_eq!(
            after,
            [50.0, 60.0, 80.0],
            "at once, and then from the first wait on"
        );
    }
}

#[test]
fn the_engine_tells_which_pods_it_runs_and_how_they_stand() {
    let mut rig = Rig::of(pod("p").with(container("c")));
    rig.run_until(1.0);
    let known: Vec<_> = rig.engine().pods().cloned().collect();
    assert_eq!(known, [uid("p")]);
    let status = rig.engine().status(&uid("p")).unwrap();
    assert_eq!(*status, rig.status("p"), "as it was last committed");
    assert_eq!(
        [EventKind::Normal, EventKind::Warning].map(EventKind::as_str),
        ["Normal", "Warning"]
    );
}
