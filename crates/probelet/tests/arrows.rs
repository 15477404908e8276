//! The dependencies between the crates are those of the table in ARCHITECTURE.md, and no others.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const PREFIX: &str = "probelet-";
/// Nobody may depend on it, and its tests may use what they like.
const BINARY: &str = "probelet";

#[test]
fn no_crate_depends_on_more_than_its_row_allows() {
    let allowed = allowed();
    let manifests = manifests();
    let crates = |of: &BTreeMap<String, _>| of.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(
        crates(&manifests),
        allowed.keys().cloned().collect(),
        "each crate has a row"
    );
    let forbidden: Vec<String> = manifests
        .iter()
        .flat_map(|(name, used)| {
            used.difference(&allowed[name])
                .map(move |other| format!("{name} → {other}"))
        })
        .collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
}

#[test]
fn the_arrows_have_no_circle() {
    let mut left = allowed();
    while !left.is_empty() {
        let free: Vec<String> = left
            .iter()
            .filter(|(_, others)| others.iter().all(|other| !left.contains_key(other)))
            .map(|(name, _)| name.clone())
            .collect();
        assert!(!free.is_empty(), "a circle among {:?}", left.keys());
        left.retain(|name, _| !free.contains(name));
    }
}

/// The rows of the table: a crate, and what it may depend on.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    let table = text
        .lines()
        .skip_while(|line| !line.starts_with("| Crate |"));
    let rows = table.take_while(|line| line.starts_with('|')).skip(2);
    let allowed: BTreeMap<_, _> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            let [_, name, _, others, _] = cells[..] else {
                panic!("a row has three cells: {row}");
            };
            let [name] = &names(name)[..] else {
                panic!("the first cell is one crate: {row}");
            };
            (name.clone(), names(others).into_iter().collect())
        })
        .collect();
    assert!(!allowed.is_empty(), "ARCHITECTURE.md has the table");
    allowed
}

/// What stands between backquotes.
fn names(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The crates of the workspace, and what each depends on in any way.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(ROOT)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let name = short(package["name"].as_str().unwrap()).unwrap();
            let used = package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|dependency| name != BINARY || dependency["kind"] != "dev")
                .filter_map(|dependency| short(dependency["name"].as_str().unwrap()))
                .map(str::to_owned)
                .collect();
            (name.to_owned(), used)
        })
        .collect()
}

/// The crate's directory, if the package is one of the workspace's.
fn short(package: &str) -> Option<&str> {
    if package == BINARY {
        return Some(package);
    }
    package.strip_prefix(PREFIX)
}
