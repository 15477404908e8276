//! `up -f` with a file that was applied before.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::rig::{PodValue, Process, Rig, each, server, service, shell};

/// Applies a pod and waits until it is ready; ends the agent alone, and returns the container's status.
fn applied(rig: &Rig, objects: &[&Value], pod: &str) -> Value {
    let mut up = rig.up(&[&rig.manifest("first.json", objects)]);
    up.ready(pod, true);
    let status = rig.status();
    assert!(up.end_with(Signal::TERM).success());
    status.container(pod).clone()
}

#[test]
fn the_same_file_changes_nothing() {
    each(|rig| {
        let web = &rig.unique("web");
        let objects = [
            &rig.pod(web, &server("8080", "/nothing")),
            &service(web, &json!(8080)),
        ];
        let before = applied(rig, &objects, web);
        let processes = rig.processes();
        let up = rig.up(&[&rig.path("first.json")]);
        let status = rig.status_when("an agent", |_| {
            up.errors().contains(&format!("service/{web} unchanged"))
        });
        assert!(
            up.errors().contains(&format!("pod/{web} unchanged")),
            "{}",
            up.errors()
        );
        assert_eq!(*status.container(web), before);
        assert!(processes.iter().all(Process::exists), "{processes:?}");
    });
}

#[test]
fn a_changed_label_moves_endpoints_and_restarts_nothing() {
    each(|rig| {
        let web = &rig.unique("web");
        let mut pod = rig.pod(web, &server("8080", "/nothing"));
        let service = service(web, &json!(8080));
        let before = applied(rig, &[&pod, &service], web);
        assert_eq!(rig.status().endpoints(web)[0].len(), 1);
        pod["metadata"]["labels"]["app"] = "other".into();
        let up = rig.up(&[&rig.manifest("second.json", &[&pod])]);
        let status = rig.status_when("no endpoint", |status| status.endpoints(web)[0].is_empty());
        assert_eq!(status.endpoints(web), [vec![""; 0], vec![]]);
        assert_eq!(*status.container(web), before);
        assert!(
            up.errors().contains(&format!("pod/{web} configured")),
            "{}",
            up.errors()
        );
    });
}

#[test]
fn a_changed_image_restarts_the_container() {
    each(|rig| {
        let pod = rig.pod("pod", &shell("exec sleep 1000"));
        let before = applied(rig, &[&pod], "pod");
        let pod = pod.with("image", json!("another"));
        let mut up = rig.up(&[&rig.manifest("second.json", &[&pod])]);
        let killing = up.happening("the kill", |happening| happening["reason"] == "Killing");
        assert_eq!(
            killing["message"],
            "Container main definition changed, will be restarted"
        );
        let running = up.running("pod")["container"].clone();
        assert_eq!(running["image"], "another");
        assert_eq!(running["restartCount"], 1);
        assert_eq!(
            running["lastState"]["terminated"]["containerID"],
            before["containerID"]
        );
    });
}

#[test]
fn a_changed_probe_is_refused_by_name_and_touches_nothing() {
    each(|rig| {
        let probe = |period: u32| json!({ "tcpSocket": { "port": 8080 }, "periodSeconds": period });
        let pod = rig.pod("pod", &server("8080", "/nothing"));
        let other = rig.pod("other", &shell("exec sleep 1000"));
        let before = applied(rig, &[&pod.clone().with("livenessProbe", probe(1))], "pod");
        let changed = pod.with("livenessProbe", probe(2));
        let file = rig.manifest("second.json", &[&other, &changed]);
        let said = rig.run("up", &["-f", file.to_str().unwrap()]);
        assert_eq!(said.code, Some(1));
        assert!(
            said.err.contains("spec.containers[0].livenessProbe.periodSeconds: Forbidden: pod updates may not change"),
            "{}",
            said.err
        );
        assert!(said.err.contains("second.json"), "{}", said.err);
        let _up = rig.start(&["-o", "json"]);
        let status = rig.status_when("an agent", |status| status.phase("pod") == "Running");
        assert_eq!(*status.container("pod"), before);
        assert_eq!(status.pod("other"), &Value::Null, "all or nothing");
    });
}
