//! What `up` shows: a line an event, JSON, or a live view.

mod line;
mod live;
mod pod;
pub(crate) mod table;

use probelet_agent::happening::Happening;
use probelet_agent::store::Store;

pub(crate) use self::live::Live;
use crate::up::print_line;

/// A way to show what happens.
pub(crate) trait View: Send {
    /// Something happened.
    fn show(&mut self, happening: &Happening);
    /// The command itself has something to say.
    fn say(&mut self, text: &str);
    /// Whether it changes with time alone. One that does not is never woken by it, and neither is the process.
    fn moves(&self) -> bool {
        false
    }
    /// A second has passed, for one that moves.
    fn refresh(&mut self, _store: &Store) {}
    /// Nothing more comes.
    fn end(&mut self) {}
}

/// One line an event, for pipes and files.
#[derive(Debug, Default)]
pub(crate) struct Lines;

impl View for Lines {
    fn show(&mut self, happening: &Happening) {
        if let Some(line) = line::text(happening) {
            print_line(&format!("{} {line}", happening.time));
        }
    }

    fn say(&mut self, text: &str) {
        print_line(text);
    }
}

/// One JSON object a line; the command's own words go to standard error.
#[derive(Debug, Default)]
pub(crate) struct JsonLines;

impl View for JsonLines {
    fn show(&mut self, happening: &Happening) {
        match serde_json::to_string(happening) {
            Ok(line) => print_line(&line),
            Err(error) => eprintln!("error: {error}"),
        }
    }

    fn say(&mut self, text: &str) {
        eprintln!("{text}");
    }
}
