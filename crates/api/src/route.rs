//! What a URL asks for.
//!
//! [`Route::of`] reads the path; [`Query`] and [`options`] what follows it.

pub mod options;
mod query;

pub use query::{Query, Undecodable};

use crate::request::Target;
use crate::resource::{RESOURCES, Resource};

/// What a path leads to.
#[derive(Clone, Debug)]
pub enum Route {
    /// A collection, an object, or what lies below it.
    Resource {
        /// Which.
        target: Target,
        /// The path is one of the old ones below `/watch/`, which watch whatever the query says.
        watch: bool,
    },
    /// `/`: the paths there are.
    Root,
    /// `/api`: the versions of the core.
    CoreVersions,
    /// `/apis`: the groups.
    Groups,
    /// `/apis/<group>`.
    Group(&'static str),
    /// `/api/v1`, `/apis/<group>/<version>`: its resources.
    Resources {
        /// Empty for the core.
        group: &'static str,
        /// `v1`.
        version: &'static str,
    },
    /// `/version`.
    Version,
    /// `/healthz`, `/livez`, `/readyz` and what lies below them.
    Health {
        /// Which of them.
        of: Health,
        /// A single check; empty for all.
        check: String,
    },
    /// `/openapi/v2`.
    OpenApi2,
    /// `/openapi/v3`: the list of documents.
    OpenApi3Index,
    /// `/openapi/v3/<path>`: one document.
    OpenApi3(String),
    /// `/metrics`.
    Metrics,
    /// Nothing there is, within a group that there is: a Status says so.
    NoResource,
    /// Nothing there is.
    Nowhere,
}

/// Which question about health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Of old: both.
    Healthz,
    /// Whether a restart would help.
    Livez,
    /// Whether to send requests.
    Readyz,
}

impl Health {
    /// Its path without the slash.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthz => "healthz",
            Self::Livez => "livez",
            Self::Readyz => "readyz",
        }
    }
}

impl Route {
    /// What a path, as it comes in a request, leads to.
    ///
    /// Upstream: apiserver pkg/endpoints/request/requestinfo.go, RequestInfoFactory.NewRequestInfo.
    /// Shown by: paths_lead_where_they_should.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let Ok(segments) = path
            .trim_matches('/')
            .split('/')
            .map(|segment| query::decode(segment, false))
            .collect::<Result<Vec<String>, _>>()
        else {
            return Self::Nowhere;
        };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match &segments[..] {
            [""] => Self::Root,
            ["api"] => Self::CoreVersions,
            ["apis"] => Self::Groups,
            ["apis", group] => known_group(group).map_or(Self::Nowhere, Self::Group),
            ["api", version] => resources("", version),
            ["apis", group, version] => resources(group, version),
            ["api", version, below @ ..] => resource("", version, below),
            ["apis", group, version, below @ ..] => resource(group, version, below),
            ["version"] => Self::Version,
            ["healthz", below @ ..] => health(Health::Healthz, below),
            ["livez", below @ ..] => health(Health::Livez, below),
            ["readyz", below @ ..] => health(Health::Readyz, below),
            ["openapi", "v2"] => Self::OpenApi2,
            ["openapi", "v3"] => Self::OpenApi3Index,
            ["openapi", "v3", below @ ..] => Self::OpenApi3(below.join("/")),
            ["metrics"] => Self::Metrics,
            _ => Self::Nowhere,
        }
    }
}

fn known_group(group: &str) -> Option<&'static str> {
    let named = |resource: &&Resource| !group.is_empty() && resource.group == group;
    RESOURCES.iter().find(named).map(|resource| resource.group)
}

fn known_version(group: &str, version: &str) -> Option<(&'static str, &'static str)> {
    let same = |resource: &&Resource| resource.group == group && resource.version == version;
    let resource = RESOURCES.iter().find(same)?;
    Some((resource.group, resource.version))
}

fn resources(group: &str, version: &str) -> Route {
    known_version(group, version).map_or(Route::Nowhere, |(group, version)| Route::Resources {
        group,
        version,
    })
}

fn health(of: Health, below: &[&str]) -> Route {
    match below {
        [] => Route::Health {
            of,
            check: String::new(),
        },
        [check] => Route::Health {
            of,
            check: (*check).to_owned(),
        },
        _ => Route::Nowhere,
    }
}

fn resource(group: &str, version: &str, below: &[&str]) -> Route {
    if known_version(group, version).is_none() {
        return Route::Nowhere;
    }
    let (watch, below) = match below {
        ["watch", below @ ..] => (true, below),
        below => (false, below),
    };
    target(group, version, below).map_or(Route::NoResource, |target| Route::Resource {
        target,
        watch,
    })
}

