//! Records as lines for people.
//!
//! A line a record, in the order they come, but for what would only make noise: attempts that confirm the
//! verdict that stands are counted and told as one line before the next thing that happens; the `Unhealthy`
//! and `ProbeWarning` events say what their attempts say; conditions that change together are one line.

use std::collections::BTreeMap;
use std::io::{self, Write};

use probelet_model::pod::Pod;
use probelet_model::probe::{ProbeKind, Verdict};

use crate::record::{At, AttemptOutcome, ContainerStateKind, EndpointState, Record, What};

/// Writes a table, record by record.
#[derive(Debug)]
pub struct Table {
    style: Style,
    /// Widths of the columns; that of the pods is 0 where there is but one.
    pod: usize,
    container: usize,
    has_head: bool,
    verdicts: BTreeMap<ProbeKey, Verdict>,
    /// What each probe's last attempt said.
    said: BTreeMap<ProbeKey, String>,
    /// Attempts that changed nothing, since the last line.
    quiet: BTreeMap<ProbeKey, Quiet>,
    open: Option<Open>,
}

/// A line that the next record may still add to.
#[derive(Debug)]
enum Open {
    Conditions(Conditions),
    Attempt(Attempt),
}

/// An attempt that may be followed by its verdict.
#[derive(Debug)]
struct Attempt {
    at: At,
    key: ProbeKey,
    words: String,
    said: String,
    colour: Colour,
}

/// Pod, container, probe.
type ProbeKey = (String, String, ProbeKind);

#[derive(Clone, Copy, Debug)]
struct Quiet {
    last: At,
    outcome: AttemptOutcome,
    count: u64,
}

/// Conditions of one pod that changed at one time.
#[derive(Debug)]
struct Conditions {
    at: At,
    pod: String,
    /// Each with the word for it.
    words: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug)]
enum Style {
    Plain,
    Coloured,
}

#[derive(Clone, Copy, Debug)]
enum Colour {
    None,
    Quiet,
    Good,
    Odd,
    Bad,
}

impl Table {
    /// A table about these pods, with or without colours.
    #[must_use]
    pub fn new(pods: &[Pod], coloured: bool) -> Self {
        let containers = pods.iter().flat_map(Pod::all_containers);
        let container = containers.map(|container| container.name.as_str().len());
        let pod = pods.iter().map(|pod| pod.meta.name.len());
        Self {
            style: if coloured {
                Style::Coloured
            } else {
                Style::Plain
            },
            pod: if pods.len() > 1 {
                pod.max().unwrap_or_default().max("POD".len())
            } else {
                0
            },
            container: container.max().unwrap_or_default().max("CONTAINER".len()),
            has_head: false,
            verdicts: BTreeMap::new(),
            said: BTreeMap::new(),
            quiet: BTreeMap::new(),
            open: None,
        }
    }

    /// Writes what a record adds to the table. Nothing is left behind once the summary has been written.
    ///
    /// # Errors
    ///
    /// The writer's.
    pub fn write(&mut self, record: &Record, out: &mut impl Write) -> io::Result<()> {
        if !self.has_head {
            self.has_head = true;
            self.line(out, "TIME", "POD", "CONTAINER", "WHAT", Colour::None)?;
        }
        let pod = record.pod.as_deref().unwrap_or_default();
        let Some(at) = record.t else {
            self.flush(out)?;
            return self.summary(out, pod, &record.what);
        };
        if let What::Condition {
            condition,
            status,
            reason,
        } = &record.what
        {
            return self.condition(out, at, pod, condition, status, reason);
        }
        let (container, words, colour) = words(&record.what);
        match &record.what {
            What::Attempt {
                probe,
                outcome,
                message,
                ..
            } => {
                let key = (pod.to_owned(), container.to_owned(), *probe);
                if self.is_quiet(at, &key, *outcome, message) {
                    return Ok(());
                }
                self.flush(out)?;
                self.open = Some(Open::Attempt(Attempt {
                    at,
                    key,
                    words,
                    said: said(message),
                    colour,
                }));
                Ok(())
            }
            What::Verdict { probe, result, .. } => {
                let key = (pod.to_owned(), container.to_owned(), *probe);
                let known = self.verdicts.insert(key.clone(), *result);
                if let Some(Open::Attempt(attempt)) = &mut self.open
                    && (attempt.at, &attempt.key) == (at, &key)
                {
                    attempt.words.push_str(&format!(" => {result}"));
                    return self.flush(out);
                }
                // A new run's first verdict is the one before more often than not.
                if known == Some(*result) {
                    return Ok(());
                }
                self.flush(out)?;
                self.line(out, &time(at), pod, container, &words, colour)
            }
            what if told_elsewhere(what) => Ok(()),
            _ => {
                self.flush(out)?;
                self.line(out, &time(at), pod, container, &words, colour)
            }
        }
    }

