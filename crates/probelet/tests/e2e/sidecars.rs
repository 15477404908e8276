//! Init containers that stay: what waits for them, and that they go last.

use std::fs::{self, File};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::rig::{PodValue, each, file_probe, shell};

fn is_running(container: &Value) -> bool {
    container["state"]["running"].is_object()
}

/// Says its name when it is told to stop, which takes it a moment.
fn says(name: &str) -> String {
    format!(
        "trap 'echo {name} >> /switch/order; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    )
}

#[test]
fn main_waits_for_its_sidecars_startup_probe_and_ends_before_it() {
    each(|rig| {
        let dir = rig.dir("switch");
        let pod = rig
            .pod("pod", &shell(&says("main")))
            .with_spec("terminationGracePeriodSeconds", json!(20))
            .with_init("proxy", &says("proxy"))
            .with_in_init("restartPolicy", json!("Always"))
            .with_in_init("startupProbe", {
                let mut probe = file_probe("/switch/up");
                probe["failureThreshold"] = json!(100);
                probe
            })
            .with_in_init("readinessProbe", file_probe("/switch/up"))
            .with_switch(&dir);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.happening("an attempt", |happening| {
            happening["probe"] == "startup" && happening["outcome"] == "failure"
        });
        let status = rig.status();
        assert_eq!(status.condition("pod", "Initialized")["status"], "False");
        assert_eq!(status.phase("pod"), "Pending");
        assert_eq!(
            status.container("pod")["state"]["waiting"]["reason"],
            "PodInitializing"
        );
        let table = rig.run("status", &[]).done().out;
        assert!(table.contains("0/2     Init:0/1"), "{table}");

        File::create(dir.join("up")).unwrap();
        let proxy = up.happening("the proxy started", |happening| {
            happening["container"]["name"] == "proxy" && happening["container"]["started"] == true
        });
        assert_eq!(proxy["sort"], "sidecar");
        up.container("pod", "main", "running", is_running);
        up.ready("pod", true);
        let table = rig.run("status", &[]).done().out;
        assert!(table.contains("2/2     Running"), "{table}");

        assert!(up.end_with(Signal::INT).success());
        assert_eq!(
            fs::read_to_string(dir.join("order")).unwrap(),
            "main\nproxy\n"
        );
    });
}

#[test]
fn one_that_ends_is_started_again_and_the_pod_is_not_ready_meanwhile() {
    each(|rig| {
        let dir = rig.dir("switch");
        let pod = rig
            .pod("pod", &shell("exec sleep 1000"))
            .with_init(
                "proxy",
                "until test -e /switch/end; do sleep 0.05; done; rm /switch/end; exit 0",
            )
            .with_in_init("restartPolicy", json!("Always"))
            .with_switch(&dir);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.ready("pod", true);
        File::create(dir.join("end")).unwrap();
        let not_ready = up.ready("pod", false);
        let message = "containers with unready status: [proxy]";
        assert_eq!(not_ready["condition"]["message"], message);
        up.ready("pod", true);
        let status = rig.status();
        let proxy = &status.pod("pod")["status"]["initContainerStatuses"][0];
        assert_eq!(
            [&proxy["restartCount"], &proxy["ready"]],
            [&json!(1), &json!(true)]
        );
        assert_eq!(status.condition("pod", "Initialized")["status"], "True");
        assert_eq!(status.phase("pod"), "Running");
        assert_eq!(status.container("pod")["restartCount"], 0);
    });
}

#[test]
fn a_pod_whose_work_is_done_ends_with_its_sidecars() {
    each(|rig| {
        let dir = rig.dir("switch");
        let pod = rig
            .pod("pod", &shell("exit 0"))
            .with_spec("restartPolicy", json!("Never"))
            .with_init("proxy", &says("proxy"))
            .with_in_init("restartPolicy", json!("Always"))
            .with_switch(&dir);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.happening("the end", |happening| happening["phase"] == "Succeeded");
        assert_eq!(fs::read_to_string(dir.join("order")).unwrap(), "proxy\n");
        let status = rig.status();
        let proxy = &status.pod("pod")["status"]["initContainerStatuses"][0];
        assert!(proxy["state"]["terminated"].is_object(), "{proxy}");
    });
}