fn target(group: &str, version: &str, below: &[&str]) -> Option<Target> {
    let (namespace, below) = match below {
        // What lies below a namespace itself, and not in it.
        ["namespaces", _, "status" | "finalize"] | ["namespaces"] | ["namespaces", _] => {
            ("", below)
        }
        ["namespaces", namespace, below @ ..] => (*namespace, below),
        below => ("", below),
    };
    let (plural, name, subresource) = match below {
        [plural] => (plural, None, None),
        [plural, name] => (plural, Some(name), None),
        [plural, name, subresource] => (plural, Some(name), Some(subresource)),
        _ => return None,
    };
    let resource = Resource::find(group, version, plural)?;
    let in_place = if resource.namespaced {
        !namespace.is_empty() || name.is_none()
    } else {
        namespace.is_empty()
    };
    if !in_place || name.is_some_and(|name| name.is_empty()) {
        return None;
    }
    let subresource = match subresource {
        None => None,
        Some(name) => Some(resource.subresource(name)?),
    };
    Some(Target {
        resource,
        namespace: namespace.to_owned(),
        name: name.map(|name| (*name).to_owned()),
        subresource,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str) -> String {
        match Route::of(path) {
            Route::Resource { target, watch } => {
                let mut told = format!("{} in {:?}", target.resource.qualified(), target.namespace);
                if let Some(name) = &target.name {
                    told += &format!(" named {name:?}");
                }
                if let Some(subresource) = target.subresource {
                    told += &format!(" its {}", subresource.name);
                }
                if watch {
                    told += " watched";
                }
                told
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn paths_lead_where_they_should() {
        let rows = [
            ("/", "Root"),
            ("/api", "CoreVersions"),
            ("/api/", "CoreVersions"),
            ("/apis", "Groups"),
            ("/apis/apps", "Group(\"apps\")"),
            ("/apis/batch", "Nowhere"),
            ("/apis/batch/v1", "Nowhere"),
            ("/apis/batch/v1/jobs", "Nowhere"),
            ("/api/v1", "Resources { group: \"\", version: \"v1\" }"),
            ("/api/v2", "Nowhere"),
            (
                "/apis/apps/v1",
                "Resources { group: \"apps\", version: \"v1\" }",
            ),
            ("/api/v1/pods", "pods in \"\""),
            ("/api/v1/namespaces", "namespaces in \"\""),
            ("/api/v1/namespaces/a", "namespaces in \"\" named \"a\""),
            (
                "/api/v1/namespaces/a/finalize",
                "namespaces in \"\" named \"a\" its finalize",
            ),
            (
                "/api/v1/namespaces/a/status",
                "namespaces in \"\" named \"a\" its status",
            ),
            ("/api/v1/namespaces/a/pods", "pods in \"a\""),
            ("/api/v1/namespaces/a/pods/p", "pods in \"a\" named \"p\""),
            (
                "/api/v1/namespaces/a/pods/p/log",
                "pods in \"a\" named \"p\" its log",
            ),
            ("/api/v1/namespaces/a/pods/p/none", "NoResource"),
            ("/api/v1/namespaces/a/pods/p/log/x", "NoResource"),
            ("/api/v1/namespaces/a/nodes/n", "NoResource"),
            ("/api/v1/namespaces/a/jobs", "NoResource"),
            ("/api/v1/pods/p", "NoResource"),
            ("/api/v1/nodes/n%2Fm", "nodes in \"\" named \"n/m\""),
            ("/api/v1/nodes/%zz", "Nowhere"),
            (
                "/api/v1/watch/namespaces/a/pods/p",
                "pods in \"a\" named \"p\" watched",
            ),
            ("/apis/apps/v1/deployments", "deployments.apps in \"\""),
            (
                "/apis/events.k8s.io/v1/namespaces/a/events/e",
                "events.events.k8s.io in \"a\" named \"e\"",
            ),
            ("/version", "Version"),
            ("/readyz", "Health { of: Readyz, check: \"\" }"),
            ("/livez/ping", "Health { of: Livez, check: \"ping\" }"),
            ("/openapi/v2", "OpenApi2"),
            ("/openapi/v3", "OpenApi3Index"),
            ("/openapi/v3/apis/apps/v1", "OpenApi3(\"apis/apps/v1\")"),
            ("/metrics", "Metrics"),
            ("/favicon.ico", "Nowhere"),
        ];
        for (path, expected) in rows {
            assert_eq!(told(path), expected, "{path}");
        }
    }
}
