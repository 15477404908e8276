//! Commands beside containers.

use std::time::Duration;

use probelet_runtime::{ExecError, ExecRequest, Runtime};

use crate::suite::*;

#[test]
fn exec_gives_code_and_output_cut_to_the_limit() {
    run(async {
        let world = World::native();
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
    });
}

#[test]
fn a_timed_out_exec_leaves_nothing_not_even_a_zombie() {
    run(async {
        let world = World::native();
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
        // Of the attempt, that is: its guardian, and the shell and ps that look, may be there.
        let of_attempt =
            |line: &&str| line.contains("sleep") || line.starts_with('Z') && line.ends_with(" sh");
        assert_eq!(
            left.lines().filter(of_attempt).collect::<Vec<_>>(),
            [""; 0],
            "{left}"
        );
    });
}

#[test]
fn a_daemon_neither_delays_exec_nor_dies_with_it() {
    run(async {
        let world = World::native();
        let pod = world.pod("daemon", Vec::new()).await;
        world.sh(&pod, "c", "exec sleep 1000").await;
        let output = world
            .output(&pod, "c", "setsid sleep 995 & echo started")
            .await;
        assert_eq!(output, "started");
        // The daemon may not have become `sleep` yet, nor the attempt's own parent have left.
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
    });
}

#[test]
fn twenty_execs_at_once() {
    run(async {
        let world = std::sync::Arc::new(World::native());
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
    });
}
