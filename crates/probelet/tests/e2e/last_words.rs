//! Termination messages, from the file and from the log, and over a crash of the agent.

use std::fs::File;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::rig::{PodValue, Rig, each, shell, until};

/// How the only container of a pod that is never restarted has ended.
fn ended(rig: &Rig, pod: &Value) -> Value {
    let mut up = rig.up(&[&rig.manifest("pod.json", &[pod])]);
    up.happening("the end", |happening| happening["phase"] == "Failed");
    rig.status().container("pod")["state"]["terminated"].clone()
}

#[test]
fn the_message_is_what_the_container_wrote() {
    each(|rig| {
        let script = "echo out; echo the disk is gone > /last/words; exit 4";
        let pod = rig
            .pod("pod", &shell(script))
            .with_spec("restartPolicy", json!("Never"))
            .with("terminationMessagePath", json!("/last/words"));
        let ended = ended(rig, &pod);
        assert_eq!(ended["message"], "the disk is gone\n", "{ended}");
        assert_eq!(
            [&ended["exitCode"], &ended["reason"]],
            [&json!(4), &json!("Error")]
        );
    });
}

#[test]
fn the_end_of_the_log_stands_in() {
    each(|rig| {
        let script = "for line in $(seq 200); do echo line $line; done; exit 1";
        let pod = rig
            .pod("pod", &shell(script))
            .with_spec("restartPolicy", json!("Never"))
            .with("terminationMessagePolicy", json!("FallbackToLogsOnError"));
        let ended = ended(rig, &pod);
        let expected: String = (121..=200).map(|line| format!("line {line}\n")).collect();
        assert_eq!(ended["message"], expected, "{ended}");
    });
}

#[test]
fn the_message_of_a_container_that_ends_while_no_agent_is_there_is_not_lost() {
    each(|rig| {
        let dir = rig.dir("switch");
        let script = "until test -e /switch/go; do sleep 0.05; done; echo bye > /dev/termination-log; exit 7";
        let pod = rig
            .pod("pod", &shell(script))
            .with_spec("restartPolicy", json!("Never"))
            .with_switch(&dir);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.running("pod");
        up.end_with(Signal::KILL);
        let before = rig.processes();
        File::create(dir.join("go")).unwrap();
        until("the end of the container", || {
            before.iter().any(|process| !process.exists()).then_some(())
        });
        let mut up = rig.start(&["-o", "json"]);
        up.happening("the end", |happening| happening["phase"] == "Failed");
        let status = rig.status();
        let ended = &status.container("pod")["state"]["terminated"];
        assert_eq!(
            [&ended["exitCode"], &ended["message"]],
            [&json!(7), &json!("bye\n")]
        );
    });
}
