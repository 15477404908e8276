//! The kinds that make Pods from a template, as far as a manifest's author can get them wrong.

use std::collections::BTreeMap;

use k8s_openapi::api::{apps::v1 as apps, batch::v1 as batch, core::v1 as core};
use serde_json::{Value, json};

use crate::decode::examine::{self, shape_of};
use crate::field::{FieldError, FieldPath};
use crate::id::Kind;
use crate::validate::{self, Errors};

/// A kind that makes Pods from a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Workload {
    CronJob,
    DaemonSet,
    Deployment,
    Job,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
}

impl Workload {
    pub(super) fn of(version: &str, kind: &str) -> Option<Self> {
        Some(match (version, kind) {
            ("batch/v1", "CronJob") => Self::CronJob,
            ("apps/v1", "DaemonSet") => Self::DaemonSet,
            ("apps/v1", "Deployment") => Self::Deployment,
            ("batch/v1", "Job") => Self::Job,
            ("apps/v1", "ReplicaSet") => Self::ReplicaSet,
            ("v1", "ReplicationController") => Self::ReplicationController,
            ("apps/v1", "StatefulSet") => Self::StatefulSet,
            _ => return None,
        })
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::CronJob => "CronJob",
            Self::DaemonSet => "DaemonSet",
            Self::Deployment => "Deployment",
            Self::Job => "Job",
            Self::ReplicaSet => "ReplicaSet",
            Self::ReplicationController => "ReplicationController",
            Self::StatefulSet => "StatefulSet",
        }
    }

    /// Where the spec that holds the template is.
    pub(super) fn spec(self) -> FieldPath {
        let spec = FieldPath::root().field("spec");
        match self {
            Self::CronJob => spec.field("jobTemplate").field("spec"),
            _ => spec,
        }
    }

    /// Where the template is.
    pub(super) fn template(self) -> FieldPath {
        self.spec().field("template")
    }

    /// How many Pods `value` asks for at a time; `None` where that is up to the cluster.
    pub(super) fn replicas(self, value: &Value) -> Option<u32> {
        let field = match self {
            Self::DaemonSet => return None,
            Self::CronJob | Self::Job => "parallelism",
            _ => "replicas",
        };
        let replicas = self.spec().field(field).find(value).and_then(Value::as_u64);
        Some(replicas.map_or(1, |replicas| u32::try_from(replicas).unwrap_or(u32::MAX)))
    }

    /// What is wrong with `value` but for what is in its template: unknown fields, wrong types, and what
    /// the template has to be for this kind.
    pub(super) fn errors(self, value: &Value) -> Vec<FieldError> {
        let template = self.template();
        let mut errors = match self {
            Self::Deployment => return examine::workload(Kind::Deployment, value),
            Self::ReplicaSet => return examine::workload(Kind::ReplicaSet, value),
            Self::CronJob => shape_of::<batch::CronJob>(value).1,
            Self::DaemonSet => shape_of::<apps::DaemonSet>(value).1,
            Self::Job => shape_of::<batch::Job>(value).1,
            Self::ReplicationController => shape_of::<core::ReplicationController>(value).1,
            Self::StatefulSet => shape_of::<apps::StatefulSet>(value).1,
        };
        errors.retain(|error| !error.path.is_within(&template) || error.path == template);
        if !errors.is_empty() {
            return errors;
        }
        let named = FieldPath::root()
            .field("metadata")
            .field("name")
            .find(value);
        if named.is_none_or(|name| name.is_null() || name == "")
            && FieldPath::root()
                .field("metadata")
                .field("generateName")
                .find(value)
                .is_none()
        {
            errors.push(FieldError::required(
                FieldPath::root().field("metadata").field("name"),
                "name or generateName is required",
            ));
        }
        self.selector(value, &mut errors);
        self.counts(value, &mut errors);
        self.endings(value, &mut errors);
        errors
    }

    /// A selector must be there, and must select the Pods that are made from the template.
    ///
    /// Upstream: pkg/apis/apps/validation/validation.go, ValidateDeploymentSpec and its like;
    /// pkg/apis/core/validation/validation.go, ValidateReplicationControllerSpec.
    /// Shown by: a_selector_is_there_and_selects_its_own_template.
    fn selector(self, value: &Value, errors: &mut Vec<FieldError>) {
        let path = self.spec().field("selector");
        let written = path.find(value).filter(|selector| !selector.is_null());
        let labels_path = self.template().field("metadata").field("labels");
        let labels = labels_of(&labels_path, value);
        let matches = match self {
            // Their selectors are made for them.
            Self::CronJob | Self::Job => return,
            Self::ReplicationController => {
                let mut selector = labels_of(&path, value);
                if selector.is_empty() {
                    // Its default.
                    selector.clone_from(&labels);
                }
                if selector.is_empty() {
                    errors.push(FieldError::required(path, ""));
                    return;
                }
                selector
                    .iter()
                    .all(|(key, value)| labels.get(key) == Some(value))
            }
            _ => {
                let Some(written) = written else {
                    errors.push(FieldError::required(path, ""));
                    return;
                };
                let selector = serde_json::from_value(written.clone()).unwrap_or_default();
                let selector =
                    validate::selector::selector(&selector, &path, &mut Errors::default());
                let selector = selector.unwrap_or_default();
                if selector.is_empty() {
                    let kind = match self {
                        Self::DaemonSet => "daemonset",
                        _ => "statefulset",
                    };
                    let detail = format!("empty selector is invalid for {kind}");
                    errors.push(FieldError::invalid(path, written.clone(), &detail));
                    return;
                }
                selector.matches(|key| labels.get(key).map(String::as_str))
            }
        };
        if !matches {
            let detail = "`selector` does not match template `labels`";
            errors.push(FieldError::invalid(labels_path, json!(labels), detail));
        }
    }

    /// Counts and seconds of a workload are not negative.
    ///
    /// Upstream: pkg/apis/core/validation/validation.go, ValidateNonnegativeField.
    /// Shown by: counts_are_not_negative.
    fn counts(self, value: &Value, errors: &mut Vec<FieldError>) {
        for name in [
            "backoffLimit",
            "completions",
            "minReadySeconds",
            "parallelism",
            "replicas",
            "revisionHistoryLimit",
        ] {
            let path = self.spec().field(name);
            if let Some(count) = path.find(value).and_then(Value::as_i64).filter(|n| *n < 0) {
                errors.push(FieldError::invalid(
                    path,
                    count,
                    "must be greater than or equal to 0",
                ));
            }
        }
    }

    /// A Job's Pods must not restart for ever, those of other workloads must, and may have no deadline.
    ///
    /// Upstream: pkg/apis/batch/validation/validation.go, validateJobSpec; pkg/apis/apps/validation;
    /// pkg/apis/core/validation, ValidatePodTemplateSpecForRC.
    /// Shown by: a_template_ends_as_its_kind_has_it.
    fn endings(self, value: &Value, errors: &mut Vec<FieldError>) {
        let spec = self.template().field("spec");
        let path = spec.field("restartPolicy");
        let policy = path
            .find(value)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty());
        let policy = policy.unwrap_or("Always");
        if matches!(self, Self::CronJob | Self::Job) {
            if policy == "Always" {
                let detail = "valid values: \"OnFailure\", \"Never\"";
                errors.push(FieldError::required(path, detail));
            }
            return;
        }
        if matches!(policy, "OnFailure" | "Never") {
            errors.push(FieldError::unsupported(path, policy, &["Always"]));
        }
        let path = spec.field("activeDeadlineSeconds");
        if path.find(value).is_some_and(|deadline| !deadline.is_null()) {
            let owner = match self {
                Self::Deployment => Self::ReplicaSet,
                other => other,
            };
            let detail = format!(
                "activeDeadlineSeconds in {} is not Supported",
                owner.as_str()
            );
            errors.push(FieldError::forbidden(path, &detail));
        }
    }
}

fn labels_of(path: &FieldPath, value: &Value) -> BTreeMap<String, String> {
    path.find(value)
        .and_then(|labels| serde_json::from_value(labels.clone()).ok())
        .unwrap_or_default()
}
