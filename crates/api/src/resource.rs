//! What there is to ask for: one table of resources, from which discovery is told and paths are read.

use probelet_model::id::Kind;

/// A resource: a group's kind under its plural name.
#[derive(Debug)]
pub struct Resource {
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The group's version: `v1`.
    pub version: &'static str,
    /// Its name in a URL.
    pub plural: &'static str,
    /// `pod`.
    pub singular: &'static str,
    /// `kind` of its objects.
    pub kind: &'static str,
    /// Where its objects are stored; `None` if it is only asked (a review) or measured.
    pub stored: Option<Kind>,
    /// Whether it lives in namespaces.
    pub namespaced: bool,
    /// `po`.
    pub short_names: &'static [&'static str],
    /// `all`.
    pub categories: &'static [&'static str],
    /// What can be done with it, as discovery names it.
    pub verbs: &'static [&'static str],
    /// What lies below one of its objects.
    pub subresources: &'static [Subresource],
}

/// What lies below an object: `pods/web/log`.
#[derive(Debug)]
pub struct Subresource {
    /// Its name in a URL.
    pub name: &'static str,
    /// `group`, `version` and `kind` of its body.
    pub kind: (&'static str, &'static str, &'static str),
    /// What can be done with it.
    pub verbs: &'static [&'static str],
}

impl Resource {
    /// `apps/v1`; `v1` for the core.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `pods`, `deployments.apps`: as the texts of errors name it.
    #[must_use]
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Its subresource of that name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|below| below.name == name)
    }

    /// The resource at a place in the API.
    #[must_use]
    pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|resource| {
            resource.group == group && resource.version == version && resource.plural == plural
        })
    }

    /// The resource under which objects of a kind are written.
    ///
    /// # Panics
    /// Never: every kind has a row, and a test looks.
    #[must_use]
    pub fn of(kind: Kind) -> &'static Self {
        RESOURCES
            .iter()
            .find(|resource| {
                resource.stored == Some(kind) && resource.api_version() == kind.api_version()
            })
            .expect("every kind has a row")
    }
}

/// The group of what is used.
pub const METRICS: &str = "metrics.k8s.io";

const ALL: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const READ: &[&str] = &["get", "list"];
const ASK: &[&str] = &["create"];
const STATUS: &[&str] = &["get", "patch", "update"];
const CONNECT: &[&str] = &["create", "get"];

