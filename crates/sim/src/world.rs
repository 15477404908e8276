//! The virtual world: what carries out the engine's effects, in virtual time.
//!
//! A [`World`] is a runtime, the containers in it, the targets of their probes and both clocks. Hand it
//! an effect ([`World::perform`]); it answers with inputs when the time has come ([`World::happen`]).
//! Between the two, [`World::next`] says when something is next to happen, and [`World::advance`] lets
//! time pass. Nothing in it is random and nothing decides: what containers do is in their scripts, and
//! what goes wrong beside that is said with each effect ([`Fault`]).
//!
//! What the world does of its own accord (runs that end, KILL after a grace) goes on while there is no
//! agent; calls under way die with it ([`World::agent_dies`]).

mod attempt;
mod perform;
mod sandbox;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::IpAddr;
use std::time::Duration;

use probelet_engine::input::{Exit, Input, Standing};
use probelet_model::id::{ContainerId, PodUid};
use probelet_model::time::{Mono, Now, Wall};

pub use self::perform::Fault;
use self::sandbox::{PodWorld, RunBegins};
use crate::script::PodScript;

/// The world of one node.
#[derive(Debug)]
pub struct World {
    start: Now,
    /// Since the start.
    elapsed: Duration,
    /// How far the wall clock has been set, in nanoseconds.
    skew: i64,
    coming: BinaryHeap<Coming>,
    /// How much was ever put into `coming`: what is alike comes in this order.
    order: u64,
    /// How many agents have died; an answer to a former one reaches nobody.
    agents: u64,
    pods: BTreeMap<PodUid, PodWorld>,
    /// Images that are not there any more.
    absent: BTreeSet<String>,
    /// Images that have been pulled; others are there unless a script says that they are pulled first.
    pulled: BTreeSet<String>,
}

/// Something that is going to happen.
#[derive(Debug)]
struct Coming {
    at: Mono,
    sort: Sort,
    order: u64,
    what: What,
}

/// At one instant, things end before others begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// A run ends, a call is answered.
    End,
    /// A sandbox stands, a run begins.
    Begin,
}

#[derive(Debug)]
enum What {
    /// Whether there is an agent or not.
    RunEnds {
        pod: PodUid,
        id: ContainerId,
        code: i32,
        signal: Option<i32>,
        out_of_memory: bool,
    },
    /// A call of an agent is answered, and takes effect if it had not at once.
    Answer { agent: u64, call: Call },
}

#[derive(Debug)]
enum Call {
    /// As it was known when the call was made.
    Known(Input),
    /// The same, unless a run ends before.
    OfRun {
        pod: PodUid,
        id: ContainerId,
        ticket: u64,
        input: Input,
    },
    SandboxStands {
        pod: PodUid,
        input: Option<Input>,
    },
    SandboxIsGone {
        pod: PodUid,
        input: Option<Input>,
    },
    ImageIsThere {
        image: String,
        input: Option<Input>,
    },
    RunBegins(Box<RunBegins>),
}

impl World {
    /// A world without pods, whose clocks stand at `start`.
    #[must_use]
    pub const fn new(start: Now) -> Self {
        Self {
            start,
            elapsed: Duration::ZERO,
            skew: 0,
            coming: BinaryHeap::new(),
            order: 0,
            agents: 0,
            pods: BTreeMap::new(),
            absent: BTreeSet::new(),
            pulled: BTreeSet::new(),
        }
    }

    /// An image is not there any more, until it is pulled again.
    pub fn remove_image(&mut self, image: &str) {
        self.absent.insert(image.to_owned());
    }

