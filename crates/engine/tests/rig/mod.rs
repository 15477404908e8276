//! A virtual world around the engine: its clock, its runtime, its targets, and a witness of all of it.
//!
//! A test plans pods ([`plan`]), lets time pass ([`Rig::run_until`]) and asks what happened ([`trace`]).
//! After every input the rig checks what must always hold ([`checks`]).
//!
//! Only [`Engine`]'s public API is used, as the agent uses it.

mod calls;
pub(crate) mod checks;
pub(crate) mod images;
pub(crate) mod plan;
pub(crate) mod trace;
pub(crate) mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use probelet_engine::input::{ContainerFailure, Exit, Input, OperationId, Origin};
use probelet_engine::memory::PodMemory;
use probelet_engine::{BackOffLimits, Config, Engine};
use probelet_model::id::{ContainerId, PodUid};
use probelet_model::pod::{Deletion, Pod};
use probelet_model::service::Service;
use probelet_model::status::PodStatus;
use probelet_model::time::{Mono, Now, Wall};

use checks::Checks;
use plan::{PodPlan, Start, secs};
use trace::{Entry, Seen};
use world::{RunRecord, World};

/// The wall clock when the rig is made: 2026-01-01T00:00:00Z.
pub(crate) const WALL: Wall = Wall(1_767_225_600_000_000_000);
/// The monotonic clock then.
const MONO: Mono = Mono(50_000_000_000_000);
/// How many turns one instant may have before something goes round in a circle.
const MOST_TURNS: u32 = 10_000;

/// The engine in its world.
#[derive(Debug)]
pub(crate) struct Rig {
    engine: Option<Engine>,
    /// How many agents there have been; an answer to a former one reaches nobody.
    generation: u64,
    back_off: BackOffLimits,
    /// Since the rig was made.
    pub(crate) clock: Duration,
    /// How far the wall clock was set, in nanoseconds.
    skew: i64,
    coming: BTreeMap<(Duration, u64), Coming>,
    order: u64,
    pub(crate) world: World,
    pub(crate) trace: Vec<Entry>,
    checks: Checks,
    /// What is in the store.
    pods: BTreeMap<PodUid, Arc<Pod>>,
    services: Vec<Arc<Service>>,
    statuses: BTreeMap<PodUid, String>,
    memories: BTreeMap<PodUid, String>,
    /// Exits that nobody was there to hear of.
    untold: Vec<Input>,
}

/// Something that is going to happen.
#[derive(Debug)]
enum Coming {
    /// Of the world's own accord, whether there is an agent or not.
    RunEnds {
        pod: PodUid,
        id: ContainerId,
        code: i32,
        signal: Option<i32>,
    },
    /// A call of the agent of this generation takes effect, and is answered.
    Call(u64, Call),
}

#[derive(Debug)]
enum Call {
    Answer(Input),
    SandboxStands(PodUid, Input),
    SandboxIsGone(PodUid, Input),
    RunBegins {
        pod: PodUid,
        /// The sandbox that stood when it was asked for.
        sandbox: Option<u32>,
        operation: OperationId,
        run: Box<RunRecord>,
    },
}

