//! How many processes a pod may have.

use serde_json::json;

use crate::rig::{each, shell};

#[test]
fn a_pod_has_no_more_processes_than_the_agent_lets_it_have() {
    each(|rig| {
        let script = "for one in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done; echo all; wait";
        let mut pod = rig.pod("many", &shell(script));
        pod["spec"]["restartPolicy"] = json!("Never");
        let file = rig.manifest("many.json", &[&pod]);
        let args = [
            "--detach",
            "--pod-pids-limit",
            "8",
            "-f",
            file.to_str().unwrap(),
        ];
        let said = rig.run("up", &args).done();
        // Who has no cgroups for it has said so.
        let phase = if said.err.contains("the processes of a pod are not limited") {
            "Running"
        } else {
            "Failed"
        };
        rig.status_when(phase, |status| {
            status.pod("many")["status"]["phase"] == phase
        });
        rig.run("down", &["--delete"]).done();
        for wrong in ["0", "-2", "many"] {
            let said = rig.run("up", &["--pod-pids-limit", wrong]);
            assert_eq!(said.code, Some(2), "{}", said.err);
        }
    });
}