/// Every resource there is, in discovery's order: the core, then the groups.
pub static RESOURCES: &[Resource] = &[
    Resource {
        stored: Some(Kind::ConfigMap),
        short_names: &["cm"],
        ..core("configmaps", "configmap", "ConfigMap")
    },
    Resource {
        stored: Some(Kind::Endpoints),
        short_names: &["ep"],
        ..core("endpoints", "endpoints", "Endpoints")
    },
    Resource {
        stored: Some(Kind::Event),
        short_names: &["ev"],
        ..core("events", "event", "Event")
    },
    Resource {
        stored: Some(Kind::Namespace),
        namespaced: false,
        short_names: &["ns"],
        subresources: &[
            Subresource {
                name: "finalize",
                kind: ("", "v1", "Namespace"),
                verbs: &["update"],
            },
            status(("", "v1", "Namespace")),
        ],
        ..core("namespaces", "namespace", "Namespace")
    },
    Resource {
        stored: Some(Kind::Node),
        namespaced: false,
        short_names: &["no"],
        subresources: &[status(("", "v1", "Node"))],
        ..core("nodes", "node", "Node")
    },
    Resource {
        stored: Some(Kind::Pod),
        short_names: &["po"],
        categories: &["all"],
        subresources: &[
            Subresource {
                name: "attach",
                kind: ("", "v1", "PodAttachOptions"),
                verbs: CONNECT,
            },
            Subresource {
                name: "ephemeralcontainers",
                kind: ("", "v1", "Pod"),
                verbs: STATUS,
            },
            Subresource {
                name: "eviction",
                kind: ("policy", "v1", "Eviction"),
                verbs: ASK,
            },
            Subresource {
                name: "exec",
                kind: ("", "v1", "PodExecOptions"),
                verbs: CONNECT,
            },
            Subresource {
                name: "log",
                kind: ("", "v1", "Pod"),
                verbs: &["get"],
            },
            Subresource {
                name: "portforward",
                kind: ("", "v1", "PodPortForwardOptions"),
                verbs: CONNECT,
            },
            status(("", "v1", "Pod")),
        ],
        ..core("pods", "pod", "Pod")
    },
    Resource {
        stored: Some(Kind::Secret),
        ..core("secrets", "secret", "Secret")
    },
    Resource {
        stored: Some(Kind::ServiceAccount),
        short_names: &["sa"],
        subresources: &[Subresource {
            name: "token",
            kind: ("authentication.k8s.io", "v1", "TokenRequest"),
            verbs: ASK,
        }],
        ..core("serviceaccounts", "serviceaccount", "ServiceAccount")
    },
    Resource {
        stored: Some(Kind::Service),
        short_names: &["svc"],
        categories: &["all"],
        subresources: &[status(("", "v1", "Service"))],
        ..core("services", "service", "Service")
    },
    Resource {
        stored: Some(Kind::Deployment),
        short_names: &["deploy"],
        categories: &["all"],
        subresources: &[SCALE, status(("apps", "v1", "Deployment"))],
        ..grouped("apps", "deployments", "deployment", "Deployment")
    },
    Resource {
        stored: Some(Kind::ReplicaSet),
        short_names: &["rs"],
        categories: &["all"],
        subresources: &[SCALE, status(("apps", "v1", "ReplicaSet"))],
        ..grouped("apps", "replicasets", "replicaset", "ReplicaSet")
    },
    // Without the short name "ev", which would then mean two resources.
    Resource {
        stored: Some(Kind::Event),
        ..grouped("events.k8s.io", "events", "event", "Event")
    },
    asked(
        "authentication.k8s.io",
        "selfsubjectreviews",
        "selfsubjectreview",
        "SelfSubjectReview",
    ),
    asked(
        "authentication.k8s.io",
        "tokenreviews",
        "tokenreview",
        "TokenReview",
    ),
    Resource {
        namespaced: true,
        ..asked(
            "authorization.k8s.io",
            "localsubjectaccessreviews",
            "localsubjectaccessreview",
            "LocalSubjectAccessReview",
        )
    },
    asked(
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
        "SelfSubjectAccessReview",
    ),
    asked(
        "authorization.k8s.io",
        "selfsubjectrulesreviews",
        "selfsubjectrulesreview",
        "SelfSubjectRulesReview",
    ),
    asked(
        "authorization.k8s.io",
        "subjectaccessreviews",
        "subjectaccessreview",
        "SubjectAccessReview",
    ),
    Resource {
        stored: Some(Kind::RuntimeClass),
        namespaced: false,
        ..grouped(
            "node.k8s.io",
            "runtimeclasses",
            "runtimeclass",
            "RuntimeClass",
        )
    },
    Resource {
        stored: Some(Kind::EndpointSlice),
        ..grouped(
            "discovery.k8s.io",
            "endpointslices",
            "endpointslice",
            "EndpointSlice",
        )
    },
    Resource {
        stored: Some(Kind::Lease),
        ..grouped("coordination.k8s.io", "leases", "lease", "Lease")
    },
    measured("nodes", "NodeMetrics", false),
    measured("pods", "PodMetrics", true),
];

const SCALE: Subresource = Subresource {
    name: "scale",
    kind: ("autoscaling", "v1", "Scale"),
    verbs: STATUS,
};

const fn status(kind: (&'static str, &'static str, &'static str)) -> Subresource {
    Subresource {
        name: "status",
        kind,
        verbs: STATUS,
    }
}

const fn core(plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    grouped("", plural, singular, kind)
}

const fn grouped(
    group: &'static str,
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
) -> Resource {
    Resource {
        group,
        version: "v1",
        plural,
        singular,
        kind,
        stored: None,
        namespaced: true,
        short_names: &[],
        categories: &[],
        verbs: ALL,
        subresources: &[],
    }
}

const fn measured(plural: &'static str, kind: &'static str, namespaced: bool) -> Resource {
    Resource {
        version: "v1beta1",
        namespaced,
        verbs: READ,
        ..grouped(METRICS, plural, "", kind)
    }
}

const fn asked(
    group: &'static str,
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
) -> Resource {
    Resource {
        namespaced: false,
        verbs: ASK,
        ..grouped(group, plural, singular, kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_row_that_agrees_with_it() {
        for kind in Kind::ALL {
            let resource = Resource::of(kind);
            assert_eq!(resource.kind, kind.as_str());
            assert_eq!(resource.plural, kind.plural());
            assert_eq!(resource.namespaced, kind.is_namespaced());
        }
    }
}
