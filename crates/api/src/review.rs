//! Who somebody is and what they may do: the reviews, which are asked and never stored, and the tokens of
//! service accounts.

mod authorize;
mod token;

use std::sync::Arc;

use probelet_model::field::{FieldError, FieldPath};
use serde_json::{Value, json};

use crate::access::User;
use crate::failure::Failure;
use crate::registry::Written;
use crate::request::Target;
use crate::resource::Resource;

use authorize::Attributes;

pub use authorize::{authorize, authorize_path};
pub(crate) use token::{Claims, Private, Reference};
pub use token::{ISSUER, KeyError, TokenError, TokenSigner};

/// A user as reviews tell of one.
fn info(user: &User) -> Value {
    let mut info = json!({"username": user.name});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.groups.is_empty() {
        info["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

/// Who a `SubjectAccessReview` asks about.
fn asked_about(spec: &Value) -> User {
    let text = |name: &str| spec[name].as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let extra = spec["extra"].as_object().into_iter().flatten();
    User {
        name: text("user"),
        uid: text("uid"),
        groups: texts(&spec["groups"]),
        extra: extra
            .map(|(key, value)| (key.clone(), texts(value)))
            .collect(),
    }
}

/// A bearer of a token: who it is, and for which of the audiences asked for the token is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Who.
    pub user: User,
    /// Of the audiences asked for, those it is meant for.
    pub audiences: Vec<String>,
}

/// Answers a review: a POST of a resource that is not stored. `user` is who asks, `authenticate` finds out whose
/// a token is, for some audiences (none: this API's).
///
/// Upstream: pkg/registry/authorization and pkg/registry/authentication, each REST.Create.
/// Shown by: reviews_are_answered, a_review_asks_for_one_thing.
///
/// # Errors
/// [`Failure`].
pub fn answer(
    user: &User,
    target: &Target,
    body: &Value,
    authenticate: impl FnOnce(&str, &[String]) -> Result<Bearer, TokenError>,
) -> Result<Written, Failure> {
    let resource = target.resource;
    let spec = &body["spec"];
    let status = match resource.kind {
        "SelfSubjectReview" => json!({"userInfo": info(user)}),
        "SelfSubjectRulesReview" => {
            if spec["namespace"].as_str().unwrap_or_default().is_empty() {
                return Err(Failure::bad_request("no namespace on request"));
            }
            rules(user)
        }
        "SelfSubjectAccessReview" => access(resource, user, spec)?,
        "SubjectAccessReview" => access(resource, &subject(resource, spec)?, spec)?,
        "LocalSubjectAccessReview" => {
            let namespace = &spec["resourceAttributes"]["namespace"];
            if namespace.as_str().unwrap_or_default() != target.namespace {
                let message = format!("Invalid value: {namespace}: must match metadata.namespace");
                return Err(wrong(
                    resource,
                    &["spec", "resourceAttributes", "namespace"],
                    message,
                ));
            }
            access(resource, &subject(resource, spec)?, spec)?
        }
        "TokenReview" => bearer(spec, authenticate)?,
        _ => return Err(Failure::method_not_allowed()),
    };
    let mut review = json!({
        "kind": resource.kind,
        "apiVersion": resource.api_version(),
        "metadata": {},
        "status": status,
    });
    if !target.namespace.is_empty() {
        review["metadata"]["namespace"] = target.namespace.as_str().into();
    }
    if spec.is_object() {
        review["spec"] = spec.clone();
    }
    Ok(Written {
        value: Arc::new(review),
        created: true,
        deleted: false,
        warnings: Vec::new(),
    })
}

fn wrong(resource: &Resource, path: &[&'static str], message: String) -> Failure {
    let path = path
        .iter()
        .fold(FieldPath::root(), |path, field| path.field(*field));
    Failure::invalid(resource, "", &[FieldError { path, message }])
}

/// Who is asked about.
fn subject(resource: &Resource, spec: &Value) -> Result<User, Failure> {
    let subject = asked_about(spec);
    if subject.name.is_empty() && subject.groups.is_empty() {
        let message = "Invalid value: \"\": at least one of user or group must be specified";
        return Err(wrong(resource, &["spec", "user"], message.to_owned()));
    }
    Ok(subject)
}

/// Whether somebody may do something.
///
/// Upstream: pkg/apis/authorization/validation/validation.go; pkg/registry/authorization/util/helpers.go.
/// Shown by: reviews_are_answered, a_review_asks_for_one_thing.
fn access(resource: &Resource, user: &User, spec: &Value) -> Result<Value, Failure> {
    let text = |value: &'_ Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let (of_resource, of_path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let allowed = match (of_resource.is_object(), of_path.is_object()) {
        (true, false) => {
            let below = text(of_resource, "subresource");
            let wanted = Attributes::Resource {
                verb: &text(of_resource, "verb"),
                group: &text(of_resource, "group"),
                resource: &text(of_resource, "resource"),
            };
            authorize::is_master(user) || below.is_empty() && authorize::allows(user, &wanted)
        }
        (false, true) => authorize::allows(
            user,
            &Attributes::Path {
                verb: &text(of_path, "verb"),
                path: &text(of_path, "path"),
            },
        ),
        (true, true) => {
            let message =
                "Invalid value: cannot be specified in combination with resourceAttributes";
            return Err(wrong(
                resource,
                &["spec", "nonResourceAttributes"],
                message.to_owned(),
            ));
        }
        (false, false) => {
            let message = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must \
                           be specified";
            return Err(wrong(
                resource,
                &["spec", "resourceAttributes"],
                message.to_owned(),
            ));
        }
    };
    Ok(json!({"allowed": allowed}))
}

/// Everything that a user may do.
///
/// Upstream: pkg/registry/authorization/selfsubjectrulesreview/rest.go.
/// Shown by: reviews_are_answered.
fn rules(user: &User) -> Value {
    let (resources, paths) = if authorize::is_master(user) {
        (
            vec![json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})],
            vec![json!({"verbs": ["*"], "nonResourceURLs": ["*"]})],
        )
    } else {
        (
            authorize::SELF_REVIEWS
                .iter()
                .map(|(group, reviews)| {
                    json!({"verbs": ["create"], "apiGroups": [group], "resources": reviews})
                })
                .collect(),
            vec![json!({"verbs": ["get"], "nonResourceURLs": authorize::DISCOVERY})],
        )
    };
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}

