//! Namespaces: what each has from the beginning, and how one ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use probelet_model::id::{Kind, ObjectKey};
use probelet_model::time::Wall;
use serde_json::{Value, json};

use crate::object;
use crate::plan::{Action, Plan, Propagation};

/// Those that are always there.
///
/// Upstream: pkg/controlplane/controller/systemnamespaces/system_namespaces_controller.go, and `default`.
/// Shown by: the_namespaces_that_are_always_there.
pub const ALWAYS_THERE: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// The ConfigMap with the certificate of the server's authority.
///
/// Upstream: pkg/controller/certificates/rootcacertpublisher/publisher.go, RootCACertConfigMapName.
/// Shown by: each_namespace_has_an_account_and_the_authoritys_certificate.
pub const ROOT_CA: &str = "kube-root-ca.crt";
/// The account of pods that name none.
pub const DEFAULT_ACCOUNT: &str = "default";
/// What holds a namespace until its contents are gone; it stands in `spec`, not among the metadata.
const FINALIZER: &str = "kubernetes";

/// A namespace that is always there, without what a server sets.
#[must_use]
pub fn new(name: &str) -> Value {
    json!({
        "apiVersion": Kind::Namespace.api_version(),
        "kind": Kind::Namespace.as_str(),
        "metadata": {
            "name": name,
            "labels": { "kubernetes.io/metadata.name": name },
        },
        "spec": { "finalizers": [FINALIZER] },
        "status": { "phase": "Active" },
    })
}

/// Whether a namespace is being deleted.
#[must_use]
pub fn ends(namespace: &Value) -> bool {
    object::is_deleting(namespace)
}

/// Gives a namespace what each has. `find` gives the object at a key.
///
/// Upstream: pkg/controller/serviceaccount/serviceaccounts_controller.go, syncNamespace;
/// pkg/controller/certificates/rootcacertpublisher/publisher.go, syncNamespace.
/// Shown by: each_namespace_has_an_account_and_the_authoritys_certificate.
#[must_use]
pub fn furnish(
    namespace: &Value,
    root_ca: &str,
    find: &dyn Fn(&ObjectKey) -> Option<Arc<Value>>,
) -> Plan {
    let mut plan = Plan::default();
    let name = object::name(namespace);
    let account = ObjectKey::new(Kind::ServiceAccount, name, DEFAULT_ACCOUNT);
    if find(&account).is_none() {
        let value = fresh(&account);
        plan.actions.push(Action::Create {
            key: account,
            value,
        });
    }
    let key = ObjectKey::new(Kind::ConfigMap, name, ROOT_CA);
    let data = json!({ "ca.crt": root_ca });
    match find(&key) {
        None => {
            let mut value = fresh(&key);
            value["metadata"]["annotations"] = json!({
                "kubernetes.io/description": "Contains a CA bundle that can be used to verify the \
                    kube-apiserver when using internal endpoints such as the internal service IP or \
                    kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
                    clusters.",
            });
            value["data"] = data;
            plan.actions.push(Action::Create { key, value });
        }
        Some(there) if there["data"] != data => {
            let mut value = Value::clone(&there);
            value["data"] = data;
            plan.actions.push(Action::Update { key, value });
        }
        Some(_) => {}
    }
    plan
}

