//! One pod's row: READY, STATUS and RESTARTS as `kubectl get pods` has them.
//!
//! Upstream: pkg/printers/internalversion/printers.go, printPod.
//! Shown by: e3_an_init_container_fails_and_waits, e9_one_of_two_has_done_its_work,
//! e17_a_sidecar_starts_again_after_initialisation,
//! the_pods_own_reason_stands_before_its_phase_and_after_its_containers,
//! a_pod_that_is_deleted_is_terminating_until_it_has_ended.

use std::collections::BTreeSet;

use probelet_model::status::{
    ConditionKind, ContainerState, ContainerStatus, PodStatus, Terminated,
};
use probelet_model::time::Wall;
use serde_json::Value;

use super::table::age;

/// What the columns of one pod say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cells {
    /// `1/2`.
    pub(super) ready: String,
    /// `Running`.
    pub(super) status: String,
    /// `3 (5m ago)`.
    pub(super) restarts: String,
}

/// The cells of a Pod in its wire shape, with its status.
pub(super) fn cells(pod: &Value, status: &PodStatus, now: Wall) -> Cells {
    let sidecars = sidecars(pod);
    let (initializing, ready_sidecars) = initializing(pod, status, &sidecars);
    let initialized = status
        .condition(ConditionKind::Initialized)
        .is_some_and(|condition| condition.status);
    let own = status.reason.as_deref().unwrap_or(status.phase.as_str());
    let mut word = initializing.clone().unwrap_or_else(|| own.to_owned());
    let mut counted: Vec<&ContainerStatus> = status.init_container_statuses.iter().collect();
    let mut ready = ready_sidecars;
    if initializing.is_none() || initialized {
        let of_sidecar = |container: &&ContainerStatus| sidecars.contains(container.name.as_str());
        counted.retain(of_sidecar);
        counted.extend(&status.container_statuses);
        word = running(status, word);
        ready += status.container_statuses.iter().filter(is_ready).count();
    }
    if pod["metadata"].get("deletionTimestamp").is_some() && !status.phase.is_terminal() {
        word = "Terminating".to_owned();
    }
    let regular = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
    Cells {
        ready: format!("{ready}/{}", regular + sidecars.len()),
        status: word,
        restarts: restarts(&counted, now),
    }
}

/// The names of the init containers that run beside the others.
fn sidecars(pod: &Value) -> BTreeSet<&str> {
    let all = pod["spec"]["initContainers"].as_array();
    let sidecars = all
        .into_iter()
        .flatten()
        .filter(|container| container["restartPolicy"] == "Always");
    sidecars
        .filter_map(|container| container["name"].as_str())
        .collect()
}

/// What the first init container that is not done makes of STATUS, if there is one; and how many sidecars
/// before it are ready.
fn initializing(
    pod: &Value,
    status: &PodStatus,
    sidecars: &BTreeSet<&str>,
) -> (Option<String>, usize) {
    let total = pod["spec"]["initContainers"].as_array().map_or(0, Vec::len);
    let mut ready = 0;
    for (index, container) in status.init_container_statuses.iter().enumerate() {
        let is_sidecar = sidecars.contains(container.name.as_str());
        let word = match &container.state {
            ContainerState::Terminated(end) if end.exit_code == 0 => continue,
            _ if is_sidecar && container.started == Some(true) => {
                ready += usize::from(container.ready);
                continue;
            }
            ContainerState::Terminated(end) => ended(end),
            ContainerState::Waiting(waiting) => match waiting.reason.as_deref() {
                None | Some("" | "PodInitializing") => format!("{index}/{total}"),
                Some(reason) => reason.to_owned(),
            },
            ContainerState::Running(_) => format!("{index}/{total}"),
        };
        return (Some(format!("Init:{word}")), ready);
    }
    (None, ready)
}

/// What the regular containers make of STATUS: the first in the list has the last word.
fn running(status: &PodStatus, mut word: String) -> String {
    for container in status.container_statuses.iter().rev() {
        match &container.state {
            ContainerState::Waiting(waiting) => {
                if let Some(reason) = waiting.reason.as_ref().filter(|reason| !reason.is_empty()) {
                    word.clone_from(reason);
                }
            }
            ContainerState::Terminated(end) => word = ended(end),
            ContainerState::Running(_) => {}
        }
    }
    if word == "Completed" && status.container_statuses.iter().any(|one| is_ready(&one)) {
        let phase = if status.is_ready() {
            "Running"
        } else {
            "NotReady"
        };
        word = phase.to_owned();
    }
    word
}

fn is_ready(container: &&ContainerStatus) -> bool {
    container.ready && matches!(container.state, ContainerState::Running(_))
}

fn ended(end: &Terminated) -> String {
    match (end.reason.as_deref(), end.signal) {
        (Some(reason), _) if !reason.is_empty() => reason.to_owned(),
        (_, Some(signal)) => format!("Signal:{signal}"),
        (_, None) => format!("ExitCode:{}", end.exit_code),
    }
}

fn restarts(counted: &[&ContainerStatus], now: Wall) -> String {
    let count: u32 = counted
        .iter()
        .map(|container| container.restart_count)
        .sum();
    let last = counted
        .iter()
        .filter_map(|container| container.last_state.as_ref()?.finished_at)
        .max();
    match last {
        Some(last) if count > 0 => format!("{count} ({} ago)", age(now.since(last))),
        Some(_) | None => count.to_string(),
    }
}

#[cfg(test)]
mod tests;
