//! Rows F: which pods a Service sends traffic to.

use probelet_engine::endpoints::{Candidate, endpoints, slice_conditions, slices};
use probelet_model::pod::RestartPolicy::Never;
use probelet_model::pod::{ContainerPort, Protocol};
use probelet_model::probe::PortRef;
use probelet_model::service::{
    EndpointPort, EndpointSubset, Service, ServicePort, SliceConditions,
};
use probelet_model::status::{Condition, ConditionKind, Phase, PodStatus};

use crate::rig::plan::{ContainerPlan, container, every, init, pod, secs, service, sidecar};
use crate::rig::{Rig, WALL};

/// A pod `p` behind a Service `web`, ready or not, that takes no notice of TERM.
fn served(script: &str) -> Rig {
    let mut rig = Rig::new();
    rig.serve(service("web", "p"));
    rig.apply(pod("p").with(slow_to_end(script)));
    rig.run_until(1.0);
    rig
}

fn slow_to_end(script: &str) -> ContainerPlan {
    container("c")
        .readiness(every(10.0).failures(1), script)
        .ignores_term()
}

fn addresses<const N: usize, const M: usize>(
    ready: [&str; N],
    not_ready: [&str; M],
) -> (Vec<String>, Vec<String>) {
    (
        ready.map(str::to_owned).into(),
        not_ready.map(str::to_owned).into(),
    )
}

/// What an EndpointSlice would say of the pod.
fn slice(rig: &Rig, service: &Service, terminating: bool) -> Option<SliceConditions> {
    let (pod, status) = (rig.pod("p"), rig.status("p"));
    let candidate = Candidate {
        pod: &pod,
        status: &status,
        terminating,
    };
    slice_conditions(service, candidate)
}

fn conditions(ready: bool, serving: bool, terminating: bool) -> Option<SliceConditions> {
    Some(SliceConditions {
        ready,
        serving,
        terminating,
    })
}

#[test]
fn f1_ready() {
    let rig = served("s");
    assert_eq!(rig.addresses("web"), addresses(["10.0.0.1"], []));
    assert_eq!(
        slice(&rig, &service("web", "p"), false),
        conditions(true, true, false)
    );
}

#[test]
fn f2_not_ready() {
    let rig = served("f");
    assert_eq!(rig.addresses("web"), addresses([], ["10.0.0.1"]));
    assert_eq!(
        slice(&rig, &service("web", "p"), false),
        conditions(false, false, false)
    );
}

#[test]
fn f4_terminating_and_ready() {
    let mut rig = served("s");
    rig.delete("p", 30.0);
    assert!(rig.status("p").is_ready());
    assert_eq!(rig.addresses("web"), addresses([], []));
    assert_eq!(
        slice(&rig, &service("web", "p"), true),
        conditions(false, true, true)
    );
}

#[test]
fn f5_terminating_and_not_ready() {
    let mut rig = served("f");
    rig.delete("p", 30.0);
    assert_eq!(rig.addresses("web"), addresses([], []));
    assert_eq!(
        slice(&rig, &service("web", "p"), true),
        conditions(false, false, true)
    );
}

#[test]
fn pods_that_terminate_stay_in_the_slices_and_pods_with_other_ports_have_their_own() {
    let status = |last: u8| PodStatus {
        phase: Phase::Running,
        pod_ip: Some([10, 0, 0, last].into()),
        ..PodStatus::default()
    };
    let named = Service {
        ports: vec![ServicePort {
            name: String::new(),
            port: 80,
            protocol: Protocol::Tcp,
            target_port: PortRef::Name("http".to_owned()),
        }],
        ..service("web", "p")
    };
    let with_port = |number: Option<u16>| {
        let mut pod = pod("p").with(container("c")).pod;
        pod.containers[0].ports = number
            .map(|number| ContainerPort {
                name: Some("http".to_owned()),
                number,
                protocol: Protocol::Tcp,
                host_port: None,
                host_ip: None,
            })
            .into_iter()
            .collect();
        pod
    };
    let pods = [
        (with_port(Some(8080)), status(3), false),
        (with_port(Some(8080)), status(2), true),
        (with_port(Some(9090)), status(1), false),
        (with_port(None), status(4), false),
    ];
    let candidates = pods.iter().map(|(pod, status, terminating)| Candidate {
        pod,
        status,
        terminating: *terminating,
    });
    let made = slices(&named, "node", candidates.clone());
    let told: Vec<(Vec<_>, Vec<_>)> = made
        .iter()
        .map(|slice| {
            let ports = slice.ports.iter().map(|port| port.port).collect();
            let endpoints = slice.endpoints.iter().map(|endpoint| {
                let ip = endpoint.address.ip.to_string();
                (ip, endpoint.conditions.terminating)
            });
            (ports, endpoints.collect())
        })
        .collect();
    let at = |last: u8, terminating| (format!("10.0.0.{last}"), terminating);
    assert_eq!(
        told,
        [
            (vec![], vec![at(4, false)]),
            (vec![8080], vec![at(2, true), at(3, false)]),
            (vec![9090], vec![at(1, false)]),
        ]
    );
    let without_selector = Service {
        selector: None,
        ..named
    };
    assert!(slices(&without_selector, "node", candidates).is_empty());
}

