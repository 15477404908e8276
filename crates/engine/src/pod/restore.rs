//! Taking up a pod that an agent before this one ran.

use std::sync::Arc;
use std::time::Duration;

use probelet_model::pod::{Container, Pod};
use probelet_model::probe::{ProbeKind, Verdict};
use probelet_model::status::{ContainerState, ContainerStatus, PodStatus, Terminated, Waiting};
use probelet_model::time::{Mono, Now, Wall};

use super::{PodMachine, Sandbox, lost_run};
use crate::container::{
    AfterStop, ContainerMachine, ExitedRun, State, StopStep, id_from_wire, terminated,
};
use crate::input::{Standing, StandingContainer};
use crate::memory::{ContainerMemory, PodMemory};

impl PodMachine {
    /// A pod as it was left: by the status that was stored, by what the engine had noted, and by what
    /// the runtime says stands. Where they differ the runtime is right about runs, the memory about
    /// probes and back-off, the status about the past.
    ///
    /// Upstream: kubelet with ChangeContainerStatusOnKubeletRestart off (the default from 1.35), where
    /// ready and started are kept over a restart; pkg/kubelet/prober/prober_manager.go.
    /// Differs: run counters, back-off and the tick grid are kept too.
    pub(crate) fn restored(
        pod: Arc<Pod>,
        status: PodStatus,
        memory: Option<PodMemory>,
        standing: Option<Standing>,
        now: Now,
        first_look: &mut dyn FnMut(Duration) -> Mono,
    ) -> Self {
        let ran = status
            .container_statuses
            .iter()
            .any(|container| container.container_id.is_some());
        let records = standing
            .as_ref()
            .map_or(&[][..], |standing| &standing.containers);
        let containers = pod
            .containers
            .iter()
            .map(|spec| {
                let past = Past {
                    status: status.container(spec.name.as_str()),
                    memory: memory
                        .as_ref()
                        .and_then(|memory| memory.containers.get(&spec.name)),
                    records: records
                        .iter()
                        .filter(|record| record.name == spec.name)
                        .collect(),
                    stands: standing.is_some(),
                };
                past.container(spec, now, first_look)
            })
            .collect();
        let (sandbox, ip) = match standing {
            Some(standing) => (Sandbox::Standing, Some(standing.ip)),
            None => (Sandbox::Absent { lost: ran }, None),
        };
        Self {
            sandbox,
            containers,
            ip,
            start_time: status
                .start_time
                .unwrap_or_else(|| now.wall.whole_seconds()),
            status: Arc::new(status),
            memory: memory.unwrap_or_default(),
            ..Self::new(pod, now, |_| now.mono)
        }
    }
}

/// What is known of one container.
struct Past<'a> {
    status: Option<&'a ContainerStatus>,
    memory: Option<&'a ContainerMemory>,
    /// Oldest first.
    records: Vec<&'a StandingContainer>,
    /// The sandbox stands.
    stands: bool,
}

