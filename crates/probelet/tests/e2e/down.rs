//! `--detach` and `down`, and one agent a data directory.

use std::collections::BTreeSet;

use probelet_model::id::Kind;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::rig::{PodValue, Process, Rig, Status, deployment, each, naming, server, shell};

/// A pod that has been restarted once.
fn restarted_once(rig: &Rig, name: &str) {
    let script = "test -e /switch/once || { touch /switch/once; exit 1; }; exec sleep 1000";
    let pod = rig
        .pod(name, &shell(script))
        .with_switch(&rig.dir("switch"));
    let file = rig.manifest("pod.json", &[&pod]);
    let said = rig
        .run("up", &["--detach", "-f", file.to_str().unwrap()])
        .done();
    assert!(said.out.contains(&format!("pod/{name} ")), "{}", said.out);
    assert!(
        said.out.contains("agent runs in the background as process"),
        "{}",
        said.out
    );
    rig.status_when("a restart", |status| {
        let container = status.container(name);
        container["restartCount"] == 1 && container["state"]["running"].is_object()
    });
}

#[test]
fn a_detached_agent_is_ended_by_down_and_the_pods_come_back() {
    each(|rig| {
        restarted_once(rig, "pod");
        let before = rig.processes();
        let said = rig.run("down", &[]).done();
        assert_eq!(said.out, "every pod is stopped\n");
        rig.assert_nothing_runs(&before);
        let down = rig.status();
        assert_eq!(down.of("Pod").count(), 1);
        assert!(!down.is_ready("pod"));
        assert_eq!(rig.run("down", &[]).done().out, "every pod is stopped\n");

        rig.run("up", &["--detach"]).done();
        let status = rig.status_when("the pod again", |status| status.is_ready("pod"));
        assert_eq!(status.container("pod")["restartCount"], 2);
        assert_eq!(
            status.pod("pod")["metadata"]["uid"],
            down.pod("pod")["metadata"]["uid"]
        );

        let before = rig.processes();
        let said = rig.run("down", &["--delete"]).done();
        assert_eq!(said.out, "everything is deleted\n");
        rig.assert_nothing_runs(&before);
        rig.assert_data_dir_is_empty();
        assert_eq!(rig.status().0["items"], json!([]));
        rig.run("down", &["--delete"]).done();
    });
}

#[test]
fn a_pod_whose_name_is_too_long_for_its_logs_is_deleted() {
    each(|rig| {
        let name = "n".repeat(253);
        let mut pod = rig.pod(&name, &shell("exec sleep 1000"));
        pod["metadata"]["labels"] = json!({});
        let file = rig.manifest("pod.json", &[&pod]);
        rig.run("up", &["--detach", "-f", file.to_str().unwrap()])
            .done();
        rig.status_when("why it does not start", |status| {
            let mut events = status.of("Event");
            events.any(|event| {
                let text = event["message"].as_str().unwrap_or_default();
                text.contains("file name too long")
            })
        });
        let said = rig.run("down", &["--delete"]).done();
        assert_eq!(said.out, "everything is deleted\n");
        rig.assert_data_dir_is_empty();
    });
}

/// All that people can bring in: a namespace of its own with a pod, and a Deployment that is up.
fn all_sorts(rig: &Rig) {
    let mut own = rig.pod("own", &shell("exec sleep 1000"));
    own["metadata"]["namespace"] = "own".into();
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "own" } });
    let config = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "web", "finalizers": ["example.com/kept"] },
        "data": { "GREETING": "hello" },
    });
    let pod = rig.pod("web", &shell("exec sleep 1000"));
    let pod = pod.with("envFrom", json!([{ "configMapRef": { "name": "web" } }]));
    let file = rig.manifest(
        "all.json",
        &[&namespace, &own, &config, &deployment(&pod, 2)],
    );
    let said = rig
        .run("up", &["--detach", "-f", file.to_str().unwrap()])
        .done();
    for name in [
        "namespace/own",
        "pod/own (own)",
        "configmap/web",
        "deployment.apps/web",
    ] {
        assert!(
            said.out.contains(&format!("{name} applied\n")),
            "{}",
            said.out
        );
    }
    rig.status_when("three pods", |status| {
        let running = status.of("Pod").filter(|pod| {
            let container = &pod["status"]["containerStatuses"][0];
            container["state"]["running"].is_object()
        });
        running.count() == 3
    });
}

