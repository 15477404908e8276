//! grpc probes, against a real health server in the container.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use tonic_health::ServingStatus;

use crate::rig::{PodValue, Rig, each};

/// The health server: `web` serves from when there is a file `/switch/up` on.
#[test]
#[ignore = "no test: this is what the containers of the tests here run"]
fn server() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter
            .set_service_status("web", ServingStatus::NotServing)
            .await;
        tokio::spawn(async move {
            while !fs::exists("/switch/up").unwrap() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            reporter
                .set_service_status("web", ServingStatus::Serving)
                .await;
        });
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9090));
        let server = tonic::transport::Server::builder().add_service(health);
        server.serve(address).await.unwrap();
    });
}

/// A pod with the server, which is this very program.
fn pod(rig: &Rig, kind: &str, probe: Value) -> (Value, std::path::PathBuf) {
    let dir = rig.dir("switch");
    let program = dir.join("server");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let command = json!([
        "/switch/server",
        "--exact",
        "grpc::server",
        "--ignored",
        "--nocapture"
    ]);
    let pod = rig.pod("pod", &command).with(kind, probe).with_switch(&dir);
    (pod, dir)
}

#[test]
fn a_service_that_begins_to_serve_makes_its_pod_ready() {
    each(|rig| {
        let probe = json!({
            "grpc": { "port": 9090, "service": "web" },
            "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 1,
        });
        let (pod, dir) = pod(rig, "readinessProbe", probe);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        let text = "service unhealthy (responded with \"NOT_SERVING\")";
        up.happening("an answer", |happening| {
            happening["outcome"] == "failure" && happening["message"] == text
        });
        File::create(dir.join("up")).unwrap();
        let attempt = up.happening("a success", |happening| happening["outcome"] == "success");
        assert_eq!(attempt["message"], "service healthy");
        up.ready("pod", true);
        let message = format!("Readiness probe failed: {text}");
        assert!(rig.status().has_event("pod", "Unhealthy", &message));
    });
}

#[test]
fn a_service_that_nobody_registered_kills() {
    each(|rig| {
        let probe = json!({
            "grpc": { "port": 9090, "service": "nobody" },
            "initialDelaySeconds": 1, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 2,
        });
        let (pod, _dir) = pod(rig, "livenessProbe", probe);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        let text = "error: health rpc probe failed: rpc error: code = NotFound desc = service not registered";
        up.happening("an answer", |happening| happening["message"] == text);
        let killing = up.happening("the kill", |happening| happening["reason"] == "Killing");
        assert_eq!(
            killing["message"],
            "Container main failed liveness probe, will be restarted"
        );
    });
}
