//! Pods and Services as tables, like `kubectl get`.

use std::time::Duration;

use probelet_model::service::EndpointSubset;
use probelet_model::status::{ContainerState, Phase, PodStatus};
use probelet_model::time::Wall;
use serde_json::Value;

/// Space between columns, as kubectl has it.
const GAP: &str = "   ";

/// The lines of `probelet status`, from a `v1` List.
pub(crate) fn lines(list: &Value, now: Wall) -> Vec<String> {
    let items = list["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let of = |kind: &'static str| items.iter().filter(move |item| item["kind"] == kind);
    let namespaced = items
        .iter()
        .any(|item| item["metadata"]["namespace"] != "default");
    let name = |item: &Value| {
        let name = text(&item["metadata"]["name"]);
        if namespaced {
            format!("{}/{name}", text(&item["metadata"]["namespace"]))
        } else {
            name
        }
    };
    let pods: Vec<Vec<String>> = of("Pod").map(|pod| pod_row(name(pod), pod, now)).collect();
    let services: Vec<Vec<String>> = of("Service")
        .map(|service| {
            let endpoints = of("Endpoints").find(|endpoints| {
                ["name", "namespace"]
                    .iter()
                    .all(|part| endpoints["metadata"][part] == service["metadata"][part])
            });
            service_row(name(service), service, endpoints)
        })
        .collect();
    let mut lines = Vec::new();
    if pods.is_empty() && services.is_empty() {
        return vec!["No resources found.".to_owned()];
    }
    if !pods.is_empty() {
        lines.extend(columns(
            &["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP"],
            &pods,
        ));
    }
    if !services.is_empty() {
        if !pods.is_empty() {
            lines.push(String::new());
        }
        lines.extend(columns(
            &[
                "SERVICE",
                "HOST-ADDRESS",
                "ADDRESSES",
                "NOT-READY-ADDRESSES",
            ],
            &services,
        ));
    }
    lines
}

/// Upstream: pkg/printers/internalversion/printers.go, printPod (without init containers).
fn pod_row(name: String, pod: &Value, now: Wall) -> Vec<String> {
    let status: PodStatus = serde_json::from_value(pod["status"].clone()).unwrap_or_default();
    let containers = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
    let running = |state: &ContainerState| matches!(state, ContainerState::Running(_));
    let ready = status
        .container_statuses
        .iter()
        .filter(|container| container.ready && running(&container.state));
    let ready = format!("{}/{containers}", ready.count());
    let created = pod["metadata"]["creationTimestamp"]
        .as_str()
        .and_then(from_text);
    let age = created.map_or_else(|| "<unknown>".to_owned(), |created| age(now.since(created)));
    let ip = status
        .pod_ip
        .map_or_else(|| "<none>".to_owned(), |ip| ip.to_string());
    let deleting = pod["metadata"].get("deletionTimestamp").is_some();
    vec![
        name,
        ready,
        status_word(&status, deleting),
        restarts(&status, now),
        age,
        ip,
    ]
}

fn status_word(status: &PodStatus, deleting: bool) -> String {
    let mut word = status
        .reason
        .clone()
        .unwrap_or_else(|| status.phase.as_str().to_owned());
    let mut any_running = false;
    // The first container in the list has the last word.
    for container in status.container_statuses.iter().rev() {
        match &container.state {
            ContainerState::Waiting(waiting) => {
                if let Some(reason) = waiting.reason.as_ref().filter(|reason| !reason.is_empty()) {
                    word.clone_from(reason);
                }
            }
            ContainerState::Terminated(end) => {
                word = match (&end.reason, end.signal) {
                    (Some(reason), _) if !reason.is_empty() => reason.clone(),
                    (_, Some(signal)) => format!("Signal:{signal}"),
                    (_, None) => format!("ExitCode:{}", end.exit_code),
                };
            }
            ContainerState::Running(_) => any_running |= container.ready,
        }
    }
    if word == "Completed" && any_running {
        word = if status.is_ready() {
            "Running"
        } else {
            "NotReady"
        }
        .to_owned();
    }
    if deleting && !matches!(status.phase, Phase::Succeeded | Phase::Failed) {
        word = "Terminating".to_owned();
    }
    word
}

fn restarts(status: &PodStatus, now: Wall) -> String {
    let count: u32 = status
        .container_statuses
        .iter()
        .map(|container| container.restart_count)
        .sum();
    let last = status
        .container_statuses
        .iter()
        .filter_map(|container| container.last_state.as_ref()?.finished_at)
        .max();
    match last {
        Some(last) if count > 0 => format!("{count} ({} ago)", age(now.since(last))),
        Some(_) | None => count.to_string(),
    }
}

fn service_row(name: String, service: &Value, endpoints: Option<&Value>) -> Vec<String> {
    let address = service["metadata"]["annotations"]["probelet.dev/host-address"]
        .as_str()
        .unwrap_or("<none>");
    let subsets = endpoints
        .map(|endpoints| endpoints["subsets"].clone())
        .unwrap_or_default();
    let subsets: Vec<EndpointSubset> = serde_json::from_value(subsets).unwrap_or_default();
    let (ready, not_ready) = addresses(&subsets);
    vec![name, address.to_owned(), ready, not_ready]
}

/// Upstream: pkg/printers/internalversion/printers.go, formatEndpoints (but all of them, and both kinds).
fn addresses(subsets: &[EndpointSubset]) -> (String, String) {
    let mut lists = [Vec::new(), Vec::new()];
    for subset in subsets {
        for (list, of) in lists
            .iter_mut()
            .zip([&subset.addresses, &subset.not_ready_addresses])
        {
            for address in of {
                for port in &subset.ports {
                    list.push(format!("{}:{}", address.ip, port.port));
                }
            }
        }
    }
    let [ready, not_ready] = lists.map(|list| {
        if list.is_empty() {
            "<none>".to_owned()
        } else {
            list.join(",")
        }
    });
    (ready, not_ready)
}

fn columns(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    let rows = rows
        .iter()
        .map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(head.to_vec())).chain(rows).collect()
}

/// Upstream: apimachinery pkg/util/duration/duration.go, HumanDuration.
pub(super) fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |a: u64, unit_a: &str, b: u64, unit_b: &str| {
        if b == 0 {
            format!("{a}{unit_a}")
        } else {
            format!("{a}{unit_a}{b}{unit_b}")
        }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => pair(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

fn from_text(time: &str) -> Option<Wall> {
    serde_json::from_value(Value::from(time)).ok()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_written_as_kubectl_writes_them() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_000, "3h3m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), expected, "{seconds} s");
        }
    }
}
