//! The files of a pod that say where names are looked up.

use std::net::IpAddr;
use std::sync::Arc;

use probelet_engine::effect::{Event, EventKind};
use probelet_model::pod::{DnsPolicy, Pod};
use probelet_names::{ResolvConf, hosts};
use probelet_proxy::NAMES;
use probelet_runtime::Runtime;

use super::Names;

/// What a pod sees in `/etc`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) hosts: String,
    pub(crate) resolv_conf: String,
}

impl<R: Runtime> Names<R> {
    /// Whether the pod, which is on the host's network, asks there for names of the cluster, and somebody
    /// answers from now on.
    pub(crate) fn serves_host_for(self: &Arc<Self>, pod: &Pod) -> bool {
        pod.dns.policy == DnsPolicy::ClusterFirstWithHostNet && self.serves_host()
    }

    /// The files of a pod, from the host's as they are now, and what its owner should know of them.
    pub(crate) fn files(self: &Arc<Self>, pod: &Pod, ips: &[IpAddr]) -> (Files, Vec<Event>) {
        let asks_on_host = pod.host_network && pod.dns.policy == DnsPolicy::ClusterFirstWithHostNet;
        let is_served = !pod.host_network || (asks_on_host && self.serves_host());
        let names = probelet_names::Names {
            server: is_served.then_some(IpAddr::V4(NAMES)),
            stands_for_loopback: !pod.host_network,
        };
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let of_host = ResolvConf::read(&read("/etc/resolv.conf"));
        let (resolv_conf, warnings) = ResolvConf::of_pod(pod, &of_host, names);
        let of_host = if pod.host_network {
            read("/etc/hosts")
        } else {
            String::new()
        };
        let files = Files {
            hosts: hosts(pod, ips, &of_host),
            resolv_conf: resolv_conf.to_string(),
        };
        let event = |warning: probelet_names::Warning| Event {
            pod: pod.uid.clone(),
            container: None,
            kind: EventKind::Warning,
            reason: warning.reason,
            message: warning.message,
            attempt: None,
        };
        (files, warnings.into_iter().map(event).collect())
    }
}