    /// Whether an attempt confirms the verdict that stands, in the words of the one before it; then it is
    /// counted.
    fn is_quiet(&mut self, at: At, key: &ProbeKey, outcome: AttemptOutcome, message: &str) -> bool {
        let confirmed = match outcome {
            AttemptOutcome::Success => Some(Verdict::Success),
            AttemptOutcome::Failure => Some(Verdict::Failure),
            AttemptOutcome::Warning | AttemptOutcome::Error => None,
        };
        let as_before = self.said.get(key).is_some_and(|before| before == message);
        if !as_before {
            self.said.insert(key.clone(), message.to_owned());
        }
        let silent = as_before || outcome == AttemptOutcome::Success;
        if confirmed.is_none() || self.verdicts.get(key).copied() != confirmed || !silent {
            return false;
        }
        if let Some(quiet) = self.quiet.get_mut(key) {
            quiet.last = at;
            quiet.count += 1;
        } else {
            let last = at;
            let count = 1;
            let quiet = Quiet {
                last,
                outcome,
                count,
            };
            self.quiet.insert(key.clone(), quiet);
        }
        true
    }

    /// Writes what was held back: the open line, then the attempts that were only counted.
    fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        match self.open.take() {
            None => {}
            Some(Open::Conditions(open)) => self.write_conditions(out, &open)?,
            Some(Open::Attempt(open)) => {
                let (pod, container, _) = &open.key;
                let words = format!("{}{}", open.words, open.said);
                self.line(out, &time(open.at), pod, container, &words, open.colour)?;
            }
        }
        self.flush_quiet(out)
    }

    fn flush_quiet(&mut self, out: &mut impl Write) -> io::Result<()> {
        let mut of_containers: BTreeMap<(String, String), (At, Vec<String>)> = BTreeMap::new();
        for ((pod, container, probe), quiet) in std::mem::take(&mut self.quiet) {
            let (last, words) = of_containers.entry((pod, container)).or_default();
            *last = quiet.last.max(*last);
            let times = if quiet.count == 1 {
                String::new()
            } else {
                format!(" x{}", quiet.count)
            };
            words.push(format!(
                "{} {}{times}",
                kind(probe),
                outcome(quiet.outcome).0
            ));
        }
        let mut lines: Vec<_> = of_containers.into_iter().collect();
        lines.sort_by_key(|(_, (last, _))| *last);
        for ((pod, container), (last, words)) in lines {
            let words = format!("... {}", words.join(", "));
            self.line(out, &time(last), &pod, &container, &words, Colour::Quiet)?;
        }
        Ok(())
    }

    fn condition(
        &mut self,
        out: &mut impl Write,
        at: At,
        pod: &str,
        condition: &str,
        status: &str,
        reason: &str,
    ) -> io::Result<()> {
        let is_open = |open: &Option<Open>| match open {
            Some(Open::Conditions(open)) => open.at == at && open.pod == pod,
            Some(Open::Attempt(_)) | None => false,
        };
        if !is_open(&self.open) {
            self.flush(out)?;
            self.open = Some(Open::Conditions(Conditions {
                at,
                pod: pod.to_owned(),
                words: Vec::new(),
            }));
        }
        let reason = if reason.is_empty() {
            String::new()
        } else {
            format!(" ({reason})")
        };
        let word = format!("{status}{reason}");
        if let Some(Open::Conditions(open)) = &mut self.open {
            match open.words.iter_mut().find(|(kind, _)| kind == condition) {
                Some((_, before)) => *before = word,
                None => open.words.push((condition.to_owned(), word)),
            }
        }
        Ok(())
    }

    fn write_conditions(&self, out: &mut impl Write, open: &Conditions) -> io::Result<()> {
        let ready = open.words.iter().find(|(kind, _)| kind == "Ready");
        let colour = match ready {
            Some((_, word)) if word == "True" => Colour::Good,
            Some(_) => Colour::Odd,
            None => Colour::None,
        };
        let words: Vec<String> = open
            .words
            .iter()
            .map(|(kind, word)| format!("{kind} {word}"))
            .collect();
        self.line(
            out,
            &time(open.at),
            &open.pod,
            "",
            &words.join(", "),
            colour,
        )
    }

    fn summary(&self, out: &mut impl Write, pod: &str, what: &What) -> io::Result<()> {
        let What::Summary {
            time_to_ready,
            unready_seconds,
            restarts,
            attempts,
        } = what
        else {
            return Ok(());
        };
        let ready = time_to_ready.map_or("never ready".to_owned(), |seconds| {
            format!("ready after {seconds:.3} s, then unready for {unready_seconds:.3} s")
        });
        let colon = if pod.is_empty() { "" } else { ": " };
        writeln!(
            out,
            "{pod}{colon}{ready}; restarts: {restarts}, attempts: {attempts}"
        )
    }

    fn line(
        &self,
        out: &mut impl Write,
        time: &str,
        pod: &str,
        container: &str,
        words: &str,
        colour: Colour,
    ) -> io::Result<()> {
        write!(out, "{time:>10}  ")?;
        if self.pod > 0 {
            write!(out, "{pod:<width$}  ", width = self.pod)?;
        }
        write!(out, "{container:<width$}  ", width = self.container)?;
        let code = match (self.style, colour) {
            (Style::Plain, _) | (_, Colour::None) => return writeln!(out, "{words}"),
            (Style::Coloured, Colour::Quiet) => 2,
            (Style::Coloured, Colour::Good) => 32,
            (Style::Coloured, Colour::Odd) => 33,
            (Style::Coloured, Colour::Bad) => 31,
        };
        writeln!(out, "\u{1b}[{code}m{words}\u{1b}[0m")
    }
}

