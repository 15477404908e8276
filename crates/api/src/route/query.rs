//! The query of a URL.

/// The parameters of a query, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

/// A `%` without two hex digits behind it, or bytes that are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid URL escape")]
pub struct Undecodable;

impl Query {
    /// Reads what stands behind the `?`.
    ///
    /// # Errors
    /// [`Undecodable`].
    pub fn parse(text: &str) -> Result<Self, Undecodable> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name, true)?, decode(value, true)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// The first value of a parameter.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(own, _)| own == name)?;
        Some(value)
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter that is on or off: on unless it is missing, `0` or `false`.
    ///
    /// Upstream: apimachinery pkg/runtime/conversion.go, Convert_Slice_string_To_bool.
    /// Shown by: a_query_is_read.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.first(name)
            .is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }
}

/// Takes the percent signs out of a text; in a query a plus is a space.
pub(super) fn decode(text: &str, plus_is_space: bool) -> Result<String, Undecodable> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || {
                    let digit = char::from(bytes.next()?).to_digit(16)?;
                    u8::try_from(digit).ok()
                };
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(Undecodable);
                };
                high * 16 + low
            }
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| Undecodable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read() {
        let query = Query::parse("a=1&command=ls&command=-l%20x+y&b&&c=%C3%A9&d=False").unwrap();
        assert_eq!(query.first("a"), Some("1"));
        let commands: Vec<&str> = query.all("command").collect();
        assert_eq!(commands, ["ls", "-l x y"]);
        assert_eq!(query.first("c"), Some("é"));
        let flags = ["a", "b", "d", "e"].map(|name| query.flag(name));
        assert_eq!(flags, [true, true, false, false]);
    }

    #[test]
    fn escapes_that_are_none() {
        for text in ["a=%", "a=%2", "a=%zz", "a=%ff"] {
            assert_eq!(Query::parse(text), Err(Undecodable), "{text}");
        }
    }
}
