//! The defaults of ReplicaSets and Deployments, and of their templates.
//!
//! Upstream: pkg/apis/apps/v1/defaults.go, SetDefaults_ReplicaSet and SetDefaults_Deployment.
//! Shown by: workloads_are_defaulted.

use serde_json::{Value, json};

use super::{Fields, object_in, pod, set, set_missing};
use crate::id::Kind;

pub(super) fn apply(kind: Kind, spec: &mut Fields) {
    set_missing(spec, "replicas", json!(1));
    if kind == Kind::Deployment {
        set_missing(spec, "revisionHistoryLimit", json!(10));
        set_missing(spec, "progressDeadlineSeconds", json!(600));
        set_missing(spec, "strategy", json!({}));
        if let Some(strategy) = object_in(spec, "strategy") {
            self::strategy(strategy);
        }
    }
    if let Some(template) = object_in(spec, "template") {
        set_missing(template, "metadata", json!({}));
        if let Some(spec) = object_in(template, "spec") {
            pod(spec);
        }
    }
}

fn strategy(strategy: &mut Fields) {
    set(strategy, "type", json!("RollingUpdate"));
    if strategy.get("type").and_then(Value::as_str) != Some("RollingUpdate") {
        return;
    }
    set_missing(strategy, "rollingUpdate", json!({}));
    if let Some(update) = object_in(strategy, "rollingUpdate") {
        set_missing(update, "maxUnavailable", json!("25%"));
        set_missing(update, "maxSurge", json!("25%"));
    }
}
