//! Commands with streams of their own.
use std::fs;

use crate::suite::*;
use probelet_runtime::conformance::sessions::*;
use probelet_runtime::{Runtime, SessionRequest};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Signal, kill_process};

#[test]
fn a_session_survives_a_lost_connection_and_its_end_is_told() {
    run(async {
        let world = World::native();
        let pod = world.pod("reconnect", Vec::new()).await;
        world.sh(&pod, "c", "exec sleep 1000").await;
        let mut opened = open(&world, "reconnect", session("cat; exit 6", ALL, false)).await;
        let stdin = Writer::new(opened.stdin.take().unwrap());
        let stdout = Reader::new(opened.stdout.take().unwrap());
        // A stranger takes the agent's place and leaves; the agent has to connect again.
        let path = world.path("data/run/reconnect/shim.sock");
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        connect(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        drop(socket);
        world.runtime.pods().await.unwrap();
        assert_eq!(world.output(&pod, "c", "echo here").await, "here");
        stdin.write(b"still here").await.unwrap();
        assert_eq!(stdout.read_until("here").await, "still here");
        drop(stdin);
        assert_eq!(outcome(opened.ended).await, Ok(6));
    });
}

#[test]
fn a_killed_shim_is_the_end_of_every_session() {
    run(async {
        let world = World::native();
        let pod = world.pod("killed", Vec::new()).await;
        world.sh(&pod, "c", "exec sleep 1000").await;
        let opened = open(&world, "killed", session("exec sleep 991", ALL, false)).await;
        let joined = world.runtime.attach(&pod, &id("c"), ALL).await.unwrap();
        kill_process(world.dir.shim("killed").unwrap(), Signal::KILL).unwrap();
        assert_eq!(outcome(opened.ended).await, Ok(137));
        assert_eq!(outcome(joined.ended).await, Ok(137));
    });
}

#[test]
fn sessions_leave_nothing_open_and_nobody_running() {
    run(async {
        let world = World::native();
        let pod = world.pod("leak", Vec::new()).await;
        let mut config = sh("c", "exec sleep 1000");
        config.stdin = true;
        world.runtime.start_container(&pod, config).await.unwrap();
        let shim = world.dir.shim("leak").unwrap().as_raw_nonzero().get();
        // What one round leaves, such as sockets in a pool, another does not add to.
        let mut before = None;
        for round in 0..3 {
            for tty in [false, true] {
                for script in ["exit 0", "cat"] {
                    let opened = open(&world, "leak", session(script, ALL, tty)).await;
                    let joined = world.runtime.attach(&pod, &id("c"), ALL).await.unwrap();
                    drop((opened, joined));
                }
                let request = SessionRequest {
                    argv: vec!["nosuch".into()],
                    ..session("", ALL, tty)
                };
                let opened = world.runtime.open_exec(&pod, &id("c"), request).await;
                opened.unwrap_err();
            }
            let expected = before.clone();
            let mut last = None;
            let now = eventually(async || {
                let now = belongings(shim);
                // Twice the same: what is about to be closed is not what stays.
                let stays = last.replace(now.clone()).as_ref() == Some(&now);
                // The container's init, and what starts commands in it.
                let two_children = now.1.split_whitespace().count() == 2;
                let no_more = expected
                    .as_ref()
                    .is_none_or(|(open, children)| now.0 <= *open && now.1 == *children);
                (stays && two_children && no_more).then_some(now)
            })
            .await;
            println!("round {round}: {now:?}");
            before = Some(now);
        }
        let pts = world
            .output(
                &pod,
                "c",
                "ls /dev/pts; ps ax -o comm= | grep -cx cat; true",
            )
            .await;
        assert_eq!(pts, "ptmx\n0");
        world.runtime.remove_pod(&pod).await.unwrap();
    });
}

/// What a process has open, and what it has for children.
fn belongings(pid: i32) -> (usize, String) {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    (open, children)
}
