//! What names may look like. Each function answers what is wrong with a text: nothing, if it is right.
//!
//! Upstream: apimachinery pkg/util/validation/validation.go and pkg/api/validate/content.

/// Upstream: IsDNS1123Label.
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

/// Upstream: IsDNS1123Subdomain.
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

/// Upstream: IsDNS1035Label.
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

/// Upstream: IsLabelKey, formerly IsQualifiedName.
pub(super) fn label_key(text: &str) -> Vec<String> {
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

/// Upstream: IsLabelValue.
pub(super) fn label_value(text: &str) -> Vec<String> {
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

/// Upstream: IsValidPortName.
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

/// Upstream: IsRelaxedEnvVarName.
pub(super) fn env_name(text: &str) -> Vec<String> {
    if text
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && byte != b'=')
    {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// Upstream: IsHTTPHeaderName.
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
        let tables: [(Check, &[&str], &[&str]); 8] = [
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
}
