//! A pod's status, made anew from its machines each time.

use probelet_model::status::{ContainerStatus, Phase, PodIp, PodStatus};
use probelet_model::time::Now;

use crate::container::{ContainerMachine, Surroundings};
use crate::input::Addresses;
use crate::node::Config;
use crate::pod::{PodMachine, Sandbox, deadline, eviction};

mod conditions;
mod ended;
mod phase;

use conditions::Scene;
use phase::Part;

/// How many bytes of termination messages a pod's status holds; its containers share them.
///
/// Upstream: kubelet pkg/kubelet/container/runtime.go, MaxPodTerminationMessageLogLength.
/// Shown by: last_words_are_told_within_the_pods_budget.
const MESSAGE_BUDGET: usize = 12 * 1024;

/// A pod's whole status.
///
/// Upstream: kubelet pkg/kubelet/kubelet_pods.go, generateAPIPodStatus; status/status_manager.go,
/// mergePodStatus.
/// Shown by: e1_a_new_pod_with_two_containers,
/// a_sidecar_that_runs_when_an_init_container_fails_for_good_is_stopped,
/// a_pod_that_has_lived_too_long_fails_and_is_stopped.
pub(crate) fn pod_status(machine: &PodMachine, config: &Config, now: Now) -> PodStatus {
    let before = &*machine.status;
    let pod = &machine.pod;
    let around = Surroundings {
        with_init: !pod.init_containers.is_empty(),
        initialized: machine.initialization.is_done(),
        message_limit: MESSAGE_BUDGET / machine.containers.len().max(1),
    };
    let told = |(index, container): (usize, &ContainerMachine)| {
        container.status(machine.spec(index), around)
    };
    let mut containers = machine.containers.iter().enumerate().map(told);
    let mut init: Vec<_> = containers
        .by_ref()
        .take(pod.init_containers.len())
        .collect();
    let mut regular: Vec<_> = containers.collect();

    let alive = machine.containers.iter().any(ContainerMachine::is_alive);
    let gone = machine.has_ended() && machine.ending.is_some_and(|ending| ending.delete);
    let phase = internal_phase(machine, &init, &regular);
    if gone || (phase.is_terminal() && !alive) {
        ended::account_for_all(&mut init, &mut regular, around.initialized);
    }
    let phase = if gone {
        ended::final_phase(&regular, phase)
    } else {
        phase
    };
    let scene = Scene {
        pod,
        init: &init,
        regular: &regular,
        phase,
        // Here the sandbox of a pod that has ended stands until the pod goes, but nothing starts in it.
        stands: machine.sandbox == Sandbox::Standing && (alive || !phase.is_terminal()),
    };
    let conditions = scene.conditions(before, now.wall);
    // Nobody is told that a pod has ended while one of its containers may still run.
    let shown = if phase.is_terminal() && alive {
        before.phase
    } else {
        phase
    };
    let (reason, message) = if shown == before.phase {
        (before.reason.clone(), before.message.clone())
    } else if let Some(message) = machine.evicted.as_ref().filter(|_| shown == Phase::Failed) {
        (Some(eviction::REASON.to_owned()), Some(message.clone()))
    } else if machine.deadline_exceeded && shown == Phase::Failed {
        (
            Some(deadline::REASON.to_owned()),
            Some(deadline::MESSAGE.to_owned()),
        )
    } else {
        (None, None)
    };
    let addresses = machine.addresses.as_ref();
    PodStatus {
        observed_generation: (pod.meta.generation > 0).then_some(pod.meta.generation),
        phase: shown,
        conditions: conditions.into(),
        foreign_conditions: pod.foreign_conditions.clone(),
        reason,
        message,
        host_ip: Some(config.host_ip),
        pod_ip: addresses.map(|addresses| addresses.ip),
        pod_ips: addresses
            .into_iter()
            .flat_map(Addresses::all)
            .map(|ip| PodIp { ip })
            .collect(),
        start_time: Some(machine.start_time),
        init_container_statuses: init,
        container_statuses: regular,
        qos_class: Some(pod.qos().as_str().to_owned()),
    }
}

/// The phase as the node knows it, which it tells only once no container can run any more.
fn internal_phase(
    machine: &PodMachine,
    init: &[ContainerStatus],
    regular: &[ContainerStatus],
) -> Phase {
    let before = machine.status.phase;
    if before.is_terminal() {
        return before;
    }
    if machine.deadline_exceeded || machine.evicted.is_some() {
        return Phase::Failed;
    }
    let statuses = init.iter().chain(regular);
    let parts = machine.containers.iter().zip(statuses);
    phase::phase(parts.map(|(container, status)| Part {
        role: container.role,
        restarts: &container.restarts,
        status,
    }))
}
