//! What a pod uses, as it is told: by cgroups where there are any, else by the processes.
use crate::{ContainerConfig, Event, Runtime, RuntimeError, Usage};
use std::time::Duration;

use super::world::*;

pub async fn usage_grows_with_what_is_used<R: Runtime>(world: World<R>) {
    let uid = world.pod("use-grows", Vec::new()).await;
    let idle = ContainerConfig {
        name: "idle".into(),
        ..sh("idle", "sleep 1000")
    };
    world.runtime.start_container(&uid, idle).await.unwrap();
    world.sh(&uid, "busy", "while :; do :; done").await;
    let of = async |name: &str| -> Usage {
        let usage = world.runtime.usage(&uid).await.unwrap();
        usage.containers[name]
    };
    let before = of("main").await;
    let after = eventually(async || {
        let now = of("main").await;
        (now.cpu >= before.cpu + Duration::from_millis(100)).then_some(now)
    })
    .await;
    // A shell, init before it, and whoever runs commands there.
    assert!((2..=3).contains(&after.tasks), "{after:?}");
    assert!((64 << 10..64 << 20).contains(&after.memory), "{after:?}");
    let usage = world.runtime.usage(&uid).await.unwrap();
    let idle = usage.containers["idle"];
    assert!(idle.cpu < after.cpu, "{idle:?} {after:?}");
    assert!(usage.total.cpu >= after.cpu && usage.total.memory > idle.memory);
    let tasks: u64 = usage.containers.values().map(|used| used.tasks).sum();
    assert_eq!(usage.total.tasks, tasks);

    // 40 MB in the memory of one process.
    let hold = ContainerConfig {
        name: "holds".into(),
        ..sh(
            "holds",
            "x=$(head -c 40000000 /dev/zero | tr '\\0' x); echo held; sleep 1000",
        )
    };
    world.runtime.start_container(&uid, hold).await.unwrap();
    eventually(async || {
        let usage = world.runtime.usage(&uid).await.unwrap();
        (usage.containers["holds"].memory > 40_000_000).then_some(())
    })
    .await;
}

pub async fn nobody_tells_what_an_unknown_pod_uses<R: Runtime>(world: World<R>) {
    let uid = "use-none".into();
    assert_eq!(
        world.runtime.usage(&uid).await,
        Err(RuntimeError::NoPod(uid))
    );
    let uid = world.pod("use-empty", Vec::new()).await;
    let usage = world.runtime.usage(&uid).await.unwrap();
    assert!(usage.containers.is_empty() && usage.volumes.is_empty());
    // Who asks twice at one time is answered twice.
    let both = tokio::join!(world.runtime.usage(&uid), world.runtime.usage(&uid));
    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
}

pub async fn a_volume_over_its_limit_is_told_of<R: Runtime>(mut world: World<R>) {
    let volumes = vec![
        empty_dir("small", false, Some(1 << 20)),
        empty_dir("large", false, Some(1 << 30)),
        empty_dir("any", false, None),
    ];
    let uid = world.pod("use-limit", volumes).await;
    let config = ContainerConfig {
        mounts: vec![
            mount("small", "/tmp/small", false),
            mount("large", "/tmp/large", false),
            mount("any", "/tmp/any", false),
        ],
        ..sh("c", "sleep 1000")
    };
    world.runtime.start_container(&uid, config).await.unwrap();
    let fill = "for d in small large any; do head -c 2000000 /dev/zero > /tmp/$d/f || exit 1; done";
    world.output(&uid, "c", fill).await;
    let expected = Event::VolumeFull {
        pod: uid,
        volume: "small".to_owned(),
    };
    assert_eq!(world.event().await, expected);
}
