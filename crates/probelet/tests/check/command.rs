//! The command as it is run: what it prints, and its exit codes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A Pod with a warning, and an info, of which the lines are counted below.
pub(crate) const POD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
  - name: main
    image: web
    livenessProbe:
      tcpSocket: {port: 80}
      periodSeconds: 5
      timeoutSeconds: 7 # slow
";

/// What a run of the program said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }
}

/// Runs `probelet check` in a directory.
pub(crate) fn check_in(dir: &Path, args: &[&str], input: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_probelet"))
        .arg("check")
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that was not asked to read may be gone already.
    let _gone = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Checks one text from standard input.
fn check(text: &str, args: &[&str]) -> Said {
    check_in(Path::new("."), &[&["-f", "-"], args].concat(), text)
}

pub(crate) fn file(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_finding_points_at_its_word_and_the_table_says_the_times() {
    let said = check(POD, &[]);
    assert_eq!(said.err, "");
    let expected = "\
info[liveness-tcp-only]: the kernel accepts connections for a program that is stuck
  --> -:10:18
   |
10 |       tcpSocket: {port: 80}
   |                  ^^^^^^^^^^
   |
   = note: Pod default/web: spec.containers[0].livenessProbe.tcpSocket
   = help: use httpGet or grpc if the program can answer; keep it if only the port matters

warning[probe-timeout-exceeds-period]: while the target hangs there is an attempt every 7 s instead of every 5 s: the \
probe acts within 26 s, not 22 s
  --> -:12:23
   |
12 |       timeoutSeconds: 7 # slow
   |                       ^
   |
   = note: Pod default/web: spec.containers[0].livenessProbe.timeoutSeconds
   = help: set timeoutSeconds to at most 5, or periodSeconds to at least 7

  CONTAINER  PROBE     HANDLER    ACTS WITHIN  IF REFUSED  STOPS WITHIN  RECOVERS WITHIN  SLOWEST START
Pod default/web
  main       liveness  tcpSocket  26 s         15 s        +30 s                          10 to 15 s

1 probe: 0.2 attempts a second.
Found 1 warning, 1 info in 1 object.
";
    assert_eq!(said.out, expected);
}

#[test]
fn exit_codes() {
    let error = POD.replace("port: 80", "port: http");
    let clean = POD.replace("      timeoutSeconds: 7 # slow\n", "");
    let invalid = POD.replace("port: 80", "port: 0");
    for (text, args, code) in [
        (POD, &[][..], 1),
        (POD, &["--fail-on", "error"], 0),
        (POD, &["--fail-on", "never"], 0),
        (POD, &["--ignore", "probe-timeout-exceeds-period"], 0),
        (&clean, &[], 0),
        (&clean, &["--fail-on=info"], 1),
        (
            &clean,
            &[
                "--fail-on=info",
                "--ignore=liveness-tcp-only,probe-host-set",
            ],
            0,
        ),
        (&error, &["--fail-on", "error"], 1),
        (&error, &["--fail-on", "never"], 0),
        (&invalid, &["--fail-on", "never"], 2),
        ("", &[], 2),
        ("kind: [", &[], 2),
        (POD, &["--ignore", "no-such-lint"], 2),
        (POD, &["--fail-on", "sometimes"], 2),
        (POD, &["-o", "xml"], 2),
    ] {
        let said = check(text, args);
        assert_eq!(
            said.code,
            Some(code),
            "{args:?}\n{text}\n{}{}",
            said.out,
            said.err
        );
    }
    let nothing = check_in(Path::new("."), &[], "");
    assert_eq!(nothing.code, Some(2));
    assert!(nothing.err.contains("Usage:"), "{}", nothing.err);
}

#[test]
fn what_is_invalid_is_shown_in_its_place() {
    let said = check(&POD.replace("periodSeconds: 5", "periodSecond: 5"), &[]);
    assert_eq!(said.code, Some(2));
    let expected = "\
invalid: unknown field \"spec.containers[0].livenessProbe.periodSecond\", did you mean \"periodSeconds\"?
  --> -:11:21
   |
11 |       periodSecond: 5
   |                     ^

Nothing was checked: 1 invalid.
";
    assert_eq!(said.out, expected);
    let missing = check_in(Path::new("."), &["-f", "no-such.yaml"], "");
    assert_eq!(missing.code, Some(2));
    assert!(
        missing
            .out
            .contains("invalid: the path \"no-such.yaml\" does not exist"),
        "{}",
        missing.out
    );
}

#[test]
fn files_directories_and_lists_are_read_and_the_rest_is_counted() {
    let dir = TempDir::new().unwrap();
    file(
        &dir,
        "all/b.yaml",
        &POD.replace("name: web", "name: second"),
    );
    file(
        &dir,
        "all/a.yml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\napiVersion: example.com/v1\nkind: Gadget\n",
    );
    file(&dir, "all/notes.txt", "no: manifest");
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "listed" },
          "spec": { "containers": [{ "name": "c", "image": "i" }] } },
    ] });
    file(&dir, "list.json", &list.to_string());
    let said = check_in(
        dir.path(),
        &[
            "-f",
            "list.json",
            "-f",
            "all",
            "-f",
            "all/b.yaml",
            "-o",
            "json",
        ],
        "",
    );
    let report = said.json();
    assert_eq!(report["summary"]["objects"], 2, "{report:#}");
    assert_eq!(
        report["skipped"],
        serde_json::json!({ "ConfigMap": 1, "Gadget": 1 })
    );
    assert_eq!(report["findings"].as_array().unwrap().len(), 2);
    assert_eq!(report["findings"][0]["file"], "all/b.yaml");
}

