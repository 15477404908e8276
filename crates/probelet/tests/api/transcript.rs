//! A conversation with a node, and whether it goes as it is written.
//!
//! ```text
//! # words for people
//! $ kubectl get configmap web -o name
//! configmap/web
//! $ kubectl get configmap none
//! ? 1
//! Error from server (NotFound): configmaps "none" not found
//! > a real server: what it would say, where that is something else
//! ```
//!
//! Both outputs are looked at together, what was written to stderr after the rest. In an expected line `[..]`
//! stands for anything; a line `...` for any number of lines; `{AGE}` for an age; `{IP}` for an address. Runs of
//! blanks count as one, since columns are as wide as names are long.

use std::path::{Path, PathBuf};

use crate::node::Node;

/// What is to be said, in order.
pub(crate) struct Transcript {
    path: PathBuf,
    steps: Vec<Step>,
}

/// One command and what comes of it.
struct Step {
    line: usize,
    command: String,
    code: i32,
    output: Vec<String>,
}

impl Transcript {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut steps: Vec<Step> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step {
                    line: number + 1,
                    command: command.to_owned(),
                    code: 0,
                    output: Vec::new(),
                });
            } else if line.starts_with("# ") || line.starts_with("> ") || line.trim().is_empty() {
                // For people.
            } else {
                let step = steps.last_mut().expect("a line belongs to a command");
                match line.strip_prefix("? ") {
                    Some(code) => step.code = code.parse().unwrap(),
                    None => step.output.push(line.to_owned()),
                }
            }
        }
        Self {
            path: path.to_owned(),
            steps,
        }
    }

    pub(crate) fn commands(&self) -> usize {
        self.steps
            .iter()
            .filter(|step| step.command.contains("kubectl "))
            .count()
    }

    pub(crate) fn play(&self, node: &Node) {
        for step in &self.steps {
            let said = node.shell(&step.command);
            let lines = said.text.lines();
            let printed: Vec<&str> = lines.filter(|line| !is_kubectls_race(line)).collect();
            let expected: Vec<&str> = step.output.iter().map(String::as_str).collect();
            assert!(
                said.code == Some(step.code) && lines_match(&expected, &printed),
                "{}:{}: $ {}\nexpected {}:\n{}\nbut {:?}:\n{}",
                self.path.display(),
                step.line,
                step.command,
                step.code,
                step.output.join("\n"),
                said.code,
                said.text,
            );
        }
    }
}

/// kubectl reads from its connection before it has made all of its streams; where it is slow, it logs that it has
/// thrown away the empty message with which a server, as the kubelet, says on a stream that it is there.
fn is_kubectls_race(line: &str) -> bool {
    line.starts_with('E') && line.contains("] Unknown stream id ")
}

fn lines_match(expected: &[&str], printed: &[&str]) -> bool {
    match expected.split_first() {
        None => printed.iter().all(|line| line.trim().is_empty()),
        Some((&"...", rest)) => {
            (0..=printed.len()).any(|skipped| lines_match(rest, &printed[skipped..]))
        }
        Some((first, rest)) => match printed.split_first() {
            Some((line, more)) if line.trim().is_empty() => lines_match(expected, more),
            Some((line, more)) => line_matches(first, line) && lines_match(rest, more),
            None => false,
        },
    }
}

fn line_matches(expected: &str, printed: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    matches(&words(expected), &words(printed))
}

/// Whether a text can be what is stood for.
type IsOne = fn(&str) -> bool;

/// What stands for something else in an expected line.
const STAND_INS: [(&str, IsOne); 3] = [
    ("[..]", |_| true),
    ("{AGE}", |text| {
        text.ends_with(['s', 'm', 'h', 'd', 'y'])
            && text
                .chars()
                .all(|c| c.is_ascii_digit() || "smhdy".contains(c))
    }),
    ("{IP}", |text| text.parse::<std::net::IpAddr>().is_ok()),
];

fn matches(expected: &str, printed: &str) -> bool {
    let next = STAND_INS
        .iter()
        .filter_map(|(word, is_one)| Some((expected.find(word)?, *word, *is_one)))
        .min_by_key(|(at, _, _)| *at);
    let Some((at, word, is_one)) = next else {
        return expected == printed;
    };
    let (before, after) = (&expected[..at], &expected[at + word.len()..]);
    let Some(rest) = printed.strip_prefix(before) else {
        return false;
    };
    rest.char_indices()
        .map(|(end, _)| end)
        .chain([rest.len()])
        .any(|end| is_one(&rest[..end]) && matches(after, &rest[end..]))
}

#[test]
fn lines_are_compared_but_for_what_stands_for_anything() {
    for (expected, printed, same) in [
        ("a b", "a    b", true),
        ("pod/[..] created", "pod/web-x1 created", true),
        ("web {AGE}", "web 2m30s", true),
        ("web {AGE}", "web soon", false),
        ("{IP}:80 x", "10.213.0.2:80 x", true),
        ("a", "b", false),
    ] {
        assert_eq!(
            line_matches(expected, printed),
            same,
            "{expected} {printed}"
        );
    }
    assert!(lines_match(&["a", "...", "d"], &["a", "b", "c", "d"]));
    assert!(lines_match(&["..."], &[]));
    assert!(!lines_match(&["a"], &["a", "b"]));
    assert!(!lines_match(&["a", "b"], &["a"]));
}