impl Past<'_> {
    fn container(
        &self,
        spec: &Container,
        now: Now,
        first_look: &mut dyn FnMut(Duration) -> Mono,
    ) -> ContainerMachine {
        let mut machine = ContainerMachine::new(spec, first_look);
        if let Some(memory) = self.memory {
            machine.recall(spec, memory, now);
        }
        let mut records = self.records.clone();
        let newest = records.pop().filter(|record| !self.is_outdated(record));
        let exit_before = records.pop().and_then(|record| exited(record, now));
        if let Some(record) = newest {
            let known = exit_before.or_else(|| self.exit_told_before(record, now));
            machine.take_history(known, None, record.restart_count, None);
            machine.run_began(
                record.id.clone(),
                record.restart_count,
                self.image(spec),
                record.started_at,
                now,
            );
            self.take_up(&mut machine, record, now);
        } else {
            self.take_over_ended(&mut machine, now);
        }
        match self.memory {
            None => self.assume_verdicts(&mut machine),
            Some(memory) => self.start_again(&mut machine, memory),
        }
        machine
    }

    /// The runtime keeps no record of a run whose command could not be executed, the status does.
    fn is_outdated(&self, record: &StandingContainer) -> bool {
        self.status
            .is_some_and(|status| status.restart_count > record.restart_count)
    }

    /// The image of the newest run, which may be another than the spec says by now.
    fn image(&self, spec: &Container) -> String {
        self.status
            .map_or(&spec.image, |status| &status.image)
            .clone()
    }

    /// A start that was asked for and never carried out is asked for again. It was granted then, so
    /// neither the policy nor the back-off is asked.
    fn start_again(&self, machine: &mut ContainerMachine, memory: &ContainerMemory) {
        let known = machine.newest_exit.as_ref().map(|exited| &exited.id);
        let in_vain = memory.id.is_some() && memory.id.as_ref() != known;
        if self.stands && machine.state == State::Idle && in_vain {
            machine.start_over = machine.start_over.or(Some(None));
        }
    }

    /// A run that the runtime knows.
    fn take_up(&self, machine: &mut ContainerMachine, record: &StandingContainer, now: Now) {
        let State::Running(run) = machine.state.clone() else {
            return;
        };
        let stopping = self
            .memory
            .filter(|memory| memory.id.as_ref() == Some(&record.id));
        if let Some(exited) = exited(record, now) {
            let restart = stopping
                .and_then(|memory| memory.stopping)
                .filter(|stopping| stopping.restart);
            machine.run_ended(exited, record.restart_count);
            if restart.is_some() {
                // The start that was decided before the exit is judged by an older exit, or by none.
                machine.start_over =
                    restart.map(|stopping| stopping.previous_exit.map(|at| at.read_past(now)));
            } else if self.status.is_some_and(|status| waits_for(status, record)) {
                machine.waiting = self.status.and_then(|status| waiting_of(&status.state));
            }
        } else if let Some(stopping) = stopping.and_then(|memory| memory.stopping) {
            let then = if stopping.restart {
                AfterStop::Restart {
                    newest_exit: stopping.previous_exit.map(|at| at.read_past(now)),
                }
            } else {
                AfterStop::Policy
            };
            // The runtime keeps the deadline of a stop it has heard of. In case it has not, the pod
            // asks again; that can only bring the deadline forward.
            machine.state = State::Stopping {
                run,
                step: StopStep::Recalled,
                then,
            };
        }
    }

    /// How the run before `record` ended, if only the status remembers it.
    fn exit_told_before(&self, record: &StandingContainer, now: Now) -> Option<ExitedRun> {
        let status = self.status?;
        let told = match (&status.state, &status.last_state) {
            (ContainerState::Terminated(end), _) | (_, Some(end)) => end,
            (ContainerState::Running(_) | ContainerState::Waiting(_), None) => return None,
        };
        let run = exited_from_status(told, now)?;
        (run.id != record.id).then_some(run)
    }

    /// No run that the runtime knows.
    fn take_over_ended(&self, machine: &mut ContainerMachine, now: Now) {
        let Some(status) = self.status else { return };
        let last = status.last_state.as_ref();
        let (newest, previous) = match &status.state {
            ContainerState::Running(running) => {
                let Some(id) = &status.container_id else {
                    return;
                };
                let lost = lost_run(&id_from_wire(id), running.started_at, now);
                (Some(lost), last.cloned())
            }
            ContainerState::Terminated(end) => (exited_from_status(end, now), last.cloned()),
            ContainerState::Waiting(_) => (last.and_then(|end| exited_from_status(end, now)), None),
        };
        let waiting = waiting_of(&status.state).filter(|_| newest.is_some());
        machine.take_history(newest, previous, status.restart_count, waiting);
    }

    /// Without a memory the status says what the verdicts must have been.
    fn assume_verdicts(&self, machine: &mut ContainerMachine) {
        let (Some(status), Some(id)) = (self.status, machine.running().map(|run| run.id.clone()))
        else {
            return;
        };
        if status.container_id.as_deref().map(id_from_wire).as_ref() != Some(&id) {
            return;
        }
        for probe in &mut machine.probes {
            match probe.kind {
                ProbeKind::Startup if status.started == Some(true) => {
                    probe.assume(&id, Verdict::Success)
                }
                ProbeKind::Readiness if status.ready => probe.assume(&id, Verdict::Success),
                ProbeKind::Startup | ProbeKind::Readiness | ProbeKind::Liveness => {}
            }
        }
    }
}

fn waits_for(status: &ContainerStatus, record: &StandingContainer) -> bool {
    status.container_id.as_deref().map(id_from_wire).as_ref() == Some(&record.id)
}

fn waiting_of(state: &ContainerState) -> Option<Waiting> {
    match state {
        ContainerState::Waiting(waiting) => Some(waiting.clone()),
        ContainerState::Running(_) | ContainerState::Terminated(_) => None,
    }
}

fn exited(record: &StandingContainer, now: Now) -> Option<ExitedRun> {
    let exit = record.exit?;
    let terminated = terminated(&record.id, record.started_at, exit);
    Some(ExitedRun {
        id: record.id.clone(),
        at: past(exit.finished_at, now),
        terminated,
    })
}

fn exited_from_status(end: &Terminated, now: Now) -> Option<ExitedRun> {
    let id = end.container_id.as_deref().map(id_from_wire)?;
    let at = end
        .finished_at
        .map_or(now.mono, |finished_at| past(finished_at, now));
    Some(ExitedRun {
        id,
        at,
        terminated: end.clone(),
    })
}

/// A wall time of the past on the monotonic clock.
fn past(wall: Wall, now: Now) -> Mono {
    let ago = u64::try_from(now.wall.since(wall).as_nanos()).unwrap_or(u64::MAX);
    Mono(now.mono.0.saturating_sub(ago))
}
