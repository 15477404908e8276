//! A start that is waited for, and a port that opens and closes.

use std::fs::{self, File};

use serde_json::{Value, json};

use crate::rig::{PodValue, SERVER, each};

#[test]
fn liveness_and_readiness_wait_for_a_slow_start() {
    each(|rig| {
        let name = &rig.unique("slow");
        let slow = format!("sleep 3; {SERVER}");
        let http = |failures: u32| json!({ "httpGet": { "port": "http" }, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": failures });
        let pod = rig
            .pod(name, &json!(["perl", "-we", slow, "8080"]))
            .with("ports", json!([{ "name": "http", "containerPort": 8080 }]))
            .with("startupProbe", http(30))
            .with("livenessProbe", http(1))
            .with("readinessProbe", http(1));
        let mut up = rig.up(&[&rig.manifest("slow.json", &[&pod])]);
        let running = up.running(name);
        assert_eq!(running["container"]["started"], false, "{running}");
        up.ready(name, true);
        let seen = up.happenings();
        for probe in ["liveness", "readiness"] {
            assert!(
                seen.iter().any(|happening| {
                    happening["probe"] == probe && happening["reason"] == "WaitsForStartup"
                }),
                "{probe}"
            );
        }
        let attempts: Vec<&Value> = seen
            .iter()
            .filter(|happening| happening["type"] == "attempt")
            .collect();
        let began = attempts
            .iter()
            .position(|attempt| attempt["outcome"] == "success")
            .unwrap();
        assert!(began >= 2, "{attempts:?}");
        assert!(
            attempts[..=began]
                .iter()
                .all(|attempt| attempt["probe"] == "startup"),
            "{attempts:?}"
        );
        let status = rig.status();
        let container = status.container(name);
        assert_eq!([&container["started"], &container["ready"]], [true, true]);
        assert_eq!(container["restartCount"], 0);
    });
}

#[test]
fn a_tcp_probe_sees_a_port_open_and_close() {
    each(|rig| {
        let (name, dir) = (&rig.unique("tcp"), rig.dir("switch"));
        let script = r#"
use strict; use IO::Socket::INET;
my $server;
while (1) {
  select undef, undef, undef, 0.05;
  if (-e "/switch/open") {
    $server //= IO::Socket::INET->new(LocalPort => 8080, Listen => 16, ReuseAddr => 1, Blocking => 0) or die $@;
    $server->accept;
  } else { undef $server }
}"#;
        let pod = rig
            .pod(name, &json!(["perl", "-we", script]))
            .with(
                "readinessProbe",
                json!({ "tcpSocket": { "port": 8080 }, "periodSeconds": 1, "failureThreshold": 2 }),
            )
            .with_switch(&dir);
        let mut up = rig.up(&[&rig.manifest("tcp.json", &[&pod])]);
        let closed = up.next(name, "attempt");
        assert_eq!(closed["outcome"], "failure");
        let ip = rig.status().pod(name)["status"]["podIP"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(
            closed["message"],
            format!("dial tcp {ip}:8080: connect: connection refused")
        );
        File::create(dir.join("open")).unwrap();
        up.ready(name, true);
        fs::remove_file(dir.join("open")).unwrap();
        up.ready(name, false);
        assert_eq!(rig.status().container(name)["restartCount"], 0);
    });
}
