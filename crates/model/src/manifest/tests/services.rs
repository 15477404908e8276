//! Services.

use serde_json::json;

use super::*;
use crate::pod::Protocol;
use crate::probe::PortRef;
use crate::service::{Service, ServicePort};

fn service(spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n{}",
        indented(spec, 2)
    )
}

#[test]
fn a_service_is_defaulted_and_read() {
    let object = only(load_text(&service(
        "selector: {app: web}\nports: [{port: 80}]",
    )));
    assert_eq!(
        object.value["spec"],
        json!({
            "internalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            "selector": {"app": "web"},
            "sessionAffinity": "None",
            "type": "ClusterIP",
        })
    );
    let Object::Service(read) = &object.object else {
        panic!("{object:?}")
    };
    let port = |name: &str, number, target| ServicePort {
        name: name.to_owned(),
        protocol: Protocol::Tcp,
        port: number,
        target_port: target,
    };
    assert_eq!(read.ports, [port("", 80, PortRef::Number(80))]);
    assert!(!read.headless && !read.publish_not_ready_addresses);
    assert_eq!(&Service::from_value(&object.value).unwrap(), read);

    for (kind, expected) in [
        ("NodePort", json!([null, "Cluster", "Cluster"])),
        ("LoadBalancer", json!([true, "Cluster", "Cluster"])),
    ] {
        let text = service(&format!("type: {kind}\nports: [{{port: 80}}]"));
        let spec = &only(load_text(&text)).value["spec"];
        let found = [
            "allocateLoadBalancerNodePorts",
            "externalTrafficPolicy",
            "internalTrafficPolicy",
        ]
        .map(|name| spec[name].clone());
        assert_eq!(json!(found), expected);
    }

    let text = service(
        "clusterIP: None\npublishNotReadyAddresses: true\nselector: {}\n\
         ports: [{name: a, port: 80, targetPort: http}, {name: b, port: 81, protocol: UDP}]",
    );
    let Object::Service(read) = only(load_text(&text)).object else {
        panic!("{text}")
    };
    assert!(read.headless && read.publish_not_ready_addresses);
    assert_eq!(read.selector, None);
    assert_eq!(
        read.ports[0],
        port("a", 80, PortRef::Name("http".to_owned()))
    );
    assert_eq!(read.ports[1].protocol, Protocol::Udp);
}

#[test]
fn a_service_is_validated() {
    for (spec, expected) in [
        ("clusterIP: None", &[][..]),
        ("ports: []", &["spec.ports: Required value"]),
        (
            "ports: [{}]",
            &["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            "ports: [{port: 70000}]",
            &["spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive"],
        ),
        (
            "ports: [{port: '80'}]",
            &["spec.ports[0].port: expected an integer, got \"80\""],
        ),
        (
            "ports: [{port: 80}, {port: 81}]",
            &[
                "spec.ports[0].name: Required value",
                "spec.ports[1].name: Required value",
            ],
        ),
        (
            "ports: [{name: a, port: 80}, {name: a, port: 81}]",
            &["spec.ports[1].name: Duplicate value: \"a\""],
        ),
        (
            "ports: [{name: a.b, port: 80}]",
            &["spec.ports[0].name: Invalid value: \"a.b\": must not contain dots"],
        ),
        (
            "ports: [{name: a, port: 80}, {name: b, port: 80}]",
            &["spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}"],
        ),
        (
            "ports: [{name: a, port: 80}, {name: b, port: 80, protocol: UDP}]",
            &[],
        ),
        (
            "ports: [{port: 80, protocol: tcp}]",
            &[
                "spec.ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            ],
        ),
        (
            "ports: [{port: 80, targetPort: A_0}]",
            &[
                "spec.ports[0].targetPort: Invalid value: \"A_0\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                "spec.ports[0].targetPort: Invalid value: \"A_0\": must contain at least one letter (a-z)",
            ],
        ),
        (
            "ports: [{port: 80}]\nsessionAffinity: ClientIP",
            &["spec.sessionAffinity: \"ClientIP\" is not carried out yet"],
        ),
        (
            "ports: [{port: 80}]\nsessionAffinity: Foo",
            &[
                "spec.sessionAffinity: Unsupported value: \"Foo\": supported values: \"ClientIP\", \"None\"",
            ],
        ),
        (
            "type: ExternalName\nexternalName: a.b",
            &[
                "spec.externalName: not carried out yet",
                "spec.type: \"ExternalName\" is not carried out yet",
            ],
        ),
        (
            "ports: [{port: 80}]\ntype: Foo",
            &[
                "spec.type: Unsupported value: \"Foo\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
            ],
        ),
        (
            "ports: [{port: 80}]\nselector: {/a: b}",
            &["spec.selector: Invalid value: \"/a\": prefix part must be non-empty"],
        ),
        (
            "ports: [{port: 80}]\nclusterIP: None\ntype: NodePort",
            &[
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for LoadBalancer services",
            ],
        ),
        (
            "ports: [{port: 80}]\nclusterIP: None\ntype: LoadBalancer",
            &[
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for LoadBalancer services",
            ],
        ),
        (
            "ports: [{port: 80}]\nexternalIPs: [1.2.3.4]",
            &["spec.externalIPs: not carried out yet"],
        ),
        (
            "ports: [{port: 80}]\nselectors: {a: b}",
            &["unknown field \"spec.selectors\", did you mean \"selector\"?"],
        ),
    ] {
        check(&service(spec), expected);
    }
    let digit = service("ports: [{port: 80}]").replace("web", "1web");
    assert!(
        errors_of(&digit)[0].starts_with(
            "metadata.name: Invalid value: \"1web\": a DNS-1035 label must consist of"
        )
    );
}

#[test]
fn what_only_a_cluster_does_is_a_warning() {
    for (spec, expected) in [
        ("ports: [{port: 80}]\nclusterIP: ''", &[][..]),
        ("clusterIP: None", &[]),
        (
            "ports: [{port: 80}]\nclusterIP: 10.0.0.1",
            &["t:7:14: spec.clusterIP: ignored: Probelet chooses the Service's address itself"],
        ),
        (
            "ports: [{port: 80}]\ntype: LoadBalancer",
            &["t:7:9: spec.type: carried out as ClusterIP: reachable from this host only"],
        ),
        (
            "type: NodePort\nports:\n- port: 80\n  nodePort: 30080",
            &[
                "t:9:15: spec.ports[0].nodePort: ignored: no port of this host is opened to others",
                "t:6:9: spec.type: carried out as ClusterIP: reachable from this host only",
            ],
        ),
    ] {
        let warnings: Vec<String> = load_text(&service(spec))
            .unwrap()
            .warnings
            .iter()
            .map(Diagnostic::to_string)
            .collect();
        assert_eq!(warnings, expected, "{spec}");
    }
}
