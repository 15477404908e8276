//! What a lint is.

mod table;

use std::fmt;

pub use self::table::*;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; may well be meant.
    Info,
    /// Will go wrong in an ordinary week: a slow start, a pause, a deploy.
    Warning,
    /// Does not work at all.
    Error,
}

impl Severity {
    /// `info`, `warning` or `error`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that can be found. All of them are in [`LINTS`].
#[derive(Debug, PartialEq, Eq)]
pub struct Lint {
    /// Its name for ever: lower case, words joined by `-`.
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What is found, in one line.
    pub what: &'static str,
    /// What will happen.
    pub why: &'static str,
    /// How the numbers are computed; empty if there are none.
    pub numbers: &'static str,
    /// What to write instead.
    pub fix: &'static str,
    /// Where Kubernetes behaves so; empty where no one place does.
    pub upstream: &'static str,
}

impl Lint {
    /// The fix as a clause: `drop host`.
    #[must_use]
    pub fn advice(&self) -> String {
        let mut letters = self.fix.trim_end_matches('.').chars();
        let first = letters.next().map(|letter| letter.to_ascii_lowercase());
        first.into_iter().chain(letters).collect()
    }
}

/// The lint with this id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Lint> {
    LINTS.iter().copied().find(|lint| lint.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_ordered_and_well_formed() {
        assert!(LINTS.is_sorted_by(|a, b| a.id < b.id));
        for lint in LINTS {
            let well_formed = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
            assert!(lint.id.bytes().all(well_formed), "{}", lint.id);
            assert_eq!(find(lint.id), Some(*lint));
            assert!(
                !lint.what.ends_with('.') && lint.why.ends_with('.') && lint.fix.ends_with('.')
            );
        }
        assert_eq!(find("no-such-lint"), None);
    }
}