#[test]
fn down_leaves_a_deployment_as_it_is_and_makes_no_pods_anew() {
    each(|rig| {
        all_sorts(rig);
        let uids = |status: Status| -> BTreeSet<String> {
            let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap().to_owned();
            status.of("Pod").map(uid).collect()
        };
        let before = uids(rig.status());
        let processes = rig.processes();
        rig.run("down", &[]).done();
        rig.assert_nothing_runs(&processes);
        assert_eq!(uids(rig.status()), before);

        rig.run("up", &["--detach"]).done();
        let status = rig.status_when("the pods again", |status| {
            status.of("Pod").all(|pod| {
                let container = &pod["status"]["containerStatuses"][0];
                container["state"]["running"].is_object() && container["restartCount"] == 1
            })
        });
        assert_eq!(uids(status), before);
    });
}

#[test]
fn down_delete_leaves_nothing_of_what_people_have_made() {
    each(|rig| {
        // By the agent that runs, and by one that is started for it.
        for agent_runs in [true, false] {
            all_sorts(rig);
            let processes = rig.processes();
            if !agent_runs {
                let is_agent =
                    |process: &&Process| process.words.iter().any(|word| word == "--detached");
                processes.iter().find(is_agent).unwrap().kill();
            }
            let said = rig.run("down", &["--delete"]).done();
            assert_eq!(said.out, "everything is deleted\n");
            rig.assert_nothing_runs(&processes);
            rig.assert_data_dir_is_empty();
            assert_eq!(rig.status().0["items"], json!([]));
            let store = probelet_agent::stored(&rig.data_dir).unwrap();
            let mut left: Vec<String> = Kind::ALL
                .into_iter()
                .flat_map(|kind| store.list(kind).0)
                .map(|object| object.key.to_string())
                .filter(|key| !key.starts_with("Node ") && !key.starts_with("Lease "))
                .collect();
            left.sort();
            let mut expected = vec!["RuntimeClass host".to_owned()];
            for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
                expected.push(format!("ConfigMap {name}/kube-root-ca.crt"));
                expected.push(format!("Namespace {name}"));
                expected.push(format!("ServiceAccount {name}/default"));
            }
            expected.sort();
            assert_eq!(left, expected);
        }
    });
}

#[test]
fn down_stops_what_a_dead_agent_has_left() {
    each(|rig| {
        let pod = rig.pod("pod", &server("8080", "/nothing"));
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.ready("pod", true);
        let mut before = rig.processes();
        up.signal(Signal::KILL);
        assert!(!up.ended().success());
        before.retain(|process| process.exists());
        assert!(before.len() >= 3, "{before:?}");
        rig.run("down", &[]).done();
        rig.assert_nothing_runs(&before);
        let status = rig.status();
        assert!(!status.is_ready("pod"));
        let container = status.container("pod");
        assert_eq!(container["state"]["running"], json!(null), "{container}");
        rig.run("down", &[]).done();
    });
}

#[test]
fn down_ends_a_foreground_agent_too() {
    each(|rig| {
        let pod = rig.pod("pod", &shell("exec sleep 1000"));
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.running("pod");
        let before = rig.processes();
        rig.run("down", &[]).done();
        assert!(up.ended().success());
        assert!(
            up.errors().contains("ended by probelet down"),
            "{}",
            up.errors()
        );
        rig.assert_nothing_runs(&before);
        assert_eq!(rig.status().of("Pod").count(), 1);
    });
}

#[test]
fn down_where_nothing_ever_was_makes_nothing() {
    each(|rig| {
        let said = rig.run("down", &["--delete"]).done();
        assert!(said.out.contains("nothing is there"), "{}", said.out);
        assert!(!rig.data_dir.exists());
    });
}

#[test]
fn a_data_directory_has_one_agent() {
    each(|rig| {
        let pod = rig.pod("pod", &shell("exec sleep 1000"));
        let file = rig.manifest("pod.json", &[&pod]);
        let mut up = rig.up(&[&file]);
        up.running("pod");
        let holder = format!(
            "is in use by probelet, process {}",
            up.pid().as_raw_nonzero()
        );
        for more in [&[][..], &["--detach"]] {
            let arguments = [&["-f", file.to_str().unwrap()], more].concat();
            let said = rig.run("up", &arguments);
            assert_eq!(said.code, Some(1), "{}", said.out);
            assert!(said.err.contains(&holder), "{}", said.err);
            assert!(
                said.err.contains(rig.data_dir.to_str().unwrap()),
                "{}",
                said.err
            );
        }
        assert_eq!(rig.status().container("pod")["restartCount"], 0);
        assert!(up.end_with(Signal::INT).success());
        assert!(naming(&rig.data_dir).is_empty());
    });
}
