//! What of one container is written down, and how it is taken up again.

use probelet_model::pod::Container;
use probelet_model::time::Now;

use super::{AfterStop, ContainerMachine, Fetch, RunImage, State, StopStep};
use crate::backoff::Entry;
use crate::memory::{ContainerMemory, ImageMemory, Instant, StepMemory, StoppingMemory};
use crate::probe::ProbeMachine;

impl ContainerMachine {
    /// What the next agent must know.
    pub(crate) fn memory(&self, origin: Now) -> ContainerMemory {
        let id = match &self.state {
            State::Fetching(Fetch { id, .. }) | State::Starting { id, .. } => Some(id),
            State::PostStart { run, .. } | State::Running(run) | State::Stopping { run, .. } => {
                Some(&run.id)
            }
            State::Idle => self.newest_exit.as_ref().map(|exited| &exited.id),
        };
        let stopping = match &self.state {
            State::Stopping { step, then, .. } => Some(stopping(step, *then, origin)),
            State::Idle
            | State::Fetching(_)
            | State::Starting { .. }
            | State::PostStart { .. }
            | State::Running(_) => None,
        };
        ContainerMemory {
            id: id.cloned(),
            restart_count: self.restart_count,
            completed: self.completed,
            stopping,
            back_off: self
                .back_off
                .entry
                .map(|entry| (entry.delay, Instant::written(entry.updated, origin))),
            probes: self
                .probes
                .iter()
                .map(|probe| (probe.kind, probe.memory(origin)))
                .collect(),
            image: self.newest_image().map(|image| ImageMemory {
                spec: image.spec.clone(),
                name: image.name.clone(),
                id: image.id.clone(),
            }),
        }
    }

    /// The image of the newest run, begun or asked for.
    fn newest_image(&self) -> Option<&RunImage> {
        match &self.state {
            State::Starting { image, .. } if !image.id.is_empty() => Some(image),
            _ => self.image.as_ref(),
        }
    }

    /// Takes over what the agent before this one had noted.
    pub(crate) fn recall(&mut self, spec: &Container, memory: &ContainerMemory, now: Now) {
        self.back_off.entry = memory.back_off.map(|(delay, updated)| Entry {
            delay,
            updated: updated.read_past(now),
        });
        for machine in &mut self.probes {
            if let (Some(noted), Some(probe)) =
                (memory.probes.get(&machine.kind), spec.probe(machine.kind))
            {
                *machine = ProbeMachine::restored(machine.kind, probe, noted, now);
            }
        }
    }
}

fn stopping(step: &StopStep, then: AfterStop, origin: Now) -> StoppingMemory {
    let written = |since| Instant::written(since, origin);
    let step = match *step {
        StopStep::Hook { since, grace, .. } => Some(StepMemory::Hook {
            since: written(since),
            grace,
        }),
        StopStep::Turn { since, grace } => Some(StepMemory::Turn {
            since: written(since),
            grace,
        }),
        StopStep::Signalled { grace, .. } => Some(StepMemory::Signalled { grace }),
        StopStep::Recalled { .. } => None,
    };
    let (restart, previous_exit) = match then {
        AfterStop::Policy => (false, None),
        AfterStop::Restart { newest_exit } => (true, newest_exit),
    };
    StoppingMemory {
        restart,
        previous_exit: previous_exit.map(written),
        step,
    }
}
