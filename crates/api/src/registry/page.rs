//! Where a list goes on: the token of its next page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use probelet_model::id::{Kind, ObjectKey};
use probelet_store::Version;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Where a page begins.
///
/// Upstream: apiserver pkg/storage/continue.go.
/// Shown by: a_token_is_read_as_it_is_written, pages_make_the_list_of_the_first_page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// The version of all pages; `None` if that is forgotten, and the rest is as it is now.
    pub(super) version: Option<Version>,
    /// The last object that was there already.
    pub(super) after: ObjectKey,
}

/// On the wire as upstream has it.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

const ENCODING: &str = "meta.k8s.io/v1";

impl Start {
    pub(super) fn encode(&self) -> String {
        let version = self
            .version
            .map_or(-1, |version| i64::try_from(version.0).unwrap_or(i64::MAX));
        let token = Token {
            v: ENCODING.to_owned(),
            rv: version,
            start: format!("{}/{}\0", self.after.namespace, self.after.name),
        };
        let json = serde_json::to_vec(&token).expect("a token is text and numbers");
        URL_SAFE_NO_PAD.encode(json)
    }

    pub(super) fn decode(kind: Kind, text: &str) -> Result<Self, Failure> {
        let invalid =
            |why: String| Failure::bad_request(format!("continue key is not valid: {why}"));
        let json = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|error| invalid(error.to_string()))?;
        let token: Token =
            serde_json::from_slice(&json).map_err(|error| invalid(error.to_string()))?;
        if token.v != ENCODING {
            return Err(invalid(format!(
                "server does not recognize this encoded version {:?}",
                token.v
            )));
        }
        let version = match token.rv {
            -1 => None,
            0 => {
                return Err(invalid(format!(
                    "incorrect encoded start resourceVersion (version {ENCODING})"
                )));
            }
            number => Some(u64::try_from(number).map_err(|error| invalid(error.to_string()))?),
        };
        let key = token
            .start
            .strip_suffix('\0')
            .and_then(|key| key.split_once('/'));
        let (namespace, name) = key.ok_or_else(|| invalid(token.start.clone()))?;
        Ok(Self {
            version: version.map(Version),
            after: ObjectKey::new(kind, namespace, name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written() {
        for version in [None, Some(Version(7))] {
            for key in [
                ObjectKey::new(Kind::Pod, "default", "a"),
                ObjectKey::new(Kind::Namespace, "", "a"),
            ] {
                let start = Start {
                    version,
                    after: key.clone(),
                };
                assert_eq!(Start::decode(key.kind, &start.encode()), Ok(start));
            }
        }
        for (json, expected) in [
            ("{", "EOF while parsing an object at line 1 column 1"),
            (
                r#"{"v":"v9","rv":1,"start":"a/b\u0000"}"#,
                "server does not recognize this encoded version \"v9\"",
            ),
            (
                r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a/b\u0000"}"#,
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ),
            (r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../x"}"#, "../x"),
        ] {
            let failure = Start::decode(Kind::Pod, &URL_SAFE_NO_PAD.encode(json)).unwrap_err();
            assert_eq!(
                failure,
                Failure::bad_request(format!("continue key is not valid: {expected}"))
            );
        }
        assert_eq!(Start::decode(Kind::Pod, "?").unwrap_err().code, 400);
    }
}
