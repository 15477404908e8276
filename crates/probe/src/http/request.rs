//! The bytes of a request, as Go's client would write them.

use std::borrow::Cow;

use crate::go;
use crate::http::USER_AGENT;
use crate::http::url::Url;

/// What a request says besides where it goes; the same for every hop of an attempt.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    /// `host` of the manifest's Host header, if it has a value.
    host: Option<String>,
    /// `None` if the manifest has an empty one.
    user_agent: Option<String>,
    /// Canonical names in ascending order; the values of one name in the manifest's order.
    lines: Vec<(Cow<'static, str>, String)>,
    /// Whether nothing of the manifest says that the connection is to be closed, or switched.
    adds_close: bool,
}

impl Fields {
    /// The header fields of a probe's requests: the manifest's, and those that Go adds.
    ///
    /// Upstream: pkg/probe/http/request.go, v1HeaderToHTTPHeader and newProbeRequest; Go
    /// src/net/http/transport.go, roundTrip (what it checks and adds).
    ///
    /// Errors: a name or value that must not go on the wire; Go's text.
    /// Shown by: headers_are_sorted_and_repeated_names_kept_in_order,
    /// what_must_not_go_on_the_wire_is_refused.
    pub(super) fn new(headers: &[(String, String)]) -> Result<Self, String> {
        let mut lines = Vec::with_capacity(headers.len() + 1);
        for (name, value) in headers {
            lines.push((canonical(name)?, valid(name, value)?));
        }
        if !lines.iter().any(|(name, _)| name == "Accept") {
            lines.push(("Accept".into(), "*/*".to_owned()));
        } else if first(&lines, "Accept").is_some_and(str::is_empty) {
            lines.retain(|(name, _)| name != "Accept");
        }
        let host = first(&lines, "Host")
            .filter(|host| !host.is_empty())
            .map(str::to_owned);
        let user_agent = first(&lines, "User-Agent").unwrap_or(USER_AGENT);
        let user_agent = Some(user_agent.to_owned()).filter(|agent| !agent.is_empty());
        let closes = says(&lines, "close");
        let switches =
            says(&lines, "upgrade") && first(&lines, "Upgrade").is_some_and(|to| !to.is_empty());
        // Not for the manifest to say, or said elsewhere.
        // Upstream: Go src/net/http/request.go, reqWriteExcludeHeader.
        lines.retain(|(name, _)| {
            !matches!(
                &**name,
                "Host" | "User-Agent" | "Content-Length" | "Transfer-Encoding" | "Trailer"
            )
        });
        lines.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(Self {
            host,
            user_agent,
            lines,
            adds_close: !closes && !switches,
        })
    }

    /// The Host header of the manifest.
    pub(super) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Says where a redirect came from, unless the manifest has a Referer of its own.
    ///
    /// Upstream: Go src/net/http/client.go, refererForURL.
    /// Shown by: c4_302_to_a_good_path.
    pub(super) fn set_referer(&mut self, own: Option<&str>, from: &Url, to: &Url) {
        self.lines.retain(|(name, _)| name != "Referer");
        let referer = match own {
            Some(own) => own.to_owned(),
            None if from.scheme == "https" && to.scheme == "http" => return,
            None => from.text(),
        };
        let at = self.lines.partition_point(|(name, _)| &**name < "Referer");
        self.lines.insert(at, ("Referer".into(), referer));
    }

    /// The manifest's Referer, to be asked before the first redirect.
    pub(super) fn referer(&self) -> Option<String> {
        first(&self.lines, "Referer")
            .filter(|referer| !referer.is_empty())
            .map(str::to_owned)
    }

    /// The whole request for `url`, with `host` in place of the URL's if there is one.
    ///
    /// Errors: the target has a control character; Go's text.
    ///
    /// Upstream: Go src/net/http/request.go, Request.write; the order of the lines is Go's too.
    /// Shown by: without_headers_it_is_what_the_kubelet_sends.
    pub(super) fn write(&self, url: &Url, host: Option<&str>) -> Result<Vec<u8>, String> {
        let target = url.request_target();
        if target.bytes().any(|byte| byte.is_ascii_control()) {
            return Err("net/http: can't write control character in Request.URL".to_owned());
        }
        let mut request = String::with_capacity(256);
        request.extend([
            "GET ",
            &target,
            " HTTP/1.1\r\nHost: ",
            &host_header(host.unwrap_or(&url.authority)),
        ]);
        request.push_str("\r\n");
        if let Some(agent) = &self.user_agent {
            request.extend(["User-Agent: ", agent, "\r\n"]);
        }
        for (name, value) in &self.lines {
            request.extend([name, ": ", value, "\r\n"]);
        }
        request.push_str(if self.adds_close {
            "Connection: close\r\n\r\n"
        } else {
            "\r\n"
        });
        Ok(request.into_bytes())
    }
}

