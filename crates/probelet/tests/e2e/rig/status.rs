//! What `probelet status -o json` says, by the names of things.

use std::net::SocketAddr;

use serde_json::Value;

/// One answer. What is not there is null.
#[derive(Clone, Debug)]
pub(crate) struct Status(pub(crate) Value);

impl Status {
    pub(crate) fn of(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        let items = self.0["items"].as_array().into_iter().flatten();
        items.filter(move |item| item["kind"] == kind)
    }

    fn object(&self, kind: &'static str, name: &str) -> &Value {
        self.of(kind)
            .find(|item| item["metadata"]["name"] == name)
            .unwrap_or(&Value::Null)
    }

    pub(crate) fn pod(&self, name: &str) -> &Value {
        self.object("Pod", name)
    }

    /// The status of a pod's first container.
    pub(crate) fn container(&self, pod: &str) -> &Value {
        &self.pod(pod)["status"]["containerStatuses"][0]
    }

    pub(crate) fn phase(&self, pod: &str) -> &str {
        self.pod(pod)["status"]["phase"].as_str().unwrap_or("none")
    }

    pub(crate) fn condition(&self, pod: &str, kind: &str) -> &Value {
        let conditions = self.pod(pod)["status"]["conditions"].as_array();
        conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == kind)
            .unwrap_or(&Value::Null)
    }

    pub(crate) fn is_ready(&self, pod: &str) -> bool {
        self.condition(pod, "Ready")["status"] == "True"
    }

    /// The IPs of a Service's ready endpoints, and of the others.
    pub(crate) fn endpoints(&self, service: &str) -> [Vec<String>; 2] {
        let subsets = self.object("Endpoints", service)["subsets"].as_array();
        ["addresses", "notReadyAddresses"].map(|list| {
            let subsets = subsets.into_iter().flatten();
            let addresses =
                subsets.flat_map(|subset| subset[list].as_array().into_iter().flatten());
            addresses
                .map(|address| address["ip"].as_str().unwrap().to_owned())
                .collect()
        })
    }

    /// Where the host reaches a Service of one port.
    pub(crate) fn host_address(&self, service: &str) -> SocketAddr {
        let annotations = &self.object("Service", service)["metadata"]["annotations"];
        let address = annotations["probelet.dev/host-address"].as_str();
        address
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("service {service} has no address: {annotations}"))
    }

    /// A pod's events of one reason, oldest first.
    pub(crate) fn events(&self, pod: &str, reason: &str) -> Vec<&Value> {
        let of_pod =
            |event: &&Value| event["involvedObject"]["name"] == pod && event["reason"] == reason;
        self.of("Event").filter(of_pod).collect()
    }

    /// Whether a pod has an event of this reason whose message holds `text`.
    pub(crate) fn has_event(&self, pod: &str, reason: &str, text: &str) -> bool {
        let events = self.events(pod, reason);
        events
            .iter()
            .any(|event| event["message"].as_str().unwrap().contains(text))
    }
}
