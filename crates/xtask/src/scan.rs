//! What the sources say: documented items with an upstream, and tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// An item whose documentation names its upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// The file, from the root of the repository.
    pub(crate) file: String,
    /// What it is called; empty for the documentation of a file.
    pub(crate) name: String,
    /// The first sentence of its documentation.
    pub(crate) behaviour: String,
    /// Where upstream does it.
    pub(crate) upstream: String,
    /// The names of the tests that show it.
    pub(crate) shown_by: Vec<String>,
}

/// All tests: their names, and the files they are in.
pub(crate) type Tests = BTreeMap<String, Vec<String>>;

/// Reads every source below `crates`.
pub(crate) fn sources(root: &Path) -> anyhow::Result<(Vec<Item>, Tests)> {
    let mut files = Vec::new();
    rust_files(&root.join("crates"), &mut files)?;
    files.sort();
    let (mut all, mut tests) = (Vec::new(), Tests::new());
    for path in files {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let file = path.strip_prefix(root)?.display().to_string();
        let cases = if file.starts_with(CASES) {
            cases_of(&text)
        } else {
            Vec::new()
        };
        for test in tests_of(&text).into_iter().chain(cases) {
            tests.entry(test).or_default().push(file.clone());
        }
        if file.contains("/src/") && !file.contains("/tests") && !file.contains("/xtask/") {
            all.extend(items(&file, &text));
        }
    }
    Ok((all, tests))
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// The names of the functions under a test's attribute, also within `proptest!`.
fn tests_of(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if is_test && let Some(name) = named(line, &["fn"]) {
            names.push(name);
            is_test = false;
        }
    }
    names
}

/// Where the cases are of which the runtimes make their tests.
const CASES: &str = "crates/runtime/src/conformance/";

/// The names of the cases.
fn cases_of(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub async fn "));
    let cases = lines.filter_map(|line| line.split_once("<R: Runtime>("));
    cases.map(|(name, _)| name.to_owned()).collect()
}

/// The documented items of one file that have an upstream.
fn items(file: &str, text: &str) -> Vec<Item> {
    let mut found = Vec::new();
    let mut block: Vec<&str> = Vec::new();
    let mut marker = "";
    let mut in_attribute = false;
    for line in text.lines().map(str::trim_start).chain([""]) {
        let doc = ["///", "//!"]
            .into_iter()
            .find_map(|marker| Some((marker, line.strip_prefix(marker)?)));
        match doc {
            Some((of, words)) => {
                marker = of;
                block.push(words.trim());
            }
            None if block.is_empty() => {}
            None if marker == "///" && (in_attribute || line.starts_with('#')) => {
                in_attribute = !line.ends_with(']');
            }
            None => {
                let name = if marker == "//!" {
                    String::new()
                } else {
                    item_name(line)
                };
                found.extend(item(file, name, &block));
                block.clear();
            }
        }
    }
    found
}

fn item(file: &str, name: String, block: &[&str]) -> Option<Item> {
    let upstream = paragraph(block, "Upstream:")?;
    let shown_by = paragraph(block, "Shown by:").unwrap_or_default();
    let shown_by = shown_by.trim_end_matches('.').split(',');
    Some(Item {
        file: file.to_owned(),
        name,
        behaviour: first_sentence(block),
        upstream: upstream.trim_end_matches('.').to_owned(),
        shown_by: shown_by
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect(),
    })
}

/// The words that begin each paragraph of its own sort.
const HEADS: [&str; 6] = [
    "Upstream:",
    "Shown by:",
    "Differs:",
    "Shape:",
    "Units:",
    "Errors:",
];

/// What stands behind `head`, up to an empty line or to another head.
fn paragraph(block: &[&str], head: &str) -> Option<String> {
    let start = block.iter().position(|line| line.starts_with(head))?;
    let rest = block[start + 1..]
        .iter()
        .take_while(|line| !line.is_empty() && !HEADS.iter().any(|head| line.starts_with(head)));
    let words: Vec<&str> = std::iter::once(block[start][head.len()..].trim())
        .chain(rest.copied())
        .collect();
    Some(words.join(" "))
}

fn first_sentence(block: &[&str]) -> String {
    let lines = block
        .iter()
        .take_while(|line| !line.is_empty() && !HEADS.iter().any(|head| line.starts_with(head)));
    let text = lines.copied().collect::<Vec<_>>().join(" ");
    let end = text.find(". ").unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_owned()
}

/// The name of whatever a documented line declares: an item, a variant or a field.
fn item_name(line: &str) -> String {
    const WORDS: [&str; 8] = [
        "fn", "struct", "enum", "trait", "const", "static", "type", "mod",
    ];
    if let Some((_, implementor)) = line
        .strip_prefix("impl")
        .and_then(|line| line.rsplit_once(" for "))
    {
        return identifier(implementor);
    }
    named(line, &WORDS).unwrap_or_else(|| {
        let line = line
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub(super) ");
        let line = line.trim_start_matches("pub ");
        identifier(line)
    })
}

/// The identifier behind the last of these words that begins the line, after `pub`, `async` and the like.
fn named(line: &str, words: &[&str]) -> Option<String> {
    const BEFORE: [&str; 8] = [
        "pub",
        "pub(crate)",
        "pub(super)",
        "pub(in",
        "const",
        "async",
        "unsafe",
        "extern",
    ];
    let mut parts = line.split_whitespace().peekable();
    while let Some(part) = parts.next() {
        let next = *parts.peek()?;
        if words.contains(&part) && !(part == "const" && next == "fn") {
            return Some(identifier(next));
        }
        if !BEFORE.contains(&part) {
            return None;
        }
    }
    None
}

fn identifier(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_with_what_their_documentation_says() {
        let text = "\
//! A file. With more.
//!
//! Upstream: pkg/a.go, A.

/// Does one thing
/// after another. And more.
///
/// Upstream: pkg/b.go,
/// B.
/// Differs: never.
/// Shown by: one, two.
#[must_use]
pub(crate) const fn thing<T>(t: T) {}

/// No upstream.
fn other() {}

enum E {
    /// A variant.
    /// Upstream: pkg/c.go.
    Variant { field: u8 },
}

/// Its name.
/// Upstream: pkg/d.go.
impl fmt::Display for E {}
";
        let found = items("f.rs", text);
        let seen: Vec<_> = found
            .iter()
            .map(|item| {
                let shown = item.shown_by.join("+");
                [&*item.name, &*item.behaviour, &*item.upstream, &shown].join("|")
            })
            .collect();
        assert_eq!(
            seen,
            [
                "|A file|pkg/a.go, A|",
                "thing|Does one thing after another|pkg/b.go, B|one+two",
                "Variant|A variant|pkg/c.go|",
                "E|Its name|pkg/d.go|",
            ]
        );
    }

    #[test]
    fn tests_are_found_by_their_attribute() {
        let text = "#[test]\nfn a() {}\nfn b() {}\n    #[tokio::test(start_paused = true)]\n    #[ignore]\n    async fn c() {}\n";
        assert_eq!(tests_of(text), ["a", "c"]);
    }

    #[test]
    fn cases_are_found_by_what_they_take() {
        let text =
            "pub async fn a<R: Runtime>(world: World<R>) {}\npub async fn b(x: u8) {}\nfn c() {}\n";
        assert_eq!(cases_of(text), ["a"]);
    }
}
