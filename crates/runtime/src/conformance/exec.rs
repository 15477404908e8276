//! Commands beside containers.
use crate::{ExecError, ExecRequest, Runtime};
use std::time::Duration;

use super::layers::{Layer, sh_on};
use super::world::*;

pub async fn exec_gives_code_and_output_cut_to_the_limit<R: Runtime>(world: World<R>) {
    let pod = world.pod("exec", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    let output = world
        .exec(&pod, "c", "echo out; echo err >&2; exit 9")
        .await;
    assert_eq!(
        (output.exit_code, &output.stdout[..], &output.stderr[..]),
        (9, &b"out\n"[..], &b"err\n"[..])
    );
    assert_eq!(world.exec(&pod, "c", "kill -KILL $$").await.exit_code, 137);
    let output = world
        .exec(
            &pod,
            "c",
            "head -c 3000000 /dev/zero; head -c 20000 /dev/zero >&2",
        )
        .await;
    assert_eq!(
        (output.exit_code, output.stdout.len(), output.stderr.len()),
        (0, 10240, 10240)
    );
    let missing = world.runtime.exec(&pod, &id("x"), request("true")).await;
    assert_eq!(missing, Err(ExecError::NotRunning(id("x"))));
}

pub async fn a_timed_out_exec_leaves_nothing_not_even_a_zombie<R: Runtime>(world: World<R>) {
    let pod = world.pod("timeout", Vec::new()).await;
    world.sh(&pod, "c", "exec tail -f /dev/null").await;
    let script = "sleep 999 & setsid sleep 998 & \
            (setsid sh -c 'trap \"\" TERM; sleep 997 & wait' &) ; sleep 996";
    let request = ExecRequest {
        timeout: Duration::from_millis(200),
        ..request(script)
    };
    let timed_out = world.runtime.exec(&pod, &id("c"), request).await;
    assert_eq!(timed_out, Err(ExecError::TimedOut));
    let left = world.output(&pod, "c", "ps ax -o stat=,comm=").await;
    // Of the attempt, that is: the shell and ps that look are there.
    let of_attempt =
        |line: &&str| line.contains("sleep") || line.starts_with('Z') && line.ends_with(" sh");
    assert_eq!(
        left.lines().filter(of_attempt).collect::<Vec<_>>(),
        [""; 0],
        "{left}"
    );
}

pub async fn a_daemon_neither_delays_exec_nor_dies_with_it<R: Runtime>(world: World<R>) {
    let pod = world.pod("daemon", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    let output = world
        .output(&pod, "c", "setsid sleep 995 & echo started")
        .await;
    assert_eq!(output, "started");
    // The daemon may not have become `sleep` yet.
    let find = "ps -o ppid= -p $(pgrep -x -f 'sleep 995')";
    eventually(async || {
        let parent = world.exec(&pod, "c", find).await.stdout;
        (String::from_utf8_lossy(&parent).trim() == "1").then_some(())
    })
    .await;
    world.exec(&pod, "c", "pkill -x -f 'sleep 995'").await;
    eventually(async || {
        (world
            .exec(&pod, "c", "grep -l '^State:.Z' /proc/[0-9]*/status")
            .await
            .stdout
            .is_empty())
        .then_some(())
    })
    .await;
}

pub async fn twenty_execs_at_once<R: Runtime>(world: World<R>) {
    let world = std::sync::Arc::new(world);
    let pod = world.pod("many", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (world, pod) = (std::sync::Arc::clone(&world), pod.clone());
        // Each waits for all the others to be there.
        let script = format!(
            "mkfifo /tmp/f{number}; : > /tmp/r{number}; \
                while [ $(ls /tmp | grep -c ^r) -lt 20 ]; do sleep 0.01; done; exit {number}"
        );
        tasks.spawn(async move { world.exec(&pod, "c", &script).await.exit_code });
    }
    let mut codes = tasks.join_all().await;
    codes.sort_unstable();
    assert_eq!(codes, (0..20).collect::<Vec<_>>());
}

pub async fn a_command_that_was_stopped_is_ended_in_time<R: Runtime>(world: World<R>) {
    let pod = world.pod("stopped", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    let request = ExecRequest {
        timeout: Duration::from_millis(200),
        ..request("sleep 994 & kill -STOP $$")
    };
    let timed_out = world.runtime.exec(&pod, &id("c"), request).await;
    assert_eq!(timed_out, Err(ExecError::TimedOut));
    let left = world.output(&pod, "c", "ps ax -o args=").await;
    assert!(!left.contains("sleep 994"), "{left}");
}

pub async fn a_command_that_kills_itself_has_an_exit_code_of_its_own<R: Runtime>(world: World<R>) {
    let pod = world.pod("kills", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    let output = world.exec(&pod, "c", "echo so; kill -KILL $$").await;
    assert_eq!((output.exit_code, &output.stdout[..]), (137, &b"so\n"[..]));
    assert_eq!(world.output(&pod, "c", "echo on").await, "on");
}

/// Both where an init stays and where the command is process 1.
pub async fn a_command_that_goes_with_its_container_has_none<R: Runtime>(mut world: World<R>) {
    let base = Layer::busybox(world.dir.path());
    let pod = world.pod("goes", Vec::new()).await;
    let script = "mkfifo /tmp/go; read line < /tmp/go; exit 4";
    for mut config in [sh("host", script), sh_on(&[&base], "image", script)] {
        let run = config.id.clone();
        config.name = run.as_str().into();
        world.runtime.start_container(&pod, config).await.unwrap();
        let command = "until test -p /tmp/go; do sleep 0.01; done; echo > /tmp/go; sleep 1000";
        let outcome = world.runtime.exec(&pod, &run, request(command)).await;
        assert_eq!(outcome, Err(ExecError::NotRunning(run.clone())));
        assert_eq!(world.exit(run.as_str()).await.code, 4);
    }
}

pub async fn a_long_command_line_is_taken_whole<R: Runtime>(world: World<R>) {
    let pod = world.pod("long", Vec::new()).await;
    world.sh(&pod, "c", "exec sleep 1000").await;
    let mut long = request("printf %s \"$0\" \"$@\" | wc -c");
    long.argv.extend((0..20).map(|_| "x".repeat(100_000)));
    let output = world.runtime.exec(&pod, &id("c"), long).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.stdout, b"2000000\n", "{said}");
}
