//! Scenarios that are right, and every way to write one that is wrong.

use std::time::Duration;

use probelet_model::manifest::{self, Object, Options, Source};

use super::*;
use crate::script::{Exec, Grpc, Http, OnTerm, OwnExit, Tcp};

fn pods() -> Vec<Pod> {
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: shop}
spec:
  runtimeClassName: host
  containers:
  - {name: web, image: none, command: [/web]}
  - {name: db, image: none, command: [/db]}
";
    let source = Source::Stdin(text.to_owned());
    let loaded = manifest::load(&[source], &Options::default()).unwrap();
    let pod = |object: manifest::ManifestObject| match object.object {
        Object::Pod(pod) => *pod,
        Object::Service(_) | Object::Other => panic!("only a pod is there"),
    };
    loaded.objects.into_iter().map(pod).collect()
}

fn read(text: &str) -> Result<Scenario, Diagnostics> {
    Scenario::read("s.yaml", text, &pods())
}

#[test]
fn all_of_it_is_read() {
    let scenario = read(
        r#"duration: 180s            # virtual
restartAgentAt: [65s, {at: 100s, downFor: 5s}]
containers:
  web:
    runs:
    - startAfter: 200ms
      exitAt: 90s
      exitCode: 1
      onTerm: {after: 2s, code: 143}
      postStart: {after: 1s, exitCode: 3}
      preStop: {hang: true}
      http:
        /healthz: [{from: 0s, refuse: true}, {from: 5s, status: 503}, {from: 12s, status: 200, latency: 30ms}, {from: 60s, hang: true}, {from: 1m30s, stall: true}]
      tcp:  [{from: 3s, accept: true}, {from: 4s, accept: false}, {from: 5s, hang: true}]
      grpc: [{from: 3s, serving: true}, {from: 4s, serving: false, latency: 1ms}, {from: 5s, refuse: true}]
      exec: [{from: 0s, exitCode: 1, output: "no file"}, {from: 8s, exitCode: 0}, {from: 9s, error: "broken"}, {from: 10s, hang: true}]
    - startFails: {message: "no such file"}
    - onTerm: {ignore: true}
events:
- {at: 150s, delete: {gracePeriodSeconds: 30}}
- {at: 20s, condition: {type: example.com/up, status: "True"}, pod: shop}
- {at: 151s, delete: {}}
"#,
    )
    .unwrap();
    let secs = Duration::from_secs;
    assert_eq!(scenario.duration, secs(180));
    let restarts: Vec<_> = scenario
        .agent_restarts
        .iter()
        .map(|one| (one.at, one.down_for))
        .collect();
    assert_eq!(restarts, [(secs(65), secs(0)), (secs(100), secs(5))]);
    let runs = &scenario.containers["web"].runs;
    assert_eq!(runs.len(), 3);
    let first = &runs[0];
    assert_eq!(first.start_after, Duration::from_millis(200));
    assert_eq!(
        first.exit,
        Some(OwnExit {
            at: secs(90),
            code: 1,
            out_of_memory: false,
        })
    );
    assert_eq!(
        first.on_term,
        OnTerm::Exits {
            after: secs(2),
            code: 143
        }
    );
    let http = first.http.as_ref().unwrap().find("/healthz").unwrap();
    assert_eq!(http.at(secs(0)), Some(&Http::Refuses));
    assert_eq!(
        http.at(secs(13)),
        Some(&Http::Says {
            status: 200,
            body: String::new(),
            latency: Duration::from_millis(30)
        })
    );
    assert_eq!(
        [secs(61), secs(91)].map(|age| http.at(age)),
        [Some(&Http::Hangs), Some(&Http::Stalls)]
    );
    let tcp = first.tcp.as_ref().unwrap();
    assert_eq!(tcp.at(secs(2)), None);
    assert_eq!(tcp.at(secs(3)), Some(&Tcp::Accepts { latency: secs(0) }));
    assert_eq!(
        [secs(4), secs(5)].map(|age| tcp.at(age)),
        [Some(&Tcp::Refuses), Some(&Tcp::Hangs)]
    );
    let grpc = first.grpc.as_ref().unwrap();
    assert_eq!(
        grpc.at(secs(4)),
        Some(&Grpc::Says {
            serving: false,
            latency: Duration::from_millis(1)
        })
    );
    let exec = first.exec.as_ref().unwrap();
    assert_eq!(
        exec.at(secs(9)),
        Some(&Exec::CannotRun("broken".to_owned()))
    );
    assert_eq!(runs[1].start_fails.as_deref(), Some("no such file"));
    assert_eq!(runs[2].on_term, OnTerm::Ignores);
    let events: Vec<_> = scenario.events.iter().map(|event| event.at).collect();
    assert_eq!(events, [secs(20), secs(150), secs(151)]);
    assert_eq!(scenario.events[0].pod.as_deref(), Some("shop"));
    assert_eq!(scenario.events[2].action, Action::Delete { grace: None });
}

