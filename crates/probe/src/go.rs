//! Go's way of writing things down: durations, quoted strings, errors of the operating system.
//!
//! The texts of probes are Go's, and users know them by sight.

use std::fmt::Write as _;
use std::io;

pub use probelet_model::go::duration;

use crate::OUTPUT_LIMIT;

/// As Go prints a string with `%q`, bytes that are no UTF-8 as `\x..`.
///
/// Upstream: Go src/strconv/quote.go, Quote.
/// Shown by: strings_are_quoted_as_go_does.
#[must_use]
pub fn quote(bytes: &[u8]) -> String {
    let mut quoted = String::with_capacity(bytes.len() + 2);
    quoted.push('"');
    for chunk in bytes.utf8_chunks() {
        chunk
            .valid()
            .chars()
            .for_each(|c| quote_char(&mut quoted, c));
        for byte in chunk.invalid() {
            push_hex(&mut quoted, 'x', 2, u32::from(*byte));
        }
    }
    quoted.push('"');
    quoted
}

fn quote_char(quoted: &mut String, c: char) {
    match c {
        '"' => quoted.push_str("\\\""),
        '\\' => quoted.push_str("\\\\"),
        '\u{7}' => quoted.push_str("\\a"),
        '\u{8}' => quoted.push_str("\\b"),
        '\u{c}' => quoted.push_str("\\f"),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        '\u{b}' => quoted.push_str("\\v"),
        ' '..='~' => quoted.push(c),
        '\0'..='\u{7f}' => push_hex(quoted, 'x', 2, c.into()),
        // Rust and Go agree on what can be printed but for a few odd spaces.
        _ if c.escape_debug().len() == 1 => quoted.push(c),
        ..='\u{ffff}' => push_hex(quoted, 'u', 4, c.into()),
        _ => push_hex(quoted, 'U', 8, c.into()),
    }
}

fn push_hex(quoted: &mut String, letter: char, width: usize, value: u32) {
    write!(quoted, "\\{letter}{value:0width$x}").expect("a string takes all that is written to it");
}

/// The text of an error of the operating system, lower case and without its number.
///
/// Upstream: Go src/syscall/zerrors_linux_amd64.go, errors.
/// Shown by: errors_lose_their_number.
#[must_use]
pub fn errno(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or(&text);
    text.to_lowercase()
}

/// A target's own words: at most [`OUTPUT_LIMIT`] bytes, what is no UTF-8 replaced.
///
/// Differs: upstream keeps the bytes as they are; the API then carries them as text all the same.
#[must_use]
pub(crate) fn text(bytes: &[u8]) -> String {
    let kept = &bytes[..bytes.len().min(OUTPUT_LIMIT)];
    let mut text = String::from_utf8_lossy(kept).into_owned();
    text.truncate(text.floor_char_boundary(OUTPUT_LIMIT));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_go_does() {
        for (bytes, expected) in [
            (&b"plain"[..], r#""plain""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"\x00\x07\t\r\n\x7f", r#""\x00\a\t\r\n\x7f""#),
            ("héé\u{200b}".as_bytes(), "\"héé\\u200b\""),
            (b"\xff\x15\x03", r#""\xff\x15\x03""#),
        ] {
            assert_eq!(quote(bytes), expected);
        }
    }

    #[test]
    fn errors_lose_their_number() {
        assert_eq!(
            errno(&io::Error::from_raw_os_error(111)),
            "connection refused"
        );
        assert_eq!(
            errno(&io::Error::from_raw_os_error(113)),
            "no route to host"
        );
    }

    #[test]
    fn words_are_cut_at_a_character() {
        let mut bytes = vec![b'a'; OUTPUT_LIMIT - 1];
        bytes.extend_from_slice("é".as_bytes());
        let text = text(&bytes);
        assert_eq!(text.len(), OUTPUT_LIMIT - 1);
        assert!(text.ends_with('a'));
        assert!(super::text(&[0xff; 20_000]).len() <= OUTPUT_LIMIT);
    }
}
