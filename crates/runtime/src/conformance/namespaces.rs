//! What the containers of a pod share with each other and with the host.
use crate::{ExecError, ExecRequest, Network, PodConfig, Runtime, StartPodError};
use probelet_model::security::{Namespaces, PodSecurity};
use std::fs;
use std::time::Duration;

use super::world::*;

pub fn sharing(uid: &str, namespaces: Namespaces) -> PodConfig {
    PodConfig {
        namespaces,
        ..pod(uid, own("10.213.0.9"), Vec::new())
    }
}

/// As long as a container that ends with its main program, whatever the program leaves.
async fn ends_with_all_it_started<R: Runtime>(
    mut world: World<R>,
    namespaces: Namespaces,
    mark: &str,
) {
    world
        .runtime
        .start_pod(sharing(mark, namespaces))
        .await
        .unwrap();
    let pod = mark.into();
    let started = |number: u32| format!("sleep {number}{mark}");
    let script = format!(
        "setsid sleep 1{mark} & (setsid sh -c 'trap \"\" TERM; sleep 2{mark} & wait' &) ; read line < /tmp/go || \
         mkfifo /tmp/go && read line < /tmp/go; exit 7"
    );
    world.sh(&pod, "a", &script).await;
    world.sh(&pod, "b", &format!("exec sleep 3{mark}")).await;
    for number in [1, 2, 3] {
        eventually(async || (!processes_with(&started(number)).is_empty()).then_some(())).await;
    }
    // A daemon that an attempt has left is the container's too.
    world
        .output(&pod, "a", &format!("setsid sleep 4{mark} & echo"))
        .await;
    eventually(async || (processes_with(&started(4)).len() == 1).then_some(())).await;
    let request = ExecRequest {
        timeout: Duration::from_millis(200),
        ..request(&format!("setsid sleep 5{mark} & sleep 6{mark}"))
    };
    let timed_out = world.runtime.exec(&pod, &id("a"), request).await;
    assert_eq!(timed_out, Err(ExecError::TimedOut));
    assert_eq!(processes_with(&started(5)), [""; 0]);
    assert_eq!(processes_with(&started(6)), [""; 0]);

    eventually(async || {
        let told = world
            .exec(&pod, "a", "[ -p /tmp/go ] && echo > /tmp/go")
            .await;
        (told.exit_code == 0).then_some(())
    })
    .await;
    assert_eq!(world.exit("a").await.code, 7);
    for number in [1, 2, 4] {
        assert_eq!(processes_with(&started(number)), [""; 0]);
    }
    assert_eq!(
        processes_with(&started(3)).len(),
        1,
        "the other container's"
    );
    world
        .runtime
        .stop_container(&pod, &id("b"), Duration::ZERO)
        .await
        .unwrap();
    world.exit("b").await;
    world.runtime.remove_pod(&pod).await.unwrap();
    assert_eq!(processes_with(&started(3)), [""; 0]);
}

pub async fn the_hosts_processes_are_seen_where_asked_for<R: Runtime>(world: World<R>) {
    let host_pid = Namespaces {
        host_pid: true,
        ..Namespaces::default()
    };
    world
        .runtime
        .start_pod(sharing("host", host_pid))
        .await
        .unwrap();
    let pod = "host".into();
    world.sh(&pod, "c", "exec sleep 1000").await;
    let own = fs::read_link("/proc/self/ns/pid").unwrap();
    let seen = world.output(&pod, "c", "readlink /proc/self/ns/pid").await;
    assert_eq!(own.to_str(), Some(&seen[..]));
    let find = format!("[ -d /proc/{} ]", std::process::id());
    world.output(&pod, "c", &find).await;
    // The host's parts of /proc are as read-only as ever.
    let written = world
        .exec(&pod, "c", "echo 1 > /proc/sys/kernel/panic")
        .await;
    assert_ne!(written.exit_code, 0);
}

pub async fn ipc_is_the_pods_own_or_the_hosts<R: Runtime>(world: World<R>) {
    let host_ipc = Namespaces {
        host_ipc: true,
        ..Namespaces::default()
    };
    let own = fs::read_link("/proc/self/ns/ipc").unwrap();
    for (uid, namespaces, shared) in [
        ("ipc", host_ipc, true),
        ("own", Namespaces::default(), false),
    ] {
        world
            .runtime
            .start_pod(sharing(uid, namespaces))
            .await
            .unwrap();
        let pod = uid.into();
        world.sh(&pod, "c", "exec sleep 1000").await;
        let seen = world.output(&pod, "c", "readlink /proc/self/ns/ipc").await;
        assert_eq!(own.to_str() == Some(&seen[..]), shared, "{uid}");
    }
}

