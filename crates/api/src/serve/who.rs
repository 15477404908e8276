//! Who is asking.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use probelet_runtime::Runtime;

use super::{Api, Peer};
use crate::access::User;
use crate::access::user::MASTERS;
use crate::failure::Failure;
use crate::review::{Bearer, ISSUER, TokenError};

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";

impl<R: Runtime> Api<R> {
    /// Who is asking: whoever the certificate names, else whoever the token belongs to; and, if he says so and
    /// may, somebody else.
    ///
    /// Upstream: apiserver pkg/endpoints/filters/authentication.go, impersonation.go.
    /// Differs: nobody is anonymous, not even for `/version` and health.
    /// Shown by: nobody_is_anonymous.
    pub(super) fn who(&self, peer: &Peer, headers: &HeaderMap) -> Result<User, Failure> {
        let user = peer
            .user
            .clone()
            .or_else(|| Some(self.bearer(bearer(headers)?, &[]).ok()?.user))
            .ok_or_else(|| Failure::new(401, "Unauthorized", "Unauthorized"))?
            .authenticated();
        peer.stranger.is_known();
        impersonated(user, headers)
    }

    /// Whose a token is: one of the file, which are for this API, or a service account's.
    pub(super) fn bearer(&self, token: &str, audiences: &[String]) -> Result<Bearer, TokenError> {
        let Some(user) = self.known(token) else {
            return self.registry.authenticate(token, audiences);
        };
        let this_api = ISSUER.to_owned();
        if !audiences.is_empty() && !audiences.contains(&this_api) {
            return Err(TokenError::Audience);
        }
        Ok(Bearer {
            user: user.authenticated(),
            audiences: vec![this_api],
        })
    }

    fn known(&self, token: &str) -> Option<User> {
        let mut authenticators = self.options.authenticators.iter();
        authenticators.find_map(|authenticator| authenticator.token(token))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers, AUTHORIZATION.as_str())?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn impersonated(user: User, headers: &HeaderMap) -> Result<User, Failure> {
    let Some(name) = text(headers, USER) else {
        let others = headers.keys().any(|header| {
            let header = header.as_str();
            header == GROUP || header == UID || header.starts_with(EXTRA)
        });
        return if others {
            let message = "requested an impersonation without impersonating a user";
            Err(Failure::internal(message))
        } else {
            Ok(user)
        };
    };
    if !user.is_in(MASTERS) {
        let message = format!(
            "users {name:?} is forbidden: User {:?} cannot impersonate resource \"users\" in API group \"\" at the \
             cluster scope",
            user.name
        );
        return Err(Failure::new(403, "Forbidden", message));
    }
    let mut impersonated = User {
        name: name.to_owned(),
        uid: text(headers, UID).unwrap_or_default().to_owned(),
        groups: headers
            .get_all(GROUP)
            .iter()
            .filter_map(|group| Some(group.to_str().ok()?.to_owned()))
            .collect(),
        ..User::default()
    };
    if impersonated.groups.is_empty() {
        impersonated.groups = service_account_groups(name);
    }
    for (header, value) in headers {
        if let (Some(key), Ok(value)) = (header.as_str().strip_prefix(EXTRA), value.to_str()) {
            let values = impersonated.extra.entry(key.to_owned()).or_default();
            values.push(value.to_owned());
        }
    }
    Ok(if name == "system:anonymous" {
        impersonated
    } else {
        impersonated.authenticated()
    })
}

/// The groups that a service account's name implies.
fn service_account_groups(name: &str) -> Vec<String> {
    let account = name.strip_prefix("system:serviceaccount:");
    let Some((namespace, _)) = account.and_then(|account| account.split_once(':')) else {
        return Vec::new();
    };
    vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
    ]
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn told(groups: &[&str], pairs: &[(&'static str, &str)]) -> Result<String, String> {
        let user = User {
            name: "anna".to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..User::default()
        };
        impersonated(user, &headers(pairs))
            .map(|user| format!("{} {}", user.name, user.groups.join("+")))
            .map_err(|failure| failure.message)
    }

    #[test]
    fn only_masters_may_be_somebody_else() {
        type Row<'a> = (
            &'a [&'a str],
            &'a [(&'static str, &'a str)],
            Result<&'a str, &'a str>,
        );
        let rows: [Row<'_>; 6] = [
            (&["dev"], &[], Ok("anna dev")),
            (
                &["dev"],
                &[(USER, "bob")],
                Err(
                    "users \"bob\" is forbidden: User \"anna\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
                ),
            ),
            (&[MASTERS], &[(USER, "bob")], Ok("bob system:authenticated")),
            (
                &[MASTERS],
                &[(USER, "bob"), (GROUP, "x"), (GROUP, "y")],
                Ok("bob x+y+system:authenticated"),
            ),
            (
                &[MASTERS],
                &[(USER, "system:serviceaccount:a:b")],
                Ok(
                    "system:serviceaccount:a:b system:serviceaccounts+system:serviceaccounts:a+system:authenticated",
                ),
            ),
            (
                &[MASTERS],
                &[(GROUP, "x")],
                Err(
                    "Internal error occurred: requested an impersonation without impersonating a user",
                ),
            ),
        ];
        for (groups, pairs, expected) in rows {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(told(groups, pairs), expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_bearer_token_is_found() {
        let rows = [
            ("Bearer abc", Some("abc")),
            ("bearer  abc", Some("abc")),
            ("Bearer ", None),
            ("Basic abc", None),
        ];
        for (value, expected) in rows {
            let headers = headers(&[("authorization", value)]);
            assert_eq!(bearer(&headers), expected, "{value}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
