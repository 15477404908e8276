//! One node in virtual time: the engine, the world around it, and what an agent keeps between the two.
//!
//! [`Node`] does what `probelet-agent` does on a real host: it stores pods and statuses, writes memories
//! down, hands inputs to the engine and effects to the [`World`], and after a crash it takes up what is
//! there. A [`Witness`] sees every input and every effect, and may have any effect go wrong or the agent
//! die before it.
//!
//! Start reading at [`Node::step`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use probelet_engine::effect::Effect;
use probelet_engine::input::{Input, Origin};
use probelet_engine::memory::PodMemory;
use probelet_engine::{BackOffLimits, Config, Engine};
use probelet_model::id::{Kind, ObjectKey, PodUid};
use probelet_model::pod::{Deletion, Pod};
use probelet_model::service::Service;
use probelet_model::status::{ForeignCondition, PodStatus};
use probelet_model::time::{Mono, Now, Wall};

use crate::script::PodScript;
use crate::world::{Fault, Sort, World};

/// When the virtual clocks begin. The monotonic one so late that an agent that has been up for ever (see
/// [`Spread::None`]) has been up for longer than any period lasts; the wall clock at 2026-01-01T00:00:00Z.
const BEGINNING: Now = Now {
    mono: Mono(1 << 62),
    wall: Wall(1_767_225_600_000_000_000),
};

/// What is told to whoever looks at a node.
pub trait Witness {
    /// The engine is about to hear of this.
    fn input(&mut self, _now: Now, _input: &Input) {}

    /// The engine asks for this, and the answer says how it goes.
    fn effect(&mut self, now: Now, effect: &Effect) -> Then;

    /// All effects of one input have been carried out.
    fn drained(&mut self, _now: Now, _engine: &Engine) {}
}

/// How one effect goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is carried out, under this fault. What is none of the world's business has no faults.
    CarryOut(Fault),
    /// The agent dies before it.
    Crash,
}

impl Then {
    /// It is carried out, and all goes well.
    pub const WELL: Self = Self::CarryOut(Fault::None);
}

/// Where first looks of the probes lie in their periods when an agent takes up its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// At the beginning, all of them: each agent acts as if it had been up for ever.
    None,
    /// Anywhere, by this seed, as upstream spreads them over the first period after its start.
    Seeded(u64),
}

/// What does not change while a node lives.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's name.
    pub name: String,
    /// The node's address.
    pub ip: IpAddr,
    /// The numbers of CrashLoopBackOff.
    pub back_off: BackOffLimits,
    /// Start-up jitter.
    pub spread: Spread,
}

/// A node, with or without an agent at any one moment.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    world: World,
    engine: Option<Engine>,
    /// How many agents there have been.
    agents: u64,
    pods: BTreeMap<PodUid, Kept>,
    services: BTreeMap<ObjectKey, Arc<Service>>,
    /// Exits that nobody was there to hear of.
    untold: Vec<Input>,
}

/// What is kept of a pod while no agent lives.
#[derive(Debug)]
struct Kept {
    pod: Arc<Pod>,
    status: Option<Arc<PodStatus>>,
    memory: Option<Box<PodMemory>>,
    /// It was stopped, and its object stays.
    ended: bool,
}

