//! Services.

use std::collections::BTreeSet;

use probelet_model::time::Wall;
use serde_json::Value;

use super::cells::{age_of, labels, list, name_of, none_if_empty, number, text};

/// The row of a Service.
///
/// Upstream: pkg/printers/internalversion/printers.go, printService.
/// Shown by: services_say_where_they_are.
pub(super) fn cells(object: &Value, now: Wall) -> Vec<Value> {
    let spec = &object["spec"];
    let address = match list(&spec["clusterIPs"]).first() {
        Some(first) => text(first),
        None => text(&spec["clusterIP"]),
    };
    vec![
        name_of(object).into(),
        text(&spec["type"]).into(),
        none_if_empty(address.to_owned()).into(),
        external(object).into(),
        none_if_empty(ports(spec)).into(),
        age_of(object, now).into(),
        labels(&spec["selector"]).into(),
    ]
}

/// Where others reach a Service.
///
/// Upstream: the same file, getServiceExternalIP.
/// Shown by: services_say_where_they_are.
fn external(service: &Value) -> String {
    let spec = &service["spec"];
    let further = list(&spec["externalIPs"]).iter().map(text);
    match text(&spec["type"]) {
        "ClusterIP" | "NodePort" => none_if_empty(further.collect::<Vec<_>>().join(",")),
        "LoadBalancer" => {
            let balancers = list(&service["status"]["loadBalancer"]["ingress"]).iter();
            let balancers = balancers.map(|ingress| match text(&ingress["ip"]) {
                "" => text(&ingress["hostname"]),
                ip => ip,
            });
            let balancers: BTreeSet<&str> = balancers.filter(|name| !name.is_empty()).collect();
            let all: Vec<&str> = balancers.into_iter().chain(further).collect();
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        "ExternalName" => text(&spec["externalName"]).to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

/// The ports of a Service: `80/TCP,443:30443/TCP`.
///
/// Upstream: the same file, makePortString.
/// Shown by: services_say_where_they_are.
fn ports(spec: &Value) -> String {
    let port = |port: &Value| {
        let (number_, protocol) = (number(&port["port"]), text(&port["protocol"]));
        match number(&port["nodePort"]) {
            0 => format!("{number_}/{protocol}"),
            node => format!("{number_}:{node}/{protocol}"),
        }
    };
    let ports: Vec<String> = list(&spec["ports"]).iter().map(port).collect();
    ports.join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn services_say_where_they_are() {
        let rows = [
            (
                json!({"type": "ClusterIP", "clusterIPs": ["10.9.8.7"], "ports": [{"port": 80, "protocol": "TCP"}], "selector": {"a": "b"}}),
                json!({}),
                json!(["ClusterIP", "10.9.8.7", "<none>", "80/TCP", "a=b"]),
            ),
            (
                json!({"type": "ClusterIP", "clusterIPs": ["None"], "externalIPs": ["1.1.1.1", "2.2.2.2"]}),
                json!({}),
                json!(["ClusterIP", "None", "1.1.1.1,2.2.2.2", "<none>", "<none>"]),
            ),
            (
                json!({"type": "NodePort", "clusterIP": "10.9.8.7", "ports": [
                    {"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"},
                ]}),
                json!({}),
                json!([
                    "NodePort",
                    "10.9.8.7",
                    "<none>",
                    "80:30080/TCP,53/UDP",
                    "<none>"
                ]),
            ),
            (
                json!({"type": "LoadBalancer"}),
                json!({}),
                json!(["LoadBalancer", "<none>", "<pending>", "<none>", "<none>"]),
            ),
            (
                json!({"type": "LoadBalancer", "externalIPs": ["9.9.9.9"]}),
                json!({"loadBalancer": {"ingress": [{"ip": "3.3.3.3"}, {"hostname": "lb"}, {"ip": "1.1.1.1"}]}}),
                json!([
                    "LoadBalancer",
                    "<none>",
                    "1.1.1.1,3.3.3.3,lb,9.9.9.9",
                    "<none>",
                    "<none>"
                ]),
            ),
            (
                json!({"type": "ExternalName", "externalName": "db.example"}),
                json!({}),
                json!(["ExternalName", "<none>", "db.example", "<none>", "<none>"]),
            ),
            (
                json!({}),
                json!({}),
                json!(["", "<none>", "<unknown>", "<none>", "<none>"]),
            ),
        ];
        for (spec, status, expected) in rows {
            let service = json!({"metadata": {"name": "s"}, "spec": spec, "status": status});
            let mut cells = cells(&service, Wall(0));
            assert_eq!(cells.remove(5), "<unknown>");
            assert_eq!(cells.remove(0), "s");
            assert_eq!(Value::Array(cells), expected);
        }
    }
}
