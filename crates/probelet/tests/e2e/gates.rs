//! Readiness gates: conditions of others that a pod waits for.

use serde_json::json;

use crate::rig::{PodValue, each, server, service};

#[test]
fn a_pod_whose_gate_nobody_opens_runs_and_takes_no_traffic() {
    each(|rig| {
        let name = &rig.unique("gated");
        let pod = rig
            .pod(name, &server("8080", "/nothing"))
            .with_spec(
                "readinessGates",
                json!([{ "conditionType": "example.com/open" }]),
            )
            .with(
                "readinessProbe",
                json!({ "httpGet": { "port": 8080 }, "periodSeconds": 1 }),
            );
        let file = rig.manifest("pod.json", &[&pod, &service(name, &json!(8080))]);
        let _up = rig.up(&[&file]);
        let status = rig.status_when("all containers ready", |status| {
            status.condition(name, "ContainersReady")["status"] == "True"
        });
        let ready = status.condition(name, "Ready");
        assert_eq!(
            [&ready["status"], &ready["reason"]],
            ["False", "ReadinessGatesNotReady"]
        );
        let message =
            "corresponding condition of pod readiness gate \"example.com/open\" does not exist.";
        assert_eq!(ready["message"], message);
        assert_eq!(status.phase(name), "Running");
        let [addresses, not_ready] = status.endpoints(name);
        assert_eq!((addresses.len(), not_ready.len()), (0, 1));
        let table = rig.run("status", &[]).done().out;
        assert!(table.contains("1/1     Running"), "{table}");
    });
}
