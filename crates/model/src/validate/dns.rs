//! How a pod looks names up: `dnsPolicy`, `dnsConfig` and `hostAliases`.

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as api;

use super::{Errors, address, filled, names, numbered};
use crate::field::FieldPath;
use crate::pod::{Dns, DnsPolicy, HostAlias};

/// Most name servers, as the C library has it.
const MOST_NAMESERVERS: usize = 3;

/// Most domains to search in.
const MOST_SEARCHES: usize = 32;

/// Most letters of all of them, with a space between each two.
const MOST_SEARCH_LETTERS: usize = 2048;

/// A pod's `dnsPolicy`.
///
/// Upstream: validateDNSPolicy.
/// Shown by: names_are_looked_up_as_the_pod_says.
pub(super) fn policy(wire: &api::PodSpec, path: FieldPath, errors: &mut Errors) -> DnsPolicy {
    const POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    match filled(wire.dns_policy.as_ref()) {
        Some("ClusterFirst") => DnsPolicy::ClusterFirst,
        Some("ClusterFirstWithHostNet") => DnsPolicy::ClusterFirstWithHostNet,
        Some("Default") => DnsPolicy::Default,
        Some("None") => DnsPolicy::None,
        Some(other) => {
            errors.unsupported(path, other, POLICIES);
            DnsPolicy::default()
        }
        None => {
            errors.required(path, "");
            DnsPolicy::default()
        }
    }
}

/// A pod's `dnsConfig`, under its `dnsPolicy`.
///
/// Upstream: validatePodDNSConfig, with the gate RelaxedDNSSearchValidation.
/// Shown by: names_are_looked_up_as_the_pod_says, what_a_resolver_takes_is_limited.
pub(super) fn config(
    wire: Option<&api::PodDNSConfig>,
    policy: DnsPolicy,
    path: &FieldPath,
    errors: &mut Errors,
) -> Dns {
    let nothing = api::PodDNSConfig::default();
    let config = wire.unwrap_or(&nothing);
    let servers = config.nameservers.as_deref().unwrap_or_default();
    let searches = config.searches.as_deref().unwrap_or_default();
    if policy == DnsPolicy::None && servers.is_empty() {
        if wire.is_none() {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.required(path.clone(), detail);
        } else {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.required(path.field("nameservers"), detail);
        }
        return Dns::default();
    }
    let at = path.field("nameservers");
    if servers.len() > MOST_NAMESERVERS {
        let detail = format!("must not have more than {MOST_NAMESERVERS} nameservers");
        errors.invalid(at.clone(), servers.to_vec(), &detail);
    }
    let nameservers = numbered(servers, &at)
        .filter_map(|(text, path)| address(text, path, errors))
        .collect();
    self::searches(searches, &path.field("searches"), errors);
    let options = config.options.as_deref().unwrap_or_default();
    for (option, path) in numbered(options, &path.field("options")) {
        if filled(option.name.as_ref()).is_none() {
            errors.required(path, "must not be empty");
        }
    }
    let pair = |wire: &api::PodDNSConfigOption| {
        let name = wire.name.clone().unwrap_or_default();
        (name, wire.value.clone())
    };
    Dns {
        policy,
        nameservers,
        searches: searches.to_vec(),
        options: options.iter().map(pair).collect(),
    }
}

fn searches(list: &[String], path: &FieldPath, errors: &mut Errors) {
    if list.len() > MOST_SEARCHES {
        let detail = format!("must not have more than {MOST_SEARCHES} search paths");
        errors.invalid(path.clone(), list.to_vec(), &detail);
    }
    if list.join(" ").len() > MOST_SEARCH_LETTERS {
        let detail = format!(
            "must not have more than {MOST_SEARCH_LETTERS} characters (including spaces) in the search list"
        );
        errors.invalid(path.clone(), list.to_vec(), &detail);
    }
    for (search, path) in numbered(list, path).filter(|(search, _)| *search != ".") {
        let domain = search.strip_suffix('.').unwrap_or(search);
        errors.invalid_each(&path, domain, names::search_domain(domain));
    }
}

/// A pod's `hostAliases`.
///
/// Upstream: ValidateHostAliases.
/// Shown by: host_aliases_are_read_and_validated.
pub(super) fn host_aliases(
    wire: &[api::HostAlias],
    path: &FieldPath,
    errors: &mut Errors,
) -> Vec<HostAlias> {
    let mut aliases = Vec::new();
    for (wire, path) in numbered(wire, path) {
        let ip: Option<IpAddr> = address(&wire.ip, path.field("ip"), errors);
        let hostnames = wire.hostnames.as_deref().unwrap_or_default();
        for (name, path) in numbered(hostnames, &path.field("hostnames")) {
            errors.invalid_each(&path, name.as_str(), names::dns_subdomain(name));
        }
        aliases.extend(ip.map(|ip| HostAlias {
            ip,
            hostnames: hostnames.to_vec(),
        }));
    }
    aliases
}
