use serde_json::json;

use super::*;

/// 2023-11-14T22:13:20Z.
const NOW: Wall = Wall(1_700_000_000_000_000_000);

fn running() -> Value {
    json!({"name": "c", "ready": true, "restartCount": 0, "state": {"running": {}}})
}

fn unready() -> Value {
    json!({"name": "c", "ready": false, "restartCount": 0, "state": {"running": {}}})
}

fn waiting(reason: &str) -> Value {
    json!({"name": "c", "restartCount": 0, "state": {"waiting": {"reason": reason}}})
}

fn terminated(exit: i64, reason: &str) -> Value {
    json!({"name": "c", "restartCount": 0, "state": {"terminated": {"exitCode": exit, "reason": reason}}})
}

fn signalled(signal: i64) -> Value {
    json!({"name": "c", "restartCount": 0, "state": {"terminated": {"exitCode": 137, "signal": signal}}})
}

fn restarted(mut container: Value, count: i64, last: &str) -> Value {
    container["restartCount"] = count.into();
    if !last.is_empty() {
        container["lastState"] = json!({"terminated": {"finishedAt": last}});
    }
    container
}

fn init(name: &str, mut container: Value) -> Value {
    container["name"] = name.into();
    container
}

fn started(mut container: Value) -> Value {
    container["started"] = true.into();
    container
}

struct Case {
    phase: &'static str,
    /// Names; with a `*` before it, a sidecar.
    init: &'static [&'static str],
    init_statuses: Vec<Value>,
    containers: usize,
    statuses: Vec<Value>,
    conditions: Value,
    /// Put over the pod.
    more: Value,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            phase: "Running",
            init: &[],
            init_statuses: Vec::new(),
            containers: 1,
            statuses: Vec::new(),
            conditions: json!([]),
            more: json!({}),
        }
    }
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (name, value) in more {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

fn check(case: Case, expected: [&str; 3]) {
    let init: Vec<Value> = case
        .init
        .iter()
        .map(|name| match name.strip_prefix('*') {
            Some(name) => json!({"name": name, "restartPolicy": "Always"}),
            None => json!({"name": name}),
        })
        .collect();
    let containers: Vec<Value> = (0..case.containers).map(|_| json!({"name": "c"})).collect();
    let mut pod = json!({
        "metadata": {"name": "p"},
        "spec": {"containers": containers, "initContainers": init},
        "status": {
            "phase": case.phase,
            "conditions": case.conditions,
            "initContainerStatuses": case.init_statuses,
            "containerStatuses": case.statuses,
        },
    });
    merge(&mut pod, &case.more);
    let cells = cells(&pod, NOW);
    let cells: Vec<&str> = cells[1..4]
        .iter()
        .map(|cell| cell.as_str().unwrap())
        .collect();
    assert_eq!(cells, expected, "{pod:#}");
}

fn with(statuses: Vec<Value>) -> Case {
    Case {
        containers: statuses.len(),
        statuses,
        ..Case::default()
    }
}

fn ready() -> Value {
    json!([{"type": "Ready", "status": "True"}])
}

#[test]
fn a_pod_says_what_it_does() {
    let pending = Case {
        phase: "Pending",
        containers: 2,
        ..Case::default()
    };
    check(pending, ["0/2", "Pending", "0"]);
    check(with(vec![running(), running()]), ["2/2", "Running", "0"]);
    check(with(vec![running(), unready()]), ["1/2", "Running", "0"]);
    check(
        with(vec![waiting("ContainerCreating")]),
        ["0/1", "ContainerCreating", "0"],
    );
    check(
        with(vec![restarted(
            waiting("CrashLoopBackOff"),
            3,
            "2023-11-14T22:08:20Z",
        )]),
        ["0/1", "CrashLoopBackOff", "3 (5m ago)"],
    );
    check(
        with(vec![restarted(running(), 3, "")]),
        ["1/1", "Running", "3"],
    );
    check(with(vec![waiting("")]), ["0/1", "Running", "0"]);
    // The first container has the last word.
    check(
        with(vec![
            waiting("ImagePullBackOff"),
            waiting("CrashLoopBackOff"),
        ]),
        ["0/2", "ImagePullBackOff", "0"],
    );
    let reason = Case {
        phase: "Failed",
        more: json!({"status": {"reason": "Evicted"}}),
        ..Case::default()
    };
    check(reason, ["0/1", "Evicted", "0"]);
    let gated = Case {
        phase: "Pending",
        conditions: json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]),
        ..Case::default()
    };
    check(gated, ["0/1", "SchedulingGated", "0"]);
}

#[test]
fn a_container_that_has_ended_says_how() {
    check(with(vec![terminated(1, "Error")]), ["0/1", "Error", "0"]);
    check(
        with(vec![terminated(137, "OOMKilled")]),
        ["0/1", "OOMKilled", "0"],
    );
    check(with(vec![terminated(3, "")]), ["0/1", "ExitCode:3", "0"]);
    check(with(vec![signalled(9)]), ["0/1", "Signal:9", "0"]);
    check(
        with(vec![terminated(0, "Completed")]),
        ["0/1", "Completed", "0"],
    );
    // Completed is not all there is to say while another runs, or has failed.
    let one_runs = Case {
        conditions: ready(),
        ..with(vec![terminated(0, "Completed"), running()])
    };
    check(one_runs, ["1/2", "Running", "0"]);
    check(
        with(vec![terminated(0, "Completed"), running()]),
        ["1/2", "NotReady", "0"],
    );
    check(
        with(vec![terminated(0, "Completed"), terminated(1, "Error")]),
        ["0/2", "Error", "0"],
    );
}

