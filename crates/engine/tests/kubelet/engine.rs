//! The engine with the same case: what it asks for is done in the second in which it is asked, and told.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use probelet_engine::effect::Effect;
use probelet_engine::input::{Exit, Input, OperationId, Origin};
use probelet_engine::memory::PodMemory;
use probelet_engine::report::{Report, What as Told};
use probelet_engine::{BackOffLimits, Config, Engine};
use probelet_model::id::ContainerId;
use probelet_model::pod::{Hook, Pod};
use probelet_model::probe::{Handler, Outcome, OutcomeStatus, Probe, ProbeKind, ProberError};
use probelet_model::status::{ContainerState, Phase, PodStatus, Waiting};
use probelet_model::time::{Mono, Now, Wall};

use super::case::{Case, HookCase, ProbeCase, Seen};
use super::trace::{Entry, What};
use crate::rig::plan::{container, pod};

const SECOND: u64 = 1_000_000_000;

/// The engine and the little that is around it.
#[derive(Debug)]
pub(crate) struct Driver<'a> {
    case: &'a Case,
    pod: Arc<Pod>,
    engine: Engine,
    now: u64,
    trace: Vec<Entry>,
    /// What the runtime is going to tell, by second and order.
    coming: BTreeMap<(u64, u64), Coming>,
    order: u64,
    /// Attempts to be answered.
    asked: VecDeque<Input>,
    attempts: BTreeMap<ProbeKind, usize>,
    /// Runs that were asked for; a run's place is how many were before it.
    runs: Vec<ContainerId>,
    ended: usize,
    memory: PodMemory,
    shown: (Phase, bool, bool),
    waits: Option<u64>,
}

#[derive(Clone, Debug)]
enum Coming {
    Starts(OperationId),
    Ends(ContainerId, i32),
    HookEnds(OperationId, bool),
}

impl<'a> Driver<'a> {
    /// Lets the pod live for so many seconds.
    pub(crate) fn live(case: &'a Case, seconds: u64) -> Vec<Entry> {
        let config = Config {
            node_name: "node".to_owned(),
            host_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            seed: 1,
            back_off: BackOffLimits::default(),
        };
        let mut driver = Self {
            case,
            pod: Arc::new(the_pod(case)),
            engine: Engine::new(config, clocks(0)),
            now: 0,
            trace: Vec::new(),
            coming: BTreeMap::new(),
            order: 0,
            asked: VecDeque::new(),
            attempts: BTreeMap::new(),
            runs: Vec::new(),
            ended: 0,
            memory: PodMemory::default(),
            shown: (Phase::Pending, false, false),
            waits: None,
        };
        let pod = driver.pod.clone();
        let origin = Origin::New;
        driver.tell(Input::PodApplied { pod, origin });
        while driver.step(seconds) {}
        driver.trace
    }

    /// One thing that happens next, in the order that the kubelet of the case has; whether there is any.
    fn step(&mut self, seconds: u64) -> bool {
        if let Some(answer) = self.asked.pop_front() {
            self.tell(answer);
            return true;
        }
        let coming = self.coming.keys().next().map(|(at, _)| *at);
        let wanted = self.engine.deadline().map(|deadline| {
            assert_eq!(deadline.at.0 % SECOND, 0, "all is in whole seconds");
            deadline.at.0 / SECOND
        });
        let Some(next) = coming
            .into_iter()
            .chain(wanted)
            .min()
            .filter(|at| *at <= seconds)
        else {
            return false;
        };
        self.now = self.now.max(next);
        let ticks = wanted.is_some_and(|at| at <= self.now);
        let tells = coming.is_some_and(|at| at <= self.now);
        if ticks && (self.case.ticks_first || !tells) {
            self.tell(Input::Wake);
            let deadline = self.engine.deadline();
            assert!(
                deadline.is_none_or(|deadline| deadline.at.0 > self.now * SECOND),
                "after a Wake nothing is overdue"
            );
        } else if let Some((_, coming)) = self.coming.pop_first() {
            self.happen(coming);
        }
        true
    }