#[test]
fn json_has_the_shape_that_is_documented() {
    let report = check(POD, &["-o", "json"]).json();
    assert_eq!(
        report,
        serde_json::json!({
            "summary": { "objects": 1, "invalid": 0, "errors": 0, "warnings": 1, "infos": 1, "probes": 1,
                         "attemptsPerSecond": 0.2, "execAttemptsPerSecond": 0.0 },
            "invalid": [],
            "findings": [
                { "id": "liveness-tcp-only", "severity": "info", "file": "-", "line": 10, "column": 18, "endColumn": 28,
                  "object": { "kind": "Pod", "namespace": "default", "name": "web" },
                  "field": "spec.containers[0].livenessProbe.tcpSocket",
                  "message": "the kernel accepts connections for a program that is stuck",
                  "help": "use httpGet or grpc if the program can answer; keep it if only the port matters" },
                { "id": "probe-timeout-exceeds-period", "severity": "warning", "file": "-", "line": 12, "column": 23,
                  "endColumn": 24,
                  "object": { "kind": "Pod", "namespace": "default", "name": "web" },
                  "field": "spec.containers[0].livenessProbe.timeoutSeconds",
                  "message": "while the target hangs there is an attempt every 7 s instead of every 5 s: the probe acts within \
                              26 s, not 22 s",
                  "help": "set timeoutSeconds to at most 5, or periodSeconds to at least 7" },
            ],
            "probes": [
                { "file": "-", "line": 9, "column": 5,
                  "object": { "kind": "Pod", "namespace": "default", "name": "web" },
                  "container": "main", "probe": "liveness", "handler": "tcpSocket", "replicas": 1,
                  "attemptsPerSecond": 0.2, "actsWithinSeconds": 26.0, "actsWithinIfRefusedSeconds": 15.0,
                  "recoversWithinSeconds": 14.0, "graceSeconds": 30.0,
                  "slowestStart": { "safeSeconds": 10.0, "mostSeconds": 15.0 } },
            ],
            "skipped": {},
        })
    );
    let wrong = check(&POD.replace("port: 80", "port: 0"), &["-o", "json"]);
    assert_eq!(wrong.code, Some(2));
    assert_eq!(
        wrong.json()["invalid"],
        serde_json::json!([{ "file": "-", "line": 10, "column": 25,
            "field": "spec.containers[0].livenessProbe.tcpSocket.port",
            "message": "Invalid value: 0: must be between 1 and 65535, inclusive" }])
    );
}

#[test]
fn every_lint_is_listed() {
    let listed = check_in(Path::new("."), &["--list"], "");
    assert_eq!(listed.code, Some(0));
    let json = check_in(Path::new("."), &["--list", "-o", "json"], "").json();
    let lints = json.as_array().unwrap();
    assert!(lints.len() > 20);
    for lint in lints {
        let (id, severity, what) = (&lint["id"], &lint["severity"], &lint["what"]);
        let head = format!(
            "{} ({}): {}\n",
            id.as_str().unwrap(),
            severity.as_str().unwrap(),
            what.as_str().unwrap()
        );
        assert!(listed.out.contains(&head), "{head}");
    }
}

#[test]
fn a_text_cannot_steer_the_terminal() {
    let text = POD.replace("name: main", "name: \"\\e[31mred\"");
    let said = check(&text, &[]);
    assert_eq!(said.code, Some(2));
    assert!(!said.out.contains('\u{1b}'), "{:?}", said.out);
}
