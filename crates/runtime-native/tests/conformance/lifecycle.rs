//! Pods that outlive agents, are lost, and are removed.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use probelet_model::security::{Namespaces, Seccomp};
use probelet_runtime::conformance::layers::{Layer, sh_on};
use probelet_runtime::{Event, ExecError, Runtime};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::suite::*;

#[test]
fn a_data_directory_may_have_a_long_path() {
    run(async {
        let mut world = World::native();
        let deep = world.path(&"long/".repeat(40));
        fs::create_dir_all(&deep).unwrap();
        world.runtime = native(&deep);
        world.events = world.runtime.events();
        let uid = world.pod("deep", Vec::new()).await;
        world.sh(&uid, "c", "exec sleep 1000").await;
        assert_eq!(world.output(&uid, "c", "echo here").await, "here");
        world.runtime.remove_pod(&uid).await.unwrap();
    });
}

#[test]
fn an_agent_that_comes_back_finds_all_as_it_was() {
    run(async {
        let world = World::native();
        let uid = world.pod("again", vec![empty_dir("d", false, None)]).await;
        let started = world.sh(&uid, "stays", "exec sleep 1000").await;
        let mut config = sh("ends", "while ! [ -e /d/go ]; do sleep 0.01; done; exit 4");
        config.mounts = vec![mount("d", "/d", false)];
        world.runtime.start_container(&uid, config).await.unwrap();

        let World {
            runtime,
            events,
            dir,
        } = world;
        drop((runtime, events));
        fs::write(dir.path().join("data/run/again/volumes/d/go"), "").unwrap();
        let record = dir.path().join("data/run/again/containers/ends.json");
        eventually(async || {
            fs::read_to_string(&record)
                .ok()?
                .contains("\"code\":4")
                .then_some(())
        })
        .await;

        let runtime = native(dir.path());
        let pods = runtime.pods().await.unwrap();
        assert_eq!(pods.len(), 1);
        assert_eq!(
            pods[0].config,
            pod(
                "again",
                own("10.213.0.9"),
                vec![empty_dir("d", false, None)]
            )
        );
        assert_eq!(pods[0].containers.len(), 2);
        assert_eq!(
            (&pods[0].containers[0].started, &pods[0].containers[0].exit),
            (&started, &None)
        );
        let exit = pods[0].containers[1].exit.clone().unwrap();
        assert_eq!(exit.code, 4);
        let events = runtime.events();
        let mut world = World {
            runtime,
            events,
            dir,
        };
        assert_eq!(world.exit("ends").await, exit);
        assert_eq!(world.output(&uid, "stays", "echo here").await, "here");
        world
            .runtime
            .start_pod(pods[0].config.clone())
            .await
            .unwrap();
        world.runtime.remove_pod(&uid).await.unwrap();
        assert!(!is_running(started.pid));
    });
}

#[test]
fn a_killed_shim_is_a_lost_pod_and_nothing_runs_on() {
    run(async {
        let mut world = World::native();
        let uid = world.pod("lost", vec![empty_dir("d", false, None)]).await;
        let mark = format!("sleep 1234567.{}", std::process::id());
        let started = world
            .sh(&uid, "c", &format!("{mark} & setsid {mark} & {mark}"))
            .await;
        // The command of an image is process 1, and has changed its user on the way.
        let base = Layer::busybox(world.dir.path());
        let mut image = sh_on(&[&base], "image", &format!("{mark} & exec {mark}"));
        image.name = "image".into();
        image.user.uid = Some(33);
        world.runtime.start_container(&uid, image).await.unwrap();
        fs::write(world.path("data/run/lost/volumes/d/kept"), "").unwrap();
        let shim = world.dir.shim("lost").unwrap();
        kill_process(shim, Signal::KILL).unwrap();
        assert_eq!(world.event().await, Event::PodLost { pod: uid.clone() });
        assert!(!is_running(started.pid));
        assert_eq!(processes_with(&mark), [""; 0]);
        let reaped = !fs::exists(format!("/proc/{}", shim.as_raw_nonzero())).unwrap();
        assert!(reaped, "the shim is reaped");
        let exec = world.runtime.exec(&uid, &id("c"), request("true")).await;
        assert_eq!(exec, Err(ExecError::NotRunning(id("c"))));

        let World {
            runtime,
            events,
            dir,
        } = world;
        drop((runtime, events));
        let runtime = native(dir.path());
        let pods = runtime.pods().await.unwrap();
        assert_eq!(pods[0].containers[0].exit.as_ref().unwrap().code, 137);
        let events = runtime.events();
        let mut world = World {
            runtime,
            events,
            dir,
        };
        assert_eq!(world.event().await, Event::PodLost { pod: uid.clone() });
        world
            .runtime
            .start_pod(pods[0].config.clone())
            .await
            .unwrap();
        assert!(world.path("data/run/lost/volumes/d/kept").exists());
        world.sh(&uid, "c2", "exec sleep 1000").await;
        world.runtime.remove_pod(&uid).await.unwrap();
        assert!(!world.path("data/run/lost").exists());
    });
}