/// Whose a token is.
///
/// Upstream: pkg/registry/authentication/tokenreview/storage.go, REST.Create.
/// Shown by: reviews_are_answered.
fn bearer(
    spec: &Value,
    authenticate: impl FnOnce(&str, &[String]) -> Result<Bearer, TokenError>,
) -> Result<Value, Failure> {
    let token = spec["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Failure::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let audiences = spec["audiences"].as_array().into_iter().flatten();
    let audiences: Vec<String> = audiences
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    Ok(match authenticate(token, &audiences) {
        Ok(bearer) => {
            let mut status = json!({"authenticated": true, "user": info(&bearer.user)});
            if !bearer.audiences.is_empty() {
                status["audiences"] = json!(bearer.audiences);
            }
            status
        }
        Err(error) => json!({"user": {}, "error": error.to_string()}),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn user(groups: &[&str]) -> User {
        User {
            name: "somebody".to_owned(),
            uid: "u".to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            extra: BTreeMap::from([("k".to_owned(), vec!["v".to_owned()])]),
        }
    }

    fn ask(user: &User, plural: &str, namespace: &str, spec: Value) -> Result<Value, Failure> {
        let group = if plural.contains("access") || plural.contains("rules") {
            "authorization.k8s.io"
        } else {
            "authentication.k8s.io"
        };
        let target = Target {
            resource: Resource::find(group, "v1", plural).unwrap(),
            namespace: namespace.to_owned(),
            name: None,
            subresource: None,
        };
        let authenticate = |token: &str, audiences: &[String]| match token {
            "good" => Ok(Bearer {
                user: self::user(&["g"]),
                audiences: audiences.to_vec(),
            }),
            _ => Err(TokenError::Foreign),
        };
        let written = answer(user, &target, &json!({"spec": spec}), authenticate)?;
        assert!(written.created);
        assert_eq!(written.value["kind"], target.resource.kind);
        assert_eq!(written.value["spec"], spec);
        Ok(written.value["status"].clone())
    }

    #[test]
    fn reviews_are_answered() {
        let (master, other) = (user(&["system:masters"]), user(&["system:authenticated"]));
        let pods = json!({"verb": "list", "resource": "pods", "namespace": "n"});
        let check = |user: &User, plural: &str, spec: Value, expected: Value| {
            assert_eq!(
                ask(user, plural, "", spec.clone()),
                Ok(expected),
                "{plural} {spec}"
            );
        };
        let (yes, no) = (json!({"allowed": true}), json!({"allowed": false}));
        let own = "selfsubjectaccessreviews";
        let of_pods = json!({"resourceAttributes": pods});
        check(&master, own, of_pods.clone(), yes.clone());
        check(&other, own, of_pods, no);
        let of_path = json!({"nonResourceAttributes": {"verb": "get", "path": "/version"}});
        check(&other, own, of_path, yes.clone());
        let of_other =
            json!({"resourceAttributes": pods, "user": "x", "groups": ["system:masters"]});
        check(
            &other,
            "subjectaccessreviews",
            of_other.clone(),
            yes.clone(),
        );
        assert_eq!(
            ask(&master, "localsubjectaccessreviews", "n", of_other.clone()),
            Ok(yes)
        );
        let failure = ask(&master, "localsubjectaccessreviews", "m", of_other).unwrap_err();
        assert_eq!(failure.code, 422);
        let info =
            json!({"username": "somebody", "uid": "u", "groups": ["g"], "extra": {"k": ["v"]}});
        check(
            &user(&["g"]),
            "selfsubjectreviews",
            json!({}),
            json!({"userInfo": info}),
        );
        check(
            &master,
            "tokenreviews",
            json!({"token": "good", "audiences": ["a"]}),
            json!({"authenticated": true, "user": info, "audiences": ["a"]}),
        );
        check(
            &master,
            "tokenreviews",
            json!({"token": "bad"}),
            json!({"user": {}, "error": "invalid bearer token"}),
        );
        let everything = ask(
            &master,
            "selfsubjectrulesreviews",
            "",
            json!({"namespace": "n"}),
        );
        assert_eq!(
            everything.unwrap()["resourceRules"],
            json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}])
        );
        let little = ask(
            &other,
            "selfsubjectrulesreviews",
            "",
            json!({"namespace": "n"}),
        )
        .unwrap();
        assert_eq!(little["nonResourceRules"][0]["verbs"], json!(["get"]));
    }

    #[test]
    fn a_review_asks_for_one_thing() {
        let user = user(&["system:masters"]);
        let own = "selfsubjectaccessreviews";
        let both = json!({"resourceAttributes": {}, "nonResourceAttributes": {}});
        for (plural, spec, code) in [
            (own, json!({}), 422),
            (own, both, 422),
            (
                "subjectaccessreviews",
                json!({"resourceAttributes": {}}),
                422,
            ),
            ("selfsubjectrulesreviews", json!({}), 400),
            ("tokenreviews", json!({}), 400),
        ] {
            let failure = ask(&user, plural, "", spec.clone()).unwrap_err();
            assert_eq!(failure.code, code, "{plural} {spec}");
        }
    }
}