impl Node {
    /// A node without pods, and without an agent yet: see [`Node::boot`].
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            world: World::new(BEGINNING),
            engine: None,
            agents: 0,
            pods: BTreeMap::new(),
            services: BTreeMap::new(),
            untold: Vec::new(),
        }
    }

    /// The world, to look at.
    #[must_use]
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// The world, to do something to it; hand the input that comes of it to [`Node::tell`].
    pub const fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// The engine, if an agent is there.
    #[must_use]
    pub const fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    /// A pod as it is stored, with the status that was committed last.
    #[must_use]
    pub fn pod(&self, uid: &PodUid) -> Option<(&Arc<Pod>, Option<&Arc<PodStatus>>)> {
        let kept = self.pods.get(uid)?;
        Some((&kept.pod, kept.status.as_ref()))
    }

    /// Pods that are stored.
    pub fn pods(&self) -> impl Iterator<Item = &PodUid> {
        self.pods.keys()
    }

    /// Somebody applies a pod: a new one, or one that has changed.
    pub fn apply(&mut self, pod: Pod, ip: IpAddr, script: PodScript, witness: &mut impl Witness) {
        let pod = Arc::new(pod);
        if !self.pods.contains_key(&pod.uid) {
            self.world.add(pod.uid.clone(), ip, script);
        }
        self.store(pod.clone());
        let origin = Origin::New;
        self.tell(Input::PodApplied { pod, origin }, witness);
    }

    /// A pod is in the store before any agent is: the next one takes it up.
    pub fn provide(&mut self, pod: Pod, ip: IpAddr, script: PodScript) {
        self.world.add(pod.uid.clone(), ip, script);
        self.store(Arc::new(pod));
    }

    fn store(&mut self, pod: Arc<Pod>) {
        let new = |pod| Kept {
            pod,
            status: None,
            memory: None,
            ended: false,
        };
        match self.pods.get_mut(&pod.uid) {
            Some(kept) => kept.pod = pod,
            None => {
                self.pods.insert(pod.uid.clone(), new(pod));
            }
        }
    }

    /// Somebody applies a Service.
    pub fn serve(&mut self, service: Arc<Service>, witness: &mut impl Witness) {
        let meta = &service.meta;
        let key = ObjectKey::new(Kind::Service, &meta.namespace, &meta.name);
        self.services.insert(key, service.clone());
        self.tell(Input::ServiceApplied { service }, witness);
    }

    /// Somebody deletes a pod, with a grace or its own one. False if there is none.
    pub fn delete(
        &mut self,
        uid: &PodUid,
        grace: Option<Duration>,
        witness: &mut impl Witness,
    ) -> bool {
        let at = self.world.now().wall;
        self.change(uid, witness, |pod| {
            let grace = grace.unwrap_or(pod.termination_grace_period);
            let shorter = pod.deletion.is_none_or(|before| grace < before.grace);
            if shorter {
                pod.deletion = Some(Deletion { at, grace });
            }
        })
    }

    /// Somebody sets one of the conditions that are not the node's. False if there is no such pod.
    pub fn set_condition(
        &mut self,
        uid: &PodUid,
        kind: &str,
        status: &str,
        witness: &mut impl Witness,
    ) -> bool {
        self.change(uid, witness, |pod| {
            let conditions = &mut pod.foreign_conditions;
            match conditions.iter_mut().find(|one| one.kind == kind) {
                Some(one) => status.clone_into(&mut one.status),
                None => conditions.push(ForeignCondition {
                    kind: kind.to_owned(),
                    status: status.to_owned(),
                    rest: serde_json::Map::new(),
                }),
            }
        })
    }

    /// The agent's owner wants the pod down and its object kept. False if there is none.
    pub fn stop(&mut self, uid: &PodUid, witness: &mut impl Witness) -> bool {
        let known = self.pods.contains_key(uid);
        self.tell(Input::PodStopped { pod: uid.clone() }, witness);
        known
    }

    fn change(
        &mut self,
        uid: &PodUid,
        witness: &mut impl Witness,
        change: impl FnOnce(&mut Pod),
    ) -> bool {
        let Some(kept) = self.pods.get_mut(uid) else {
            return false;
        };
        change(Arc::make_mut(&mut kept.pod));
        let pod = kept.pod.clone();
        let origin = Origin::New;
        self.tell(Input::PodApplied { pod, origin }, witness);
        true
    }

    /// The agent dies. The world goes on, and [`Node::boot`] brings another one.
    pub fn crash(&mut self) {
        self.engine = None;
        self.world.agent_dies();
    }

    /// A pod's stored status is an older one again: while no agent lives, for commits that never reached the
    /// disk.
    pub fn put_back(&mut self, uid: &PodUid, status: Option<Arc<PodStatus>>) {
        if let Some(kept) = self.pods.get_mut(uid) {
            kept.status = status;
        }
    }

    /// An agent starts on what is stored, what was written down, and what stands.
    pub fn boot(&mut self, witness: &mut impl Witness) {
        self.agents += 1;
        let now = self.world.now();
        let (seed, origin) = match self.settings.spread {
            Spread::Seeded(seed) => (seed, now),
            Spread::None => {
                let up = now.mono.since(Mono(0));
                let origin = Now {
                    mono: Mono(0),
                    wall: now.wall - up,
                };
                (0, origin)
            }
        };
        let config = Config {
            node_name: self.settings.name.clone(),
            host_ip: self.settings.ip,
            // Another one for each agent.
            seed: seed ^ self.agents.rotate_left(48),
            back_off: self.settings.back_off,
        };
        self.engine = Some(Engine::new(config, origin));
        let kept: Vec<(Arc<Pod>, Origin)> = self
            .pods
            .values()
            .filter(|kept| !kept.ended)
            .map(|kept| (kept.pod.clone(), self.origin(kept)))
            .collect();
        for (pod, origin) in kept {
            self.tell(Input::PodApplied { pod, origin }, witness);
        }
        for service in self.services.values().cloned().collect::<Vec<_>>() {
            self.tell(Input::ServiceApplied { service }, witness);
        }
        for input in std::mem::take(&mut self.untold) {
            self.tell(input, witness);
        }
    }

    /// As it would be read back: through JSON, which cuts stamps to whole seconds.
    fn origin(&self, kept: &Kept) -> Origin {
        let status = kept.status.as_ref().map(|status| {
            let json = serde_json::to_value(&**status).expect("a status is plain data");
            serde_json::from_value(json).expect("a status is read back as it was written")
        });
        let memory = kept.memory.as_ref().map(|memory| {
            let json = serde_json::to_value(&**memory).expect("a memory is plain data");
            serde_json::from_value(json).expect("a memory is read back as it was written")
        });
        Origin::Restored {
            status: Box::new(status.unwrap_or_default()),
            memory,
            standing: self.world.standing(&kept.pod.uid),
            stop: false,
        }
    }

    /// When something is next to happen, by the world or by the engine.
    #[must_use]
    pub fn next(&self) -> Option<Mono> {
        let deadline = self.engine.as_ref().and_then(Engine::deadline);
        let deadline = deadline.map(|deadline| deadline.at);
        match (self.world.next(), deadline) {
            (Some(world), Some(engine)) => Some(world.min(engine)),
            (world, engine) => world.or(engine),
        }
    }

    /// The next thing happens, if it does until `end`; else time passes until then. What was to happen
    /// while the clock stood elsewhere happens now. True as long as something happened.
    ///
    /// At one instant what ends comes first, then the engine's deadline, then what begins: an attempt
    /// that answers in the moment of a tick has answered, and a container that starts in it is not there
    /// yet, as none ever is at the first look.
    pub fn step(&mut self, end: Mono, witness: &mut impl Witness) -> bool {
        let Some(at) = self.next().filter(|at| *at <= end) else {
            self.world.advance(end);
            return false;
        };
        self.world.advance(at);
        let now = self.world.now().mono;
        let deadline = self.engine.as_ref().and_then(Engine::deadline);
        let is_awaited = deadline.is_some_and(|deadline| deadline.at <= now);
        match (self.world.due(), is_awaited) {
            (Some(Sort::End), _) | (Some(Sort::Begin), false) => {
                if let Some(input) = self.world.happen() {
                    self.tell(input, witness);
                }
            }
            (Some(Sort::Begin) | None, _) => self.tell(Input::Wake, witness),
        }
        true
    }

    /// Lets time pass until `end`.
    pub fn run_until(&mut self, end: Mono, witness: &mut impl Witness) {
        while self.step(end, witness) {}
    }

    /// Hands one input to the engine and carries out what it asks for. Without an agent, exits are kept
    /// for the next one; of all else it takes up what has come of it.
    pub fn tell(&mut self, input: Input, witness: &mut impl Witness) {
        let now = self.world.now();
        let Some(engine) = &mut self.engine else {
            if matches!(input, Input::ContainerExited { .. } | Input::PodLost { .. }) {
                self.untold.push(input);
            }
            return;
        };
        witness.input(now, &input);
        engine.handle(now, input);
        while let Some(effect) = self.engine.as_mut().and_then(Engine::next_effect) {
            match witness.effect(now, &effect) {
                Then::CarryOut(fault) => {
                    if let Some(effect) = self.world.perform(effect, fault) {
                        self.keep(effect);
                    }
                }
                Then::Crash => return self.crash(),
            }
        }
        if let Some(engine) = &self.engine {
            witness.drained(now, engine);
        }
    }

    /// What the store and the memory files are for.
    fn keep(&mut self, effect: Effect) {
        match effect {
            Effect::Remember { pod, memory } => {
                if let Some(kept) = self.pods.get_mut(&pod) {
                    kept.memory = Some(memory);
                }
            }
            Effect::Commit(commit) => {
                for (pod, status) in commit.statuses {
                    if let Some(kept) = self.pods.get_mut(&pod) {
                        kept.status = Some(status);
                    }
                }
            }
            Effect::PodEnded { pod, deleted } => {
                if deleted {
                    self.pods.remove(&pod);
                } else if let Some(kept) = self.pods.get_mut(&pod) {
                    kept.ended = true;
                }
            }
            Effect::Event(_)
            | Effect::Report(_)
            | Effect::StartPod { .. }
            | Effect::LookUpImage { .. }
            | Effect::PullImage { .. }
            | Effect::StartContainer { .. }
            | Effect::RunHook { .. }
            | Effect::StopContainer { .. }
            | Effect::RemovePod { .. }
            | Effect::StartAttempt { .. } => {}
        }
    }
}
