//! One pod in the world: its sandbox, and the runs of its containers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use probelet_engine::input::{AttemptId, Exit, Input, OperationId, Standing, StandingContainer};
use probelet_model::id::{ContainerId, ContainerName, PodUid};
use probelet_model::pod::Pod;
use probelet_model::probe::ProbeKind;
use probelet_model::time::{Mono, Wall};

use super::attempt::cut_off;
use crate::script::{PodScript, Pull, Run};

/// How many runs of a container are remembered beside the present one. The engine asks for the last.
const PAST_RUNS: usize = 2;

/// A pod.
#[derive(Debug)]
pub(super) struct PodWorld {
    ip: IpAddr,
    stands: bool,
    /// How many sandboxes there were: a container is started in the one it was asked for, or not at all.
    sandboxes: u64,
    script: PodScript,
    /// How many pulls were asked for.
    pulls: BTreeMap<ContainerName, usize>,
    /// Oldest first.
    runs: Vec<RunState>,
}

/// One run as the runtime knows it.
#[derive(Debug)]
struct RunState {
    id: ContainerId,
    name: ContainerName,
    restart_count: u32,
    started_at: Wall,
    since: Mono,
    /// TERM has come.
    termed: bool,
    exit: Option<Exit>,
    under_way: Vec<UnderWay>,
    tickets: u64,
}

/// A call that the end of its run answers.
#[derive(Debug)]
pub(super) struct UnderWay {
    ticket: u64,
    pub(super) agent: u64,
    pub(super) question: Question,
}

/// What was asked.
#[derive(Debug)]
pub(super) enum Question {
    Attempt {
        attempt: AttemptId,
        pod: Arc<Pod>,
        kind: ProbeKind,
        since: Mono,
    },
    Hook(OperationId),
}

/// A start that was asked for.
#[derive(Debug)]
pub(super) struct RunBegins {
    pub(super) pod: PodUid,
    pub(super) sandbox: Option<u64>,
    pub(super) operation: OperationId,
    pub(super) id: ContainerId,
    pub(super) name: ContainerName,
    pub(super) restart_count: u32,
    /// It is never answered.
    pub(super) lost: bool,
}

impl PodWorld {
    pub(super) const fn new(ip: IpAddr, script: PodScript) -> Self {
        Self {
            ip,
            stands: false,
            sandboxes: 0,
            script,
            pulls: BTreeMap::new(),
            runs: Vec::new(),
        }
    }

    pub(super) const fn ip(&self) -> IpAddr {
        self.ip
    }

    pub(super) const fn stands(&self) -> bool {
        self.stands
    }

    /// Which sandbox stands, if one does.
    pub(super) fn sandbox(&self) -> Option<u64> {
        self.stands.then_some(self.sandboxes)
    }

    pub(super) const fn stands_now(&mut self) {
        if !self.stands {
            self.stands = true;
            self.sandboxes += 1;
        }
    }

    /// Nothing of the sandbox is left, and no record of what was in it.
    pub(super) fn goes(&mut self) {
        self.stands = false;
        self.runs.clear();
    }

    /// The script of a run; `None` if it says nothing.
    pub(super) fn script(&self, name: &ContainerName, restart_count: u32) -> Option<&Run> {
        self.script.get(name)?.run(restart_count)
    }

    /// Whether the image of a container has to be pulled first.
    pub(super) fn lacks_image(&self, name: &ContainerName) -> bool {
        let script = self.script.get(name);
        script.is_some_and(|script| !script.pulls.is_empty())
    }

    /// The script of the next pull of a container's image.
    pub(super) fn next_pull(&mut self, name: &ContainerName) -> Pull {
        let before = self.pulls.entry(name.clone()).or_default();
        *before += 1;
        let script = self.script.get(name);
        let pull = script.and_then(|script| script.pull(*before - 1));
        pull.cloned().unwrap_or_default()
    }

