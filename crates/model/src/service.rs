//! A Service and its Endpoints.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::PodUid;
use crate::pod::{Meta, Protocol};
use crate::probe::PortRef;

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `metadata.uid`. Empty in a Service that has not been stored yet.
    pub uid: String,
    /// Its metadata.
    pub meta: Meta,
    /// `spec.selector`; `None` if it has none: then nobody here makes its endpoints.
    pub selector: Option<BTreeMap<String, String>>,
    /// `spec.ports`, in order.
    pub ports: Vec<ServicePort>,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready_addresses: bool,
    /// `spec.clusterIP: None`.
    pub headless: bool,
}

impl Service {
    /// Whether a pod with these labels is one of the Service's. A Service without selector has none.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.as_ref().is_some_and(|selector| {
            selector
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
        })
    }
}

/// One of a Service's `ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`, empty if there is only one.
    pub name: String,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`.
    pub port: u16,
    /// `targetPort`, by default `port`.
    pub target_port: PortRef,
}

/// The `v1` Endpoints of one Service, without its metadata.
///
/// Upstream: pkg/controller/endpoint/endpoints_controller.go, syncService; pkg/api/v1/endpoints/util.go,
/// RepackSubsets.
/// Shown by: f11_a_ready_and_an_unready_pod_share_a_subset,
/// a_headless_service_without_ports_lists_addresses_alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Each a set of addresses that serve the same ports; ordered, so that equal endpoints are equal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subsets: Vec<EndpointSubset>,
}

/// A `discovery.k8s.io/v1` EndpointSlice of one Service, without its metadata: pods that serve the same ports.
///
/// Upstream: staging/src/k8s.io/endpointslice/reconciler.go, reconcileByAddressType.
/// Differs: a slice is never split, however many pods it has; upstream begins another at 100.
/// Shown by: pods_that_terminate_stay_in_the_slices_and_pods_with_other_ports_have_their_own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Whether its addresses are IPv6.
    pub is_ipv6: bool,
    /// The pods, ordered by IP.
    pub endpoints: Vec<SliceEndpoint>,
    /// Their ports.
    pub ports: Vec<EndpointPort>,
}

/// One pod of an [`EndpointSlice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Where it is, and who.
    pub address: EndpointAddress,
    /// What may be expected of it.
    pub conditions: SliceConditions,
}

/// The three conditions that an EndpointSlice gives a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceConditions {
    /// Takes new traffic.
    pub ready: bool,
    /// Would, if it were not terminating.
    pub serving: bool,
    /// Is being deleted.
    pub terminating: bool,
}

/// Addresses that serve the same ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSubset {
    /// Take traffic; ordered by IP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<EndpointAddress>,
    /// Take none; ordered by IP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_ready_addresses: Vec<EndpointAddress>,
    /// Their ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<EndpointPort>,
}

/// One pod behind a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointAddress {
    /// The pod's IP.
    pub ip: IpAddr,
    /// `spec.hostname` of the pod, if its subdomain is the Service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The node the pod runs on.
    pub node_name: String,
    /// The pod.
    pub target_ref: TargetRef,
}

/// The pod behind an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRef {
    /// Always `Pod`.
    pub kind: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's uid.
    pub uid: PodUid,
}

/// One port of a subset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndpointPort {
    /// The Service port's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The pod's port.
    pub port: u16,
    /// The Service port's protocol.
    pub protocol: Protocol,
}