#[test]
fn a_killed_shim_leaves_nothing_of_a_pod_that_shares_its_processes() {
    let namespaces = |host_pid, one_pid| Namespaces {
        host_pid,
        one_pid,
        ..Namespaces::default()
    };
    for (uid, namespaces) in [
        ("host", namespaces(true, false)),
        ("shared", namespaces(false, true)),
    ] {
        run(async {
            let mut world = World::native();
            let mut config = pod(uid, own("10.213.0.9"), Vec::new());
            config.namespaces = namespaces;
            world.runtime.start_pod(config.clone()).await.unwrap();
            let pod = uid.into();
            let mark = format!("sleep 1234568.{}", std::process::id());
            // Some have no parent in the container, one does not see the container's mounts.
            let elsewhere = format!("cd /usr && unshare -r chroot . bin/{mark} & {mark}");
            let script =
                format!("{mark} & (setsid {mark} &); (setsid sh -c '{elsewhere}' &); {mark}");
            let mut container = sh("c", &script);
            container.security.seccomp = Seccomp::Unconfined;
            world
                .runtime
                .start_container(&pod, container)
                .await
                .unwrap();
            let is_sleep = |line: &&String| line.starts_with("sleep") || line.starts_with("bin");
            let sleeping = || processes_with(&mark).iter().filter(is_sleep).count();
            eventually(async || (sleeping() == 5).then_some(())).await;
            kill_process(world.dir.shim(uid).unwrap(), Signal::KILL).unwrap();
            assert_eq!(world.event().await, Event::PodLost { pod: pod.clone() });
            assert_eq!(processes_with(&mark), [""; 0]);
            world.runtime.start_pod(config).await.unwrap();
            world.sh(&pod, "c2", "exec sleep 1000").await;
            world.runtime.remove_pod(&pod).await.unwrap();
            assert_eq!(world.dir.cgroups(), [""; 0].map(PathBuf::from));
        });
    }
}

