//! Pods and Services as tables, like `kubectl get`.

use std::time::Duration;

use probelet_model::service::EndpointSubset;
use probelet_model::status::PodStatus;
use probelet_model::time::Wall;
use serde_json::Value;

use super::pod::{self, Cells};

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

fn pod_row(name: String, pod: &Value, now: Wall) -> Vec<String> {
    let status: PodStatus = serde_json::from_value(pod["status"].clone()).unwrap_or_default();
    let Cells {
        ready,
        status: word,
        restarts,
    } = pod::cells(pod, &status, now);
    let created = pod["metadata"]["creationTimestamp"]
        .as_str()
        .and_then(from_text);
    let age = created.map_or_else(|| "<unknown>".to_owned(), |created| age(now.since(created)));
    let ip = status
        .pod_ip
        .map_or_else(|| "<none>".to_owned(), |ip| ip.to_string());
    vec![name, ready, word, restarts, age, ip]
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

/// The addresses of a Service with their ports, those that are ready and those that are not.
///
/// Upstream: pkg/printers/internalversion/printers.go, formatEndpoints (but all of them, and both kinds).
/// Shown by: addresses_are_listed_with_each_of_their_ports_the_unready_apart.
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

pub(crate) fn columns(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
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

/// An age as kubectl writes it: `119s`, `2m5s`, `3h`.
///
/// Upstream: apimachinery pkg/util/duration/duration.go, HumanDuration.
/// Shown by: ages_are_written_as_kubectl_writes_them.
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
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_are_listed_with_each_of_their_ports_the_unready_apart() {
        let address = |last: u8| {
            let target = json!({ "kind": "Pod", "namespace": "default", "name": "p", "uid": "u" });
            json!({ "ip": format!("10.0.0.{last}"), "nodeName": "n", "targetRef": target })
        };
        let port = |name: &str, port: u16| json!({ "name": name, "port": port, "protocol": "TCP" });
        let subsets = json!([
            {
                "addresses": [address(1), address(2)],
                "notReadyAddresses": [address(3)],
                "ports": [port("", 80), port("admin", 9000)],
            },
            { "addresses": [address(4)], "ports": [port("", 81)] },
        ]);
        let subsets: Vec<EndpointSubset> = serde_json::from_value(subsets).unwrap();
        let ready = "10.0.0.1:80,10.0.0.1:9000,10.0.0.2:80,10.0.0.2:9000,10.0.0.4:81";
        let expected = (ready.to_owned(), "10.0.0.3:80,10.0.0.3:9000".to_owned());
        assert_eq!(addresses(&subsets), expected);
        assert_eq!(addresses(&[]), ("<none>".to_owned(), "<none>".to_owned()));
    }

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