#[test]
fn publish_not_ready_addresses_publishes_all_but_the_dead() {
    let published = Service {
        publish_not_ready_addresses: true,
        ..service("web", "p")
    };
    let mut rig = Rig::new();
    rig.serve(published.clone());
    rig.apply(pod("p").with(slow_to_end("f")));
    rig.run_until(1.0);
    assert_eq!(rig.addresses("web"), addresses(["10.0.0.1"], []));
    assert_eq!(
        slice(&rig, &published, false),
        conditions(true, false, false)
    );
    rig.delete("p", 30.0);
    assert_eq!(rig.addresses("web"), addresses(["10.0.0.1"], []));
    assert_eq!(slice(&rig, &published, true), conditions(true, false, true));
    rig.run_until(60.0);
    assert_eq!(rig.addresses("web"), addresses([], []));
}

#[test]
fn f7_failed_with_a_stale_ready() {
    let ready = Condition {
        kind: ConditionKind::Ready,
        status: true,
        reason: None,
        message: None,
        last_transition_time: WALL,
        observed_generation: None,
    };
    let status = PodStatus {
        phase: Phase::Failed,
        conditions: vec![ready],
        pod_ip: Some([10, 0, 0, 1].into()),
        ..PodStatus::default()
    };
    let pod = pod("p").with(container("c")).pod;
    let candidate = Candidate {
        pod: &pod,
        status: &status,
        terminating: false,
    };
    let service = service("web", "p");
    assert_eq!(slice_conditions(&service, candidate), None);
    let made = endpoints(&service, "node", [candidate].into_iter()).unwrap();
    assert!(made.subsets.is_empty());
}

#[test]
fn f7_a_pod_that_fails_leaves() {
    let mut rig = Rig::new();
    rig.serve(service("web", "p"));
    rig.apply(pod("p").policy(Never).with(container("c").exits(5.0, 1)));
    rig.run_until(3.0);
    assert_eq!(rig.addresses("web"), addresses(["10.0.0.1"], []));
    rig.run_until(8.0);
    assert_eq!(rig.addresses("web"), addresses([], []));
}

#[test]
fn f8_no_pod_ip() {
    let mut rig = Rig::new();
    rig.serve(service("web", "p"));
    rig.apply(pod("p").sandbox_takes(5.0).with(container("c")));
    rig.run_until(1.0);
    assert_eq!(rig.endpoints("web").len(), 1, "only the first, empty ones");
    assert_eq!(rig.addresses("web"), addresses([], []));
    assert_eq!(slice(&rig, &service("web", "p"), false), None);
}

#[test]
fn f10_a_named_port_that_the_pod_has_not() {
    let named = |name: &str, port: &str| ServicePort {
        name: name.to_owned(),
        port: 80,
        target_port: PortRef::Name(port.to_owned()),
        ..service("web", "p").ports.remove(0)
    };
    let only = Service {
        ports: vec![named("http", "http")],
        ..service("only", "p")
    };
    let both = Service {
        ports: vec![named("http", "http"), named("admin", "admin")],
        ..service("both", "p")
    };
    let mut rig = Rig::new();
    rig.serve(only);
    rig.serve(both);
    rig.apply(pod("p").with(container("c").port("admin", 9000)));
    rig.run_until(1.0);
    assert_eq!(rig.addresses("only"), addresses([], []));
    assert_eq!(rig.addresses("both"), addresses(["10.0.0.1"], []));
    let (_, change) = rig.endpoints("both").pop().unwrap();
    let ports: Vec<&EndpointPort> = change
        .endpoints
        .subsets
        .iter()
        .flat_map(|subset| &subset.ports)
        .collect();
    assert_eq!(ports.len(), 1);
    assert_eq!((ports[0].name.as_str(), ports[0].port), ("admin", 9000));
}

