//! Names of things: one type each, so that a pod's uid is never taken for a container's id.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

text_id! {
    /// `metadata.uid` of a Pod: a random UUID, new for every Pod ever created.
    PodUid
}
text_id! {
    /// One run of one container: 64 hex digits, new at every start. On the wire with the runtime's
    /// scheme before it, `probelet://<id>`.
    ContainerId
}
text_id! {
    /// `metadata.name` of a container in its Pod.
    ContainerName
}

/// The kinds of object the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `v1` Pod.
    Pod,
    /// `v1` Service.
    Service,
    /// `v1` Endpoints.
    Endpoints,
    /// `v1` Event; `events.k8s.io/v1` shows the same objects in another shape.
    Event,
    /// `v1` Namespace.
    Namespace,
    /// `v1` ConfigMap.
    ConfigMap,
    /// `v1` Secret.
    Secret,
    /// `v1` ServiceAccount.
    ServiceAccount,
    /// `v1` Node: this host.
    Node,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `coordination.k8s.io/v1` Lease.
    Lease,
    /// `apps/v1` ReplicaSet.
    ReplicaSet,
    /// `apps/v1` Deployment.
    Deployment,
    /// `node.k8s.io/v1` RuntimeClass.
    RuntimeClass,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Pod,
        Self::Service,
        Self::Endpoints,
        Self::Event,
        Self::Namespace,
        Self::ConfigMap,
        Self::Secret,
        Self::ServiceAccount,
        Self::Node,
        Self::EndpointSlice,
        Self::Lease,
        Self::ReplicaSet,
        Self::Deployment,
        Self::RuntimeClass,
    ];

    /// `kind` as it is written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::Endpoints => "Endpoints",
            Self::Event => "Event",
            Self::Namespace => "Namespace",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::ServiceAccount => "ServiceAccount",
            Self::Node => "Node",
            Self::EndpointSlice => "EndpointSlice",
            Self::Lease => "Lease",
            Self::ReplicaSet => "ReplicaSet",
            Self::Deployment => "Deployment",
            Self::RuntimeClass => "RuntimeClass",
        }
    }

    /// `apiVersion` as it is written on the wire: `v1`, `apps/v1`.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Pod
            | Self::Service
            | Self::Endpoints
            | Self::Event
            | Self::Namespace
            | Self::ConfigMap
            | Self::Secret
            | Self::ServiceAccount
            | Self::Node => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::Lease => "coordination.k8s.io/v1",
            Self::ReplicaSet | Self::Deployment => "apps/v1",
            Self::RuntimeClass => "node.k8s.io/v1",
        }
    }

    /// The name of its resource, as in a URL: `pods`.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::Service => "services",
            Self::Endpoints => "endpoints",
            Self::Event => "events",
            Self::Namespace => "namespaces",
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
            Self::ServiceAccount => "serviceaccounts",
            Self::Node => "nodes",
            Self::EndpointSlice => "endpointslices",
            Self::Lease => "leases",
            Self::ReplicaSet => "replicasets",
            Self::Deployment => "deployments",
            Self::RuntimeClass => "runtimeclasses",
        }
    }

    /// Whether its objects live in namespaces; those that do not have an empty one in their [`ObjectKey`].
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespace | Self::Node | Self::RuntimeClass)
    }

    /// The kind that a manifest names so.
    #[must_use]
    pub fn named(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str() == kind && known.api_version() == api_version)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an object lives: its kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// What it is.
    pub kind: Kind,
    /// `metadata.namespace`; `default` if the manifest says none; empty where the kind is not namespaced.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectKey {
    /// The key of `kind` `namespace/name`.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            namespace,
            name,
        } = self;
        if namespace.is_empty() {
            write!(f, "{kind} {name}")
        } else {
            write!(f, "{kind} {namespace}/{name}")
        }
    }
}
