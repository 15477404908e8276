//! A login as one text, which files of docker have it as.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose};

/// As Go reads it: bits that are left over at the end may be any.
const WITH_PADDING: GeneralPurpose = GeneralPurpose::new(&STANDARD, lenient(general_purpose::PAD));
const WITHOUT_PADDING: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, lenient(general_purpose::NO_PAD));

const fn lenient(config: GeneralPurposeConfig) -> GeneralPurposeConfig {
    config.with_decode_allow_trailing_bits(true)
}

/// Text that is no login.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It is not base64.
    #[error("{0}")]
    Base64(#[from] base64::DecodeError),
    /// What was base64 is not text.
    #[error("not text: {0}")]
    Text(#[from] std::string::FromUtf8Error),
    /// There is no colon between user and password.
    #[error("no colon in it")]
    Colon,
}

/// User and password of a field `auth`: base64 of both with a colon between. It is padded or not; what ends in `=`
/// must be padded rightly.
///
/// # Errors
/// If it is none.
///
/// Upstream: pkg/credentialprovider/config.go, decodeDockerConfigFieldAuth.
/// Shown by: a_login_is_padded_or_not.
pub fn decode_auth(text: &str) -> Result<(String, String), AuthError> {
    // Go passes over the ends of lines, wherever they are.
    let text: String = text.trim().split(['\r', '\n']).collect();
    let decoded = if text.ends_with('=') {
        WITH_PADDING.decode(text)?
    } else {
        WITHOUT_PADDING.decode(text)?
    };
    let decoded = String::from_utf8(decoded)?;
    let (username, password) = decoded.split_once(':').ok_or(AuthError::Colon)?;
    Ok((username.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_padded_or_not() {
        for (text, password) in [
            ("YTpi", "b"),
            ("YTpiYg==", "bb"),
            ("YTpiYg", "bb"),
            ("YTpiYmI=", "bbb"),
            ("YTpiYmI", "bbb"),
            (" YTpi\r\nYmI=\n", "bbb"),
            ("YTpiYh", "bb"),
            ("YTo6", ":"),
        ] {
            let expected = ("a".to_owned(), password.to_owned());
            assert_eq!(decode_auth(text), Ok(expected), "{text}");
        }
        for text in ["YTpiYg=", "YTpiYmI==", "%", "YTp_Yg", "gDo="] {
            assert!(decode_auth(text).is_err(), "{text}");
        }
        assert_eq!(decode_auth(""), Err(AuthError::Colon));
        assert_eq!(decode_auth("YWI="), Err(AuthError::Colon));
    }
}
