//! The fields that a writer cannot own.

use std::sync::LazyLock;

use super::set::FieldSet;

/// What is never tracked, because it says which object this is, or the server alone writes it.
///
/// Upstream: apimachinery pkg/util/managedfields/internal/stripmeta.go, NewStripMetaManager.
/// Shown by: what_is_never_tracked_is_in_no_entry.
pub(super) static NEVER_TRACKED: LazyLock<FieldSet> = LazyLock::new(|| {
    FieldSet::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// What a write to an object or to one of its subresources does not change, whatever is in it.
///
/// Upstream: pkg/registry, GetResetFields of the strategies of core, apps.
/// Shown by: the_status_is_owned_through_its_subresource_alone.
pub(super) fn of(kind: &str, subresource: &str) -> FieldSet {
    let paths: &[&[&str]] = match (kind, subresource) {
        ("Pod", "status") => &[
            &["spec"],
            &["metadata", "deletionTimestamp"],
            &["metadata", "ownerReferences"],
        ],
        ("Deployment", "status") => &[&["spec"], &["metadata", "labels"]],
        ("Namespace" | "Node" | "ReplicaSet" | "Service", "status") => &[&["spec"]],
        ("Deployment" | "Namespace" | "Node" | "Pod" | "ReplicaSet" | "Service", _) => {
            &[&["status"]]
        }
        _ => &[],
    };
    FieldSet::of_fields(paths)
}
