//! The main job: a pod becomes ready and unready, and its Service follows.

use std::fs::{self, File};
use std::io::ErrorKind;

use serde_json::{Value, json};

use crate::rig::{PodValue, Rig, Up, each, get, server, service};

#[test]
fn an_exec_probe_is_followed_through() {
    each(|rig| {
        let (dir, name) = (rig.dir("switch"), rig.unique("web"));
        let pod = rig
            .pod(&name, &server("8080", "/nothing"))
            .with("ports", json!([{ "name": "http", "containerPort": 8080 }]))
            .with(
                "readinessProbe",
                json!({
                    "exec": { "command": ["cat", "/switch/ready.txt"] },
                    "initialDelaySeconds": 3,
                    "periodSeconds": 1,
                    "timeoutSeconds": 10,
                    "successThreshold": 3,
                }),
            )
            .with_switch(&dir);
        let file = rig.manifest("web.yaml", &[&pod, &service(&name, &json!("http"))]);
        let mut up = rig.up(&[&file]);
        let wait = up.happening("the wait", |happening| {
            happening["reason"] == "InitialDelay"
        });
        assert_eq!(wait["message"], "initialDelaySeconds: 3 not over yet");
        for run in 1..=3 {
            failed(&up.next(&name, "attempt"), run);
        }
        unready(rig, &name);

        File::create(dir.join("ready.txt")).unwrap();
        let third = changed(&mut up);
        assert_eq!([&third["run"], &third["threshold"]], [3, 3], "{third}");
        assert_eq!(third["outcome"], "success");
        assert_eq!(third["verdict"], "Success");
        rig.status_when("Ready", |status| status.is_ready(&name));
        successes_before(&mut up, &name);
        ready(rig, &name);

        fs::remove_file(dir.join("ready.txt")).unwrap();
        let third = changed(&mut up);
        assert_eq!([&third["run"], &third["threshold"]], [3, 3], "{third}");
        assert_eq!(third["outcome"], "failure");
        rig.status_when("not Ready", |status| !status.is_ready(&name));
        unready(rig, &name);
        let status = rig.status();
        assert_eq!(status.container(&name)["restartCount"], 0);
        let unhealthy = status.events(&name, "Unhealthy");
        assert!(
            unhealthy[0]["count"].as_u64().unwrap() >= 6,
            "{unhealthy:#?}"
        );
    });
}

/// The next attempt that changes the verdict.
fn changed(up: &mut Up) -> Value {
    up.happening("a change", |happening| happening["changed"] == true)
}

fn failed(attempt: &Value, run: u64) {
    let message = attempt["message"].as_str().unwrap();
    assert!(
        message.contains("/switch/ready.txt: No such file"),
        "{message}"
    );
    assert_eq!(attempt["outcome"], "failure");
    assert_eq!(attempt["exitCode"], 1);
    assert_eq!([&attempt["run"], &attempt["threshold"]], [run, 3]);
    assert_eq!(attempt["verdict"], "Failure");
    let seconds = attempt["durationSeconds"].as_f64().unwrap();
    assert!(0.0 < seconds && seconds < 10.0, "{seconds} s");
}

fn unready(rig: &Rig, name: &str) {
    let status = rig.status();
    for kind in ["Ready", "ContainersReady"] {
        let condition = status.condition(name, kind);
        assert_eq!(condition["status"], "False", "{condition}");
        assert_eq!(condition["reason"], "ContainersNotReady");
        assert_eq!(
            condition["message"],
            "containers with unready status: [main]"
        );
    }
    let ip = status.pod(name)["status"]["podIP"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(status.endpoints(name), [vec![], vec![ip]]);
    let refused = get(status.host_address(name)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
}

fn ready(rig: &Rig, name: &str) {
    let status = rig.status();
    for kind in ["Ready", "ContainersReady"] {
        assert_eq!(status.condition(name, kind)["status"], "True");
    }
    let ip = status.pod(name)["status"]["podIP"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(status.endpoints(name), [vec![ip], vec![]]);
    let answer = get(status.host_address(name)).unwrap();
    assert_eq!(answer, format!("hello from {name}\n"));
}

fn successes_before(up: &mut Up, name: &str) {
    let mut seen = up.happenings();
    seen.retain(|happening| happening["name"] == name && happening["outcome"] == "success");
    let runs: Vec<&Value> = seen.iter().take(3).map(|attempt| &attempt["run"]).collect();
    assert_eq!(runs, [1, 2, 3]);
}