/// A scenario whose web has one run with this line; it is line 5, and the line starts at column 7.
#[test]
fn pulls_are_read() {
    let scenario = read(
        r#"duration: 10s
containers:
  web:
    pulls: [{fails: "manifest unknown"}, {after: 2s}]
"#,
    )
    .unwrap();
    let web = &scenario.containers["web"];
    assert!(web.runs.is_empty());
    let after = |seconds| Duration::from_secs(seconds);
    assert_eq!(
        web.pull(0).unwrap().fails.as_deref(),
        Some("manifest unknown")
    );
    for nth in [1, 2, 9] {
        let pull = web.pull(nth).unwrap();
        assert_eq!((pull.after, pull.fails.as_deref()), (after(2), None));
    }
    let wrong = read("duration: 1s\ncontainers: {web: {pulls: [{fail: x, after: -1s}]}}");
    let wrong = wrong.unwrap_err().to_string();
    for part in ["did you mean \"fails\"?", "pulls[0].after"] {
        assert!(wrong.contains(part), "{wrong}");
    }
    let empty = read("duration: 1s\ncontainers: {web: {}}").unwrap_err();
    assert!(empty.to_string().contains("runs"), "{empty}");
}

fn in_run(line: &str) -> String {
    format!("duration: 60s\ncontainers:\n  web:\n    runs:\n    - {line}\n")
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    const WORDS: &str = "must be a duration with its unit, such as 200ms, 12s or 1m30s";
    let run = "containers.web.runs[0]";
    let rows: Vec<(String, String)> = vec![
        (String::new(), "1:1: no scenario in it".into()),
        ("[1]\n".into(), "1:1: Invalid value: list: must be an object".into()),
        ("{}\n".into(), "1:1: duration: Required value".into()),
        ("duration: 0\n".into(), "1:11: duration: Invalid value: 0: must be more than zero".into()),
        ("duration: 5\n".into(), format!("1:11: duration: Invalid value: 5: {WORDS}")),
        ("duration: 5 days\n".into(), format!("1:11: duration: Invalid value: \"5 days\": {WORDS}")),
        ("duration: [5s]\n".into(), format!("1:11: duration: Invalid value: list: {WORDS}")),
        ("duration: -5s\n".into(), "1:11: duration: Invalid value: \"-5s\": must be zero or more".into()),
        ("duration: 5s\n---\nduration: 5s\n".into(), "3:1: one scenario a file: this is a second document".into()),
        ("duration: 5s\nevent: []\n".into(), "2:8: unknown field \"event\", did you mean \"events\"?".into()),
        ("duration: 5s\nevents: []\n".into(), "2:9: events: Required value: must have an entry at least".into()),
        ("duration: 5s\nevents: {}\n".into(), "2:9: events: Invalid value: object: must be a list".into()),
        ("duration: 5s\nevents:\n- {delete: {}}\n".into(), "3:3: events[0].at: Required value".into()),
        ("duration: 5s\nevents:\n- {at: 1s}\n".into(), "3:3: events[0]: Required value: must have one of delete, condition".into()),
        (
            "duration: 5s\nevents:\n- {at: 1s, delete: {}, condition: {type: a, status: 'True'}}\n".into(),
            "3:35: events[0].condition: Forbidden: may not be set beside delete".into(),
        ),
        (
            "duration: 5s\nevents:\n- {at: 1s, delete: {gracePeriodSeconds: -1}}\n".into(),
            "3:41: events[0].delete.gracePeriodSeconds: Invalid value: -1: must be a whole number from 0 to 2147483647".into(),
        ),
        (
            "duration: 5s\nevents:\n- {at: 1s, condition: {type: a, status: yes}}\n".into(),
            "3:41: events[0].condition.status: Invalid value: true: must be one of \"True\", \"False\", \"Unknown\", as a text".into(),
        ),
        (
            "duration: 5s\nevents:\n- {at: 1s, condition: {type: a, status: Maybe}}\n".into(),
            "3:41: events[0].condition.status: Invalid value: \"Maybe\": must be one of".into(),
        ),
        (
            "duration: 5s\nevents:\n- {at: 1s, condition: {type: Ready, status: 'True'}}\n".into(),
            "3:30: events[0].condition.type: Forbidden: Ready is the node's own, and follows from its Pod".into(),
        ),
        (
            "duration: 5s\nevents:\n- {at: 1s, condition: {type: '', status: 'True'}}\n".into(),
            "3:30: events[0].condition.type: Required value".into(),
        ),
        (
            "duration: 5s\nevents:\n- {at: 5001ms, delete: {}}\n".into(),
            "3:8: events[0].at: Invalid value: \"5001ms\": must be no later than the end, at 5s".into(),
        ),
        (
            "duration: 10s\nrestartAgentAt: [65s]\n".into(),
            "2:18: restartAgentAt[0]: Invalid value: \"65s\": must be no later than the end, at 10s".into(),
        ),
        (
            "duration: 10s\nrestartAgentAt: [{at: 65s}]\n".into(),
            "2:23: restartAgentAt[0].at: Invalid value: \"65s\": must be no later than the end, at 10s".into(),
        ),
        (
            "duration: 10000000000h\n".into(),
            "1:11: duration: Invalid value: \"10000000000h\": must be at most 2562047h, which is 292 years".into(),
        ),
        (
            "duration: 5s\nevents:\n- {at: 1s, pod: '', delete: {}}\n".into(),
            "3:17: events[0].pod: Not found: \"\": there is shop".into(),
        ),
        (
            "duration: 5s\nevents:\n- {at: 1s, pod: shp, delete: {}}\n".into(),
            "3:17: events[0].pod: Not found: \"shp\": there is shop".into(),
        ),
        (
            "duration: 5s\nrestartAgentAt: [3s, 2s]\n".into(),
            "2:22: restartAgentAt[1]: Invalid value: must not be before the restart above it is over".into(),
        ),
        (
            "duration: 5s\nrestartAgentAt: [{downFor: 2s}]\n".into(),
            "2:18: restartAgentAt[0].at: Required value".into(),
        ),
        (
            "duration: 5s\ncontainers:\n  wbe: {runs: [{}]}\n".into(),
            "3:8: containers.wbe: Not found: \"wbe\": there is db, web".into(),
        ),
        ("duration: 5s\ncontainers:\n  web: {}\n".into(), "3:8: containers.web.runs: Required value".into()),
        (
            "duration: 5s\ncontainers:\n  web: {runs: []}\n".into(),
            "3:15: containers.web.runs: Required value: must have an entry at least".into(),
        ),
        (in_run("exitsAt: 5s"), format!("5:16: unknown field \"{run}.exitsAt\", did you mean \"exitAt\"?")),
        (in_run("outOfMemory: true"), format!("5:20: {run}.outOfMemory: Forbidden: may only be set beside exitAt")),
        (in_run("exitCode: 5"), format!("5:17: {run}.exitCode: Forbidden: may only be set beside exitAt")),
        (
            in_run("{exitAt: 5s, exitCode: 256}"),
            format!("5:30: {run}.exitCode: Invalid value: 256: must be a whole number from 0 to 255"),
        ),
        (in_run("{startFails: {}}"), format!("5:20: {run}.startFails.message: Required value")),
        (
            in_run("{startFails: {message: x}, exitAt: 1s}"),
            format!("5:42: {run}.exitAt: Forbidden: may not be set beside startFails"),
        ),
        (
            in_run("onTerm: {ignore: true, after: 2s}"),
            format!("5:37: {run}.onTerm.after: Forbidden: may not be set beside ignore"),
        ),
        (in_run("onTerm: {ignore: false}"), format!("5:24: {run}.onTerm.ignore: Invalid value: false: must be true, or not there")),
        (in_run("preStop: {hang: true, after: 2s}"), format!("5:36: {run}.preStop.after: Forbidden: may not be set beside hang")),
        (in_run("http: {healthz: [{status: 200}]}"), format!("5:23: {run}.http.healthz: Invalid value: \"healthz\": must begin with /")),
        (
            in_run("http: {/: [{status: 200}, {from: 5s, status: 500}, {from: 4s, status: 200}]}"),
            format!("5:65: {run}.http./[2].from: Invalid value: \"4s\": must be later than that of the entry above it"),
        ),
        (in_run("http: {/: [{from: 5s}]}"), format!("5:18: {run}.http./[0]: Required value: must have one of status, refuse, hang, stall")),
        (
            in_run("http: {/: [{status: 200, refuse: true}]}"),
            format!("5:40: {run}.http./[0].refuse: Forbidden: may not be set beside status"),
        ),
        (
            in_run("http: {/: [{refuse: true, latency: 5s}]}"),
            format!("5:42: {run}.http./[0].latency: Forbidden: may only be set beside status"),
        ),
        (
            in_run("http: {/: [{status: 42}]}"),
            format!("5:27: {run}.http./[0].status: Invalid value: 42: must be a whole number from 200 to 599"),
        ),
        (
            in_run("http: {/: [{from: -1s, status: 200}]}"),
            format!("5:25: {run}.http./[0].from: Invalid value: \"-1s\": must be zero or more"),
        ),
        (in_run("tcp: [{accept: 1}]"), format!("5:22: {run}.tcp[0].accept: Invalid value: 1: must be true or false")),
        (
            in_run("tcp: [{accept: false, latency: 1s}]"),
            format!("5:38: {run}.tcp[0].latency: Forbidden: may only be set beside accept: true"),
        ),
        (in_run("grpc: [{from: 1s}]"), format!("5:14: {run}.grpc[0]: Required value: must have one of serving, refuse, hang")),
        (in_run("exec: [{exitCode: 0, output: 5}]"), format!("5:36: {run}.exec[0].output: Invalid value: 5: must be a text")),
        (in_run("exec: {exitCode: 0}"), format!("5:13: {run}.exec: Invalid value: object: must be a list")),
        ("duration: [\n".into(), "s.yaml:1:".into()),
        ("duration: 5s\nduration: 6s\n".into(), "s.yaml:2:1: ".into()),
    ];
    let mut wrong = Vec::new();
    for (text, expected) in rows {
        let errors = read(&text).expect_err(&text).to_string();
        let expected = if expected.starts_with("s.yaml") {
            expected
        } else {
            format!("s.yaml:{expected}")
        };
        if !errors.starts_with(&expected) {
            wrong.push(format!("{text}is     {errors}\nnot is {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_that_is_wrong_is_said_at_once_in_the_order_of_the_lines() {
    let errors = read(
        "duration: 1\ncontainers:\n  web:\n    runs:\n    - exitCode: 1\n      tcp: []\n  wbe: {runs: [{}]}\nx: 1\n",
    )
    .unwrap_err();
    let lines: Vec<_> = errors
        .0
        .iter()
        .map(|error| error.position.unwrap().line)
        .collect();
    assert_eq!(lines, [1, 5, 6, 7, 8], "{errors}");
}
