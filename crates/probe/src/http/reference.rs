//! References to URLs, as manifests and Location headers have them.

use crate::go;
use crate::http::escape::{Part, escape, normalize, unescape, unfit_for_host};

/// A URL reference, `[scheme:][//authority][path][?query][#fragment]` or `scheme:opaque`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) scheme: String,
    pub(super) authority: Option<String>,
    pub(super) path: String,
    pub(super) opaque: Option<String>,
    pub(super) query: Option<String>,
    pub(super) fragment: Option<String>,
}

impl Reference {
    pub(super) fn from_raw_path(path: &str) -> Self {
        Self {
            path: escape(path.as_bytes(), Part::Path),
            ..Self::default()
        }
    }

    /// Reads a Location; an error has Go's words.
    ///
    /// Upstream: Go src/net/url/url.go, Parse.
    /// Shown by: a_bad_location_is_named.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (main, fragment) = split_at(text, '#');
        let mut reference = Self::parse_main(main)
            .map_err(|reason| format!("parse {}: {reason}", go::quote(main.as_bytes())))?;
        if let Some(fragment) = fragment.filter(|fragment| !fragment.is_empty()) {
            let escaped = normalize(fragment, Part::Fragment);
            let escaped = escaped
                .map_err(|reason| format!("parse {}: {reason}", go::quote(text.as_bytes())))?;
            reference.fragment = Some(escaped);
        }
        Ok(reference)
    }

    fn parse_main(text: &str) -> Result<Self, String> {
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let (scheme, rest) = split_scheme(text)?;
        let (rest, query) = split_at(rest, '?');
        let mut reference = Self {
            scheme: scheme.to_ascii_lowercase(),
            query: query.map(str::to_owned),
            ..Self::default()
        };
        if !rest.starts_with('/') {
            if !scheme.is_empty() {
                reference.opaque = Some(rest.to_owned());
                return Ok(reference);
            }
            if rest
                .split('/')
                .next()
                .is_some_and(|segment| segment.contains(':'))
            {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
        }
        let mut path = rest;
        if let Some(after) = rest
            .strip_prefix("//")
            .filter(|_| !scheme.is_empty() || !rest.starts_with("///"))
        {
            let (authority, tail) = after.split_at(after.find('/').unwrap_or(after.len()));
            reference.authority = Some(parse_authority(authority)?);
            path = tail;
        }
        reference.path = normalize(path, Part::Path)?;
        Ok(reference)
    }
}

fn split_at(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// What stands before the first colon, if it is a scheme, and the rest.
///
/// Upstream: Go src/net/url/url.go, getScheme.
/// Shown by: a_bad_location_is_named.
fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

/// The host and port of an authority, the user dropped.
///
/// Upstream: Go src/net/url/url.go, parseAuthority and parseHost.
/// Shown by: hosts_are_bracketed_and_checked, a_bad_location_is_named.
fn parse_authority(authority: &str) -> Result<String, String> {
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let after_host = match host.strip_prefix('[') {
        Some(_) => match host.rfind(']') {
            Some(end) => &host[end + 1..],
            None => return Err("missing ']' in host".to_owned()),
        },
        None => host.rfind(':').map_or("", |colon| &host[colon..]),
    };
    let is_port = |text: &str| {
        text.strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if !after_host.is_empty() && !is_port(after_host) {
        return Err(format!(
            "invalid port {} after host",
            go::quote(after_host.as_bytes())
        ));
    }
    match unfit_for_host(host) {
        Some(byte) => Err(format!(
            "invalid character {} in host name",
            go::quote(&[byte])
        )),
        None => {
            String::from_utf8(unescape(host)?).map_err(|_| "invalid URL escape in host".to_owned())
        }
    }
}
