use probelet_model::pod::Meta;
use probelet_model::probe::PortRef;
use probelet_model::service::{EndpointSubset, TargetRef};

use super::*;
use crate::message::tests::query;

const SERVER: Ipv4Addr = Ipv4Addr::new(127, 213, 0, 10);

fn service(namespace: &str, name: &str, ports: &[(&str, Protocol, u16)]) -> Service {
    let ports = ports.iter().map(|&(name, protocol, port)| ServicePort {
        name: name.to_owned(),
        protocol,
        port,
        target_port: PortRef::Number(port),
    });
    Service {
        uid: String::new(),
        meta: Meta {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            ..Meta::default()
        },
        selector: None,
        ports: ports.collect(),
        publish_not_ready_addresses: false,
        headless: false,
    }
}

fn behind(ready: &[(&str, Option<&str>)], not_ready: &[&str], ports: &[(&str, u16)]) -> Endpoints {
    let address = |ip: &str, hostname: Option<&str>| EndpointAddress {
        ip: ip.parse().unwrap(),
        hostname: hostname.map(str::to_owned),
        node_name: "node".to_owned(),
        target_ref: TargetRef {
            kind: "Pod".to_owned(),
            namespace: "shop".to_owned(),
            name: "p".to_owned(),
            uid: "u".into(),
        },
    };
    let ports = ports.iter().map(|&(name, port)| EndpointPort {
        name: name.to_owned(),
        port,
        protocol: Protocol::Tcp,
    });
    Endpoints {
        subsets: vec![EndpointSubset {
            addresses: ready.iter().map(|&(ip, name)| address(ip, name)).collect(),
            not_ready_addresses: not_ready.iter().map(|ip| address(ip, None)).collect(),
            ports: ports.collect(),
        }],
    }
}

fn zone() -> Zone {
    let web = service(
        "shop",
        "web",
        &[("http", Protocol::Tcp, 80), ("dns", Protocol::Udp, 53)],
    );
    let peers = Service {
        headless: true,
        ..service("shop", "peers", &[("http", Protocol::Tcp, 80)])
    };
    let bare = Service {
        headless: true,
        ..service("shop", "bare", &[])
    };
    let nobody = Service {
        headless: true,
        ..service("shop", "nobody", &[("http", Protocol::Tcp, 80)])
    };
    let of_web = behind(&[("10.213.0.2", None)], &["10.213.0.3"], &[("http", 8080)]);
    let of_peers = behind(
        &[
            ("10.213.0.5", Some("one")),
            ("10.213.0.6", None),
            ("fd00::6", None),
        ],
        &["10.213.0.7"],
        &[("http", 8080)],
    );
    let of_bare = behind(&[("10.213.0.8", None)], &[], &[]);
    let of_nobody = behind(&[], &["10.213.0.9"], &[("http", 80)]);
    let published = |service, endpoints, address| Published {
        service,
        endpoints,
        address,
    };
    Zone::new(
        [
            published(&web, &of_web, Some([127, 213, 4, 5].into())),
            published(&peers, &of_peers, None),
            published(&bare, &of_bare, None),
            published(&nobody, &of_nobody, None),
        ],
        SERVER,
        7,
    )
}

fn text(record: &Record) -> String {
    let Record { name, data } = record;
    match data {
        Data::A(ip) => format!("{name} A {ip}"),
        Data::Aaaa(ip) => format!("{name} AAAA {ip}"),
        Data::Ns(target) => format!("{name} NS {target}"),
        Data::Ptr(target) => format!("{name} PTR {target}"),
        Data::Txt(text) => format!("{name} TXT {text}"),
        Data::Srv {
            weight,
            port,
            target,
        } => format!("{name} SRV {weight} {port} {target}"),
        Data::Soa { serial, .. } => format!("{name} SOA {serial}"),
    }
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(text).collect()
}

fn ask(name: &str, kind: RecordType) -> Answer {
    zone()
        .answer(&query(name, kind))
        .unwrap_or_else(|| panic!("{name} is of the cluster"))
}

/// The answers to a question, which must be there.
fn found(name: &str, kind: RecordType) -> Vec<String> {
    let Answer { reply, .. } = ask(name, kind);
    assert!(reply.authoritative && reply.authority.is_empty());
    assert_eq!(reply.code, ResponseCode::NoError);
    // What is asked for is what the answer is about.
    let start = format!("{name} ");
    texts(&reply.answers)
        .iter()
        .map(|text| text.strip_prefix(&start).unwrap().to_owned())
        .collect()
}

fn negative(name: &str, kind: RecordType) -> ResponseCode {
    let Answer { reply, service } = ask(name, kind);
    assert_eq!((reply.answers, service), (Vec::new(), None), "{name}");
    assert_eq!(texts(&reply.authority), ["cluster.local SOA 7"]);
    reply.code
}

#[test]
fn a_service_is_found_by_name_port_and_address() {
    let web = "web.shop.svc.cluster.local";
    assert_eq!(found(web, RecordType::A), ["A 127.213.4.5"]);
    assert_eq!(found(web, RecordType::ANY), ["A 127.213.4.5"]);
    assert_eq!(
        found(&format!("_http._tcp.{web}"), RecordType::A),
        ["A 127.213.4.5"]
    );
    assert_eq!(
        found(&format!("_http._tcp.{web}"), RecordType::SRV),
        ["SRV 100 80 web.shop.svc.cluster.local"]
    );
    assert_eq!(
        found(&format!("_dns._udp.{web}"), RecordType::SRV),
        [format!("SRV 100 53 {web}")]
    );
    let Answer { reply, service } = ask(web, RecordType::SRV);
    let both = [80, 53].map(|port| format!("{web} SRV 50 {port} {web}"));
    assert_eq!(texts(&reply.answers), both);
    assert_eq!(texts(&reply.additional), [format!("{web} A 127.213.4.5")]);
    assert_eq!(service, Some(("shop".to_owned(), "web".to_owned())));
    // A pod of a Service that is not headless has a name too.
    assert_eq!(
        found(&format!("10-213-0-2.{web}"), RecordType::A),
        ["A 10.213.0.2"]
    );
    let packet = query(web, RecordType::A).write(&ask(web, RecordType::A).reply);
    assert_eq!(
        packet[packet.len() - 10..packet.len() - 6],
        [0, 0, 0, 5],
        "for five seconds"
    );
}

