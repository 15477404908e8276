//! The tokens of service accounts: JSON Web Tokens, signed with a key of this node's own.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use probelet_model::time::Wall;
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};

/// Who makes the tokens, and whom they are for if they do not say.
///
/// Upstream: kube-apiserver's --service-account-issuer as kubeadm sets it.
/// Shown by: a_service_account_gets_a_token_and_is_known_by_it.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A key that signs tokens, and knows them again.
///
/// Upstream: pkg/serviceaccount/jwt.go, JWTTokenGenerator, with ES256.
/// Shown by: a_token_is_known_again_and_no_other.
pub struct TokenSigner {
    key: EcdsaKeyPair,
    /// `kid`: which key it was.
    id: String,
    random: SystemRandom,
}

/// A key that cannot be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The kernel had no random bytes.
    #[error("cannot make a key for the tokens of service accounts")]
    Unmade,
    /// It is no PKCS#8 document with a key of the curve P-256.
    #[error("the key for the tokens of service accounts is no PKCS#8 document with a key of P-256")]
    Unreadable,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token of this node.
    #[error("invalid bearer token")]
    Foreign,
    /// Its time is over.
    #[error("service account token has expired")]
    Expired,
    /// Its time has not come.
    #[error("service account token is not valid yet")]
    Early,
    /// It is meant for others.
    #[error("token audiences are invalid for the target audiences")]
    Audience,
    /// What it was made for is gone.
    #[error("service account token has been invalidated")]
    Invalidated,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) aud: Vec<String>,
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) iss: String,
    pub(crate) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(crate) private: Private,
    pub(crate) nbf: i64,
    pub(crate) sub: String,
}

/// Whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Private {
    pub(crate) namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Reference>,
    pub(crate) serviceaccount: Reference,
}

/// An object, by name and uid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) uid: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

const ALGORITHM: &str = "ES256";

impl TokenSigner {
    /// A new key, as a PKCS#8 document to be kept where only the owner reads it.
    ///
    /// # Errors
    /// [`KeyError::Unmade`].
    pub fn new_key() -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map(|document| document.as_ref().to_vec())
            .map_err(|_| KeyError::Unmade)
    }

    /// A signer with a key of [`TokenSigner::new_key`].
    ///
    /// # Errors
    /// [`KeyError::Unreadable`].
    pub fn with_key(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(|_| KeyError::Unreadable)?;
        let id = digest::digest(&digest::SHA256, key.public_key().as_ref());
        Ok(Self {
            id: URL_SAFE_NO_PAD.encode(id),
            key,
            random,
        })
    }

    /// The token that says `claims`; `None` if the kernel has no random bytes.
    pub(crate) fn sign(&self, claims: &Claims) -> Option<String> {
        let header = Header {
            alg: ALGORITHM.to_owned(),
            kid: self.id.clone(),
        };
        let said = format!("{}.{}", part(&header), part(claims));
        let signature = self.key.sign(&self.random, said.as_bytes()).ok()?;
        Some(format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What a token of this signer says, if it is one and it is its time.
    pub(crate) fn verify(&self, token: &str, now: Wall) -> Result<Claims, TokenError> {
        let (said, signature) = token.rsplit_once('.').ok_or(TokenError::Foreign)?;
        let (header, claims) = said.split_once('.').ok_or(TokenError::Foreign)?;
        let header: Header = read(header)?;
        if header.alg != ALGORITHM || header.kid != self.id {
            return Err(TokenError::Foreign);
        }
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| TokenError::Foreign)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref())
            .verify(said.as_bytes(), &signature)
            .map_err(|_| TokenError::Foreign)?;
        let claims: Claims = read(claims)?;
        let now = now.0.div_euclid(1_000_000_000);
        if claims.iss != ISSUER {
            Err(TokenError::Foreign)
        } else if now < claims.nbf {
            Err(TokenError::Early)
        } else if now >= claims.exp {
            Err(TokenError::Expired)
        } else {
            Ok(claims)
        }
    }
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn part(value: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).expect("it is text and numbers"))
}

fn read<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenError> {
    let json = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Foreign)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> TokenSigner {
        TokenSigner::with_key(&TokenSigner::new_key().unwrap()).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            aud: vec![ISSUER.to_owned()],
            exp: 200,
            iat: 100,
            iss: ISSUER.to_owned(),
            jti: "id".to_owned(),
            private: Private {
                namespace: "default".to_owned(),
                pod: None,
                secret: None,
                serviceaccount: Reference {
                    name: "a".to_owned(),
                    uid: "u".to_owned(),
                },
            },
            nbf: 100,
            sub: "system:serviceaccount:default:a".to_owned(),
        }
    }

    #[test]
    fn a_token_is_known_again_and_no_other() {
        let at = |seconds: i64| Wall(seconds * 1_000_000_000);
        let signer = signer();
        let token = signer.sign(&claims()).unwrap();
        assert_eq!(signer.verify(&token, at(100)), Ok(claims()));
        assert_eq!(signer.verify(&token, at(199)), Ok(claims()));
        assert_eq!(signer.verify(&token, at(200)), Err(TokenError::Expired));
        assert_eq!(signer.verify(&token, at(99)), Err(TokenError::Early));
        let other = self::signer();
        assert_eq!(other.verify(&token, at(150)), Err(TokenError::Foreign));
        let mut forged: Vec<&str> = token.split('.').collect();
        let more = part(&Claims {
            exp: 9000,
            ..claims()
        });
        forged[1] = &more;
        for text in [
            "",
            ".",
            "..",
            "a.b.c",
            &token[..token.len() - 2],
            &forged.join("."),
        ] {
            assert_eq!(
                signer.verify(text, at(150)),
                Err(TokenError::Foreign),
                "{text}"
            );
        }
        let unsigned = part(&Header {
            alg: "none".to_owned(),
            kid: signer.id.clone(),
        });
        let unsigned = format!("{unsigned}.{}.", part(&claims()));
        assert_eq!(signer.verify(&unsigned, at(150)), Err(TokenError::Foreign));
        let foreign = Claims {
            iss: "https://elsewhere".to_owned(),
            ..claims()
        };
        let foreign = signer.sign(&foreign).unwrap();
        assert_eq!(signer.verify(&foreign, at(150)), Err(TokenError::Foreign));
    }

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let key = TokenSigner::new_key().unwrap();
        let signer = TokenSigner::with_key(&key).unwrap();
        assert_eq!(signer.id, TokenSigner::with_key(&key).unwrap().id);
        assert!(!format!("{signer:?}").contains("key:"));
        assert!(TokenSigner::with_key(b"none").is_err());
    }
}
