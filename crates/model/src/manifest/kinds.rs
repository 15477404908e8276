//! Which kinds there are: those carried out, those that Kubernetes has beside them, and no others.

use super::diagnostic::Position;
use super::span::Node;
use crate::field::{FieldError, FieldPath};
use crate::id::Kind;

/// A kind that a manifest may hold.
pub(super) enum Known {
    /// An object.
    CarriedOut(Kind),
    /// Objects under `items`: of one kind, which they need not repeat, or of any.
    List(Option<Kind>),
}

/// The kinds of Kubernetes 1.35 that are not carried out yet, by apiVersion.
const NOT_YET: &[(&str, &[&str])] = &[
    (
        "v1",
        &[
            "Binding",
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "Namespace",
            "Node",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "ServiceAccount",
        ],
    ),
    (
        "admissionregistration.k8s.io/v1",
        &[
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
    ),
    ("apiextensions.k8s.io/v1", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io/v1", &["APIService"]),
    (
        "apps/v1",
        &[
            "ControllerRevision",
            "DaemonSet",
            "Deployment",
            "ReplicaSet",
            "StatefulSet",
        ],
    ),
    ("autoscaling/v1", &["HorizontalPodAutoscaler"]),
    ("autoscaling/v2", &["HorizontalPodAutoscaler"]),
    ("batch/v1", &["CronJob", "Job"]),
    ("certificates.k8s.io/v1", &["CertificateSigningRequest"]),
    ("coordination.k8s.io/v1", &["Lease"]),
    ("discovery.k8s.io/v1", &["EndpointSlice"]),
    ("events.k8s.io/v1", &["Event"]),
    (
        "flowcontrol.apiserver.k8s.io/v1",
        &["FlowSchema", "PriorityLevelConfiguration"],
    ),
    (
        "networking.k8s.io/v1",
        &[
            "IPAddress",
            "Ingress",
            "IngressClass",
            "NetworkPolicy",
            "ServiceCIDR",
        ],
    ),
    ("node.k8s.io/v1", &["RuntimeClass"]),
    ("policy/v1", &["PodDisruptionBudget"]),
    (
        "rbac.authorization.k8s.io/v1",
        &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    ),
    (
        "resource.k8s.io/v1",
        &[
            "DeviceClass",
            "ResourceClaim",
            "ResourceClaimTemplate",
            "ResourceSlice",
        ],
    ),
    ("scheduling.k8s.io/v1", &["PriorityClass"]),
    (
        "storage.k8s.io/v1",
        &[
            "CSIDriver",
            "CSINode",
            "CSIStorageCapacity",
            "StorageClass",
            "VolumeAttachment",
            "VolumeAttributesClass",
        ],
    ),
];

/// The kind of a document.
pub(super) fn of(node: &Node) -> Result<Known, (Position, FieldError)> {
    let required = |name: &'static str| {
        let path = FieldPath::root().field(name);
        (node.locate(&path), FieldError::required(path, ""))
    };
    let whole = |position: Position, message: String| {
        (position, FieldError::new(FieldPath::root(), message))
    };
    if !node.is_object() {
        return Err(whole(
            node.at(),
            "expected an object with apiVersion and kind".to_owned(),
        ));
    }
    let (version, _) = node
        .text("apiVersion")
        .ok_or_else(|| required("apiVersion"))?;
    let (kind, position) = node.text("kind").ok_or_else(|| required("kind"))?;
    match (version, kind) {
        ("v1", "Pod") => Ok(Known::CarriedOut(Kind::Pod)),
        ("v1", "Service") => Ok(Known::CarriedOut(Kind::Service)),
        ("v1", "List") => Ok(Known::List(None)),
        ("v1", "PodList") => Ok(Known::List(Some(Kind::Pod))),
        ("v1", "ServiceList") => Ok(Known::List(Some(Kind::Service))),
        _ if NOT_YET
            .iter()
            .any(|(known, kinds)| *known == version && kinds.contains(&kind)) =>
        {
            Err(whole(
                position,
                format!("kind {kind:?} ({version}) is not carried out yet"),
            ))
        }
        _ => Err(whole(
            position,
            format!("no matches for kind {kind:?} in version {version:?}"),
        )),
    }
}