    fn happen(&mut self, coming: Coming) {
        let pod = self.pod.uid.clone();
        match coming {
            Coming::Starts(operation) => {
                let run = self.runs.len() - 1;
                let life = self.case.life(u32::try_from(run).expect("few runs"));
                if let Some((age, code)) = life.exits {
                    self.later(age, Coming::Ends(self.runs[run].clone(), code));
                }
                let result = Ok(clocks(self.now).wall);
                self.tell(Input::ContainerStarted {
                    pod,
                    operation,
                    result,
                });
            }
            Coming::Ends(container, code) => {
                let newest = self.runs.len() - 1;
                if self.ended > newest || self.runs[newest] != container {
                    return;
                }
                self.ended = self.runs.len();
                let exit = Exit {
                    code,
                    signal: None,
                    out_of_memory: false,
                    finished_at: clocks(self.now).wall,
                    message: None,
                };
                self.tell(Input::ContainerExited {
                    pod,
                    container,
                    exit,
                });
            }
            Coming::HookEnds(operation, well) => {
                let result = if well {
                    Ok(())
                } else {
                    Err("exit 1".to_owned())
                };
                self.tell(Input::HookFinished {
                    pod,
                    operation,
                    result,
                });
            }
        }
    }

    fn later(&mut self, after: u64, coming: Coming) {
        self.order += 1;
        self.coming.insert((self.now + after, self.order), coming);
    }

    fn note(&mut self, what: What) {
        let at = self.now;
        self.trace.push(Entry { at, what });
    }

