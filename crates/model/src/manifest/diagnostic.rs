//! What is wrong with a manifest, and where it is written.

use std::fmt;

use crate::field::{FieldError, FieldPath};
use crate::yaml::Position;

/// One error or warning about a manifest: `pod.yaml:12:9: spec.hostname: Invalid value: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The manifest as it was named: a path, or `-` for standard input.
    pub source: String,
    /// Where in it: the field's value, else what is nearest above it. `None` where the manifest as a
    /// whole is meant.
    pub position: Option<Position>,
    /// What is wrong, and with which field; the root where the object as a whole is meant.
    pub error: FieldError,
}

impl Diagnostic {
    /// About a manifest as a whole.
    pub(super) fn whole(source: &str, message: impl Into<String>) -> Self {
        let error = FieldError::new(FieldPath::root(), message);
        Self {
            source: source.to_owned(),
            position: None,
            error,
        }
    }

    /// About one place of a manifest.
    pub(super) fn at(source: &str, position: Position, message: impl Into<String>) -> Self {
        Self {
            position: Some(position),
            ..Self::whole(source, message)
        }
    }

    /// About one field of an object in a manifest.
    pub(super) fn field(source: &str, position: Position, error: FieldError) -> Self {
        Self {
            source: source.to_owned(),
            position: Some(position),
            error,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.error)
    }
}

/// All that is wrong with some manifests, one a line when displayed; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, diagnostic) in self.0.iter().enumerate() {
            let newline = if number == 0 { "" } else { "\n" };
            write!(f, "{newline}{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
