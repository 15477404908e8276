//! The head of a response: status line and headers.

use httparse::{EMPTY_HEADER, Header, ParserConfig, Response};

use crate::go;
use crate::http::request::is_token;
use crate::http::stream::Received;

/// How much may come before a response's body, 1xx responses included.
///
/// Differs: Go allows 10 MiB. Servers in front of which this head would pass are rare; one that sends
/// it to ten thousand probes at once is not to cost the node its memory.
const HEAD_LIMIT: usize = 64 * 1024;

/// As much of a head as matters to a probe.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Three digits.
    pub(super) status: u16,
    /// The first Location header, if it has a value.
    pub(super) location: Option<String>,
    /// How the body is told from what comes after.
    pub(super) framing: Framing,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// Reads heads up to and including that of the final response.
///
/// Errors: Go's text. A first line that is not HTTP is an error as soon as it is whole, as a server
/// that speaks something else may say no more.
///
/// Upstream: Go src/net/http/transport.go, persistConn.readResponse and mapRoundTripError.
/// Shown by: heads_of_1xx_are_passed_over, a_connection_that_ends_too_early.
pub(super) async fn read(received: &mut Received) -> Result<Head, String> {
    let mut left = HEAD_LIMIT;
    loop {
        let (head, length) = read_one(received, left).await?;
        received.take(length);
        // What had come in one go with it may be more than was left.
        left = left.saturating_sub(length);
        if head.status == 101 || !(100..200).contains(&head.status) {
            return Ok(head);
        }
    }
}

async fn read_one(received: &mut Received, limit: usize) -> Result<(Head, usize), String> {
    let first_line = loop {
        if let Some(end) = find_newline(received.unused()) {
            break end;
        }
        within(limit, received)?;
        if !received.more().await? {
            return Err(cut_short(received.unused()));
        }
    };
    status_line(&received.unused()[..first_line]).map_err(broken)?;
    let mut searched = first_line;
    loop {
        if let Some(end) = find_end(received.unused(), searched) {
            return parse(&received.unused()[..end])
                .map(|head| (head, end))
                .map_err(broken);
        }
        searched = received.unused().len().saturating_sub(3).max(first_line);
        within(limit, received)?;
        if !received.more().await? {
            return Err(broken("unexpected EOF".to_owned()));
        }
    }
}

/// What a connection that ends before its first line does was about.
fn cut_short(line: &[u8]) -> String {
    match status_line(line) {
        _ if line.is_empty() => "EOF".to_owned(),
        Ok(()) => broken("unexpected EOF".to_owned()),
        Err(reason) => broken(reason),
    }
}

fn within(limit: usize, received: &Received) -> Result<(), String> {
    if received.unused().len() < limit {
        return Ok(());
    }
    Err(format!(
        "net/http: server response headers exceeded {HEAD_LIMIT} bytes; aborted"
    ))
}

fn broken(reason: String) -> String {
    format!("net/http: HTTP/1.x transport connection broken: {reason}")
}

fn find_newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

