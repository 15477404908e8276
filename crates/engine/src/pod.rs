//! One pod: its sandbox and its containers.

use std::sync::Arc;
use std::time::Duration;

use probelet_model::id::{ContainerId, ContainerName, PodUid};
use probelet_model::pod::{Container, Deletion, Pod};
use probelet_model::probe::ProbeKind;
use probelet_model::status::{ConditionKind, Phase, PodStatus, Terminated, Waiting};
use probelet_model::time::{Mono, Now, Wall};

use crate::container::{
    ContainerMachine, ExitedRun, NOT_LOCATED, NOT_LOCATED_CODE, State, StopStep, terminated,
};
use crate::effect::{Effect, Event, EventKind};
use crate::image::FailedPulls;
use crate::input::{Addresses, Exit, OperationId};
use crate::memory::PodMemory;
use crate::node::Turn;
use crate::restarts::Role;
use crate::services::Shown;
use crate::status;

pub(crate) mod deadline;
pub(crate) mod eviction;
mod image;
mod init;
mod kill;
mod looks;
mod post_start;
mod restore;
mod runs;
mod sandbox;
mod settle;
mod start;
mod stop;
mod wind_down;

pub(crate) use init::Initialization;
pub(crate) use sandbox::Sandbox;

/// The machine of one pod.
#[derive(Debug)]
pub(crate) struct PodMachine {
    pub(crate) pod: Arc<Pod>,
    pub(crate) sandbox: Sandbox,
    /// Init containers and sidecars, then regular ones, each in the order of the spec.
    pub(crate) containers: Vec<ContainerMachine>,
    pub(crate) initialization: Initialization,
    /// Pulls of images that failed; durable.
    failed_pulls: FailedPulls,
    /// Whether there is a sidecar among them.
    with_sidecars: bool,
    /// The status that was last committed.
    pub(crate) status: Arc<PodStatus>,
    /// What was last written down.
    pub(crate) memory: PodMemory,
    /// What Services were last made to see of it.
    pub(crate) shown: Option<Shown>,
    pub(crate) addresses: Option<Addresses>,
    pub(crate) start_time: Wall,
    pub(crate) ending: Option<Ending>,
    /// When it will have lived too long, as long as that can still happen.
    active_until: Option<Mono>,
    /// It has lived too long; durable.
    pub(crate) deadline_exceeded: bool,
    /// It was evicted, and why; durable.
    pub(crate) evicted: Option<String>,
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
        let containers: Vec<ContainerMachine> = roles(&pod)
            .map(|(spec, role)| ContainerMachine::new(spec, role, pod.restart_policy, first_look))
            .collect();
        let start_time = now.wall.whole_seconds();
        Self {
            sandbox: Sandbox::Absent { lost: false },
            with_sidecars: containers
                .iter()
                .any(|container| container.role == Role::Sidecar),
            initialization: Initialization::before(&pod),
            failed_pulls: FailedPulls::default(),
            containers,
            status: Arc::default(),
            memory: PodMemory::default(),
            shown: None,
            addresses: None,
            start_time,
            ending: None,
            active_until: deadline::due(&pod, start_time, now),
            deadline_exceeded: false,
            evicted: None,
            listed_deadline: None,
            changed: true,
            synchronise: false,
            pod,
        }
    }

    pub(crate) fn uid(&self) -> &PodUid {
        &self.pod.uid
    }

    pub(crate) fn phase(&self) -> Phase {
        self.status.phase
    }

    pub(crate) fn apply(&mut self, pod: Arc<Pod>, turn: &mut Turn<'_>) {
        if pod == self.pod {
            return;
        }
        if pod.active_deadline != self.pod.active_deadline {
            self.active_until = deadline::due(&pod, self.start_time, turn.now);
        }
        if let Some(deletion) = pod.deletion {
            self.end(Ending {
                deletion,
                delete: true,
            });
        }
        let specs = roles(&self.pod).zip(roles(&pod));
        for (container, ((old, _), (new, _))) in self.containers.iter_mut().zip(specs) {
            if old.image != new.image {
                container.forget_back_off();
                // Its start has been granted; it is another image that it waits for now.
                if container.stop_fetching() {
                    container.start_over = Some(None);
                }
            }
        }
        self.pod = pod;
        self.changed = true;
        self.synchronise = true;
        self.meet_deadline(turn);
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
        self.active_until = None;
        self.forget_starts();
        // Upstream: kubelet pkg/kubelet/prober/prober_manager.go, StopLivenessAndStartup.
        // Differs: those of sidecars stop too; the liveness of one kills nothing that ends anyway. And what
        // had not started does not count as started because nobody asks any more.
        let probes = self.containers.iter_mut().flat_map(|one| &mut one.probes);
        for probe in probes.filter(|probe| probe.kind != ProbeKind::Readiness) {
            probe.stop();
        }
    }

    /// Nothing is started any more, so nothing waits for a start.
    fn forget_starts(&mut self) {
        for container in &mut self.containers {
            container.waiting = None;
            container.retry_at = None;
        }
    }

    pub(crate) fn hook_finished(
        &mut self,
        operation: OperationId,
        result: Result<(), String>,
        turn: &mut Turn<'_>,
    ) {
        let of = |container: &ContainerMachine| match &container.state {
            State::PostStart { operation, .. }
            | State::Stopping {
                step: StopStep::Hook { operation, .. },
                ..
            } => Some(*operation),
            State::Idle
            | State::Fetching(_)
            | State::Starting { .. }
            | State::Running(_)
            | State::Stopping { .. } => None,
        };
        let found = self
            .containers
            .iter()
            .position(|container| of(container) == Some(operation));
        let Some(index) = found else {
            return turn.stale();
        };
        if let State::PostStart { .. } = self.containers[index].state {
            return self.post_start_finished(index, result, turn);
        }
        if result.is_err() {
            self.tell_pre_stop_failed(index, turn);
        }
        self.signal_after_hook(index, turn);
    }

    /// Whatever is due, is done.
    pub(crate) fn wake(&mut self, turn: &mut Turn<'_>) {
        self.meet_deadline(turn);
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
                self.tell_pre_stop_failed(index, turn);
                self.signal_after_hook(index, turn);
            }
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
            Sandbox::Failed { retry_at, .. } | Sandbox::Stuck { retry_at } => Some(retry_at),
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
            .chain(self.active_until)
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
                !container.is_alive() || self.sandbox == Sandbox::Standing,
                "a container runs only in a sandbox"
            );
            assert!(
                !container.is_alive()
                    || (container.retry_at.is_none() && container.start_over.is_none()),
                "only what does not run waits for its start"
            );
            assert!(
                !container.ready() || container.started() || container.role == Role::Init,
                "only a started container is ready, or an init container that has done its work"
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
            initialization: self.initialization.memory(),
            deadline_exceeded: self.deadline_exceeded,
            evicted: self.evicted.clone(),
            failed_pulls: self.failed_pulls.memory(origin),
        }
    }

    /// Whether nothing is left to do, ever.
    pub(crate) fn has_ended(&self) -> bool {
        self.ending.is_some() && self.sandbox == Sandbox::Removed
    }

    pub(crate) fn spec(&self, index: usize) -> &Container {
        // The machines are made from the pod's containers in their order, and those lists never change.
        let init = &self.pod.init_containers;
        init.get(index)
            .unwrap_or_else(|| &self.pod.containers[index - init.len()])
    }

    fn deletion_grace(&self) -> Option<Duration> {
        let ending = self.ending.map(|ending| ending.deletion.grace);
        ending.or_else(|| self.evicted.as_ref().map(|_| eviction::GRACE))
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
            attempt: None,
        }));
    }
}

