//! Containers that are killed because they are not alive.

use std::fs::File;
use std::time::Duration;

use probelet_model::time::Wall;
use serde_json::{Value, json};

use crate::rig::{PodValue, each, server, shell};

fn time(happening: &Value) -> Wall {
    serde_json::from_value(happening["time"].clone()).unwrap()
}

#[test]
fn a_server_that_breaks_is_restarted_and_then_waits() {
    each(|rig| {
        let (dir, name) = (rig.dir("switch"), rig.unique("web"));
        let pod = rig
            .pod(&name, &server("8080", "/switch/broken"))
            .with(
                "livenessProbe",
                json!({ "httpGet": { "port": 8080 }, "periodSeconds": 1, "timeoutSeconds": 10 }),
            )
            .with_switch(&dir);
        let mut up = rig.up(&[&rig.manifest("web.json", &[&pod])]);
        let first = up.running(&name)["container"]["containerID"].clone();
        // It answers before it breaks, so that no refused connection is among the failures.
        up.happening("a success", |happening| happening["outcome"] == "success");
        File::create(dir.join("broken")).unwrap();
        let killing = up.happening("the kill", |happening| happening["reason"] == "Killing");
        assert_eq!(
            killing["message"],
            "Container main failed liveness probe, will be restarted"
        );
        let mut failed = up.happenings();
        failed.retain(|happening| happening["statusCode"] == 500);
        for (attempt, run) in failed.iter().zip(1..) {
            assert_eq!(attempt["message"], "HTTP probe failed with statuscode: 500");
            assert_eq!([&attempt["threshold"], &attempt["run"]], [3, run]);
        }
        let again = up.running(&name)["container"].clone();
        assert_eq!(again["restartCount"], 1);
        assert_ne!(again["containerID"], first);
        let last = &again["lastState"]["terminated"];
        assert_eq!(last["containerID"], first);
        assert_eq!([&last["exitCode"], &last["signal"]], [143, 15]);
        assert_eq!(last["reason"], "Error");

        // It is still broken. A probe's restart is judged by the exit before the one it brings about, so the
        // third within ten seconds is the first that has to wait.
        let again = up.running(&name)["container"].clone();
        assert_eq!(again["restartCount"], 2);
        up.happening("the back-off", |happening| happening["reason"] == "BackOff");
        let status = rig.status();
        let container = status.container(&name);
        let waiting = &container["state"]["waiting"];
        assert_eq!(waiting["reason"], "CrashLoopBackOff", "{container}");
        let message = waiting["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!(
                "back-off 10s restarting failed container=main pod={name}_default("
            )),
            "{message}"
        );
        assert_eq!(container["restartCount"], 2);
        assert_eq!(
            container["lastState"]["terminated"]["containerID"],
            again["containerID"]
        );
        assert_eq!([&container["ready"], &container["started"]], [false, false]);
        assert_eq!(status.condition(&name, "Ready")["status"], "False");
        assert_eq!(status.phase(&name), "Running");
        let unhealthy = status.events(&name, "Unhealthy");
        let message =
            "Liveness probe failed: HTTP probe failed with statuscode: 500 [failure 3 of 3, ";
        let is_broken = |event: &&&Value| {
            let told = event["message"].as_str().unwrap();
            told.starts_with(message) && told.ends_with(": the container is killed]")
        };
        let broken = unhealthy.iter().find(is_broken).unwrap();
        assert!(broken["count"].as_u64().unwrap() >= 9, "{broken:#}");
        assert_eq!(status.events(&name, "Killing")[0]["count"], 3);
        assert_eq!(status.events(&name, "Started")[0]["count"], 3);
        assert!(status.has_event(
            &name,
            "BackOff",
            "Back-off restarting failed container main in pod"
        ));
    });
}

#[test]
fn who_ignores_term_is_killed_at_the_end_of_its_grace_and_not_before() {
    each(|rig| {
        let name = "stubborn";
        let pod = rig
            .pod(name, &shell("trap '' TERM; while :; do sleep 0.1; done"))
            .with_spec("terminationGracePeriodSeconds", json!(3))
            .with(
                "livenessProbe",
                json!({ "exec": { "command": ["false"] }, "periodSeconds": 1, "failureThreshold": 1 }),
            );
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        let killing = up.happening("the kill", |happening| happening["reason"] == "Killing");
        let again = up.running(name);
        let last = &again["container"]["lastState"]["terminated"];
        assert_eq!([&last["exitCode"], &last["signal"]], [137, 9], "{last}");
        let took = time(&again).since(time(&killing));
        // The agent tells of the kill once it has asked for it, which is a moment after it began.
        assert!(took > Duration::from_millis(2900), "{took:?}");
        assert!(took < Duration::from_secs(6), "{took:?}");
    });
}
