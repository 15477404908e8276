//! One pod: its sandbox and its containers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use probelet_model::id::{ContainerId, ContainerName, PodUid};
use probelet_model::pod::{Container, Deletion, Pod};
use probelet_model::probe::ProbeKind;
use probelet_model::status::{ConditionKind, Phase, PodStatus, Terminated, Waiting};
use probelet_model::time::{Mono, Now, Wall};

use crate::container::{
    AfterStop, ContainerMachine, ExitedRun, NOT_LOCATED, NOT_LOCATED_CODE, State, StopStep,
    terminated,
};
use crate::effect::{Effect, Event, EventKind};
use crate::input::{ContainerFailure, Exit, OperationId};
use crate::memory::PodMemory;
use crate::node::Turn;
use crate::services::Shown;
use crate::status;

mod looks;
mod restore;
mod sandbox;
mod settle;
mod stop;

use sandbox::SANDBOX_RETRY;
pub(crate) use sandbox::Sandbox;

/// The machine of one pod.
#[derive(Debug)]
pub(crate) struct PodMachine {
    pub(crate) pod: Arc<Pod>,
    pub(crate) sandbox: Sandbox,
    pub(crate) containers: Vec<ContainerMachine>,
    /// The status that was last committed.
    pub(crate) status: Arc<PodStatus>,
    /// What was last written down.
    pub(crate) memory: PodMemory,
    /// What Services were last made to see of it.
    pub(crate) shown: Option<Shown>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) start_time: Wall,
    pub(crate) ending: Option<Ending>,
    /// Under what time the node lists it as due.
    pub(crate) listed_deadline: Option<Mono>,
    /// Something that shows in the status may have changed.
    pub(crate) changed: bool,
    /// Upstream would synchronise the pod: readiness probes that have not succeeded look at once.
    synchronise: bool,
}

/// A pod that is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) deletion: Deletion,
    /// Whether the object is to go too.
    pub(crate) delete: bool,
}

impl PodMachine {
    /// A pod that nobody knew.
    pub(crate) fn new(
        pod: Arc<Pod>,
        now: Now,
        first_look: impl FnMut(Duration) -> Mono + Copy,
    ) -> Self {
        let containers = pod
            .containers
            .iter()
            .map(|spec| ContainerMachine::new(spec, first_look))
            .collect();
        Self {
            pod,
            sandbox: Sandbox::Absent { lost: false },
            containers,
            status: Arc::default(),
            memory: PodMemory::default(),
            shown: None,
            ip: None,
            start_time: now.wall.whole_seconds(),
            ending: None,
            listed_deadline: None,
            changed: true,
            synchronise: false,
        }
    }

    pub(crate) fn uid(&self) -> &PodUid {
        &self.pod.uid
    }

    pub(crate) fn phase(&self) -> Phase {
        self.status.phase
    }

    pub(crate) fn apply(&mut self, pod: Arc<Pod>) {
        if pod == self.pod {
            return;
        }
        if let Some(deletion) = pod.deletion {
            self.end(Ending {
                deletion,
                delete: true,
            });
        }
        self.pod = pod;
        self.changed = true;
        self.synchronise = true;
    }

    pub(crate) fn end(&mut self, ending: Ending) {
        self.ending = Some(match self.ending {
            None => ending,
            Some(before) => Ending {
                deletion: Deletion {
                    at: before.deletion.at,
                    grace: before.deletion.grace.min(ending.deletion.grace),
                },
                delete: before.delete || ending.delete,
            },
        });
        self.changed = true;
        self.synchronise = true;
        for container in &mut self.containers {
            // Nothing is started any more, so nothing waits for a start.
            container.waiting = None;
            container.retry_at = None;
            for probe in &mut container.probes {
                // Upstream: kubelet pkg/kubelet/prober/prober_manager.go, StopLivenessAndStartup.
                if probe.kind != ProbeKind::Readiness {
                    probe.stop();
                }
            }
        }
    }