    /// A pod that effects may be about: the address its sandbox gets, and what its containers do.
    pub fn add(&mut self, pod: PodUid, ip: IpAddr, script: PodScript) {
        self.pods.insert(pod, PodWorld::new(ip, script));
    }

    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = self.start.wall + self.elapsed;
        Now {
            mono: self.start.mono + self.elapsed,
            wall: Wall(wall.0.saturating_add(self.skew)),
        }
    }

    /// Time since the world began.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// When something is next to happen.
    #[must_use]
    pub fn next(&self) -> Option<Mono> {
        self.coming.peek().map(|coming| coming.at)
    }

    /// What is due now, if anything is.
    #[must_use]
    pub fn due(&self) -> Option<Sort> {
        let now = self.now().mono;
        let next = self.coming.peek().filter(|coming| coming.at <= now);
        next.map(|coming| coming.sort)
    }

    /// Lets time pass until `at`; never back.
    pub fn advance(&mut self, at: Mono) {
        self.elapsed = self.elapsed.max(at.since(self.start.mono));
    }

    /// Somebody sets the wall clock by so many nanoseconds.
    pub const fn step_wall(&mut self, nanos: i64) {
        self.skew = self.skew.saturating_add(nanos);
    }

    /// The next thing that is due happens; with an input if the agent hears of it. To be called again
    /// until nothing is [due](World::due).
    ///
    /// Exits come whether there is an agent or not; who drives the world keeps them for the next one.
    pub fn happen(&mut self) -> Option<Input> {
        self.due()?;
        let coming = self.coming.pop()?;
        match coming.what {
            What::RunEnds {
                pod,
                id,
                code,
                signal,
                out_of_memory,
            } => self.end(&pod, &id, (code, signal, out_of_memory)),
            What::Answer { agent, .. } if agent != self.agents => None,
            What::Answer { call, .. } => self.answer(call),
        }
    }

    /// The agent dies: its calls under way never take effect and are never answered. Containers live on,
    /// and a KILL that was promised comes.
    pub const fn agent_dies(&mut self) {
        self.agents += 1;
    }

    /// What the runtime says stands of a pod.
    #[must_use]
    pub fn standing(&self, pod: &PodUid) -> Option<Standing> {
        self.pods.get(pod)?.standing()
    }

    /// Pods whose sandboxes stand.
    pub fn sandboxes(&self) -> impl Iterator<Item = &PodUid> {
        self.pods
            .iter()
            .filter(|(_, world)| world.stands())
            .map(|(pod, _)| pod)
    }

    /// A pod's sandbox goes with all in it, unasked; what the agent hears of it. `None` if none stood.
    pub fn lose_sandbox(&mut self, pod: &PodUid) -> Option<Input> {
        let world = self.pods.get_mut(pod).filter(|world| world.stands())?;
        world.goes();
        Some(Input::PodLost { pod: pod.clone() })
    }

    /// A run ends by somebody else's hand; what the agent hears of it. `None` if it does not run.
    pub fn end_run(
        &mut self,
        pod: &PodUid,
        id: &ContainerId,
        code: i32,
        signal: Option<i32>,
    ) -> Option<Input> {
        self.end(pod, id, (code, signal, false))
    }

    fn end(
        &mut self,
        pod: &PodUid,
        id: &ContainerId,
        (code, signal, out_of_memory): (i32, Option<i32>, bool),
    ) -> Option<Input> {
        let now = self.now();
        let exit = Exit {
            code,
            signal,
            out_of_memory,
            finished_at: now.wall,
            message: None,
        };
        let world = self.pods.get_mut(pod)?;
        let cut = world.end(pod, id, exit.clone(), now.mono)?;
        for (agent, input) in cut {
            let call = Call::Known(input);
            self.later(Duration::ZERO, What::Answer { agent, call });
        }
        Some(Input::ContainerExited {
            pod: pod.clone(),
            container: id.clone(),
            exit,
        })
    }

    fn answer(&mut self, call: Call) -> Option<Input> {
        match call {
            Call::Known(input) => Some(input),
            Call::OfRun {
                pod,
                id,
                ticket,
                input,
            } => {
                let waited_for = self.pods.get_mut(&pod)?.settle(&id, ticket);
                waited_for.then_some(input)
            }
            Call::SandboxStands { pod, input } => {
                self.pods.get_mut(&pod)?.stands_now();
                input
            }
            Call::SandboxIsGone { pod, input } => {
                self.pods.get_mut(&pod)?.goes();
                input
            }
            Call::ImageIsThere { image, input } => {
                self.absent.remove(&image);
                self.pulled.insert(image);
                input
            }
            Call::RunBegins(begins) => self.begin_run(*begins),
        }
    }

    fn later(&mut self, after: Duration, what: What) {
        self.order += 1;
        self.coming.push(Coming {
            at: self.now().mono + after,
            sort: what.sort(),
            order: self.order,
            what,
        });
    }

    fn call(&mut self, after: Duration, call: Call) {
        let agent = self.agents;
        self.later(after, What::Answer { agent, call });
    }
}

impl What {
    const fn sort(&self) -> Sort {
        match self {
            Self::Answer {
                call: Call::SandboxStands { .. } | Call::RunBegins(_),
                ..
            } => Sort::Begin,
            Self::RunEnds { .. } | Self::Answer { .. } => Sort::End,
        }
    }
}

/// The soonest is the greatest, as the heap wants it.
impl Ord for Coming {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sort, other.order).cmp(&(self.at, self.sort, self.order))
    }
}

impl PartialOrd for Coming {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Coming {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Coming {}

#[cfg(test)]
mod tests;
