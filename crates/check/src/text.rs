//! A report for people: each finding with its line and a caret, then the times of all probes.

use std::fmt::Write as _;
use std::time::Duration;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
use probelet_model::yaml::Position;

use crate::lint::Severity;
use crate::report::{ProbeFact, Report};
use crate::span::Lines;
use crate::timing::Seconds;

/// How a report is to look.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// With the escape sequences of a terminal.
    pub color: bool,
    /// Longer lines of manifests are cut around the caret.
    pub width: usize,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            color: false,
            width: 140,
        }
    }
}

/// Writes a report.
#[must_use]
pub fn write(report: &Report, look: Look) -> String {
    let renderer = if look.color {
        Renderer::styled()
    } else {
        Renderer::plain()
    }
    .term_width(look.width);
    let lines = Lines::of(&report.texts);
    let mut out = String::new();
    let mut say = |group: Group<'_>| {
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    };
    for invalid in &report.invalid {
        let title = clean(&invalid.error.to_string());
        let title = Level::ERROR.with_name(Some("invalid")).primary_title(title);
        let group = Group::with_title(title);
        let line = |at| snippet(&lines, &invalid.source, at);
        say(match (invalid.position, invalid.position.and_then(line)) {
            (_, Some(line)) => group.element(line),
            (Some(at), None) => {
                let place = format!("in {}:{}:{}", clean(&invalid.source), at.line, at.column);
                group.element(Level::NOTE.message(place))
            }
            (None, None) => {
                group.element(Level::NOTE.message(format!("in {}", clean(&invalid.source))))
            }
        });
    }
    for finding in &report.findings {
        let level = match finding.lint.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Info => Level::INFO,
        };
        let title = level
            .primary_title(clean(&finding.message))
            .id(finding.lint.id);
        let place = clean(&format!("{}: {}", finding.object, finding.path));
        say(Group::with_title(title)
            .elements(snippet(&lines, &finding.source, finding.position))
            .element(Level::NOTE.message(place))
            .element(Level::HELP.message(clean(&finding.help))));
    }
    probes(report, &mut out);
    summary(report, &mut out);
    out
}

/// The line with its caret, if the text is known.
fn snippet<'a>(
    lines: &Lines<'a>,
    source: &str,
    at: Position,
) -> Option<Snippet<'a, Annotation<'a>>> {
    let word = lines.word(source, at)?;
    let caret = AnnotationKind::Primary.span(word.start..word.end);
    let line = usize::try_from(at.line).unwrap_or(usize::MAX);
    Some(
        Snippet::source(word.line)
            .line_start(line)
            .path(clean(source))
            .annotation(caret),
    )
}

/// The table of probes, an object at a time.
fn probes(report: &Report, out: &mut String) {
    let mut rows: Vec<[String; 8]> = vec![
        [
            "CONTAINER",
            "PROBE",
            "HANDLER",
            "ACTS WITHIN",
            "IF REFUSED",
            "STOPS WITHIN",
            "RECOVERS WITHIN",
            "SLOWEST START",
        ]
        .map(str::to_owned),
    ];
    rows.extend(report.probes.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..8).filter_map(width).collect();
    let line = |row: &[String; 8]| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        format!("  {}", cells.collect::<Vec<_>>().join("  "))
            .trim_end()
            .to_owned()
    };
    let mut object = None;
    for (fact, row) in report.probes.iter().zip(&rows[1..]) {
        if object.is_none() {
            let _infallible = writeln!(out, "{}", line(&rows[0]));
        }
        if object != Some((&fact.source, &fact.object)) {
            object = Some((&fact.source, &fact.object));
            let pods = match fact.replicas {
                Some(1) => String::new(),
                Some(count) => format!(", {count} Pods"),
                None => ", Pods as the cluster has nodes".to_owned(),
            };
            let _infallible = writeln!(out, "{}{pods}", clean(&fact.object.to_string()));
        }
        let _infallible = writeln!(out, "{}", line(row));
    }
    if object.is_some() {
        let load = report.load();
        let exec = if load.exec > 0.0 {
            format!(", {} of them exec", rounded(load.exec))
        } else {
            String::new()
        };
        let _infallible = writeln!(
            out,
            "\n{}: {} attempts a second{exec}.",
            count(report.probes.len(), "probe"),
            rounded(load.attempts),
        );
    }
}

fn row(fact: &ProbeFact) -> [String; 8] {
    let maybe =
        |time: Option<Duration>| time.map_or(String::new(), |time| format!("+{}", Seconds(time)));
    [
        clean(&fact.container),
        fact.kind.as_str().to_lowercase(),
        fact.handler.to_owned(),
        Seconds(fact.timing.acts_within).to_string(),
        Seconds(fact.timing.acts_within_if_refused).to_string(),
        maybe(fact.stops_within),
        if fact.stops_within.is_none() {
            Seconds(fact.timing.recovers_within).to_string()
        } else {
            String::new()
        },
        fact.start.map_or(String::new(), |start| {
            format!("{} to {}", start.safe.as_secs_f64(), Seconds(start.most))
        }),
    ]
}

fn count(number: usize, word: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {word}{plural}")
}

fn rounded(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}

fn summary(report: &Report, out: &mut String) {
    let of = |severity: Severity| report.count(|other| other == severity);
    let parts: Vec<String> = [
        (of(Severity::Error), "error"),
        (of(Severity::Warning), "warning"),
        (of(Severity::Info), "info"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, word)| count(number, word))
    .collect();
    let found = if parts.is_empty() {
        "nothing".to_owned()
    } else {
        parts.join(", ")
    };
    let objects = count(report.objects, "object");
    let _infallible = match (report.invalid.len(), report.objects) {
        (0, _) => writeln!(out, "Found {found} in {objects}."),
        (wrong, 0) => writeln!(out, "Nothing was checked: {wrong} invalid."),
        (wrong, _) => writeln!(
            out,
            "{wrong} invalid. Found {found} in {objects} beside that."
        ),
    };
    if !report.skipped.is_empty() {
        let kinds = report
            .skipped
            .iter()
            .map(|(kind, number)| format!("{number} {}", clean(kind)));
        let kinds: Vec<String> = kinds.collect();
        let _infallible = writeln!(out, "Not looked at: {}.", kinds.join(", "));
    }
}

/// A text from a manifest without what would steer a terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}
