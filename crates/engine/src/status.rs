//! A pod's status, made anew from its machines each time.

use probelet_model::pod::RestartPolicy;
use probelet_model::status::{
    Condition, ConditionKind, ContainerState, ContainerStatus, Phase, PodIp, PodStatus, Terminated,
};
use probelet_model::time::{Now, Wall};

use crate::container::{ContainerMachine, NOT_LOCATED, NOT_LOCATED_CODE};
use crate::node::Config;
use crate::pod::{PodMachine, Sandbox};

/// The whole status.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, generateAPIPodStatus.
pub(crate) fn pod_status(machine: &PodMachine, config: &Config, now: Now) -> PodStatus {
    let before = &*machine.status;
    let pod = &machine.pod;
    let specs = pod.containers.iter();
    let gone = machine.has_ended() && machine.ending.is_some_and(|ending| ending.delete);
    let containers: Vec<ContainerStatus> = machine
        .containers
        .iter()
        .zip(specs)
        .map(|(container, spec)| container.status(spec))
        .map(|status| if gone { at_the_end(status) } else { status })
        .collect();
    let mut phase = phase(&containers, pod.restart_policy);
    if gone {
        phase = final_phase(&containers, phase);
    } else if machine.containers.iter().any(ContainerMachine::is_starting) && phase.is_terminal() {
        // The next run has been asked for, whatever the policy says of the one before. Upstream kills and
        // starts in one synchronisation, and looks at nothing in between.
        phase = Phase::Running;
    }
    if before.phase.is_terminal() {
        phase = before.phase;
    }
    let ready = containers_ready(&containers, phase);
    let conditions = [
        Truth::of(
            ConditionKind::PodReadyToStartContainers,
            machine.sandbox == Sandbox::Standing,
        ),
        Truth {
            reason: (phase == Phase::Succeeded).then_some("PodCompleted"),
            ..Truth::of(ConditionKind::Initialized, true)
        },
        Truth {
            kind: ConditionKind::Ready,
            ..ready.clone()
        },
        ready,
        Truth::of(ConditionKind::PodScheduled, true),
    ];
    let conditions = conditions.map(|truth| truth.condition(before, pod.meta.generation, now.wall));
    PodStatus {
        observed_generation: (pod.meta.generation > 0).then_some(pod.meta.generation),
        phase,
        conditions: conditions.into(),
        reason: None,
        message: None,
        host_ip: Some(config.host_ip),
        pod_ip: machine.ip,
        pod_ips: machine.ip.map(|ip| PodIp { ip }).into_iter().collect(),
        start_time: Some(machine.start_time),
        container_statuses: containers,
        qos_class: Some("BestEffort".to_owned()),
    }
}

/// What the containers together amount to.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, getPhase (without init containers).
#[must_use]
pub fn phase(containers: &[ContainerStatus], policy: RestartPolicy) -> Phase {
    let (mut waiting, mut running, mut stopped, mut succeeded) = (0, 0, 0, 0);
    for container in containers {
        match (&container.state, &container.last_state) {
            (ContainerState::Running(_), _) => running += 1,
            (ContainerState::Terminated(end), _) | (ContainerState::Waiting(_), Some(end)) => {
                stopped += 1;
                succeeded += u32::from(end.exit_code == 0);
            }
            (ContainerState::Waiting(_), None) => waiting += 1,
        }
    }
    if waiting > 0 {
        Phase::Pending
    } else if running > 0 {
        Phase::Running
    } else if stopped == 0 {
        Phase::Pending
    } else {
        match policy {
            RestartPolicy::Always => Phase::Running,
            _ if stopped == succeeded => Phase::Succeeded,
            RestartPolicy::Never => Phase::Failed,
            RestartPolicy::OnFailure => Phase::Running,
        }
    }
}

/// A container of a pod of which nothing is left: one that has not been seen to end counts as lost.
///
/// Upstream: kubelet pkg/kubelet/status/status_manager.go, TerminatePod.
fn at_the_end(status: ContainerStatus) -> ContainerStatus {
    match status.state {
        ContainerState::Terminated(_) => status,
        ContainerState::Running(_) | ContainerState::Waiting(_) => {
            let lost = Terminated {
                exit_code: NOT_LOCATED_CODE,
                reason: Some(NOT_LOCATED.0.to_owned()),
                message: Some(NOT_LOCATED.1.to_owned()),
                ..Terminated::default()
            };
            ContainerStatus {
                state: ContainerState::Terminated(lost),
                ..status
            }
        }
    }
}

/// The phase of a pod that has been made to end: all of its containers have, whatever the policy.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, getPhase (podIsTerminal).
fn final_phase(containers: &[ContainerStatus], phase: Phase) -> Phase {
    let ended_well = |status: &ContainerStatus| matches!(&status.state, ContainerState::Terminated(end) if end.exit_code == 0);
    match phase {
        Phase::Succeeded | Phase::Failed => phase,
        Phase::Pending | Phase::Running if containers.iter().all(ended_well) => Phase::Succeeded,
        Phase::Pending | Phase::Running => Phase::Failed,
    }
}

/// Upstream: kubelet pkg/kubelet/status/generate.go, GenerateContainersReadyCondition.
fn containers_ready(containers: &[ContainerStatus], phase: Phase) -> Truth {
    let unready: Vec<&str> = containers
        .iter()
        .filter(|container| !container.ready)
        .map(|container| container.name.as_str())
        .collect();
    let kind = ConditionKind::ContainersReady;
    match phase {
        Phase::Succeeded => Truth {
            reason: Some("PodCompleted"),
            ..Truth::of(kind, false)
        },
        Phase::Failed => Truth {
            reason: Some("PodFailed"),
            ..Truth::of(kind, false)
        },
        Phase::Pending | Phase::Running if unready.is_empty() => Truth::of(kind, true),
        Phase::Pending | Phase::Running => Truth {
            reason: Some("ContainersNotReady"),
            message: Some(format!(
                "containers with unready status: [{}]",
                unready.join(" ")
            )),
            ..Truth::of(kind, false)
        },
    }
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

    /// The transition time moves with the status alone, not with the reason.
    ///
    /// Upstream: kubelet pkg/kubelet/status/status_manager.go, updateLastTransitionTime.
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
