//! One happening as one line of text.

use std::time::Duration;

use probelet_agent::happening::{ContainerSort, Happening, What};
use probelet_model::probe::OutcomeStatus;
use probelet_model::service::EndpointSubset;
use probelet_model::status::{Condition, ContainerState, ContainerStatus};

use crate::up::object_name;

/// The line; `None` for what another line says already, or what goes on as before.
pub(super) fn text(happening: &Happening) -> Option<String> {
    let object = object_name(&happening.object);
    let said = match &happening.what {
        What::Attempt {
            container,
            probe,
            outcome,
            run,
            threshold,
            verdict,
            changed,
            duration,
            message,
            ..
        } => {
            if outcome.is_success() && run > threshold && *outcome == OutcomeStatus::Success {
                return None;
            }
            let how = match outcome {
                OutcomeStatus::Success => "ok",
                OutcomeStatus::Warning => "ok with a warning",
                OutcomeStatus::Failure => "failed",
            };
            let code = code(&happening.what);
            let verdict = if *changed {
                format!(" => {verdict}")
            } else {
                String::new()
            };
            let message = one_line(message);
            let message = if message.is_empty() {
                message
            } else {
                format!(": {message}")
            };
            let duration = milliseconds(*duration);
            format!(
                "{container} {probe} probe {how} {run}/{threshold}{verdict} ({code}{duration}){message}"
            )
        }
        What::Error {
            container,
            probe,
            duration,
            message,
        } => {
            let (duration, message) = (milliseconds(*duration), one_line(message));
            format!(
                "{container} {probe} probe could not be made, counts for nothing ({duration}): {message}"
            )
        }
        What::Skip {
            container,
            probe,
            reason,
            message,
        } => match *reason {
            "InitialDelay" | "WaitsForStartup" => {
                format!("{container} {probe} probe waits: {message}")
            }
            _ => return None,
        },
        What::Container { container, sort } => container_text(container, *sort),
        What::Condition { condition } => condition_text(condition),
        What::Phase { phase } => format!("phase {}", phase.as_str()),
        What::Endpoints { subsets } => endpoints_text(subsets),
        What::Address { address } => format!("reachable at {address}"),
        What::Event { reason, .. }
            if matches!(
                *reason,
                "Unhealthy" | "ProbeWarning" | "Created" | "Started"
            ) =>
        {
            return None;
        }
        What::Event {
            reason,
            event_type,
            message,
            ..
        } => format!("{event_type} {reason}: {}", one_line(message)),
        What::Deleted => "deleted".to_owned(),
        What::Stopped => "stopped".to_owned(),
    };
    Some(format!("{object} {said}"))
}

fn code(what: &What) -> String {
    match what {
        What::Attempt {
            exit_code: Some(code),
            ..
        } => format!("exit code {code}, "),
        What::Attempt {
            status_code: Some(code),
            ..
        } => format!("status {code}, "),
        _ => String::new(),
    }
}

fn container_text(container: &ContainerStatus, sort: ContainerSort) -> String {
    let sort_word = match sort {
        ContainerSort::Init => " (init)",
        ContainerSort::Sidecar => " (sidecar)",
        ContainerSort::Regular => "",
    };
    let name = format!("{}{sort_word}", container.name);
    let because = |reason: &Option<String>, message: &Option<String>| {
        let reason = reason.as_deref().unwrap_or_default();
        match message
            .as_deref()
            .map(one_line)
            .filter(|message| !message.is_empty())
        {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        }
    };
    match &container.state {
        ContainerState::Running(_) => {
            let ready = if container.ready {
                "ready"
            } else {
                "not ready"
            };
            let started = if container.started == Some(true) {
                ""
            } else {
                ", not started"
            };
            let restarts = match container.restart_count {
                0 => String::new(),
                count => format!(", restarts {count}"),
            };
            if sort == ContainerSort::Init {
                // It is ready once it has ended.
                return format!("{name} Running{restarts}");
            }
            format!("{name} Running, {ready}{started}{restarts}")
        }
        ContainerState::Waiting(waiting) => {
            format!(
                "{name} Waiting, {}",
                because(&waiting.reason, &waiting.message)
            )
        }
        ContainerState::Terminated(end) => {
            let signal = end
                .signal
                .map(|signal| format!(", signal {signal}"))
                .unwrap_or_default();
            let why = because(&end.reason, &end.message);
            format!(
                "{name} Terminated, exit code {}{signal}, {why}",
                end.exit_code
            )
        }
    }
}

fn condition_text(condition: &Condition) -> String {
    let status = if condition.status { "True" } else { "False" };
    let why = match (&condition.reason, &condition.message) {
        (Some(reason), Some(message)) => format!(" ({reason}: {message})"),
        (Some(reason), None) => format!(" ({reason})"),
        (None, _) => String::new(),
    };
    format!("{} {status}{why}", condition.kind.as_str())
}

fn endpoints_text(subsets: &[EndpointSubset]) -> String {
    let of = |ready: bool| {
        let mut all = Vec::new();
        for subset in subsets {
            let addresses = if ready {
                &subset.addresses
            } else {
                &subset.not_ready_addresses
            };
            for address in addresses {
                for port in &subset.ports {
                    all.push(format!("{}:{}", address.ip, port.port));
                }
            }
        }
        if all.is_empty() {
            "none".to_owned()
        } else {
            all.join(",")
        }
    };
    format!(
        "endpoints: addresses {}, notReadyAddresses {}",
        of(true),
        of(false)
    )
}

/// Text of a target on one line: line ends become spaces, other control characters are left out, so that
/// no output of a container can write on the terminal.
pub(super) fn one_line(text: &str) -> String {
    let flat = text.trim().replace(['\n', '\r', '\t'], " ");
    flat.chars()
        .filter(|character| !character.is_control())
        .collect()
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use probelet_model::status::{Terminated, Waiting};
    use serde_json::json;

    use super::*;

    fn status(name: &str, state: ContainerState) -> ContainerStatus {
        ContainerStatus {
            name: name.to_owned(),
            state,
            ..ContainerStatus::default()
        }
    }

    #[test]
    fn containers_say_what_sort_they_are() {
        let running: ContainerState =
            serde_json::from_value(json!({ "running": { "startedAt": "2026-11-24T10:00:00Z" } }))
                .unwrap();
        let waiting = ContainerState::Waiting(Waiting {
            reason: Some("PodInitializing".into()),
            message: None,
        });
        let ended: Terminated = serde_json::from_value(
            json!({ "exitCode": 3, "reason": "Error", "message": "no\ndisk\n" }),
        )
        .unwrap();
        let mut sidecar = status("proxy", running.clone());
        (sidecar.started, sidecar.ready, sidecar.restart_count) = (Some(true), true, 2);
        let rows = [
            (
                status("setup", running.clone()),
                ContainerSort::Init,
                "setup (init) Running",
            ),
            (
                status("setup", ContainerState::Terminated(ended)),
                ContainerSort::Init,
                "setup (init) Terminated, exit code 3, Error: no disk",
            ),
            (
                sidecar,
                ContainerSort::Sidecar,
                "proxy (sidecar) Running, ready, restarts 2",
            ),
            (
                status("proxy", running),
                ContainerSort::Sidecar,
                "proxy (sidecar) Running, not ready, not started",
            ),
            (
                status("main", waiting),
                ContainerSort::Regular,
                "main Waiting, PodInitializing",
            ),
        ];
        for (container, sort, expect) in rows {
            assert_eq!(container_text(&container, sort), expect);
        }
    }
}