/// Behind the empty line that ends a head, looked for from the newline at or after `from`.
fn find_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(newline) = bytes.get(at..).and_then(find_newline) {
        at += newline + 1;
        match &bytes[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// The status of a first line, checked in Go's order.
///
/// Upstream: Go src/net/http/response.go, ReadResponse.
/// Differs: of the versions, only 1.0 and 1.1 are taken.
/// Shown by: first_lines_are_judged_as_go_judges_them.
fn status_line(line: &[u8]) -> Result<(), String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let malformed =
        |what: &str, bytes: &[u8]| Err(format!("malformed HTTP {what} {}", go::quote(bytes)));
    let Some(space) = line.iter().position(|byte| *byte == b' ') else {
        return malformed("response", line);
    };
    let (version, rest) = (&line[..space], line[space..].trim_ascii_start());
    let code = rest.split(|byte| *byte == b' ').next().unwrap_or(rest);
    if code.len() != 3 || !code.iter().all(u8::is_ascii_digit) {
        return malformed("status code", code);
    }
    if !matches!(version, b"HTTP/1.0" | b"HTTP/1.1") {
        return malformed("version", version);
    }
    Ok(())
}

/// A whole head. As lenient as Go: folded lines and spaces before a colon pass, all else must be right.
fn parse(head: &[u8]) -> Result<Head, String> {
    let mut config = ParserConfig::default();
    config
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true);
    let mut few = [EMPTY_HEADER; 32];
    let mut many = Vec::new();
    let mut response = Response::new(&mut few);
    let mut parsed = config.parse_response(&mut response, head);
    if parsed == Err(httparse::Error::TooManyHeaders) {
        many.resize(
            head.iter().filter(|byte| **byte == b'\n').count(),
            EMPTY_HEADER,
        );
        response = Response::new(&mut many);
        parsed = config.parse_response(&mut response, head);
    }
    match (parsed, response.code) {
        (Ok(httparse::Status::Complete(_)), Some(status)) => {
            let location = values(response.headers, "location")
                .next()
                .filter(|value| !value.is_empty());
            Ok(Head {
                status,
                location: location.map(|value| String::from_utf8_lossy(value).into_owned()),
                framing: framing(status, response.version == Some(0), response.headers)?,
            })
        }
        _ => Err(malformed_line(head)),
    }
}

fn values<'a>(headers: &'a [Header<'a>], name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim_ascii())
}

