//! The witness of a run: shows everything to the checks, has calls go wrong, and lets agents die.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use probelet_engine::Engine;
use probelet_engine::effect::Effect;
use probelet_engine::input::{Input, Origin};
use probelet_model::id::PodUid;
use probelet_model::pod::Pod;
use probelet_model::probe::ProberError;
use probelet_model::status::PodStatus;
use probelet_model::time::{Mono, Now};

use super::Stats;
use super::checks::{Breach, Checks, Seen};
use super::deed::Call;
use super::sink::Sink;
use crate::node::{Then, Witness};
use crate::world::Fault;

/// How many answers are kept to come once more.
const ANSWERS: usize = 8;
/// How old a commit may be that has not reached the disk yet: many times what a store takes.
const LINGER: Duration = Duration::from_secs(1);

/// Sees everything, and has things go wrong.
pub(super) struct Eyes {
    checks: Checks,
    /// What was wrong first.
    pub(super) breach: Option<Breach>,
    pub(super) stats: Stats,
    /// Where this agent's commits go.
    pub(super) sink: Sink,
    /// Calls that are to go wrong, each once.
    pub(super) broken: Vec<(Call, Fault)>,
    /// How the agent is to die.
    pub(super) death: Death,
    /// Pods that were stopped and have ended; their objects are still there.
    pub(super) ended: BTreeSet<PodUid>,
    /// The last answers, the newest first.
    pub(super) answers: VecDeque<Input>,
    /// Answers to what was lost.
    pub(super) owed: Vec<Input>,
    /// Pods with the statuses that the last commits replaced, and when.
    commits: VecDeque<(Mono, PodUid, Option<Arc<PodStatus>>)>,
    /// Pods as they were applied, with the statuses that were committed.
    pods: BTreeMap<PodUid, (Arc<Pod>, Option<Arc<PodStatus>>)>,
}

/// How an agent is to die, or has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Death {
    /// After so many effects.
    pub(super) after: Option<u32>,
    /// How many commits die with it, if they are young.
    pub(super) lost: usize,
    /// Until the next agent starts.
    pub(super) down: Duration,
    /// It is dead, and nobody has been told.
    pub(super) untold: bool,
}

impl Eyes {
    pub(super) fn new() -> Self {
        Self {
            checks: Checks::default(),
            breach: None,
            stats: Stats::default(),
            sink: Sink::new(),
            broken: Vec::new(),
            death: Death::default(),
            ended: BTreeSet::new(),
            answers: VecDeque::new(),
            owed: Vec::new(),
            commits: VecDeque::new(),
            pods: BTreeMap::new(),
        }
    }

    fn see(&mut self, now: Now, seen: Seen<'_>) {
        if self.breach.is_none() {
            self.breach = self.checks.see(now, seen).err();
        }
    }

    /// Tells of an agent's death, once; with the pods whose last commits died with it, and the statuses
    /// that are theirs again.
    pub(super) fn bury(&mut self, now: Now) -> Vec<(PodUid, Option<Arc<PodStatus>>)> {
        if !std::mem::take(&mut self.death.untold) {
            return Vec::new();
        }
        self.stats.crashes += 1;
        self.see(now, Seen::Died);
        self.answers.clear();
        self.owed.clear();
        let newest_first = std::mem::take(&mut self.commits).into_iter().rev();
        newest_first
            .take(self.death.lost)
            .take_while(|(at, ..)| now.mono.since(*at) < LINGER)
            .map(|(_, pod, status)| (pod, status))
            .collect()
    }

    fn fault(&mut self, effect: &Effect) -> Fault {
        let Some(call) = Call::of(effect) else {
            return Fault::None;
        };
        let Some(place) = self.broken.iter().position(|(broken, _)| *broken == call) else {
            return Fault::None;
        };
        let (_, fault) = self.broken.remove(place);
        self.stats.faults += 1;
        if fault == Fault::Lost {
            self.owed.extend(late_answer(effect));
        }
        fault
    }

