//! The conditions of a pod that are this node's.

use probelet_model::pod::Pod;
use probelet_model::status::{
    Condition, ConditionKind, ContainerState, ContainerStatus, Phase, PodStatus,
};
use probelet_model::time::Wall;

/// What conditions are made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) pod: &'a Pod,
    pub(super) init: &'a [ContainerStatus],
    pub(super) regular: &'a [ContainerStatus],
    pub(super) phase: Phase,
    /// PodReadyToStartContainers: the sandbox stands, and a container may yet start in it.
    ///
    /// Upstream: kubelet pkg/kubelet/status/generate.go, GeneratePodReadyToStartContainersCondition; the
    /// sandbox of a pod that has ended is stopped.
    /// Shown by: e1_a_new_pod_with_two_containers, e10_never_all_have_ended_well.
    pub(super) stands: bool,
}

impl Scene<'_> {
    /// All of them, in the order in which they are listed.
    pub(super) fn conditions(&self, before: &PodStatus, now: Wall) -> [Condition; 5] {
        let stands = Truth::of(ConditionKind::PodReadyToStartContainers, self.stands);
        let initialized = self.initialized();
        let containers_ready = self.containers_ready();
        let ready = self.ready(&containers_ready, &[&stands, &initialized]);
        let scheduled = Truth::of(ConditionKind::PodScheduled, true);
        [stands, initialized, ready, containers_ready, scheduled]
            .map(|truth| truth.condition(before, self.pod.meta.generation, now))
    }

    /// Init containers and sidecars with what the spec says of them.
    fn init(&self) -> impl Iterator<Item = (bool, &ContainerStatus)> {
        let specs = self.pod.init_containers.iter();
        specs.map(|spec| spec.is_restartable_init()).zip(self.init)
    }

    /// Initialized: every ordinary init container has done its work, and every sidecar has started.
    ///
    /// Upstream: kubelet pkg/kubelet/status/generate.go, GeneratePodInitializedCondition.
    /// Shown by: e2_one_init_container_runs, e10_never_all_have_ended_well,
    /// e15_a_sidecar_whose_startup_probe_has_not_succeeded_holds_the_next_back,
    /// e17_a_sidecar_that_restarts_after_the_initialisation_changes_neither_it_nor_the_phase.
    fn initialized(&self) -> Truth {
        let kind = ConditionKind::Initialized;
        if self.phase == Phase::Succeeded {
            return Truth::because(kind, true, "PodCompleted");
        }
        let incomplete: Vec<&str> = self
            .init()
            .filter(|(sidecar, status)| {
                if *sidecar {
                    status.started != Some(true)
                } else {
                    !status.ready
                }
            })
            .map(|(_, status)| status.name.as_str())
            .collect();
        let regular_started = self
            .regular
            .iter()
            .any(|status| !matches!(status.state, ContainerState::Waiting(_)));
        if incomplete.is_empty() || regular_started {
            return Truth::of(kind, true);
        }
        Truth {
            message: Some(named("incomplete", &incomplete)),
            ..Truth::because(kind, false, "ContainersNotInitialized")
        }
    }

    /// ContainersReady: every regular container and every sidecar is ready.
    ///
    /// Upstream: kubelet pkg/kubelet/status/generate.go, GenerateContainersReadyCondition.
    /// Differs: a pod that has failed is unready at once, though its containers may still run; upstream's
    /// readiness workers are gone by then, and the pod may keep its traffic until its containers end.
    /// Shown by: d8_never_exit_1_fails_the_pod, e5_running_and_never_ready, e10_never_all_have_ended_well,
    /// e15_a_sidecar_whose_startup_probe_has_not_succeeded_holds_the_next_back,
    /// a_pod_that_has_lived_too_long_fails_and_is_stopped.
    fn containers_ready(&self) -> Truth {
        let kind = ConditionKind::ContainersReady;
        let sidecars = self.init().filter(|(sidecar, _)| *sidecar);
        let unready: Vec<&str> = sidecars
            .map(|(_, status)| status)
            .chain(self.regular)
            .filter(|status| !status.ready)
            .map(|status| status.name.as_str())
            .collect();
        match self.phase {
            Phase::Succeeded => Truth::because(kind, false, "PodCompleted"),
            Phase::Failed => Truth::because(kind, false, "PodFailed"),
            Phase::Pending | Phase::Running if unready.is_empty() => Truth::of(kind, true),
            Phase::Pending | Phase::Running => Truth {
                message: Some(named("unready", &unready)),
                ..Truth::because(kind, false, "ContainersNotReady")
            },
        }
    }

    /// Ready: ContainersReady, and every readiness gate is met.
    ///
    /// Upstream: kubelet pkg/kubelet/status/generate.go, GeneratePodReadyCondition.
    /// Shown by: e11_a_readiness_gate_that_is_not_met,
    /// a_gate_says_nothing_while_the_containers_are_not_ready.
    fn ready(&self, containers_ready: &Truth, own: &[&Truth]) -> Truth {
        let kind = ConditionKind::Ready;
        let gates = self.pod.readiness_gates.iter();
        let unmet: Vec<String> = gates.filter_map(|gate| self.unmet(gate, own)).collect();
        if !containers_ready.status || unmet.is_empty() {
            return Truth {
                kind,
                ..containers_ready.clone()
            };
        }
        Truth {
            message: Some(unmet.join(", ")),
            ..Truth::because(kind, false, "ReadinessGatesNotReady")
        }
    }

    /// What stands against a readiness gate. It may name a condition of others, or one of this node's
    /// that is made before Ready.
    fn unmet(&self, gate: &str, own: &[&Truth]) -> Option<String> {
        let foreign = self.pod.foreign_conditions.iter();
        let status = foreign
            .filter(|condition| condition.kind == gate)
            .map(|condition| condition.status.as_str())
            .chain(
                own.iter()
                    .filter(|truth| truth.kind.as_str() == gate)
                    .map(|truth| if truth.status { "True" } else { "False" }),
            )
            .next();
        match status {
            Some("True") => None,
            Some(other) => Some(format!(
                "the status of pod readiness gate {gate:?} is not \"True\", but {other}"
            )),
            None => Some(format!(
                "corresponding condition of pod readiness gate {gate:?} does not exist."
            )),
        }
    }
}