#[test]
fn a_pod_on_its_way_in_says_how_far_it_is() {
    let starting = |init_statuses: Vec<Value>| Case {
        phase: "Pending",
        init: &["i1", "i2"],
        init_statuses,
        statuses: vec![waiting("PodInitializing")],
        ..Case::default()
    };
    let waits = || init("i2", waiting("PodInitializing"));
    check(
        starting(vec![init("i1", unready()), waits()]),
        ["0/1", "Init:0/2", "0"],
    );
    check(
        starting(vec![
            init("i1", terminated(0, "Completed")),
            init("i2", unready()),
        ]),
        ["0/1", "Init:1/2", "0"],
    );
    check(
        starting(vec![
            init("i1", terminated(0, "Completed")),
            init("i2", terminated(0, "Completed")),
        ]),
        ["0/1", "PodInitializing", "0"],
    );
    check(
        starting(vec![
            init(
                "i1",
                restarted(waiting("CrashLoopBackOff"), 2, "2023-11-14T22:13:00Z"),
            ),
            waits(),
        ]),
        ["0/1", "Init:CrashLoopBackOff", "2 (20s ago)"],
    );
    check(
        starting(vec![init("i1", terminated(1, "Error")), waits()]),
        ["0/1", "Init:Error", "0"],
    );
    check(
        starting(vec![init("i1", terminated(2, "")), waits()]),
        ["0/1", "Init:ExitCode:2", "0"],
    );
    check(
        starting(vec![init("i1", signalled(15)), waits()]),
        ["0/1", "Init:Signal:15", "0"],
    );
}

#[test]
fn restarts_of_init_containers_count_until_they_are_done() {
    let done = Case {
        init: &["i1"],
        init_statuses: vec![init(
            "i1",
            restarted(terminated(0, "Completed"), 3, "2023-11-14T22:13:00Z"),
        )],
        ..with(vec![restarted(running(), 1, "2023-11-14T22:13:10Z")])
    };
    check(done, ["1/1", "Running", "1 (10s ago)"]);
}

#[test]
fn sidecars_are_containers_too() {
    let runs = Case {
        init: &["*s"],
        init_statuses: vec![init(
            "s",
            started(restarted(running(), 2, "2023-11-14T22:13:00Z")),
        )],
        ..with(vec![running()])
    };
    check(runs, ["2/2", "Running", "2 (20s ago)"]);
    let unready_sidecar = Case {
        init: &["*s"],
        init_statuses: vec![init("s", started(unready()))],
        ..with(vec![running()])
    };
    check(unready_sidecar, ["1/2", "Running", "0"]);
    let not_started = Case {
        phase: "Pending",
        init: &["*s", "i"],
        init_statuses: vec![init("s", unready()), init("i", waiting("PodInitializing"))],
        ..with(vec![waiting("PodInitializing")])
    };
    check(not_started, ["0/2", "Init:0/2", "0"]);
    // Down again after the pod was initialised: what the containers do is still told.
    let down = Case {
        init: &["*s"],
        init_statuses: vec![init("s", restarted(terminated(1, "Error"), 1, ""))],
        conditions: json!([{"type": "Initialized", "status": "True"}]),
        ..with(vec![running()])
    };
    check(down, ["1/2", "Init:Error", "1"]);
}

#[test]
fn a_pod_on_its_way_out_is_terminating() {
    let deleted = json!({"metadata": {"deletionTimestamp": "2023-11-14T22:13:00Z"}});
    let case = |phase: &'static str, statuses: Vec<Value>| Case {
        phase,
        more: deleted.clone(),
        ..with(statuses)
    };
    check(
        case("Running", vec![running()]),
        ["1/1", "Terminating", "0"],
    );
    check(
        case("Pending", vec![waiting("ContainerCreating")]),
        ["0/1", "Terminating", "0"],
    );
    check(
        case("Succeeded", vec![terminated(0, "Completed")]),
        ["0/1", "Completed", "0"],
    );
    let lost = Case {
        more: json!({"metadata": {"deletionTimestamp": "x"}, "status": {"reason": "NodeLost"}}),
        ..with(vec![running()])
    };
    check(lost, ["1/1", "Unknown", "0"]);
}

#[test]
fn the_wide_columns() {
    let pod = json!({
        "metadata": {"name": "p", "creationTimestamp": "2023-11-14T22:13:00Z"},
        "spec": {"nodeName": "n", "readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]},
        "status": {"podIPs": [{"ip": "10.213.0.4"}], "conditions": [{"type": "b", "status": "True"}]},
    });
    let wide = |pod: &Value| Value::Array(cells(pod, NOW)[4..].to_vec());
    assert_eq!(
        wide(&pod),
        json!(["20s", "10.213.0.4", "n", "<none>", "1/2"])
    );
    let empty = json!({"metadata": {"name": "p"}});
    assert_eq!(
        wide(&empty),
        json!(["<unknown>", "<none>", "<none>", "<none>", "<none>"])
    );
}
