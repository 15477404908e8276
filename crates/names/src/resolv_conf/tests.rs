use probelet_model::decode;
use probelet_model::id::Kind as ObjectKind;
use serde_json::json;

use super::*;

const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 213, 0, 10));
const OWN: Names = Names {
    server: Some(SERVER),
    stands_for_loopback: true,
};
const OF_HOST: Names = Names {
    server: Some(SERVER),
    stands_for_loopback: false,
};

/// A pod `web` in the namespace `shop`.
pub(crate) fn pod() -> Pod {
    let value = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": {
            "runtimeClassName": "host",
            "containers": [{ "name": "main", "image": "x", "command": ["x"] }],
        },
    });
    let admitted = decode::admit(ObjectKind::Pod, value, &decode::Options::default()).unwrap();
    Pod::from_value(&admitted.value).unwrap()
}

fn host() -> ResolvConf {
    ResolvConf::read("search corp.example\nnameserver 192.0.2.53\noptions timeout:1\n")
}

fn made(
    policy: DnsPolicy,
    host_network: bool,
    config: Dns,
    names: Names,
) -> (String, Vec<Warning>) {
    let mut pod = pod();
    pod.host_network = host_network;
    pod.dns = Dns { policy, ..config };
    let (file, warnings) = ResolvConf::of_pod(&pod, &host(), names);
    (file.to_string(), warnings)
}

const CLUSTER: &str = "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\n\
    nameserver 127.213.0.10\noptions ndots:5\n";
const HOST: &str = "search corp.example\nnameserver 192.0.2.53\noptions timeout:1\n";

#[test]
fn the_hosts_file_is_read_as_upstream_does() {
    let read = ResolvConf::read(
        "# a comment\n\n  nameserver   1.2.3.4 \nnameserver fd00::1\nnameserver\n\
         search one. two .\nsearch three.example. four\ndomain none\n\
         options ndots:1 timeout:3 ndots:3\noptions attempts:4 timeout:2\n#nameserver 9.9.9.9\n",
    );
    let list =
        |words: &[&str]| -> Vec<String> { words.iter().map(|&word| word.to_owned()).collect() };
    assert_eq!(read.nameservers, list(&["1.2.3.4", "fd00::1"]));
    assert_eq!(read.searches, list(&["three.example", "four"]));
    assert_eq!(read.options, list(&["ndots:3", "attempts:4", "timeout:2"]));
    assert_eq!(
        ResolvConf::read("search ."),
        ResolvConf {
            searches: list(&["."]),
            ..ResolvConf::default()
        }
    );
    assert_eq!(ResolvConf::read(""), ResolvConf::default());
}

#[test]
fn each_policy_makes_its_file() {
    let plain = |policy, host_network, names| made(policy, host_network, Dns::default(), names);
    for (policy, host_network, expected) in [
        (DnsPolicy::ClusterFirst, false, CLUSTER),
        (DnsPolicy::ClusterFirst, true, HOST),
        (DnsPolicy::ClusterFirstWithHostNet, false, CLUSTER),
        (DnsPolicy::ClusterFirstWithHostNet, true, CLUSTER),
        (DnsPolicy::Default, false, HOST),
        (DnsPolicy::Default, true, HOST),
        (DnsPolicy::None, false, ""),
    ] {
        let names = if host_network { OF_HOST } else { OWN };
        let found = plain(policy, host_network, names);
        assert_eq!(
            found,
            (expected.to_owned(), Vec::new()),
            "{policy:?} {host_network}"
        );
    }
    let nobody = Names {
        server: None,
        stands_for_loopback: false,
    };
    let (file, warnings) = plain(DnsPolicy::ClusterFirstWithHostNet, true, nobody);
    assert_eq!(file, HOST);
    assert_eq!(warnings[0].reason, "MissingClusterDNS");
    assert_eq!(
        warnings[0].message,
        "pod: \"web_shop()\". kubelet does not have ClusterDNS IP configured and cannot create Pod using \
         \"ClusterFirst\" policy. Falling back to \"Default\" policy."
    );
    let config = Dns {
        nameservers: vec!["9.9.9.9".parse().unwrap(), SERVER],
        searches: vec!["svc.cluster.local".to_owned(), "my.search".to_owned()],
        options: vec![
            ("ndots".to_owned(), Some("2".to_owned())),
            ("edns0".to_owned(), None),
            ("rotate".to_owned(), Some(String::new())),
        ],
        ..Dns::default()
    };
    assert_eq!(
        made(DnsPolicy::ClusterFirst, false, config.clone(), OWN).0,
        "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example my.search\n\
         nameserver 127.213.0.10\nnameserver 9.9.9.9\noptions ndots:2 edns0 rotate\n"
    );
    assert_eq!(
        made(DnsPolicy::None, false, config, OWN).0,
        "search svc.cluster.local my.search\n\
         nameserver 9.9.9.9\nnameserver 127.213.0.10\noptions ndots:2 edns0 rotate\n"
    );
}

#[test]
fn a_nameserver_that_a_pod_cannot_reach_is_asked_for_it() {
    let systemd = ResolvConf::read("nameserver 127.0.0.53\nnameserver ::1\nnameserver 192.0.2.1\n");
    let mut pod = pod();
    pod.dns.policy = DnsPolicy::Default;
    let lines = |host: &ResolvConf, names| ResolvConf::of_pod(&pod, host, names).0.nameservers;
    assert_eq!(lines(&systemd, OWN), ["127.213.0.10", "192.0.2.1"]);
    assert_eq!(lines(&systemd, OF_HOST), ["127.0.0.53", "::1", "192.0.2.1"]);
    assert_eq!(lines(&ResolvConf::default(), OWN), ["127.213.0.10"]);
    assert_eq!(lines(&ResolvConf::default(), OF_HOST), [""; 0]);
}

#[test]
fn what_is_over_a_limit_is_left_out_and_said() {
    let with = |nameservers: u8, searches: Vec<String>| {
        let config = Dns {
            nameservers: (0..nameservers)
                .map(|last| IpAddr::from([10, 0, 0, last]))
                .collect(),
            searches,
            ..Dns::default()
        };
        let mut pod = pod();
        pod.dns = Dns {
            policy: DnsPolicy::None,
            ..config
        };
        ResolvConf::of_pod(&pod, &host(), OWN)
    };
    let (file, warnings) = with(4, Vec::new());
    assert_eq!(file.nameservers, ["10.0.0.0", "10.0.0.1", "10.0.0.2"]);
    let said = Warning {
        reason: "DNSConfigForming",
        message: "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver \
                  line is: 10.0.0.0 10.0.0.1 10.0.0.2"
            .to_owned(),
    };
    assert_eq!(warnings, [said]);
    let names = |count: usize, length: usize| -> Vec<String> {
        (0..count)
            .map(|n| format!("{n:03}{}", "x".repeat(length - 3)))
            .collect()
    };
    let (file, warnings) = with(1, names(32, 63));
    assert_eq!(
        (file.searches.len(), warnings.len()),
        (32, 0),
        "2047 characters"
    );
    let (file, warnings) = with(1, names(33, 10));
    assert_eq!(file.searches.len(), 32);
    let line = file.searches.join(" ");
    assert_eq!(
        warnings[0].message,
        format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {line}"
        )
    );
    let (file, _) = with(1, names(32, 64));
    assert_eq!(file.searches.len(), 31);
    let (file, warnings) = with(1, vec!["x".repeat(254), "short".to_owned()]);
    assert_eq!(
        (file.searches, warnings.len()),
        (vec!["short".to_owned()], 1)
    );
}
