//! What the documents are of: the resources of the API, each with what can be done with it.
//!
//! The API has a table of its own, of which this is a shadow: a test there compares the documents with it.

/// The resources of one group, all in its version `v1`.
#[derive(Debug)]
pub(super) struct Group {
    /// Empty for the core.
    pub(super) name: &'static str,
    pub(super) resources: &'static [Resource],
}

#[derive(Debug)]
pub(super) struct Resource {
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    pub(super) namespaced: bool,
    /// Whether its objects are kept; of others one only asks, by creating them.
    pub(super) stored: bool,
    pub(super) subresources: &'static [Subresource],
}

#[derive(Debug)]
pub(super) struct Subresource {
    pub(super) name: &'static str,
    /// The group and kind of its body.
    pub(super) body: (&'static str, &'static str),
    pub(super) access: Access,
}

/// What can be done with a subresource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Read, replaced, patched.
    Edit,
    /// Replaced.
    Replace,
    /// Created.
    Create,
    /// Read, as text.
    Log,
    /// Connected to, by GET or POST.
    Connect,
}

const fn stored(plural: &'static str, kind: &'static str) -> Resource {
    Resource {
        plural,
        kind,
        namespaced: true,
        stored: true,
        subresources: &[],
    }
}

const fn asked(plural: &'static str, kind: &'static str) -> Resource {
    Resource {
        namespaced: false,
        stored: false,
        ..stored(plural, kind)
    }
}

const fn below(
    name: &'static str,
    body: (&'static str, &'static str),
    access: Access,
) -> Subresource {
    Subresource { name, body, access }
}

const SCALE: Subresource = below("scale", ("autoscaling", "Scale"), Access::Edit);

pub(super) static GROUPS: &[Group] = &[
    Group {
        name: "",
        resources: &[
            stored("configmaps", "ConfigMap"),
            stored("endpoints", "Endpoints"),
            stored("events", "Event"),
            Resource {
                namespaced: false,
                subresources: &[
                    below("finalize", ("", "Namespace"), Access::Replace),
                    below("status", ("", "Namespace"), Access::Edit),
                ],
                ..stored("namespaces", "Namespace")
            },
            Resource {
                namespaced: false,
                subresources: &[below("status", ("", "Node"), Access::Edit)],
                ..stored("nodes", "Node")
            },
            Resource {
                subresources: &[
                    below("attach", ("", "PodAttachOptions"), Access::Connect),
                    below("ephemeralcontainers", ("", "Pod"), Access::Edit),
                    below("eviction", ("policy", "Eviction"), Access::Create),
                    below("exec", ("", "PodExecOptions"), Access::Connect),
                    below("log", ("", "Pod"), Access::Log),
                    below(
                        "portforward",
                        ("", "PodPortForwardOptions"),
                        Access::Connect,
                    ),
                    below("status", ("", "Pod"), Access::Edit),
                ],
                ..stored("pods", "Pod")
            },
            stored("secrets", "Secret"),
            Resource {
                subresources: &[below(
                    "token",
                    ("authentication.k8s.io", "TokenRequest"),
                    Access::Create,
                )],
                ..stored("serviceaccounts", "ServiceAccount")
            },
            Resource {
                subresources: &[below("status", ("", "Service"), Access::Edit)],
                ..stored("services", "Service")
            },
        ],
    },
    Group {
        name: "apps",
        resources: &[
            Resource {
                subresources: &[SCALE, below("status", ("apps", "Deployment"), Access::Edit)],
                ..stored("deployments", "Deployment")
            },
            Resource {
                subresources: &[SCALE, below("status", ("apps", "ReplicaSet"), Access::Edit)],
                ..stored("replicasets", "ReplicaSet")
            },
        ],
    },
    Group {
        name: "authentication.k8s.io",
        resources: &[
            asked("selfsubjectreviews", "SelfSubjectReview"),
            asked("tokenreviews", "TokenReview"),
        ],
    },
    Group {
        name: "authorization.k8s.io",
        resources: &[
            Resource {
                namespaced: true,
                ..asked("localsubjectaccessreviews", "LocalSubjectAccessReview")
            },
            asked("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
            asked("selfsubjectrulesreviews", "SelfSubjectRulesReview"),
            asked("subjectaccessreviews", "SubjectAccessReview"),
        ],
    },
    Group {
        name: "coordination.k8s.io",
        resources: &[stored("leases", "Lease")],
    },
    Group {
        name: "discovery.k8s.io",
        resources: &[stored("endpointslices", "EndpointSlice")],
    },
    Group {
        name: "events.k8s.io",
        resources: &[stored("events", "Event")],
    },
    Group {
        name: "node.k8s.io",
        resources: &[Resource {
            namespaced: false,
            ..stored("runtimeclasses", "RuntimeClass")
        }],
    },
];

impl Group {
    /// `core`, `discovery`: the group without its domain.
    pub(super) fn short_name(&self) -> &'static str {
        match self.name.split('.').next() {
            None | Some("") => "core",
            Some(name) => name,
        }
    }

    /// Where it is, and its document: `api/v1`, `apis/apps/v1`.
    pub(super) fn path(&self) -> String {
        if self.name.is_empty() {
            "api/v1".to_owned()
        } else {
            format!("apis/{}/v1", self.name)
        }
    }
}
