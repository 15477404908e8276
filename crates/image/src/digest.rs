//! Digests: what content is called by.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use ring::digest::{Algorithm, Context, SHA256, SHA384, SHA512};
use serde::{Deserialize, Serialize};

/// A digest that is well-formed, `sha256:…` in lower case: safe as part of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Digest(String);

/// Why a text is no digest, in the words of upstream's go-digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DigestError {
    #[error("invalid checksum digest format")]
    Format,
    #[error("unsupported digest algorithm")]
    Algorithm,
    #[error("invalid checksum digest length")]
    Length,
}

impl Digest {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the colon.
    pub(crate) fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The name of a file for it: no two digests have the same.
    pub(crate) fn file_name(&self) -> String {
        self.0.replacen(':', "-", 1)
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::finished("sha256", ring::digest::digest(&SHA256, bytes).as_ref())
    }

    /// Whether that is the digest of `bytes`.
    pub(crate) fn is_of(&self, bytes: &[u8]) -> bool {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish() == *self
    }

    /// What computes a digest of the same kind.
    pub(crate) fn hasher(&self) -> Hasher {
        let name = self.0.split_once(':').map_or("", |(name, _)| name);
        let (name, algorithm) = algorithm(name).expect("a digest's algorithm was looked at");
        Hasher {
            name,
            context: Context::new(algorithm),
        }
    }

    fn finished(name: &str, value: &[u8]) -> Self {
        use fmt::Write as _;
        let mut text = format!("{name}:");
        for byte in value {
            write!(text, "{byte:02x}").expect("a string takes everything");
        }
        Self(text)
    }
}

fn algorithm(name: &str) -> Option<(&'static str, &'static Algorithm)> {
    match name {
        "sha256" => Some(("sha256", &SHA256)),
        "sha384" => Some(("sha384", &SHA384)),
        "sha512" => Some(("sha512", &SHA512)),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or(DigestError::Format)?;
        if name.is_empty() || hex.is_empty() {
            return Err(DigestError::Format);
        }
        let (_, algorithm) = algorithm(name).ok_or(DigestError::Algorithm)?;
        if hex.len() != algorithm.output_len() * 2 {
            return Err(DigestError::Length);
        }
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if !hex.bytes().all(is_hex) {
            return Err(DigestError::Format);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// Computes a digest piece by piece.
#[derive(Clone)]
pub(crate) struct Hasher {
    name: &'static str,
    context: Context,
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        Digest::finished(self.name, self.context.finish().as_ref())
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that computes the digest of what is read through it.
pub(crate) struct Hashing<R> {
    pub(crate) reader: R,
    pub(crate) hasher: Hasher,
    pub(crate) bytes: u64,
}

impl<R: Read> Hashing<R> {
    pub(crate) fn new(reader: R, hasher: Hasher) -> Self {
        Self {
            reader,
            hasher,
            bytes: 0,
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.bytes += u64::try_from(read).unwrap_or(u64::MAX);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_checked_before_it_becomes_a_path() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let empty: Digest = format!("sha256:{hex}").parse().unwrap();
        assert_eq!(empty.hex(), hex);
        assert_eq!(empty, Digest::of(b""));
        assert!(empty.is_of(b"") && !empty.is_of(b"x"));
        let wrong = |text: &str| text.parse::<Digest>().unwrap_err();
        assert_eq!(wrong(hex), DigestError::Format);
        assert_eq!(
            wrong("md5:d41d8cd98f00b204e9800998ecf8427e"),
            DigestError::Algorithm
        );
        assert_eq!(wrong("sha256:abc"), DigestError::Length);
        assert_eq!(
            wrong(&format!("sha256:{}/..", &hex[3..])),
            DigestError::Format
        );
        assert_eq!(
            wrong(&format!("sha256:{}", hex.to_uppercase())),
            DigestError::Format
        );
    }
}