/// Every container has a status here, so that none is ever told as unknown.
fn named(what: &str, names: &[&str]) -> String {
    format!("containers with {what} status: [{}]", names.join(" "))
}

/// A condition without its times.
#[derive(Clone, Debug)]
struct Truth {
    kind: ConditionKind,
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Truth {
    const fn of(kind: ConditionKind, status: bool) -> Self {
        Self {
            kind,
            status,
            reason: None,
            message: None,
        }
    }

    const fn because(kind: ConditionKind, status: bool, reason: &'static str) -> Self {
        Self {
            kind,
            status,
            reason: Some(reason),
            message: None,
        }
    }

    /// The transition time moves with the status alone, not with the reason.
    ///
    /// Upstream: kubelet pkg/kubelet/status/status_manager.go, updateLastTransitionTime.
    /// Shown by: e13_a_reason_that_changes_leaves_the_transition_time,
    /// e14_each_flip_has_its_own_transition_time_in_whole_seconds.
    fn condition(self, before: &PodStatus, generation: i64, now: Wall) -> Condition {
        let same = before
            .condition(self.kind)
            .filter(|condition| condition.status == self.status);
        Condition {
            kind: self.kind,
            status: self.status,
            reason: self.reason.map(str::to_owned),
            message: self.message,
            last_transition_time: same.map_or(now.whole_seconds(), |condition| {
                condition.last_transition_time
            }),
            observed_generation: (generation > 0).then_some(generation),
        }
    }
}