    fn tell(&mut self, input: Input) {
        self.engine.handle(clocks(self.now), input);
        while let Some(effect) = self.engine.next_effect() {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let pod = self.pod.uid.clone();
        match effect {
            Effect::StartPod { operation, .. } => {
                let result = Ok(IpAddr::V4(Ipv4Addr::LOCALHOST).into());
                self.asked.push_back(Input::PodStarted {
                    pod,
                    operation,
                    result,
                });
            }
            Effect::LookUpImage { .. } | Effect::PullImage { .. } => {
                unreachable!("these pods see the host's files")
            }
            Effect::StartContainer {
                operation,
                id,
                restart_count,
                ..
            } => {
                let takes = self.case.life(restart_count).start_takes;
                self.runs.push(id);
                assert_eq!(
                    self.runs.len() - 1,
                    usize::try_from(restart_count).expect("few runs")
                );
                self.note(What::Start(restart_count));
                self.later(takes, Coming::Starts(operation));
            }
            Effect::RunHook {
                operation, timeout, ..
            } => {
                let grace = timeout.map_or(0, |timeout| timeout.as_secs());
                if let Some(HookCase::Ends { after, well }) = self.case.pre_stop
                    && after < grace
                {
                    self.later(after, Coming::HookEnds(operation, well));
                }
            }
            Effect::StopContainer {
                container, grace, ..
            } => {
                self.note(What::Stop(grace.as_secs()));
                let run = self.run(&container);
                let (after, code) = self.case.life(run).ends_when_told(grace.as_secs());
                self.later(after, Coming::Ends(container, code));
            }
            Effect::StartAttempt {
                attempt, id, kind, ..
            } => {
                let made = self.attempts.entry(kind).or_default();
                let seen = self
                    .case
                    .probe(kind)
                    .expect("the pod has this probe")
                    .sees(*made);
                *made += 1;
                self.note(What::Attempt(kind, self.run(&id), seen));
                self.asked.push_back(Input::AttemptFinished {
                    pod,
                    attempt,
                    result: answer(seen),
                    duration: Duration::ZERO,
                });
            }
            Effect::Report(Report {
                kind,
                what: Told::Attempt { run, .. },
                ..
            }) => {
                self.note(What::Counted(kind, run));
            }
            Effect::Report(Report {
                kind,
                what: Told::Verdict(verdict),
                ..
            }) => self.note(What::Told(kind, verdict)),
            Effect::Event(event) if event.reason == "Killing" => {
                self.note(What::Killing(event.message))
            }
            Effect::Remember { memory, .. } => self.remember(*memory),
            Effect::Commit(commit) => {
                for (_, status) in commit.statuses {
                    self.show(&status);
                }
            }
            Effect::Event(_) | Effect::Report(_) => {}
            Effect::RemovePod { .. } | Effect::PodEnded { .. } => {
                panic!("nobody wants the pod to end")
            }
        }
    }

    /// How many runs were before this one.
    fn run(&self, id: &ContainerId) -> u32 {
        let place = self.runs.iter().position(|run| run == id);
        u32::try_from(place.expect("a run that was asked for")).expect("few runs")
    }

    /// Verdicts are compared as they are written down, because the run that they are about is there too.
    fn remember(&mut self, memory: PodMemory) {
        let before = std::mem::replace(&mut self.memory, memory.clone());
        for (name, container) in &memory.containers {
            for (kind, probe) in &container.probes {
                let old = before
                    .containers
                    .get(name)
                    .and_then(|container| container.probes.get(kind))
                    .map(|probe| (&probe.container, probe.verdict));
                if let (Some(id), Some(verdict)) = (&probe.container, probe.verdict)
                    && old != Some((&probe.container, Some(verdict)))
                {
                    self.note(What::Verdict(*kind, self.run(id), verdict));
                }
            }
        }
    }

    fn show(&mut self, status: &PodStatus) {
        let container = &status.container_statuses[0];
        let (phase, started, ready) = (
            status.phase,
            container.started == Some(true),
            container.ready,
        );
        let before = std::mem::replace(&mut self.shown, (phase, started, ready));
        if before.0 != phase {
            self.note(What::Phase(phase));
        }
        if before.1 != started {
            self.note(What::Started(started));
        }
        if before.2 != ready {
            self.note(What::Ready(ready));
        }
        let waits = match &container.state {
            ContainerState::Waiting(waiting) => back_off(waiting),
            ContainerState::Running(_) | ContainerState::Terminated(_) => None,
        };
        if std::mem::replace(&mut self.waits, waits) != waits {
            self.note(What::BackOff(waits));
        }
    }
}

/// The wait that a CrashLoopBackOff tells of: `back-off 1m20s restarting failed container=c pod=p`.
fn back_off(waiting: &Waiting) -> Option<u64> {
    let message = waiting.message.as_ref()?;
    let wait = message.strip_prefix("back-off ")?.split('s').next()?;
    let (minutes, seconds) = wait.split_once('m').unwrap_or(("0", wait));
    Some(minutes.parse::<u64>().ok()? * 60 + seconds.parse::<u64>().ok()?)
}

/// Both clocks after so many seconds; the wall clock began at 2026-01-01T00:00:00Z.
fn clocks(seconds: u64) -> Now {
    Now {
        mono: Mono(seconds * SECOND),
        wall: Wall(1_767_225_600_000_000_000) + Duration::from_secs(seconds),
    }
}

fn answer(seen: Seen) -> Result<Outcome, ProberError> {
    let status = match seen {
        Seen::Success => OutcomeStatus::Success,
        Seen::Warning => OutcomeStatus::Warning,
        Seen::Failure => OutcomeStatus::Failure,
        Seen::Error => {
            return Err(ProberError {
                message: "port \"x\" not found".to_owned(),
            });
        }
    };
    Ok(Outcome {
        status,
        output: String::new(),
        code: None,
    })
}

fn the_pod(case: &Case) -> Pod {
    let mut spec = container("c").spec;
    let probe = |probe: &ProbeCase| Probe {
        handler: a_command(),
        initial_delay: Duration::from_secs(probe.delay),
        period: Duration::from_secs(probe.period),
        timeout: Duration::from_secs(1),
        success_threshold: probe.success,
        failure_threshold: probe.failure,
        termination_grace_period: probe.grace.map(Duration::from_secs),
    };
    spec.startup = case.startup.as_ref().map(probe);
    spec.readiness = case.readiness.as_ref().map(probe);
    spec.liveness = case.liveness.as_ref().map(probe);
    spec.pre_stop = case.pre_stop.map(|_| Hook::Handler(a_command()));
    let mut pod = pod("p").pod;
    pod.restart_policy = case.policy;
    pod.termination_grace_period = Duration::from_secs(case.grace);
    pod.containers = vec![spec];
    pod
}

fn a_command() -> Handler {
    Handler::Exec {
        command: vec!["true".to_owned()],
    }
}
