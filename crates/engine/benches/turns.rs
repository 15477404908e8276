//! What the engine itself costs: one attempt from Wake to its counted answer, one flip of Ready behind a
//! Service, and the memory of a scheduled probe.
//!
//! `cargo bench -p probelet-engine` prints the figures; nothing is compared with anything.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use probelet_engine::effect::Effect;
use probelet_engine::input::{AttemptId, Input, Origin};
use probelet_engine::{BackOffLimits, Config, Engine};
use probelet_model::id::PodUid;
use probelet_model::pod::{Container, Meta, Pod, RestartPolicy, TerminationMessage, User};
use probelet_model::probe::{Handler, Outcome, OutcomeStatus, PortRef, Probe};
use probelet_model::resources::Resources;
use probelet_model::service::{Service, ServicePort};
use probelet_model::time::{Mono, Now, Wall};

const SECOND: Duration = Duration::from_secs(1);

fn main() {
    // First, while no freed memory can hide what is taken.
    let bare = resident_after(|| Node::new(5_000, 0, OutcomeStatus::Success));
    let probed = resident_after(|| Node::new(5_000, 2, OutcomeStatus::Success));
    let bytes = probed.saturating_sub(bare) / 10_000;
    println!(
        "{bytes} bytes resident for a probe, its spec included ({} for a pod)",
        bare / 5_000
    );
    for (pods, probes) in [(100, 1), (100, 2), (5_000, 2)] {
        let mut node = Node::new(pods, probes, OutcomeStatus::Success);
        let (attempts, took) = node.seconds(20);
        let each = took.as_nanos() / u128::from(attempts.max(1));
        println!("{pods} pods, {probes} probes each: {each} ns an attempt ({attempts} attempts)");
    }
    for pods in [100, 1_000] {
        let mut node = Node::new(pods, 2, OutcomeStatus::Success);
        node.seconds(2);
        let (flips, took) = node.flip_all();
        let each = took.as_nanos() / u128::from(flips);
        println!(
            "{pods} pods behind a Service: {each} ns a flip of Ready, with status and endpoints"
        );
    }
}

/// An engine whose pods all run.
struct Node {
    engine: Engine,
    now: Now,
    answer: OutcomeStatus,
    attempts: u64,
    under_way: Vec<(PodUid, AttemptId)>,
}

impl Node {
    fn new(pods: usize, probes: usize, answer: OutcomeStatus) -> Self {
        let now = Now {
            mono: Mono(1_000_000_000_000),
            wall: Wall(1_767_225_600_000_000_000),
        };
        let config = Config {
            node_name: "node".to_owned(),
            host_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            seed: 1,
            back_off: BackOffLimits::default(),
        };
        let engine = Engine::new(config, now);
        let mut node = Self {
            engine,
            now,
            answer,
            attempts: 0,
            under_way: Vec::new(),
        };
        for index in 0..pods {
            let pod = Arc::new(pod(index, probes));
            node.tell(Input::PodApplied {
                pod,
                origin: Origin::New,
            });
        }
        // One that selects a hundredth of the pods, so that endpoints stay small, as they mostly are.
        node.tell(Input::ServiceApplied {
            service: Arc::new(service()),
        });
        node
    }

