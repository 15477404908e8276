//! Who may do what: what upstream's RBAC would say in a cluster in which nobody has bound a role yet.

use crate::failure::Failure;
use crate::request::Target;

use crate::access::User;
use crate::access::user::MASTERS;

/// The group of all who have shown who they are.
const AUTHENTICATED: &str = "system:authenticated";

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attributes<'a> {
    /// To a resource.
    Resource {
        verb: &'a str,
        group: &'a str,
        resource: &'a str,
    },
    /// To a path that is none.
    Path { verb: &'a str, path: &'a str },
}

/// The reviews of oneself, which anybody may ask for.
///
/// Upstream: plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go, system:basic-user.
/// Shown by: masters_may_do_everything_and_others_ask_about_themselves.
pub(super) const SELF_REVIEWS: &[(&str, &[&str])] = &[
    (
        "authorization.k8s.io",
        &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    ),
    ("authentication.k8s.io", &["selfsubjectreviews"]),
];

/// The paths that anybody may read.
///
/// Upstream: plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go, system:discovery.
/// Shown by: everybody_who_is_known_may_discover.
pub(super) const DISCOVERY: &[&str] = &[
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
];

/// Whether a user may do something to a resource. `verb` is Kubernetes' own: `list`, `deletecollection`.
///
/// Upstream: kube-apiserver --authorization-mode=RBAC with the default policy;
/// apiserver pkg/endpoints/handlers/responsewriters/errors.go, forbiddenMessage.
/// Differs: there are no roles to bind; who is not of system:masters can do what everybody can.
/// Shown by: masters_may_do_everything_and_others_ask_about_themselves.
///
/// # Errors
/// [`Failure`] (403), with who, what and where.
pub fn authorize(user: &User, verb: &str, target: &Target) -> Result<(), Failure> {
    let attributes = Attributes::Resource {
        verb,
        group: target.resource.group,
        resource: target.resource.plural,
    };
    if target.subresource.is_none() && allows(user, &attributes) || is_master(user) {
        return Ok(());
    }
    let resource = target.subresource.map_or_else(
        || target.resource.plural.to_owned(),
        |below| format!("{}/{}", target.resource.plural, below.name),
    );
    let place = place(&target.namespace);
    let why = format!(
        "User {:?} cannot {verb} resource {resource:?} in API group {:?} {place}",
        user.name, target.resource.group
    );
    let name = target.name.as_deref().unwrap_or_default();
    Err(Failure::forbidden(target.resource, name, why))
}

fn place(namespace: &str) -> String {
    if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {namespace:?}")
    }
}

/// Whether a user may do something to a path that is no resource. `verb` is HTTP's in lower case.
///
/// Upstream: as [`authorize`].
/// Shown by: masters_may_do_everything_and_others_ask_about_themselves.
///
/// # Errors
/// [`Failure`] (403).
pub fn authorize_path(user: &User, verb: &str, path: &str) -> Result<(), Failure> {
    if allows(user, &Attributes::Path { verb, path }) {
        return Ok(());
    }
    let why = format!(
        "forbidden: User {:?} cannot {verb} path {path:?}",
        user.name
    );
    Err(Failure {
        details: serde_json::json!({}),
        ..Failure::new(403, "Forbidden", why)
    })
}

pub(super) fn is_master(user: &User) -> bool {
    user.is_in(MASTERS)
}

pub(super) fn allows(user: &User, wanted: &Attributes<'_>) -> bool {
    if is_master(user) {
        return true;
    }
    if !user.is_in(AUTHENTICATED) {
        return false;
    }
    match *wanted {
        Attributes::Resource {
            verb,
            group,
            resource,
        } => {
            verb == "create"
                && SELF_REVIEWS
                    .iter()
                    .any(|(of, reviews)| *of == group && reviews.contains(&resource))
        }
        Attributes::Path { verb, path } => {
            verb == "get"
                && DISCOVERY
                    .iter()
                    .any(|pattern| match pattern.strip_suffix('*') {
                        Some(prefix) => path.starts_with(prefix),
                        None => path == *pattern,
                    })
        }
    }
}

#[cfg(test)]
mod tests {
    use probelet_model::id::Kind;

    use super::*;
    use crate::resource::Resource;

    fn account() -> User {
        User {
            name: "system:serviceaccount:default:x".to_owned(),
            groups: vec![AUTHENTICATED.to_owned()],
            ..User::default()
        }
    }

    fn master() -> User {
        User {
            name: "admin".to_owned(),
            groups: vec![MASTERS.to_owned()],
            ..User::default()
        }
    }

    fn target(resource: &'static Resource, namespace: &str) -> Target {
        Target {
            resource,
            namespace: namespace.to_owned(),
            name: None,
            subresource: None,
        }
    }

    #[test]
    fn masters_may_do_everything_and_others_ask_about_themselves() {
        let pods = Resource::of(Kind::Pod);
        let review = Resource::find("authorization.k8s.io", "v1", "selfsubjectaccessreviews");
        let review = target(review.unwrap(), "");
        let log = Target {
            name: Some("a".to_owned()),
            subresource: pods.subresource("log"),
            ..target(pods, "default")
        };
        let listed = target(pods, "default");
        let nodes = target(Resource::of(Kind::Node), "");
        for (verb, target) in [
            ("list", &listed),
            ("get", &log),
            ("create", &review),
            ("list", &nodes),
        ] {
            assert_eq!(authorize(&master(), verb, target), Ok(()));
        }
        assert_eq!(authorize(&account(), "create", &review), Ok(()));
        let refused = |verb: &str, target: &Target| {
            let failure = authorize(&account(), verb, target).unwrap_err();
            assert_eq!((failure.code, failure.reason), (403, "Forbidden"));
            failure.message
        };
        let who = "User \"system:serviceaccount:default:x\" cannot";
        assert_eq!(
            refused("list", &listed),
            format!(
                "pods is forbidden: {who} list resource \"pods\" in API group \"\" in the namespace \"default\""
            )
        );
        assert_eq!(
            refused("get", &log),
            format!(
                "pods \"a\" is forbidden: {who} get resource \"pods/log\" in API group \"\" in the namespace \
                 \"default\""
            )
        );
        assert_eq!(
            refused("list", &nodes),
            format!(
                "nodes is forbidden: {who} list resource \"nodes\" in API group \"\" at the cluster scope"
            )
        );
        assert!(authorize(&User::default(), "create", &review).is_err());
    }

    #[test]
    fn everybody_who_is_known_may_discover() {
        for path in [
            "/version",
            "/api",
            "/apis/apps/v1",
            "/openapi/v3/api/v1",
            "/livez",
        ] {
            assert_eq!(authorize_path(&account(), "get", path), Ok(()), "{path}");
            assert!(
                authorize_path(&User::default(), "get", path).is_err(),
                "{path}"
            );
        }
        assert_eq!(authorize_path(&master(), "get", "/metrics"), Ok(()));
        let failure = authorize_path(&account(), "get", "/metrics").unwrap_err();
        assert_eq!(
            failure.message,
            "forbidden: User \"system:serviceaccount:default:x\" cannot get path \"/metrics\""
        );
        assert!(authorize_path(&account(), "post", "/api").is_err());
    }
}
