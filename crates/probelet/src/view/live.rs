//! The live view: what happened scrolls by, and below it stands how things are.

use std::collections::BTreeMap;
use std::io::Write;

use probelet_agent::happening::{Happening, What};
use probelet_agent::store::Store;
use probelet_agent::{clock, snapshot};
use probelet_model::id::ObjectKey;
use probelet_model::probe::{OutcomeStatus, ProbeKind};

use super::{View, line, table};
use crate::up::object_name;

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Redraws a few lines at the bottom of the terminal, and lets everything else scroll above them.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// The latest word of each probe.
    probes: BTreeMap<(ObjectKey, String, ProbeKind), String>,
    /// The tables as of the last second.
    tables: Vec<String>,
    /// How many lines stand at the bottom.
    drawn: usize,
}

impl View for Live {
    fn show(&mut self, happening: &Happening) {
        self.note(happening);
        let said = line::text(happening).map(|said| {
            let time = happening.time.to_string();
            // The date is the same all day; the time of day is enough here.
            let time = time.get(11..19).unwrap_or_default().to_owned();
            format!("{time} {}{said}{PLAIN}", colour(&happening.what))
        });
        self.draw(said.as_deref());
    }

    fn say(&mut self, text: &str) {
        self.draw(Some(&format!("{BOLD}{text}{PLAIN}")));
    }

    fn moves(&self) -> bool {
        true
    }

    fn refresh(&mut self, store: &Store) {
        self.tables = table::lines(&snapshot::list(store), clock::now().wall);
        self.draw(None);
    }

    fn end(&mut self) {
        self.tables.clear();
        self.probes.clear();
        self.draw(None);
    }
}

impl Live {
    fn note(&mut self, happening: &Happening) {
        let object = &happening.object;
        match &happening.what {
            What::Attempt {
                container,
                probe,
                outcome,
                run,
                threshold,
                verdict,
                ..
            } => {
                let (colour, how) = match outcome {
                    OutcomeStatus::Success => (GREEN, "ok"),
                    OutcomeStatus::Warning => (YELLOW, "warning"),
                    OutcomeStatus::Failure => (RED, "failed"),
                };
                let count = format!("{}/{threshold}", run.min(threshold));
                self.set(
                    object,
                    container,
                    *probe,
                    format!("{colour}{how} {count}{PLAIN}, verdict {verdict}"),
                );
            }
            What::Error {
                container,
                probe,
                message,
                ..
            } => {
                self.set(
                    object,
                    container,
                    *probe,
                    format!("{YELLOW}error{PLAIN}: {}", line::one_line(message)),
                );
            }
            What::Skip {
                container,
                probe,
                message,
                ..
            } => {
                self.set(object, container, *probe, format!("no attempt: {message}"));
            }
            What::Deleted | What::Stopped => self.probes.retain(|(of, _, _), _| of != object),
            What::Container { .. }
            | What::Condition { .. }
            | What::Phase { .. }
            | What::Endpoints { .. }
            | What::Address { .. }
            | What::Event { .. } => {}
        }
    }

    fn set(&mut self, object: &ObjectKey, container: &str, probe: ProbeKind, word: String) {
        self.probes
            .insert((object.clone(), container.to_owned(), probe), word);
    }

    /// Takes the bottom lines away, lets `said` scroll, and draws them again.
    fn draw(&mut self, said: Option<&str>) {
        let (columns, rows) = terminal_size();
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A\r\x1b[J", self.drawn));
        }
        if let Some(said) = said {
            text.push_str(said);
            text.push('\n');
        }
        let mut bottom = Vec::new();
        if !self.tables.is_empty() || !self.probes.is_empty() {
            bottom.push(String::new());
            bottom.extend(self.tables.iter().cloned());
            for ((object, container, probe), word) in &self.probes {
                bottom.push(format!(
                    "{} {container} {probe}: {word}",
                    object_name(object)
                ));
            }
        }
        // What does not fit would scroll away and could not be taken back.
        bottom.truncate(rows.saturating_sub(2));
        for line in &bottom {
            text.push_str(&cut(line, columns));
            text.push('\n');
        }
        self.drawn = bottom.len();
        let mut out = std::io::stdout().lock();
        let _terminal_has_gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

const fn colour(what: &What) -> &'static str {
    match what {
        What::Attempt { outcome, .. } => match outcome {
            OutcomeStatus::Success => GREEN,
            OutcomeStatus::Warning => YELLOW,
            OutcomeStatus::Failure => RED,
        },
        What::Condition { condition } if condition.status => GREEN,
        What::Condition { .. } | What::Error { .. } => YELLOW,
        What::Container { .. }
        | What::Skip { .. }
        | What::Phase { .. }
        | What::Endpoints { .. }
        | What::Address { .. }
        | What::Event { .. }
        | What::Deleted
        | What::Stopped => "",
    }
}

/// At most `columns` characters of a line, not counting colours.
fn cut(line: &str, columns: usize) -> String {
    let mut kept = String::new();
    let (mut shown, mut in_colour) = (0, false);
    for character in line.chars() {
        if character == '\x1b' {
            in_colour = true;
        }
        if !in_colour {
            shown += 1;
            if shown > columns {
                continue;
            }
        }
        if in_colour && character == 'm' {
            in_colour = false;
        }
        kept.push(character);
    }
    kept
}

fn terminal_size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
    size.map_or((80, 24), |size| match (size.ws_col, size.ws_row) {
        (0, _) | (_, 0) => (80, 24),
        (columns, rows) => (usize::from(columns), usize::from(rows)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_the_terminal_and_keeps_its_colours() {
        assert_eq!(cut("abcdef", 4), "abcd");
        assert_eq!(cut("a\x1b[31mbcd\x1b[0m", 3), "a\x1b[31mbc\x1b[0m");
    }
}
