//! Who is started again and who is not: a container's own policy, its rules, and the pod's deadline.

use serde_json::{Value, json};

use crate::rig::{PodValue, each, shell};

fn is_terminated(container: &Value) -> bool {
    container["state"]["terminated"].is_object()
}

#[test]
fn an_exit_code_that_a_rule_names_restarts_where_nothing_else_would() {
    each(|rig| {
        let dir = rig.dir("switch");
        let script = "test -e /switch/second && exit 1; touch /switch/second; exit 42";
        let rule =
            json!({ "action": "Restart", "exitCodes": { "operator": "In", "values": [42] } });
        let pod = rig
            .pod("pod", &shell(script))
            .with_spec("restartPolicy", json!("Never"))
            .with("restartPolicy", json!("Never"))
            .with("restartPolicyRules", json!([rule]))
            .with_switch(&dir);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.happening("the end", |happening| happening["phase"] == "Failed");
        let status = rig.status();
        let container = status.container("pod");
        assert_eq!(container["restartCount"], 1, "{container}");
        assert_eq!(container["state"]["terminated"]["exitCode"], 1);
        assert_eq!(container["lastState"]["terminated"]["exitCode"], 42);
    });
}

#[test]
fn a_containers_own_policy_stands_before_the_pods() {
    each(|rig| {
        let mut pod = rig
            .pod("pod", &shell("exit 0"))
            .with("restartPolicy", json!("Never"));
        let other =
            json!({ "name": "other", "image": "none", "command": shell("exec sleep 1000") });
        pod["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .push(other);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.container("pod", "main", "ended", is_terminated);
        let status = rig.status_when("one of two running", |status| {
            status.pod("pod")["status"]["containerStatuses"][1]["state"]["running"].is_object()
        });
        assert_eq!(status.phase("pod"), "Running");
        let container = status.container("pod");
        assert!(
            is_terminated(container) && container["restartCount"] == 0,
            "{container}"
        );
        let table = rig.run("status", &[]).done().out;
        assert!(table.contains("1/2     NotReady"), "{table}");
    });
}

#[test]
fn a_pod_that_outlives_its_deadline_has_failed() {
    each(|rig| {
        let pod = rig
            .pod("pod", &shell("exec sleep 1000"))
            .with_spec("activeDeadlineSeconds", json!(1));
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.happening("the end", |happening| happening["phase"] == "Failed");
        let status = rig.status_when("nothing running", |status| {
            is_terminated(status.container("pod"))
        });
        let pod_status = &status.pod("pod")["status"];
        let message = "Pod was active on the node longer than the specified deadline";
        assert_eq!(
            [&pod_status["reason"], &pod_status["message"]],
            ["DeadlineExceeded", message]
        );
        assert!(status.has_event("pod", "DeadlineExceeded", message));
        assert_eq!(pod_status["containerStatuses"][0]["restartCount"], 0);
    });
}
