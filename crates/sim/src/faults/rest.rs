//! Whether a node that is left alone has come to rest.

use probelet_engine::input::Standing;
use probelet_model::pod::{Container, Pod, RestartPolicy};
use probelet_model::status::{ContainerState, PodStatus};

use super::cast::GATE;
use crate::node::Node;

/// What is not yet as it should be, of all pods; `None` if the node is at rest.
pub(super) fn unrest(node: &Node) -> Option<String> {
    for uid in node.pods() {
        let (pod, status) = node.pod(uid)?;
        let standing = node.world().standing(uid);
        let runs_here = node
            .engine()
            .is_some_and(|engine| engine.pods().any(|pod| pod == uid));
        let wrong = if pod.deletion.is_some() {
            Some("is deleted and still there".to_owned())
        } else if runs_here {
            of_pod(
                pod,
                status.map_or(&PodStatus::default(), |status| status),
                standing.as_ref(),
            )
        } else {
            // It was stopped, or it has ended.
            orphan(standing.as_ref())
        };
        if let Some(wrong) = wrong {
            return Some(format!("{} {wrong}", pod.meta.name));
        }
    }
    let mut sandboxes = node.world().sandboxes();
    let orphan = sandboxes.find(|uid| {
        node.pod(uid).is_none() && orphan(node.world().standing(uid).as_ref()).is_some()
    });
    orphan.map(|uid| format!("{uid} is gone, and its containers run"))
}

/// What is wrong with a pod that should run: the world and the status must agree, what the policies want
/// must run, and what runs must be Ready.
fn of_pod(pod: &Pod, status: &PodStatus, standing: Option<&Standing>) -> Option<String> {
    if status.phase.is_terminal() {
        return orphan(standing);
    }
    let runs = |name: &str| {
        let mut runs = standing?.containers.iter().rev();
        let run = runs.find(|run| run.name.as_str() == name && run.exit.is_none())?;
        Some(format!("probelet://{}", run.id))
    };
    let mut all_ready = true;
    for (spec, is_init) in pod
        .init_containers
        .iter()
        .map(|spec| (spec, true))
        .chain(pod.containers.iter().map(|spec| (spec, false)))
    {
        let name = spec.name.as_str();
        let Some(container) = status.container(name) else {
            return Some(format!("has no status of {name}"));
        };
        let said = match container.state {
            ContainerState::Running(_) => container.container_id.clone(),
            ContainerState::Waiting(_) | ContainerState::Terminated(_) => None,
        };
        let running = runs(name);
        if said != running {
            return Some(format!(
                "says that {name} runs as {said:?}, and it runs as {running:?}"
            ));
        }
        let to_run = match &container.state {
            ContainerState::Running(_) => true,
            ContainerState::Terminated(end) => restarts(pod, spec, is_init, end.exit_code),
            ContainerState::Waiting(waiting) => {
                return Some(format!("waits with {name}: {waiting:?}"));
            }
        };
        if to_run && running.is_none() {
            return Some(format!("does not run {name}, which is to run"));
        }
        all_ready &= container.ready;
    }
    let runs_all = pod
        .containers
        .iter()
        .all(|spec| runs(spec.name.as_str()).is_some());
    let mut conditions = pod.foreign_conditions.iter();
    let opened = pod.readiness_gates.is_empty()
        || conditions.any(|one| one.kind == GATE && one.status == "True");
    if runs_all && (!all_ready || status.is_ready() != opened) {
        return Some(format!(
            "runs, its containers ready {all_ready}, its gate open {opened}, and Ready is {}",
            status.is_ready()
        ));
    }
    None
}

/// Whether a container that has ended so is to be started again.
///
/// Upstream: pkg/api/v1/pod/util.go, ContainerShouldRestart.
/// Shown by: what_is_to_be_started_again_goes_by_rules_policies_and_sort.
fn restarts(pod: &Pod, spec: &Container, is_init: bool, code: i32) -> bool {
    if is_init && spec.is_restartable_init() {
        return true;
    }
    if spec.restart_rules.iter().any(|rule| rule.matches(code)) {
        return true;
    }
    match spec.restart_policy.unwrap_or(pod.restart_policy) {
        // An init container that has done its work is done.
        RestartPolicy::Always => !is_init || code != 0,
        RestartPolicy::OnFailure => code != 0,
        RestartPolicy::Never => false,
    }
}