/// A pod's containers with what they are to it, in the order of its machines.
fn roles(pod: &Pod) -> impl Iterator<Item = (&Container, Role)> {
    let init = pod.init_containers.iter();
    let regular = pod.containers.iter();
    init.map(|spec| (spec, Role::of_init(spec)))
        .chain(regular.map(|spec| (spec, Role::Regular)))
}

fn waiting(reason: &str, message: String) -> Waiting {
    Waiting {
        reason: Some(reason.to_owned()),
        message: Some(message),
    }
}

/// What is said of a run that was there and is not to be found any more.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, convertToAPIContainerStatuses.
/// Shown by: e24_a_run_that_is_lost_counts_as_a_restart.
const USED_TO_RUN: &str = "The container could not be located when the pod was deleted.  The container used to be Running";

/// A run that is not to be found any more.
pub(crate) fn lost_run(id: &ContainerId, started_at: Wall, now: Now) -> ExitedRun {
    let exit = Exit {
        code: NOT_LOCATED_CODE,
        signal: None,
        out_of_memory: false,
        finished_at: now.wall,
        message: None,
    };
    let terminated = Terminated {
        reason: Some(NOT_LOCATED.to_owned()),
        message: Some(USED_TO_RUN.to_owned()),
        ..terminated(id, started_at, exit)
    };
    ExitedRun {
        id: id.clone(),
        at: now.mono,
        terminated,
    }
}
