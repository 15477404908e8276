//! What names may look like. Each function answers what is wrong with a text: nothing, if it is right.
//!
//! Upstream: apimachinery pkg/util/validation/validation.go and pkg/api/validate/content.
//! Shown by: names_are_right_or_wrong_as_upstream_has_it, what_is_wrong_is_said_in_upstreams_words,
//! names_are_as_long_as_they_may_be.

/// A label of RFC 1123: at most 63 of `a` to `z`, digits and `-`, which neither begins nor ends it.
///
/// Upstream: IsDNS1123Label.
/// Shown by: names_are_right_or_wrong_as_upstream_has_it, what_is_wrong_is_said_in_upstreams_words.
pub(super) fn dns_label(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 63, "characters");
    if !is_dns_label(text) {
        wrong.push(if is_dns_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
             start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for \
             validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
                .to_owned()
        });
    }
    wrong
}

/// A subdomain of RFC 1123: such labels with dots between them, 253 characters at most.
///
/// Upstream: IsDNS1123Subdomain.
/// Shown by: names_are_right_or_wrong_as_upstream_has_it, names_and_labels_are_validated.
pub(super) fn dns_subdomain(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 253, "characters");
    if !is_dns_subdomain(text) {
        wrong.push(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
             and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
             validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        );
    }
    wrong
}

/// A domain to search in: a subdomain, whose labels may have `_` in them, also at their beginning.
///
/// Upstream: IsDNS1123SubdomainWithUnderscore.
/// Shown by: names_are_right_or_wrong_as_upstream_has_it, what_a_resolver_takes_is_limited.
pub(super) fn search_domain(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 253, "characters");
    if !text.split('.').all(is_search_label) {
        wrong.push(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or \
             '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
             validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        );
    }
    wrong
}

/// A label of RFC 1035, which begins with a letter.
///
/// Upstream: IsDNS1035Label.
/// Shown by: names_are_right_or_wrong_as_upstream_has_it, what_is_wrong_is_said_in_upstreams_words.
pub(super) fn dns_1035_label(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 63, "characters");
    if !is_dns_label(text) || !text.starts_with(|first: char| first.is_ascii_lowercase()) {
        wrong.push(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
             alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', \
             regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
                .to_owned(),
        );
    }
    wrong
}

/// The key of a label or an annotation: a name, and perhaps a subdomain before it.
///
/// Upstream: IsLabelKey, formerly IsQualifiedName.
/// Shown by: names_are_right_or_wrong_as_upstream_has_it, what_is_wrong_is_said_in_upstreams_words.
pub(crate) fn label_key(text: &str) -> Vec<String> {
    const PART: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with \
                        an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
                        validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let mut wrong = Vec::new();
    let name = match text.split_once('/') {
        None => text,
        Some((_, name)) if name.contains('/') => {
            return vec![format!(
                "a valid label key {PART} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')"
            )];
        }
        Some(("", name)) => {
            wrong.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            wrong.extend(
                dns_subdomain(prefix)
                    .into_iter()
                    .map(|problem| format!("prefix part {problem}")),
            );
            name
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    }
    wrong.extend(
        too_long(name, 63, "bytes")
            .into_iter()
            .map(|problem| format!("name part {problem}")),
    );
    if !is_label_name(name) {
        wrong.push(format!("name part {PART}"));
    }
    wrong
}

/// The value of a label, which may be empty.
///
/// Upstream: IsLabelValue.
/// Shown by: names_are_right_or_wrong_as_upstream_has_it, what_is_wrong_is_said_in_upstreams_words.
pub(crate) fn label_value(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 63, "bytes");
    if !text.is_empty() && !is_label_name(text) {
        wrong.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
             and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or \
             '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                .to_owned(),
        );
    }
    wrong
}

/// The name of a port: 15 characters at most, and at least one letter.
///
/// Upstream: IsValidPortName.
/// Shown by: names_are_right_or_wrong_as_upstream_has_it, a_service_is_validated.
pub(super) fn port_name(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 15, "characters");
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || !text.bytes().all(allowed) {
        wrong.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// The name of a variable: printable ASCII without `=`.
///
/// Upstream: IsRelaxedEnvVarName.
/// Shown by: names_are_right_or_wrong_as_upstream_has_it, containers_are_validated.
pub(super) fn env_name(text: &str) -> Vec<String> {
    if text
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && byte != b'=')
    {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// The key of a ConfigMap or Secret, which is also a file's name.
///
/// Upstream: IsConfigMapKey.
/// Shown by: names_are_right_or_wrong_as_upstream_has_it, environments_are_validated.
pub(super) fn config_key(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 253, "bytes");
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(allowed) {
        wrong.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
             'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .to_owned(),
        );
    }
    if text == "." {
        wrong.push("must not be '.'".to_owned());
    } else if text == ".." {
        wrong.push("must not be '..'".to_owned());
    } else if text.starts_with("..") {
        wrong.push("must not start with '..'".to_owned());
    }
    wrong
}

