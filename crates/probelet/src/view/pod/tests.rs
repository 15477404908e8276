//! The STATUS parts of the scenario vectors, by their names, and what kubectl's own rules say besides.

use serde_json::json;

use super::*;

/// A pod, as it is built up container by container.
struct Pod {
    value: Value,
    now: Wall,
}

impl Pod {
    fn new(phase: &str) -> Self {
        let value = json!({
            "metadata": {},
            "spec": { "containers": [], "initContainers": [] },
            "status": {
                "phase": phase, "conditions": [],
                "containerStatuses": [], "initContainerStatuses": [],
            },
        });
        let now = serde_json::from_value("2026-11-24T10:05:00Z".into()).unwrap();
        Self { value, now }
    }

    fn add(mut self, of: [&str; 2], spec: Value, status: Value) -> Self {
        let name = format!("c{}", self.value["spec"][of[0]].as_array().unwrap().len());
        let mut whole = json!({ "name": name, "image": "i", "imageID": "", "restartCount": 0,
            "lastState": {}, "ready": false, "started": false });
        merge(&mut whole, &status);
        let mut of_spec = json!({ "name": name });
        merge(&mut of_spec, &spec);
        self.value["spec"][of[0]]
            .as_array_mut()
            .unwrap()
            .push(of_spec);
        self.value["status"][of[1]]
            .as_array_mut()
            .unwrap()
            .push(whole);
        self
    }

    fn regular(self, status: Value) -> Self {
        self.add(["containers", "containerStatuses"], json!({}), status)
    }

    fn init(self, status: Value) -> Self {
        self.add(
            ["initContainers", "initContainerStatuses"],
            json!({}),
            status,
        )
    }

    fn sidecar(self, status: Value) -> Self {
        let spec = json!({ "restartPolicy": "Always" });
        self.add(["initContainers", "initContainerStatuses"], spec, status)
    }

    fn is(mut self, kind: &str, status: bool) -> Self {
        let condition = json!({ "type": kind, "status": if status { "True" } else { "False" },
            "lastTransitionTime": "2026-11-24T10:00:00Z" });
        self.value["status"]["conditions"]
            .as_array_mut()
            .unwrap()
            .push(condition);
        self
    }

    fn reason(mut self, reason: &str) -> Self {
        self.value["status"]["reason"] = reason.into();
        self
    }

    fn deleted(mut self) -> Self {
        self.value["metadata"]["deletionTimestamp"] = "2026-11-24T10:05:00Z".into();
        self
    }

    #[track_caller]
    fn shows(self, ready: &str, status: &str, restarts: &str) {
        let parsed: PodStatus = serde_json::from_value(self.value["status"].clone()).unwrap();
        let cells = cells(&self.value, &parsed, self.now);
        assert_eq!(
            (&*cells.ready, &*cells.status, &*cells.restarts),
            (ready, status, restarts)
        );
    }
}

fn merge(into: &mut Value, from: &Value) {
    for (name, value) in from.as_object().unwrap() {
        into[name] = value.clone();
    }
}

fn waiting(reason: &str) -> Value {
    json!({ "state": { "waiting": { "reason": reason } } })
}

fn up(ready: bool, started: bool) -> Value {
    json!({ "state": { "running": { "startedAt": "2026-11-24T10:00:00Z" } }, "ready": ready, "started": started })
}

fn ended(code: i32, reason: &str) -> Value {
    json!({ "state": { "terminated": { "exitCode": code, "reason": reason,
        "startedAt": "2026-11-24T10:00:00Z", "finishedAt": "2026-11-24T10:04:00Z" } }, "ready": code == 0 })
}

/// The same, started again so often and ended last at 10:`minute`.
fn again(mut status: Value, count: u32, minute: u32) -> Value {
    status["restartCount"] = count.into();
    status["lastState"] = json!({ "terminated": { "exitCode": 1,
        "startedAt": "2026-11-24T10:00:00Z", "finishedAt": format!("2026-11-24T10:0{minute}:00Z") } });
    status
}

#[test]
fn e1_a_new_pod_of_two() {
    let creating = || waiting("ContainerCreating");
    Pod::new("Pending")
        .is("Initialized", true)
        .regular(creating())
        .regular(creating())
        .shows("0/2", "ContainerCreating", "0");
}

#[test]
fn e2_one_init_container_runs() {
    Pod::new("Pending")
        .is("Initialized", false)
        .init(up(false, false))
        .regular(waiting("PodInitializing"))
        .shows("0/1", "Init:0/1", "0");
}

#[test]
fn e2_all_init_containers_are_done_and_nothing_else_has_begun() {
    Pod::new("Pending")
        .is("Initialized", true)
        .init(ended(0, "Completed"))
        .regular(waiting("PodInitializing"))
        .shows("0/1", "PodInitializing", "0");
}