/// Deletes what is in a namespace that is being deleted: the pods, and when they have ended everything else;
/// and when all of it is gone, the namespace.
///
/// Upstream: pkg/controller/namespace/deletion/namespaced_resources_deleter.go, Delete and deleteAllContent,
/// with the gate OrderedNamespaceDeletion.
/// Shown by: a_namespace_ends_after_its_pods_and_these_before_the_rest, what_holds_a_namespace_is_told,
/// a_namespace_with_other_finalizers_stays.
#[must_use]
pub fn end(namespace: &Value, contents: &[(ObjectKey, Arc<Value>)], now: Wall) -> Plan {
    let mut plan = Plan::default();
    let key = ObjectKey::new(Kind::Namespace, "", object::name(namespace));
    let finalizers = namespace["spec"]["finalizers"].as_array();
    let others: Vec<&Value> = finalizers
        .into_iter()
        .flatten()
        .filter(|finalizer| *finalizer != FINALIZER)
        .collect();
    if contents.is_empty() && others.is_empty() && object::finalizers(namespace).next().is_none() {
        let uid = object::uid(namespace).to_owned();
        plan.actions.push(Action::Remove { key, uid });
        return plan;
    }
    let has_pods = contents.iter().any(|(key, _)| key.kind == Kind::Pod);
    let now_deleted = contents
        .iter()
        .filter(|(key, _)| (key.kind == Kind::Pod) == has_pods);
    let mut remaining: Vec<&(ObjectKey, Arc<Value>)> = Vec::new();
    for entry in now_deleted {
        let (key, object) = entry;
        if !object::is_deleting(object) {
            plan.actions.push(Action::Delete {
                key: key.clone(),
                uid: object::uid(object).to_owned(),
                propagation: Propagation::Background,
            });
        }
        // A pod takes its time; anything else only if something holds it.
        if key.kind == Kind::Pod || object::finalizers(object).next().is_some() {
            remaining.push(entry);
        }
    }
    let mut value = namespace.clone();
    if contents.is_empty() {
        value["spec"]["finalizers"] = others.into_iter().cloned().collect();
    }
    value["status"]["phase"] = "Terminating".into();
    value["status"]["conditions"] = conditions(namespace, &remaining, now);
    if value != *namespace {
        plan.actions.push(Action::Update { key, value });
    }
    plan
}

/// What a namespace says of its end.
///
/// Upstream: pkg/controller/namespace/deletion/status_condition_utils.go.
/// Shown by: what_holds_a_namespace_is_told.
fn conditions(namespace: &Value, remaining: &[&(ObjectKey, Arc<Value>)], now: Wall) -> Value {
    let mut by_resource: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_finalizer: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, object) in remaining {
        let group = key.kind.api_version().split_once('/');
        let group = group.map_or("", |(group, _)| group);
        let resource = format!("{}.{group}", key.kind.plural());
        *by_resource.entry(resource).or_default() += 1;
        for finalizer in object::finalizers(object) {
            *by_finalizer.entry(finalizer).or_default() += 1;
        }
    }
    let list = |items: Vec<String>| (!items.is_empty()).then(|| items.join(", "));
    let resources = list(
        by_resource
            .iter()
            .map(|(resource, count)| format!("{resource} has {count} resource instances"))
            .collect(),
    );
    let finalizers = list(
        by_finalizer
            .iter()
            .map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"))
            .collect(),
    );
    let fine = |kind: &str, reason: &str, message: &str| {
        condition(namespace, kind, "False", reason, message, now)
    };
    json!([
        fine(
            "NamespaceDeletionDiscoveryFailure",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        fine(
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        fine(
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        match resources {
            Some(list) => condition(
                namespace,
                "NamespaceContentRemaining",
                "True",
                "SomeResourcesRemain",
                &format!("Some resources are remaining: {list}"),
                now,
            ),
            None => fine(
                "NamespaceContentRemaining",
                "ContentRemoved",
                "All content successfully removed",
            ),
        },
        match finalizers {
            Some(list) => condition(
                namespace,
                "NamespaceFinalizersRemaining",
                "True",
                "SomeFinalizersRemain",
                &format!("Some content in the namespace has finalizers remaining: {list}"),
                now,
            ),
            None => fine(
                "NamespaceFinalizersRemaining",
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            ),
        },
    ])
}

/// A condition; the moment is that of its status, whatever else it comes to say.
fn condition(
    namespace: &Value,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Wall,
) -> Value {
    let all = namespace["status"]["conditions"].as_array();
    let before = all.and_then(|all| all.iter().find(|condition| condition["type"] == kind));
    let since = before.filter(|before| before["status"] == status);
    json!({
        "type": kind,
        "status": status,
        "lastTransitionTime": since
            .map_or_else(|| Value::from(now.to_string()), |since| since["lastTransitionTime"].clone()),
        "reason": reason,
        "message": message,
    })
}

fn fresh(key: &ObjectKey) -> Value {
    json!({
        "apiVersion": key.kind.api_version(),
        "kind": key.kind.as_str(),
        "metadata": { "name": key.name, "namespace": key.namespace },
    })
}

#[cfg(test)]
mod tests;