pub(crate) fn uid(name: &str) -> PodUid {
    PodUid::from(format!("uid-{name}"))
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with_back_off(BackOffLimits::default())
    }

    pub(crate) fn with_back_off(back_off: BackOffLimits) -> Self {
        let mut rig = Self {
            engine: None,
            generation: 0,
            back_off,
            clock: Duration::ZERO,
            skew: 0,
            coming: BTreeMap::new(),
            order: 0,
            world: World::default(),
            trace: Vec::new(),
            checks: Checks::default(),
            pods: BTreeMap::new(),
            services: Vec::new(),
            statuses: BTreeMap::new(),
            memories: BTreeMap::new(),
            untold: Vec::new(),
        };
        rig.boot();
        rig
    }

    /// A rig with one pod, just applied.
    pub(crate) fn of(plan: PodPlan) -> Self {
        let mut rig = Self::new();
        rig.apply(plan);
        rig
    }

    pub(crate) fn now(&self) -> Now {
        let elapsed = i64::try_from(self.clock.as_nanos()).expect("short tests");
        Now {
            mono: MONO + self.clock,
            wall: Wall(WALL.0 + elapsed + self.skew),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("an agent is there")
    }

    /// Somebody applies a pod that is new.
    pub(crate) fn apply(&mut self, plan: PodPlan) {
        self.world.plan(&plan);
        self.apply_again(plan.pod);
    }

    /// Somebody applies a pod, new or not.
    pub(crate) fn apply_again(&mut self, pod: Pod) {
        let pod = Arc::new(pod);
        self.pods.insert(pod.uid.clone(), pod.clone());
        self.checks.pod(&pod);
        self.tell(Input::PodApplied {
            pod,
            origin: Origin::New,
        });
    }

    /// The pod as it was applied last.
    pub(crate) fn pod(&self, name: &str) -> Pod {
        (*self.pods[&uid(name)]).clone()
    }

    pub(crate) fn serve(&mut self, service: Service) {
        let service = Arc::new(service);
        self.services.push(service.clone());
        self.checks.service(&service);
        self.tell(Input::ServiceApplied { service });
    }

    /// Somebody deletes a pod.
    pub(crate) fn delete(&mut self, name: &str, grace: f64) {
        let pod = uid(name);
        let deletion = Deletion {
            at: self.now().wall,
            grace: secs(grace),
        };
        let stored = self.pods.get_mut(&pod).expect("the pod is there");
        Arc::make_mut(stored).deletion = Some(deletion);
        let changed = stored.clone();
        self.checks.ends(&pod);
        self.tell(Input::PodApplied {
            pod: changed,
            origin: Origin::New,
        });
    }

    /// The agent's owner wants the pod down and its object kept.
    pub(crate) fn stop(&mut self, name: &str) {
        let pod = uid(name);
        self.checks.ends(&pod);
        self.tell(Input::PodStopped { pod });
    }

    /// The wall clock is set by so many seconds.
    pub(crate) fn step_wall(&mut self, seconds: i64) {
        self.skew += seconds * 1_000_000_000;
    }

    /// The sandbox of a pod goes with all in it.
    pub(crate) fn lose(&mut self, name: &str) {
        let pod = uid(name);
        self.world.sandbox_goes(&pod);
        self.tell(Input::PodLost { pod });
    }

    /// The id of the run of a container that runs.
    pub(crate) fn run_id(&self, pod: &str, container: &str) -> Option<ContainerId> {
        let run = self.world.running_called(&uid(pod), container)?;
        Some(run.id.clone())
    }

    /// Lets time pass until so many seconds since the rig was made.
    pub(crate) fn run_until(&mut self, seconds: f64) {
        let end = secs(seconds);
        let mut turns = 0;
        loop {
            // Whatever follows at once from what happens at one instant is a handful of turns.
            turns += 1;
            assert!(turns < MOST_TURNS, "no end at {:?}", self.clock);
            let before = self.clock;
            let coming = self.coming.first_key_value().map(|((at, _), _)| *at);
            let deadline = self.engine.as_ref().and_then(Engine::deadline);
            let wanted = deadline.map(|deadline| deadline.at.since(MONO));
            match (coming, wanted) {
                (Some(at), wanted) if at <= end && wanted.is_none_or(|wanted| at <= wanted) => {
                    self.clock = self.clock.max(at);
                    let (_, coming) = self.coming.pop_first().expect("something is coming");
                    self.happen(coming);
                }
                (_, Some(wanted)) if wanted <= end => {
                    self.clock = self.clock.max(wanted);
                    self.tell(Input::Wake);
                    let now = self.now().mono;
                    let next = self.engine().deadline();
                    assert!(
                        next.as_ref().is_none_or(|deadline| deadline.at > now),
                        "after a Wake nothing is overdue: {next:?} at {now:?}"
                    );
                }
                _ => break,
            }
            if self.clock > before {
                turns = 0;
            }
        }
        self.clock = end;
    }

    pub(crate) fn run_for(&mut self, seconds: f64) {
        self.run_until(self.clock.as_secs_f64() + seconds);
    }

    /// The agent dies: calls under way never take effect and nobody hears of exits. The world goes on.
    pub(crate) fn crash(&mut self) {
        self.engine = None;
        self.checks.agent_is_gone();
    }

    /// An agent starts on what is in the store and what the runtime says stands.
    pub(crate) fn boot(&mut self) {
        self.start_agent();
        self.take_up(false, true);
    }

    /// An agent starts and knows nothing yet.
    pub(crate) fn start_agent(&mut self) {
        self.generation += 1;
        let config = Config {
            node_name: "node".to_owned(),
            host_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            seed: self.generation,
            back_off: self.back_off,
        };
        self.engine = Some(Engine::new(config, self.now()));
    }

    /// The agent takes up the pods of the store: only to stop them, if `stop`; without their memories,
    /// if those are lost.
    pub(crate) fn take_up(&mut self, stop: bool, remembers: bool) {
        for pod in self.pods.values().cloned().collect::<Vec<_>>() {
            let status = self
                .statuses
                .get(&pod.uid)
                .map_or_else(PodStatus::default, |text| {
                    serde_json::from_str(text).expect("statuses can be read back")
                });
            let memory = self.memories.get(&pod.uid).filter(|_| remembers);
            let memory = memory.map(|text| {
                serde_json::from_str::<PodMemory>(text).expect("memories can be read back")
            });
            let standing = self.world.standing(&pod.uid);
            self.checks.pod(&pod);
            if stop {
                self.checks.ends(&pod.uid);
            }
            self.checks.taken_up(&pod.uid, &status, memory.as_ref());
            let origin = Origin::Restored {
                status: Box::new(status),
                memory,
                standing,
                stop,
            };
            self.tell(Input::PodApplied { pod, origin });
        }
        for service in self.services.clone() {
            self.tell(Input::ServiceApplied { service });
        }
        for input in std::mem::take(&mut self.untold) {
            self.tell(input);
        }
    }

    /// Nothing of what agents have written about a pod is left.
    pub(crate) fn forget(&mut self, name: &str) {
        self.statuses.remove(&uid(name));
        self.memories.remove(&uid(name));
    }

    /// The agent dies and comes back at once.
    pub(crate) fn restart_agent(&mut self) {
        self.crash();
        self.boot();
    }

    /// Hands one input to the engine and carries out what it asks for.
    pub(crate) fn tell(&mut self, input: Input) {
        let now = self.now();
        let Some(engine) = &mut self.engine else {
            if matches!(input, Input::ContainerExited { .. } | Input::PodLost { .. }) {
                self.untold.push(input);
            }
            return;
        };
        self.checks.input(&input);
        engine.handle(now, input);
        let mut effects = Vec::new();
        while let Some(effect) = engine.next_effect() {
            effects.push(effect);
        }
        for effect in effects {
            self.checks.effect(&effect, &self.world);
            self.carry_out(effect);
        }
        self.checks.drained();
    }

    fn note(&mut self, seen: Seen) {
        self.trace.push(Entry {
            at: self.clock.as_secs_f64(),
            seen,
        });
    }

    fn later(&mut self, after: Duration, coming: Coming) {
        self.order += 1;
        self.coming.insert((self.clock + after, self.order), coming);
    }

    fn call(&mut self, after: Duration, call: Call) {
        self.later(after, Coming::Call(self.generation, call));
    }

    fn happen(&mut self, coming: Coming) {
        match coming {
            Coming::RunEnds {
                pod,
                id,
                code,
                signal,
            } => self.end_run(&pod, &id, code, signal),
            Coming::Call(generation, _)
                if generation != self.generation || self.engine.is_none() => {}
            Coming::Call(_, Call::Answer(input)) => self.tell(input),
            Coming::Call(_, Call::SandboxStands(pod, input)) => {
                self.world.sandbox_stands(&pod);
                self.tell(input);
            }
            Coming::Call(_, Call::SandboxIsGone(pod, input)) => {
                self.world.sandbox_goes(&pod);
                self.tell(input);
            }
            Coming::Call(
                _,
                Call::RunBegins {
                    pod,
                    sandbox,
                    operation,
                    mut run,
                },
            ) => {
                if self.world.sandbox(&pod) != sandbox {
                    run.life.start = Start::CannotCreate;
                }
                self.begin_run(pod, operation, *run);
            }
        }
    }

    fn begin_run(&mut self, pod: PodUid, operation: OperationId, mut run: RunRecord) {
        let now = self.now();
        let result = match run.life.start {
            Start::Well => {
                run.started_at = now.wall;
                run.since = now.mono;
                if let Some((after, code)) = run.life.ends {
                    let id = run.id.clone();
                    let ends = Coming::RunEnds {
                        pod: pod.clone(),
                        id,
                        code,
                        signal: None,
                    };
                    self.later(after, ends);
                }
                self.world.run_begins(&pod, run);
                Ok(now.wall)
            }
            Start::CannotCreate => Err(ContainerFailure::Create("no such image".to_owned())),
            Start::CannotExecute => Err(ContainerFailure::Start("no such file".to_owned())),
        };
        self.tell(Input::ContainerStarted {
            pod,
            operation,
            result,
        });
    }

    /// A run ends, if it has not ended otherwise.
    pub(crate) fn end_run(
        &mut self,
        pod: &PodUid,
        id: &ContainerId,
        code: i32,
        signal: Option<i32>,
    ) {
        let finished_at = self.now().wall;
        let Some(run) = self.world.running(pod, id) else {
            return;
        };
        let exit = Exit {
            code,
            signal,
            out_of_memory: run.life.out_of_memory,
            finished_at,
            message: run.life.says.clone(),
        };
        run.exit = Some(exit.clone());
        let container = run.name.clone();
        self.note(Seen::Exit { container, code });
        self.tell(Input::ContainerExited {
            pod: pod.clone(),
            container: id.clone(),
            exit,
        });
    }
}