/// Where a response's body ends: by its chunks, by its length, or with the connection.
///
/// Upstream: Go src/net/http/transfer.go, readTransfer, parseTransferEncoding and fixLength.
/// Shown by: a_body_ends_where_go_says.
fn framing(status: u16, is_http_10: bool, headers: &[Header<'_>]) -> Result<Framing, String> {
    let mut encodings = values(headers, "transfer-encoding");
    let chunked = match (encodings.next(), encodings.next()) {
        _ if is_http_10 => false,
        (None, _) => false,
        (Some(one), None) if one.eq_ignore_ascii_case(b"chunked") => true,
        (Some(other), None) => {
            return Err(format!(
                "unsupported transfer encoding: {}",
                go::quote(other)
            ));
        }
        (Some(_), Some(_)) => return Err("too many transfer encodings".to_owned()),
    };
    let mut lengths = values(headers, "content-length");
    let length = lengths.next();
    if let Some(other) = lengths.find(|other| Some(*other) != length) {
        let first = go::quote(length.unwrap_or_default());
        return Err(format!(
            "http: message cannot contain multiple Content-Length headers; got [{first} {}]",
            go::quote(other)
        ));
    }
    match length {
        _ if status < 200 || status == 204 || status == 304 => Ok(Framing::Length(0)),
        _ if chunked => Ok(Framing::Chunked),
        None => Ok(Framing::UntilClose),
        Some(b"") => Err("invalid empty Content-Length".to_owned()),
        Some(digits) => decimal(digits)
            .map(Framing::Length)
            .ok_or_else(|| format!("bad Content-Length {}", go::quote(digits))),
    }
}

/// Digits only, up to what fits Go's int64.
fn decimal(digits: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits
        .parse()
        .ok()
        .filter(|length| i64::try_from(*length).is_ok())
}

/// Says which line of a head is not right.
///
/// Upstream: Go src/net/textproto/reader.go, ReadMIMEHeader.
/// Shown by: what_is_not_http.
fn malformed_line(head: &[u8]) -> String {
    let is_bad = |line: &[u8]| match line.iter().position(|byte| *byte == b':') {
        _ if line.starts_with(b" ") || line.starts_with(b"\t") => false,
        None | Some(0) => true,
        Some(colon) => !line[..colon]
            .iter()
            .all(|byte| is_token(*byte) || *byte == b' '),
    };
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .skip(1)
        .map(|line| line.trim_ascii_end());
    let line = lines
        .find(|line| !line.is_empty() && is_bad(line))
        .unwrap_or_default();
    format!(
        "malformed MIME header line: {}",
        String::from_utf8_lossy(line)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_are_judged_as_go_judges_them() {
        for (line, expected) in [
            ("HTTP/1.1 200 OK\r", Ok(())),
            ("HTTP/1.0 200", Ok(())),
            ("HTTP/1.1  404 Not Found", Ok(())),
            (
                "SSH-2.0-OpenSSH_9.6\r",
                Err(r#"malformed HTTP response "SSH-2.0-OpenSSH_9.6""#),
            ),
            (
                "220 mail.example.com ESMTP",
                Err(r#"malformed HTTP status code "mail.example.com""#),
            ),
            (
                "HTTP/1.1 2000 OK",
                Err(r#"malformed HTTP status code "2000""#),
            ),
            ("ICY 200 OK", Err(r#"malformed HTTP version "ICY""#)),
            ("", Err(r#"malformed HTTP response """#)),
        ] {
            assert_eq!(
                status_line(line.as_bytes()),
                expected.map_err(str::to_owned),
                "{line:?}"
            );
        }
    }

    fn parsed(rest: &str) -> Result<Head, String> {
        parse(format!("HTTP/1.1 200 OK\r\n{rest}\r\n").as_bytes())
    }

    #[test]
    fn a_body_ends_where_go_says() {
        for (headers, expected) in [
            ("", Ok(Framing::UntilClose)),
            ("Content-Length: 5\r\n", Ok(Framing::Length(5))),
            (
                "Content-Length: 5\r\ncontent-length: 5\r\n",
                Ok(Framing::Length(5)),
            ),
            (
                "Transfer-Encoding: Chunked\r\nContent-Length: 5\r\n",
                Ok(Framing::Chunked),
            ),
            ("Content-Length: -1\r\n", Err(r#"bad Content-Length "-1""#)),
            (
                "Content-Length: 99999999999999999999\r\n",
                Err(r#"bad Content-Length "99999999999999999999""#),
            ),
            ("Content-Length:\r\n", Err("invalid empty Content-Length")),
            (
                "Transfer-Encoding: gzip\r\n",
                Err(r#"unsupported transfer encoding: "gzip""#),
            ),
            (
                "Content-Length: 1\r\nContent-Length: 2\r\n",
                Err(
                    r#"http: message cannot contain multiple Content-Length headers; got ["1" "2"]"#,
                ),
            ),
            ("no colon\r\n", Err("malformed MIME header line: no colon")),
            ("a(b: c\r\n", Err("malformed MIME header line: a(b: c")),
        ] {
            let framing = parsed(headers).map(|head| head.framing);
            assert_eq!(framing, expected.map_err(str::to_owned), "{headers:?}");
        }
        let old = parse(b"HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n").unwrap();
        assert_eq!(old.framing, Framing::UntilClose);
        assert_eq!(
            parse(b"HTTP/1.1 204 \r\n\r\n").unwrap().framing,
            Framing::Length(0)
        );
    }

    #[test]
    fn many_and_odd_headers_pass() {
        let many: String = (0..200).map(|n| format!("X-{n}: {n}\r\n")).collect();
        let head = parsed(&format!(
            "{many}X-Folded: a\r\n b\r\nX-Spaced : c\r\nLocation: /x \r\n"
        ))
        .unwrap();
        assert_eq!(head.location.as_deref(), Some("/x"));
        assert_eq!(parsed("Location:\r\n").unwrap().location, None);
    }

    #[test]
    fn the_end_of_a_head_is_found_wherever_the_search_begins() {
        let head = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nrest";
        for from in 15..=22 {
            assert_eq!(find_end(head, from), Some(25), "{from}");
        }
        assert_eq!(find_end(b"HTTP/1.1 200 OK\n\nrest", 15), Some(17));
        assert_eq!(find_end(&head[..24], 15), None);
    }
}
