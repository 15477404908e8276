//! `/etc/resolv.conf` of a pod.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use probelet_model::pod::{Dns, DnsPolicy, Pod};

use crate::CLUSTER_DOMAIN;

/// How many nameservers a pod has at most. Below it, the number of search paths, the length of them all with
/// the spaces between, and that of one.
///
/// Upstream: pkg/apis/core/validation/validation.go, MaxDNSNameservers, MaxDNSSearchPaths and
/// MaxDNSSearchListChars; apimachinery pkg/util/validation/validation.go, DNS1123SubdomainMaxLength.
/// Shown by: what_is_over_a_limit_is_left_out_and_said.
const NAMESERVERS: usize = 3;
const SEARCHES: usize = 32;
const SEARCH_LENGTH: usize = 2048;
const DOMAIN_LENGTH: usize = 253;

/// Where names are looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Addresses of servers, the first asked first.
    pub nameservers: Vec<String>,
    /// Domains that names are looked for in.
    pub searches: Vec<String>,
    /// How.
    pub options: Vec<String>,
}

/// Who answers for the cluster's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// Where; `None` if nobody does where the pod is.
    pub server: Option<IpAddr>,
    /// It also knows what the host's nameservers know, and the pod has a network namespace of its own, so
    /// that it stands for those that are on the host's loopback interface.
    pub stands_for_loopback: bool,
}

/// Something a pod's owner should know: an event of type Warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The event's reason.
    pub reason: &'static str,
    /// The event's text.
    pub message: String,
}

impl ResolvConf {
    /// Reads the host's file. What it does not say is left out.
    ///
    /// Upstream: pkg/kubelet/network/dns/dns.go, parseResolvConf.
    /// Shown by: the_hosts_file_is_read_as_upstream_does.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines().map(str::trim) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => read.nameservers.extend(words.next().map(str::to_owned)),
                Some("search") => read.searches = words.map(search).collect(),
                Some("options") => words.for_each(|word| read.option(word)),
                _ => {}
            }
        }
        read
    }

    /// A later option stands for an earlier one of its name.
    fn option(&mut self, word: &str) {
        let name = |word: &str| word.split(':').next().map(str::to_owned);
        self.options.retain(|known| name(known) != name(word));
        self.options.push(word.to_owned());
    }

    /// A pod's, and what its owner should know of it.
    ///
    /// Upstream: pkg/kubelet/network/dns/dns.go, GetPodDNS.
    /// Differs: nameservers on the host's loopback interface, which a pod cannot reach, are replaced by the
    /// server of the cluster's names, which asks them; and options are in order, not in a random one.
    /// Shown by: each_policy_makes_its_file, what_is_over_a_limit_is_left_out_and_said,
    /// a_nameserver_that_a_pod_cannot_reach_is_asked_for_it.
    #[must_use]
    pub fn of_pod(pod: &Pod, host: &Self, names: Names) -> (Self, Vec<Warning>) {
        let mut warnings = Vec::new();
        let mut made = match (of_cluster(pod), names.server) {
            (Kind::Nothing, _) => Self::default(),
            (Kind::Cluster, Some(server)) => of_names(pod, host, server),
            (Kind::Cluster, None) => {
                warnings.push(missing(pod));
                host.reachable(names)
            }
            (Kind::Host, _) => host.reachable(names),
        };
        made.add(&pod.dns);
        warnings.extend(made.limit());
        (made, warnings)
    }

    fn reachable(&self, names: Names) -> Self {
        let mut reachable = self.clone();
        let instead = names.server.filter(|_| names.stands_for_loopback);
        if let Some(server) = instead {
            for nameserver in &mut reachable.nameservers {
                let address: Result<IpAddr, _> = nameserver.parse();
                if address.is_ok_and(|address| address.is_loopback()) {
                    *nameserver = server.to_string();
                }
            }
            // A resolver without any nameserver asks its own host.
            if reachable.nameservers.is_empty() {
                reachable.nameservers.push(server.to_string());
            }
            once_each(&mut reachable.nameservers);
        }
        reachable
    }

    /// With what the pod asks for beside its policy.
    ///
    /// Upstream: pkg/kubelet/network/dns/dns.go, appendDNSConfig and mergeDNSOptions.
    /// Shown by: each_policy_makes_its_file.
    fn add(&mut self, dns: &Dns) {
        let nameservers = dns.nameservers.iter().map(ToString::to_string);
        self.nameservers.extend(nameservers);
        once_each(&mut self.nameservers);
        self.searches.extend(dns.searches.iter().cloned());
        once_each(&mut self.searches);
        for (name, value) in &dns.options {
            match value.as_ref().filter(|value| !value.is_empty()) {
                Some(value) => self.option(&format!("{name}:{value}")),
                None => self.option(name),
            }
        }
    }

    /// Leaves out what resolvers do not take, and says so.
    ///
    /// Upstream: pkg/kubelet/network/dns/dns.go, formDNSConfigFitsLimits.
    /// Shown by: what_is_over_a_limit_is_left_out_and_said.
    fn limit(&mut self) -> Vec<Warning> {
        let warning = |message| Warning {
            reason: "DNSConfigForming",
            message,
        };
        let mut warnings = Vec::new();
        if self.nameservers.len() > NAMESERVERS {
            self.nameservers.truncate(NAMESERVERS);
            warnings.push(warning(format!(
                "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
                self.nameservers.join(" ")
            )));
        }
        if self.limit_searches() {
            warnings.push(warning(format!(
                "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
                self.searches.join(" ")
            )));
        }
        warnings
    }

    /// Leaves out what there is no room for, the last first; whether there was any.
    fn limit_searches(&mut self) -> bool {
        let before = self.searches.len();
        self.searches.truncate(SEARCHES);
        self.searches.retain(|path| path.len() <= DOMAIN_LENGTH);
        while self.searches.join(" ").len() > SEARCH_LENGTH {
            self.searches.pop();
        }
        self.searches.len() < before
    }
}

