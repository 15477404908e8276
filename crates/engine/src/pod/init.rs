//! Which containers' turn to start has come.
//!
//! Init containers start one after the other: the next one when the one before has done its work or, a
//! sidecar, has started. Regular containers start when all have had their turn.

use probelet_model::pod::Pod;

use super::PodMachine;
use crate::container::ContainerMachine;
use crate::memory::InitializationMemory;
use crate::restarts::Role;

/// How far a pod's initialisation has come in the sandbox that stands; durable.
///
/// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_container.go, computeInitContainerActions, which
/// infers it from the containers that the runtime knows.
/// Differs: what has been reached stays reached. A sidecar that is down while no regular container runs
/// keeps none of them from being started again.
/// Shown by: init_containers_run_one_after_the_other_and_then_the_others_side_by_side,
/// a_restart_of_the_agent_at_any_point_of_the_initialisation_changes_nothing,
/// a_sidecar_that_is_down_keeps_no_regular_container_from_its_restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Initialization {
    /// How many of the init containers have had their turn.
    reached: usize,
    done: bool,
}

impl Initialization {
    /// Before the first init container; done already if there is none.
    pub(crate) const fn before(pod: &Pod) -> Self {
        Self {
            reached: 0,
            done: pod.init_containers.is_empty(),
        }
    }

    pub(crate) const fn recalled(memory: InitializationMemory, pod: &Pod) -> Self {
        Self {
            reached: memory.reached,
            done: memory.done || pod.init_containers.is_empty(),
        }
    }

    pub(crate) const fn memory(self) -> InitializationMemory {
        InitializationMemory {
            reached: self.reached,
            done: self.done,
        }
    }

    /// As far as this many init containers had their turn, and regular ones if `done`.
    pub(crate) const fn at(reached: usize, done: bool) -> Self {
        Self { reached, done }
    }

    /// How many of the init containers have let the next one start.
    pub(crate) const fn passed(self, pod: &Pod) -> usize {
        if self.done {
            pod.init_containers.len()
        } else {
            self.reached.saturating_sub(1)
        }
    }

    pub(crate) const fn is_done(self) -> bool {
        self.done
    }

    /// As far as it comes with the init containers as they are.
    pub(crate) fn advanced(mut self, init: &[ContainerMachine]) -> Self {
        while !self.done {
            let current = self
                .reached
                .checked_sub(1)
                .and_then(|index| init.get(index));
            if current.is_some_and(|machine| !lets_on(machine)) {
                break;
            }
            if self.reached < init.len() {
                self.reached += 1;
            } else {
                self.done = true;
            }
        }
        self
    }

    /// Whether the container at `index` may be started, by its place.
    pub(crate) const fn admits(self, index: usize, role: Role) -> bool {
        match role {
            Role::Init => !self.done && index < self.reached,
            Role::Sidecar => index < self.reached,
            Role::Regular => self.done,
        }
    }
}

/// Whether the init container after this one may start.
fn lets_on(machine: &ContainerMachine) -> bool {
    match machine.role {
        Role::Init => machine.completed,
        Role::Sidecar => machine.started(),
        Role::Regular => true,
    }
}

impl PodMachine {
    /// The init containers and sidecars, in the order of the spec.
    pub(crate) fn init(&self) -> &[ContainerMachine] {
        &self.containers[..self.pod.init_containers.len()]
    }

    pub(crate) fn regular(&self) -> &[ContainerMachine] {
        &self.containers[self.pod.init_containers.len()..]
    }

    /// Before a sandbox is made anew: all init containers have their work before them.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, computePodActions (a new sandbox
    /// begins with the first init container) and purgeInitContainers.
    /// Shown by: a_new_sandbox_is_initialised_anew.
    pub(super) fn initialize_again(&mut self) {
        self.initialization = Initialization::before(&self.pod);
        for container in &mut self.containers {
            container.completed = false;
        }
    }

    /// Whether the pod has failed before any regular container could start.
    ///
    /// Upstream: kubelet pkg/kubelet/kubelet_pods.go, getPhase (failedInitialization).
    /// Shown by: a_pod_that_never_restarts_fails_with_its_init_container.
    pub(crate) fn has_failed_init(&self) -> bool {
        !self.initialization.is_done() && self.init().iter().any(ContainerMachine::has_failed)
    }
}
