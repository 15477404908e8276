//! The node: routes inputs to pods, and makes one commit of what a turn changed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use probelet_model::id::{ContainerId, PodUid};
use probelet_model::pod::Deletion;
use probelet_model::status::PodStatus;
use probelet_model::time::{Mono, Now, Wall};

use crate::backoff::BackOffLimits;
use crate::effect::{Commit, Effect};
use crate::input::{AttemptId, Input, OperationId, Origin};
use crate::pod::{Ending, PodMachine};
use crate::random::Random;
use crate::report::{Report, What};
use crate::services::{Services, Shown};

/// What does not change while the engine lives.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name, as endpoints tell it.
    pub node_name: String,
    /// The node's address.
    pub host_ip: IpAddr,
    /// All chance comes from here, the ids of containers too: another one for each agent of a data dir.
    pub seed: u64,
    /// The numbers of CrashLoopBackOff.
    pub back_off: BackOffLimits,
}

/// When the engine wants to be woken, and for whose sake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Mono,
    /// Which pod asked for it.
    pub pod: PodUid,
}

/// The engine of one node. See the crate's docs for the contract.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    /// One reading of both clocks, by which instants are written down.
    origin: Now,
    ids: Ids,
    spread: Random,
    pods: BTreeMap<PodUid, PodMachine>,
    services: Services,
    deadlines: BTreeSet<(Mono, PodUid)>,
    effects: VecDeque<Effect>,
    stale_answers: u64,
}

/// What the machines of a pod need for one turn.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) config: &'a Config,
    pub(crate) ids: &'a mut Ids,
    pub(crate) out: &'a mut Vec<Effect>,
    stale_answers: &'a mut u64,
}