    fn keep_commit(&mut self, now: Mono, effect: &Effect) {
        let Effect::Commit(commit) = effect else {
            return;
        };
        self.stats.commits += 1;
        let pods = &self.pods;
        let written = self
            .sink
            .commit(commit, |uid| pods.get(uid).map(|(pod, _)| pod));
        self.breach = self.breach.take().or(written.err());
        for (uid, status) in &commit.statuses {
            if let Some((_, committed)) = self.pods.get_mut(uid) {
                let before = committed.replace(status.clone());
                self.commits.push_back((now, uid.clone(), before));
            }
        }
        self.commits.retain(|(at, ..)| now.since(*at) < LINGER);
    }
}

impl Witness for Eyes {
    fn input(&mut self, now: Now, input: &Input) {
        self.stats.inputs += 1;
        match input {
            Input::PodApplied { pod, origin } => {
                let status = match origin {
                    Origin::Restored { status, .. } => Some(Arc::new((**status).clone())),
                    Origin::New => None,
                };
                let known = self
                    .pods
                    .entry(pod.uid.clone())
                    .or_insert_with(|| (pod.clone(), None));
                *known = (pod.clone(), status.or_else(|| known.1.take()));
            }
            Input::AttemptFinished { .. }
            | Input::ImageLookedUp { .. }
            | Input::ImagePulled { .. }
            | Input::ContainerStarted { .. }
            | Input::ContainerExited { .. }
            | Input::PodStarted { .. }
            | Input::HookFinished { .. } => {
                self.answers.push_front(input.clone());
                self.answers.truncate(ANSWERS);
            }
            Input::PodStopped { .. }
            | Input::ServiceApplied { .. }
            | Input::ServiceDeleted { .. }
            | Input::PodLost { .. }
            | Input::VolumeFull { .. }
            | Input::PodRemoved { .. }
            | Input::Wake => {}
        }
        self.see(now, Seen::Told(input));
    }

    fn effect(&mut self, now: Now, effect: &Effect) -> Then {
        if self.death.after == Some(0) {
            self.death.after = None;
            self.death.untold = true;
            return Then::Crash;
        }
        self.death.after = self.death.after.map(|effects| effects - 1);
        if let Effect::StartAttempt { .. } = effect {
            self.stats.attempts += 1;
        }
        if let Effect::PodEnded {
            pod,
            deleted: false,
        } = effect
        {
            self.ended.insert(pod.clone());
        }
        self.see(now, Seen::Asked(effect));
        self.keep_commit(now.mono, effect);
        Then::CarryOut(self.fault(effect))
    }

    fn drained(&mut self, now: Now, engine: &Engine) {
        let deadline = engine.deadline().map(|deadline| deadline.at);
        self.see(now, Seen::Drained(deadline));
    }
}

/// What answers a lost question when nothing is lost any more.
fn late_answer(effect: &Effect) -> Option<Input> {
    match effect {
        Effect::StartAttempt { attempt, pod, .. } => Some(Input::AttemptFinished {
            pod: pod.uid.clone(),
            attempt: *attempt,
            result: Err(ProberError {
                message: "lost".to_owned(),
            }),
            duration: Duration::ZERO,
        }),
        Effect::RunHook { operation, pod, .. } => Some(Input::HookFinished {
            pod: pod.uid.clone(),
            operation: *operation,
            result: Err("lost".to_owned()),
        }),
        Effect::Remember { .. }
        | Effect::Commit(_)
        | Effect::StartPod { .. }
        | Effect::LookUpImage { .. }
        | Effect::PullImage { .. }
        | Effect::StartContainer { .. }
        | Effect::StopContainer { .. }
        | Effect::RemovePod { .. }
        | Effect::Event(_)
        | Effect::Report(_)
        | Effect::PodEnded { .. } => None,
    }
}