#[test]
fn a_pod_that_cannot_be_taken_up_harms_no_other() {
    run(async {
        let mut world = World::native();
        for uid in ["a", "stuck", "z"] {
            world.pod(uid, Vec::new()).await;
            world.sh(&uid.into(), "c", "exec sleep 1000").await;
        }
        let World {
            runtime,
            events,
            dir,
        } = world;
        drop((runtime, events));
        // A hierarchy with a cgroup that cannot be removed.
        let place = |name: &str| dir.path().join(name);
        let file = place("data/run/stuck/config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let cgroups = &mut config["cgroups"];
        let hierarchy = json!({"root": place("cgroup"), "controllers": ["Cpu"], "unified": false});
        cgroups["hierarchies"]
            .as_array_mut()
            .unwrap()
            .push(hierarchy);
        let parent = cgroups["parent"].as_str().unwrap();
        let busy = place("cgroup").join(parent).join("podstuck/c");
        fs::write(&file, config.to_string()).unwrap();
        fs::create_dir_all(busy.parent().unwrap()).unwrap();
        fs::write(&busy, "").unwrap();
        kill_process(dir.shim("stuck").unwrap(), Signal::KILL).unwrap();

        let runtime = native(dir.path());
        let pods = runtime.pods().await.unwrap();
        let mut uids: Vec<_> = pods.iter().map(|pod| pod.config.uid.as_str()).collect();
        uids.sort_unstable();
        assert_eq!(uids, ["a", "stuck", "z"]);
        world = World {
            events: runtime.events(),
            runtime,
            dir,
        };
        let stuck = "stuck".into();
        let lost = Event::PodLost {
            pod: "stuck".into(),
        };
        assert_eq!(world.event().await, lost);
        for uid in ["a", "z"] {
            assert_eq!(world.output(&uid.into(), "c", "echo here").await, "here");
        }
        // Not before nothing is left of it is there another.
        let own = pod("stuck", own("10.213.0.9"), Vec::new());
        let refused = world.runtime.start_pod(own.clone()).await.unwrap_err();
        assert!(refused.to_string().contains("cgroup"), "{refused}");
        assert!(world.runtime.remove_pod(&stuck).await.is_err());
        fs::remove_file(&busy).unwrap();
        world.runtime.start_pod(own).await.unwrap();
        world.sh(&stuck, "c", "exec sleep 1000").await;
        for uid in ["a", "stuck", "z"] {
            world.runtime.remove_pod(&uid.into()).await.unwrap();
        }
    });
}

#[test]
fn a_removed_pod_leaves_nothing() {
    run(async {
        let world = World::native();
        let mark = format!("sleep 7654321.{}", std::process::id());
        let uid = world.pod("gone", vec![empty_dir("ram", true, None)]).await;
        world
            .sh(
                &uid,
                "c",
                &format!("trap '' TERM; {mark} & setsid {mark} & {mark}"),
            )
            .await;
        let c = id("c");
        let exec = world.runtime.exec(&uid, &c, request(&mark));
        let (exec, removed) = tokio::join!(exec, async {
            eventually(async || (processes_with(&mark).len() > 3).then_some(())).await;
            world.runtime.remove_pod(&uid).await
        });
        removed.unwrap();
        assert_eq!(exec, Err(ExecError::NotRunning(id("c"))));
        assert_eq!(processes_with(&mark), [""; 0]);
        assert_eq!(
            processes_with(&world.path("data").display().to_string()),
            [""; 0]
        );
        assert_eq!(fs::read_dir(world.path("data/run")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(world.runtime.log_dir()).unwrap().count(), 0);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(world.dir.path().to_str().unwrap()));
        world.runtime.remove_pod(&uid).await.unwrap();
        assert_eq!(world.runtime.pods().await.unwrap(), []);
    });
}

#[test]
fn a_call_of_a_newer_agent_is_answered() {
    run(async {
        let world = World::native();
        world.pod("newer", Vec::new()).await;
        let path = world.path("data/run/newer/shim.sock");
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        connect(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        let call = b"\x00{\"id\":12,\"call\":{\"Conjure\":{\"what\":[1,2]}}}";
        send(&socket, call, SendFlags::NOSIGNAL).unwrap();
        let mut packets = Vec::new();
        for _ in 0..2 {
            let mut packet = vec![0; 64 * 1024];
            let (length, _) = recv(&socket, &mut packet[..], RecvFlags::empty()).unwrap();
            packets.push(String::from_utf8_lossy(&packet[1..length]).into_owned());
        }
        assert!(
            packets[0].contains(r#""abilities":{"sessions":true,"#),
            "{packets:?}"
        );
        assert_eq!(
            packets[1],
            r#"{"Answer":{"id":12,"answer":"NotUnderstood"}}"#
        );
    });
}

#[test]
fn nonsense_on_the_socket_does_not_hurt_the_shim() {
    run(async {
        let mut world = World::native();
        let uid = world.pod("fuzz", Vec::new()).await;
        world.sh(&uid, "c", "exec sleep 1000").await;
        let path = world.path("data/run/fuzz/shim.sock");
        let too_many =
            b"\x00{\"id\":1,\"call\":{\"Sockets\":{\"family\":\"V4\",\"count\":100000}}}";
        for nonsense in [&b"\x00{}"[..], b"\x00nonsense", b"\x07", too_many] {
            let flags = SocketFlags::CLOEXEC;
            let socket =
                socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
            connect(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
            send(&socket, nonsense, SendFlags::NOSIGNAL).unwrap();
        }
        // The strangers have replaced this agent, so it takes the pod up again.
        let pods = world.runtime.pods().await.unwrap();
        assert_eq!(pods[0].containers[0].exit, None);
        world
            .runtime
            .stop_container(&uid, &id("c"), Duration::ZERO)
            .await
            .unwrap();
        world.exit("c").await;
    });
}
