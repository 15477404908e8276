//! `serviceaccounts/token`: tokens are asked for, and their bearers known again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use probelet_model::field::{FieldError, FieldPath};
use probelet_model::id::{Kind, ObjectKey};
use serde_json::{Value, json};

use super::incoming::Expected;
use super::write::{key_of, meta, metadata, uuid};
use super::{Registry, Written};
use crate::access::User;
use crate::failure::Failure;
use crate::request::Target;
use crate::resource::Resource;
use crate::review::{Bearer, Claims, ISSUER, Private, Reference, TokenError};

/// How long a token holds if it does not say.
const HOUR: i64 = 60 * 60;
/// The least and the most it may say.
const SHORTEST: i64 = 10 * 60;
const LONGEST: i64 = 1 << 32;

/// Makes a token for a service account.
///
/// Upstream: pkg/registry/core/serviceaccount/storage/token.go, TokenREST.Create.
/// Shown by: a_service_account_gets_a_token_and_is_known_by_it, a_token_is_bound_to_what_there_is.
pub(super) fn request(
    registry: &Registry,
    target: &Target,
    body: Value,
) -> Result<Written, Failure> {
    let key = key_of(target)?;
    let expected = Expected::of(target);
    let mut request = expected.typed(body)?;
    if !matches!(request["spec"], Value::Null | Value::Object(_)) {
        let why = format!("spec: expected an object, got {}", request["spec"]);
        return Err(expected.unreadable(&why, expected.kind));
    }
    let account = registry
        .store
        .get(&key)
        .ok_or_else(|| Failure::not_found(target.resource, &key.name))?;
    let spec = &request["spec"];
    let seconds = lifetime(spec)?;
    let (pod, secret) = match &spec["boundObjectRef"] {
        Value::Object(_) => bound(registry, &key, &spec["boundObjectRef"])?,
        _ => (None, None),
    };
    let audiences = texts(&spec["audiences"]);
    let audiences = if audiences.is_empty() {
        vec![ISSUER.to_owned()]
    } else {
        audiences
    };
    let now = registry.now();
    let issued = now.0.div_euclid(1_000_000_000);
    let claims = Claims {
        aud: audiences.clone(),
        exp: issued + seconds,
        iat: issued,
        iss: ISSUER.to_owned(),
        jti: uuid(),
        private: Private {
            namespace: key.namespace.clone(),
            pod,
            secret,
            serviceaccount: Reference {
                name: key.name.clone(),
                uid: meta(&account.value, "uid").to_owned(),
            },
        },
        nbf: issued,
        sub: username(&key.namespace, &key.name),
    };
    let token = registry
        .settings
        .tokens
        .sign(&claims)
        .ok_or_else(|| Failure::internal("failed to generate token"))?;
    let until = now.whole_seconds() + Duration::from_secs(seconds.unsigned_abs());
    request["spec"]["audiences"] = audiences.into();
    request["spec"]["expirationSeconds"] = seconds.into();
    request["status"] = json!({"token": token, "expirationTimestamp": until.to_string()});
    let metadata = metadata(&mut request);
    metadata.insert("name".to_owned(), key.name.into());
    metadata.insert("namespace".to_owned(), key.namespace.into());
    metadata.insert("creationTimestamp".to_owned(), now.to_string().into());
    Ok(Written {
        value: Arc::new(request),
        created: true,
        deleted: false,
        warnings: Vec::new(),
    })
}

