//! The addresses of Services as environment variables: `WEB_SERVICE_HOST`, `WEB_PORT_80_TCP`, ...

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

/// The variables of all Services of a namespace that have an address, and of `default/kubernetes`, whether
/// those of the namespace are wanted or not.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, getServiceEnvVarMap; pkg/kubelet/envvars/envvars.go,
/// FromServices.
/// Shown by: services_are_in_the_environment.
pub(super) fn links(
    namespace: &str,
    wanted: bool,
    services: &[Arc<Value>],
) -> BTreeMap<String, String> {
    let mut by_name: BTreeMap<&str, (bool, &Value)> = BTreeMap::new();
    for service in services {
        let (Some(name), Some(home)) = (
            service["metadata"]["name"].as_str(),
            service["metadata"]["namespace"].as_str(),
        ) else {
            continue;
        };
        let is_own = wanted && home == namespace;
        let is_kubernetes = home == "default" && name == "kubernetes";
        // One of its own stands before the one that all have.
        let is_taken = by_name.get(name).is_some_and(|(is_own, _)| *is_own);
        if (is_own || is_kubernetes) && !is_taken {
            by_name.insert(name, (is_own, service));
        }
    }
    let mut variables = BTreeMap::new();
    for (name, (_, service)) in by_name {
        of_service(name, service, &mut variables);
    }
    variables
}

/// The variables of one Service: its host and ports, and what links between Docker's containers were.
///
/// Upstream: pkg/kubelet/envvars/envvars.go, FromServices and makeLinkVariables.
/// Shown by: services_are_in_the_environment.
fn of_service(name: &str, service: &Value, variables: &mut BTreeMap<String, String>) {
    let spec = &service["spec"];
    let Some(address) = spec["clusterIP"]
        .as_str()
        .and_then(|text| text.parse::<IpAddr>().ok())
    else {
        // It has none yet, or is headless.
        return;
    };
    let prefix = variable(name);
    let mut set = |name: String, value: String| {
        variables.insert(name, value);
    };
    set(format!("{prefix}_SERVICE_HOST"), address.to_string());
    for (index, port) in spec["ports"].as_array().into_iter().flatten().enumerate() {
        let number = port["port"].as_u64().unwrap_or_default();
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let scheme = protocol.to_lowercase();
        let place = match address {
            IpAddr::V4(address) => format!("{scheme}://{address}:{number}"),
            IpAddr::V6(address) => format!("{scheme}://[{address}]:{number}"),
        };
        if index == 0 {
            set(format!("{prefix}_SERVICE_PORT"), number.to_string());
            set(format!("{prefix}_PORT"), place.clone());
        }
        if let Some(name) = port["name"].as_str().filter(|name| !name.is_empty()) {
            let name = format!("{prefix}_SERVICE_PORT_{}", variable(name));
            set(name, number.to_string());
        }
        let prefix = format!("{prefix}_PORT_{number}_{}", protocol.to_uppercase());
        set(format!("{prefix}_PROTO"), scheme);
        set(format!("{prefix}_PORT"), number.to_string());
        set(format!("{prefix}_ADDR"), address.to_string());
        set(prefix, place);
    }
}

fn variable(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}
