//! `probelet simulate` as people use it: its binary, its files, its words and exit codes.

#![cfg(test)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - name: web
    image: registry.example/web:1
    ports: [{name: http, containerPort: 8080}]
    readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 5}
    livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 10}
";

const SCENARIO: &str = "\
duration: 180s
restartAgentAt: [65s]
containers:
  web:
    runs:
    - startAfter: 200ms
      exitAt: 90s
      exitCode: 1
      onTerm: {after: 2s, code: 143}
      http:
        /healthz: [{from: 0s, refuse: true}, {from: 5s, status: 503}, {from: 12s, status: 200, latency: 30ms}, {from: 60s, hang: true}]
      tcp:  [{from: 3s, accept: true}]
      grpc: [{from: 3s, serving: true}]
      exec: [{from: 0s, exitCode: 1, output: \"no file\"}, {from: 8s, exitCode: 0}]
events:
- {at: 150s, delete: {gracePeriodSeconds: 30}}
";

/// What the program said.
struct Said {
    out: String,
    err: String,
    code: Option<i32>,
}

/// Files to name on the command line.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(TempDir::new().unwrap());
        files.write("pod.yaml", POD);
        files.write("scenario.yaml", SCENARIO);
        files
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn simulate(&self, args: &[&str]) -> Said {
        let usual = ["-f", "pod.yaml", "--scenario", "scenario.yaml"];
        said(self.0.path(), &[&usual, args].concat(), "")
    }
}

fn said(dir: &Path, args: &[&str], input: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_probelet"))
        .arg("simulate")
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read it may have gone.
    let _gone = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Said {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}

fn lines(text: &str) -> Vec<Value> {
    let line = |line: &str| serde_json::from_str(line).unwrap();
    text.lines().map(line).collect()
}

#[test]
fn json_lines_have_the_fields_that_are_promised() {
    let said = Files::new().simulate(&["-o", "jsonl"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let lines = lines(&said.out);
    let of = |kind: &str, fields: &[&str]| {
        let found: Vec<&Value> = lines.iter().filter(|line| line["type"] == kind).collect();
        assert!(!found.is_empty(), "{kind}");
        for line in &found {
            for field in fields {
                assert!(line.get(field).is_some(), "{field} is not in {line}");
            }
            assert!(kind == "summary" || line["t"].is_f64(), "{line}");
        }
        found.len()
    };
    of(
        "attempt",
        &[
            "container",
            "probe",
            "outcome",
            "run",
            "threshold",
            "message",
        ],
    );
    of("verdict", &["container", "probe", "result"]);
    let container = [
        "container",
        "state",
        "reason",
        "exitCode",
        "restartCount",
        "ready",
        "started",
    ];
    of("container", &container);
    of("condition", &["condition", "status", "reason"]);
    of("phase", &["phase"]);
    of("endpoint", &["state", "terminating"]);
    of("event", &["eventType", "reason", "message"]);
    assert_eq!(of("scenario", &["message"]), 3);
    let summary = ["timeToReady", "unreadySeconds", "restarts", "attempts"];
    assert_eq!(of("summary", &summary), 1);
    let last = lines.last().unwrap();
    assert_eq!(last["type"], "summary");
    assert_eq!(last["timeToReady"], 15.23);
    assert_eq!(last["restarts"], 2);
    let refused = "Get \"http://10.244.0.2:8080/healthz\": dial tcp 10.244.0.2:8080: connect: connection refused";
    assert!(lines.iter().any(|line| line["message"] == refused));
}

#[test]
fn the_same_seed_gives_the_same_bytes_in_every_format() {
    let files = Files::new();
    for format in ["table", "jsonl", "svg", "html"] {
        let once = files.simulate(&["-o", format, "--seed", "7"]);
        let again = files.simulate(&["-o", format, "--seed", "7"]);
        assert_eq!(once.code, Some(0), "{}", once.err);
        assert_eq!(once.out, again.out, "{format}");
        let other = files.simulate(&["-o", format, "--seed", "8"]);
        assert_ne!(once.out, other.out, "{format}");
    }
}

#[test]
fn the_table_is_the_default_and_tells_the_story_without_colours() {
    let said = Files::new().simulate(&[]);
    assert_eq!(said.code, Some(0));
    assert!(!said.out.contains('\u{1b}'));
    for expected in [
        "      TIME  CONTAINER  WHAT\n",
        "    15.230  web        readiness success 1/1 => Success\n",
        "    15.230             endpoint takes traffic\n",
        "    65.000             --- the agent dies\n",
        "event Killing: Container web failed liveness probe, will be restarted\n",
        "   150.000             --- the pod is deleted, within 30s\n",
        "ready after 15.230 s, then unready for 46.030 s; restarts: 2, attempts: ",
    ] {
        assert!(said.out.contains(expected), "{expected}\n{}", said.out);
    }
    // Attempts that confirm the verdict share lines.
    assert!(
        said.out
            .contains("... readiness success x8, liveness success x5\n")
    );
}

#[test]
fn pictures_are_whole_documents() {
    let files = Files::new();
    let svg = files.simulate(&["-o", "svg"]).out;
    assert!(
        svg.starts_with("<svg") || svg.starts_with("<?xml"),
        "{}",
        &svg[..40]
    );
    assert!(svg.trim_end().ends_with("</svg>"));
    assert!(svg.contains("pod web, scenario.yaml"));
    let html = files.simulate(&["-o", "html"]).out;
    assert!(html.to_lowercase().starts_with("<!doctype html>"));
    assert!(html.contains("<svg"));
}

#[test]
fn replicas_are_named_and_each_has_its_summary() {
    let files = Files::new();
    let said = files.simulate(&["-o", "jsonl", "--replicas", "3"]);
    let lines = lines(&said.out);
    let summaries: Vec<&Value> = lines
        .iter()
        .filter(|line| line["type"] == "summary")
        .map(|line| &line["pod"])
        .collect();
    assert_eq!(summaries, ["web-0", "web-1", "web-2"]);
    files.write(
        "pod.yaml",
        &format!("{POD}---{}", POD.replace("name: web,", "name: other,")),
    );
    let said = files.simulate(&["--replicas", "3"]);
    assert_eq!(said.code, Some(2));
    assert!(
        said.err
            .contains("pod.yaml: 2 Pods in it, and --replicas needs exactly one"),
        "{}",
        said.err
    );
    let said = files.simulate(&["-o", "jsonl"]);
    assert!(said.out.contains("\"pod\":\"other\""));
}

#[test]
fn a_deployment_is_as_many_pods_as_it_says() {
    let files = Files::new();
    let template = POD
        .replace("\napiVersion: v1\nkind: Pod\n", "")
        .replace("metadata: {name: web, labels", "metadata: {labels")
        .replace(
            "periodSeconds: 10}",
            "periodSeconds: 10}\n    resources: {limits: {ephemeral-storage: 1Gi}}",
        );
    let template = template.replace('\n', "\n    ");
    let text = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: 2\n  \
         selector: {{matchLabels: {{app: web}}}}\n  template:\n    {template}\n"
    );
    files.write("pod.yaml", &text);
    let said = files.simulate(&["-o", "jsonl"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let lines = lines(&said.out);
    let summaries = lines.iter().filter(|line| line["type"] == "summary");
    let names: Vec<&Value> = summaries.map(|line| &line["pod"]).collect();
    assert_eq!(names, ["web-0", "web-1"]);
    assert!(said.out.contains("connection refused"));
    assert_eq!(
        said.err,
        "note: pod.yaml:1:1: not simulated: spec.template.spec.containers[0].resources.limits[ephemeral-storage]\n"
    );

    let none = text.replace("replicas: 2", "replicas: 0");
    files.write("pod.yaml", &none);
    let said = files.simulate(&[]);
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
    let expected = "error: pod.yaml: it asks for 0 Pods; --replicas says another number\n";
    assert!(said.err.ends_with(expected), "{}", said.err);
    assert_eq!(files.simulate(&["--replicas", "1"]).code, Some(0));
    files.write("pod.yaml", &format!("{none}---{POD}"));
    let said = files.simulate(&["-o", "jsonl"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let note = "not simulated: Deployment default/web, which asks for 0 Pods\n";
    assert!(said.err.ends_with(note), "{}", said.err);

    files.write(
        "pod.yaml",
        &text.replace("replicas: 2", "replicas: 2000000000"),
    );
    let said = files.simulate(&[]);
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
    assert!(
        said.err
            .contains("it asks for 2000000000 Pods, more than 10000;"),
        "{}",
        said.err
    );
}

#[test]
fn no_two_pods_have_one_name() {
    let files = Files::new();
    let of = |kind: &str, version: &str, name: &str, spec: &str| {
        format!(
            "---\napiVersion: {version}\nkind: {kind}\nmetadata: {name}\nspec:\n  {spec}\n  template:\n    \
             metadata: {{labels: {{app: x}}}}\n    spec: {{restartPolicy: Always, containers: [{{name: web, image: x}}]}}\n"
        )
    };
    let chosen = "selector: {matchLabels: {app: x}}";
    let deployment = of("Deployment", "apps/v1", "{name: shop}", chosen);
    let job = of("Job", "batch/v1", "{name: shop}", "backoffLimit: 1").replace("Always", "Never");
    let elsewhere = of(
        "Job",
        "batch/v1",
        "{name: shop, namespace: b}",
        "backoffLimit: 1",
    );
    let unnamed = of("DaemonSet", "apps/v1", "{generateName: shop-}", chosen);
    let elsewhere = elsewhere.replace("Always", "Never");
    files.write(
        "pod.yaml",
        &[&deployment[..], &job, &elsewhere, &unnamed, &unnamed].concat(),
    );
    files.write("scenario.yaml", "duration: 1s\n");
    let said = files.simulate(&["-o", "jsonl"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let lines = lines(&said.out);
    let summaries = lines.iter().filter(|line| line["type"] == "summary");
    let names: Vec<&Value> = summaries.map(|line| &line["pod"]).collect();
    let expected = [
        "shop-0",
        "shop-job-0",
        "shop-job-b-0",
        "shop-daemonset-0",
        "shop-daemonset-default-0",
    ];
    assert_eq!(names, expected);

    files.write("pod.yaml", &[POD, "---", POD].concat());
    let said = files.simulate(&[]);
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
    assert_eq!(
        said.err,
        "error: pod.yaml:13:1: Pod default/web is there twice\n"
    );
}

#[test]
fn a_pod_that_has_succeeded_is_missed_by_nobody() {
    let files = Files::new();
    let pod = POD.replace("spec:", "spec:\n  restartPolicy: OnFailure");
    files.write("pod.yaml", &pod);
    let unready = |code: i32| {
        let run = format!("{{exitAt: 20s, exitCode: {code}}}");
        let scenario =
            format!("duration: 60s\ncontainers: {{web: {{runs: [{run}, {{exitAt: 30s}}]}}}}\n");
        files.write("scenario.yaml", &scenario);
        let said = files.simulate(&["-o", "jsonl"]);
        lines(&said.out).pop().unwrap()["unreadySeconds"]
            .as_f64()
            .unwrap()
    };
    assert!(unready(0) < 0.001);
    files.write("pod.yaml", &pod.replace("OnFailure", "Never"));
    assert!((unready(1) - 40.0).abs() < 0.001);
}

#[test]
fn a_full_disk_is_said() {
    let files = Files::new();
    let output = Command::new(env!("CARGO_BIN_EXE_probelet"))
        .args(["simulate", "-f", "pod.yaml", "--scenario", "scenario.yaml"])
        .current_dir(files.0.path())
        .stdout(
            std::fs::OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        )
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("error: standard output: No space left on device"),
        "{said}"
    );
}

#[test]
fn wrong_input_simulates_nothing_and_says_where() {
    let files = Files::new();
    files.write(
        "scenario.yaml",
        "duration: 10s\ncontainers:\n  web:\n    runs:\n    - exitCode: 1\n      http: {/healthz: [{status: 200}, {from: -5s, status: 500}]}\n",
    );
    let said = files.simulate(&["-o", "jsonl"]);
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
    assert_eq!(
        said.err.lines().collect::<Vec<_>>(),
        [
            "error: scenario.yaml:5:17: containers.web.runs[0].exitCode: Forbidden: may only be set beside exitAt",
            "error: scenario.yaml:6:47: containers.web.runs[0].http./healthz[1].from: Invalid value: \"-5s\": must be zero or more",
        ]
    );
    files.write(
        "pod.yaml",
        &POD.replace("periodSeconds: 5", "periodSecond: 5"),
    );
    let said = files.simulate(&[]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("pod.yaml:10:"), "{}", said.err);
    assert!(
        said.err.contains("did you mean \"periodSeconds\"?"),
        "{}",
        said.err
    );
    std::fs::write(files.0.path().join("scenario.yaml"), b"duration: 5s\n\xff").unwrap();
    files.write("pod.yaml", POD);
    let said = files.simulate(&[]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (Some(2), "error: scenario.yaml:2: not UTF-8\n")
    );
    let dir = files.0.path();
    for (args, expected) in [
        (&["-f", "pod.yaml"][..], "--scenario"),
        (
            &["-f", "none.yaml", "--scenario", "scenario.yaml"],
            "none.yaml",
        ),
        (
            &["-f", "-", "--scenario", "-"],
            "only one of the two can be standard input",
        ),
    ] {
        let refused = said_by(dir, args);
        assert_eq!(refused.code, Some(2), "{args:?}");
        assert!(refused.err.contains(expected), "{}", refused.err);
    }
}

fn said_by(dir: &Path, args: &[&str]) -> Said {
    said(dir, args, "")
}

#[test]
fn either_file_can_be_standard_input() {
    let files = Files::new();
    let usual = files.simulate(&["-o", "jsonl"]).out;
    let dir = files.0.path();
    let args = ["-f", "-", "--scenario", "scenario.yaml", "-o", "jsonl"];
    assert_eq!(said(dir, &args, POD).out, usual);
    let args = ["-f", "pod.yaml", "--scenario", "-", "-o", "jsonl"];
    assert_eq!(said(dir, &args, SCENARIO).out, usual);
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let files = Files::new();
    files.write("scenario.yaml", "duration: 24h\n");
    let mut child = Command::new(env!("CARGO_BIN_EXE_probelet"))
        .args([
            "simulate",
            "-f",
            "pod.yaml",
            "--scenario",
            "scenario.yaml",
            "-o",
            "jsonl",
        ])
        .current_dir(files.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");
}

#[test]
fn the_help_names_the_exit_codes() {
    let said = said(Path::new("/"), &["--help"], "");
    assert!(said.out.contains("Exit codes: 0 simulated"), "{}", said.out);
    assert!(said.out.contains("docs/scenarios.md"));
}
