//! Processes that their parents have left behind.

use serde_json::json;

use crate::rig::{PodValue, Process, Rig, each, shell, until, with_argument};

/// An argument for `sleep` that no other process has.
fn nap(rig: &Rig, name: &str) -> String {
    let number: u32 = rig.unique(name).bytes().fold(7, |sum: u32, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    format!("{}.{number}", 10_000 + std::process::id() % 10_000)
}

fn zombies(rig: &Rig) -> Vec<Process> {
    let mut processes = rig.processes();
    processes.retain(|process| process.state == 'Z');
    processes
}

#[test]
fn what_a_container_left_in_the_background_ends_with_its_run() {
    each(|rig| {
        let nap = nap(rig, "container");
        let script = format!("sleep {nap} & (setsid sleep {nap} &) ; sleep 1; exit 1");
        let pod = rig
            .pod("pod", &shell(&script))
            .with_spec("restartPolicy", json!("Never"));
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.running("pod");
        until("two in the background", || {
            (with_argument(&nap).len() == 2).then_some(())
        });
        up.happening("the end", |happening| {
            happening["container"]["state"]["terminated"]["exitCode"] == 1
        });
        until("their end", || with_argument(&nap).is_empty().then_some(()));
        until("no zombie", || zombies(rig).is_empty().then_some(()));
        assert_eq!(rig.status().phase("pod"), "Failed");
    });
}

#[test]
fn what_a_timed_out_exec_probe_started_is_gone_and_reaped() {
    each(|rig| {
        let nap = nap(rig, "probe");
        let script = format!("sleep {nap} & (setsid sleep {nap} &) ; sleep {nap}");
        let pod = rig.pod("pod", &shell("exec sleep 1000")).with(
            "readinessProbe",
            json!({ "exec": { "command": shell(&script) }, "periodSeconds": 1, "timeoutSeconds": 1 }),
        );
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        for _ in 0..2 {
            let attempt = up.next("pod", "attempt");
            assert_eq!(attempt["outcome"], "failure", "{attempt}");
            let message = attempt["message"].as_str().unwrap();
            assert!(message.contains("timed out"), "{message}");
        }
        // Between two attempts, none of theirs is there.
        until("their end", || with_argument(&nap).is_empty().then_some(()));
        until("no zombie", || zombies(rig).is_empty().then_some(()));
        let status = rig.status();
        assert_eq!(status.container("pod")["restartCount"], 0);
        assert!(status.container("pod")["state"]["running"].is_object());
    });
}

#[test]
fn a_probe_that_leaves_a_child_behind_is_done_when_it_exits() {
    each(|rig| {
        let nap = nap(rig, "daemon");
        // The child holds the probe's output open; the attempt must not wait for it.
        let script = format!("sleep {nap} & exit 0");
        let pod = rig.pod("pod", &shell("exec sleep 1000")).with(
            "readinessProbe",
            json!({ "exec": { "command": shell(&script) }, "periodSeconds": 600, "timeoutSeconds": 20 }),
        );
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        let attempt = up.next("pod", "attempt");
        assert_eq!(attempt["outcome"], "success", "{attempt}");
        let seconds = attempt["durationSeconds"].as_f64().unwrap();
        assert!(seconds < 10.0, "{seconds}");
        drop(up);
        let before = rig.processes();
        rig.run("down", &[]).done();
        rig.assert_nothing_runs(&before);
        assert!(with_argument(&nap).is_empty());
    });
}
