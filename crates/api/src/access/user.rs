//! Who is asking.

use std::collections::BTreeMap;

/// The group that may do everything.
pub const MASTERS: &str = "system:masters";

/// Somebody who has shown who he is, with what upstream's `user.Info` says of him.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The name that permissions and `auth whoami` speak of.
    pub name: String,
    /// What tells him from somebody of the same name at another time; may be empty.
    pub uid: String,
    /// The groups he belongs to.
    pub groups: Vec<String>,
    /// What else was said of him.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Whether he belongs to a group.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The same, and of the group that everybody belongs to who has shown who he is.
    ///
    /// Upstream: apiserver pkg/authentication/group/authenticated_group_adder.go.
    /// Shown by: only_masters_may_be_somebody_else.
    #[must_use]
    pub fn authenticated(mut self) -> Self {
        const AUTHENTICATED: &str = "system:authenticated";
        if !self.is_in(AUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }
}

/// Something that knows whose a bearer token is: the file of tokens, the signer of service accounts' tokens.
pub trait Authenticate: Send + Sync + std::fmt::Debug {
    /// Whose it is; nobody's if it is not known, has expired or has been forged.
    fn token(&self, token: &str) -> Option<User>;
}
