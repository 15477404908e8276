//! The manifests of `examples/`, as they are.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

use crate::rig::{Rig, users};

/// They name directories under /tmp that are there once, so one user comes after the other.
#[test]
fn every_example_runs_and_ends_without_a_trace() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let dir = dir.canonicalize().unwrap();
    let alone = File::open(&dir).unwrap();
    flock(&alone, FlockOperation::LockExclusive).unwrap();
    let files = dir.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    // What needs an image is run where images are made: in the tests of the API.
    files.retain(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        text.contains("runtimeClassName: host")
    });
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    for user in users() {
        let rig = Rig::new(user);
        for file in &files {
            runs(&rig, file);
        }
        rig.finish();
    }
}

fn runs(rig: &Rig, file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let count = |kind: &str| {
        text.lines()
            .filter(|line| *line == format!("kind: {kind}"))
            .count()
    };
    // A copy, as the ordinary user may not be able to read this clone.
    let copy = rig.file(file.file_name().unwrap().to_str().unwrap(), &text);
    let mut up = rig.up(&[&copy]);
    let status = rig.status_when("all running", |status| {
        let running = status
            .of("Pod")
            .filter(|pod| pod["status"]["phase"] == "Running");
        running.count() == count("Pod")
    });
    assert_eq!(
        status.of("Service").count(),
        count("Service"),
        "{status:#?}"
    );
    if file.ends_with("readiness-exec.yaml") {
        first_attempt(&mut up);
    }
    let before = rig.processes();
    assert!(before.len() > 2, "{before:?}");
    assert!(up.end_with(Signal::INT).success());
    rig.assert_nothing_runs(&before);
    rig.assert_data_dir_is_empty();
}

/// The main example up to its first attempt; `readiness` goes on from there.
fn first_attempt(up: &mut crate::rig::Up) {
    let pod = "pod-readiness-exec1";
    let wait = up.happening("the wait", |happening| {
        happening["reason"] == "InitialDelay"
    });
    assert_eq!(wait["message"], "initialDelaySeconds: 5 not over yet");
    let attempt = up.next(pod, "attempt");
    let there = Path::new("/tmp/readiness/ready.txt").exists();
    let expected = if there {
        ("success", 0)
    } else {
        ("failure", 1)
    };
    assert_eq!(attempt["outcome"], expected.0, "{attempt}");
    assert_eq!(attempt["exitCode"], expected.1, "{attempt}");
}
