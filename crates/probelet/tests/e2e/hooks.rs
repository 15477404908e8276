//! `lifecycle`: what is done after a container was started and before it is told to stop.

use std::fs::{self, File};
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::rig::{PodValue, Rig, Up, each, shell, until};

fn is_running(container: &Value) -> bool {
    container["state"]["running"].is_object()
}

fn exec(script: &str) -> Value {
    json!({ "exec": { "command": ["sh", "-c", script] } })
}

/// `perl -we LISTENS PORT FILE`: an HTTP server that adds the head of each request to a file.
const LISTENS: &str = r#"
use strict; use IO::Socket::INET;
$SIG{PIPE} = 'IGNORE';
my ($port, $file) = @ARGV;
my $server = IO::Socket::INET->new(LocalPort => $port, Listen => 16, ReuseAddr => 1) or die "cannot listen: $@\n";
while (1) {
  my $client = $server->accept or next;
  $client->setsockopt(SOL_SOCKET, SO_RCVTIMEO, pack 'l!l!', 1, 0);
  open my $log, '>>', $file or die "$file: $!\n";
  sysread $client, my $head, 65536 or next;
  print $log $head;
  close $log;
  print $client "HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
}
"#;

#[test]
fn a_container_runs_once_its_post_start_hook_is_done() {
    each(|rig| {
        let dir = rig.dir("switch");
        let hook = "touch /switch/begun; until test -e /switch/go; do sleep 0.05; done";
        let pod = rig
            .pod("pod", &shell("exec sleep 1000"))
            .with("lifecycle", json!({ "postStart": exec(hook) }))
            .with_switch(&dir);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        until("the hook", || dir.join("begun").exists().then_some(()));
        let status = rig.status();
        assert!(
            status.container("pod")["state"]["waiting"].is_object(),
            "{status:#?}"
        );
        assert_eq!(status.phase("pod"), "Pending");
        File::create(dir.join("go")).unwrap();
        up.container("pod", "main", "running", is_running);
        up.ready("pod", true);
        assert_eq!(rig.status().container("pod")["restartCount"], 0);
    });
}

#[test]
fn a_container_whose_post_start_hook_fails_is_killed_and_started_again() {
    each(|rig| {
        let pod = rig.pod("pod", &shell("exec sleep 1000")).with(
            "lifecycle",
            json!({ "postStart": exec("echo a secret; exit 3") }),
        );
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        let event = up.happening("the failure", |happening| {
            happening["reason"] == "FailedPostStartHook"
        });
        assert_eq!(event["message"], "PostStartHook failed");
        assert_eq!(event["eventType"], "Warning");
        let killing = up.happening("the kill", |happening| happening["reason"] == "Killing");
        assert_eq!(killing["message"], "FailedPostStartHook");
        up.happening("the next", |happening| {
            happening["container"]["restartCount"] == 1
        });
        assert!(
            !up.seen().iter().any(|line| line.contains("\"running\":")),
            "{:#?}",
            up.seen()
        );
        let waiting = up.happenings().into_iter().find(|happening| {
            happening["container"]["state"]["waiting"]["reason"] == "PostStartHookError"
        });
        let waiting = waiting.unwrap()["container"]["state"]["waiting"].clone();
        let message = waiting["message"].as_str().unwrap();
        let begin = "Exec lifecycle hook ([sh -c echo a secret; exit 3]) for Container \"main\" in Pod \"pod_default(";
        let end = "failed - error: command 'sh -c echo a secret; exit 3' exited with 3: , message: \"a secret\\n\"";
        assert!(
            message.starts_with(begin) && message.ends_with(end),
            "{message}"
        );
    });
}

#[test]
fn a_hook_fails_when_its_container_ends() {
    each(|rig| {
        let dir = rig.dir("switch");
        let pod = rig
            .pod("pod", &shell("echo $$ >> /switch/runs; sleep 0.2; exit 5"))
            .with("lifecycle", json!({ "postStart": exec("exec sleep 1000") }))
            .with_switch(&dir);
        let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
        up.happening("the failure", |happening| {
            happening["reason"] == "FailedPostStartHook"
        });
        until("another run", || {
            let runs = fs::read_to_string(dir.join("runs")).unwrap_or_default();
            (runs.lines().count() >= 2).then_some(())
        });
    });
}

/// What `up` said of a pod that was ended with this preStop hook; what the hook sent is in `heads`.
fn stopped(rig: &Rig, dir: &Path, pre_stop: Value) -> Up {
    let pod = rig
        .pod(
            "pod",
            &json!(["perl", "-we", LISTENS, "8080", "/switch/heads"]),
        )
        .with(
            "readinessProbe",
            json!({ "tcpSocket": { "port": 8080 }, "periodSeconds": 1 }),
        )
        .with_spec("terminationGracePeriodSeconds", json!(20))
        .with("lifecycle", json!({ "preStop": pre_stop }))
        .with_switch(dir);
    let mut up = rig.up(&[&rig.manifest("pod.json", &[&pod])]);
    up.ready("pod", true);
    up.signal(Signal::INT);
    assert!(up.ended().success());
    up
}

#[test]
fn http_hooks_name_themselves_and_any_answer_will_do() {
    each(|rig| {
        let dir = rig.dir("switch");
        let get = json!({ "httpGet": {
            "port": 8080, "path": "/stop?now", "httpHeaders": [{ "name": "X-Why", "value": "end" }],
        } });
        let mut up = stopped(rig, &dir, get);
        let heads = fs::read_to_string(dir.join("heads")).unwrap();
        assert!(heads.starts_with("GET /stop?now HTTP/1.1\r\n"), "{heads}");
        assert!(
            heads.contains("\r\nUser-Agent: kube-lifecycle/1.35\r\n"),
            "{heads}"
        );
        assert!(heads.contains("\r\nX-Why: end\r\n"), "{heads}");
        assert!(
            !up.seen()
                .iter()
                .any(|line| line.contains("FailedPreStopHook"))
        );
    });
}

#[test]
fn an_https_hook_that_meets_http_goes_without_tls_and_credentials() {
    each(|rig| {
        let dir = rig.dir("switch");
        let get = json!({ "httpGet": {
            "port": 8080, "path": "/plain", "scheme": "HTTPS",
            "httpHeaders": [{ "name": "Authorization", "value": "secret" }],
        } });
        stopped(rig, &dir, get);
        let heads = fs::read(dir.join("heads")).unwrap();
        let heads = String::from_utf8_lossy(&heads);
        assert!(heads.contains("GET /plain HTTP/1.1\r\n"), "{heads}");
        assert!(!heads.contains("secret"), "{heads}");
    });
}
