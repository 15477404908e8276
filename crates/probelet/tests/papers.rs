//! What the papers of the repository name is there.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const PAPERS: [&str; 8] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "docs/differences.md",
    "docs/lints.md",
    "docs/scenarios.md",
    "docs/scenarios/README.md",
    "docs/upstream.md",
];

#[test]
fn every_test_named_by_a_difference_exists() {
    let mut named = 0;
    let rows = differences().into_iter().chain(edges());
    for row in rows {
        let (_, test) = row.rsplit_once(" | ").unwrap();
        for place in quoted(test) {
            let (file, function) = place.split_once("::").unwrap();
            let source = text(file);
            assert!(
                ["(", "<R: Runtime>("]
                    .iter()
                    .any(|rest| source.contains(&format!("fn {function}{rest}"))),
                "{place} is not there"
            );
            named += 1;
        }
        assert!(
            test.starts_with('`') || test == "– |",
            "a test or a dash: {row}"
        );
    }
    assert!(named > 20, "{named}");
}

#[test]
fn every_rough_edge_is_decided() {
    let numbers: Vec<String> = edges()
        .iter()
        .map(|row| row.split(' ').nth(1).unwrap().to_owned())
        .collect();
    let all: Vec<String> = (1..=34).map(|number| number.to_string()).collect();
    assert_eq!(numbers, all);
    for row in edges() {
        let decision = row.split(" | ").nth(2).unwrap();
        assert!(
            ["kept", "mended", "not ours"]
                .iter()
                .any(|word| decision.contains(word)),
            "{row}"
        );
    }
}

#[test]
fn every_marked_difference_has_a_row() {
    let mut rows: BTreeMap<String, usize> = BTreeMap::new();
    for row in differences() {
        let place = quoted(&row).next().unwrap().to_owned();
        assert!(Path::new(ROOT).join(&place).is_file(), "{place}");
        *rows.entry(place).or_default() += 1;
    }
    let mut marked = 0;
    for file in sources(&Path::new(ROOT).join("crates")) {
        if file.starts_with(Path::new(ROOT).join("crates/xtask")) {
            continue; // it reads such marks
        }
        let source = fs::read_to_string(&file).unwrap();
        let marks = source
            .lines()
            .filter(|line| is_mark(line.trim_start()))
            .count();
        let file = file.strip_prefix(ROOT).unwrap().to_str().unwrap();
        let rows = rows.get(file).copied().unwrap_or(0);
        assert!(
            rows >= marks,
            "{file} has {marks} marks, docs/differences.md {rows} rows for it"
        );
        marked += marks;
    }
    assert!(marked > 20, "{marked}");
}

#[test]
fn every_link_leads_somewhere() {
    for paper in PAPERS {
        let directory = Path::new(ROOT).join(paper).parent().unwrap().to_owned();
        let text = text(paper);
        let links = text.split("](").skip(1);
        for link in links.filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            assert!(directory.join(file).exists(), "{paper} links to {link}");
            let is_heading =
                |line: &str| line.starts_with('#') && line.ends_with(&format!(" {anchor}"));
            assert!(
                !file.is_empty() || text.lines().any(is_heading),
                "{paper} links to {link}"
            );
        }
    }
}

#[test]
fn the_readme_has_every_example() {
    let readme = text("README.md");
    let examples = fs::read_dir(Path::new(ROOT).join("examples")).unwrap();
    let mut seen = 0;
    for example in examples {
        let example = example.unwrap();
        if example.path().is_dir() {
            continue;
        }
        let name = example.file_name().into_string().unwrap();
        let manifest = fs::read_to_string(example.path()).unwrap();
        // What needs an image is not for .ci/readme, which runs such lines.
        let words = if manifest.contains("runtimeClassName: host") {
            format!("\ncargo run --release -- up -f examples/{name}\n")
        } else {
            format!("](examples/{name})")
        };
        assert!(readme.contains(&words), "README.md lacks {name}");
        seen += 1;
    }
    assert!(seen >= 5, "{seen}");
}

fn text(file: &str) -> String {
    let path = Path::new(ROOT).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The rows of all tables of docs/differences.md, without their heads.
fn differences() -> Vec<String> {
    let text = text("docs/differences.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(str::to_owned).collect()
}

/// The rows of the table of rough edges, which are numbered.
fn edges() -> Vec<String> {
    let text = text("docs/differences.md");
    let rows = text.lines().filter(|line| {
        let number = line
            .strip_prefix("| ")
            .and_then(|rest| rest.split(' ').next());
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    });
    rows.map(str::to_owned).collect()
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A comment that says where its code differs; a test that mentions one in passing is none.
fn is_mark(line: &str) -> bool {
    line.starts_with("/// Differs:") || line.starts_with("//! Differs:")
}

/// The sources of the crates, without their tests.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "tests") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