#[test]
fn ports_that_the_same_addresses_serve_share_a_subset() {
    let mut both = service("both", "w");
    let admin = ServicePort {
        name: "admin".to_owned(),
        target_port: PortRef::Name("admin".to_owned()),
        ..both.ports[0].clone()
    };
    both.ports.push(admin);
    both.ports[0].name = "http".to_owned();
    let mut rig = Rig::new();
    rig.serve(both);
    let ports_of_subsets = |rig: &Rig| -> Vec<Vec<u16>> {
        let (_, change) = rig.endpoints("both").pop().unwrap();
        let ports = |subset: &EndpointSubset| subset.ports.iter().map(|port| port.port).collect();
        change.endpoints.subsets.iter().map(ports).collect()
    };
    rig.apply(
        pod("p1")
            .label("app", "w")
            .with(container("c").port("admin", 9000)),
    );
    rig.run_until(1.0);
    assert_eq!(ports_of_subsets(&rig), [[9000, 8080]]);
    rig.apply(pod("p2").label("app", "w").with(container("d")));
    rig.run_until(2.0);
    assert_eq!(ports_of_subsets(&rig), [[9000], [8080]]);
}

#[test]
fn f11_a_ready_and_an_unready_pod_share_a_subset() {
    let mut rig = Rig::new();
    rig.serve(service("web", "w"));
    let plan = |name: &str, script: &str| {
        let web = container(name).readiness(every(10.0), script);
        pod(name).label("app", "w").with(web)
    };
    rig.apply(plan("p2", "f"));
    rig.apply(plan("p1", "s"));
    rig.run_until(1.0);
    let (_, change) = rig.endpoints("web").pop().unwrap();
    let [
        EndpointSubset {
            addresses,
            not_ready_addresses,
            ports,
        },
    ] = &change.endpoints.subsets[..]
    else {
        panic!("one subset: {:?}", change.endpoints);
    };
    assert_eq!(ports[0].port, 8080);
    assert_eq!(addresses[0].ip.to_string(), "10.0.0.2");
    assert_eq!(addresses[0].target_ref.name, "p1");
    assert_eq!(addresses[0].node_name, "node");
    assert_eq!(not_ready_addresses[0].ip.to_string(), "10.0.0.1");
    assert_eq!((addresses.len(), not_ready_addresses.len()), (1, 1));
}

#[test]
fn f12_the_last_pod_goes_away() {
    let mut rig = served("s");
    rig.delete("p", 2.0);
    rig.run_until(10.0);
    assert_eq!(rig.ended().len(), 1);
    let (_, change) = rig.endpoints("web").pop().unwrap();
    assert!(change.endpoints.subsets.is_empty());
}

#[test]
fn f13_the_trigger_time_is_when_ready_changed() {
    let mut rig = Rig::new();
    rig.step_wall(12 * 3600);
    rig.serve(service("web", "p"));
    let late = container("c").readiness(every(5.0), "fs").start_takes(0.0);
    rig.apply(pod("p").with(late));
    rig.run_until(6.0);
    let changes = rig.endpoints("web");
    let times: Vec<_> = changes
        .iter()
        .map(|(at, change)| (*at, change.trigger_time))
        .collect();
    let noon = WALL + secs(12.0 * 3600.0);
    let flip = Some(noon + secs(5.0));
    // First the Service's own time; then the pod's address, which no change of Ready has brought.
    assert_eq!(times, [(0.0, Some(WALL)), (0.0, None), (5.0, flip)]);
}

#[test]
fn f14_a_change_of_annotations_alone_writes_nothing() {
    let mut rig = served("s");
    let before = rig.endpoints("web").len();
    let mut annotated = rig.pod("p");
    annotated
        .meta
        .annotations
        .insert("note".to_owned(), "x".to_owned());
    rig.apply_again(annotated);
    rig.run_until(9.0);
    assert_eq!(rig.endpoints("web").len(), before);
}

#[test]
fn f15_a_service_without_selector_is_left_alone() {
    let mut rig = Rig::new();
    rig.serve(Service {
        selector: None,
        ..service("web", "p")
    });
    rig.apply(pod("p").with(container("c")));
    rig.run_until(5.0);
    assert!(rig.endpoints("web").is_empty());
}

