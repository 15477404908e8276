//! How far a pull or a load is, on standard error: on a terminal one line a layer that changes, else a line for
//! each thing that happens.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use probelet_image::{Event, LayerState, Progress};

/// What is shown, until it is dropped.
pub(super) struct Shown {
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    on_terminal: bool,
    /// By digest, in the order of the image.
    layers: Vec<(String, LayerState)>,
    /// Lines that are on the terminal now.
    drawn: usize,
    /// Hundredths of the whole that the last picture showed.
    hundredths: u64,
}

impl Shown {
    pub(super) fn new(on_terminal: bool) -> Self {
        let lines = Lines {
            on_terminal,
            ..Lines::default()
        };
        Self {
            lines: Arc::new(Mutex::new(lines)),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        let lines = Arc::clone(&self.lines);
        Progress::new(move |event| {
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            let text = lines.take(event);
            // Nobody may look.
            let _closed = std::io::stderr().write_all(text.as_bytes());
        })
    }
}

impl Lines {
    /// What to print now that something has happened.
    fn take(&mut self, event: Event) -> String {
        match event {
            Event::Resolved {
                reference,
                digest,
                layers,
            } => {
                let waiting = |(digest, _)| (digest, LayerState::Waiting);
                self.layers = layers.into_iter().map(waiting).collect();
                self.layers.dedup_by(|one, other| one.0 == other.0);
                self.drawn = 0;
                format!("{reference}: {digest}\n{}", self.picture())
            }
            Event::Layer { digest, state } => {
                let Some(layer) = self.layers.iter_mut().find(|(known, _)| *known == digest) else {
                    return String::new();
                };
                let before = std::mem::replace(&mut layer.1, state);
                let same_kind = std::mem::discriminant(&before) == std::mem::discriminant(&state);
                if self.on_terminal {
                    let hundredths = self.sum();
                    if same_kind && hundredths == self.hundredths {
                        return String::new();
                    }
                    self.hundredths = hundredths;
                    self.picture()
                } else if same_kind && before != LayerState::Waiting {
                    String::new()
                } else {
                    let line = line(&digest, state, false);
                    format!("{line}\n")
                }
            }
            _ => String::new(),
        }
    }

    /// All layers, over what was there.
    fn picture(&mut self) -> String {
        if !self.on_terminal {
            return String::new();
        }
        let mut picture = String::new();
        if self.drawn > 0 {
            picture = format!("\x1b[{}A", self.drawn);
        }
        for (digest, state) in &self.layers {
            picture.push_str(&line(digest, *state, true));
            picture.push_str("\x1b[K\n");
        }
        self.drawn = self.layers.len();
        picture
    }

    /// The sum of the hundredths of what is coming.
    fn sum(&self) -> u64 {
        let hundredths = |state: &LayerState| match state {
            LayerState::Downloading { bytes, of } => hundredths(*bytes, *of),
            _ => 0,
        };
        self.layers.iter().map(|(_, state)| hundredths(state)).sum()
    }
}

fn hundredths(bytes: u64, of: u64) -> u64 {
    bytes.saturating_mul(100).checked_div(of).unwrap_or(100)
}

fn line(digest: &str, state: LayerState, with_bar: bool) -> String {
    let hex = digest.split(':').next_back().unwrap_or(digest);
    let short: String = hex.chars().take(12).collect();
    match state {
        LayerState::Waiting => format!("{short}: Waiting"),
        LayerState::Downloading { bytes, of } if with_bar => {
            let done = hundredths(bytes, of);
            let full = usize::try_from(done / 4).unwrap_or(0).min(25);
            let bar = format!("{}>{}", "=".repeat(full), " ".repeat(25 - full));
            format!(
                "{short}: Downloading [{bar}] {} of {}",
                super::size(bytes),
                super::size(of)
            )
        }
        LayerState::Downloading { of, .. } => format!("{short}: Downloading {}", super::size(of)),
        LayerState::Unpacking => format!("{short}: Extracting"),
        LayerState::Done => format!("{short}: Pull complete"),
        LayerState::Exists => format!("{short}: Already exists"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved() -> Event {
        Event::Resolved {
            reference: "docker.io/library/a:latest".to_owned(),
            digest: "sha256:1".to_owned(),
            layers: vec![("sha256:aa".to_owned(), 10), ("sha256:bb".to_owned(), 20)],
        }
    }

    fn layer(digest: &str, state: LayerState) -> Event {
        Event::Layer {
            digest: digest.to_owned(),
            state,
        }
    }

    #[test]
    fn without_a_terminal_each_step_is_a_line() {
        let mut lines = Lines::default();
        let mut text = lines.take(resolved());
        for bytes in [1, 5, 10] {
            text += &lines.take(layer(
                "sha256:aa",
                LayerState::Downloading { bytes, of: 10 },
            ));
        }
        text += &lines.take(layer("sha256:bb", LayerState::Exists));
        text += &lines.take(layer("sha256:aa", LayerState::Unpacking));
        text += &lines.take(layer("sha256:aa", LayerState::Done));
        assert_eq!(
            text,
            "docker.io/library/a:latest: sha256:1\naa: Downloading 10B\nbb: Already exists\naa: Extracting\naa: Pull complete\n"
        );
    }

    #[test]
    fn on_a_terminal_each_layer_has_a_line_that_changes() {
        let mut lines = Lines {
            on_terminal: true,
            ..Lines::default()
        };
        let first = lines.take(resolved());
        assert!(
            first.ends_with("aa: Waiting\x1b[K\nbb: Waiting\x1b[K\n"),
            "{first:?}"
        );
        let second = lines.take(layer(
            "sha256:aa",
            LayerState::Downloading { bytes: 5, of: 10 },
        ));
        let bar = format!(
            "aa: Downloading [{}>{}] 5B of 10B",
            "=".repeat(12),
            " ".repeat(13)
        );
        assert_eq!(second, format!("\x1b[2A{bar}\x1b[K\nbb: Waiting\x1b[K\n"));
        let same = lines.take(layer(
            "sha256:aa",
            LayerState::Downloading { bytes: 5, of: 10 },
        ));
        assert_eq!(same, "");
    }
}