    pub(crate) fn container_started(
        &mut self,
        operation: OperationId,
        result: Result<Wall, ContainerFailure>,
        turn: &mut Turn<'_>,
    ) {
        let found = self.containers.iter().position(
            |container| matches!(&container.state, State::Starting { operation: awaited, .. } if *awaited == operation),
        );
        let Some(index) = found else {
            return turn.stale();
        };
        let container = &mut self.containers[index];
        let State::Starting {
            id,
            restart_count,
            image,
            exit,
            ..
        } = container.state.clone()
        else {
            return;
        };
        let name = container.name.clone();
        self.changed = true;
        self.synchronise = true;
        match result {
            Ok(started_at) => {
                container.run_began(id.clone(), restart_count, image, started_at, turn.now);
                self.event(
                    turn,
                    Some(&name),
                    EventKind::Normal,
                    "Created",
                    "Container created".to_owned(),
                );
                self.event(
                    turn,
                    Some(&name),
                    EventKind::Normal,
                    "Started",
                    "Container started".to_owned(),
                );
                if let Some(exit) = exit {
                    self.container_exited(&id, exit, turn);
                }
            }
            Err(ContainerFailure::Create(message)) => {
                container.state = State::Idle;
                container.waiting = Some(waiting("CreateContainerError", message.clone()));
                container.retry_at = Some(turn.now.mono + SANDBOX_RETRY);
                self.event(
                    turn,
                    Some(&name),
                    EventKind::Warning,
                    "Failed",
                    format!("Error: {message}"),
                );
            }
            Err(ContainerFailure::Command(message)) => {
                // containerd keeps such a container with exit code 128 and this reason.
                let exit = Exit {
                    code: 128,
                    signal: None,
                    finished_at: turn.now.wall,
                };
                let terminated = Terminated {
                    reason: Some("StartError".to_owned()),
                    message: Some(message.clone()),
                    ..terminated(&id, turn.now.wall, exit)
                };
                container.run_ended(
                    ExitedRun {
                        id,
                        at: turn.now.mono,
                        terminated,
                    },
                    restart_count,
                );
                self.event(
                    turn,
                    Some(&name),
                    EventKind::Normal,
                    "Created",
                    "Container created".to_owned(),
                );
                self.event(
                    turn,
                    Some(&name),
                    EventKind::Warning,
                    "Failed",
                    format!("Error: {message}"),
                );
            }
        }
    }

    pub(crate) fn container_exited(&mut self, id: &ContainerId, exit: Exit, turn: &mut Turn<'_>) {
        let found = self
            .containers
            .iter()
            .position(|container| match &container.state {
                State::Running(run) | State::Stopping { run, .. } => run.id == *id,
                State::Starting { id: starting, .. } => starting == id,
                State::Idle => false,
            });
        // An exit is told at least once, so one that is known already is nothing new.
        let Some(index) = found else {
            return turn.stale();
        };
        let container = &mut self.containers[index];
        if let State::Starting { exit: early, .. } = &mut container.state {
            *early = Some(exit);
            return;
        }
        let (run, then) = match container.state.clone() {
            State::Running(run) => (run, AfterStop::Policy),
            State::Stopping { run, then, .. } => (run, then),
            State::Idle | State::Starting { .. } => return,
        };
        self.changed = true;
        self.synchronise = true;
        let restart_count = container.restart_count();
        let exited = ExitedRun {
            at: turn.mono_of(exit.finished_at),
            terminated: terminated(&run.id, run.started_at, exit),
            id: run.id,
        };
        container.run_ended(exited, restart_count);
        if let AfterStop::Restart { newest_exit } = then {
            container.start_over = Some(newest_exit);
        }
    }

    pub(crate) fn hook_finished(
        &mut self,
        operation: OperationId,
        result: Result<(), String>,
        turn: &mut Turn<'_>,
    ) {
        let found = self.containers.iter().position(|container| {
            matches!(&container.state,
                State::Stopping { step: StopStep::Hook { operation: awaited, .. }, .. } if *awaited == operation)
        });
        let Some(index) = found else {
            return turn.stale();
        };
        if result.is_err() {
            let name = self.containers[index].name.clone();
            let message = "PreStopHook failed".to_owned();
            self.event(
                turn,
                Some(&name),
                EventKind::Warning,
                "FailedPreStopHook",
                message,
            );
        }
        self.signal_after_hook(index, turn);
    }

