//! Ctrl-C, SIGTERM, SIGHUP and SIGKILL, told apart.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::rig::{PodValue, clock, deployment, each, file_probe, server, service, shell};

#[test]
fn ctrl_c_deletes_what_this_run_brought_in_and_leaves_the_rest() {
    each(|rig| {
        let (kept, name) = (&rig.unique("kept"), &rig.unique("web"));
        let pod = |name: &str| {
            rig.pod(name, &server("8080", "/nothing"))
                .with_spec(
                    "volumes",
                    json!([{ "name": "memory", "emptyDir": { "medium": "Memory" } }]),
                )
                .with(
                    "volumeMounts",
                    json!([{ "name": "memory", "mountPath": "/memory" }]),
                )
        };
        let mut up = rig.up(&[&rig.manifest("kept.json", &[&pod(kept)])]);
        let kept_id = up.running(kept)["container"]["containerID"].clone();
        assert!(up.end_with(Signal::TERM).success());
        let others = rig.processes();

        let file = rig.manifest("web.json", &[&pod(name), &service(name, &json!(8080))]);
        let mut up = rig.up(&[&file]);
        up.ready(name, true);
        let mut gone = rig.processes();
        gone.retain(|process| !others.contains(process));
        up.signal(Signal::INT);
        assert!(up.ended().success());
        assert!(
            up.errors().contains("deleting what this run brought in"),
            "{}",
            up.errors()
        );
        let last = up.seen().last().unwrap();
        assert!(last.contains(r#""type":"deleted""#), "{last}");
        for process in gone {
            assert!(!process.exists(), "{process:?}");
        }
        let status = rig.status();
        let pods: Vec<_> = status
            .of("Pod")
            .map(|pod| &pod["metadata"]["name"])
            .collect();
        assert_eq!(pods, [kept]);
        assert_eq!(status.container(kept)["containerID"], kept_id);
        for kind in ["Service", "Endpoints"] {
            assert_eq!(status.of(kind).count(), 0, "{kind}");
        }
        assert_eq!(status.events(name, "Started").len(), 0);
    });
}

#[test]
fn ctrl_c_takes_a_deployments_pods_with_it() {
    each(|rig| {
        let (kept, web) = (rig.unique("kept"), rig.unique("web"));
        let pod = |name: &str| rig.pod(name, &shell("exec sleep 1000"));
        let mut up = rig.up(&[&rig.manifest("kept.json", &[&pod(&kept)])]);
        up.running(&kept);
        assert!(up.end_with(Signal::TERM).success());
        let others = rig.processes();

        let file = rig.manifest("web.json", &[&deployment(&pod(&web), 2)]);
        let mut up = rig.up(&[&file]);
        rig.status_when("two pods more", |status| {
            let ready = status.of("Pod").filter(|pod| {
                let container = &pod["status"]["containerStatuses"][0];
                container["ready"] == true
            });
            ready.count() == 3
        });
        let mut gone = rig.processes();
        gone.retain(|process| !others.contains(process));
        up.signal(Signal::INT);
        assert!(up.ended().success());
        let created = format!("deployment.apps/{web} created");
        assert!(up.errors().contains(&created), "{}", up.errors());
        for process in gone {
            assert!(!process.exists(), "{process:?}");
        }
        let status = rig.status();
        let pods: Vec<_> = status
            .of("Pod")
            .map(|pod| &pod["metadata"]["name"])
            .collect();
        assert_eq!(pods, [&kept]);
        let told_of = |event: &Value| event["involvedObject"]["name"].clone();
        assert!(status.of("Event").all(|event| told_of(event) == *kept));
    });
}

#[test]
fn ctrl_c_leaves_nothing_but_an_empty_data_directory() {
    each(|rig| {
        let name = &rig.unique("web");
        let pod = rig
            .pod(name, &server("8080", "/nothing"))
            .with("readinessProbe", file_probe("/etc/hostname"));
        let file = rig.manifest("web.json", &[&pod, &service(name, &json!(8080))]);
        // The moments of the deletion are many, and a leftover may need the right one.
        for _ in 0..4 {
            let mut up = rig.up(&[&file]);
            up.running(name);
            let before = rig.processes();
            assert!(before.len() >= 3, "{before:?}");
            assert!(up.end_with(Signal::INT).success());
            rig.assert_nothing_runs(&before);
            rig.assert_data_dir_is_empty();
            assert_eq!(rig.status().0["items"], json!([]));
        }
        assert_eq!(rig.run("status", &[]).done().out, "No resources found.\n");
    });
}

#[test]
fn a_second_ctrl_c_cuts_a_long_grace_short() {
    each(|rig| {
        let pod = rig
            .pod(
                "stubborn",
                &shell("trap '' TERM; while :; do sleep 0.1; done"),
            )
            .with_spec("terminationGracePeriodSeconds", json!(600));
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.running("stubborn");
        let before = rig.processes();
        let began = clock();
        up.signal(Signal::INT);
        up.happening("the end asked for", |happening| {
            happening["reason"] == "Killing"
        });
        up.signal(Signal::INT);
        assert!(up.ended().success());
        assert!(clock() - began < Duration::from_secs(20));
        assert!(up.errors().contains("ending the grace"), "{}", up.errors());
        rig.assert_nothing_runs(&before);
        rig.assert_data_dir_is_empty();
    });
}

/// The other endings are the agent's alone.
fn containers_go_on_after(signal: Signal) {
    each(|rig| {
        let name = &rig.unique("web");
        let pod = rig
            .pod(name, &server("8080", "/nothing"))
            .with("readinessProbe", file_probe("/switch/ready"))
            .with_switch(&rig.dir("switch"));
        std::fs::File::create(rig.path("switch/ready")).unwrap();
        let file = rig.manifest("web.json", &[&pod, &service(name, &json!(8080))]);
        let mut up = rig.up(&[&file]);
        up.ready(name, true);
        let agent = up.pid().as_raw_nonzero().get();
        let earlier = rig.processes();
        for _ in 0..2 {
            up.next(name, "attempt");
        }
        // What a probe has started is not there for long enough to be seen twice.
        let mut before = rig.processes();
        before.retain(|process| process.pid != agent && earlier.contains(process));
        let told = rig.status();
        up.signal(signal);
        assert_eq!(up.ended().success(), signal != Signal::KILL);
        for process in &before {
            assert!(process.exists(), "{process:?}");
        }
        drop(up);

        let mut up = rig.start(&["-o", "json"]);
        up.happening("an attempt", |happening| happening["outcome"] == "success");
        let now = rig.status();
        for process in &before {
            assert!(process.exists(), "{process:?}");
        }
        assert_eq!(now.pod(name)["status"], told.pod(name)["status"]);
        assert_eq!(now.container(name)["restartCount"], 0);
        assert_eq!(now.endpoints(name), told.endpoints(name));
        assert_eq!(now.host_address(name), told.host_address(name));
        assert_eq!(
            crate::rig::get(now.host_address(name)).unwrap(),
            format!("hello from {name}\n")
        );
        // Nothing was brought in by this run, so Ctrl-C ends the agent alone.
        assert!(up.end_with(Signal::INT).success());
        for process in &before {
            assert!(process.exists(), "{process:?}");
        }
    });
}

#[test]
fn containers_go_on_after_sigterm() {
    containers_go_on_after(Signal::TERM);
}

#[test]
fn containers_go_on_after_sighup() {
    containers_go_on_after(Signal::HUP);
}

#[test]
fn containers_go_on_after_sigkill() {
    containers_go_on_after(Signal::KILL);
}
