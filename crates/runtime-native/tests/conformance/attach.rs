//! Joining the streams of a container's main process: stdin, terminals, and copies of the output.
use crate::suite::*;
use probelet_runtime::Runtime;
use probelet_runtime::conformance::attach::*;
use std::fs;
use std::time::Duration;

#[test]
fn a_pod_is_removed_whoever_has_joined_it() {
    run(async {
        let world = World::native();
        let pod = world.pod("removed", Vec::new()).await;
        let config = open_stdin("echo hello; cat");
        world.runtime.start_container(&pod, config).await.unwrap();
        let mut joined = join(&world, &pod).await;
        let mark = format!("sleep 345678.{}", std::process::id());
        let mut beside = Vec::new();
        for tty in [false, true] {
            let request = session(&format!("{mark} & setsid {mark} & {mark}"), ALL, tty);
            let opened = world.runtime.open_exec(&pod, &id("c"), request).await;
            beside.push(opened.unwrap());
        }
        eventually(async || (processes_with(&mark).len() > 6).then_some(())).await;
        let removed = tokio::time::timeout(Duration::from_secs(10), world.runtime.remove_pod(&pod));
        removed.await.expect("in time").unwrap();
        assert_eq!(processes_with(&mark), [""; 0]);
        let data = world.path("data").display().to_string();
        assert_eq!(processes_with(&data), [""; 0]);
        assert_eq!(fs::read_dir(world.path("data/run")).unwrap().count(), 0);
        stdout(&mut joined).text().await;
        for session in beside.into_iter().chain([joined]) {
            assert_eq!(outcome(session.ended).await, Ok(137));
        }
    });
}
