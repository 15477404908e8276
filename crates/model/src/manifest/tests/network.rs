//! How a pod looks names up, and what of it is on the host's network.

use std::net::IpAddr;

use super::*;
use crate::pod::{ContainerPort, Dns, DnsPolicy, HostAlias, Protocol};

fn dns(spec: &str) -> Dns {
    let text = PodText {
        spec,
        ..PodText::default()
    };
    pod(&text.yaml()).dns
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn names_are_looked_up_as_the_pod_says() {
    assert_eq!(dns(""), Dns::default());
    for (text, policy) in [
        ("ClusterFirst", DnsPolicy::ClusterFirst),
        (
            "ClusterFirstWithHostNet",
            DnsPolicy::ClusterFirstWithHostNet,
        ),
        ("Default", DnsPolicy::Default),
    ] {
        assert_eq!(dns(&format!("dnsPolicy: {text}")).policy, policy);
    }
    let read = dns(
        "dnsPolicy: None\ndnsConfig: {nameservers: [192.0.2.1, '2001:db8::1'], searches: [a.b., _c.d, .], \
         options: [{name: ndots, value: '2'}, {name: rotate}]}",
    );
    assert_eq!(
        read,
        Dns {
            policy: DnsPolicy::None,
            nameservers: vec![ip("192.0.2.1"), ip("2001:db8::1")],
            searches: ["a.b.", "_c.d", "."].map(str::to_owned).to_vec(),
            options: vec![
                ("ndots".to_owned(), Some("2".to_owned())),
                ("rotate".to_owned(), None)
            ],
        }
    );
    in_spec(
        "dnsPolicy: Cluster",
        &[
            "spec.dnsPolicy: Unsupported value: \"Cluster\": supported values: \"ClusterFirstWithHostNet\", \
             \"ClusterFirst\", \"Default\", \"None\"",
        ],
    );
    in_spec(
        "dnsPolicy: None",
        &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
    );
    in_spec(
        "dnsPolicy: None\ndnsConfig: {searches: [a]}",
        &[
            "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` \
             is None",
        ],
    );
}

#[test]
fn what_a_resolver_takes_is_limited() {
    let list = |count: usize, name: &str| vec![name; count].join(", ");
    let quoted =
        |count: usize, name: &str| format!("[{}]", vec![format!("\"{name}\""); count].join(","));
    let long = "a".repeat(63);
    for (config, expected) in [
        (format!("nameservers: [{}]", list(3, "1.1.1.1")), String::new()),
        (
            format!("nameservers: [{}]", list(4, "1.1.1.1")),
            format!(
                "nameservers: Invalid value: {}: must not have more than 3 nameservers",
                quoted(4, "1.1.1.1")
            ),
        ),
        (
            "nameservers: [1.1.1.1, dns]".to_owned(),
            "nameservers[1]: Invalid value: \"dns\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                .to_owned(),
        ),
        (format!("searches: [{}]", list(32, &long)), String::new()),
        (
            format!("searches: [{}]", list(33, "a")),
            format!(
                "searches: Invalid value: {}: must not have more than 32 search paths",
                quoted(33, "a")
            ),
        ),
        (
            format!("searches: [{}, {long}.a]", list(31, &long)),
            format!(
                "searches: Invalid value: [{},\"{long}.a\"]: must not have more than 2048 characters (including \
                 spaces) in the search list",
                quoted(31, &long).trim_matches(['[', ']'])
            ),
        ),
        (
            "searches: [a_b, A]".to_owned(),
            "searches[1]: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case \
             alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. \
             'example.com', regex used for validation is \
             '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        ),
        (
            "options: [{value: a}]".to_owned(),
            "options[0]: Required value: must not be empty".to_owned(),
        ),
    ] {
        let expected = format!("spec.dnsConfig.{expected}");
        let expected = Some(expected.as_str()).filter(|line| !line.ends_with('.'));
        in_spec(&format!("dnsConfig: {{{config}}}"), expected.as_slice());
    }
}

#[test]
fn host_aliases_are_read_and_validated() {
    let text = PodText {
        spec: "hostAliases: [{ip: 192.0.2.1, hostnames: [a, b.c]}, {ip: '::1'}]",
        ..PodText::default()
    };
    let alias = |ip: IpAddr, names: &[&str]| HostAlias {
        ip,
        hostnames: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    assert_eq!(
        pod(&text.yaml()).host_aliases,
        [alias(ip("192.0.2.1"), &["a", "b.c"]), alias(ip("::1"), &[])]
    );
    in_spec(
        "hostAliases: [{ip: a}, {ip: 1.2.3.4, hostnames: [A_]}]",
        &[
            "spec.hostAliases[0].ip: Invalid value: \"a\": must be a valid IP address, (e.g. 10.9.8.7 or \
             2001:db8::ffff)",
            "spec.hostAliases[1].hostnames[0]: Invalid value: \"A_\": a lowercase RFC 1123 subdomain must consist of \
             lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
             (e.g. 'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ],
    );
}

#[test]
fn host_ports_are_read() {
    let ports = |spec: &str, ports: &str| {
        let text = PodText {
            spec,
            container: &format!("ports: [{ports}]"),
            ..PodText::default()
        };
        pod(&text.yaml()).containers.remove(0).ports
    };
    let port = |host_port: Option<u16>, host_ip: Option<&str>| ContainerPort {
        name: None,
        number: 80,
        protocol: Protocol::Tcp,
        host_port,
        host_ip: host_ip.map(ip),
    };
    assert_eq!(
        ports(
            "",
            "{containerPort: 80, hostPort: 8080, hostIP: 127.0.0.1}, {containerPort: 80, hostPort: 8081}, \
             {containerPort: 80, hostIP: '::1'}",
        ),
        [
            port(Some(8080), Some("127.0.0.1")),
            port(Some(8081), None),
            port(None, None)
        ]
    );
    // With the host's network there is nothing to open.
    assert_eq!(
        ports("hostNetwork: true", "{containerPort: 80}"),
        [port(None, None)]
    );
    let udp = "ports: [{containerPort: 80, hostPort: 80, protocol: UDP}]";
    let place = "spec.containers[0].ports[0]";
    in_container(udp, &[&format!("{place}.hostPort: not carried out yet")]);
    in_container(&udp.replace("hostPort: 80, ", ""), &[]);
    in_container(
        "ports: [{containerPort: 80, hostPort: 65536, hostIP: localhost}]",
        &[
            &format!(
                "{place}.hostPort: Invalid value: 65536: must be between 1 and 65535, inclusive"
            ),
            &format!(
                "{place}.hostIP: Invalid value: \"localhost\": must be a valid IP address, (e.g. 10.9.8.7 or \
                 2001:db8::ffff)"
            ),
        ],
    );
    in_container(
        "ports: [{containerPort: 80, hostPort: 80, hostIP: 127.0.0.1}, {containerPort: 81, hostPort: 80}, \
         {containerPort: 82, hostPort: 80}]",
        &["spec.containers[0].ports[2].hostPort: Duplicate value: \"TCP//80\""],
    );
}
