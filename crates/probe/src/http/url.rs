//! URLs as Go's net/url reads, joins and writes them, as far as a probe meets them.
//!
//! Every part is kept in the escaped form in which it goes on the wire or into a text.

use probelet_model::probe::Scheme;

use crate::go;
use crate::http::escape::{Part, escape, unfit_for_host};
use crate::http::reference::Reference;

/// Where one hop of an attempt goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// Lower case; only a redirect can make it anything but `http` or `https`.
    pub(super) scheme: String,
    /// `host`, `host:port` or `[v6]:port`.
    pub(super) authority: String,
    /// Escaped; empty or beginning with `/`.
    pub(super) path: String,
    /// In place of a path, from a reference like `scheme:rest`.
    pub(super) opaque: Option<String>,
    /// Without the `?`.
    pub(super) query: Option<String>,
    /// Without the `#`; escaped.
    pub(super) fragment: Option<String>,
}

impl Url {
    /// The URL of an httpGet. `path` is a URL reference of which scheme and host do not count; if it is
    /// none, it is a path as it stands.
    ///
    /// Errors: `host` is not one; Go's text.
    ///
    /// Upstream: pkg/probe/http/request.go, formatURL.
    /// Shown by: a_path_is_read_as_a_reference, hosts_are_bracketed_and_checked.
    pub(super) fn for_probe(
        scheme: Scheme,
        host: &str,
        port: u16,
        path: &str,
    ) -> Result<Self, String> {
        let reference = Reference::parse(path).unwrap_or_else(|_| Reference::from_raw_path(path));
        let scheme = match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let authority = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let mut url = Self {
            scheme: scheme.to_owned(),
            authority,
            path: reference.path,
            opaque: reference.opaque,
            query: reference.query,
            fragment: reference.fragment,
        };
        if url.opaque.is_some() {
            url.authority.clear();
        } else if !url.path.is_empty() && !url.path.starts_with('/') {
            url.path.insert(0, '/');
        }
        match unfit_for_host(host) {
            Some(byte) => {
                let bad = escape(&[byte], Part::Host);
                let shown = url.text().replacen(char::from(byte), &bad, 1);
                Err(format!(
                    "parse {}: invalid URL escape {}",
                    go::quote(shown.as_bytes()),
                    go::quote(bad.as_bytes())
                ))
            }
            None => Ok(url),
        }
    }

    /// The URL that `location`, read relative to this one, means. The flag says whether it was absolute.
    ///
    /// Errors: it is no URL; Go's text.
    ///
    /// Upstream: Go src/net/url/url.go, URL.Parse and ResolveReference.
    /// Differs: a user name in it is dropped rather than sent as an Authorization header.
    /// Shown by: locations_are_joined_as_rfc_3986_says.
    pub(super) fn join(&self, location: &str) -> Result<(Self, bool), String> {
        let reference = Reference::parse(location)?;
        let absolute = !reference.scheme.is_empty();
        let scheme = if absolute {
            reference.scheme
        } else {
            self.scheme.clone()
        };
        let Reference {
            authority,
            mut path,
            opaque,
            mut query,
            mut fragment,
            ..
        } = reference;
        let authority = if absolute || authority.is_some() {
            path = merge(&path, "");
            authority.unwrap_or_default()
        } else {
            if path.is_empty() && query.is_none() {
                query.clone_from(&self.query);
                fragment = fragment.or_else(|| self.fragment.clone());
            }
            path = merge(&self.path, &path);
            self.authority.clone()
        };
        Ok((
            Self {
                scheme,
                authority,
                path,
                opaque,
                query,
                fragment,
            },
            absolute,
        ))
    }

    /// The whole URL, as texts show it.
    ///
    /// Upstream: Go src/net/url/url.go, URL.String.
    /// Shown by: locations_are_joined_as_rfc_3986_says.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}:", self.scheme);
        match &self.opaque {
            Some(opaque) => text.push_str(opaque),
            None => {
                text.push_str("//");
                text.push_str(&escape(self.authority.as_bytes(), Part::Host));
                text.push_str(&self.path);
            }
        }
        for (mark, part) in [('?', &self.query), ('#', &self.fragment)] {
            if let Some(part) = part {
                text.push(mark);
                text.push_str(part);
            }
        }
        text
    }

    /// What stands of a URL in the request line.
    ///
    /// Upstream: Go src/net/url/url.go, URL.RequestURI.
    /// Shown by: a_path_is_read_as_a_reference.
    pub(super) fn request_target(&self) -> String {
        let path = if self.path.is_empty() {
            "/"
        } else {
            &self.path
        };
        match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }

    /// The host without port and brackets: what decides whether a redirect is followed.
    pub(super) fn hostname(&self) -> &str {
        self.split().0
    }

    /// The port as written, else the scheme's.
    pub(super) fn port(&self) -> &str {
        match self.split().1 {
            "" if self.scheme == "https" => "443",
            "" => "80",
            port => port,
        }
    }

    fn split(&self) -> (&str, &str) {
        let (host, port) = match self.authority.rfind(':') {
            Some(colon)
                if self.authority[colon + 1..]
                    .bytes()
                    .all(|byte| byte.is_ascii_digit()) =>
            {
                (&self.authority[..colon], &self.authority[colon + 1..])
            }
            _ => (self.authority.as_str(), ""),
        };
        (
            host.strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'))
                .unwrap_or(host),
            port,
        )
    }
}