pub async fn sysctls_are_those_of_the_pod<R: Runtime>(world: World<R>) {
    let mut config = sharing("sysctls", Namespaces::default());
    let sysctls = [
        ("kernel.shm_rmid_forced", "1"),
        ("net.ipv4.ip_local_port_range", "20000 30000"),
        ("net.ipv4.ip_unprivileged_port_start", "80"),
    ];
    config.security = PodSecurity {
        sysctls: sysctls
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        ..PodSecurity::default()
    };
    world.runtime.start_pod(config).await.unwrap();
    let pod = "sysctls".into();
    world.sh(&pod, "c", "exec sleep 1000").await;
    for (name, value) in sysctls {
        let file = format!("/proc/sys/{}", name.replace('.', "/"));
        let seen = world.output(&pod, "c", &format!("cat {file}")).await;
        assert_eq!(seen.split_whitespace().collect::<Vec<_>>().join(" "), value);
        let hosts = fs::read_to_string(&file).unwrap();
        assert_ne!(
            hosts.split_whitespace().collect::<Vec<_>>().join(" "),
            value
        );
    }
}

pub async fn sysctls_that_cannot_be_are_named<R: Runtime>(world: World<R>) {
    for (name, network, host_ipc, expect) in [
        (
            "net.ipv4.no_such",
            own("10.213.0.9"),
            false,
            "write sysctl key net.ipv4.no_such: open /proc/sys/net/ipv4/no_such: no such file or directory",
        ),
        (
            "net.ipv4.tcp_syncookies",
            Network::Host,
            false,
            "sysctl \"net.ipv4.tcp_syncookies\" not allowed with host net enabled",
        ),
        (
            "kernel.shm_rmid_forced",
            own("10.213.0.9"),
            true,
            "sysctl \"kernel.shm_rmid_forced\" not allowed with host ipc enabled",
        ),
    ] {
        let mut config = pod("refused", network, Vec::new());
        config.namespaces.host_ipc = host_ipc;
        config.security.sysctls = vec![(name.into(), "1".into())];
        let refused = world.runtime.start_pod(config).await;
        assert_eq!(refused, Err(StartPodError::Sandbox(expect.into())));
    }
}

pub async fn containers_of_a_pod_may_see_each_others_processes<R: Runtime>(world: World<R>) {
    let one_pid = Namespaces {
        one_pid: true,
        ..Namespaces::default()
    };
    world
        .runtime
        .start_pod(sharing("shared", one_pid))
        .await
        .unwrap();
    let pod = "shared".into();
    world.sh(&pod, "a", "exec sleep 8811").await;
    world.sh(&pod, "b", "exec sleep 8812").await;
    for id in ["a", "b"] {
        let seen = world.output(&pod, id, "ps ax -o args=").await;
        assert!(
            seen.contains("sleep 8811") && seen.contains("sleep 8812"),
            "{seen}"
        );
        // Nothing of the host's, nor of what starts commands.
        assert!(seen.lines().count() < 8, "{seen}");
    }
    // Another container's root is reached through its processes, as upstream says.
    let other = "ls -d /proc/$(pgrep -x -f 'sleep 8811')/cwd";
    world.output(&pod, "b", other).await;
    let own = &world;
    let pod = own.pod("own", Vec::new()).await;
    own.sh(&pod, "a", "exec sleep 8813").await;
    own.sh(&pod, "b", "exec sleep 8814").await;
    let seen = own.output(&pod, "b", "ps ax -o args=").await;
    assert!(!seen.contains("sleep 8813"), "{seen}");
}

pub async fn a_container_in_the_pods_pid_namespace_ends_with_all_it_started<R: Runtime>(
    world: World<R>,
) {
    let one_pid = Namespaces {
        one_pid: true,
        ..Namespaces::default()
    };
    ends_with_all_it_started(world, one_pid, "771").await;
}

pub async fn a_container_among_the_hosts_processes_ends_with_all_it_started<R: Runtime>(
    world: World<R>,
) {
    let host_pid = Namespaces {
        host_pid: true,
        ..Namespaces::default()
    };
    ends_with_all_it_started(world, host_pid, "772").await;
}
