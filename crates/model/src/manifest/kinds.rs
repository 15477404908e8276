//! Which kinds there are: those carried out, those that Kubernetes has beside them, and those of others.

use crate::field::{FieldError, FieldPath};
use crate::id::Kind;
use crate::yaml::{Node, Position};

/// A kind that a manifest may hold.
pub(super) enum Known {
    /// An object.
    CarriedOut(Kind),
    /// Objects under `items`: of one kind, which they need not repeat, or of any.
    List(Option<Kind>),
    /// An object that is not carried out.
    Other(Other),
}

/// An object that is not carried out.
pub(super) struct Other {
    pub(super) version: String,
    pub(super) kind: String,
    /// Where the kind is written.
    pub(super) at: Position,
    /// Whether Kubernetes 1.35 has it.
    pub(super) is_known: bool,
}

impl Other {
    /// Whether only Kubernetes itself can have an object with this apiVersion, and has none of this kind:
    /// the groups of others have a dot in their names.
    pub(super) fn cannot_be(&self) -> bool {
        let is_own = !self
            .version
            .split('/')
            .next()
            .is_some_and(|group| group.contains('.'))
            || NOT_YET.iter().any(|(known, _)| *known == self.version)
            || Kind::ALL
                .iter()
                .any(|kind| kind.api_version() == self.version);
        is_own && !self.is_known
    }

    /// That it is refused.
    pub(super) fn refusal(&self) -> FieldError {
        let Self { version, kind, .. } = self;
        FieldError::new(
            FieldPath::root(),
            if self.is_known {
                format!("kind {kind:?} ({version}) is not carried out yet")
            } else {
                format!("no matches for kind {kind:?} in version {version:?}")
            },
        )
    }
}

/// The kinds of Kubernetes 1.35 that are not carried out yet, by apiVersion.
const NOT_YET: &[(&str, &[&str])] = &[
    (
        "v1",
        &[
            "Binding",
            "LimitRange",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
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
        &["ControllerRevision", "DaemonSet", "StatefulSet"],
    ),
    ("autoscaling/v1", &["HorizontalPodAutoscaler"]),
    ("autoscaling/v2", &["HorizontalPodAutoscaler"]),
    ("batch/v1", &["CronJob", "Job"]),
    ("certificates.k8s.io/v1", &["CertificateSigningRequest"]),
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
    if node.entries().is_none() {
        return Err(whole(
            node.at(),
            "expected an object with apiVersion and kind".to_owned(),
        ));
    }
    let (version, _) = node
        .text("apiVersion")
        .ok_or_else(|| required("apiVersion"))?;
    let (kind, position) = node.text("kind").ok_or_else(|| required("kind"))?;
    if let Some(kind) = Kind::named(version, kind) {
        return Ok(Known::CarriedOut(kind));
    }
    if (version, kind) == ("v1", "List") {
        return Ok(Known::List(None));
    }
    if let Some(item) = kind
        .strip_suffix("List")
        .and_then(|kind| Kind::named(version, kind))
    {
        return Ok(Known::List(Some(item)));
    }
    Ok(Known::Other(Other {
        version: version.to_owned(),
        kind: kind.to_owned(),
        at: position,
        is_known: NOT_YET
            .iter()
            .any(|(known, kinds)| *known == version && kinds.contains(&kind)),
    }))
}
