//! The SARIF log against what the standard asks of one.

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{POD, check_in, file};

const LEVELS: [&str; 4] = ["none", "note", "warning", "error"];

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("{pointer} is no text in {value:#}"))
}

/// Upstream: SARIF 2.1.0, sections 3.13, 3.14, 3.18, 3.19, 3.27, 3.29, 3.30 and 3.49.
#[test]
fn a_log_has_what_the_standard_requires() {
    let dir = TempDir::new().unwrap();
    file(&dir, "a b/web.yaml", POD);
    file(&dir, "a b/wrong.yaml", &POD.replace("port: 80", "port: 0"));
    let said = check_in(dir.path(), &["-f", "a b", "-f", "none", "-o", "sarif"], "");
    assert_eq!(said.code, Some(2));
    let log = said.json();
    assert_eq!(text(&log, "/version"), "2.1.0");
    let runs = log["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    let run = &runs[0];
    assert_eq!(text(run, "/columnKind"), "unicodeCodePoints");
    assert!(!text(run, "/tool/driver/name").is_empty());
    let rules = run
        .pointer("/tool/driver/rules")
        .and_then(Value::as_array)
        .unwrap();
    for rule in rules {
        for pointer in [
            "/id",
            "/shortDescription/text",
            "/fullDescription/text",
            "/help/text",
        ] {
            assert!(!text(rule, pointer).is_empty());
        }
        assert!(LEVELS.contains(&text(rule, "/defaultConfiguration/level")));
    }
    let results = run["results"].as_array().unwrap();
    for result in results {
        assert!(!text(result, "/message/text").is_empty());
        assert!(LEVELS.contains(&text(result, "/level")));
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        let uri = text(result, "/locations/0/physicalLocation/artifactLocation/uri");
        assert!(!uri.contains(' ') && !uri.contains('\\'), "{uri}");
        let region = &result["locations"][0]["physicalLocation"]["region"];
        if !region.is_null() {
            assert!(region["startLine"].as_u64().unwrap() >= 1);
            assert!(
                region["endColumn"].as_u64().unwrap() > region["startColumn"].as_u64().unwrap()
            );
        }
    }
    let seen: Vec<_> = results
        .iter()
        .map(|result| {
            let place = &result["locations"][0]["physicalLocation"];
            (
                text(result, "/ruleId"),
                text(place, "/artifactLocation/uri"),
                place["region"]["startLine"].as_u64(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("invalid", "a%20b/wrong.yaml", Some(10)),
            ("invalid", "none", None),
            ("liveness-tcp-only", "a%20b/web.yaml", Some(10)),
            ("probe-timeout-exceeds-period", "a%20b/web.yaml", Some(12)),
        ]
    );
}
