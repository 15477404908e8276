//! A report as SARIF 2.1.0, which code hosts show beside the changed lines.
//!
//! Every lint is a rule, and so is `invalid`: what an API server would refuse. Columns count characters.

use probelet_model::yaml::Position;
use serde_json::{Value, json};

use crate::lint::{LINTS, Lint, Severity};
use crate::report::Report;
use crate::span::Lines;

/// The rule of what is no lint's.
const INVALID: &str = "invalid";

/// The report as one SARIF log; `version` is this program's.
#[must_use]
pub fn value(report: &Report, version: &str) -> Value {
    let lines = Lines::of(&report.texts);
    let invalid = report.invalid.iter().map(|diagnostic| {
        let path = diagnostic.error.path.to_string();
        json!({
            "ruleId": INVALID,
            "ruleIndex": 0,
            "level": "error",
            "message": { "text": diagnostic.error.to_string() },
            "locations": [location(&lines, &diagnostic.source, diagnostic.position, &path)],
        })
    });
    let findings = report.findings.iter().map(|finding| {
        let path = format!("{}: {}", finding.object, finding.path);
        let index = LINTS.iter().position(|lint| *lint == finding.lint);
        json!({
            "ruleId": finding.lint.id,
            "ruleIndex": index.map_or(-1, |index| i64::try_from(index + 1).unwrap_or(-1)),
            "level": level(finding.lint.severity),
            "message": { "text": format!("{}. To mend it: {}", finding.message, finding.help) },
            "locations": [location(&lines, &finding.source, Some(finding.position), &path)],
            // The same finding after lines have moved.
            "partialFingerprints": { "field/v1": format!("{} {path}", finding.lint.id) },
        })
    });
    let results: Vec<Value> = invalid.chain(findings).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "probelet check",
                "semanticVersion": version,
                "rules": rules(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rules() -> Vec<Value> {
    let invalid = json!({
        "id": INVALID,
        "shortDescription": { "text": "an API server would refuse this" },
        "fullDescription": { "text": "The object is not valid: the API server of Kubernetes 1.35 refuses it." },
        "help": { "text": "Write what the message asks for." },
        "defaultConfiguration": { "level": "error" },
    });
    std::iter::once(invalid)
        .chain(LINTS.iter().copied().map(rule))
        .collect()
}

fn rule(lint: &Lint) -> Value {
    json!({
        "id": lint.id,
        "shortDescription": { "text": lint.what },
        "fullDescription": { "text": lint.why },
        "help": { "text": lint.fix },
        "defaultConfiguration": { "level": level(lint.severity) },
    })
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn location(lines: &Lines<'_>, source: &str, at: Option<Position>, path: &str) -> Value {
    let mut physical = json!({ "artifactLocation": { "uri": uri(source) } });
    if let Some(at) = at {
        let mut region = json!({ "startLine": at.line, "startColumn": at.column });
        if let Some(word) = lines.word(source, at) {
            region["endColumn"] = word.end_column().into();
        }
        physical["region"] = region;
    }
    json!({
        "physicalLocation": physical,
        "logicalLocations": [{ "fullyQualifiedName": path }],
    })
}

/// A path as a URI reference: relative ones stay so, and are relative to where the program ran.
fn uri(path: &str) -> String {
    let mut uri = if path.starts_with('/') {
        "file://".to_owned()
    } else {
        String::new()
    };
    let path = path.strip_prefix("./").unwrap_or(path);
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris() {
        for (path, expected) in [
            ("./a/b.yaml", "a/b.yaml"),
            ("/a b/ü.yaml", "file:///a%20b/%C3%BC.yaml"),
            ("-", "-"),
            ("c:d", "c%3Ad"),
        ] {
            assert_eq!(uri(path), expected);
        }
    }
}
