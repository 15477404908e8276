//! Probes quicker than a second, by annotation; and what becomes of the events of one that talks much.

use std::time::Duration;

use probelet_model::time::Wall;
use serde_json::{Value, json};

use crate::rig::{PodValue, each, shell};

fn annotated(mut pod: Value, probe: &str, value: &str) -> Value {
    pod["metadata"]["annotations"] = json!({ format!("{probe}.probe.probelet.dev/main"): value });
    pod
}

#[test]
fn attempts_are_made_at_the_pace_that_is_asked_for() {
    each(|rig| {
        let pod = rig
            .pod("pod", &shell("exec sleep 1000"))
            .with("readinessProbe", json!({ "exec": { "command": ["true"] } }));
        let pod = annotated(
            pod,
            "readiness",
            "periodMilliseconds=50,timeoutMilliseconds=5000",
        );
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        let mut begun: Vec<Wall> = Vec::new();
        while begun.len() < 60 {
            let attempt = up.next("pod", "attempt");
            assert_eq!(attempt["outcome"], "success", "{attempt}");
            let ended: Wall = serde_json::from_value(attempt["time"].clone()).unwrap();
            let took = Duration::from_secs_f64(attempt["durationSeconds"].as_f64().unwrap());
            begun.push(ended - took);
        }
        let mut pauses: Vec<Duration> = begun
            .windows(2)
            .map(|pair| pair[1].since(pair[0]))
            .collect();
        pauses.sort();
        // A machine that is busy makes some attempts late, and the ones after them early.
        let usual = pauses[pauses.len() / 2];
        let near = Duration::from_millis(45)..Duration::from_millis(60);
        assert!(near.contains(&usual), "{pauses:?}");
    });
}

#[test]
fn a_liveness_probe_that_fails_for_a_fraction_of_a_second_kills() {
    each(|rig| {
        let pod = rig.pod("pod", &shell("exec sleep 1000")).with(
            "livenessProbe",
            json!({ "exec": { "command": ["sleep", "10"] }, "failureThreshold": 2 }),
        );
        let pod = annotated(
            pod,
            "liveness",
            "periodMilliseconds=100,timeoutMilliseconds=250",
        );
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        let attempt = up.next("pod", "attempt");
        assert_eq!(
            attempt["message"], "command timed out: \"sleep 10\" timed out after 250ms",
            "{attempt}"
        );
        let took = Duration::from_secs_f64(attempt["durationSeconds"].as_f64().unwrap());
        assert!(
            took >= Duration::from_millis(250) && took < Duration::from_secs(1),
            "{took:?}"
        );
        up.happening("the kill", |happening| happening["reason"] == "Killing");
    });
}

#[test]
fn a_probe_that_says_something_new_each_time_hides_nothing() {
    each(|rig| {
        let script = "test -e /switch/rare && { rm /switch/rare; sleep 20; }; date +%s%N; exit 1";
        let dir = rig.dir("switch");
        std::fs::File::create(dir.join("rare")).unwrap();
        let pod = rig
            .pod("pod", &shell("exec sleep 1000"))
            .with(
                "livenessProbe",
                json!({ "exec": { "command": ["sh", "-c", script] }, "failureThreshold": 100_000 }),
            )
            .with_switch(&dir);
        let pod = annotated(
            pod,
            "liveness",
            "periodMilliseconds=20,timeoutMilliseconds=2000",
        );
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.happening("the thirtieth failure", |happening| happening["run"] == 30);
        let status = rig.status();
        let unhealthy = status.events("pod", "Unhealthy");
        let says = |text: &str| {
            let says = |event: &&&Value| event["message"].as_str().unwrap().starts_with(text);
            unhealthy.iter().filter(says).count()
        };
        assert_eq!(
            says("(combined from similar events): Liveness probe failed: "),
            1
        );
        assert_eq!(says("Liveness probe failed: 1"), 10);
        assert_eq!(says("Liveness probe failed: command timed out: "), 1);
        assert_eq!(unhealthy.len(), 12);
        let counts = unhealthy
            .iter()
            .map(|event| event["count"].as_u64().unwrap());
        assert!(counts.sum::<u64>() >= 29);
    });
}
