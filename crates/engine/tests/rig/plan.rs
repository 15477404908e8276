//! Short ways to say what a pod is, and how its containers and their probes behave.

use std::collections::BTreeMap;
use std::time::Duration;

use probelet_model::id::PodUid;
use probelet_model::pod::{
    Container, ContainerPort, Hook, Meta, Pod, Protocol, PullPolicy, RestartPolicy, RestartRule,
    TerminationMessage, User,
};
use probelet_model::probe::{Handler, PortRef, Probe, ProbeKind};
use probelet_model::resources::Resources;
use probelet_model::service::{Service, ServicePort};

/// Seconds, whole or not.
pub(crate) fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A pod and how it behaves.
#[derive(Clone, Debug)]
pub(crate) struct PodPlan {
    pub(crate) pod: Pod,
    /// Of whatever sort.
    pub(crate) containers: Vec<ContainerPlan>,
    /// How the first makings of its sandbox fail; the ones after go well.
    pub(crate) sandbox_failures: Vec<SandboxFailure>,
    /// How long making the sandbox takes.
    pub(crate) sandbox_takes: Duration,
    /// How often its removal fails first.
    pub(crate) removal_failures: u32,
}

/// How the making of a sandbox fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SandboxFailure {
    Volume,
    Other,
}

/// A container and how it behaves.
#[derive(Clone, Debug)]
pub(crate) struct ContainerPlan {
    pub(crate) spec: Container,
    /// One for each run, the last for all that follow.
    pub(crate) lives: Vec<Life>,
    pub(crate) scripts: BTreeMap<ProbeKind, Script>,
    /// What the preStop hook does.
    pub(crate) hook: HookPlan,
    /// What the postStart hooks do: one for each run, the last for all that follow.
    pub(crate) post_start: Vec<HookPlan>,
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) start: Start,
    /// Between the request and the command's first instruction.
    pub(crate) start_takes: Duration,
    /// When it ends by itself, and how.
    pub(crate) ends: Option<(Duration, i32)>,
    /// What it does on TERM; without, it takes no notice.
    pub(crate) on_term: Option<(Duration, i32)>,
    /// Its last words.
    pub(crate) says: Option<String>,
    /// The kernel kills a process of it for memory.
    pub(crate) out_of_memory: bool,
}

/// How a start goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Well,
    CannotCreate,
    CannotExecute,
}

/// What the attempts of one probe see.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) says: Says,
    /// How long each attempt takes.
    pub(crate) latency: Duration,
}

/// How a script tells what an attempt sees.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// One letter an attempt, the last for all that follow: success, failure, warning, error, or `.` for
    /// an attempt that never answers.
    Letters(String),
    /// A failure in a run that is this old, else a success.
    FailsFromAge(Duration),
}

/// What a hook does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HookPlan {
    Ends(Duration, bool),
    Hangs,
}

/// A pod of namespace `default` with the label `app=<name>`, without containers yet.
pub(crate) fn pod(name: &str) -> PodPlan {
    PodPlan {
        pod: Pod {
            uid: PodUid::from(format!("uid-{name}")),
            meta: Meta {
                name: name.to_owned(),
                namespace: "default".to_owned(),
                labels: [("app".to_owned(), name.to_owned())].into(),
                ..Meta::default()
            },
            containers: Vec::new(),
            volumes: Vec::new(),
            restart_policy: RestartPolicy::Always,
            termination_grace_period: secs(30.0),
            active_deadline: None,
            readiness_gates: Vec::new(),
            foreign_conditions: Vec::new(),
            init_containers: Vec::new(),
            host_network: false,
            hostname: name.to_owned(),
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
        },
        containers: Vec::new(),
        sandbox_failures: Vec::new(),
        sandbox_takes: Duration::ZERO,
        removal_failures: 0,
    }
}

impl PodPlan {
    /// An init container, or a sidecar, after those that are there.
    pub(crate) fn init(mut self, container: ContainerPlan) -> Self {
        self.pod.init_containers.push(container.spec.clone());
        self.containers.push(container);
        self
    }

    /// How long it may live.
    pub(crate) fn active_deadline(mut self, seconds: f64) -> Self {
        self.pod.active_deadline = Some(secs(seconds));
        self
    }

    /// Its containers see the files of their images.
    pub(crate) fn on_images(mut self) -> Self {
        self.pod.on_host = false;
        self
    }

