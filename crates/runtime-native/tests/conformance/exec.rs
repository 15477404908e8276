//! Commands beside containers.
use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

use probelet_runtime::{ExecError, ExecRequest, Runtime};
use probelet_runtime_native::NativeRuntime;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::suite::*;

/// Of the shim's children those that are in its own pid namespace.
fn runners(world: &World<NativeRuntime>, pod: &str) -> Vec<i32> {
    let shim = world.dir.shim(pod).unwrap().as_raw_nonzero().get();
    let children = fs::read_dir("/proc").unwrap().flatten();
    let pids = children.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status"));
        status.is_ok_and(|status| {
            status.contains(&format!("\nPPid:\t{shim}\n"))
                && status.contains(&format!("\nNSpid:\t{pid}\n"))
        })
    })
    .collect()
}

#[test]
fn what_starts_commands_is_unseen_and_can_be_replaced() {
    run(async {
        let world = World::native();
        let pod = world.pod("replaced", Vec::new()).await;
        world.sh(&pod, "c", "exec sleep 1000").await;
        let seen = world.output(&pod, "c", "ps ax -o pid=,args=").await;
        // The init, the main program, and the two that look.
        assert_eq!(seen.lines().count(), 4, "{seen}");
        let runner = || runners(&world, "replaced");
        let first = runner();
        assert_eq!(first.len(), 1);
        let pid = Pid::from_raw(first[0]).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        eventually(async || runner().is_empty().then_some(())).await;
        assert_eq!(world.output(&pod, "c", "echo again").await, "again");
        assert_ne!(runner(), first);
    });
}

#[test]
fn an_attempt_ends_in_its_time_without_an_agent_too() {
    run(async {
        let world = World::native();
        let pod = world.pod("orphan", Vec::new()).await;
        world.sh(&pod, "c", "exec sleep 1000").await;
        let endless = ExecRequest {
            timeout: Duration::from_millis(300),
            ..request("setsid sleep 990.5 & exec sleep 990.5")
        };
        {
            let container = id("c");
            let attempt = world.runtime.exec(&pod, &container, endless);
            let begun =
                eventually(async || (processes_with("sleep 990.5").len() == 2).then_some(()));
            tokio::select! {
                biased;
                () = begun => {}
                outcome = attempt => panic!("{outcome:?}"),
            }
        }
        let world = world.again().await;
        eventually(async || processes_with("sleep 990.5").is_empty().then_some(())).await;
        world.runtime.pods().await.unwrap();
        assert_eq!(
            world.output(&pod, "c", "echo still here").await,
            "still here"
        );
    });
}

#[test]
fn what_does_not_come_to_begin_is_out_of_time_and_not_begun_later() {
    run(async {
        let world = World::native();
        let pod = world.pod("slow", Vec::new()).await;
        world.sh(&pod, "c", "exec sleep 1000").await;
        world.exec(&pod, "c", "true").await;
        let [runner] = runners(&world, "slow")[..] else {
            panic!("one, for all commands");
        };
        let runner = Pid::from_raw(runner).unwrap();
        kill_process(runner, Signal::STOP).unwrap();
        // It may be about to hear of an attempt until it has heard of the signal.
        eventually(async || {
            let status = fs::read_to_string(format!("/proc/{}/status", runner.as_raw_nonzero()));
            status.ok()?.contains("\nState:\tT").then_some(())
        })
        .await;
        let late = ExecRequest {
            timeout: Duration::from_millis(100),
            ..request("echo late > /tmp/late")
        };
        let outcome = world.runtime.exec(&pod, &id("c"), late).await;
        assert_eq!(outcome, Err(ExecError::TimedOut));
        kill_process(runner, Signal::CONT).unwrap();
        // One after the other, so that what came before would have begun.
        assert_eq!(world.output(&pod, "c", "ls /tmp").await, "");
        assert_eq!(world.output(&pod, "c", "ls /tmp").await, "");
        assert_eq!(runners(&world, "slow"), [runner.as_raw_nonzero().get()]);
    });
}

#[test]
fn an_agent_that_knows_no_exec_channels_is_served() {
    run(async {
        let world = World::native();
        let pod = world.pod("older", Vec::new()).await;
        world.sh(&pod, "c", "exec sleep 1000").await;
        let agent = OlderAgent::connect(&world, "older");
        let ask = |script: &str, timeout: &str| {
            agent.ask(&format!(
                r#"{{"id":7,"call":{{"Exec":{{"container":"c","request":{{"argv":["sh","-c","{script}"],
                "timeout":{timeout},"output_limit":10}}}}}}}}"#
            ))
        };
        let executed = r#"{"Answer":{"id":7,"answer":{"Executed":"#;
        assert_eq!(
            ask("echo hi; exit 3", r#"{"secs":5,"nanos":0}"#),
            format!(
                r#"{executed}{{"Ok":{{"exit_code":3,"stdout":[104,105,10],"stderr":[]}}}}}}}}}}"#
            )
        );
        assert_eq!(
            ask("exec sleep 990.6", r#"{"secs":0,"nanos":100000000}"#),
            format!(r#"{executed}{{"Err":"TimedOut"}}}}}}}}"#)
        );
        assert_eq!(processes_with("sleep 990.6"), [""; 0]);
    });
}

/// An agent of the builds that had all go through the shim.
struct OlderAgent(OwnedFd);

impl OlderAgent {
    fn connect(world: &World<NativeRuntime>, pod: &str) -> Self {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let path = world.path("data/run").join(pod).join("shim.sock");
        connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        let agent = Self(socket);
        let record = agent.receive();
        assert!(record.starts_with(r#"{"Record":"#), "{record}");
        agent
    }

    fn ask(&self, question: &str) -> String {
        send(
            &self.0,
            format!("\0{question}").as_bytes(),
            SendFlags::empty(),
        )
        .unwrap();
        self.receive()
    }

    fn receive(&self) -> String {
        let mut buffer = vec![0; 1 << 16];
        let (length, _) = recv(&self.0, &mut buffer[..], RecvFlags::empty()).unwrap();
        let (kind, json) = buffer[..length].split_first().unwrap();
        assert_eq!(*kind, 0, "one packet");
        String::from_utf8(json.to_owned()).unwrap()
    }
}