/// `reference` relative to `base`, dot segments removed.
///
/// Upstream: Go src/net/url/url.go, resolvePath; RFC 3986, 5.2.
/// Shown by: locations_are_joined_as_rfc_3986_says.
fn merge(base: &str, reference: &str) -> String {
    let full = match reference {
        "" => base.to_owned(),
        _ if reference.starts_with('/') => reference.to_owned(),
        _ => format!(
            "{}{reference}",
            &base[..base.rfind('/').map_or(0, |slash| slash + 1)]
        ),
    };
    if full.is_empty() {
        return full;
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_dots = false;
    for segment in full.strip_prefix('/').unwrap_or(&full).split('/') {
        ends_in_dots = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    if ends_in_dots {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(path: &str) -> Url {
        Url::for_probe(Scheme::Http, "10.0.0.1", 80, path).unwrap()
    }

    #[test]
    fn a_path_is_read_as_a_reference() {
        for (path, target, text) in [
            ("/", "/", "http://10.0.0.1:80/"),
            ("", "/", "http://10.0.0.1:80"),
            ("health", "/health", "http://10.0.0.1:80/health"),
            ("?a=b", "/?a=b", "http://10.0.0.1:80?a=b"),
            (
                "/x?a=b&c=d e",
                "/x?a=b&c=d e",
                "http://10.0.0.1:80/x?a=b&c=d e",
            ),
            ("/x?", "/x?", "http://10.0.0.1:80/x?"),
            ("/x#top", "/x", "http://10.0.0.1:80/x#top"),
            ("/a b", "/a%20b", "http://10.0.0.1:80/a%20b"),
            ("/a%2fb", "/a%2fb", "http://10.0.0.1:80/a%2fb"),
            ("/é", "/%C3%A9", "http://10.0.0.1:80/%C3%A9"),
            ("/*", "/*", "http://10.0.0.1:80/*"),
            ("/a[1]^", "/a%5B1%5D%5E", "http://10.0.0.1:80/a%5B1%5D%5E"),
            // Only the path of a whole URL counts.
            ("https://example.com/x?y", "/x?y", "http://10.0.0.1:80/x?y"),
            ("//example.com/x", "/x", "http://10.0.0.1:80/x"),
            // No reference at all: a path as it stands.
            ("/%zz?x", "/%25zz%3Fx", "http://10.0.0.1:80/%25zz%3Fx"),
            ("1:2", "/1:2", "http://10.0.0.1:80/1:2"),
            ("/a\tb", "/a%09b", "http://10.0.0.1:80/a%09b"),
        ] {
            let url = probe(path);
            assert_eq!(
                (url.request_target().as_str(), url.text().as_str()),
                (target, text),
                "{path:?}"
            );
        }
    }

    #[test]
    fn hosts_are_bracketed_and_checked() {
        let url = Url::for_probe(Scheme::Https, "fe80::1", 443, "/").unwrap();
        assert_eq!(
            (url.text().as_str(), url.hostname(), url.port()),
            ("https://[fe80::1]:443/", "fe80::1", "443")
        );
        let error = Url::for_probe(Scheme::Http, "a b", 80, "/").unwrap_err();
        assert_eq!(
            error,
            r#"parse "http://a%20b:80/": invalid URL escape "%20""#
        );
        assert_eq!(probe("localhost:8080/x").text(), "http:8080/x");
    }

    #[test]
    fn locations_are_joined_as_rfc_3986_says() {
        let base = Url {
            authority: "a".into(),
            ..probe("/b/c/d?q")
        };
        // From RFC 3986, 5.4.
        for (location, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d?q#s"),
            ("g#s", "http://a/b/c/g#s"),
            ("", "http://a/b/c/d?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/../h", "http://a/b/c/h"),
            ("https://x:8443/y", "https://x:8443/y"),
        ] {
            assert_eq!(
                base.join(location).unwrap().0.text(),
                expected,
                "{location:?}"
            );
        }
    }

    #[test]
    fn a_bad_location_is_named() {
        let base = probe("/");
        for (location, expected) in [
            (":x", r#"parse ":x": missing protocol scheme"#),
            ("/%zz", r#"parse "/%zz": invalid URL escape "%zz""#),
            (
                "http://h:port/",
                r#"parse "http://h:port/": invalid port ":port" after host"#,
            ),
            (
                "http://[::1/",
                r#"parse "http://[::1/": missing ']' in host"#,
            ),
            (
                "a:b:c/\u{1}",
                "parse \"a:b:c/\\x01\": net/url: invalid control character in URL",
            ),
        ] {
            assert_eq!(base.join(location).unwrap_err(), expected);
        }
    }
}
