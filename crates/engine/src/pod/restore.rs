//! Taking up a pod that an agent before this one ran.

use std::sync::Arc;
use std::time::Duration;

use probelet_model::pod::{Container, Pod};
use probelet_model::probe::{ProbeKind, Verdict};
use probelet_model::status::{ContainerState, ContainerStatus, PodStatus, Terminated, Waiting};
use probelet_model::time::{Mono, Now, Wall};

use super::{Initialization, PodMachine, Sandbox, deadline, lost_run, roles};
use crate::container::{
    AfterStop, Begun, ContainerMachine, ExitedRun, NOT_INITIALIZED, RecalledStep, RunImage, State,
    StopStep, id_from_wire, terminated,
};
use crate::image::FailedPulls;
use crate::input::{Standing, StandingContainer};
use crate::memory::{ContainerMemory, PodMemory, StepMemory};
use crate::restarts::Role;

impl PodMachine {
    /// A pod as it was left: by the status that was stored, by what the engine had noted, and by what
    /// the runtime says stands. Where they differ the runtime is right about runs, the memory about
    /// probes and back-off, the status about the past.
    ///
    /// Upstream: kubelet with ChangeContainerStatusOnKubeletRestart off (the default from 1.35), where
    /// ready and started are kept over a restart; pkg/kubelet/prober/prober_manager.go.
    /// Differs: run counters, back-off and the tick grid are kept too.
    /// Shown by: e18_a_ready_pod_stays_ready_even_without_a_memory,
    /// e21_a_startup_probe_that_has_succeeded_is_not_run_again,
    /// a_restart_of_the_agent_at_any_point_changes_nothing.
    pub(crate) fn restored(
        pod: Arc<Pod>,
        status: PodStatus,
        memory: Option<PodMemory>,
        standing: Option<Standing>,
        now: Now,
        first_look: &mut dyn FnMut(Duration) -> Mono,
    ) -> Self {
        let ran = status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses)
            .any(|container| container.container_id.is_some());
        let records = standing
            .as_ref()
            .map_or(&[][..], |standing| &standing.containers);
        let mut containers: Vec<ContainerMachine> = roles(&pod)
            .map(|(spec, role)| {
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
                let machine =
                    ContainerMachine::new(spec, role, pod.restart_policy, &mut *first_look);
                past.container(machine, spec, now)
            })
            .collect();
        let initialization = match &memory {
            Some(memory) => Initialization::recalled(memory.initialization, &pod),
            None => inferred(&pod, records),
        };
        for container in &mut containers[..initialization.passed(&pod)] {
            let unknown = !container.is_alive() && container.newest_exit.is_none();
            container.completed |= unknown && container.role == Role::Init;
        }
        let over = status.phase.is_terminal();
        let start_time = status
            .start_time
            .unwrap_or_else(|| now.wall.whole_seconds());
        let exceeded = memory
            .as_ref()
            .is_some_and(|memory| memory.deadline_exceeded);
        let evicted = memory.as_ref().and_then(|memory| memory.evicted.clone());
        let failed_pulls = memory
            .as_ref()
            .map(|memory| FailedPulls::recalled(&memory.failed_pulls, now));
        let (sandbox, addresses) = match standing {
            Some(standing) => (Sandbox::Standing, Some(standing.addresses)),
            None => (Sandbox::Absent { lost: ran }, None),
        };
        Self {
            sandbox,
            containers,
            initialization,
            failed_pulls: failed_pulls.unwrap_or_default(),
            addresses,
            start_time,
            active_until: deadline::due(&pod, start_time, now).filter(|_| !over && !exceeded),
            deadline_exceeded: exceeded,
            evicted,
            status: Arc::new(status),
            memory: memory.unwrap_or_default(),
            ..Self::new(pod, now, |_| now.mono)
        }
    }
}

