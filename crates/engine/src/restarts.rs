//! Whether a container that has ended is started again.

use probelet_model::pod::{Container, RestartPolicy, RestartRule};

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// An ordinary init container: does its work once in every sandbox.
    Init,
    /// An init container that restarts always: begins before the regular ones and ends after them.
    Sidecar,
    /// A regular container.
    Regular,
}

impl Role {
    /// What one of `initContainers` is: a sidecar if it always restarts.
    ///
    /// Upstream: pkg/api/v1/pod/util.go, IsRestartableInitContainer.
    /// Shown by: e2_one_init_container_runs,
    /// e17_a_sidecar_that_restarts_after_the_initialisation_changes_neither_it_nor_the_phase.
    pub(crate) fn of_init(spec: &Container) -> Self {
        if spec.is_restartable_init() {
            Self::Sidecar
        } else {
            Self::Init
        }
    }
}

/// One container's rules of restart: its own, else its pod's. They never change while the pod lives.
///
/// Upstream: pkg/api/v1/pod/util.go, ContainerShouldRestart.
/// Shown by: after_exit_codes_0_1_and_42_and_after_a_kill,
/// d23_a_container_that_never_restarts_in_a_pod_that_always_does, d25_rules_are_asked_about_exit_codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Restarts {
    /// `restartPolicyRules`, which come before the policy.
    rules: Vec<RestartRule>,
    policy: RestartPolicy,
}

impl Restarts {
    pub(crate) fn of(spec: &Container, pod: RestartPolicy) -> Self {
        match spec.restart_policy {
            Some(policy) => Self {
                rules: spec.restart_rules.clone(),
                policy,
            },
            // Without a policy of its own a container has no rules of its own.
            None => Self {
                rules: Vec::new(),
                policy: pod,
            },
        }
    }

    /// After a run that ended with this code.
    pub(crate) fn after_exit(&self, code: i32) -> bool {
        self.rules.iter().any(|rule| rule.matches(code))
            || match self.policy {
                RestartPolicy::Always => true,
                RestartPolicy::OnFailure => code != 0,
                RestartPolicy::Never => false,
            }
    }

    /// Whether it is started again after a kill, which is decided before there is an exit code, so that no
    /// rule can be asked.
    ///
    /// Upstream: kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, computePodActions.
    /// Shown by: after_exit_codes_0_1_and_42_and_after_a_kill,
    /// d18_on_failure_restarts_what_liveness_killed_whatever_its_exit_code,
    /// rules_are_not_asked_when_a_probe_kills.
    pub(crate) fn after_kill(&self) -> bool {
        self.policy != RestartPolicy::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(own: Option<RestartPolicy>, rules: &[(bool, &[i32])], pod: RestartPolicy) -> String {
        let rules = rules.iter().map(|(listed, codes)| RestartRule {
            listed: *listed,
            codes: codes.to_vec(),
        });
        let restarts = Restarts {
            rules: rules.collect(),
            policy: own.unwrap_or(pod),
        };
        let letter = |yes| if yes { 'y' } else { 'n' };
        let exits = [0, 1, 42].map(|code| letter(restarts.after_exit(code)));
        exits
            .into_iter()
            .chain([letter(restarts.after_kill())])
            .collect()
    }

    #[test]
    fn after_exit_codes_0_1_and_42_and_after_a_kill() {
        use RestartPolicy::{Always, Never, OnFailure};
        assert_eq!(check(None, &[], Always), "yyyy");
        assert_eq!(check(None, &[], OnFailure), "nyyy");
        assert_eq!(check(None, &[], Never), "nnnn");
        assert_eq!(check(Some(Never), &[], Always), "nnnn");
        assert_eq!(check(Some(Always), &[], Never), "yyyy");
        assert_eq!(check(Some(Never), &[(true, &[42])], Always), "nnyn");
        assert_eq!(check(Some(Never), &[(false, &[0])], Always), "nyyn");
        let two: &[(bool, &[i32])] = &[(true, &[1]), (true, &[0])];
        assert_eq!(check(Some(Never), two, Never), "yynn");
        assert_eq!(check(Some(OnFailure), &[(true, &[0])], Never), "yyyy");
    }
}
