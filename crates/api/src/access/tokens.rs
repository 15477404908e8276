//! Bearer tokens, by a file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::user::{Authenticate, User};

/// The tokens of a file in upstream's format, a line each: `token,user,uid,"group1,group2"`.
///
/// Upstream: apiserver pkg/authentication/token/tokenfile/tokenfile.go, NewCSV. Of two lines with the same token
/// the later counts, and a line without one counts for nothing, as there.
/// Shown by: a_file_of_tokens.
pub struct Tokens(BTreeMap<String, User>);

/// Why a file of tokens is refused.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A line of it is no token, user and uid.
    #[error("{path}, line {line}: {why}")]
    Line {
        /// Which.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
}

impl Tokens {
    /// Reads a file.
    ///
    /// # Errors
    /// [`TokensError`].
    pub fn read(path: &Path) -> Result<Self, TokensError> {
        let text = fs::read_to_string(path).map_err(|source| TokensError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|(line, why)| TokensError::Line {
            path: path.to_owned(),
            line,
            why,
        })
    }

    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut tokens = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let mut fields = fields(line).map_err(|why| (index + 1, why))?.into_iter();
            let (Some(token), Some(name), Some(uid)) =
                (fields.next(), fields.next(), fields.next())
            else {
                let why = "a token file has at least 3 columns (token, user name, user uid)";
                return Err((index + 1, why.to_owned()));
            };
            let groups = fields.next().unwrap_or_default();
            let groups = groups
                .split(',')
                .map(str::trim)
                .filter(|group| !group.is_empty());
            let user = User {
                name,
                uid,
                groups: groups.map(str::to_owned).collect(),
                extra: BTreeMap::new(),
            };
            if !token.is_empty() {
                tokens.insert(token, user);
            }
        }
        Ok(Self(tokens))
    }
}

/// The fields of one line of comma-separated values.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = line.trim_end_matches('\r');
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted)?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            if rest[..end].contains('"') {
                return Err("a quote inside a field that does not begin with one".to_owned());
            }
            (rest[..end].to_owned(), &rest[end..])
        };
        fields.push(field);
        if after.is_empty() {
            return Ok(fields);
        }
        rest = after
            .strip_prefix(',')
            .ok_or("something behind the end of a quoted field")?;
    }
}

/// A field up to its closing quote, in which `""` is a quote; and what is behind.
fn quoted_field(text: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"').ok_or("a quote that is not closed")?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Ok((field, after)),
        }
    }
}

impl std::fmt::Debug for Tokens {
    /// Without the tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tokens").field(&self.0.len()).finish()
    }
}

impl Authenticate for Tokens {
    fn token(&self, token: &str) -> Option<User> {
        self.0.get(token).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_tokens() {
        let text = "t1,anna,1,\"dev,system:masters\"\n\nt2,\"b,\"\"o\"\"b\",2\r\n,nobody,3\nt3,carl,4,ops\nt3,dora,5\n";
        let tokens = Tokens::parse(text).unwrap();
        let user = |token: &str| {
            let user = tokens.token(token)?;
            Some(format!(
                "{} {} {}",
                user.name,
                user.uid,
                user.groups.join("+")
            ))
        };
        let rows = [
            ("t1", Some("anna 1 dev+system:masters")),
            ("t2", Some("b,\"o\"b 2 ")),
            ("t3", Some("dora 5 ")),
            ("", None),
            ("t", None),
        ];
        for (token, expected) in rows {
            assert_eq!(user(token).as_deref(), expected, "{token}");
        }
    }

    #[test]
    fn lines_that_are_none() {
        let rows = [
            (
                "t1,anna",
                "a token file has at least 3 columns (token, user name, user uid)",
            ),
            ("t1,anna,1,\"dev", "a quote that is not closed"),
            (
                "t1,an\"na,1",
                "a quote inside a field that does not begin with one",
            ),
            (
                "t1,\"anna\"x,1",
                "something behind the end of a quoted field",
            ),
        ];
        for (line, why) in rows {
            let found = Tokens::parse(&format!("a,b,c\n{line}\n")).unwrap_err();
            assert_eq!(found, (2, why.to_owned()));
        }
    }
}