#[test]
fn a_change_of_labels_moves_the_pod_from_one_service_to_the_other() {
    let mut rig = served("s");
    rig.serve(service("api", "q"));
    assert_eq!(rig.addresses("api"), addresses([], []));
    let mut relabelled = rig.pod("p");
    relabelled
        .meta
        .labels
        .insert("app".to_owned(), "q".to_owned());
    rig.apply_again(relabelled);
    assert_eq!(rig.addresses("web"), addresses([], []));
    assert_eq!(rig.addresses("api"), addresses(["10.0.0.1"], []));
    let (_, change) = rig.endpoints("api").pop().unwrap();
    assert_eq!(
        change.trigger_time, None,
        "no change of Ready has brought it"
    );
}

#[test]
fn a_service_that_changes_gets_other_endpoints() {
    let mut rig = served("s");
    let mut moved = service("web", "p");
    moved.ports[0].target_port = PortRef::Number(9090);
    rig.serve(moved);
    let (_, change) = rig.endpoints("web").pop().unwrap();
    assert_eq!(change.endpoints.subsets[0].ports[0].port, 9090);
    let before = rig.endpoints("web").len();
    rig.run_until(20.0);
    assert_eq!(rig.endpoints("web").len(), before);
}

#[test]
fn a_headless_service_without_ports_lists_addresses_alone() {
    let headless = Service {
        ports: Vec::new(),
        headless: true,
        ..service("web", "p")
    };
    let rig = served("s");
    let (pod, status) = (rig.pod("p"), rig.status("p"));
    let candidate = Candidate {
        pod: &pod,
        status: &status,
        terminating: false,
    };
    let made = endpoints(&headless, "node", [candidate].into_iter()).unwrap();
    assert_eq!(made.subsets.len(), 1);
    assert!(made.subsets[0].ports.is_empty());
    assert_eq!(made.subsets[0].addresses.len(), 1);
}

#[test]
fn only_a_headless_service_without_ports_lists_addresses_without_them() {
    let rig = served("s");
    let (pod, status) = (rig.pod("p"), rig.status("p"));
    let made = |service: &Service| {
        let candidate = Candidate {
            pod: &pod,
            status: &status,
            terminating: false,
        };
        endpoints(service, "node", [candidate].into_iter()).unwrap()
    };
    let headless = Service {
        headless: true,
        ..service("web", "p")
    };
    let subsets = made(&headless).subsets;
    assert_eq!(subsets.len(), 1);
    assert_eq!(
        subsets[0].ports.len(),
        1,
        "a headless Service with a port has it"
    );
    let portless = Service {
        ports: Vec::new(),
        ..service("web", "p")
    };
    assert!(made(&portless).subsets.is_empty());
}

#[test]
fn an_address_has_a_host_name_where_the_pods_subdomain_is_the_service() {
    for (subdomain, expected) in [
        (Some("web"), Some("p")),
        (Some("other"), None),
        (None, None),
    ] {
        let mut plan = pod("p").with(container("c"));
        plan.pod.subdomain = subdomain.map(str::to_owned);
        let mut rig = Rig::of(plan);
        rig.run_until(1.0);
        let (pod, status) = (rig.pod("p"), rig.status("p"));
        let candidate = Candidate {
            pod: &pod,
            status: &status,
            terminating: false,
        };
        let made = endpoints(&service("web", "p"), "node", [candidate].into_iter()).unwrap();
        let address = &made.subsets[0].addresses[0];
        assert_eq!(address.hostname.as_deref(), expected, "{subdomain:?}");
    }
}

#[test]
fn a_named_port_may_be_a_sidecars() {
    let plan = pod("p")
        .init(sidecar("s").port("admin", 9000))
        .init(init("i", 1.0).port("never", 9001))
        .with(container("c"));
    let mut rig = Rig::of(plan);
    for port in ["admin", "never"] {
        let mut named = service(port, "p");
        named.ports[0].target_port = PortRef::Name(port.to_owned());
        rig.serve(named);
    }
    rig.run_until(5.0);
    assert_eq!(rig.addresses("admin").0, ["10.0.0.1"]);
    let (_, change) = rig.endpoints("admin").pop().unwrap();
    assert_eq!(change.endpoints.subsets[0].ports[0].port, 9000);
    assert_eq!(rig.addresses("never").0.len(), 0);
}