    /// Whatever is due, is done.
    pub(crate) fn wake(&mut self, turn: &mut Turn<'_>) {
        for index in 0..self.containers.len() {
            let container = &mut self.containers[index];
            if container.retry_at.is_some_and(|at| at <= turn.now.mono) {
                container.retry_at = None;
                self.synchronise = true;
            }
            if let State::Stopping {
                step: StopStep::Hook { since, grace, .. },
                ..
            } = self.containers[index].state
                && since + grace <= turn.now.mono
            {
                let name = self.containers[index].name.clone();
                let message = "PreStopHook failed".to_owned();
                self.event(
                    turn,
                    Some(&name),
                    EventKind::Warning,
                    "FailedPreStopHook",
                    message,
                );
                self.signal_after_hook(index, turn);
            }
        }
        if let Sandbox::Failed { retry_at, wait } = self.sandbox
            && retry_at <= turn.now.mono
        {
            self.start_sandbox(Some(wait), turn);
        }
        self.look(
            turn,
            |probe, view, turn| probe.wake(view, turn.now.mono, || turn.ids.attempt()),
            None,
        );
    }

    /// The earliest time at which something is due, and what.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let sandbox = match self.sandbox {
            Sandbox::Failed { retry_at, .. } => Some(retry_at),
            Sandbox::Absent { .. }
            | Sandbox::Starting { .. }
            | Sandbox::Standing
            | Sandbox::Removing { .. }
            | Sandbox::Removed => None,
        };
        self.containers
            .iter()
            .filter_map(ContainerMachine::deadline)
            .chain(sandbox)
            .min()
    }

    /// The status as it is now.
    pub(crate) fn status(&self, turn: &Turn<'_>) -> PodStatus {
        status::pod_status(self, turn.config, turn.now)
    }

    /// When the Ready condition last changed, as it was last committed.
    pub(crate) fn ready_since(&self) -> Option<Wall> {
        let ready = self.status.condition(ConditionKind::Ready)?;
        Some(ready.last_transition_time)
    }

    /// Whether what must be known after a crash may have changed since this was last asked.
    pub(crate) fn take_unnoted(&mut self) -> bool {
        let mut any = false;
        for probe in self
            .containers
            .iter_mut()
            .flat_map(|container| &mut container.probes)
        {
            any |= std::mem::take(&mut probe.unnoted);
        }
        any
    }

    /// What must hold after every turn; checked in debug and simulation builds.
    pub(crate) fn check(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        for container in &self.containers {
            let running = container.running().is_some();
            assert!(
                !running || self.sandbox == Sandbox::Standing,
                "a container runs only in a sandbox"
            );
            assert!(
                !container.ready() || container.started(),
                "only a started container is ready"
            );
            for probe in &container.probes {
                assert!(
                    running || !probe.is_under_way(),
                    "an attempt is under way only while its container runs"
                );
            }
        }
    }

    /// What must be known after a crash.
    pub(crate) fn noted(&self, origin: Now) -> PodMemory {
        let containers = self.containers.iter();
        PodMemory {
            containers: containers
                .map(|container| (container.name.clone(), container.memory(origin)))
                .collect(),
        }
    }

    /// Whether nothing is left to do, ever.
    pub(crate) fn has_ended(&self) -> bool {
        self.ending.is_some() && self.sandbox == Sandbox::Removed
    }

    fn spec(&self, index: usize) -> &Container {
        // The machines are made from the pod's containers in their order, and that list never changes.
        &self.pod.containers[index]
    }

    fn deletion_grace(&self) -> Option<Duration> {
        self.ending.map(|ending| ending.deletion.grace)
    }

    fn event(
        &self,
        turn: &mut Turn<'_>,
        container: Option<&ContainerName>,
        kind: EventKind,
        reason: &'static str,
        message: String,
    ) {
        let (pod, container) = (self.uid().clone(), container.cloned());
        turn.out.push(Effect::Event(Event {
            pod,
            container,
            kind,
            reason,
            message,
        }));
    }
}

fn waiting(reason: &str, message: String) -> Waiting {
    Waiting {
        reason: Some(reason.to_owned()),
        message: Some(message),
    }
}

/// A run that is not to be found any more.
pub(crate) fn lost_run(id: &ContainerId, started_at: Wall, now: Now) -> ExitedRun {
    let exit = Exit {
        code: NOT_LOCATED_CODE,
        signal: None,
        finished_at: now.wall,
    };
    let terminated = Terminated {
        reason: Some(NOT_LOCATED.0.to_owned()),
        message: Some(NOT_LOCATED.1.to_owned()),
        ..terminated(id, started_at, exit)
    };
    ExitedRun {
        id: id.clone(),
        at: now.mono,
        terminated,
    }
}
