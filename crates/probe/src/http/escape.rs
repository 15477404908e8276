//! Which characters stand for themselves in which part of a URL, and how the others are written.

use crate::go;

/// A part of a URL, each with characters of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Host,
    Path,
    Fragment,
}

/// A part of a URL as it stands if it is validly escaped, else escaped anew.
///
/// Errors: a `%` without two hexadecimal digits after it.
///
/// Upstream: Go src/net/url/url.go, setPath and EscapedPath.
/// Shown by: a_path_is_read_as_a_reference.
pub(super) fn normalize(text: &str, part: Part) -> Result<String, String> {
    let decoded = unescape(text)?;
    let valid = |byte: u8| may_stand(byte, part) || b"!$&'()*+,;=:@[]%".contains(&byte);
    Ok(if text.bytes().all(valid) {
        text.to_owned()
    } else {
        escape(&decoded, part)
    })
}

pub(super) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            decoded.push(byte);
            at += 1;
            continue;
        }
        let escaped = bytes
            .get(at + 1..at + 3)
            .and_then(|pair| Some(hex(pair[0])? << 4 | hex(pair[1])?));
        let Some(escaped) = escaped else {
            let shown = &bytes[at..bytes.len().min(at + 3)];
            return Err(format!("invalid URL escape {}", go::quote(shown)));
        };
        decoded.push(escaped);
        at += 3;
    }
    Ok(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

pub(super) fn escape(bytes: &[u8], part: Part) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let mut escaped = String::with_capacity(bytes.len());
    for &byte in bytes {
        if may_stand(byte, part) {
            escaped.push(char::from(byte));
        } else {
            escaped.extend([
                '%',
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]);
        }
    }
    escaped
}

/// Whether `byte` stands for itself in that part of a URL.
///
/// Upstream: Go src/net/url/url.go, shouldEscape.
/// Shown by: a_path_is_read_as_a_reference.
const fn may_stand(byte: u8, part: Part) -> bool {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => true,
        b'$' | b'&' | b'+' | b',' | b';' | b'=' | b':' => true,
        b'/' | b'@' => !matches!(part, Part::Host),
        b'?' => matches!(part, Part::Fragment),
        b'!' | b'(' | b')' | b'*' => !matches!(part, Part::Path),
        b'\'' | b'[' | b']' | b'<' | b'>' | b'"' => matches!(part, Part::Host),
        _ => false,
    }
}

/// The first byte that cannot stand in a host, escaped or not.
pub(super) fn unfit_for_host(host: &str) -> Option<u8> {
    host.bytes()
        .find(|byte| byte.is_ascii() && *byte != b'%' && !may_stand(*byte, Part::Host))
}
