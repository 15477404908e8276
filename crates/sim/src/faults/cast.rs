//! Who is on the node: pods with what their containers do, and Services.
//!
//! Whatever a container does in its first runs, the last one is well: it starts, answers its probes and
//! runs on (an init container ends well). So a node that is left alone comes to rest.

mod runs;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use probelet_model::id::{ContainerName, PodUid};
use probelet_model::pod::{
    Container, ContainerPort, Hook, Meta, Pod, Protocol, PullPolicy, RestartPolicy, RestartRule,
    TerminationMessage, User,
};
use probelet_model::probe::{Handler, PortRef, Probe, ProbeKind, Scheme};
use probelet_model::resources::Resources;
use probelet_model::service::{Service, ServicePort};
use probelet_model::time::Wall;

use self::runs::{bad_run, on_term};
use super::chance::Chance;
use crate::script::{ContainerScript, OwnExit, PodScript, Run};

/// The labels by which Services choose: `app` is one of these.
pub(super) const APPS: [&str; 2] = ["x", "y"];
/// What readiness gates ask for.
pub(super) const GATE: &str = "example.com/gate";
const PORT: u16 = 8080;

/// A pod with its address and its script.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) pod: Pod,
    pub(super) ip: IpAddr,
    pub(super) script: PodScript,
}

/// All pods and Services that there may be.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    pub(super) pods: Vec<Part>,
    pub(super) services: Vec<Arc<Service>>,
}

impl Cast {
    pub(super) fn draw(chance: &mut Chance, most_pods: usize) -> Self {
        let pods = 1 + chance.index(most_pods);
        Self {
            pods: (0..pods).map(|index| part(chance, index)).collect(),
            services: APPS.iter().map(|app| Arc::new(service(app))).collect(),
        }
    }
}

/// A pod in a few lines, for who reads what a seed has broken.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pod = &self.pod;
        write!(
            f,
            "{}: restartPolicy {:?}, grace {:?}",
            pod.meta.name, pod.restart_policy, pod.termination_grace_period
        )?;
        if let Some(deadline) = pod.active_deadline {
            write!(f, ", active deadline {deadline:?}")?;
        }
        if !pod.readiness_gates.is_empty() {
            write!(f, ", with a readiness gate")?;
        }
        for spec in pod.all_containers() {
            write!(f, "\n  {}", spec.name)?;
            if let Some(policy) = spec.restart_policy {
                write!(f, ", restartPolicy {policy:?}")?;
            }
            for rule in &spec.restart_rules {
                let word = if rule.listed { "in" } else { "not in" };
                write!(f, ", restarts if {word} {:?}", rule.codes)?;
            }
            for (moment, hook) in [("postStart", &spec.post_start), ("preStop", &spec.pre_stop)] {
                match hook {
                    Some(Hook::Sleep(duration)) => write!(f, ", {moment} sleeps {duration:?}")?,
                    Some(Hook::Handler(_)) => write!(f, ", {moment}")?,
                    None => {}
                }
            }
            for kind in ProbeKind::ALL {
                if let Some(probe) = spec.probe(kind) {
                    let (handler, grace) = (probe.handler.field(), probe.termination_grace_period);
                    write!(
                        f,
                        "\n    {kind} {handler}: delay {:?}, period {:?}, timeout {:?}, {} and {}, grace {grace:?}",
                        probe.initial_delay,
                        probe.period,
                        probe.timeout,
                        probe.success_threshold,
                        probe.failure_threshold,
                    )?;
                }
            }
            for run in self
                .script
                .get(&spec.name)
                .iter()
                .flat_map(|script| &script.runs)
            {
                write!(f, "\n    {run:?}")?;
            }
        }
        Ok(())
    }
}

fn part(chance: &mut Chance, index: usize) -> Part {
    let name = format!("pod-{index}");
    let mut script = PodScript::new();
    let mut init_containers = Vec::new();
    for nth in 0..chance.pick(&[0, 0, 0, 1, 2]) {
        let (spec, does) = init_container(chance, &format!("init-{nth}"));
        script.insert(spec.name.clone(), Arc::new(does));
        init_containers.push(spec);
    }
    let mut containers = Vec::new();
    for nth in 0..1 + chance.index(2) {
        let (spec, does) = regular_container(chance, &format!("main-{nth}"));
        script.insert(spec.name.clone(), Arc::new(does));
        containers.push(spec);
    }
    let last = u8::try_from(index + 1).expect("few pods");
    let meta = Meta {
        namespace: "default".to_owned(),
        labels: [("app".to_owned(), chance.pick(&APPS).to_owned())].into(),
        generation: 1,
        ..Meta::default()
    };
    let pod = Pod {
        uid: PodUid::from(format!("uid-{name}")),
        meta: Meta {
            name: name.clone(),
            ..meta
        },
        init_containers,
        containers,
        volumes: Vec::new(),
        restart_policy: chance.pick(&[
            RestartPolicy::Always,
            RestartPolicy::Always,
            RestartPolicy::Always,
            RestartPolicy::OnFailure,
            RestartPolicy::Never,
        ]),
        termination_grace_period: Duration::from_secs(chance.below(12)),
        active_deadline: chance.maybe(6, |chance| Duration::from_secs(20 + chance.below(120))),
        readiness_gates: chance.maybe(15, |_| GATE.to_owned()).into_iter().collect(),
        foreign_conditions: Vec::new(),
        host_network: false,
        hostname: name,
        subdomain: None,
        service_account: "default".to_owned(),
        enable_service_links: true,
        on_host: chance.percent(40),
        namespaces: probelet_model::security::Namespaces::default(),
        security: probelet_model::security::PodSecurity::default(),
        dns: probelet_model::pod::Dns::default(),
        host_aliases: Vec::new(),
        image_pull_secrets: Vec::new(),
        deletion: None,
    };
    Part {
        pod,
        ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)),
        script,
    }
}

