//! `/etc/hosts` of a pod.

use std::fmt::Write;
use std::net::IpAddr;

use probelet_model::pod::{HostAlias, Pod};

use crate::CLUSTER_DOMAIN;

/// What every pod's file begins with, but for the addresses of the pod.
const LOCAL: &str = "127.0.0.1\tlocalhost\n\
     ::1\tlocalhost ip6-localhost ip6-loopback\n\
     fe00::0\tip6-localnet\n\
     fe00::0\tip6-mcastprefix\n\
     fe00::1\tip6-allnodes\n\
     fe00::2\tip6-allrouters\n";

/// The domain of a pod's host name, if it has a subdomain.
///
/// Upstream: pkg/kubelet/kubelet_pods.go, GeneratePodHostNameAndDomain.
/// Shown by: a_hosts_file_names_the_pod_and_its_aliases.
#[must_use]
pub fn domain(pod: &Pod) -> Option<String> {
    let subdomain = pod.subdomain.as_ref()?;
    Some(format!(
        "{subdomain}.{}.svc.{CLUSTER_DOMAIN}",
        pod.meta.namespace
    ))
}

/// A pod's `/etc/hosts`: its own name at `addresses`, or, with the host's network, the lines of the host's
/// file; then its aliases.
///
/// Upstream: pkg/kubelet/kubelet_pods.go, ensureHostsFile, managedHostsFileContent, nodeHostsFileContent.
/// Shown by: a_hosts_file_names_the_pod_and_its_aliases.
#[must_use]
pub fn hosts(pod: &Pod, addresses: &[IpAddr], of_host: &str) -> String {
    let mut file = if pod.host_network {
        format!("# Kubernetes-managed hosts file (host network).\n{of_host}")
    } else {
        format!(
            "# Kubernetes-managed hosts file.\n{LOCAL}{}",
            own(pod, addresses)
        )
    };
    file.push_str(&aliases(&pod.host_aliases));
    file
}

fn own(pod: &Pod, addresses: &[IpAddr]) -> String {
    let name = &pod.hostname;
    let names = match domain(pod) {
        Some(domain) => format!("{name}.{domain}\t{name}"),
        None => name.clone(),
    };
    let mut lines = String::new();
    for address in addresses {
        let _to_memory = writeln!(lines, "{address}\t{names}");
    }
    lines
}

fn aliases(aliases: &[HostAlias]) -> String {
    let mut lines = String::new();
    if !aliases.is_empty() {
        lines.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let _to_memory = writeln!(lines, "{}\t{}", alias.ip, alias.hostnames.join("\t"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolv_conf::tests::pod;

    #[test]
    fn a_hosts_file_names_the_pod_and_its_aliases() {
        let mut pod = pod();
        let addresses = ["10.213.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];
        let start = format!("# Kubernetes-managed hosts file.\n{LOCAL}");
        assert_eq!(
            hosts(&pod, &addresses, ""),
            format!("{start}10.213.0.7\tweb\nfd00::7\tweb\n")
        );
        pod.subdomain = Some("peers".to_owned());
        let alias = |ip: &str, hostnames: &[&str]| HostAlias {
            ip: ip.parse().unwrap(),
            hostnames: hostnames.iter().map(|&name| name.to_owned()).collect(),
        };
        pod.host_aliases = vec![
            alias("123.45.67.89", &["some.domain", "other"]),
            alias("fd00::1", &["six"]),
        ];
        let aliases = "\n# Entries added by HostAliases.\n\
            123.45.67.89\tsome.domain\tother\nfd00::1\tsix\n";
        assert_eq!(
            hosts(&pod, &addresses[..1], ""),
            format!("{start}10.213.0.7\tweb.peers.shop.svc.cluster.local\tweb\n{aliases}")
        );
        pod.host_network = true;
        assert_eq!(
            hosts(&pod, &addresses, "127.0.0.1 localhost\n"),
            format!(
                "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n{aliases}"
            )
        );
    }
}
