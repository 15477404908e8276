//! What the shapes mean, for those shapes that are there.

use std::collections::BTreeSet;

use probelet_model::probe::Verdict;

use super::lanes::probe::MOST_MARKS;
use super::paint::{Anchor, Paint, Strokes};
use super::picture::WIDTH;
use super::story::{ProbeStory, Story};
use super::text;
use crate::record::{AttemptOutcome, ContainerStateKind, EndpointState};

/// All that can be explained, in the order of the explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Success,
    Failure,
    Warning,
    Error,
    Decides,
    Column,
    VerdictGood,
    VerdictBad,
    VerdictOpen,
    Skip,
    Running,
    NotStarted,
    Waiting,
    BackOff,
    Ended,
    Died,
    Restart,
    Ready,
    Traffic,
    NoTraffic,
    Terminating,
    Event,
    Alarm,
}

impl Entry {
    const fn words(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure, climbing to failureThreshold",
            Self::Warning => "warning, counts as success",
            Self::Error => "error, counts for nothing",
            Self::Decides => "decides the verdict",
            Self::Column => "many attempts: successes below, the worst failures above",
            Self::VerdictGood => "verdict Success",
            Self::VerdictBad => "verdict Failure, or no success yet",
            Self::VerdictOpen => "no verdict yet",
            Self::Skip => "no attempt",
            Self::Running => "running",
            Self::NotStarted => "not started yet",
            Self::Waiting => "waiting",
            Self::BackOff => "back-off",
            Self::Ended => "exited with 0",
            Self::Died => "exited with another code",
            Self::Restart => "restart",
            Self::Ready => "container ready",
            Self::Traffic => "gets traffic",
            Self::NoTraffic => "gets no traffic",
            Self::Terminating => "terminating",
            Self::Event => "event",
            Self::Alarm => "event that warns",
        }
    }

    fn sample(self, paint: &mut Paint, x: f64, y: f64) {
        let mut shape = Strokes::default();
        let mut bar = |class: &str, h: f64| {
            paint.rect(class, [x - 8.0, y - h / 2.0, 16.0, h], "");
        };
        let class = match self {
            Self::VerdictGood => return edged(paint, "v-ok", "c-ok", x, y, 4.0),
            Self::VerdictBad => return edged(paint, "v-bad", "c-bad", x, y, -5.0),
            Self::VerdictOpen => return bar("v-none", 10.0),
            Self::Skip => return bar("hatch", 10.0),
            Self::Running => return bar("b-run", 10.0),
            Self::NotStarted => return bar("b-new", 10.0),
            Self::Waiting => return bar("b-wait", 10.0),
            Self::BackOff => return bar("back", 10.0),
            Self::Ended => return bar("b-end", 10.0),
            Self::Died => return bar("b-died", 10.0),
            Self::Ready => return bar("u", 3.0),
            Self::Traffic => return bar("e-ready", 6.0),
            Self::NoTraffic => return bar("e-not", 6.0),
            Self::Terminating => return bar("e-term", 6.0),
            Self::Restart => {
                paint.pill([x - 8.0, y - 8.0, 16.0, 16.0], "");
                return paint.text("pill-text", (x, y + 3.6), Anchor::Middle, "1");
            }
            Self::Success => {
                shape.dot(x, y);
                "m-ok"
            }
            Self::Failure => {
                shape.cross(x, y);
                "m-bad"
            }
            Self::Warning => {
                shape.triangle(x, y);
                "m-warn"
            }
            Self::Alarm => {
                shape.triangle(x, y);
                "m-alarm"
            }
            Self::Event => {
                shape.diamond(x, y);
                "m-note"
            }
            Self::Error => {
                shape.diamond(x, y);
                "m-err"
            }
            Self::Decides => {
                shape.ring(x, y);
                "ring r-bad"
            }
            Self::Column => {
                paint.rect("c-ok", [x - 8.0, y + 3.0, 16.0, 3.5], "");
                return paint.rect("c-bad", [x - 3.0, y - 7.0, 6.0, 9.0], "");
            }
        };
        paint.strokes(class, &shape, "");
    }
}

fn edged(paint: &mut Paint, band: &str, edge: &str, x: f64, y: f64, at: f64) {
    paint.rect(band, [x - 8.0, y - 5.0, 16.0, 10.0], "");
    paint.rect(edge, [x - 8.0, y + at, 16.0, 1.0], "");
}

/// Draws the legend below `y` and gives the height at which it ends.
pub(super) fn draw(paint: &mut Paint, y: f64, story: &Story<'_>) -> f64 {
    let (mut x, mut row) = (16.0, y + 8.0);
    for entry in entries(story) {
        let width = 24.0 + text::width(entry.words(), 11.0) + 14.0;
        if x + width > WIDTH - 8.0 {
            (x, row) = (16.0, row + 20.0);
        }
        entry.sample(paint, x + 8.0, row);
        let place = (x + 21.0, row + 4.0);
        paint.text("small", place, Anchor::Start, entry.words());
        x += width;
    }
    row + 8.0
}

/// The entries whose shapes are there.
fn entries(story: &Story<'_>) -> BTreeSet<Entry> {
    let mut entries = BTreeSet::new();
    for pod in &story.pods {
        entries.extend(pod.endpoint.iter().filter_map(|span| {
            match (span.what.state, span.what.terminating) {
                (EndpointState::Ready, _) => Some(Entry::Traffic),
                (EndpointState::NotReady, false) => Some(Entry::NoTraffic),
                (EndpointState::NotReady, true) => Some(Entry::Terminating),
                (EndpointState::Absent, _) => None,
            }
        }));
        entries.extend(pod.events.iter().map(|event| {
            if event.warning {
                Entry::Alarm
            } else {
                Entry::Event
            }
        }));
        for container in &pod.containers {
            for span in &container.states {
                entries.insert(match span.what.kind {
                    ContainerStateKind::Waiting if span.what.reason.ends_with("BackOff") => {
                        Entry::BackOff
                    }
                    ContainerStateKind::Waiting => Entry::Waiting,
                    ContainerStateKind::Running if span.what.started => Entry::Running,
                    ContainerStateKind::Running => Entry::NotStarted,
                    ContainerStateKind::Terminated if span.what.exit_code == 0 => Entry::Ended,
                    ContainerStateKind::Terminated => Entry::Died,
                });
            }
            entries.extend((!container.ready.is_empty()).then_some(Entry::Ready));
            entries.extend((!container.restarts.is_empty()).then_some(Entry::Restart));
            for probe in &container.probes {
                of_probe(&mut entries, probe);
            }
        }
    }
    entries
}

fn of_probe(entries: &mut BTreeSet<Entry>, probe: &ProbeStory<'_>) {
    let many = probe.attempts.len() > MOST_MARKS;
    entries.extend(many.then_some(Entry::Column));
    for attempt in &probe.attempts {
        match attempt.outcome {
            AttemptOutcome::Warning => entries.insert(Entry::Warning),
            AttemptOutcome::Error => entries.insert(Entry::Error),
            AttemptOutcome::Success | AttemptOutcome::Failure if many => false,
            AttemptOutcome::Success => entries.insert(Entry::Success),
            AttemptOutcome::Failure => entries.insert(Entry::Failure),
        };
        entries.extend((attempt.decides && !many).then_some(Entry::Decides));
    }
    for span in &probe.verdicts {
        entries.insert(match span.what {
            Verdict::Unknown => Entry::VerdictOpen,
            Verdict::Success => Entry::VerdictGood,
            Verdict::Failure => Entry::VerdictBad,
        });
    }
    entries.extend((!probe.skips.is_empty()).then_some(Entry::Skip));
}