fn container(name: &str) -> Container {
    Container {
        name: ContainerName::from(name),
        image: "example/app".to_owned(),
        pull_policy: PullPolicy::default(),
        command: vec!["app".to_owned()],
        args: Vec::new(),
        security: probelet_model::security::Security::default(),
        working_dir: None,
        env: Vec::new(),
        env_from: Vec::new(),
        stdin: false,
        stdin_once: false,
        tty: false,
        ports: vec![ContainerPort {
            name: None,
            number: PORT,
            protocol: Protocol::Tcp,
            host_port: None,
            host_ip: None,
        }],
        volume_mounts: Vec::new(),
        user: User::default(),
        startup: None,
        readiness: None,
        liveness: None,
        post_start: None,
        pre_stop: None,
        stop_signal: None,
        restart_policy: None,
        restart_rules: Vec::new(),
        termination_message: TerminationMessage::default(),
        resources: Resources::default(),
    }
}

/// An ordinary init container, or a sidecar.
fn init_container(chance: &mut Chance, name: &str) -> (Container, ContainerScript) {
    if chance.percent(50) {
        let (spec, script) = regular_container(chance, name);
        let spec = Container {
            restart_policy: Some(RestartPolicy::Always),
            restart_rules: Vec::new(),
            ..spec
        };
        return (spec, script);
    }
    let mut ends = |code| Run {
        start_after: chance.half_seconds(4),
        exit: Some(OwnExit {
            at: chance.half_seconds(12),
            code,
            out_of_memory: false,
        }),
        ..Run::default()
    };
    let failing = [ends(1), ends(2)];
    let last = ends(0);
    let failures = chance.index(3);
    let runs = failing.into_iter().take(failures).chain([last]).collect();
    let script = ContainerScript {
        runs,
        ..ContainerScript::default()
    };
    (container(name), script)
}

fn regular_container(chance: &mut Chance, name: &str) -> (Container, ContainerScript) {
    let mut spec = container(name);
    spec.pull_policy = chance.pick(&[PullPolicy::IfNotPresent, PullPolicy::Always]);
    spec.startup = chance.maybe(35, |chance| probe(chance, ProbeKind::Startup));
    spec.readiness = chance.maybe(60, |chance| probe(chance, ProbeKind::Readiness));
    spec.liveness = chance.maybe(60, |chance| probe(chance, ProbeKind::Liveness));
    spec.post_start = chance.maybe(12, hook);
    spec.pre_stop = chance.maybe(20, hook);
    if chance.percent(10) {
        spec.restart_policy = Some(chance.pick(&[RestartPolicy::OnFailure, RestartPolicy::Never]));
        spec.restart_rules = (0..chance.index(3))
            .map(|_| RestartRule {
                listed: chance.percent(50),
                codes: vec![chance.pick(&[0, 1, 137])],
            })
            .collect();
    }
    let mut runs: Vec<Run> = (0..chance.index(4)).map(|_| bad_run(chance)).collect();
    runs.push(Run {
        start_after: chance.half_seconds(6),
        on_term: on_term(chance),
        ..Run::default()
    });
    let script = ContainerScript {
        runs,
        ..ContainerScript::default()
    };
    (spec, script)
}

fn probe(chance: &mut Chance, kind: ProbeKind) -> Probe {
    let port = PortRef::Number(PORT);
    let handlers = [
        Handler::Exec {
            command: vec!["check".to_owned()],
        },
        Handler::HttpGet {
            host: None,
            port: port.clone(),
            path: "/".to_owned(),
            scheme: Scheme::Http,
            headers: Vec::new(),
        },
        Handler::TcpSocket { host: None, port },
        Handler::Grpc {
            port: PORT,
            service: String::new(),
        },
    ];
    Probe {
        handler: chance.pick(&handlers),
        initial_delay: Duration::from_secs(chance.below(6)),
        period: Duration::from_secs(1 + chance.below(10)),
        timeout: Duration::from_millis(500 * (1 + chance.below(6))),
        success_threshold: if kind == ProbeKind::Readiness {
            1 + chance.small(3)
        } else {
            1
        },
        failure_threshold: 1 + chance.small(4),
        termination_grace_period: chance
            .maybe(20, |chance| Duration::from_secs(1 + chance.below(8)))
            .filter(|_| kind != ProbeKind::Readiness),
    }
}

fn hook(chance: &mut Chance) -> Hook {
    if chance.percent(30) {
        return Hook::Sleep(Duration::from_secs(chance.below(6)));
    }
    Hook::Handler(Handler::Exec {
        command: vec!["hook".to_owned()],
    })
}

fn service(app: &str) -> Service {
    Service {
        uid: format!("uid-service-{app}"),
        meta: Meta {
            name: format!("service-{app}"),
            namespace: "default".to_owned(),
            created_at: Wall(0),
            ..Meta::default()
        },
        selector: Some([("app".to_owned(), app.to_owned())].into()),
        ports: vec![ServicePort {
            name: String::new(),
            protocol: Protocol::Tcp,
            port: 80,
            target_port: PortRef::Number(PORT),
        }],
        publish_not_ready_addresses: false,
        headless: false,
    }
}
