//! docs/upstream.md: each behaviour, where upstream does it, where we do, and the test that shows it.
//!
//! The page is built from the documentation of the items: an `Upstream:` paragraph names the source by file
//! and function, a `Shown by:` paragraph the tests, by name; the first sentence is the behaviour. An item
//! with an upstream and without a sentence or a test is an error, as is a test that does not exist. A second
//! table has the scenario vectors: a test whose name begins with the number of one shows it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::bail;

use crate::scan::{self, Item, Tests};

/// Where the page is, from the root of the repository.
pub(crate) const PAGE: &str = "docs/upstream.md";

/// The scenario vectors, each letter with its numbers.
const VECTORS: [(char, &str, &[u32]); 6] = [
    (
        'a',
        "One probe, call by call",
        &[
            1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 17, 18, 20, 21, 22, 23, 24, 25, 26, 27,
            28,
        ],
    ),
    ('b', "Timing", &[1, 2, 4, 5, 6, 7, 8, 9, 10, 11]),
    (
        'c',
        "Handlers",
        &[
            1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 18, 20, 21, 22, 23, 24, 25,
        ],
    ),
    (
        'd',
        "Kill, restart, back-off",
        &[
            1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 25, 26, 27, 28,
        ],
    ),
    (
        'e',
        "Status",
        &[
            1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 17, 18, 19, 21, 22, 23, 24, 25,
        ],
    ),
    (
        'f',
        "Endpoints",
        &[1, 2, 4, 5, 7, 8, 10, 11, 12, 13, 14, 15],
    ),
];

const HEAD: &str = "\
# What comes from where

Built by `cargo xtask upstream` from the `Upstream:` and `Shown by:` lines of the sources; a test compares the
two. Kubernetes is meant as of 1.35; `kubelet`, `apimachinery` and the like name the part, the rest is the file
in kubernetes/kubernetes and the function. Where Probelet differs on purpose, see
[differences.md](differences.md).
";

/// The page as the sources have it.
///
/// # Errors
/// An item without a test, a test that is not there, a vector that no test shows.
pub(crate) fn page(root: &Path) -> anyhow::Result<String> {
    let (items, tests) = scan::sources(root)?;
    let mut wrong = Vec::new();
    let mut page = HEAD.to_owned();
    for (title, group) in by_crate(&items) {
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "\n## {title}\n\n| Behaviour | Upstream | Here | Shown by |\n|---|---|---|---|\n"
        );
        for item in group {
            let shown = links(item, &tests, &mut wrong);
            let here = if item.name.is_empty() {
                format!("[`{0}`](../{0})", item.file)
            } else {
                format!(
                    "[`{}`](../{}) `{}`",
                    short(&item.file),
                    item.file,
                    item.name
                )
            };
            let upstream = in_full(item, &items);
            let behaviour = without_doc_links(&item.behaviour);
            let row =
                [&*behaviour, &*upstream, &*here, &*shown].map(|cell| cell.replace('|', "\\|"));
            let _ = writeln!(page, "| {} |", row.join(" | "));
        }
    }
    vectors(&mut page, &tests, &mut wrong);
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(page)
}

/// Links between items are nothing outside of rustdoc.
fn without_doc_links(text: &str) -> String {
    text.replace("[`", "`").replace("`]", "`")
}

/// Where only functions are named, the file is that of the documentation of the module they stand in.
fn in_full(item: &Item, items: &[Item]) -> String {
    let mut module = item.file.trim_end_matches(".rs");
    while !item.upstream.contains('/') && !module.is_empty() {
        let file = format!("{module}.rs");
        let module_says = items
            .iter()
            .find(|other| other.name.is_empty() && other.file == file);
        if let Some(source) = module_says.and_then(|other| other.upstream.split(',').next()) {
            return format!("{source}, {}", item.upstream);
        }
        module = module.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    item.upstream.clone()
}

fn by_crate(items: &[Item]) -> BTreeMap<&str, Vec<&Item>> {
    let mut groups: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
    for item in items {
        let name = item.file.split('/').nth(1).unwrap_or_default();
        groups.entry(name).or_default().push(item);
    }
    groups
}

/// The file without what every file of its crate begins with.
fn short(file: &str) -> &str {
    file.split_once("/src/").map_or(file, |(_, rest)| rest)
}

fn links(item: &Item, tests: &Tests, wrong: &mut Vec<String>) -> String {
    let place = format!("{} {}", item.file, item.name);
    if item.behaviour.is_empty() {
        wrong.push(format!(
            "{place}: an Upstream: without a sentence before it"
        ));
    }
    if item.shown_by.is_empty() {
        wrong.push(format!("{place}: an Upstream: without a Shown by:"));
    }
    let of_crate = item.file.split("/src/").next().unwrap_or_default();
    let mut links = Vec::new();
    for name in &item.shown_by {
        let files = tests.get(name).map(Vec::as_slice).unwrap_or_default();
        let near = files.iter().find(|file| file.starts_with(of_crate));
        match (near, files) {
            (Some(file), _) | (None, [file]) => links.push(format!("[`{name}`](../{file})")),
            (None, []) => wrong.push(format!("{place}: no test is called {name}")),
            (None, _) => wrong.push(format!("{place}: {name} is the name of several tests")),
        }
    }
    links.join(", ")
}

fn vectors(page: &mut String, tests: &Tests, wrong: &mut Vec<String>) {
    let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, files) in tests {
        if let Some((vector, _)) = name.split_once('_') {
            let links = files.iter().map(|file| format!("[`{name}`](../{file})"));
            shown.entry(vector.to_owned()).or_default().extend(links);
        }
    }
    page.push_str("\n## Scenario vectors\n");
    for (letter, title, numbers) in VECTORS {
        let _ = write!(
            page,
            "\n### {}: {title}\n\n| Vector | Shown by |\n|---|---|\n",
            letter.to_ascii_uppercase()
        );
        for number in numbers {
            let vector = format!("{letter}{number}");
            match shown.get(&vector) {
                Some(links) => {
                    let _ = writeln!(page, "| {} | {} |", vector.to_uppercase(), links.join(", "));
                }
                None => wrong.push(format!("no test shows {}", vector.to_uppercase())),
            }
        }
    }
}
