//! Init containers: their order, their failures, and that an agent that dies runs none of them twice.

use std::fs::{self, File};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::rig::{PodValue, each, shell, until};

const RUNS: &str = "echo main >> /switch/order; exec sleep 1000";

fn is_running(container: &Value) -> bool {
    container["state"]["running"].is_object()
}

fn ended(status: &crate::rig::Status, pod: &str, index: usize) -> Value {
    status.pod(pod)["status"]["initContainerStatuses"][index]["state"]["terminated"].clone()
}

#[test]
fn they_run_one_after_the_other_and_then_the_rest() {
    each(|rig| {
        let dir = rig.dir("switch");
        let pod = rig
            .pod("pod", &shell(RUNS))
            .with_init("one", "echo one >> /switch/order")
            .with_init(
                "two",
                "echo two >> /switch/order; until test -e /switch/go; do sleep 0.05; done",
            )
            .with_switch(&dir);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        let two = up.happening("the second", |happening| {
            happening["container"]["name"] == "two" && is_running(&happening["container"])
        });
        assert_eq!(two["sort"], "init", "{two}");
        let status = rig.status();
        let initialized = status.condition("pod", "Initialized");
        assert_eq!(initialized["status"], "False");
        assert_eq!(initialized["reason"], "ContainersNotInitialized");
        assert_eq!(
            initialized["message"],
            "containers with incomplete status: [two]"
        );
        assert_eq!(
            status.container("pod")["state"]["waiting"]["reason"],
            "PodInitializing"
        );
        assert_eq!(status.phase("pod"), "Pending");
        let table = rig.run("status", &[]).done().out;
        assert!(table.contains("0/1     Init:1/2"), "{table}");
        File::create(dir.join("go")).unwrap();
        up.container("pod", "main", "running", is_running);
        up.ready("pod", true);
        let order = until("main to say so", || {
            fs::read_to_string(dir.join("order"))
                .ok()
                .filter(|order| order.contains("main"))
        });
        assert_eq!(order, "one\ntwo\nmain\n");
        let status = rig.status();
        for index in [0, 1] {
            assert_eq!(ended(&status, "pod", index)["reason"], "Completed");
        }
        assert_eq!(status.condition("pod", "Initialized")["status"], "True");
        let started = status.events("pod", "Started");
        let fields: Vec<_> = started
            .iter()
            .map(|event| &event["involvedObject"]["fieldPath"])
            .collect();
        let expected = [
            "spec.initContainers{one}",
            "spec.initContainers{two}",
            "spec.containers{main}",
        ];
        assert_eq!(fields.len(), 3);
        assert!(
            expected
                .iter()
                .all(|field| fields.iter().any(|has| *has == field)),
            "{fields:?}"
        );
        let said = rig.run(
            "up",
            &["-f", rig.manifest("again.json", &[&pod]).to_str().unwrap()],
        );
        assert_ne!(said.code, Some(0), "another agent is there: {}", said.out);
    });
}

#[test]
fn one_that_fails_is_tried_again_and_keeps_the_rest_waiting() {
    each(|rig| {
        let dir = rig.dir("switch");
        let pod = rig
            .pod("pod", &shell(RUNS))
            .with_init(
                "setup",
                "echo no disk > /dev/termination-log; test -e /switch/go",
            )
            .with_switch(&dir);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        let waiting = up.container("pod", "setup", "in back-off", |status| {
            status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        });
        let last = &waiting["lastState"]["terminated"];
        assert_eq!(
            [&last["exitCode"], &last["message"]],
            [&json!(1), &json!("no disk\n")]
        );
        let table = rig.run("status", &[]).done().out;
        assert!(table.contains("0/1     Init:CrashLoopBackOff"), "{table}");
        assert_eq!(rig.status().phase("pod"), "Pending");
        assert!(!dir.join("order").exists(), "main has not run");
        File::create(dir.join("go")).unwrap();
        up.ready("pod", true);
        let status = rig.status();
        let restarts = &status.pod("pod")["status"]["initContainerStatuses"][0]["restartCount"];
        assert!(restarts.as_u64().unwrap() >= 1, "{restarts}");
    });
}

#[test]
fn where_nothing_is_restarted_one_failure_is_the_end() {
    each(|rig| {
        let dir = rig.dir("switch");
        let pod = rig
            .pod("pod", &shell(RUNS))
            .with_spec("restartPolicy", json!("Never"))
            .with_init("setup", "exit 3")
            .with_switch(&dir);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.happening("the end", |happening| happening["phase"] == "Failed");
        let table = rig.run("status", &[]).done().out;
        assert!(table.contains("0/1     Init:Error"), "{table}");
        let status = rig.status();
        assert_eq!(ended(&status, "pod", 0)["exitCode"], 3);
        assert!(!dir.join("order").exists(), "main has not run");
    });
}

#[test]
fn a_crash_of_the_agent_runs_none_of_them_twice() {
    each(|rig| {
        let dir = rig.dir("switch");
        let noted = |name: &str| {
            let wait = format!("until test -e /switch/{name}; do sleep 0.05; done");
            format!("echo {name} >> /switch/order; {wait}")
        };
        let pod = rig
            .pod("pod", &shell(RUNS))
            .with_init("one", &noted("one"))
            .with_init("two", &noted("two"))
            .with_switch(&dir);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.container("pod", "one", "running", is_running);
        up.end_with(Signal::KILL);
        // The first ends while nobody looks.
        let before = rig.processes();
        File::create(dir.join("one")).unwrap();
        until("the end of the first", || {
            before.iter().any(|process| !process.exists()).then_some(())
        });
        let mut up = rig.start(&["-o", "json"]);
        up.container("pod", "two", "running", is_running);
        up.end_with(Signal::KILL);
        let mut up = rig.start(&["-o", "json"]);
        File::create(dir.join("two")).unwrap();
        up.ready("pod", true);
        until("main to say so", || {
            let order = fs::read_to_string(dir.join("order")).unwrap();
            (order == "one\ntwo\nmain\n").then_some(()).or_else(|| {
                assert!(order == "one\ntwo\n", "{order}");
                None
            })
        });
        let status = rig.status();
        for index in [0, 1] {
            let container = &status.pod("pod")["status"]["initContainerStatuses"][index];
            assert_eq!(container["restartCount"], 0, "{container}");
        }
    });
}