/// A name as Go writes it: `x-some-header` becomes `X-Some-Header`.
///
/// Upstream: Go src/net/textproto/reader.go, CanonicalMIMEHeaderKey.
/// Shown by: what_must_not_go_on_the_wire_is_refused.
fn canonical(name: &str) -> Result<Cow<'static, str>, String> {
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!(
            "net/http: invalid header field name {}",
            go::quote(name.as_bytes())
        ));
    }
    let mut upper = true;
    let mut letter = |c: char| {
        let written = if upper {
            c.to_ascii_uppercase()
        } else {
            c.to_ascii_lowercase()
        };
        upper = c == '-';
        written
    };
    Ok(name.chars().map(&mut letter).collect::<String>().into())
}

fn valid(name: &str, value: &str) -> Result<String, String> {
    if value
        .bytes()
        .any(|byte| byte.is_ascii_control() && byte != b'\t')
    {
        return Err(format!(
            "net/http: invalid header field value for {}",
            go::quote(canonical(name)?.as_bytes())
        ));
    }
    Ok(value.trim_matches([' ', '\t']).to_owned())
}

/// Whether `byte` may stand in a header's name.
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

fn first<'a>(lines: &'a [(Cow<'static, str>, String)], name: &str) -> Option<&'a str> {
    lines
        .iter()
        .find(|(of, _)| of == name)
        .map(|(_, value)| value.as_str())
}

/// Whether a Connection header has `token`.
fn says(lines: &[(Cow<'static, str>, String)], token: &str) -> bool {
    let values = lines
        .iter()
        .filter(|(name, _)| name == "Connection")
        .map(|(_, value)| value);
    values
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// A host as it may stand in a Host header: empty if it may not stand there at all, without a zone.
///
/// Upstream: Go src/net/http/request.go, Request.write and removeZone; golang.org/x/net/http/httpguts,
/// ValidHostHeader.
/// Differs: names beyond ASCII are not put into Punycode but left out.
/// Shown by: a_zone_stays_at_home.
fn host_header(host: &str) -> Cow<'_, str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(&byte);
    if !host.bytes().all(allowed) {
        return "".into();
    }
    match (host.find('%'), host.rfind(']')) {
        (Some(zone), Some(end)) if host.starts_with('[') && zone < end => {
            format!("{}{}", &host[..zone], &host[end..]).into()
        }
        _ => host.into(),
    }
}

#[cfg(test)]
mod tests {
    use probelet_model::probe::Scheme;

    use super::*;

    fn request(headers: &[(&str, &str)]) -> Result<String, String> {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let fields = Fields::new(&headers)?;
        let url = Url::for_probe(Scheme::Http, "10.0.0.1", 8080, "/x?y=z")?;
        String::from_utf8(fields.write(&url, fields.host())?).map_err(|error| error.to_string())
    }

    #[test]
    fn without_headers_it_is_what_the_kubelet_sends() {
        let expected = "GET /x?y=z HTTP/1.1\r\nHost: 10.0.0.1:8080\r\nUser-Agent: kube-probe/1.35\r\nAccept: */*\r\n\
                        Connection: close\r\n\r\n";
        assert_eq!(request(&[]).unwrap(), expected);
    }

    #[test]
    fn headers_are_sorted_and_repeated_names_kept_in_order() {
        let sent = request(&[
            ("x-b", "2"),
            ("X-A", " 1 "),
            ("X-B", "1"),
            ("accept-encoding", "gzip"),
        ])
        .unwrap();
        let lines: Vec<_> = sent.split("\r\n").skip(3).collect();
        assert_eq!(
            lines,
            [
                "Accept: */*",
                "Accept-Encoding: gzip",
                "X-A: 1",
                "X-B: 2",
                "X-B: 1",
                "Connection: close",
                "",
                ""
            ]
        );
    }

    #[test]
    fn some_headers_are_not_the_manifests_to_set() {
        let sent = request(&[
            ("Host", "example.com"),
            ("Content-Length", "5"),
            ("Transfer-Encoding", "chunked"),
        ]);
        let expected = "GET /x?y=z HTTP/1.1\r\nHost: example.com\r\nUser-Agent: kube-probe/1.35\r\nAccept: */*\r\n\
                        Connection: close\r\n\r\n";
        assert_eq!(sent.unwrap(), expected);
        assert!(
            request(&[("Host", "a b")])
                .unwrap()
                .contains("\r\nHost: \r\n")
        );
        assert!(
            request(&[("Host", "")])
                .unwrap()
                .contains("\r\nHost: 10.0.0.1:8080\r\n")
        );
        assert_eq!(
            request(&[("Connection", "close")])
                .unwrap()
                .matches("Connection: close")
                .count(),
            1
        );
        assert!(
            request(&[("Connection", "keep-alive")])
                .unwrap()
                .ends_with("keep-alive\r\nConnection: close\r\n\r\n")
        );
    }

    #[test]
    fn what_must_not_go_on_the_wire_is_refused() {
        assert_eq!(
            request(&[("a b", "")]).unwrap_err(),
            r#"net/http: invalid header field name "a b""#
        );
        let smuggled = request(&[("x-a", "1\r\nX-B: 2")]);
        assert_eq!(
            smuggled.unwrap_err(),
            r#"net/http: invalid header field value for "X-A""#
        );
    }

    #[test]
    fn a_zone_stays_at_home() {
        assert_eq!(host_header("[fe80::1%eth0]:80"), "[fe80::1]:80");
    }
}