/// How far the initialisation must have come, by the containers that the sandbox has seen.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, computeInitContainerActions.
/// Shown by: a_restart_of_the_agent_at_any_point_of_the_initialisation_changes_nothing,
/// an_init_container_of_which_the_runtime_has_no_record_is_not_run_again.
fn inferred(pod: &Pod, records: &[StandingContainer]) -> Initialization {
    let seen = |spec: &Container| records.iter().any(|record| record.name == spec.name);
    let reached = pod.init_containers.iter().rposition(seen);
    let done = pod.init_containers.is_empty() || pod.containers.iter().any(seen);
    let reached = if done {
        pod.init_containers.len()
    } else {
        reached.map_or(0, |index| index + 1)
    };
    Initialization::at(reached, done)
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
        mut machine: ContainerMachine,
        spec: &Container,
        now: Now,
    ) -> ContainerMachine {
        if let Some(memory) = self.memory {
            machine.recall(spec, memory, now);
        }
        if self.image(spec).spec != spec.image {
            machine.forget_back_off();
        }
        let mut records = self.records.clone();
        let newest = records.pop().filter(|record| !self.is_outdated(record));
        let exit_before = records.pop().and_then(|record| exited(record, now));
        if let Some(record) = newest {
            let known = exit_before.or_else(|| self.exit_told_before(record, now));
            machine.take_history(known, None, record.restart_count, None);
            let begun = Begun {
                id: record.id.clone(),
                image: self.image(spec),
                started_at: record.started_at,
            };
            machine.run_began(begun, record.restart_count, None, now);
            self.take_up(&mut machine, record, now);
        } else {
            self.take_over_ended(&mut machine, now);
            machine.take_image(self.image(spec));
        }
        match self.memory {
            None => self.assume_verdicts(&mut machine),
            Some(memory) => self.start_again(&mut machine, memory),
        }
        // What ended in this sandbox has said so itself; of what ended before, the memory tells.
        if newest.is_none() {
            let code = machine.newest_exit.as_ref();
            let well = code.is_some_and(|exited| exited.terminated.exit_code == 0);
            let noted = match self.memory {
                Some(memory) => memory.completed,
                None => self.stands && self.status.is_some_and(|status| status.ready),
            };
            machine.completed = machine.role == Role::Init && well && noted;
        }
        machine
    }

    /// The runtime keeps no record of a run whose command could not be executed, the status does.
    fn is_outdated(&self, record: &StandingContainer) -> bool {
        self.status
            .is_some_and(|status| status.restart_count > record.restart_count)
    }

    /// The image of the newest run, which may be another than the spec says by now.
    ///
    /// Without a memory of a run that sees an image's files, the spec is taken to be as it was: what the
    /// status says is the image's own name.
    fn image(&self, spec: &Container) -> RunImage {
        if let Some(image) = self.memory.and_then(|memory| memory.image.as_ref()) {
            return RunImage {
                spec: image.spec.clone(),
                name: image.name.clone(),
                id: image.id.clone(),
            };
        }
        let Some(status) = self.status else {
            return RunImage::of_host(spec);
        };
        let of_host = status.image_id.is_empty();
        RunImage {
            spec: if of_host { &status.image } else { &spec.image }.clone(),
            name: status.image.clone(),
            id: status.image_id.clone(),
        }
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
            let step = recalled(stopping.step, now);
            machine.state = State::Stopping { run, step, then };
        }
    }

    /// How the run before `record` ended, if only the status remembers it.
    fn exit_told_before(&self, record: &StandingContainer, now: Now) -> Option<ExitedRun> {
        let status = self.status?;
        let state = match &status.state {
            ContainerState::Terminated(end) => Some(end),
            ContainerState::Running(_) | ContainerState::Waiting(_) => None,
        };
        let mut told = state.into_iter().chain(&status.last_state);
        told.find_map(|end| exited_from_status(end, now).filter(|run| run.id != record.id))
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
            ContainerState::Terminated(end) if end.container_id.is_some() => {
                (exited_from_status(end, now), last.cloned())
            }
            // One that is only taken to have ended had waited.
            ContainerState::Terminated(_) | ContainerState::Waiting(_) => {
                (last.and_then(|end| exited_from_status(end, now)), None)
            }
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

/// Where a stop goes on.
///
/// The runtime keeps the deadline of a stop it has heard of. In case it has not, it is asked again; that
/// can only bring the deadline forward.
fn recalled(step: Option<StepMemory>, now: Now) -> StopStep {
    let step = match step {
        None => None,
        Some(StepMemory::Turn { since, grace }) => {
            let since = since.read_past(now);
            return StopStep::Turn { since, grace };
        }
        Some(StepMemory::Hook { since, grace }) => Some(RecalledStep::Hook {
            since: since.read_past(now),
            grace,
        }),
        Some(StepMemory::Signalled { grace }) => Some(RecalledStep::Signalled { grace }),
    };
    StopStep::Recalled { step }
}

fn waits_for(status: &ContainerStatus, record: &StandingContainer) -> bool {
    status.container_id.as_deref().map(id_from_wire).as_ref() == Some(&record.id)
}

fn waiting_of(state: &ContainerState) -> Option<Waiting> {
    match state {
        // That its turn has not come is seen from elsewhere.
        ContainerState::Waiting(waiting) => Some(waiting.clone())
            .filter(|waiting| waiting.reason.as_deref() != Some(NOT_INITIALIZED)),
        ContainerState::Running(_) | ContainerState::Terminated(_) => None,
    }
}

fn exited(record: &StandingContainer, now: Now) -> Option<ExitedRun> {
    let exit = record.exit.clone()?;
    Some(ExitedRun {
        id: record.id.clone(),
        at: past(exit.finished_at, now),
        terminated: terminated(&record.id, record.started_at, exit),
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