/// A container that runs though nobody wants it.
fn orphan(standing: Option<&Standing>) -> Option<String> {
    let run = standing?.containers.iter().find(|run| run.exit.is_none())?;
    Some(format!("has ended, and {} runs", run.name))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use probelet_engine::input::StandingContainer;
    use probelet_model::id::{ContainerId, ContainerName};
    use probelet_model::pod::RestartRule;
    use probelet_model::status::{
        Condition, ConditionKind, ContainerStatus, Phase, Running, Terminated,
    };
    use probelet_model::time::Wall;

    use super::super::checks::tests::pod;
    use super::*;

    fn status(state: ContainerState, ready: bool) -> PodStatus {
        PodStatus {
            phase: Phase::Running,
            conditions: vec![Condition {
                kind: ConditionKind::Ready,
                status: ready,
                reason: None,
                message: None,
                last_transition_time: Wall(0),
                observed_generation: None,
            }],
            container_statuses: vec![ContainerStatus {
                name: "c".to_owned(),
                state,
                ready,
                container_id: Some("probelet://1".to_owned()),
                ..ContainerStatus::default()
            }],
            ..PodStatus::default()
        }
    }

    fn standing(id: &str) -> Standing {
        Standing {
            addresses: IpAddr::V4(Ipv4Addr::LOCALHOST).into(),
            containers: vec![StandingContainer {
                id: ContainerId::from(id),
                name: ContainerName::from("c"),
                restart_count: 0,
                started_at: Wall(0),
                exit: None,
            }],
        }
    }

    fn running() -> ContainerState {
        ContainerState::Running(Running::default())
    }

    #[test]
    fn a_pod_that_runs_and_is_ready_is_at_rest() {
        assert_eq!(
            of_pod(&pod(), &status(running(), true), Some(&standing("1"))),
            None
        );
    }

    #[test]
    fn a_pod_that_never_becomes_ready_is_caught() {
        let wrong = of_pod(&pod(), &status(running(), false), Some(&standing("1")));
        assert!(wrong.unwrap().contains("Ready is false"));
    }

    #[test]
    fn a_status_that_the_world_knows_nothing_of_is_caught() {
        for standing in [None, Some(standing("2"))] {
            let wrong = of_pod(&pod(), &status(running(), true), standing.as_ref());
            assert!(wrong.unwrap().contains("runs as"));
        }
    }

    #[test]
    fn a_container_that_nobody_starts_again_is_caught() {
        let ended = ContainerState::Terminated(Terminated {
            exit_code: 0,
            ..Terminated::default()
        });
        let mut pod = pod();
        let wrong = of_pod(&pod, &status(ended.clone(), false), None);
        assert!(wrong.unwrap().contains("which is to run"));
        pod.restart_policy = RestartPolicy::OnFailure;
        assert_eq!(of_pod(&pod, &status(ended, false), None), None);
    }

    #[test]
    fn what_is_to_be_started_again_goes_by_rules_policies_and_sort() {
        use RestartPolicy::{Always, Never, OnFailure};
        let asked = |of_pod, own, rule: Option<i32>, is_init| {
            let mut pod = pod();
            pod.restart_policy = of_pod;
            let mut spec = pod.containers[0].clone();
            spec.restart_policy = own;
            spec.restart_rules = Vec::from_iter(rule.map(|code| RestartRule {
                listed: true,
                codes: vec![code],
            }));
            [0, 1, 42].map(|code| restarts(&pod, &spec, is_init, code))
        };
        assert_eq!(asked(Always, None, None, false), [true; 3]);
        assert_eq!(asked(OnFailure, None, None, false), [false, true, true]);
        assert_eq!(asked(Never, None, None, false), [false; 3]);
        assert_eq!(asked(Always, Some(Never), None, false), [false; 3]);
        assert_eq!(
            asked(Always, Some(Never), Some(42), false),
            [false, false, true]
        );
        assert_eq!(asked(Always, None, None, true), [false, true, true]);
        assert_eq!(
            asked(Never, Some(Always), None, true),
            [true; 3],
            "a sidecar"
        );
    }

    #[test]
    fn a_container_that_outlives_its_pod_is_caught() {
        let over = PodStatus {
            phase: Phase::Failed,
            ..PodStatus::default()
        };
        assert!(
            of_pod(&pod(), &over, Some(&standing("1")))
                .unwrap()
                .contains("c runs")
        );
    }
}