    pub(super) fn begin(&mut self, begins: &RunBegins, started_at: Wall, since: Mono) {
        let mut left = PAST_RUNS;
        let name = &begins.name;
        let mut index = self.runs.len();
        while index > 0 {
            index -= 1;
            if self.runs[index].name == *name && self.runs[index].exit.is_some() {
                if left == 0 {
                    self.runs.remove(index);
                } else {
                    left -= 1;
                }
            }
        }
        self.runs.push(RunState {
            id: begins.id.clone(),
            name: name.clone(),
            restart_count: begins.restart_count,
            started_at,
            since,
            termed: false,
            exit: None,
            under_way: Vec::new(),
            tickets: 0,
        });
    }

    /// A run that runs: its script and since when.
    pub(super) fn running(&self, id: &ContainerId) -> Option<(Option<&Run>, Mono)> {
        let run = self.runs.iter().rev().find(|run| run.id == *id)?;
        if run.exit.is_some() {
            return None;
        }
        Some((self.script(&run.name, run.restart_count), run.since))
    }

    /// The script of a run that TERM reaches for the first time; the outer `None` if it does not run.
    pub(super) fn term(&mut self, id: &ContainerId) -> Option<(bool, Option<&Run>)> {
        let run = self.running_mut(id)?;
        let first = !std::mem::replace(&mut run.termed, true);
        let (name, restart_count) = (run.name.clone(), run.restart_count);
        Some((first, self.script(&name, restart_count)))
    }

    /// Notes a call that the end of the run answers, and gives it a ticket.
    pub(super) fn waits(
        &mut self,
        id: &ContainerId,
        agent: u64,
        question: Question,
    ) -> Option<u64> {
        let run = self.running_mut(id)?;
        run.tickets += 1;
        run.under_way.push(UnderWay {
            ticket: run.tickets,
            agent,
            question,
        });
        Some(run.tickets)
    }

    /// Whether a call was still waited for. It no longer is.
    pub(super) fn settle(&mut self, id: &ContainerId, ticket: u64) -> bool {
        let Some(run) = self.running_mut(id) else {
            return false;
        };
        let before = run.under_way.len();
        run.under_way.retain(|call| call.ticket != ticket);
        run.under_way.len() < before
    }

    /// A run ends; with the answers of what was under way, each for the agent that asked. `None` if it
    /// does not run.
    pub(super) fn end(
        &mut self,
        pod: &PodUid,
        id: &ContainerId,
        exit: Exit,
        now: Mono,
    ) -> Option<Vec<(u64, Input)>> {
        let ip = self.ip;
        let run = self.running_mut(id)?;
        run.exit = Some(exit);
        let name = run.name.clone();
        let under_way = std::mem::take(&mut run.under_way);
        let answers = under_way.into_iter().filter_map(|call| {
            let input = match call.question {
                Question::Hook(operation) => Input::HookFinished {
                    pod: pod.clone(),
                    operation,
                    result: Err("the container has ended".to_owned()),
                },
                Question::Attempt {
                    attempt,
                    pod,
                    kind,
                    since,
                } => {
                    let spec = pod.container(name.as_str())?;
                    Input::AttemptFinished {
                        pod: pod.uid.clone(),
                        attempt,
                        result: cut_off(spec, ip, &spec.probe(kind)?.handler),
                        duration: now.since(since),
                    }
                }
            };
            Some((call.agent, input))
        });
        Some(answers.collect())
    }

    fn running_mut(&mut self, id: &ContainerId) -> Option<&mut RunState> {
        let newest_first = self.runs.iter_mut().rev();
        newest_first
            .filter(|run| run.exit.is_none())
            .find(|run| run.id == *id)
    }

    /// What the runtime says stands.
    pub(super) fn standing(&self) -> Option<Standing> {
        if !self.stands {
            return None;
        }
        let containers = self.runs.iter().map(|run| StandingContainer {
            id: run.id.clone(),
            name: run.name.clone(),
            restart_count: run.restart_count,
            started_at: run.started_at,
            exit: run.exit.clone(),
        });
        Some(Standing {
            addresses: self.ip.into(),
            containers: containers.collect(),
        })
    }
}
