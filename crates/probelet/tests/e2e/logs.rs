//! What a container writes is in its log file.

use std::fs;

use probelet_model::time::Wall;
use serde_json::json;

use crate::rig::{PodValue, each, shell, until};

#[test]
fn output_is_kept_in_the_format_of_the_cri_one_file_a_run() {
    each(|rig| {
        let pod = rig
            .pod(
                "talker",
                &shell("echo out; echo err >&2; printf unended; exit 3"),
            )
            .with_spec("restartPolicy", json!("OnFailure"));
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.happening("the back-off", |happening| happening["reason"] == "BackOff");
        let status = rig.status();
        let uid = status.pod("talker")["metadata"]["uid"]
            .as_str()
            .unwrap()
            .to_owned();
        let dir = rig
            .data_dir
            .join("logs")
            .join(format!("default_talker_{uid}"))
            .join("main");
        for run in ["0.log", "1.log"] {
            let lines = until("three lines", || {
                let text = fs::read_to_string(dir.join(run)).ok()?;
                (text.lines().count() == 3).then_some(text)
            });
            let mut said: Vec<(String, String)> = lines
                .lines()
                .map(|line| {
                    let (stamp, rest) = line.split_once(' ').unwrap();
                    serde_json::from_value::<Wall>(json!(stamp)).unwrap();
                    assert_eq!(
                        stamp.len(),
                        "2026-01-01T00:00:00.000000000Z".len(),
                        "{stamp}"
                    );
                    let (stream, rest) = rest.split_once(' ').unwrap();
                    (stream.to_owned(), rest.to_owned())
                })
                .collect();
            // The streams are two pipes, so the order between them is nobody's promise.
            said.sort();
            let expected = [
                ("stderr", "F err"),
                ("stdout", "F out"),
                ("stdout", "P unended"),
            ];
            let expected = expected.map(|(stream, rest)| (stream.to_owned(), rest.to_owned()));
            assert_eq!(said, expected);
        }
        let last = &status.container("talker")["lastState"]["terminated"];
        assert_eq!(
            [&last["exitCode"], &last["reason"]],
            [&json!(3), &json!("Error")]
        );
    });
}
