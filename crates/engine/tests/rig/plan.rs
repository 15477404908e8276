//! Short ways to say what a pod is, and how its containers and their probes behave.

use std::collections::BTreeMap;
use std::time::Duration;

use probelet_model::id::PodUid;
use probelet_model::pod::{
    Container, ContainerPort, Hook, Meta, Pod, Protocol, RestartPolicy, User,
};
use probelet_model::probe::{Handler, PortRef, Probe, ProbeKind};
use probelet_model::service::{Service, ServicePort};

/// Seconds, whole or not.
pub(crate) fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A pod and how it behaves.
#[derive(Clone, Debug)]
pub(crate) struct PodPlan {
    pub(crate) pod: Pod,
    pub(crate) containers: Vec<ContainerPlan>,
    /// How the first makings of its sandbox fail; the ones after go well.
    pub(crate) sandbox_failures: Vec<SandboxFailure>,
    /// How long making the sandbox takes.
    pub(crate) sandbox_takes: Duration,
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
            host_network: false,
            hostname: name.to_owned(),
            subdomain: None,
            deletion: None,
        },
        containers: Vec::new(),
        sandbox_failures: Vec::new(),
        sandbox_takes: Duration::ZERO,
    }
}

impl PodPlan {
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
            argv: vec!["/app".to_owned()],
            working_dir: None,
            env: Vec::new(),
            ports: Vec::new(),
            volume_mounts: Vec::new(),
            user: User::default(),
            startup: None,
            readiness: None,
            liveness: None,
            pre_stop: None,
        },
        lives: vec![Life {
            start: Start::Well,
            start_takes: secs(0.1),
            ends: None,
            on_term: Some((Duration::ZERO, 143)),
        }],
        scripts: BTreeMap::new(),
        hook: HookPlan::Hangs,
    }
}

impl ContainerPlan {
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
