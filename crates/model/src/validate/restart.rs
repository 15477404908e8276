//! Restart policies: the pod's, and a container's own with its rules.

use k8s_openapi::api::core::v1 as api;

use super::{Errors, filled};
use crate::field::{FieldError, FieldPath};
use crate::pod::{RestartPolicy, RestartRule};

/// Most rules a container may have.
const MOST_RULES: usize = 20;

/// Most exit codes a rule may list.
const MOST_CODES: usize = 255;

/// A pod's `restartPolicy`.
///
/// Upstream: validateRestartPolicy.
/// Shown by: the_spec_is_validated, a_pod_is_read.
pub(super) fn of_pod(wire: &api::PodSpec, path: FieldPath, errors: &mut Errors) -> RestartPolicy {
    let Some(text) = filled(wire.restart_policy.as_ref()) else {
        errors.required(path, "");
        return RestartPolicy::Always;
    };
    policy(text).unwrap_or_else(|| {
        errors.unsupported(path, text, &["Always", "OnFailure", "Never"]);
        RestartPolicy::Always
    })
}

/// A container's `restartPolicy` and `restartPolicyRules`; `path` is the container's.
///
/// A rule may list no exit codes at all: `In` then is about none, and `NotIn` about every one. The gate of
/// the action RestartAllContainers is off in 1.35, so that action is as unknown as any other word.
/// Upstream: validateContainerRestartPolicy.
/// Differs: upstream 1.35 counts too long lists in bytes ("Too long: may not be more than 255 bytes"); the
/// words here are those it was mended to later (kubernetes/kubernetes pull request 137136).
/// Shown by: restart_policies_and_rules_are_read, restart_rules_are_validated.
pub(super) fn of_container(
    wire: &api::Container,
    path: &FieldPath,
    errors: &mut Errors,
) -> (Option<RestartPolicy>, Vec<RestartRule>) {
    let rules = wire.restart_policy_rules.as_deref().unwrap_or_default();
    let policy_path = path.field("restartPolicy");
    let own = match &wire.restart_policy {
        Some(text) => {
            let policy = policy(text);
            if policy.is_none() {
                errors.unsupported(policy_path, text, &["Always", "Never", "OnFailure"]);
            }
            policy
        }
        None => {
            if !rules.is_empty() {
                let detail = "must specify restartPolicy when restart rules are used";
                errors.required(policy_path, detail);
            }
            None
        }
    };
    let path = path.field("restartPolicyRules");
    at_most(MOST_RULES, rules.len(), &path, errors);
    let numbered = rules.iter().enumerate();
    let rules = numbered.filter_map(|(index, wire)| rule(wire, &path.index(index), errors));
    (own, rules.collect())
}

/// A sidecar has no rules, as the gate RestartAllContainersOnContainerExits is off in 1.35. The words are
/// ours.
///
/// Upstream: pkg/api/pod/util.go, AllowRestartAllContainers.
/// Shown by: a_sidecar_has_no_restart_rules.
pub(super) fn no_rules_for_sidecar(wire: &api::Container, path: &FieldPath, errors: &mut Errors) {
    let rules = wire.restart_policy_rules.as_deref().unwrap_or_default();
    if !rules.is_empty() {
        let detail = "may not be set for init containers with restartPolicy=Always";
        errors.forbidden(path.field("restartPolicyRules"), detail);
    }
}

fn policy(text: &str) -> Option<RestartPolicy> {
    match text {
        "Always" => Some(RestartPolicy::Always),
        "OnFailure" => Some(RestartPolicy::OnFailure),
        "Never" => Some(RestartPolicy::Never),
        _ => None,
    }
}

fn rule(
    wire: &api::ContainerRestartRule,
    path: &FieldPath,
    errors: &mut Errors,
) -> Option<RestartRule> {
    if wire.action != "Restart" {
        errors.unsupported(path.field("action"), &wire.action, &["Restart"]);
    }
    let path = path.field("exitCodes");
    let Some(wire) = &wire.exit_codes else {
        errors.required(path, "must be specified");
        return None;
    };
    let listed = match wire.operator.as_str() {
        "In" => Some(true),
        "NotIn" => Some(false),
        other => {
            errors.unsupported(path.field("operator"), other, &["In", "NotIn"]);
            None
        }
    };
    let codes = wire.values.clone().unwrap_or_default();
    at_most(MOST_CODES, codes.len(), &path.field("values"), errors);
    listed.map(|listed| RestartRule { listed, codes })
}

fn at_most(most: usize, actual: usize, path: &FieldPath, errors: &mut Errors) {
    if actual > most {
        errors.add(FieldError::too_many(path.clone(), actual, most));
    }
}
