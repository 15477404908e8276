//! Killing single containers: why, and with what words.

use probelet_model::probe::{ProbeKind, Verdict};

use super::PodMachine;
use crate::container::{AfterStop, ContainerMachine, State, kill_grace};
use crate::node::Turn;
use crate::restarts::Role;

/// Why a container is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Probe(ProbeKind),
    DefinitionChanged,
}

impl PodMachine {
    /// Kills the running containers that must not run on.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, computePodActions.
    /// Shown by: d9_liveness_kill_and_restart_in_one_turn, d16_never_with_one_container_ends_the_pod,
    /// never_with_two_containers_names_the_probe,
    /// a_container_whose_neighbour_is_being_restarted_is_not_the_pods_last,
    /// a_container_that_is_being_stopped_for_good_keeps_no_pod_alive.
    pub(super) fn kill_failed(&mut self, turn: &mut Turn<'_>) {
        if !(0..self.containers.len()).any(|index| self.cause_to_kill(index).is_some()) {
            return;
        }
        if self.kills_all() {
            // Upstream kills the whole pod here, and the probe's grace and name are lost on the way.
            return self.wind_down_regular(turn);
        }
        for index in 0..self.containers.len() {
            if let Some(cause) = self.cause_to_kill(index) {
                self.kill(index, cause, turn);
            }
        }
    }

    /// Whether no regular container would be kept and none would be started.
    fn kills_all(&self) -> bool {
        let mut any = false;
        for (index, container) in self.containers.iter().enumerate() {
            if container.role != Role::Regular {
                continue;
            }
            let lives = match &container.state {
                State::Running(_) => match self.cause_to_kill(index) {
                    None => true,
                    Some(cause) => {
                        any = true;
                        restarts(container, cause)
                    }
                },
                State::Fetching(_) | State::Starting { .. } | State::PostStart { .. } => true,
                State::Idle => container.wants_run(),
                State::Stopping { then, .. } => container.comes_back(*then),
            };
            if lives {
                return false;
            }
        }
        any
    }

    /// What is left of the pod is told to end; the sidecars follow by themselves.
    fn wind_down_regular(&mut self, turn: &mut Turn<'_>) {
        for index in self.pod.init_containers.len()..self.containers.len() {
            let message = format!("Stopping container {}", self.containers[index].name);
            let grace = self.pod.termination_grace_period;
            self.stop(index, message, grace, AfterStop::Policy, turn);
        }
    }

    fn kill(&mut self, index: usize, cause: Cause, turn: &mut Turn<'_>) {
        let container = &self.containers[index];
        let restart = restarts(container, cause);
        let then = if restart {
            let newest_exit = container.newest_exit.as_ref().map(|exited| exited.at);
            AfterStop::Restart { newest_exit }
        } else {
            AfterStop::Policy
        };
        let (what, probe) = match cause {
            Cause::Probe(kind) => {
                let kind_word = kind.as_str().to_lowercase();
                (format!("failed {kind_word} probe"), Some(kind))
            }
            Cause::DefinitionChanged => ("definition changed".to_owned(), None),
        };
        let name = &container.name;
        let message = match container.role {
            Role::Regular if restart => format!("Container {name} {what}, will be restarted"),
            Role::Regular => format!("Container {name} {what}"),
            Role::Init | Role::Sidecar => format!("Init container {name} {what}"),
        };
        let pod_grace = self.pod.termination_grace_period;
        let grace = kill_grace(None, self.spec(index), probe, pod_grace);
        self.stop(index, message, grace, then, turn);
    }

    /// Why a container that runs must not run on: a failed startup or liveness probe, or a changed image.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, computePodActions (regular
    /// containers); kuberuntime_container.go, computeInitContainerActions (sidecars).
    /// Shown by: d9_liveness_kill_and_restart_in_one_turn,
    /// d26_startup_failure_kills_with_its_own_words_and_grace,
    /// d27_a_sidecar_that_fails_its_liveness_probe_is_restarted,
    /// a_sidecar_whose_image_changes_is_restarted_and_an_init_container_is_not,
    /// a_sidecar_that_has_not_started_is_judged_by_its_startup_probe_alone.
    fn cause_to_kill(&self, index: usize) -> Option<Cause> {
        let container = &self.containers[index];
        let State::Running(run) = &container.state else {
            return None;
        };
        let changed =
            || (run.image.spec != self.spec(index).image).then_some(Cause::DefinitionChanged);
        let failed = |kind| {
            (container.verdict(kind) == Some(Verdict::Failure)).then_some(Cause::Probe(kind))
        };
        match container.role {
            // Nothing to do but wait for it.
            Role::Init => None,
            Role::Sidecar if container.started() => {
                changed().or_else(|| failed(ProbeKind::Liveness))
            }
            // Until its startup probe has succeeded, nothing else is asked about it.
            Role::Sidecar => failed(ProbeKind::Startup),
            Role::Regular => changed()
                .or_else(|| failed(ProbeKind::Liveness))
                .or_else(|| failed(ProbeKind::Startup)),
        }
    }
}

/// A changed definition restarts whatever the policy.
fn restarts(container: &ContainerMachine, cause: Cause) -> bool {
    cause == Cause::DefinitionChanged || container.restarts.after_kill()
}