impl Turn<'_> {
    /// Counts an answer that nobody waits for.
    pub(crate) const fn stale(&mut self) {
        *self.stale_answers += 1;
    }

    /// A wall time of the past on the monotonic clock.
    pub(crate) fn mono_of(&self, wall: Wall) -> Mono {
        let ago = self.now.wall.since(wall);
        Mono(
            self.now
                .mono
                .0
                .saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// Fresh ids.
#[derive(Debug)]
pub(crate) struct Ids {
    attempts: u64,
    operations: u64,
    containers: Random,
}

impl Ids {
    pub(crate) const fn attempt(&mut self) -> AttemptId {
        self.attempts += 1;
        AttemptId(self.attempts)
    }

    pub(crate) const fn operation(&mut self) -> OperationId {
        self.operations += 1;
        OperationId(self.operations)
    }

    pub(crate) fn container(&mut self) -> ContainerId {
        ContainerId::from(self.containers.container_id())
    }
}

impl Engine {
    /// An engine without pods, as of `now`.
    #[must_use]
    pub fn new(config: Config, now: Now) -> Self {
        let ids = Ids {
            attempts: 0,
            operations: 0,
            containers: Random::new(config.seed, 1),
        };
        Self {
            origin: now,
            ids,
            spread: Random::new(config.seed, 2),
            pods: BTreeMap::new(),
            services: Services::default(),
            deadlines: BTreeSet::new(),
            effects: VecDeque::new(),
            stale_answers: 0,
            config,
        }
    }

    /// Takes in one thing that has happened.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::PodApplied { pod, origin } => {
                let uid = pod.uid.clone();
                if self.pods.contains_key(&uid) {
                    self.turn(now, &uid, |machine, turn| machine.apply(pod, turn));
                } else {
                    let machine = self.admit(pod, origin, now);
                    self.pods.insert(uid.clone(), machine);
                    self.turn(now, &uid, |_, _| {});
                }
            }
            Input::PodStopped { pod } => self.turn(now, &pod, |machine, turn| {
                let grace = machine.pod.termination_grace_period;
                let deletion = Deletion {
                    at: turn.now.wall,
                    grace,
                };
                machine.end(Ending {
                    deletion,
                    delete: false,
                });
            }),
            Input::ServiceApplied { service } => {
                let node_name = &self.config.node_name;
                let endpoints = self.services.apply(service, node_name, &self.pods);
                self.commit(Commit {
                    statuses: Vec::new(),
                    endpoints: endpoints.into_iter().collect(),
                });
            }
            Input::ServiceDeleted { key } => {
                self.services.delete(&key);
            }
            Input::PodStarted {
                pod,
                operation,
                result,
            } => {
                self.turn(now, &pod, |machine, turn| {
                    machine.sandbox_started(operation, result, turn)
                });
            }
            Input::ImageLookedUp {
                pod,
                operation,
                result,
            } => {
                self.turn(now, &pod, |machine, turn| {
                    machine.image_looked_up(operation, result, turn)
                });
            }
            Input::ImagePulled {
                pod,
                operation,
                result,
            } => {
                self.turn(now, &pod, |machine, turn| {
                    machine.image_pulled(operation, result, turn)
                });
            }
            Input::ContainerStarted {
                pod,
                operation,
                result,
            } => {
                self.turn(now, &pod, |machine, turn| {
                    machine.container_started(operation, result, turn)
                });
            }
            Input::ContainerExited {
                pod,
                container,
                exit,
            } => {
                self.turn(now, &pod, |machine, turn| {
                    machine.container_exited(&container, exit, turn)
                });
            }
            Input::PodLost { pod } => self.turn(now, &pod, PodMachine::sandbox_lost),
            Input::VolumeFull { pod, volume } => {
                self.turn(now, &pod, |machine, turn| {
                    machine.volume_full(&volume, turn)
                });
            }
            Input::PodRemoved {
                pod,
                operation,
                result,
            } => {
                self.turn(now, &pod, |machine, turn| {
                    machine.sandbox_removed(operation, result, turn)
                });
            }
            Input::HookFinished {
                pod,
                operation,
                result,
            } => {
                self.turn(now, &pod, |machine, turn| {
                    machine.hook_finished(operation, result, turn)
                });
            }
            Input::AttemptFinished {
                pod,
                attempt,
                result,
                duration,
            } => {
                self.turn(now, &pod, |machine, turn| {
                    machine.attempt_finished(attempt, &result, duration, turn)
                });
            }
            Input::Wake => {
                let listed = self.deadlines.iter().take_while(|(at, _)| *at <= now.mono);
                // Each pod once, so that no mistake of a pod's can keep the node from everything else.
                let due: Vec<PodUid> = listed.map(|(_, pod)| pod.clone()).collect();
                for pod in due {
                    self.turn(now, &pod, PodMachine::wake);
                }
            }
        }
    }

    /// The next thing to be done, in the order in which it must be done.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to hand in [`Input::Wake`].
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.deadlines.first().map(|(at, pod)| Deadline {
            at: *at,
            pod: pod.clone(),
        })
    }

    /// The status of one pod as it was last committed.
    #[must_use]
    pub fn status(&self, pod: &PodUid) -> Option<&Arc<PodStatus>> {
        self.pods.get(pod).map(|machine| &machine.status)
    }

    /// The pods the engine runs.
    pub fn pods(&self) -> impl Iterator<Item = &PodUid> {
        self.pods.keys()
    }

    /// How many answers came that nobody waited for.
    #[must_use]
    pub const fn stale_answers(&self) -> u64 {
        self.stale_answers
    }

    /// One pod's turn: what has happened, then what follows from it, then what has become visible.
    fn turn(&mut self, now: Now, uid: &PodUid, what: impl FnOnce(&mut PodMachine, &mut Turn<'_>)) {
        let Some(machine) = self.pods.get_mut(uid) else {
            self.stale_answers += 1;
            return;
        };
        let ready_since = machine.ready_since();
        let mut out = Vec::new();
        let mut turn = Turn {
            now,
            config: &self.config,
            ids: &mut self.ids,
            out: &mut out,
            stale_answers: &mut self.stale_answers,
        };
        what(machine, &mut turn);
        machine.settle(&mut turn);
        let moved = std::mem::take(&mut machine.changed);
        let mut commit = Commit::default();
        if moved {
            let status = machine.status(&turn);
            if status != *machine.status {
                machine.status = Arc::new(status);
                commit.statuses.push((uid.clone(), machine.status.clone()));
            }
        }
        machine.trigger(&mut turn);
        machine.check();
        if machine.take_unnoted() || moved {
            let memory = machine.noted(self.origin);
            if memory != machine.memory {
                machine.memory = memory.clone();
                self.effects.push_back(Effect::Remember {
                    pod: uid.clone(),
                    memory: Box::new(memory),
                });
            }
        }
        let ended = machine
            .has_ended()
            .then(|| machine.ending.is_some_and(|ending| ending.delete));
        if let Some(at) = machine.listed_deadline.take() {
            self.deadlines.remove(&(at, uid.clone()));
        }
        if let (Some(at), None) = (machine.deadline(), ended) {
            machine.listed_deadline = Some(at);
            self.deadlines.insert((at, uid.clone()));
        }
        if moved {
            let now_shown = ended.is_none().then(|| Shown::of(machine));
            let trigger_time = machine.ready_since().filter(|at| ready_since != Some(*at));
            if now_shown != machine.shown {
                let before = std::mem::replace(&mut machine.shown, now_shown.clone());
                if ended.is_some() {
                    self.pods.remove(uid);
                }
                let either = before.iter().chain(&now_shown);
                commit.endpoints = self.services.changes(
                    |service| either.clone().any(|shown| shown.is_behind(service)),
                    trigger_time,
                    &self.config.node_name,
                    &self.pods,
                );
            }
        }
        // What an attempt saw is told before what it came to.
        let seen = |effect: &Effect| {
            matches!(
                effect,
                Effect::Report(Report {
                    what: What::Attempt { .. } | What::Error { .. } | What::Verdict(_),
                    ..
                })
            )
        };
        let (told, rest): (Vec<_>, Vec<_>) = out.into_iter().partition(seen);
        self.effects.extend(told);
        self.commit(commit);
        self.effects.extend(rest);
        if let Some(deleted) = ended {
            self.effects.push_back(Effect::PodEnded {
                pod: uid.clone(),
                deleted,
            });
        }
    }

    fn commit(&mut self, commit: Commit) {
        if !commit.statuses.is_empty() || !commit.endpoints.is_empty() {
            self.effects.push_back(Effect::Commit(commit));
        }
    }

    /// A machine for a pod that is new here.
    ///
    /// Differs: upstream delays the first look of every probe by a random part of its period while the
    /// kubelet is younger than that period, so that a restart makes no burst. Here that holds only for
    /// pods that were there before the agent; one that somebody has just applied is looked at at once.
    fn admit(
        &mut self,
        pod: Arc<probelet_model::pod::Pod>,
        origin: Origin,
        now: Now,
    ) -> PodMachine {
        let deletion = pod.deletion;
        let mut machine = match origin {
            Origin::New => PodMachine::new(pod, now, |_| now.mono),
            Origin::Restored {
                status,
                memory,
                standing,
                stop,
            } => {
                let age = now.mono.since(self.origin.mono);
                let spread = &mut self.spread;
                let mut first_look = |period: Duration| {
                    if period > age {
                        now.mono + period.mul_f64(spread.fraction())
                    } else {
                        now.mono
                    }
                };
                let mut machine =
                    PodMachine::restored(pod, *status, memory, standing, now, &mut first_look);
                if stop {
                    let grace = machine.pod.termination_grace_period;
                    machine.end(Ending {
                        deletion: Deletion {
                            at: now.wall,
                            grace,
                        },
                        delete: false,
                    });
                }
                machine
            }
        };
        if let Some(deletion) = deletion {
            machine.end(Ending {
                deletion,
                delete: true,
            });
        }
        machine
    }
}
