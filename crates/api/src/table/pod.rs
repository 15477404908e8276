//! Pods.

use probelet_model::time::Wall;
use serde_json::Value;

use super::age::{human, stamp_of};
use super::cells::{age_of, list, name_of, number, text, text_or};

/// The row of a pod.
///
/// Upstream: pkg/printers/internalversion/printers.go, printPod.
/// Shown by: a_pod_says_what_it_does.
pub(super) fn cells(object: &Value, now: Wall) -> Vec<Value> {
    let summary = Summary::of(object);
    let (spec, status) = (&object["spec"], &object["status"]);
    let address = match list(&status["podIPs"]).first() {
        Some(first) => &first["ip"],
        None => &status["podIP"],
    };
    vec![
        name_of(object).into(),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        summary.restarts.told(now).into(),
        age_of(object, now).into(),
        text_or(address, "<none>").into(),
        text_or(&spec["nodeName"], "<none>").into(),
        text_or(&status["nominatedNodeName"], "<none>").into(),
        gates(object).into(),
    ]
}

/// How often containers were started again, and when last.
#[derive(Clone, Copy, Debug, Default)]
struct Restarts {
    count: i64,
    last: Option<Wall>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += number(&container["restartCount"]);
        let ended = stamp_of(&container["lastState"]["terminated"]["finishedAt"]);
        self.last = self.last.max(ended);
    }

    /// `3 (5m ago)`.
    fn told(self, now: Wall) -> String {
        match self.last {
            Some(last) if self.count != 0 => {
                let ago = human(now.0.saturating_sub(last.0));
                format!("{} ({ago} ago)", self.count)
            }
            _ => self.count.to_string(),
        }
    }
}

/// What the containers of a pod come to.
#[derive(Debug)]
struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: Restarts,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let status = &pod["status"];
        let init_containers = list(&pod["spec"]["initContainers"]);
        let sidecars = init_containers.iter().filter(|own| is_sidecar(own)).count();
        let mut summary = Self {
            ready: 0,
            total: list(&pod["spec"]["containers"]).len() + sidecars,
            reason: text_or(&status["reason"], text(&status["phase"])).to_owned(),
            restarts: Restarts::default(),
        };
        let gated = |condition: &Value| {
            condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated"
        };
        if list(&status["conditions"]).iter().any(gated) {
            summary.reason = "SchedulingGated".to_owned();
        }
        let (initializing, of_sidecars) = summary.initialize(pod);
        if !initializing || has_condition(pod, "Initialized") {
            summary.restarts = of_sidecars;
            summary.run(pod);
        }
        let phase = text(&status["phase"]);
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            if status["reason"] == "NodeLost" {
                summary.reason = "Unknown".to_owned();
            } else if phase != "Succeeded" && phase != "Failed" {
                summary.reason = "Terminating".to_owned();
            }
        }
        summary
    }

    /// Looks at the init containers, up to the first that is not done; whether there is one, and how often
    /// sidecars were started again.
    fn initialize(&mut self, pod: &Value) -> (bool, Restarts) {
        let init_containers = list(&pod["spec"]["initContainers"]);
        let mut of_sidecars = Restarts::default();
        let statuses = list(&pod["status"]["initContainerStatuses"]);
        for (index, container) in statuses.iter().enumerate() {
            self.restarts.add(container);
            let same = |own: &&Value| own["name"] == container["name"];
            let sidecar = init_containers.iter().find(same).is_some_and(is_sidecar);
            if sidecar {
                of_sidecars.add(container);
            }
            let terminated = &container["state"]["terminated"];
            let waiting = text(&container["state"]["waiting"]["reason"]);
            if terminated.is_object() && number(&terminated["exitCode"]) == 0 {
                continue;
            }
            if sidecar && container["started"] == true {
                self.ready += usize::from(container["ready"] == true);
                continue;
            }
            self.reason = if terminated.is_object() {
                format!("Init:{}", ended(terminated))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", init_containers.len())
            };
            return (true, of_sidecars);
        }
        (false, of_sidecars)
    }

    /// Looks at the containers, the last first, so that the first has the last word.
    fn run(&mut self, pod: &Value) {
        let mut running = false;
        let mut failure = None;
        for container in list(&pod["status"]["containerStatuses"]).iter().rev() {
            self.restarts.add(container);
            let state = &container["state"];
            let waiting = text(&state["waiting"]["reason"]);
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.reason);
            } else if state["terminated"].is_object() {
                self.reason = ended(&state["terminated"]);
                if number(&state["terminated"]["exitCode"]) != 0 {
                    failure = Some(self.reason.clone());
                }
            } else if container["ready"] == true && state["running"].is_object() {
                running = true;
                self.ready += 1;
            }
        }
        // What has completed is not the whole of it while something else runs, or has failed.
        if self.reason == "Completed" {
            if running && has_condition(pod, "Ready") {
                "Running".clone_into(&mut self.reason);
            } else if let Some(failure) = failure {
                self.reason = failure;
            } else if running {
                "NotReady".clone_into(&mut self.reason);
            }
        }
    }
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

/// `Error`, `Signal:9`, `ExitCode:3`.
fn ended(terminated: &Value) -> String {
    match (text(&terminated["reason"]), number(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", number(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn has_condition(pod: &Value, kind: &str) -> bool {
    list(&pod["status"]["conditions"])
        .iter()
        .find(|condition| condition["type"] == kind)
        .is_some_and(|condition| condition["status"] == "True")
}

/// How many of the pod's own conditions for readiness hold: `1/2`.
fn gates(pod: &Value) -> String {
    let gates = list(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let hold = gates
        .iter()
        .filter(|gate| has_condition(pod, text(&gate["conditionType"])))
        .count();
    format!("{hold}/{}", gates.len())
}

#[cfg(test)]
mod tests;