    pub(crate) fn gate(mut self, condition: &str) -> Self {
        self.pod.readiness_gates.push(condition.to_owned());
        self
    }

    pub(crate) fn removal_fails(mut self, times: u32) -> Self {
        self.removal_failures = times;
        self
    }

    pub(crate) fn with(mut self, container: ContainerPlan) -> Self {
        self.pod.containers.push(container.spec.clone());
        self.containers.push(container);
        self
    }

    pub(crate) fn policy(mut self, policy: RestartPolicy) -> Self {
        self.pod.restart_policy = policy;
        self
    }

    pub(crate) fn grace(mut self, seconds: f64) -> Self {
        self.pod.termination_grace_period = secs(seconds);
        self
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.pod
            .meta
            .labels
            .insert(key.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn sandbox_fails(mut self, failures: &[SandboxFailure]) -> Self {
        self.sandbox_failures = failures.to_vec();
        self
    }

    pub(crate) fn sandbox_takes(mut self, seconds: f64) -> Self {
        self.sandbox_takes = secs(seconds);
        self
    }
}

/// A container that starts in 100 ms, runs for ever, and ends at once on TERM, with 143.
pub(crate) fn container(name: &str) -> ContainerPlan {
    ContainerPlan {
        spec: Container {
            name: name.into(),
            image: "example/app:1".to_owned(),
            pull_policy: PullPolicy::default(),
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
            readiness: None,
            liveness: None,
            post_start: None,
            pre_stop: None,
            stop_signal: None,
            restart_policy: None,
            restart_rules: Vec::new(),
            termination_message: TerminationMessage::default(),
            resources: Resources::default(),
        },
        lives: vec![Life {
            start: Start::Well,
            start_takes: secs(0.1),
            ends: None,
            on_term: Some((Duration::ZERO, 143)),
            says: None,
            out_of_memory: false,
        }],
        scripts: BTreeMap::new(),
        hook: HookPlan::Hangs,
        post_start: Vec::new(),
    }
}

/// An init container that starts in no time and ends after so many seconds, with 0.
pub(crate) fn init(name: &str, takes: f64) -> ContainerPlan {
    container(name).start_takes(0.0).exits(takes, 0)
}

/// A sidecar that starts in no time.
pub(crate) fn sidecar(name: &str) -> ContainerPlan {
    container(name)
        .start_takes(0.0)
        .policy(RestartPolicy::Always)
}

impl ContainerPlan {
    pub(crate) fn image(mut self, image: &str, policy: PullPolicy) -> Self {
        self.spec.image = image.to_owned();
        self.spec.pull_policy = policy;
        self
    }

    /// Its own restart policy.
    pub(crate) fn policy(mut self, policy: RestartPolicy) -> Self {
        self.spec.restart_policy = Some(policy);
        self
    }

    /// A rule of its own: after an exit with one of these codes, or with none of them, it restarts.
    pub(crate) fn rule(mut self, listed: bool, codes: &[i32]) -> Self {
        self.spec.restart_rules.push(RestartRule {
            listed,
            codes: codes.to_vec(),
        });
        self
    }

    /// A postStart hook: what it does in each run, the last for all that follow.
    pub(crate) fn post_start(mut self, hooks: &[HookPlan]) -> Self {
        let command = vec!["/begin".to_owned()];
        self.spec.post_start = Some(Hook::Handler(Handler::Exec { command }));
        self.post_start = hooks.to_vec();
        self
    }

    /// The last words of every run.
    pub(crate) fn last_words(self, message: &str) -> Self {
        self.life(|life| life.says = Some(message.to_owned()))
    }

    pub(crate) fn startup(mut self, probe: ProbePlan, script: &str) -> Self {
        self.spec.startup = Some(probe.0);
        self.says(ProbeKind::Startup, script)
    }

    pub(crate) fn readiness(mut self, probe: ProbePlan, script: &str) -> Self {
        self.spec.readiness = Some(probe.0);
        self.says(ProbeKind::Readiness, script)
    }

    pub(crate) fn liveness(mut self, probe: ProbePlan, script: &str) -> Self {
        self.spec.liveness = Some(probe.0);
        self.says(ProbeKind::Liveness, script)
    }

    fn says(mut self, kind: ProbeKind, letters: &str) -> Self {
        let says = Says::Letters(letters.to_owned());
        self.scripts.insert(
            kind,
            Script {
                says,
                latency: Duration::ZERO,
            },
        );
        self
    }

    /// Its liveness probe fails in a run that is this old.
    pub(crate) fn sickens_at(mut self, probe: ProbePlan, age: f64) -> Self {
        self.spec.liveness = Some(probe.0);
        let says = Says::FailsFromAge(secs(age));
        let script = Script {
            says,
            latency: Duration::ZERO,
        };
        self.scripts.insert(ProbeKind::Liveness, script);
        self
    }

    /// Each attempt of one probe takes this long.
    pub(crate) fn latency(mut self, kind: ProbeKind, seconds: f64) -> Self {
        let script = self.scripts.get_mut(&kind).expect("the probe has a script");
        script.latency = secs(seconds);
        self
    }

    fn life(mut self, change: impl Fn(&mut Life)) -> Self {
        self.lives.iter_mut().for_each(change);
        self
    }

    /// Every run ends by itself.
    pub(crate) fn exits(self, after: f64, code: i32) -> Self {
        self.life(|life| life.ends = Some((secs(after), code)))
    }

    /// Every run uses up its memory after so long, which ends it with this code.
    pub(crate) fn runs_out_of_memory(self, after: f64, code: i32) -> Self {
        self.exits(after, code)
            .life(|life| life.out_of_memory = true)
    }

    /// How the next run after those that are planned already goes, otherwise as the last of those.
    pub(crate) fn then(mut self, change: impl Fn(&mut Life)) -> Self {
        let mut next = self.lives.last().expect("there is a first life").clone();
        change(&mut next);
        self.lives.push(next);
        self
    }

    pub(crate) fn on_term(self, after: f64, code: i32) -> Self {
        self.life(|life| life.on_term = Some((secs(after), code)))
    }

    pub(crate) fn ignores_term(self) -> Self {
        self.life(|life| life.on_term = None)
    }

    pub(crate) fn start_takes(self, seconds: f64) -> Self {
        self.life(|life| life.start_takes = secs(seconds))
    }

    pub(crate) fn start(self, start: Start) -> Self {
        self.life(|life| life.start = start)
    }

    pub(crate) fn port(mut self, name: &str, number: u16) -> Self {
        self.spec.ports.push(ContainerPort {
            name: Some(name.to_owned()),
            number,
            protocol: Protocol::Tcp,
            host_port: None,
            host_ip: None,
        });
        self
    }

    pub(crate) fn pre_stop(mut self, hook: HookPlan) -> Self {
        let command = vec!["/stop".to_owned()];
        self.spec.pre_stop = Some(Hook::Handler(Handler::Exec { command }));
        self.hook = hook;
        self
    }
}

/// A probe, on its way.
#[derive(Clone, Debug)]
pub(crate) struct ProbePlan(pub(crate) Probe);

/// A probe every so many seconds, with upstream's defaults.
pub(crate) fn every(period: f64) -> ProbePlan {
    ProbePlan(Probe {
        handler: Handler::TcpSocket {
            host: None,
            port: PortRef::Number(8080),
        },
        initial_delay: Duration::ZERO,
        period: secs(period),
        timeout: secs(1.0),
        success_threshold: 1,
        failure_threshold: 3,
        termination_grace_period: None,
    })
}

impl ProbePlan {
    pub(crate) fn failures(mut self, threshold: u32) -> Self {
        self.0.failure_threshold = threshold;
        self
    }

    pub(crate) fn successes(mut self, threshold: u32) -> Self {
        self.0.success_threshold = threshold;
        self
    }

    pub(crate) fn delay(mut self, seconds: f64) -> Self {
        self.0.initial_delay = secs(seconds);
        self
    }

    pub(crate) fn grace(mut self, seconds: f64) -> Self {
        self.0.termination_grace_period = Some(secs(seconds));
        self
    }
}

/// A Service of namespace `default`, port 80 to the pods' 8080, for pods with `app=<app>`.
pub(crate) fn service(name: &str, app: &str) -> Service {
    Service {
        uid: format!("uid-{name}"),
        meta: Meta {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            created_at: super::WALL,
            ..Meta::default()
        },
        selector: Some([("app".to_owned(), app.to_owned())].into()),
        ports: vec![ServicePort {
            name: String::new(),
            protocol: Protocol::Tcp,
            port: 80,
            target_port: PortRef::Number(8080),
        }],
        publish_not_ready_addresses: false,
        headless: false,
    }
}