/// The name of a header of an httpGet: letters, digits and `-`.
///
/// Upstream: IsHTTPHeaderName.
/// Shown by: names_are_right_or_wrong_as_upstream_has_it, probes_are_validated.
pub(super) fn header_name(text: &str) -> Vec<String> {
    if !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return Vec::new();
    }
    vec![
        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used \
         for validation is '[-A-Za-z0-9]+')"
            .to_owned(),
    ]
}

fn too_long(text: &str, limit: usize, unit: &str) -> Vec<String> {
    if text.len() > limit {
        vec![format!("must be no more than {limit} {unit}")]
    } else {
        Vec::new()
    }
}

/// The form alone: the length is told apart.
fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_search_label(text: &str) -> bool {
    let text = text.strip_prefix('_').unwrap_or(text);
    is_dns_label(&text.replace('_', "-"))
}

fn is_dns_subdomain(text: &str) -> bool {
    text.split('.').all(is_dns_label)
}

fn is_label_name(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    edge(text.bytes().next())
        && edge(text.bytes().last())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_right_or_wrong_as_upstream_has_it() {
        type Check = fn(&str) -> Vec<String>;
        let long = "a".repeat(64);
        let tables: [(Check, &[&str], &[&str]); 9] = [
            (
                dns_label,
                &["a", "a-b", "0"],
                &["", "-a", "a-", "A", "a.b", "a_b", &long],
            ),
            (
                dns_subdomain,
                &["a", "a.b-c.0"],
                &["", ".", "a..b", "a.", "A", "a.-b"],
            ),
            (
                search_domain,
                &["a", "_a.b_c.0", "a._b-_c"],
                &["", "a.", "__a", "a_", "-a", "_", "A", "a..b"],
            ),
            (
                dns_1035_label,
                &["a", "a0-b"],
                &["", "0a", "a-", "A", "a.b", &long],
            ),
            (
                label_key,
                &["a", "A_b.c-d", "x.y/z"],
                &["", "/a", "a/", "a/b/c", "A.B/c", "-a", &long],
            ),
            (
                label_value,
                &["", "a", "A_b.c"],
                &["-a", "a-", "a b", &long],
            ),
            (
                port_name,
                &["a", "http-2"],
                &["", "1", "A", "a--b", "-a", "a-", "0123456789abcdef"],
            ),
            (env_name, &["A", "a b", "0"], &["A=B", "é", "a\tb"]),
            (header_name, &["X-A"], &["", "X A", "X:A"]),
        ];
        for (check, right, wrong) in tables {
            for text in right {
                assert_eq!(check(text), Vec::<String>::new(), "{text:?}");
            }
            for text in wrong {
                assert_ne!(check(text), Vec::<String>::new(), "{text:?}");
            }
        }
        assert_eq!(dns_label("a.b"), ["must not contain dots"]);
        assert_eq!(dns_label(&long), ["must be no more than 63 characters"]);
        assert_eq!(
            port_name("0-"),
            [
                "must contain at least one letter (a-z)",
                "must not begin or end with a hyphen"
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_upstreams_words() {
        let label_name = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                          alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
                          validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
        assert_eq!(
            dns_label("A"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                 start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for \
                 validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(
            dns_1035_label("0"),
            [
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                 alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', \
                 regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(
            label_value("-"),
            [
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                 and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or \
                 '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            ]
        );
        assert_eq!(
            label_key("a/b/c"),
            [format!(
                "a valid label key {label_name} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')"
            )]
        );
        assert_eq!(
            label_key("/"),
            [
                "prefix part must be non-empty",
                "name part must be non-empty",
                &format!("name part {label_name}"),
            ]
        );
        assert!(label_key("A/b")[0].starts_with("prefix part a lowercase RFC 1123 subdomain must"));
    }

    #[test]
    fn names_are_as_long_as_they_may_be() {
        type Check = fn(&str) -> Vec<String>;
        let tables: [(Check, usize, &str); 6] = [
            (dns_label, 63, "must be no more than 63 characters"),
            (dns_subdomain, 253, "must be no more than 253 characters"),
            (dns_1035_label, 63, "must be no more than 63 characters"),
            (label_key, 63, "name part must be no more than 63 bytes"),
            (label_value, 63, "must be no more than 63 bytes"),
            (port_name, 15, "must be no more than 15 characters"),
        ];
        for (check, limit, expected) in tables {
            assert_eq!(check(&"a".repeat(limit)), Vec::<String>::new(), "{limit}");
            assert_eq!(check(&"a".repeat(limit + 1)), [expected]);
        }
    }
}