/// Whether the line of an attempt has said it.
fn told_elsewhere(what: &What) -> bool {
    matches!(
        what,
        What::Event {
            reason: "Unhealthy" | "ProbeWarning",
            ..
        }
    )
}

/// The container's column, the rest of the line, and its colour.
fn words(what: &What) -> (&str, String, Colour) {
    match what {
        What::Attempt {
            container,
            probe,
            outcome: how,
            run,
            threshold,
            message: _,
        } => {
            let (word, colour) = outcome(*how);
            let count = if *how == AttemptOutcome::Error {
                "counts for nothing".to_owned()
            } else {
                format!("{run}/{threshold}")
            };
            (
                container,
                format!("{} {word} {count}", kind(*probe)),
                colour,
            )
        }
        What::Verdict {
            container,
            probe,
            result,
        } => {
            let colour = match result {
                Verdict::Success => Colour::Good,
                Verdict::Failure => Colour::Bad,
                Verdict::Unknown => Colour::None,
            };
            (
                container,
                format!("{} verdict {result}", kind(*probe)),
                colour,
            )
        }
        What::Container {
            container,
            state,
            reason,
            exit_code,
            restart_count,
            ready,
            started,
        } => {
            let (state, colour) = match state {
                ContainerStateKind::Waiting => ("waiting".to_owned(), Colour::None),
                ContainerStateKind::Running => {
                    let started = if *started { "started" } else { "not started" };
                    let (ready, colour) = if *ready {
                        ("ready", Colour::Good)
                    } else {
                        ("not ready", Colour::None)
                    };
                    (format!("running, {started}, {ready}"), colour)
                }
                ContainerStateKind::Terminated => {
                    let colour = if *exit_code == 0 {
                        Colour::None
                    } else {
                        Colour::Bad
                    };
                    (format!("terminated, exit code {exit_code}"), colour)
                }
            };
            let reason = if reason.is_empty() {
                String::new()
            } else {
                format!(" ({reason})")
            };
            let restarts = if *restart_count == 0 {
                String::new()
            } else {
                format!(", restarts {restart_count}")
            };
            (container, format!("{state}{reason}{restarts}"), colour)
        }
        What::Condition {
            condition, status, ..
        } => ("", format!("{condition} {status}"), Colour::None),
        What::Phase { phase } => ("", format!("phase {}", phase.as_str()), Colour::None),
        What::Endpoint { state, terminating } => {
            let (state, colour) = match state {
                EndpointState::Ready => ("takes traffic", Colour::Good),
                EndpointState::NotReady => ("takes no traffic", Colour::Odd),
                EndpointState::Absent => ("is not listed", Colour::Odd),
            };
            let terminating = if *terminating { ", terminating" } else { "" };
            ("", format!("endpoint {state}{terminating}"), colour)
        }
        What::Event {
            event_type,
            reason,
            message,
            container,
        } => {
            let colour = if *event_type == "Warning" {
                Colour::Odd
            } else {
                Colour::None
            };
            let line = format!("event {reason}{}", said(message));
            (container.as_deref().unwrap_or_default(), line, colour)
        }
        What::Skip {
            container,
            probe,
            reason,
        } => {
            let line = format!("{} does not look: {reason}", kind(*probe));
            (container, line, Colour::Quiet)
        }
        What::Scenario { message } => ("", format!("--- {message}"), Colour::Odd),
        What::Summary { .. } => ("", String::new(), Colour::None),
    }
}

fn outcome(outcome: AttemptOutcome) -> (&'static str, Colour) {
    match outcome {
        AttemptOutcome::Success => ("success", Colour::Good),
        AttemptOutcome::Warning => ("warning", Colour::Odd),
        AttemptOutcome::Failure => ("failure", Colour::Bad),
        AttemptOutcome::Error => ("error", Colour::Odd),
    }
}

const fn kind(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "startup",
        ProbeKind::Readiness => "readiness",
        ProbeKind::Liveness => "liveness",
    }
}

/// A message as the end of a line: its first line, and no control characters.
fn said(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let shown: String = first.chars().filter(|c| !c.is_control()).collect();
    if shown.is_empty() {
        String::new()
    } else {
        format!(": {shown}")
    }
}

fn time(at: At) -> String {
    format!("{:.3}", at.as_secs())
}
