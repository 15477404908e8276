//! `probelet status`: what a script and a person get to read.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::rig::{PodValue, Status, each, file_probe, server, service};

fn keys(value: &Value) -> Vec<&str> {
    let object = value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"));
    object.keys().map(String::as_str).collect()
}

#[test]
fn json_is_a_kubernetes_list_with_whole_statuses() {
    each(|rig| {
        let web = &rig.unique("web");
        let pod = rig
            .pod(web, &server("8080", "/nothing"))
            .with("readinessProbe", file_probe("/switch/ready"))
            .with_switch(&rig.dir("switch"));
        let mut up = rig.up(&[&rig.manifest("web.json", &[&pod, &service(web, &json!(8080))])]);
        up.next(web, "attempt");
        let status = rig.status();
        assert_eq!(status.0["apiVersion"], "v1");
        assert_eq!(status.0["kind"], "List");
        for kind in ["Pod", "Service", "Endpoints", "Event"] {
            for object in status.of(kind) {
                assert_eq!(object["apiVersion"], "v1");
                for field in [
                    "name",
                    "namespace",
                    "uid",
                    "creationTimestamp",
                    "resourceVersion",
                ] {
                    assert!(
                        object["metadata"][field].is_string(),
                        "{kind} {field}: {object}"
                    );
                }
            }
        }
        pod_status(&status, web);
        endpoints(&status, web);
        let unhealthy = status.events(web, "Unhealthy")[0];
        assert_eq!(unhealthy["type"], "Warning");
        assert_eq!(
            unhealthy["involvedObject"]["fieldPath"],
            "spec.containers{main}"
        );
        assert_eq!(
            unhealthy["involvedObject"]["uid"],
            status.pod(web)["metadata"]["uid"]
        );
        for field in ["firstTimestamp", "lastTimestamp", "reportingComponent"] {
            assert!(unhealthy[field].is_string(), "{field}: {unhealthy}");
        }
        assert_eq!(status.host_address(web).ip().to_string()[..8], *"127.213.");
    });
}

fn pod_status(status: &Status, pod: &str) {
    let whole = &status.pod(pod)["status"];
    assert_eq!(whole["phase"], "Running");
    for field in ["podIP", "hostIP", "startTime", "qosClass"] {
        assert!(whole[field].is_string(), "{field}: {whole}");
    }
    assert_eq!(whole["podIPs"][0]["ip"], whole["podIP"]);
    for (kind, expected) in [
        ("PodScheduled", "True"),
        ("PodReadyToStartContainers", "True"),
        ("Initialized", "True"),
        ("ContainersReady", "False"),
        ("Ready", "False"),
    ] {
        let condition = status.condition(pod, kind);
        assert_eq!(condition["status"], expected, "{condition}");
        assert!(condition["lastTransitionTime"].is_string(), "{condition}");
        let mut fields = vec!["lastTransitionTime", "observedGeneration", "status", "type"];
        if expected == "False" {
            fields.extend(["message", "reason"]);
            fields.sort_unstable();
        }
        assert_eq!(keys(condition), fields);
    }
    let container = status.container(pod);
    assert_eq!(
        keys(container),
        [
            "containerID",
            "image",
            "imageID",
            "lastState",
            "name",
            "ready",
            "restartCount",
            "started",
            "state"
        ]
    );
    let id = container["containerID"].as_str().unwrap();
    let id = id.strip_prefix("probelet://").unwrap();
    assert_eq!(id.len(), 64, "{id}");
    assert!(container["state"]["running"]["startedAt"].is_string());
    assert_eq!(container["lastState"], json!({}));
}

fn endpoints(status: &Status, service: &str) {
    let endpoints = status.of("Endpoints").next().unwrap();
    let pod = status.pod(service);
    let subsets = endpoints["subsets"].as_array().unwrap();
    assert_eq!(subsets.len(), 1, "{endpoints}");
    assert_eq!(
        subsets[0]["ports"],
        json!([{ "port": 8080, "protocol": "TCP" }])
    );
    let address = &subsets[0]["notReadyAddresses"][0];
    assert_eq!(address["ip"], pod["status"]["podIP"]);
    assert_eq!(
        address["targetRef"],
        json!({
            "kind": "Pod",
            "namespace": "default",
            "name": pod["metadata"]["name"],
            "uid": pod["metadata"]["uid"],
        })
    );
}

#[test]
fn the_table_is_like_kubectls_with_endpoints_under_it() {
    each(|rig| {
        let web = &rig.unique("web");
        let pod = rig.pod(web, &server("8080", "/nothing"));
        let file = rig.manifest("web.json", &[&pod, &service(web, &json!(8080))]);
        let mut up = rig.up(&[&file]);
        up.ready(web, true);
        let status = rig.status();
        let said = rig.run("status", &[]).done();
        assert_eq!(said.err, "");
        let lines: Vec<Vec<&str>> = said
            .out
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines[0],
            ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP"]
        );
        let ip = status.pod(web)["status"]["podIP"].as_str().unwrap();
        assert_eq!(lines[1][..4], [web, "1/1", "Running", "0"]);
        assert_eq!(lines[1][5], ip);
        assert_eq!(lines[2], [""; 0]);
        assert_eq!(
            lines[3],
            [
                "SERVICE",
                "HOST-ADDRESS",
                "ADDRESSES",
                "NOT-READY-ADDRESSES"
            ]
        );
        let (address, endpoint) = (status.host_address(web).to_string(), format!("{ip}:8080"));
        assert_eq!(lines[4], [web, &address, &endpoint, "<none>"]);
        assert_eq!(lines.len(), 5);
    });
}

#[test]
fn without_an_agent_it_is_the_last_word_and_says_so() {
    each(|rig| {
        let never = rig.run("status", &[]);
        assert_eq!(never.code, Some(1));
        assert!(
            never.err.contains("nothing has ever run in"),
            "{}",
            never.err
        );
        assert!(!rig.data_dir.exists());

        let pod = rig.pod("pod", &server("8080", "/nothing"));
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.ready("pod", true);
        let before = rig.status();
        assert!(up.end_with(Signal::TERM).success());
        let said = rig.run("status", &["-o", "json"]).done();
        assert!(said.err.contains("no agent runs in"), "{}", said.err);
        assert!(
            said.err.contains(rig.data_dir.to_str().unwrap()),
            "{}",
            said.err
        );
        let after = Status(serde_json::from_str(&said.out).unwrap());
        assert_eq!(after.pod("pod"), before.pod("pod"));
        let table = rig.run("status", &[]).done();
        assert!(table.out.contains("pod "), "{}", table.out);
        assert!(table.err.contains("no agent runs in"), "{}", table.err);
    });
}
