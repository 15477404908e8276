//! Pods and containers from their start to their removal, over the death of the caller.

use std::fs;
use std::time::Duration;

use crate::{ExecError, Runtime, StartContainerError};

use super::world::*;

pub async fn a_caller_that_comes_back_finds_all_as_it_was<R: Runtime>(world: World<R>) {
    let uid = world.pod("back", vec![empty_dir("d", false, None)]).await;
    let started = world.sh(&uid, "stays", "exec sleep 1000").await;
    let mut config = sh("ends", "while ! [ -e /d/go ]; do sleep 0.01; done; exit 4");
    config.mounts = vec![mount("d", "/d", false)];
    world.runtime.start_container(&uid, config).await.unwrap();
    let mut world = world.again().await;
    fs::write(world.kept("back").join("volumes/d/go"), "").unwrap();
    let exit = world.exit("ends").await;
    assert_eq!((exit.code, exit.signal), (4, None));
    let mut world = world.again().await;
    let pods = world.runtime.pods().await.unwrap();
    let containers = &pods[0].containers;
    assert_eq!(containers.len(), 2);
    assert_eq!(
        (&containers[0].started, &containers[0].exit),
        (&started, &None)
    );
    assert_eq!(containers[1].exit.as_ref(), Some(&exit));
    assert_eq!(world.exit("ends").await, exit, "told once more");
    assert_eq!(world.output(&uid, "stays", "echo here").await, "here");
}

pub async fn a_pod_that_stands_is_started_again_by_doing_nothing<R: Runtime>(world: World<R>) {
    let config = pod("twice", own("10.213.0.9"), Vec::new());
    world.runtime.start_pod(config.clone()).await.unwrap();
    let started = world.sh(&"twice".into(), "c", "exec sleep 1000").await;
    world.runtime.start_pod(config).await.unwrap();
    let pods = world.runtime.pods().await.unwrap();
    assert_eq!(pods.len(), 1);
    assert_eq!(pods[0].containers[0].started, started);
}

pub async fn what_nobody_knows_is_stopped_and_removed_without_error<R: Runtime>(world: World<R>) {
    let nobody = "nobody".into();
    let grace = Duration::from_secs(1);
    let stopped = world.runtime.stop_container(&nobody, &id("c"), grace).await;
    stopped.unwrap();
    world.runtime.remove_pod(&nobody).await.unwrap();
    let uid = world.pod("known", Vec::new()).await;
    world
        .runtime
        .stop_container(&uid, &id("c"), grace)
        .await
        .unwrap();
    let started = world
        .runtime
        .start_container(&nobody, sh("c", "true"))
        .await;
    assert_eq!(started, Err(StartContainerError::NoPod(nobody)));
    let exec = world.runtime.exec(&uid, &id("c"), request("true")).await;
    assert_eq!(exec, Err(ExecError::NotRunning(id("c"))));
}

pub async fn an_id_is_used_once<R: Runtime>(mut world: World<R>) {
    let uid = world.pod("ids", Vec::new()).await;
    world.sh(&uid, "c", "exit 3").await;
    assert_eq!(world.exit("c").await.code, 3);
    let again = world.runtime.start_container(&uid, sh("c", "true")).await;
    assert!(
        matches!(again, Err(StartContainerError::Create(_))),
        "{again:?}"
    );
}

pub async fn a_removed_pod_is_gone_with_all_that_ran<R: Runtime>(world: World<R>) {
    let uid = world.pod("gone", vec![empty_dir("d", true, None)]).await;
    let mark = format!("sleep 7654321.{}", std::process::id());
    let script = format!("{mark} & setsid {mark} & (setsid {mark} &); {mark}");
    let started = world.sh(&uid, "c", &script).await;
    eventually(async || (processes_with(&mark).len() > 3).then_some(())).await;
    world.runtime.remove_pod(&uid).await.unwrap();
    assert_eq!(processes_with(&mark), [""; 0]);
    assert!(!is_running(started.pid));
    assert!(!world.kept("gone").exists());
    assert_eq!(world.runtime.pods().await.unwrap().len(), 0);
}

pub async fn a_deadline_of_a_stop_only_comes_nearer<R: Runtime>(mut world: World<R>) {
    let uid = world.pod("stop", Vec::new()).await;
    let script = "trap '' TERM; echo > /tmp/ready; while :; do sleep 0.05; done";
    world.sh(&uid, "c", script).await;
    eventually(async || {
        let seen = world.exec(&uid, "c", "test -e /tmp/ready").await;
        (seen.exit_code == 0).then_some(())
    })
    .await;
    for seconds in [600, 0, 600] {
        let grace = Duration::from_secs(seconds);
        world
            .runtime
            .stop_container(&uid, &id("c"), grace)
            .await
            .unwrap();
    }
    assert_eq!(world.exit("c").await.code, 137);
}
