//! Endpoints and EndpointSlices.

use probelet_model::time::Wall;
use serde_json::Value;

use super::cells::{a_few, age_of, list, name_of, none_if_empty, number, text};

/// `10.0.0.1:80,10.0.0.2:80`.
///
/// Upstream: pkg/printers/internalversion/printers.go, formatEndpoints.
/// Shown by: endpoints_are_addresses_with_ports.
pub(super) fn of_endpoints(object: &Value) -> String {
    let subsets = list(&object["subsets"]);
    if subsets.is_empty() {
        return none_if_empty(String::new());
    }
    let mut all = Vec::new();
    for subset in subsets {
        let addresses = list(&subset["addresses"]).iter();
        let addresses = addresses.map(|address| text(&address["ip"]));
        let ports = list(&subset["ports"]);
        if ports.is_empty() {
            all.extend(addresses.clone().map(str::to_owned));
        }
        for port in ports {
            let port = number(&port["port"]);
            all.extend(addresses.clone().map(|address| {
                if address.contains(':') {
                    format!("[{address}]:{port}")
                } else {
                    format!("{address}:{port}")
                }
            }));
        }
    }
    a_few(&all)
}

pub(super) fn cells_of_slice(object: &Value, now: Wall) -> Vec<Value> {
    vec![
        name_of(object).into(),
        text(&object["addressType"]).into(),
        ports(object).into(),
        addresses(object).into(),
        age_of(object, now).into(),
    ]
}

/// The ports of a slice: `80,443`.
///
/// Upstream: the same file, formatDiscoveryPorts.
/// Shown by: slices_show_ports_and_addresses_apart.
fn ports(slice: &Value) -> String {
    let port = |port: &Value| match (&port["port"], &port["name"]) {
        (Value::Number(number), _) => number.to_string(),
        (_, Value::String(name)) => name.clone(),
        _ => "*".to_owned(),
    };
    let all: Vec<String> = list(&slice["ports"]).iter().map(port).collect();
    unset_if_empty(&all)
}

/// The addresses of a slice: `10.0.0.1,10.0.0.2`.
///
/// Upstream: the same file, formatDiscoveryEndpoints.
/// Shown by: slices_show_ports_and_addresses_apart.
fn addresses(slice: &Value) -> String {
    let all: Vec<String> = list(&slice["endpoints"])
        .iter()
        .flat_map(|endpoint| list(&endpoint["addresses"]))
        .map(|address| text(address).to_owned())
        .collect();
    unset_if_empty(&all)
}

fn unset_if_empty(all: &[String]) -> String {
    match a_few(all) {
        few if few.is_empty() => "<unset>".to_owned(),
        few => few,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn endpoints_are_addresses_with_ports() {
        let rows = [
            (json!({}), "<none>"),
            (json!({"subsets": []}), "<none>"),
            (
                json!({"subsets": [{"notReadyAddresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]}),
                "",
            ),
            (
                json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}]}]}),
                "10.0.0.1",
            ),
            (
                json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}]}]}),
                "10.0.0.1:80,[fd00::1]:80",
            ),
            (
                json!({"subsets": [
                    {"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": [{"port": 80}, {"port": 443}]},
                    {"addresses": [{"ip": "10.0.0.3"}], "ports": [{"port": 8080}]},
                ]}),
                "10.0.0.1:80,10.0.0.2:80,10.0.0.1:443 + 2 more...",
            ),
        ];
        for (object, expected) in rows {
            assert_eq!(of_endpoints(&object), expected, "{object}");
        }
    }

    #[test]
    fn slices_show_ports_and_addresses_apart() {
        let rows = [
            (json!({}), "<unset>", "<unset>"),
            (
                json!({
                    "ports": [{"name": "http", "port": 80}, {"name": "named"}, {}],
                    "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}],
                }),
                "80,named,*",
                "10.0.0.1,10.0.0.2",
            ),
            (
                json!({
                    "ports": [{"port": 1}, {"port": 2}, {"port": 3}, {"port": 4}],
                    "endpoints": [{"addresses": ["a"]}, {"addresses": ["b"]}, {"addresses": ["c"]}, {"addresses": ["d"]}, {"addresses": ["e"]}],
                }),
                "1,2,3 + 1 more...",
                "a,b,c + 2 more...",
            ),
        ];
        for (mut slice, ports, addresses) in rows {
            slice["addressType"] = "IPv4".into();
            let cells = cells_of_slice(&slice, Wall(0));
            assert_eq!(cells[1..4], [json!("IPv4"), json!(ports), json!(addresses)]);
        }
    }
}
