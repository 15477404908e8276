//! Pods that are right as text and go wrong when they run.

use std::fs;

use serde_json::{Value, json};

use crate::rig::{PodValue, each, server, shell};

#[test]
fn a_command_that_does_not_exist_is_a_start_error_with_back_off() {
    each(|rig| {
        let pod = rig.pod("missing", &json!(["/no/such/program"]));
        let good = rig.pod("good", &shell("sleep 1000"));
        let mut up = rig.up(&[&rig.manifest("pods.json", &[&pod, &good])]);
        up.happening("the back-off", |happening| happening["reason"] == "BackOff");
        up.happening("the wait", |happening| {
            happening["container"]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        });
        let status = rig.status_when("good running", |status| status.phase("good") == "Running");
        let container = status.container("missing");
        let last = &container["lastState"]["terminated"];
        assert_eq!(last["reason"], "StartError", "{container:#}");
        assert_eq!(last["exitCode"], 128);
        let message = last["message"].as_str().unwrap();
        assert!(message.contains("/no/such/program"), "{message}");
        assert!(status.has_event("missing", "Failed", "/no/such/program"));
        assert_eq!(status.container("good")["restartCount"], 0);
    });
}

#[test]
fn what_cannot_be_mounted_is_a_start_error_and_a_bad_sub_path_an_error_of_configuration() {
    each(|rig| {
        let with_volume = |name: &str, script: &str, mount: Value| {
            rig.pod(name, &shell(script))
                .with("volumeMounts", json!([mount]))
                .with_spec("volumes", json!([{ "name": "v", "emptyDir": {} }]))
                .with_spec("restartPolicy", json!("Never"))
        };
        let odd = json!({ "name": "v", "mountPath": "/etc/passwd" });
        let odd = with_volume("odd", "exit 0", odd);
        let part = json!({ "name": "v", "mountPath": "/m", "subPath": "out" });
        let part = with_volume("part", "exit 0", part);
        let part = part.with_init("plants", "ln -s /etc /v/out");
        let part = part.with_in_init("volumeMounts", json!([{ "name": "v", "mountPath": "/v" }]));
        let manifest = rig.manifest("pods.json", &[&odd, &part]);
        let _up = rig.up(&[&manifest]);
        let status = rig.status_when("both gone wrong", |status| {
            status.phase("odd") == "Failed" && !status.events("part", "Failed").is_empty()
        });
        let end = &status.container("odd")["state"]["terminated"];
        assert_eq!(end["reason"], "StartError", "{end:#}");
        assert_eq!(end["exitCode"], 128);
        let said = "volume \"v\": mount at /etc/passwd: not a directory";
        assert_eq!(end["message"], said);
        assert_eq!(status.phase("part"), "Pending");
        let waits = &status.container("part")["state"]["waiting"];
        assert_eq!(waits["reason"], "CreateContainerConfigError", "{waits:#}");
        let said = "failed to prepare subPath for volumeMount \"v\" of container \"main\"";
        assert_eq!(waits["message"], said);
    });
}

#[test]
fn a_host_path_that_is_no_directory_is_waited_for() {
    each(|rig| {
        let dir = rig.path("later");
        let pod = rig.pod("pod", &shell("sleep 1000")).with_switch(&dir);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        let failed = up.happening("the event", |happening| {
            happening["reason"] == "FailedMount"
        });
        let message = failed["message"].as_str().unwrap();
        assert!(message.contains("hostPath type check failed"), "{message}");
        assert!(message.contains(dir.to_str().unwrap()), "{message}");
        let status = rig.status();
        assert_eq!(status.phase("pod"), "Pending");
        assert_eq!(
            status.container("pod")["state"]["waiting"]["reason"],
            "ContainerCreating"
        );
        fs::create_dir(&dir).unwrap();
        up.running("pod");
        assert_eq!(rig.status().phase("pod"), "Running");
    });
}

#[test]
fn a_probe_of_a_port_that_has_no_such_name_is_an_error_and_counts_for_nothing() {
    each(|rig| {
        let probe =
            json!({ "httpGet": { "port": "nowhere" }, "periodSeconds": 1, "failureThreshold": 1 });
        let pod = rig
            .pod("pod", &server("8080", "/nothing"))
            .with("readinessProbe", probe.clone())
            .with("livenessProbe", probe);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        for _ in 0..4 {
            let error = up.next("pod", "error");
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("nowhere"), "{message}");
        }
        let status = rig.status();
        assert!(status.has_event(
            "pod",
            "Unhealthy",
            "Readiness probe errored and resulted in unknown state"
        ));
        assert!(!status.is_ready("pod"));
        assert_eq!(status.container("pod")["restartCount"], 0);
        let attempted = |happening: &Value| happening["type"] == "attempt";
        assert!(!up.happenings().iter().any(attempted));
    });
}

#[test]
fn a_service_whose_target_port_no_container_names_has_no_endpoints() {
    each(|rig| {
        let web = &rig.unique("web");
        let pod = rig.pod(web, &server("8080", "/nothing"));
        let service = crate::rig::service(web, &json!("nowhere"));
        let mut up = rig.up(&[&rig.manifest("web.json", &[&pod, &service])]);
        up.ready(web, true);
        let status = rig.status();
        assert_eq!(status.endpoints(web), [vec![""; 0], vec![]]);
        let refused = crate::rig::get(status.host_address(web)).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}