/// As containerd writes it.
///
/// Upstream: containerd internal/cri/server/sandbox_run_linux.go, parseDNSOptions.
/// Shown by: each_policy_makes_its_file.
impl fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.searches.is_empty() {
            writeln!(f, "search {}", self.searches.join(" "))?;
        }
        for nameserver in &self.nameservers {
            writeln!(f, "nameserver {nameserver}")?;
        }
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}

enum Kind {
    Cluster,
    Host,
    Nothing,
}

/// What a pod's file begins with.
///
/// Upstream: pkg/kubelet/network/dns/dns.go, getPodDNSType.
/// Shown by: each_policy_makes_its_file.
const fn of_cluster(pod: &Pod) -> Kind {
    match pod.dns.policy {
        DnsPolicy::None => Kind::Nothing,
        DnsPolicy::ClusterFirstWithHostNet => Kind::Cluster,
        DnsPolicy::ClusterFirst if !pod.host_network => Kind::Cluster,
        DnsPolicy::ClusterFirst | DnsPolicy::Default => Kind::Host,
    }
}

/// The file of a pod that looks for names in its namespace first.
///
/// Upstream: pkg/kubelet/network/dns/dns.go, generateSearchesForDNSClusterFirst and defaultDNSOptions.
/// Shown by: each_policy_makes_its_file.
fn of_names(pod: &Pod, host: &ResolvConf, server: IpAddr) -> ResolvConf {
    let namespace = &pod.meta.namespace;
    let mut searches = vec![
        format!("{namespace}.svc.{CLUSTER_DOMAIN}"),
        format!("svc.{CLUSTER_DOMAIN}"),
        CLUSTER_DOMAIN.to_owned(),
    ];
    searches.extend(host.searches.iter().cloned());
    once_each(&mut searches);
    ResolvConf {
        nameservers: vec![server.to_string()],
        searches,
        options: vec!["ndots:5".to_owned()],
    }
}

/// Said where nobody answers for the cluster's names.
///
/// Upstream: pkg/kubelet/network/dns/dns.go, GetPodDNS.
/// Shown by: each_policy_makes_its_file.
fn missing(pod: &Pod) -> Warning {
    let (name, uid) = (pod.full_name(), &pod.uid);
    Warning {
        reason: "MissingClusterDNS",
        message: format!(
            "pod: \"{name}({uid})\". kubelet does not have ClusterDNS IP configured and cannot create Pod \
             using \"ClusterFirst\" policy. Falling back to \"Default\" policy."
        ),
    }
}

/// A domain counts once, with a dot at its end and without.
fn search(domain: &str) -> String {
    match domain.strip_suffix('.') {
        Some(bare) if !bare.is_empty() => bare.to_owned(),
        _ => domain.to_owned(),
    }
}

fn once_each(list: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    list.retain(|one| seen.insert(one.clone()));
}

#[cfg(test)]
pub(crate) mod tests;
