//! Manifests in, objects or error lines out; one table a subject.

mod annotations;
mod containers;
mod fuzz;
mod init;
mod invalid;
mod network;
mod pods;
mod probes;
mod references;
mod security;
mod services;
mod surveys;
mod texts;
mod treatment;
mod tutorials;
mod workloads;

use super::*;

/// A Pod in which the tests put what they are about: below `metadata`, `spec`, and its only container.
#[derive(Clone, Copy, Default)]
struct PodText<'a> {
    metadata: &'a str,
    spec: &'a str,
    container: &'a str,
}

impl PodText<'_> {
    fn yaml(self) -> String {
        let command = if self
            .container
            .lines()
            .any(|line| line.starts_with("command:"))
        {
            ""
        } else {
            "    command: [sleep, '1']\n"
        };
        let class = if self.spec.contains("runtimeClassName:") {
            ""
        } else {
            "  runtimeClassName: host\n"
        };
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n{}spec:\n{class}{}  containers:\n  - name: main\n{command}{}",
            indented(self.metadata, 2),
            indented(self.spec, 2),
            indented(self.container, 4),
        )
    }
}

fn indented(text: &str, by: usize) -> String {
    text.lines()
        .map(|line| format!("{:by$}{line}\n", ""))
        .collect()
}

fn load_text(text: &str) -> Result<Loaded, Diagnostics> {
    load(
        &[Source::Text {
            name: "t".to_owned(),
            text: text.to_owned(),
        }],
        &Options::default(),
    )
}

/// Each error of `text` without its place; nothing if it is right.
fn errors_of(text: &str) -> Vec<String> {
    let without_place = |diagnostic: Diagnostic| {
        Diagnostic {
            position: None,
            ..diagnostic
        }
        .to_string()[3..]
            .to_owned()
    };
    load_text(text).map_or_else(
        |errors| errors.0.into_iter().map(without_place).collect(),
        |_| Vec::new(),
    )
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(errors_of(text), expected, "\n{text}");
}

/// The same with lines and columns.
#[track_caller]
fn check_lines(text: &str, expected: &[&str]) {
    let found = load_text(text).map_or_else(|errors| errors.to_string(), |_| String::new());
    assert_eq!(found.lines().collect::<Vec<_>>(), expected, "\n{text}");
}

#[track_caller]
fn in_container(container: &str, expected: &[&str]) {
    check(
        &PodText {
            container,
            ..PodText::default()
        }
        .yaml(),
        expected,
    );
}

#[track_caller]
fn in_spec(spec: &str, expected: &[&str]) {
    check(
        &PodText {
            spec,
            ..PodText::default()
        }
        .yaml(),
        expected,
    );
}

#[track_caller]
fn in_metadata(metadata: &str, expected: &[&str]) {
    check(
        &PodText {
            metadata,
            ..PodText::default()
        }
        .yaml(),
        expected,
    );
}

#[track_caller]
fn only(loaded: Result<Loaded, Diagnostics>) -> ManifestObject {
    let mut objects = loaded.unwrap().objects;
    assert_eq!(objects.len(), 1);
    objects.remove(0)
}

#[track_caller]
fn pod(text: &str) -> crate::pod::Pod {
    match only(load_text(text)).object {
        Object::Pod(pod) => *pod,
        other => panic!("{other:?}"),
    }
}