fn username(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// How many seconds a token is to hold.
///
/// Upstream: pkg/apis/authentication/validation/validation.go, ValidateTokenRequest.
/// Shown by: a_token_is_bound_to_what_there_is.
fn lifetime(spec: &Value) -> Result<i64, Failure> {
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(HOUR);
    let detail = if seconds < SHORTEST {
        "may not specify a duration less than 10 minutes"
    } else if seconds > LONGEST {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(seconds);
    };
    let error = FieldError {
        path: FieldPath::root().field("spec").field("expirationSeconds"),
        message: format!("Invalid value: {seconds}: {detail}"),
    };
    Err(Failure::invalid_kind(
        "authentication.k8s.io",
        "TokenRequest",
        "",
        &[error],
    ))
}

type Bound = (Option<Reference>, Option<Reference>);

/// The pod or the secret with which a token ends.
///
/// Upstream: pkg/registry/core/serviceaccount/storage/token.go, TokenREST.Create.
/// Differs: a token cannot be bound to a node; there is one alone.
/// Shown by: a_token_is_bound_to_what_there_is.
fn bound(registry: &Registry, account: &ObjectKey, reference: &Value) -> Result<Bound, Failure> {
    let text = |name: &str| reference[name].as_str().unwrap_or_default();
    let (api_version, kind, name, uid) =
        (text("apiVersion"), text("kind"), text("name"), text("uid"));
    let kind = match (api_version, kind) {
        ("v1", "Pod") => Kind::Pod,
        ("v1", "Secret") => Kind::Secret,
        _ => {
            let group = api_version.split_once('/').map_or("", |(group, _)| group);
            let version = api_version.rsplit('/').next().unwrap_or_default();
            return Err(Failure::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    let resource = Resource::of(kind);
    let object = registry
        .store
        .get(&ObjectKey::new(kind, &account.namespace, name))
        .ok_or_else(|| Failure::not_found(resource, name))?;
    if kind == Kind::Pod {
        let of_pod = object.value["spec"]["serviceAccountName"]
            .as_str()
            .unwrap_or("default");
        if of_pod != account.name {
            return Err(Failure::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to pod running with serviceaccount {of_pod:?}",
                account.name
            )));
        }
    }
    let own = meta(&object.value, "uid");
    if !uid.is_empty() && uid != own {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record ({own}). The object \
             might have been deleted and then recreated"
        );
        let mut failure = Failure::conflict(resource, name, &why);
        failure.message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind);
        failure.details["kind"] = kind.as_str().into();
        return Err(failure);
    }
    let reference = Some(Reference {
        name: name.to_owned(),
        uid: own.to_owned(),
    });
    Ok(match kind {
        Kind::Pod => (reference, None),
        _ => (None, reference),
    })
}

impl Registry {
    /// Whose a service account's token is, for some audiences; none asked for is this API's.
    ///
    /// Upstream: pkg/serviceaccount/jwt.go, jwtTokenAuthenticator.AuthenticateToken; pkg/serviceaccount/claims.go,
    /// validator.Validate; pkg/serviceaccount/util.go, ServiceAccountInfo.UserInfo.
    /// Shown by: a_service_account_gets_a_token_and_is_known_by_it.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn authenticate(&self, token: &str, audiences: &[String]) -> Result<Bearer, TokenError> {
        let claims = self.settings.tokens.verify(token, self.now())?;
        let this_api = [ISSUER.to_owned()];
        let asked = if audiences.is_empty() {
            &this_api[..]
        } else {
            audiences
        };
        let meant: Vec<String> = asked
            .iter()
            .filter(|audience| claims.aud.contains(audience))
            .cloned()
            .collect();
        if meant.is_empty() {
            return Err(TokenError::Audience);
        }
        let Private {
            namespace,
            pod,
            secret,
            serviceaccount,
        } = &claims.private;
        let is_there = |kind: Kind, reference: &Reference| {
            let key = ObjectKey::new(kind, namespace, &reference.name);
            let object = self.store.get(&key);
            object.is_some_and(|object| meta(&object.value, "uid") == reference.uid)
        };
        let holds = is_there(Kind::ServiceAccount, serviceaccount)
            && pod.as_ref().is_none_or(|pod| is_there(Kind::Pod, pod))
            && secret
                .as_ref()
                .is_none_or(|secret| is_there(Kind::Secret, secret));
        if !holds {
            return Err(TokenError::Invalidated);
        }
        let mut extra = BTreeMap::from([("credential-id", format!("JTI={}", claims.jti))]);
        if let Some(pod) = pod {
            extra.insert("pod-name", pod.name.clone());
            extra.insert("pod-uid", pod.uid.clone());
            extra.insert("node-name", self.settings.node_name.clone());
        }
        Ok(Bearer {
            user: User {
                name: username(namespace, &serviceaccount.name),
                uid: serviceaccount.uid.clone(),
                groups: vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated".to_owned(),
                ],
                extra: extra
                    .into_iter()
                    .map(|(key, value)| {
                        (format!("authentication.kubernetes.io/{key}"), vec![value])
                    })
                    .collect(),
            },
            audiences: meant,
        })
    }
}