#[test]
fn e3_an_init_container_fails_and_waits() {
    let pod = || {
        Pod::new("Pending")
            .is("Initialized", false)
            .init(ended(0, "Completed"))
    };
    pod()
        .init(ended(1, "Error"))
        .regular(waiting("PodInitializing"))
        .shows("0/1", "Init:Error", "0");
    pod()
        .init(again(waiting("CrashLoopBackOff"), 2, 3))
        .regular(waiting("PodInitializing"))
        .shows("0/1", "Init:CrashLoopBackOff", "2 (2m ago)");
    pod()
        .init(ended(3, ""))
        .regular(waiting("PodInitializing"))
        .shows("0/1", "Init:ExitCode:3", "0");
    let mut killed = ended(137, "");
    killed["state"]["terminated"]["signal"] = 9.into();
    pod()
        .init(killed)
        .regular(waiting("PodInitializing"))
        .shows("0/1", "Init:Signal:9", "0");
    pod()
        .init(waiting("PodInitializing"))
        .regular(waiting("PodInitializing"))
        .shows("0/1", "Init:1/2", "0");
}

#[test]
fn e5_running_and_never_ready() {
    Pod::new("Running")
        .is("Initialized", true)
        .regular(up(false, true))
        .shows("0/1", "Running", "0");
}

#[test]
fn e6_the_only_container_crash_loops() {
    Pod::new("Running")
        .is("Initialized", true)
        .regular(again(waiting("CrashLoopBackOff"), 4, 4))
        .shows("0/1", "CrashLoopBackOff", "4 (60s ago)");
}

#[test]
fn e7_one_of_two_has_no_image() {
    Pod::new("Pending")
        .regular(up(true, true))
        .regular(waiting("ImagePullBackOff"))
        .shows("1/2", "ImagePullBackOff", "0");
}

#[test]
fn e8_one_of_two_crash_loops() {
    Pod::new("Running")
        .is("Ready", false)
        .regular(up(true, true))
        .regular(again(waiting("CrashLoopBackOff"), 1, 4))
        .shows("1/2", "CrashLoopBackOff", "1 (60s ago)");
}

#[test]
fn e9_one_of_two_has_done_its_work() {
    let pod = || {
        Pod::new("Running")
            .regular(ended(0, "Completed"))
            .regular(up(true, true))
    };
    pod().is("Ready", false).shows("1/2", "NotReady", "0");
    pod().is("Ready", true).shows("1/2", "Running", "0");
}

#[test]
fn e10_all_have_done_their_work() {
    Pod::new("Succeeded")
        .is("Initialized", true)
        .is("Ready", false)
        .regular(ended(0, "Completed"))
        .regular(ended(0, "Completed"))
        .shows("0/2", "Completed", "0");
}

#[test]
fn e15_a_sidecars_startup_probe_is_waited_for() {
    Pod::new("Pending")
        .is("Initialized", false)
        .sidecar(up(false, false))
        .init(waiting("PodInitializing"))
        .regular(waiting("PodInitializing"))
        .shows("0/2", "Init:0/2", "0");
    Pod::new("Pending")
        .is("Initialized", false)
        .sidecar(up(true, true))
        .init(up(false, false))
        .regular(waiting("PodInitializing"))
        .shows("1/2", "Init:1/2", "0");
}

#[test]
fn e17_a_sidecar_starts_again_after_initialisation() {
    Pod::new("Running")
        .is("Initialized", true)
        .is("Ready", false)
        .init(again(ended(0, "Completed"), 5, 1))
        .sidecar(again(waiting("CrashLoopBackOff"), 2, 3))
        .regular(up(true, true))
        .shows("1/2", "Init:CrashLoopBackOff", "2 (2m ago)");
}

#[test]
fn a_ready_sidecar_counts_and_a_done_init_container_does_not() {
    Pod::new("Running")
        .is("Initialized", true)
        .is("Ready", true)
        .init(again(ended(0, "Completed"), 5, 4))
        .sidecar(again(up(true, true), 1, 2))
        .regular(again(up(true, true), 2, 3))
        .shows("2/2", "Running", "3 (2m ago)");
}

#[test]
fn the_pods_own_reason_stands_before_its_phase_and_after_its_containers() {
    let pod = || Pod::new("Failed").reason("DeadlineExceeded");
    pod().shows("0/0", "DeadlineExceeded", "0");
    pod()
        .regular(waiting(""))
        .shows("0/1", "DeadlineExceeded", "0");
    pod()
        .regular(ended(137, "Error"))
        .shows("0/1", "Error", "0");
}

#[test]
fn a_pod_that_is_deleted_is_terminating_until_it_has_ended() {
    let pod = |phase: &str| Pod::new(phase).deleted();
    pod("Running")
        .regular(up(true, true))
        .shows("1/1", "Terminating", "0");
    pod("Pending")
        .init(up(false, false))
        .shows("0/0", "Terminating", "0");
    pod("Succeeded")
        .regular(ended(0, "Completed"))
        .shows("0/1", "Completed", "0");
}