    /// Hands in one input, and carries out at once what follows from it, and from that.
    fn tell(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        while let Some(effect) = self.engine.next_effect() {
            let answer = match effect {
                Effect::StartPod { operation, pod } => Input::PodStarted {
                    pod: pod.uid.clone(),
                    operation,
                    result: Ok(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)).into()),
                },
                Effect::StartContainer { operation, pod, .. } => Input::ContainerStarted {
                    pod: pod.uid.clone(),
                    operation,
                    result: Ok(self.now.wall),
                },
                Effect::StartAttempt { attempt, pod, .. } => {
                    self.under_way.push((pod.uid.clone(), attempt));
                    continue;
                }
                other => {
                    black_box(other);
                    continue;
                }
            };
            self.engine.handle(self.now, answer);
        }
    }

    fn answer_all(&mut self) {
        for (pod, attempt) in std::mem::take(&mut self.under_way) {
            self.attempts += 1;
            let outcome = Outcome {
                status: self.answer,
                output: String::new(),
                code: None,
            };
            let duration = Duration::from_millis(1);
            self.tell(Input::AttemptFinished {
                pod,
                attempt,
                result: Ok(outcome),
                duration,
            });
        }
    }

    /// Lets so many seconds pass; how many attempts that were, and how long it took.
    fn seconds(&mut self, seconds: u32) -> (u64, Duration) {
        self.answer_all();
        let (before, begin) = (self.attempts, clock());
        for _ in 0..seconds {
            self.now.mono = self.now.mono + SECOND;
            self.now.wall = self.now.wall + SECOND;
            self.tell(Input::Wake);
            self.answer_all();
        }
        (self.attempts - before, clock().duration_since(begin))
    }

    /// Lets every readiness probe fail once and for all.
    fn flip_all(&mut self) -> (u64, Duration) {
        self.answer = OutcomeStatus::Failure;
        let (_, took) = self.seconds(1);
        let pods = self.engine.pods().count();
        (u64::try_from(pods).unwrap_or(u64::MAX), took)
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn clock() -> Instant {
    Instant::now()
}

fn pod(index: usize, probes: usize) -> Pod {
    let probe = Probe {
        handler: Handler::TcpSocket {
            host: None,
            port: PortRef::Number(8080),
        },
        initial_delay: Duration::ZERO,
        period: SECOND,
        timeout: SECOND,
        success_threshold: 1,
        failure_threshold: 1_000,
        termination_grace_period: None,
    };
    let container = Container {
        name: "c".into(),
        image: String::new(),
        pull_policy: probelet_model::pod::PullPolicy::default(),
        command: vec!["/app".to_owned()],
        args: Vec::new(),
        security: probelet_model::security::Security::default(),
        working_dir: None,
        env: Vec::new(),
        env_from: Vec::new(),
        stdin: false,
        stdin_once: false,
        tty: false,
        ports: Vec::new(),
        volume_mounts: Vec::new(),
        user: User::default(),
        startup: None,
        readiness: (probes > 0).then(|| Probe {
            failure_threshold: 1,
            ..probe.clone()
        }),
        liveness: (probes > 1).then_some(probe),
        post_start: None,
        pre_stop: None,
        stop_signal: None,
        restart_policy: None,
        restart_rules: Vec::new(),
        termination_message: TerminationMessage::default(),
        resources: Resources::default(),
    };
    Pod {
        uid: PodUid::from(format!("uid-{index}")),
        meta: Meta {
            name: format!("pod-{index}"),
            namespace: "default".to_owned(),
            labels: [("app".to_owned(), format!("app-{}", index % 100))].into(),
            ..Meta::default()
        },
        containers: vec![container],
        volumes: Vec::new(),
        restart_policy: RestartPolicy::Always,
        termination_grace_period: Duration::from_secs(30),
        active_deadline: None,
        readiness_gates: Vec::new(),
        foreign_conditions: Vec::new(),
        init_containers: Vec::new(),
        host_network: false,
        hostname: format!("pod-{index}"),
        subdomain: None,
        service_account: "default".to_owned(),
        enable_service_links: true,
        on_host: true,
        namespaces: probelet_model::security::Namespaces::default(),
        security: probelet_model::security::PodSecurity::default(),
        dns: probelet_model::pod::Dns::default(),
        host_aliases: Vec::new(),
        image_pull_secrets: Vec::new(),
        deletion: None,
    }
}

fn service() -> Service {
    let port = ServicePort {
        name: String::new(),
        protocol: probelet_model::pod::Protocol::Tcp,
        port: 80,
        target_port: PortRef::Number(8080),
    };
    Service {
        uid: "uid-web".to_owned(),
        meta: Meta {
            name: "web".to_owned(),
            namespace: "default".to_owned(),
            ..Meta::default()
        },
        selector: Some([("app".to_owned(), "app-1".to_owned())].into()),
        ports: vec![port],
        publish_not_ready_addresses: false,
        headless: false,
    }
}

/// How much resident memory making something took, in bytes; what was made is leaked.
fn resident_after<T>(make: impl FnOnce() -> T) -> u64 {
    let before = resident();
    let made = Box::new(make());
    let after = resident();
    Box::leak(made);
    after.saturating_sub(before)
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
