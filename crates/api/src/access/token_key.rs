//! The key that the tokens of service accounts are signed with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::KeyPair;

use super::file;
use crate::review::{KeyError, TokenSigner};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    /// The file system does not let us.
    #[error("cannot {what} {path}")]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The file is not what we once wrote.
    #[error(
        "{path} cannot be used: {why}. Put back the file as it was, or remove it to have a new one made at the next start; \
         tokens of service accounts made until now will then no longer be accepted"
    )]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A key cannot be made.
    #[error("cannot make a key")]
    Make(#[source] rcgen::Error),
    /// A key that was just made is refused.
    #[error("cannot use the key in {path}")]
    Refused {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
}

/// Takes up the key in `<data_dir>/pki/sa.key`, or makes it if there is none.
///
/// # Errors
/// [`TokenKeyError`]; a file that exists is never written to.
pub fn open(data_dir: &Path) -> Result<TokenSigner, TokenKeyError> {
    let pki = data_dir.join("pki");
    let path = pki.join("sa.key");
    let file_error = |what: &'static str| {
        let path = path.clone();
        move |source| TokenKeyError::File { what, path, source }
    };
    fs::create_dir_all(&pki).map_err(file_error("make the directory of"))?;
    let key = match fs::read(&path) {
        Ok(content) => {
            let corrupt = |why: String| TokenKeyError::Corrupt {
                path: path.clone(),
                why,
            };
            let text =
                String::from_utf8(content).map_err(|_| corrupt("it is no text".to_owned()))?;
            KeyPair::from_pem(&text).map_err(|error| corrupt(format!("it is no key ({error})")))?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = KeyPair::generate().map_err(TokenKeyError::Make)?;
            let text = key.serialize_pem();
            file::write(&path, text.as_bytes()).map_err(file_error("write"))?;
            key
        }
        Err(error) => return Err(file_error("read")(error)),
    };
    TokenSigner::with_key(key.serialized_der()).map_err(|source| TokenKeyError::Refused {
        path: path.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pki/sa.key");
        open(dir.path()).unwrap();
        let made = fs::read(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        open(dir.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), made);
        fs::write(&path, "rubbish").unwrap();
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("it is no key"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"rubbish");
    }
}