#[test]
fn a_headless_service_is_its_ready_pods() {
    let peers = "peers.shop.svc.cluster.local";
    assert_eq!(
        found(peers, RecordType::A),
        ["A 10.213.0.5", "A 10.213.0.6"]
    );
    assert_eq!(found(peers, RecordType::AAAA), ["AAAA fd00::6"]);
    assert_eq!(
        found(&format!("one.{peers}"), RecordType::A),
        ["A 10.213.0.5"]
    );
    assert_eq!(
        found(&format!("10-213-0-6.{peers}"), RecordType::A),
        ["A 10.213.0.6"]
    );
    assert_eq!(
        found(&format!("_http._tcp.{peers}"), RecordType::SRV),
        ["one", "10-213-0-6", "fd00--6"].map(|label| format!("SRV 33 8080 {label}.{peers}"))
    );
    let additional = texts(&ask(peers, RecordType::SRV).reply.additional);
    assert_eq!(additional[0], format!("one.{peers} A 10.213.0.5"));
    assert_eq!(additional[2], format!("fd00--6.{peers} AAAA fd00::6"));
    let bare = "bare.shop.svc.cluster.local";
    assert_eq!(found(bare, RecordType::A), ["A 10.213.0.8"]);
    assert_eq!(negative(bare, RecordType::SRV), ResponseCode::NoError);
    let nobody = "nobody.shop.svc.cluster.local";
    assert_eq!(negative(nobody, RecordType::A), ResponseCode::NameError);
    assert_eq!(
        ask(peers, RecordType::A).service,
        None,
        "pods answer for themselves"
    );
}

#[test]
fn what_is_not_there_is_told_from_what_has_nothing() {
    for (name, kind) in [
        ("cluster.local", RecordType::A),
        ("svc.cluster.local", RecordType::A),
        ("shop.svc.cluster.local", RecordType::A),
        ("web.shop.svc.cluster.local", RecordType::AAAA),
        ("web.shop.svc.cluster.local", RecordType::TXT),
        ("dns-version.cluster.local", RecordType::A),
        ("ns.dns.cluster.local", RecordType::AAAA),
    ] {
        assert_eq!(negative(name, kind), ResponseCode::NoError, "{name}");
    }
    for name in [
        "shop.cluster.local",
        "none.shop.svc.cluster.local",
        "web.other.svc.cluster.local",
        "_https._tcp.web.shop.svc.cluster.local",
        "_http._udp.web.shop.svc.cluster.local",
        "x.web.shop.svc.cluster.local",
        "a.b.c.web.shop.svc.cluster.local",
        "example.com.shop.svc.cluster.local",
    ] {
        assert_eq!(
            negative(name, RecordType::A),
            ResponseCode::NameError,
            "{name}"
        );
    }
    for name in ["example.com", "local", "cluster.local.example.com", ""] {
        assert_eq!(zone().answer(&query(name, RecordType::A)), None, "{name}");
    }
    assert_eq!(found("cluster.local", RecordType::SOA), ["SOA 7"]);
    assert_eq!(
        found("cluster.local", RecordType::NS),
        ["NS ns.dns.cluster.local"]
    );
    assert_eq!(
        found("ns.dns.cluster.local", RecordType::A),
        ["A 127.213.0.10"]
    );
    assert_eq!(
        found("dns-version.cluster.local", RecordType::TXT),
        ["TXT 1.1.0"]
    );
}

#[test]
fn a_pod_is_found_by_its_address() {
    assert_eq!(
        found("10-213-0-2.shop.pod.cluster.local", RecordType::A),
        ["A 10.213.0.2"]
    );
    assert_eq!(
        found("fd00--2.shop.pod.cluster.local", RecordType::AAAA),
        ["AAAA fd00::2"]
    );
    assert_eq!(
        negative("shop.pod.cluster.local", RecordType::A),
        ResponseCode::NoError
    );
    for name in ["web.shop.pod.cluster.local", "1-2-3.shop.pod.cluster.local"] {
        assert_eq!(
            negative(name, RecordType::A),
            ResponseCode::NameError,
            "{name}"
        );
    }
}

#[test]
fn an_address_has_the_name_of_its_service() {
    let ptr = |name| found(name, RecordType::PTR);
    assert_eq!(
        ptr("5.4.213.127.in-addr.arpa"),
        ["PTR web.shop.svc.cluster.local"]
    );
    assert_eq!(
        ptr("5.0.213.10.in-addr.arpa"),
        ["PTR one.peers.shop.svc.cluster.local"]
    );
    let six = format!("6{}.d.f.ip6.arpa", ".0".repeat(29));
    assert_eq!(ptr(&six), ["PTR fd00--6.peers.shop.svc.cluster.local"]);
    assert_eq!(
        negative("5.4.213.127.in-addr.arpa", RecordType::A),
        ResponseCode::NoError
    );
    for other in ["7.0.213.10.in-addr.arpa", "1.0.0.127.in-addr.arpa"] {
        assert_eq!(
            zone().answer(&query(other, RecordType::PTR)),
            None,
            "{other}"
        );
    }
}
